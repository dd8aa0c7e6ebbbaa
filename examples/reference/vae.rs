//! The variational autoencoder by two protocols.

use gradus::Result;
use gradus::data::{Images, Loader, LoaderOptions, Split, binarize};
use gradus::models::vae::{Vae, VaeConfig};
use gradus::train::Trainable;
use std::sync::Arc;
use std::time::Instant;

/// Test bounds of the same model in PyTorch at the same steps, one seed (a run repeats within about a nat).
const VAE: &[(u64, f64)] = &[
    (100, -183.15),
    (300, -141.16),
    (600, -122.72),
    (1000, -113.81),
    (2000, -107.41),
    (3000, -104.93),
    (6000, -101.96),
    (9000, -100.93),
    (12_000, -100.17),
    (13_800, -99.71),
];

/// The same for the model and protocol of Burda et al. 2016, with batches of 20.
const BURDA: &[(u64, f64)] = &[
    (3000, -119.77),
    (6000, -112.73),
    (12_000, -108.50),
    (21_000, -104.19),
    (30_000, -103.11),
    (39_000, -102.06),
    (60_000, -99.66),
];

/// 784-400-20-400-784 with ReLUs, Adam 1e-3, batches of 100.
pub fn vae(data: &Split, seed: u64, steps: u64) -> Result<()> {
    let model = Vae::new(VaeConfig { image: image(&data.train), ..VaeConfig::default() }, seed)?;
    run(model, data, (seed, 100, steps), VAE, 94.10)
}

/// 784-200-200-50 with tanh, the first 20 of the paper's 3,280 epochs.
pub fn burda(data: &Split, seed: u64, steps: u64) -> Result<()> {
    let mut model = Vae::new(VaeConfig { image: image(&data.train), ..VaeConfig::burda() }, seed)?;
    model.set_means(&data.train)?;
    run(model, data, (seed, 20, steps), BURDA, 93.28)
}

fn image(images: &Images) -> [usize; 3] {
    [images.channels, images.height, images.width]
}

fn run(
    mut model: Vae,
    data: &Split,
    (seed, batch, steps): (u64, usize, u64),
    expected: &[(u64, f64)],
    nll: f64,
) -> Result<()> {
    let options = LoaderOptions { pixels: model.pixels(), ..LoaderOptions::new(batch, seed) };
    let mut loader = Loader::new(Arc::new(data.train.clone()), options)?;
    println!("    step   test bound   expected    difference    reconstruction      KL   active   seconds");
    let (start, mut training) = (Instant::now(), 0.0);
    for step in 1..=steps {
        let began = Instant::now();
        model.step(&loader.next_batch()?)?;
        training += began.elapsed().as_secs_f64();
        let Some(&(_, reference)) = expected.iter().find(|(at, _)| *at == step) else { continue };
        let b = model.bound(&mut in_order(&model, &data.test)?)?;
        println!(
            "{step:8}   {:10.2} {reference:10.2}    {:+10.2}    {:14.2}  {:6.2}   {:6}   {training:7.1}",
            b.elbo(),
            b.elbo() - reference,
            b.reconstruction,
            b.kl,
            b.active_units
        );
    }
    let tenth = every_tenth(&binarize::sbin_images(&data.test, 60_000))?;
    let each = model.log_likelihoods(&mut in_order(&model, &tenth)?, 5000)?;
    let (n, mean) = (each.len() as f64, each.iter().sum::<f64>() / each.len() as f64);
    let error = (each.iter().map(|l| (l - mean).powi(2)).sum::<f64>() / (n - 1.0) / n).sqrt();
    println!("NLL (k = 5000, every tenth test picture) {:.2} ± {error:.2}, expected {nll:.2}", -mean);
    println!("{:.1} seconds in all, {training:.1} of training", start.elapsed().as_secs_f64());
    Ok(())
}

/// All pictures, as the model is tested on them.
fn in_order(model: &Vae, images: &Images) -> Result<Loader> {
    let pixels = model.test_pixels();
    let options = LoaderOptions { pixels, shuffle: false, drop_last: false, ..LoaderOptions::new(500, 1) };
    Loader::new(Arc::new(images.clone()), options)
}

/// Pictures 0, 10, 20, …: the first half of MNIST's test set comes from other writers than the second.
fn every_tenth(images: &Images) -> Result<Images> {
    let kept: Vec<u8> = (0..images.count).step_by(10).flat_map(|i| images.image(i).to_vec()).collect();
    let count = images.count.div_ceil(10);
    Images::new([count, images.channels, images.height, images.width], kept, None, Vec::new())
}
