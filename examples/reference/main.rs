//! Trains a model by a published or measured protocol and prints its figures beside those expected.
//!
//! `cargo run --release --example reference -- vae mnist:FOLDER [SEED [STEPS [FEATURE_NET]]]`
//!
//! The protocols are `vae`, `burda`, `ae`, `ae-fc`, `mlp`, `dcgan` and `constrained`; each is described where it stands in this folder.
//! Data are named as in [`gradus::data::open`]; the figures expected are those of MNIST.
//! The feature net, for the distances of generated pictures, is a file for [`gradus::metrics::FeatureNet::load`].

mod ae;
mod dcgan;
mod judge;
mod mlp;
mod vae;

use gradus::data::{self, Images, Loader, LoaderOptions, Split};
use gradus::train::{Figures, Trainable};
use gradus::{Error, Result};
use std::sync::Arc;
use std::time::Instant;

/// What data, seed and number of steps are given to.
type Protocol = fn(&Split, u64, u64) -> Result<()>;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |i: usize, default| args.get(i).and_then(|a| a.parse().ok()).unwrap_or(default);
    let seed = number(2, 1);
    let (protocol, steps): (Protocol, u64) = match args.first().map(String::as_str) {
        Some("vae") => (vae::vae, 13_800),
        Some("burda") => (vae::burda, 60_000),
        Some("ae") => (ae::deep, 24_000),
        Some("ae-fc") => (ae::fully_connected, 24_000),
        Some("mlp") => (mlp::mlp, 6_740),
        Some("dcgan") => (dcgan::dcgan, 5_000),
        Some("constrained") => (dcgan::constrained, 5_000),
        _ => {
            eprintln!(
                "usage: reference vae|burda|ae|ae-fc|mlp|dcgan|constrained mnist:FOLDER|digits \
                 [SEED [STEPS [FEATURE_NET]]]"
            );
            std::process::exit(2);
        }
    };
    protocol(&data::open(args.get(1).map_or("digits", |a| a), seed)?, seed, number(3, steps))
}

/// Channels, height and width.
fn image(images: &Images) -> [usize; 3] {
    [images.channels, images.height, images.width]
}

/// All pictures, as a model is tested on them.
fn in_order(model: &impl Trainable, images: &Images) -> Result<Loader> {
    let pixels = model.test_pixels();
    let options = LoaderOptions { pixels, shuffle: false, drop_last: false, ..LoaderOptions::new(500, 1) };
    Loader::new(Arc::new(images.clone()), options)
}

/// A model's own test figures.
fn evaluate<M: Trainable>(model: &mut M, data: &Split) -> Result<Figures> {
    let mut test = in_order(model, &data.test)?;
    model.evaluate(&mut test)
}

/// Trains, and at each step of `expected` and at the last one prints what `measure` finds, and how far the figure called
/// `name` is from what is expected.
fn run<M: Trainable>(
    mut model: M,
    data: &Split,
    (seed, batch, steps): (u64, usize, u64),
    name: &str,
    expected: &[(u64, f64)],
    mut measure: impl FnMut(&mut M, &Split) -> Result<Figures>,
) -> Result<M> {
    let options = LoaderOptions { pixels: model.pixels(), ..LoaderOptions::new(batch, seed) };
    let mut loader = Loader::new(Arc::new(data.train.clone()), options)?;
    let mut training = 0.0;
    for step in 1..=steps {
        let began = Instant::now();
        let losses = model.step(&loader.next_batch()?)?;
        training += began.elapsed().as_secs_f64();
        if let Some((what, value)) = losses.iter().find(|l| !l.1.is_finite()) {
            return Err(Error::Data(format!("{what} is {value} after step {step}")));
        }
        let reference = expected.iter().find(|e| e.0 == step);
        if reference.is_none() && step != steps && !(expected.is_empty() && step % 500 == 0) {
            continue;
        }
        let measured = measure(&mut model, data)?;
        let list = |figures: &Figures| -> String {
            figures.iter().map(|(name, value)| format!("  {name} {value:.3}")).collect()
        };
        print!("{step:6} steps, {training:6.1} s:{}  | training:{}", list(&measured), list(&losses));
        match (reference, measured.iter().find(|f| f.0 == name)) {
            (Some((_, e)), Some((_, m))) => println!("  | expected {name} {e:.2}, off by {:+.2}", m - e),
            _ => println!(),
        }
    }
    Ok(model)
}
