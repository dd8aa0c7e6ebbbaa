// The guard: sets a flag if any of p.count floats is NaN or infinite, told by their bits.
// Workgroup: 256 invocations, an element each. Traffic: every element read once. CPU twin: `check` in src/exec/cpu.rs.
// In bounds: elements from p.count on are left out.

//!include lib/grid.wgsl

struct P {
    count: u32,
}

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read_write> flag: array<atomic<u32>, 1>;
@group(1) @binding(0) var<uniform> p: P;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) place: vec3<u32>,
    @builtin(num_workgroups) size: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = flat_workgroup(place, size) * 256u + local;
    if i < p.count && (x[i] & 0x7f800000u) == 0x7f800000u {
        atomicOr(&flag[0], 1u);
    }
}
