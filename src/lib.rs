//! gradus.

pub mod data;
pub mod error;
pub mod files;

pub use error::{Error, Result};
