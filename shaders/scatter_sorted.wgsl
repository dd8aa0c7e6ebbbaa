// The dual of indexing, for long axes: out[.., j, ..] = the sum of src[.., i, ..] over the i with index[.., i, ..] = j,
// in order of i. The twin of gradus-kernels' `gather::scatter_add`, and equal to it bit for bit.
//
// The indices of each line lie sorted, with the positions i they came from (sort_block.wgsl, sort_merge.wgsl, which are
// stable: equal ones in order of i). An invocation finds its j by bisection and adds what stands there.
// Workgroup: 256 invocations, an element of out each. Traffic: log2(length) reads to find the place, mostly from the
// cache, and each element of src once.
//
// In bounds: elements from p.count on are left out; below it, a line is below the number of lines that were sorted,
// positions are below p.length, and the caller has checked the span of src over its shape.

//!include lib/grid.wgsl

struct P {
    count: u32,                     // elements of out
    rank: u32,
    src_start: u32,
    out_start: u32,
    length: u32,                    // of the axis in index and src
    src_axis: i32,                  // stride of src along it
    axis: u32,
    lengths: array<vec4<u32>, 2>,   // of out, outermost first
    a_strides: array<vec4<i32>, 2>, // of src
    b_strides: array<vec4<i32>, 2>, // in lines; 0 where the index is broadcast, too
}

@group(0) @binding(0) var<storage, read> src: array<{{T}}>;
@group(0) @binding(1) var<storage, read> keys: array<u32>;
@group(0) @binding(2) var<storage, read> positions: array<u32>;
@group(0) @binding(3) var<storage, read_write> out: array<{{T}}>;
@group(1) @binding(0) var<uniform> p: P;

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
    let source = i32(p.src_start) + at.a;
    let start = u32(at.b) * p.length;
    var low = 0u;
    var high = p.length;
    while low < high {
        let middle = (low + high) >> 1u;
        if keys[start + middle] < wanted {
            low = middle + 1u;
        } else {
            high = middle;
        }
    }
    var sum = {{T}}();
    while low < p.length {
        if keys[start + low] != wanted {
            break;
        }
        sum += src[source + i32(positions[start + low]) * p.src_axis];
        low++;
    }
    out[p.out_start + e] = sum;
}
