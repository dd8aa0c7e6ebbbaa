//! The deep autoencoder of Hinton & Salakhutdinov 2006, trained at once, and a smaller one.

use gradus::Result;
use gradus::data::Split;
use gradus::models::ae::{AeConfig, Autoencoder};
use gradus::models::coder::Layers;
use gradus::nn::Activation;

/// Principal components of 30 numbers leave 13.87 of squared error per test picture of MNIST; the paper's autoencoder,
/// after training for longer, 3.00.
const EXPECTED: &[(u64, f64)] =
    &[(600, 13.87), (1200, 13.87), (3000, 13.87), (6000, 13.87), (12_000, 13.87), (24_000, 3.00)];

/// Test errors of the smaller one in PyTorch, one seed, whose run ended there.
const FULLY_CONNECTED: &[(u64, f64)] = &[(100, 45.59), (300, 22.16), (600, 16.05), (1200, 10.43)];

/// 784-1000-500-250-30, ReLUs, Adam 1e-3 falling to 0 along a cosine, batches of 100, summed squared error.
pub fn deep(data: &Split, seed: u64, steps: u64) -> Result<()> {
    let config = AeConfig { image: super::image(&data.train), steps, ..AeConfig::deep() };
    let model = Autoencoder::new(config, seed)?;
    super::run(model, data, (seed, 100, steps), "squared_error", EXPECTED, super::evaluate).map(drop)
}

/// 784-512-256-32 by the same protocol.
pub fn fully_connected(data: &Split, seed: u64, steps: u64) -> Result<()> {
    let layers = Layers::dense(&[512, 256], Activation::Relu);
    let config = AeConfig { image: super::image(&data.train), code: 32, layers, steps, ..AeConfig::deep() };
    let model = Autoencoder::new(config, seed)?;
    super::run(model, data, (seed, 100, steps), "squared_error", FULLY_CONNECTED, super::evaluate).map(drop)
}
