//! Optimizers: `step(&loss)` differentiates with respect to the optimizer's own parameters, updates them, and lets
//! the old graph go. No `zero_grad`, no freezing: what is not in the list is not touched.
//!
//! An update rule is mathematics on tensors ([`Rule`]); it is fused into one kernel like any other expression.

mod ema;
mod rules;

pub use ema::Ema;
pub use rules::{Adagrad, AdagradRule, Adam, AdamRule, RmsProp, RmsPropRule, Sgd, SgdRule};

use crate::error::{Error, Result};
use crate::exec;
use crate::grad::try_grad;
use crate::graph::{UPDATE, as_part};
use crate::nn::{Param, take_assigned};
use crate::tensor::Tensor;
use gradus_kernels::DType;
use std::slice;

/// What a rule is told about the step it is to write.
#[derive(Clone, Copy, Debug)]
pub struct StepInfo {
    /// The number of this step, from 1.
    pub step: u64,
    /// The learning rate.
    pub lr: f64,
}

/// How one parameter is updated: the mathematics of an optimizer.
pub trait Rule {
    /// Names of the tensors kept for each parameter; they start as zeros of its shape.
    fn slots(&self) -> &'static [&'static str];

    /// The new value of `p` with gradient `g`, and the new slots.
    fn update(&self, info: StepInfo, p: &Tensor, g: &Tensor, slots: &[Tensor]) -> (Tensor, Vec<Tensor>);
}

/// An optimizer: parameters, a rule, and what the rule keeps for each.
pub struct Optimizer<R> {
    rule: R,
    params: Vec<(String, Param)>,
    /// For each parameter, its slots.
    slots: Vec<Vec<Tensor>>,
    step: u64,
    lr: f64,
    clip_norm: Option<f64>,
    clip_value: Option<f64>,
    allow_unreached: bool,
}

impl<R: Rule> Optimizer<R> {
    /// An optimizer that follows `rule`, which may be your own.
    pub fn with_rule(params: Vec<(String, Param)>, lr: f64, rule: R) -> Self {
        // Everything starts as a leaf, computed together. Where that fails, the first step meets the error again.
        let all: Vec<Tensor> = params.iter().map(|(_, p)| p.get()).collect();
        if exec::eval_roots(&all).is_ok() {
            params.iter().for_each(|(_, p)| p.set(p.get().fresh()));
        }
        let slots = vec![Vec::new(); params.len()];
        Optimizer {
            rule,
            params,
            slots,
            step: 0,
            lr,
            clip_norm: None,
            clip_value: None,
            allow_unreached: false,
        }
    }

    /// Scales all gradients together so that their joint Euclidean norm is at most `norm` (Pascanu et al. 2013).
    pub fn clip_norm(mut self, norm: f64) -> Self {
        self.clip_norm = Some(norm);
        self
    }

    /// Clamps every element of every gradient to `[-bound, bound]`.
    pub fn clip_value(mut self, bound: f64) -> Self {
        self.clip_value = Some(bound);
        self
    }

    /// Leaves parameters alone that a loss does not reach, which is otherwise an error.
    pub fn allow_unreached(mut self) -> Self {
        self.allow_unreached = true;
        self
    }

    /// The learning rate now.
    pub fn lr(&self) -> f64 {
        self.lr
    }

    /// Changes the learning rate. No plan is made anew: rates are inputs of plans.
    pub fn set_lr(&mut self, lr: f64) {
        self.lr = lr;
    }

    /// How many steps have been taken.
    pub fn steps(&self) -> u64 {
        self.step
    }

    /// One step down the gradient of `loss`: loss, new parameters, slots and assigned buffers are evaluated
    /// together. Afterwards the loss has its value and no history, and so has whatever you still hold of the way to it from
    /// the parameters: differentiate that before the step. The parameters are then changed where they lie, unless someone
    /// holds the old ones.
    ///
    /// # Errors
    /// [`Error::Unreached`] naming parameters the loss does not depend on; whatever evaluation can fail with. On an
    /// error nothing has changed.
    pub fn step(&mut self, loss: &Tensor) -> Result<()> {
        let values: Vec<Tensor> = self.params.iter().map(|(_, p)| p.get()).collect();
        let gradients = self.gradients(loss, &values)?;
        self.apply(Some(loss), values, gradients)?;
        loss.node().release();
        Ok(())
    }

    /// One step down gradients that were made elsewhere, one for each parameter in their order: summed over several
    /// batches, say.
    ///
    /// # Errors
    /// [`Error::Data`] when there are more or fewer gradients than parameters, or one has another shape or type; whatever
    /// evaluation can fail with. On an error nothing has changed.
    pub fn step_with(&mut self, gradients: &[Tensor]) -> Result<()> {
        let values: Vec<Tensor> = self.params.iter().map(|(_, p)| p.get()).collect();
        if gradients.len() != values.len() {
            let counts = format!("{} gradients were given for {} parameters", gradients.len(), values.len());
            return Err(Error::Data(format!("step_with: {counts}")));
        }
        for ((name, _), (gradient, value)) in self.params.iter().zip(gradients.iter().zip(&values)) {
            same_kind(&format!("step_with: the gradient of {name}"), gradient.clone(), value)?;
        }
        self.apply(None, values, gradients.iter().cloned().map(Some).collect())
    }

    fn gradients(&self, loss: &Tensor, values: &[Tensor]) -> Result<Vec<Option<Tensor>>> {
        if self.allow_unreached {
            let xs: Vec<&Tensor> = values.iter().collect();
            return Ok(crate::grad::vjp(loss, &xs, &loss.ones_like()));
        }
        match try_grad(loss, values) {
            Ok(gradients) => Ok(gradients.into_iter().map(Some).collect()),
            Err(Error::Unreached { reason, .. }) => {
                let xs: Vec<&Tensor> = values.iter().collect();
                let found = crate::grad::vjp(loss, &xs, &loss.ones_like());
                let missing = self.params.iter().zip(&found).filter(|(_, g)| g.is_none());
                Err(Error::Unreached { names: missing.map(|((name, _), _)| name.clone()).collect(), reason })
            }
            Err(e) => Err(e),
        }
    }

    fn apply(
        &mut self,
        loss: Option<&Tensor>,
        values: Vec<Tensor>,
        gradients: Vec<Option<Tensor>>,
    ) -> Result<()> {
        self.prepare(&values)?;
        let gradients = as_part(UPDATE, || self.clipped(gradients));
        let info = StepInfo { step: self.step + 1, lr: self.lr };
        let mut updates = Vec::new();
        for (i, (value, gradient)) in values.iter().zip(gradients).enumerate() {
            let Some(gradient) = gradient else { continue };
            let update = || self.rule.update(info, value, &gradient, &self.slots[i]);
            let (new, slots) = as_part(UPDATE, update);
            updates.push((i, new, slots));
        }
        let assigned = take_assigned();
        let mut roots: Vec<Tensor> = loss.into_iter().cloned().collect();
        roots.extend(assigned.iter().map(Param::get));
        for (_, new, slots) in &updates {
            roots.push(new.clone());
            roots.extend(slots.iter().cloned());
        }
        drop(values);
        self.replace(updates, &roots)?;
        for param in assigned {
            param.set(param.get().fresh());
        }
        self.step += 1;
        Ok(())
    }

    /// Evaluates `roots` and puts new parameters and slots in the places of the old ones, whose memory they may take over.
    fn replace(&mut self, updates: Vec<(usize, Tensor, Vec<Tensor>)>, roots: &[Tensor]) -> Result<()> {
        let closed = updates.iter().filter_map(|(i, ..)| self.params[*i].1.close());
        let (_gates, old_params): (Vec<_>, Vec<Tensor>) = closed.unzip();
        let old_slots = updates.iter().flat_map(|(i, ..)| self.slots[*i].iter().cloned());
        let old: Vec<Tensor> = old_params.into_iter().chain(old_slots).collect();
        exec::eval_step(roots, &old)?;
        for (i, new, slots) in updates {
            self.params[i].1.set(new.fresh());
            self.slots[i] = slots.iter().map(Tensor::fresh).collect();
        }
        Ok(())
    }

    /// Makes the slots that do not exist yet.
    fn prepare(&mut self, values: &[Tensor]) -> Result<()> {
        let names = self.rule.slots();
        if self.slots.iter().all(|slots| slots.len() == names.len()) {
            return Ok(());
        }
        let made: Vec<Vec<Tensor>> =
            values.iter().map(|p| names.iter().map(|_| p.zeros_like()).collect()).collect();
        // One by one: evaluated together, equal zeros would share one buffer, which no update could take over.
        made.iter().flatten().try_for_each(|slot| exec::eval_roots(slice::from_ref(slot)))?;
        self.slots = made.iter().map(|slots| slots.iter().map(Tensor::fresh).collect()).collect();
        Ok(())
    }

    fn clipped(&self, gradients: Vec<Option<Tensor>>) -> Vec<Option<Tensor>> {
        let mut gradients = gradients;
        if let Some(bound) = self.clip_value {
            gradients.iter_mut().flatten().for_each(|g| *g = g.clamp(-bound, bound));
        }
        if let Some(limit) = self.clip_norm {
            // Parameters of different types share one norm, in the wider type.
            let double = gradients.iter().flatten().any(|g| g.dtype() == DType::F64);
            let wide = if double { DType::F64 } else { DType::F32 };
            let squares =
                gradients.iter().flatten().map(|g| g.square().sum(..).to(wide)).reduce(|a, b| a + b);
            if let Some(total) = squares {
                // As PyTorch: the small number keeps the quotient finite at a gradient of zero.
                let scale = (limit / (total.sqrt() + 1e-6)).minimum(1.0);
                gradients.iter_mut().flatten().for_each(|g| *g = &*g * scale.to(g.dtype()));
            }
        }
        gradients
    }

    /// What must be saved to go on later: the step count, and each parameter's slots as `path.slot`.
    pub fn state(&self) -> (u64, Vec<(String, Tensor)>) {
        let mut list = Vec::new();
        for ((path, param), slots) in self.params.iter().zip(&self.slots) {
            for (i, slot) in self.rule.slots().iter().enumerate() {
                // Before the first step the slots are the zeros they will start as.
                let value = slots.get(i).cloned().unwrap_or_else(|| param.get().zeros_like());
                list.push((format!("{path}.{slot}"), value));
            }
        }
        (self.step, list)
    }

    /// Takes up a saved state.
    ///
    /// # Errors
    /// [`Error::Data`] naming a slot that is missing or has another shape or type. On an error nothing has changed.
    pub fn load_state(&mut self, step: u64, find: impl Fn(&str) -> Option<Tensor>) -> Result<()> {
        let mut all = Vec::new();
        for (path, param) in &self.params {
            let mut slots = Vec::new();
            for slot in self.rule.slots() {
                let what = format!("optimizer state {path}.{slot}");
                let found = find(&format!("{path}.{slot}"));
                let found = found.ok_or_else(|| Error::Data(format!("{what} is missing")))?;
                slots.push(same_kind(&what, found, &param.get())?);
            }
            all.push(slots);
        }
        self.slots = all;
        self.step = step;
        Ok(())
    }
}

/// `found`, where `expected` lies, if it has its shape and type.
fn same_kind(what: &str, found: Tensor, expected: &Tensor) -> Result<Tensor> {
    if found.shape() == expected.shape() && found.dtype() == expected.dtype() {
        return match expected.device() {
            Some(device) => found.to_device(&device),
            None => Ok(found),
        };
    }
    Err(Error::Data(format!(
        "{what} is {} {}, expected {} {}",
        found.dtype(),
        found.shape(),
        expected.dtype(),
        expected.shape()
    )))
}
