//! Runs of the built command: what they leave, how they go on, who may run.

use crate::common::{Folder, TINY, fails, ok, stderr, stdout};
use std::fs;

/// The lines of metrics without the one figure that is of the clock.
fn metrics(path: std::path::PathBuf) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    let lines = text.lines().map(|line| {
        let mut line: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line).unwrap();
        assert!(line.remove("seconds").unwrap().is_number());
        serde_json::to_string(&line).unwrap()
    });
    lines.collect()
}

#[test]
fn a_run_leaves_what_it_says() {
    let folder = Folder::new();
    let output = ok(folder.train(&["--epochs", "2", "--out", "run", "--json"]));
    let figures: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(figures["steps"], 8);
    assert_eq!(figures["model"], "gan");
    assert!(figures["d_loss"].as_f64().unwrap() > 0.0);
    for name in ["config.toml", "metrics.jsonl", "checkpoint.safetensors", "checkpoint.safetensors.previous"]
    {
        assert!(folder.join("run").join(name).is_file(), "{name}");
    }
    assert!(!folder.join("run/lock").exists());
    assert_eq!(metrics(folder.join("run/metrics.jsonl")).len(), 8);
    for epoch in 1..=2 {
        let grid = image::open(folder.join(&format!("run/samples/epoch-000{epoch}.png"))).unwrap().to_luma8();
        assert_eq!(grid.dimensions(), (8 * (2 * 28 + 2) + 2, 8 * (2 * 28 + 2) + 2));
        let mut shades: Vec<u8> = grid.into_raw();
        shades.sort();
        shades.dedup();
        assert!(shades.len() > 50, "the pictures are flat");
    }
    // The configuration is complete: a run from it alone is the same run.
    let again = ok(folder.run(&["train", "gan", "--config", "run/config.toml", "--out", "again", "--quiet"]));
    assert!(stdout(&again).is_empty() && stderr(&again).is_empty());
    let bytes = |name: &str| fs::read(folder.join(name)).unwrap();
    assert_eq!(bytes("run/checkpoint.safetensors"), bytes("again/checkpoint.safetensors"));
    assert_eq!(bytes("run/config.toml"), bytes("again/config.toml"));
}

#[test]
fn a_resumed_run_is_the_unbroken_one_bit_for_bit() {
    let folder = Folder::new();
    for (name, options) in
        [("plain", vec!["--average", "0"]), ("full", vec!["--average", "0.9", "--real-label", "0.9"])]
    {
        let run = |out: &str, more: &[&str]| {
            let out = format!("{name}-{out}");
            ok(folder.train(&[&options, more, &["--out", &out]].concat()))
        };
        run("whole", &["--epochs", "4"]);
        run("halves", &["--epochs", "1"]);
        run("halves", &["--epochs", "2", "--resume"]);
        run("halves", &["--epochs", "4", "--resume"]);
        for file in ["checkpoint.safetensors", "config.toml", "samples/epoch-0004.png"] {
            let [a, b] =
                ["whole", "halves"].map(|r| fs::read(folder.join(&format!("{name}-{r}/{file}"))).unwrap());
            assert!(a == b, "{name}: {file} differs");
        }
        let [a, b] = ["whole", "halves"].map(|r| metrics(folder.join(&format!("{name}-{r}/metrics.jsonl"))));
        assert_eq!(a, b);
    }
}

/// A checkpoint alone is enough to sample from and to go on with, wherever it lies.
#[test]
fn a_checkpoint_needs_nothing_beside_it() {
    let folder = Folder::new();
    ok(folder.train(&["--epochs", "2", "--out", "run"]));
    fs::create_dir(folder.join("alone")).unwrap();
    fs::rename(folder.join("run/checkpoint.safetensors"), folder.join("alone/checkpoint.safetensors"))
        .unwrap();
    fs::remove_dir_all(folder.join("run")).unwrap();
    ok(folder.run(&["sample", "alone/checkpoint.safetensors", "--out", "sheet.png"]));
    ok(folder.run(&["train", "gan", "--resume", "--epochs", "4", "--out", "alone"]));
    ok(folder.train(&["--epochs", "4", "--out", "whole"]));
    for file in ["checkpoint.safetensors", "config.toml", "samples/epoch-0004.png"] {
        let [a, b] = ["whole", "alone"].map(|r| fs::read(folder.join(r).join(file)).unwrap());
        assert!(a == b, "{file} differs");
    }
    fails(
        &folder.run(&["train", "vae", "--resume", "--out", "alone"]),
        1,
        &["alone/config.toml", "model \"gan\""],
    );
}

#[test]
fn metrics_after_the_checkpoint_are_cut_off() {
    let folder = Folder::new();
    ok(folder.train(&["--epochs", "2", "--out", "run"]));
    let path = folder.join("run/metrics.jsonl");
    let whole = metrics(path.clone());
    let mut text = fs::read_to_string(&path).unwrap();
    text.push_str("{\"step\":9,\"epoch\":3,\"d_loss\":1,\"seconds\":1}\n{\"step\":10,\"ep");
    fs::write(&path, text).unwrap();
    ok(folder.train(&["--epochs", "3", "--out", "run", "--resume"]));
    let lines = metrics(path);
    assert_eq!(lines.len(), 12);
    assert_eq!(lines[..8], whole);
}

#[test]
fn a_folder_with_a_run_is_not_overwritten_unasked() {
    let folder = Folder::new();
    ok(folder.train(&["--epochs", "1", "--out", "run"]));
    fails(
        &folder.train(&["--epochs", "1", "--out", "run"]),
        1,
        &["run: holds a run already", "--resume", "--force"],
    );
    let mine = folder.write("run/samples/mine.png", b"x");
    ok(folder.train(&["--epochs", "2", "--out", "run", "--force"]));
    assert!(mine.exists());
    ok(folder.train(&["--epochs", "1", "--out", "run", "--force"]));
    assert!(!folder.join("run/samples/epoch-0002.png").exists(), "a picture of the run before is left");
    // Without --out every run finds a place.
    for place in ["runs/gan", "runs/gan-2"] {
        ok(folder.train(&["--epochs", "1"]));
        assert!(folder.join(place).join("config.toml").exists());
    }
}

#[test]
fn a_resumed_run_keeps_its_options() {
    let folder = Folder::new();
    ok(folder.train(&["--epochs", "1", "--out", "run"]));
    let resume = |args: &[&str]| folder.run(&[&["train", "gan", "--resume", "--out", "run"], args].concat());
    fails(&resume(&["--batch", "8"]), 1, &["config.toml", "batch: 16 -> 8", "--epochs"]);
    fails(&resume(&["--g-lr", "0.1"]), 1, &["gan.g_lr: 0.0004 -> 0.1"]);
    let done = ok(resume(&[]));
    assert!(stderr(&done).contains("--epochs"), "{}", stderr(&done));
    fails(
        &folder.run(&["train", "gan", "--resume", "--out", "none"]),
        1,
        &["none/config.toml", "no run to resume"],
    );
    // Other data under the same name.
    let images = folder.join("images");
    fs::create_dir(&images).unwrap();
    for (i, name) in ["a.png", "b.png", "c.png"].iter().enumerate() {
        image::GrayImage::from_pixel(9, 9, image::Luma([i as u8 * 90])).save(images.join(name)).unwrap();
    }
    let train = |more: &[&str]| {
        let args =
            ["train", "gan", "--data", "images:images", "--size", "6", "--hidden", "8", "--batch", "3"];
        folder.run(&[&args, ["--out", "pictures"].as_slice(), more].concat())
    };
    ok(train(&["--epochs", "1"]));
    image::GrayImage::from_pixel(9, 9, image::Luma([1])).save(images.join("c.png")).unwrap();
    fails(&train(&["--epochs", "2", "--resume"]), 1, &["pictures/checkpoint.safetensors", "images:images"]);
}

#[test]
fn a_second_run_in_the_folder_is_refused() {
    let folder = Folder::new();
    let args = [&["train", "gan"], TINY, &["--epochs", "100000", "--out", "run"]].concat();
    let mut first = folder.command(&args).stderr(std::process::Stdio::null()).spawn().unwrap();
    while fs::read_to_string(folder.join("run/lock")).unwrap_or_default().trim().is_empty() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let second = folder.train(&["--epochs", "1", "--out", "run", "--force"]);
    let pid = first.id().to_string();
    first.kill().unwrap();
    first.wait().unwrap();
    fails(&second, 1, &["run/lock", &pid, "is training here", "--out"]);
    // The lock of a killed process is explained, and no obstacle.
    let third = ok(folder.train(&["--epochs", "1", "--out", "run", "--force"]));
    assert!(stderr(&third).contains(&pid) && stderr(&third).contains("gone"), "{}", stderr(&third));
}

#[test]
fn training_stops_at_nan_and_keeps_the_last_good_checkpoint() {
    let folder = Folder::new();
    // One step an epoch: the first is saved, the second cannot be taken.
    let args =
        ["train", "gan", "--data", "digits:64", "--batch", "64", "--hidden", "8,16,8", "--epochs", "5"];
    let output = folder.run(&[&args, ["--g-lr", "1e30", "--out", "run"].as_slice()].concat());
    fails(&output, 3, &["diverged after step 1", "src/", "shape [64,", "kept in run/checkpoint.safetensors"]);
    let good = fs::read(folder.join("run/checkpoint.safetensors")).unwrap();
    ok(folder.run(&["info", "run"]));
    fails(&folder.run(&["train", "gan", "--resume", "--out", "run"]), 3, &["diverged after step 1"]);
    assert!(fs::read(folder.join("run/checkpoint.safetensors")).unwrap() == good);
    let first = folder.train(&["--d-lr", "1e30", "--epochs", "1", "--out", "other"]);
    fails(&first, 3, &["diverged", "nothing was saved"]);
}

#[test]
fn the_other_commands_read_what_training_wrote() {
    let folder = Folder::new();
    ok(folder.train(&["--epochs", "1", "--out", "run"]));
    ok(folder.run(&["sample", "run", "--count", "5", "--out", "five.png"]));
    let grid = image::open(folder.join("five.png")).unwrap();
    assert_eq!((grid.width(), grid.height()), (3 * 58 + 2, 2 * 58 + 2));
    ok(folder.run(&["sample", "run/checkpoint.safetensors", "--count", "5", "--out", "again.png"]));
    ok(folder.run(&["sample", "run", "--count", "5", "--seed", "2", "--out", "other.png"]));
    let bytes = |name: &str| fs::read(folder.join(name)).unwrap();
    assert!(bytes("five.png") == bytes("again.png") && bytes("five.png") != bytes("other.png"));
    let info = ok(folder.run(&["info", "run", "--json"]));
    let info: serde_json::Value = serde_json::from_str(&stdout(&info)).unwrap();
    assert_eq!(info["step"], 4);
    assert_eq!(info["tensors"]["generator.layers.0.weight"], serde_json::json!([8, 4]));
    assert_eq!(info["config"]["gan"]["hidden"], serde_json::json!([8, 16]));
    assert!(stdout(&ok(folder.run(&["info", "run"]))).contains("generator.layers.0.weight"));
    assert!(stdout(&ok(folder.run(&["devices"]))).contains("simd"));
    for shell in ["bash", "zsh", "fish"] {
        assert!(stdout(&ok(folder.run(&["completions", shell]))).contains("resume"));
    }
}

#[test]
fn a_classifier_learns_resumes_and_makes_no_pictures() {
    let folder = Folder::new();
    let args =
        ["train", "classifier", "--data", "digits:400", "--batch", "20", "--hidden", "16", "--lr", "0.003"];
    let train = |more: &[&str]| ok(folder.run(&[&args, more].concat()));
    let output = train(&["--epochs", "4", "--out", "whole", "--json"]);
    let figures: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert!(figures["test_accuracy"].as_f64().unwrap() > 0.5, "{figures}");
    train(&["--epochs", "1", "--out", "halves"]);
    train(&["--epochs", "4", "--out", "halves", "--resume"]);
    let [a, b] =
        ["whole", "halves"].map(|r| fs::read(folder.join(r).join("checkpoint.safetensors")).unwrap());
    assert!(a == b, "the checkpoints differ");
    let [a, b] = ["whole", "halves"].map(|r| metrics(folder.join(r).join("metrics.jsonl")));
    assert_eq!(a, b);
    fails(
        &folder.run(&["sample", "whole"]),
        1,
        &["whole/checkpoint.safetensors", "classifier", "no pictures"],
    );
    let other = folder.run(&["train", "gan", "--resume", "--out", "whole"]);
    fails(&other, 1, &["whole/config.toml", "classifier"]);
}

#[test]
fn gradients_are_checked_in_a_table() {
    let folder = Folder::new();
    let output = ok(folder.run(&["check", "--filter", "tanh", "--draws", "2"]));
    let table = stdout(&output);
    assert!(table.lines().any(|l| l.starts_with("tanh ") && l.ends_with("ok")), "{table}");
    assert!(table.contains("0 wrong"), "{table}");
    fails(&folder.run(&["check", "--filter", "tanhh"]), 1, &["\"tanhh\""]);
}
