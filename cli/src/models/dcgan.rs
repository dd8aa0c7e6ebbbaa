//! `gradus train dcgan`.

use super::{Decoder, Model};
use crate::config::RunOptions;
use crate::registry::{self, Kind, Preset, Setting};
use anyhow::{Context, Result};
use clap::ValueEnum;
use gradus::Tensor;
use gradus::loss::Adversarial;
use gradus::models::dcgan::{Dcgan, DcganConfig, Normalization, Penalty};
use gradus::nn::Module;
use serde::{Deserialize, Serialize};
use toml::Table;

/// The convolutional generative adversarial network.
pub const KIND: Kind = Kind { name: "dcgan", defaults, presets: PRESETS, for_data: FOR_DATA, build };

/// The games of papers, by their figures.
const PRESETS: &[Preset] = &[
    // Gulrajani et al. 2017, algorithm 1.
    Preset {
        name: "wasserstein",
        toml: "[dcgan]
loss = \"wasserstein\"
penalty = \"gradient\"
penalty_weight = 10.0
normalization = \"layer\"
critic_steps = 5
g_lr = 1e-4
d_lr = 1e-4
betas = [0.0, 0.9]",
    },
    // Miyato et al. 2018, section 4.
    Preset { name: "spectral", toml: "[dcgan]\nloss = \"hinge\"\nnormalization = \"spectral\"\nslope = 0.1" },
    // Mao et al. 2017.
    Preset { name: "least-squares", toml: "[dcgan]\nloss = \"least-squares\"" },
];

/// About 5,000 steps of real digits; photographs as in the paper, 64x64 in colour.
const FOR_DATA: &[Preset] = &[
    Preset { name: "mnist", toml: "epochs = 6" },
    Preset { name: "images", toml: "epochs = 25\nbatch = 128\nsize = 64\nchannels = 3" },
    Preset { name: "cifar", toml: "epochs = 25\nbatch = 128" },
];

/// The game.
#[derive(Clone, Copy, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
enum Loss {
    NonSaturating,
    LeastSquares,
    Hinge,
    Wasserstein,
}

/// What holds the discriminator's slope.
#[derive(Clone, Copy, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
enum Slope {
    None,
    /// That of Wasserstein networks
    Gradient,
    /// At real pictures only
    R1,
}

/// What keeps the discriminator's layers in scale.
#[derive(Clone, Copy, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
enum Norm {
    Batch,
    Layer,
    Spectral,
    None,
}

/// The section `[dcgan]`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    latent: usize,
    features: usize,
    slope: f64,
    loss: Loss,
    penalty: Slope,
    penalty_weight: f64,
    normalization: Norm,
    critic_steps: u64,
    g_lr: f64,
    d_lr: f64,
    betas: [f64; 2],
    real_label: f64,
    average: f64,
}

/// The flags of its own; the rest is for the file.
#[derive(clap::Args, Serialize)]
pub struct Flags {
    /// Length of the noise vector
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    latent: Option<usize>,
    /// Channels next to the picture, doubled at each layer further in
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    features: Option<usize>,
    /// The game
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    loss: Option<Loss>,
    /// What holds the discriminator's slope
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    penalty: Option<Slope>,
    /// How much it weighs: λ of the gradient penalty, γ of R1
    #[arg(long, value_name = "WEIGHT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    penalty_weight: Option<f64>,
    /// What keeps the discriminator's layers in scale
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    normalization: Option<Norm>,
    /// Steps of the discriminator for each of the generator
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    critic_steps: Option<u64>,
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
    let run = RunOptions::on_digits(5, 64);
    let DcganConfig { latent, features, slope, critic_steps, g_lr, d_lr, betas, real_label, .. } =
        DcganConfig::default();
    let options = Options {
        latent,
        features,
        slope,
        loss: Loss::NonSaturating,
        penalty: Slope::None,
        penalty_weight: 10.0,
        normalization: Norm::Batch,
        critic_steps,
        g_lr,
        d_lr,
        betas,
        real_label,
        average: 0.0,
    };
    Ok((run, Table::try_from(options).context("the options of dcgan")?))
}

fn build(setting: &Setting) -> Result<Box<dyn Model>> {
    let o: Options = registry::options("dcgan", setting.options)?;
    let config = DcganConfig {
        image: setting.image,
        latent: o.latent,
        features: o.features,
        slope: o.slope,
        loss: match o.loss {
            Loss::NonSaturating => Adversarial::NonSaturating,
            Loss::LeastSquares => Adversarial::LeastSquares,
            Loss::Hinge => Adversarial::Hinge,
            Loss::Wasserstein => Adversarial::Wasserstein,
        },
        penalty: match o.penalty {
            Slope::None => Penalty::None,
            Slope::Gradient => Penalty::Gradient(o.penalty_weight),
            Slope::R1 => Penalty::R1(o.penalty_weight),
        },
        normalization: match o.normalization {
            Norm::Batch => Normalization::Batch,
            Norm::Layer => Normalization::Layer,
            Norm::Spectral => Normalization::Spectral,
            Norm::None => Normalization::None,
        },
        critic_steps: o.critic_steps,
        g_lr: o.g_lr,
        d_lr: o.d_lr,
        betas: o.betas,
        real_label: o.real_label,
        average: o.average,
    };
    Ok(Box::new(Dcgan::new(config, setting.seed)?))
}

impl Model for Dcgan {
    fn decoder(&mut self) -> Option<&mut dyn Decoder> {
        Some(self)
    }

    fn discriminator_features(&self, x: &Tensor) -> Option<Tensor> {
        self.discriminator().set_training(false);
        let found = self.discriminator().features(&(x * 2.0 - 1.0));
        self.discriminator().set_training(true);
        Some(found)
    }
}

impl Decoder for Dcgan {
    fn code(&self) -> usize {
        self.config().latent
    }

    fn is_generative(&self) -> bool {
        true
    }

    fn decode(&mut self, codes: &Tensor) -> Tensor {
        Dcgan::decode(self, codes)
    }
}
