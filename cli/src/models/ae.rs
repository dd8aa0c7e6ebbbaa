//! `gradus train ae`.

use super::layers::{self, Nonlinearity};
use super::{Decoder, Encoder, Model};
use crate::config::RunOptions;
use crate::registry::{self, Kind, Preset, Setting};
use anyhow::{Context, Result};
use clap::ValueEnum;
use gradus::models::ae::{AeConfig, Autoencoder, Corruption, Objective};
use gradus::{Rng, Tensor};
use serde::{Deserialize, Serialize};
use toml::Table;

/// Autoencoders.
pub const KIND: Kind = Kind { name: "ae", defaults, presets: PRESETS, for_data: FOR_DATA, build };

/// Networks of papers, and the variants that people look for.
const PRESETS: &[Preset] = &[
    // Hinton & Salakhutdinov 2006, with ReLUs and trained at once: 24,000 steps on 60,000 pictures.
    Preset {
        name: "deep",
        toml: "epochs = 40
batch = 100
[ae]
hidden = [1000, 500, 250]
code = 30
code_activation = \"none\"
objective = \"squared-error\"
decay_steps = 24000",
    },
    Preset { name: "convolutional", toml: "[ae]\nconv = [32, 64]\nhidden = []\ncode_activation = \"none\"" },
    // Vincent et al. 2008: a quarter of the pixels erased.
    Preset { name: "denoising", toml: "[ae]\ncorruption = \"masking\"\nnoise = 0.25" },
    // Codes that can be looked at.
    Preset { name: "plane", toml: "epochs = 20\n[ae]\ncode = 2\ncode_activation = \"none\"" },
];

/// Colours are looked at by convolutions.
const FOR_DATA: &[Preset] = &[
    Preset { name: "mnist", toml: "epochs = 20" },
    Preset {
        name: "images",
        toml: "epochs = 50
size = 32
channels = 3
[ae]
conv = [32, 64, 128]
hidden = []
code = 128
code_activation = \"none\"",
    },
    Preset {
        name: "cifar",
        toml: "epochs = 25
[ae]
conv = [32, 64, 128]
hidden = []
code = 128
code_activation = \"none\"",
    },
];

/// What is made small.
#[derive(Clone, Copy, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
enum Goal {
    CrossEntropy,
    SquaredError,
}

/// What is done to pictures first.
#[derive(Clone, Copy, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
enum Noise {
    None,
    Masking,
    Gaussian,
    SaltAndPepper,
}

/// The section `[ae]`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    code: usize,
    conv: Vec<usize>,
    hidden: Vec<usize>,
    activation: Nonlinearity,
    code_activation: Nonlinearity,
    objective: Goal,
    corruption: Noise,
    noise: f64,
    lr: f64,
    decay_steps: u64,
}

/// The flags of its own; the rest is for the file.
#[derive(clap::Args, Serialize)]
pub struct Flags {
    /// Length of the code
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<usize>,
    #[command(flatten)]
    #[serde(flatten)]
    layers: layers::LayerFlags,
    /// What follows the code
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    code_activation: Option<Nonlinearity>,
    /// What is made small
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    objective: Option<Goal>,
    /// What is done to pictures before the encoder sees them
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    corruption: Option<Noise>,
    /// How much of it: a share of pixels, or a standard deviation
    #[arg(long, value_name = "AMOUNT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    noise: Option<f64>,
    /// Learning rate
    #[arg(long, value_name = "RATE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    lr: Option<f64>,
    /// Steps over which the rate falls to 0; 0: it stays
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    decay_steps: Option<u64>,
}

fn defaults() -> Result<(RunOptions, Table)> {
    let run = RunOptions::on_digits(10, 128);
    let AeConfig { code, layers, lr, steps, .. } = AeConfig::default();
    let options = Options {
        code,
        conv: layers.channels,
        hidden: layers.hidden,
        activation: Nonlinearity::Relu,
        code_activation: Nonlinearity::Relu,
        objective: Goal::CrossEntropy,
        corruption: Noise::None,
        noise: 0.3,
        lr,
        decay_steps: steps,
    };
    Ok((run, Table::try_from(options).context("the options of ae")?))
}

fn build(setting: &Setting) -> Result<Box<dyn Model>> {
    let o: Options = registry::options("ae", setting.options)?;
    let config = AeConfig {
        image: setting.image,
        code: o.code,
        layers: o.activation.layers(o.conv, o.hidden).context("[ae]")?,
        code_activation: o.code_activation.activation(),
        objective: match o.objective {
            Goal::CrossEntropy => Objective::CrossEntropy,
            Goal::SquaredError => Objective::SquaredError,
        },
        corruption: match o.corruption {
            Noise::None => Corruption::None,
            Noise::Masking => Corruption::Masking(o.noise),
            Noise::Gaussian => Corruption::Gaussian(o.noise),
            Noise::SaltAndPepper => Corruption::SaltAndPepper(o.noise),
        },
        lr: o.lr,
        steps: o.decay_steps,
    };
    Ok(Box::new(Autoencoder::new(config, setting.seed)?))
}

impl Model for Autoencoder {
    fn decoder(&mut self) -> Option<&mut dyn Decoder> {
        Some(self)
    }

    fn encoder(&self) -> Option<&dyn Encoder> {
        Some(self)
    }
}

impl Decoder for Autoencoder {
    fn code(&self) -> usize {
        self.config().code
    }

    fn is_generative(&self) -> bool {
        false
    }

    fn decode(&mut self, codes: &Tensor) -> Tensor {
        let [c, h, w] = self.config().image;
        Autoencoder::decode(self, codes).reshape([codes.shape()[0], c, h, w])
    }
}

impl Encoder for Autoencoder {
    fn encode(&self, x: &Tensor) -> Tensor {
        Autoencoder::encode(self, &x.flatten(1))
    }

    fn corrupt(&self, x: &Tensor, rng: &mut Rng) -> Option<Tensor> {
        match self.config().corruption {
            Corruption::None => None,
            corruption => Some(corruption.apply(x, rng)),
        }
    }
}
