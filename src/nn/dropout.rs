//! Dropout layers, each with a random generator of its own.

use super::{Mode, RngCell};
use crate::module;
use crate::rng::Rng;
use crate::tensor::Tensor;

/// Zeros elements at random in training, see [`Tensor::dropout`]; the identity in evaluation.
pub struct Dropout {
    /// The probability of a zero.
    pub p: f64,
    /// Whether whole channels are dropped, see [`Tensor::dropout2d`].
    pub channels: bool,
    /// Saved with the module, so that a resumed run draws on.
    pub rng: RngCell,
    /// Training or evaluation.
    pub mode: Mode,
}
module!(Dropout { rng, mode });

impl Dropout {
    /// With probability `p`; `rng` gives the seed of the layer's own generator.
    pub fn new(p: f64, rng: &mut Rng) -> Dropout {
        let seed = rng.next_seed();
        Dropout { p, channels: false, rng: RngCell::new(Rng::seed(seed)), mode: Mode::default() }
    }

    /// The same for whole channels of x `[n, c, …]`.
    pub fn of_channels(p: f64, rng: &mut Rng) -> Dropout {
        Dropout { channels: true, ..Dropout::new(p, rng) }
    }

    /// x with some elements zero and the rest scaled; same shape.
    ///
    /// # Panics
    /// If `p` is not in [0, 1], or x is not of floats.
    #[track_caller]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let training = self.mode.is_training();
        match self.channels {
            false => self.rng.with(|rng| x.dropout(rng, self.p, training)),
            true => self.rng.with(|rng| x.dropout2d(rng, self.p, training)),
        }
    }
}
