//! Faults from outside: each ends with the right exit code and names the file or value and what is wrong with it.

use crate::common::{Folder, fails, ok, stdout};
use std::fs;

#[test]
fn wrong_command_lines_are_2() {
    let folder = Folder::new();
    for (args, part) in [
        (&["train", "gna"][..], "gna"),
        (&["train", "gan", "--batch", "x"], "--batch"),
        (&["train", "gan", "--seed", "-1"], "--seed"),
        (&["train", "gan", "--resume", "--force"], "--force"),
        (&["sample"], "<CHECKPOINT>"),
        (&["sample", "x", "--count", "0"], "--count"),
    ] {
        fails(&folder.run(args), 2, &[part]);
    }
}

#[test]
fn wrong_values_name_the_option() {
    let folder = Folder::new();
    for (args, parts) in [
        (
            &["--data", "mnits:x"][..],
            &["\"mnits:x\"", "digits, digits:COUNT, mnist:FOLDER, images:FOLDER"][..],
        ),
        (&["--data", "digits:0"], &["digits:0", "1 to 10000000"]),
        (&["--data", "digits:x"], &["digits:x", "number"]),
        (&["--data", "mnist:none"], &["mnist:none", "none: is not a folder"]),
        (&["--data", "images:none"], &["none", "cannot read the folder"]),
        (&["--data", "digits:10"], &["digits:10", "10 images do not make a batch of 16"]),
        (&["--batch", "0"], &["batch = 0 is not between 1 and"]),
        (&["--epochs", "0"], &["epochs = 0"]),
        (&["--channels", "2"], &["channels = 2"]),
        (&["--latent", "0"], &["latent = 0"]),
        (&["--hidden", "8,0"], &["hidden", "0"]),
        (&["--average", "1"], &["average = 1"]),
        (&["--d-lr", "NaN"], &["d_lr = NaN"]),
        (&["--out", "/proc/none"], &["/proc/none"]),
        (&["--config", "none.toml"], &["none.toml", "cannot open"]),
        (&["--test", "images:none"], &["none"]),
    ] {
        let args =
            [&["train", "gan", "--data", "digits:64", "--batch", "16", "--hidden", "8"], args].concat();
        // clap takes the last of a flag given twice only where told so: drop the first.
        let mut seen = std::collections::HashSet::new();
        let mut unique: Vec<&str> = Vec::new();
        for pair in args[2..].chunks(2).rev() {
            if seen.insert(pair[0]) {
                unique.splice(0..0, pair.iter().copied());
            }
        }
        let output = folder.run(&[&["train", "gan"], &unique[..]].concat());
        fails(&output, 1, parts);
        assert!(!folder.join("runs").exists(), "{args:?} left a folder behind");
    }
}

#[test]
fn broken_configurations_name_file_and_key() {
    let folder = Folder::new();
    for (text, part) in [
        (&b"bacth = 1"[..], "bacth is not known; there are model, data,"),
        (b"\n\nbatch = [", "line 3"),
        (b"batch = \"many\"", "batch is a string where an integer is expected"),
        (b"[gan]\nhidden = [1, \"x\"]", "gan.hidden"),
        (b"model = \"vae2\"", "vae2"),
        (b"\xff\xfe", "not UTF-8"),
    ] {
        folder.write("bad.toml", text);
        let output = folder.run(&["train", "gan", "--config", "bad.toml", "--out", "run"]);
        fails(&output, 1, &["bad.toml", part]);
        assert!(!folder.join("run").exists());
    }
}

/// A valid grey PNG.
fn png(value: u8) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let picture = image::GrayImage::from_pixel(8, 8, image::Luma([value]));
    picture.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

#[test]
fn broken_pictures_name_the_file() {
    let folder = Folder::new();
    fs::create_dir(folder.join("pictures")).unwrap();
    folder.write("pictures/a.png", png(3));
    let whole = png(9);
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 0x55;
    // A header that claims 4 thousand million pixels on a side.
    let mut huge = whole.clone();
    huge[16..24].fill(0xff);
    for bytes in [
        &b""[..],
        b"not a picture",
        &whole[..20],
        &whole[..whole.len() - 20],
        &flipped,
        &huge,
        b"GIF89a",
        b"\xff\xd8\xff",
    ] {
        folder.write("pictures/b.png", bytes);
        let args =
            ["train", "gan", "--data", "images:pictures", "--size", "8", "--batch", "2", "--out", "run"];
        fails(&folder.run(&args), 1, &["pictures/b.png", "cannot be decoded"]);
    }
    // Names are shown, not obeyed.
    fs::remove_file(folder.join("pictures/b.png")).unwrap();
    folder.write("pictures/\u{1b}[31mred.png", b"x");
    let output = folder.run(&["train", "gan", "--data", "images:pictures", "--out", "run"]);
    fails(&output, 1, &["\\u{1b}[31mred.png"]);
}

#[test]
fn broken_mnist_names_the_file() {
    let folder = Folder::new();
    fs::create_dir(folder.join("mnist")).unwrap();
    for name in ["train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"] {
        folder.write(&format!("mnist/{name}"), [0, 0, 8, 1, 0, 0, 0, 1, 7]);
    }
    folder.write("mnist/train-images-idx3-ubyte", [0, 0, 8, 3, 0, 0, 0, 9]);
    let output = folder.run(&["train", "gan", "--data", "mnist:mnist", "--out", "run"]);
    fails(&output, 1, &["mnist/train-images-idx3-ubyte"]);
}

#[test]
fn broken_checkpoints_name_the_file() {
    let folder = Folder::new();
    ok(folder.train(&["--epochs", "1", "--out", "run"]));
    let whole = fs::read(folder.join("run/checkpoint.safetensors")).unwrap();
    let mut damaged = whole.clone();
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    for bytes in [&b""[..], b"{}", &whole[..whole.len() / 2], &damaged, &[0xff; 64]] {
        folder.write("bad.safetensors", bytes);
        for command in ["sample", "info"] {
            fails(&folder.run(&[command, "bad.safetensors"]), 1, &["bad.safetensors"]);
        }
    }
    for command in ["sample", "info"] {
        fails(&folder.run(&[command, "/dev/zero"]), 1, &["/dev/zero", "device"]);
        fails(&folder.run(&[command, "none.safetensors"]), 1, &["none.safetensors"]);
        fails(&folder.run(&[command, "."]), 1, &["checkpoint.safetensors"]);
    }
    // A file of another program.
    folder.write("other.safetensors", [&8u64.to_le_bytes()[..], b"{}      "].concat());
    fails(
        &folder.run(&["info", "other.safetensors"]),
        1,
        &["other.safetensors", "not a checkpoint of `gradus train`"],
    );

    // Resuming falls back on the generation before, and says so.
    ok(folder.train(&["--epochs", "2", "--out", "run", "--resume"]));
    folder.write("run/checkpoint.safetensors", &damaged);
    let output = ok(folder.train(&["--epochs", "3", "--out", "run", "--resume"]));
    let text = crate::common::stderr(&output);
    assert!(text.contains("checkpoint.safetensors.previous") && text.contains("after step 4"), "{text}");
    assert!(stdout(&output).contains("12 steps"));
}

#[test]
#[cfg(unix)]
fn pipes_and_devices_do_not_block() {
    let folder = Folder::new();
    let made = std::process::Command::new("mkfifo").arg(folder.join("pipe")).status().unwrap();
    assert!(made.success());
    fails(&folder.run(&["train", "gan", "--config", "pipe"]), 1, &["pipe", "is a pipe"]);
    fails(&folder.run(&["train", "gan", "--config", "/dev/zero"]), 1, &["/dev/zero", "is a device"]);
    fails(&folder.run(&["sample", "pipe"]), 1, &["pipe", "is a pipe"]);
}
