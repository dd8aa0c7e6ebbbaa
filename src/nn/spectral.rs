//! Spectral normalization: layers whose weight is divided by its largest singular value.

use super::{Mode, Module, Param, Visitor};
use crate::rng::Rng;
use crate::tensor::Tensor;

/// A layer that multiplies by one weight, and can do so with another in its place.
pub trait Weighted {
    /// The axis of the weight that counts outputs: 0, but 1 for transposed convolutions.
    const OUTPUT_AXIS: usize;

    /// The weight.
    fn weight(&self) -> &Param;

    /// The bias, if it has one.
    fn bias(&self) -> Option<&Param>;

    /// The layer's function with `weight` for its own.
    #[track_caller]
    fn forward_with(&self, x: &Tensor, weight: &Tensor) -> Tensor;
}

/// A layer with spectral normalization (Miyato et al. 2018, algorithm 1): it uses `W / σ(W)`, where `σ = uᵀ W v` is
/// the largest singular value of the weight as a matrix `[outputs, rest]`. Each forward pass in training takes one
/// step of the power iteration that `u` and `v` come from; gradients of any order flow through `σ`, not through the
/// iteration: `u` and `v` are constants of the forward pass. `dσ/dW = u vᵀ` so is exact where the iteration has
/// converged, and second derivatives leave out how the singular vectors turn with `W`.
///
/// Names as PyTorch's `spectral_norm`: `weight_orig`, `weight_u`, `weight_v`, `bias`.
///
/// ```
/// use gradus::nn::{Linear, Module, SpectralNorm};
/// use gradus::{Rng, Tensor};
/// let mut rng = Rng::seed(1);
/// let layer = SpectralNorm::new(Linear::new(3, 2, &mut rng), &mut rng);
/// assert_eq!(layer.forward(&Tensor::ones([1, 3])).shape(), &[1, 2]);
/// let names: Vec<String> = layer.params().into_iter().map(|p| p.0).collect();
/// assert_eq!(names, ["bias", "weight_orig"]);
/// ```
pub struct SpectralNorm<L> {
    /// The layer, with the weight as the optimizer sees it.
    pub layer: L,
    /// `[outputs]`: the left singular vector, nearly.
    pub u: Param,
    /// `[rest]`: the right one.
    pub v: Param,
    /// Training or evaluation.
    pub mode: Mode,
    /// Steps of the power iteration per forward pass; 1 at first.
    pub iterations: usize,
    /// The least norm divided by in the iteration; 1e-12 at first.
    pub eps: f64,
}

impl<L: Weighted> Module for SpectralNorm<L> {
    fn visit(&self, visitor: &mut Visitor) {
        visitor.field("bias", &self.layer.bias());
        visitor.field("weight_orig", self.layer.weight());
        visitor.field("weight_u", &self.u);
        visitor.field("weight_v", &self.v);
        visitor.field("mode", &self.mode);
    }
}

/// `x` of length 1.
fn normalize(x: &Tensor, eps: f64) -> Tensor {
    x / x.norm(..).maximum(eps)
}

impl<L: Weighted> SpectralNorm<L> {
    /// Normalizes `layer` from now on; the vectors start at random.
    pub fn new(layer: L, rng: &mut Rng) -> SpectralNorm<L> {
        let (eps, weight) = (1e-12, layer.weight().get());
        let outputs = weight.shape()[L::OUTPUT_AXIS];
        let rest = weight.numel().checked_div(outputs).unwrap_or(0);
        let [u, v] = [outputs, rest]
            .map(|n| Param::buffer(normalize(&rng.normal_of([n], weight.dtype()), eps).stop_grad()));
        SpectralNorm { layer, u, v, mode: Mode::default(), iterations: 1, eps }
    }

    /// The weight divided by its largest singular value; in training after a step of the power iteration.
    #[track_caller]
    pub fn weight(&self) -> Tensor {
        let weight = self.layer.weight().get();
        let matrix = weight.transpose(0, L::OUTPUT_AXIS as isize).flatten(1);
        let (mut u, mut v) = (self.u.get().stop_grad(), self.v.get().stop_grad());
        if self.mode.is_training() {
            let fixed = matrix.stop_grad();
            for _ in 0..self.iterations {
                v = normalize(&fixed.t().matmul(&u), self.eps);
                u = normalize(&fixed.matmul(&v), self.eps);
            }
            (u, v) = (u.stop_grad(), v.stop_grad());
            self.u.assign(&u);
            self.v.assign(&v);
        }
        weight / u.dot(&matrix.matmul(&v))
    }

    /// The layer's function with the normalized weight.
    ///
    /// # Panics
    /// As the layer itself.
    #[track_caller]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        self.layer.forward_with(x, &self.weight())
    }
}
