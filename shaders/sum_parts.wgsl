// The second pass of a product whose sum was split: out[e] = part 0 [e] + part 1 [e] + …, in this order.
//
// Workgroup: 256 invocations, an element each. Traffic: every part once, the result once. The order of the sum is part
// of the result's definition, so it is the same from run to run.
//
// EPILOGUE: as in sgemm.wgsl, with bindings from 1 on.
//
// In bounds: elements from p.count on are left out; the parts lie p.count apart, p.parts of them.

//!include lib/grid.wgsl

struct P {
    count: u32,
    parts: u32,
    out_start: u32,
//!if EPILOGUE
{{FIELDS}}
//!endif
}

@group(0) @binding(0) var<storage, read> parts: array<f32>;
//!if EPILOGUE
//!include lib/philox.wgsl
//!epilogue
//!else
@group(0) @binding(1) var<storage, read_write> out: array<f32>;
//!endif
@group(1) @binding(0) var<uniform> p: P;

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
    var sum = parts[e];
    for (var i = 1u; i < p.parts; i++) {
        sum += parts[i * p.count + e];
    }
//!if EPILOGUE
    epilogue(e, sum);
//!else
    out[p.out_start + e] = sum;
//!endif
}
