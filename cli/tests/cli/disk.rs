//! Full and failing disks, and the order in which files reach them. Calls of the system are watched and failed by
//! strace; where that is missing or not allowed, or a test needs a small disk and the user may mount none, it says
//! that it was skipped.

use crate::common::{Folder, TINY, code, fails, ok, stderr};
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A disk of its own, in memory.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` where only others may mount.
    fn mount(at: PathBuf, size: &str) -> Option<SmallDisk> {
        fs::create_dir_all(&at).unwrap();
        let options = format!("size={size}");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "none"]).arg(&at).stderr(Stdio::null());
        mount.status().is_ok_and(|s| s.success()).then_some(SmallDisk(at))
    }

    fn resize(&self, size: &str) {
        let options = format!("remount,size={size}");
        assert!(Command::new("mount").args(["-o", &options]).arg(&self.0).status().unwrap().success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// How many temporary files lie in a folder and below.
fn temporary_files(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).unwrap().flatten();
    entries
        .map(|e| match e.path().is_dir() {
            true => temporary_files(&e.path()),
            false => usize::from(e.file_name().to_string_lossy().ends_with(".tmp")),
        })
        .sum()
}

/// The step of a run's checkpoint, which must be readable.
fn saved_step(folder: &Folder, run: &str) -> u64 {
    let info = ok(folder.run(&["info", run, "--json"]));
    let info: serde_json::Value = serde_json::from_slice(&info.stdout).unwrap();
    info["step"].as_u64().unwrap()
}

/// Demands that the run, resumed, ends where the unbroken one did.
fn resumes_to(folder: &Folder, run: &str, whole: &str, about: &str) {
    ok(folder.train(&["--epochs", "4", "--out", run, "--resume"]));
    for file in ["checkpoint.safetensors", "samples/epoch-0004.png"] {
        let [a, b] = [run, whole].map(|r| fs::read(folder.join(r).join(file)).unwrap());
        assert!(a == b, "{about}: {file} differs from that of an unbroken run");
    }
}

#[test]
fn a_full_disk_is_named_and_costs_nothing_that_was_saved() {
    let folder = Folder::new();
    let Some(disk) = SmallDisk::mount(folder.join("small"), "1m") else {
        println!("skipped: not allowed to mount a small disk");
        return;
    };
    // Two generations of 0.37 MiB fit, a third beside them does not.
    let output = folder.train(&["--epochs", "4", "--out", "small/run"]);
    fails(&output, 1, &["small/run/", "No space left on device"]);
    assert_eq!(temporary_files(&folder.join("small")), 0);
    assert_eq!(saved_step(&folder, "small/run"), 8);
    assert_eq!(saved_step(&folder, "small/run/checkpoint.safetensors.previous"), 4);
    // Nor is anything lost by trying again, or by other commands.
    fails(&folder.train(&["--epochs", "4", "--out", "small/run", "--resume"]), 1, &["No space left"]);
    assert_eq!(saved_step(&folder, "small/run"), 8);
    fs::write(folder.join("small/filler"), vec![0; 1 << 20]).unwrap_err();
    let sample = folder.run(&["sample", "small/run", "--out", "small/samples.png"]);
    fails(&sample, 1, &["small/samples.png", "No space left on device"]);
    assert!(!folder.join("small/samples.png").exists());
    assert_eq!(temporary_files(&folder.join("small")), 0);
    // With room again it goes on.
    disk.resize("16m");
    ok(folder.train(&["--epochs", "4", "--out", "whole"]));
    resumes_to(&folder, "small/run", "whole", "after a full disk");
}

/// strace as a command, where it is there and may watch.
fn strace(args: &[&str]) -> Option<Command> {
    let mut probe = Command::new("strace");
    probe.args(["-o", "/dev/null", "true"]).stdout(Stdio::null()).stderr(Stdio::null());
    if !cfg!(target_arch = "x86_64") || !probe.status().is_ok_and(|s| s.success()) {
        println!("skipped: no strace");
        return None;
    }
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "trace"]).args(args);
    Some(command)
}

/// Trains in a copy of the run `base` under strace with these arguments.
fn resume_traced(folder: &Folder, base: &str, args: &[&str]) -> Option<Output> {
    let _ = fs::remove_dir_all(folder.join("run"));
    fs::create_dir_all(folder.join("run/samples")).unwrap();
    for name in ["config.toml", "metrics.jsonl", "checkpoint.safetensors", "checkpoint.safetensors.previous"]
    {
        fs::copy(folder.join(base).join(name), folder.join("run").join(name)).unwrap();
    }
    let mut command = strace(args)?;
    command.arg(env!("CARGO_BIN_EXE_gradus")).args(["train", "gan"]).args(TINY);
    command.args(["--epochs", "4", "--out", "run", "--resume"]);
    command.current_dir(folder.join("")).stdin(Stdio::null());
    Some(command.output().unwrap())
}

/// A base of two epochs and an unbroken run of four.
fn runs() -> Folder {
    let folder = Folder::new();
    ok(folder.train(&["--epochs", "2", "--out", "base"]));
    ok(folder.train(&["--epochs", "4", "--out", "whole"]));
    folder
}

#[test]
fn a_kill_at_any_call_leaves_a_readable_checkpoint() {
    let folder = runs();
    let calls: [(&str, &[u32]); 5] = [
        ("write", &[1, 3, 6, 8, 10, 13, 17, 22, 28]),
        ("fsync", &[1, 2, 3, 4, 5, 6]),
        ("rename", &[1, 2, 3, 4, 5]),
        ("linkat", &[1, 2]),
        ("unlink", &[1]),
    ];
    for (call, numbers) in calls {
        let mut killed = 0;
        for n in numbers {
            let inject = format!("inject={call}:signal=KILL:when={n}");
            let trace = format!("trace={call}");
            let Some(output) = resume_traced(&folder, "base", &["-e", &trace, "-e", &inject]) else { return };
            let about = format!("killed at {call} number {n}");
            killed += usize::from(!output.status.success());
            let step = saved_step(&folder, "run");
            assert!([8, 12, 16].contains(&step), "{about}: the checkpoint is of step {step}");
            assert!(temporary_files(&folder.join("run")) < 3, "{about}: temporary files pile up");
            resumes_to(&folder, "run", "whole", &about);
            assert_eq!(temporary_files(&folder.join("run")), 0, "{about}");
        }
        assert!(killed > 0, "{call} was never reached");
    }
}

#[test]
fn a_failing_disk_is_named_and_costs_nothing_that_was_saved() {
    let folder = runs();
    let faults: [(&str, &str, &str, &[u32]); 4] = [
        ("fsync", "EIO", "Input/output error", &[1, 2, 3, 4, 5, 6]),
        ("fdatasync", "EIO", "Input/output error", &[1]),
        ("rename", "EXDEV", "cross-device link", &[1, 2, 3, 4]),
        ("rename", "EROFS", "Read-only file system", &[1, 4]),
    ];
    for (call, error, words, numbers) in faults {
        for n in numbers {
            let inject = format!("inject={call}:error={error}:when={n}");
            let trace = format!("trace={call}");
            let Some(output) = resume_traced(&folder, "base", &["-e", &trace, "-e", &inject]) else { return };
            let about = format!("{error} at {call} number {n}");
            let text = stderr(&output);
            assert_eq!(code(&output), 1, "{about}: {text}");
            assert!(text.contains("run/") && text.contains(words), "{about}: {text}");
            assert_eq!(temporary_files(&folder.join("run")), 0, "{about}");
            saved_step(&folder, "run");
            resumes_to(&folder, "run", "whole", &about);
        }
    }
    // Where files cannot have two names, the older generation is copied.
    let args = ["-e", "trace=linkat", "-e", "inject=linkat:error=EPERM"];
    let Some(output) = resume_traced(&folder, "base", &args) else { return };
    ok(output);
    assert_eq!(saved_step(&folder, "run/checkpoint.safetensors.previous"), 12);
}

/// The path in `<…>` behind the first descriptor of a line of strace.
fn descriptor(call: &str) -> Option<String> {
    let (_, rest) = call.split_once('<')?;
    Some(rest.split_once('>')?.0.to_string())
}

/// Every file that a run leaves was written under another name, synced, renamed, and its folder synced, in that order.
#[test]
fn files_reach_the_disk_in_order() {
    let folder = runs();
    let args = ["-y", "-e", "trace=write,fsync,rename"];
    let Some(output) = resume_traced(&folder, "base", &args) else { return };
    ok(output);
    let trace = fs::read_to_string(folder.join("trace")).unwrap();
    let mut written: HashMap<String, usize> = HashMap::new();
    let mut synced: HashMap<String, usize> = HashMap::new();
    let mut renamed: Vec<(usize, String, String)> = Vec::new();
    let mut folders: Vec<(usize, String)> = Vec::new();
    for (at, line) in trace.lines().enumerate() {
        // Behind the number of the thread.
        let call = line.split_once(' ').map_or("", |(_, call)| call.trim_start());
        if call.starts_with("rename(") {
            let names: Vec<&str> = call.split('"').collect();
            renamed.push((at, names[1].to_string(), names[3].to_string()));
            continue;
        }
        let Some(path) = descriptor(call) else { continue };
        if call.starts_with("write(") {
            written.insert(path, at);
        } else if Path::new(&path).is_dir() {
            folders.push((at, path));
        } else {
            synced.insert(path, at);
        }
    }
    let mut finished = Vec::new();
    for (at, from, to) in &renamed {
        let full = fs::canonicalize(folder.join("run")).unwrap();
        let full_from = full.parent().unwrap().join(from).display().to_string();
        if !to.ends_with(".previous") {
            let wrote = written.get(&full_from).unwrap_or_else(|| panic!("{from} was not written"));
            let sync = synced.get(&full_from).unwrap_or_else(|| panic!("{from} was not synced"));
            assert!(wrote < sync, "{from} was written to after it was synced");
            assert!(sync < at, "{from} was renamed before it was synced");
            assert!(!written.contains_key(&full.parent().unwrap().join(to).display().to_string()), "{to}");
        }
        let parent = full.parent().unwrap().join(to);
        let parent = parent.parent().unwrap().display().to_string();
        assert!(
            folders.iter().any(|(f, path)| f > at && *path == parent),
            "the folder of {to} was not synced"
        );
        finished.push(to.rsplit('/').next().unwrap().to_string());
    }
    for name in ["config.toml", "epoch-0003.png", "checkpoint.safetensors", "checkpoint.safetensors.previous"]
    {
        assert!(finished.iter().any(|f| f == name), "{name} was not written in this way: {finished:?}");
    }
}
