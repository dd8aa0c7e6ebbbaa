//! Checkpoint files: exact, readable elsewhere, and safe whatever is in them.

mod support;

use gradus::checkpoint::{Checkpoint, previous};
use gradus::{DType, Tensor};
use proptest::prelude::*;
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use support::Folder;

/// A checkpoint with every type, a scalar, an empty tensor, special values and hostile names.
fn sample() -> Checkpoint {
    let mut c = Checkpoint::new();
    let nan = f32::from_bits(0x7fc1_2345);
    let tensors = [
        ("single", Tensor::from([[1.5f32, -0.0, nan], [f32::INFINITY, 1e-45, 3.0]])),
        ("double", Tensor::from([0.1f64, f64::MIN_POSITIVE / 8.0])),
        ("signed", Tensor::from([i32::MIN, -1, i32::MAX])),
        ("unsigned", Tensor::from([0u32, u32::MAX])),
        ("mask", Tensor::from([true, false, true])),
        ("scalar", Tensor::from(7.0f32)),
        ("empty", Tensor::zeros([0, 3])),
        ("../\u{1b}[31m\"quoted\\\n\u{0}é🎼", Tensor::from([2.0f32])),
        ("", Tensor::from([3.0f32])),
    ];
    c.tensors.extend(tensors.map(|(name, t)| (name.to_string(), t)));
    c.put("config", "{\"model\": \"gan\"}\n");
    c.put("unit/\u{7}", "\u{1f}é");
    c
}

/// Shape, type and exact bits.
fn bits(t: &Tensor) -> (Vec<usize>, DType, Vec<u64>) {
    let words = match t.dtype() {
        DType::F32 => t.to_vec::<f32>().unwrap().iter().map(|v| u64::from(v.to_bits())).collect(),
        DType::F64 => t.to_vec::<f64>().unwrap().iter().map(|v| v.to_bits()).collect(),
        DType::I32 => t.to_vec::<i32>().unwrap().iter().map(|&v| v as u64).collect(),
        DType::U32 => t.to_vec::<u32>().unwrap().iter().map(|&v| u64::from(v)).collect(),
        DType::Bool => t.to_vec::<bool>().unwrap().iter().map(|&v| u64::from(v)).collect(),
    };
    (t.shape().to_vec(), t.dtype(), words)
}

fn same_tensors(a: &Checkpoint, b: &Checkpoint) -> bool {
    a.tensors.len() == b.tensors.len()
        && a.tensors.iter().zip(&b.tensors).all(|((n, t), (m, u))| n == m && bits(t) == bits(u))
}

/// A file with this header and this much data.
fn file(header: &str, data: usize) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &vec![0; data]].concat()
}

#[track_caller]
fn refused(bytes: &[u8], fault: &str) {
    let error = Checkpoint::from_bytes(bytes).expect_err("was read").to_string();
    assert!(error.contains(fault), "no {fault:?} in: {error}");
    assert!(error.len() < 1000 && !error.contains(char::is_control), "unfit for a terminal: {error:?}");
}

#[test]
fn everything_comes_back_bit_for_bit() {
    let saved = sample();
    let bytes = saved.to_bytes().unwrap();
    let read = Checkpoint::from_bytes(&bytes).unwrap();
    assert!(same_tensors(&saved, &read));
    assert_eq!(saved.metadata, read.metadata);
    assert_eq!(read.to_bytes().unwrap(), bytes, "the same content is the same file");
    let none = Checkpoint::new();
    assert!(Checkpoint::from_bytes(&none.to_bytes().unwrap()).unwrap().tensors.is_empty());
}

/// The data of every tensor starts at a multiple of its element's size, in memory that does.
#[test]
fn tensors_are_aligned() {
    let bytes = sample().to_bytes().unwrap();
    let header = usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
    assert_eq!(header % 8, 0);
    let official = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    for (name, view) in official.iter() {
        let from = view.data().as_ptr() as usize - bytes.as_ptr() as usize;
        assert_eq!(from * 8 % view.dtype().bitsize(), 0, "{name}");
    }
}

#[test]
fn the_official_reader_agrees() {
    let saved = sample();
    let bytes = saved.to_bytes().unwrap();
    let official = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(official.len(), saved.tensors.len());
    for (name, tensor) in &saved.tensors {
        let view = official.tensor(name).unwrap();
        assert_eq!(view.shape(), &tensor.shape()[..]);
        let (_, dtype, words) = bits(tensor);
        assert_eq!(view.dtype().to_string(), dtype.name().to_uppercase());
        let size = dtype.size();
        let found: Vec<u64> = view
            .data()
            .chunks(size)
            .map(|c| c.iter().rev().fold(0, |word, &b| word << 8 | u64::from(b)))
            .collect();
        let mask = if size == 8 { u64::MAX } else { (1 << (8 * size)) - 1 };
        assert_eq!(found, words.iter().map(|w| w & mask).collect::<Vec<_>>(), "{name}");
    }
    let (_, metadata) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let strings = metadata.metadata().as_ref().unwrap();
    assert!(saved.metadata.iter().all(|(key, value)| strings.get(key) == Some(value)));
}

#[test]
fn the_official_writer_is_read() {
    use safetensors::tensor::{Dtype, TensorView, serialize};
    let floats: Vec<u8> = [1.0f32, -2.5, f32::NAN].iter().flat_map(|v| v.to_le_bytes()).collect();
    let longs: Vec<u8> = [-3i64, 1 << 20].iter().flat_map(|v| v.to_le_bytes()).collect();
    let tensors = [
        ("b", TensorView::new(Dtype::F32, vec![3, 1], &floats).unwrap()),
        ("a", TensorView::new(Dtype::I64, vec![2], &longs).unwrap()),
    ];
    let strings = HashMap::from([("who".to_string(), "else".to_string())]);
    let read = Checkpoint::from_bytes(&serialize(tensors, Some(strings)).unwrap()).unwrap();
    assert_eq!(read.metadata["who"], "else");
    assert_eq!(read.tensors["b"].shape(), &[3, 1]);
    assert_eq!(bits(&read.tensors["b"]).2[..2], [1.0f32, -2.5].map(|v| u64::from(v.to_bits())));
    assert_eq!(read.tensors["a"].to_vec::<i32>().unwrap(), [-3, 1 << 20]);
}

/// Written by safetensors 0.8 from PyTorch 2.15: a BatchNorm1d(3) after two batches, and one tensor each of the
/// types that have none here.
#[test]
fn a_file_of_pytorch_is_read() {
    let c = Checkpoint::load("tests/data/pytorch.safetensors").unwrap();
    assert_eq!(c.metadata["format"], "pt");
    let floats = |name: &str| c.tensors[name].to_vec::<f32>().unwrap();
    assert_eq!(floats("bn.running_mean"), [0.043_225_54, -0.026_447_881, -0.081_399_396]);
    assert_eq!(c.tensors["bn.num_batches_tracked"].to_vec::<i32>().unwrap(), [2]);
    assert_eq!(floats("half"), [1.0, -0.5, 65504.0, 5.960_464_5e-8]);
    assert_eq!(floats("brain"), [1.0, -3.5, 1.000_255_55e30, 0.0]);
    assert_eq!(c.tensors["mask"].to_vec::<bool>().unwrap(), [true, false, true]);
    assert_eq!(c.tensors["bytes"].to_vec::<i32>().unwrap(), [0, 255]);
    assert_eq!(c.tensors["double"].to_vec::<f64>().unwrap(), [0.1]);
    assert_eq!(c.tensors["empty"].shape(), &[0, 5]);
}

#[test]
fn numbers_that_do_not_fit_are_refused() {
    let one = |dtype: &str, bytes: [u8; 8]| {
        let header = format!(r#"{{"x":{{"dtype":"{dtype}","shape":[1],"data_offsets":[0,8]}}}}"#);
        [&file(&header, 0)[..], &bytes].concat()
    };
    assert!(Checkpoint::from_bytes(&one("I64", i64::from(i32::MIN).to_le_bytes())).is_ok());
    refused(
        &one("I64", (1i64 << 31).to_le_bytes()),
        "tensor \"x\": element 0 is 2147483648, which does not fit i32",
    );
    assert!(Checkpoint::from_bytes(&one("U64", u64::from(u32::MAX).to_le_bytes())).is_ok());
    refused(&one("U64", (1u64 << 32).to_le_bytes()), "does not fit u32");
    let flags =
        [&file(r#"{"x":{"dtype":"BOOL","shape":[2],"data_offsets":[0,2]}}"#, 0)[..], &[1, 2]].concat();
    refused(&flags, "element 1 is 2, which is neither false nor true");
}

#[test]
fn a_cut_at_any_byte_is_refused() {
    let bytes = sample().to_bytes().unwrap();
    for len in 0..bytes.len() {
        assert!(Checkpoint::from_bytes(&bytes[..len]).is_err(), "the first {len} of {} bytes", bytes.len());
    }
    refused(&[&bytes[..], &[0]].concat(), "bytes of data");
}

/// No single bit can change without being seen.
#[test]
fn every_flipped_bit_is_seen() {
    let saved = sample();
    let mut bytes = saved.to_bytes().unwrap();
    for bit in 0..8 * bytes.len() {
        bytes[bit / 8] ^= 1 << (bit % 8);
        if let Ok(read) = Checkpoint::from_bytes(&bytes) {
            // Only the case of a digit of the header's checksum is free.
            assert!(same_tensors(&saved, &read) && saved.metadata == read.metadata, "bit {bit}");
        }
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    assert!(same_tensors(&saved, &Checkpoint::from_bytes(&bytes).unwrap()));
}

#[test]
fn damage_is_named() {
    let mut bytes = sample().to_bytes().unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    refused(&bytes, "tensor \"mask\" is damaged: its checksum does not agree");
    let mut bytes = sample().to_bytes().unwrap();
    let at = bytes.windows(3).position(|w| w == b"gan").unwrap();
    bytes[at] = b'v';
    refused(&bytes, "the header is damaged");
    let rename = |from: &str, to: &str| {
        let bytes = sample().to_bytes().unwrap();
        let at = bytes.windows(from.len()).position(|w| w == from.as_bytes()).unwrap();
        [&bytes[..at], to.as_bytes(), &bytes[at + from.len()..]].concat()
    };
    // The header's own checksum is gone, and those of the tensors are left.
    refused(&rename("gradus.crc32\"", "gradus.crc3_\""), "one is missing");
}

#[test]
fn malicious_headers_are_refused() {
    let tensor = |fields: &str| format!(r#"{{"x":{{{fields}}}}}"#);
    let good = r#""dtype":"F32","shape":[2],"data_offsets":[0,8]"#;
    assert!(Checkpoint::from_bytes(&file(&tensor(good), 8)).is_ok());
    let two = |a: &str, b: &str| {
        let part = |at: &str| format!(r#"{{"dtype":"F32","shape":[2],"data_offsets":[{at}]}}"#);
        format!(r#"{{"a":{},"b":{}}}"#, part(a), part(b))
    };
    assert!(Checkpoint::from_bytes(&file(&two("8,16", "0,8"), 16)).is_ok());
    let cases = [
        // Offsets.
        (two("0,8", "4,12"), 12, "overlaps"),
        (two("0,8", "0,8"), 8, "overlaps"),
        (two("0,8", "12,20"), 20, "gap"),
        (two("0,8", "8,16"), 12, "ends at 16, but the file has 12"),
        (two("0,8", "8,16"), 20, "the file has 20 bytes of data"),
        (two("4,12", "12,20"), 20, "gap"),
        (
            tensor(r#""dtype":"F32","shape":[2],"data_offsets":[8,0]"#),
            8,
            "offsets 8 to 0 are not the 8 bytes",
        ),
        (tensor(r#""dtype":"F32","shape":[2],"data_offsets":[0,7]"#), 7, "are not the 8 bytes of F32 [2]"),
        (tensor(r#""dtype":"F32","shape":[2],"data_offsets":[0]"#), 8, "two data_offsets"),
        (tensor(r#""dtype":"F32","shape":[2],"data_offsets":[0,8,9]"#), 8, "more than 2 offsets"),
        (
            tensor(r#""dtype":"F32","shape":[2],"data_offsets":[0,18446744073709551615]"#),
            8,
            "are not the 8 bytes",
        ),
        (tensor(r#""dtype":"F32","shape":[2],"data_offsets":[0,18446744073709551616]"#), 8, "whole number"),
        // Shapes.
        (
            tensor(r#""dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]"#),
            0,
            "memory can address",
        ),
        (
            tensor(r#""dtype":"F32","shape":[0,4294967296,4294967296],"data_offsets":[0,0]"#),
            0,
            "memory can address",
        ),
        (
            tensor(r#""dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,8]"#),
            8,
            "memory can address",
        ),
        (tensor(r#""dtype":"F32","shape":[1,1,1,1,1,1,1,1,2],"data_offsets":[0,8]"#), 8, "more than 8 axes"),
        (tensor(r#""dtype":"F32","shape":[-2],"data_offsets":[0,8]"#), 8, "whole number"),
        (tensor(r#""dtype":"F32","shape":[2.0],"data_offsets":[0,8]"#), 8, "whole number"),
        (tensor(r#""dtype":"F32","shape":[2e0],"data_offsets":[0,8]"#), 8, "whole number"),
        (tensor(r#""dtype":"F32","shape":[02],"data_offsets":[0,8]"#), 8, "whole number"),
        (tensor(r#""dtype":"F32","shape":[NaN],"data_offsets":[0,8]"#), 8, "whole number"),
        (tensor(r#""dtype":"F32","shape":[[2]],"data_offsets":[0,8]"#), 8, "whole number"),
        (tensor(r#""dtype":"F32","shape":[2,],"data_offsets":[0,8]"#), 8, "whole number"),
        (tensor(r#""dtype":"F32","shape":2,"data_offsets":[0,8]"#), 8, "expected a ["),
        // Fields.
        (
            tensor(r#""dtype":"F8_E4M3","shape":[8],"data_offsets":[0,8]"#),
            8,
            "\"F8_E4M3\", which is not supported",
        ),
        (tensor(r#""dtype":4,"shape":[2],"data_offsets":[0,8]"#), 8, "expected a string"),
        (tensor(r#""shape":[2],"data_offsets":[0,8]"#), 8, "tensor \"x\": has no dtype"),
        (tensor(r#""dtype":"F32","data_offsets":[0,8]"#), 8, "has no shape"),
        (tensor(r#""dtype":"F32","shape":[2]"#), 8, "has no data_offsets"),
        (tensor(&format!("{good},\"shape\":[2]")), 8, "has shape twice"),
        (tensor(&format!("{good},\"color\":1")), 8, "unknown field \"color\""),
        // Names.
        (format!(r#"{{"x":{{{good}}},"x":{{{good}}}}}"#), 8, "tensor \"x\" twice"),
        (format!(r#"{{"x":{{{good}}},"\u0078":{{{good}}}}}"#), 8, "tensor \"x\" twice"),
        (r#"{"__metadata__":{"a":"1","a":"2"}}"#.into(), 0, "the metadata has \"a\" twice"),
        (r#"{"__metadata__":{},"__metadata__":{}}"#.into(), 0, "twice"),
        (r#"{"__metadata__":{"a":1}}"#.into(), 0, "expected a string"),
        (r#"{"__metadata__":{"gradus.crc32":"xyz"}}"#.into(), 0, "eight hexadecimal digits"),
        (r#"{"__metadata__":{"gradus.crc32":"\u0030\u0030000000"}}"#.into(), 0, "damaged"),
        (r#"{"__metadata__":{"gradus.crc32:x":"00000000"}}"#.into(), 0, "no such tensor"),
        (format!("{{\"{}\":1}}", "n".repeat(5000)), 0, "(5000 bytes)"),
        // Strings.
        (r#"{"\ud800":1}"#.into(), 0, "surrogate"),
        (r#"{"\ud800\u0041":1}"#.into(), 0, "surrogate"),
        (r#"{"\udc00":1}"#.into(), 0, "surrogate"),
        (r#"{"\u12g4":1}"#.into(), 0, "four hexadecimal digits"),
        (r#"{"\u123é":1}"#.into(), 0, "four hexadecimal digits"),
        (r#"{"\x":1}"#.into(), 0, "an escape"),
        ("{\"a\nb\":1}".into(), 0, "closing quote"),
        (r#"{"a"#.into(), 0, "closing quote"),
        // Structure.
        (String::new(), 0, "expected a {, found the end"),
        (" {}".into(), 0, "expected a {"),
        ("[]".into(), 0, "expected a {"),
        ("{".into(), 0, "a string, found the end"),
        ("{}{}".into(), 0, "expected the end"),
        ("{}\n".into(), 0, "expected the end"),
        (r#"{"a" 1}"#.into(), 0, "expected a :"),
        (tensor(&format!("{good},")), 8, "expected a string"),
        ("{,}".into(), 0, "expected a string"),
        (format!("{{\"x\":{}", "[".repeat(100_000)), 0, "expected a {"),
        (format!("{{\"x\":{}", "{\"x\":".repeat(100_000)), 0, "unknown field"),
    ];
    for (header, data, fault) in cases {
        refused(&file(&header, data), fault);
    }
    refused(&[&4u64.to_le_bytes()[..], b"{\"\xff\""].concat(), "not UTF-8 at its byte 2");
    refused(&[&u64::MAX.to_le_bytes()[..], b"{}"].concat(), "header length of 18446744073709551615");
    refused(&[&3u64.to_le_bytes()[..], b"{}"].concat(), "at most 2 bytes can follow");
    refused(b"PK\x03\x04....not a checkpoint", "not a safetensors file");
    refused(b"", "0 bytes are too few");
    assert!(Checkpoint::from_bytes(&file("{}      ", 0)).unwrap().tensors.is_empty());
}

#[test]
fn names_of_the_format_cannot_be_taken() {
    let mut c = Checkpoint::new();
    c.put("gradus.crc32:x", "00000000");
    assert!(c.to_bytes().unwrap_err().to_string().contains("belongs to the format"));
    let mut c = Checkpoint::new();
    c.tensors.insert("__metadata__".into(), Tensor::from(1.0f32));
    assert!(c.to_bytes().unwrap_err().to_string().contains("__metadata__"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever changes in whichever places: an error or a checkpoint, never a panic.
    #[test]
    fn mangled_files_do_not_panic(changes in prop::collection::vec((0usize..100_000, any::<u8>()), 1..8), checked: bool) {
        let mut bytes = if checked { sample().to_bytes().unwrap() } else { fs::read("tests/data/pytorch.safetensors").unwrap() };
        for (at, value) in changes {
            let at = at % bytes.len();
            bytes[at] = value;
        }
        let _ = Checkpoint::from_bytes(&bytes);
    }

    #[test]
    fn noise_in_a_header_does_not_panic(text in "[{}\\[\\]:,\"\\\\ux0-9a-z_ ]{0,60}") {
        let _ = Checkpoint::from_bytes(&file(&text, 0));
        let _ = Checkpoint::from_bytes(&file(&format!(r#"{{"x":{{"dtype":"F32","shape":{text}"#), 0));
    }
}

fn numbered(n: f32) -> Checkpoint {
    let mut c = Checkpoint::new();
    c.tensors.insert("n".into(), Tensor::full([10_000], f64::from(n)));
    c
}

fn number(c: &Checkpoint) -> f32 {
    let all = c.tensors["n"].to_vec::<f32>().unwrap();
    assert!(all.len() == 10_000 && all.iter().all(|&v| v == all[0]), "two generations in one file");
    all[0]
}

#[test]
fn two_generations_are_kept() {
    let folder = Folder::new("checkpoints-two");
    let path = folder.join("model.safetensors");
    for n in 1..=3u8 {
        numbered(f32::from(n)).save(&path).unwrap();
        assert_eq!(number(&Checkpoint::load(&path).unwrap()), f32::from(n));
        if n > 1 {
            assert_eq!(number(&Checkpoint::load(previous(&path)).unwrap()), f32::from(n - 1));
        }
        assert_eq!(fs::read_dir(&*folder).unwrap().count(), if n > 1 { 2 } else { 1 });
    }
    let (c, fault) = Checkpoint::load_or_previous(&path).unwrap();
    assert!(number(&c) == 3.0 && fault.is_none());
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let (c, fault) = Checkpoint::load_or_previous(&path).unwrap();
    assert!(number(&c) == 2.0 && fault.unwrap().to_string().contains("model.safetensors"));
    fs::remove_file(previous(&path)).unwrap();
    assert!(Checkpoint::load_or_previous(&path).unwrap_err().to_string().contains("model.safetensors: "));
    // What a kill in the middle of keeping leaves: both names on one file, and a third.
    fs::hard_link(&path, previous(&path)).unwrap();
    fs::hard_link(&path, folder.join(".model.safetensors.previous.tmp")).unwrap();
    numbered(4.0).save(&path).unwrap();
    assert_eq!(number(&Checkpoint::load(&path).unwrap()), 4.0);
    assert_eq!(fs::read(previous(&path)).unwrap(), &bytes[..bytes.len() / 2]);
    assert_eq!(fs::read_dir(&*folder).unwrap().count(), 2);
}

#[test]
fn a_tensor_that_cannot_be_computed_leaves_the_old_file() {
    let folder = Folder::new("checkpoints-bad");
    let path = folder.join("f");
    numbered(1.0).save(&path).unwrap();
    let mut c = Checkpoint::new();
    // Where every node is evaluated as it is built (GRADUS_EAGER=1), there is nothing to save in the first place.
    let Ok(bad) = gradus::build(|| Tensor::zeros([3]).index_select(0, &Tensor::from([7u32]))) else { return };
    c.tensors.insert("bad".into(), bad);
    assert!(c.save(&path).unwrap_err().to_string().contains("index 7"));
    assert_eq!(number(&Checkpoint::load(&path).unwrap()), 1.0);
    assert_eq!(fs::read_dir(&*folder).unwrap().count(), 1);
    let error = numbered(1.0).save(folder.join("none").join("f")).unwrap_err().to_string();
    assert!(error.contains("none"), "{error}");
}

#[track_caller]
fn unreadable(path: &Path, fault: &str) {
    let error = Checkpoint::load(path).expect_err("was read").to_string();
    let name = path.file_name().unwrap().to_str().unwrap();
    assert!(error.contains(name) && error.contains(fault), "{error}");
}

#[cfg(target_os = "linux")]
#[test]
fn what_is_not_a_file_is_refused() {
    let folder = Folder::new("checkpoints-odd");
    unreadable(&folder, "a folder");
    unreadable(Path::new("/dev/zero"), "a device");
    unreadable(&folder.join("missing"), "cannot open");
    let pipe = folder.join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    unreadable(&pipe, "a pipe");
    std::os::unix::fs::symlink("loop", folder.join("loop")).unwrap();
    unreadable(&folder.join("loop"), "cannot open");
    // A terabyte that takes no space, and a file that claims as much as it seems to have.
    let (sparse, claim) = (folder.join("sparse"), folder.join("claim"));
    fs::File::create(&sparse).unwrap().set_len(1 << 40).unwrap();
    unreadable(&sparse, "limit");
    let elements = 12u64 << 30;
    let header =
        format!(r#"{{"x":{{"dtype":"F32","shape":[{elements}],"data_offsets":[0,{}]}}}}"#, 4 * elements);
    fs::write(&claim, file(&header, 0)).unwrap();
    unreadable(&claim, "but the file has 0 bytes of data");
}

/// Not a test: what [`kills_leave_complete_generations`] starts and kills.
#[test]
#[ignore]
fn saves_until_killed() {
    let Some(path) = std::env::var_os("GRADUS_TEST_SAVES") else { return };
    for n in 1u8.. {
        numbered(f32::from(n)).save(&path).unwrap();
    }
}

/// A process killed at any moment of saving leaves two complete files.
#[cfg(target_os = "linux")]
#[test]
fn kills_leave_complete_generations() {
    let folder = Folder::new("checkpoints-killed");
    let path = folder.join("f");
    (0..2).for_each(|_| numbered(0.0).save(&path).unwrap());
    for round in 0..20u64 {
        let before = fs::metadata(&path).unwrap().modified().unwrap();
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "saves_until_killed"])
            .env("GRADUS_TEST_SAVES", &path)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        while fs::metadata(&path).unwrap().modified().unwrap() == before {
            assert!(child.try_wait().unwrap().is_none(), "the writer ended by itself");
        }
        std::thread::sleep(std::time::Duration::from_micros(211 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        let newest = number(&Checkpoint::load(&path).unwrap());
        let older = number(&Checkpoint::load(previous(&path)).unwrap());
        assert!(round == 0 || newest >= 1.0, "{newest} after {older}");
        // Two names, one temporary file, and perhaps one on the way to the previous name.
        assert!(fs::read_dir(&*folder).unwrap().count() <= 4);
    }
}
