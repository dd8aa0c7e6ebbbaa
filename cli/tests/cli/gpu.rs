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

#[test]
fn the_bench_times_every_kernel_of_a_call_and_of_a_step() {
    let folder = Folder::new();
    if !has_gpu(&folder) {
        return;
    }
    let bench = |args: &[&str]| stdout(&ok(folder.run(&[&["bench", "--device", "gpu"], args].concat())));
    let lines = |text: &str| -> Vec<serde_json::Value> {
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let product = ["--suite", "gemm", "--filter", "NN_64x64x64", "--budget", "0.01"];
    let all = lines(&bench(&[&product[..], &["--json"]].concat()));
    let [line] = &all[..] else { panic!("{all:?}") };
    assert_eq!((line["name"].as_str(), line["impl"].as_str()), (Some("NN_64x64x64"), Some("gradus-gpu")));
    assert_eq!((line["flops"].as_f64(), line["bytes"].as_f64()), (Some(524_288.0), Some(49_152.0)));
    assert!(line["min_s"].as_f64() <= line["median_s"].as_f64() && line["call_s"].as_f64() > Some(0.0));
    let table = bench(&product);
    assert!(table.contains("clock") && table.contains("GFLOP/s") && table.contains("NN_64x64x64"), "{table}");

    let step = ["--kernel", "step", "--filter", "mlpgan_narrow", "--quick"];
    let all = lines(&bench(&[&step[..], &["--json"]].concat()));
    assert_eq!(all[0]["name"], "mlpgan_narrow");
    let (host, device) = (all[0]["host_s"].as_f64(), all[0]["device_s"].as_f64());
    assert!(host > Some(0.0) && device > Some(0.0), "{}", all[0]);
    let products = all[1..].iter().filter(|l| l["kernel"].as_str().is_some_and(|k| k.starts_with("gemm")));
    assert!(products.clone().count() > 3 && products.clone().all(|l| l["flops"].as_f64() > Some(0.0)));
    assert!(all[1..].iter().all(|l| l["count"].as_u64() > Some(0) && l["median_s"].as_f64() > Some(0.0)));
    assert!(bench(&step).contains("kernels of mlpgan_narrow"));
}

#[test]
fn a_table_is_measured_on_request_used_afterwards_and_never_trusted_blindly() {
    let folder = Folder::new();
    if !has_gpu(&folder) {
        return;
    }
    // Here alone: a driver may keep its compiled shaders in that folder, too, and takes long without them.
    let run =
        |args: &[&str]| folder.command(args).env("XDG_CACHE_HOME", folder.join("cache")).output().unwrap();
    let product =
        ["bench", "--device", "gpu", "--suite", "gemm", "--filter", "NN_64x64x64", "--budget", "0.01"];
    ok(run(&product));
    assert!(!folder.join("cache/gradus").exists(), "nothing is tuned or written unasked");
    fails(&run(&["bench", "--tune"]), 1, &["--device gpu"]);

    let tuned = stdout(&ok(run(&[&product[..], &["--tune"]].concat())));
    assert!(tuned.contains("gemm 64x64x64x1") && tuned.contains("choices in"), "{tuned}");
    let path = std::fs::read_dir(folder.join("cache/gradus")).unwrap().next().unwrap().unwrap().path();
    let table = std::fs::read_to_string(&path).unwrap();
    let warnings = |table: &str| {
        std::fs::write(&path, table).unwrap();
        stderr(&ok(run(&product)))
    };
    assert!(!warnings(&table).contains("warning"));
    // The table as it was written, with a choice whatever this machine found.
    let head = table.split("[choices]").next().unwrap();
    let with = |choice: &str| format!("{head}[choices]\n\"gemm 64x64x64x1\" = \"{choice}\"\n");
    assert!(!warnings(&with("32x32 in 2")).contains("warning"));
    let name = path.file_name().unwrap().to_str().unwrap();
    for (broken, why) in [
        ("\u{0}\u{1}", "no table"),
        ("", "no table"),
        (&with("33x33"), "33x33"),
        (&with("4 by 64"), "not a choice"),
        (&table.replace("adapter = \"", "adapter = \"Another "), "Another"),
        (&table.replace("driver = \"", "driver = \"Another "), "driver"),
        (&table.replace("gradus = \"", "gradus = \"0.0."), "by gradus"),
    ] {
        let warning = warnings(broken);
        for part in ["warning", name, why, "--tune"] {
            assert!(warning.contains(part), "{part:?} is not in {warning:?}");
        }
    }
    // Tuning replaces what it could not read.
    ok(run(&[&product[..], &["--tune", "--json"]].concat()));
    assert_eq!(std::fs::read_to_string(&path).unwrap().split("[choices]").next(), Some(head));
}
