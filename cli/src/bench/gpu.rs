//! The calls of the suites on a GPU, and what whole steps cost the host.

use super::table::Table;
use super::{Bench, Kernel, Suite};
use crate::output::say;
use crate::signals::Signals;
use anyhow::{Result, bail};
use gradus::{Device, Rng};
use gradus_bench::host::{Host, cost};
use gradus_bench::steps::{NARROW, WORKLOADS};
use gradus_bench::suites::{Work, suite};
use gradus_bench::timing::{Protocol, Timing, time};
use std::time::Instant;

/// Seconds of calls from one wait for the device to the next, about, and their number at most.
const BATCH: f64 = 0.02;
const MOST: f64 = 64.0;

/// Steps that a figure of the host is an average over.
const STEPS: u32 = 50;
const QUICK_STEPS: u32 = 5;

/// Times what the flags name on the best adapter.
pub fn run(args: &Bench, signals: &Signals) -> Result<()> {
    let gpu = Device::gpu()?;
    if !args.json {
        say(&gpu.to_string());
    }
    let mut found = false;
    for name in asked(args) {
        found |= match name {
            "train" => steps(&gpu, args, signals)?,
            name => calls(&gpu, name, args, signals)?,
        };
        if signals.received().is_some() {
            return Ok(());
        }
    }
    if !found {
        bail!("--filter {:?}: nothing has this in its name; without it, everything is shown", args.filter);
    }
    Ok(())
}

/// The suites that the flags name: kernels are those that the calls of a suite run.
fn asked(args: &Bench) -> Vec<&'static str> {
    let kernel = |kernels: &[Kernel]| {
        args.suite.is_empty() && args.kernel.iter().any(|k| *k == Kernel::All || kernels.contains(k))
    };
    let all = [
        ("gemm", Suite::Gemm, &[Kernel::Gemm][..]),
        ("conv", Suite::Conv, &[Kernel::Conv]),
        ("elem", Suite::Elem, &[Kernel::Map, Kernel::Reduce]),
        ("train", Suite::Train, &[Kernel::Step]),
    ];
    let wanted = |(_, suite, kernels): &&(&'static str, Suite, &[Kernel])| {
        args.suite.contains(suite) || kernel(kernels)
    };
    all.iter().filter(wanted).map(|(name, ..)| *name).collect()
}

/// Whether a call belongs to the few that give a first impression.
fn is_quick(work: &Work) -> bool {
    match work.suite {
        "gemm" => ["NN_256x256x256", "NN_512x512x512", "NN_1024x1024x1024"].contains(&work.name.as_str()),
        "conv" => work.name.ends_with("d3_128-256_k4s2_16"),
        _ => ["add_16M", "tanh_16M", "sum_all_16M", "sum_axis0_4096x4096"].contains(&work.name.as_str()),
    }
}

/// Seconds of one call among several.
fn measure(gpu: &Device, work: &Work, protocol: &Protocol) -> gradus::Result<Option<Timing>> {
    let mut call = work.call();
    // The first compiles.
    call()?;
    gpu.synchronize()?;
    let start = Instant::now();
    call()?;
    gpu.synchronize()?;
    let calls = (BATCH / start.elapsed().as_secs_f64().max(1e-9)).clamp(1.0, MOST) as u32;
    let several = || {
        (0..calls).try_for_each(|_| call())?;
        gpu.synchronize()
    };
    let whole = time(protocol, several)?;
    let each = |seconds: f64| seconds / f64::from(calls);
    Ok(whole.map(|t| Timing { median: each(t.median), min: each(t.min), iqr: each(t.iqr), n: t.n }))
}

/// Times the calls of a suite; whether there are any.
fn calls(gpu: &Device, name: &str, args: &Bench, signals: &Signals) -> Result<bool> {
    let stopped = || signals.received().is_some();
    let protocol = Protocol { stopped: &stopped, ..Protocol::brief(args.budget.unwrap_or(0.3)) };
    let wanted = |w: &Work| w.name.contains(&args.filter) && (!args.quick || is_quick(w));
    let work: Vec<Work> = suite(name).into_iter().filter(wanted).collect();
    let headings = ["median ms", "best ms", "rate"];
    let table = (!args.json && !work.is_empty()).then(|| {
        let unit = if name == "elem" { "GB/s" } else { "GFLOP/s" };
        Table::new(name, unit, work.iter().map(|w| w.name.len()), &headings.map(|h| (h.to_string(), false)))
    });
    for w in &work {
        table.iter().for_each(|t| t.name(&w.name));
        if let Some(t) = gpu.scope(|| measure(gpu, w, &protocol))? {
            let amount = if w.bytes > 0.0 { w.bytes } else { w.flops };
            match &table {
                Some(table) => {
                    let figures = [t.median * 1e3, t.min * 1e3, amount / t.median / 1e9];
                    headings.iter().zip(figures).for_each(|(heading, x)| table.rate(heading, x));
                }
                None => say(&w.json("gradus-gpu", 1, &t)),
            }
        }
        table.iter().for_each(Table::end);
        if stopped() {
            break;
        }
    }
    Ok(!work.is_empty())
}

/// Times whole steps; whether there are any.
fn steps(gpu: &Device, args: &Bench, signals: &Signals) -> Result<bool> {
    let small = |name: &str| !args.quick || !name.starts_with("dcgan");
    let wanted: Vec<_> = WORKLOADS
        .iter()
        .chain([&NARROW])
        .filter(|w| w.name.contains(&args.filter) && small(w.name))
        .collect();
    let headings = ["ms per step", "host ms per step", "submissions", "kernels"];
    let table = (!args.json && !wanted.is_empty()).then(|| {
        let names = wanted.iter().map(|w| w.name.len());
        Table::new("step", "", names, &headings.map(|h| (h.to_string(), false)))
    });
    let count = if args.quick { QUICK_STEPS } else { STEPS };
    for w in &wanted {
        table.iter().for_each(|t| t.name(w.name));
        let Host { step, busy, submissions, dispatches, .. } = gpu.scope(|| {
            let mut step = (w.build)(&mut Rng::seed(0));
            cost(gpu, count, || if signals.received().is_some() { Ok(()) } else { step() })
        })?;
        if signals.received().is_some() {
            table.iter().for_each(Table::end);
            break;
        }
        let figures = [step * 1e3, busy * 1e3, submissions, dispatches];
        match &table {
            Some(table) => {
                headings.iter().zip(figures).for_each(|(heading, x)| table.rate(heading, x));
                table.end();
            }
            None => say(&format!(
                "{{\"suite\":\"train\",\"name\":\"{}\",\"impl\":\"gradus-gpu\",\"step_s\":{step:.6e},\
                 \"host_s\":{busy:.6e},\"submissions\":{submissions:.2},\"kernels\":{dispatches:.1}}}",
                w.name
            )),
        }
    }
    Ok(!wanted.is_empty())
}
