//! Autoencoders: a code shorter than the picture, from which the picture is made again (Hinton & Salakhutdinov 2006,
//! "Reducing the dimensionality of data with neural networks"), and the denoising autoencoder, which makes the clean
//! picture from a corrupted one (Vincent, Larochelle, Bengio & Manzagol 2008, "Extracting and composing robust features
//! with denoising autoencoders").

use crate::checkpoint::Checkpoint;
use crate::data::{Batch, Images, Pixels};
use crate::loss::{bce_with_logits, mse};
use crate::models::coder::{Decoder, Encoder, Layers};
use crate::models::{check_ranges, test_batches};
use crate::nn::{Activation, Linear, Module, Param};
use crate::optim::Adam;
use crate::train::{Figures, Trainable};
use crate::{Error, Result, Rng, Tensor, module};
use std::f64::consts::PI;

/// What is done to a picture x, from 0 to 1, before the encoder sees it (Vincent et al. 2008, section 2.3; 2010,
/// section 3.3).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Corruption {
    /// Nothing.
    None,
    /// Each pixel is 0 with this probability.
    Masking(f64),
    /// Normal noise of this standard deviation is added.
    Gaussian(f64),
    /// Each pixel is, with this probability, 0 or 1, whichever a fair coin says.
    SaltAndPepper(f64),
}

impl Corruption {
    /// A corrupted x, of the same shape.
    pub fn apply(self, x: &Tensor, rng: &mut Rng) -> Tensor {
        match self {
            Corruption::None => x.clone(),
            Corruption::Masking(p) => x.masked_fill(&rng.uniform_of(x.shape(), x.dtype()).lt(p), 0.0),
            Corruption::Gaussian(deviation) => x + rng.normal_of(x.shape(), x.dtype()) * deviation,
            Corruption::SaltAndPepper(p) => {
                let u = rng.uniform_of(x.shape(), x.dtype());
                x.masked_fill(&u.lt(p), 1.0).masked_fill(&u.lt(p / 2.0), 0.0)
            }
        }
    }

    /// How strong it is.
    fn amount(self) -> f64 {
        match self {
            Corruption::None => 0.0,
            Corruption::Masking(a) | Corruption::Gaussian(a) | Corruption::SaltAndPepper(a) => a,
        }
    }
}

/// How far a reconstruction is from the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error2 {
    /// The cross-entropy of the pixels, the mean over all of them.
    CrossEntropy,
    /// The squared error summed over the pixels of a picture, the mean over pictures.
    Squared,
}
