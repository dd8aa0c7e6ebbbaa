//! What is measured, and how: the workloads and the timing that `cargo bench` and `gradus bench` share.
//!
//! * [`suites`]: the work that other libraries are timed on, too, through tensors: products of matrices, convolutions,
//!   elementwise operations and reductions, and the five training steps of [`steps`]. Whatever a call does to return
//!   its result (building the expression, finding the plan, allocating) is inside the timing.
//! * [`cases`]: the kernels alone, on slices, each with its naive version.
//! * [`machine`]: what the processor can do at most, by which the others are judged.
//! * [`timing`]: samples of a call, and their median.
//!
//! The program `gradus-process` takes some training steps and does nothing else, for measuring a whole process.

pub mod cases;
pub mod host;
pub mod machine;
pub mod steps;
pub mod suites;
pub mod timing;
