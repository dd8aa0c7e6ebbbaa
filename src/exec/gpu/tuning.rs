//! What was measured on a device of the choices that its kernels have, and the measuring.

use super::context::Context;
use super::dispatch::Limits;
use super::kernels::choice::{Choice, Class};
use crate::error::{Error, Result};
use crate::exec::kernel_times;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A table of the tiles and workgroups that kernels use on a device, by kernel and size.
///
/// Kernels that it has no entry for choose by their shape and the device's limits. A choice never changes what is
/// computed; other parts of k, depths and workgroups add in another order, so that sums differ by rounding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tuning {
    choices: BTreeMap<Class, Choice>,
}

impl Tuning {
    /// Sets the choice for a class of kernels, both in the words that [`Tuning::entries`] gives them in:
    /// `gemm 128x256x1024x1` and `64x64 in 4`.
    ///
    /// # Errors
    /// [`Error::Data`] for a kernel that has no choice, or a choice that is not one of its.
    pub fn set(&mut self, class: &str, choice: &str) -> Result<()> {
        let (class, choice) = (class.parse().map_err(Error::Data)?, choice.parse().map_err(Error::Data)?);
        if !Class::takes(&class, choice) {
            return Err(Error::Data(format!("{choice} is not a choice of {class}")));
        }
        self.choices.insert(class, choice);
        Ok(())
    }

    /// What it holds, in order: classes and their choices.
    pub fn entries(&self) -> impl Iterator<Item = (String, String)> {
        self.choices.iter().map(|(class, choice)| (class.to_string(), choice.to_string()))
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.choices.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.choices.is_empty()
    }

    pub(super) fn of(&self, class: &Class) -> Option<Choice> {
        self.choices.get(class).copied()
    }
}

/// What was measured of a class of kernels. See [`Device::tune`](crate::Device::tune).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tuned {
    /// Kernel and sizes.
    pub class: String,
    /// What the kernels took without an entry, all of the class in one run of the work together.
    pub untuned: Duration,
    /// Each listed choice and what they took with it, in the order of the list.
    pub choices: Vec<(String, Duration)>,
    /// The choice that was entered: the fastest, where it is worth it.
    pub chosen: Option<String>,
}

/// What a choice must save, in percent, to be entered: less is within the noise of measuring.
const WORTH: u32 = 5;

/// A class with what its kernels took under each choice.
struct Candidates {
    choices: Vec<Choice>,
    untuned: Duration,
    times: Vec<Duration>,
}

/// See [`Device::tune`](crate::Device::tune).
pub(crate) fn tune(
    context: &Arc<Context>,
    runs: usize,
    mut work: impl FnMut() -> Result<()>,
) -> Result<Vec<Tuned>> {
    let before = context.tuning();
    let found = measure(context, &before, runs.max(1), &mut work);
    context.set_tuning(before.clone());
    let (mut tuned, mut table) = (Vec::new(), before);
    for (class, Candidates { choices, untuned, times }) in found? {
        let best = choices.iter().zip(&times).min_by_key(|(_, time)| **time);
        let chosen =
            best.filter(|(_, time)| **time * 100 < untuned * (100 - WORTH)).map(|(choice, _)| *choice);
        match chosen {
            Some(choice) => table.choices.insert(class, choice),
            None => table.choices.remove(&class),
        };
        tuned.push(Tuned {
            class: class.to_string(),
            untuned,
            choices: choices.iter().map(Choice::to_string).zip(times).collect(),
            chosen: chosen.map(|choice| choice.to_string()),
        });
    }
    context.set_tuning(table);
    Ok(tuned)
}

/// Runs `work` without entries for the classes it meets, and then with each listed choice in turn, of all classes at once.
fn measure(
    context: &Context,
    before: &Tuning,
    runs: usize,
    work: &mut impl FnMut() -> Result<()>,
) -> Result<BTreeMap<Class, Candidates>> {
    let mut trial = before.clone();
    let mut found = classes(times(runs, work)?, &context.limits);
    // With entries from before the first run told the classes, and not what they take without them.
    if found.keys().any(|class| trial.choices.remove(class).is_some()) {
        context.set_tuning(trial.clone());
        found = classes(times(runs, work)?, &context.limits);
    }
    let rounds = found.values().map(|candidates| candidates.choices.len()).max().unwrap_or(0);
    for round in 0..rounds {
        for (class, candidates) in &found {
            // Those with fewer choices than others stay at their last one meanwhile.
            trial.choices.insert(*class, candidates.choices[round.min(candidates.choices.len() - 1)]);
        }
        context.set_tuning(trial.clone());
        for (class, time) in times(runs, work)? {
            if let Some(candidates) = found.get_mut(&class).filter(|c| c.times.len() < c.choices.len()) {
                candidates.times.push(time);
            }
        }
    }
    Ok(found)
}

fn classes(times: BTreeMap<Class, Duration>, limits: &Limits) -> BTreeMap<Class, Candidates> {
    let candidates = |(class, untuned): (Class, Duration)| {
        (class, Candidates { choices: class.choices(limits), untuned, times: Vec::new() })
    };
    times.into_iter().map(candidates).collect()
}

/// The shortest time of all kernels of each class in one run of `work`, over `runs` after one that compiles.
fn times(runs: usize, work: &mut impl FnMut() -> Result<()>) -> Result<BTreeMap<Class, Duration>> {
    work()?;
    let mut least: BTreeMap<Class, Duration> = BTreeMap::new();
    for _ in 0..runs {
        let (done, kernels) = kernel_times(&mut *work);
        done?;
        let mut sums: BTreeMap<Class, Duration> = BTreeMap::new();
        for kernel in kernels {
            if let Some(class) = kernel.class.and_then(|text| text.parse().ok()) {
                *sums.entry(class).or_default() += kernel.time;
            }
        }
        for (class, sum) in sums {
            least.entry(class).and_modify(|known| *known = sum.min(*known)).or_insert(sum);
        }
    }
    Ok(least)
}
