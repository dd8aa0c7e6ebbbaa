// A strided copy: out[place of e] = x[place of e] for the elements e of a space of up to 8 axes. Copies bits, so one
// kernel serves every type. The twin of gradus-kernels' `pointwise` copy; makes views lie row-major, and concatenates
// and pads.
//
// Workgroup: 256 invocations with PER elements each, 256 apart, so that neighbours read and write neighbours along the
// last axis. Traffic: each element read and written once.
//
// In bounds: elements from p.count on are left out; below it, the caller has checked the span of both strides.

//!include lib/grid.wgsl

override PER: u32 = 4u;

struct P {
    count: u32,
    rank: u32,
    x_start: u32,
    out_start: u32,
    lengths: array<vec4<u32>, 2>,   // outermost first
    a_strides: array<vec4<i32>, 2>, // of x
    b_strides: array<vec4<i32>, 2>, // of out
}

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<u32>;
@group(1) @binding(0) var<uniform> p: P;

//!include lib/walk.wgsl

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let first = flat_workgroup(group, groups) * 256u * PER + local;
    for (var i = 0u; i < PER; i++) {
        let e = first + i * 256u;
        if e < p.count {
            let at = walk(e);
            out[i32(p.out_start) + at.b] = x[i32(p.x_start) + at.a];
        }
    }
}
