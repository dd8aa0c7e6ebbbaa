//! The two element types of matrix multiplication.

use std::ops::{Add, Mul};

/// f32 or f64: what GEMM and convolution compute in.
pub trait Float:
    Copy
    + Send
    + Sync
    + PartialEq
    + std::fmt::Debug
    + Add<Output = Self>
    + Mul<Output = Self>
    + sealed::Sealed
    + 'static
{
    /// 0.
    const ZERO: Self;
}

impl Float for f32 {
    const ZERO: f32 = 0.0;
}

impl Float for f64 {
    const ZERO: f64 = 0.0;
}

mod sealed {
    /// Only the types that have micro-kernels are floats here.
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}
