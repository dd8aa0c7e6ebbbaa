// Indexing along an axis: out[.., i, ..] = x[.., index[.., i, ..], ..]. Copies bits, so one kernel serves every type.
// The twin of gradus-kernels' `gather::gather`.
//
// Workgroup: 256 invocations, an element of out each. Traffic: each index and element read once, each result written
// once. An index that is negative or not below p.len is reported (lib/fault.wgsl), and gives 0.
//
// In bounds: elements from p.count on are left out; below it, the caller has checked the span of the index's strides
// over the shape, and of x's over the shape with p.len along the axis; indices are checked here.

//!include lib/grid.wgsl

struct P {
    count: u32,
    rank: u32,
    x_start: u32,
    index_start: u32,
    out_start: u32,
    len: u32,                       // of the axis in x
    x_axis: i32,                    // stride of x along it
    node: u32,
    lengths: array<vec4<u32>, 2>,   // outermost first
    a_strides: array<vec4<i32>, 2>, // of x
    b_strides: array<vec4<i32>, 2>, // of the index
}

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read> index: array<u32>;
@group(0) @binding(2) var<storage, read_write> out: array<u32>;
@group(0) @binding(3) var<storage, read_write> fault: array<atomic<u32>, 4>;
@group(1) @binding(0) var<uniform> p: P;

//!include lib/fault.wgsl
//!include lib/walk.wgsl

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let e = flat_workgroup(group, groups) * 256u + local;
    if e >= p.count {
        return;
    }
    let at = walk(e);
    // As u32 a negative index is 2^31 or more, so one comparison finds both faults.
    let chosen = index[i32(p.index_start) + at.b];
    var value = 0u;
    if chosen < p.len {
        value = x[i32(p.x_start) + at.a + i32(chosen) * p.x_axis];
    } else {
        report_fault(chosen, p.len, p.node);
    }
    out[p.out_start + e] = value;
}
