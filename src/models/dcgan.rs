//! The deep convolutional generative adversarial network of Radford, Metz & Chintala 2016 ("Unsupervised representation
//! learning with deep convolutional generative adversarial networks"), with the losses and constraints found since.
//!
//! The generator G doubles height and width with transposed convolutions until there is a picture; the discriminator D
//! halves them with strided ones. No pooling, no hidden fully connected layers, batch normalization everywhere but next
//! to the picture, ReLUs in G and leaky ones in D (section 3). D learns from a batch of real pictures and one of
//! generated ones, each normalized by itself; G learns against the D of that moment.

mod networks;

pub use networks::{Discriminator, Generator};

use crate::checkpoint::Checkpoint;
use crate::data::{Batch, Loader, Pixels};
use crate::loss::{Adversarial, bce_with_logits};
use crate::models::check_ranges;
use crate::models::penalty::{gradient_penalty, r1};
use crate::models::players::{Players, Rates};
use crate::nn::Param;
use crate::train::{Figures, Losses, Trainable};
use crate::{Error, Result, Rng, Tensor};
use networks::Plan;

/// What keeps the discriminator's layers in scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Normalization {
    /// Batch normalization, as in the paper.
    Batch,
    /// Layer normalization (one group), for penalties: batch normalization ties the samples of a batch together.
    Layer,
    /// Every weight divided by its largest singular value (Miyato et al. 2018, "Spectral normalization for generative
    /// adversarial networks").
    Spectral,
    /// Nothing.
    None,
}

/// What holds the discriminator's slope.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Penalty {
    /// Nothing.
    None,
    /// [`gradient_penalty`] times this λ (Gulrajani et al. 2017: 10).
    Gradient(f64),
    /// [`r1`] times half of this γ (Mescheder et al. 2018: 10).
    R1(f64),
}

/// Sizes, rates and losses of a [`Dcgan`].
#[derive(Clone, Debug, PartialEq)]
pub struct DcganConfig {
    /// Channels, height and width of a picture: 4 · 2^n or 7 · 2^n pixels square, n at least 2.
    pub image: [usize; 3],
    /// Length of the noise z.
    pub latent: usize,
    /// Channels next to the picture, doubled at each layer further in: ngf and ndf.
    pub features: usize,
    /// Slope of D's leaky ReLUs below 0.
    pub slope: f64,
    /// The game.
    pub loss: Adversarial,
    /// What holds D's slope.
    pub penalty: Penalty,
    /// What keeps D's layers in scale.
    pub normalization: Normalization,
    /// Steps of D for each step of G, which comes after the first of them.
    pub critic_steps: u64,
    /// Adam's learning rate for G.
    pub g_lr: f64,
    /// Adam's learning rate for D.
    pub d_lr: f64,
    /// Adam's decay rates (section 4).
    pub betas: [f64; 2],
    /// What D is taught to answer for real pictures: 1, or a little less (one-sided label smoothing, Salimans et al.
    /// 2016, section 3.4). For the non-saturating loss only.
    pub real_label: f64,
    /// Pictures are made by an average of G's parameters over the steps, which forgets at this rate; 0: by G itself.
    pub average: f64,
}

impl Default for DcganConfig {
    fn default() -> Self {
        DcganConfig {
            image: [1, 28, 28],
            latent: 100,
            features: 64,
            slope: 0.2,
            loss: Adversarial::NonSaturating,
            penalty: Penalty::None,
            normalization: Normalization::Batch,
            critic_steps: 1,
            g_lr: 2e-4,
            d_lr: 2e-4,
            betas: [0.5, 0.999],
            real_label: 1.0,
            average: 0.0,
        }
    }
}

impl DcganConfig {
    /// The Wasserstein game with a gradient penalty, by the figures of Gulrajani et al. 2017 (algorithm 1).
    pub fn wasserstein() -> DcganConfig {
        DcganConfig {
            loss: Adversarial::Wasserstein,
            penalty: Penalty::Gradient(10.0),
            normalization: Normalization::Layer,
            critic_steps: 5,
            g_lr: 1e-4,
            d_lr: 1e-4,
            betas: [0.0, 0.9],
            ..DcganConfig::default()
        }
    }

    /// The hinge game with spectral normalization, by the figures of Miyato et al. 2018 (section 4).
    pub fn spectral() -> DcganConfig {
        DcganConfig {
            loss: Adversarial::Hinge,
            normalization: Normalization::Spectral,
            slope: 0.1,
            ..DcganConfig::default()
        }
    }

    fn check(&self) -> Result<Plan> {
        let penalty = match self.penalty {
            Penalty::None => 0.0,
            Penalty::Gradient(weight) | Penalty::R1(weight) => weight,
        };
        check_ranges(
            "dcgan",
            &[
                ("latent", self.latent as f64, 1.0..=1e6),
                ("features", self.features as f64, 1.0..=4096.0),
                ("slope", self.slope, 0.0..=1.0),
                ("the weight of the penalty", penalty, 0.0..=1e6),
                ("critic_steps", self.critic_steps as f64, 1.0..=1e6),
                ("g_lr", self.g_lr, 0.0..=1e3),
                ("d_lr", self.d_lr, 0.0..=1e3),
                ("betas[0]", self.betas[0], 0.0..=0.999_999),
                ("betas[1]", self.betas[1], 0.0..=0.999_999_999),
                ("real_label", self.real_label, 0.5..=1.0),
                ("average", self.average, 0.0..=0.999_999),
            ],
        )?;
        let fail = |what: &str| Err(Error::Data(format!("dcgan: {what}")));
        if matches!(self.penalty, Penalty::Gradient(_)) && self.normalization == Normalization::Batch {
            return fail("a gradient penalty needs samples judged one by one: try normalization by layer");
        }
        if self.real_label != 1.0 && self.loss != Adversarial::NonSaturating {
            return fail("real_label is for the non-saturating loss: the others have no labels");
        }
        Plan::new(self)
    }
}

/// G, D, their optimizers, and the noise.
pub struct Dcgan {
    config: DcganConfig,
    players: Players<Generator, Discriminator>,
    /// The penalty of the last step: evaluated together with the step, as any buffer.
    penalty: Param,
}

impl Dcgan {
    /// An untrained pair: parameters and noise are functions of `seed`.
    ///
    /// # Errors
    /// When a figure of the configuration makes no sense; it is named.
    pub fn new(config: DcganConfig, seed: u64) -> Result<Dcgan> {
        let plan = config.check()?;
        let rng = Rng::seed(seed);
        let generator = Generator::new(&config, &plan, &mut rng.split("generator"));
        let discriminator = Discriminator::new(&config, &plan, &mut rng.split("discriminator"));
        let DcganConfig { g_lr, d_lr, betas, average, .. } = config;
        let rates = Rates { g_lr, d_lr, betas, average };
        let players = Players::new(generator, discriminator, rates, rng.split("noise"))?;
        Ok(Dcgan { config, players, penalty: Param::buffer(Tensor::zeros([0usize; 0])) })
    }

    /// What it was made with.
    pub fn config(&self) -> &DcganConfig {
        &self.config
    }

    /// G.
    pub fn generator(&self) -> &Generator {
        &self.players.generator
    }

    /// D.
    pub fn discriminator(&self) -> &Discriminator {
        &self.players.discriminator
    }

    /// Pictures of noise z `[n, latent]`: `[n, c, h, w]` from 0 to 1, by the average of G where there is one, with the
    /// running statistics of batch normalization.
    pub fn decode(&mut self, z: &Tensor) -> Tensor {
        (self.players.generate(|g| g.forward(z)) + 1.0) * 0.5
    }

    /// What D makes small, without the penalty.
    fn critic_loss(&self, real: &Tensor, fake: &Tensor) -> Tensor {
        let (on_real, on_fake) =
            (self.players.discriminator.forward(real), self.players.discriminator.forward(fake));
        if self.config.real_label == 1.0 {
            return self.config.loss.critic(&on_real, &on_fake);
        }
        let wanted = on_real.full_like(self.config.real_label);
        bce_with_logits(&on_real, &wanted) + bce_with_logits(&on_fake, &on_fake.zeros_like())
    }

    /// The weighted penalty, if there is one.
    fn penalize(&mut self, real: &Tensor, fake: &Tensor) -> Option<Tensor> {
        let critic = |x: &Tensor| self.players.discriminator.forward(x);
        match self.config.penalty {
            Penalty::None => None,
            Penalty::Gradient(weight) => {
                Some(gradient_penalty(critic, real, fake, &mut self.players.noise) * weight)
            }
            Penalty::R1(weight) => Some(r1(critic, real) * (weight / 2.0)),
        }
    }

    /// A step of D; gives its loss and the penalty therein.
    fn teach_critic(&mut self, real: &Tensor) -> Result<Losses> {
        let noise = self.players.noise.normal([real.shape()[0], self.config.latent]);
        let fake = self.players.generator.forward(&noise).stop_grad();
        let loss = self.critic_loss(real, &fake);
        let Some(penalty) = self.penalize(real, &fake) else {
            self.players.d_opt.step(&loss)?;
            return Ok(vec![("d_loss", loss)]);
        };
        self.penalty.assign(&penalty);
        let loss = loss + penalty;
        self.players.d_opt.step(&loss)?;
        Ok(vec![("d_loss", loss), ("penalty", self.penalty.get())])
    }

    /// A step of G with a batch of n; gives its loss.
    fn teach_generator(&mut self, n: usize) -> Result<Tensor> {
        let noise = self.players.noise.normal([n, self.config.latent]);
        let loss = self
            .config
            .loss
            .generator(&self.players.discriminator.forward(&self.players.generator.forward(&noise)));
        self.players.teach_generator(&loss)?;
        Ok(loss)
    }
}

impl Trainable for Dcgan {
    fn pixels(&self) -> Pixels {
        Pixels::Signed
    }

    fn learn(&mut self, batch: &Batch) -> Result<Losses> {
        if batch.shape[1..] != self.config.image {
            let (wanted, got) = (self.config.image, &batch.shape[1..]);
            return Err(Error::Data(format!("the model is for pictures of {wanted:?}, not {got:?}")));
        }
        let real = Tensor::try_from_vec(batch.pixels.clone(), batch.shape)?;
        let mut losses = self.teach_critic(&real)?;
        if (self.players.d_opt.steps() - 1).is_multiple_of(self.config.critic_steps) {
            losses.push(("g_loss", self.teach_generator(batch.shape[0])?));
        }
        Ok(losses)
    }

    fn pictures(&mut self, count: usize, seed: u64) -> Result<Option<Tensor>> {
        let z = Rng::seed(seed).split("pictures").normal([count, self.config.latent]);
        Ok(Some(self.decode(&z)))
    }

    fn evaluate(&mut self, _: &mut Loader) -> Result<Figures> {
        Ok(Vec::new())
    }

    fn state(&self) -> Result<Checkpoint> {
        self.players.state()
    }

    fn load(&mut self, state: &Checkpoint) -> Result<()> {
        self.players.load(state)
    }
}
