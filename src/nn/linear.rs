//! Layers that read a table or multiply by a matrix.

use super::{Param, Weighted};
use crate::init;
use crate::module;
use crate::rng::Rng;
use crate::tensor::Tensor;

/// `y = x Wᵀ + b`: x `[…, in]`, weight `[out, in]`, bias `[out]`.
pub struct Linear {
    /// `[out, in]`.
    pub weight: Param,
    /// `[out]`.
    pub bias: Option<Param>,
}
module!(Linear { weight, bias });

impl Linear {
    /// PyTorch's default: weight and bias uniform within ±1/√in.
    pub fn new(inputs: usize, outputs: usize, rng: &mut Rng) -> Linear {
        let bound = 1.0 / (inputs.max(1) as f64).sqrt();
        let weight = Param::new(init::uniform([outputs, inputs], -bound, bound, rng));
        let bias = Param::new(init::uniform([outputs], -bound, bound, rng));
        Linear { weight, bias: Some(bias) }
    }

    /// The same without a bias.
    pub fn without_bias(inputs: usize, outputs: usize, rng: &mut Rng) -> Linear {
        Linear { bias: None, ..Linear::new(inputs, outputs, rng) }
    }

    /// x `[…, in]` → `[…, out]`.
    ///
    /// # Panics
    /// If the last axis of x is not `in` long.
    #[track_caller]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        self.forward_with(x, &self.weight.get())
    }
}

impl Weighted for Linear {
    const OUTPUT_AXIS: usize = 0;

    fn weight(&self) -> &Param {
        &self.weight
    }

    fn bias(&self) -> Option<&Param> {
        self.bias.as_ref()
    }

    #[track_caller]
    fn forward_with(&self, x: &Tensor, weight: &Tensor) -> Tensor {
        let y = x.matmul(&weight.t());
        match &self.bias {
            Some(bias) => y + bias.get(),
            None => y,
        }
    }
}

/// A table of vectors: indices `[…]` → `[…, dim]`.
pub struct Embedding {
    /// `[count, dim]`.
    pub weight: Param,
}
module!(Embedding { weight });

impl Embedding {
    /// `count` vectors of `dim` numbers, standard normal as in PyTorch.
    pub fn new(count: usize, dim: usize, rng: &mut Rng) -> Embedding {
        Embedding { weight: Param::new(rng.normal([count, dim])) }
    }

    /// The vectors at the positions in `index` (u32 or i32). A position outside is an error when the value is read.
    ///
    /// # Panics
    /// If `index` is not of integers.
    #[track_caller]
    pub fn forward(&self, index: &Tensor) -> Tensor {
        self.weight.get().embedding(index)
    }
}
