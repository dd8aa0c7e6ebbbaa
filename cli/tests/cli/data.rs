//! What can be learned from, and how parts of it are held back and changed.

use crate::common::{Folder, fails, ok, stdout};
use std::fs;

/// The small GAN of the other tests on other data.
fn train(folder: &Folder, data: &str, args: &[&str]) -> std::process::Output {
    let common = ["train", "gan", "--hidden", "8", "--latent", "4", "--log-every", "1", "--data", data];
    folder.run(&[&common, args].concat())
}

fn json(output: &std::process::Output) -> serde_json::Value {
    serde_json::from_str(&stdout(output)).unwrap()
}

/// Pictures of several sizes, grey and colour, PNG and JPEG, in the folders of two classes.
fn pictures(folder: &Folder) {
    for i in 0..12u32 {
        let class = folder.join(&format!("pictures/{}", if i % 2 == 0 { "even" } else { "odd" }));
        fs::create_dir_all(&class).unwrap();
        let (w, h) = (20 + 7 * i, 90 - 5 * i);
        let pixel = move |x: u32, y: u32| image::Rgb([x as u8 * 2, y as u8 * 2, (20 * i) as u8]);
        let picture = image::DynamicImage::from(image::RgbImage::from_fn(w, h, pixel));
        let picture = if i % 3 == 0 { picture.to_luma8().into() } else { picture };
        picture.save(class.join(format!("{i:02}.{}", if i % 4 < 2 { "png" } else { "jpg" }))).unwrap();
    }
}

#[test]
fn a_folder_that_is_not_kept_in_memory_gives_the_same_run() {
    let folder = Folder::new();
    pictures(&folder);
    for channels in ["1", "3"] {
        let args = ["--size", "16", "--channels", channels, "--batch", "5", "--epochs", "3", "--quiet"];
        let run = |out: &str, more: &[&str]| {
            let out = format!("{out}-{channels}");
            ok(train(&folder, "images:pictures", &[&args, more, &["--out", &out]].concat()));
            let state = ok(folder.run(&["sample", &out, "--out", "sheet.png"]));
            drop(state);
            fs::read(folder.join("sheet.png")).unwrap()
        };
        let kept = run("kept", &[]);
        assert!(kept == run("read", &["--cache", "0"]), "{channels} channels");
    }
    // What breaks while a run goes on is named, and what was learned is saved.
    let args = ["--size", "16", "--batch", "4", "--cache", "0", "--out", "long"];
    ok(train(&folder, "images:pictures", &[&args[..], &["--epochs", "1"]].concat()));
    let path = folder.join("pictures/odd/05.png");
    let whole = fs::read(&path).unwrap();
    let mut broken = whole.clone();
    broken[20..].fill(0);
    fs::write(&path, &broken).unwrap();
    let resume = ["train", "gan", "--out", "long", "--epochs", "4", "--resume"];
    fails(&folder.run(&resume), 1, &["pictures/odd/05.png", "cannot be decoded", "saved in long/checkpoint"]);
    fs::write(&path, &whole).unwrap();
    ok(folder.run(&resume));
    ok(train(&folder, "images:pictures", &[&args[..6], &["--epochs", "4", "--out", "unbroken"]].concat()));
    let [a, b] =
        ["long", "unbroken"].map(|r| fs::read(folder.join(r).join("checkpoint.safetensors")).unwrap());
    assert!(a == b, "the run that was interrupted by a broken picture differs");
}

#[test]
fn parts_are_held_back_to_judge_by() {
    let folder = Folder::new();
    let args = ["train", "classifier", "--data", "digits:200", "--batch", "20", "--hidden", "8", "--json"];
    let run = |more: &[&str]| folder.run(&[&args, more].concat());
    // A tenth of 200 to judge by: 180 are left, 9 steps an epoch.
    let figures = json(&ok(run(&["--epochs", "2", "--valid", "0.1", "--out", "valid"])));
    assert_eq!(figures["steps"], 18);
    assert!(figures["valid_accuracy"].is_number() && figures["test_accuracy"].is_number(), "{figures}");
    let text = fs::read_to_string(folder.join("valid/metrics.jsonl")).unwrap();
    let with = |name: &str| text.lines().filter(|l| l.contains(name)).count();
    assert_eq!((with("valid_accuracy"), with("test_accuracy")), (2, 1), "{text}");
    let figures = json(&ok(run(&["--epochs", "1", "--valid", "0.1", "--test", "0.2", "--out", "both"])));
    assert_eq!(figures["steps"], 7);
    let figures = json(&ok(run(&["--epochs", "1", "--valid", "digits:60", "--out", "named"])));
    assert_eq!(figures["steps"], 10);
    assert!(figures["valid_loss"].is_number());
    for (args, part) in [
        (["--valid", "0.6", "--test", "0.5"], "sum to 1"),
        (["--valid", "-0.1", "--test", ""], "sum to 1"),
        (["--valid", "0.001", "--test", ""], "0.001 has none"),
        (["--valid", "digitz", "--test", ""], "\"digitz\" are not known"),
    ] {
        let args: Vec<String> = args.chunks(2).map(|p| format!("{}={}", p[0], p[1])).collect();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        fails(&run(&[&args[..], &["--out", "none"]].concat()), 1, &[part]);
    }
    // The parts belong to the run.
    fails(
        &run(&["--epochs", "3", "--valid", "0.2", "--out", "valid", "--resume"]),
        1,
        &["valid: \"0.1\" -> \"0.2\""],
    );
}

#[test]
fn augmented_and_binarised_runs_resume_bit_for_bit() {
    let folder = Folder::new();
    let mut checkpoints = Vec::new();
    for (name, options) in [
        ("plain", &[][..]),
        ("augmented", &["--augment", "flip,shift=2"]),
        ("fixed", &["--binarize", "fixed"]),
        ("dynamic", &["--binarize", "dynamic"]),
    ] {
        let run = |out: &str, more: &[&str]| {
            let out = format!("{name}-{out}");
            let args = [options, more, &["--batch", "16", "--out", &out]].concat();
            ok(train(&folder, "digits:64", &args));
            fs::read(folder.join(&out).join("checkpoint.safetensors")).unwrap()
        };
        run("halves", &["--epochs", "1"]);
        let halves = run("halves", &["--epochs", "3", "--resume"]);
        assert!(run("whole", &["--epochs", "3"]) == halves, "{name} differs after resuming");
        checkpoints.push(halves);
    }
    for (i, a) in checkpoints.iter().enumerate() {
        assert!(checkpoints[i + 1..].iter().all(|b| a != b), "an option makes no difference");
    }
    for (args, part) in [
        (["--augment", "rotate"], "\"rotate\" is not known; there are flip, shift=PIXELS"),
        (["--augment", "shift=28"], "28x28 cannot be shifted by 28"),
    ] {
        fails(
            &train(&folder, "digits:64", &[&args[..], &["--batch", "16", "--out", "x"]].concat()),
            1,
            &[part],
        );
    }
    fails(&train(&folder, "digits:64", &["--binarize", "often"]), 2, &["none, fixed, dynamic"]);
}

#[test]
fn cifar_and_idx_files_are_learned_from() {
    let folder = Folder::new();
    fs::create_dir(folder.join("cifar")).unwrap();
    for name in ["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"]
    {
        let records =
            (0..4u8).flat_map(|i| std::iter::once(i).chain((0..3072).map(move |k| (k * 7) as u8 ^ i)));
        folder.write(&format!("cifar/{name}.bin"), records.collect::<Vec<u8>>());
    }
    let figures =
        json(&ok(train(&folder, "cifar:cifar", &["--batch", "5", "--epochs", "2", "--out", "c", "--json"])));
    assert_eq!(figures["steps"], 8);
    let grid = image::open(folder.join("c/samples/epoch-0002.png")).unwrap();
    assert!(grid.color().has_color(), "colour pictures make a colour grid");
    folder.write("cifar/data_batch_4.bin", [0; 3000]);
    fails(&train(&folder, "cifar:cifar", &["--out", "x"]), 1, &["cifar/data_batch_4.bin", "3000 bytes"]);

    // 6 pictures of 3x4x4, and labels.
    let pixels: Vec<u8> = (0..6 * 48).map(|k| k as u8).collect();
    folder.write(
        "x.idx",
        [&[0, 0, 8, 4, 0, 0, 0, 6, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 4][..], &pixels].concat(),
    );
    folder.write("y.idx", [0, 0, 8, 1, 0, 0, 0, 6, 0, 1, 2, 0, 1, 2]);
    for data in ["idx:x.idx", "idx:x.idx,y.idx"] {
        let out = data.replace([':', ','], "-");
        let output = ok(train(&folder, data, &["--batch", "3", "--epochs", "1", "--out", &out, "--json"]));
        assert_eq!(json(&output)["steps"], 2);
    }
    fails(&train(&folder, "idx:y.idx", &["--out", "x"]), 1, &["y.idx", "does not hold images"]);
    fails(&train(&folder, "idx:x.idx,x.idx", &["--out", "x"]), 1, &["x.idx", "does not hold labels"]);
    assert!(!folder.join("x").exists());
}
