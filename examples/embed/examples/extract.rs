//! Takes the decoder out of a checkpoint of `gradus train vae` and writes it beside this program's sources. Made by
//!
//! ```text
//! gradus train vae --config examples/embed/vae.toml --out RUN
//! cd examples/embed && cargo run --release --example extract -- RUN/checkpoint.safetensors
//! ```

use gradus::checkpoint::Checkpoint;
use gradus::{Error, Result};

fn main() -> Result<()> {
    let path = std::env::args().nth(1).ok_or(Error::Data("usage: extract CHECKPOINT".into()))?;
    let mut small = Checkpoint::new();
    for (name, tensor) in Checkpoint::load(path)?.tensors {
        if let Some(name) = name.strip_prefix("network.")
            && name.starts_with("decoder.")
        {
            small.tensors.insert(name.to_string(), tensor);
        }
    }
    small.put("origin", "the decoder of a VAE trained on gradus's drawn digits");
    small.save(concat!(env!("CARGO_MANIFEST_DIR"), "/decoder.safetensors"))
}
