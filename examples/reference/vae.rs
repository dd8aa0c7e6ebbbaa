//! The variational autoencoder by two protocols.

use gradus::Result;
use gradus::data::{Images, Split, binarize};
use gradus::models::vae::{Vae, VaeConfig};

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
    let model = Vae::new(VaeConfig { image: super::image(&data.train), ..VaeConfig::default() }, seed)?;
    likelihood(super::run(model, data, (seed, 100, steps), "elbo", VAE, super::evaluate)?, data, 94.10)
}

/// 784-200-200-50 with tanh, the first 20 of the paper's 3,280 epochs unless told otherwise.
pub fn burda(data: &Split, seed: u64, steps: u64) -> Result<()> {
    let mut model = Vae::new(VaeConfig { image: super::image(&data.train), ..VaeConfig::burda() }, seed)?;
    model.set_means(&data.train)?;
    likelihood(super::run(model, data, (seed, 20, steps), "elbo", BURDA, super::evaluate)?, data, 93.28)
}

/// The importance-weighted bound with 5,000 codes for every tenth test picture.
fn likelihood(model: Vae, data: &Split, expected: f64) -> Result<()> {
    let tenth = every_tenth(&binarize::sbin_images(&data.test, 60_000))?;
    let each = model.log_likelihoods(&mut super::in_order(&model, &tenth)?, 5000)?;
    let (n, mean) = (each.len() as f64, each.iter().sum::<f64>() / each.len() as f64);
    let error = (each.iter().map(|l| (l - mean).powi(2)).sum::<f64>() / (n - 1.0) / n).sqrt();
    println!("NLL (k = 5000, every tenth test picture) {:.2} ± {error:.2}, expected {expected:.2}", -mean);
    Ok(())
}

/// Pictures 0, 10, 20, …: the first half of MNIST's test set comes from other writers than the second.
fn every_tenth(images: &Images) -> Result<Images> {
    let kept: Vec<u8> = (0..images.count).step_by(10).flat_map(|i| images.image(i).to_vec()).collect();
    let count = images.count.div_ceil(10);
    Images::new([count, images.channels, images.height, images.width], kept, None, Vec::new())
}
