//! Sorting: `shaders/sort_block.wgsl` and `sort_merge.wgsl`.

use super::super::dispatch::{Bind, Dispatch, Limits, Recipe};
use super::params::{Params, Space, View, flag, without};
use gradus_kernels::DType;

/// The lines of an operand along an axis.
pub(super) struct Lines {
    /// Elements of a line.
    pub length: usize,
    /// Lines.
    pub count: usize,
    /// Lines side by side in a row-major result: the product of the axes behind.
    pub inner: usize,
    /// The axes that count the lines.
    pub space: Space<1>,
    /// Stride along a line.
    pub stride: isize,
    offset: usize,
    bind: Bind,
}

impl Lines {
    pub fn new(shape: &[usize], axis: usize, x: &View, bind: Bind) -> Lines {
        let others = without(shape, axis);
        Lines {
            length: shape[axis],
            count: others.iter().product(),
            inner: shape[axis + 1..].iter().product(),
            space: Space::new(&others, [&without(&x.strides[..shape.len()], axis)]),
            stride: x.strides[axis],
            offset: x.offset,
            bind,
        }
    }

    /// Their place, as [`Params`] begin with for most: `x_start`.
    pub fn start(&self, params: &mut Params) {
        params.start(self.offset, self.bind);
    }
}

/// What is sorted, and what is wanted of it.
#[derive(Clone, Copy)]
pub(super) enum Keys {
    /// Values, of which the sorted positions are output 0.
    Values { dtype: DType, descending: bool },
    /// Indices into an axis of this length, of which keys and positions are wanted: see [`result`].
    Indices { len: usize },
}

/// Elements that a workgroup sorts by itself.
const BLOCK: usize = 1024;

/// Merges that a line needs after its blocks are sorted.
fn merges(lines: &Lines) -> usize {
    lines.length.div_ceil(BLOCK).next_power_of_two().trailing_zeros() as usize
}

/// The scratch buffers in which keys and positions lie after [`sort`] of indices.
pub(super) fn result(lines: &Lines) -> [Bind; 2] {
    buffers(merges(lines))
}

/// The keys and positions after `merges` merges: two pairs of buffers take turns.
fn buffers(merges: usize) -> [Bind; 2] {
    let pair = merges % 2 * 2;
    [Bind::Scratch(pair), Bind::Scratch(pair + 1)]
}

/// Sorts every line: one pass over blocks, then merges of runs of doubling length.
pub(super) fn sort(lines: &Lines, keys: Keys, limits: &Limits) -> Recipe {
    let elements = lines.count * lines.length;
    if elements == 0 {
        return Recipe::default();
    }
    let merges = merges(lines);
    let values = matches!(keys, Keys::Values { .. });
    let scratch = match (values, merges) {
        (true, 0) => 0,
        (_, 0) => 2,
        (true, 1) => 2,
        _ => 4,
    };
    let mut dispatches = vec![blocks(lines, keys, merges == 0 && values, limits)];
    for merge in 0..merges {
        let last = values && merge + 1 == merges;
        dispatches.push(merged(lines, merge, last, limits));
    }
    Recipe { scratch: vec![elements as u64 * 4; scratch], dispatches }
}

fn blocks(lines: &Lines, keys: Keys, last: bool, limits: &Limits) -> Dispatch {
    let padded = lines.length.next_power_of_two().clamp(2, BLOCK);
    let blocks = lines.length.div_ceil(BLOCK);
    let (descending, len) = match keys {
        Keys::Values { descending, .. } => (descending, 0),
        Keys::Indices { len } => (false, len),
    };
    let mut params = Params::default();
    params.numbers([lines.length, lines.count, padded, blocks, lines.space.rank()]);
    lines.start(&mut params);
    params.signed([lines.stride]);
    if last {
        params.start(0, Bind::Output(0))
    } else {
        params.numbers([0])
    };
    params
        .numbers([lines.inner, usize::from(descending), len])
        .node()
        .lengths(&lines.space.lengths)
        .strides(&lines.space.strides[0]);
    let mut defines = Vec::new();
    let mut writes = Vec::from(buffers(0));
    match keys {
        Keys::Values { dtype: DType::F32, .. } => defines.push(flag("F32")),
        Keys::Values { dtype: DType::I32, .. } => defines.push(flag("I32")),
        Keys::Values { .. } => {}
        Keys::Indices { .. } => {
            defines.push(flag("CHECK"));
            writes.push(Bind::Fault);
        }
    }
    if last {
        defines.push(flag("POSITIONS_ONLY"));
        writes = vec![Bind::Output(0)];
    }
    let workgroups = lines.count.div_ceil(BLOCK / padded) * blocks;
    params.dispatch("sort_block", defines, vec![lines.bind], writes, workgroups, limits)
}

fn merged(lines: &Lines, merge: usize, last: bool, limits: &Limits) -> Dispatch {
    let mut params = Params::default();
    params.numbers([lines.length, lines.count, BLOCK << merge]);
    if last {
        params.start(0, Bind::Output(0))
    } else {
        params.numbers([0])
    };
    params.numbers([lines.inner]);
    let defines = if last { vec![flag("POSITIONS_ONLY")] } else { Vec::new() };
    let writes = if last { vec![Bind::Output(0)] } else { Vec::from(buffers(merge + 1)) };
    let workgroups = (lines.count * lines.length).div_ceil(256);
    params.dispatch("sort_merge", defines, Vec::from(buffers(merge)), writes, workgroups, limits)
}

/// Stable argsort along `axis`: input x, output the positions. f32, i32, u32 or bool.
pub(crate) fn argsort(
    dtype: DType,
    shape: &[usize],
    axis: usize,
    descending: bool,
    x: &View,
    limits: &Limits,
) -> Recipe {
    sort(&Lines::new(shape, axis, x, Bind::Input(0)), Keys::Values { dtype, descending }, limits)
}
