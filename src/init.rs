//! Initial values of parameters.
//!
//! Weights are `[out, in, …kernel]`, so that a weight's fan in is the product of all extents but the first: what enters
//! one output. For transposed convolutions, `[in, out, …kernel]`, the two change places, as in PyTorch.

use crate::device::Device;
use crate::error::{BuildError, Result, fail};
use crate::rng::Rng;
use crate::shape::{Shape, ToNumbers, shape_arg};
use crate::tensor::Tensor;
use gradus_kernels::DType;
use std::f64::consts::{PI, SQRT_2};

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

/// Every element 0, f32.
#[track_caller]
pub fn zeros(shape: impl ToNumbers) -> Tensor {
    Tensor::zeros(shape)
}

/// Every element 1, f32.
#[track_caller]
pub fn ones(shape: impl ToNumbers) -> Tensor {
    Tensor::ones(shape)
}

/// Normal with the given mean and standard deviation of the whole curve, but only between `low` and `high`, f32.
/// Drawn through the inverse of the distribution function, so no draw is ever repeated.
///
/// # Panics
/// If `low` is not less than `high`.
#[track_caller]
pub fn truncated_normal(
    shape: impl ToNumbers,
    mean: f64,
    std: f64,
    low: f64,
    high: f64,
    rng: &mut Rng,
) -> Tensor {
    let ordered = low < high;
    if !ordered {
        fail(BuildError::new("truncated_normal", format!("the interval from {low} to {high} is empty")));
    }
    let shape = shape_arg("truncated_normal", shape);
    // The distribution function at x is (1 + erf(z)) / 2 with z = (x - mean) / (std √2).
    let made = Device::cpu().scope(|| {
        let [from, to] = [low, high].map(|bound| Tensor::from((bound - mean) / (std * SQRT_2)).erf());
        let level = rng.uniform_of(shape, DType::F64) * (&to - &from) + from;
        (inverse_erf(&level) * (std * SQRT_2) + mean).clamp(low, high).to(DType::F32)
    });
    // Computed in f64, which only the CPU has.
    match Device::scoped().map(|device| made.to_device(&device)) {
        None => made,
        Some(Ok(moved)) => moved,
        Some(Err(e)) => fail(BuildError::new("truncated_normal", e.to_string())),
    }
}

/// The inverse of erf, f64: Winitzki's approximation (2008), then Halley's method, which triples the digits each time.
fn inverse_erf(y: &Tensor) -> Tensor {
    const A: f64 = 0.147;
    // 1 - y², where at y = ±1 the result is large but finite, as draws never are further out.
    let rest = (1.0 - y * y).maximum(f64::MIN_POSITIVE).log();
    let half = &rest * 0.5 + 2.0 / (PI * A);
    let mut z = y.sign() * ((half.square() - rest / A).sqrt() - half).maximum(0.0).sqrt();
    for _ in 0..2 {
        // With f = erf(z) - y: f' = 2/√π exp(-z²), f'' = -2 z f'.
        let step = (z.erf() - y) / ((-z.square()).exp() * (2.0 / PI.sqrt())).maximum(1e-300);
        z = &z - &step / (&z * &step + 1.0);
    }
    z
}

/// What follows a layer, which decides how large its weights should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Nonlinearity {
    /// Nothing.
    Linear,
    /// The logistic function.
    Sigmoid,
    /// The hyperbolic tangent.
    Tanh,
    /// A rectifier.
    Relu,
    /// A rectifier with this slope on the left.
    LeakyRelu(f64),
    /// The SELU.
    Selu,
}

impl Nonlinearity {
    /// The factor by which weights are made larger: PyTorch's `calculate_gain`.
    pub fn gain(self) -> f64 {
        match self {
            Nonlinearity::Linear | Nonlinearity::Sigmoid => 1.0,
            Nonlinearity::Tanh => 5.0 / 3.0,
            Nonlinearity::Relu => SQRT_2,
            Nonlinearity::LeakyRelu(slope) => (2.0 / (1.0 + slope * slope)).sqrt(),
            Nonlinearity::Selu => 0.75,
        }
    }
}

/// Which fan keeps its variance: that of the forward or of the backward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fan {
    /// What enters one output.
    In,
    /// What one input enters.
    Out,
}

/// Fan in and fan out of a weight.
#[track_caller]
fn fans(op: &'static str, shape: &Shape) -> [f64; 2] {
    if shape.rank() < 2 {
        fail(BuildError::new(op, format!("a weight needs two axes or more, not {shape}")));
    }
    let kernel: usize = shape[2..].iter().product();
    [shape[1], shape[0]].map(|channels| (channels * kernel).max(1) as f64)
}

/// Uniform with variance `gain² · 2 / (fan in + fan out)` (Glorot & Bengio 2010, equation 16), f32.
///
/// # Panics
/// If the shape has fewer than two axes.
#[track_caller]
pub fn xavier_uniform(shape: impl ToNumbers, gain: f64, rng: &mut Rng) -> Tensor {
    let shape = shape_arg("xavier_uniform", shape);
    let [fan_in, fan_out] = fans("xavier_uniform", &shape);
    let bound = gain * (6.0 / (fan_in + fan_out)).sqrt();
    uniform(shape, -bound, bound, rng)
}

/// Normal with variance `gain² · 2 / (fan in + fan out)` (Glorot & Bengio 2010), f32.
///
/// # Panics
/// If the shape has fewer than two axes.
#[track_caller]
pub fn xavier_normal(shape: impl ToNumbers, gain: f64, rng: &mut Rng) -> Tensor {
    let shape = shape_arg("xavier_normal", shape);
    let [fan_in, fan_out] = fans("xavier_normal", &shape);
    normal(shape, 0.0, gain * (2.0 / (fan_in + fan_out)).sqrt(), rng)
}

#[track_caller]
fn kaiming_std(op: &'static str, shape: &Shape, fan: Fan, after: Nonlinearity) -> f64 {
    after.gain() / fans(op, shape)[fan as usize].sqrt()
}

/// Uniform with variance `gain² / fan` (He et al. 2015, equations 10 and 14), f32.
///
/// # Panics
/// If the shape has fewer than two axes.
#[track_caller]
pub fn kaiming_uniform(shape: impl ToNumbers, fan: Fan, after: Nonlinearity, rng: &mut Rng) -> Tensor {
    let shape = shape_arg("kaiming_uniform", shape);
    let bound = 3f64.sqrt() * kaiming_std("kaiming_uniform", &shape, fan, after);
    uniform(shape, -bound, bound, rng)
}

/// Normal with variance `gain² / fan` (He et al. 2015), f32.
///
/// # Panics
/// If the shape has fewer than two axes.
#[track_caller]
pub fn kaiming_normal(shape: impl ToNumbers, fan: Fan, after: Nonlinearity, rng: &mut Rng) -> Tensor {
    let shape = shape_arg("kaiming_normal", shape);
    normal(shape, 0.0, kaiming_std("kaiming_normal", &shape, fan, after), rng)
}

/// A random orthogonal matrix times `gain`, uniformly among all (Saxe, McClelland & Ganguli 2014): as a matrix
/// `[first extent, rest]`, its rows are orthonormal, or its columns where there are more rows. f32, computed in f64
/// at once.
///
/// # Errors
/// When the random numbers cannot be computed.
///
/// # Panics
/// If the shape has fewer than two axes.
#[track_caller]
pub fn orthogonal(shape: impl ToNumbers, gain: f64, rng: &mut Rng) -> Result<Tensor> {
    let shape = shape_arg("orthogonal", shape);
    if shape.rank() < 2 {
        fail(BuildError::new("orthogonal", format!("a weight needs two axes or more, not {shape}")));
    }
    let (rows, cols) = (shape[0], shape[1..].iter().product());
    let (count, len) = (usize::min(rows, cols), usize::max(rows, cols));
    // Computed in f64, which only the CPU has.
    let made = Device::cpu().scope(|| {
        let mut vectors = rng.normal_of([count, len], DType::F64).to_vec::<f64>()?;
        orthonormalize(&mut vectors, len);
        let q = Tensor::try_from_vec(vectors, [count, len])?;
        let q = if rows <= cols { q } else { q.t() };
        Ok((q * gain).to(DType::F32).reshape(shape))
    });
    match Device::scoped() {
        Some(device) => made?.to_device(&device),
        None => made,
    }
}

/// Gram and Schmidt's method, each vector twice, which is enough for full accuracy (Giraud et al. 2005). The lengths
/// divided by are positive, as the diagonal of R must be for Q to be uniformly distributed (Mezzadri 2007).
fn orthonormalize(vectors: &mut [f64], len: usize) {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    for i in 0..vectors.len().checked_div(len).unwrap_or(0) {
        let (done, rest) = vectors.split_at_mut(i * len);
        let v = &mut rest[..len];
        for q in done.chunks_exact(len).chain(done.chunks_exact(len)) {
            let along = dot(q, v);
            v.iter_mut().zip(q).for_each(|(x, y)| *x -= along * y);
        }
        let norm = dot(v, v).sqrt();
        v.iter_mut().for_each(|x| *x /= norm);
    }
}
