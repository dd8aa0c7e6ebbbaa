//! Information measures of a distribution that is known by samples only. Plain numbers, in nats; times
//! [`BITS_PER_NAT`](super::BITS_PER_NAT) they are in bits.
//!
//! * Counted classes: [`entropy`] as it stands, too low in the mean, and [`miller_madow`], which mends most of that.
//! * Real numbers: a [`histogram`], for one dimension; distances to nearest neighbours for a few:
//!   [`kozachenko_leonenko`] of one vector, [`kraskov`] between two. Both compare all pairs of samples.
//!
//! No estimator is good in many dimensions: the number of samples needed grows exponentially with them.

use crate::error::{Error, Result};
use crate::linalg::map_pieces;
use crate::tensor::Tensor;
use std::f64::consts::EULER_GAMMA;

/// The entropy of the relative frequencies: the plug-in, or maximum likelihood, estimate. 0 without counts.
///
/// ```
/// use gradus::info::estimate::{entropy, miller_madow};
/// assert_eq!(entropy(&[3, 3, 0]), 2f64.ln());
/// assert_eq!(miller_madow(&[3, 3, 0]), 2f64.ln() + 1.0 / 12.0);
/// ```
pub fn entropy(counts: &[u64]) -> f64 {
    let n: u64 = counts.iter().sum();
    let share = |&c: &u64| c as f64 / n as f64;
    counts.iter().filter(|&&c| c > 0).map(|c| -share(c) * share(c).ln()).sum()
}

/// [`entropy`] plus what it lacks in the mean, `(m - 1) / 2n` for n samples in m classes that occur. Miller, "Note on
/// the bias of information estimates", 1955.
pub fn miller_madow(counts: &[u64]) -> f64 {
    let n: u64 = counts.iter().sum();
    let occur = counts.iter().filter(|&&c| c > 0).count();
    if n == 0 { 0.0 } else { entropy(counts) + (occur - 1) as f64 / (2 * n) as f64 }
}

/// The mutual information of two classes by a table of counts, `[rows, columns]` row-major: `H(x) + H(y) - H(x, y)`
/// by [`entropy`], or, `corrected`, by [`miller_madow`], which may give less than 0.
///
/// # Panics
/// If the table is not whole rows.
#[track_caller]
pub fn mutual_information(table: &[u64], columns: usize, corrected: bool) -> f64 {
    assert!(
        columns > 0 && table.len().is_multiple_of(columns),
        "{} counts are no rows of {columns}",
        table.len()
    );
    let h = if corrected { miller_madow } else { entropy };
    let rows: Vec<u64> = table.chunks(columns).map(|r| r.iter().sum()).collect();
    let sums: Vec<u64> = (0..columns).map(|j| table.iter().skip(j).step_by(columns).sum()).collect();
    h(&rows) + h(&sums) - h(table)
}

/// The differential entropy of numbers by a histogram of `bins` equal bins from the least to the largest:
/// [`miller_madow`] plus the logarithm of their width.
///
/// # Errors
/// When numbers are not finite or all equal, or there are none.
///
/// # Panics
/// If `bins` is 0.
#[track_caller]
pub fn histogram(samples: &[f64], bins: usize) -> Result<f64> {
    assert!(bins > 0, "a histogram needs bins");
    if samples.iter().any(|x| !x.is_finite()) {
        return Err(Error::Data("a histogram needs finite numbers".into()));
    }
    let low = samples.iter().fold(f64::INFINITY, |m, &x| m.min(x));
    let high = samples.iter().fold(f64::NEG_INFINITY, |m, &x| m.max(x));
    let width = (high - low) / bins as f64;
    if width.is_nan() || width <= 0.0 || width.is_infinite() {
        return Err(Error::Data(format!("{} numbers from {low} to {high} have no histogram", samples.len())));
    }
    let mut counts = vec![0; bins];
    samples.iter().for_each(|x| counts[(((x - low) / width) as usize).min(bins - 1)] += 1);
    Ok(miller_madow(&counts) + width.ln())
}

/// The differential entropy of samples `[n, d]` by the distance ε to the k-th nearest neighbour of each, the largest
/// difference of an entry: `ψ(n) - ψ(k) + d ⟨log 2ε⟩`. Kozachenko & Leonenko 1987 in the form of Kraskov, Stögbauer &
/// Grassberger, "Estimating mutual information", 2004, eq. 20.
///
/// # Errors
/// When the samples are not finite floats `[n, d]` with n > k > 0, or k + 1 of them are equal.
pub fn kozachenko_leonenko(samples: &Tensor, k: usize) -> Result<f64> {
    let x = Points::new(samples)?;
    x.check(k)?;
    let logs = x.map(|i| (2.0 * nearest(&[&x], i, k)).ln());
    let mean = logs.iter().sum::<f64>() / x.n as f64;
    if mean == f64::NEG_INFINITY {
        return Err(Error::Data(format!("more than {k} samples are equal: their density is infinite")));
    }
    Ok(digamma(x.n) - digamma(k) + x.d as f64 * mean)
}

/// The mutual information of samples x `[n, d]` and y `[n, e]`: `ψ(k) + ψ(n) - ⟨ψ(a + 1) + ψ(b + 1)⟩`, where a and b
/// count the samples that are nearer in x, and in y, than the k-th nearest neighbour in both. Kraskov, Stögbauer &
/// Grassberger, "Estimating mutual information", 2004, eq. 8. Of independent variables about 0, also less.
///
/// # Errors
/// When the samples are not finite floats `[n, d]` and `[n, e]` with n > k > 0.
pub fn kraskov(x: &Tensor, y: &Tensor, k: usize) -> Result<f64> {
    let (x, y) = (Points::new(x)?, Points::new(y)?);
    x.check(k)?;
    if x.n != y.n {
        return Err(Error::Data(format!("{} samples of one variable and {} of the other", x.n, y.n)));
    }
    let terms = x.map(|i| {
        let reach = nearest(&[&x, &y], i, k);
        let nearer = |p: &Points| (0..p.n).filter(|&j| j != i && p.distance(i, j) < reach).count();
        digamma(nearer(&x) + 1) + digamma(nearer(&y) + 1)
    });
    Ok(digamma(k) + digamma(x.n) - terms.iter().sum::<f64>() / x.n as f64)
}

/// The digamma function at a whole number: `-γ + 1 + 1/2 + … + 1/(n - 1)`.
fn digamma(n: usize) -> f64 {
    if n > 64 {
        // The asymptotic series (Abramowitz & Stegun 6.3.18); the next term is below 1e-13.
        let x = n as f64;
        return x.ln() - 0.5 / x - 1.0 / (12.0 * x * x) + 1.0 / (120.0 * x.powi(4));
    }
    (1..n).map(|i| 1.0 / i as f64).sum::<f64>() - EULER_GAMMA
}

/// The distance of point i to its k-th nearest neighbour, the largest over the variables.
fn nearest(variables: &[&Points], i: usize, k: usize) -> f64 {
    let n = variables[0].n;
    let distance = |j: usize| variables.iter().fold(0.0f64, |m, p| m.max(p.distance(i, j)));
    let mut distances: Vec<f64> = (0..n).filter(|&j| j != i).map(distance).collect();
    *distances.select_nth_unstable_by(k - 1, f64::total_cmp).1
}

/// Samples, one a row.
struct Points {
    n: usize,
    d: usize,
    values: Vec<f64>,
}

impl Points {
    fn new(samples: &Tensor) -> Result<Points> {
        if samples.rank() != 2 || !samples.dtype().is_float() {
            let (t, s) = (samples.dtype(), samples.shape());
            return Err(Error::Data(format!("samples must be floats [n, d], not {t} {s}")));
        }
        let values = samples.to_f64_vec()?;
        if values.iter().any(|v| !v.is_finite()) {
            return Err(Error::Data("samples must be finite".into()));
        }
        Ok(Points { n: samples.shape()[0], d: samples.shape()[1], values })
    }

    fn check(&self, k: usize) -> Result<()> {
        if k == 0 || self.n <= k {
            return Err(Error::Data(format!("{} samples have no neighbour number {k}", self.n)));
        }
        Ok(())
    }

    fn distance(&self, i: usize, j: usize) -> f64 {
        let row = |i: usize| &self.values[i * self.d..(i + 1) * self.d];
        row(i).iter().zip(row(j)).fold(0.0, |m: f64, (a, b)| m.max((a - b).abs()))
    }

    /// `f` of each point's number, on all threads.
    fn map(&self, f: impl Fn(usize) -> f64 + Sync + Send) -> Vec<f64> {
        map_pieces(self.n, 64, |piece| piece.map(&f).collect::<Vec<_>>()).concat()
    }
}
