//! A set of pictures in memory.

use super::Source;
use super::source::{mix, mix_bytes};
use crate::{Error, Result};
use std::ops::Range;

/// Pictures of one size, in memory, one byte a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Images {
    /// How many pictures.
    pub count: usize,
    /// Values of a pixel: 1 for grey, 3 for colour.
    pub channels: usize,
    /// Rows of a picture.
    pub height: usize,
    /// Columns of a picture.
    pub width: usize,
    /// The values, `[count, channels, height, width]` row-major.
    pub pixels: Vec<u8>,
    /// The class of each picture, where known.
    pub labels: Option<Vec<u32>>,
    /// The names of the classes; empty without labels.
    pub classes: Vec<String>,
}

impl Images {
    /// Checks that the parts fit together.
    ///
    /// # Errors
    /// When `pixels` or `labels` have another length than the sizes say, a picture has no pixels, or a label has
    /// no class.
    pub fn new(
        [count, channels, height, width]: [usize; 4],
        pixels: Vec<u8>,
        labels: Option<Vec<u32>>,
        classes: Vec<String>,
    ) -> Result<Images> {
        let sizes = format!("{count} images of {channels}x{height}x{width}");
        let each = channels.checked_mul(height).and_then(|n| n.checked_mul(width)).filter(|&n| n > 0);
        let total = each.and_then(|n| n.checked_mul(count));
        if total != Some(pixels.len()) {
            return Err(Error::Data(format!("{sizes} cannot be made of {} pixels", pixels.len())));
        }
        if let Some(labels) = &labels {
            if labels.len() != count {
                return Err(Error::Data(format!("{sizes}, but {} labels", labels.len())));
            }
            if let Some(i) = labels.iter().position(|&l| l as usize >= classes.len()) {
                let (label, classes) = (labels[i], classes.len());
                return Err(Error::Data(format!(
                    "label {label} of image {i} is outside the {classes} classes"
                )));
            }
        }
        Ok(Images { count, channels, height, width, pixels, labels, classes })
    }

    /// Values of one picture: channels x height x width.
    pub fn image_len(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// Picture `i`, `[channels, height, width]` row-major.
    ///
    /// # Panics
    /// If there is no picture `i`.
    #[track_caller]
    pub fn image(&self, i: usize) -> &[u8] {
        assert!(i < self.count, "image {i} of {}", self.count);
        let n = self.image_len();
        &self.pixels[i * n..(i + 1) * n]
    }

    /// The pictures of a range, as a set of their own.
    ///
    /// # Panics
    /// If the range is not inside 0..count.
    #[track_caller]
    pub fn slice(&self, range: Range<usize>) -> Images {
        assert!(range.start <= range.end && range.end <= self.count, "images {range:?} of {}", self.count);
        let n = self.image_len();
        Images {
            count: range.len(),
            pixels: self.pixels[range.start * n..range.end * n].to_vec(),
            labels: self.labels.as_ref().map(|l| l[range].to_vec()),
            classes: self.classes.clone(),
            ..*self
        }
    }

    /// Mean and standard deviation of all values divided by 255. Not a number for an empty set.
    pub fn mean_std(&self) -> (f64, f64) {
        let mut histogram = [0u64; 256];
        self.pixels.iter().for_each(|&v| histogram[usize::from(v)] += 1);
        let n = self.pixels.len() as f64;
        let moment = |k| {
            histogram.iter().enumerate().map(|(v, &c)| c as f64 * (v as f64 / 255.0).powi(k)).sum::<f64>() / n
        };
        let mean = moment(1);
        (mean, (moment(2) - mean * mean).max(0.0).sqrt())
    }

    /// How many pictures each class has; empty without labels.
    pub fn class_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes.len()];
        self.labels.iter().flatten().for_each(|&l| counts[l as usize] += 1);
        counts
    }
}

/// The two parts of a data set.
#[derive(Debug, Clone, PartialEq)]
pub struct Split {
    /// What a model learns from.
    pub train: Images,
    /// What it is judged by.
    pub test: Images,
}

impl Source for Images {
    fn len(&self) -> usize {
        self.count
    }

    fn shape(&self) -> [usize; 3] {
        [self.channels, self.height, self.width]
    }

    fn is_labelled(&self) -> bool {
        self.labels.is_some()
    }

    fn classes(&self) -> Vec<String> {
        self.classes.clone()
    }

    fn fingerprint(&self) -> u64 {
        let hash = mix_bytes(self.count as u64, &self.pixels);
        self.labels.iter().flatten().fold(hash, |h, &l| mix(h, u64::from(l)))
    }

    fn read(&self, index: usize, pixels: &mut [u8]) -> Result<Option<u32>> {
        pixels.copy_from_slice(self.image(index));
        Ok(self.labels.as_ref().map(|l| l[index]))
    }
}
