// Stable sort of positions by their elements, first part: blocks of up to 1,024 elements of a line, each in workgroup
// memory. sort_merge.wgsl merges the blocks of longer lines. The twin of gradus-kernels' `sort::argsort`: equal elements
// keep their order, NaN comes after everything, or before it where p.descending.
//
// Elements become keys, words whose order as unsigned numbers is the wanted one (F32, I32; others are their own keys);
// pairs of key and position are all different, so that a bitonic network (Batcher 1968), which is not stable by itself,
// gives the stable order. Lines up to 1,024 elements are padded to a power of two and as many as fit share a block.
//
// Workgroup: 256 invocations, 2 exchanges each a step. Traffic: each element read once, key and position written once.
// CHECK: elements are indices; those that are negative or not below p.len are reported (lib/fault.wgsl).
// POSITIONS_ONLY: the lines are one block each, and only positions are wanted, in the layout of the result.
//
// In bounds: slots beyond a line's end or beyond the last line are filled in and never written out; the caller has
// checked the span of x's strides. Workgroup indices are below 1,024.

//!include lib/grid.wgsl

struct P {
    length: u32,                    // of a line
    lines: u32,
    padded: u32,                    // slots of a line in a block: a power of two up to 1,024
    blocks: u32,                    // of a line; 1 where padded holds it all
    rank: u32,                      // axes that count the lines
    x_start: u32,
    x_axis: i32,                    // stride along the line
    out_start: u32,
    inner: u32,                     // lines side by side in the result
    descending: u32,
    len: u32,
    node: u32,
    lengths: array<vec4<u32>, 2>,   // outermost first
    x_strides: array<vec4<i32>, 2>,
}

@group(0) @binding(0) var<storage, read> x: array<u32>;
//!if POSITIONS_ONLY
@group(0) @binding(1) var<storage, read_write> out: array<u32>;
//!else
@group(0) @binding(1) var<storage, read_write> keys_out: array<u32>;
@group(0) @binding(2) var<storage, read_write> positions_out: array<u32>;
//!if CHECK
@group(0) @binding(3) var<storage, read_write> fault: array<atomic<u32>, 4>;
//!include lib/fault.wgsl
//!endif
//!endif
@group(1) @binding(0) var<uniform> p: P;

var<workgroup> keys: array<u32, 1024>;
var<workgroup> positions: array<u32, 1024>;

fn key(bits: u32) -> u32 {
    var key = bits;
//!if F32
    let magnitude = bits & 0x7fffffffu;
    if magnitude > 0x7f800000u {
        key = 0xffffffffu;
    } else if magnitude == 0u {
        // The two zeros are equal.
        key = 0x80000000u;
    } else {
        key = select(bits | 0x80000000u, ~bits, (bits >> 31u) == 1u);
    }
//!endif
//!if I32
    key = bits ^ 0x80000000u;
//!endif
    return select(key, ~key, p.descending != 0u);
}

fn comes_before(i: u32, j: u32) -> bool {
    return keys[i] < keys[j] || (keys[i] == keys[j] && positions[i] < positions[j]);
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let block = flat_workgroup(group, groups);
    let lines_here = 1024u / p.padded;
    let first_line = (block / p.blocks) * lines_here;
    if first_line >= p.lines {
        return;
    }
    let first = (block % p.blocks) * 1024u;

    for (var slot = local; slot < 1024u; slot += 256u) {
        let line = first_line + slot / p.padded;
        let i = first + slot % p.padded;
        // What is not there sorts behind everything: no position of the line is that large.
        keys[slot] = 0xffffffffu;
        positions[slot] = 0xffff0000u + slot;
        if line < p.lines && i < p.length {
            var rest = line;
            var source = i32(p.x_start) + i32(i) * p.x_axis;
            for (var left = p.rank; left > 0u; left--) {
                let axis = left - 1u;
                let length = p.lengths[axis >> 2u][axis & 3u];
                source += i32(rest % length) * p.x_strides[axis >> 2u][axis & 3u];
                rest = rest / length;
            }
            let bits = x[source];
//!if CHECK
            if bits >= p.len {
                report_fault(bits, p.len, p.node);
            }
//!endif
            keys[slot] = key(bits);
            positions[slot] = i;
        }
    }
    workgroupBarrier();

    for (var size = 2u; size <= p.padded; size = size << 1u) {
        for (var step = size >> 1u; step > 0u; step = step >> 1u) {
            for (var pair = local; pair < 512u; pair += 256u) {
                let i = (pair / step) * step * 2u + pair % step;
                let j = i + step;
                let up = (i & size) == 0u || size == p.padded;
                if comes_before(j, i) == up {
                    let key = keys[i];
                    let position = positions[i];
                    keys[i] = keys[j];
                    positions[i] = positions[j];
                    keys[j] = key;
                    positions[j] = position;
                }
            }
            workgroupBarrier();
        }
    }

    for (var slot = local; slot < 1024u; slot += 256u) {
        let line = first_line + slot / p.padded;
        let i = first + slot % p.padded;
        if line < p.lines && i < p.length {
//!if POSITIONS_ONLY
            out[p.out_start + (line / p.inner * p.length + i) * p.inner + line % p.inner] = positions[slot];
//!else
            keys_out[line * p.length + i] = keys[slot];
            positions_out[line * p.length + i] = positions[slot];
//!endif
        }
    }
}
