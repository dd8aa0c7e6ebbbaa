//! The likelihood of a Parzen window: of a kernel density estimate of samples.

use super::{Cloud, Estimate, Rows};
use crate::error::{Error, Result};
use crate::linalg::map_pieces;
use crate::tensor::Tensor;
use std::f64::consts::TAU;

/// What [`parzen`] measures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Parzen {
    /// Log density of the test rows, mean and standard error, in nats.
    pub nats: Estimate,
    /// The width of the windows: the standard deviation of the normal distribution put on each sample.
    pub width: f64,
}

/// The widths that [`parzen`] is usually given: ten from 0.1 to 1, evenly spaced in their logarithm.
pub fn parzen_widths() -> Vec<f64> {
    (0..10).map(|i| 10f64.powf(-1.0 + f64::from(i) / 9.0)).collect()
}

/// The mean log density of `test` under a mixture of normal distributions around `samples`, their width the one of
/// `widths` that is best for `valid`; each `[n, …]`. The protocol of Breuleux, Bengio & Vincent 2011, of Goodfellow et
/// al. 2014 and of many other papers of the time.
///
/// # It misleads
/// In many dimensions the estimate is far from the model's likelihood for any number of samples one can draw, and
/// ranks models wrongly: centroids of k-means score above the data's own distribution (Theis, van den Oord & Bethge,
/// "A note on the evaluation of generative models", 2016, section 3.2), and more samples score better. Use it to
/// reproduce a published row, never to choose a model.
///
/// # Errors
/// When these are not finite floats of one row length, or one is empty.
///
/// # Panics
/// If there are no widths, or one is not positive.
#[track_caller]
pub fn parzen(samples: &Tensor, valid: &Tensor, test: &Tensor, widths: &[f64]) -> Result<Parzen> {
    assert!(!widths.is_empty() && widths.iter().all(|&w| w > 0.0), "widths must be positive: {widths:?}");
    let cloud = |what, tensor| Ok::<_, Error>(Cloud::new(Rows::new(what, tensor, 1)?));
    let (samples, valid) = (cloud("samples", samples)?, cloud("validation rows", valid)?);
    let test = cloud("test rows", test)?;
    if samples.rows.d != valid.rows.d || samples.rows.d != test.rows.d {
        let lengths = [&samples, &valid, &test].map(|c| c.rows.d);
        return Err(Error::Data(format!("samples, validation and test rows have {lengths:?} numbers")));
    }
    let scores = log_densities(&valid, &samples, widths);
    let mean = |scores: &Vec<f64>| scores.iter().sum::<f64>();
    let best = (0..widths.len()).max_by(|&a, &b| mean(&scores[a]).total_cmp(&mean(&scores[b])));
    let width = widths[best.unwrap_or(0)];
    let scores = &log_densities(&test, &samples, &[width])[0];
    Ok(Parzen { nats: Estimate::of(scores), width })
}

/// For each width the log density of each point.
fn log_densities(points: &Cloud, samples: &Cloud, widths: &[f64]) -> Vec<Vec<f64>> {
    let d = points.rows.d as f64;
    let constant = |w: f64| (samples.rows.n as f64).ln() + d * (w * TAU.sqrt()).ln();
    let pieces = map_pieces(points.rows.n, 50, |piece| {
        let distances = points.distances(piece, samples);
        let row = |row: &[f64]| {
            let nearest = row.iter().fold(f64::INFINITY, |m, &x| m.min(x));
            widths.iter().map(|&w| log_sum(row, nearest, 2.0 * w * w) - constant(w)).collect::<Vec<f64>>()
        };
        distances.chunks_exact(samples.rows.n).map(row).collect::<Vec<_>>()
    })
    .concat();
    (0..widths.len()).map(|w| pieces.iter().map(|p| p[w]).collect()).collect()
}

/// `log Σ exp(-x / scale)`, where `nearest` is the smallest x.
fn log_sum(row: &[f64], nearest: f64, scale: f64) -> f64 {
    // What is left out is below e^-60 of the sum for each of fewer than e^20 samples.
    let reach = nearest + 60.0 * scale;
    let sum: f64 = row.iter().filter(|&&x| x < reach).map(|x| ((nearest - x) / scale).exp()).sum();
    sum.ln() - nearest / scale
}
