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
            &["\"mnits:x\"", "digits, digits:COUNT, mnist:FOLDER, cifar:FOLDER"][..],
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

/// Runs the command with at most 4 GiB of address space, so that memory taken on a file's word would be seen.
#[cfg(target_os = "linux")]
fn bounded(folder: &Folder, args: &[&str]) -> std::process::Output {
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "ulimit -v 4194304 && exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_gradus")]).args(args);
    shell.current_dir(folder.join("")).stdin(std::process::Stdio::null()).output().unwrap()
}

/// A pipe, an endless device, links in a circle and a terabyte that takes no space, in the place of every kind of file
/// that is read: each ends in an error that names it, without waiting and without memory.
#[test]
#[cfg(target_os = "linux")]
fn odd_files_end_in_a_named_error_wherever_they_are() {
    use std::os::unix::fs::symlink;
    let folder = Folder::new();
    ok(folder.train(&["--epochs", "1", "--out", "run"]));
    fs::remove_file(folder.join("run/checkpoint.safetensors")).unwrap();
    fs::create_dir(folder.join("mnist")).unwrap();
    folder.write("mnist/train-labels-idx1-ubyte", [0, 0, 8, 1, 0, 0, 0, 1, 7]);
    let places = [
        ("file", &["train", "gan", "--config", "file", "--out", "x"][..]),
        ("file", &["info", "file"]),
        ("file", &["sample", "file", "--out", "x.png"]),
        ("run/checkpoint.safetensors", &["train", "gan", "--resume", "--out", "run"]),
        ("images/a/1.png", &["train", "gan", "--data", "images:images", "--out", "x"]),
        ("mnist/train-images-idx3-ubyte", &["train", "gan", "--data", "mnist:mnist", "--out", "x"]),
        ("cifar/data_batch_1.bin", &["train", "gan", "--data", "cifar:cifar", "--out", "x"]),
        ("file", &["train", "gan", "--data", "idx:file", "--out", "x"]),
    ];
    for (place, args) in places {
        let path = folder.join(place);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        fails(&bounded(&folder, args), 1, &[place, "is a pipe"]);
        fs::remove_file(&path).unwrap();
        symlink("/dev/zero", &path).unwrap();
        fails(&bounded(&folder, args), 1, &[place, "is a device"]);
        fs::remove_file(&path).unwrap();
        symlink(path.file_name().unwrap(), &path).unwrap();
        fails(&bounded(&folder, args), 1, &[place, "symbolic link"]);
        fs::remove_file(&path).unwrap();
        fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
        fails(&bounded(&folder, args), 1, &[place, "1099511627776 bytes, more than the limit"]);
        // A sparse file that is not too long for its kind is not taken at its word either.
        fs::File::create(&path).unwrap().set_len(60 << 20).unwrap();
        fails(&bounded(&folder, args), 1, &[place]);
        fs::remove_file(&path).unwrap();
        assert!(!folder.join("x").exists() && !folder.join("x.png").exists());
    }
}

/// Names from outside are shown, not obeyed: no control character reaches the terminal, JSON stays JSON, and a slash in
/// the name of a tensor is no path.
#[test]
#[cfg(unix)]
fn hostile_names_are_only_names() {
    let folder = Folder::new();
    let name = "run \u{1b}[2J<script>\n'\"";
    ok(folder.train(&["--epochs", "1", "--out", name]));
    let clean = |output: &std::process::Output| {
        for text in [stdout(output), crate::common::stderr(output)] {
            assert!(!text.contains('\u{1b}'), "{text:?}");
        }
    };
    let again = folder.train(&["--epochs", "1", "--out", name]);
    fails(&again, 1, &["holds a run already"]);
    clean(&again);
    let train = ok(folder.train(&["--epochs", "2", "--out", name, "--resume", "--json"]));
    clean(&train);
    let figures: serde_json::Value = serde_json::from_str(&stdout(&train)).unwrap();
    assert_eq!(figures["checkpoint"], format!("{name}/checkpoint.safetensors"));

    let mut state =
        gradus::checkpoint::Checkpoint::load(folder.join(name).join("checkpoint.safetensors")).unwrap();
    let hostile = "../../\u{1b}[31mescape\nfake line";
    state.tensors.insert(hostile.into(), gradus::Tensor::from([1.0f32]));
    state.save(folder.join("hostile.safetensors")).unwrap();
    let info = ok(folder.run(&["info", "hostile.safetensors"]));
    clean(&info);
    assert!(!stdout(&info).lines().any(|l| l.starts_with("fake line")), "{}", stdout(&info));
    let info = ok(folder.run(&["info", "hostile.safetensors", "--json"]));
    let info: serde_json::Value = serde_json::from_str(&stdout(&info)).unwrap();
    assert_eq!(info["tensors"][hostile], serde_json::json!([1]));
    ok(folder.run(&["sample", "hostile.safetensors", "--out", "sheet.png"]));

    // A class called like markup, with pictures called like options.
    let class = folder.join("pictures/<img src=x>\u{202e}");
    fs::create_dir_all(&class).unwrap();
    for file in ["--help.png", "-rf.png", "$(touch x).png", "%s%n.png"] {
        fs::write(class.join(file), png(7)).unwrap();
    }
    let args = ["train", "gan", "--data", "images:pictures", "--hidden", "8", "--size", "8", "--batch", "2"];
    clean(&ok(folder.run(&[&args[..], &["--epochs", "1", "--out", "pictures-run"]].concat())));
    assert!(!folder.join("x").exists());
}
