//! Layers one after the other, and the small layers without parameters.

use super::{
    BatchNorm, Conv1d, Conv2d, ConvTranspose1d, ConvTranspose2d, Dropout, Embedding, GroupNorm, InstanceNorm,
    LayerNorm, Linear, Module, SpectralNorm, Visitor, Weighted,
};
use crate::tensor::Tensor;

/// A module that maps one tensor to one.
pub trait Layer: Module + Send + Sync {
    /// The layer's function.
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Tensor;
}

macro_rules! layers {
    ($($name:ty),* $(,)?) => {$(
        impl Layer for $name {
            #[track_caller]
            fn forward(&self, x: &Tensor) -> Tensor {
                <$name>::forward(self, x)
            }
        }
    )*};
}
layers!(
    Linear,
    Embedding,
    Conv1d,
    Conv2d,
    ConvTranspose1d,
    ConvTranspose2d,
    LayerNorm,
    GroupNorm,
    InstanceNorm,
    Dropout,
    Activation,
    Sequential,
);

impl<const D: usize> Layer for BatchNorm<D> {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Tensor {
        BatchNorm::forward(self, x)
    }
}

impl<L: Weighted + Send + Sync> Layer for SpectralNorm<L> {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Tensor {
        SpectralNorm::forward(self, x)
    }
}

/// An activation as a layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    /// [`Tensor::relu`].
    Relu,
    /// [`Tensor::leaky_relu`] with this slope.
    LeakyRelu(f64),
    /// [`Tensor::elu`] with this `alpha`.
    Elu(f64),
    /// [`Tensor::gelu`], exact.
    Gelu,
    /// [`Tensor::gelu_tanh`].
    GeluTanh,
    /// [`Tensor::silu`].
    Silu,
    /// [`Tensor::softplus`].
    Softplus,
    /// [`Tensor::tanh`].
    Tanh,
    /// [`Tensor::sigmoid`].
    Sigmoid,
}

impl Module for Activation {
    fn visit(&self, _: &mut Visitor) {}
}

impl Activation {
    /// Element by element.
    ///
    /// # Panics
    /// If x is not of floats.
    #[track_caller]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        match *self {
            Activation::Relu => x.relu(),
            Activation::LeakyRelu(slope) => x.leaky_relu(slope),
            Activation::Elu(alpha) => x.elu(alpha),
            Activation::Gelu => x.gelu(),
            Activation::GeluTanh => x.gelu_tanh(),
            Activation::Silu => x.silu(),
            Activation::Softplus => x.softplus(),
            Activation::Tanh => x.tanh(),
            Activation::Sigmoid => x.sigmoid(),
        }
    }
}

/// A function as a layer, see [`Sequential::apply`].
struct Function<F>(F);

impl<F> Module for Function<F> {
    fn visit(&self, _: &mut Visitor) {}
}

impl<F: Fn(&Tensor) -> Tensor + Send + Sync> Layer for Function<F> {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Tensor {
        (self.0)(x)
    }
}

/// Layers one after the other, named by their number as in PyTorch: `0.weight`, `2.weight`.
///
/// ```
/// use gradus::nn::{Activation, Linear, Module, Sequential};
/// use gradus::{Rng, Tensor};
/// let mut rng = Rng::seed(1);
/// let net = Sequential::new()
///     .apply(|x| x.flatten(1))
///     .push(Linear::new(4, 8, &mut rng))
///     .push(Activation::Relu)
///     .push(Linear::new(8, 2, &mut rng));
/// assert_eq!(net.forward(&Tensor::zeros([5, 2, 2])).shape(), &[5, 2]);
/// assert_eq!(net.params()[2].0, "3.weight");
/// ```
#[derive(Default)]
pub struct Sequential(Vec<Box<dyn Layer>>);

impl Module for Sequential {
    fn visit(&self, visitor: &mut Visitor) {
        self.0.visit(visitor);
    }
}

impl Sequential {
    /// No layer: the identity.
    pub fn new() -> Sequential {
        Sequential::default()
    }

    /// Adds a layer at the end.
    pub fn push(mut self, layer: impl Layer + 'static) -> Sequential {
        self.0.push(Box::new(layer));
        self
    }

    /// Adds a function without parameters at the end: a reshape, a pooling. It counts as a layer in the names.
    pub fn apply(self, f: impl Fn(&Tensor) -> Tensor + Send + Sync + 'static) -> Sequential {
        self.push(Function(f))
    }

    /// x through all layers.
    ///
    /// # Panics
    /// As the layers.
    #[track_caller]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        self.0.iter().fold(x.clone(), |x, layer| layer.forward(&x))
    }
}
