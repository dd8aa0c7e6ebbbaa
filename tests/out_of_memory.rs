//! Memory that cannot be had is an error with its size, and no more than that.
#![cfg(target_os = "linux")]

use gradus::checkpoint::Checkpoint;
use gradus::data::Images;
use gradus::{Error, Rng, Tensor};
use std::process::{Command, Stdio};

/// Not a test: what [`a_limit_on_memory_is_an_error_with_the_bytes`] runs with little memory.
#[test]
#[ignore]
fn with_little_memory() {
    if std::env::var_os("GRADUS_TEST_LITTLE_MEMORY").is_none() {
        return;
    }
    const HUGE: usize = 1 << 30;
    let mut rng = Rng::seed(1);
    for _ in 0..3 {
        match rng.normal([HUGE]).to_vec::<f32>() {
            Err(Error::OutOfMemory { bytes, .. }) => assert!((4 << 30..8 << 30).contains(&bytes), "{bytes}"),
            other => panic!("{:?} values", other.map(|v| v.len())),
        }
    }
    let message = (rng.normal([HUGE]) + 1.0).to_vec::<f32>().unwrap_err().to_string();
    assert!(message.contains("out of memory: 4294967296 bytes") && message.contains(file!()), "{message}");
    let mut checkpoint = Checkpoint::new();
    checkpoint.tensors.insert("huge".into(), rng.normal([HUGE]));
    assert!(matches!(checkpoint.to_bytes(), Err(Error::OutOfMemory { .. })));
    let digits = gradus::data::Digits::new(1, 4_000_000);
    let message = Images::from_source(&digits).unwrap_err().to_string();
    assert!(message.contains("no memory for 4000000 images of 1x28x28"), "{message}");
    // What fits still works.
    let small = Tensor::from([1.0f32, 2.0]);
    assert_eq!((&small + &small).to_vec::<f32>().unwrap(), [2.0, 4.0]);
}

#[test]
fn a_limit_on_memory_is_an_error_with_the_bytes() {
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -v 2097152 && exec \"$0\" \"$@\""]).arg(std::env::current_exe().unwrap());
    shell.args(["--ignored", "--exact", "with_little_memory", "--nocapture"]);
    let output =
        shell.env("GRADUS_TEST_LITTLE_MEMORY", "1").stdin(Stdio::null()).output().expect("a shell runs");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}
