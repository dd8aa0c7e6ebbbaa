//! Checkpoints of runs: the model's state, the configuration it belongs to, and how far the run is.

use crate::config::Config;
use crate::models::Model;
use crate::output::note;
use crate::registry::{self, Setting};
use crate::run_dir::RunDir;
use anyhow::{Context, Result, anyhow};
use gradus::checkpoint::{Checkpoint, previous};
use gradus::data::LoaderState;
use gradus::train::Trainable;
use std::path::{Path, PathBuf};

/// How far a run is.
pub struct Position {
    /// Steps taken.
    pub step: u64,
    /// Whether the epoch that ends at this step, if one does, was looked at.
    pub judged: bool,
    pub loader: LoaderState,
    /// Fingerprint of the data it learns from.
    pub data: u64,
}

/// What a checkpoint of a run says.
pub struct Loaded {
    pub path: PathBuf,
    pub config: Config,
    pub position: Position,
    /// Channels, height and width of the pictures, and how many classes they have.
    pub image: [usize; 3],
    pub classes: usize,
    pub state: Checkpoint,
}

/// What a model was built for besides its options.
pub struct Shapes {
    pub image: [usize; 3],
    pub classes: usize,
}

/// Writes the newest checkpoint of a run; the one before it is kept.
pub fn save(
    path: &Path,
    config: &Config,
    shapes: &Shapes,
    position: &Position,
    state: Checkpoint,
) -> Result<()> {
    let mut file = state;
    let [c, h, w] = shapes.image;
    file.put("run.config", config.to_toml()?);
    file.put("run.image", format_args!("{c} {h} {w}"));
    file.put("run.classes", shapes.classes);
    file.put("run.step", position.step);
    file.put("run.judged", position.judged);
    file.put("run.data", position.data);
    file.put_loader("train", position.loader);
    file.save(path)?;
    Ok(())
}

/// The newest readable checkpoint of a run, if it has any.
pub fn newest(dir: &RunDir) -> Result<Option<Loaded>> {
    let path = dir.checkpoint();
    // A link that leads nowhere is something wrong, not nothing.
    if [&path, &previous(&path)].iter().all(|p| p.symlink_metadata().is_err()) {
        return Ok(None);
    }
    let (state, fault) = Checkpoint::load_or_previous(&path)?;
    if let Some(fault) = fault {
        note(&format!("{fault}; going on from {} instead", previous(&path).display()));
    }
    Ok(Some(interpret(path, state)?))
}

/// The checkpoint at `path`, or that of the run in the folder `path`.
pub fn open(path: &Path) -> Result<Loaded> {
    let path = if path.is_dir() { path.join("checkpoint.safetensors") } else { path.to_path_buf() };
    let state = Checkpoint::load(&path)?;
    interpret(path, state)
}

fn interpret(path: PathBuf, state: Checkpoint) -> Result<Loaded> {
    let from = path.display().to_string();
    let read = || -> Result<(String, [usize; 3], usize, Position)> {
        let image: String = state.get("run.image")?;
        let image: Vec<usize> = image.split(' ').map_while(|n| n.parse().ok()).collect();
        let image = image.try_into().map_err(|_| anyhow!("run.image is not three numbers"))?;
        let position = Position {
            step: state.get("run.step")?,
            judged: state.get("run.judged")?,
            loader: state.loader("train")?,
            data: state.get("run.data")?,
        };
        Ok((state.get("run.config")?, image, state.get("run.classes")?, position))
    };
    let (text, image, classes, position) =
        read().with_context(|| format!("{from}: is not a checkpoint of `gradus train`"))?;
    let config = Config::from_toml(&text, &from)?;
    Ok(Loaded { path, config, position, image, classes, state })
}

impl Loaded {
    /// The trained model.
    pub fn model(&self) -> Result<Box<dyn Model>> {
        let kind = registry::find(&self.config.model)?;
        let setting = Setting {
            options: &self.config.options,
            image: self.image,
            classes: self.classes,
            seed: self.config.run.seed,
            train: None,
        };
        let mut model = (kind.build)(&setting).with_context(|| self.path.display().to_string())?;
        self.restore(model.as_mut())?;
        Ok(model)
    }

    /// Gives a model of the same configuration this state.
    pub fn restore(&self, model: &mut dyn Trainable) -> Result<()> {
        model.load(&self.state).with_context(|| self.path.display().to_string())
    }
}
