//! `--device gpu`: the same training on a GPU, where there is one.

use crate::common::{Folder, fails, ok, stderr, stdout};

/// Whether the machine has an adapter; with `GRADUS_REQUIRE_GPU=1` it must.
fn has_gpu(folder: &Folder) -> bool {
    let text = stdout(&ok(folder.run(&["devices"])));
    let none = text.contains("gpu      none");
    let required = std::env::var_os("GRADUS_REQUIRE_GPU").is_some_and(|v| v == "1");
    assert!(!(none && required), "GRADUS_REQUIRE_GPU=1, but: {text}");
    if none {
        eprintln!("skipped: no adapter");
    } else {
        assert!(text.contains("tensors up to"), "{text}");
    }
    !none
}

/// Final figures by name.
fn figures(output: &std::process::Output) -> serde_json::Map<String, serde_json::Value> {
    serde_json::from_str(&stdout(output)).unwrap()
}

#[test]
fn models_train_on_a_gpu_as_on_the_cpu() {
    let folder = Folder::new();
    if !has_gpu(&folder) {
        return;
    }
    let tiny = ["--data", "digits:64", "--batch", "16", "--epochs", "2", "--json"];
    for (model, losses) in [
        ("gan", vec!["d_loss", "g_loss"]),
        ("ae", vec![]),
        ("vae", vec![]),
        ("dcgan", vec!["d_loss", "g_loss"]),
    ] {
        let train = |device: &str| {
            let out = format!("{model}-{device}");
            ok(folder.run(&[&["train", model, "--device", device, "--out", &out], &tiny[..]].concat()))
        };
        let (there, here) = (train("gpu"), train("cpu"));
        assert!(stderr(&there).contains("computing on gpu ("), "{}", stderr(&there));
        let (there, here) = (figures(&there), figures(&here));
        assert_eq!(there["steps"], here["steps"]);
        for name in losses {
            let (a, b) = (there[name].as_f64().unwrap(), here[name].as_f64().unwrap());
            assert!((a - b).abs() <= 0.02 * b.abs().max(1.0), "{model}: {name} is {a}, on the CPU {b}");
        }
    }
    // A checkpoint does not know where it was made.
    ok(folder.run(&["sample", "gan-gpu", "--out", "gpu.png"]));
    ok(folder.run(&[
        "train", "gan", "--device", "gpu", "--resume", "--out", "gan-cpu", "--epochs", "3", "--quiet",
    ]));
}

#[test]
fn without_the_adapter_asked_for_the_error_says_what_there_is() {
    let folder = Folder::new();
    let output =
        folder.command(&["train", "gan", "--device", "gpu"]).env("GRADUS_ADAPTER", "no such card").output();
    fails(&output.unwrap(), 1, &["no GPU"]);
}
