//! The pictures that commands look at: those a run learned from and was judged by, or others.

use crate::checkpoints::Loaded;
use crate::config::RunOptions;
use crate::data::{self, Data};
use anyhow::{Context, Result, bail};
use gradus::Tensor;
use gradus::data::{Images, Loader, LoaderOptions, Pixels, Source, SplitMix64};
use std::sync::Arc;

/// Pictures judged at a time.
pub const BATCH: usize = 500;

/// What a model learned from and is judged by.
pub struct Sets {
    pub train: Arc<dyn Source>,
    /// The set to learn from, where there is no other.
    pub test: Arc<dyn Source>,
    /// What they are called.
    pub name: String,
    pub classes: Vec<String>,
    /// Tells the set to learn from apart from others.
    pub fingerprint: u64,
}

impl Sets {
    /// Those that a run used, or the set `data` read with its options.
    ///
    /// # Errors
    /// When they cannot be read, or their pictures are of another size than the model's.
    pub fn of(saved: &Loaded, data: Option<&str>) -> Result<Sets> {
        let mut run = saved.config.run.clone();
        if let Some(name) = data {
            run = RunOptions { data: name.into(), test: String::new(), valid: String::new(), ..run };
        }
        let Data { train, test, .. } = data::load(&run)?;
        let (classes, fingerprint) = (train.classes(), train.fingerprint());
        let test = test.unwrap_or_else(|| train.clone());
        let ([c, h, w], wanted) = (train.shape(), saved.image);
        if [c, h, w] != wanted {
            bail!("data {:?} has pictures of {c}x{h}x{w}, the model is for {wanted:?}", run.data);
        }
        Ok(Sets { train, test, name: run.data, classes, fingerprint })
    }
}

/// `count` pictures of a set, evenly spread over it, or all: parts of a set can differ, as the halves of MNIST's test
/// pictures do.
pub fn spread(set: &dyn Source, count: usize) -> Result<Images> {
    let [c, h, w] = set.shape();
    let (count, each) = (count.min(set.len()), c * h * w);
    let mut pixels = vec![0; count * each];
    let mut labels = Vec::new();
    for (i, picture) in pixels.chunks_exact_mut(each.max(1)).enumerate() {
        labels.extend(set.read(i * set.len() / count, picture)?);
    }
    let labels = (labels.len() == count && count > 0).then_some(labels);
    let most = labels.iter().flatten().max().map_or(0, |&l| l as usize + 1);
    let classes = (0..most).map(|class| class.to_string()).collect();
    Ok(Images::new([count, c, h, w], pixels, labels, classes)?)
}

/// Goes through pictures in their order.
pub fn in_order(set: Arc<dyn Source>, pixels: Pixels) -> Result<Loader> {
    let options = LoaderOptions {
        pixels,
        shuffle: false,
        drop_last: false,
        prefetch: 1,
        ..LoaderOptions::new(BATCH, 1)
    };
    Ok(Loader::new(set, options)?)
}

/// Pictures from 0 to 1, `[n, c, h, w]`.
pub fn tensor(images: &Images) -> Result<Tensor> {
    let values = images.pixels.iter().map(|&v| f32::from(v) / 255.0).collect();
    let shape = [images.count, images.channels, images.height, images.width];
    Tensor::try_from_vec(values, shape).context("pictures")
}

/// What `f` makes of rows of x, some hundred at a time, put together.
pub fn mapped(x: &Tensor, mut f: impl FnMut(&Tensor) -> Tensor) -> Result<Tensor> {
    let n = x.shape()[0];
    let mut parts = Vec::new();
    for start in (0..n.max(1)).step_by(BATCH) {
        let part = f(&x.slice(0, start as isize..n.min(start + BATCH) as isize));
        part.eval()?;
        parts.push(part.stop_grad());
    }
    let whole = Tensor::cat(&parts, 0);
    whole.eval()?;
    Ok(whole)
}

/// `count` pictures of a set, or all, in an order that belongs to the seed.
pub fn drawn(set: &dyn Source, count: usize, seed: u64) -> Result<Images> {
    let [c, h, w] = set.shape();
    let (n, each) = (set.len(), c * h * w);
    let mut order: Vec<usize> = (0..n).collect();
    let count = count.min(n);
    // The first steps of a Fisher-Yates shuffle.
    for i in 0..count {
        order.swap(i, i + (SplitMix64::output(seed, i as u64) % (n - i) as u64) as usize);
    }
    let mut pixels = vec![0; count * each];
    for (&index, picture) in order.iter().zip(pixels.chunks_exact_mut(each.max(1))) {
        set.read(index, picture)?;
    }
    Ok(Images::new([count, c, h, w], pixels, None, Vec::new())?)
}
