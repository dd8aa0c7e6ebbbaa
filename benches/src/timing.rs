//! Samples of a call: how many, how long, and what is said of them.

use gradus::Result;
use std::time::Instant;

/// A sample is at least this long, so that the clock's own cost does not show.
const SAMPLE: f64 = 2e-3;

/// How long to measure.
#[derive(Clone, Copy)]
pub struct Protocol<'a> {
    /// Seconds of samples.
    pub budget: f64,
    /// Samples at least, whatever they take.
    pub samples: usize,
    /// Calls before the first sample, at least.
    pub warm_calls: usize,
    /// Seconds of calls before the first sample, at least.
    pub warm_up: f64,
    /// Asked between samples: whether to give up.
    pub stopped: &'a (dyn Fn() -> bool + Sync),
}

impl Protocol<'static> {
    /// At least three calls and 0.1 s before; at least seven samples, at most 400.
    pub fn thorough(budget: f64) -> Protocol<'static> {
        Protocol { budget, samples: 7, warm_calls: 3, warm_up: 0.1, stopped: &|| false }
    }

    /// One call before; at least one sample: for calls whose rate is wanted soon.
    pub fn brief(budget: f64) -> Protocol<'static> {
        Protocol { budget, samples: 1, warm_calls: 1, warm_up: 0.1 * budget, stopped: &|| false }
    }
}

/// Seconds of one call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Timing {
    /// The median over the samples.
    pub median: f64,
    /// The shortest sample.
    pub min: f64,
    /// From the first to the third quartile.
    pub iqr: f64,
    /// The number of samples.
    pub n: usize,
}

impl Timing {
    /// As fields of a line of JSON: `"median_s":…,"min_s":…,"iqr":…,"n":…`.
    pub fn fields(&self) -> String {
        let Timing { median, min, iqr, n } = self;
        format!("\"median_s\":{median:.6e},\"min_s\":{min:.6e},\"iqr\":{iqr:.3e},\"n\":{n}")
    }

    /// Of samples in seconds.
    ///
    /// # Panics
    /// If there are none.
    pub fn of(mut samples: Vec<f64>) -> Timing {
        samples.sort_by(f64::total_cmp);
        let quantile = |q: f64| {
            let x = q * (samples.len() - 1) as f64;
            let (low, part) = (x.floor() as usize, x.fract());
            samples[low] + part * (samples[(low + 1).min(samples.len() - 1)] - samples[low])
        };
        Timing {
            median: quantile(0.5),
            min: samples[0],
            iqr: quantile(0.75) - quantile(0.25),
            n: samples.len(),
        }
    }
}

/// Times `call`; `None` if it was stopped.
///
/// # Errors
/// Those of `call`.
pub fn time(protocol: &Protocol, mut call: impl FnMut() -> Result<()>) -> Result<Option<Timing>> {
    let (warm, mut calls, mut one) = (Instant::now(), 0, f64::INFINITY);
    while calls < protocol.warm_calls || warm.elapsed().as_secs_f64() < protocol.warm_up {
        let start = Instant::now();
        call()?;
        one = one.min(start.elapsed().as_secs_f64());
        calls += 1;
        if (protocol.stopped)() {
            return Ok(None);
        }
        if warm.elapsed().as_secs_f64() > 2.0 {
            break;
        }
    }
    let repetitions = (SAMPLE / one.max(1e-9)).ceil().clamp(1.0, 1e5) as u32;
    let (begin, mut samples) = (Instant::now(), Vec::new());
    while samples.len() < protocol.samples
        || (begin.elapsed().as_secs_f64() < protocol.budget && samples.len() < 400)
    {
        let start = Instant::now();
        for _ in 0..repetitions {
            call()?;
        }
        samples.push(start.elapsed().as_secs_f64() / f64::from(repetitions));
        if (protocol.stopped)() {
            return Ok(None);
        }
    }
    Ok(Some(Timing::of(samples)))
}

/// Runs `f` with `threads` threads for kernels to use.
///
/// # Panics
/// If the system gives no threads.
pub fn on_threads<T: Send>(threads: usize, f: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool of threads").install(f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_between_samples() {
        let t = Timing::of(vec![4.0, 1.0, 3.0, 2.0]);
        assert_eq!(t, Timing { median: 2.5, min: 1.0, iqr: 1.5, n: 4 });
    }

    #[test]
    fn a_call_is_repeated_and_can_be_stopped() {
        let mut calls = 0u32;
        let mut call = || {
            calls += 1;
            Ok(())
        };
        let t = time(&Protocol::brief(1e-3), &mut call).unwrap().unwrap();
        assert!(t.n >= 1 && t.min <= t.median);
        assert!(calls as usize > t.n);
        let stopped = Protocol { stopped: &|| true, ..Protocol::brief(1e-3) };
        assert_eq!(time(&stopped, || Ok(())).unwrap(), None);
    }
}
