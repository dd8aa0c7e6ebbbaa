//! `gradus bench`: what the machine can do, and how near the kernels come to it.
//!
//! ```text
//! ladder  each kernel from its plain loop to all threads    suite   whole calls, as other libraries are timed
//! limits  the machine's own rates                            table   rows whose cells appear as they are measured
//! gpu     the same calls on a GPU, and a step's cost to the host    tune    choices measured on a GPU
//! ```

mod gpu;
mod ladder;
mod limits;
mod suite;
mod table;
#[cfg(feature = "gpu")]
mod tune;

use crate::failure::Failure;
use crate::signals::Signals;
use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use gradus::kernels::{par, simd};

/// What `gradus bench --help` ends with.
pub const HELP: &str = "\
Without --suite, kernels are measured alone, on slices, as a ladder: the loop that one would write first, then each
instruction set on one thread, then the widest on all threads. Every rate stands beside its share of what the machine
can do, which is measured first: multiply-adds of the same instruction set, or a copy (for reductions: a read) of as
many bytes. The plain loop does a part of the work where all of it would take too long. Rates are those of the best
sample. The kernel `step` is whole training steps, which have no plain loop.

With --suite, calls are timed as a user of the library makes them, by the protocol that other libraries are timed by:
three calls and 0.1 s first, then samples of at least 2 ms for --budget seconds; the median is reported.

With --device gpu, each kernel of a call is timed by the device's clock (by the host's where it has none), and the call
among several from one wait for the device to the next. Of whole steps, the time of the host's thread is shown, too:
what building, planning, recording and submitting cost it; and what each of their kernels takes.

With --tune, each product, convolution and reduction of those calls is run with every listed tile or workgroup. What
saves a twentieth or more goes into a table for this adapter, driver and version in the user's cache folder, which
later commands with --device gpu use. Sums then run in another order, so that results differ by rounding from those
without the table; nothing else tunes.

Examples:
  gradus bench --quick
  gradus bench --kernel gemm,conv --threads 2
  gradus bench --kernel gemm --filter 1024 --json > gemm.jsonl
  gradus bench --device gpu --kernel step --filter mlpgan
  gradus bench --device gpu --tune --quick
  gradus bench --suite train --threads 2 --budget 0.6 --json";

/// What can be measured as a ladder.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kernel {
    /// Products of matrices
    Gemm,
    /// Convolutions and their gradients
    Conv,
    /// Fused pointwise programs
    Map,
    /// Sums and maxima along axes
    Reduce,
    /// Whole training steps
    Step,
    /// Every one of them
    All,
}

/// Suites that other libraries are timed on, too.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Suite {
    /// What the machine can do at most
    Peak,
    /// Products of matrices
    Gemm,
    /// Convolutions and their gradients
    Conv,
    /// Elementwise functions, reductions, Adam, batch normalization
    Elem,
    /// Whole training steps
    Train,
}

/// Where to run.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Device {
    Cpu,
    Gpu,
}

/// The flags of `gradus bench`.
#[derive(Args)]
pub struct Bench {
    /// Which kernels to measure as a ladder
    #[arg(long, value_delimiter = ',', default_value = "all", conflicts_with = "suite")]
    pub kernel: Vec<Kernel>,
    /// Which suites to time, instead of ladders
    #[arg(long, value_delimiter = ',')]
    pub suite: Vec<Suite>,
    /// Only what has this in its name
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub filter: String,
    /// Threads at most [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Seconds of samples for each figure [default: 0.15 for ladders, 0.6 for suites]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub budget: Option<f64>,
    /// A few sizes of each kernel, in less than a minute
    #[arg(long, conflicts_with = "suite")]
    pub quick: bool,
    /// One line of JSON for each figure
    #[arg(long)]
    pub json: bool,
    /// Where to run
    #[arg(long, default_value = "cpu")]
    pub device: Device,
    /// Measure the choices that a GPU's kernels have, and keep the best in the user's cache folder
    #[arg(long)]
    pub tune: bool,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(s) if (1e-3..=600.0).contains(&s) => Ok(s),
        _ => Err(String::from("must be a number from 0.001 to 600")),
    }
}

/// Measures what the flags say.
pub fn run(args: &Bench) -> Result<()> {
    if args.tune && args.device == Device::Cpu {
        bail!("--tune measures a GPU: add --device gpu");
    }
    console::set_colors_enabled(table::colours());
    let signals = Signals::listen()?;
    let level = simd::level();
    let done = match args.suite.is_empty() {
        _ if args.device == Device::Gpu => gpu::run(args, &signals),
        true => ladder::run(args, &signals),
        false => suite::run(args, &signals),
    };
    simd::force(level);
    done?;
    match signals.received() {
        Some(signal) => {
            let saved = String::from("what was measured until then stands above");
            Err(Failure::Stopped { signal, saved }.into())
        }
        None => Ok(()),
    }
}

/// How many threads to use at most.
fn threads(args: &Bench) -> usize {
    args.threads.map_or(par::threads(), usize::from)
}
