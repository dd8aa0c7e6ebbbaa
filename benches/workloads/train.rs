//! The suite `train`: one full optimization step a call, losses read back.

use super::gan::{dcgan28, dcgan64, mlp_gan};
use super::{Step, Workload};
use gradus::nn::{Linear, Module};
use gradus::optim::Adam;
use gradus::{Result, Rng, Tensor, module};

/// All workloads of the suite.
pub fn suite() -> Vec<Workload> {
    let train = |name, flops, make| Workload { suite: "train", name, flops, bytes: 0.0, make };
    vec![
        train("mlpgan", 4_088_659_968.0, mlp_gan),
        train("ae", 727_973_888.0, autoencoder),
        train("vae", 418_611_200.0, vae),
        train("dcgan28", 20_738_342_912.0, dcgan28),
        train("dcgan64", 79_465_283_584.0, dcgan64),
    ]
}

/// Linear layers with an activation between them.
pub struct Mlp {
    layers: Vec<Linear>,
}
module!(Mlp { layers });

impl Mlp {
    pub fn new(widths: &[usize], rng: &mut Rng) -> Mlp {
        Mlp { layers: widths.windows(2).map(|w| Linear::new(w[0], w[1], rng)).collect() }
    }

    pub fn forward(&self, x: &Tensor, activation: impl Fn(Tensor) -> Tensor) -> Tensor {
        let last = self.layers.len() - 1;
        let hidden = self.layers[..last].iter().fold(x.clone(), |x, layer| activation(layer.forward(&x)));
        self.layers[last].forward(&hidden)
    }
}

fn autoencoder(rng: &mut Rng) -> Result<Step> {
    let net = Mlp::new(&[784, 512, 256, 32, 256, 512, 784], rng);
    let mut opt = Adam::new(net.params(), 1e-3);
    let x = rng.uniform([128, 784]);
    x.eval()?;
    Ok(Box::new(move || {
        let logits = net.forward(&x, |h| h.relu());
        let loss = (logits.softplus() - &logits * &x).mean(..);
        opt.step(&loss)?;
        assert!(loss.item()?.is_finite());
        Ok(())
    }))
}

struct Vae {
    hidden: Linear,
    mu: Linear,
    logvar: Linear,
    decoder: Mlp,
}
module!(Vae { hidden, mu, logvar, decoder });

fn vae(rng: &mut Rng) -> Result<Step> {
    let net = Vae {
        hidden: Linear::new(784, 400, rng),
        mu: Linear::new(400, 20, rng),
        logvar: Linear::new(400, 20, rng),
        decoder: Mlp::new(&[20, 400, 784], rng),
    };
    let mut opt = Adam::new(net.params(), 1e-3);
    let x = rng.uniform([128, 784]);
    x.eval()?;
    let mut noise = rng.split("noise");
    Ok(Box::new(move || {
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
    }))
}
