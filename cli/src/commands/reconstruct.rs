//! `gradus reconstruct`.

use crate::models::{Reconstruction, reconstruct};
use crate::output::say;
use crate::picture::Pictures;
use crate::sets::{self, Sets};
use crate::{checkpoints, picture};
use anyhow::{Result, bail};
use gradus::metrics::psnr;
use gradus::{Rng, Tensor};
use serde_json::json;
use std::path::PathBuf;

pub const HELP: &str = "\
Rows of test pictures, each with what the model makes of it right below; a denoising autoencoder's noisy pictures \
stand between the two.

Examples:
  gradus reconstruct runs/ae
  gradus reconstruct runs/vae --count 48 --seed 3 --out vae.png
  gradus reconstruct runs/ae --data mnist:data/mnist";

/// Pictures in a row.
const COLUMNS: usize = 16;

#[derive(clap::Args)]
pub struct Reconstruct {
    /// A checkpoint of an autoencoder, or the folder of its run
    checkpoint: PathBuf,
    /// How many pictures
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    count: u32,
    /// Which pictures, and which noise
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Whose test pictures [default: those of the run]
    #[arg(long, value_name = "DATA")]
    data: Option<String>,
    /// The PNG to write
    #[arg(long, value_name = "FILE", default_value = "reconstructions.png")]
    out: PathBuf,
    /// Say what was written, and how far off the reconstructions are, as JSON
    #[arg(long)]
    json: bool,
}

/// Writes originals beside reconstructions.
pub fn run(args: &Reconstruct) -> Result<()> {
    let saved = checkpoints::open(&args.checkpoint)?;
    let mut model = saved.model()?;
    if model.encoder().is_none() {
        bail!(
            "{}: is of the model {}, which has no encoder; ae and vae have",
            saved.path.display(),
            saved.config.model
        );
    }
    let sets = Sets::of(&saved, args.data.as_deref())?;
    let x = sets::tensor(&sets::drawn(sets.test.as_ref(), args.count as usize, args.seed)?)?;
    let Some(found) = reconstruct(model.as_mut(), &x, &mut Rng::seed(args.seed)) else {
        bail!("{}: has no encoder with a decoder", saved.path.display());
    };
    let square = (&found.made - &x).square().flatten(1).sum(1).mean(..).item()?;
    let decibels = psnr(&found.made, &x, 1.0).mean(..).item()?;
    let rows =
        if found.noisy.is_some() { "original, noisy, reconstructed" } else { "original, reconstructed" };
    write(&args.out, &x, &found)?;
    if args.json {
        let figures =
            json!({ "squared_error": square, "psnr": decibels, "pictures": args.out, "rows": rows });
        say(&figures.to_string());
        return Ok(());
    }
    say(&format!("rows           {rows}"));
    say(&format!("squared error  {square:.3} a picture, PSNR {decibels:.2} dB"));
    say(&args.out.display().to_string());
    Ok(())
}

/// Writes rows of x, each with the rows that belong to it right below.
pub fn write(path: &std::path::Path, x: &Tensor, found: &Reconstruction) -> Result<()> {
    let count = x.shape()[0];
    let kinds: Vec<Tensor> =
        [Some(x), found.noisy.as_ref(), Some(&found.made)].into_iter().flatten().cloned().collect();
    let columns = COLUMNS.min(count).max(1);
    let mut cells = Vec::new();
    for start in (0..count).step_by(columns) {
        for kind in 0..kinds.len() {
            let row = start..start + columns;
            cells.extend(row.map(|i| (i < count).then_some(kind * count + i)));
        }
    }
    let pictures = Pictures::new(&Tensor::cat(&kinds, 0))?;
    let canvas: picture::Canvas = pictures.canvas(columns, &cells);
    canvas.write_png(path)
}
