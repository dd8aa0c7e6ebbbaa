//! Each model's flags, options, defaults and presets, how it is built, and what commands can ask of it.

pub mod ae;
pub mod classifier;
pub mod dcgan;
pub mod gan;
mod layers;
pub mod vae;

use gradus::models::classifier::Classifier;
use gradus::models::vae::Vae;
use gradus::train::Trainable;
use gradus::{Rng, Tensor};

/// A model as commands see it. What a model does not have is `None`.
pub trait Model: Trainable {
    /// What makes pictures of codes.
    fn decoder(&mut self) -> Option<&mut dyn Decoder> {
        None
    }

    /// What makes codes of pictures.
    fn encoder(&self) -> Option<&dyn Encoder> {
        None
    }

    /// The model, if it has a likelihood that is bounded.
    fn vae(&self) -> Option<&Vae> {
        None
    }

    /// The model, if it tells classes apart.
    fn classifier(&self) -> Option<&Classifier> {
        None
    }

    /// What its discriminator found in pictures x `[n, c, h, w]` from 0 to 1: `[n, features]`.
    fn discriminator_features(&self, _x: &Tensor) -> Option<Tensor> {
        None
    }
}

/// Makes pictures of codes.
pub trait Decoder {
    /// Length of a code.
    fn code(&self) -> usize;

    /// Whether codes drawn from N(0, I) give new pictures.
    fn is_generative(&self) -> bool;

    /// Pictures `[n, c, h, w]` from 0 to 1 of codes `[n, code]`.
    fn decode(&mut self, codes: &Tensor) -> Tensor;
}

/// Makes codes of pictures.
pub trait Encoder {
    /// Codes `[n, code]` of pictures x `[n, c, h, w]` from 0 to 1; where codes are drawn, their means.
    fn encode(&self, x: &Tensor) -> Tensor;

    /// What the encoder learned to see in place of x; `None` if that is x itself.
    fn corrupt(&self, _x: &Tensor, _rng: &mut Rng) -> Option<Tensor> {
        None
    }
}

/// Pictures with what a model makes of them by way of codes, each `[n, c, h, w]`.
pub struct Reconstruction {
    /// The pictures with the noise that the model learned to take away.
    pub noisy: Option<Tensor>,
    pub made: Tensor,
}

/// Pictures x `[n, c, h, w]` from 0 to 1, encoded and decoded; `None` for models that cannot.
pub fn reconstruct(model: &mut dyn Model, x: &Tensor, rng: &mut Rng) -> Option<Reconstruction> {
    let encoder = model.encoder()?;
    let noisy = encoder.corrupt(x, rng);
    let codes = encoder.encode(noisy.as_ref().unwrap_or(x));
    let made = model.decoder()?.decode(&codes);
    Some(Reconstruction { noisy, made })
}
