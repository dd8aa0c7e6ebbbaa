//! `gradus info`.

use crate::checkpoints;
use crate::output::say;
use anyhow::Result;
use serde_json::json;
use std::path::PathBuf;

pub const HELP: &str = "\
Examples:
  gradus info runs/gan
  gradus info runs/gan/checkpoint.safetensors --json";

#[derive(clap::Args)]
pub struct Info {
    /// A checkpoint, or the folder of a run
    checkpoint: PathBuf,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Prints configuration, progress and tensors.
pub fn run(args: &Info) -> Result<()> {
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
