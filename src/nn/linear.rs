//! The fully connected layer.

use super::Param;
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
        let y = x.matmul(&self.weight.get().t());
        match &self.bias {
            Some(bias) => y + bias.get(),
            None => y,
        }
    }
}
