//! DCGAN on 28x28 pictures.

use gradus::data::{Images, Split};
use gradus::metrics::{FeatureNet, LinearProbe, SampleReport};
use gradus::models::dcgan::{Dcgan, DcganConfig};
use gradus::nn::Module;
use gradus::train::Figures;
use gradus::{Error, Result, Rng, Tensor};
use std::path::Path;

/// Fréchet distances of the same model in PyTorch, one seed; another is within a quarter from 1,000 steps on.
const DCGAN: &[(u64, f64)] =
    &[(100, 1677.0), (300, 378.0), (500, 314.0), (1000, 262.0), (2000, 147.0), (3000, 135.0), (5000, 119.0)];

/// 100-7x7x128-14x14x64-28x28 and its mirror, Adam 2e-4 with β₁ = 0.5, batches of 64; then what D has learned, by a
/// linear classifier on its features of 1,000 pictures.
pub fn dcgan(data: &Split, seed: u64, steps: u64) -> Result<()> {
    let config = DcganConfig { image: super::image(&data.train), ..DcganConfig::default() };
    let judge = Judge::new(data)?;
    let measure = |model: &mut Dcgan, _: &Split| judge.report(model);
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
        let measure = |model: &mut Dcgan, _: &Split| judge.report(model);
        super::run(Dcgan::new(config, seed)?, data, (seed, 64, steps), "fid", DCGAN, measure)?;
    }
    Ok(())
}

/// A feature net, and the features of the test pictures.
struct Judge {
    net: FeatureNet,
    real: Tensor,
}

impl Judge {
    fn new(data: &Split) -> Result<Judge> {
        let Some(path) = std::env::args().nth(5) else {
            return Err(Error::Data("name the file of a feature net after the steps".into()));
        };
        let net = FeatureNet::load(Path::new(&path))?;
        let real = net.measure(&pixels(&data.test)?)?.features;
        Ok(Judge { net, real })
    }

    /// Of 10,000 new pictures, always from the same noise.
    fn report(&self, model: &mut Dcgan) -> Result<Figures> {
        let mut rng = Rng::seed(1).split("samples");
        let mut parts = Vec::new();
        for _ in 0..20 {
            let x = (model.sample(500, &mut rng) + 1.0) * 0.5;
            x.eval()?;
            parts.push(x.stop_grad());
        }
        Ok(SampleReport::new(&self.net, &Tensor::cat(&parts, 0), &self.real)?.pairs().to_vec())
    }
}

/// Pictures from 0 to 1, `[n, 1, 28, 28]`.
fn pixels(images: &Images) -> Result<Tensor> {
    let values = images.pixels.iter().map(|&v| f32::from(v) / 255.0).collect();
    Tensor::try_from_vec(values, [images.count, images.channels, images.height, images.width])
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
