//! `gradus bench` and `gradus graph`, briefly.

use crate::common::{Folder, TINY, fails, ok, stdout};
use serde_json::Value;

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

#[test]
fn a_ladder_has_the_plain_loop_every_instruction_set_and_the_machine_itself() {
    let folder = Folder::new();
    let args = ["bench", "--kernel", "gemm", "--filter", "NN 64x64x64", "--threads", "2", "--budget", "0.01"];
    let all = lines(&stdout(&ok(folder.run(&[&args[..], &["--json"]].concat()))));
    let of = |suite: &str| all.iter().filter(|l| l["suite"] == suite).collect::<Vec<_>>();
    let names = |lines: &[&Value], key: &str| {
        lines.iter().filter_map(|l| l[key].as_str().map(String::from)).collect::<Vec<_>>()
    };
    let peak = names(&of("peak"), "name");
    assert!(peak.contains(&"fma_scalar".into()) && peak.contains(&"fma_portable".into()), "{peak:?}");
    assert!(names(&of("membw"), "name").contains(&"copy_dram".into()));
    let rungs = of("gemm");
    assert_eq!(names(&rungs, "impl")[..2], ["gradus-naive", "gradus-portable"]);
    assert_eq!(rungs.last().and_then(|l| l["threads"].as_u64()), Some(2));
    for rung in &rungs[1..] {
        assert!(rung["share"].as_f64().unwrap() > 0.0 && rung["gflops"].as_f64().unwrap() > 0.0, "{rung}");
    }
    assert_eq!(all.len(), of("peak").len() + of("membw").len() + rungs.len());
}

#[test]
fn suites_print_the_lines_that_other_libraries_are_compared_by() {
    let folder = Folder::new();
    let args =
        ["bench", "--suite", "gemm", "--filter", "64x64x64", "--threads", "1", "--budget", "0.01", "--json"];
    let all = lines(&stdout(&ok(folder.run(&args))));
    let names: Vec<&str> = all.iter().filter_map(|l| l["name"].as_str()).collect();
    assert_eq!(names, ["NN_64x64x64", "NT_64x64x64", "TN_64x64x64"]);
    for line in &all {
        assert_eq!((line["suite"].as_str(), line["impl"].as_str()), (Some("gemm"), Some("gradus")));
        assert_eq!(line["flops"].as_f64(), Some(524_288.0));
        assert!(line["n"].as_u64().unwrap() >= 7 && line["min_s"].as_f64() <= line["median_s"].as_f64());
    }
    let table = stdout(&ok(folder.run(&args[..args.len() - 1])));
    assert!(
        table.contains("TN_64x64x64") && table.contains("GFLOP/s") && !table.contains('\u{1b}'),
        "{table}"
    );
}

#[test]
fn what_cannot_be_measured_is_said() {
    let folder = Folder::new();
    fails(&folder.run(&["bench", "--filter", "nothing has this name"]), 1, &["nothing has this name"]);
    fails(&folder.run(&["bench", "--suite", "gemm", "--filter", "xyz", "--json"]), 1, &["xyz"]);
    let elsewhere =
        folder.command(&["bench", "--device", "gpu"]).env("GRADUS_ADAPTER", "no such card").output();
    fails(&elsewhere.unwrap(), 1, &["no such card"]);
    fails(&folder.run(&["bench", "--budget", "0"]), 2, &["0.001"]);
    fails(&folder.run(&["bench", "--suite", "gemm", "--kernel", "gemm"]), 2, &["--suite"]);
}

#[test]
fn a_model_and_a_checkpoint_have_tapes() {
    let folder = Folder::new();
    let graph = |args: &[&str]| stdout(&ok(folder.run(&[&["graph", "--batch", "4"], args].concat())));
    let forward = graph(&["vae"]);
    assert!(forward.contains("matmul") && forward.contains("\"network.mean.weight\""), "{forward}");
    let with_gradient = graph(&["vae", "--grad"]);
    assert!(with_gradient.contains("first derivative:") && !forward.contains("first derivative:"));
    assert!(with_gradient.lines().count() > forward.lines().count());
    let plan = graph(&["gan", "--plan", "--dot"]);
    assert_eq!(plan.matches("digraph").count(), 2, "two players");

    ok(folder.train(&["--epochs", "1", "--out", "run", "--quiet"]));
    assert_eq!(graph(&["run", "--svg", "run.svg"]), "run.svg\n");
    let picture = std::fs::read_to_string(folder.join("run.svg")).unwrap();
    assert!(picture.starts_with("<svg") && picture.ends_with("</svg>\n"));
    // The widths that the run was trained with.
    assert!(picture.contains("f32 [4, 8]") && TINY.contains(&"8,16"));
    fails(&folder.run(&["graph", "gaan"]), 1, &["gaan", "dcgan"]);
}
