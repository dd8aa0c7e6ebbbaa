//! What is timed beside other engines, and how: every case of the suites `train` and `elem`, the protocol of one
//! measurement, and the JSON line it ends in. Included by every program that runs them.

pub mod elem;
pub mod gan;
pub mod train;

use gradus::{Result, Rng};
use std::time::{Duration, Instant};

/// One call of a workload: a training step, or one operation with its result.
pub type Step = Box<dyn FnMut() -> Result<()>>;

/// A workload of a suite, not made yet.
pub struct Workload {
    pub suite: &'static str,
    pub name: &'static str,
    /// Multiply-adds of products and convolutions times two; for the suite `elem` the number of elements.
    pub flops: f64,
    /// Bytes that must be read and written; 0 where they are not counted.
    pub bytes: f64,
    /// Makes inputs and parameters.
    pub make: fn(&mut Rng) -> Result<Step>,
}

/// Times of one call in seconds, ascending.
pub struct Samples(Vec<f64>);

impl Samples {
    /// The time below which the fraction `q` of the samples lies.
    pub fn quantile(&self, q: f64) -> f64 {
        let at = (self.0.len() - 1) as f64 * q;
        let (low, high) = (self.0[at as usize], self.0[(at.ceil()) as usize]);
        low + (high - low) * at.fract()
    }
}

/// At least three calls and 0.1 s to warm up, then samples of at least 2 ms for `budget` seconds, 7 to 400 of them.
pub fn measure(step: &mut Step, budget: f64) -> Result<Samples> {
    let warm = Instant::now();
    let (mut calls, mut one) = (0, Duration::MAX);
    while calls < 3 || (warm.elapsed().as_secs_f64() < 0.1 && calls < 1000) {
        let start = Instant::now();
        step()?;
        one = one.min(start.elapsed());
        calls += 1;
    }
    let reps = (2e-3 / one.as_secs_f64()).ceil().max(1.0) as usize;
    let (begin, mut samples) = (Instant::now(), Vec::new());
    while samples.len() < 7 || (begin.elapsed().as_secs_f64() < budget && samples.len() < 400) {
        let start = Instant::now();
        for _ in 0..reps {
            step()?;
        }
        samples.push(start.elapsed().as_secs_f64() / reps as f64);
    }
    samples.sort_by(f64::total_cmp);
    Ok(Samples(samples))
}

impl Workload {
    /// The line that says how it went.
    pub fn json(&self, threads: usize, samples: &Samples) -> String {
        let (median, rate) = (samples.quantile(0.5), |work: f64| work / samples.quantile(0.5) / 1e9);
        let bytes = match self.bytes > 0.0 {
            true => format!(", \"gbps\": {:.3}", rate(self.bytes)),
            false => String::new(),
        };
        format!(
            "{{\"suite\": \"{}\", \"name\": \"{}\", \"impl\": \"gradus\", \"threads\": {threads}, \
             \"median_s\": {median:.9}, \"min_s\": {:.9}, \"iqr\": {:.9}, \"n\": {}, \"flops\": {}, \
             \"gflops\": {:.3}{bytes}}}",
            self.suite,
            self.name,
            samples.0[0],
            samples.quantile(0.75) - samples.quantile(0.25),
            samples.0.len(),
            self.flops,
            rate(self.flops),
        )
    }
}
