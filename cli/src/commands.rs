//! What each command does.

use crate::args::{Args, Command, Info, Model, Sample, Train};
use crate::output::{say, say_raw};
use crate::picture::Pictures;
use crate::registry::find;
use crate::{check, checkpoints, models, train};
use anyhow::{Result, bail};
use clap::CommandFactory;
use gradus::kernels::{par, simd};
use serde_json::json;
use std::io::IsTerminal;

/// Runs the command line.
pub fn run(args: Args) -> Result<()> {
    match args.command {
        None => train::run(find("gan")?, &Train::default(), &models::gan::Flags::default()),
        Some(Command::Train { model }) => match *model {
            Model::Gan { train: args, flags } => train::run(find("gan")?, &args, &flags),
            Model::Dcgan { train: args, flags } => train::run(find("dcgan")?, &args, &flags),
            Model::Ae { train: args, flags } => train::run(find("ae")?, &args, &flags),
            Model::Vae { train: args, flags } => train::run(find("vae")?, &args, &flags),
            Model::Classifier { train: args, flags } => train::run(find("classifier")?, &args, &flags),
        },
        Some(Command::Check(args)) => check::run(&args),
        Some(Command::Sample(args)) => sample(&args),
        Some(Command::Info(args)) => info(&args),
        Some(Command::Devices) => {
            devices();
            Ok(())
        }
        Some(Command::Completions { shell }) => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "gradus", &mut script);
            say_raw(&String::from_utf8_lossy(&script));
            Ok(())
        }
    }
}

fn sample(args: &Sample) -> Result<()> {
    let saved = checkpoints::open(&args.checkpoint)?;
    let Some(pictures) = saved.model()?.pictures(args.count as usize, args.seed)? else {
        bail!("{}: is of the model {}, which makes no pictures", saved.path.display(), saved.config.model);
    };
    let pictures = Pictures::new(&pictures)?;
    pictures.write_png(&args.out)?;
    if std::io::stdout().is_terminal() {
        let columns = console::Term::stdout().size().1.into();
        say_raw(&pictures.preview(columns, std::env::var_os("NO_COLOR").is_none()));
    }
    say(&args.out.display().to_string());
    Ok(())
}

fn info(args: &Info) -> Result<()> {
    let saved = checkpoints::open(&args.checkpoint)?;
    let tensors = &saved.state.tensors;
    let numbers: usize = tensors.values().map(gradus::Tensor::numel).sum();
    if args.json {
        let shapes: serde_json::Map<String, serde_json::Value> =
            tensors.iter().map(|(name, t)| (name.clone(), json!(&t.shape()[..]))).collect();
        let config: toml::Table = saved.config.to_toml()?.parse()?;
        let (step, epoch) = (saved.position.step, saved.position.loader.epoch);
        say(&json!({ "config": config, "step": step, "epochs_completed": epoch, "numbers": numbers, "tensors": shapes })
            .to_string());
        return Ok(());
    }
    let [c, h, w] = saved.image;
    say(&format!(
        "{}  after step {}, {} epochs completed",
        saved.path.display(),
        saved.position.step,
        saved.position.loader.epoch
    ));
    say(&format!("pictures of {c}x{h}x{w}, {} tensors of {numbers} numbers in all\n", tensors.len()));
    say(&saved.config.to_toml()?);
    // Escaped, because a name with a line break could pass for two.
    let names: Vec<String> = tensors.keys().map(|name| name.escape_debug().to_string()).collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    for (name, tensor) in names.iter().zip(tensors.values()) {
        say(&format!("{name:width$}  {}  {}", tensor.dtype(), tensor.shape()));
    }
    Ok(())
}

fn devices() {
    let names = |levels: &[simd::Level]| levels.iter().map(|l| l.name()).collect::<Vec<_>>().join(", ");
    say(&format!("cpu      {}", cpu_name()));
    say(&format!("threads  {}  (RAYON_NUM_THREADS changes it)", par::threads()));
    let used = simd::level().name();
    say(&format!("simd     {used}, of {}  (GRADUS_SIMD changes it)", names(&simd::available())));
    let adapters = gradus::Device::adapters();
    if adapters.is_empty() {
        say("gpu      none");
    }
    for (i, a) in adapters.iter().enumerate() {
        let used = if i == 0 { "  (the first is used; GRADUS_ADAPTER changes it)" } else { "" };
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

/// What Linux calls the processor; elsewhere its architecture.
fn cpu_name() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = info.lines().find(|l| l.starts_with("model name"));
    line.and_then(|l| l.split_once(": ")).map_or(std::env::consts::ARCH.into(), |(_, name)| name.to_string())
}
