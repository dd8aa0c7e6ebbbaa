//! Each model's flags, options, defaults and how it is built.

pub mod classifier;
pub mod gan;
