//! CIFAR-10's binary files: what is read, and that every faulty one is an error that names it.

mod support;

use gradus::data::{cifar, open};
use std::fs;
use std::path::Path;
use support::Folder;

/// A record whose pixel `k` is `seed + k`, wrapping.
fn record(label: u8, seed: u8) -> Vec<u8> {
    std::iter::once(label).chain((0..3072).map(|k| seed.wrapping_add(k as u8))).collect()
}

/// The six files, of `n` pictures each: picture `i` of file `f` has the label `(f + i) % 10` and the seed `16 f + i`.
fn write(folder: &Path, n: u8) {
    let names = (1..=5).map(|f| format!("data_batch_{f}.bin")).chain(["test_batch.bin".into()]);
    for (f, name) in (0u8..).zip(names) {
        let bytes: Vec<u8> = (0..n).flat_map(|i| record((f + i) % 10, 16 * f + i)).collect();
        fs::write(folder.join(name), bytes).unwrap();
    }
}

#[test]
fn the_six_files_are_one_set() {
    let folder = Folder::new("cifar");
    write(&folder, 3);
    let split = cifar::cifar10(&folder).unwrap();
    assert_eq!((split.train.count, split.test.count), (15, 3));
    assert_eq!((split.train.channels, split.train.height, split.train.width), (3, 32, 32));
    assert_eq!(split.train.classes[9], "truck");
    assert_eq!(split.test.labels, Some(vec![5, 6, 7]));
    for (i, picture) in (0..15u8).map(|i| (i, split.train.image(usize::from(i)))) {
        let (f, n) = (i / 3, i % 3);
        assert_eq!(split.train.labels.as_ref().unwrap()[usize::from(i)], u32::from((f + n) % 10));
        assert_eq!(picture, &record(0, 16 * f + n)[1..], "image {i}");
    }
    assert_eq!(open(&format!("cifar:{}", folder.display()), 1).unwrap(), split);
    // As the archive unpacks.
    let outer = Folder::new("cifar-outer");
    fs::rename(&*folder, outer.join("cifar-10-batches-bin")).unwrap();
    assert_eq!(cifar::cifar10(&outer).unwrap(), split);
}

#[test]
fn faulty_files_are_named() {
    let folder = Folder::new("cifar-faults");
    let fails = |parts: &[&str]| {
        let message = cifar::cifar10(&folder).expect_err("was read").to_string();
        assert!(parts.iter().all(|p| message.contains(p)), "no {parts:?} in: {message}");
    };
    fails(&["cifar-faults", "no data_batch_1.bin"]);
    fs::write(folder.join("data_batch_1"), b"pickle").unwrap();
    fails(&["cifar-faults", "for Python", "binary version"]);
    write(&folder, 2);
    let path = folder.join("data_batch_3.bin");
    let whole = fs::read(&path).unwrap();
    for cut in [0, 1, 3072, 3074, whole.len() - 1] {
        fs::write(&path, &whole[..cut]).unwrap();
        fails(&["data_batch_3.bin", &format!("{cut} bytes"), "records of 3073"]);
    }
    fs::write(&path, &whole[..3073]).unwrap();
    fails(&["data_batch_3.bin", "has 1 images, data_batch_1.bin 2"]);
    let mut label = whole.clone();
    label[3073] = 10;
    fs::write(&path, label).unwrap();
    fails(&["data_batch_3.bin", "image 1 has the label 10"]);
    fs::remove_file(&path).unwrap();
    fails(&["data_batch_3.bin", "cannot open"]);
    fs::create_dir(&path).unwrap();
    fails(&["data_batch_3.bin", "a folder"]);
    fs::remove_dir(&path).unwrap();
    fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
    fails(&["data_batch_3.bin", "limit"]);
    fs::write(&path, &whole).unwrap();
    fs::write(folder.join("test_batch.bin"), b"x").unwrap();
    fails(&["test_batch.bin", "1 bytes"]);
    let none = cifar::cifar10(&folder.join("none")).unwrap_err().to_string();
    assert!(none.contains("none: is not a folder"), "{none}");
}
