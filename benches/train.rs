//! Whole training steps, one JSON line each.
//!
//! `cargo bench --bench train -- [--threads N] [--budget SECONDS] [--only NAME] [--split]`
//!
//! `--split` adds where the time goes: building expressions, planning (replayed), and running kernels. With the feature
//! `gpu` and `--device gpu` a step's cost to the host is all that is measured.

use gradus::{Device, Result, Rng, exec_stats};
use gradus_bench::host;
use gradus_bench::steps::{NARROW, WORKLOADS};
use gradus_bench::suites;
use gradus_bench::timing::{Protocol, on_threads};
use std::time::{Duration, Instant};

/// Steps taken to see where the time goes.
const STEPS: u32 = 20;

/// Prints how a workload's step is divided.
fn split(name: &str) -> Result<()> {
    let Some(workload) = WORKLOADS.iter().find(|w| w.name == name) else { return Ok(()) };
    let mut step = (workload.build)(&mut Rng::seed(0));
    for _ in 0..3 {
        step()?;
    }
    let (before, start) = (exec_stats(), Instant::now());
    for _ in 0..STEPS {
        step()?;
    }
    let (after, total) = (exec_stats(), start.elapsed());
    let (planning, running) = (after.planning - before.planning, after.running - before.running);
    let building = total.saturating_sub(planning + running);
    let each = |t: Duration| t.as_secs_f64() * 1e6 / f64::from(STEPS);
    let share = |t: Duration| 100.0 * t.as_secs_f64() / total.as_secs_f64();
    println!(
        "# {name}: building {:.0} us ({:.2} %), planning {:.0} us ({:.2} %), running {:.0} us, {} kernels a step, \
         {} plans made",
        each(building),
        share(building),
        each(planning),
        share(planning),
        each(running),
        (after.kernels_run - before.kernels_run) / u64::from(STEPS),
        after.plans_made - before.plans_made,
    );
    Ok(())
}

/// Prints what the steps of a GPU cost the host: `host_s` is all of it, of the thread's processor, `planning_s` and
/// `recording_s` are parts. The rest builds expressions, submits, reads, and tidies up what is done.
fn on_gpu(only: Option<&String>, steps: u32) -> Result<()> {
    let gpu = Device::gpu()?;
    for workload in WORKLOADS.iter().chain([&NARROW]).filter(|w| only.is_none_or(|only| *only == w.name)) {
        let cost = gpu.scope(|| host::cost(&gpu, steps, (workload.build)(&mut Rng::seed(0))))?;
        println!("{}", cost.json(workload.name, &[]));
    }
    Ok(())
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| args.iter().position(|a| a == name).and_then(|i| args.get(i + 1));
    let number = |name: &str| value(name).and_then(|v| v.parse::<f64>().ok());
    if value("--device").is_some_and(|device| device == "gpu") {
        return on_gpu(value("--only"), number("--steps").unwrap_or(50.0) as u32);
    }
    let threads = number("--threads").map_or(gradus::kernels::par::threads(), |n| n as usize);
    let protocol = Protocol::thorough(number("--budget").unwrap_or(2.0));
    for work in suites::suite("train") {
        if value("--only").is_some_and(|only| *only != work.name) {
            continue;
        }
        if let Some(timing) = work.measure(threads, &protocol)? {
            println!("{}", work.json("gradus", threads, &timing));
        }
        if args.iter().any(|a| a == "--split") {
            on_threads(threads, || split(&work.name))?;
        }
    }
    Ok(())
}
