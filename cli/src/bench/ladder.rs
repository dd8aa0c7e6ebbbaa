//! Each kernel from its plain loop to all threads.

use super::limits::{Limits, threads_in_words};
use super::table::Table;
use super::{Bench, Kernel, threads};
use crate::output::say;
use crate::signals::Signals;
use anyhow::{Result, bail};
use gradus::kernels::peak::Stream;
use gradus::kernels::simd::{self, Level};
use gradus_bench::cases::{Case, KERNELS, Work, cases};
use gradus_bench::suites;
use gradus_bench::timing::{Protocol, Timing, on_threads, time};

/// A rung: the plain loop, or an instruction set and a number of threads.
struct Rung {
    heading: String,
    level: Option<Level>,
    threads: usize,
}

fn rungs(threads: usize) -> Vec<Rung> {
    let mut all = vec![Rung { heading: String::from("naive"), level: None, threads: 1 }];
    for level in simd::available() {
        all.push(Rung { heading: level.name().to_string(), level: Some(level), threads: 1 });
    }
    if threads > 1 {
        let level = simd::detected();
        let heading = format!("{} x{threads}", level.name());
        all.push(Rung { heading, level: Some(level), threads });
    }
    all
}

/// A row: what is measured, and how.
struct Row {
    kernel: &'static str,
    name: String,
    work: Work,
    how: How,
}

enum How {
    Kernel(Case),
    Step(suites::Work),
}

fn rows(args: &Bench, kernel: &'static str) -> Vec<Row> {
    let wanted = |name: &str| name.contains(&args.filter);
    if kernel == "step" {
        let steps = suites::suite("train").into_iter();
        let small = |w: &suites::Work| !args.quick || !w.name.starts_with("dcgan");
        return steps
            .filter(|w| small(w) && wanted(&w.name))
            .map(|w| Row { kernel, name: w.name.clone(), work: Work::Flops(w.flops), how: How::Step(w) })
            .collect();
    }
    cases(kernel)
        .into_iter()
        .filter(|c| (c.quick || !args.quick) && wanted(&c.name))
        .map(|c| Row { kernel, name: c.name.clone(), work: c.work, how: How::Kernel(c) })
        .collect()
}

/// Measures the kernels that the flags name.
pub fn run(args: &Bench, signals: &Signals) -> Result<()> {
    let all = args.kernel.contains(&Kernel::All);
    let asked = |name: &str| {
        let of = |k: &Kernel| clap::ValueEnum::to_possible_value(k).is_some_and(|v| v.get_name() == name);
        all || args.kernel.iter().any(of)
    };
    let groups: Vec<(&str, Vec<Row>)> = KERNELS
        .into_iter()
        .chain(["step"])
        .filter(|name| asked(name))
        .map(|name| (name, rows(args, name)))
        .filter(|(_, rows)| !rows.is_empty())
        .collect();
    if groups.is_empty() {
        bail!("--filter {:?}: nothing has this in its name; without it, everything is shown", args.filter);
    }
    let threads = threads(args);
    if !args.json {
        let level = simd::detected().name();
        say(&format!("{}, {}, {level}", crate::commands::devices::cpu_name(), threads_in_words(threads)));
    }
    let stopped = || signals.received().is_some();
    let mut limits = Limits::measure(threads, args.json, args.quick, &stopped);
    let rungs = rungs(threads);
    for (kernel, rows) in groups {
        if stopped() {
            break;
        }
        let table = (!args.json).then(|| heading(kernel, &rows, &rungs));
        for row in &rows {
            climb(row, &rungs, &mut limits, table.as_ref(), args, signals)?;
            if stopped() {
                break;
            }
        }
    }
    Ok(())
}

fn heading(kernel: &str, rows: &[Row], rungs: &[Rung]) -> Table {
    let unit = match kernel {
        "map" => "GB/s and share of a copy",
        "reduce" => "GB/s and share of a read",
        _ => "GFLOP/s and share of the multiply-adds",
    };
    let title = match kernel {
        "gemm" => "gemm, m x k x n",
        "conv" => "conv, batch 64",
        "map" => "map, elements",
        "step" => "step",
        other => other,
    };
    let headings: Vec<(String, bool)> =
        rungs.iter().map(|r| (r.heading.clone(), r.level.is_some())).collect();
    Table::new(title, unit, rows.iter().map(|r| r.name.chars().count()), &headings)
}

/// All rungs of a row.
fn climb(
    row: &Row,
    rungs: &[Rung],
    limits: &mut Limits,
    table: Option<&Table>,
    args: &Bench,
    signals: &Signals,
) -> Result<()> {
    let stopped = || signals.received().is_some();
    let protocol = Protocol { stopped: &stopped, ..Protocol::brief(args.budget.unwrap_or(0.15)) };
    table.iter().for_each(|t| t.name(&row.name));
    let mut fast = match &row.how {
        How::Kernel(case) => Some(case.fast()),
        How::Step(_) => None,
    };
    for rung in rungs {
        let Some(level) = rung.level else {
            plain(row, rung, &protocol, table)?;
            continue;
        };
        simd::force(level);
        let timing = match (&mut fast, &row.how) {
            (Some(run), _) => on_threads(rung.threads, || {
                time(&protocol, || {
                    run();
                    Ok(())
                })
            })?,
            (None, How::Step(work)) => work.measure(rung.threads, &protocol)?,
            (None, How::Kernel(_)) => None,
        };
        let Some(timing) = timing else { break };
        let (amount, peak) = match row.work {
            Work::Flops(n) => (n, limits.flops(level, rung.threads)),
            Work::Bytes(n) => {
                let kind = if row.kernel == "reduce" { Stream::Read } else { Stream::Copy };
                (n, limits.bandwidth(kind, n as usize, rung.threads))
            }
        };
        let share = amount / timing.min / peak;
        match table {
            Some(table) => {
                table.rate(&rung.heading, amount / timing.min / 1e9);
                table.share(share);
            }
            None => say(&json(row, level.name(), rung.threads, &timing, Some(share))),
        }
    }
    table.iter().for_each(|t| t.end());
    Ok(())
}

/// The rung of the plain loop.
fn plain(row: &Row, rung: &Rung, protocol: &Protocol, table: Option<&Table>) -> Result<()> {
    let How::Kernel(case) = &row.how else {
        table.iter().for_each(|t| t.none(&rung.heading, false));
        return Ok(());
    };
    let (mut run, part) = case.naive();
    let timing = time(protocol, || {
        run();
        Ok(())
    })?;
    let Some(t) = timing else { return Ok(()) };
    // As if it had done all of the work.
    let whole = Timing { median: t.median / part, min: t.min / part, iqr: t.iqr / part, n: t.n };
    let (Work::Flops(amount) | Work::Bytes(amount)) = row.work;
    match table {
        Some(table) => table.rate(&rung.heading, amount / whole.min / 1e9),
        None => say(&json(row, "naive", 1, &whole, None)),
    }
    Ok(())
}

fn json(row: &Row, path: &str, threads: usize, t: &Timing, share: Option<f64>) -> String {
    let (kernel, name) = (row.kernel, &row.name);
    let work = match row.work {
        Work::Flops(n) => format!("\"flops\":{n:.6e},\"gflops\":{:.3}", n / t.median / 1e9),
        Work::Bytes(n) => format!("\"bytes\":{n:.6e},\"gbps\":{:.3}", n / t.median / 1e9),
    };
    let share = share.map_or(String::new(), |s| format!(",\"share\":{s:.4}"));
    format!(
        "{{\"suite\":\"{kernel}\",\"name\":\"{name}\",\"impl\":\"gradus-{path}\",\"threads\":{threads},\
         {},{work}{share}}}",
        t.fields()
    )
}
