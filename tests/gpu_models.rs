//! Every model on the GPU: 50 steps whose losses follow the CPU's.
//!
//! Tolerance: a loss differs by at most 2 % of `max(1, |loss|)` at any of the 50 steps. Rounding differs in the last
//! place from the first step on, and training amplifies it.
#![cfg(feature = "gpu")]

mod gpu_support;

use gpu_support::gpu;
use gradus::Device;
use gradus::data::{Loader, LoaderOptions, open};
use gradus::models::ae::{AeConfig, Autoencoder};
use gradus::models::classifier::{Classifier, ClassifierConfig};
use gradus::models::coder::Layers;
use gradus::models::dcgan::{Dcgan, DcganConfig};
use gradus::models::gan::{Gan, GanConfig};
use gradus::models::vae::{Vae, VaeConfig};
use gradus::nn::Activation;
use gradus::train::{Figures, Trainable};
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
