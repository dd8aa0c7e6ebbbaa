// The gradient of a convolution with respect to its input, which is transposed convolution:
// dx[image, row, i] = sum over the output channels and all o, k with o * stride - padding + k * dilation = i of
// dy[image, channel, o] w[channel, row, k]. The twin of gradus-kernels' `conv::input_grad` in f32; sums run in another
// order.
//
// Input positions i with the same remainder modulo the stride, in both axes, are a phase: they meet the same weights, one
// in stride / gcd(stride, dilation) of them, so each phase is a dense product without a multiplication by a zero that
// the stride would have put between the elements of dy. Rows are a group's input channels, columns the pixels of a phase
// of all images, k = (output channel, row of the phase's weights, column of them). Phases without weights give zeros.
// Workgroups, tiles and traffic: see lib/tile.wgsl; dx is written stride elements apart. Parts of k go p.c_split apart.
//
// dy and w are contiguous. EPILOGUE: as in sgemm.wgsl, over the elements of dx.
//
// In bounds: dy is read only at 0 <= row < height, 0 <= column < width of an image < batch and a channel of the group
// (k < k_end); w at row < channels and taps below the kernel's size; dx at positions i below the input's size.

//!include lib/grid.wgsl
//!include lib/tile.wgsl
//!include lib/conv.wgsl

@group(0) @binding(0) var<storage, read> w: array<f32>;
@group(0) @binding(1) var<storage, read> dy: array<f32>;
//!if EPILOGUE
//!include lib/philox.wgsl
//!epilogue
//!else
@group(0) @binding(2) var<storage, read_write> dx: array<f32>;
//!endif

// A phase along one axis.
struct Phase {
    first: u32,                     // input position
    count: u32,                     // input positions, stride apart
    tap: u32,                       // first weight
    taps: u32,                      // weights, tap_step apart
    output: i32,                    // output position that the first weight joins with the first input position
}

fn phase_of(index: u32, input: u32, kernel: u32, stride: u32, padding: u32, dilation: u32, step: u32) -> Phase {
    var phase: Phase;
    phase.first = index;
    phase.count = (max(input, index) - index + stride - 1u) / stride;
    phase.tap = 0u;
    while phase.tap < step && (phase.tap * dilation) % stride != (index + padding) % stride {
        phase.tap++;
    }
    if phase.tap < step && phase.tap < kernel {
        phase.taps = (kernel - phase.tap + step - 1u) / step;
        phase.output = (i32(index + padding) - i32(phase.tap * dilation)) / i32(stride);
    }
    return phase;
}

fn place(workgroup: u32) -> Place {
    let job = job_of(workgroup);
    let row = job.phase / p.stride.y;
    let rows = phase_of(row, p.input.x, p.kernel.x, p.stride.x, p.padding.x, p.dilation.x, p.tap_step.x);
    let column = job.phase % p.stride.y;
    let columns = phase_of(column, p.input.y, p.kernel.y, p.stride.y, p.padding.y, p.dilation.y, p.tap_step.y);
    let taps = rows.taps * columns.taps;
    var at = place_of(job, taps, rows.count * columns.count, p.out_channels * taps);
    at.rows = rows;
    at.columns = columns;
    return at;
}

// Row of the weights of channel 0.
struct Row {
    start: u32,
    inside: bool,
}

fn a_row(at: Place, row: u32) -> Row {
    let channel = at.group * p.out_channels * p.in_channels + row;
    return Row(p.a_start + channel * p.kernel.x * p.kernel.y, row < p.in_channels);
}

fn load_a(at: Place, row: Row, k: u32) -> vec4<f32> {
    var value = vec4<f32>();
    if row.inside && k < at.k_end {
        let index = vec4(k) + vec4(0u, 1u, 2u, 3u);
        let channel = index / at.taps;
        let tap = index - channel * at.taps;
        let tap_row = tap / at.columns.taps;
        let tap_column = tap - tap_row * at.columns.taps;
        let weight = (at.rows.tap + tap_row * p.tap_step.x) * p.kernel.y + at.columns.tap + tap_column * p.tap_step.y;
        let source = row.start + channel * (p.in_channels * p.kernel.x * p.kernel.y) + weight;
//!for t in 4
        if index[{{t}}] < at.k_end {
            value[{{t}}] = w[source[{{t}}]];
        }
//!endfor
    }
    return value;
}

// Four pixels: where the planes of their images begin in dy, and the outputs that meet the first weight.
struct Columns {
    plane: vec4<u32>,
    top: vec4<i32>,
    left: vec4<i32>,
}

fn b_columns(at: Place, column: u32) -> Columns {
    let index = vec4(column) + vec4(0u, 1u, 2u, 3u);
    let plane = max(at.plane, 1u);
    let image = index / plane;
    let pixel = index - image * plane;
    let row = pixel / max(at.columns.count, 1u);
    var columns: Columns;
    columns.plane = p.b_start + (image * p.groups + at.group) * (p.out_channels * p.output.x * p.output.y);
    columns.top = vec4<i32>(row) + at.rows.output;
    columns.left = vec4<i32>(pixel - row * at.columns.count) + at.columns.output;
    // A pixel of no image lies below every output.
    columns.top = select(columns.top, vec4(0x40000000), image >= vec4(p.batch));
    return columns;
}

fn load_b(at: Place, columns: Columns, k: u32) -> vec4<f32> {
    var value = vec4<f32>();
    if k < at.k_end {
        let channel = k / at.taps;
        let tap = k - channel * at.taps;
        let tap_row = tap / at.columns.taps;
        let tap_column = tap - tap_row * at.columns.taps;
        // From one weight of a phase to the next, tap_step * dilation / stride outputs back.
        let row = vec4<u32>(columns.top - i32(tap_row * (p.tap_step.x * p.dilation.x / p.stride.x)));
        let column = vec4<u32>(columns.left - i32(tap_column * (p.tap_step.y * p.dilation.y / p.stride.y)));
        let source = columns.plane + (channel * p.output.x + row) * p.output.y + column;
        let inside = (row < vec4(p.output.x)) & (column < vec4(p.output.y));
//!for t in 4
        if inside[{{t}}] {
            value[{{t}}] = dy[source[{{t}}]];
        }
//!endfor
    }
    return value;
}

fn store(at: Place, row: u32, column: u32, value: vec4<f32>) {
    if row >= p.in_channels || at.plane == 0u {
        return;
    }
    let channel = at.group * p.in_channels + row;
    let channels = p.groups * p.in_channels;
    let index = vec4(column) + vec4(0u, 1u, 2u, 3u);
    let image = index / at.plane;
    let pixel = index - image * at.plane;
    let line = pixel / at.columns.count;
    let i = at.rows.first + line * p.stride.x;
    let j = at.columns.first + (pixel - line * at.columns.count) * p.stride.y;
    let e = at.c + ((image * channels + channel) * p.input.x + i) * p.input.y + j;
    for (var t = 0u; t < 4u; t++) {
        if image[t] < p.batch {
//!if EPILOGUE
            epilogue(e[t], value[t]);
//!else
            dx[e[t]] = value[t];
//!endif
        }
    }
}
