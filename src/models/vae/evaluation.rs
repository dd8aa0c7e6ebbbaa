//! How good a variational autoencoder is: the bound with its terms, the units in use, and a closer estimate of the
//! likelihood. Every figure is a function of model and pictures: the noise belongs to the evaluation, not to training.

use super::Vae;
use crate::data::Loader;
use crate::{Result, Rng, Tensor};

/// A unit of the code is in use if its mean has at least this variance over the pictures (Burda et al. 2016, section
/// 5.1).
const ACTIVE: f64 = 0.01;
/// Codes decoded at once: what 5,000 draws for each picture need of memory is that of so many.
const ROWS: usize = 4096;

/// The evidence lower bound on pictures, by its terms, in nats per picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bound {
    /// -E log p(x|z).
    pub reconstruction: f64,
    /// KL(q(z|x) ‖ p(z)).
    pub kl: f64,
    /// How many units of the code vary with the picture.
    pub active_units: usize,
}

impl Bound {
    /// The bound itself: log p(x) is at least this, on average.
    pub fn elbo(&self) -> f64 {
        -self.reconstruction - self.kl
    }
}

impl Vae {
    /// The bound on the pictures of one epoch of `test`, with one code drawn for each.
    ///
    /// # Errors
    /// When the pictures have another size or cannot be read; whatever evaluation can fail with.
    pub fn bound(&self, test: &mut Loader) -> Result<Bound> {
        let mut noise = Rng::seed(0).split("bound");
        let (mut terms, mut n) = ([0.0; 2], 0.0);
        let latent = self.config.latent;
        let (mut sums, mut squares) = (vec![0.0; latent], vec![0.0; latent]);
        for batch in test.epoch() {
            let x = self.rows(&batch?)?;
            let posterior = self.encode(&x);
            let z = posterior.sample(&noise.normal(posterior.mean.shape()));
            let parts = [-self.log_p(&x, &z).sum(..), posterior.kl().sum(..)];
            // One tensor, so that the encoder runs once for all that is read.
            let all = Tensor::cat(&[Tensor::stack(&parts, 0), posterior.mean.flatten(0)], 0);
            let all: Vec<f64> = all.to_vec::<f32>()?.into_iter().map(f64::from).collect();
            n += x.shape()[0] as f64;
            terms = [terms[0] + all[0], terms[1] + all[1]];
            for mean in all[2..].chunks(latent) {
                for (unit, m) in mean.iter().enumerate() {
                    sums[unit] += m;
                    squares[unit] += m * m;
                }
            }
        }
        let variances = sums.iter().zip(&squares).map(|(s, q)| q / n - (s / n) * (s / n));
        let active_units = variances.filter(|&v| v > ACTIVE).count();
        Ok(Bound { reconstruction: terms[0] / n, kl: terms[1] / n, active_units })
    }

    /// The importance-weighted bound on log p(x) with k codes drawn from q(z|x), for each picture, in nats:
    /// `log (1/k) Σ p(x|zᵢ) p(zᵢ) / q(zᵢ|x)` (Burda et al. 2016, eq. 8). It rises with k towards log p(x), and k = 5000
    /// is what papers report. Memory does not depend on k. One figure for each picture of one epoch of `test`.
    ///
    /// # Errors
    /// When the pictures have another size or cannot be read; whatever evaluation can fail with.
    pub fn log_likelihoods(&self, test: &mut Loader, k: usize) -> Result<Vec<f64>> {
        let mut noise = Rng::seed(0).split("log_likelihoods");
        let mut bounds = Vec::new();
        for batch in test.epoch() {
            let x = self.rows(&batch?)?;
            let posterior = self.encode(&x);
            posterior.mean.eval()?;
            posterior.log_var.eval()?;
            let n = x.shape()[0];
            let mut totals = vec![f64::NEG_INFINITY; n];
            let mut left = k.max(1);
            while left > 0 {
                let draws = left.min((ROWS / n).max(1));
                let noise = noise.normal([draws, n, self.config.latent]);
                let sums = self.log_weights(&x, &posterior, &noise).logsumexp(0).to_vec::<f32>()?;
                totals.iter_mut().zip(sums).for_each(|(t, s)| *t = log_add_exp(*t, f64::from(s)));
                left -= draws;
            }
            bounds.extend(totals.iter().map(|t| t - (k.max(1) as f64).ln()));
        }
        Ok(bounds)
    }
}

/// `log(exp(a) + exp(b))`, without overflow.
fn log_add_exp(a: f64, b: f64) -> f64 {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    if low == f64::NEG_INFINITY { high } else { high + (low - high).exp().ln_1p() }
}
