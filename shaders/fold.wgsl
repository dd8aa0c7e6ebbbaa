// The dual of the window view: x has axes [.., o, .., k] (k last), out has an axis of another length and no k:
// out[.., i, ..] = the sum of x[.., o, .., k] over o * stride + k * dilation = i, k ascending.
// The twin of gradus-kernels' `fold::fold`, and equal to it bit for bit.
//
// Workgroup: 256 invocations, an element of out each. Traffic: each element of x read once, each of out written once.
//
// In bounds: elements from p.count on are left out; o < p.places_o and k < p.places hold where x is read, and the caller
// has checked the span of its strides.

//!include lib/grid.wgsl

struct P {
    count: u32,
    rank: u32,
    x_start: u32,
    out_start: u32,
    axis: u32,
    windows: u32,                   // length of the o axis
    places: u32,                    // length of the k axis
    stride: u32,
    dilation: u32,
    x_axis: i32,                    // stride of x along o
    x_place: i32,                   // along k
    lengths: array<vec4<u32>, 2>,   // of out, outermost first
    a_strides: array<vec4<i32>, 2>, // of x
}

@group(0) @binding(0) var<storage, read> x: array<{{T}}>;
@group(0) @binding(1) var<storage, read_write> out: array<{{T}}>;
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
    let source = i32(p.x_start) + at.a;
    var sum = {{T}}();
    for (var k = 0u; k < p.places; k++) {
        let reach = k * p.dilation;
        if reach > at.coordinate {
            break;
        }
        let o = (at.coordinate - reach) / p.stride;
        if o * p.stride + reach == at.coordinate && o < p.windows {
            sum += x[source + i32(o) * p.x_axis + i32(k) * p.x_place];
        }
    }
    out[p.out_start + e] = sum;
}
