//! The switches that a process is started with: each test starts this program again with some of them set.
#![cfg(feature = "gpu")]

mod gpu_support;
#[path = "gpu_support/net.rs"]
mod net;

use gpu_support::gpu;
use gradus::nn::Module;
use gradus::optim::Adam;
use gradus::{Rng, Tensor};
use net::Net;
use std::process::{Command, Output};

#[test]
#[ignore = "started by the others"]
fn three_steps() {
    let Some(gpu) = gpu() else { return };
    gpu.scope(|| {
        let mut rng = Rng::seed(1);
        let net = Net::new([12, 40, 3], &mut rng);
        let mut adam = Adam::new(net.params(), 2e-3);
        let x = rng.normal([50, 12]);
        for _ in 0..3 {
            let loss = net.forward(&x).log_softmax(1).slice(1, ..1).mean(..);
            adam.step(&loss).unwrap();
            println!("loss {:08x}", (loss.item().unwrap() as f32).to_bits());
        }
    });
}

#[test]
#[ignore = "started by the others"]
fn a_logarithm_of_a_negative_number() {
    let Some(gpu) = gpu() else { return };
    let x = gpu.scope(|| Tensor::from([1.0f32, -1.0, 2.0]));
    println!("finite: {:?}", (&x * 2.0).to_vec::<f32>().map_err(|e| e.to_string()));
    println!("not finite: {:?}", ((x + 0.5).log() * 2.0).to_vec::<f32>().map_err(|e| e.to_string()));
}

/// Runs an ignored test of this program with a switch set.
fn with(switch: (&str, &str), test: &str) -> Output {
    let program = std::env::current_exe().unwrap();
    let arguments = ["--ignored", "--exact", "--nocapture", test];
    let output = Command::new(program).args(arguments).env(switch.0, switch.1).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output
}

fn lines<'a>(bytes: &'a [u8], start: &str) -> Vec<&'a str> {
    std::str::from_utf8(bytes).unwrap().lines().filter_map(|l| l.find(start).map(|at| &l[at..])).collect()
}

/// Losses are the same, bit for bit, whether a switch is off or on.
fn losses_do_not_depend_on(switch: &str) {
    if gpu().is_none() {
        return;
    }
    let [off, on] = ["0", "1"].map(|value| with((switch, value), "three_steps"));
    let losses = lines(&off.stdout, "loss ");
    assert_eq!(losses.len(), 3, "{off:?}");
    assert_eq!(losses, lines(&on.stdout, "loss "));
}

#[test]
fn losses_have_the_same_bits_with_and_without_the_checks_of_shaders() {
    losses_do_not_depend_on("GRADUS_GPU_CHECKS");
}

#[test]
fn losses_have_the_same_bits_with_and_without_subgroups() {
    losses_do_not_depend_on("GRADUS_SUBGROUPS");
}

#[test]
fn a_trace_names_every_kernel_with_its_rate() {
    if gpu().is_none() {
        return;
    }
    let traced = with(("GRADUS_TRACE", "1"), "three_steps");
    let plain = with(("GRADUS_TRACE", "0"), "three_steps");
    assert_eq!(lines(&traced.stdout, "loss "), lines(&plain.stdout, "loss "));
    let text = String::from_utf8(traced.stderr).unwrap();
    let line = |words: [&str; 2]| text.lines().any(|l| words.iter().all(|word| l.contains(word)));
    assert!(line(["gemm NT 50x12x40", "GFLOP/s"]), "{text}");
    assert!(line(["map", "GB/s"]) && line(["reduce", "GB/s"]), "{text}");
    assert!(lines(&plain.stderr, "GFLOP/s").is_empty());
}

#[test]
fn the_guard_names_the_op_and_its_line() {
    if gpu().is_none() {
        return;
    }
    let guarded = with(("GRADUS_GUARD", "1"), "a_logarithm_of_a_negative_number");
    assert_eq!(lines(&guarded.stdout, "finite: Ok([2.0, -2.0, 4.0])").len(), 1, "{guarded:?}");
    let found = lines(&guarded.stdout, "not finite: Err(");
    assert!(
        found.len() == 1 && found[0].contains("log") && found[0].contains("gpu_switches.rs"),
        "{found:?}"
    );
    let plain = with(("GRADUS_GUARD", "0"), "a_logarithm_of_a_negative_number");
    assert!(lines(&plain.stdout, "not finite: Ok(").len() == 1, "{plain:?}");
}
