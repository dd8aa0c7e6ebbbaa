//! `gradus train vae`.

use super::layers::{self, Nonlinearity};
use super::{Decoder, Encoder, Model};
use crate::config::RunOptions;
use crate::registry::{self, Kind, Preset, Setting};
use crate::sets;
use anyhow::{Context, Result};
use clap::ValueEnum;
use gradus::Tensor;
use gradus::models::vae::{Observation, Vae, VaeConfig};
use serde::{Deserialize, Serialize};
use toml::Table;

/// The variational autoencoder.
pub const KIND: Kind = Kind { name: "vae", defaults, presets: PRESETS, for_data: FOR_DATA, build };

/// Models of papers, and the variants that people look for.
const PRESETS: &[Preset] = &[
    // Burda et al. 2016 with one stochastic layer: their whole schedule.
    Preset {
        name: "burda",
        toml: "epochs = 3280
batch = 20
[vae]
latent = 50
hidden = [200, 200]
activation = \"tanh\"
glorot = true
means = true
anneal = true
eps = 1e-4",
    },
    Preset { name: "convolutional", toml: "[vae]\nconv = [32, 64]\nhidden = [256]" },
    // Higgins et al. 2017.
    Preset { name: "beta", toml: "[vae]\nbeta = 4.0\nlatent = 10" },
    // Codes that can be looked at.
    Preset { name: "plane", toml: "epochs = 20\n[vae]\nlatent = 2" },
];

/// 13,800 steps of real digits; colours are normal, and looked at by convolutions.
const FOR_DATA: &[Preset] = &[
    Preset { name: "mnist", toml: "epochs = 23" },
    Preset {
        name: "images",
        toml: "epochs = 50
size = 32
channels = 3
[vae]
conv = [32, 64, 128]
hidden = [256]
latent = 64
observation = \"gaussian\"
deviation = 0.1",
    },
    Preset {
        name: "cifar",
        toml: "epochs = 25
[vae]
conv = [32, 64, 128]
hidden = [256]
latent = 64
observation = \"gaussian\"
deviation = 0.1",
    },
];

/// What the decoder says of pixels.
#[derive(Clone, Copy, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
enum Pixels {
    /// Black or white
    Bernoulli,
    /// Normal, with the deviation given
    Gaussian,
    /// Normal, with deviations learned that are at least the one given
    LearnedGaussian,
}

/// The section `[vae]`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    latent: usize,
    conv: Vec<usize>,
    hidden: Vec<usize>,
    activation: Nonlinearity,
    observation: Pixels,
    deviation: f64,
    beta: f64,
    free_bits: f64,
    samples: usize,
    glorot: bool,
    means: bool,
    lr: f64,
    anneal: bool,
    eps: f64,
    test_samples: usize,
}

/// The flags of its own; the rest is for the file.
#[derive(clap::Args, Serialize)]
pub struct Flags {
    /// Length of the code
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    latent: Option<usize>,
    #[command(flatten)]
    #[serde(flatten)]
    layers: layers::LayerFlags,
    /// What the decoder says of pixels
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    observation: Option<Pixels>,
    /// The standard deviation of normal pixels, or the least one
    #[arg(long, value_name = "SIGMA")]
    #[serde(skip_serializing_if = "Option::is_none")]
    deviation: Option<f64>,
    /// What the KL term is multiplied by
    #[arg(long, value_name = "FACTOR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    beta: Option<f64>,
    /// Nats of KL that each unit of the code has for free
    #[arg(long, value_name = "NATS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    free_bits: Option<f64>,
    /// Codes drawn for each picture; more than 1 trains by the importance-weighted bound
    #[arg(long, value_name = "K")]
    #[serde(skip_serializing_if = "Option::is_none")]
    samples: Option<usize>,
    /// Learning rate
    #[arg(long, value_name = "RATE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    lr: Option<f64>,
    /// Codes drawn for each test picture to estimate its likelihood, after each epoch; 0: no estimate
    #[arg(long, value_name = "K")]
    #[serde(skip_serializing_if = "Option::is_none")]
    test_samples: Option<usize>,
}

fn defaults() -> Result<(RunOptions, Table)> {
    let run = RunOptions::on_digits(10, 100);
    let VaeConfig { latent, layers, beta, free_bits, samples, glorot, lr, anneal, eps, test_samples, .. } =
        VaeConfig::default();
    let options = Options {
        latent,
        conv: layers.channels,
        hidden: layers.hidden,
        activation: Nonlinearity::Relu,
        observation: Pixels::Bernoulli,
        deviation: 0.1,
        beta,
        free_bits,
        samples,
        glorot,
        means: false,
        lr,
        anneal,
        eps,
        test_samples,
    };
    Ok((run, Table::try_from(options).context("the options of vae")?))
}

fn build(setting: &Setting) -> Result<Box<dyn Model>> {
    let o: Options = registry::options("vae", setting.options)?;
    let config = VaeConfig {
        image: setting.image,
        latent: o.latent,
        layers: o.activation.layers(o.conv, o.hidden).context("[vae]")?,
        observation: match o.observation {
            Pixels::Bernoulli => Observation::Bernoulli,
            Pixels::Gaussian => Observation::Gaussian { deviation: o.deviation },
            Pixels::LearnedGaussian => Observation::LearnedGaussian { least: o.deviation },
        },
        beta: o.beta,
        free_bits: o.free_bits,
        samples: o.samples,
        glorot: o.glorot,
        lr: o.lr,
        anneal: o.anneal,
        eps: o.eps,
        test_samples: o.test_samples,
    };
    let mut vae = Vae::new(config, setting.seed)?;
    if let Some(train) = setting.train.filter(|_| o.means) {
        vae.set_means(&sets::spread(train, train.len())?)?;
    }
    Ok(Box::new(vae))
}

impl Model for Vae {
    fn decoder(&mut self) -> Option<&mut dyn Decoder> {
        Some(self)
    }

    fn encoder(&self) -> Option<&dyn Encoder> {
        Some(self)
    }

    fn vae(&self) -> Option<&Vae> {
        Some(self)
    }
}

impl Decoder for Vae {
    fn code(&self) -> usize {
        self.config().latent
    }

    fn is_generative(&self) -> bool {
        true
    }

    fn decode(&mut self, codes: &Tensor) -> Tensor {
        let [c, h, w] = self.config().image;
        Vae::decode(self, codes).reshape([codes.shape()[0], c, h, w])
    }
}

impl Encoder for Vae {
    fn encode(&self, x: &Tensor) -> Tensor {
        Vae::encode(self, &x.flatten(1)).mean
    }
}
