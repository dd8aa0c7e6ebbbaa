//! The calls of the suites on a GPU, kernel by kernel, and what whole steps cost the host.

use super::table::Table;
use super::{Bench, Kernel, Suite};
use crate::output::say;
use crate::signals::Signals;
use anyhow::{Result, bail};
use gradus::{Device, KernelTime, Rng, kernel_times};
use gradus_bench::host::{Host, cost};
use gradus_bench::steps::{NARROW, WORKLOADS, Workload};
use gradus_bench::suites::{Call, Work, suite};
use gradus_bench::timing::{Protocol, Timing, time};
use std::time::Instant;

/// Seconds of calls from one wait for the device to the next, about, and their number at most.
const BATCH: f64 = 0.02;
const MOST: f64 = 64.0;

/// Steps that a figure of the host is an average over.
const STEPS: u32 = 50;
const QUICK_STEPS: u32 = 5;
/// Steps whose kernels are timed.
const TIMED: usize = 7;
const QUICK_TIMED: usize = 2;
/// Rows of a step's kernels in a table, the longest first; as JSON there are all.
const ROWS: usize = 16;

/// Times what the flags name on the best adapter, or tunes it.
pub fn run(args: &Bench, signals: &Signals) -> Result<()> {
    let gpu = crate::args::Device::Gpu.open()?;
    if !args.json {
        let clock = match gpu.has_clock() {
            true => "device ms: by the device's clock",
            false => {
                "device ms: by the host's clock, submitting and waiting included, since the device has none"
            }
        };
        say(&format!("{gpu}\n{clock}"));
    }
    #[cfg(feature = "gpu")]
    if args.tune {
        return super::tune::run(&gpu, args, signals);
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
pub(super) fn asked(args: &Bench) -> Vec<&'static str> {
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

/// The calls of a suite that the flags name; of steps, the small ones give a first impression.
pub(super) fn wanted(suite_name: &str, args: &Bench) -> Vec<Work> {
    let quick = |work: &Work| {
        let name = work.name.as_str();
        match work.suite {
            "gemm" => ["NN_256x256x256", "NN_512x512x512", "NN_1024x1024x1024"].contains(&name),
            "conv" => name.ends_with("d3_128-256_k4s2_16"),
            "train" => !name.starts_with("dcgan"),
            _ => ["add_16M", "tanh_16M", "sum_all_16M", "sum_axis0_4096x4096"].contains(&name),
        }
    };
    let wanted = |w: &Work| w.name.contains(&args.filter) && (!args.quick || quick(w));
    suite(suite_name).into_iter().filter(wanted).collect()
}

/// The sum of what kernels took, in seconds.
fn total(kernels: &[KernelTime]) -> f64 {
    kernels.iter().map(|k| k.time.as_secs_f64()).sum()
}

/// What one call takes the device, and how long it is with others behind it; what it moves and computes.
struct Measured {
    device: Timing,
    call: f64,
    flops: f64,
    bytes: f64,
}

/// Measures one call.
fn measure(gpu: &Device, work: &Work, protocol: &Protocol) -> gradus::Result<Option<Measured>> {
    let mut call = work.call();
    // The first compiles.
    call()?;
    let (done, kernels) = kernel_times(&mut call);
    done?;
    let (begin, mut samples) = (Instant::now(), vec![total(&kernels)]);
    while begin.elapsed().as_secs_f64() < protocol.budget && !(protocol.stopped)() {
        let (done, kernels) = kernel_times(&mut call);
        done?;
        samples.push(total(&kernels));
    }
    let sum = |of: fn(&KernelTime) -> f64| kernels.iter().map(of).sum::<f64>();
    let bytes = if work.bytes > 0.0 { work.bytes } else { sum(|k| k.bytes) };
    let together = together(gpu, &mut call, protocol)?;
    let measured =
        |call| Measured { device: Timing::of(samples), call, flops: work.flops.max(sum(|k| k.flops)), bytes };
    Ok(together.map(measured))
}

/// Seconds of one call among several.
fn together(gpu: &Device, call: &mut Call, protocol: &Protocol) -> gradus::Result<Option<f64>> {
    gpu.synchronize()?;
    let start = Instant::now();
    call()?;
    gpu.synchronize()?;
    let calls = (BATCH / start.elapsed().as_secs_f64().max(1e-9)).clamp(1.0, MOST) as u32;
    let several = || {
        (0..calls).try_for_each(|_| call())?;
        gpu.synchronize()
    };
    Ok(time(protocol, several)?.map(|t| t.median / f64::from(calls)))
}

/// The columns of times and rates.
const RATES: [&str; 5] = ["device ms", "best ms", "GFLOP/s", "GB/s", "call ms"];

/// Fills the columns of device times and rates.
fn rates(table: &Table, device: &Timing, flops: f64, bytes: f64) {
    table.rate(RATES[0], device.median * 1e3);
    table.rate(RATES[1], device.min * 1e3);
    for (heading, amount) in [(RATES[2], flops), (RATES[3], bytes)] {
        match amount > 0.0 {
            true => table.rate(heading, amount / device.median / 1e9),
            false => table.none(heading, false),
        }
    }
}

/// Times the calls of a suite; whether there are any.
fn calls(gpu: &Device, name: &str, args: &Bench, signals: &Signals) -> Result<bool> {
    let stopped = || signals.received().is_some();
    let protocol = Protocol { stopped: &stopped, ..Protocol::brief(args.budget.unwrap_or(0.3)) };
    let work = wanted(name, args);
    let table = (!args.json && !work.is_empty())
        .then(|| Table::new(name, "", work.iter().map(|w| w.name.len()), &RATES.map(|h| (h.into(), false))));
    for w in &work {
        table.iter().for_each(|t| t.name(&w.name));
        if let Some(m) = gpu.scope(|| measure(gpu, w, &protocol))? {
            match &table {
                Some(table) => {
                    rates(table, &m.device, m.flops, m.bytes);
                    table.rate(RATES[4], m.call * 1e3);
                }
                None => {
                    say(&line(w.suite, &w.name, "", &m.device, [m.flops, m.bytes], &[("call_s", m.call)]))
                }
            }
        }
        table.iter().for_each(Table::end);
        if stopped() {
            break;
        }
    }
    Ok(!work.is_empty())
}

/// One line of JSON; `more` are fields to stand before the figures.
fn line(
    suite: &str,
    name: &str,
    more: &str,
    t: &Timing,
    [flops, bytes]: [f64; 2],
    last: &[(&str, f64)],
) -> String {
    let mut line = format!(
        "{{\"suite\":\"{suite}\",\"name\":\"{name}\",\"impl\":\"gradus-gpu\",{more}\"threads\":1,{},\
         \"flops\":{flops:.6e},\"gflops\":{:.3},\"bytes\":{bytes:.6e},\"gbps\":{:.3}",
        t.fields(),
        flops / t.median / 1e9,
        bytes / t.median / 1e9
    );
    last.iter().for_each(|(name, figure)| line.push_str(&format!(",\"{name}\":{figure:.6e}")));
    line + "}"
}

/// Times whole steps; whether there are any.
fn steps(gpu: &Device, args: &Bench, signals: &Signals) -> Result<bool> {
    let small = |name: &str| !args.quick || !name.starts_with("dcgan");
    let wanted = |w: &&Workload| w.name.contains(&args.filter) && small(w.name);
    let wanted: Vec<&Workload> = WORKLOADS.iter().chain([&NARROW]).filter(wanted).collect();
    let headings = ["ms per step", "device ms", "host ms per step", "submissions", "dispatches"];
    let table = (!args.json && !wanted.is_empty()).then(|| {
        let names = wanted.iter().map(|w| w.name.len());
        Table::new("step", "", names, &headings.map(|h| (h.to_string(), false)))
    });
    let (count, timed) = if args.quick { (QUICK_STEPS, QUICK_TIMED) } else { (STEPS, TIMED) };
    let mut kernels = Vec::new();
    for w in &wanted {
        table.iter().for_each(|t| t.name(w.name));
        let (host, of_step) = gpu.scope(|| {
            let mut step = (w.build)(&mut Rng::seed(0));
            let mut step = || if signals.received().is_some() { Ok(()) } else { step() };
            let host = cost(gpu, count, &mut step)?;
            let samples = (0..timed).map(|_| {
                let (done, kernels) = kernel_times(&mut step);
                done.map(|()| kernels)
            });
            gradus::Result::Ok((host, samples.collect::<gradus::Result<Vec<_>>>()?))
        })?;
        if signals.received().is_some() {
            table.iter().for_each(Table::end);
            return Ok(true);
        }
        let device = Timing::of(of_step.iter().map(|kernels| total(kernels)).collect());
        let Host { step, busy, submissions, dispatches, .. } = host;
        match &table {
            Some(table) => {
                let figures = [step * 1e3, device.median * 1e3, busy * 1e3, submissions, dispatches];
                headings.iter().zip(figures).for_each(|(heading, x)| table.rate(heading, x));
                table.end();
            }
            None => say(&host.json(w.name, &[("device_s", device.median)])),
        }
        kernels.push((w.name, device.median, by_kernel(&of_step)));
    }
    for (name, whole, kernels) in &kernels {
        show_kernels(name, *whole, kernels, args.json);
    }
    Ok(!wanted.is_empty())
}

/// The equal kernels of a step together.
struct Group {
    kernel: String,
    /// How many there are in a step.
    count: usize,
    /// Of all of them.
    device: Timing,
    flops: f64,
    bytes: f64,
}

/// The kernels of a step that was run several times, the longest first.
fn by_kernel(samples: &[Vec<KernelTime>]) -> Vec<Group> {
    let mut names: Vec<&str> = Vec::new();
    for k in samples.iter().flatten() {
        if !names.contains(&k.kernel.as_str()) {
            names.push(&k.kernel);
        }
    }
    let group = |name: &str| {
        let of = |sample: &Vec<KernelTime>| -> Vec<KernelTime> {
            sample.iter().filter(|k| k.kernel == name).cloned().collect()
        };
        let first = samples.iter().map(of).find(|kernels| !kernels.is_empty()).unwrap_or_default();
        Group {
            kernel: name.to_string(),
            count: first.len(),
            device: Timing::of(samples.iter().map(|sample| total(&of(sample))).collect()),
            flops: first.iter().map(|k| k.flops).sum(),
            bytes: first.iter().map(|k| k.bytes).sum(),
        }
    };
    let mut groups: Vec<Group> = names.into_iter().map(group).collect();
    groups.sort_by(|a, b| b.device.median.total_cmp(&a.device.median));
    groups
}

/// Shows where the device's time of a step goes.
fn show_kernels(name: &str, whole: f64, groups: &[Group], json: bool) {
    if json {
        for g in groups {
            let more =
                format!("\"kernel\":{},\"count\":{},", serde_json::Value::from(g.kernel.as_str()), g.count);
            say(&line("train", name, &more, &g.device, [g.flops, g.bytes], &[]));
        }
        return;
    }
    let shown = &groups[..groups.len().min(ROWS)];
    let headings = ["count", "% of time"].iter().chain(&RATES[..4]);
    let headings: Vec<_> = headings.map(|h| (h.to_string(), false)).collect();
    let title = format!("kernels of {name}");
    let table = Table::new(&title, "", shown.iter().map(|g| g.kernel.chars().count()), &headings);
    for g in shown {
        table.name(&g.kernel);
        table.rate("count", g.count as f64);
        table.rate("% of time", 100.0 * g.device.median / whole);
        rates(&table, &g.device, g.flops, g.bytes);
        table.end();
    }
    if groups.len() > shown.len() {
        say(&format!("and {} more, which --json shows", groups.len() - shown.len()));
    }
}
