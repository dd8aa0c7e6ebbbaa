//! What adversarial models have in common: two networks, an optimizer each, the generator's average, and the noise.

use crate::checkpoint::Checkpoint;
use crate::nn::Module;
use crate::optim::{Adam, Ema};
use crate::{Result, Rng, Tensor};

/// The generator G and the discriminator D of a game, with all that changes while they learn.
pub(super) struct Players<G, D> {
    pub generator: G,
    pub discriminator: D,
    /// The average of G over the steps, where asked for.
    average: Option<Ema>,
    pub g_opt: Adam,
    pub d_opt: Adam,
    pub noise: Rng,
}

/// How they learn.
pub(super) struct Rates {
    /// Adam's learning rate for G.
    pub g_lr: f64,
    /// Adam's learning rate for D.
    pub d_lr: f64,
    /// Adam's decay rates.
    pub betas: [f64; 2],
    /// At which rate the average of G forgets; 0: there is none.
    pub average: f64,
}

impl<G: Module, D: Module> Players<G, D> {
    /// Of two untrained networks.
    pub fn new(generator: G, discriminator: D, rates: Rates, noise: Rng) -> Result<Players<G, D>> {
        let [b1, b2] = rates.betas;
        let g_opt = Adam::new(generator.params(), rates.g_lr).betas(b1, b2);
        let d_opt = Adam::new(discriminator.params(), rates.d_lr).betas(b1, b2);
        let average = match rates.average {
            0.0 => None,
            decay => Some(Ema::new(generator.state(), decay)?.ramp()),
        };
        Ok(Players { generator, discriminator, average, g_opt, d_opt, noise })
    }

    /// A step of G, and of its average.
    pub fn teach_generator(&mut self, loss: &Tensor) -> Result<()> {
        self.g_opt.step(loss)?;
        self.average.as_mut().map_or(Ok(()), Ema::update)
    }

    /// What `forward` makes with G as pictures are made: of averaged weights where there are such, and with the running
    /// statistics of batch normalization.
    pub fn generate(&mut self, forward: impl Fn(&G) -> Tensor) -> Tensor {
        self.average.iter_mut().for_each(Ema::swap);
        self.generator.set_training(false);
        let made = forward(&self.generator);
        self.generator.set_training(true);
        self.average.iter_mut().for_each(Ema::swap);
        made
    }

    /// All that the next step depends on.
    pub fn state(&self) -> Result<Checkpoint> {
        let mut state = Checkpoint::new();
        state.put_module("generator", &self.generator)?;
        state.put_module("discriminator", &self.discriminator)?;
        state.put_optimizer("generator_adam", &self.g_opt)?;
        state.put_optimizer("discriminator_adam", &self.d_opt)?;
        if let Some(average) = &self.average {
            state.put_ema("generator_average", average)?;
        }
        state.put_rng("noise", &self.noise);
        Ok(state)
    }

    /// Takes up a state.
    pub fn load(&mut self, state: &Checkpoint) -> Result<()> {
        let noise = state.rng("noise")?;
        state.load_module("generator", &self.generator)?;
        state.load_module("discriminator", &self.discriminator)?;
        state.load_optimizer("generator_adam", &mut self.g_opt)?;
        state.load_optimizer("discriminator_adam", &mut self.d_opt)?;
        if let Some(average) = &mut self.average {
            state.load_ema("generator_average", average)?;
        }
        self.noise = noise;
        Ok(())
    }
}
