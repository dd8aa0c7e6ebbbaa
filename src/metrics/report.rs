//! Everything there is to say about samples of digits, in one place.

use super::{FeatureNet, KidOptions, Measured, fid, kid, prdc};
use crate::device::Device;
use crate::error::Result;
use crate::tensor::Tensor;
use gradus_kernels::DType;
use std::fmt;

/// How samples compare with real pictures, by the features of a [`FeatureNet`].
///
/// No number suffices: a low [`fid`](SampleReport::fid) can hide memorised pictures or a class that is missing. Numbers
/// depend on how many samples and real pictures there are; 10,000 of each are usual.
#[derive(Debug, Clone, PartialEq)]
pub struct SampleReport {
    /// [`fid`]: 0 is best.
    pub fid: f64,
    /// [`kid`] over [`KID_SUBSETS`] random subsets: about 0 is best.
    pub kid: f64,
    /// [`Prdc::precision`](super::Prdc::precision) with k = 5 on the first 5,000 of each.
    pub precision: f64,
    /// [`Prdc::recall`](super::Prdc::recall).
    pub recall: f64,
    /// [`Prdc::density`](super::Prdc::density).
    pub density: f64,
    /// [`Prdc::coverage`](super::Prdc::coverage).
    pub coverage: f64,
    /// How many classes more than a hundredth of the samples belong to.
    pub classes: usize,
    /// Entropy of the mean class probabilities, in nats: log 10 = 2.303 when classes are equally frequent.
    pub entropy: f64,
    /// Share of samples with a class of probability above 0.9.
    pub confident: f64,
}

/// Random subsets for the kernel distance of a [`SampleReport`].
pub const KID_SUBSETS: usize = 20;
const NEIGHBOURS: usize = 5;
const NEIGHBOUR_ROWS: usize = 5000;

impl SampleReport {
    /// Of samples, values 0 to 1, `[n, 1, 28, 28]` or `[n, 784]`, against the features `[m, 64]` of real pictures
    /// ([`FeatureNet::measure`] gives them), which do not change from one report to the next.
    ///
    /// # Errors
    /// When there are fewer than six samples or real pictures, or samples are not finite.
    ///
    /// # Panics
    /// If the samples have another shape.
    #[track_caller]
    pub fn new(net: &FeatureNet, samples: &Tensor, real: &Tensor) -> Result<SampleReport> {
        SampleReport::of_measured(&net.measure(samples)?, real)
    }

    /// The same, of samples that a net has measured.
    ///
    /// # Errors
    /// When there are fewer than six samples or real pictures, or something is not finite.
    pub fn of_measured(samples: &Measured, real: &Tensor) -> Result<SampleReport> {
        let Measured { features, probabilities } = samples;
        let first = |t: &Tensor| {
            let rows = t.shape().first().map_or(0, |&n| n.min(NEIGHBOUR_ROWS));
            t.slice(0, 0..rows as isize)
        };
        let near = prdc(&first(real), &first(features), NEIGHBOURS)?;
        let kid_options = KidOptions { subsets: KID_SUBSETS, ..KidOptions::default() };
        let mut counts = vec![0usize; probabilities.shape()[1]];
        samples.classes()?.iter().for_each(|&class| counts[class as usize] += 1);
        let n = probabilities.shape()[0];
        // In f64, which only the CPU has.
        let probabilities = probabilities.to_device(&Device::cpu())?.to(DType::F64);
        Ok(SampleReport {
            fid: fid(real, features)?,
            kid: kid(real, features, &kid_options)?.mean,
            precision: near.precision,
            recall: near.recall,
            density: near.density,
            coverage: near.coverage,
            classes: counts.iter().filter(|&&c| c * 100 > n).count(),
            entropy: crate::info::entropy(&probabilities.mean(0), 0).item()?,
            confident: probabilities.max(1).gt(0.9).to(DType::F64).mean(..).item()?,
        })
    }

    /// Names and values, in a fixed order: for logs and files.
    pub fn pairs(&self) -> [(&'static str, f64); 9] {
        [
            ("fid", self.fid),
            ("kid", self.kid),
            ("precision", self.precision),
            ("recall", self.recall),
            ("density", self.density),
            ("coverage", self.coverage),
            ("classes", self.classes as f64),
            ("entropy", self.entropy),
            ("confident", self.confident),
        ]
    }
}

/// One line: names and values to four digits behind the point, large ones to two.
impl fmt::Display for SampleReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (name, value)) in self.pairs().into_iter().enumerate() {
            let digits = match value {
                v if v.fract() == 0.0 => 0,
                v if v.abs() >= 10.0 => 2,
                _ => 4,
            };
            write!(f, "{}{name} {value:.digits$}", if i == 0 { "" } else { "  " })?;
        }
        Ok(())
    }
}
