//! Reductions over any set of axes: `..` for all, a number, a list. The order of additions is fixed by the shape.

use super::Op;
use super::cases::{Array, DISCRETE, Draw, Gradient, OpCase};
use crate::error::{BuildError, fail};
use crate::graph::Inputs;
use crate::shape::{Axes, Shape, axes_arg, axis_arg};
use crate::tensor::Tensor;
use gradus_kernels::DType;
use gradus_kernels::reduce::Reduction;

pub(super) fn name(r: Reduction) -> &'static str {
    match r {
        Reduction::Sum => "sum",
        Reduction::Max => "max",
        Reduction::Min => "min",
        Reduction::ArgMax => "argmax",
        Reduction::ArgMin => "argmin",
    }
}

pub(super) fn blocks(r: Reduction) -> Option<&'static str> {
    match r {
        Reduction::Sum | Reduction::Max | Reduction::Min => None,
        Reduction::ArgMax | Reduction::ArgMin => Some(super::INTEGER_RESULT),
    }
}

/// `y` and `g` keep the reduced axes with extent 1, so they broadcast against `x`.
pub(super) fn vjp(r: Reduction, mask: u32, x: &Tensor, y: &Tensor, g: &Tensor) -> Tensor {
    match r {
        Reduction::Sum => g.expand(x.shape()),
        // Elements that tie share equally, as in PyTorch's amax.
        Reduction::Max | Reduction::Min => {
            let winners = x.eq(y).to(x.dtype());
            let count = keep(Reduction::Sum, &winners, mask);
            winners * (g / count)
        }
        Reduction::ArgMax | Reduction::ArgMin => unreachable!("integer results carry no gradient"),
    }
}

/// The sum over the axes in `mask`, which stay with extent 1.
#[track_caller]
pub(super) fn sum_keep(x: &Tensor, mask: u32) -> Tensor {
    keep(Reduction::Sum, x, mask)
}

/// A reduction over the axes in `mask`, which stay with extent 1.
#[track_caller]
pub(super) fn keep(r: Reduction, x: &Tensor, mask: u32) -> Tensor {
    let mut shape = *x.shape();
    let mut mask_left = 0u32;
    for i in (0..x.rank()).filter(|i| mask & (1 << i) != 0) {
        if shape[i] != 1 {
            mask_left |= 1 << i;
        }
        shape = shape.with(i, 1);
    }
    let dtype = match r {
        Reduction::ArgMax | Reduction::ArgMin => DType::U32,
        _ => x.dtype(),
    };
    if mask_left == 0 && dtype == x.dtype() && x.numel() > 0 {
        return x.clone();
    }
    Tensor::make(Op::Reduce(r, mask_left), Inputs::One([x.clone()]), shape, dtype)
}

/// The shape without the axes in `mask`.
fn dropped(shape: &Shape, mask: u32) -> Vec<usize> {
    (0..shape.rank()).filter(|i| mask & (1 << i) == 0).map(|i| shape[i]).collect()
}

#[track_caller]
fn reduce(r: Reduction, x: &Tensor, axes: impl Axes) -> Tensor {
    let op = name(r);
    let mask = axes_arg(op, axes, x.rank());
    if r != Reduction::Sum && (0..x.rank()).any(|i| mask & (1 << i) != 0 && x.shape()[i] == 0) {
        fail(BuildError::new(
            op,
            format!("shape {} has no element to choose from along a reduced axis", x.shape()),
        ));
    }
    if r == Reduction::Sum && x.dtype() == DType::Bool {
        fail(BuildError::new(op, "is not defined for bool; convert with .to(dtype), or use any or all"));
    }
    keep(r, x, mask).reshape(dropped(x.shape(), mask))
}

impl Tensor {
    /// How many elements the axes in `mask` hold.
    fn extent_of(&self, mask: u32) -> usize {
        (0..self.rank()).filter(|i| mask & (1 << i) != 0).map(|i| self.shape()[i]).product()
    }

    /// The sum over `axes`, which go away. Of no element: 0.
    #[track_caller]
    pub fn sum(&self, axes: impl Axes) -> Tensor {
        reduce(Reduction::Sum, self, axes)
    }

    /// The sum over `axes`, which stay with extent 1.
    #[track_caller]
    pub fn sum_keepdim(&self, axes: impl Axes) -> Tensor {
        sum_keep(self, axes_arg("sum", axes, self.rank()))
    }

    /// The mean over `axes`, which go away. Of no element: NaN.
    #[track_caller]
    pub fn mean(&self, axes: impl Axes) -> Tensor {
        let mask = axes_arg("mean", axes, self.rank());
        self.mean_mask(mask).reshape(dropped(self.shape(), mask))
    }

    /// The mean over `axes`, which stay with extent 1.
    #[track_caller]
    pub fn mean_keepdim(&self, axes: impl Axes) -> Tensor {
        self.mean_mask(axes_arg("mean", axes, self.rank()))
    }

    #[track_caller]
    fn mean_mask(&self, mask: u32) -> Tensor {
        if !self.dtype().is_float() {
            fail(BuildError::new(
                "mean",
                format!("is not defined for {}; convert with .to(dtype)", self.dtype()),
            ));
        }
        sum_keep(self, mask) / self.extent_of(mask) as f64
    }

    /// The variance over `axes`, which go away: squared deviations from the mean, divided by `n - correction`
    /// (0 for the population, 1 for the unbiased estimate).
    #[track_caller]
    pub fn var(&self, axes: impl Axes, correction: usize) -> Tensor {
        let mask = axes_arg("var", axes, self.rank());
        let n = self.extent_of(mask) as f64 - correction as f64;
        let deviation = self - self.mean_mask(mask);
        (sum_keep(&deviation.square(), mask) / n).reshape(dropped(self.shape(), mask))
    }

    /// The square root of [`var`](Tensor::var).
    #[track_caller]
    pub fn std(&self, axes: impl Axes, correction: usize) -> Tensor {
        self.var(axes, correction).sqrt()
    }

    /// The largest element over `axes`, which go away. NaN if there is one; ties share the gradient equally.
    ///
    /// # Panics
    /// If there is no element to choose from.
    #[track_caller]
    pub fn max(&self, axes: impl Axes) -> Tensor {
        reduce(Reduction::Max, self, axes)
    }

    /// The smallest element over `axes`, which go away. NaN if there is one; ties share the gradient equally.
    ///
    /// # Panics
    /// If there is no element to choose from.
    #[track_caller]
    pub fn min(&self, axes: impl Axes) -> Tensor {
        reduce(Reduction::Min, self, axes)
    }

    /// The position (u32) of the largest element along an axis, the first of equals; NaN counts as largest.
    #[track_caller]
    pub fn argmax(&self, axis: isize) -> Tensor {
        reduce(Reduction::ArgMax, self, axis)
    }

    /// The position (u32) of the smallest element along an axis, the first of equals; NaN counts as smallest.
    #[track_caller]
    pub fn argmin(&self, axis: isize) -> Tensor {
        reduce(Reduction::ArgMin, self, axis)
    }

    /// Whether any element over `axes` is true (not zero): bool.
    #[track_caller]
    pub fn any(&self, axes: impl Axes) -> Tensor {
        self.truth(axes, Reduction::Max)
    }

    /// Whether all elements over `axes` are true (not zero): bool.
    #[track_caller]
    pub fn all(&self, axes: impl Axes) -> Tensor {
        self.truth(axes, Reduction::Min)
    }

    #[track_caller]
    fn truth(&self, axes: impl Axes, r: Reduction) -> Tensor {
        let mask = axes_arg("any/all", axes, self.rank());
        keep(r, &self.to(DType::Bool), mask).reshape(dropped(self.shape(), mask))
    }

    /// The product over `axes`, which go away. Of no element: 1. Multiplied pairwise, so its gradient is right at
    /// every order even where elements are 0.
    #[track_caller]
    pub fn prod(&self, axes: impl Axes) -> Tensor {
        let mask = axes_arg("prod", axes, self.rank());
        let rest = dropped(self.shape(), mask);
        let mut order: Vec<usize> = (0..self.rank()).filter(|i| mask & (1 << i) == 0).collect();
        order.extend((0..self.rank()).filter(|i| mask & (1 << i) != 0));
        let count = self.extent_of(mask);
        if count == 0 {
            return Tensor::constant(Shape::of(&rest), 1.0, self.dtype());
        }
        let flat: Vec<usize> = rest.iter().copied().chain([count]).collect();
        let mut x = self.permute(order).reshape(flat);
        while x.shape()[x.rank() - 1] > 1 {
            let n = x.shape()[x.rank() - 1] as isize;
            let half = n / 2;
            let pairs = x.slice(-1, 0..half) * x.slice(-1, half..2 * half);
            x = if n % 2 == 1 { Tensor::cat(&[pairs, x.slice(-1, n - 1..)], -1) } else { pairs };
        }
        x.squeeze(-1)
    }

    /// `log(sum(exp(x)))` over `axes`, which go away, without overflow.
    #[track_caller]
    pub fn logsumexp(&self, axes: impl Axes) -> Tensor {
        let mask = axes_arg("logsumexp", axes, self.rank());
        self.logsumexp_mask(mask).reshape(dropped(self.shape(), mask))
    }

    /// As [`logsumexp`](Tensor::logsumexp), the axes in `mask` staying with extent 1.
    #[track_caller]
    pub(super) fn logsumexp_mask(&self, mask: u32) -> Tensor {
        // The shift cancels exactly, derivatives included, so it needs none. Rows that are all -inf, or hold +inf,
        // are not shifted, which would make NaN of them.
        let top = keep(Reduction::Max, &self.stop_grad(), mask);
        let finite = top.abs().lt(f64::INFINITY);
        let shift = finite.select(&top, &top.zeros_like()).stop_grad();
        sum_keep(&(self - &shift).exp(), mask).log() + shift
    }

    /// The Euclidean norm over `axes`, which go away: `sqrt(sum(x²))`, with gradient 0 where it is 0, as in PyTorch.
    #[track_caller]
    pub fn norm(&self, axes: impl Axes) -> Tensor {
        let squares = self.square().sum(axes);
        let zero = squares.eq(0.0);
        // The square root is taken away from 0, where its slope is infinite.
        let root = zero.select(&squares.ones_like(), &squares).sqrt();
        zero.select(&squares.zeros_like(), &root)
    }

    /// `softmax` along an axis: `exp(x) / sum(exp(x))`, without overflow.
    #[track_caller]
    pub fn softmax(&self, axis: isize) -> Tensor {
        let mask = 1u32 << axis_arg("softmax", axis, self.rank());
        let e = (self - keep(Reduction::Max, &self.stop_grad(), mask)).exp();
        &e / sum_keep(&e, mask)
    }

    /// The logarithm of [`softmax`](Tensor::softmax), accurate where that is tiny.
    #[track_caller]
    pub fn log_softmax(&self, axis: isize) -> Tensor {
        let mask = 1u32 << axis_arg("log_softmax", axis, self.rank());
        self - self.logsumexp_mask(mask)
    }
}

/// A row for a reduction over any axes. Without `empty`, the reduced axes have elements; `apart` keeps ties away.
fn over_axes(
    op: &'static str,
    gradient: Gradient,
    (empty, apart): (bool, bool),
    f: fn(&Tensor, Vec<usize>) -> Tensor,
    std: fn(&[f64]) -> f64,
) -> OpCase {
    OpCase::new(op, gradient, move |mut d| {
        let mut shape = d.shape(0..=4);
        let axes = d.axes(shape.len());
        if !empty {
            axes.iter().for_each(|&a| shape[a] = shape[a].max(1));
        }
        if apart {
            d.distinct(&shape)
        } else {
            d.input(&shape, 0.5, 2.0)
        }
        let expected = d.values(0).reduce(&axes, std);
        d.case(move |x| f(&x[0], axes.clone()), |_| expected)
    })
}

/// A row for an op along one axis that keeps the shape.
fn along_axis(op: &'static str, f: fn(&Tensor, isize) -> Tensor, std: fn(&[f64]) -> Vec<f64>) -> OpCase {
    OpCase::new(op, Gradient::Smooth, move |mut d| {
        let shape = d.shape(1..=3);
        let (axis, written) = d.axis(shape.len());
        d.input(&shape, -2.0, 2.0);
        d.case(move |x| f(&x[0], written), |x| x[0].along(axis, std))
    })
}

/// A row for the place of an extreme.
fn place(op: &'static str, f: fn(&Tensor, isize) -> Tensor, better: fn(f64, f64) -> bool) -> OpCase {
    OpCase::new(op, DISCRETE, move |mut d| {
        let shape = d.filled_shape(1..=3);
        let (axis, written) = d.axis(shape.len());
        d.input_with(&shape, |d| d.below(4) as f64);
        let first = |line: &[f64]| {
            (1..line.len()).fold(0, |best, i| if better(line[i], line[best]) { i } else { best }) as f64
        };
        let expected = d.values(0).reduce(&[axis], first);
        d.case(move |x| f(&x[0], written), |_| expected)
    })
}

/// A row for a question about bools.
fn truth(op: &'static str, f: fn(&Tensor, Vec<usize>) -> Tensor, std: fn(&[f64]) -> bool) -> OpCase {
    OpCase::new(op, DISCRETE, move |mut d| {
        let shape = d.shape(0..=3);
        let axes = d.axes(shape.len());
        let (mask, values) = d.mask(&shape);
        let expected = values.reduce(&axes, |line| f64::from(std(line)));
        d.case(move |_| f(&mask, axes.clone()), |_| expected)
    })
}

fn mean_of(line: &[f64]) -> f64 {
    line.iter().sum::<f64>() / line.len() as f64
}

fn variance(line: &[f64]) -> f64 {
    let mean = mean_of(line);
    line.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / line.len() as f64
}

fn log_sum(line: &[f64]) -> f64 {
    line.iter().map(|x| x.exp()).sum::<f64>().ln()
}

/// The reduced axes of `x` with extent 1.
fn kept(x: &Array, axes: &[usize], reduced: Array) -> Array {
    let dims: Vec<usize> =
        (0..x.shape.len()).map(|i| if axes.contains(&i) { 1 } else { x.shape[i] }).collect();
    reduced.reshape(&dims)
}

fn keepdim(op: &'static str, f: fn(&Tensor, Vec<usize>) -> Tensor, std: fn(&[f64]) -> f64) -> OpCase {
    OpCase::new(op, Gradient::Smooth, move |mut d| {
        let shape = d.filled_shape(0..=4);
        let axes = d.axes(shape.len());
        d.input(&shape, -2.0, 2.0);
        let expected = kept(d.values(0), &axes, d.values(0).reduce(&axes, std));
        d.case(move |x| f(&x[0], axes.clone()), |_| expected)
    })
}

/// A row for the unbiased estimate, which needs two elements.
fn unbiased(d: &mut Draw) -> (Vec<usize>, Array) {
    let mut shape = d.filled_shape(1..=3);
    let (axis, _) = d.axis(shape.len());
    shape[axis] += 1;
    d.distinct(&shape);
    let n = shape[axis] as f64;
    let expected = d.values(0).reduce(&[axis], |line| variance(line) * n / (n - 1.0));
    (vec![axis], expected)
}

pub(super) fn cases() -> Vec<OpCase> {
    use Gradient::{Pieces, Smooth};
    let max = |line: &[f64]| line.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let min = |line: &[f64]| line.iter().copied().fold(f64::INFINITY, f64::min);
    vec![
        over_axes("sum", Smooth, (true, false), |x, a| x.sum(a), |l| l.iter().sum()),
        keepdim("sum_keepdim", |x, a| x.sum_keepdim(a), |l| l.iter().sum()),
        over_axes("mean", Smooth, (false, false), |x, a| x.mean(a), mean_of),
        keepdim("mean_keepdim", |x, a| x.mean_keepdim(a), mean_of),
        over_axes("var", Smooth, (false, false), |x, a| x.var(a, 0), variance),
        OpCase::new("var", Smooth, |mut d| {
            let (axes, expected) = unbiased(&mut d);
            d.case(move |x| x[0].var(axes.clone(), 1), |_| expected)
        })
        .variant("unbiased"),
        OpCase::new("std", Smooth, |mut d| {
            let (axes, expected) = unbiased(&mut d);
            d.case(move |x| x[0].std(axes.clone(), 1), |_| expected.map(f64::sqrt))
        }),
        over_axes("max", Pieces, (false, true), |x, a| x.max(a), max),
        over_axes("min", Pieces, (false, true), |x, a| x.min(a), min),
        place("argmax", |x, axis| x.argmax(axis), |a, b| a > b),
        place("argmin", |x, axis| x.argmin(axis), |a, b| a < b),
        truth("any", |x, a| x.any(a), |l| l.contains(&1.0)),
        truth("all", |x, a| x.all(a), |l| !l.contains(&0.0)),
        over_axes("prod", Smooth, (true, false), |x, a| x.prod(a), |l| l.iter().product()),
        over_axes("logsumexp", Smooth, (true, false), |x, a| x.logsumexp(a), log_sum),
        over_axes(
            "norm",
            Smooth,
            (true, false),
            |x, a| x.norm(a),
            |l| l.iter().map(|x| x * x).sum::<f64>().sqrt(),
        ),
        along_axis("softmax", |x, a| x.softmax(a), |l| l.iter().map(|x| (x - log_sum(l)).exp()).collect()),
        along_axis("log_softmax", |x, a| x.log_softmax(a), |l| l.iter().map(|x| x - log_sum(l)).collect()),
    ]
}
