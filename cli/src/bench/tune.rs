//! `--tune`: which tiles and workgroups serve a GPU best, measured and kept.

use super::Bench;
use super::gpu::{asked, wanted};
use crate::output::say;
use crate::signals::Signals;
use crate::tuning;
use anyhow::{Result, bail};
use gradus::{Device, Tuned};
use gradus_bench::suites::Work;
use serde_json::json;
use std::time::Instant;

/// Seconds of runs for each choice, about, and their number at most.
const BUDGET: f64 = 0.1;
const MOST: f64 = 5.0;

/// Tunes the kernels of the calls that the flags name, and writes the table after each of them.
pub fn run(gpu: &Device, args: &Bench, signals: &Signals) -> Result<()> {
    let work: Vec<Work> = asked(args).into_iter().flat_map(|name| wanted(name, args)).collect();
    if work.is_empty() {
        bail!("--filter {:?}: nothing has this in its name; without it, everything is tuned", args.filter);
    }
    let stopped = || signals.received().is_some();
    let mut path = None;
    for w in &work {
        let before = gpu.tuning();
        let tuned = gpu.scope(|| {
            let mut call = w.call();
            call()?;
            let start = Instant::now();
            call()?;
            gpu.synchronize()?;
            let runs = args.budget.unwrap_or(BUDGET) / start.elapsed().as_secs_f64().max(1e-9);
            gpu.tune(runs.clamp(1.0, MOST) as usize, || if stopped() { Ok(()) } else { call() })
        })?;
        if stopped() {
            // Cut short in the middle: what was not measured cannot be told from what took no time.
            gpu.set_tuning(before);
            return Ok(());
        }
        if !args.json && !tuned.is_empty() {
            say(&format!("\n{}", w.name));
        }
        tuned.iter().for_each(|t| show(w, t, args.json));
        if !tuned.is_empty() {
            path = Some(tuning::save(gpu)?);
        }
    }
    match path {
        Some(path) if !args.json => {
            say(&format!("\n{} choices in {}", gpu.tuning().len(), path.display()));
        }
        Some(_) => {}
        None => bail!("none of these kernels has a choice: products, convolutions and reductions have"),
    }
    Ok(())
}

/// One class of kernels.
fn show(work: &Work, tuned: &Tuned, json: bool) {
    let Tuned { class, untuned, choices, chosen } = tuned;
    if json {
        let times: serde_json::Map<String, serde_json::Value> =
            choices.iter().map(|(choice, time)| (choice.clone(), json!(time.as_secs_f64()))).collect();
        say(&json!({
            "suite": "tune", "name": class, "work": work.name, "untuned_s": untuned.as_secs_f64(),
            "choices_s": times, "chosen": chosen,
        })
        .to_string());
        return;
    }
    let ms = |time: &std::time::Duration| time.as_secs_f64() * 1e3;
    let best = choices.iter().min_by_key(|(_, time)| *time);
    let best = best.map_or(String::new(), |(choice, time)| format!("{choice}: {:.3} ms", ms(time)));
    let end = if chosen.is_some() { "" } else { "  (not worth a choice)" };
    say(&format!("  {class:<36} untuned: {:9.3} ms   {best}{end}", ms(untuned)));
}
