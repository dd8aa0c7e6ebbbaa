//! Losses: functions of predictions and targets, each with its formula, that stay finite and accurate where numbers
//! are extreme.
//!
//! Every function gives the mean over all elements, a scalar ready to differentiate; its `_elementwise` twin gives
//! the values before the mean, for other weightings. Predictions and targets have one shape: losses do not
//! broadcast, because `[n]` against `[n, 1]` is a mistake that would silently become `[n, n]`. Being compositions
//! of primitives, losses have derivatives of every order, for targets too.
//!
//! ```
//! use gradus::{Tensor, grad, loss};
//! let logits = Tensor::from([[2.0f64, 0.0], [1000.0, -1000.0]]);
//! let labels = Tensor::from([0u32, 1]);
//! let mean = loss::cross_entropy(&logits, &labels);
//! assert!((mean.item()? - (0.126928 + 2000.0) / 2.0).abs() < 1e-6);
//! assert!(grad(&mean, [&logits])[0].to_vec::<f64>()?.iter().all(|g| g.is_finite()));
//! # Ok::<(), gradus::Error>(())
//! ```

mod adversarial;
pub(crate) mod cases;
mod classes;

pub use adversarial::Adversarial;
pub use classes::{
    cross_entropy, cross_entropy_elementwise, cross_entropy_smoothed, cross_entropy_smoothed_elementwise,
    nll, nll_elementwise,
};

use crate::error::{BuildError, fail};
use crate::tensor::Tensor;

/// Refuses predictions and targets that are not of one shape and float type.
#[track_caller]
fn check(op: &'static str, prediction: &Tensor, target: &Tensor) {
    if prediction.shape() != target.shape()
        || prediction.dtype() != target.dtype()
        || !target.dtype().is_float()
    {
        let rule = format!(
            "needs prediction and target of one shape and float type, not {} {} and {} {}",
            prediction.dtype(),
            prediction.shape(),
            target.dtype(),
            target.shape()
        );
        fail(BuildError::new(op, rule));
    }
}

/// The mean squared error `(y - t)²`.
///
/// # Panics
/// If the shapes or types differ.
#[track_caller]
pub fn mse(prediction: &Tensor, target: &Tensor) -> Tensor {
    mse_elementwise(prediction, target).mean(..)
}

/// [`mse`] before the mean.
#[track_caller]
pub fn mse_elementwise(prediction: &Tensor, target: &Tensor) -> Tensor {
    check("mse", prediction, target);
    (prediction - target).square()
}

/// The mean absolute error `|y - t|`, with derivative 0 where they are equal.
///
/// # Panics
/// If the shapes or types differ.
#[track_caller]
pub fn l1(prediction: &Tensor, target: &Tensor) -> Tensor {
    l1_elementwise(prediction, target).mean(..)
}

/// [`l1`] before the mean.
#[track_caller]
pub fn l1_elementwise(prediction: &Tensor, target: &Tensor) -> Tensor {
    check("l1", prediction, target);
    (prediction - target).abs()
}

/// Huber's loss (1964, "Robust estimation of a location parameter"): with `d = |y - t|`, `d² / 2` where `d ≤ delta`,
/// else `delta (d - delta / 2)`.
///
/// # Panics
/// If the shapes or types differ, or `delta` is not positive.
#[track_caller]
pub fn huber(prediction: &Tensor, target: &Tensor, delta: f64) -> Tensor {
    huber_elementwise(prediction, target, delta).mean(..)
}

/// [`huber`] before the mean.
#[track_caller]
pub fn huber_elementwise(prediction: &Tensor, target: &Tensor, delta: f64) -> Tensor {
    check("huber", prediction, target);
    positive("huber", "delta", delta);
    let distance = prediction - target;
    // The part of the distance within delta, where this is the square's half, sign included.
    let near = distance.clamp(-delta, delta);
    &near * (distance - &near * 0.5)
}

/// The smooth L1 loss of Fast R-CNN (Girshick 2015, eq. 3), [`huber`] divided by its `beta`: squares near zero, slope
/// 1 beyond.
///
/// # Panics
/// If the shapes or types differ, or `beta` is not positive.
#[track_caller]
pub fn smooth_l1(prediction: &Tensor, target: &Tensor, beta: f64) -> Tensor {
    smooth_l1_elementwise(prediction, target, beta).mean(..)
}

/// [`smooth_l1`] before the mean.
#[track_caller]
pub fn smooth_l1_elementwise(prediction: &Tensor, target: &Tensor, beta: f64) -> Tensor {
    check("smooth_l1", prediction, target);
    positive("smooth_l1", "beta", beta);
    huber_elementwise(prediction, target, beta) / beta
}

#[track_caller]
fn positive(op: &'static str, name: &str, value: f64) {
    if value.is_nan() || value <= 0.0 {
        fail(BuildError::new(op, format!("{name} must be positive, not {value}")));
    }
}

/// Binary cross entropy of probabilities `p` and targets `t` in [0, 1]: `-(t log p + (1 - t) log(1 - p))`.
///
/// Logarithms are at least -100, as in PyTorch, with gradient 0 where that bound holds; a network had better end in
/// logits and use [`bce_with_logits`].
///
/// # Panics
/// If the shapes or types differ.
#[track_caller]
pub fn bce(probability: &Tensor, target: &Tensor) -> Tensor {
    bce_elementwise(probability, target).mean(..)
}

/// [`bce`] before the mean.
#[track_caller]
pub fn bce_elementwise(probability: &Tensor, target: &Tensor) -> Tensor {
    check("bce", probability, target);
    const LEAST: f64 = -100.0;
    // Bounded before the logarithm, whose slope is infinite at 0; of 1 - p by log1p, which sees a small p.
    let (none, all) = (probability.le(LEAST.exp()), probability.ge(1.0));
    let log_p = probability.masked_fill(&none, 1.0).log();
    let log_q = (-probability.masked_fill(&all, 0.0)).log1p();
    let (log_p, log_q) = (log_p.masked_fill(&none, LEAST), log_q.masked_fill(&all, LEAST));
    -(target * log_p + (1.0 - target) * log_q)
}

/// Binary cross entropy of logits `x` and targets `t` in [0, 1], of any size of logit:
/// `t softplus(-x) + (1 - t) softplus(x)`, which is [`bce`] of `sigmoid(x)`.
///
/// # Panics
/// If the shapes or types differ.
#[track_caller]
pub fn bce_with_logits(logit: &Tensor, target: &Tensor) -> Tensor {
    bce_with_logits_elementwise(logit, target).mean(..)
}

/// [`bce_with_logits`] before the mean.
#[track_caller]
pub fn bce_with_logits_elementwise(logit: &Tensor, target: &Tensor) -> Tensor {
    check("bce_with_logits", logit, target);
    // Both terms are positive: no digits cancel, as they do in softplus(x) - x t where the answer is right and sure.
    target * (-logit).softplus() + (1.0 - target) * logit.softplus()
}

/// [`bce_with_logits`] with the terms of positive targets times `weight` (which broadcasts, `[classes]` for one
/// weight a class), to make up for rare positives.
///
/// # Panics
/// If the shapes of logits and targets or any types differ, or the weight does not broadcast to them.
#[track_caller]
pub fn bce_with_logits_weighted(logit: &Tensor, target: &Tensor, weight: &Tensor) -> Tensor {
    check("bce_with_logits", logit, target);
    let weight = weight.expand(logit.shape());
    (target * weight * (-logit).softplus() + (1.0 - target) * logit.softplus()).mean(..)
}

/// The Kullback-Leibler divergence `Σ t (log t - y)` of the distribution with log-probabilities `y` from the one with
/// probabilities `t`: summed over all but the first axis, mean over the first (PyTorch's `batchmean`, which is the
/// divergence; the mean over all elements is not). `t = 0` adds nothing.
///
/// # Panics
/// If the shapes or types differ or there is no axis.
#[track_caller]
pub fn kl_div(log_probability: &Tensor, target: &Tensor) -> Tensor {
    let each = kl_div_elementwise(log_probability, target);
    if each.rank() == 0 {
        fail(BuildError::new("kl_div", "needs at least one axis"));
    }
    each.sum(..) / log_probability.shape()[0] as f64
}

/// The terms `t (log t - y)` of [`kl_div`].
#[track_caller]
pub fn kl_div_elementwise(log_probability: &Tensor, target: &Tensor) -> Tensor {
    check("kl_div", log_probability, target);
    // Where t = 0 both logarithms may be -∞, and 0 · ∞ is not 0.
    let none = target.eq(0.0);
    target * (target.masked_fill(&none, 1.0).log() - log_probability.masked_fill(&none, 0.0))
}

/// The negative log-likelihood of `t` under normal distributions of mean `μ` and variance `v`, without the constant
/// `log(2π) / 2`: `(log v + (t - μ)² / v) / 2` (Nix & Weigend 1994, eq. 3).
///
/// Variances below `least` count as `least`, and then get no gradient.
///
/// # Panics
/// If the shapes or types differ, or `least` is not positive.
#[track_caller]
pub fn gaussian_nll(mean: &Tensor, target: &Tensor, variance: &Tensor, least: f64) -> Tensor {
    gaussian_nll_elementwise(mean, target, variance, least).mean(..)
}

/// [`gaussian_nll`] before the mean.
#[track_caller]
pub fn gaussian_nll_elementwise(mean: &Tensor, target: &Tensor, variance: &Tensor, least: f64) -> Tensor {
    check("gaussian_nll", mean, target);
    check("gaussian_nll", mean, variance);
    positive("gaussian_nll", "the least variance", least);
    let variance = variance.clamp(least, f64::INFINITY);
    (variance.log() + (target - mean).square() / variance) * 0.5
}

/// The hinge loss of scores `y` and targets `t` of -1 or 1: `max(0, 1 - t y)` (Cortes & Vapnik 1995).
///
/// # Panics
/// If the shapes or types differ.
#[track_caller]
pub fn hinge(score: &Tensor, target: &Tensor) -> Tensor {
    hinge_elementwise(score, target).mean(..)
}

/// [`hinge`] before the mean.
#[track_caller]
pub fn hinge_elementwise(score: &Tensor, target: &Tensor) -> Tensor {
    check("hinge", score, target);
    (1.0 - target * score).relu()
}
