//! The two element types of matrix multiplication.

use super::kernel::{self, Kernels};
use crate::simd::Level;
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
    + sealed::HasKernels
    + crate::conv::dots::HasDots
    + crate::conv::reduce::HasReduce
    + crate::conv::rows::HasRows
    + crate::conv::winograd::transforms::HasTransforms
    + 'static
{
    /// 0.
    const ZERO: Self;

    /// `self * b + c`, rounded once.
    fn mul_add(self, b: Self, c: Self) -> Self;
}

impl Float for f32 {
    const ZERO: f32 = 0.0;

    #[inline(always)]
    fn mul_add(self, b: f32, c: f32) -> f32 {
        f32::mul_add(self, b, c)
    }
}

impl Float for f64 {
    const ZERO: f64 = 0.0;

    #[inline(always)]
    fn mul_add(self, b: f64, c: f64) -> f64 {
        f64::mul_add(self, b, c)
    }
}

mod sealed {
    use super::*;

    /// The types that have micro-kernels; nobody outside can add one.
    pub trait HasKernels: Sized + 'static {
        #[doc(hidden)]
        fn kernels(level: Level) -> &'static Kernels<Self>;
    }

    impl HasKernels for f32 {
        fn kernels(level: Level) -> &'static Kernels<f32> {
            kernel::for_f32(level)
        }
    }

    impl HasKernels for f64 {
        fn kernels(level: Level) -> &'static Kernels<f64> {
            kernel::for_f64(level)
        }
    }
}
