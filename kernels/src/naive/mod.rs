//! The plain loop of every kernel: the oracle of its tests and the baseline of its benchmarks.

pub mod conv;
pub mod gemm;
