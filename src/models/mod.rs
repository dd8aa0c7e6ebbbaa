//! Models that work out of the box; each file reads like its paper.
//!
//! * [`gan`], [`dcgan`]: generative adversarial networks, fully connected and convolutional, with the slopes of
//!   [`penalty`].
//! * [`ae`], [`vae`]: autoencoders, plain, denoising and variational, on the networks of [`coder`].
//! * [`classifier`]: a small convolutional classifier.

pub mod ae;
pub mod classifier;
pub mod coder;
pub mod dcgan;
pub mod gan;
mod learner;
pub mod penalty;
mod players;
pub mod vae;

use crate::{Error, Result};
use std::ops::RangeInclusive;

/// Refuses the first figure of a model's configuration that lies outside its range, by name.
fn check_ranges(model: &str, figures: &[(&str, f64, RangeInclusive<f64>)]) -> Result<()> {
    match figures.iter().find(|(_, value, range)| !range.contains(value)) {
        None => Ok(()),
        Some((name, value, range)) => {
            let (low, high) = range.clone().into_inner();
            Err(Error::Data(format!("{model}: {name} = {value} is not between {low} and {high}")))
        }
    }
}
