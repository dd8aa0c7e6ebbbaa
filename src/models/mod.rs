//! Models that work out of the box; each file reads like its paper.
//!
//! * [`classifier`]: a small convolutional classifier.
//! * [`gan`]: the fully connected generative adversarial network.
//! * [`vae`]: the variational autoencoder, on the networks of [`coder`].

pub mod classifier;
pub mod coder;
pub mod gan;
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
