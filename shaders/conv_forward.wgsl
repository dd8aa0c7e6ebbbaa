// Convolution as a product of matrices that are never stored (implicit GEMM):
// y[image, row, pixel] = sum over k = (channel, kernel row, kernel column) of w[row, k] patch[k, (image, pixel)].
// The twin of gradus-kernels' `conv::forward` in f32; sums run in another order.
//
// x is contiguous NCHW, w [out, in / groups, height, width]. Rows are a group's output channels, columns the pixels of
// all images. Workgroups, tiles and traffic: see lib/tile.wgsl; an element of x is read for each weight it meets, from
// the cache for most of them. Parts of k (p.splits > 1) go p.c_split elements apart, to be added by sum_parts.wgsl.
//
// A_FOURS: a row of w has a multiple of 4 elements, and so has its offset. C_FOURS: so have a plane of y and its offset.
// EPILOGUE: as in sgemm.wgsl, over the elements of y.
//
// In bounds: x is read only at channels of the group and at 0 <= row < height, 0 <= column < width of an image < batch;
// w at row < channels, k < its row's length; y at row < channels, column < batch * plane.

//!include lib/grid.wgsl
//!include lib/tile.wgsl
//!include lib/conv.wgsl

//!if A_FOURS
@group(0) @binding(0) var<storage, read> w: array<vec4<f32>>;
//!else
@group(0) @binding(0) var<storage, read> w: array<f32>;
//!endif
@group(0) @binding(1) var<storage, read> x: array<f32>;
//!if EPILOGUE
//!include lib/philox.wgsl
//!epilogue
//!else
//!if C_FOURS
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;
//!else
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
//!endif
//!endif

fn place(workgroup: u32) -> Place {
    let taps = p.kernel.x * p.kernel.y;
    let plane = p.output.x * p.output.y;
    return place_of(job_of(workgroup), taps, plane, p.in_channels * taps);
}

struct Row {
    start: u32,
    inside: bool,
}

fn a_row(at: Place, row: u32) -> Row {
    return Row(p.a_start + (at.group * p.out_channels + row) * at.length, row < p.out_channels);
}

fn load_a(at: Place, row: Row, k: u32) -> vec4<f32> {
    var value = vec4<f32>();
    if row.inside {
//!if A_FOURS
        if k < at.k_end {
            value = w[(row.start + k) >> 2u];
        }
//!else
//!for t in 4
        if k + {{t}}u < at.k_end {
            value[{{t}}] = w[row.start + k + {{t}}u];
        }
//!endfor
//!endif
    }
    return value;
}

// Four pixels: where the planes of their images begin, and their upper left inputs.
struct Columns {
    plane: vec4<u32>,
    top: vec4<i32>,
    left: vec4<i32>,
}

fn b_columns(at: Place, column: u32) -> Columns {
    let index = vec4(column) + vec4(0u, 1u, 2u, 3u);
    let image = index / at.plane;
    let pixel = index % at.plane;
    let row = pixel / p.output.y;
    var columns: Columns;
    columns.plane = p.b_start + (image * p.groups + at.group) * (p.in_channels * p.input.x * p.input.y);
    columns.top = vec4<i32>(row * p.stride.x) - i32(p.padding.x);
    columns.left = vec4<i32>((pixel - row * p.output.y) * p.stride.y) - i32(p.padding.y);
    // A pixel of no image lies below every input.
    columns.top = select(columns.top, vec4(0x40000000), image >= vec4(p.batch));
    return columns;
}

fn load_b(at: Place, columns: Columns, k: u32) -> vec4<f32> {
    var value = vec4<f32>();
    if k < at.k_end {
        let channel = k / at.taps;
        let tap = k - channel * at.taps;
        let tap_row = tap / p.kernel.y;
        let tap_column = tap - tap_row * p.kernel.y;
        let row = vec4<u32>(columns.top + i32(tap_row * p.dilation.x));
        let column = vec4<u32>(columns.left + i32(tap_column * p.dilation.y));
        let source = columns.plane + (channel * p.input.x + row) * p.input.y + column;
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
    let channel = at.group * p.out_channels + row;
    let channels = p.groups * p.out_channels;
//!if C_FOURS
    let image = column / at.plane;
    if image < p.batch {
        let e = at.c + (image * channels + channel) * at.plane + (column - image * at.plane);
//!if EPILOGUE
        for (var t = 0u; t < 4u; t++) {
            epilogue(e + t, value[t]);
        }
//!else
        y[e >> 2u] = value;
//!endif
    }
//!else
    for (var t = 0u; t < 4u; t++) {
        let image = (column + t) / at.plane;
        if image < p.batch {
            let e = at.c + (image * channels + channel) * at.plane + (column + t - image * at.plane);
//!if EPILOGUE
            epilogue(e, value[t]);
//!else
            y[e] = value[t];
//!endif
        }
    }
//!endif
}
