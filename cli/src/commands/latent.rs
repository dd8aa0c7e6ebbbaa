//! `gradus latent`.

use crate::checkpoints;
use crate::models::Model;
use crate::output::say;
use crate::picture::Pictures;
use crate::plot::{self, Map};
use crate::sets::{self, Sets};
use anyhow::{Context, Result, bail};
use gradus::Tensor;
use gradus::linalg::{Covariance, row_products, symmetric_eigen};
use serde_json::json;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

pub const HELP: &str = "\
The map has a point for the code of each test picture, coloured by its label. Codes of two numbers are drawn as they \
are; longer ones along the two directions in which they vary most (principal components). Where codes are of two \
numbers, a second picture shows what is decoded all over the plane.

Examples:
  gradus latent runs/vae
  gradus latent runs/ae --count 2000 --out codes.png --csv codes.csv
  gradus train vae --preset plane && gradus latent runs/vae --grid 30";

#[derive(clap::Args)]
pub struct Latent {
    /// A checkpoint of an autoencoder, or the folder of its run
    checkpoint: PathBuf,
    /// At most how many test pictures
    #[arg(long, value_name = "N", default_value_t = 5000, value_parser = clap::value_parser!(u32).range(3..=1_000_000))]
    count: u32,
    /// Whose test pictures [default: those of the run]
    #[arg(long, value_name = "DATA")]
    data: Option<String>,
    /// The PNG to write; the plane's is named after it
    #[arg(long, value_name = "FILE", default_value = "latent.png")]
    out: PathBuf,
    /// Pictures on a side of the plane
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(2..=100))]
    grid: u32,
    /// Write the codes and labels here, too, a line for each picture
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Say what was written as JSON
    #[arg(long)]
    json: bool,
}

/// Draws the codes of test pictures, and what a plane of codes is decoded to.
pub fn run(args: &Latent) -> Result<()> {
    let saved = checkpoints::open(&args.checkpoint)?;
    let mut model = saved.model()?;
    let Some(encoder) = model.encoder() else {
        bail!(
            "{}: is of the model {}, which has no encoder; ae and vae have",
            saved.path.display(),
            saved.config.model
        );
    };
    let sets = Sets::of(&saved, args.data.as_deref())?;
    let images = sets::spread(sets.test.as_ref(), args.count as usize)?;
    if images.count < 3 {
        bail!("data {:?} has {} test pictures; a map needs at least 3", sets.name, images.count);
    }
    let codes = sets::mapped(&sets::tensor(&images)?, |x| encoder.encode(x))?;
    let length = codes.shape()[1];
    let rows: Vec<f64> = codes.to_vec::<f32>()?.into_iter().map(f64::from).collect();
    let plane = if length == 2 { as_they_are(&rows) } else { principal(&rows, length)? };
    let title = format!("codes of {} test pictures of {}", images.count, short(&sets.name));
    let map = Map {
        title,
        axes: plane.axes.clone(),
        points: &plane.points,
        labels: images.labels.as_deref(),
        classes: if sets.classes.len() >= images.classes.len() { &sets.classes } else { &images.classes },
    };
    plot::map(&args.out, &map)?;
    let mut written = vec![args.out.clone()];
    if length == 2 {
        let path = beside(&args.out, "plane");
        draw_plane(model.as_mut(), &plane.points, args.grid as usize, &path)?;
        written.push(path);
    }
    if let Some(path) = &args.csv {
        write_csv(path, &rows, length, images.labels.as_deref())?;
        written.push(path.clone());
    }
    if args.json {
        let figures = json!({
            "files": written, "pictures": images.count, "code": length, "shown_variance": plane.share,
        });
        say(&figures.to_string());
        return Ok(());
    }
    if let Some(share) = plane.share {
        say(&format!("the plane shows {:.0} % of the variance of codes of {length} numbers", 100.0 * share));
    }
    written.iter().for_each(|path| say(&path.display().to_string()));
    Ok(())
}

/// Codes as points.
struct Plane {
    axes: [String; 2],
    points: Vec<[f64; 2]>,
    /// How much of the variance they show; `None`: they are the codes.
    share: Option<f64>,
}

fn as_they_are(rows: &[f64]) -> Plane {
    let points = rows.as_chunks::<2>().0.to_vec();
    Plane { axes: ["first number".into(), "second number".into()], points, share: None }
}

/// Along the two principal components.
fn principal(rows: &[f64], length: usize) -> Result<Plane> {
    if length == 1 {
        let points = rows.iter().map(|&x| [x, 0.0]).collect();
        return Ok(Plane { axes: ["the only number".into(), String::new()], points, share: Some(1.0) });
    }
    let mut covariance = Covariance::new(length);
    covariance.add(rows);
    let eigen = symmetric_eigen(&covariance.covariance(1), length)?;
    let total: f64 = eigen.values.iter().sum();
    let mean = covariance.mean();
    let axis = |i: usize| &eigen.vectors[(length - 1 - i) * length..][..length];
    let axes = [axis(0), axis(1)].concat();
    let centred: Vec<f64> =
        rows.chunks_exact(length).flat_map(|r| r.iter().zip(&mean).map(|(x, m)| x - m)).collect();
    let points = row_products(&centred, &axes, length).as_chunks::<2>().0.to_vec();
    let share = |i: usize| eigen.values[length - 1 - i] / total.max(f64::MIN_POSITIVE);
    let name =
        |i: usize| format!("principal component {} ({:.0} % of the variance)", i + 1, 100.0 * share(i));
    Ok(Plane { axes: [name(0), name(1)], points, share: Some(share(0) + share(1)) })
}

/// What codes all over the plane are decoded to: at equal steps of probability where codes are normal (Kingma & Welling
/// 2014, figure 4), at equal steps over where most codes lie otherwise.
fn draw_plane(model: &mut dyn Model, points: &[[f64; 2]], side: usize, path: &Path) -> Result<()> {
    let decoder = model.decoder().context("no decoder")?;
    let at = |axis: usize| -> Vec<f64> {
        let part = |i: usize| (i as f64 + 0.5) / side as f64;
        if decoder.is_generative() {
            return (0..side).map(|i| normal_quantile(part(i))).collect();
        }
        let mut sorted: Vec<f64> = points.iter().map(|p| p[axis]).collect();
        sorted.sort_by(f64::total_cmp);
        let low = sorted[sorted.len() / 50];
        let high = sorted[sorted.len() - 1 - sorted.len() / 50];
        (0..side).map(|i| low + (high - low) * part(i)).collect()
    };
    let (xs, ys) = (at(0), at(1));
    // The second number grows upwards, as on the map.
    let codes = ys.iter().rev().flat_map(|&y| xs.iter().flat_map(move |&x| [x as f32, y as f32]));
    let codes = Tensor::try_from_vec(codes.collect::<Vec<f32>>(), [side * side, 2])?;
    let made = sets::mapped(&codes, |codes| decoder.decode(codes))?;
    let cells: Vec<_> = (0..side * side).map(Some).collect();
    Pictures::new(&made)?.canvas(side, &cells).write_png(path)
}

/// The value that a standard normal number is below with probability p, to about 1e-9, by bisection of a distribution
/// function summed from its series (Marsaglia 2004).
fn normal_quantile(p: f64) -> f64 {
    let below = |x: f64| {
        let (mut sum, mut term, mut k) = (x, x, 1.0);
        while term.abs() > 1e-17 * sum.abs() && k < 400.0 {
            k += 2.0;
            term *= x * x / k;
            sum += term;
        }
        0.5 + sum * (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt()
    };
    let (mut low, mut high) = (-6.0, 6.0);
    for _ in 0..50 {
        let middle = 0.5 * (low + high);
        if below(middle) < p { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

/// `latent.png` → `latent-plane.png`.
fn beside(path: &Path, what: &str) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{stem}-{what}.png"))
}

/// `mnist:some/folder` → `mnist`.
fn short(data: &str) -> &str {
    data.split_once(':').map_or(data, |(set, _)| set)
}

fn write_csv(path: &Path, rows: &[f64], length: usize, labels: Option<&[u32]>) -> Result<()> {
    let mut text: String = (0..length).map(|i| format!("z{i},")).collect::<String>() + "label\n";
    for (i, row) in rows.chunks_exact(length).enumerate() {
        for x in row {
            let _ = write!(text, "{x},");
        }
        let label = labels.map_or(String::new(), |labels| labels[i].to_string());
        let _ = writeln!(text, "{label}");
    }
    gradus::files::write_atomic(path, |w| w.write_all(text.as_bytes()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_the_normal_distribution() {
        for (p, x) in [(0.5, 0.0), (0.975, 1.959_963_985), (0.001, -3.090_232_306)] {
            assert!((normal_quantile(p) - x).abs() < 1e-8, "{p}: {}", normal_quantile(p));
        }
    }

    #[test]
    fn principal_components_are_those_of_most_variance() {
        // Long along (1, 1, 0), short along the third axis, none across.
        let rows: Vec<f64> = (0..20)
            .flat_map(|i| {
                let (t, u) = (f64::from(i) - 9.5, if i % 2 == 0 { 0.5 } else { -0.5 });
                [t, t, 3.0 + u]
            })
            .collect();
        let plane = principal(&rows, 3).unwrap();
        assert!((plane.share.unwrap() - 1.0).abs() < 1e-9);
        assert!((plane.points[0][0].abs() - 9.5 * 2f64.sqrt()).abs() < 0.05, "{:?}", plane.points[0]);
        assert!(plane.axes[0].starts_with("principal component 1 (100 %"), "{}", plane.axes[0]);
        assert_eq!(beside(Path::new("a/b.png"), "plane"), Path::new("a/b-plane.png"));
    }
}
