//! IDX files: what is read, and that every malformed one is a clear error that names it.
#![cfg(feature = "files")]

mod support;

use flate2::{Compression, write::GzEncoder};
use gradus::data::idx::{self, Elements, Idx};
use proptest::prelude::*;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use support::Folder;

fn file(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, bytes).unwrap();
    path
}

fn file_bytes(code: u8, dims: &[u32], payload: &[u8]) -> Vec<u8> {
    let mut b = vec![0, 0, code, dims.len() as u8];
    dims.iter().for_each(|d| b.extend(d.to_be_bytes()));
    b.extend(payload);
    b
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut e = GzEncoder::new(Vec::new(), Compression::default());
    e.write_all(bytes).unwrap();
    e.finish().unwrap()
}

/// The error of a file: it must name the file, and its reason must contain `fault`.
#[track_caller]
fn refused(path: &Path, fault: &str) {
    let message = idx::read(path).expect_err("was accepted").to_string();
    assert!(
        message.contains(path.file_name().unwrap().to_str().unwrap()),
        "does not name the file: {message}"
    );
    assert!(message.contains(fault), "no {fault:?} in: {message}");
}

#[test]
fn every_element_type_plain_and_compressed() {
    let folder = Folder::new("idx-types");
    let f32s = [1.5f32, f32::NEG_INFINITY];
    let f64s = [-0.1f64, 1e300];
    let cases: [(u8, Vec<u8>, Elements); 6] = [
        (0x08, vec![0, 255], Elements::U8(vec![0, 255])),
        (0x09, vec![0x80, 0x7f], Elements::I8(vec![-128, 127])),
        (0x0B, vec![0x80, 0, 1, 2], Elements::I16(vec![-32768, 258])),
        (0x0C, vec![0xff, 0xff, 0xff, 0xfe, 0, 0, 1, 0], Elements::I32(vec![-2, 256])),
        (0x0D, f32s.iter().flat_map(|v| v.to_be_bytes()).collect(), Elements::F32(f32s.to_vec())),
        (0x0E, f64s.iter().flat_map(|v| v.to_be_bytes()).collect(), Elements::F64(f64s.to_vec())),
    ];
    for (code, payload, data) in cases {
        for dims in [vec![2], vec![1, 2], vec![2, 1, 1, 1, 1, 1]] {
            let bytes = file_bytes(code, &dims, &payload);
            let dims = dims.iter().map(|&d| d as usize).collect();
            let want = Idx { dims, data: data.clone() };
            assert_eq!(idx::read(&file(&folder, "plain", &bytes)).unwrap(), want);
            // gzip is known by its content, not by its name
            assert_eq!(idx::read(&file(&folder, "packed", &gzip(&bytes))).unwrap(), want);
        }
    }
    let two_members = [gzip(&file_bytes(8, &[2], &[7])), gzip(&[9])].concat();
    assert_eq!(idx::read(&file(&folder, "members", &two_members)).unwrap().data, Elements::U8(vec![7, 9]));
    for (dims, count) in [(vec![], 1), (vec![0], 0), (vec![u32::MAX, u32::MAX, u32::MAX, 0], 0)] {
        let got = idx::read(&file(&folder, "odd", &file_bytes(8, &dims, &vec![5; count]))).unwrap();
        assert_eq!((got.dims.len(), got.data), (dims.len(), Elements::U8(vec![5; count])));
    }
}

#[test]
fn malformed_files_are_refused() {
    let folder = Folder::new("idx-malformed");
    let good = file_bytes(8, &[2, 3], &[1, 2, 3, 4, 5, 6]);
    refused(&file(&folder, "empty", &[]), "ends within the header");
    refused(&file(&folder, "zeros", &[0; 3]), "ends within the header");
    refused(&file(&folder, "rank", &good[..9]), "ends within the header");
    refused(&file(&folder, "text", b"hello, world"), "not an IDX file");
    refused(&file(&folder, "type", &file_bytes(0x0A, &[1], &[0])), "unknown element type 0x0a");
    refused(&file(&folder, "type0", &[0; 4096]), "unknown element type 0x00");
    refused(&file(&folder, "short", &good[..good.len() - 1]), "too short");
    refused(&file(&folder, "long", &[&good[..], &[0]].concat()), "too long");
    refused(&file(&folder, "claim", &file_bytes(8, &[u32::MAX, 2], &[1])), "too short");
    refused(&file(&folder, "overflow", &file_bytes(0x0E, &[u32::MAX; 255], &[1])), "impossible size");
    refused(&file(&folder, "isize", &file_bytes(8, &[u32::MAX, 1 << 31, 1 << 2], &[1])), "impossible size");
    refused(Path::new("/no/such/file"), "cannot open");
    refused(&folder, "a folder");

    let packed = gzip(&good);
    refused(&file(&folder, "cut.gz", &packed[..packed.len() - 3]), "cannot read");
    refused(&file(&folder, "header.gz", &packed[..7]), "ends within the header");
    let mut rotten = packed.clone();
    rotten[packed.len() - 5] ^= 1; // the stored checksum
    refused(&file(&folder, "checksum.gz", &rotten), "cannot read");
    refused(&file(&folder, "long.gz", &gzip(&[&good[..], &[0]].concat())), "too long");
    refused(&file(&folder, "short.gz", &gzip(&good[..good.len() - 1])), "too short");
    refused(&file(&folder, "garbage.gz", &[&packed[..], b"rest"].concat()), "cannot read");
    // claims 1 GB, and no compressed file of its size can hold that
    refused(&file(&folder, "claim.gz", &gzip(&file_bytes(8, &[1 << 30], &[0; 100]))), "no more than");
    // that large a set does not shrink to a thousandth
    let noise: Vec<u8> =
        (0..420_000u32).map(|k| (k.wrapping_mul(0x9E37_79B9) >> 24 ^ k >> 3) as u8).collect();
    let mut big = GzEncoder::new(Vec::new(), Compression::none());
    big.write_all(&file_bytes(8, &[400 << 20], &noise)).unwrap();
    refused(&file(&folder, "big.gz", &big.finish().unwrap()), "no more than 268435456 bytes");
    // a bomb: 64 MiB of zeros in 64 kB, header included
    refused(&file(&folder, "bomb.gz", &gzip(&vec![0; 64 << 20])), "unknown element type");
}

#[test]
fn the_limit_holds_for_plain_and_compressed() {
    let folder = Folder::new("idx-limit");
    let bytes = file_bytes(8, &[100_000], &vec![7; 100_000]);
    for path in [file(&folder, "plain", &bytes), file(&folder, "packed", &gzip(&bytes))] {
        assert!(idx::read_limited(&path, 100_000).is_ok());
        assert!(idx::read_limited(&path, 99_999).unwrap_err().to_string().contains("99999"));
    }
}

#[cfg(unix)]
#[test]
fn what_is_not_a_file_is_refused_without_waiting() {
    use std::os::unix::fs::symlink;
    let folder = Folder::new("idx-special");
    refused(Path::new("/dev/zero"), "a device");
    let fifo = folder.join("fifo");
    if std::process::Command::new("mkfifo").arg(&fifo).status().is_ok_and(|s| s.success()) {
        refused(&fifo, "a pipe");
    }
    let (a, b) = (folder.join("a"), folder.join("b"));
    symlink(&b, &a).unwrap();
    symlink(&a, &b).unwrap();
    refused(&a, "cannot open");
    let sparse = folder.join("sparse");
    let file = fs::File::create(&sparse).unwrap();
    if file.set_len(1 << 40).is_ok() {
        refused(&sparse, "more than the limit");
    }
}

#[test]
fn images_and_labels_must_fit_together() {
    let folder = Folder::new("idx-images");
    let pixels = file(&folder, "pixels", &file_bytes(8, &[2, 2, 2], &[1, 2, 3, 4, 5, 6, 7, 8]));
    let short = |v: &[i16]| {
        file_bytes(0x0B, &[v.len() as u32], &v.iter().flat_map(|x| x.to_be_bytes()).collect::<Vec<_>>())
    };
    let images = idx::images(&pixels, Some(&file(&folder, "labels", &short(&[0, 300])))).unwrap();
    assert_eq!((images.count, images.channels, images.height, images.width), (2, 1, 2, 2));
    assert_eq!((images.image(1), images.labels.as_deref()), (&[5, 6, 7, 8][..], Some(&[0, 300][..])));
    assert_eq!((images.classes.len(), images.classes[300].as_str()), (301, "300"));
    assert_eq!(idx::images(&pixels, None).unwrap().labels, None);
    for (dims, shape) in [(&[2, 12][..], [2, 1, 1, 12]), (&[2, 3, 2, 2], [2, 3, 2, 2])] {
        let path = file(&folder, "other", &file_bytes(8, dims, &[7; 24]));
        let images = idx::images(&path, None).unwrap();
        assert_eq!([images.count, images.channels, images.height, images.width], shape);
    }

    let bad = |labels: &[u8], fault: &str| {
        let path = file(&folder, "bad-labels", labels);
        let message = idx::images(&pixels, Some(&path)).unwrap_err().to_string();
        assert!(message.contains("bad-labels") && message.contains(fault), "{message}");
    };
    bad(&short(&[1]), "1 labels for the 2 images");
    bad(&short(&[0, -1]), "label -1 of image 1");
    bad(&file_bytes(0x0C, &[2], &[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]), "label 2147483647 of image 0");
    bad(&file_bytes(0x08, &[2, 1], &[0, 0]), "does not hold labels");
    bad(&file_bytes(0x0D, &[2], &[0; 8]), "not integers");

    for (bytes, fault) in [
        (file_bytes(9, &[1, 1, 1], &[0]), "not unsigned bytes"),
        (file_bytes(8, &[4], &[0; 4]), "dimensions [4]"),
        (file_bytes(8, &[1, 1, 1, 1, 1], &[0]), "dimensions [1, 1, 1, 1, 1]"),
        (file_bytes(8, &[3, 0, 2], &[]), "cannot be made of"),
        (file_bytes(8, &[0, u32::MAX, u32::MAX, u32::MAX], &[]), "cannot be made of"),
    ] {
        let path = file(&folder, "bad-pixels", &bytes);
        let message = idx::images(&path, None).unwrap_err().to_string();
        assert!(message.contains("bad-pixels") && message.contains(fault), "{message}");
    }
}

#[test]
fn mnist_is_found_under_its_usual_names() {
    let folder = Folder::new("idx-mnist");
    let images = |n: u32| file_bytes(8, &[n, 2, 2], &vec![3; 4 * n as usize]);
    let labels = |v: &[u8]| file_bytes(8, &[v.len() as u32], v);
    let message = idx::mnist(&folder).unwrap_err().to_string();
    assert!(message.contains("none of") && message.contains("train-images.idx3-ubyte.gz"), "{message}");
    assert!(idx::mnist(&folder.join("none")).unwrap_err().to_string().contains("not a folder"));

    file(&folder, "train-images.idx3-ubyte", &images(3));
    file(&folder, "train-labels-idx1-ubyte.gz", &gzip(&labels(&[0, 4, 2])));
    file(&folder, "t10k-images-idx3-ubyte", &images(2));
    file(&folder, "t10k-labels.idx1-ubyte", &labels(&[1, 1]));
    let split = idx::mnist(&folder).unwrap();
    assert_eq!((split.train.count, split.test.count), (3, 2));
    assert_eq!((split.train.classes.len(), split.test.classes.len()), (5, 5)); // the classes of the set, not of a part
    file(&folder, "t10k-images-idx3-ubyte", &file_bytes(8, &[2, 1, 4], &[0; 8]));
    assert!(idx::mnist(&folder).unwrap_err().to_string().contains("[1, 1, 4]"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
    /// Whatever the bytes, the answer is an array of the promised size or an error; a cut file is never accepted.
    #[test]
    fn any_bytes_are_read_or_refused(
        code in prop_oneof![8..15u8, any::<u8>()],
        dims in prop::collection::vec(prop_oneof![0..4u32, any::<u32>()], 0..5),
        payload in prop::collection::vec(any::<u8>(), 0..64),
        flip in any::<(prop::sample::Index, u8)>(),
        packed in any::<bool>(),
    ) {
        let folder = Folder::new(&format!("idx-fuzz-{:?}", std::thread::current().id()));
        let mut bytes = file_bytes(code, &dims, &payload);
        if packed { bytes = gzip(&bytes); }
        let at = flip.0.index(bytes.len());
        bytes[at] ^= flip.1;
        match idx::read(&file(&folder, "fuzzed", &bytes)) {
            Ok(Idx { dims, data }) => {
                let len = match data {
                    Elements::U8(v) => v.len(), Elements::I8(v) => v.len(), Elements::I16(v) => v.len(),
                    Elements::I32(v) => v.len(), Elements::F32(v) => v.len(), Elements::F64(v) => v.len(),
                };
                let product = if dims.contains(&0) { 0 } else { dims.iter().product() };
                prop_assert_eq!(len, product);
                let cut = file(&folder, "cut", &bytes[..bytes.len() - 1]);
                prop_assert!(idx::read(&cut).is_err());
            }
            Err(e) => prop_assert!(e.to_string().contains("fuzzed")),
        }
    }
}
