// Running sums along an axis: out[.., i, ..] = the sum of x[.., j, ..] over j <= i. The twin of gradus-kernels'
// `scan::cumsum`; SERIAL adds in its order, and equals it bit for bit.
//
// SERIAL: an invocation has a line, 256 of them side by side: for many lines, or short ones. Else a workgroup has a line:
// 1,024 elements at a time, 4 to an invocation, whose sums are scanned in workgroup memory (Hillis and Steele 1986), with
// a carry from one piece to the next. Traffic: each element read and written once.
//
// In bounds: lines from p.lines on and elements from p.length on are left out; the caller has checked the span of x.

//!include lib/grid.wgsl

struct P {
    length: u32,                    // of a line
    lines: u32,
    rank: u32,                      // axes that count the lines
    x_start: u32,
    x_axis: i32,                    // stride along the line
    out_start: u32,
    inner: u32,                     // lines side by side in the result
    lengths: array<vec4<u32>, 2>,   // outermost first
    x_strides: array<vec4<i32>, 2>,
}

@group(0) @binding(0) var<storage, read> x: array<{{T}}>;
@group(0) @binding(1) var<storage, read_write> out: array<{{T}}>;
@group(1) @binding(0) var<uniform> p: P;

fn line_start(line: u32) -> i32 {
    var rest = line;
    var source = i32(p.x_start);
    for (var left = p.rank; left > 0u; left--) {
        let axis = left - 1u;
        let length = p.lengths[axis >> 2u][axis & 3u];
        source += i32(rest % length) * p.x_strides[axis >> 2u][axis & 3u];
        rest = rest / length;
    }
    return source;
}

fn out_place(line: u32, i: u32) -> u32 {
    return p.out_start + (line / p.inner * p.length + i) * p.inner + line % p.inner;
}

//!if SERIAL
@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let line = flat_workgroup(group, groups) * 256u + local;
    if line >= p.lines {
        return;
    }
    let start = line_start(line);
    var sum = {{T}}();
    for (var i = 0u; i < p.length; i++) {
        sum += x[start + i32(i) * p.x_axis];
        out[out_place(line, i)] = sum;
    }
}
//!else
var<workgroup> sums: array<{{T}}, 256>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let line = flat_workgroup(group, groups);
    if line >= p.lines {
        return;
    }
    let start = line_start(line);
    var carry = {{T}}();
    for (var first = 0u; first < p.length; first += 1024u) {
        var own: array<{{T}}, 4>;
        var sum = {{T}}();
        for (var t = 0u; t < 4u; t++) {
            let i = first + local * 4u + t;
            if i < p.length {
                sum += x[start + i32(i) * p.x_axis];
            }
            own[t] = sum;
        }
        sums[local] = sum;
        workgroupBarrier();
        for (var step = 1u; step < 256u; step = step << 1u) {
            var before = {{T}}();
            if local >= step {
                before = sums[local - step];
            }
            workgroupBarrier();
            sums[local] += before;
            workgroupBarrier();
        }
        var left = carry;
        if local > 0u {
            left += sums[local - 1u];
        }
        for (var t = 0u; t < 4u; t++) {
            let i = first + local * 4u + t;
            if i < p.length {
                out[out_place(line, i)] = left + own[t];
            }
        }
        carry += sums[255];
        workgroupBarrier();
    }
}
//!endif
