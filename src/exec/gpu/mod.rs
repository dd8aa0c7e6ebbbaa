//! The GPU backend: the kernels of the waist as WGSL compute shaders, run through wgpu.
//!
//! * [`context`]: an adapter opened. [`pool`]: its memory. [`transfer`]: values to and from it. [`answers`]: errors that a
//!   browser reports late.
//! * [`dispatch`]: what a kernel asks for, in plain data; made by [`kernels`] (products, convolutions, indexing, …) and by
//!   [`pointwise`] and [`reduce`], which write shaders for fused programs with [`wgsl`].
//! * [`epilogue`]: what runs on a product's elements before they are stored.
//! * [`source`]: the shaders' files. [`pipelines`]: shaders compiled. [`recorder`]: dispatches recorded and submitted.
//! * [`program`]: a plan made ready, and run. [`sums`]: reductions of it that a product makes.
//!   [`pack`]: small maps of it as one. [`timing`]: what a kernel takes. [`tuning`]: choices that were measured.

mod answers;
mod context;
mod dispatch;
mod epilogue;
mod faults;
mod groups;
mod kernels;
mod lower;
mod pack;
mod pipelines;
mod pointwise;
mod pool;
mod program;
mod recorder;
mod reduce;
mod source;
mod sums;
#[cfg(test)]
mod tests;
mod timing;
mod transfer;
mod tuning;
mod wgsl;

pub(crate) use context::{Context, adapters};
pub(crate) use program::{Program, run};
pub(crate) use transfer::{Stored, upload};
pub(crate) use tuning::tune;
pub use tuning::{Tuned, Tuning};
