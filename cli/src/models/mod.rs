//! Each model's flags, options, defaults and how it is built.

pub mod ae;
pub mod classifier;
pub mod dcgan;
pub mod gan;
mod layers;
pub mod vae;
