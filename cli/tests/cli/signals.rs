//! Signals, kills and closed pipes at any moment.

use crate::common::{Folder, TINY, ok, stderr};
use std::fs;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// Trains for ever in the folder `run`.
fn endless(folder: &Folder) -> Child {
    let args = [&["train", "gan"], TINY, &["--epochs", "1000000", "--out", "run"]].concat();
    folder.command(&args).stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

fn wait_for(folder: &Folder, name: &str) {
    let start = Instant::now();
    while !folder.join(name).exists() {
        assert!(start.elapsed() < Duration::from_secs(30), "{name} never came");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn signal(child: &Child, name: &str) {
    let status = std::process::Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

#[test]
fn signals_save_and_stop() {
    for (name, code) in [("-INT", 130), ("-TERM", 143), ("-HUP", 129)] {
        let folder = Folder::new();
        let child = endless(&folder);
        wait_for(&folder, "run/metrics.jsonl");
        std::thread::sleep(Duration::from_millis(code % 40));
        signal(&child, name);
        let output = child.wait_with_output().unwrap();
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(code as i32), "{text}");
        assert!(
            text.contains("is saved in run/checkpoint.safetensors") && text.contains("--resume"),
            "{text}"
        );
        assert!(!folder.join("run/lock").exists());
        // What was saved goes on to what an unbroken run gives.
        let saved = ok(folder.run(&["info", "run", "--json"]));
        let saved: serde_json::Value = serde_json::from_slice(&saved.stdout).unwrap();
        let epochs = (saved["step"].as_u64().unwrap() / 4 + 1).to_string();
        ok(folder.train(&["--epochs", &epochs, "--out", "run", "--resume"]));
        ok(folder.train(&["--epochs", &epochs, "--out", "whole"]));
        let bytes = |run: &str| fs::read(folder.join(run).join("checkpoint.safetensors")).unwrap();
        assert!(bytes("run") == bytes("whole"), "{name}: the resumed run differs");
    }
}

#[test]
fn a_kill_at_any_moment_leaves_a_readable_checkpoint() {
    let folder = Folder::new();
    for round in 0..12u64 {
        let resume: &[&str] = if folder.join("run/config.toml").exists() { &["--resume"] } else { &[] };
        let args = [&["train", "gan"], TINY, &["--epochs", "1000000", "--out", "run"], resume].concat();
        let mut child = folder.command(&args).stderr(Stdio::null()).spawn().unwrap();
        if round == 0 {
            wait_for(&folder, "run/checkpoint.safetensors");
        }
        std::thread::sleep(Duration::from_millis(20 + round * 37 % 101));
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        ok(folder.run(&["info", "run"]));
        let temporary = fs::read_dir(folder.join("run")).unwrap().flatten();
        let temporary = temporary.filter(|e| e.file_name().to_string_lossy().ends_with(".tmp")).count();
        assert!(temporary < 3, "{temporary} temporary files");
    }
    let output = ok(folder.run(&["info", "run", "--json"]));
    let saved: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(saved["step"].as_u64().unwrap() >= 4);
}

#[test]
fn closed_pipes_are_no_panic() {
    let folder = Folder::new();
    for args in [&["--help"][..], &["completions", "bash"], &["devices"], &["train", "gan", "--help"]] {
        let mut child = folder.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let mut text = String::new();
        child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        child.wait().unwrap();
        assert!(!text.contains("panicked"), "{args:?}: {text}");
    }
    // Training goes on though nobody reads.
    let args = [&["train", "gan"], TINY, &["--epochs", "2", "--out", "run"]].concat();
    let mut child = folder.command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop((child.stdout.take(), child.stderr.take()));
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(folder.join("run/samples/epoch-0002.png").exists());
}
