//! A trained model inside a program: no files, no threads, few crates. The weights of a VAE's decoder lie in the
//! binary; each run draws digits with them.
//!
//! ```text
//! cd examples/embed && cargo build --release
//! target/release/embed              four digits in the terminal
//! target/release/embed 7            others: everything follows from the seed
//! target/release/embed 7 --pgm      a sheet of 8 x 8 as a PGM picture on stdout
//! ```
//!
//! `examples/extract.rs` says where the weights are from.

use gradus::checkpoint::Checkpoint;
use gradus::models::coder::{Decoder, Layers};
use gradus::nn::Activation;
use gradus::{Result, Rng};
use std::io::Write;
use std::process::ExitCode;

static WEIGHTS: &[u8] = include_bytes!("../decoder.safetensors");

/// Height and width of a picture.
const SIDE: usize = 28;
/// Length of a code.
const LATENT: usize = 8;

/// `count` pictures, row by row, each value the intensity of a pixel from 0 to 1.
fn draw(count: usize, seed: u64) -> Result<Vec<f32>> {
    let mut rng = Rng::seed(seed);
    let layers = Layers::convolutional(&[16, 32], &[], Activation::Relu);
    let decoder = Decoder::new(LATENT, [1, SIDE, SIDE], &layers, 1, &mut rng);
    Checkpoint::from_bytes(WEIGHTS)?.load_module("decoder", &decoder)?;
    let codes = rng.split("codes").normal([count, LATENT]);
    decoder.forward(&codes).sigmoid().to_vec::<f32>()
}

/// Pictures beside each other, two rows of pixels a line: the upper half of a block has the text's colour.
fn terminal(pictures: &[f32]) -> String {
    let grey = |v: f32| (v * 255.0).round() as u8;
    let mut text = String::new();
    for y in (0..SIDE).step_by(2) {
        for picture in pictures.chunks(SIDE * SIDE) {
            for x in 0..SIDE {
                let [upper, lower] = [y, y + 1].map(|y| grey(picture[y * SIDE + x]));
                text += &format!("\x1b[38;2;{upper};{upper};{upper};48;2;{lower};{lower};{lower}m▀");
            }
            text += "\x1b[0m ";
        }
        text.push('\n');
    }
    text
}

/// Pictures in rows of `columns`, as a portable grey map.
fn pgm(pictures: &[f32], columns: usize) -> Vec<u8> {
    let rows = pictures.len() / (SIDE * SIDE) / columns;
    let mut file = format!("P5 {} {} 255\n", columns * SIDE, rows * SIDE).into_bytes();
    for y in 0..rows * SIDE {
        for x in 0..columns * SIDE {
            let picture = y / SIDE * columns + x / SIDE;
            let value = pictures[(picture * SIDE + y % SIDE) * SIDE + x % SIDE];
            file.push((value * 255.0).round() as u8);
        }
    }
    file
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let as_pgm = args.iter().any(|a| a == "--pgm");
    let seed = match args.iter().find(|a| *a != "--pgm").map(|a| a.parse()) {
        None => 1,
        Some(Ok(seed)) => seed,
        Some(Err(_)) => {
            eprintln!("usage: embed [SEED] [--pgm]");
            return ExitCode::from(2);
        }
    };
    let output = if as_pgm {
        draw(64, seed).map(|pictures| pgm(&pictures, 8))
    } else {
        draw(4, seed).map(|pictures| terminal(&pictures).into_bytes())
    };
    match output {
        Ok(bytes) => {
            // Whoever reads may stop reading; that is no fault.
            let _ = std::io::stdout().write_all(&bytes);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("embed: {error}");
            ExitCode::FAILURE
        }
    }
}
