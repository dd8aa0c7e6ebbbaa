//! Choosing by a condition, and converting types.

use super::binary::{Operand, broadcast};
use super::cases::{Array, DISCRETE, Draw, Gradient, OpCase};
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
        let (a, b) = broadcast("where", a.clone(), b.clone());
        let (condition, a) = broadcast("where", self.clone(), a);
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
        self.select(a, &b.operand("where", a))
    }
}

/// A condition and two inputs, the shapes of the three broadcasting.
fn drawn_where(d: &mut Draw) -> (Tensor, Array) {
    let shape = d.shape(0..=3);
    let mask_shape = d.narrowed(&shape);
    let (mask, chosen) = d.mask(&mask_shape);
    for _ in 0..2 {
        let narrow = d.narrowed(&shape);
        d.input(&narrow, -2.0, 2.0);
    }
    (mask, chosen)
}

pub(super) fn cases() -> Vec<OpCase> {
    vec![
        OpCase::new("select", Gradient::Smooth, |mut d| {
            let (mask, chosen) = drawn_where(&mut d);
            let pick = |c, a, b| if c != 0.0 { a } else { b };
            d.case(move |x| mask.select(&x[0], &x[1]), |x| chosen.zip3(&x[0], &x[1], pick))
        }),
        OpCase::new("select_or", Gradient::Smooth, |mut d| {
            let shape = d.shape(0..=3);
            let mask_shape = d.narrowed(&shape);
            let (mask, chosen) = d.mask(&mask_shape);
            d.input(&shape, -2.0, 2.0);
            let pick = |c, a| if c != 0.0 { a } else { 0.25 };
            d.case(move |x| mask.select_or(&x[0], 0.25), |x| chosen.zip(&x[0], pick))
        }),
        OpCase::new("masked_fill", Gradient::Smooth, |mut d| {
            let shape = d.shape(0..=3);
            let mask_shape = d.narrowed(&shape);
            let (mask, chosen) = d.mask(&mask_shape);
            d.input(&shape, -2.0, 2.0);
            let pick = |c, a| if c != 0.0 { -1.5 } else { a };
            d.case(move |x| x[0].masked_fill(&mask, -1.5), |x| chosen.zip(&x[0], pick))
        }),
        OpCase::new("clamp", Gradient::Pieces, |mut d| {
            let shape = d.shape(0..=3);
            d.input_with(&shape, |d| d.below(6) as f64 * 0.5 - 1.5 + d.between(0.05, 0.45));
            d.case(|x| x[0].clamp(-0.5, 1.0), |x| x[0].map(|x| x.clamp(-0.5, 1.0)))
        }),
        OpCase::new("to", Gradient::ByHand("differences of f32 values see their rounding"), |mut d| {
            let shape = d.shape(0..=3);
            d.input(&shape, -8.0, 8.0);
            d.case(|x| x[0].to(DType::F32), |x| x[0].map(|x| f64::from(x as f32)))
        }),
        OpCase::new("to", DISCRETE, |mut d| {
            let shape = d.shape(0..=3);
            let (dtype, whole): (DType, fn(f64) -> f64) = match d.below(3) {
                0 => (DType::I32, f64::trunc),
                1 => (DType::U32, |x| x.trunc().max(0.0)),
                _ => (DType::Bool, |x| f64::from(x != 0.0)),
            };
            d.note(dtype.to_string());
            d.input_with(&shape, |d| if d.below(4) == 0 { 0.0 } else { d.between(-8.0, 8.0) });
            d.case(move |x| x[0].to(dtype), |x| x[0].map(whole))
        })
        .variant("integers and bool"),
        OpCase::new("stop_grad", Gradient::None("stop_grad was asked for"), |mut d| {
            let shape = d.shape(0..=3);
            d.input(&shape, -2.0, 2.0);
            d.case(|x| x[0].stop_grad(), |x| x[0].clone())
        }),
    ]
}
