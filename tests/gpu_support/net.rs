//! A network of two layers, for tests of what a step costs and leaves behind.

use gradus::nn::Linear;
use gradus::{Rng, Tensor, module};

pub struct Net {
    pub l1: Linear,
    pub l2: Linear,
}
module!(Net { l1, l2 });

impl Net {
    /// Layers from `widths[0]` numbers by way of `widths[1]` to `widths[2]`.
    pub fn new(widths: [usize; 3], rng: &mut Rng) -> Net {
        let [from, hidden, to] = widths;
        Net { l1: Linear::new(from, hidden, rng), l2: Linear::new(hidden, to, rng) }
    }

    /// `x` through both layers, with tanh between them.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        self.l2.forward(&self.l1.forward(x).tanh())
    }
}
