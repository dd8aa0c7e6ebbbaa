//! What a decoder says of pixels: the distribution p(x|z) (Kingma & Welling 2014, appendix C).

use crate::Tensor;
use crate::data::Pixels;
use std::f64::consts::TAU;

/// The distribution of the pixels given a code, independent of each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Observation {
    /// Black or white: the decoder gives logits (appendix C.1). Training binarises anew at each visit.
    Bernoulli,
    /// Normal with this standard deviation; the decoder gives the logit of the mean. For pixels of grey or colour,
    /// dequantised.
    Gaussian {
        /// σ, with pixels from 0 to 1.
        deviation: f64,
    },
    /// Normal; the decoder gives the logit of the mean and, after all of those, numbers s that make the variance
    /// `least² + exp(s)` (appendix C.2): without a least deviation, pixels that never change would make the density
    /// infinite.
    LearnedGaussian {
        /// The smallest σ there can be.
        least: f64,
    },
}

impl Observation {
    /// How many numbers the decoder makes for each pixel.
    pub fn outputs(self) -> usize {
        match self {
            Observation::Bernoulli | Observation::Gaussian { .. } => 1,
            Observation::LearnedGaussian { .. } => 2,
        }
    }

    /// The means of the pixels, `[…, pixels]`, of what the decoder gave, `[…, outputs * pixels]`.
    pub fn mean(self, decoded: &Tensor) -> Tensor {
        match self {
            Observation::Bernoulli | Observation::Gaussian { .. } => decoded.sigmoid(),
            Observation::LearnedGaussian { .. } => decoded.chunk(-1, 2)[0].sigmoid(),
        }
    }

    /// log p(x|z) in nats, summed over the pixels: x `[…, pixels]`, what the decoder gave `[…, outputs * pixels]` →
    /// `[…]`.
    pub fn log_p(self, decoded: &Tensor, x: &Tensor) -> Tensor {
        let normal = |mean: Tensor, variance: &Tensor| {
            (((x - mean).square() / variance + variance.log() + TAU.ln()) * -0.5).sum(-1)
        };
        match self {
            // x log p + (1 - x) log(1 - p) with p = sigmoid(l).
            Observation::Bernoulli => (x * decoded - decoded.softplus()).sum(-1),
            Observation::Gaussian { deviation } => {
                normal(decoded.sigmoid(), &decoded.full_like(deviation * deviation))
            }
            Observation::LearnedGaussian { least } => {
                let [mean, log_var] = [0, 1].map(|i| decoded.chunk(-1, 2)[i].clone());
                normal(mean.sigmoid(), &(log_var.exp() + least * least))
            }
        }
    }

    /// The standard deviation it is given, or 1 if none.
    pub(super) fn deviation(self) -> f64 {
        match self {
            Observation::Bernoulli => 1.0,
            Observation::Gaussian { deviation: d } | Observation::LearnedGaussian { least: d } => d,
        }
    }

    /// What it learns from.
    pub(super) fn training_pixels(self) -> Pixels {
        match self {
            Observation::Bernoulli => Pixels::Binarised,
            _ => Pixels::Dequantised,
        }
    }

    /// What it is judged by: the same bits for everyone (see [`crate::data::binarize`]), which begin at MNIST's first
    /// test picture and leave pictures as they are that are black and white already.
    pub(super) fn test_pixels(self) -> Pixels {
        match self {
            Observation::Bernoulli => Pixels::Sbin { first_image: 60_000 },
            _ => Pixels::Dequantised,
        }
    }
}
