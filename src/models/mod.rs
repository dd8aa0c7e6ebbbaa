//! Models that work out of the box; each file reads like its paper.
//!
//! * [`classifier`]: a small convolutional classifier.
//! * [`gan`]: the fully connected generative adversarial network.

pub mod classifier;
pub mod gan;
