//! How one picture differs from another.

use crate::error::{BuildError, fail};
use crate::ops::ConvOptions;
use crate::tensor::Tensor;

/// Refuses what is not two batches of pictures.
#[track_caller]
fn check(op: &'static str, a: &Tensor, b: &Tensor, range: f64) {
    if a.shape() != b.shape() || a.dtype() != b.dtype() || !a.dtype().is_float() || a.rank() < 2 {
        let rule = format!(
            "needs pictures [n, …] of one shape and float type, not {} {} and {} {}",
            a.dtype(),
            a.shape(),
            b.dtype(),
            b.shape()
        );
        fail(BuildError::new(op, rule));
    }
    if range.is_nan() || range <= 0.0 {
        fail(BuildError::new(op, format!("the range of values must be positive, not {range}")));
    }
}

/// The peak signal-to-noise ratio in decibels, `10 log10(range² / mean squared error)`, of each pair of pictures
/// `[n, …]` → `[n]`, for values that span `range` (1 for pixels from 0 to 1). At most 100 dB, which equal pictures have.
///
/// # Panics
/// If shapes or types differ, are not of floats `[n, …]`, or the range is not positive.
#[track_caller]
pub fn psnr(a: &Tensor, b: &Tensor, range: f64) -> Tensor {
    check("psnr", a, b, range);
    let error = (a - b).square().flatten(1).mean(1) / (range * range);
    error.clamp(1e-10, f64::INFINITY).log() * (-10.0 / std::f64::consts::LN_10)
}

/// Side of the window of [`ssim`], and the deviation of its weights.
const WINDOW: usize = 11;
const DEVIATION: f64 = 1.5;

/// The structural similarity of each pair of pictures `[n, c, h, w]` → `[n]`, for values that span `range`: 1 for
/// equal ones. The mean over channels and over the places where a window of 11x11 fits, with Gaussian weights of
/// deviation 1.5, `C1 = (0.01 range)²` and `C2 = (0.03 range)²`. Wang, Bovik, Sheikh & Simoncelli, "Image quality
/// assessment: from error visibility to structural similarity", 2004, eq. 13.
///
/// # Panics
/// If shapes or types differ, are not of floats `[n, c, h, w]`, a side is shorter than 11, or the range is not positive.
#[track_caller]
pub fn ssim(a: &Tensor, b: &Tensor, range: f64) -> Tensor {
    check("ssim", a, b, range);
    let s = *a.shape();
    if s.rank() != 4 || s[2] < WINDOW || s[3] < WINDOW {
        let rule = format!("needs pictures [n, c, h, w] of at least {WINDOW} by {WINDOW}, not {s}");
        fail(BuildError::new("ssim", rule));
    }
    let planes = |t: &Tensor| t.reshape([s[0] * s[1], 1, s[2], s[3]]);
    let (a, b) = (planes(a), planes(b));
    let (mean_a, mean_b) = (blur(&a), blur(&b));
    let (squares, product) = (mean_a.square() + mean_b.square(), &mean_a * &mean_b);
    let variances = blur(&(a.square() + b.square())) - &squares;
    let covariance = blur(&(&a * &b)) - &product;
    let (c1, c2) = ((0.01 * range).powi(2), (0.03 * range).powi(2));
    let similar = (product * 2.0 + c1) * (covariance * 2.0 + c2) / ((squares + c1) * (variances + c2));
    similar.reshape([s[0], s[1] * (s[2] - WINDOW + 1) * (s[3] - WINDOW + 1)]).mean(1)
}

/// The weighted means over the windows, rows first and then columns.
fn blur(planes: &Tensor) -> Tensor {
    let bell = |i: usize| (-(i as f64 - (WINDOW / 2) as f64).powi(2) / (2.0 * DEVIATION * DEVIATION)).exp();
    let total: f64 = (0..WINDOW).map(bell).sum();
    let weights: Vec<f64> = (0..WINDOW).map(|i| bell(i) / total).collect();
    let weights = planes.numbers_like(weights);
    planes
        .conv2d(&weights.reshape([1, 1, 1, WINDOW]), ConvOptions::default())
        .conv2d(&weights.reshape([1, 1, WINDOW, 1]), ConvOptions::default())
}
