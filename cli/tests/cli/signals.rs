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

fn saved_step(folder: &Folder) -> u64 {
    let info = ok(folder.run(&["info", "run", "--json"]));
    let info: serde_json::Value = serde_json::from_slice(&info.stdout).unwrap();
    info["step"].as_u64().unwrap()
}

/// 32 kills at random moments of training, each followed by a resumed run: the newest checkpoint is always readable,
/// never older than the one before the kill, and in the end what an unbroken run has, bit for bit.
#[test]
fn a_kill_at_any_moment_leaves_a_readable_checkpoint() {
    let folder = Folder::new();
    let saved = || fs::metadata(folder.join("run/checkpoint.safetensors")).and_then(|m| m.modified()).ok();
    let (mut random, mut last) = (0x2545_f491_4f6c_dd1du64, 0);
    for round in 0..32u64 {
        let resume: &[&str] = if folder.join("run/config.toml").exists() { &["--resume"] } else { &[] };
        let args = [&["train", "gan"], TINY, &["--epochs", "1000000", "--out", "run"], resume].concat();
        let mut child = folder.command(&args).stderr(Stdio::null()).spawn().unwrap();
        // Every other kill comes at any moment after the start, the others while checkpoints are being written.
        let (before, start) = (saved(), Instant::now());
        while round % 2 == 0 && saved() == before {
            assert!(start.elapsed() < Duration::from_secs(60), "no checkpoint was ever saved");
            std::thread::sleep(Duration::from_millis(1));
        }
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        std::thread::sleep(Duration::from_micros(random % if round % 2 == 0 { 50_000 } else { 400_000 }));
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        let step = saved_step(&folder);
        assert!(step.is_multiple_of(4), "round {round}: step {step}");
        assert!(step >= last + 4 * u64::from(round % 2 == 0), "round {round}: step {step} after {last}");
        last = step;
        let temporary = fs::read_dir(folder.join("run")).unwrap().flatten();
        let temporary = temporary.filter(|e| e.file_name().to_string_lossy().ends_with(".tmp")).count();
        assert!(temporary < 3, "{temporary} temporary files");
    }
    let epochs = (last / 4 + 1).to_string();
    ok(folder.train(&["--epochs", &epochs, "--out", "run", "--resume"]));
    ok(folder.train(&["--epochs", &epochs, "--out", "whole"]));
    let bytes = |run: &str| fs::read(folder.join(run).join("checkpoint.safetensors")).unwrap();
    assert!(bytes("run") == bytes("whole"), "the run that was killed 32 times differs from an unbroken one");
}

/// A signal during the evaluation after an epoch stops that, too; the resumed run makes up for it.
#[test]
fn an_evaluation_is_interrupted_and_made_up_for() {
    let folder = Folder::new();
    let args = ["train", "classifier", "--data", "digits:200", "--test", "digits:18000", "--batch", "100"];
    let run = |out: &'static str, more: &[&'static str]| {
        [&args, &["--hidden", "8", "--log-every", "1", "--epochs", "2", "--out", out], more].concat()
    };
    ok(folder.run(&run("whole", &[])));
    let lines = |out: &str| {
        let text = fs::read_to_string(folder.join(out).join("metrics.jsonl")).unwrap_or_default();
        text.lines().map(|l| l.split(",\"seconds").next().unwrap().to_string()).collect::<Vec<_>>()
    };
    let mut interrupted = 0;
    for delay in [0, 10, 40, 160] {
        let _ = fs::remove_dir_all(folder.join("run"));
        let child = folder.command(&run("run", &[])).stderr(Stdio::piped()).spawn().unwrap();
        let start = Instant::now();
        while lines("run").len() < 2 {
            assert!(start.elapsed() < Duration::from_secs(30), "two steps were never made");
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(delay));
        signal(&child, "-INT");
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
        interrupted += usize::from(lines("run").len() == 2);
        ok(folder.run(&run("run", &["--resume"])[..]));
        assert_eq!(lines("run"), lines("whole"), "signal after {delay} ms");
        let bytes = |out: &str| fs::read(folder.join(out).join("checkpoint.safetensors")).unwrap();
        assert!(bytes("run") == bytes("whole"), "signal after {delay} ms");
    }
    assert!(interrupted > 0, "every evaluation was over before its signal");
}

/// The first signal waits for the step, or here for an evaluation of minutes; the second does not.
#[test]
fn a_second_signal_exits_at_once() {
    let folder = Folder::new();
    let args = ["train", "vae", "--data", "digits:100", "--batch", "100", "--hidden", "64", "--epochs", "1"];
    let more = ["--test", "digits:4000", "--test-samples", "20000", "--out", "run"];
    let mut child = folder.command(&[&args[..], &more].concat()).stderr(Stdio::null()).spawn().unwrap();
    wait_for(&folder, "run/samples/epoch-0001.png");
    // A signal before the first pictures of the evaluation would end it there.
    std::thread::sleep(Duration::from_millis(300));
    signal(&child, "-INT");
    std::thread::sleep(Duration::from_millis(100));
    assert!(child.try_wait().unwrap().is_none(), "the evaluation is over already");
    signal(&child, "-TERM");
    let start = Instant::now();
    assert_eq!(child.wait().unwrap().code(), Some(143));
    assert!(start.elapsed() < Duration::from_secs(5));
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
