//! The GANs of the suite `train`: a step of the discriminator on a real and a drawn batch, then one of the generator.

use super::Step;
use super::train::Mlp;
use gradus::nn::{Activation, BatchNorm2d, Conv2d, ConvTranspose2d, Linear, Module, Param, Sequential};
use gradus::optim::Adam;
use gradus::{ConvOptions, Result, Rng, Tensor, init};

type Params = Vec<(String, Param)>;

/// Binary cross-entropy on logits against a constant target, averaged.
fn bce(logits: &Tensor, target: f64) -> Tensor {
    (logits.softplus() - logits * target).mean(..)
}

/// The two updates, for networks given as functions.
fn steps(
    [g_params, d_params]: [Params; 2],
    generate: impl Fn(&Tensor) -> Tensor + 'static,
    judge: impl Fn(&Tensor) -> Tensor + 'static,
    real: Tensor,
    latent: &'static [usize],
    mut noise: Rng,
) -> Result<Step> {
    let mut opt_g = Adam::new(g_params, 2e-4).betas(0.5, 0.999);
    let mut opt_d = Adam::new(d_params, 2e-4).betas(0.5, 0.999);
    real.eval()?;
    Ok(Box::new(move || {
        let fake = generate(&noise.normal(latent)).stop_grad();
        let loss_d = bce(&judge(&real), 1.0) + bce(&judge(&fake), 0.0);
        opt_d.step(&loss_d)?;
        let loss_g = bce(&judge(&generate(&noise.normal(latent))), 1.0);
        opt_g.step(&loss_g)?;
        assert!(loss_d.item()?.is_finite() && loss_g.item()?.is_finite());
        Ok(())
    }))
}

pub fn mlp_gan(rng: &mut Rng) -> Result<Step> {
    let leaky = |x: Tensor| x.leaky_relu(0.2);
    let g = Mlp::new(&[100, 256, 512, 1024, 784], rng);
    let d = Mlp::new(&[784, 1024, 512, 256, 1], rng);
    let real = rng.uniform([128, 784]) * 2.0 - 1.0;
    let params = [g.params(), d.params()];
    let (g, d) = (move |z: &Tensor| g.forward(z, leaky).tanh(), move |x: &Tensor| d.forward(x, leaky));
    steps(params, g, d, real, &[128, 100], rng.split("noise"))
}

/// 4x4, stride 2, padding 1: halves height and width, or doubles them when transposed.
fn halving() -> ConvOptions {
    ConvOptions::default().stride(2).padding(1)
}

/// A discriminator's convolution without bias.
fn down(from: usize, to: usize, rng: &mut Rng) -> Conv2d {
    Conv2d::new(from, to, [4; 2], halving(), rng).without_bias()
}

/// A generator's transposed convolution without bias.
fn up(from: usize, to: usize, rng: &mut Rng) -> ConvTranspose2d {
    ConvTranspose2d::new(from, to, [4; 2], halving(), rng).without_bias()
}

/// Kernels N(0, 0.02).
fn initialize(network: &Sequential, rng: &mut Rng) {
    for (_, param) in network.params().iter().filter(|(_, p)| p.get().rank() == 4) {
        param.set(init::normal(param.get().shape(), 0.0, 0.02, rng));
    }
}

fn convolutional(
    g: Sequential,
    d: Sequential,
    real: &[usize],
    latent: &'static [usize],
    rng: &mut Rng,
) -> Result<Step> {
    initialize(&g, rng);
    initialize(&d, rng);
    let real = rng.uniform(real) * 2.0 - 1.0;
    let params = [g.params(), d.params()];
    let noise = rng.split("noise");
    steps(params, move |z: &Tensor| g.forward(z), move |x: &Tensor| d.forward(x), real, latent, noise)
}

pub fn dcgan28(rng: &mut Rng) -> Result<Step> {
    let leaky = Activation::LeakyRelu(0.2);
    let g = Sequential::new()
        .push(Linear::new(100, 6272, rng))
        .apply(|x| x.reshape([x.shape()[0], 128, 7, 7]))
        .push(BatchNorm2d::new(128))
        .push(Activation::Relu)
        .push(up(128, 64, rng))
        .push(BatchNorm2d::new(64))
        .push(Activation::Relu)
        .push(ConvTranspose2d::new(64, 1, [4; 2], halving(), rng))
        .push(Activation::Tanh);
    let d = Sequential::new()
        .push(Conv2d::new(1, 64, [4; 2], halving(), rng))
        .push(leaky)
        .push(down(64, 128, rng))
        .push(BatchNorm2d::new(128))
        .push(leaky)
        .apply(|x| x.flatten(1))
        .push(Linear::new(6272, 1, rng));
    convolutional(g, d, &[128, 1, 28, 28], &[128, 100], rng)
}

pub fn dcgan64(rng: &mut Rng) -> Result<Step> {
    let whole = ConvOptions::default;
    let leaky = Activation::LeakyRelu(0.2);
    let mut g = Sequential::new()
        .push(ConvTranspose2d::new(100, 512, [4; 2], whole(), rng).without_bias())
        .push(BatchNorm2d::new(512))
        .push(Activation::Relu);
    for (from, to) in [(512, 256), (256, 128), (128, 64)] {
        g = g.push(up(from, to, rng)).push(BatchNorm2d::new(to)).push(Activation::Relu);
    }
    let g = g.push(up(64, 3, rng)).push(Activation::Tanh);
    let mut d = Sequential::new().push(down(3, 64, rng)).push(leaky);
    for (from, to) in [(64, 128), (128, 256), (256, 512)] {
        d = d.push(down(from, to, rng)).push(BatchNorm2d::new(to)).push(leaky);
    }
    let d = d.push(Conv2d::new(512, 1, [4; 2], whole(), rng).without_bias()).apply(|x| x.flatten(1));
    convolutional(g, d, &[32, 3, 64, 64], &[32, 100, 1, 1], rng)
}
