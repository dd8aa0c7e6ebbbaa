//! Data sets: pictures in memory, where they come from, and the loader that hands them out in batches.
//!
//! * [`open`] gives a data set by name.
//! * [`Digits`] draws its pictures; [`idx`] reads MNIST and its like, [`cifar`] CIFAR-10, [`folder`] pictures from
//!   folders.
//! * Whatever is a [`Source`] can be learned from, in memory or not; [`random_split`] holds parts of it back.
//! * [`Loader`] shuffles, cuts batches, changes pictures ([`Augment`]) and turns bytes into numbers, ahead of time on a
//!   thread of its own.
//! * [`binarize`] makes black and white of grey: once for all ([`binarize::sbin`]) or anew at each visit.
//!
//! Everything here lives on the host, in plain vectors. Everything random is a function of a seed and a position
//! ([`SplitMix64`]), so a stopped run goes on exactly where it was.

mod augment;
pub mod binarize;
pub mod cifar;
mod digits;
pub mod folder;
mod glyphs;
pub mod idx;
mod images;
mod loader;
pub mod resize;
mod source;
mod spec;
mod splitmix;

pub use augment::Augment;
pub use digits::Digits;
pub use images::{Images, Split};
pub use loader::{Batch, Loader, LoaderOptions, LoaderState, Pixels};
pub use source::{Source, Subset, random_split};
pub use spec::open;
pub use splitmix::SplitMix64;

/// The message of a caught panic.
fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_string());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".into())
}
