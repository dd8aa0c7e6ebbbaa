//! The same elements seen otherwise: strides change, nothing is copied. And `fold`, the dual of windows.

use super::cases::{Array, Draw, Gradient, OpCase};
use super::{Op, join};
use crate::error::{BuildError, fail};
use crate::graph::Inputs;
use crate::shape::{Axes, Layout, Shape, ToNumbers, axes_arg, axis_arg, range_arg, shape_arg};
use crate::tensor::Tensor;
use gradus_kernels::MAX_RANK;
use std::ops::RangeBounds;

/// Per axis: the first element taken and the step to the next. The node's shape says how many.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SliceSpec {
    pub start: [usize; MAX_RANK],
    pub step: [isize; MAX_RANK],
}

/// Zeros before and after each axis, and between neighbours.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PadSpec {
    pub before: [usize; MAX_RANK],
    pub after: [usize; MAX_RANK],
    pub between: [usize; MAX_RANK],
}

/// Windows of `size` along `axis`, `stride` apart, with `dilation` between the elements of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct WindowSpec {
    pub axis: u8,
    pub size: usize,
    pub stride: usize,
    pub dilation: usize,
}

pub(super) fn vjp_permute(axes: &[u8; MAX_RANK], g: &Tensor) -> Tensor {
    let mut inverse = [0u8; MAX_RANK];
    for i in 0..g.rank() {
        inverse[axes[i] as usize] = i as u8;
    }
    permute(g, inverse)
}

pub(super) fn vjp_expand(x: &Tensor, g: &Tensor) -> Tensor {
    let (to, from) = (g.shape(), x.shape());
    let lead = to.rank() - from.rank();
    let mask = (0..to.rank())
        .filter(|&i| i < lead || (from[i - lead] == 1 && to[i] != 1))
        .fold(0u32, |m, i| m | 1 << i);
    super::reduce::sum_keep(g, mask).reshape(from)
}

/// The dual of a slice: its elements put back, zeros elsewhere. A backward step is turned forward first.
pub(super) fn vjp_slice(spec: &SliceSpec, x: &Tensor, g: &Tensor) -> Tensor {
    let mut flip = 0u32;
    let mut pad = PadSpec { before: [0; MAX_RANK], after: [0; MAX_RANK], between: [0; MAX_RANK] };
    for i in 0..x.rank() {
        let (n, count, step) = (x.shape()[i], g.shape()[i], spec.step[i].unsigned_abs());
        if count == 0 {
            return x.zeros_like();
        }
        let reach = (count - 1) * step;
        let first = if spec.step[i] < 0 { spec.start[i] - reach } else { spec.start[i] };
        if spec.step[i] < 0 {
            flip |= 1 << i;
        }
        pad.before[i] = first;
        pad.between[i] = if count > 1 { step - 1 } else { 0 };
        pad.after[i] = n - first - reach - 1;
    }
    join::pad_spec(&flip_mask(g, flip), pad)
}

#[track_caller]
pub(super) fn permute(x: &Tensor, axes: [u8; MAX_RANK]) -> Tensor {
    let mut dims = [0; MAX_RANK];
    for i in 0..x.rank() {
        dims[i] = x.shape()[axes[i] as usize];
    }
    if (0..x.rank()).all(|i| axes[i] as usize == i) {
        return x.clone();
    }
    let shape = Shape::of(&dims[..x.rank()]);
    if let Op::Full(_) = x.node().op {
        return refill(x, shape);
    }
    Tensor::make(Op::Permute(axes), Inputs::One([x.clone()]), shape, x.dtype())
}

/// A constant stays a constant under every view.
#[track_caller]
fn refill(x: &Tensor, shape: Shape) -> Tensor {
    Tensor::make(x.node().op.clone(), Inputs::None, shape, x.dtype())
}

#[track_caller]
pub(super) fn expand(x: &Tensor, shape: Shape) -> Tensor {
    if *x.shape() == shape {
        return x.clone();
    }
    if let Op::Full(_) = x.node().op {
        return refill(x, shape);
    }
    Tensor::make(Op::Expand, Inputs::One([x.clone()]), shape, x.dtype())
}

#[track_caller]
fn slice_spec(x: &Tensor, spec: SliceSpec, shape: Shape) -> Tensor {
    if let Op::Full(_) = x.node().op {
        return refill(x, shape);
    }
    Tensor::make(Op::Slice(Box::new(spec)), Inputs::One([x.clone()]), shape, x.dtype())
}

#[track_caller]
fn flip_mask(x: &Tensor, mask: u32) -> Tensor {
    if mask == 0 {
        return x.clone();
    }
    let mut spec = SliceSpec { start: [0; MAX_RANK], step: [1; MAX_RANK] };
    for i in (0..x.rank()).filter(|i| mask & (1 << i) != 0) {
        spec.start[i] = x.shape()[i].saturating_sub(1);
        spec.step[i] = -1;
    }
    slice_spec(x, spec, *x.shape())
}

#[track_caller]
pub(super) fn window(x: &Tensor, spec: WindowSpec) -> Tensor {
    let axis = spec.axis as usize;
    let span = (spec.size - 1) * spec.dilation + 1;
    let count = if x.shape()[axis] < span { 0 } else { (x.shape()[axis] - span) / spec.stride + 1 };
    let mut dims = x.shape().to_vec();
    dims[axis] = count;
    dims.push(spec.size);
    let shape = Shape::of(&dims);
    if let Op::Full(_) = x.node().op {
        return refill(x, shape);
    }
    Tensor::make(Op::Window(spec), Inputs::One([x.clone()]), shape, x.dtype())
}

pub(super) fn fold(x: &Tensor, spec: WindowSpec, len: usize) -> Tensor {
    let shape = Shape::of(&x.shape()[..x.rank() - 1]).with(spec.axis as usize, len);
    Tensor::make(Op::Fold(spec, len), Inputs::One([x.clone()]), shape, x.dtype())
}

/// The layout of a view's result over the buffer its input lies in; `None` when only a copy will do.
pub(crate) fn layout(op: &Op, input: &Layout, from: &Shape, to: &Shape) -> Option<Layout> {
    let mut out = Layout { offset: input.offset, strides: [0; MAX_RANK] };
    match op {
        Op::Reshape => return input.reshape(from, to),
        Op::StopGrad | Op::Checkpoint | Op::After => return Some(*input),
        Op::Permute(axes) => (0..to.rank()).for_each(|i| out.strides[i] = input.strides[axes[i] as usize]),
        Op::Expand => {
            let lead = to.rank() - from.rank();
            for i in lead..to.rank() {
                out.strides[i] = if from[i - lead] == to[i] { input.strides[i - lead] } else { 0 };
            }
        }
        Op::Slice(spec) => {
            if to.numel() > 0 {
                let shift: isize = (0..to.rank()).map(|i| spec.start[i] as isize * input.strides[i]).sum();
                out.offset = (input.offset as isize + shift) as usize;
            }
            (0..to.rank()).for_each(|i| out.strides[i] = input.strides[i] * spec.step[i]);
        }
        Op::Window(spec) => {
            out.strides[..from.rank()].copy_from_slice(&input.strides[..from.rank()]);
            let step = input.strides[spec.axis as usize];
            out.strides[spec.axis as usize] = step * spec.stride as isize;
            out.strides[from.rank()] = step * spec.dilation as isize;
        }
        _ => return None,
    }
    Some(out)
}

impl Tensor {
    /// The same elements, row-major, under another shape; one extent may be -1 for what is left.
    ///
    /// # Panics
    /// If the numbers of elements differ.
    #[track_caller]
    pub fn reshape(&self, dims: impl ToNumbers) -> Tensor {
        let numbers = dims.to_numbers();
        let asked = numbers.as_slice();
        let shape = match asked.iter().position(|&d| d == -1) {
            None => shape_arg("reshape", dims),
            Some(hole) => {
                let rest: usize = asked.iter().filter(|&&d| d != -1).map(|&d| d.max(0) as usize).product();
                let mut full = asked.to_vec();
                full[hole] = self.numel().checked_div(rest).unwrap_or(0) as isize;
                shape_arg("reshape", full)
            }
        };
        if shape.numel() != self.numel() {
            let rule = format!(
                "shape {} has {} elements and cannot become {asked:?}, which has {}",
                self.shape(),
                self.numel(),
                shape.numel()
            );
            fail(BuildError::new("reshape", rule));
        }
        if shape == *self.shape() {
            return self.clone();
        }
        if let Op::Full(_) = self.node().op {
            return refill(self, shape);
        }
        // A reshape of a reshape is one reshape.
        let source = match self.node().op {
            Op::Reshape => self.node().inputs().as_slice().first().cloned(),
            _ => None,
        };
        match source {
            Some(x) if *x.shape() == shape => x,
            Some(x) => Tensor::make(Op::Reshape, Inputs::One([x]), shape, self.dtype()),
            None => Tensor::make(Op::Reshape, Inputs::One([self.clone()]), shape, self.dtype()),
        }
    }

    /// All axes from `start` on joined into one.
    #[track_caller]
    pub fn flatten(&self, start: isize) -> Tensor {
        let start = axis_arg("flatten", start, self.rank());
        let mut dims = self.shape()[..start].to_vec();
        dims.push(self.shape()[start..].iter().product());
        self.reshape(dims)
    }

    /// A new axis of extent 1 at position `axis`.
    #[track_caller]
    pub fn unsqueeze(&self, axis: isize) -> Tensor {
        let axis = axis_arg("unsqueeze", axis, self.rank() + 1);
        let mut dims = self.shape().to_vec();
        dims.insert(axis, 1);
        self.reshape(dims)
    }

    /// The axes named, which must have extent 1, removed.
    #[track_caller]
    pub fn squeeze(&self, axes: impl Axes) -> Tensor {
        let mask = axes_arg("squeeze", axes, self.rank());
        let mut dims = Vec::new();
        for (i, &d) in self.shape().iter().enumerate() {
            if mask & (1 << i) == 0 {
                dims.push(d);
            } else if d != 1 {
                let rule = format!("axis {i} of shape {} has extent {d}, not 1", self.shape());
                fail(BuildError::new("squeeze", rule));
            }
        }
        self.reshape(dims)
    }

    /// Axes in another order: axis `i` of the result is axis `axes[i]` of this tensor.
    ///
    /// # Panics
    /// If `axes` does not name every axis once.
    #[track_caller]
    pub fn permute(&self, axes: impl ToNumbers) -> Tensor {
        let numbers = axes.to_numbers();
        let asked = numbers.as_slice();
        let whole = axes_arg("permute", asked.to_vec(), self.rank()) == (1u32 << self.rank()) - 1;
        if !whole || asked.len() != self.rank() {
            let rule = format!("{asked:?} does not name each of the {} axes once", self.rank());
            fail(BuildError::new("permute", rule));
        }
        let mut order = [0u8; MAX_RANK];
        for (slot, &axis) in order.iter_mut().zip(asked) {
            *slot = axis_arg("permute", axis, self.rank()) as u8;
        }
        permute(self, order)
    }

    /// Two axes swapped.
    #[track_caller]
    pub fn transpose(&self, a: isize, b: isize) -> Tensor {
        let a = axis_arg("transpose", a, self.rank());
        let b = axis_arg("transpose", b, self.rank());
        let mut order: [u8; MAX_RANK] = std::array::from_fn(|i| i as u8);
        order.swap(a, b);
        permute(self, order)
    }

    /// The transpose of a matrix.
    #[track_caller]
    pub fn t(&self) -> Tensor {
        if self.rank() != 2 {
            fail(BuildError::new(
                "t",
                format!("needs a matrix, shape {} has {} axes", self.shape(), self.rank()),
            ));
        }
        self.transpose(0, 1)
    }

    /// Broadcast to `shape`: aligned at the right, axes of extent 1 repeated, without a copy.
    ///
    /// # Panics
    /// If NumPy's rule does not allow it.
    #[track_caller]
    pub fn expand(&self, shape: impl ToNumbers) -> Tensor {
        let shape = shape_arg("expand", shape);
        if self.shape().broadcast(&shape) != Some(shape) {
            let rule =
                format!("shape {} does not broadcast to {shape}: only extents of 1 repeat", self.shape());
            fail(BuildError::new("expand", rule));
        }
        expand(self, shape)
    }

    /// The elements of a range along one axis; negative positions count from the end, as in Python.
    #[track_caller]
    pub fn slice(&self, axis: isize, range: impl RangeBounds<isize>) -> Tensor {
        self.slice_step(axis, range, 1)
    }

    /// Every `step`-th element of a range along one axis. A negative step walks the range from its end.
    ///
    /// # Panics
    /// If the axis is out of range or the step is 0.
    #[track_caller]
    pub fn slice_step(&self, axis: isize, range: impl RangeBounds<isize>, step: isize) -> Tensor {
        let axis = axis_arg("slice", axis, self.rank());
        if step == 0 {
            fail(BuildError::new("slice", "the step must not be 0"));
        }
        let (low, high) = range_arg(range, self.shape()[axis]);
        let count = (high - low).div_ceil(step.unsigned_abs());
        if count == self.shape()[axis] && step == 1 {
            return self.clone();
        }
        let mut spec = SliceSpec { start: [0; MAX_RANK], step: [1; MAX_RANK] };
        spec.start[axis] = if step < 0 { high.saturating_sub(1) } else { low };
        spec.step[axis] = if count > 1 { step } else { step.signum() };
        slice_spec(self, spec, self.shape().with(axis, count))
    }

    /// The sub-tensor at one position of an axis, which goes away.
    ///
    /// # Panics
    /// If the position is outside.
    #[track_caller]
    pub fn at(&self, axis: isize, position: isize) -> Tensor {
        let axis = axis_arg("at", axis, self.rank());
        let n = self.shape()[axis] as isize;
        let index = if position < 0 { position + n } else { position };
        if index < 0 || index >= n {
            fail(BuildError::new(
                "at",
                format!("position {position} is outside axis {axis} of {}", self.shape()),
            ));
        }
        self.slice(axis as isize, index..index + 1).squeeze(axis)
    }

    /// The order of elements reversed along the axes named.
    #[track_caller]
    pub fn flip(&self, axes: impl Axes) -> Tensor {
        flip_mask(self, axes_arg("flip", axes, self.rank()))
    }

    /// Overlapping windows of `size` elements along `axis`, one every `stride`, their elements `dilation` apart: the
    /// axis counts windows, and a new last axis runs through each. A view, without a copy.
    ///
    /// # Panics
    /// If size, stride or dilation is 0.
    #[track_caller]
    pub fn window(&self, axis: isize, size: usize, stride: usize, dilation: usize) -> Tensor {
        let axis = axis_arg("window", axis, self.rank());
        if size == 0 || stride == 0 || dilation == 0 {
            let rule = format!("size {size}, stride {stride} and dilation {dilation} must all be at least 1");
            fail(BuildError::new("window", rule));
        }
        window(self, WindowSpec { axis: axis as u8, size, stride, dilation })
    }
}

/// A row for a rearrangement of one input of rank at least `rank`: what the closure draws and returns.
fn row(
    op: &'static str,
    rank: usize,
    draw: fn(&mut Draw, &Array) -> (Box<dyn Fn(&Tensor) -> Tensor + Send + Sync>, Array),
) -> OpCase {
    OpCase::new(op, Gradient::Smooth, move |mut d| {
        let shape = d.shape(rank..=4);
        d.input(&shape, -2.0, 2.0);
        let seen = d.values(0).clone();
        let (apply, expected) = draw(&mut d, &seen);
        d.case(move |x| apply(&x[0]), |_| expected)
    })
}

/// The extents in another order, and some of them joined.
fn regrouped(d: &mut Draw, shape: &[usize]) -> Vec<usize> {
    let mut dims: Vec<usize> = shape.to_vec();
    if dims.len() > 1 && d.coin() {
        let i = d.below(dims.len() - 1);
        let joined = dims.remove(i);
        dims[i] *= joined;
    }
    let order = d.permutation(dims.len());
    let mut dims: Vec<usize> = order.into_iter().map(|i| dims[i]).collect();
    dims.insert(d.pick(0..=dims.len()), 1);
    dims
}

/// The array whose element at `i` is that of `x` at `place(i)`.
fn rearranged(x: &Array, shape: &[usize], place: impl Fn(&mut Vec<usize>)) -> Array {
    Array::from_fn(shape, |i| {
        let mut at = i.to_vec();
        place(&mut at);
        x.at(&at)
    })
}

fn permuted(x: &Array, axes: &[usize]) -> Array {
    let shape: Vec<usize> = axes.iter().map(|&a| x.shape[a]).collect();
    Array::from_fn(&shape, |i| {
        let mut at = vec![0; axes.len()];
        axes.iter().zip(i).for_each(|(&a, &i)| at[a] = i);
        x.at(&at)
    })
}

/// Python's slicing, walked one element at a time.
fn sliced(x: &Array, axis: usize, range: std::ops::Range<isize>, step: isize) -> Array {
    let n = x.shape[axis] as isize;
    let end = |i: isize| (if i < 0 { i + n } else { i }).clamp(0, n);
    let mut places: Vec<isize> = (end(range.start)..end(range.end)).collect();
    if step < 0 {
        places.reverse();
    }
    let places: Vec<isize> = places.into_iter().step_by(step.unsigned_abs()).collect();
    let mut shape = x.shape.clone();
    shape[axis] = places.len();
    rearranged(x, &shape, |i| i[axis] = places[i[axis]] as usize)
}

pub(super) fn cases() -> Vec<OpCase> {
    let mut rows = shape_cases();
    rows.extend(place_cases());
    rows
}

/// Rows of the ops that regroup axes.
fn shape_cases() -> Vec<OpCase> {
    vec![
        row("reshape", 0, |d, x| {
            let to = regrouped(d, &x.shape);
            let mut asked: Vec<isize> = to.iter().map(|&d| d as isize).collect();
            let hole = d.below(to.len());
            if d.coin() && x.data.len() != 0 {
                asked[hole] = -1;
            }
            d.note(format!("to {asked:?}"));
            (Box::new(move |x| x.reshape(asked.clone())), x.reshape(&to))
        }),
        row("flatten", 1, |d, x| {
            let (axis, written) = d.axis(x.shape.len());
            let mut to = x.shape[..axis].to_vec();
            to.push(x.shape[axis..].iter().product());
            (Box::new(move |x| x.flatten(written)), x.reshape(&to))
        }),
        row("unsqueeze", 0, |d, x| {
            let (axis, written) = d.axis(x.shape.len() + 1);
            let mut to = x.shape.clone();
            to.insert(axis, 1);
            (Box::new(move |x| x.unsqueeze(written)), x.reshape(&to))
        }),
        row("squeeze", 0, |d, x| {
            let gone: Vec<usize> = (0..x.shape.len()).filter(|&i| x.shape[i] == 1 && d.coin()).collect();
            let kept =
                (0..x.shape.len()).filter(|i| !gone.contains(i)).map(|i| x.shape[i]).collect::<Vec<_>>();
            d.note(format!("axes {gone:?}"));
            (Box::new(move |x| x.squeeze(gone.clone())), x.reshape(&kept))
        }),
        row("permute", 0, |d, x| {
            let axes = d.permutation(x.shape.len());
            d.note(format!("axes {axes:?}"));
            let expected = permuted(x, &axes);
            (Box::new(move |x| x.permute(axes.clone())), expected)
        }),
        row("transpose", 1, |d, x| {
            let ((a, p), (b, q)) = (d.axis(x.shape.len()), d.axis(x.shape.len()));
            let mut axes: Vec<usize> = (0..x.shape.len()).collect();
            axes.swap(a, b);
            (Box::new(move |x| x.transpose(p, q)), permuted(x, &axes))
        }),
        OpCase::new("t", Gradient::Smooth, |mut d| {
            let shape = d.shape(2..=2);
            d.input(&shape, -2.0, 2.0);
            d.case(|x| x[0].t(), |x| permuted(&x[0], &[1, 0]))
        }),
        OpCase::new("expand", Gradient::Smooth, |mut d| {
            let shape = d.shape(0..=4);
            let narrow = d.narrowed(&shape);
            d.note(format!("to {shape:?}"));
            d.input(&narrow, -2.0, 2.0);
            let to = shape.clone();
            d.case(move |x| x[0].expand(&to), |x| Array::from_fn(&shape, |i| x[0].at(i)))
        }),
    ]
}

/// Rows of the ops that choose elements.
fn place_cases() -> Vec<OpCase> {
    vec![
        row("slice", 1, |d, x| {
            let (axis, written) = d.axis(x.shape.len());
            let (a, b) = (d.pick(0..=12) as isize - 6, d.pick(0..=12) as isize - 6);
            d.note(format!("{a}..{b}"));
            (Box::new(move |x| x.slice(written, a..b)), sliced(x, axis, a..b, 1))
        }),
        row("slice_step", 1, |d, x| {
            let (axis, written) = d.axis(x.shape.len());
            let (a, b) = (d.pick(0..=4) as isize - 2, d.pick(0..=12) as isize - 4);
            let step = [-3, -2, -1, 1, 2, 3][d.below(6)];
            d.note(format!("{a}..{b} by {step}"));
            (Box::new(move |x| x.slice_step(written, a..b, step)), sliced(x, axis, a..b, step))
        }),
        OpCase::new("at", Gradient::Smooth, |mut d| {
            let shape = d.filled_shape(1..=4);
            let (axis, written) = d.axis(shape.len());
            let place = d.below(shape[axis]);
            let position = if d.coin() { place as isize } else { place as isize - shape[axis] as isize };
            d.note(format!("position {position}"));
            d.input(&shape, -2.0, 2.0);
            let expected = d.values(0).reduce(&[axis], |line| line[place]);
            d.case(move |x| x[0].at(written, position), |_| expected)
        }),
        row("flip", 0, |d, x| {
            let axes = d.axes(x.shape.len());
            let flipped = |i: &mut Vec<usize>| axes.iter().for_each(|&a| i[a] = x.shape[a] - 1 - i[a]);
            let expected = rearranged(x, &x.shape, flipped);
            (Box::new(move |x| x.flip(axes.clone())), expected)
        }),
        row("window", 1, |d, x| {
            let (axis, written) = d.axis(x.shape.len());
            let (size, stride, dilation) = (d.pick(1..=3), d.pick(1..=3), d.pick(1..=2));
            d.note(format!("size {size}, stride {stride}, dilation {dilation}"));
            let mut shape = x.shape.clone();
            shape[axis] = (0..).take_while(|o| o * stride + (size - 1) * dilation < x.shape[axis]).count();
            shape.push(size);
            let expected = rearranged(x, &shape, |i| {
                let within = i.pop().unwrap_or(0);
                i[axis] = i[axis] * stride + within * dilation;
            });
            (Box::new(move |x| x.window(written, size, stride, dilation)), expected)
        }),
    ]
}
