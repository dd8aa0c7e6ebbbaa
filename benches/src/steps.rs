//! Whole training steps: the real batch is a fixed random tensor, noise is drawn within the step, the losses are read
//! back at its end. Two players have two steps of Adam, the second against the discriminator of after the first.

use gradus::nn::{
    Activation, BatchNorm2d, Conv2d, ConvTranspose2d, Linear, Module, Param, Sequential, Visitor,
};
use gradus::optim::Adam;
use gradus::{ConvOptions, Result, Rng, Tensor, init, module};

/// One optimization step.
pub type Step = Box<dyn FnMut() -> Result<()>>;

/// A training step that can be timed.
pub struct Workload {
    /// Its name.
    pub name: &'static str,
    /// Multiplications and additions in the matrix products and convolutions of a step, without those that no gradient
    /// needs; nothing else is counted.
    pub flops: f64,
    /// Makes the networks and the data.
    pub build: fn(&mut Rng) -> Step,
}

/// All of them, the small ones first.
pub const WORKLOADS: [Workload; 5] = [
    Workload {
        name: "mlpgan",
        flops: 4_088_659_968.0,
        build: |rng| mlp_gan(rng, 128, [100, 256, 512, 1024, 784]),
    },
    Workload { name: "ae", flops: 727_973_888.0, build: autoencoder },
    Workload { name: "vae", flops: 418_611_200.0, build: vae },
    Workload { name: "dcgan28", flops: 20_738_342_912.0, build: dcgan28 },
    Workload { name: "dcgan64", flops: 79_484_157_952.0, build: dcgan64 },
];

/// The graph of `mlpgan` on little matrices and a batch of 4: as many nodes, kernels and parameters, and hardly anything
/// to compute. For what a step costs besides its kernels.
pub const NARROW: Workload =
    Workload { name: "mlpgan_narrow", flops: 266_624.0, build: |rng| mlp_gan(rng, 4, [12, 16, 16, 16, 24]) };

/// Linear layers with an activation between them.
struct Mlp {
    layers: Vec<Linear>,
}
module!(Mlp { layers });

impl Mlp {
    fn new(widths: &[usize], rng: &mut Rng) -> Mlp {
        Mlp { layers: widths.windows(2).map(|w| Linear::new(w[0], w[1], rng)).collect() }
    }

    fn forward(&self, x: &Tensor, activation: impl Fn(Tensor) -> Tensor) -> Tensor {
        let last = self.layers.len() - 1;
        let hidden = self.layers[..last].iter().fold(x.clone(), |x, layer| activation(layer.forward(&x)));
        self.layers[last].forward(&hidden)
    }
}

/// Binary cross-entropy on logits against a constant target, averaged.
fn bce(logits: &Tensor, target: f64) -> Tensor {
    (logits.softplus() - logits * target).mean(..)
}

/// `widths` are the generator's, from noise to data; the discriminator has them in reverse, with one number at its end.
fn mlp_gan(rng: &mut Rng, batch: usize, widths: [usize; 5]) -> Step {
    let leaky = |x: Tensor| x.leaky_relu(0.2);
    let [latent, low, middle, high, data] = widths;
    let g = Mlp::new(&widths, rng);
    let d = Mlp::new(&[data, high, middle, low, 1], rng);
    let mut opt_g = Adam::new(g.params(), 2e-4).betas(0.5, 0.999);
    let mut opt_d = Adam::new(d.params(), 2e-4).betas(0.5, 0.999);
    let real = rng.uniform([batch, data]) * 2.0 - 1.0;
    let mut noise = rng.split("noise");
    Box::new(move || {
        real.eval()?;
        let fake = g.forward(&noise.normal([batch, latent]), leaky).tanh().stop_grad();
        let loss_d = bce(&d.forward(&real, leaky), 1.0) + bce(&d.forward(&fake, leaky), 0.0);
        opt_d.step(&loss_d)?;
        let fake = g.forward(&noise.normal([batch, latent]), leaky).tanh();
        let loss_g = bce(&d.forward(&fake, leaky), 1.0);
        opt_g.step(&loss_g)?;
        assert!(loss_d.item()?.is_finite() && loss_g.item()?.is_finite());
        Ok(())
    })
}

fn autoencoder(rng: &mut Rng) -> Step {
    let net = Mlp::new(&[784, 512, 256, 32, 256, 512, 784], rng);
    let mut opt = Adam::new(net.params(), 1e-3);
    let x = rng.uniform([128, 784]);
    Box::new(move || {
        x.eval()?;
        let logits = net.forward(&x, |h| h.relu());
        let loss = (logits.softplus() - &logits * &x).mean(..);
        opt.step(&loss)?;
        assert!(loss.item()?.is_finite());
        Ok(())
    })
}

struct Vae {
    hidden: Linear,
    mu: Linear,
    logvar: Linear,
    decoder: Mlp,
}
module!(Vae { hidden, mu, logvar, decoder });

fn vae(rng: &mut Rng) -> Step {
    let net = Vae {
        hidden: Linear::new(784, 400, rng),
        mu: Linear::new(400, 20, rng),
        logvar: Linear::new(400, 20, rng),
        decoder: Mlp::new(&[20, 400, 784], rng),
    };
    let mut opt = Adam::new(net.params(), 1e-3);
    let x = rng.uniform([128, 784]);
    let mut noise = rng.split("noise");
    Box::new(move || {
        x.eval()?;
        let h = net.hidden.forward(&x).relu();
        let (mu, logvar) = (net.mu.forward(&h), net.logvar.forward(&h));
        let z = &mu + (&logvar * 0.5).exp() * noise.normal([128, 20]);
        let logits = net.decoder.forward(&z, |h| h.relu());
        let reconstruction = (logits.softplus() - &logits * &x).sum(..);
        let kl = (mu.square() + logvar.exp() - &logvar - 1.0).sum(..) * 0.5;
        let loss = (reconstruction + kl) / 128.0;
        opt.step(&loss)?;
        assert!(loss.item()?.is_finite());
        Ok(())
    })
}

/// Layers in a row, as a module.
struct Network(Sequential);

impl Module for Network {
    fn visit(&self, visitor: &mut Visitor) {
        self.0.visit(visitor);
    }
}

/// 4x4, stride 2, padding 1: halves height and width, or doubles them when transposed.
fn halving() -> ConvOptions {
    ConvOptions::default().stride(2).padding(1)
}

/// The weight drawn from N(0, 0.02²).
fn small(weight: &Param, rng: &mut Rng) {
    let shape = *weight.get().shape();
    weight.set(init::normal(shape, 0.0, 0.02, rng));
}

fn down(inputs: usize, outputs: usize, rng: &mut Rng) -> Conv2d {
    let conv = Conv2d::new(inputs, outputs, [4; 2], halving(), rng);
    small(&conv.weight, rng);
    conv
}

fn up(inputs: usize, outputs: usize, rng: &mut Rng) -> ConvTranspose2d {
    let conv = ConvTranspose2d::new(inputs, outputs, [4; 2], halving(), rng);
    small(&conv.weight, rng);
    conv
}

/// The two steps of a convolutional GAN. z is `[batch, latent…]`, real `[batch, c, h, w]`.
fn adversarial(g: Network, d: Network, z: Vec<usize>, real: Tensor, rng: &mut Rng) -> Step {
    let mut opt_g = Adam::new(g.params(), 2e-4).betas(0.5, 0.999);
    let mut opt_d = Adam::new(d.params(), 2e-4).betas(0.5, 0.999);
    let mut noise = rng.split("noise");
    Box::new(move || {
        real.eval()?;
        let fake = g.0.forward(&noise.normal(&z)).stop_grad();
        let loss_d = bce(&d.0.forward(&real), 1.0) + bce(&d.0.forward(&fake), 0.0);
        opt_d.step(&loss_d)?;
        let loss_g = bce(&d.0.forward(&g.0.forward(&noise.normal(&z))), 1.0);
        opt_g.step(&loss_g)?;
        assert!(loss_d.item()?.is_finite() && loss_g.item()?.is_finite());
        Ok(())
    })
}

fn dcgan28(rng: &mut Rng) -> Step {
    let g = Sequential::new()
        .push(Linear::new(100, 6272, rng))
        .apply(|x| x.reshape([x.shape()[0], 128, 7, 7]))
        .push(BatchNorm2d::new(128))
        .push(Activation::Relu)
        .push(up(128, 64, rng).without_bias())
        .push(BatchNorm2d::new(64))
        .push(Activation::Relu)
        .push(up(64, 1, rng))
        .push(Activation::Tanh);
    let d = Sequential::new()
        .push(down(1, 64, rng))
        .push(Activation::LeakyRelu(0.2))
        .push(down(64, 128, rng).without_bias())
        .push(BatchNorm2d::new(128))
        .push(Activation::LeakyRelu(0.2))
        .apply(|x| x.reshape([x.shape()[0], 6272]))
        .push(Linear::new(6272, 1, rng));
    let real = rng.uniform([128, 1, 28, 28]) * 2.0 - 1.0;
    adversarial(Network(g), Network(d), vec![128, 100], real, rng)
}

fn dcgan64(rng: &mut Rng) -> Step {
    let ends = ConvOptions::default();
    let first = ConvTranspose2d::new(100, 512, [4; 2], ends, rng).without_bias();
    small(&first.weight, rng);
    let mut g = Sequential::new().push(first).push(BatchNorm2d::new(512)).push(Activation::Relu);
    for [i, o] in [[512, 256], [256, 128], [128, 64]] {
        g = g.push(up(i, o, rng).without_bias()).push(BatchNorm2d::new(o)).push(Activation::Relu);
    }
    let g = g.push(up(64, 3, rng).without_bias()).push(Activation::Tanh);
    let mut d = Sequential::new().push(down(3, 64, rng).without_bias()).push(Activation::LeakyRelu(0.2));
    for [i, o] in [[64, 128], [128, 256], [256, 512]] {
        let conv = down(i, o, rng).without_bias();
        d = d.push(conv).push(BatchNorm2d::new(o)).push(Activation::LeakyRelu(0.2));
    }
    let last = Conv2d::new(512, 1, [4; 2], ends, rng).without_bias();
    small(&last.weight, rng);
    let real = rng.uniform([32, 3, 64, 64]) * 2.0 - 1.0;
    adversarial(Network(g), Network(d.push(last)), vec![32, 100, 1, 1], real, rng)
}
