//! What a loop needs to know of a model in order to train it: steps, pictures to look at, and a state to save.
//!
//! The loop itself (epochs, files, signals, progress) belongs to whoever trains; the `gradus` command has one. A model
//! that implements [`Trainable`] runs in all of them, and goes on bit for bit where it was stopped.

use crate::checkpoint::Checkpoint;
use crate::data::{Batch, Loader, Pixels};
use crate::{DType, Result, Tensor, set_guard};

/// Named figures of a step or an evaluation, in the order in which they are shown.
pub type Figures = Vec<(&'static str, f64)>;

/// Named losses of a step, scalars computed and not read yet, in the order in which they are shown.
pub type Losses = Vec<(&'static str, Tensor)>;

/// A model together with its optimizers and everything else that changes while it learns.
pub trait Trainable {
    /// What the model wants made of the bytes of a picture.
    fn pixels(&self) -> Pixels;

    /// What the model wants made of the bytes of the pictures it is tested on. Where training draws bits anew at each
    /// visit, tests should have the same ones for everyone.
    fn test_pixels(&self) -> Pixels {
        self.pixels()
    }

    /// Learns from one batch and returns the losses, by name, without waiting for them: for loops that read only some, or,
    /// in a browser, cannot wait.
    ///
    /// # Errors
    /// Whatever evaluation can fail with. After an error the state may be that of a step half done.
    fn learn(&mut self, batch: &Batch) -> Result<Losses>;

    /// Learns from one batch and reads the losses.
    ///
    /// # Errors
    /// As [`Trainable::learn`].
    fn step(&mut self, batch: &Batch) -> Result<Figures> {
        self.learn(batch)?.iter().map(|(name, loss)| Ok((*name, loss.item()?))).collect()
    }

    /// Pictures by which an eye can judge the model: the first `count` that belong to `seed`,
    /// `[count, channels, height, width]` with values from 0 (black) to 1. `None` for models that make none.
    ///
    /// # Errors
    /// Whatever evaluation can fail with.
    fn pictures(&mut self, count: usize, seed: u64) -> Result<Option<Tensor>>;

    /// Figures on pictures the model has not learned from, which are one epoch of `test`; empty for models that have no
    /// such figures.
    ///
    /// # Errors
    /// Whatever evaluation can fail with.
    fn evaluate(&mut self, test: &mut Loader) -> Result<Figures>;

    /// The tensors and generators that the next step depends on, and no more.
    ///
    /// # Errors
    /// When two of them have one name.
    fn state(&self) -> Result<Checkpoint>;

    /// Takes up a state.
    ///
    /// # Errors
    /// When something is missing or has another shape: it is the state of another model.
    fn load(&mut self, state: &Checkpoint) -> Result<()>;
}

/// What became of a step.
#[derive(Clone, Debug, PartialEq)]
pub enum Stepped {
    /// The losses.
    Learned(Figures),
    /// A loss is NaN or infinite. The model has the state before the step, so what is saved of it is still good.
    Diverged {
        /// Which loss.
        figure: &'static str,
        /// What it is.
        value: f64,
        /// Where NaN or infinity came from: the first tensor that held it.
        cause: String,
    },
}

/// One step that does not let NaN pass: when a loss is not finite, the step is repeated from the state before it with
/// the guard on, which finds the op that made the first NaN or infinity.
///
/// # Errors
/// As [`Trainable::step`].
pub fn step_checked<M: Trainable + ?Sized>(model: &mut M, batch: &Batch) -> Result<Stepped> {
    // Tensors are shared, not copied: this costs a list of names.
    let before = model.state()?;
    let figures = model.step(batch)?;
    let Some(&(figure, value)) = figures.iter().find(|(_, v)| !v.is_finite()) else {
        return Ok(Stepped::Learned(figures));
    };
    model.load(&before)?;
    let cause = match non_finite(&before)? {
        Some(what) => format!("{what}, since the step before"),
        None => {
            set_guard(true);
            let again = model.step(batch);
            set_guard(false);
            model.load(&before)?;
            match again {
                Err(e) => e.to_string(),
                Ok(_) => String::from("the guard found no tensor that made it so"),
            }
        }
    };
    Ok(Stepped::Diverged { figure, value, cause })
}

/// The first tensor of a state with NaN or infinity in it, in words. A state that has one is not worth saving.
///
/// # Errors
/// When a tensor cannot be computed.
pub fn non_finite(state: &Checkpoint) -> Result<Option<String>> {
    for (name, tensor) in &state.tensors {
        let count = match tensor.dtype() {
            DType::F32 => tensor.to_vec::<f32>()?.iter().filter(|v| !v.is_finite()).count(),
            DType::F64 => tensor.to_vec::<f64>()?.iter().filter(|v| !v.is_finite()).count(),
            _ => 0,
        };
        if count > 0 {
            return Ok(Some(format!("{name} holds {count} NaN or infinite of {} values", tensor.numel())));
        }
    }
    Ok(None)
}
