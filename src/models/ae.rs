//! Autoencoders: a code shorter than the picture, from which the picture is made again (Hinton & Salakhutdinov 2006,
//! "Reducing the dimensionality of data with neural networks"), and the denoising autoencoder, which makes the clean
//! picture from a corrupted one (Vincent, Larochelle, Bengio & Manzagol 2008, "Extracting and composing robust features
//! with denoising autoencoders").

use crate::checkpoint::Checkpoint;
use crate::data::{Batch, Loader, Pixels};
use crate::loss::{bce_with_logits, mse_elementwise};
use crate::models::check_ranges;
use crate::models::coder::{Decoder, Encoder, Layers};
use crate::models::learner::Learner;
use crate::nn::{Activation, Linear, Module};
use crate::optim::Adam;
use crate::schedule::Schedule;
use crate::train::{Figures, Losses, Trainable};
use crate::{Error, Result, Rng, Tensor, module};

/// What is done to a picture x, from 0 to 1, before the encoder sees it (Vincent et al. 2008, section 2.3; their paper
/// of 2010, section 3.3, adds the last two).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Corruption {
    /// Nothing.
    None,
    /// Each pixel is 0 with this probability.
    Masking(f64),
    /// Normal noise of this standard deviation is added.
    Gaussian(f64),
    /// Each pixel is, with this probability, 0 or 1, whichever a fair coin says.
    SaltAndPepper(f64),
}

impl Corruption {
    /// A corrupted x, of the same shape.
    pub fn apply(self, x: &Tensor, rng: &mut Rng) -> Tensor {
        match self {
            Corruption::None => x.clone(),
            Corruption::Masking(p) => x.masked_fill(&rng.uniform_of(x.shape(), x.dtype()).lt(p), 0.0),
            Corruption::Gaussian(deviation) => x + rng.normal_of(x.shape(), x.dtype()) * deviation,
            Corruption::SaltAndPepper(p) => {
                let u = rng.uniform_of(x.shape(), x.dtype());
                x.masked_fill(&u.lt(p), 1.0).masked_fill(&u.lt(p / 2.0), 0.0)
            }
        }
    }

    fn check(self) -> Result<()> {
        let (what, amount, most) = match self {
            Corruption::None => return Ok(()),
            Corruption::Masking(p) => ("the probability of masking", p, 1.0),
            Corruption::Gaussian(deviation) => ("the deviation of the noise", deviation, 100.0),
            Corruption::SaltAndPepper(p) => ("the probability of salt and pepper", p, 1.0),
        };
        check_ranges("ae", &[(what, amount, 0.0..=most)])
    }
}

/// What is made small, with the decoder's numbers taken as logits of pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Objective {
    /// The cross-entropy of the pixels, the mean over all of them.
    CrossEntropy,
    /// The squared error summed over the pixels of a picture, the mean over pictures.
    SquaredError,
}

/// Sizes and rates of an [`Autoencoder`].
#[derive(Clone, Debug, PartialEq)]
pub struct AeConfig {
    /// Channels, height and width of a picture.
    pub image: [usize; 3],
    /// Length of the code.
    pub code: usize,
    /// The layers of the encoder; the decoder has them in reverse.
    pub layers: Layers,
    /// What follows the code; `None` leaves it linear.
    pub code_activation: Option<Activation>,
    /// What is made small.
    pub objective: Objective,
    /// What is done to pictures before the encoder sees them.
    pub corruption: Corruption,
    /// Adam's learning rate.
    pub lr: f64,
    /// Steps over which the rate falls to 0 along a cosine; 0: it stays.
    pub steps: u64,
}

impl Default for AeConfig {
    /// 784-512-256-32-256-512-784 with ReLUs, after the code too.
    fn default() -> Self {
        AeConfig {
            image: [1, 28, 28],
            code: 32,
            layers: Layers::dense(&[512, 256], Activation::Relu),
            code_activation: Some(Activation::Relu),
            objective: Objective::CrossEntropy,
            corruption: Corruption::None,
            lr: 1e-3,
            steps: 0,
        }
    }
}

impl AeConfig {
    /// The 784-1000-500-250-30 of Hinton & Salakhutdinov 2006, with its linear code; trained at once with ReLUs and
    /// Adam, where they needed a stack of Boltzmann machines to begin with.
    pub fn deep() -> AeConfig {
        AeConfig {
            code: 30,
            layers: Layers::dense(&[1000, 500, 250], Activation::Relu),
            code_activation: None,
            objective: Objective::SquaredError,
            ..AeConfig::default()
        }
    }

    /// Two convolutions of stride 2 with 32 and 64 channels and a linear code of 32.
    pub fn convolutional() -> AeConfig {
        AeConfig {
            layers: Layers::convolutional(&[32, 64], &[], Activation::Relu),
            code_activation: None,
            ..AeConfig::default()
        }
    }

    fn check(&self) -> Result<()> {
        let figures = [("code", self.code as f64, 1.0..=65_536.0), ("lr", self.lr, 0.0..=1e3)];
        check_ranges("ae", &figures)?;
        self.corruption.check()?;
        self.layers.check("ae", self.image)
    }
}

/// Encoder, the layer that makes the code, and decoder.
struct Network {
    encoder: Encoder,
    code: Linear,
    decoder: Decoder,
}
module!(Network { encoder, code, decoder });

/// The network, its optimizer, and the noise that corrupts.
pub struct Autoencoder {
    config: AeConfig,
    learner: Learner<Network>,
}

impl Autoencoder {
    /// An untrained one: parameters and noise are functions of `seed`.
    ///
    /// # Errors
    /// When a figure of the configuration makes no sense; it is named.
    pub fn new(config: AeConfig, seed: u64) -> Result<Autoencoder> {
        config.check()?;
        let rng = Rng::seed(seed);
        let mut draws = rng.split("parameters");
        let encoder = Encoder::new(config.image, &config.layers, &mut draws);
        let code = Linear::new(encoder.width(), config.code, &mut draws);
        let decoder = Decoder::new(config.code, config.image, &config.layers, 1, &mut draws);
        let network = Network { encoder, code, decoder };
        let opt = Adam::new(network.params(), config.lr);
        let learner = Learner { network, opt, noise: rng.split("noise") };
        Ok(Autoencoder { config, learner })
    }

    /// What it was made with.
    pub fn config(&self) -> &AeConfig {
        &self.config
    }

    /// Encoder, the layer that makes the code, and decoder.
    pub fn network(&self) -> &impl Module {
        &self.learner.network
    }

    /// Codes of pictures x `[n, pixels]`: `[n, code]`.
    pub fn encode(&self, x: &Tensor) -> Tensor {
        let code = self.learner.network.code.forward(&self.learner.network.encoder.forward(x));
        self.config.code_activation.map_or(code.clone(), |activation| activation.forward(&code))
    }

    /// Pictures of codes `[n, code]`: `[n, pixels]` from 0 to 1.
    pub fn decode(&self, code: &Tensor) -> Tensor {
        self.learner.network.decoder.forward(code).sigmoid()
    }

    /// What is made of x `[n, pixels]` by way of its code.
    pub fn reconstruct(&self, x: &Tensor) -> Tensor {
        self.decode(&self.encode(x))
    }

    fn rows(&self, batch: &Batch) -> Result<Tensor> {
        let [n, c, h, w] = batch.shape;
        if [c, h, w] != self.config.image {
            let image = self.config.image;
            return Err(Error::Data(format!("the model is for pictures of {image:?}, not {:?}", [c, h, w])));
        }
        Tensor::try_from_vec(batch.pixels.clone(), [n, c * h * w])
    }
}

impl Trainable for Autoencoder {
    fn pixels(&self) -> Pixels {
        Pixels::Unit
    }

    fn learn(&mut self, batch: &Batch) -> Result<Losses> {
        let x = self.rows(batch)?;
        if self.config.steps > 0 {
            let rate = Schedule::Cosine { from: self.config.lr, to: 0.0, steps: self.config.steps };
            self.learner.opt.set_lr(rate.at(self.learner.opt.steps()));
        }
        let seen = self.config.corruption.apply(&x, &mut self.learner.noise);
        let logits = self.learner.network.decoder.forward(&self.encode(&seen));
        let loss = match self.config.objective {
            Objective::CrossEntropy => bce_with_logits(&logits, &x),
            Objective::SquaredError => mse_elementwise(&logits.sigmoid(), &x).sum(1).mean(..),
        };
        self.learner.opt.step(&loss)?;
        Ok(vec![("loss", loss)])
    }

    /// None: nothing says which codes to draw.
    fn pictures(&mut self, _: usize, _: u64) -> Result<Option<Tensor>> {
        Ok(None)
    }

    /// The cross-entropy per pixel in nats and the squared error per picture of reconstructions; with a corruption also
    /// `denoised`, the squared error of what is made of corrupted pictures, the same for everyone.
    fn evaluate(&mut self, test: &mut Loader) -> Result<Figures> {
        let mut noise = Rng::seed(0).split("corruption");
        let (mut sums, mut count) = ([0.0; 3], 0.0);
        for batch in test.epoch() {
            let x = self.rows(&batch?)?;
            let n = x.shape()[0] as f64;
            let logits = self.learner.network.decoder.forward(&self.encode(&x));
            let square = |y: &Tensor| (y - &x).square().sum(..) / n;
            let mut parts = vec![bce_with_logits(&logits, &x), square(&logits.sigmoid())];
            if self.config.corruption != Corruption::None {
                parts.push(square(&self.reconstruct(&self.config.corruption.apply(&x, &mut noise))));
            }
            for (sum, part) in sums.iter_mut().zip(Tensor::stack(&parts, 0).to_vec::<f32>()?) {
                *sum += f64::from(part) * n;
            }
            count += n;
        }
        let names = ["cross_entropy", "squared_error", "denoised"];
        let shown = if self.config.corruption == Corruption::None { 2 } else { 3 };
        Ok(names.into_iter().zip(sums.map(|sum| sum / count)).take(shown).collect())
    }

    fn state(&self) -> Result<Checkpoint> {
        self.learner.state()
    }

    fn load(&mut self, state: &Checkpoint) -> Result<()> {
        self.learner.load(state)
    }
}
