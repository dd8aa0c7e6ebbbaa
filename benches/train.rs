//! The suites `train` and `elem` by the protocol that other engines are timed by. One JSON line for each workload.
//!
//! `cargo bench --bench train -- [--suite train|elem] [--threads N] [--budget SECONDS] [--only NAME,NAME] [--split]`
//!
//! `--split` adds where the time goes: building expressions, planning (replayed), and running kernels. With the
//! environment variables `PEER_PROC=NAME` and `PEER_STEPS=N` the process runs N steps of one workload and says when the first
//! was done: to measure the start, the whole time and the memory of a short training run from outside.

mod workloads;

use gradus::{Result, Rng, exec_stats};
use std::time::Instant;
use workloads::{Step, Workload, measure};

struct Options {
    suite: String,
    threads: usize,
    budget: f64,
    only: Option<String>,
    split: bool,
}

fn options() -> Options {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| args.iter().position(|a| a == name).and_then(|i| args.get(i + 1)).cloned();
    Options {
        suite: value("--suite").unwrap_or_else(|| String::from("train")),
        threads: value("--threads").and_then(|v| v.parse().ok()).unwrap_or(0),
        budget: value("--budget").and_then(|v| v.parse().ok()).unwrap_or(2.0),
        only: value("--only"),
        split: args.iter().any(|a| a == "--split"),
    }
}

/// Runs twenty more calls, and prints how their time is spent.
fn split(name: &str, step: &mut Step) -> Result<()> {
    let (before, start, n) = (exec_stats(), Instant::now(), 20);
    for _ in 0..n {
        step()?;
    }
    let (after, total) = (exec_stats(), start.elapsed());
    let planning = after.planning - before.planning;
    let running = after.running - before.running;
    let each = |t: std::time::Duration| t.as_secs_f64() * 1e6 / n as f64;
    let share = |t: std::time::Duration| 100.0 * t.as_secs_f64() / total.as_secs_f64();
    let building = total.saturating_sub(planning + running);
    println!(
        "# {name}: building {:.0} us ({:.2} %), planning {:.0} us ({:.2} %), running {:.0} us, {} kernels a step, {} plans made",
        each(building),
        share(building),
        each(planning),
        share(planning),
        each(running),
        (after.kernels_run - before.kernels_run) / n as u64,
        after.plans_made - before.plans_made,
    );
    Ok(())
}

fn report(workload: &Workload, o: &Options) -> Result<()> {
    let mut step = (workload.make)(&mut Rng::seed(0))?;
    let samples = measure(&mut step, o.budget)?;
    println!("{}", workload.json(gradus::kernels::par::threads(), &samples));
    if o.split {
        split(workload.name, &mut step)?;
    }
    Ok(())
}

fn main() -> Result<()> {
    let o = options();
    if o.threads > 0 {
        rayon::ThreadPoolBuilder::new().num_threads(o.threads).build_global().expect("the pool is made once");
    }
    let suite = if o.suite == "elem" { workloads::elem::suite() } else { workloads::train::suite() };
    if let Ok(name) = std::env::var("PEER_PROC") {
        let steps = std::env::var("PEER_STEPS").ok().and_then(|v| v.parse().ok()).unwrap_or(50);
        let workload = suite.iter().find(|w| w.name == name).expect("PEER_PROC names a workload");
        return run(workload, steps);
    }
    let wanted =
        |w: &&Workload| o.only.as_ref().is_none_or(|only| only.split(',').any(|part| w.name.contains(part)));
    suite.iter().filter(wanted).try_for_each(|workload| report(workload, &o))
}

/// A whole training process.
fn run(workload: &Workload, steps: usize) -> Result<()> {
    let mut step = (workload.make)(&mut Rng::seed(0))?;
    step()?;
    println!("FIRST_STEP");
    (1..steps).try_for_each(|_| step())?;
    println!("DONE");
    Ok(())
}
