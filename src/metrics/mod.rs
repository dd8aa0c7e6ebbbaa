//! Measures of models by their samples, pictures and features.
//!
//! * [`fid`], [`kid`], [`prdc`]: how samples differ from real data, on features such as those of [`FeatureNet`];
//!   [`SampleReport`] has all of them, since each can be fooled alone.
//! * [`psnr`], [`ssim`]: how one picture differs from another.
//! * [`LinearProbe`]: what features know about classes.
//! * [`parzen`]: the likelihood of a kernel density estimate, kept for comparison with old papers. It misleads.
//!
//! Features and samples are tensors of floats `[n, …]`, each row flattened; what is computed of them is computed in
//! f64. [`psnr`] and [`ssim`] are tensor expressions and can be differentiated.
//!
//! ```
//! use gradus::{Rng, metrics};
//! let mut rng = Rng::seed(1);
//! let (real, fake) = (rng.normal([500, 4]), rng.normal([500, 4]) + 3.0);
//! let distance = metrics::fid(&real, &fake)?;                      // 3² in each of 4 directions
//! assert!((distance - 36.0).abs() < 2.0);
//! assert_eq!(metrics::prdc(&real, &fake, 5)?.coverage, 0.0);
//! # Ok::<(), gradus::Error>(())
//! ```

mod features;
mod frechet;
mod image;
mod kernel;
mod neighbours;
mod parzen;
mod probe;
mod report;

pub use features::{FeatureNet, Measured};
pub use frechet::{fid, frechet_distance};
pub use image::{psnr, ssim};
pub use kernel::{KidOptions, kid};
pub use neighbours::{Prdc, prdc};
pub use parzen::{Parzen, parzen, parzen_widths};
pub use probe::LinearProbe;
pub use report::{KID_SUBSETS, SampleReport};

use crate::error::{Error, Result};
use crate::linalg::row_products;
use crate::tensor::Tensor;
use std::ops::Range;

/// A mean, and how uncertain it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// Its standard error.
    pub error: f64,
}

impl Estimate {
    /// Of numbers: the standard error is their deviation (divided by their number) over the root of their number.
    fn of(values: &[f64]) -> Estimate {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
        Estimate { mean, error: (variance / n).sqrt() }
    }
}

/// The rows of a tensor `[n, …]`, in f64 on the host.
struct Rows {
    n: usize,
    /// Numbers in a row.
    d: usize,
    values: Vec<f64>,
}

impl Rows {
    /// Of what the caller calls `what`, of which there must be at least `least`.
    fn new(what: &str, tensor: &Tensor, least: usize) -> Result<Rows> {
        let shape = tensor.shape();
        let d: usize = shape.iter().skip(1).product();
        if shape.rank() < 2 || !tensor.dtype().is_float() || d == 0 {
            let dtype = tensor.dtype();
            return Err(Error::Data(format!("the {what} must be floats [n, …], not {dtype} {shape}")));
        }
        if shape[0] < least {
            return Err(Error::Data(format!("{} {what} are too few: at least {least}", shape[0])));
        }
        let values = tensor.to_f64_vec()?;
        if let Some(k) = values.iter().position(|v| !v.is_finite()) {
            let (row, column, value) = (k / d, k % d, values[k]);
            return Err(Error::Data(format!("number {column} of row {row} of the {what} is {value}")));
        }
        Ok(Rows { n: shape[0], d, values })
    }

    /// Two sets of rows of one length, of at least `least` rows each.
    fn pair(real: &Tensor, fake: &Tensor, least: usize) -> Result<[Rows; 2]> {
        let pair = [Rows::new("real features", real, least)?, Rows::new("features of samples", fake, least)?];
        if pair[0].d != pair[1].d {
            let [a, b] = pair.map(|r| r.d);
            return Err(Error::Data(format!("real features are {a} numbers, those of samples {b}")));
        }
        Ok(pair)
    }

    /// Some of the rows.
    fn slice(&self, rows: Range<usize>) -> &[f64] {
        &self.values[rows.start * self.d..rows.end * self.d]
    }

    /// The sum of squares of each row.
    fn squares(&self) -> Vec<f64> {
        self.values.chunks_exact(self.d).map(|r| r.iter().map(|x| x * x).sum()).collect()
    }
}

/// Rows with their squares, for squared distances `|x|² + |y|² - 2 x·y`.
struct Cloud {
    rows: Rows,
    squares: Vec<f64>,
}

impl Cloud {
    fn new(rows: Rows) -> Cloud {
        Cloud { squares: rows.squares(), rows }
    }

    /// The squared distances of some of the rows here to all rows there, `[range, other]`.
    fn distances(&self, range: Range<usize>, other: &Cloud) -> Vec<f64> {
        /// What rounding can make of the distance of equal rows, relative to their squares: below it rows count as
        /// equal. They then agree to seven digits.
        const NOISE: f64 = 2e-14;
        let mut d =
            row_products(self.rows.slice(range.clone()), other.rows.slice(0..other.rows.n), self.rows.d);
        for (row, x) in d.chunks_exact_mut(other.rows.n).zip(&self.squares[range]) {
            for (d, y) in row.iter_mut().zip(&other.squares) {
                let sum = x + y;
                let square = sum - 2.0 * *d;
                *d = if square > NOISE * sum { square } else { 0.0 };
            }
        }
        d
    }
}
