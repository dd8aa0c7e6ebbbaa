//! gradus: a tensor engine written by hand. *Gradus*, Latin: a step, as in a gradient step.
//!
//! A tensor is an expression. The graph of expressions is the tape. A gradient is more expression. Values are a cache.
//!
//! ```
//! use gradus::nn::{Linear, Module};
//! use gradus::{Rng, Tensor, grad, module, optim::Adam};
//!
//! struct Net { hidden: Linear, out: Linear }
//! module!(Net { hidden, out });
//!
//! let mut rng = Rng::seed(1);
//! let net = Net { hidden: Linear::new(2, 16, &mut rng), out: Linear::new(16, 1, &mut rng) };
//! let forward = |x: &Tensor| net.out.forward(&net.hidden.forward(x).tanh());
//! let x = Tensor::from([[0.0f32, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]);
//! let xor = Tensor::from([[0.0f32], [1.0], [1.0], [0.0]]);
//! let mut adam = Adam::new(net.params(), 0.05);
//! for _ in 0..200 {
//!     let loss = (forward(&x) - &xor).square().mean(..);
//!     adam.step(&loss)?;                                  // forward, backward and update: one plan, replayed
//! }
//! assert!((forward(&x) - &xor).abs().max(..).item()? < 0.1);
//! # Ok::<(), gradus::Error>(())
//! ```
//!
//! # Where to read on
//! * [`Tensor`]: what can be written. [`mod@grad`]: how it is differentiated, in one short file.
//! * [`tape`]: the graph as text and as a picture, to see what `grad` writes and what is fused.
//! * [`ops`]: every op with its rule, and how to add one. [`gradcheck::gradcheck`]: proof of a rule against numbers.
//! * [`nn`], [`optim`], [`loss`], [`init`], [`schedule`]: what models are made of. [`data`]: what they learn from.
//! * [`kernels`]: what finally runs, usable alone.
//!
//! # What is promised
//! * Shapes are checked where an expression is built, and a mistake panics at your line; [`build`] makes it an error.
//! * On one machine and build, results are bit-identical for any number of threads, fused or not, resumed or not.
//! * Gradients of every op are checked against f64 differences, at first and second order.

// Without the feature the checks are compiled but unreachable, so that they cost neither time nor size.
#![cfg_attr(not(feature = "checks"), allow(dead_code))]

pub mod checkpoint;

pub mod data;
mod device;
mod display;
mod error;
mod exec;
pub mod files;
pub mod grad;
#[cfg(feature = "checks")]
pub mod gradcheck;
#[cfg(not(feature = "checks"))]
mod gradcheck;
mod graph;
pub mod info;
pub mod init;
pub mod linalg;
pub mod loss;
pub mod metrics;
pub mod models;
pub mod nn;
pub mod ops;
pub mod optim;
mod rng;
pub mod schedule;
mod shape;
pub mod tape;
mod tensor;
pub mod train;

pub use device::{Adapter, Device, DeviceStats};
pub use error::{BuildError, Error, Result, build};
#[cfg(feature = "gpu")]
pub use exec::gpu::{Tuned, Tuning};
pub use exec::memory::{MemoryStats, memory_stats, reset_peak, trim_memory};
pub use exec::{ExecStats, KernelTime, eval, exec_stats, kernel_times, set_guard};
pub use grad::{checkpoint, grad, hvp, jvp, try_grad, value_and_grad, vjp};
pub use gradus_kernels as kernels;
pub use gradus_kernels::DType;
pub use ops::{BatchStats, ConvOptions, Interpolation};
pub use rng::Rng;
pub use shape::{Axes, Layout, Shape, ToNumbers};
pub use tensor::{Element, Tensor};
