//! Black and white of grey: a pixel of value v is white with probability v/255.
//!
//! Likelihoods on binarised MNIST are comparable only where the same bits, or new bits at every visit, were used
//! (Salakhutdinov & Murray 2008; Burda et al. 2016 redraw). [`sbin`] is a fixed draw that anyone can repeat in ten
//! lines of any language; [`redrawn`] is for drawing anew.

use super::source::mix;
use super::{Images, Source, SplitMix64};
use crate::Result;
use std::sync::Arc;

/// The seed of [`sbin`].
pub const SBIN_SEED: u64 = 20240229;

/// The bit that the random number `h` makes of the value `v`: 1 with probability v/255, to 2^-24.
#[inline]
pub fn bit(h: u64, v: u8) -> bool {
    (h >> 40) * 255 < u64::from(v) << 24
}

/// The static binarisation "sbin": the bit of pixel number k is [`bit`] of output k of SplitMix64 seeded with
/// [`SBIN_SEED`]. `first` is the number of the first of `pixels`. In MNIST the test images follow the 60,000 of
/// the training set: pixel k of image i has the number 784 i + k, the first test pixel 784 * 60000.
pub fn sbin(pixels: &[u8], first: u64) -> impl Iterator<Item = bool> + '_ {
    pixels.iter().zip(first..).map(|(&v, k)| bit(SplitMix64::output(SBIN_SEED, k), v))
}

/// Bits drawn from the stream of `key`, such as (seed, epoch, image): another key, another draw.
pub fn redrawn<'a>(pixels: &'a [u8], key: &[u64]) -> impl Iterator<Item = bool> + use<'a> {
    let mut rng = SplitMix64::keyed(key);
    pixels.iter().map(move |&v| bit(rng.draw(), v))
}

/// Makes the bits of [`redrawn`] 0 and 255 in place of the values.
pub fn redraw(pixels: &mut [u8], key: &[u64]) {
    let mut rng = SplitMix64::keyed(key);
    pixels.iter_mut().for_each(|v| *v = if bit(rng.draw(), *v) { 255 } else { 0 });
}

/// [`sbin`] of a set, as pictures of 0 and 255, made as they are read.
pub struct Sbin {
    source: Arc<dyn Source>,
    first_image: u64,
}

impl Sbin {
    /// The set whose first picture has the number `first_image`.
    pub fn new(source: Arc<dyn Source>, first_image: u64) -> Sbin {
        Sbin { source, first_image }
    }

    fn binarize(&self, index: u64, picture: &mut [u8]) {
        let first = (self.first_image + index) * picture.len() as u64;
        for (v, k) in picture.iter_mut().zip(first..) {
            *v = if bit(SplitMix64::output(SBIN_SEED, k), *v) { 255 } else { 0 };
        }
    }
}

impl Source for Sbin {
    fn len(&self) -> usize {
        self.source.len()
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
        mix(mix(self.source.fingerprint(), SBIN_SEED), self.first_image)
    }

    fn read(&self, index: usize, pixels: &mut [u8]) -> Result<Option<u32>> {
        let label = self.source.read(index, pixels)?;
        self.binarize(index as u64, pixels);
        Ok(label)
    }

    fn read_batch(&self, indices: &[u32], pixels: &mut [u8]) -> Result<Option<Vec<u32>>> {
        let labels = self.source.read_batch(indices, pixels)?;
        let each = self.shape().iter().product::<usize>().max(1);
        for (&index, picture) in indices.iter().zip(pixels.chunks_exact_mut(each)) {
            self.binarize(u64::from(index), picture);
        }
        Ok(labels)
    }
}

/// [`sbin`] of a set whose first picture has the number `first_image`, as pictures of 0 and 255.
pub fn sbin_images(images: &Images, first_image: u64) -> Images {
    let first = first_image * images.image_len() as u64;
    let pixels = sbin(&images.pixels, first).map(|b| if b { 255 } else { 0 }).collect();
    Images { pixels, labels: images.labels.clone(), classes: images.classes.clone(), ..*images }
}
