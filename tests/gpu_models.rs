//! Every model on the GPU: 50 steps whose losses follow the CPU's, 1,000 steps in the memory of the first few, and few
//! submissions.
//!
//! Tolerance: a loss differs by at most 2 % of `max(1, |loss|)` at any of the 50 steps. Rounding differs in the last
//! place from the first step on, and training amplifies it.
#![cfg(feature = "gpu")]

mod gpu_support;

use gpu_support::gpu;
use gradus::data::{Loader, LoaderOptions, open};
use gradus::models::ae::{AeConfig, Autoencoder};
use gradus::models::classifier::{Classifier, ClassifierConfig};
use gradus::models::coder::Layers;
use gradus::models::dcgan::{Dcgan, DcganConfig};
use gradus::models::gan::{Gan, GanConfig};
use gradus::models::vae::{Vae, VaeConfig};
use gradus::nn::{Activation, Linear, Module};
use gradus::optim::Adam;
use gradus::train::{Figures, Trainable};
use gradus::{Device, Rng, Tensor, module};
use std::sync::Arc;

const STEPS: usize = 50;

/// The losses of the first steps of a model on `device`.
fn losses<T: Trainable>(device: &Device, batch: usize, make: impl Fn() -> T) -> Vec<Figures> {
    device.scope(|| {
        let mut model = make();
        let options = LoaderOptions { pixels: model.pixels(), ..LoaderOptions::new(batch, 1) };
        let mut batches = Loader::new(Arc::new(open("digits:256", 1).unwrap().train), options).unwrap();
        (0..STEPS).map(|_| model.step(&batches.next_batch().unwrap()).unwrap()).collect()
    })
}

fn follows<T: Trainable>(batch: usize, make: impl Fn() -> T) {
    let Some(gpu) = gpu() else { return };
    let (there, here) = (losses(&gpu, batch, &make), losses(&Device::cpu(), batch, &make));
    for (step, (there, here)) in there.iter().zip(&here).enumerate() {
        for ((name, a), (_, b)) in there.iter().zip(here) {
            assert!((a - b).abs() <= 0.02 * b.abs().max(1.0), "step {step}: {name} is {a}, on the CPU {b}");
        }
    }
    let (first, last) = (here[0][0].1, here[STEPS - 1][0].1);
    assert!(first != last, "nothing was learned");
}

#[test]
fn a_gan_follows_the_cpu() {
    let config = GanConfig { latent: 16, hidden: vec![64, 64], ..GanConfig::default() };
    follows(32, || Gan::new(config.clone(), 1).unwrap());
}

#[test]
fn an_autoencoder_follows_the_cpu() {
    let config = AeConfig { layers: Layers::dense(&[64], Activation::Relu), ..AeConfig::default() };
    follows(32, || Autoencoder::new(config.clone(), 1).unwrap());
}

#[test]
fn a_vae_follows_the_cpu() {
    let config =
        VaeConfig { layers: Layers::dense(&[64], Activation::Tanh), latent: 8, ..VaeConfig::default() };
    follows(32, || Vae::new(config.clone(), 1).unwrap());
}

#[test]
fn a_dcgan_follows_the_cpu() {
    let config = DcganConfig { latent: 16, features: 4, ..DcganConfig::default() };
    follows(8, || Dcgan::new(config.clone(), 1).unwrap());
}

#[test]
fn a_classifier_follows_the_cpu() {
    let config = ClassifierConfig { channels: [4, 8], hidden: 32, ..ClassifierConfig::default() };
    follows(16, || Classifier::new(&config, 1).unwrap());
}

struct Net {
    l1: Linear,
    l2: Linear,
}
module!(Net { l1, l2 });

#[test]
fn a_thousand_steps_take_no_more_memory_than_the_first() {
    let Some(gpu) = gpu() else { return };
    gpu.scope(|| {
        let mut rng = Rng::seed(1);
        let net = Net { l1: Linear::new(8, 16, &mut rng), l2: Linear::new(16, 1, &mut rng) };
        let mut adam = Adam::new(net.params(), 1e-3);
        let mut step = || {
            let x = Tensor::from_vec(vec![0.5f32; 32 * 8], [32, 8]);
            let y = net.l2.forward(&net.l1.forward(&(x + rng.normal([32, 8]))).tanh());
            let loss = (y - 1.0).square().mean(..);
            adam.step(&loss).unwrap();
            loss.item().unwrap()
        };
        (0..20).for_each(|_| {
            step();
        });
        let before = gpu.stats().unwrap();
        let mut last = f64::NAN;
        (0..1000).for_each(|_| last = step());
        let after = gpu.stats().unwrap();
        assert!(last < 0.5, "{last}");
        assert_eq!(
            (after.allocations, after.live),
            (before.allocations, before.live),
            "{before:?} {after:?}"
        );
        assert_eq!((after.peak, after.pipelines), (before.peak, before.pipelines));
        // One for each step and the value read after it.
        assert_eq!(after.submissions - before.submissions, 1000);
        drop((net, adam));
        let end = gpu.stats().unwrap();
        assert!(
            end.live < after.live && end.pooled > after.pooled,
            "what is freed goes back to the pool: {end:?}"
        );
    });
}
