//! The pictures that commands look at: those a run learned from and was judged by, or others.

use crate::checkpoints::Loaded;
use crate::config::RunOptions;
use crate::data::{self, Data};
use anyhow::{Context, Result, bail};
use gradus::Tensor;
use gradus::data::binarize::Sbin;
use gradus::data::{Images, Loader, LoaderOptions, Pixels, Source, SplitMix64, Subset};
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
    let places = places(set.len(), count);
    let (count, each) = (places.len(), c * h * w);
    let mut pixels = vec![0; count * each];
    let mut labels = Vec::new();
    for (picture, &place) in pixels.chunks_exact_mut(each.max(1)).zip(&places) {
        labels.extend(set.read(place as usize, picture)?);
    }
    let labels = (labels.len() == count && count > 0).then_some(labels);
    let most = labels.iter().flatten().max().map_or(0, |&l| l as usize + 1);
    let classes = (0..most).map(|class| class.to_string()).collect();
    Ok(Images::new([count, c, h, w], pixels, labels, classes)?)
}

/// `count` places evenly spread over 0..len, or all.
fn places(len: usize, count: usize) -> Vec<u32> {
    let count = count.min(len);
    (0..count).map(|i| (i * len / count) as u32).collect()
}

/// Goes through the pictures of [`spread`], as a model wants them that is tested. Where it is tested on fixed bits, a
/// picture has those of its place in the whole set, however many are looked at.
pub fn judged(set: &Arc<dyn Source>, count: usize, pixels: Pixels) -> Result<Loader> {
    let places = places(set.len(), count);
    let (whole, pixels): (Arc<dyn Source>, _) = match pixels {
        Pixels::Sbin { first_image } => (Arc::new(Sbin::new(set.clone(), first_image)), Pixels::Unit),
        other => (set.clone(), other),
    };
    let options = LoaderOptions {
        pixels,
        shuffle: false,
        drop_last: false,
        prefetch: 1,
        ..LoaderOptions::new(BATCH, 1)
    };
    Ok(Loader::new(Arc::new(Subset::new(whole, places)?), options)?)
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

#[cfg(test)]
mod tests {
    use super::*;
    use gradus::data::Digits;

    #[test]
    fn a_part_has_the_bits_of_the_whole() {
        let set: Arc<dyn Source> = Arc::new(Digits::new(1, 30));
        let pixels = Pixels::Sbin { first_image: 7 };
        let options = LoaderOptions { pixels, shuffle: false, ..LoaderOptions::new(30, 1) };
        let whole = Loader::new(set.clone(), options).unwrap().next_batch().unwrap();
        assert_eq!(judged(&set, 99, pixels).unwrap().next_batch().unwrap().pixels, whole.pixels);
        let part = judged(&set, 10, pixels).unwrap().next_batch().unwrap();
        let each = 28 * 28;
        let expected: Vec<f32> =
            whole.pixels.chunks(each).step_by(3).flat_map(|picture| picture.to_vec()).collect();
        assert_eq!((part.shape, part.pixels), ([10, 1, 28, 28], expected));
    }
}
