//! Data sets: pictures in memory, where they come from, and the loader that hands them out in batches.
//!
//! Everything here lives on the host, in plain vectors. Everything random is a function of a seed and a position
//! ([`SplitMix64`]), so a stopped run goes on exactly where it was.

mod digits;
mod glyphs;
pub mod idx;
mod images;
mod splitmix;

pub use digits::Digits;
pub use images::{Images, Source};
pub use splitmix::SplitMix64;
