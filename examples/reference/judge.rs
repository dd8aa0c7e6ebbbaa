//! How good generated pictures are, by a feature net.

use gradus::data::{Images, Split};
use gradus::metrics::{FeatureNet, SampleReport};
use gradus::train::Figures;
use gradus::{Error, Result, Rng, Tensor};
use std::path::Path;

/// Length of the noise of all generators here.
const LATENT: usize = 100;

/// A feature net, and the features of the test pictures.
pub struct Judge {
    net: FeatureNet,
    real: Tensor,
}

impl Judge {
    /// With the net whose file the command line names last.
    pub fn new(data: &Split) -> Result<Judge> {
        let Some(path) = std::env::args().nth(5) else {
            return Err(Error::Data("name the file of a feature net after the steps".into()));
        };
        let net = FeatureNet::load(Path::new(&path))?;
        let real = net.measure(&pixels(&data.test)?)?.features;
        Ok(Judge { net, real })
    }

    /// Of 10,000 new pictures, always from the same noise; `decode` makes pictures from 0 to 1 of noise.
    pub fn report(&self, mut decode: impl FnMut(&Tensor) -> Tensor) -> Result<Figures> {
        let mut rng = Rng::seed(1).split("samples");
        let mut parts = Vec::new();
        for _ in 0..20 {
            let x = decode(&rng.normal([500, LATENT]));
            x.eval()?;
            parts.push(x.stop_grad());
        }
        Ok(SampleReport::new(&self.net, &Tensor::cat(&parts, 0), &self.real)?.pairs().to_vec())
    }
}

/// Pictures from 0 to 1, `[n, 1, 28, 28]`.
pub fn pixels(images: &Images) -> Result<Tensor> {
    let values = images.pixels.iter().map(|&v| f32::from(v) / 255.0).collect();
    Tensor::try_from_vec(values, [images.count, images.channels, images.height, images.width])
}
