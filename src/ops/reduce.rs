//! Reductions over any set of axes: `..` for all, a number, a list. The order of additions is fixed by the shape.

use super::Op;
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
