//! The models beyond the first: each trains from the command line, goes on where it stopped, and names what is wrong.

use crate::common::{Folder, fails, ok, stdout};
use serde_json::Value;
use std::fs;

/// Trains twice as long as asked for, at once and in halves; the checkpoints must be equal. Gives the last figures.
fn trains_and_resumes(folder: &Folder, args: &[&str]) -> Value {
    let train = |more: &[&str]| ok(folder.run(&[&["train"], args, more].concat()));
    let output = train(&["--epochs", "2", "--out", "whole", "--json"]);
    train(&["--epochs", "1", "--out", "halves"]);
    train(&["--epochs", "2", "--out", "halves", "--resume"]);
    let [a, b] =
        ["whole", "halves"].map(|run| fs::read(folder.join(run).join("checkpoint.safetensors")).unwrap());
    assert!(a == b, "the checkpoints of {args:?} differ");
    serde_json::from_str(&stdout(&output)).unwrap()
}

#[test]
fn a_vae_learns_and_makes_pictures() {
    let folder = Folder::new();
    let tiny =
        ["vae", "--data", "digits:600", "--batch", "20", "--hidden", "64", "--latent", "4", "--lr", "0.003"];
    let figures = trains_and_resumes(&folder, &tiny);
    assert!(figures["elbo"].as_f64().unwrap() > -260.0, "{figures}");
    assert!(folder.join("whole/samples/epoch-0001.png").exists());
    ok(folder.run(&["sample", "whole"]));
    let none = folder.run(&["train", "vae", "--activation", "none", "--data", "digits:60", "--out", "none"]);
    fails(&none, 1, &["relu, tanh, sigmoid"]);
}

#[test]
fn an_autoencoder_learns_to_take_noise_away() {
    let folder = Folder::new();
    let tiny =
        ["ae", "--data", "digits:600", "--batch", "20", "--hidden", "64", "--code", "16", "--lr", "0.003"];
    let figures =
        trains_and_resumes(&folder, &[&tiny[..], &["--corruption", "masking", "--noise", "0.2"]].concat());
    assert!(figures["denoised"].as_f64().unwrap() < 60.0, "{figures}");
    let much = folder.run(&["train", "ae", "--corruption", "masking", "--noise", "2", "--out", "much"]);
    fails(&much, 1, &["masking = 2 is not between 0 and 1"]);
}

#[test]
fn a_dcgan_trains_with_every_loss() {
    let tiny = ["dcgan", "--data", "digits:64", "--batch", "16", "--features", "2", "--latent", "4"];
    for more in [
        &[][..],
        &[
            "--loss",
            "wasserstein",
            "--penalty",
            "gradient",
            "--normalization",
            "layer",
            "--critic-steps",
            "2",
        ],
        &["--loss", "hinge", "--normalization", "spectral", "--penalty", "r1", "--average", "0.9"],
    ] {
        let folder = Folder::new();
        let figures = trains_and_resumes(&folder, &[&tiny[..], more].concat());
        assert!(figures["d_loss"].is_f64(), "{figures}");
        ok(folder.run(&["sample", "whole"]));
    }
    let folder = Folder::new();
    let batch = folder.run(&["train", "dcgan", "--penalty", "gradient", "--out", "batch"]);
    fails(&batch, 1, &["normalization by layer"]);
}
