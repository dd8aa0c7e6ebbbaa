//! Choosing by a condition, and converting types.

use super::binary::{Operand, broadcast};
use super::{Op, view};
use crate::error::{BuildError, fail};
use crate::graph::Inputs;
use crate::tensor::Tensor;
use gradus_kernels::DType;

pub(super) fn vjp_where(x: &[Tensor], g: &Tensor, needs: &dyn Fn(usize) -> bool) -> Vec<Option<Tensor>> {
    let zero = g.zeros_like();
    vec![
        None,
        if needs(1) { Some(x[0].select(g, &zero)) } else { None },
        if needs(2) { Some(x[0].select(&zero, g)) } else { None },
    ]
}

impl Tensor {
    /// `where(self, a, b)`: the elements of `a` where this bool tensor is true, else those of `b`.
    ///
    /// All three broadcast together. Gradients reach only the side that was taken.
    ///
    /// # Panics
    /// If this is not a bool tensor, the shapes do not broadcast, or the types of `a` and `b` differ.
    #[track_caller]
    pub fn select(&self, a: &Tensor, b: &Tensor) -> Tensor {
        if self.dtype() != DType::Bool {
            fail(BuildError::new("where", format!("the condition must be bool, not {}", self.dtype())));
        }
        if a.dtype() != b.dtype() {
            let rule = format!("types {} and {} differ; convert one with .to(dtype)", a.dtype(), b.dtype());
            fail(BuildError::new("where", rule));
        }
        let (a, b) = broadcast("where", a, b);
        let (condition, a) = broadcast("where", self, &a);
        let b = view::expand(&b, *a.shape());
        let (shape, dtype) = (*a.shape(), a.dtype());
        Tensor::make(Op::Select, Inputs::Three([condition, a, b]), shape, dtype)
    }

    /// The elements with those where `mask` is true replaced by `value`.
    ///
    /// # Panics
    /// If `mask` is not bool or does not broadcast.
    #[track_caller]
    pub fn masked_fill(&self, mask: &Tensor, value: f64) -> Tensor {
        mask.select(&self.full_like(value), self)
    }

    /// The elements clamped to `[low, high]`; the gradient is 1 inside and on the bounds, 0 outside, as in PyTorch.
    /// NaN stays NaN.
    #[track_caller]
    pub fn clamp(&self, low: f64, high: f64) -> Tensor {
        let (below, above) = (self.lt(low), self.gt(high));
        above.select(&self.full_like(high), &below.select(&self.full_like(low), self))
    }

    /// The same values in another type: float to integer truncates and saturates, anything to bool is `!= 0`.
    /// Gradients pass between float types.
    #[track_caller]
    pub fn to(&self, dtype: DType) -> Tensor {
        if dtype == self.dtype() {
            return self.clone();
        }
        Tensor::make(Op::Cast, Inputs::One([self.clone()]), *self.shape(), dtype)
    }

    /// The value without its history: no gradient flows through.
    #[track_caller]
    pub fn stop_grad(&self) -> Tensor {
        Tensor::make(Op::StopGrad, Inputs::One([self.clone()]), *self.shape(), self.dtype())
    }

    /// `where(condition, a, b)` with a number for `b`.
    #[track_caller]
    pub fn select_or(&self, a: &Tensor, b: impl Operand) -> Tensor {
        self.select(a, &b.operand(a))
    }
}
