//! CPU kernels over slices and strides. No tensors, no graph: usable alone.
//!
//! Every kernel comes in one piece with its oracle: [`naive`] holds the plain loop of each, against which the
//! fast version is tested and beside which it is benchmarked.
//!
//! # Promises
//! * Results are bit-identical for any number of threads: work is split by shape alone, never by thread count.
//! * The order in which a reduction adds is a function of the logical shape, never of strides or of what was fused.
//! * No multiply and add that were two operations in the program are contracted into one: a fused program gives
//!   the bits of the same program run one instruction at a time. (Inside GEMM and convolution the inner product
//!   itself is defined with fused multiply-add.)

pub mod conv;
pub mod dtype;
pub mod fold;
pub mod gather;
pub mod gemm;
pub mod huge;
pub mod math;
pub mod naive;
pub mod par;
pub mod peak;
pub mod pointwise;
pub mod program;
pub mod random;
pub mod reduce;
pub mod scan;
pub mod simd;
pub mod sort;
mod space;
pub mod strided;

pub use dtype::{DType, MAX_RANK, RawView, contiguous};
