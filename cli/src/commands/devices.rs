//! `gradus devices`.

use crate::output::say;
use gradus::kernels::{par, simd};
use serde_json::json;

pub const HELP: &str = "\
Examples:
  gradus devices
  gradus devices --json
  GRADUS_SIMD=avx2 gradus devices";

#[derive(clap::Args)]
pub struct Devices {
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Prints what there is, and what of it is used.
pub fn run(args: &Devices) {
    let available: Vec<&str> = simd::available().iter().map(|l| l.name()).collect();
    let (cpu, threads, used) = (cpu_name(), par::threads(), simd::level().name());
    if args.json {
        say(&json!({ "cpu": cpu, "threads": threads, "simd": used, "simd_available": available }).to_string());
        return;
    }
    say(&format!("cpu      {cpu}"));
    say(&format!("threads  {threads}  (RAYON_NUM_THREADS changes it)"));
    say(&format!("simd     {used}, of {}  (GRADUS_SIMD changes it)", available.join(", ")));
}

/// What Linux calls the processor; elsewhere its architecture.
pub fn cpu_name() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = info.lines().find(|l| l.starts_with("model name"));
    line.and_then(|l| l.split_once(": ")).map_or(std::env::consts::ARCH.into(), |(_, name)| name.to_string())
}
