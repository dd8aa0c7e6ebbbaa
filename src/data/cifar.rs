//! CIFAR-10 in its binary version: <https://www.cs.toronto.edu/~kriz/cifar.html>. Each of the files
//! `data_batch_1.bin` … `data_batch_5.bin` and `test_batch.bin` is a row of records (10,000 in the original): a byte
//! that is the class, then 3 x 32 x 32 bytes of pixels, red, green and blue plane, row by row.

use super::{Images, Split};
use crate::files::read_bounded;
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// The classes, by number.
pub const CLASSES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

const SHAPE: [usize; 3] = [3, 32, 32];
const PIXELS: usize = 3 * 32 * 32;
const RECORD: usize = 1 + PIXELS;
/// Most bytes of a file: 13 times that of the original.
const LIMIT: u64 = 400 << 20;
/// The folder that the original archive unpacks to.
const UNPACKED: &str = "cifar-10-batches-bin";

/// Reads one file of records.
///
/// # Errors
/// When it is not a regular file, cannot be read, is cut or otherwise not a whole number of records, or has a label
/// that is no class. The error names the file and the fault.
pub fn batch(path: &Path) -> Result<Images> {
    let bytes = read_bounded(path, LIMIT)?;
    let len = bytes.len();
    if len == 0 || !len.is_multiple_of(RECORD) {
        return Err(Error::file(
            path,
            format!("is cut or not CIFAR-10: {len} bytes are no whole number of records of {RECORD}"),
        ));
    }
    let records = bytes.as_chunks::<RECORD>().0;
    let mut pixels = Vec::with_capacity(records.len() * PIXELS);
    let mut labels = Vec::with_capacity(records.len());
    for (i, [label, picture @ ..]) in records.iter().enumerate() {
        if usize::from(*label) >= CLASSES.len() {
            return Err(Error::file(path, format!("is not CIFAR-10: image {i} has the label {label}")));
        }
        labels.push(u32::from(*label));
        pixels.extend(picture);
    }
    let [channels, height, width] = SHAPE;
    let classes = CLASSES.map(String::from).to_vec();
    Images::new([records.len(), channels, height, width], pixels, Some(labels), classes)
}

/// Reads the six files from a folder, or from the folder `cifar-10-batches-bin` in it.
///
/// # Errors
/// When a file is missing or faulty, or one of the five for training has fewer pictures than the others: it is cut.
pub fn cifar10(folder: &Path) -> Result<Split> {
    let folder = find(folder)?;
    let mut train: Option<Images> = None;
    let mut first = 0;
    for number in 1..=5 {
        let path = folder.join(format!("data_batch_{number}.bin"));
        let part = batch(&path)?;
        match &mut train {
            None => (first, train) = (part.count, Some(part)),
            Some(all) => {
                if part.count != first {
                    let n = part.count;
                    return Err(Error::file(path, format!("has {n} images, data_batch_1.bin {first}: cut?")));
                }
                all.count += part.count;
                all.pixels.extend(part.pixels);
                all.labels.get_or_insert_default().extend(part.labels.unwrap_or_default());
            }
        }
    }
    let train = train.ok_or_else(|| Error::file(&folder, "holds no images"))?;
    Ok(Split { train, test: batch(&folder.join("test_batch.bin"))? })
}

fn find(folder: &Path) -> Result<PathBuf> {
    let has = |folder: &Path, name: &str| folder.join(name).symlink_metadata().is_ok();
    let candidates = [folder.to_path_buf(), folder.join(UNPACKED)];
    if let Some(found) = candidates.into_iter().find(|f| has(f, "data_batch_1.bin")) {
        return Ok(found);
    }
    let fault = match () {
        () if has(folder, "data_batch_1") => "holds CIFAR-10 for Python; the binary version is wanted",
        () if folder.is_dir() => "holds no data_batch_1.bin",
        () => "is not a folder; wanted one with data_batch_1.bin … data_batch_5.bin and test_batch.bin",
    };
    Err(Error::file(folder, fault))
}
