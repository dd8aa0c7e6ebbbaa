//! Suites: calls timed as a user of the library makes them.

use super::limits::Limits;
use super::table::Table;
use super::{Bench, Suite, threads};
use crate::output::say;
use crate::signals::Signals;
use anyhow::{Result, bail};
use clap::ValueEnum;
use gradus::kernels::simd;
use gradus_bench::suites::{Work, suite};
use gradus_bench::timing::Protocol;

/// Columns of the table.
const HEADINGS: [&str; 3] = ["median ms", "best ms", "rate"];

/// Times the suites that the flags name.
pub fn run(args: &Bench, signals: &Signals) -> Result<()> {
    let threads = threads(args);
    let stopped = || signals.received().is_some();
    let protocol = Protocol { stopped: &stopped, ..Protocol::thorough(args.budget.unwrap_or(0.6)) };
    let mut found = false;
    for asked in &args.suite {
        if *asked == Suite::Peak {
            Limits::measure(threads, args.json, false, &stopped);
            found = true;
            continue;
        }
        let name = asked.to_possible_value().map_or(String::new(), |v| v.get_name().to_string());
        let work: Vec<Work> = suite(&name).into_iter().filter(|w| w.name.contains(&args.filter)).collect();
        if work.is_empty() {
            continue;
        }
        found = true;
        let table = (!args.json).then(|| {
            let headings = HEADINGS.map(|h| (h.to_string(), false));
            let unit = if name == "elem" { "GB/s" } else { "GFLOP/s and share of the multiply-adds" };
            Table::new(&name, unit, work.iter().map(|w| w.name.chars().count()), &headings)
        });
        let mut limits = Limits::unknown();
        for w in &work {
            table.iter().for_each(|t| t.name(&w.name));
            if let Some(t) = w.measure(threads, &protocol)? {
                match &table {
                    Some(table) => {
                        table.rate(HEADINGS[0], t.median * 1e3);
                        table.rate(HEADINGS[1], t.min * 1e3);
                        let amount = if w.bytes > 0.0 { w.bytes } else { w.flops };
                        table.rate(HEADINGS[2], amount / t.median / 1e9);
                        if w.flops > 0.0 {
                            table.share(amount / t.median / limits.flops(simd::level(), threads));
                        }
                    }
                    None => say(&w.json("gradus", threads, &t)),
                }
            }
            table.iter().for_each(Table::end);
            if stopped() {
                return Ok(());
            }
        }
    }
    if !found {
        bail!("--filter {:?}: nothing has this in its name; without it, everything is shown", args.filter);
    }
    Ok(())
}
