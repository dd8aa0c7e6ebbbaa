//! Models that work out of the box; each file reads like its paper.
//!
//! * [`gan`]: the fully connected generative adversarial network.

pub mod gan;
