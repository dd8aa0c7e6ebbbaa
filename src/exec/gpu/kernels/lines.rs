//! Running sums, windows summed, copies: `shaders/cumsum.wgsl`, `fold.wgsl`, `copy.wgsl`, `fill.wgsl`.

use super::super::dispatch::{Bind, Limits, Recipe};
use super::index::number_type;
use super::params::{Params, Space, View, cleared, flag};
use super::sort::Lines;
use gradus_kernels::{DType, contiguous};

/// Running sums along `axis`: input x, output of the same shape. f32, i32 or u32.
pub(crate) fn cumsum(dtype: DType, shape: &[usize], axis: usize, x: &View, limits: &Limits) -> Recipe {
    let lines = Lines::new(shape, axis, x, Bind::Input(0));
    if lines.count * lines.length == 0 {
        return Recipe::default();
    }
    let serial = lines.length <= 64 || lines.count >= 4096;
    let mut params = Params::default();
    params.numbers([lines.length, lines.count, lines.space.rank()]);
    lines.start(&mut params);
    params
        .signed([lines.stride])
        .start(0, Bind::Output(0))
        .numbers([lines.inner])
        .lengths(&lines.space.lengths)
        .strides(&lines.space.strides[0]);
    let mut defines = vec![("T", number_type(dtype))];
    defines.extend(serial.then(|| flag("SERIAL")));
    let workgroups = if serial { lines.count.div_ceil(256) } else { lines.count };
    let (reads, writes) = (vec![Bind::Input(0)], vec![Bind::Output(0)]);
    let dispatch = params.dispatch("cumsum", defines, reads, writes, workgroups, limits);
    Recipe { scratch: Vec::new(), dispatches: vec![dispatch] }
}

/// The windows of a fold: see [`fold`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Windows {
    pub axis: usize,
    /// Length of the axis in the result.
    pub len: usize,
    pub stride: usize,
    pub dilation: usize,
}

/// `out[.., i, ..]` = the sum of `x[.., o, .., k]` over `o * stride + k * dilation = i`, k ascending; `shape` that of x,
/// whose last axis is k. f32, i32 or u32.
pub(crate) fn fold(dtype: DType, shape: &[usize], windows: &Windows, x: &View, limits: &Limits) -> Recipe {
    let last = shape.len() - 1;
    let axis = windows.axis;
    let mut out = shape[..last].to_vec();
    out[axis] = windows.len;
    let count: usize = out.iter().product();
    if count == 0 {
        return Recipe::default();
    }
    let strides = cleared(&x.strides, axis);
    let mut params = Params::default();
    params
        .numbers([count, out.len()])
        .start(x.offset, Bind::Input(0))
        .start(0, Bind::Output(0))
        .numbers([axis, shape[axis], shape[last], windows.stride, windows.dilation])
        .signed([x.strides[axis], x.strides[last]])
        .lengths(&out)
        .strides(&strides[..out.len()]);
    let defines = vec![("T", number_type(dtype)), flag("AXIS")];
    let (reads, writes) = (vec![Bind::Input(0)], vec![Bind::Output(0)]);
    let dispatch = params.dispatch("fold", defines, reads, writes, count.div_ceil(256), limits);
    Recipe { scratch: Vec::new(), dispatches: vec![dispatch] }
}

/// Elements of one workgroup of a copy.
const COPIED: usize = 4 * 256;

/// One strided copy: the elements of `shape` from input `input` as `x` sees it to output 0 as `out` sees it.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub shape: Vec<usize>,
    pub input: usize,
    pub x: View,
    pub out: View,
}

/// Strided copies into output 0 of `count` elements, zeroed first where `zero`. Any type of 32 bits.
pub(crate) fn copies(zero: bool, count: usize, parts: &[Part], limits: &Limits) -> Recipe {
    let mut dispatches = Vec::new();
    if zero && count > 0 {
        let mut params = Params::default();
        params.numbers([count]).start(0, Bind::Output(0)).numbers([0]);
        let writes = vec![Bind::Output(0)];
        let workgroups = count.div_ceil(COPIED);
        dispatches.push(params.dispatch("fill", Vec::new(), Vec::new(), writes, workgroups, limits));
    }
    for part in parts {
        let count: usize = part.shape.iter().product();
        if count == 0 {
            continue;
        }
        let space = Space::new(&part.shape, [&part.x.strides, &part.out.strides]);
        let mut params = Params::default();
        params
            .numbers([count, space.rank()])
            .start(part.x.offset, Bind::Input(part.input))
            .start(part.out.offset, Bind::Output(0))
            .lengths(&space.lengths)
            .strides(&space.strides[0])
            .strides(&space.strides[1]);
        let (reads, writes) = (vec![Bind::Input(part.input)], vec![Bind::Output(0)]);
        let workgroups = count.div_ceil(COPIED);
        dispatches.push(params.dispatch("copy", vec![flag("TWO")], reads, writes, workgroups, limits));
    }
    Recipe { scratch: Vec::new(), dispatches }
}

/// The row-major view of a value of `shape`.
#[allow(dead_code, reason = "tests describe operands with it")]
pub(crate) fn row_major(shape: &[usize]) -> View {
    View { offset: 0, strides: contiguous(shape) }
}
