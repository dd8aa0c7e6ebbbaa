//! The models that can be trained. A new one is a file in `models/`, a row here and a variant in `args.rs`.

use crate::config::RunOptions;
use crate::models::{Model, ae, classifier, dcgan, gan, vae};
use anyhow::{Result, bail};
use gradus::data::Source;
use toml::Table;

/// A model that the command can train.
pub struct Kind {
    /// Its name on the command line.
    pub name: &'static str,
    /// The default options of a run, and the model's own.
    pub defaults: fn() -> Result<(RunOptions, Table)>,
    /// Published or proven sets of options, by name.
    pub presets: &'static [Preset],
    /// What changes in the defaults with the data: presets named as what stands before the colon of `--data`.
    pub for_data: &'static [Preset],
    /// The untrained model.
    pub build: fn(&Setting) -> Result<Box<dyn Model>>,
}

/// Options to put over the defaults.
pub struct Preset {
    pub name: &'static str,
    /// As in a file of configuration.
    pub toml: &'static str,
}

/// What a model is built for.
pub struct Setting<'a> {
    /// The model's own options.
    pub options: &'a Table,
    /// Channels, height and width of the pictures.
    pub image: [usize; 3],
    /// How many classes they have; 0 without labels.
    pub classes: usize,
    pub seed: u64,
    /// What it is about to learn from; `None` for a model that is trained already.
    pub train: Option<&'a dyn Source>,
}

/// All of them.
pub const KINDS: &[Kind] = &[gan::KIND, dcgan::KIND, ae::KIND, vae::KIND, classifier::KIND];

/// The model of that name.
pub fn find(name: &str) -> Result<&'static Kind> {
    match KINDS.iter().find(|k| k.name == name) {
        Some(kind) => Ok(kind),
        None => {
            let names: Vec<&str> = KINDS.iter().map(|k| k.name).collect();
            bail!("there is no model {name:?}; there are {}", names.join(", "))
        }
    }
}

/// The model's options, read from their table.
pub fn options<T: serde::de::DeserializeOwned>(model: &str, table: &Table) -> Result<T> {
    table.clone().try_into().map_err(|e| anyhow::anyhow!("[{model}]: {}", crate::config::one_line(&e)))
}
