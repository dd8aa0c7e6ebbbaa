//! `gradus train classifier`.

use super::Model;
use crate::config::RunOptions;
use crate::registry::{self, Kind, Preset, Setting};
use anyhow::{Context, Result};
use gradus::models::classifier::{Classifier, ClassifierConfig};
use serde::{Deserialize, Serialize};
use toml::Table;

/// The classifier.
pub const KIND: Kind = Kind { name: "classifier", defaults, presets: &[], for_data: FOR_DATA, build };

/// Where more epochs help.
const FOR_DATA: &[Preset] = &[
    Preset { name: "mnist", toml: "epochs = 4" },
    Preset { name: "images", toml: "epochs = 20\nchannels = 3\nsize = 32" },
    Preset { name: "cifar", toml: "epochs = 10\n[classifier]\nchannels = [32, 64]\nhidden = 256" },
];

/// The section `[classifier]`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    channels: [usize; 2],
    hidden: usize,
    lr: f64,
}

/// The flags of its own; the rest is for the file.
#[derive(clap::Args, Serialize)]
pub struct Flags {
    /// Width of the fully connected layer
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    hidden: Option<usize>,
    /// Learning rate
    #[arg(long, value_name = "RATE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    lr: Option<f64>,
}

fn defaults() -> Result<(RunOptions, Table)> {
    let run = RunOptions::on_digits(3, 100);
    let ClassifierConfig { image: _, classes: _, channels, hidden, lr } = ClassifierConfig::default();
    let options = Table::try_from(Options { channels, hidden, lr });
    Ok((run, options.context("the options of classifier")?))
}

fn build(setting: &Setting) -> Result<Box<dyn Model>> {
    let Options { channels, hidden, lr } = registry::options("classifier", setting.options)?;
    let Setting { image, classes, seed, .. } = *setting;
    Ok(Box::new(Classifier::new(&ClassifierConfig { image, classes, channels, hidden, lr }, seed)?))
}

impl Model for Classifier {
    fn classifier(&self) -> Option<&Classifier> {
        Some(self)
    }
}
