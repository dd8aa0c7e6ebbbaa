//! The feature net: a small classifier of digits whose last hidden layer other measures compare.

use crate::error::{BuildError, Error, Result, fail};
use crate::files;
use crate::ops::ConvOptions;
use crate::tensor::Tensor;
use std::path::Path;

/// Parameters in the order of the file, with their shapes.
const PARAMETERS: [(&str, &[usize]); 8] = [
    ("c1.weight", &[16, 1, 3, 3]),
    ("c1.bias", &[16]),
    ("c2.weight", &[32, 16, 3, 3]),
    ("c2.bias", &[32]),
    ("f1.weight", &[64, 1568]),
    ("f1.bias", &[64]),
    ("f2.weight", &[10, 64]),
    ("f2.bias", &[10]),
];
const SIDE: usize = 28;
/// Pictures that are in the net at once.
const BATCH: usize = 500;

/// A classifier of grey 28x28 pictures, values 0 to 1, into ten classes: two convolutions 3x3 (16 and 32 channels),
/// each with ReLU and a maximum over 2x2, then 64 features, ReLU, ten logits. Features are taken before the ReLU.
///
/// Distances of its features compare models with each other. They are on this net's own scale, not that of the
/// Inception net in the literature.
pub struct FeatureNet {
    parameters: Vec<Tensor>,
}

/// What [`FeatureNet::measure`] says of pictures.
#[derive(Debug, Clone)]
pub struct Measured {
    /// `[n, 64]`.
    pub features: Tensor,
    /// Probabilities of the classes, `[n, 10]`.
    pub probabilities: Tensor,
}

impl Measured {
    /// The likeliest class of each picture.
    ///
    /// # Errors
    /// Those of reading a tensor.
    pub fn classes(&self) -> Result<Vec<u32>> {
        self.probabilities.argmax(1).to_vec()
    }

    /// The share of pictures whose likeliest class is their label.
    ///
    /// # Errors
    /// When there is not one label for each picture.
    pub fn accuracy(&self, labels: &[u32]) -> Result<f64> {
        super::probe::share_equal(&self.classes()?, labels)
    }
}

impl FeatureNet {
    /// Reads the net from a file: for each parameter, little-endian, the number of axes (u32), the extents (u32), the
    /// values (f32, row-major). Parameters are c1.weight `[16, 1, 3, 3]`, c1.bias, c2.weight `[32, 16, 3, 3]`, c2.bias,
    /// f1.weight `[64, 1568]`, f1.bias, f2.weight `[10, 64]`, f2.bias.
    ///
    /// # Errors
    /// When the file cannot be read or is not this: the message names the parameter and the byte.
    pub fn load(path: &Path) -> Result<FeatureNet> {
        let expected: usize = PARAMETERS.iter().map(|(_, s)| 4 + 4 * s.len() + 4 * numel(s)).sum();
        // A longer file is told by what follows its last parameter.
        let bytes = files::read_bounded(path, expected as u64 + 4096)?;
        FeatureNet::from_bytes(&bytes).map_err(|e| Error::file(path, e))
    }

    /// The net from the content of such a file.
    ///
    /// # Errors
    /// As [`load`](FeatureNet::load).
    pub fn from_bytes(bytes: &[u8]) -> Result<FeatureNet> {
        let mut rest = bytes;
        let mut parameters = Vec::with_capacity(PARAMETERS.len());
        for (name, shape) in PARAMETERS {
            let at = bytes.len() - rest.len();
            let values = parameter(&mut rest, shape).map_err(|e| {
                Error::Data(format!("parameter {name} (at byte {at} of {}): {e}", bytes.len()))
            })?;
            parameters.push(Tensor::try_from_vec(values, shape)?);
        }
        if !rest.is_empty() {
            return Err(Error::Data(format!("{} bytes follow the last parameter", rest.len())));
        }
        Ok(FeatureNet { parameters })
    }

    /// The features `[n, 64]` of pictures, values 0 to 1, `[n, 1, 28, 28]` or `[n, 784]`, f32.
    ///
    /// # Panics
    /// If x is of another shape.
    #[track_caller]
    pub fn features(&self, x: &Tensor) -> Tensor {
        let s = x.shape();
        if s.rank() < 2 || s[1..].iter().product::<usize>() != SIDE * SIDE {
            fail(BuildError::new("FeatureNet", format!("needs x [n, 1, 28, 28] or [n, 784], not {s}")));
        }
        let p = &self.parameters;
        let stage = |x: Tensor, weight: &Tensor, bias: &Tensor| {
            let y = x.conv2d(weight, ConvOptions::default().padding(1));
            (y + bias.reshape([bias.numel(), 1, 1])).relu().max_pool2d(2, 2, 0)
        };
        let y = stage(x.reshape([s[0], 1, SIDE, SIDE]), &p[0], &p[1]);
        stage(y, &p[2], &p[3]).flatten(1).matmul(&p[4].t()) + &p[5]
    }

    /// The logits `[n, 10]` for features `[n, 64]`.
    ///
    /// # Panics
    /// If there are not 64 features.
    #[track_caller]
    pub fn logits(&self, features: &Tensor) -> Tensor {
        features.relu().matmul(&self.parameters[6].t()) + &self.parameters[7]
    }

    /// Features and class probabilities of pictures as for [`features`](FeatureNet::features), computed some hundred at
    /// a time.
    ///
    /// # Errors
    /// Those of computing, such as out of memory.
    ///
    /// # Panics
    /// If x is of another shape.
    #[track_caller]
    pub fn measure(&self, x: &Tensor) -> Result<Measured> {
        let n = x.shape().first().copied().unwrap_or(0);
        let mut parts = Vec::new();
        for start in (0..n.max(1)).step_by(BATCH) {
            let end = n.min(start + BATCH);
            let features = self.features(&x.slice(0, start as isize..end as isize));
            features.eval()?;
            parts.push(features);
        }
        let features = Tensor::cat(&parts, 0);
        let probabilities = self.logits(&features).softmax(1);
        features.eval()?;
        probabilities.eval()?;
        Ok(Measured { features, probabilities })
    }
}

fn numel(shape: &[usize]) -> usize {
    shape.iter().product()
}

/// Takes `n` bytes off the front.
fn take<'a>(rest: &mut &'a [u8], n: usize) -> std::result::Result<&'a [u8], String> {
    let (head, tail) = rest
        .split_at_checked(n)
        .ok_or_else(|| format!("needs {n} bytes more, but only {} are left", rest.len()))?;
    *rest = tail;
    Ok(head)
}

/// Little-endian words.
fn words(bytes: &[u8]) -> impl Iterator<Item = [u8; 4]> + '_ {
    bytes.as_chunks::<4>().0.iter().copied()
}

/// The values of a parameter that must have this shape.
fn parameter(rest: &mut &[u8], shape: &[usize]) -> std::result::Result<Vec<f32>, String> {
    let rank: Vec<u32> = words(take(rest, 4)?).map(u32::from_le_bytes).collect();
    if rank[0] as usize != shape.len() {
        return Err(format!("has {} axes, not the {} of {shape:?}", rank[0], shape.len()));
    }
    let dims: Vec<usize> =
        words(take(rest, 4 * shape.len())?).map(|w| u32::from_le_bytes(w) as usize).collect();
    if dims != shape {
        return Err(format!("has shape {dims:?}, not {shape:?}"));
    }
    let values: Vec<f32> = words(take(rest, 4 * numel(shape))?).map(f32::from_le_bytes).collect();
    match values.iter().find(|v| !v.is_finite()) {
        Some(v) => Err(format!("holds {v}")),
        None => Ok(values),
    }
}
