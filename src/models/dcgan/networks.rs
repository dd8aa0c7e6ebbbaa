//! Generator and discriminator of Radford et al. 2016: all guidelines of their section 3.

use super::{DcganConfig, Normalization};
use crate::nn::{
    Activation, BatchNorm1d, BatchNorm2d, Conv2d, ConvTranspose2d, GroupNorm, Linear, Module, Sequential,
    SpectralNorm, Visitor,
};
use crate::{ConvOptions, Error, Result, Rng, Tensor, init, module};

/// Where a picture begins: a few pixels square with many channels, then doubled several times.
pub(super) struct Plan {
    /// Height and width at the beginning: 4, or 7 for pictures of 28.
    base: usize,
    /// Channels after each doubling but the last, which makes the picture: features · 2^(doublings - 1) … features.
    channels: Vec<usize>,
}

impl Plan {
    /// # Errors
    /// When the picture is not 4 · 2^n or 7 · 2^n pixels square, n at least 2.
    pub fn new(config: &DcganConfig) -> Result<Plan> {
        let [_, h, w] = config.image;
        let doublings = |base: usize| (2..=7).find(|&n| h == w && h == base << n);
        let Some((base, n)) = [4, 7].iter().find_map(|&base| Some((base, doublings(base)?))) else {
            let sizes = "16, 28, 32, 56, 64, 112, 128 … pixels square";
            return Err(Error::Data(format!("dcgan: pictures of {h}x{w}: they must be {sizes}")));
        };
        Ok(Plan { base, channels: (0..n).rev().map(|i| config.features << i).collect() })
    }

    /// Whether the networks begin (and end) in a fully connected layer, as is usual for 28x28, rather than in a
    /// convolution over all pixels. Those networks also keep the biases of the layers next to the picture.
    fn dense(&self) -> bool {
        self.base == 7
    }
}

/// 4x4, stride 2, padding 1: halves height and width, or doubles them when transposed.
fn halving() -> ConvOptions {
    ConvOptions::default().stride(2).padding(1)
}

/// z `[n, latent]` → pictures `[n, c, h, w]` from -1 to 1.
pub struct Generator(Sequential);

impl Module for Generator {
    fn visit(&self, visitor: &mut Visitor) {
        self.0.visit(visitor);
    }
}

impl Generator {
    /// Transposed convolutions, each followed by batch normalization and a ReLU, the last by tanh alone.
    pub(super) fn new(config: &DcganConfig, plan: &Plan, rng: &mut Rng) -> Generator {
        let (latent, base, first) = (config.latent, plan.base, plan.channels[0]);
        let mut layers = Sequential::new();
        if plan.dense() {
            let width = first * base * base;
            layers = layers
                .push(Linear::without_bias(latent, width, rng))
                .push(BatchNorm1d::new(width))
                .push(Activation::Relu)
                .apply(move |x| x.reshape([x.shape()[0], first, base, base]));
        } else {
            let project = ConvTranspose2d::new(latent, first, [base; 2], ConvOptions::default(), rng);
            layers = layers
                .apply(move |z| z.reshape([z.shape()[0], latent, 1, 1]))
                .push(project.without_bias())
                .push(BatchNorm2d::new(first))
                .push(Activation::Relu);
        }
        for pair in plan.channels.windows(2) {
            layers = layers
                .push(ConvTranspose2d::new(pair[0], pair[1], [4; 2], halving(), rng).without_bias())
                .push(BatchNorm2d::new(pair[1]))
                .push(Activation::Relu);
        }
        let last = ConvTranspose2d::new(config.features, config.image[0], [4; 2], halving(), rng);
        let last = if plan.dense() { last } else { last.without_bias() };
        let generator = Generator(layers.push(last).push(Activation::Tanh));
        initialize(&generator, rng);
        generator
    }

    /// z `[n, latent]` → `[n, c, h, w]`.
    pub fn forward(&self, z: &Tensor) -> Tensor {
        self.0.forward(z)
    }
}

/// Pictures `[n, c, h, w]` → scores `[n, 1]`, above 0 where it takes them for real.
pub struct Discriminator {
    /// Strided convolutions, each with its normalization and a leaky ReLU.
    stages: Vec<Sequential>,
    head: Sequential,
}
module!(Discriminator { stages, head });

impl Discriminator {
    /// Strided convolutions with leaky ReLUs, normalized but for the first and the last layer.
    pub(super) fn new(config: &DcganConfig, plan: &Plan, rng: &mut Rng) -> Discriminator {
        let (norm, leaky) = (config.normalization, Activation::LeakyRelu(config.slope));
        let mut stages = Vec::new();
        let mut channels = config.image[0];
        for (i, &next) in plan.channels.iter().rev().enumerate() {
            let conv = Conv2d::new(channels, next, [4; 2], halving(), rng);
            let bias = if i == 0 { plan.dense() } else { matches!(norm, Normalization::None) };
            let conv = if bias || norm == Normalization::Spectral { conv } else { conv.without_bias() };
            let stage = Sequential::new();
            let stage = match norm {
                Normalization::Spectral => stage.push(SpectralNorm::new(conv, rng)),
                _ => stage.push(conv),
            };
            let stage = match norm {
                Normalization::Batch if i > 0 => stage.push(BatchNorm2d::new(next)),
                Normalization::Layer if i > 0 => stage.push(GroupNorm::new(1, next)),
                _ => stage,
            };
            stages.push(stage.push(leaky));
            channels = next;
        }
        let head = Discriminator::head(config, plan, channels, rng);
        let discriminator = Discriminator { stages, head };
        initialize(&discriminator, rng);
        discriminator
    }

    /// One number of what the last stage found.
    fn head(config: &DcganConfig, plan: &Plan, channels: usize, rng: &mut Rng) -> Sequential {
        let (head, spectral) = (Sequential::new(), config.normalization == Normalization::Spectral);
        if plan.dense() {
            let score = Linear::new(channels * plan.base * plan.base, 1, rng);
            let head = head.apply(|x| x.flatten(1));
            return if spectral { head.push(SpectralNorm::new(score, rng)) } else { head.push(score) };
        }
        let score = Conv2d::new(channels, 1, [plan.base; 2], ConvOptions::default(), rng).without_bias();
        let head = if spectral { head.push(SpectralNorm::new(score, rng)) } else { head.push(score) };
        head.apply(|x| x.flatten(1))
    }

    /// x `[n, c, h, w]` → `[n, 1]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        self.head.forward(&self.stages.iter().fold(x.clone(), |x, stage| stage.forward(&x)))
    }

    /// What the stages found, each pooled by its maximum to about 4x4, side by side: `[n, features]`. A linear
    /// classifier on these tells how much the discriminator learned without labels (section 5.1).
    pub fn features(&self, x: &Tensor) -> Tensor {
        let (mut x, mut found) = (x.clone(), Vec::new());
        for stage in &self.stages {
            x = stage.forward(&x);
            let side = ((x.shape()[2] + 1) / 4).max(1);
            found.push(x.max_pool2d(side, side, 0).flatten(1));
        }
        Tensor::cat(&found, 1)
    }
}

/// Every weight N(0, 0.02) (section 4), the scales of normalizations N(1, 0.02), every bias 0.
fn initialize(module: &impl Module, rng: &mut Rng) {
    for (name, param) in module.params() {
        let old = param.get();
        let new = match old.rank() {
            1 if name.ends_with("bias") => old.zeros_like(),
            1 => init::normal(old.shape(), 1.0, 0.02, rng),
            _ => init::normal(old.shape(), 0.0, 0.02, rng),
        };
        param.set(new);
    }
}
