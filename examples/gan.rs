//! Trains a small GAN on drawn digits for a few seconds, saves it, loads it, and prints four of its digits.
//!
//! `cargo run --release --example gan`. The whole thing, with pictures, is `cargo run --release`.

use gradus::Result;
use gradus::checkpoint::Checkpoint;
use gradus::data::{Digits, Loader, LoaderOptions};
use gradus::models::gan::{Gan, GanConfig};
use gradus::train::Trainable;
use std::sync::Arc;

fn main() -> Result<()> {
    let config = GanConfig {
        latent: 32,
        hidden: vec![128, 256],
        g_lr: 4e-4,
        d_lr: 8e-4,
        average: 0.995,
        ..GanConfig::default()
    };
    let mut gan = Gan::new(config.clone(), 1)?;
    let options = LoaderOptions { pixels: gan.pixels(), ..LoaderOptions::new(64, 1) };
    let mut digits = Loader::new(Arc::new(Digits::new(1, 20_000).images()), options)?;
    for step in 1..=1500 {
        let losses = gan.step(&digits.next_batch()?)?;
        if step % 250 == 0 {
            println!("step {step}  {losses:.3?}");
        }
    }

    // What a program that only wants the model does.
    let path = std::env::temp_dir().join("gradus-example-gan.safetensors");
    gan.state()?.save(&path)?;
    let mut gan = Gan::new(config, 1)?;
    gan.load(&Checkpoint::load(&path)?)?;

    let pictures = gan.pictures(4, 1)?.expect("a GAN makes pictures").to_vec::<f32>()?;
    for y in (0..28).step_by(2) {
        for picture in pictures.as_chunks::<784>().0 {
            let shade = |x: usize| b" .:-=+*#%@"[(picture[y * 28 + x] * 9.99) as usize] as char;
            print!("{}  ", (0..28).map(shade).collect::<String>());
        }
        println!();
    }
    Ok(())
}
