//! The trait through which a loader reads any set, and parts of sets.

use super::{Images, SplitMix64};
use crate::{Error, Result};
use std::sync::Arc;

/// A set of pictures of one size that can be read one by one, from any thread, in any order.
pub trait Source: Send + Sync {
    /// How many pictures.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Channels, height and width.
    fn shape(&self) -> [usize; 3];

    /// Whether every picture has a label; otherwise none has.
    fn is_labelled(&self) -> bool;

    /// The names of the classes; empty without labels.
    fn classes(&self) -> Vec<String>;

    /// A number that changes when the set does, to notice a run resumed on another. Sets that are too large to be
    /// looked at in full take what they know of it.
    fn fingerprint(&self) -> u64;

    /// Writes picture `index` to `pixels` (channels x height x width bytes) and returns its label.
    ///
    /// # Errors
    /// When the picture cannot be read.
    fn read(&self, index: usize, pixels: &mut [u8]) -> Result<Option<u32>>;

    /// Writes the pictures `indices` one after the other to `pixels` and returns their labels. Sets whose pictures
    /// take work, such as decoding, do it here on all threads.
    ///
    /// # Errors
    /// When one of them cannot be read.
    fn read_batch(&self, indices: &[u32], pixels: &mut [u8]) -> Result<Option<Vec<u32>>> {
        let each = self.shape().iter().product::<usize>().max(1);
        let mut labels = self.is_labelled().then(|| Vec::with_capacity(indices.len()));
        for (&index, picture) in indices.iter().zip(pixels.chunks_exact_mut(each)) {
            let label = self.read(index as usize, picture)?;
            if let Some(labels) = &mut labels {
                labels.push(label.ok_or_else(|| Error::Data(format!("image {index} has no label")))?);
            }
        }
        Ok(labels)
    }
}

/// One step of a [`Source::fingerprint`].
pub(super) fn mix(hash: u64, value: u64) -> u64 {
    (hash ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
}

/// A fingerprint of bytes, going on from another.
pub(super) fn mix_bytes(hash: u64, bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let hash = words.iter().fold(mix(hash, bytes.len() as u64), |h, w| mix(h, u64::from_le_bytes(*w)));
    rest.iter().fold(hash, |h, &b| mix(h, u64::from(b)))
}

/// Some pictures of a set, in an order of their own.
#[derive(Clone)]
pub struct Subset {
    source: Arc<dyn Source>,
    indices: Vec<u32>,
}

impl Subset {
    /// The pictures `indices` of `source`; each may come several times or not at all.
    ///
    /// # Errors
    /// When `source` has no such picture.
    pub fn new(source: Arc<dyn Source>, indices: Vec<u32>) -> Result<Subset> {
        let len = source.len();
        match indices.iter().find(|&&i| i as usize >= len) {
            Some(i) => Err(Error::Data(format!("there is no image {i} in a set of {len}"))),
            None => Ok(Subset { source, indices }),
        }
    }

    /// Which pictures of the whole set these are.
    pub fn indices(&self) -> &[u32] {
        &self.indices
    }

    /// What picture `index` is called in the whole set.
    fn at(&self, index: usize) -> Result<u32> {
        let missing = || Error::Data(format!("there is no image {index} in a set of {}", self.indices.len()));
        self.indices.get(index).copied().ok_or_else(missing)
    }
}

impl Source for Subset {
    fn len(&self) -> usize {
        self.indices.len()
    }

    fn shape(&self) -> [usize; 3] {
        self.source.shape()
    }

    fn is_labelled(&self) -> bool {
        self.source.is_labelled()
    }

    fn classes(&self) -> Vec<String> {
        self.source.classes()
    }

    fn fingerprint(&self) -> u64 {
        self.indices.iter().fold(self.source.fingerprint(), |h, &i| mix(h, u64::from(i)))
    }

    fn read(&self, index: usize, pixels: &mut [u8]) -> Result<Option<u32>> {
        self.source.read(self.at(index)? as usize, pixels)
    }

    fn read_batch(&self, indices: &[u32], pixels: &mut [u8]) -> Result<Option<Vec<u32>>> {
        let whole: Result<Vec<u32>> = indices.iter().map(|&i| self.at(i as usize)).collect();
        self.source.read_batch(&whole?, pixels)
    }
}

/// Cuts a set into parts that have no picture in common and together are all of it: training, validation and test
/// parts, say. `shares` are their sizes as parts of 1. Which picture is where is a function of the number of pictures,
/// the shares and the seed; within a part the pictures keep their order.
///
/// ```
/// use gradus::data::{Digits, Source, random_split};
/// use std::sync::Arc;
/// let parts = random_split(Arc::new(Digits::new(1, 100)), &[0.8, 0.1, 0.1], 7)?;
/// assert_eq!(parts.iter().map(|p| p.len()).collect::<Vec<_>>(), [80, 10, 10]);
/// # Ok::<(), gradus::Error>(())
/// ```
///
/// # Errors
/// When the shares are not positive numbers that sum to 1 (to a millionth), or a part would be empty.
pub fn random_split(source: Arc<dyn Source>, shares: &[f64], seed: u64) -> Result<Vec<Subset>> {
    // Apart from the orders of epochs, whose keys are longer.
    const SPLIT: u64 = 0x5350_4c49;
    let refuse = |what: String| Err(Error::Data(format!("cannot split {} images: {what}", source.len())));
    if shares.iter().any(|s| s.is_nan() || *s <= 0.0) || (shares.iter().sum::<f64>() - 1.0).abs() > 1e-6 {
        return refuse(format!("the shares {shares:?} are not positive numbers that sum to 1"));
    }
    let Ok(len) = u32::try_from(source.len()) else { return refuse("they are too many".into()) };
    let mut order: Vec<u32> = (0..len).collect();
    SplitMix64::keyed(&[seed, SPLIT]).shuffle(&mut order);
    let (mut parts, mut sum, mut start) = (Vec::new(), 0.0, 0);
    for share in shares {
        sum += share;
        let end = ((f64::from(len) * sum).round() as usize).min(order.len());
        if end <= start {
            return refuse(format!("the share {share} has none"));
        }
        let mut indices = order[start..end].to_vec();
        indices.sort_unstable();
        parts.push(Subset { source: source.clone(), indices });
        start = end;
    }
    Ok(parts)
}

impl Images {
    /// All pictures of a set, in memory.
    ///
    /// # Errors
    /// When one cannot be read, or there is no memory for them.
    pub fn from_source(source: &dyn Source) -> Result<Images> {
        let (count, [channels, height, width]) = (source.len(), source.shape());
        let total = [count, channels, height, width].iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        let mut pixels = Vec::new();
        let room = total.and_then(|n| pixels.try_reserve_exact(n).ok().map(|()| n));
        let Some(total) = room else {
            return Err(Error::Data(format!("no memory for {count} images of {channels}x{height}x{width}")));
        };
        let indices = u32::try_from(count).map(|n| (0..n).collect::<Vec<_>>());
        let indices = indices.map_err(|_| Error::Data(format!("{count} images are too many")))?;
        pixels.resize(total, 0);
        let labels = source.read_batch(&indices, &mut pixels)?;
        Images::new([count, channels, height, width], pixels, labels, source.classes())
    }
}
