//! The networks between pictures and codes that autoencoders are made of: fully connected, or convolutions that halve
//! height and width and, on the way back, transposed ones that double them.

use crate::models::check_ranges;
use crate::nn::{Activation, Conv2d, ConvTranspose2d, Linear, Module, Param, Sequential};
use crate::ops::ConvOptions;
use crate::{Error, Result, Rng, Tensor, init, module};

/// The layers of an [`Encoder`]; the [`Decoder`] that goes with it has them in reverse.
#[derive(Clone, Debug, PartialEq)]
pub struct Layers {
    /// Channels after each convolution (4x4, stride 2, padding 1); none make the network fully connected.
    pub channels: Vec<usize>,
    /// Widths of the fully connected layers that follow.
    pub hidden: Vec<usize>,
    /// What follows every layer but the last.
    pub activation: Activation,
}

/// How each convolution walks: it halves height and width, or doubles them when transposed.
fn halving() -> ConvOptions {
    ConvOptions::default().stride(2).padding(1)
}

impl Layers {
    /// Fully connected layers of these widths.
    pub fn dense(hidden: &[usize], activation: Activation) -> Layers {
        Layers { channels: Vec::new(), hidden: hidden.to_vec(), activation }
    }

    /// Convolutions with these channels, then fully connected layers of these widths.
    pub fn convolutional(channels: &[usize], hidden: &[usize], activation: Activation) -> Layers {
        Layers { channels: channels.to_vec(), hidden: hidden.to_vec(), activation }
    }

    /// Refuses what no network can have; `model` begins the message.
    pub(super) fn check(&self, model: &str, image: [usize; 3]) -> Result<()> {
        let width = 1.0..=65_536.0;
        let channels = self.channels.iter().map(|&n| ("a width in channels", n as f64, width.clone()));
        let hidden = self.hidden.iter().map(|&n| ("a width in hidden", n as f64, width.clone()));
        check_ranges(model, &channels.chain(hidden).collect::<Vec<_>>())?;
        let [_, h, w] = image;
        let halvings = self.channels.len();
        let halves =
            |n: usize| n.checked_shr(halvings as u32).is_some_and(|rest| rest > 0 && rest << halvings == n);
        if !halves(h) || !halves(w) {
            return Err(Error::Data(format!(
                "{model}: pictures of {h}x{w} cannot be halved {halvings} times, as the convolutions would"
            )));
        }
        Ok(())
    }

    /// Channels, height and width after the convolutions.
    fn smallest(&self, [c, h, w]: [usize; 3]) -> [usize; 3] {
        let halvings = self.channels.len();
        [self.channels.last().copied().unwrap_or(c), h >> halvings, w >> halvings]
    }
}

/// Pictures `[n, pixels]` → features `[n, width]`, from which one more layer makes a code.
pub struct Encoder {
    layers: Sequential,
    width: usize,
}
module!(Encoder { layers });

impl Encoder {
    /// The encoder for pictures of channels, height and width `image`.
    pub fn new(image: [usize; 3], shape: &Layers, rng: &mut Rng) -> Encoder {
        let [c, h, w] = image;
        let mut layers = Sequential::new();
        if !shape.channels.is_empty() {
            layers = layers.apply(move |x| x.reshape([x.shape()[0], c, h, w]));
        }
        let mut channels = c;
        for &next in &shape.channels {
            layers = layers.push(Conv2d::new(channels, next, [4; 2], halving(), rng)).push(shape.activation);
            channels = next;
        }
        if !shape.channels.is_empty() {
            layers = layers.apply(|x| x.flatten(1));
        }
        let mut width = shape.smallest(image).iter().product();
        for &next in &shape.hidden {
            layers = layers.push(Linear::new(width, next, rng)).push(shape.activation);
            width = next;
        }
        Encoder { layers, width }
    }

    /// How many features there are.
    pub fn width(&self) -> usize {
        self.width
    }

    /// x `[n, pixels]` → `[n, width]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        self.layers.forward(x)
    }
}

/// Codes `[n, latent]` → what the pixels are made of, `[n, outputs * pixels]`.
pub struct Decoder(Sequential);

impl Module for Decoder {
    fn visit(&self, visitor: &mut crate::nn::Visitor) {
        self.0.visit(visitor);
    }
}

impl Decoder {
    /// The decoder that mirrors the encoder of the same `shape`, with `outputs` numbers for each pixel.
    pub fn new(latent: usize, image: [usize; 3], shape: &Layers, outputs: usize, rng: &mut Rng) -> Decoder {
        let mut layers = Sequential::new();
        let mut width = latent;
        for &next in shape.hidden.iter().rev() {
            layers = layers.push(Linear::new(width, next, rng)).push(shape.activation);
            width = next;
        }
        let pixels = image.iter().product::<usize>();
        let Some((&(mut channels), rest)) = shape.channels.split_last() else {
            return Decoder(layers.push(Linear::new(width, outputs * pixels, rng)));
        };
        let [c, h, w] = shape.smallest(image);
        layers = layers
            .push(Linear::new(width, c * h * w, rng))
            .push(shape.activation)
            .apply(move |x| x.reshape([x.shape()[0], c, h, w]));
        for &next in rest.iter().rev() {
            let up = ConvTranspose2d::new(channels, next, [4; 2], halving(), rng);
            layers = layers.push(up).push(shape.activation);
            channels = next;
        }
        let last = ConvTranspose2d::new(channels, outputs * image[0], [4; 2], halving(), rng);
        Decoder(layers.push(last).apply(|x| x.flatten(1)))
    }

    /// z `[n, latent]` → `[n, outputs * pixels]`, without a nonlinearity at the end.
    pub fn forward(&self, z: &Tensor) -> Tensor {
        self.0.forward(z)
    }

    /// The bias of the last layer: one for each number it makes, or for each channel.
    pub(super) fn output_bias(&self) -> Param {
        self.0.params().pop().expect("a decoder has a last layer").1
    }
}

/// Gives every weight of a module the distribution of Glorot & Bengio 2010 (eq. 16), and every bias 0.
pub fn glorot(module: &impl Module, rng: &mut Rng) {
    for (_, param) in module.params() {
        let old = param.get();
        let new = if old.rank() < 2 { old.zeros_like() } else { init::xavier_uniform(old.shape(), 1.0, rng) };
        param.set(new);
    }
}
