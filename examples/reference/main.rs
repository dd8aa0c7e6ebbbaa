//! Trains a model by a published or measured protocol and prints its figures beside those expected.
//!
//! `cargo run --release --example reference -- vae mnist:FOLDER [SEED] [STEPS]`
//!
//! The protocols are `vae`, `burda` and `ae`; each is described where it stands in this folder. Data are named as
//! in [`gradus::data::open`]; the figures expected are those of MNIST.

mod vae;

use gradus::Result;
use gradus::data::{self, Split};

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |i: usize, default| args.get(i).and_then(|a| a.parse().ok()).unwrap_or(default);
    let protocol = args.first().map_or("", String::as_str);
    let data = |seed| -> Result<Split> { data::open(args.get(1).map_or("digits", |a| a), seed) };
    let (seed, steps) = (number(2, 1), number(3, u64::MAX));
    match protocol {
        "vae" => vae::vae(&data(seed)?, seed, steps.min(13_800)),
        "burda" => vae::burda(&data(seed)?, seed, steps.min(60_000)),
        _ => {
            eprintln!("usage: reference vae|burda mnist:FOLDER|digits [SEED] [STEPS]");
            std::process::exit(2);
        }
    }
}
