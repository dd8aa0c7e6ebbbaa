//! The shaders: every variant parsed and validated without a device, compiled by a browser where there is one, and run
//! on a device where there is one against the plain loops of `gradus_kernels::naive`.
#![cfg(feature = "gpu")]

/// The descriptions under test, which know nothing of a device: compiled here as they are in the library.
#[path = "../../src/exec/gpu"]
#[allow(dead_code, reason = "the library uses what no test needs")]
mod gpu {
    pub mod dispatch;
    pub mod kernels;
    pub mod source;
    pub mod wgsl;
}

mod browser;
#[path = "../chromium/mod.rs"]
mod chromium;
mod device;
mod functions;
mod indexing;
mod numbers;
mod products;
mod reductions;
mod text;
mod variants;
