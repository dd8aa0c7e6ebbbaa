// Stable sort of positions, second part: merges neighbouring sorted runs of p.run elements of each line. Every element
// finds its place by itself: its own rank plus the number of elements of the other run that come before it (a bisection;
// of equal ones, those of the left run come first). See sort_block.wgsl.
//
// Workgroup: 256 invocations, an element each. Traffic: each key and position read and written once, log2(p.run) reads
// for the bisection, mostly from the cache.
// POSITIONS_ONLY: the last merge, where only positions are wanted, in the layout of the result.
//
// In bounds: elements from p.lines * p.length on are left out; ranks are below the line's length because the ranks of
// two merged runs are a permutation.

//!include lib/grid.wgsl

struct P {
    length: u32,                    // of a line
    lines: u32,
    run: u32,
    out_start: u32,
    inner: u32,                     // lines side by side in the result
}

@group(0) @binding(0) var<storage, read> keys: array<u32>;
@group(0) @binding(1) var<storage, read> positions: array<u32>;
//!if POSITIONS_ONLY
@group(0) @binding(2) var<storage, read_write> out: array<u32>;
//!else
@group(0) @binding(2) var<storage, read_write> keys_out: array<u32>;
@group(0) @binding(3) var<storage, read_write> positions_out: array<u32>;
//!endif
@group(1) @binding(0) var<uniform> p: P;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let e = flat_workgroup(group, groups) * 256u + local;
    if e >= p.lines * p.length {
        return;
    }
    let line = e / p.length;
    let i = e - line * p.length;
    let start = line * p.length;
    let key = keys[e];
    let number = i / p.run;
    let right = (number & 1u) == 1u;
    // The other run of the pair, empty if the line ends before it.
    let other = min((number ^ 1u) * p.run, p.length);
    var low = other;
    var high = min(other + p.run, p.length);
    while low < high {
        let middle = (low + high) >> 1u;
        let there = keys[start + middle];
        if there < key || (right && there == key) {
            low = middle + 1u;
        } else {
            high = middle;
        }
    }
    let rank = (number & ~1u) * p.run + (i - number * p.run) + (low - other);
//!if POSITIONS_ONLY
    out[p.out_start + (line / p.inner * p.length + rank) * p.inner + line % p.inner] = positions[e];
//!else
    keys_out[start + rank] = key;
    positions_out[start + rank] = positions[e];
//!endif
}
