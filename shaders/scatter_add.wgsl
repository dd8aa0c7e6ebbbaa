// The dual of indexing, for short axes: out[.., j, ..] = the sum of src[.., i, ..] over the i with
// index[.., i, ..] = j, in order of i. The twin of gradus-kernels' `gather::scatter_add`, and equal to it bit for bit.
//
// Each invocation looks through the whole axis for its j, so no two write to the same place and no atomic sums, whose
// order would vary, are needed. Long axes go by sort_block.wgsl, sort_merge.wgsl and scatter_sorted.wgsl.
// Workgroup: 256 invocations, an element of out each. Traffic: len reads of each index, mostly from the cache.
// An index that is negative or not below p.len is reported (lib/fault.wgsl).
//
// In bounds: elements from p.count on are left out; below it, the caller has checked the spans of the index and of src
// over the shape; an element of out is written by its own invocation.

//!include lib/grid.wgsl

struct P {
    count: u32,                     // elements of out
    rank: u32,
    src_start: u32,
    index_start: u32,
    out_start: u32,
    length: u32,                    // of the axis in index and src
    src_axis: i32,                  // strides along it
    index_axis: i32,
    axis: u32,
    len: u32,                       // of the axis in out
    node: u32,
    lengths: array<vec4<u32>, 2>,   // of out, outermost first
    a_strides: array<vec4<i32>, 2>, // of src
    b_strides: array<vec4<i32>, 2>, // of the index
}

@group(0) @binding(0) var<storage, read> src: array<{{T}}>;
@group(0) @binding(1) var<storage, read> index: array<u32>;
@group(0) @binding(2) var<storage, read_write> out: array<{{T}}>;
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
    let wanted = at.coordinate;
    var source = i32(p.src_start) + at.a;
    var place = i32(p.index_start) + at.b;
    var sum = {{T}}();
    for (var i = 0u; i < p.length; i++) {
        let chosen = index[place];
        if chosen == wanted {
            sum += src[source];
        }
        if chosen >= p.len && wanted == 0u {
            report_fault(chosen, p.len, p.node);
        }
        place += p.index_axis;
        source += p.src_axis;
    }
    out[p.out_start + e] = sum;
}
