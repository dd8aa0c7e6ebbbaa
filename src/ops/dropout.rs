//! Dropout: zeros at random, the rest scaled so that the mean stays.

use super::cases::{Gradient, OpCase};
use crate::error::{BuildError, fail};
use crate::rng::Rng;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// Where `α'` of alpha dropout lies: `-λα` of the SELU activation (Klambauer et al. 2017, §3).
const ALPHA_PRIME: f64 = -1.758_099_340_847_376_6;

/// Which elements stay: true with probability `1 - p`, of a shape that broadcasts against x. `None` when all do.
#[track_caller]
fn survivors(
    op: &'static str,
    x: &Tensor,
    rng: &mut Rng,
    p: f64,
    training: bool,
    shape: Shape,
) -> Option<Tensor> {
    if !(0.0..=1.0).contains(&p) {
        fail(BuildError::new(op, format!("the probability {p} is not between 0 and 1")));
    }
    if !x.dtype().is_float() {
        fail(BuildError::new(op, format!("needs floats, not {} {}", x.dtype(), x.shape())));
    }
    (training && p > 0.0).then(|| rng.uniform_of(shape, x.dtype()).ge(p))
}

/// What elements that stay are multiplied by; where none does, 0 keeps the gradient finite.
fn rescale(p: f64) -> f64 {
    if p < 1.0 { 1.0 / (1.0 - p) } else { 0.0 }
}

impl Tensor {
    /// In training, each element is zero with probability `p`, else divided by `1 - p` (Srivastava et al. 2014, in the
    /// inverted form); in evaluation nothing changes and nothing is drawn.
    ///
    /// # Panics
    /// If `p` is not in [0, 1] or this is not a tensor of floats.
    #[track_caller]
    pub fn dropout(&self, rng: &mut Rng, p: f64, training: bool) -> Tensor {
        match survivors("dropout", self, rng, p, training, *self.shape()) {
            Some(stays) => stays.select_or(&(self * rescale(p)), 0.0),
            None => self.clone(),
        }
    }

    /// As [`dropout`](Tensor::dropout), whole channels of x `[n, c, …]` at a time (Tompson et al. 2015).
    ///
    /// # Panics
    /// As [`dropout`](Tensor::dropout), and if x has fewer than three axes.
    #[track_caller]
    pub fn dropout2d(&self, rng: &mut Rng, p: f64, training: bool) -> Tensor {
        if self.rank() < 3 {
            fail(BuildError::new(
                "dropout2d",
                format!("needs x [n, c, …] of three or more axes, not {}", self.shape()),
            ));
        }
        let shape = (2..self.rank()).fold(*self.shape(), |shape, axis| shape.with(axis, 1));
        match survivors("dropout2d", self, rng, p, training, shape) {
            Some(stays) => stays.select_or(&(self * rescale(p)), 0.0),
            None => self.clone(),
        }
    }

    /// Dropout that keeps mean and variance of standard normal elements, for networks of SELUs (Klambauer et al.
    /// 2017, §3): elements become the SELU's lower limit instead of zero, and all are scaled and shifted.
    ///
    /// # Panics
    /// As [`dropout`](Tensor::dropout).
    #[track_caller]
    pub fn alpha_dropout(&self, rng: &mut Rng, p: f64, training: bool) -> Tensor {
        let Some(stays) = survivors("alpha_dropout", self, rng, p, training, *self.shape()) else {
            return self.clone();
        };
        // With p = 1 every element is the limit, and scaling by its variance would divide by zero.
        let a =
            if p < 1.0 { ((1.0 - p) * (1.0 + p * ALPHA_PRIME * ALPHA_PRIME)).sqrt().recip() } else { 0.0 };
        stays.select_or(self, ALPHA_PRIME) * a - a * ALPHA_PRIME * p
    }
}

/// A row for one kind, drawing from a generator of its own. What share is dropped is checked in `tests/composites.rs`.
fn row(op: &'static str, least_rank: usize, f: fn(&Tensor, &mut Rng, f64, bool) -> Tensor) -> OpCase {
    OpCase::new(op, Gradient::Smooth, move |mut d| {
        let shape = d.shape(least_rank..=4);
        let (seed, p) = (d.below(1000) as u64, [0.0, 0.3, 0.7, 1.0][d.below(4)]);
        d.note(format!("p {p}"));
        d.input(&shape, -2.0, 2.0);
        d.case_by_gradient(move |x| f(&x[0], &mut Rng::seed(seed), p, true))
    })
}

pub(super) fn cases() -> Vec<OpCase> {
    vec![
        row("dropout", 0, Tensor::dropout),
        row("dropout2d", 3, Tensor::dropout2d),
        row("alpha_dropout", 0, Tensor::alpha_dropout),
    ]
}
