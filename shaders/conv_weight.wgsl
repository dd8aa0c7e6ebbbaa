// The gradient of a convolution with respect to its weights:
// dw[row, column] = sum over k = (image, pixel) of dy[image, row, pixel] x[image, column's channel, pixel's patch at
// column's tap]. The twin of gradus-kernels' `conv::weight_grad` in f32; sums run in another order.
//
// x and dy are contiguous NCHW, dw [out, in / groups, height, width]. Rows are a group's output channels, columns its
// (input channel, kernel row, kernel column), and k runs over the pixels of all images: long, where the result is small,
// so it is mostly split into parts (p.c_split elements apart) that sum_parts.wgsl adds in order. Workgroups, tiles and
// traffic: see lib/tile.wgsl.
//
// A_FOURS: a plane of dy has a multiple of 4 elements, and so has its offset.
//
// In bounds: dy is read only at row < channels, k < batch * plane; x at column < the length of a row of dw, and at
// 0 <= row < height, 0 <= column < width; dw is written at row < channels, column < its length.

//!include lib/grid.wgsl
//!include lib/tile.wgsl
//!include lib/conv.wgsl

//!if A_FOURS
@group(0) @binding(0) var<storage, read> dy: array<vec4<f32>>;
//!else
@group(0) @binding(0) var<storage, read> dy: array<f32>;
//!endif
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> dw: array<f32>;

fn place(workgroup: u32) -> Place {
    let taps = p.kernel.x * p.kernel.y;
    let plane = p.output.x * p.output.y;
    return place_of(job_of(workgroup), taps, plane, p.batch * plane);
}

struct Row {
    start: u32,
    inside: bool,
}

fn a_row(at: Place, row: u32) -> Row {
    return Row(p.a_start + (at.group * p.out_channels + row) * at.plane, row < p.out_channels);
}

fn load_a(at: Place, row: Row, k: u32) -> vec4<f32> {
    var value = vec4<f32>();
    if row.inside && k < at.k_end {
        let image_size = p.groups * p.out_channels * at.plane;
//!if A_FOURS
        let image = k / at.plane;
        value = dy[(row.start + image * image_size + (k - image * at.plane)) >> 2u];
//!else
        let index = vec4(k) + vec4(0u, 1u, 2u, 3u);
        let image = index / at.plane;
        let source = row.start + image * image_size + (index - image * at.plane);
//!for t in 4
        if index[{{t}}] < at.k_end {
            value[{{t}}] = dy[source[{{t}}]];
        }
//!endfor
//!endif
    }
    return value;
}

// Four columns: where the planes of their channels begin in image 0, and their taps' places against the patch's corner.
struct Columns {
    plane: vec4<u32>,
    down: vec4<i32>,
    right: vec4<i32>,
}

fn b_columns(at: Place, column: u32) -> Columns {
    let index = vec4(column) + vec4(0u, 1u, 2u, 3u);
    let channel = index / at.taps;
    let tap = index - channel * at.taps;
    let tap_row = tap / p.kernel.y;
    var columns: Columns;
    columns.plane = p.b_start + (at.group * p.in_channels + channel) * (p.input.x * p.input.y);
    columns.down = vec4<i32>(tap_row * p.dilation.x) - i32(p.padding.x);
    columns.right = vec4<i32>((tap - tap_row * p.kernel.y) * p.dilation.y) - i32(p.padding.y);
    // A column of no channel lies below every input.
    columns.down = select(columns.down, vec4(0x40000000), channel >= vec4(p.in_channels));
    return columns;
}

fn load_b(at: Place, columns: Columns, k: u32) -> vec4<f32> {
    var value = vec4<f32>();
    if k < at.k_end {
        let image = k / at.plane;
        let pixel = k - image * at.plane;
        let line = pixel / p.output.y;
        let row = vec4<u32>(columns.down + i32(line * p.stride.x));
        let column = vec4<u32>(columns.right + i32((pixel - line * p.output.y) * p.stride.y));
        let image_size = p.groups * p.in_channels * p.input.x * p.input.y;
        let source = columns.plane + image * image_size + row * p.input.y + column;
        let inside = (row < vec4(p.input.x)) & (column < vec4(p.input.y));
//!for t in 4
        if inside[{{t}}] {
            value[{{t}}] = x[source[{{t}}]];
        }
//!endfor
    }
    return value;
}

fn store(at: Place, row: u32, column: u32, value: vec4<f32>) {
    if row >= p.out_channels {
        return;
    }
    let e = at.c + (at.group * p.out_channels + row) * at.length + column;
//!for t in 4
    if column + {{t}}u < at.length {
        dw[e + {{t}}u] = value[{{t}}];
    }
//!endfor
}
