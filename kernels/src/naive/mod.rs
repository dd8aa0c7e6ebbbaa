//! The plain loop of every kernel: its definition, its oracle in the tests, and the baseline beside it in benchmarks.

pub mod conv;
pub mod gemm;
pub mod pointwise;
pub mod reduce;
