//! gradus: a tensor engine written by hand.

pub mod checkpoint;
pub mod data;
mod display;
mod error;
mod exec;
pub mod files;
mod grad;
mod graph;
pub mod init;
pub mod linalg;
pub mod loss;
pub mod nn;
pub mod ops;
pub mod optim;
mod rng;
pub mod schedule;
mod shape;
mod tensor;

pub use error::{BuildError, Error, Result, build};
pub use exec::memory::{MemoryStats, memory_stats, reset_peak, trim_memory};
pub use exec::{ExecStats, exec_stats, set_guard};
pub use grad::{checkpoint, grad, hvp, jvp, try_grad, value_and_grad, vjp};
pub use gradus_kernels as kernels;
pub use gradus_kernels::DType;
pub use ops::{BatchStats, ConvOptions, Interpolation};
pub use rng::Rng;
pub use shape::{Axes, Layout, Shape, ToNumbers};
pub use tensor::{Element, Tensor};
