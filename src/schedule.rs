//! Learning-rate schedules as pure functions of the step count: nothing to save, so a resumed run follows the same
//! rates.
//!
//! ```
//! use gradus::schedule::Schedule;
//! let rate = Schedule::Cosine { from: 1e-3, to: 0.0, steps: 1000 }.warm_up(100);
//! assert!(rate.at(0) < rate.at(50) && rate.at(99) == 1e-3 && rate.at(1100) == 0.0);
//! // In a loop: opt.set_lr(rate.at(opt.steps()));
//! ```

use std::f64::consts::PI;

/// A rate for every step, counted from 0.
#[derive(Clone, Debug, PartialEq)]
pub enum Schedule {
    /// The same rate always.
    Constant(f64),
    /// `from · factor^⌊step / every⌋`: a drop every so many steps.
    Step {
        /// The first rate.
        from: f64,
        /// Steps between drops; 0 means none.
        every: u64,
        /// What a drop multiplies by.
        factor: f64,
    },
    /// `from · factor^step`.
    Exponential {
        /// The first rate.
        from: f64,
        /// What each step multiplies by.
        factor: f64,
    },
    /// A straight line from `from` at step 0 to `to` at step `steps`, and `to` from there on.
    Linear {
        /// The first rate.
        from: f64,
        /// The last rate.
        to: f64,
        /// When it is reached.
        steps: u64,
    },
    /// Half a cosine wave, `to + (from - to) (1 + cos(π step / steps)) / 2`, and `to` from step `steps` on
    /// (Loshchilov & Hutter 2017, equation 5, without restarts).
    Cosine {
        /// The first rate.
        from: f64,
        /// The last rate.
        to: f64,
        /// When it is reached.
        steps: u64,
    },
    /// One schedule for a number of steps, then another, which counts from 0 again.
    Then {
        /// What comes first.
        first: Box<Schedule>,
        /// For how many steps.
        steps: u64,
        /// What follows.
        next: Box<Schedule>,
    },
    /// A schedule times a number: one schedule for several parameter groups.
    Scaled(f64, Box<Schedule>),
}

/// How far along `steps` the step is, from 0 to 1.
fn progress(step: u64, steps: u64) -> f64 {
    if step >= steps { 1.0 } else { step as f64 / steps as f64 }
}

impl Schedule {
    /// The rate of a step.
    pub fn at(&self, step: u64) -> f64 {
        match self {
            Schedule::Constant(rate) => *rate,
            Schedule::Step { from, every, factor } => {
                from * factor.powf(step.checked_div(*every).unwrap_or(0) as f64)
            }
            Schedule::Exponential { from, factor } => from * factor.powf(step as f64),
            Schedule::Linear { from, to, steps } => {
                let t = progress(step, *steps);
                from * (1.0 - t) + to * t
            }
            Schedule::Cosine { to, steps, .. } if step >= *steps => *to,
            Schedule::Cosine { from, to, steps } => {
                to + (from - to) * (1.0 + (PI * progress(step, *steps)).cos()) / 2.0
            }
            Schedule::Then { first, steps, .. } if step < *steps => first.at(step),
            Schedule::Then { steps, next, .. } => next.at(step - steps),
            Schedule::Scaled(factor, schedule) => factor * schedule.at(step),
        }
    }

    /// This schedule for `steps` steps, then `next` from its step 0.
    pub fn then(self, steps: u64, next: Schedule) -> Schedule {
        Schedule::Then { first: Box::new(self), steps, next: Box::new(next) }
    }

    /// A linear warm-up before this schedule: step `i` of `steps` has `(i + 1) / steps` of its first rate, so that
    /// no step is taken at rate 0 (Goyal et al. 2017, section 2.2).
    pub fn warm_up(self, steps: u64) -> Schedule {
        let top = self.at(0);
        let first = top / steps.max(1) as f64;
        Schedule::Linear { from: first, to: top, steps: steps.saturating_sub(1) }.then(steps, self)
    }

    /// This schedule with every rate multiplied by `factor`.
    pub fn scaled(self, factor: f64) -> Schedule {
        Schedule::Scaled(factor, Box::new(self))
    }
}
