//! The fully connected generative adversarial network.

use super::judge::Judge;
use gradus::Result;
use gradus::data::Split;
use gradus::models::gan::{Gan, GanConfig};

/// Fréchet distances of the same model in PyTorch, one seed. There both players of a step see the same noise; here each
/// has its own, as in Goodfellow et al. 2014 (algorithm 1).
const MLP: &[(u64, f64)] = &[
    (100, 1971.0),
    (300, 1626.0),
    (500, 1210.0),
    (1000, 849.0),
    (2000, 622.0),
    (3000, 488.0),
    (5000, 291.0),
    (6740, 222.0),
];

/// G 100-256-512-784 with batch normalization, ReLUs and tanh, D 784-512-256-1 with leaky ReLUs of slope 0.2, Adam 2e-4
/// with β₁ = 0.5 for both, batches of 100.
pub fn mlp(data: &Split, seed: u64, steps: u64) -> Result<()> {
    let image = super::image(&data.train);
    let config = GanConfig { image, hidden: vec![256, 512], batch_norm: true, ..GanConfig::default() };
    let judge = Judge::new(data)?;
    let measure = |model: &mut Gan, _: &Split| judge.report(|z| model.decode(z));
    super::run(Gan::new(config, seed)?, data, (seed, 100, steps), "fid", MLP, measure).map(drop)
}
