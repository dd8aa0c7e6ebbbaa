//! `gradus train gan`.

use super::{Decoder, Model};
use crate::config::RunOptions;
use crate::registry::{self, Kind, Preset, Setting};
use anyhow::{Context, Result};
use clap::ValueEnum;
use gradus::Tensor;
use gradus::models::gan::{Gan, GanConfig};
use serde::{Deserialize, Serialize};
use toml::Table;

/// The generative adversarial network.
pub const KIND: Kind = Kind { name: "gan", defaults, presets: PRESETS, for_data: FOR_DATA, build };

/// What is known to work.
const PRESETS: &[Preset] = &[Preset {
    // As many measure it: both players at 2e-4, batch normalization in G.
    name: "batch-norm",
    toml: "batch = 100
[gan]
hidden = [256, 512]
normalization = \"batch\"
g_lr = 2e-4
d_lr = 2e-4
average = 0.0",
}];

/// Real digits take more epochs than drawn ones, and colours a larger network.
const FOR_DATA: &[Preset] = &[
    Preset { name: "mnist", toml: "epochs = 20" },
    Preset { name: "images", toml: "epochs = 50" },
    Preset { name: "cifar", toml: "epochs = 50\n[gan]\nhidden = [512, 1024, 1024]" },
];

/// What keeps the generator's layers in scale.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
enum Norm {
    None,
    /// Batch normalization, with plain ReLUs
    Batch,
}

/// The section `[gan]`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    latent: usize,
    hidden: Vec<usize>,
    slope: f64,
    normalization: Norm,
    g_lr: f64,
    d_lr: f64,
    betas: [f64; 2],
    real_label: f64,
    average: f64,
}

/// The flags of its own; the rest is for the file.
#[derive(clap::Args, Serialize, Default)]
pub struct Flags {
    /// Length of the noise vector
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    latent: Option<usize>,
    /// Widths of the generator's hidden layers; the discriminator has them in reverse
    #[arg(long, value_name = "N,N,…", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Option::is_none")]
    hidden: Option<Vec<usize>>,
    /// What keeps the generator's layers in scale
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    normalization: Option<Norm>,
    /// Learning rate of the generator
    #[arg(long, value_name = "RATE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    g_lr: Option<f64>,
    /// Learning rate of the discriminator
    #[arg(long, value_name = "RATE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    d_lr: Option<f64>,
    /// What the discriminator is taught to answer for real pictures (one-sided label smoothing)
    #[arg(long, value_name = "P")]
    #[serde(skip_serializing_if = "Option::is_none")]
    real_label: Option<f64>,
    /// Decay of the average of the generator's weights that pictures are made with; 0: the weights themselves
    #[arg(long, value_name = "DECAY")]
    #[serde(skip_serializing_if = "Option::is_none")]
    average: Option<f64>,
}

fn defaults() -> Result<(RunOptions, Table)> {
    let run = RunOptions::on_digits(6, 128);
    let GanConfig { image: _, latent, hidden, slope, betas, real_label, .. } = GanConfig::default();
    // Chosen on drawn digits, 3,000 steps of 128, by eye. The usual 2e-4 for both players leaves broken strokes then.
    // Twice that is as stable; D at twice G's rate (Heusel et al. 2017) gives more kinds of digits; the average takes
    // the specks away. One-sided label smoothing (0.9) made all of it worse.
    let options = Options {
        latent,
        hidden,
        slope,
        normalization: Norm::None,
        g_lr: 4e-4,
        d_lr: 8e-4,
        betas,
        real_label,
        average: 0.998,
    };
    Ok((run, Table::try_from(options).context("the options of gan")?))
}

fn build(setting: &Setting) -> Result<Box<dyn Model>> {
    let Options { latent, hidden, slope, normalization, g_lr, d_lr, betas, real_label, average } =
        registry::options("gan", setting.options)?;
    let config = GanConfig {
        image: setting.image,
        latent,
        hidden,
        slope,
        batch_norm: normalization == Norm::Batch,
        g_lr,
        d_lr,
        betas,
        real_label,
        average,
    };
    Ok(Box::new(Gan::new(config, setting.seed)?))
}

impl Model for Gan {
    fn decoder(&mut self) -> Option<&mut dyn Decoder> {
        Some(self)
    }
}

impl Decoder for Gan {
    fn code(&self) -> usize {
        self.config().latent
    }

    fn is_generative(&self) -> bool {
        true
    }

    fn decode(&mut self, codes: &Tensor) -> Tensor {
        Gan::decode(self, codes)
    }
}
