//! `gradus interpolate`.

use crate::checkpoints;
use crate::models::Model;
use crate::output::say;
use crate::picture::{Canvas, Pictures, write_gif};
use crate::sets::{self, Sets};
use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use gradus::{Rng, Tensor};
use serde_json::json;
use std::path::{Path, PathBuf};

pub const HELP: &str = "\
Each row of the PNG goes from one code to another; the GIF goes there and back in all rows at once.

Examples:
  gradus interpolate runs/gan
  gradus interpolate runs/dcgan --method linear --rows 4 --steps 16 --out between.png
  gradus interpolate runs/vae --ends noise --seed 7
  gradus interpolate runs/ae --frames 0";

/// Time that a frame of the GIF is shown.
const MILLISECONDS: u32 = 60;

/// The way between two codes.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Method {
    /// Straight
    Linear,
    /// Along a great circle, so that codes keep the length that noise has (White 2016)
    Spherical,
}

/// Where ways begin and end.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Ends {
    /// At codes drawn at random
    Noise,
    /// At the codes of test pictures
    Pictures,
}

#[derive(clap::Args)]
pub struct Interpolate {
    /// A checkpoint, or the folder of a run
    checkpoint: PathBuf,
    /// The way between two codes [default: spherical between noise, linear between pictures]
    #[arg(long)]
    method: Option<Method>,
    /// Where ways begin and end [default: at pictures for models with an encoder]
    #[arg(long)]
    ends: Option<Ends>,
    /// How many ways
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=100))]
    rows: u32,
    /// Pictures of a way, ends included
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u32).range(2..=1000))]
    steps: u32,
    /// Frames of the GIF, there and back; 0: no GIF
    #[arg(long, value_name = "N", default_value_t = 48, value_parser = clap::value_parser!(u32).range(0..=1000))]
    frames: u32,
    /// Which ends
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Whose test pictures [default: those of the run]
    #[arg(long, value_name = "DATA")]
    data: Option<String>,
    /// The PNG to write; the GIF has its name with another ending
    #[arg(long, value_name = "FILE", default_value = "interpolation.png")]
    out: PathBuf,
    /// Say what was written as JSON
    #[arg(long)]
    json: bool,
}

/// Writes the ways between pairs of codes.
pub fn run(args: &Interpolate) -> Result<()> {
    let gif = args.out.with_extension("gif");
    if args.frames > 0 && gif == args.out {
        bail!(
            "--out {}: names the PNG; the GIF is written beside it with the ending .gif",
            args.out.display()
        );
    }
    let saved = checkpoints::open(&args.checkpoint)?;
    let mut model = saved.model()?;
    let (path, name) = (saved.path.display(), &saved.config.model);
    let Some(decoder) = model.decoder() else {
        bail!("{path}: is of the model {name}, which makes no pictures of codes");
    };
    let (length, generative) = (decoder.code(), decoder.is_generative());
    let ends = args.ends.unwrap_or(if model.encoder().is_some() { Ends::Pictures } else { Ends::Noise });
    let count = 2 * args.rows as usize;
    let codes = match (ends, model.encoder()) {
        (Ends::Noise, _) if !generative => {
            bail!("{path}: the codes of the model {name} are not those of noise; --ends pictures")
        }
        (Ends::Noise, _) => Rng::seed(args.seed).split("ends").normal([count, length]),
        (Ends::Pictures, None) => {
            bail!("{path}: is of the model {name}, which has no encoder; --ends noise")
        }
        (Ends::Pictures, Some(encoder)) => {
            let sets = Sets::of(&saved, args.data.as_deref())?;
            let found = sets::drawn(sets.test.as_ref(), count, args.seed)?;
            if found.count < count {
                bail!(
                    "data {:?} has {} test pictures, --rows {} needs {count}",
                    sets.name,
                    found.count,
                    args.rows
                );
            }
            encoder.encode(&sets::tensor(&found)?)
        }
    };
    let codes = codes.to_vec::<f32>()?;
    let method = args.method.unwrap_or(match ends {
        Ends::Noise => Method::Spherical,
        Ends::Pictures => Method::Linear,
    });
    let ways = Ways { codes: &codes, length, method };
    let steps = args.steps as usize;
    let along: Vec<f32> = (0..steps).map(|i| i as f32 / (steps - 1) as f32).collect();
    strip(model.as_mut(), &ways, &along)?.write_png(&args.out)?;
    let written = match args.frames {
        0 => vec![args.out.as_path()],
        frames => {
            animate(model.as_mut(), &ways, frames, &gif)?;
            vec![args.out.as_path(), gif.as_path()]
        }
    };
    if args.json {
        let method = if method == Method::Linear { "linear" } else { "spherical" };
        say(&json!({ "pictures": written, "method": method, "rows": args.rows, "steps": steps }).to_string());
    } else {
        written.iter().for_each(|path| say(&path.display().to_string()));
    }
    Ok(())
}

/// Pairs of codes, one after the other.
struct Ways<'a> {
    codes: &'a [f32],
    length: usize,
    method: Method,
}

impl Ways<'_> {
    fn count(&self) -> usize {
        self.codes.len() / self.length / 2
    }

    /// The code at part t, from 0 to 1, of way number `way`.
    fn at(&self, way: usize, t: f32) -> Vec<f32> {
        let end = |i: usize| &self.codes[(2 * way + i) * self.length..][..self.length];
        let [a, b] = match self.method {
            Method::Linear => [1.0 - t, t],
            Method::Spherical => spherical(end(0), end(1), t),
        };
        end(0).iter().zip(end(1)).map(|(x, y)| a * x + b * y).collect()
    }
}

/// The weights of two codes at part t of the great circle between their directions (Shoemake 1985). Codes of one
/// direction, or of none, are joined by a straight line.
fn spherical(x: &[f32], y: &[f32], t: f32) -> [f32; 2] {
    let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(a, b)| f64::from(a * b)).sum::<f64>();
    let cosine = dot(x, y) / (dot(x, x) * dot(y, y)).sqrt();
    let angle = cosine.clamp(-1.0, 1.0).acos();
    let (t, sine) = (f64::from(t), angle.sin());
    if !sine.is_finite() || sine < 1e-6 {
        return [(1.0 - t) as f32, t as f32];
    }
    [(((1.0 - t) * angle).sin() / sine) as f32, ((t * angle).sin() / sine) as f32]
}

/// The pictures at these parts of all ways, a row for each way.
fn pictures(model: &mut dyn Model, ways: &Ways, along: &[f32]) -> Result<Pictures> {
    let decoder = model.decoder().context("no decoder")?;
    let rows = (0..ways.count()).flat_map(|way| along.iter().map(move |&t| (way, t)));
    let codes: Vec<f32> = rows.flat_map(|(way, t)| ways.at(way, t)).collect();
    let codes = Tensor::try_from_vec(codes, [ways.count() * along.len(), ways.length])?;
    Pictures::new(&sets::mapped(&codes, |codes| decoder.decode(codes))?)
}

fn strip(model: &mut dyn Model, ways: &Ways, along: &[f32]) -> Result<Canvas> {
    let cells: Vec<_> = (0..ways.count() * along.len()).map(Some).collect();
    Ok(pictures(model, ways, along)?.canvas(along.len(), &cells))
}

/// There and back, slower near the ends.
fn animate(model: &mut dyn Model, ways: &Ways, frames: u32, path: &Path) -> Result<()> {
    let turn = |i: u32| std::f32::consts::TAU * i.min(frames - i) as f32 / frames as f32;
    let along: Vec<f32> = (0..frames).map(|i| 0.5 - 0.5 * turn(i).cos()).collect();
    let pictures = pictures(model, ways, &along)?;
    let columns = (ways.count() as f64).sqrt().ceil() as usize;
    let frame = |i: usize| {
        let cells: Vec<_> = (0..ways.count()).map(|way| Some(way * along.len() + i)).collect();
        pictures.canvas(columns, &cells)
    };
    write_gif(path, &(0..along.len()).map(frame).collect::<Vec<_>>(), MILLISECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_begin_and_end_at_their_codes() {
        for method in [Method::Linear, Method::Spherical] {
            let ways = Ways { codes: &[3.0, 0.0, 0.0, 3.0, 1.0, 1.0, 1.0, 1.0], length: 2, method };
            let near = |a: Vec<f32>, b: [f32; 2]| {
                assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5), "{a:?} {b:?}");
            };
            near(ways.at(0, 0.0), [3.0, 0.0]);
            near(ways.at(0, 1.0), [0.0, 3.0]);
            // Two equal codes have no way between them.
            near(ways.at(1, 0.3), [1.0, 1.0]);
            let middle = 3.0 * if method == Method::Linear { 0.5 } else { 0.5f32.sqrt() };
            near(ways.at(0, 0.5), [middle, middle]);
        }
        assert_eq!(spherical(&[0.0, 0.0], &[1.0, 0.0], 0.25), [0.75, 0.25]);
    }
}
