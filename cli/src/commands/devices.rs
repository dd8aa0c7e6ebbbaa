//! `gradus devices`.

use crate::output::say;
use gradus::Adapter;
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
    let adapters = gradus::Device::adapters();
    if args.json {
        let gpus: Vec<_> = adapters.iter().map(described).collect();
        let all = json!({ "cpu": cpu, "threads": threads, "simd": used, "simd_available": available, "gpus": gpus });
        say(&all.to_string());
        return;
    }
    say(&format!("cpu      {cpu}"));
    say(&format!("threads  {threads}  (RAYON_NUM_THREADS changes it)"));
    say(&format!("simd     {used}, of {}  (GRADUS_SIMD changes it)", available.join(", ")));
    if adapters.is_empty() {
        say("gpu      none");
    }
    for (i, a) in adapters.iter().enumerate() {
        let used = if i == 0 { "  (used by --device gpu; GRADUS_ADAPTER changes it)" } else { "" };
        say(&format!("gpu      {}, {}, {}, {}{used}", a.name, a.kind, a.backend, a.driver));
        say(&format!(
            "         tensors up to {} MiB, workgroups of {} with {} KiB, {} buffers a kernel",
            a.max_tensor >> 20,
            a.workgroup_size,
            a.workgroup_memory >> 10,
            a.buffers
        ));
    }
}

fn described(adapter: &Adapter) -> serde_json::Value {
    json!({
        "name": adapter.name,
        "kind": adapter.kind,
        "backend": adapter.backend,
        "driver": adapter.driver,
        "max_tensor": adapter.max_tensor,
        "workgroup_memory": adapter.workgroup_memory,
        "workgroup_size": adapter.workgroup_size,
        "buffers": adapter.buffers,
    })
}

/// What Linux calls the processor; elsewhere its architecture.
pub fn cpu_name() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = info.lines().find(|l| l.starts_with("model name"));
    line.and_then(|l| l.split_once(": ")).map_or(std::env::consts::ARCH.into(), |(_, name)| name.to_string())
}
