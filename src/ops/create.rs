//! Tensors made from nothing: constants and ranges.

use super::Op;
use crate::graph::Inputs;
use crate::shape::{Shape, ToNumbers, shape_arg};
use crate::tensor::Tensor;
use gradus_kernels::DType;

/// The bits that stand for `x` in a constant or a program parameter of type `dtype`.
pub(crate) fn scalar_bits(x: f64, dtype: DType) -> u64 {
    match dtype {
        DType::F32 | DType::F64 => x.to_bits(),
        DType::Bool => (x != 0.0) as u64,
        DType::I32 => x as i32 as i64 as u64,
        DType::U32 => x as u32 as u64,
    }
}

impl Tensor {
    #[track_caller]
    pub(crate) fn constant(shape: Shape, x: f64, dtype: DType) -> Tensor {
        Tensor::make(Op::Full(scalar_bits(x, dtype)), Inputs::None, shape, dtype)
    }

    /// Every element `x`, f32.
    ///
    /// # Panics
    /// As every constructor: if `shape` has a negative extent or more than eight axes.
    #[track_caller]
    pub fn full(shape: impl ToNumbers, x: f64) -> Tensor {
        Tensor::constant(shape_arg("full", shape), x, DType::F32)
    }

    /// Every element 0, f32. Other types: `Tensor::zeros(shape).to(dtype)`.
    #[track_caller]
    pub fn zeros(shape: impl ToNumbers) -> Tensor {
        Tensor::constant(shape_arg("zeros", shape), 0.0, DType::F32)
    }

    /// Every element 1, f32.
    #[track_caller]
    pub fn ones(shape: impl ToNumbers) -> Tensor {
        Tensor::constant(shape_arg("ones", shape), 1.0, DType::F32)
    }

    /// Every element `x`, shape and type of this tensor.
    #[track_caller]
    pub fn full_like(&self, x: f64) -> Tensor {
        Tensor::constant(*self.shape(), x, self.dtype())
    }

    /// Zeros of this tensor's shape and type.
    #[track_caller]
    pub fn zeros_like(&self) -> Tensor {
        self.full_like(0.0)
    }

    /// Ones of this tensor's shape and type.
    #[track_caller]
    pub fn ones_like(&self) -> Tensor {
        self.full_like(1.0)
    }

    /// `[0, 1, …, n - 1]` as u32, the type of indices.
    #[track_caller]
    pub fn arange(n: usize) -> Tensor {
        Tensor::make(Op::Index, Inputs::None, shape_arg("arange", [n]), DType::U32)
    }

    /// `n` numbers from `start` to `end`, both included, evenly spaced, f32.
    #[track_caller]
    pub fn linspace(start: f64, end: f64, n: usize) -> Tensor {
        let step = if n > 1 { (end - start) / (n - 1) as f64 } else { 0.0 };
        Tensor::arange(n).to(DType::F32) * step + start
    }

    /// The `n` by `n` identity matrix, f32.
    #[track_caller]
    pub fn eye(n: usize) -> Tensor {
        Tensor::arange(n).one_hot(n)
    }

    /// For indices of any shape, a new last axis of length `classes` that is 1 at the index and 0 elsewhere, f32.
    /// An index outside gives zeros.
    ///
    /// # Panics
    /// If this is a tensor of floats.
    #[track_caller]
    pub fn one_hot(&self, classes: usize) -> Tensor {
        self.unsqueeze(-1).eq(Tensor::arange(classes).to(self.dtype())).to(DType::F32)
    }
}
