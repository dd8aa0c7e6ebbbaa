// How a shader reports an index outside its axis: the first invocation to find one writes it down, and the host, which
// looks whenever it reads a value, makes an error of it. The buffer's words: state (0 nothing, 1 taken), the index,
// the axis' length, the number of the node that indexes. Bind it with `Bind::Fault`, as the last that is written:
//
//     @group(0) @binding(N) var<storage, read_write> fault: array<atomic<u32>, 4>;
//
// and give the parameter `p.node`, whose word the host fills in.

fn report_fault(value: u32, len: u32, node: u32) {
    let first = atomicCompareExchangeWeak(&fault[0], 0u, 1u);
    if first.exchanged {
        atomicStore(&fault[1], value);
        atomicStore(&fault[2], len);
        atomicStore(&fault[3], node);
    }
}
