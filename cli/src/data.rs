//! Data sets by name: those of the library, and pictures from folders; and their parts.

use crate::config::RunOptions;
use crate::signals::Signals;
use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use gradus::data::folder::{Folder, FolderOptions};
use gradus::data::resize::Decoded;
use gradus::data::{Source, binarize, idx, open, random_split};
use image::{ImageReader, Limits};
use serde::{Deserialize, Serialize};
use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;

/// What may stand behind `--data`.
pub const NAMES: &str =
    "digits, digits:COUNT, mnist:FOLDER, cifar:FOLDER, idx:FILE, idx:FILE,LABELS, images:FOLDER";

/// Most memory that decoding one picture may take.
const DECODER_LIMIT: u64 = 256 << 20;

/// A set of pictures, in memory or not.
pub type Set = Arc<dyn Source>;

/// Black and white of grey.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Binarize {
    /// Pictures as they are
    #[default]
    None,
    /// The same bits at each visit, and for everybody
    Fixed,
    /// Other bits at each visit
    Dynamic,
}

/// The parts of a set.
pub struct Data {
    /// What a model learns from.
    pub train: Set,
    /// What it is judged by while it learns.
    pub valid: Option<Set>,
    /// What it is judged by in the end.
    pub test: Option<Set>,
}

/// A set that cannot be read once a signal asked to stop: whoever goes through it stops there.
pub struct UntilSignal {
    pub set: Set,
    pub signals: Signals,
}

impl Source for UntilSignal {
    fn len(&self) -> usize {
        self.set.len()
    }

    fn shape(&self) -> [usize; 3] {
        self.set.shape()
    }

    fn is_labelled(&self) -> bool {
        self.set.is_labelled()
    }

    fn classes(&self) -> Vec<String> {
        self.set.classes()
    }

    fn fingerprint(&self) -> u64 {
        self.set.fingerprint()
    }

    fn read(&self, index: usize, pixels: &mut [u8]) -> gradus::Result<Option<u32>> {
        match self.signals.received() {
            None => self.set.read(index, pixels),
            Some(_) => Err(gradus::Error::Data("interrupted".into())),
        }
    }

    fn read_batch(&self, indices: &[u32], pixels: &mut [u8]) -> gradus::Result<Option<Vec<u32>>> {
        match self.signals.received() {
            None => self.set.read_batch(indices, pixels),
            Some(_) => Err(gradus::Error::Data("interrupted".into())),
        }
    }
}

/// What the options of a run name: sets of pictures that fit together.
pub fn load(run: &RunOptions) -> Result<Data> {
    let (mut whole, mut own_test) = named(&run.data, run)?;
    if run.binarize != Binarize::None {
        // Test pictures have the same bits whenever they are looked at, and the numbers after the others.
        let after = whole.len() as u64;
        own_test = own_test.map(|test| Arc::new(binarize::Sbin::new(test, after)) as Set);
        if run.binarize == Binarize::Fixed {
            whole = Arc::new(binarize::Sbin::new(whole, 0));
        }
    }
    let (valid, test) = (Part::parse(&run.valid), Part::parse(&run.test));
    let mut data = parts(whole, &valid, &test, run.seed).with_context(|| format!("data {:?}", run.data))?;
    let named_part = |part: &Part| match part {
        Part::Named(name) => other(name, run, &data.train).map(Some),
        _ => Ok(None),
    };
    let (named_valid, named_test) = (named_part(&valid)?, named_part(&test)?);
    data.valid = data.valid.or(named_valid);
    data.test = data.test.or(named_test).or(own_test);
    Ok(data)
}

/// What stands behind `--valid` and `--test`.
enum Part<'a> {
    Nothing,
    /// As a part of 1, of the set to learn from.
    Share(f64),
    Named(&'a str),
}

impl Part<'_> {
    fn parse(text: &str) -> Part<'_> {
        match text.parse() {
            Ok(share) => Part::Share(share),
            Err(_) if text.is_empty() => Part::Nothing,
            Err(_) => Part::Named(text),
        }
    }

    fn share(&self) -> Option<f64> {
        if let Part::Share(share) = self { Some(*share) } else { None }
    }
}

/// Takes the shares that validation and test are to have from a set.
fn parts(whole: Set, valid: &Part, test: &Part, seed: u64) -> Result<Data> {
    let held: Vec<f64> = [valid, test].iter().filter_map(|part| part.share()).collect();
    if held.is_empty() {
        return Ok(Data { train: whole, valid: None, test: None });
    }
    let shares = [vec![1.0 - held.iter().sum::<f64>()], held].concat();
    let mut parts = random_split(whole, &shares, seed)?.into_iter().map(|part| Arc::new(part) as Set);
    let train = parts.next().context("no part")?;
    let valid = valid.share().and_then(|_| parts.next());
    let test = test.share().and_then(|_| parts.next());
    Ok(Data { train, valid, test })
}

/// The test part of the set `name`, or all of it where it has none.
fn other(name: &str, run: &RunOptions, train: &Set) -> Result<Set> {
    let (whole, test) = named(name, run)?;
    let after = whole.len() as u64;
    let (mut set, first) = match test {
        Some(test) => (test, after),
        None => (whole, 0),
    };
    let (classes, wanted) = (set.classes().len(), train.classes().len());
    if set.shape() != train.shape() || classes != wanted {
        bail!(
            "data {name:?} has {:?} pictures of {classes} classes, data {:?} has {:?} of {wanted}",
            set.shape(),
            run.data,
            train.shape(),
        );
    }
    if run.binarize != Binarize::None {
        set = Arc::new(binarize::Sbin::new(set, first));
    }
    Ok(set)
}

/// The set `name`, and its test part where it has one.
fn named(name: &str, run: &RunOptions) -> Result<(Set, Option<Set>)> {
    let about = || format!("data {name:?}");
    match name.split_once(':') {
        Some(("images", folder)) if !folder.is_empty() => Ok((folder_set(Path::new(folder), run)?, None)),
        Some(("idx", files)) if !files.is_empty() => {
            let (pixels, labels) = match files.split_once(',') {
                Some((pixels, labels)) => (pixels, Some(Path::new(labels))),
                None => (files, None),
            };
            Ok((Arc::new(idx::images(Path::new(pixels), labels).with_context(about)?), None))
        }
        Some(("digits" | "mnist" | "cifar", rest)) if !rest.is_empty() => opened(name, run.seed),
        None if name == "digits" => opened(name, run.seed),
        _ => bail!("data {name:?} are not known; there are {NAMES}"),
    }
}

fn opened(name: &str, seed: u64) -> Result<(Set, Option<Set>)> {
    let split = open(name, seed).with_context(|| format!("data {name:?}"))?;
    Ok((Arc::new(split.train), Some(Arc::new(split.test))))
}

/// Pictures of a folder: decoded once where all of them fit into the cache, otherwise whenever they are used.
fn folder_set(folder: &Path, run: &RunOptions) -> Result<Set> {
    let options = FolderOptions::new(run.channels, run.size, run.size);
    let folder = Folder::open(folder, &options, decode)?;
    let cache = usize::try_from(run.cache << 20).unwrap_or(usize::MAX);
    match folder.total_bytes() {
        Some(total) if total <= cache.min(options.total_limit) => Ok(Arc::new(folder.images()?)),
        _ => Ok(Arc::new(folder)),
    }
}

/// Decodes whatever the `image` crate knows, by content and not by name. Alpha is dropped.
fn decode(_: &Path, bytes: &[u8]) -> std::result::Result<Decoded, String> {
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|e| e.to_string())?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(DECODER_LIMIT);
    reader.limits(limits);
    let picture = reader.decode().map_err(|e| e.to_string())?;
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let (channels, pixels) = if picture.color().has_color() {
        (3, picture.into_rgb8().into_raw())
    } else {
        (1, picture.into_luma8().into_raw())
    };
    Ok(Decoded { width, height, channels, pixels })
}
