// out[e] = p.value for e below p.count. Bits, so one kernel serves every type.
//
// Workgroup: 256 invocations with PER elements each, 256 apart. Traffic: each element written once.
//
// In bounds: elements from p.count on are left out.

//!include lib/grid.wgsl

override PER: u32 = 4u;

struct P {
    count: u32,
    out_start: u32,
    value: u32,
}

@group(0) @binding(0) var<storage, read_write> out: array<u32>;
@group(1) @binding(0) var<uniform> p: P;

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
            out[p.out_start + e] = p.value;
        }
    }
}
