//! Normal distributions of vectors, whose entries lie along the last axis, which goes away. In nats, of densities: the
//! entropy of a density may be negative and depends on the unit of measurement.
//!
//! Here: independent entries, given by `mean` and `log_var`, the logarithm of the variance, `[…, d]`. In [`full`]:
//! any covariance.

use crate::error::{BuildError, fail};
use crate::tensor::Tensor;
use std::f64::consts::TAU;

/// Refuses what is not tensors of one shape, with an axis, and one float type.
#[track_caller]
fn check(op: &'static str, parameters: &[&Tensor]) {
    let first = parameters[0];
    let fits = |t: &&Tensor| t.shape() == first.shape() && t.dtype() == first.dtype();
    if first.rank() == 0 || !first.dtype().is_float() || !parameters.iter().all(fits) {
        let given: Vec<String> = parameters.iter().map(|t| format!("{} {}", t.dtype(), t.shape())).collect();
        let rule = format!("needs parameters of one shape […, d] and float type, not {}", given.join(", "));
        fail(BuildError::new(op, rule));
    }
}

/// The entropy `½ Σ (log 2πe + log_var)` (Cover & Thomas, theorem 8.4.1).
///
/// # Panics
/// If `log_var` is not of floats or has no axis.
#[track_caller]
pub fn entropy(log_var: &Tensor) -> Tensor {
    check("gaussian::entropy", &[log_var]);
    ((log_var + (TAU.ln() + 1.0)) * 0.5).sum(-1)
}

/// The cross entropy `½ Σ (log 2π + log v' + (v + (μ - μ')²) / v')` of N(μ, v) and N(μ', v'): what
/// `-log` of the second density is in the mean under the first.
///
/// # Panics
/// If the shapes or types differ.
#[track_caller]
pub fn cross_entropy([mean, log_var]: [&Tensor; 2], [mean_q, log_var_q]: [&Tensor; 2]) -> Tensor {
    check("gaussian::cross_entropy", &[mean, log_var, mean_q, log_var_q]);
    let distance = (mean - mean_q).square() * (-log_var_q).exp();
    ((log_var_q + TAU.ln() + (log_var - log_var_q).exp() + distance) * 0.5).sum(-1)
}

/// The divergence `D(N(μ, v) ‖ N(μ', v')) = ½ Σ (v / v' - 1 - log(v / v') + (μ - μ')² / v')`.
///
/// # Panics
/// If the shapes or types differ.
#[track_caller]
pub fn kl([mean, log_var]: [&Tensor; 2], [mean_q, log_var_q]: [&Tensor; 2]) -> Tensor {
    check("gaussian::kl", &[mean, log_var, mean_q, log_var_q]);
    let ratio = log_var - log_var_q;
    let distance = (mean - mean_q).square() * (-log_var_q).exp();
    ((ratio.expm1() - ratio + distance) * 0.5).sum(-1)
}

/// The divergence from the standard normal distribution, `½ Σ (v - 1 - log v + μ²)`: the regulariser of the
/// variational autoencoder (Kingma & Welling 2014, appendix B).
///
/// # Panics
/// If the shapes or types differ.
#[track_caller]
pub fn kl_from_standard(mean: &Tensor, log_var: &Tensor) -> Tensor {
    check("gaussian::kl_from_standard", &[mean, log_var]);
    ((log_var.expm1() - log_var + mean.square()) * 0.5).sum(-1)
}

/// Normal distributions with a full covariance `[…, d, d]` (of which the lower triangle is read) and mean `[…, d]`.
///
/// Covariances are factored by tensor expressions, one step a column, so that these measures have derivatives of every
/// order. They are meant for tens of entries; a covariance that is not positive definite gives NaN.
pub mod full {
    use super::TAU;
    use crate::error::{BuildError, fail};
    use crate::tensor::Tensor;

    /// Refuses what is not `[…, d, d]`, and gives d.
    #[track_caller]
    fn check_covariance(op: &'static str, covariance: &Tensor) -> usize {
        let s = covariance.shape();
        let rank = s.rank();
        if !covariance.dtype().is_float() || rank < 2 || s[rank - 1] != s[rank - 2] || s[rank - 1] == 0 {
            let rule = format!("needs covariances […, d, d] of floats, not {} {s}", covariance.dtype());
            fail(BuildError::new(op, rule));
        }
        s[rank - 1]
    }

    #[track_caller]
    fn check_pair(op: &'static str, [mean, covariance]: [&Tensor; 2], [mean_q, covariance_q]: [&Tensor; 2]) {
        let d = check_covariance(op, covariance);
        let fits = covariance.shape() == covariance_q.shape()
            && mean.shape() == mean_q.shape()
            && mean.shape().dims() == &covariance.shape()[..covariance.rank() - 1]
            && [mean, mean_q, covariance_q].iter().all(|t| t.dtype() == covariance.dtype());
        if !fits {
            let rule = format!(
                "needs means […, {d}] and covariances […, {d}, {d}] of one type, not {}, {} and {}, {}",
                mean.shape(),
                covariance.shape(),
                mean_q.shape(),
                covariance_q.shape()
            );
            fail(BuildError::new(op, rule));
        }
    }

    /// The lower triangular L with `L Lᵀ` the given matrix `[…, d, d]`, of which the lower triangle is read; zeros
    /// above. Not a number where the matrix is not positive definite.
    ///
    /// # Panics
    /// If the matrix is not square, empty, or not of floats.
    #[track_caller]
    pub fn cholesky(matrix: &Tensor) -> Tensor {
        let d = check_covariance("cholesky", matrix) as isize;
        let mut columns = Vec::new();
        // What is left of the matrix behind the columns that are done.
        let mut rest = matrix.clone();
        for j in 0..d {
            let column = rest.slice(-1, 0..1);
            let column = &column * column.slice(-2, 0..1).rsqrt();
            let mut widths = vec![(0, 0); matrix.rank()];
            widths[matrix.rank() - 2].0 = j as usize;
            columns.push(column.pad(&widths));
            let below = column.slice(-2, 1..);
            rest = rest.slice(-2, 1..).slice(-1, 1..) - below.matmul(&below.transpose(-1, -2));
        }
        Tensor::cat(&columns, -1)
    }

    /// The solution of `L x = b` for lower triangular `[…, d, d]` and `b` `[…, d, n]`.
    fn solve_lower(l: &Tensor, b: &Tensor) -> Tensor {
        let d = l.shape()[l.rank() - 1] as isize;
        let mut rows = Vec::new();
        let mut rest = b.clone();
        for j in 0..d {
            let column = l.slice(-1, j..j + 1);
            let row = rest.slice(-2, 0..1) / column.slice(-2, j..j + 1);
            rest = rest.slice(-2, 1..) - column.slice(-2, j + 1..) * &row;
            rows.push(row);
        }
        Tensor::cat(&rows, -2)
    }

    /// The logarithm of the determinant of `L Lᵀ`.
    fn log_det(l: &Tensor) -> Tensor {
        let d = l.shape()[l.rank() - 1];
        let number = Tensor::arange(d);
        let off = number.reshape([d, 1]).ne(number.reshape([1, d]));
        l.masked_fill(&off, 1.0).log().sum([-2, -1]) * 2.0
    }

    /// The entropy `½ (d log 2πe + log det Σ)` (Cover & Thomas, theorem 8.4.1).
    ///
    /// # Panics
    /// If the covariance is not square, empty, or not of floats.
    #[track_caller]
    pub fn entropy(covariance: &Tensor) -> Tensor {
        let d = check_covariance("gaussian::full::entropy", covariance) as f64;
        (log_det(&cholesky(covariance)) + d * (TAU.ln() + 1.0)) * 0.5
    }

    /// `tr(Σ'⁻¹ Σ) + (μ - μ')ᵀ Σ'⁻¹ (μ - μ')`, the squares of `L'⁻¹ [L, μ - μ']`, by the factors of both covariances.
    fn distance(mean: &Tensor, l: &Tensor, mean_q: &Tensor, l_q: &Tensor) -> Tensor {
        let both = Tensor::cat(&[l.clone(), (mean - mean_q).unsqueeze(-1)], -1);
        solve_lower(l_q, &both).square().sum([-2, -1])
    }

    /// The divergence `½ (tr(Σ'⁻¹ Σ) + (μ - μ')ᵀ Σ'⁻¹ (μ - μ') - d + log det Σ' - log det Σ)` of N(μ, Σ) from
    /// N(μ', Σ'), each given as mean and covariance.
    ///
    /// # Panics
    /// If shapes or types do not fit.
    #[track_caller]
    pub fn kl([mean, covariance]: [&Tensor; 2], [mean_q, covariance_q]: [&Tensor; 2]) -> Tensor {
        check_pair("gaussian::full::kl", [mean, covariance], [mean_q, covariance_q]);
        let (l, l_q) = (cholesky(covariance), cholesky(covariance_q));
        let d = mean.shape()[mean.rank() - 1] as f64;
        (distance(mean, &l, mean_q, &l_q) - d + log_det(&l_q) - log_det(&l)) * 0.5
    }

    /// The cross entropy: [`entropy`] of the first plus [`kl`].
    ///
    /// # Panics
    /// If shapes or types do not fit.
    #[track_caller]
    pub fn cross_entropy([mean, covariance]: [&Tensor; 2], [mean_q, covariance_q]: [&Tensor; 2]) -> Tensor {
        check_pair("gaussian::full::cross_entropy", [mean, covariance], [mean_q, covariance_q]);
        let (l, l_q) = (cholesky(covariance), cholesky(covariance_q));
        let d = mean.shape()[mean.rank() - 1] as f64;
        (distance(mean, &l, mean_q, &l_q) + d * TAU.ln() + log_det(&l_q)) * 0.5
    }

    /// The mutual information `½ (log det Σ_x + log det Σ_y - log det Σ)` of the first `split` entries and the others
    /// (Cover & Thomas, example 8.5.1 for two entries: `-½ log(1 - ρ²)`).
    ///
    /// # Panics
    /// If the covariance is not square or not of floats, or one of the parts is empty.
    #[track_caller]
    pub fn mutual_information(covariance: &Tensor, split: usize) -> Tensor {
        let d = check_covariance("gaussian::full::mutual_information", covariance);
        if split == 0 || split >= d {
            let rule = format!("{split} of {d} entries leaves a part empty");
            fail(BuildError::new("gaussian::full::mutual_information", rule));
        }
        let split = split as isize;
        let part = |t: &Tensor, from: isize, to: isize| t.slice(-2, from..to).slice(-1, from..to);
        let l = cholesky(covariance);
        let y = cholesky(&part(covariance, split, d as isize));
        // The factor of x is the corner of that of both, so its determinant cancels there: what is left is the
        // determinant of y alone against that of y when x is known.
        (log_det(&y) - log_det(&part(&l, split, d as isize))) * 0.5
    }
}
