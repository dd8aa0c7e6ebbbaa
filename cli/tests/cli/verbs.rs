//! The commands that look at trained models: what each writes, and what each refuses.

use crate::common::{Folder, fails, ok, stdout};
use serde_json::Value;
use std::fs;

/// Trains a tiny model into the folder `name`.
fn train(folder: &Folder, model: &str, name: &str, more: &[&str]) {
    let small = ["train", model, "--data", "digits:300", "--batch", "20", "--epochs", "2", "--out", name];
    ok(folder.run(&[&small, more].concat()));
}

fn gan(folder: &Folder) {
    train(folder, "gan", "gan", &["--hidden", "16", "--latent", "4", "--normalization", "batch"]);
}

fn vae(folder: &Folder, name: &str, latent: &str) {
    train(folder, "vae", name, &["--hidden", "32", "--latent", latent, "--lr", "0.003"]);
}

fn json(folder: &Folder, args: &[&str]) -> Value {
    serde_json::from_str(&stdout(&ok(folder.run(&[args, &["--json"]].concat())))).unwrap()
}

fn size(folder: &Folder, name: &str) -> (u32, u32) {
    let picture = image::open(folder.join(name)).unwrap();
    (picture.width(), picture.height())
}

/// A picture of 28x28 is enlarged twice, with a gap of 2.
fn grid(columns: u32, rows: u32) -> (u32, u32) {
    (columns * 58 + 2, rows * 58 + 2)
}

#[test]
fn autoencoders_show_what_they_make_of_pictures() {
    let folder = Folder::new();
    train(&folder, "ae", "ae", &["--hidden", "32", "--code", "8"]);
    let figures = json(&folder, &["reconstruct", "ae", "--count", "20"]);
    assert_eq!(size(&folder, "reconstructions.png"), grid(16, 4));
    assert!(figures["squared_error"].as_f64().unwrap() > 0.0 && figures["psnr"].is_f64(), "{figures}");
    train(&folder, "ae", "noisy", &["--hidden", "32", "--code", "8", "--preset", "denoising"]);
    let noisy = ok(folder.run(&["reconstruct", "noisy", "--count", "5", "--out", "noisy.png"]));
    assert!(stdout(&noisy).contains("original, noisy, reconstructed"), "{}", stdout(&noisy));
    assert_eq!(size(&folder, "noisy.png"), grid(5, 3));
    // Training shows the same rows, in `samples`.
    assert_eq!(size(&folder, "noisy/samples/latest.png"), grid(16, 6));
    ok(folder.run(&["reconstruct", "noisy", "--count", "5", "--out", "again.png"]));
    ok(folder.run(&["reconstruct", "noisy", "--count", "5", "--seed", "2", "--out", "other.png"]));
    let bytes = |name: &str| fs::read(folder.join(name)).unwrap();
    assert!(bytes("noisy.png") == bytes("again.png") && bytes("noisy.png") != bytes("other.png"));
    // Its codes are not drawn from anything.
    fails(&folder.run(&["sample", "ae"]), 1, &["ae/checkpoint.safetensors", "no pictures"]);
    fails(
        &folder.run(&["interpolate", "ae", "--ends", "noise"]),
        1,
        &["not those of noise", "--ends pictures"],
    );
    ok(folder.run(&["interpolate", "ae", "--frames", "0", "--rows", "2", "--steps", "3"]));
    assert_eq!(size(&folder, "interpolation.png"), grid(3, 2));
    assert!(!folder.join("interpolation.gif").exists());
}

#[test]
fn a_way_between_codes_is_a_strip_and_an_animation() {
    let folder = Folder::new();
    gan(&folder);
    let args = ["interpolate", "gan", "--rows", "3", "--steps", "5", "--frames", "4"];
    let found = json(&folder, &args);
    assert_eq!((found["method"].as_str(), found["rows"].as_u64()), (Some("spherical"), Some(3)));
    assert_eq!(size(&folder, "interpolation.png"), grid(5, 3));
    let bytes = fs::read(folder.join("interpolation.gif")).unwrap();
    let decoder = image::codecs::gif::GifDecoder::new(std::io::Cursor::new(bytes)).unwrap();
    let frames = image::AnimationDecoder::into_frames(decoder).collect_frames().unwrap();
    assert_eq!(frames.len(), 4);
    assert_eq!(frames[0].buffer().dimensions(), grid(2, 2));
    // There and back: the second frame and the last are the same place.
    assert!(frames[1].buffer() == frames[3].buffer() && frames[0].buffer() != frames[2].buffer());
    // The strip's ends are the pictures of the two codes whatever the way; the middle is not.
    ok(folder.run(&[&args[..], &["--method", "linear", "--out", "linear.png"]].concat()));
    let [a, b] = ["interpolation.png", "linear.png"].map(|n| image::open(folder.join(n)).unwrap().to_luma8());
    let column =
        |p: &image::GrayImage, x: u32| (0..p.height()).map(|y| p.get_pixel(x, y).0[0]).collect::<Vec<_>>();
    let differ = |x: u32| (0..56).any(|i| column(&a, x * 58 + 2 + i) != column(&b, x * 58 + 2 + i));
    assert!(!differ(0) && !differ(4) && differ(2));
    fails(&folder.run(&["interpolate", "gan", "--ends", "pictures"]), 1, &["no encoder", "--ends noise"]);
    fails(&folder.run(&["interpolate", "gan", "--out", "x.gif"]), 1, &["x.gif", "PNG"]);
    fails(&folder.run(&["reconstruct", "gan"]), 1, &["model gan", "no encoder"]);
    fails(&folder.run(&["latent", "gan"]), 1, &["model gan", "no encoder"]);
}

#[test]
fn what_a_discriminator_found_is_probed() {
    let folder = Folder::new();
    train(&folder, "dcgan", "dcgan", &["--features", "2", "--latent", "4"]);
    train(&folder, "classifier", "sorter", &["--hidden", "16"]);
    let found = json(&folder, &["eval", "dcgan", "--count", "40", "--features", "sorter"]);
    let probe = &found["linear_probe"];
    assert!(
        probe["labels"].as_f64() == Some(300.0) && probe["discriminator_error"].as_f64().unwrap() < 0.9,
        "{found}"
    );
    assert!(!folder.join("dcgan/features.safetensors").exists());
    ok(folder.run(&["interpolate", "dcgan", "--rows", "2", "--steps", "2", "--frames", "2"]));
}

#[test]
fn codes_are_mapped_and_planes_decoded() {
    let folder = Folder::new();
    vae(&folder, "flat", "2");
    let found = json(&folder, &["latent", "flat", "--grid", "3", "--csv", "codes.csv"]);
    assert_eq!(found["pictures"], 50);
    assert_eq!(size(&folder, "latent-plane.png"), grid(3, 3));
    let codes = fs::read_to_string(folder.join("codes.csv")).unwrap();
    assert_eq!((codes.lines().count(), codes.lines().next()), (51, Some("z0,z1,label")));
    let map = image::open(folder.join("latent.png")).unwrap().to_rgb8();
    let mut colours: Vec<[u8; 3]> = map.pixels().map(|p| p.0).collect();
    colours.sort();
    colours.dedup();
    assert!(colours.len() > 20, "the map is empty");
    vae(&folder, "deep", "5");
    let found = json(&folder, &["latent", "deep", "--out", "deep.png"]);
    let share = found["shown_variance"].as_f64().unwrap();
    assert!((0.2..1.0).contains(&share), "{share}");
    assert!(!folder.join("deep-plane.png").exists());
}

#[test]
fn a_vae_is_measured_by_everything_it_is() {
    let folder = Folder::new();
    vae(&folder, "vae", "4");
    let args = ["eval", "vae", "--importance-samples", "20", "--count", "50"];
    let found = json(&folder, &args);
    let figure =
        |path: &str| found.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("{path}: {found}"));
    assert!((figure("/bound/elbo") + figure("/bound/reconstruction") + figure("/bound/kl")).abs() < 1e-9);
    // More draws only come closer; the one draw of the bound is noisy.
    assert!(figure("/bound/log_likelihood") > figure("/bound/elbo") - 1.0);
    assert!(figure("/reconstructions/ssim") < 1.0 && figure("/samples/fid") > 0.0);
    assert!((0.0..=1.0).contains(&figure("/linear_probe/codes_error")));
    assert!(figure("/features/test_accuracy") > 0.2);
    let classes: f64 = found["classes"].as_array().unwrap().iter().map(|c| c.as_f64().unwrap()).sum();
    assert!((classes - 1.0).abs() < 1e-9);
    assert!(found["notes"].to_string().contains("Parzen"));
    // The classifier that was trained for it is kept, is one, and is used again.
    ok(folder.run(&["info", "vae/features.safetensors"]));
    let again = ok(folder.run(&args));
    assert!(!String::from_utf8_lossy(&again.stderr).contains("training a classifier"));
    let table = stdout(&again);
    assert!(
        table.contains("log_likelihood_error") && table.contains("note: the Parzen window misleads"),
        "{table}"
    );
    let named = json(&folder, &[&args[..], &["--features", "vae/features.safetensors"]].concat());
    assert_eq!(named["samples"], found["samples"]);
}

#[test]
fn a_classifier_is_measured_by_its_confusions() {
    let folder = Folder::new();
    train(&folder, "classifier", "sorter", &["--hidden", "16"]);
    let found = json(&folder, &["eval", "sorter"]);
    let table: Vec<Vec<u64>> = serde_json::from_value(found["confusion"].clone()).unwrap();
    let right: u64 = (0..10).map(|i| table[i][i]).sum();
    assert_eq!(table.iter().flatten().sum::<u64>(), 50);
    assert_eq!(found["classification"]["accuracy"], right as f64 / 50.0);
    fails(&folder.run(&["eval", "sorter", "--features", "x"]), 1, &["classifier", "leave out --features"]);
    fails(&folder.run(&["eval", "sorter", "--importance-samples", "5"]), 1, &["classifier", "is for vae"]);
    fails(&folder.run(&["interpolate", "sorter"]), 1, &["classifier", "no pictures of codes"]);
    fails(&folder.run(&["eval", "sorter", "--data", "nonsense"]), 1, &["\"nonsense\"", "digits"]);
}

#[test]
fn data_without_labels_are_no_obstacle_where_none_are_needed() {
    let folder = Folder::new();
    let images = folder.join("images");
    fs::create_dir(&images).unwrap();
    for i in 0..12u8 {
        let shade =
            image::GrayImage::from_fn(16, 16, |x, y| image::Luma([(x * 9) as u8 ^ (y * 5) as u8 ^ (i * 20)]));
        shade.save(images.join(format!("{i}.png"))).unwrap();
    }
    let train_on_images = |model: &str, more: &[&str]| {
        let args = ["train", model, "--data", "images:images", "--size", "16", "--channels", "1"];
        ok(folder.run(&[&args[..], &["--batch", "4", "--epochs", "2", "--out", model], more].concat()));
    };
    train_on_images("ae", &["--conv", "4", "--hidden", "8", "--code", "2"]);
    let found = json(&folder, &["eval", "ae"]);
    assert!(found["notes"].to_string().contains("no labels") && found["linear_probe"].is_null(), "{found}");
    ok(folder.run(&["latent", "ae", "--grid", "4"]));
    train_on_images("gan", &["--hidden", "8", "--latent", "2"]);
    let found = json(&folder, &["eval", "gan", "--count", "10"]);
    assert!(found["notes"].to_string().contains("--features") && found["parzen"]["nats"].is_f64(), "{found}");
    // A classifier of other pictures does not fit, and what is none is refused.
    train(&folder, "classifier", "sorter", &["--hidden", "8"]);
    fails(
        &folder.run(&["eval", "gan", "--features", "sorter"]),
        1,
        &["sorter", "[1, 28, 28]", "[1, 16, 16]"],
    );
    fails(&folder.run(&["eval", "gan", "--features", "ae"]), 1, &["model ae", "classifier"]);
    fails(&folder.run(&["eval", "gan", "--features", "images/0.png"]), 1, &["images/0.png", "c1.weight"]);
    fails(&folder.run(&["eval", "gan", "--data", "digits:60"]), 1, &["1x28x28", "[1, 16, 16]"]);
    let none =
        folder.run(&["train", "classifier", "--batch", "4", "--data", "images:images", "--out", "none"]);
    fails(&none, 1, &["labels"]);
}

#[test]
fn broken_checkpoints_are_named_by_every_command() {
    let folder = Folder::new();
    folder.write("broken.safetensors", b"not a checkpoint");
    for verb in ["sample", "reconstruct", "interpolate", "latent", "eval", "info"] {
        fails(&folder.run(&[verb, "broken.safetensors"]), 1, &["broken.safetensors"]);
        fails(&folder.run(&[verb, "nowhere"]), 1, &["nowhere"]);
        fails(&folder.run(&[verb]), 2, &["CHECKPOINT"]);
        let help = stdout(&ok(folder.run(&[verb, "--help"])));
        assert!(help.contains(&format!("gradus {verb} runs/")) && help.contains("--json"), "{help}");
    }
}

#[test]
fn presets_and_data_choose_options_and_flags_come_before_them() {
    let folder = Folder::new();
    let tiny = ["--data", "digits:60", "--batch", "10", "--epochs", "1"];
    let config = |name: &str, args: &[&str]| {
        ok(folder.run(&[&["train"], args, &tiny, &["--out", name]].concat()));
        fs::read_to_string(folder.join(name).join("config.toml")).unwrap().parse::<toml::Table>().unwrap()
    };
    let burda = config("burda", &["vae", "--preset", "burda", "--latent", "3"]);
    assert_eq!(burda["epochs"].as_integer(), Some(1));
    assert_eq!(burda["vae"]["latent"].as_integer(), Some(3));
    assert_eq!(burda["vae"]["means"].as_bool(), Some(true));
    assert_eq!(burda["vae"]["hidden"].as_array().map(Vec::len), Some(2));
    let unknown = folder.run(&["train", "dcgan", "--preset", "x"]);
    fails(&unknown, 1, &["preset \"x\"", "wasserstein", "spectral"]);
    fails(&folder.run(&["train", "gan", "--preset", "batch-norm", "--resume"]), 2, &["--resume"]);
}

#[test]
fn a_run_ends_with_a_picture_of_its_curves() {
    let folder = Folder::new();
    vae(&folder, "vae", "2");
    let (width, height) = size(&folder, "vae/curves.png");
    assert!(width >= 900 && height >= 420, "{width}x{height}");
    let latest = fs::read(folder.join("vae/samples/latest.png")).unwrap();
    assert!(latest == fs::read(folder.join("vae/samples/epoch-0002.png")).unwrap());
    let devices = json(&folder, &["devices"]);
    assert!(devices["threads"].as_u64().unwrap() > 0, "{devices}");
    let checked = json(&folder, &["check", "--filter", "tanh", "--draws", "1"]);
    assert_eq!(checked["wrong"], 0);
    assert!(checked["rows"].as_array().unwrap().iter().any(|r| r["op"] == "tanh" && r["first"].is_f64()));
}
