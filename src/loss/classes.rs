//! Losses over classes, which lie along axis 1: predictions `[n, classes, …]`, or `[classes]` for one sample.

use crate::error::{BuildError, fail};
use crate::tensor::Tensor;
use gradus_kernels::DType;

/// The axis of the classes.
#[track_caller]
fn class_axis(op: &'static str, prediction: &Tensor) -> usize {
    if prediction.rank() == 0 || !prediction.dtype().is_float() {
        let rule = format!("needs floats [n, classes, …], not {} {}", prediction.dtype(), prediction.shape());
        fail(BuildError::new(op, rule));
    }
    let axis = usize::from(prediction.rank() > 1);
    if prediction.shape()[axis] == 0 {
        fail(BuildError::new(op, format!("there is no class: shape {}", prediction.shape())));
    }
    axis
}

/// Whether `target` holds class indices (else probabilities), of a shape that fits.
#[track_caller]
fn holds_indices(op: &'static str, prediction: &Tensor, axis: usize, target: &Tensor) -> bool {
    let indices = matches!(target.dtype(), DType::U32 | DType::I32);
    let mut dims = prediction.shape().to_vec();
    if indices {
        dims.remove(axis);
    }
    if target.shape().dims() != dims || !(indices || target.dtype() == prediction.dtype()) {
        let rule = format!(
            "prediction {} {} needs class indices (u32 or i32) of its shape without axis {axis}, or probabilities of its shape and type, not {} {}",
            prediction.dtype(),
            prediction.shape(),
            target.dtype(),
            target.shape()
        );
        fail(BuildError::new(op, rule));
    }
    indices
}

/// `logsumexp(x) - x[class]`, as `m + log(e^-m + Σ e^(x[j] - x[class] - m))` over the other classes `j` with
/// `m = max(x) - x[class] ≥ 0`: a sum of positive terms, accurate also where the answer is sure and the loss tiny.
fn surprise(logits: &Tensor, axis: usize, class: &Tensor) -> Tensor {
    let class = class.unsqueeze(axis as isize);
    let chosen = logits.gather(axis as isize, &class);
    // m cancels exactly, derivatives included, so it needs none.
    let ahead = (logits.max(axis).unsqueeze(axis as isize) - &chosen).stop_grad();
    let mut column = vec![1; logits.rank()];
    column[axis] = logits.shape()[axis];
    let number = Tensor::arange(logits.shape()[axis]).to(class.dtype()).reshape(column);
    let others = (logits - (chosen + &ahead)).exp().masked_fill(&number.eq(&class), 0.0);
    let rest = (others.sum_keepdim(axis) + (-&ahead).expm1()).log1p();
    (rest + ahead).squeeze(axis)
}

/// Cross entropy of logits `x` `[n, classes, …]` with targets that are class indices (u32 or i32) `[n, …]`:
/// `logsumexp(x) - x[class]`, or probabilities `p` of the shape of the logits: `Σ p (logsumexp(x) - x)`. Mean over
/// samples and positions.
///
/// Logits of any size give a finite loss and gradient. A class outside the axis is an error when the value is read.
///
/// # Panics
/// If the shapes or types do not fit, or there is no class.
#[track_caller]
pub fn cross_entropy(logits: &Tensor, target: &Tensor) -> Tensor {
    cross_entropy_elementwise(logits, target).mean(..)
}

/// [`cross_entropy`] before the mean: the shape of the logits without the classes.
#[track_caller]
pub fn cross_entropy_elementwise(logits: &Tensor, target: &Tensor) -> Tensor {
    let axis = class_axis("cross_entropy", logits);
    if holds_indices("cross_entropy", logits, axis, target) {
        return surprise(logits, axis, target);
    }
    -(target * logits.log_softmax(axis as isize)).sum(axis)
}

/// [`cross_entropy`] with targets mixed with the uniform distribution: a share `smoothing` of it (Szegedy et al.
/// 2016, §7).
///
/// # Panics
/// As [`cross_entropy`], and if the smoothing is not in [0, 1].
#[track_caller]
pub fn cross_entropy_smoothed(logits: &Tensor, target: &Tensor, smoothing: f64) -> Tensor {
    cross_entropy_smoothed_elementwise(logits, target, smoothing).mean(..)
}

/// [`cross_entropy_smoothed`] before the mean.
#[track_caller]
pub fn cross_entropy_smoothed_elementwise(logits: &Tensor, target: &Tensor, smoothing: f64) -> Tensor {
    if !(0.0..=1.0).contains(&smoothing) {
        fail(BuildError::new("cross_entropy", format!("the smoothing {smoothing} is not between 0 and 1")));
    }
    let sharp = cross_entropy_elementwise(logits, target);
    let axis = class_axis("cross_entropy", logits);
    let uniform = -logits.log_softmax(axis as isize).mean(axis);
    sharp * (1.0 - smoothing) + uniform * smoothing
}

/// The negative log-likelihood `-y[class]` of class indices `[n, …]` under log-probabilities `y` `[n, classes, …]`.
///
/// # Panics
/// If the shapes or types do not fit, or there is no class.
#[track_caller]
pub fn nll(log_probabilities: &Tensor, target: &Tensor) -> Tensor {
    nll_elementwise(log_probabilities, target).mean(..)
}

/// [`nll`] before the mean.
#[track_caller]
pub fn nll_elementwise(log_probabilities: &Tensor, target: &Tensor) -> Tensor {
    let axis = class_axis("nll", log_probabilities);
    if !holds_indices("nll", log_probabilities, axis, target) {
        let rule = format!("the targets must be class indices, u32 or i32, not {}", target.dtype());
        fail(BuildError::new("nll", rule));
    }
    -log_probabilities.gather(axis as isize, &target.unsqueeze(axis as isize)).squeeze(axis)
}
