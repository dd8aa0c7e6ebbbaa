//! Checking gradients against numbers, for the ops of this crate and for any function of yours.
//!
//! * [`gradcheck`] compares the gradients of a function with differences of its values;
//! * [`gradgradcheck`] does the same with the gradients as the function, which checks second derivatives;
//! * [`check_orders`] goes along random lines through the input, up to any order; [`directional`] gives those
//!   derivatives.
//!
//! # How derivatives are measured
//! By the central difference of five points, `(8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12h`, which is Richardson's
//! extrapolation of two ordinary ones (Fornberg 1988, table 1). Its error is `h⁴ f⁽⁵⁾ / 30` for the function and about
//! `3 ε |f| / 2h` for rounding, in f64. With steps of 0.001 both are near 10⁻¹³ for functions whose values and
//! derivatives are near 1, so a tolerance of 10⁻⁶ has room for derivatives a million times wilder.
//!
//! Errors are relative to `max(1, |value|)`: absolute for small values, relative for large ones.
//!
//! A kink or jump within `2h` of an input spoils the comparison, not the gradient. The two ordinary differences then
//! disagree, and the report says so.

mod measure;
mod report;

pub use report::{Entry, GradcheckError, Report, Row};

use crate::error::Error;
use crate::exec::eval_roots;
use crate::grad::{try_grad, vjp};
use crate::rng::Rng;
use crate::shape::Shape;
use crate::tensor::Tensor;
use gradus_kernels::DType;
use measure::{Check, leaves, signs};

/// How to check.
#[derive(Clone, Debug, PartialEq)]
pub struct GradcheckOptions {
    /// The largest error, relative to `max(1, |value|)`, that passes. 10⁻⁶ unless said.
    pub tolerance: f64,
    /// The step of the differences, for inputs near 1; larger inputs take larger ones in proportion. 10⁻³ unless said.
    pub step: f64,
    /// Jacobians of up to so many entries are compared in full; larger ones along random directions. 4096 unless said.
    pub entries: usize,
    /// How many random directions for each input of a large function.
    pub directions: usize,
    /// The seed of the directions.
    pub seed: u64,
}

impl Default for GradcheckOptions {
    fn default() -> Self {
        GradcheckOptions { tolerance: 1e-6, step: 1e-3, entries: 4096, directions: 4, seed: 0 }
    }
}

/// Compares the gradients of `f` at `inputs` (f64) with differences of its values.
///
/// `f` gets one tensor for each input and returns one f64 tensor of any shape. It is called many times and must
/// compute the same function every time: a draw inside must come from a generator that is cloned inside.
///
/// Each entry of the Jacobian is compared where there are at most [`entries`](GradcheckOptions::entries) of them; for
/// larger functions the product `uᵀ J v` for random signs u and v, and when that is wrong, the entries of `uᵀ J` one
/// by one to find where.
///
/// # Errors
/// [`GradcheckError::Wrong`] with the report when a gradient is wrong, [`GradcheckError::Failed`] when something
/// could not be computed or an input or the result is not f64.
///
/// ```
/// use gradus::{Tensor, gradcheck::gradcheck};
/// let x = Tensor::from([0.1f64, -0.2, 3.0]);
/// let w = Tensor::from([[1.0f64, 0.0, 2.0], [0.5, -1.0, 0.1]]);
/// let report = gradcheck(|x| x[1].matmul(&x[0]).tanh(), &[x.clone(), w], Default::default())?;
/// println!("{report}");
///
/// // A gradient that is cut off is found, and where:
/// let cut = gradcheck(|x| (&x[0] * x[0].stop_grad()).sum(..), &[x], Default::default());
/// let message = cut.unwrap_err().to_string();
/// assert!(message.contains("element [2]: the gradient says 3, differences say 6"), "{message}");
/// # Ok::<(), gradus::gradcheck::GradcheckError>(())
/// ```
pub fn gradcheck(
    f: impl Fn(&[Tensor]) -> Tensor,
    inputs: &[Tensor],
    options: GradcheckOptions,
) -> Result<Report, GradcheckError> {
    let names = (0..inputs.len()).map(|i| format!("input {i}")).collect();
    Check::new("gradcheck", f, inputs, names, options)?.run()
}

/// As [`gradcheck`], for second derivatives: the function checked is the gradient of `f`, of the inputs and of the
/// cotangent that the gradient starts from, which is drawn.
///
/// # Errors
/// As [`gradcheck`].
///
/// ```
/// use gradus::{Tensor, gradcheck::{GradcheckOptions, gradgradcheck}};
/// let x = Tensor::from([0.5f64, -1.0, 2.0]);
/// let options = GradcheckOptions { tolerance: 1e-5, ..Default::default() };
/// gradgradcheck(|x| x[0].softmax(0), &[x], options)?;
/// # Ok::<(), gradus::gradcheck::GradcheckError>(())
/// ```
pub fn gradgradcheck(
    f: impl Fn(&[Tensor]) -> Tensor,
    inputs: &[Tensor],
    options: GradcheckOptions,
) -> Result<Report, GradcheckError> {
    let shape = *f(&leaves(inputs)?).shape();
    let mut rng = Rng::seed(options.seed).split("cotangent");
    // Away from 0, so that nothing is multiplied away.
    let cotangent = signs(&mut rng, &shape)? * (rng.uniform_of(shape, DType::F64) + 0.5);
    let mut all = inputs.to_vec();
    all.push(cotangent);
    let mut names: Vec<String> = (0..inputs.len()).map(|i| format!("input {i}")).collect();
    names.push(String::from("cotangent"));
    let gradient = |z: &[Tensor]| {
        let (g, x) = z.split_last().expect("the cotangent is the last");
        let wanted: Vec<&Tensor> = x.iter().collect();
        let parts = vjp(&f(x), &wanted, g);
        let flat: Vec<Tensor> = parts
            .into_iter()
            .zip(x)
            .map(|(p, x)| p.unwrap_or_else(|| x.zeros_like()).reshape([x.numel()]))
            .collect();
        if flat.is_empty() { g.zeros_like() } else { Tensor::cat(&flat, 0) }
    };
    Check::new("gradgradcheck", gradient, &all, names, options)?.run()
}

/// The derivatives of the scalar `f(inputs + t directions)` for t at `t = 0`: of order 0 (the value) to `order`.
///
/// # Errors
/// Whatever evaluation can fail with, and [`Error::Data`] when `f` does not return one f64.
///
/// # Panics
/// If the shapes of `directions` do not broadcast with those of `inputs`.
///
/// ```
/// use gradus::{Tensor, gradcheck::directional};
/// let (x, v) = (Tensor::from(1.0f64), Tensor::from(2.0f64));
/// let all = directional(|x| x[0].pow(3.0), &[x], &[v], 4)?;   // (1 + 2t)³
/// assert_eq!(all, [1.0, 6.0, 24.0, 48.0, 0.0]);
/// # Ok::<(), gradus::Error>(())
/// ```
pub fn directional(
    f: impl Fn(&[Tensor]) -> Tensor,
    inputs: &[Tensor],
    directions: &[Tensor],
    order: usize,
) -> Result<Vec<f64>, Error> {
    derivatives_at(&f, inputs, directions, order, 0.0)
}

fn derivatives_at(
    f: &impl Fn(&[Tensor]) -> Tensor,
    inputs: &[Tensor],
    directions: &[Tensor],
    order: usize,
    t: f64,
) -> Result<Vec<f64>, Error> {
    let t = Tensor::from(t);
    let line: Vec<Tensor> = inputs.iter().zip(directions).map(|(x, v)| x + v * &t).collect();
    let mut all = vec![f(&line)];
    for k in 0..order {
        let next = match try_grad(&all[k], [&t]) {
            Ok(mut found) => found.remove(0),
            // A derivative that no longer depends on t is constant, and the next one 0.
            Err(Error::Unreached { .. }) => t.zeros_like(),
            Err(e) => return Err(e),
        };
        all.push(next);
    }
    eval_roots(&all)?;
    all.iter().map(Tensor::item).collect()
}

/// Compares the derivatives of every order up to `order` along random lines with differences of those one order
/// below, which chains each to the values of `f`. The result of `f` is weighted at random and summed.
///
/// # Errors
/// As [`gradcheck`].
///
/// ```
/// use gradus::{Tensor, gradcheck::check_orders};
/// let x = Tensor::from([0.5f64, -1.0, 2.0]);
/// check_orders(|x| x[0].gelu(), &[x], 4, Default::default())?;
/// # Ok::<(), gradus::gradcheck::GradcheckError>(())
/// ```
pub fn check_orders(
    f: impl Fn(&[Tensor]) -> Tensor,
    inputs: &[Tensor],
    order: usize,
    options: GradcheckOptions,
) -> Result<Report, GradcheckError> {
    let inputs = leaves(inputs)?;
    let shape = *f(&inputs).shape();
    let mut rng = Rng::seed(options.seed).split("lines");
    let mut rows: Vec<Row> = (1..=order).map(|k| Row::new(format!("order {k}"), Shape::SCALAR)).collect();
    for _ in 0..options.directions {
        let weights = signs(&mut rng, &shape)?;
        let lines = inputs.iter().map(|x| signs(&mut rng, x.shape())).collect::<Result<Vec<_>, _>>()?;
        let scalar = |x: &[Tensor]| (f(x) * &weights).sum(..);
        let at = |t: f64| derivatives_at(&scalar, &inputs, &lines, order, t);
        let h = options.step;
        let (centre, around) = (at(0.0)?, [at(-2.0 * h)?, at(-h)?, at(h)?, at(2.0 * h)?]);
        for k in 1..=order {
            let [a, b, c, d] = [0, 1, 2, 3].map(|i: usize| around[i][k - 1]);
            let (numeric, rough) = measure::difference([a, b, c, d], h);
            rows[k - 1].compare(Entry { element: None, output: None, analytic: centre[k], numeric, rough });
        }
    }
    let method = format!("{} random lines", options.directions);
    Report { title: "check_orders", output: shape, method, tolerance: options.tolerance, rows }.judged()
}
