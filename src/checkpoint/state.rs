//! What training keeps, in and out of checkpoints: modules, optimizers, averages, generators, positions.

use super::Checkpoint;
use super::header::quoted;
use crate::data::LoaderState;
use crate::error::{Error, Result};
use crate::nn::Module;
use crate::optim::{Ema, Optimizer, Rule};
use crate::rng::Rng;
use crate::tensor::Tensor;
use std::fmt::Display;
use std::str::FromStr;

/// More faults than this are counted, not listed.
const MAX_LISTED: usize = 8;

fn join(prefix: &str, path: &str) -> String {
    match (prefix, path) {
        ("", _) => path.into(),
        (_, "") => prefix.into(),
        _ => format!("{prefix}.{path}"),
    }
}

/// Many faults as one error.
fn report(what: &str, faults: Vec<String>) -> Result<()> {
    if faults.is_empty() {
        return Ok(());
    }
    let more = match faults.len().saturating_sub(MAX_LISTED) {
        0 => String::new(),
        n => format!("; and {n} more"),
    };
    let listed = faults[..faults.len().min(MAX_LISTED)].join("; ");
    Err(Error::Data(format!("the checkpoint does not fit {what}: {listed}{more}")))
}

impl Checkpoint {
    fn insert(&mut self, name: String, tensor: Tensor) -> Result<()> {
        if self.tensors.contains_key(&name) {
            return Err(Error::Data(format!("the checkpoint has a tensor {} already", quoted(&name))));
        }
        self.tensors.insert(name, tensor);
        Ok(())
    }

    /// The tensors of one owner, by name: those under `prefix.`, or all if it is empty.
    fn under(&self, prefix: &str) -> impl Iterator<Item = &str> {
        let start = if prefix.is_empty() { String::new() } else { format!("{prefix}.") };
        let within = move |name: &&str| prefix.is_empty() || name.starts_with(&start) || *name == prefix;
        self.tensors.keys().map(String::as_str).filter(within)
    }

    /// Compares what an owner under `prefix` expects with what is here; all differences make one error.
    fn compare(&self, what: &str, prefix: &str, expected: &[(String, Tensor)]) -> Result<()> {
        let mut faults = Vec::new();
        for (name, like) in expected {
            match self.tensors.get(name) {
                None => faults.push(format!("{} is missing", quoted(name))),
                Some(t) if t.shape() != like.shape() || t.dtype() != like.dtype() => faults.push(format!(
                    "{} is {} {}, expected {} {}",
                    quoted(name),
                    t.dtype(),
                    t.shape(),
                    like.dtype(),
                    like.shape()
                )),
                Some(_) => {}
            }
        }
        let known: std::collections::BTreeSet<&str> =
            expected.iter().map(|(name, _)| name.as_str()).collect();
        let strange = self.under(prefix).filter(|name| !known.contains(name));
        faults.extend(strange.map(|name| format!("{} is unexpected", quoted(name))));
        report(what, faults)
    }

    /// Adds the parameters and buffers of a module under `prefix.`; with an empty prefix under PyTorch's own names,
    /// which makes a file its `load_state_dict` takes.
    ///
    /// # Errors
    /// [`Error::Data`] naming a tensor that is here already.
    pub fn put_module(&mut self, prefix: &str, module: &impl Module) -> Result<()> {
        module.state().into_iter().try_for_each(|(path, param)| self.insert(join(prefix, &path), param.get()))
    }

    /// Gives a module the tensors under `prefix.` (with an empty prefix, all).
    ///
    /// # Errors
    /// [`Error::Data`] naming what is missing, unexpected, or of another shape or type. Nothing has changed then.
    pub fn load_module(&self, prefix: &str, module: &impl Module) -> Result<()> {
        let state = module.state();
        let expected: Vec<_> = state.iter().map(|(path, p)| (join(prefix, path), p.get())).collect();
        self.compare("the module", prefix, &expected)?;
        let moved = |(name, old): &(String, Tensor)| match old.device() {
            Some(device) => self.tensors[name].to_device(&device),
            None => Ok(self.tensors[name].clone()),
        };
        let loaded = expected.iter().map(moved).collect::<Result<Vec<_>>>()?;
        state.iter().zip(loaded).for_each(|((_, param), tensor)| param.set(tensor));
        Ok(())
    }

    /// Adds the positions of a module's own random generators (dropout), which a resumed run needs.
    pub fn put_rngs(&mut self, prefix: &str, module: &impl Module) {
        for (path, cell) in module.rngs() {
            cell.with(|rng| self.put_rng(&join(prefix, &path), rng));
        }
    }

    /// Sets a module's own random generators.
    ///
    /// # Errors
    /// [`Error::Data`] naming one that is missing or malformed. Nothing has changed then.
    pub fn load_rngs(&self, prefix: &str, module: &impl Module) -> Result<()> {
        let cells = module.rngs();
        let read: Result<Vec<Rng>> = cells.iter().map(|(path, _)| self.rng(&join(prefix, path))).collect();
        for ((_, cell), rng) in cells.iter().zip(read?) {
            cell.with(|old| *old = rng);
        }
        Ok(())
    }

    /// Adds a random generator.
    pub fn put_rng(&mut self, name: &str, rng: &Rng) {
        let [seed, draw] = rng.state();
        self.put(&format!("rng:{name}"), format_args!("{seed} {draw}"));
    }

    /// A random generator as it was saved.
    ///
    /// # Errors
    /// [`Error::Data`] when it is missing or malformed.
    pub fn rng(&self, name: &str) -> Result<Rng> {
        self.pair(&format!("rng:{name}")).map(Rng::from_state)
    }

    /// Adds a loader's position.
    pub fn put_loader(&mut self, name: &str, state: LoaderState) {
        self.put(&format!("loader:{name}"), format_args!("{} {}", state.epoch, state.position));
    }

    /// A loader's position, for [`Loader::resume`](crate::data::Loader::resume).
    ///
    /// # Errors
    /// [`Error::Data`] when it is missing or malformed.
    pub fn loader(&self, name: &str) -> Result<LoaderState> {
        let key = format!("loader:{name}");
        let [epoch, position] = self.pair(&key)?;
        match usize::try_from(position) {
            Ok(position) => Ok(LoaderState { epoch, position }),
            Err(_) => Err(Error::Data(format!("the checkpoint's {} is too large", quoted(&key)))),
        }
    }

    /// Adds an optimizer's slots under `prefix.`, its step count and its rate.
    ///
    /// # Errors
    /// [`Error::Data`] naming a tensor that is here already.
    pub fn put_optimizer<R: Rule>(&mut self, prefix: &str, optimizer: &Optimizer<R>) -> Result<()> {
        let (step, slots) = optimizer.state();
        self.put(&format!("step:{prefix}"), step);
        self.put(&format!("lr:{prefix}"), format_args!("{:?}", optimizer.lr()));
        slots.into_iter().try_for_each(|(path, slot)| self.insert(join(prefix, &path), slot))
    }

    /// Gives an optimizer its slots, step count and rate.
    ///
    /// # Errors
    /// [`Error::Data`] naming what is missing, unexpected, malformed, or of another shape or type. Nothing has
    /// changed then.
    pub fn load_optimizer<R: Rule>(&self, prefix: &str, optimizer: &mut Optimizer<R>) -> Result<()> {
        let (step, lr) = (self.get(&format!("step:{prefix}"))?, self.get(&format!("lr:{prefix}"))?);
        let slots = optimizer.state().1;
        let expected: Vec<_> = slots.into_iter().map(|(path, slot)| (join(prefix, &path), slot)).collect();
        self.compare("the optimizer", prefix, &expected)?;
        optimizer.load_state(step, |path| self.tensors.get(&join(prefix, path)).cloned())?;
        optimizer.set_lr(lr);
        Ok(())
    }

    /// Adds averages of weights under `prefix.`.
    ///
    /// # Errors
    /// [`Error::Data`] naming a tensor that is here already.
    pub fn put_ema(&mut self, prefix: &str, ema: &Ema) -> Result<()> {
        self.put(&format!("updates:{prefix}"), ema.updates());
        ema.values().try_for_each(|(path, average)| self.insert(join(prefix, path), average.clone()))
    }

    /// Gives averages of weights their values.
    ///
    /// # Errors
    /// As [`load_optimizer`](Checkpoint::load_optimizer).
    pub fn load_ema(&self, prefix: &str, ema: &mut Ema) -> Result<()> {
        let updates = self.get(&format!("updates:{prefix}"))?;
        let expected: Vec<_> = ema.values().map(|(path, t)| (join(prefix, path), t.clone())).collect();
        self.compare("the averages", prefix, &expected)?;
        ema.load_state(updates, |path| self.tensors.get(&join(prefix, path)).cloned())
    }

    /// Adds a value to the metadata. An f64 comes back exactly if it is written with `{:?}`.
    pub fn put(&mut self, key: &str, value: impl Display) {
        self.metadata.insert(key.into(), value.to_string());
    }

    /// A value of the metadata.
    ///
    /// # Errors
    /// [`Error::Data`] when it is missing or not a `T`.
    pub fn get<T: FromStr>(&self, key: &str) -> Result<T> {
        let text = self.metadata.get(key);
        let text = text.ok_or_else(|| Error::Data(format!("the checkpoint has no {}", quoted(key))))?;
        text.parse().map_err(|_| {
            let kind = std::any::type_name::<T>();
            Error::Data(format!("the checkpoint's {} is {}, not a {kind}", quoted(key), quoted(text)))
        })
    }

    fn pair(&self, key: &str) -> Result<[u64; 2]> {
        let text: String = self.get(key)?;
        let numbers = text.split_once(' ').map(|(a, b)| (a.parse(), b.parse()));
        match numbers {
            Some((Ok(a), Ok(b))) => Ok([a, b]),
            _ => Err(Error::Data(format!(
                "the checkpoint's {} is {}, not two numbers",
                quoted(key),
                quoted(&text)
            ))),
        }
    }
}
