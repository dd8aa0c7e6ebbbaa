//! What a step costs the host beside a device: building the expressions, finding the plan, recording and submitting.

use gradus::{Device, Result, exec_stats};
use std::time::{Duration, Instant};

/// What one step costs, on average over many.
#[derive(Clone, Copy, Debug)]
pub struct Host {
    /// Seconds from one step to the next.
    pub step: f64,
    /// Seconds of the calling thread's processor. Where the system does not say: of its time, less what it waited for the
    /// device.
    pub busy: f64,
    /// Seconds that it waited for the device.
    pub waited: f64,
    /// Seconds in which graphs were walked and their plans found.
    pub planning: f64,
    /// Seconds in which plans were recorded.
    pub recording: f64,
    /// Command buffers submitted.
    pub submissions: f64,
    /// Kernels dispatched.
    pub dispatches: f64,
    /// Bind groups made: none, once a step uses the buffers of an earlier one.
    pub bind_groups: f64,
}

impl Host {
    /// One line of JSON about the step `name`, with further figures behind.
    pub fn json(&self, name: &str, further: &[(&str, f64)]) -> String {
        let Host { step, busy, waited, planning, recording, submissions, dispatches, bind_groups } = self;
        let mut line = format!(
            "{{\"suite\":\"train\",\"name\":\"{name}\",\"impl\":\"gradus-gpu\",\"step_s\":{step:.6e},\
             \"host_s\":{busy:.6e},\"planning_s\":{planning:.6e},\"recording_s\":{recording:.6e},\"waited_s\":{waited:.6e},\
             \"submissions\":{submissions:.2},\"dispatches\":{dispatches:.1},\"bind_groups\":{bind_groups:.2}"
        );
        for (name, figure) in further {
            line.push_str(&format!(",\"{name}\":{figure:.6e}"));
        }
        line + "}"
    }
}

/// The time that the calling thread has run on a processor, where the system can tell.
fn thread_time() -> Option<Duration> {
    #[cfg(unix)]
    {
        let t = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Some(Duration::new(t.tv_sec as u64, t.tv_nsec as u32))
    }
    #[cfg(not(unix))]
    None
}

/// Steps before those that are measured.
const WARM: u32 = 5;

/// Runs `step` a few times, so that plans, pipelines and buffers are there, and then `steps` times; what those cost.
///
/// # Errors
/// Those of `step`.
pub fn cost(device: &Device, steps: u32, mut step: impl FnMut() -> Result<()>) -> Result<Host> {
    for _ in 0..WARM {
        step()?;
    }
    let stats = || device.stats().unwrap_or_default();
    let (before, executed) = (stats(), exec_stats());
    let (ran, start) = (thread_time(), Instant::now());
    for _ in 0..steps {
        step()?;
    }
    let (total, ran_now, after) = (start.elapsed(), thread_time(), stats());
    let executed_now = exec_stats();
    let waited = after.waited - before.waited;
    let busy = match (ran, ran_now) {
        (Some(from), Some(to)) => to - from,
        _ => total.saturating_sub(waited),
    };
    let each = |whole: f64| whole / f64::from(steps);
    Ok(Host {
        step: each(total.as_secs_f64()),
        busy: each(busy.as_secs_f64()),
        waited: each(waited.as_secs_f64()),
        planning: each((executed_now.planning - executed.planning).as_secs_f64()),
        recording: each((executed_now.running - executed.running).as_secs_f64()),
        submissions: each((after.submissions - before.submissions) as f64),
        dispatches: each((after.dispatches - before.dispatches) as f64),
        bind_groups: each((after.bind_groups - before.bind_groups) as f64),
    })
}
