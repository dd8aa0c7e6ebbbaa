//! The process that others measure.

use std::process::{Command, Output};

fn run(name: Option<&str>, steps: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gradus-process"));
    command.env_remove("PEER_PROC").env("PEER_STEPS", steps);
    command.envs(name.map(|name| ("PEER_PROC", name))).output().unwrap()
}

#[test]
fn it_says_when_its_first_step_is_done() {
    let done = run(Some("vae"), "2");
    assert!(done.status.success() && done.stdout == b"FIRST_STEP\n", "{done:?}");
}

#[test]
fn it_names_what_it_does_not_know() {
    for (name, steps, words) in [
        (Some("vea"), "2", ["vea", "mlpgan"]),
        (None, "2", ["PEER_PROC", "vae"]),
        (Some("vae"), "none", ["PEER_STEPS", "none"]),
    ] {
        let failed = run(name, steps);
        let said = String::from_utf8(failed.stderr).unwrap();
        assert!(!failed.status.success() && words.iter().all(|word| said.contains(word)), "{said}");
    }
}
