//! The generative adversarial network of Goodfellow et al. 2014 ("Generative adversarial nets"), fully connected.
//!
//! A generator G turns noise z into pictures; a discriminator D says, as a logit, how likely a picture is to be real.
//! D learns to tell the two apart (algorithm 1), G to be taken for real. G's loss is the non-saturating one of
//! section 3: it maximises log D(G(z)) instead of minimising log(1 - D(G(z))), whose slope vanishes as long as D wins.
//! Both are cross-entropies between D's logits and the answers wanted: [`bce_with_logits`].

use crate::checkpoint::Checkpoint;
use crate::data::{Batch, Loader, Pixels};
use crate::loss::bce_with_logits;
use crate::models::check_ranges;
use crate::models::players::{Players, Rates};
use crate::nn::{BatchNorm1d, Linear, Module};
use crate::train::{Figures, Losses, Trainable};
use crate::{Error, Result, Rng, Tensor, module};

/// Sizes and rates of a [`Gan`].
#[derive(Clone, Debug, PartialEq)]
pub struct GanConfig {
    /// Channels, height and width of a picture.
    pub image: [usize; 3],
    /// Length of the noise z.
    pub latent: usize,
    /// Widths of G's hidden layers; D has them in reverse.
    pub hidden: Vec<usize>,
    /// Slope of the leaky ReLUs below 0.
    pub slope: f64,
    /// Whether G has batch normalization and plain ReLUs after its hidden layers (Ioffe & Szegedy 2015), as DCGANs have.
    /// Pictures are then made with its running statistics. D never has it: it would tell a batch of real pictures from
    /// one of generated ones by what the pictures of a batch have in common.
    pub batch_norm: bool,
    /// Adam's learning rate for G.
    pub g_lr: f64,
    /// Adam's learning rate for D.
    pub d_lr: f64,
    /// Adam's decay rates. The first is low because the two players chase each other (Radford et al. 2016, section 4).
    pub betas: [f64; 2],
    /// What D is taught to answer for real pictures: 1, or a little less (one-sided label smoothing, Salimans et al.
    /// 2016, section 3.4).
    pub real_label: f64,
    /// Pictures are made by an average of G's parameters over the steps, which forgets at this rate: 0 for G itself,
    /// 0.999 for an average over about 1,000 steps.
    pub average: f64,
}

impl Default for GanConfig {
    fn default() -> Self {
        GanConfig {
            image: [1, 28, 28],
            latent: 100,
            hidden: vec![256, 512, 1024],
            slope: 0.2,
            batch_norm: false,
            g_lr: 2e-4,
            d_lr: 2e-4,
            betas: [0.5, 0.999],
            real_label: 1.0,
            average: 0.0,
        }
    }
}

/// Linear layers with, between them, leaky ReLUs, or batch normalizations and ReLUs.
struct Mlp {
    layers: Vec<Linear>,
    /// One for each layer but the last, or none.
    norms: Vec<BatchNorm1d>,
    slope: f64,
}
module!(Mlp { layers, norms });

impl Mlp {
    /// Layers from each width to the next.
    fn new(widths: &[usize], slope: f64, rng: &mut Rng) -> Mlp {
        let layers = widths.windows(2).map(|w| Linear::new(w[0], w[1], rng)).collect();
        Mlp { layers, norms: Vec::new(), slope }
    }

    /// The same with batch normalization and ReLU after each hidden layer.
    fn normalized(widths: &[usize], rng: &mut Rng) -> Mlp {
        let hidden = &widths[1..widths.len() - 1];
        let norms = hidden.iter().map(|&width| BatchNorm1d::new(width)).collect();
        Mlp { norms, ..Mlp::new(widths, 0.0, rng) }
    }

    /// x `[n, first width]` → `[n, last width]`, without a nonlinearity after the last layer.
    fn forward(&self, x: &Tensor) -> Tensor {
        let (last, hidden) = self.layers.split_last().expect("an MLP has at least one layer");
        let step = |h: Tensor, (i, layer): (usize, &Linear)| {
            let h = layer.forward(&h);
            self.norms.get(i).map_or_else(|| h.leaky_relu(self.slope), |norm| norm.forward(&h).relu())
        };
        last.forward(&hidden.iter().enumerate().fold(x.clone(), step))
    }
}

/// z `[n, latent]` → pictures `[n, pixels]` from -1 to 1.
pub struct Generator(Mlp);

/// Pictures `[n, pixels]` → logits `[n, 1]`, above 0 where it takes them for real.
pub struct Discriminator(Mlp);

impl Generator {
    /// The generator of a configuration.
    pub fn new(config: &GanConfig, rng: &mut Rng) -> Generator {
        let pixels = config.image.iter().product();
        let widths = [&[config.latent], &config.hidden[..], &[pixels]].concat();
        Generator(if config.batch_norm {
            Mlp::normalized(&widths, rng)
        } else {
            Mlp::new(&widths, config.slope, rng)
        })
    }

    /// z `[n, latent]` → `[n, pixels]`.
    pub fn forward(&self, z: &Tensor) -> Tensor {
        self.0.forward(z).tanh()
    }
}

impl Discriminator {
    /// The discriminator of a configuration.
    pub fn new(config: &GanConfig, rng: &mut Rng) -> Discriminator {
        let pixels = config.image.iter().product();
        let mut widths = [&[1], &config.hidden[..], &[pixels]].concat();
        widths.reverse();
        Discriminator(Mlp::new(&widths, config.slope, rng))
    }

    /// x `[n, pixels]` → `[n, 1]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        self.0.forward(x)
    }
}

impl Module for Generator {
    fn visit(&self, visitor: &mut crate::nn::Visitor) {
        self.0.visit(visitor);
    }
}

impl Module for Discriminator {
    fn visit(&self, visitor: &mut crate::nn::Visitor) {
        self.0.visit(visitor);
    }
}

/// G, D, their optimizers, and the noise.
pub struct Gan {
    config: GanConfig,
    players: Players<Generator, Discriminator>,
}

impl Gan {
    /// An untrained pair: parameters and noise are functions of `seed`.
    ///
    /// # Errors
    /// When a figure of the configuration makes no sense; it is named.
    pub fn new(config: GanConfig, seed: u64) -> Result<Gan> {
        config.check()?;
        let rng = Rng::seed(seed);
        let generator = Generator::new(&config, &mut rng.split("generator"));
        let discriminator = Discriminator::new(&config, &mut rng.split("discriminator"));
        let GanConfig { g_lr, d_lr, betas, average, .. } = config;
        let rates = Rates { g_lr, d_lr, betas, average };
        let players = Players::new(generator, discriminator, rates, rng.split("noise"))?;
        Ok(Gan { config, players })
    }

    /// What it was made with.
    pub fn config(&self) -> &GanConfig {
        &self.config
    }

    /// Pictures of noise z `[n, latent]`: `[n, c, h, w]` from 0 to 1, by the average of G where there is one.
    pub fn decode(&mut self, z: &Tensor) -> Tensor {
        let x = self.players.generate(|g| g.forward(z));
        let [c, h, w] = self.config.image;
        ((x + 1.0) * 0.5).reshape([z.shape()[0], c, h, w])
    }
}

impl GanConfig {
    fn check(&self) -> Result<()> {
        check_ranges(
            "gan",
            &[
                ("latent", self.latent as f64, 1.0..=1e6),
                ("slope", self.slope, 0.0..=1.0),
                ("g_lr", self.g_lr, 0.0..=f64::MAX),
                ("d_lr", self.d_lr, 0.0..=f64::MAX),
                ("betas[0]", self.betas[0], 0.0..=0.999_999),
                ("betas[1]", self.betas[1], 0.0..=0.999_999_999),
                ("real_label", self.real_label, 0.5..=1.0),
                ("average", self.average, 0.0..=0.999_999),
            ],
        )?;
        if let Some(width) = self.hidden.iter().find(|w| !(1..=65_536).contains(*w)) {
            return Err(Error::Data(format!(
                "gan: hidden: a layer of {width} is not between 1 and 65536 wide"
            )));
        }
        Ok(())
    }
}

impl Trainable for Gan {
    fn pixels(&self) -> Pixels {
        Pixels::Signed
    }

    fn learn(&mut self, batch: &Batch) -> Result<Losses> {
        let n = batch.shape[0];
        let real = Tensor::try_from_vec(batch.pixels.clone(), [n, self.config.image.iter().product()])?;
        let Players { generator: g, discriminator: d, noise, .. } = &mut self.players;

        let (on_real, on_fake) = {
            let fake = g.forward(&noise.normal([n, self.config.latent])).stop_grad();
            (d.forward(&real), d.forward(&fake))
        };
        let taken_for_real = bce_with_logits(&on_real, &on_real.full_like(self.config.real_label));
        let d_loss = taken_for_real + bce_with_logits(&on_fake, &on_fake.zeros_like());
        self.players.d_opt.step(&d_loss)?;

        let Players { generator: g, discriminator: d, noise, .. } = &mut self.players;
        let on_fake = d.forward(&g.forward(&noise.normal([n, self.config.latent])));
        let g_loss = bce_with_logits(&on_fake, &on_fake.ones_like());
        self.players.teach_generator(&g_loss)?;
        Ok(vec![("d_loss", d_loss), ("g_loss", g_loss)])
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
