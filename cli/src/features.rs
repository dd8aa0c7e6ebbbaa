//! Features of pictures, on which samples are compared with real pictures.

use crate::checkpoints::{self, Loaded, Position, Shapes};
use crate::config::Draft;
use crate::models::Model;
use crate::output::note;
use crate::progress::{Progress, epochs};
use crate::registry::{Setting, find};
use crate::sets::Sets;
use anyhow::{Context, Result, bail};
use gradus::Tensor;
use gradus::data::{Loader, LoaderOptions, LoaderState};
use gradus::metrics::{FeatureNet, Measured};
use std::path::Path;

/// Pictures that a classifier made for this has seen when it is done.
const SEEN: usize = 120_000;

/// A trained classifier whose features are compared.
pub enum Features {
    /// From a file of its own kind, for grey pictures of 28x28.
    Net(FeatureNet),
    /// The model of `gradus train classifier`.
    Classifier(Box<dyn Model>),
}

impl Features {
    /// From the file of a feature net, or a checkpoint of a classifier, or the folder of its run.
    pub fn load(path: &Path, image: [usize; 3]) -> Result<Features> {
        let is_checkpoint = path.is_dir() || path.extension().is_some_and(|e| e == "safetensors");
        if !is_checkpoint {
            let net = FeatureNet::load(path).context("--features")?;
            if image != [1, 28, 28] {
                bail!("{}: is a feature net for pictures of 1x28x28, not {image:?}", path.display());
            }
            return Ok(Features::Net(net));
        }
        let saved = checkpoints::open(path).context("--features")?;
        let model = saved.model()?;
        if model.classifier().is_none() {
            let name = &saved.config.model;
            bail!("{}: is of the model {name}; --features needs one of the classifier", saved.path.display());
        }
        if saved.image != image {
            bail!(
                "{}: is a classifier of pictures of {:?}, not {image:?}",
                saved.path.display(),
                saved.image
            );
        }
        Ok(Features::Classifier(model))
    }

    /// A classifier of the data that the model learned from: the one kept beside its checkpoint, or a new one that is
    /// kept there. It depends on those data alone, so that models trained on the same data are on one scale. `None`
    /// where data have no classes.
    pub fn of_data(saved: &Loaded, sets: &Sets) -> Result<Option<Features>> {
        let path = saved.path.with_file_name("features.safetensors");
        if let Ok(kept) = checkpoints::open(&path) {
            let model = kept.model()?;
            if kept.position.data == sets.fingerprint
                && kept.image == saved.image
                && model.classifier().is_some()
            {
                return Ok(Some(Features::Classifier(model)));
            }
        }
        if sets.classes.len() < 2 || !sets.train.is_labelled() {
            return Ok(None);
        }
        let kind = find("classifier")?;
        let mut config = Draft::new(kind)?.for_data(&sets.name)?.finish("classifier")?;
        let count = sets.train.len().max(1);
        config.run.data.clone_from(&sets.name);
        config.run.batch = config.run.batch.min(count);
        config.run.epochs = (SEEN / count).clamp(1, 50) as u64;
        note(&format!(
            "training a classifier of {} for its features, {}, kept in {}",
            sets.name,
            epochs(config.run.epochs),
            path.display()
        ));
        let (image, classes, seed) = (saved.image, sets.classes.len(), config.run.seed);
        let setting = Setting { options: &config.options, image, classes, seed, train: None };
        let mut model = (kind.build)(&setting)?;
        let options = LoaderOptions { pixels: model.pixels(), ..LoaderOptions::new(config.run.batch, seed) };
        let mut loader = Loader::new(sets.train.clone(), options)?;
        let per_epoch = loader.batches_per_epoch() as u64;
        let steps = per_epoch * config.run.epochs;
        let mut progress = Progress::new(0, steps, config.run.epochs, false);
        for step in 1..=steps {
            let figures = model.step(&loader.next_batch()?)?;
            progress.step(step, step.div_ceil(per_epoch), &figures);
        }
        progress.finish();
        let position =
            Position { step: steps, judged: true, loader: LoaderState::default(), data: sets.fingerprint };
        checkpoints::save(&path, &config, &Shapes { image, classes }, &position, model.state()?)?;
        Ok(Some(Features::Classifier(model)))
    }

    /// Features and class probabilities of pictures `[n, c, h, w]` from 0 to 1.
    pub fn measure(&self, x: &Tensor) -> Result<Measured> {
        match self {
            Features::Net(net) => Ok(net.measure(x)?),
            Features::Classifier(model) => Ok(model.classifier().context("no classifier")?.measure(x)?),
        }
    }
}
