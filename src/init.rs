//! Initial values of parameters.

use crate::rng::Rng;
use crate::shape::ToNumbers;
use crate::tensor::Tensor;

/// Uniform on `[low, high)`, f32.
#[track_caller]
pub fn uniform(shape: impl ToNumbers, low: f64, high: f64, rng: &mut Rng) -> Tensor {
    rng.uniform(shape) * (high - low) + low
}

/// Normal with the given mean and standard deviation, f32.
#[track_caller]
pub fn normal(shape: impl ToNumbers, mean: f64, std: f64, rng: &mut Rng) -> Tensor {
    rng.normal(shape) * std + mean
}
