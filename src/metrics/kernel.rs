//! The kernel distance: a maximum mean discrepancy between features.

use super::{Estimate, Rows};
use crate::error::{Error, Result};
use crate::linalg::{map_pieces, row_products};
use crate::rng::Rng;
use crate::tensor::Tensor;

/// How [`kid`] is measured.
#[derive(Debug, Clone, PartialEq)]
pub struct KidOptions {
    /// How many random subsets are compared.
    pub subsets: usize,
    /// Rows in each; of fewer rows, all of them.
    pub size: usize,
    /// Divide features by the root of the mean variance of the real ones, so that the kernel sees the scale it was
    /// made for. Without it, the published kernel.
    pub unit_variance: bool,
    /// Which random subsets.
    pub seed: u64,
}

impl Default for KidOptions {
    /// 100 subsets of 1,000, features scaled, seed 0.
    fn default() -> KidOptions {
        KidOptions { subsets: 100, size: 1000, unit_variance: true, seed: 0 }
    }
}

/// The kernel distance ("KID") of features `[n, d]`: the squared maximum mean discrepancy with the kernel
/// `(x·y / d + 1)³`, its unbiased estimate, averaged over random subsets. 0 in the mean for equal distributions (so it
/// may be negative), whatever the number of rows. Bińkowski et al., "Demystifying MMD GANs", 2018, section 4.
///
/// # Errors
/// When these are not finite floats `[n, d]` of one d, fewer than two rows, or the real ones are all equal while they
/// are to be scaled.
///
/// # Panics
/// If there are no subsets, or they have fewer than two rows.
#[track_caller]
pub fn kid(real: &Tensor, fake: &Tensor, options: &KidOptions) -> Result<Estimate> {
    assert!(options.subsets > 0 && options.size > 1, "{options:?}: needs subsets of two rows or more");
    let mut pair = Rows::pair(real, fake, 2)?;
    if options.unit_variance {
        let scale = scale(&pair[0])?;
        pair.iter_mut().for_each(|rows| rows.values.iter_mut().for_each(|v| *v /= scale));
    }
    let mut rng = Rng::seed(options.seed).split("kid");
    let size = options.size.min(pair[0].n).min(pair[1].n);
    let mut draw = |rows: &Rows| Ok(rng.permutation(rows.n).to_vec::<u32>()?[..size].to_vec());
    let subsets: Vec<[Vec<u32>; 2]> =
        (0..options.subsets).map(|_| Ok([draw(&pair[0])?, draw(&pair[1])?])).collect::<Result<_>>()?;
    let values = map_pieces(subsets.len(), 1, |piece| {
        let subset = &subsets[piece.start];
        let [x, y] = [0, 1].map(|side| {
            let row = |&i: &u32| pair[side].slice(i as usize..i as usize + 1);
            subset[side].iter().flat_map(row).copied().collect::<Vec<f64>>()
        });
        discrepancy(&x, &y, pair[0].d)
    });
    Ok(Estimate::of(&values))
}

/// The root of the mean over the columns of their variance.
fn scale(rows: &Rows) -> Result<f64> {
    let n = rows.n as f64;
    let mut sums = vec![0.0; rows.d];
    rows.values.chunks_exact(rows.d).for_each(|r| sums.iter_mut().zip(r).for_each(|(s, x)| *s += x));
    let squares = |r: &[f64]| r.iter().zip(&sums).map(|(x, s)| (x - s / n).powi(2)).sum::<f64>();
    let spread: f64 = rows.values.chunks_exact(rows.d).map(squares).sum();
    // Rounding leaves a little of equal rows.
    if spread <= 1e-24 * rows.values.iter().map(|v| v * v).sum::<f64>() {
        return Err(Error::Data("all real features are equal: they have no scale".into()));
    }
    Ok((spread / (n * rows.d as f64)).sqrt())
}

/// The unbiased estimate from as many rows of both: pairs of a row with itself are left out.
fn discrepancy(x: &[f64], y: &[f64], d: usize) -> f64 {
    let m = x.len() / d;
    let kernel = |p: &f64| (p / d as f64 + 1.0).powi(3);
    let sum = |a: &[f64], b: &[f64]| row_products(a, b, d).iter().map(kernel).sum::<f64>();
    let itself = |a: &[f64]| a.chunks_exact(d).map(|r| kernel(&r.iter().map(|v| v * v).sum())).sum::<f64>();
    let within = |a: &[f64]| (sum(a, a) - itself(a)) / (m * (m - 1)) as f64;
    within(x) + within(y) - 2.0 * sum(x, y) / (m * m) as f64
}
