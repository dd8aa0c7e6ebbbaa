//! DCGAN on 28x28 pictures.

use super::judge::{Judge, pixels};
use gradus::data::{Images, Split};
use gradus::metrics::LinearProbe;
use gradus::models::dcgan::{Dcgan, DcganConfig};
use gradus::nn::Module;
use gradus::{Result, Tensor};

/// Fréchet distances of the same model in PyTorch, one seed; another is within a quarter from 1,000 steps on.
const DCGAN: &[(u64, f64)] =
    &[(100, 1677.0), (300, 378.0), (500, 314.0), (1000, 262.0), (2000, 147.0), (3000, 135.0), (5000, 119.0)];

/// 100-7x7x128-14x14x64-28x28 and its mirror, Adam 2e-4 with β₁ = 0.5, batches of 64; then what D has learned, by a
/// linear classifier on its features of 1,000 pictures.
pub fn dcgan(data: &Split, seed: u64, steps: u64) -> Result<()> {
    let config = DcganConfig { image: super::image(&data.train), ..DcganConfig::default() };
    let judge = Judge::new(data)?;
    let measure = |model: &mut Dcgan, _: &Split| judge.report(|z| model.decode(z));
    let model = super::run(Dcgan::new(config, seed)?, data, (seed, 64, steps), "fid", DCGAN, measure)?;
    let error = 1.0 - probe(&model, data)?;
    println!("linear probe on D's features, 1,000 labels: {:.2} % error, expected 5.42", 100.0 * error);
    Ok(())
}

/// The Wasserstein game with a gradient penalty, and the hinge game with spectral normalization: nothing may become
/// infinite in 5,000 steps.
pub fn constrained(data: &Split, seed: u64, steps: u64) -> Result<()> {
    let judge = Judge::new(data)?;
    for (name, config) in [("wasserstein", DcganConfig::wasserstein()), ("spectral", DcganConfig::spectral())]
    {
        println!("{name}");
        let config = DcganConfig { image: super::image(&data.train), features: 16, ..config };
        let measure = |model: &mut Dcgan, _: &Split| judge.report(|z| model.decode(z));
        super::run(Dcgan::new(config, seed)?, data, (seed, 64, steps), "fid", DCGAN, measure)?;
    }
    Ok(())
}

/// Accuracy on the test pictures of a linear classifier that learned from the first 1,000 training pictures.
fn probe(model: &Dcgan, data: &Split) -> Result<f64> {
    model.discriminator().set_training(false);
    let features = |images: &Images| -> Result<Tensor> {
        let mut parts = Vec::new();
        for start in (0..images.count).step_by(500) {
            let x = pixels(&images.slice(start..images.count.min(start + 500)))? * 2.0 - 1.0;
            let found = model.discriminator().features(&x);
            found.eval()?;
            parts.push(found.stop_grad());
        }
        Ok(Tensor::cat(&parts, 0))
    };
    let known = data.train.slice(0..1000);
    let labels = |images: &Images| images.labels.clone().unwrap_or_default();
    let probe = LinearProbe::fit(&features(&known)?, &labels(&known), 10, 0.01)?;
    probe.accuracy(&features(&data.test)?, &labels(&data.test))
}
