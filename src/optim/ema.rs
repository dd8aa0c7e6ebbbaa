//! Running averages of weights, which often sample better than the weights of the last step.

use crate::error::{Error, Result};
use crate::exec;
use crate::nn::Param;
use crate::tensor::Tensor;

/// An exponential moving average of parameters: `a ← decay a + (1 - decay) p` after every step (Polyak & Juditsky
/// 1992; Tarvainen & Valpola 2017).
///
/// Give it [`state()`](crate::nn::Module::state) rather than `params()` to average running statistics too. Integer
/// buffers are not averaged but copied.
///
/// ```
/// use gradus::nn::{Linear, Module};
/// use gradus::optim::Ema;
/// let mut rng = gradus::Rng::seed(1);
/// let net = Linear::new(2, 2, &mut rng);
/// let mut ema = Ema::new(net.state(), 0.999)?;
/// ema.update()?;            // after each step of the optimizer
/// ema.swap();               // the network has the averages now
/// ema.swap();               // and its own weights again
/// # Ok::<(), gradus::Error>(())
/// ```
pub struct Ema {
    decay: f64,
    ramp: bool,
    updates: u64,
    params: Vec<(String, Param)>,
    averages: Vec<Tensor>,
}

impl Ema {
    /// Averages that start at the present values.
    ///
    /// # Errors
    /// When those cannot be computed.
    pub fn new(params: Vec<(String, Param)>, decay: f64) -> Result<Ema> {
        let values: Vec<Tensor> = params.iter().map(|(_, p)| p.get()).collect();
        exec::eval_roots(&values)?;
        let averages = values.iter().map(Tensor::fresh).collect();
        Ok(Ema { decay, ramp: false, updates: 0, params, averages })
    }

    /// Starts with a short memory: update `n`, counted from 1, uses the smaller of `decay` and `(1 + n) / (10 + n)`,
    /// so that the first, poor weights are soon forgotten.
    pub fn ramp(mut self) -> Ema {
        self.ramp = true;
        self
    }

    /// Takes the present values into the averages.
    ///
    /// # Errors
    /// When something cannot be computed; nothing has changed then.
    pub fn update(&mut self) -> Result<()> {
        let n = (self.updates + 1) as f64;
        let decay = if self.ramp { self.decay.min((1.0 + n) / (10.0 + n)) } else { self.decay };
        let mix = |average: &Tensor, p: &Param| {
            let value = p.get().stop_grad();
            if value.dtype().is_float() { average * decay + value * (1.0 - decay) } else { value }
        };
        let mixed: Vec<Tensor> =
            self.averages.iter().zip(&self.params).map(|(a, (_, p))| mix(a, p)).collect();
        exec::eval_roots(&mixed)?;
        self.averages = mixed.iter().map(Tensor::fresh).collect();
        self.updates += 1;
        Ok(())
    }

    /// Exchanges averages and present values: once to evaluate with the averages, once more to train on. Until then
    /// neither [`update`](Ema::update) nor a step makes sense.
    pub fn swap(&mut self) {
        for (average, (_, param)) in self.averages.iter_mut().zip(&self.params) {
            let value = param.get();
            param.set(std::mem::replace(average, value));
        }
    }

    /// The averages, by the parameters' paths.
    pub fn values(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.params.iter().zip(&self.averages).map(|((path, _), average)| (path.as_str(), average))
    }

    /// How often the averages were updated. With the averages this is all there is to save.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// Takes up saved averages.
    ///
    /// # Errors
    /// [`Error::Data`] naming an average that is missing or has another shape or type; nothing has changed then.
    pub fn load_state(&mut self, updates: u64, find: impl Fn(&str) -> Option<Tensor>) -> Result<()> {
        let mut averages = Vec::new();
        for (path, old) in self.values() {
            let found = find(path);
            let found = found.ok_or_else(|| Error::Data(format!("the average of {path} is missing")))?;
            averages.push(super::same_kind(&format!("the average of {path}"), found, old)?);
        }
        self.averages = averages;
        self.updates = updates;
        Ok(())
    }
}
