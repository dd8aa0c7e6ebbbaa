//! What is seen while a model trains: a bar on a terminal, plain lines elsewhere.

use crate::output::{clock, note};
use gradus::train::Figures;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Time between plain lines within an epoch.
const INTERVAL: Duration = Duration::from_secs(15);
/// How much of a shown figure is that of the last step: single steps are noisy.
const FRESH: f64 = 0.05;

pub struct Progress {
    bar: Option<ProgressBar>,
    quiet: bool,
    first_step: u64,
    steps: u64,
    epochs: u64,
    start: Instant,
    last_line: Instant,
    smooth: Figures,
}

impl Progress {
    /// Begins at `first_step` of `steps`.
    pub fn new(first_step: u64, steps: u64, epochs: u64, quiet: bool) -> Progress {
        let bar = (!quiet && std::io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::with_draw_target(Some(steps), ProgressDrawTarget::stderr_with_hz(8));
            let style = ProgressStyle::with_template("{prefix} {bar:24} {pos}/{len} {msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_position(first_step);
            bar
        });
        let now = Instant::now();
        Progress { bar, quiet, first_step, steps, epochs, start: now, last_line: now, smooth: Vec::new() }
    }

    /// After a step of epoch `epoch`, counted from 1.
    pub fn step(&mut self, step: u64, epoch: u64, figures: &Figures) {
        if self.smooth.is_empty() {
            self.smooth.clone_from(figures);
        }
        for ((_, shown), (_, new)) in self.smooth.iter_mut().zip(figures) {
            *shown += FRESH * (new - *shown);
        }
        if let Some(bar) = &self.bar {
            bar.set_prefix(format!("epoch {epoch}/{}", self.epochs));
            bar.set_message(self.message(step));
            bar.set_position(step);
        } else if self.last_line.elapsed() >= INTERVAL {
            self.line(step, epoch, &[]);
        }
    }

    /// After the last step of an epoch, with what was measured then.
    pub fn epoch(&mut self, step: u64, epoch: u64, figures: &[(String, f64)]) {
        match &self.bar {
            Some(bar) if !figures.is_empty() => {
                bar.suspend(|| note(&format!("epoch {epoch}/{}  {}", self.epochs, list(figures))));
            }
            Some(_) => {}
            None => self.line(step, epoch, figures),
        }
    }

    fn line(&mut self, step: u64, epoch: u64, figures: &[(String, f64)]) {
        self.last_line = Instant::now();
        if !self.quiet {
            let (steps, epochs) = (self.steps, self.epochs);
            let told = format!("epoch {epoch}/{epochs}  step {step}/{steps}  {}", self.message(step));
            note(&beside(&told, figures));
        }
    }

    /// Rate, losses, time left.
    fn message(&self, step: u64) -> String {
        let seconds = self.start.elapsed().as_secs_f64();
        let rate = (step - self.first_step) as f64 / seconds.max(1e-9);
        let left = match self.steps - step {
            0 => String::new(),
            steps => format!("  {} left", clock(steps as f64 / rate.max(1e-9))),
        };
        format!("{rate:.1} steps/s  {}{left}", list(&self.smooth))
    }

    /// Takes the bar away, for what is printed next.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// `name value` for each figure; counts without decimals.
pub fn list(figures: &[(impl AsRef<str>, f64)]) -> String {
    let one = |(name, v): &(_, f64)| {
        let (name, decimals) = (AsRef::<str>::as_ref(name), if v.fract() == 0.0 { 0 } else { 4 });
        format!("{name} {v:.decimals$}")
    };
    figures.iter().map(one).collect::<Vec<_>>().join("  ")
}

/// What is told of steps, then what was measured after them: both can call a figure by one name.
pub fn beside(told: &str, measured: &[(String, f64)]) -> String {
    let both = [told.trim().to_string(), list(measured)];
    both.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("  |  ")
}

/// `1 epoch`, `2 epochs`.
pub fn epochs(count: u64) -> String {
    format!("{count} epoch{}", if count == 1 { "" } else { "s" })
}
