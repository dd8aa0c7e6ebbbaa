//! `gradus sample`.

use crate::checkpoints;
use crate::output::{say, say_raw};
use crate::picture::Pictures;
use anyhow::{Result, bail};
use serde_json::json;
use std::io::IsTerminal;
use std::path::PathBuf;

pub const HELP: &str = "\
Examples:
  gradus sample runs/gan
  gradus sample runs/gan/checkpoint.safetensors --count 100 --seed 7 --out digits.png";

#[derive(clap::Args)]
pub struct Sample {
    /// A checkpoint, or the folder of a run
    checkpoint: PathBuf,
    /// How many pictures
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    count: u32,
    /// Which pictures: the same seed gives the same ones
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// The PNG to write
    #[arg(long, value_name = "FILE", default_value = "samples.png")]
    out: PathBuf,
    /// Say what was written as JSON
    #[arg(long)]
    json: bool,
}

/// Writes a grid of pictures.
pub fn run(args: &Sample) -> Result<()> {
    let saved = checkpoints::open(&args.checkpoint)?;
    let Some(pictures) = saved.model()?.pictures(args.count as usize, args.seed)? else {
        let hint = match saved.model()?.encoder() {
            Some(_) => " of its own; `gradus reconstruct` shows what it makes of others",
            None => "",
        };
        let (path, model) = (saved.path.display(), &saved.config.model);
        bail!("{path}: is of the model {model}, which makes no pictures{hint}");
    };
    let pictures = Pictures::new(&pictures)?;
    pictures.write_png(&args.out)?;
    if args.json {
        say(&json!({ "pictures": args.out, "count": args.count, "seed": args.seed }).to_string());
        return Ok(());
    }
    if std::io::stdout().is_terminal() {
        let columns = console::Term::stdout().size().1.into();
        say_raw(&pictures.preview(columns, std::env::var_os("NO_COLOR").is_none()));
    }
    say(&args.out.display().to_string());
    Ok(())
}
