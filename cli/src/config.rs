//! The configuration of a run: defaults, then a file, then flags; written out in full beside the results.

use crate::data::Binarize;
use crate::registry::{Kind, Preset};
use anyhow::{Context, Result, anyhow, bail};
use gradus::data::Augment;
use gradus::files::read_bounded;
use serde::{Deserialize, Serialize};
use std::path::Path;
use toml::{Table, Value};

/// Largest file of configuration.
const LIMIT: u64 = 1 << 20;

/// What every model's run has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunOptions {
    /// The set to learn from.
    pub data: String,
    /// Another set to be judged by, or the share of `data` held back for it; empty: the test part of `data`.
    pub test: String,
    /// What to be judged by while learning: a share of `data`, or another set; empty: the same as in the end.
    pub valid: String,
    /// What is done to pictures at each visit.
    pub augment: String,
    /// Black and white of grey.
    pub binarize: Binarize,
    /// Times the whole set is gone through.
    pub epochs: u64,
    /// Pictures of a step.
    pub batch: usize,
    /// Everything random follows from it.
    pub seed: u64,
    /// Height and width of pictures from folders.
    pub size: usize,
    /// Channels of pictures from folders.
    pub channels: usize,
    /// Most MiB that the pictures of a folder may take in memory.
    pub cache: u64,
    /// Steps between two lines of metrics.
    pub log_every: u64,
}

/// A complete configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub model: String,
    pub run: RunOptions,
    /// The model's own options, checked by the model.
    pub options: Table,
}

impl Config {
    /// The file's text: `model`, the run's options, and the model's under its name.
    pub fn to_toml(&self) -> Result<String> {
        let mut table = Table::new();
        table.insert("model".into(), Value::String(self.model.clone()));
        table.extend(Table::try_from(&self.run).context("the options of the run")?);
        table.insert(self.model.clone(), Value::Table(self.options.clone()));
        toml::to_string(&table).context("the configuration")
    }

    /// Reads such a text; `from` says where it is from.
    pub fn from_toml(text: &str, from: &str) -> Result<Config> {
        let table = parse(text, from)?;
        let Some(Value::String(model)) = table.get("model") else {
            bail!("{from}: has no line model = \"NAME\"");
        };
        let kind = crate::registry::find(model).with_context(|| from.to_string())?;
        Draft::new(kind)?.overlay(table, from)?.finish(from)
    }
}

/// A configuration being put together.
pub struct Draft {
    kind: &'static Kind,
    table: Table,
}

impl Draft {
    /// The defaults of a model.
    pub fn new(kind: &'static Kind) -> Result<Draft> {
        let (run, options) = (kind.defaults)()?;
        let mut table = Table::new();
        table.insert("model".into(), Value::String(kind.name.into()));
        table.extend(Table::try_from(run).context("default options")?);
        table.insert(kind.name.into(), Value::Table(options));
        Ok(Draft { kind, table })
    }

    /// Puts the preset of that name over it.
    pub fn preset(self, name: &str) -> Result<Draft> {
        let Some(preset) = self.kind.presets.iter().find(|p| p.name == name) else {
            let names: Vec<&str> = self.kind.presets.iter().map(|p| p.name).collect();
            let known = if names.is_empty() { "none".into() } else { names.join(", ") };
            bail!("preset {name:?} is not known; {} has {known}", self.kind.name);
        };
        self.put(preset)
    }

    /// Puts what suits the data of that name over it.
    pub fn for_data(self, data: &str) -> Result<Draft> {
        let set = data.split_once(':').map_or(data, |(set, _)| set);
        match self.kind.for_data.iter().find(|p| p.name == set) {
            Some(preset) => self.put(preset),
            None => Ok(self),
        }
    }

    fn put(self, preset: &Preset) -> Result<Draft> {
        let from = format!("preset {}", preset.name);
        let table = parse(preset.toml, &from)?;
        self.overlay(table, &from)
    }

    /// Puts the file `path` over it.
    pub fn file(self, path: &Path) -> Result<Draft> {
        let from = path.display().to_string();
        let text = String::from_utf8(read_bounded(path, LIMIT)?)
            .map_err(|e| anyhow!("{from}: is no text: byte {} is not UTF-8", e.utf8_error().valid_up_to()))?;
        self.text(&text, &from)
    }

    /// Puts the text of such a file over it; `from` says where it is from.
    pub fn text(self, text: &str, from: &str) -> Result<Draft> {
        let table = parse(text, from)?;
        if let Some(model) = table.get("model").filter(|m| m.as_str() != Some(self.kind.name)) {
            bail!(
                "{from}: is for model {model}, not for {:?}: use `gradus train` with that name",
                self.kind.name
            );
        }
        let draft = self.overlay(table, from)?;
        // So that a wrong type is reported with the name of the file.
        draft.clone_config(from)?;
        Ok(draft)
    }

    /// Puts the flags that were given over it: those of the run, and those of the model.
    pub fn flags(self, run: &impl Serialize, options: &impl Serialize) -> Result<Draft> {
        let mut table = Table::try_from(run).context("flags")?;
        table.insert(self.kind.name.into(), Value::Table(Table::try_from(options).context("flags")?));
        self.overlay(table, "flags")
    }

    fn overlay(mut self, over: Table, from: &str) -> Result<Draft> {
        put_over(&mut self.table, over, from, "")?;
        Ok(self)
    }

    /// The configuration, checked.
    pub fn finish(self, from: &str) -> Result<Config> {
        self.clone_config(from)
    }

    fn clone_config(&self, from: &str) -> Result<Config> {
        let mut table = self.table.clone();
        table.remove("model");
        let options = match table.remove(self.kind.name) {
            Some(Value::Table(options)) => options,
            _ => bail!("{from}: [{}] is not a section", self.kind.name),
        };
        let run: RunOptions = table.try_into().map_err(|e| anyhow!("{from}: {}", one_line(&e)))?;
        run.check().with_context(|| from.to_string())?;
        Ok(Config { model: self.kind.name.into(), run, options })
    }
}

impl RunOptions {
    /// The defaults of a model that learns from drawn digits: `epochs` times through the set, `batch` pictures a step.
    pub fn on_digits(epochs: u64, batch: usize) -> RunOptions {
        RunOptions {
            data: "digits".into(),
            test: String::new(),
            valid: String::new(),
            augment: String::new(),
            binarize: Binarize::None,
            epochs,
            batch,
            seed: 1,
            size: 28,
            channels: 1,
            cache: 1024,
            log_every: 10,
        }
    }

    fn check(&self) -> Result<()> {
        let ranges = [
            ("epochs", self.epochs, 1_000_000_000),
            ("batch", self.batch as u64, 1_000_000),
            ("size", self.size as u64, 4096),
            ("log_every", self.log_every, 1_000_000_000),
        ];
        for (name, value, most) in ranges {
            if !(1..=most).contains(&value) {
                bail!("{name} = {value} is not between 1 and {most}");
            }
        }
        if self.cache > 1 << 30 {
            bail!("cache = {} is not between 0 and {}", self.cache, 1 << 30);
        }
        let _: Augment = self.augment.parse()?;
        if !matches!(self.channels, 1 | 3) {
            bail!("channels = {} is neither 1 (grey) nor 3 (colour)", self.channels);
        }
        if i64::try_from(self.seed).is_err() {
            bail!("seed = {} is not below 2^63", self.seed);
        }
        Ok(())
    }
}

fn parse(text: &str, from: &str) -> Result<Table> {
    text.parse::<Table>().map_err(|e| {
        let line = e.span().map_or(0, |s| {
            text.as_bytes()[..s.start.min(text.len())].iter().filter(|&&b| b == b'\n').count()
        });
        anyhow!("{from}: line {}: {}", line + 1, e.message())
    })
}

/// The message of an error of TOML, which by itself spans lines.
pub fn one_line(error: &toml::de::Error) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Replaces values of `base`; `over` may name nothing that `base` does not.
fn put_over(base: &mut Table, over: Table, from: &str, section: &str) -> Result<()> {
    for (key, value) in over {
        let Some(slot) = base.get_mut(&key) else {
            let known: Vec<&str> = base.keys().map(String::as_str).collect();
            bail!("{from}: {section}{key} is not known; there are {}", known.join(", "));
        };
        match (slot, value) {
            (Value::Table(base), Value::Table(over)) => put_over(base, over, from, &format!("{key}."))?,
            // A whole number where a fraction may stand.
            (slot @ Value::Float(_), Value::Integer(i)) => *slot = Value::Float(i as f64),
            (slot, value) if slot.type_str() == value.type_str() => {
                elements_like(slot, &value).with_context(|| format!("{from}: {section}{key}"))?;
                *slot = value;
            }
            (slot, value) => bail!(
                "{from}: {section}{key} is {} where {} is expected, such as {slot}",
                article(value.type_str()),
                article(slot.type_str())
            ),
        }
    }
    Ok(())
}

/// Demands that the elements of a list are what those of the default are.
fn elements_like(default: &Value, list: &Value) -> Result<()> {
    let (Value::Array(default), Value::Array(list)) = (default, list) else { return Ok(()) };
    let Some(like) = default.first() else { return Ok(()) };
    match list.iter().find(|v| v.type_str() != like.type_str()) {
        Some(other) => {
            bail!("{other} is {} where {} is expected", article(other.type_str()), article(like.type_str()))
        }
        None => Ok(()),
    }
}

fn article(noun: &str) -> String {
    format!("{} {noun}", if noun.starts_with(['a', 'i']) { "an" } else { "a" })
}

/// The keys whose values differ, as `key: a -> b`.
pub fn differences(a: &Config, b: &Config) -> Result<Vec<String>> {
    let flat = |c: &Config| -> Result<Table> {
        let mut table = Table::try_from(&c.run).context("options")?;
        table.extend(c.options.iter().map(|(k, v)| (format!("{}.{k}", c.model), v.clone())));
        Ok(table)
    };
    let (a, b) = (flat(a)?, flat(b)?);
    let changed = a.iter().filter(|(k, v)| b.get(*k) != Some(v));
    Ok(changed
        .map(|(k, v)| format!("{k}: {v} -> {}", b.get(k).map_or(String::new(), ToString::to_string)))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft() -> Draft {
        Draft::new(crate::registry::find("gan").unwrap()).unwrap()
    }

    fn overlaid(text: &str) -> Result<Config> {
        draft().overlay(parse(text, "f.toml")?, "f.toml")?.finish("f.toml")
    }

    #[test]
    fn a_file_replaces_defaults_and_survives_writing() {
        let config = overlaid("batch = 7\n[gan]\nslope = 0\n").unwrap();
        assert_eq!(config.run.batch, 7);
        assert_eq!(config.options["slope"], Value::Float(0.0));
        assert_eq!(Config::from_toml(&config.to_toml().unwrap(), "x").unwrap(), config);
    }

    #[test]
    fn every_fault_of_a_file_is_named() {
        for (text, part) in [
            ("bacth = 7", "f.toml: bacth is not known; there are model, data,"),
            ("[gan]\nlr = 1.0", "f.toml: gan.lr is not known"),
            ("batch = \"x\"", "f.toml: batch is a string where an integer is expected, such as"),
            ("\nbatch = ", "f.toml: line 2:"),
            ("batch = 0", "f.toml: batch = 0 is not between 1 and"),
            ("channels = 2", "channels = 2 is neither"),
            ("batch = -1", "f.toml:"),
            (
                "[gan]\nhidden = [1, \"x\"]",
                "f.toml: gan.hidden: \"x\" is a string where an integer is expected",
            ),
            ("gan = 3", "f.toml: gan is an integer where a table is expected"),
        ] {
            let error = crate::failure::chain(&overlaid(text).unwrap_err());
            assert!(error.contains(part), "{text:?} gave {error:?}");
        }
    }

    #[test]
    fn every_preset_fits_its_model() {
        for kind in crate::registry::KINDS {
            let draft = || Draft::new(kind).unwrap();
            let plain = draft().finish("x").unwrap();
            for preset in kind.presets {
                let config = draft().preset(preset.name).unwrap().finish(preset.name).unwrap();
                assert!(config != plain, "{} {} changes nothing", kind.name, preset.name);
            }
            for preset in kind.for_data {
                let data = format!("{}:FOLDER", preset.name);
                let config = draft().for_data(&data).unwrap().finish(preset.name).unwrap();
                assert!(config != plain, "{} {} changes nothing", kind.name, preset.name);
            }
            assert!(draft().for_data("digits:60").unwrap().finish("x").unwrap() == plain);
            let unknown = crate::failure::chain(&draft().preset("nonsense").err().unwrap());
            assert!(kind.presets.iter().all(|p| unknown.contains(p.name)), "{unknown}");
        }
    }

    #[test]
    fn differences_name_the_key() {
        let (a, b) = (overlaid("batch = 7").unwrap(), overlaid("batch = 8").unwrap());
        assert_eq!(differences(&a, &b).unwrap(), ["batch: 7 -> 8"]);
        assert!(differences(&a, &a).unwrap().is_empty());
    }
}
