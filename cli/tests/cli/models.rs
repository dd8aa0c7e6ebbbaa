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

/// Starts a run and gives, in bytes, the tensor memory that it announces before it trains, and the most that its process
/// had until it ended.
#[cfg(target_os = "linux")]
fn announced_and_measured(folder: &Folder, args: &[&str]) -> (f64, f64) {
    use std::io::{BufRead, BufReader};
    use std::process::Stdio;
    let mut run = folder.command(args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let (status, mut most) = (format!("/proc/{}/status", run.id()), 0.0);
    let text = BufReader::new(run.stderr.take().unwrap());
    let reader = std::thread::spawn(move || text.lines().map(|l| l.unwrap() + "\n").collect::<String>());
    while run.try_wait().unwrap().is_none() {
        let high = fs::read_to_string(&status).unwrap_or_default();
        let high =
            high.lines().find_map(|l| l.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
        most = high.map_or(most, |kb: f64| kb * 1024.0);
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let text = reader.join().unwrap();
    let announced =
        text.split("tensors take ").nth(1).and_then(|rest| rest.split(" MB").next()?.parse().ok());
    (announced.map_or_else(|| panic!("{text}"), |mb: f64| mb * 1e6), most)
}

/// What is announced is within twice of what the process then takes beyond what a process that trains next to nothing
/// does.
#[test]
#[cfg(target_os = "linux")]
fn the_memory_of_a_run_is_announced() {
    let folder = Folder::new();
    let common = ["--data", "digits:640", "--epochs", "1"];
    let (_, least) = announced_and_measured(
        &folder,
        &[&["train", "gan", "--hidden", "4", "--batch", "8", "--out", "least"], &common[..]].concat(),
    );
    let models: [&[&str]; 4] = [
        &["gan", "--hidden", "1024,1024", "--batch", "128"],
        &["dcgan", "--batch", "128"],
        &["ae", "--hidden", "1500,1000", "--batch", "128"],
        &["vae", "--hidden", "1500,1000", "--batch", "128"],
    ];
    for model in models {
        let args = [&["train"], model, &common, &["--out", model[0]]].concat();
        let (announced, most) = announced_and_measured(&folder, &args);
        let measured = most - least;
        println!("{model:?}: {announced} announced, {measured} measured");
        assert!(announced > 30e6, "{model:?}: {announced} bytes are too few to be told from the rest");
        let ratio = measured / announced;
        assert!((0.5..=2.0).contains(&ratio), "{model:?}: {announced} bytes announced, {measured} taken");
    }
}
