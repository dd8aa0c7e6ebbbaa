//! The variational autoencoder of Kingma & Welling 2014 ("Auto-encoding variational Bayes").
//!
//! A picture x is thought to come from a code z ~ N(0, I) by a decoder p(x|z). An encoder gives q(z|x) = N(μ, σ²I), a
//! guess at the code of x. Both learn together by making large the evidence lower bound
//!
//! ```text
//! log p(x) ≥ E log p(x|z) - KL(q(z|x) ‖ p(z))        over z ~ q(z|x)                              (eq. 3)
//! ```
//!
//! whose first term is estimated by one z = μ + σ ε with ε ~ N(0, I), through which gradients flow (section 2.4), and
//! whose second is known in closed form (appendix B). With more draws the bound becomes that of Burda, Grosse &
//! Salakhutdinov 2016 ("Importance weighted autoencoders"), by which [`Vae::log_likelihoods`] measures models, too.

mod evaluation;
mod observation;

pub use evaluation::Bound;
pub use observation::Observation;

use crate::checkpoint::Checkpoint;
use crate::data::{Batch, Images, Loader, LoaderState, Pixels};
use crate::models::check_ranges;
use crate::models::coder::{Decoder, Encoder, Layers, glorot};
use crate::models::learner::Learner;
use crate::nn::{Activation, Linear, Module, Param};
use crate::optim::Adam;
use crate::train::{Figures, Losses, Trainable};
use crate::{Error, Result, Rng, Tensor, module};

/// Sizes and rates of a [`Vae`].
#[derive(Clone, Debug, PartialEq)]
pub struct VaeConfig {
    /// Channels, height and width of a picture.
    pub image: [usize; 3],
    /// Length of the code z.
    pub latent: usize,
    /// The layers of the encoder; the decoder has them in reverse.
    pub layers: Layers,
    /// What the decoder says of pixels.
    pub observation: Observation,
    /// What the KL term is multiplied by (Higgins et al. 2017, "β-VAE", eq. 4); 1 for the bound.
    pub beta: f64,
    /// Nats of KL that a unit of the code may use for free, on average over a batch (λ in Kingma et al. 2016,
    /// "Improved variational inference with inverse autoregressive flow", eq. 15): it keeps units from dying early.
    pub free_bits: f64,
    /// Codes drawn for each picture in training: with more than one the objective is the importance-weighted bound
    /// (Burda et al. 2016, eq. 8), which knows neither `beta` nor `free_bits`.
    pub samples: usize,
    /// Initial weights after Glorot & Bengio 2010 with biases 0, rather than PyTorch's defaults.
    pub glorot: bool,
    /// Adam's learning rate.
    pub lr: f64,
    /// Whether the rate falls as in Burda et al. 2016 (section 5): `lr 10^(-i/7)` for 3^i epochs, i = 0 … 7.
    pub anneal: bool,
    /// Adam's ε.
    pub eps: f64,
    /// Codes drawn for each picture when [`Trainable::evaluate`] estimates log p(x); 0: it does not.
    pub test_samples: usize,
}

impl Default for VaeConfig {
    /// 784-400-20-400-784 with ReLUs, for black and white pixels.
    fn default() -> Self {
        VaeConfig {
            image: [1, 28, 28],
            latent: 20,
            layers: Layers::dense(&[400], Activation::Relu),
            observation: Observation::Bernoulli,
            beta: 1.0,
            free_bits: 0.0,
            samples: 1,
            glorot: false,
            lr: 1e-3,
            anneal: false,
            eps: 1e-8,
            test_samples: 0,
        }
    }
}

impl VaeConfig {
    /// The model of Burda et al. 2016 with one stochastic layer: 784-200-200-50 with tanh both ways, to be trained with
    /// batches of 20 for 3,280 epochs. Table 1 gives 86.76 nats with one sample, k = 5000, on MNIST binarised anew at
    /// each visit; [`Vae::set_means`] comes before training.
    pub fn burda() -> VaeConfig {
        VaeConfig {
            latent: 50,
            layers: Layers::dense(&[200, 200], Activation::Tanh),
            glorot: true,
            anneal: true,
            eps: 1e-4,
            ..VaeConfig::default()
        }
    }

    fn check(&self) -> Result<()> {
        check_ranges(
            "vae",
            &[
                ("latent", self.latent as f64, 1.0..=65_536.0),
                ("beta", self.beta, 0.0..=1e6),
                ("free_bits", self.free_bits, 0.0..=1e3),
                ("samples", self.samples as f64, 1.0..=1e5),
                ("lr", self.lr, 0.0..=1e3),
                ("eps", self.eps, 0.0..=1.0),
                ("deviation", self.observation.deviation(), 1e-4..=1e4),
            ],
        )?;
        if self.samples > 1 && (self.beta != 1.0 || self.free_bits != 0.0) {
            let what = "samples = 1: the importance-weighted bound has no KL term";
            return Err(Error::Data(format!("vae: beta and free_bits need {what}")));
        }
        self.layers.check("vae", self.image)
    }

    /// The learning rate in an epoch, counted from 0.
    fn rate(&self, epoch: u64) -> f64 {
        // Stage i begins after 1 + 3 + … + 3^(i-1) = (3^i - 1)/2 epochs.
        let stage = (1..=7).take_while(|&i| (3u64.pow(i) - 1) / 2 <= epoch).count();
        if self.anneal { self.lr * 10f64.powf(-(stage as f64) / 7.0) } else { self.lr }
    }
}

/// The encoder's answer for pictures: q(z|x) = N(mean, exp(log_var) I).
#[derive(Clone, Debug)]
pub struct Posterior {
    /// μ, `[n, latent]`.
    pub mean: Tensor,
    /// log σ², `[n, latent]`.
    pub log_var: Tensor,
}

impl Posterior {
    /// z = μ + σ ε (section 2.4), for noise ε that broadcasts to `[…, n, latent]`.
    pub fn sample(&self, noise: &Tensor) -> Tensor {
        &self.mean + (&self.log_var * 0.5).exp() * noise
    }

    /// KL(q(z|x) ‖ N(0, I)) by unit of the code: (μ² + σ² - 1 - log σ²)/2 (appendix B), `[n, latent]`.
    pub fn kl(&self) -> Tensor {
        (self.mean.square() + self.log_var.exp() - 1.0 - &self.log_var) * 0.5
    }
}

/// Encoder, heads for mean and variance, and decoder.
struct Network {
    encoder: Encoder,
    mean: Linear,
    log_var: Linear,
    decoder: Decoder,
}
module!(Network { encoder, mean, log_var, decoder });

impl Network {
    fn new(config: &VaeConfig, rng: &mut Rng) -> Network {
        let encoder = Encoder::new(config.image, &config.layers, rng);
        let [mean, log_var] = [0, 1].map(|_| Linear::new(encoder.width(), config.latent, rng));
        let outputs = config.observation.outputs();
        let decoder = Decoder::new(config.latent, config.image, &config.layers, outputs, rng);
        let network = Network { encoder, mean, log_var, decoder };
        if config.glorot {
            glorot(&network, rng);
        }
        network
    }
}

/// The network, its optimizer, and the noise.
pub struct Vae {
    config: VaeConfig,
    learner: Learner<Network>,
    /// The two terms of the last step's objective: evaluated together with the step, as any buffer.
    terms: [Param; 2],
}

impl Vae {
    /// An untrained model: parameters and noise are functions of `seed`.
    ///
    /// # Errors
    /// When a figure of the configuration makes no sense; it is named.
    pub fn new(config: VaeConfig, seed: u64) -> Result<Vae> {
        config.check()?;
        let rng = Rng::seed(seed);
        let network = Network::new(&config, &mut rng.split("parameters"));
        let opt = Adam::new(network.params(), config.lr).eps(config.eps);
        let learner = Learner { network, opt, noise: rng.split("noise") };
        Ok(Vae { config, learner, terms: [(); 2].map(|()| Param::buffer(Tensor::zeros([0usize; 0]))) })
    }

    /// What it was made with.
    pub fn config(&self) -> &VaeConfig {
        &self.config
    }

    /// Makes the untrained decoder say the mean of `train` whatever the code, by the bias of its last layer (Burda et
    /// al. 2016's code does so): the logit of each pixel's mean, or of each channel's for a convolutional decoder.
    ///
    /// # Errors
    /// When the pictures have another size.
    pub fn set_means(&mut self, train: &Images) -> Result<()> {
        self.check_size([train.channels, train.height, train.width])?;
        let bias = self.learner.network.decoder.output_bias();
        let length = bias.get().numel();
        let each = (train.image_len() * self.config.observation.outputs()).div_ceil(length);
        let mut sums = vec![0u64; train.image_len() / each];
        for picture in train.pixels.chunks(train.image_len()) {
            for (sum, values) in sums.iter_mut().zip(picture.chunks(each)) {
                *sum += values.iter().map(|&v| u64::from(v)).sum::<u64>();
            }
        }
        let total = (255 * each * train.count.max(1)) as f64;
        let logit = |sum: &u64| {
            let mean = (*sum as f64 / total).clamp(0.001, 0.999);
            (mean / (1.0 - mean)).ln() as f32
        };
        let mut logits: Vec<f32> = sums.iter().map(logit).collect();
        // What follows the means are log variances: those of an untrained decoder are 0.
        logits.resize(length, 0.0);
        bias.set(Tensor::try_from_vec(logits, [length])?);
        Ok(())
    }

    /// q(z|x) of pictures x `[n, pixels]`.
    pub fn encode(&self, x: &Tensor) -> Posterior {
        let h = self.learner.network.encoder.forward(x);
        Posterior {
            mean: self.learner.network.mean.forward(&h),
            log_var: self.learner.network.log_var.forward(&h),
        }
    }

    /// The mean of p(x|z) for codes z `[n, latent]`: `[n, pixels]` from 0 to 1.
    pub fn decode(&self, z: &Tensor) -> Tensor {
        self.config.observation.mean(&self.learner.network.decoder.forward(z))
    }

    /// log p(x|z) of pictures x `[n, pixels]` for codes z `[…, n, latent]`: `[…, n]`, in nats.
    fn log_p(&self, x: &Tensor, z: &Tensor) -> Tensor {
        let mut shape = z.shape().to_vec();
        let latent = shape.pop().unwrap_or(1);
        let outputs = self.learner.network.decoder.forward(&z.reshape([z.numel() / latent, latent]));
        shape.push(outputs.shape()[1]);
        self.config.observation.log_p(&outputs.reshape(shape), x)
    }

    /// The logarithm of the importance weights p(x|z) p(z) / q(z|x), for noise `[k, n, latent]`: `[k, n]`.
    fn log_weights(&self, x: &Tensor, posterior: &Posterior, noise: &Tensor) -> Tensor {
        let z = posterior.sample(noise);
        // log p(z) - log q(z|x): the constants of the two normal densities cancel, and (z - μ)/σ is the noise.
        let ratio = ((noise.square() + &posterior.log_var - z.square()) * 0.5).sum(-1);
        self.log_p(x, &z) + ratio
    }

    /// The objective of a batch x `[n, pixels]`, and its two terms, reconstruction and KL, in nats per picture.
    fn objective(&mut self, x: &Tensor) -> (Tensor, Option<[Tensor; 2]>) {
        let (n, k, latent) = (x.shape()[0], self.config.samples, self.config.latent);
        let posterior = self.encode(x);
        if k > 1 {
            let noise = self.learner.noise.normal([k, n, latent]);
            let weights = self.log_weights(x, &posterior, &noise);
            return ((k as f64).ln() - weights.logsumexp(0).mean(..), None);
        }
        let z = posterior.sample(&self.learner.noise.normal([n, latent]));
        let reconstruction = -self.log_p(x, &z).mean(..);
        let each = posterior.kl().mean(0);
        let kl = each.sum(..);
        let price = match self.config.free_bits {
            0.0 => kl.clone(),
            free => each.maximum(free).sum(..),
        };
        (&reconstruction + price * self.config.beta, Some([reconstruction, kl]))
    }

    /// The pictures of a batch, `[n, pixels]`.
    fn rows(&self, batch: &Batch) -> Result<Tensor> {
        let [n, c, h, w] = batch.shape;
        self.check_size([c, h, w])?;
        Tensor::try_from_vec(batch.pixels.clone(), [n, c * h * w])
    }

    fn check_size(&self, got: [usize; 3]) -> Result<()> {
        if got != self.config.image {
            return Err(Error::Data(format!(
                "the model is for pictures of {:?}, not {got:?}",
                self.config.image
            )));
        }
        Ok(())
    }
}

impl Trainable for Vae {
    fn pixels(&self) -> Pixels {
        self.config.observation.training_pixels()
    }

    fn test_pixels(&self) -> Pixels {
        self.config.observation.test_pixels()
    }

    fn learn(&mut self, batch: &Batch) -> Result<Losses> {
        let x =
            Tensor::try_from_vec(batch.pixels.clone(), [batch.shape[0], self.config.image.iter().product()])?;
        self.learner.opt.set_lr(self.config.rate(batch.epoch));
        let (loss, terms) = self.objective(&x);
        for (param, term) in self.terms.iter().zip(terms.iter().flatten()) {
            param.assign(term);
        }
        self.learner.opt.step(&loss)?;
        let mut losses = vec![("loss", loss)];
        if terms.is_some() {
            let [reconstruction, kl] = self.terms.each_ref().map(Param::get);
            losses.extend([("reconstruction", reconstruction), ("kl", kl)]);
        }
        Ok(losses)
    }

    fn pictures(&mut self, count: usize, seed: u64) -> Result<Option<Tensor>> {
        let z = Rng::seed(seed).split("pictures").normal([count, self.config.latent]);
        let [c, h, w] = self.config.image;
        Ok(Some(self.decode(&z).reshape([count, c, h, w])))
    }

    fn evaluate(&mut self, test: &mut Loader) -> Result<Figures> {
        let bound = self.bound(test)?;
        let mut figures = vec![
            ("elbo", bound.elbo()),
            ("reconstruction", bound.reconstruction),
            ("kl", bound.kl),
            ("active_units", bound.active_units as f64),
        ];
        if self.config.test_samples > 0 {
            test.resume(LoaderState::default())?;
            let each = self.log_likelihoods(test, self.config.test_samples)?;
            figures.push(("log_likelihood", each.iter().sum::<f64>() / each.len() as f64));
        }
        Ok(figures)
    }

    fn state(&self) -> Result<Checkpoint> {
        self.learner.state()
    }

    fn load(&mut self, state: &Checkpoint) -> Result<()> {
        self.learner.load(state)
    }
}
