//! gradus.

pub mod data;
pub mod error;
pub mod files;
pub mod linalg;

pub use error::{Error, Result};
