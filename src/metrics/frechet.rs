//! The Fréchet distance of normal distributions fitted to features.

use super::Rows;
use crate::error::{Error, Result};
use crate::linalg::{Covariance, row_products, symmetric_eigen, symmetric_sqrt};
use crate::tensor::Tensor;

/// The Fréchet distance ("FID") of features `[n, d]` of real data and of samples: [`frechet_distance`] of their means
/// and unbiased covariances. 0 is best.
///
/// It depends on the number of rows (fewer give a larger distance) and on the features, so it compares models on one
/// data set, one feature net and one number of samples only. Heusel et al., "GANs trained by a two time-scale update
/// rule", 2017.
///
/// # Errors
/// When these are not finite floats `[n, d]` of one d, or fewer than two rows.
pub fn fid(real: &Tensor, fake: &Tensor) -> Result<f64> {
    let [real, fake] = Rows::pair(real, fake, 2)?.map(|rows| {
        let mut moments = Covariance::new(rows.d);
        moments.add(&rows.values);
        moments
    });
    frechet_distance(&real, &fake)
}

/// `|μ - μ'|² + tr(C + C' - 2 (C C')^½)` of means and unbiased covariances, which may be gathered in pieces. Dowson &
/// Landau, "The Fréchet distance between multivariate normal distributions", 1982.
///
/// The root's trace is that of the symmetric `(C^½ C' C^½)^½`, so that all is done by symmetric eigenproblems.
///
/// # Errors
/// When the rows have different lengths, there are fewer than two, or they are not finite.
pub fn frechet_distance(a: &Covariance, b: &Covariance) -> Result<f64> {
    let (mean_a, mean_b) = (a.mean(), b.mean());
    let n = mean_a.len();
    if n != mean_b.len() {
        return Err(Error::Data(format!("means of {n} and of {} numbers have no distance", mean_b.len())));
    }
    if a.count() < 2 || b.count() < 2 {
        return Err(Error::Data(format!("{} and {} rows: two are needed", a.count(), b.count())));
    }
    let (cov_a, cov_b) = (a.covariance(1), b.covariance(1));
    let root = symmetric_sqrt(&cov_a, n)?;
    // Covariance and root are symmetric, so products of their rows are matrix products.
    let inner = row_products(&row_products(&root, &cov_b, n), &root, n);
    let overlap: f64 = symmetric_eigen(&inner, n)?.values.iter().map(|v| v.max(0.0).sqrt()).sum();
    let apart: f64 = mean_a.iter().zip(&mean_b).map(|(x, y)| (x - y).powi(2)).sum();
    let traces: f64 = (0..n).map(|i| cov_a[i * n + i] + cov_b[i * n + i]).sum();
    Ok((apart + traces - 2.0 * overlap).max(0.0))
}
