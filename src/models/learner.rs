//! What autoencoders have in common: one network, its optimizer, and noise.

use crate::checkpoint::Checkpoint;
use crate::nn::Module;
use crate::optim::Adam;
use crate::{Result, Rng};

/// A network with all that changes while it learns.
pub(super) struct Learner<N> {
    pub network: N,
    pub opt: Adam,
    pub noise: Rng,
}

impl<N: Module> Learner<N> {
    /// All that the next step depends on.
    pub fn state(&self) -> Result<Checkpoint> {
        let mut state = Checkpoint::new();
        state.put_module("network", &self.network)?;
        state.put_optimizer("adam", &self.opt)?;
        state.put_rng("noise", &self.noise);
        Ok(state)
    }

    /// Takes up a state.
    pub fn load(&mut self, state: &Checkpoint) -> Result<()> {
        let noise = state.rng("noise")?;
        state.load_module("network", &self.network)?;
        state.load_optimizer("adam", &mut self.opt)?;
        self.noise = noise;
        Ok(())
    }
}
