//! IDX, the format of MNIST: <http://yann.lecun.com/exdb/mnist/>. Two zero bytes, the element type, the number of
//! dimensions, the dimensions as big-endian u32, then the elements, big-endian, row-major. Plain or in gzip.
//!
//! No memory is taken on the word of a header: a plain file must have the length that its header implies, and a
//! compressed one must be long enough to hold it.

use super::{Images, Split};
use crate::files::open_regular;
use crate::{Error, Result};
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

/// Most bytes of elements that [`read`] accepts: 1 GiB.
pub const LIMIT: u64 = 1 << 30;

/// Labels from this on are taken for a wrong file: each class costs memory.
const MAX_CLASSES: u32 = 1 << 16;

/// An array as the file has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Idx {
    /// The extents, slowest first.
    pub dims: Vec<usize>,
    /// The elements, row-major.
    pub data: Elements,
}

/// The elements of an [`Idx`].
#[derive(Debug, Clone, PartialEq)]
pub enum Elements {
    /// Type 0x08.
    U8(Vec<u8>),
    /// Type 0x09.
    I8(Vec<i8>),
    /// Type 0x0B.
    I16(Vec<i16>),
    /// Type 0x0C.
    I32(Vec<i32>),
    /// Type 0x0D.
    F32(Vec<f32>),
    /// Type 0x0E.
    F64(Vec<f64>),
}

/// Reads an IDX file of at most [`LIMIT`] bytes of elements, plain or in gzip (with the feature `files`).
///
/// # Errors
/// When the file is not a regular file, cannot be read, is not IDX, is shorter or longer than its header says, or
/// larger than the limit. The error names the file and the fault.
pub fn read(path: &Path) -> Result<Idx> {
    read_limited(path, LIMIT)
}

/// [`read`] with a limit of one's own.
///
/// # Errors
/// As [`read`].
pub fn read_limited(path: &Path, limit: u64) -> Result<Idx> {
    // The header of an IDX file has at most 4 + 255 * 4 bytes, a gzip wrapper a name and 18 bytes around it.
    let (mut file, len) = open_regular(path, limit.saturating_add(1 << 16))?;
    let fail = |reason: String| Error::file(path, reason);
    let mut magic = [0; 2];
    let got = file
        .read(&mut magic)
        .and_then(|n| file.rewind().map(|()| n))
        .map_err(|e| fail(format!("cannot read: {e}")))?;
    if got == 2 && magic == [0x1f, 0x8b] {
        #[cfg(feature = "files")]
        {
            let limit = limit.min(expanded_limit(len));
            let stream = flate2::bufread::MultiGzDecoder::new(io::BufReader::with_capacity(1 << 16, file));
            return parse(stream, None, limit).map_err(fail);
        }
        #[cfg(not(feature = "files"))]
        return Err(fail("is compressed, and this build lacks the feature `files` that reads gzip".into()));
    }
    parse(io::BufReader::with_capacity(1 << 16, file), Some(len), limit).map_err(fail)
}

/// Most bytes that a compressed file of `len` bytes may hold. Deflate cannot make more than 1032 bytes of one (258
/// bytes from two bits). Beyond 256 MiB a file that comes near this is a bomb, not data: handwriting shrinks to a
/// fifth, sorted labels to a hundredth.
#[cfg(feature = "files")]
fn expanded_limit(len: u64) -> u64 {
    len.saturating_mul(1032).min(len.saturating_mul(100).max(256 << 20))
}

/// Parses a stream of at most `limit` bytes of elements and, where it is known, of the length `len`.
fn parse(mut stream: impl Read, len: Option<u64>, limit: u64) -> std::result::Result<Idx, String> {
    let (code, dims) = header(&mut stream)?;
    let size = element_size(code).ok_or_else(|| format!("has the unknown element type {code:#04x}"))?;
    let bytes = byte_count(&dims, size).ok_or_else(|| format!("claims the impossible size {dims:?}"))?;
    let header = 4 + 4 * dims.len() as u64;
    if let Some(len) = len.filter(|&len| len != header + bytes) {
        let kind = if len < header + bytes { "too short" } else { "too long" };
        let wanted = header + bytes;
        return Err(format!(
            "is {kind}: it has {len} bytes, and {dims:?} elements of {size} bytes make {wanted}"
        ));
    }
    if bytes > limit {
        return Err(format!(
            "claims {dims:?} elements of {size} bytes, but can or may have no more than {limit} bytes"
        ));
    }
    let mut raw = Vec::new();
    if len.is_some() {
        raw.try_reserve_exact(bytes as usize).map_err(|_| format!("no memory for its {bytes} bytes"))?;
    }
    stream.by_ref().take(bytes).read_to_end(&mut raw).map_err(|e| format!("cannot read: {e}"))?;
    if (raw.len() as u64) < bytes {
        return Err(format!("is too short: {} bytes of elements instead of {bytes}", raw.len()));
    }
    // Reading on to the end also makes gzip compare its checksum.
    if stream.read(&mut [0]).map_err(|e| format!("cannot read to its end: {e}"))? != 0 {
        return Err(format!("is too long: there is more after {bytes} bytes of elements"));
    }
    let dims = dims.iter().map(|&d| d as usize).collect();
    Ok(Idx { dims, data: elements(code, raw) })
}

/// The element type and the dimensions.
fn header(stream: &mut impl Read) -> std::result::Result<(u8, Vec<u32>), String> {
    let mut read = |bytes: &mut [u8]| {
        stream.read_exact(bytes).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => "is too short: it ends within the header".to_string(),
            _ => format!("cannot read: {e}"),
        })
    };
    let mut magic = [0; 4];
    read(&mut magic)?;
    let [0, 0, code, rank] = magic else {
        return Err(format!("is not an IDX file: it begins with {magic:02x?}"));
    };
    let mut dims = vec![0; usize::from(rank)];
    for d in &mut dims {
        let mut b = [0; 4];
        read(&mut b)?;
        *d = u32::from_be_bytes(b);
    }
    Ok((code, dims))
}

fn element_size(code: u8) -> Option<u64> {
    match code {
        0x08 | 0x09 => Some(1),
        0x0B => Some(2),
        0x0C | 0x0D => Some(4),
        0x0E => Some(8),
        _ => None,
    }
}

/// Bytes of all elements; `None` beyond what memory can address.
fn byte_count(dims: &[u32], size: u64) -> Option<u64> {
    if dims.contains(&0) {
        return Some(0);
    }
    let bytes = dims.iter().try_fold(size, |n, &d| n.checked_mul(u64::from(d)))?;
    isize::try_from(bytes).ok().map(|_| bytes)
}

fn elements(code: u8, raw: Vec<u8>) -> Elements {
    fn each<const N: usize, T>(raw: &[u8], from: fn([u8; N]) -> T) -> Vec<T> {
        raw.as_chunks::<N>().0.iter().map(|&b| from(b)).collect()
    }
    match code {
        0x09 => Elements::I8(each(&raw, i8::from_be_bytes)),
        0x0B => Elements::I16(each(&raw, i16::from_be_bytes)),
        0x0C => Elements::I32(each(&raw, i32::from_be_bytes)),
        0x0D => Elements::F32(each(&raw, f32::from_be_bytes)),
        0x0E => Elements::F64(each(&raw, f64::from_be_bytes)),
        _ => Elements::U8(raw),
    }
}

/// Reads a set of pictures: an IDX file of u8 with dimensions `[count, width]`, `[count, height, width]` or
/// `[count, channels, height, width]`, and, if given, one of `count` labels (any integer type, from 0). Classes
/// are named by their numbers.
///
/// # Errors
/// As [`read`], and when the arrays are not what they should be or do not fit together.
pub fn images(pixels: &Path, labels: Option<&Path>) -> Result<Images> {
    let Idx { dims, data } = read(pixels)?;
    let Elements::U8(bytes) = data else {
        return Err(Error::file(pixels, "does not hold images: its elements are not unsigned bytes"));
    };
    let shape = match dims[..] {
        [n, w] => [n, 1, 1, w],
        [n, h, w] => [n, 1, h, w],
        [n, c, h, w] => [n, c, h, w],
        _ => {
            return Err(Error::file(pixels, format!("does not hold images: it has the dimensions {dims:?}")));
        }
    };
    let (labels, classes) = match labels {
        None => (None, Vec::new()),
        Some(path) => {
            let labels = read_labels(path)?;
            if labels.len() != shape[0] {
                let (n, m) = (labels.len(), shape[0]);
                return Err(Error::file(
                    path,
                    format!("has {n} labels for the {m} images of {}", pixels.display()),
                ));
            }
            let classes = labels.iter().max().map_or(0, |&m| m + 1);
            (Some(labels), (0..classes).map(|c| c.to_string()).collect())
        }
    };
    Images::new(shape, bytes, labels, classes).map_err(|e| Error::file(pixels, e.to_string()))
}

fn read_labels(path: &Path) -> Result<Vec<u32>> {
    let Idx { dims, data } = read(path)?;
    if dims.len() != 1 {
        return Err(Error::file(path, format!("does not hold labels: it has the dimensions {dims:?}")));
    }
    let labels: Vec<i64> = match data {
        Elements::U8(v) => v.into_iter().map(i64::from).collect(),
        Elements::I8(v) => v.into_iter().map(i64::from).collect(),
        Elements::I16(v) => v.into_iter().map(i64::from).collect(),
        Elements::I32(v) => v.into_iter().map(i64::from).collect(),
        Elements::F32(_) | Elements::F64(_) => {
            return Err(Error::file(path, "does not hold labels: its elements are not integers"));
        }
    };
    let valid = |&l: &i64| u32::try_from(l).ok().filter(|&l| l < MAX_CLASSES);
    labels
        .iter()
        .enumerate()
        .map(|(i, l)| {
            valid(l).ok_or_else(|| {
                Error::file(
                    path,
                    format!("label {l} of image {i} is not in the range 0 to {}", MAX_CLASSES - 1),
                )
            })
        })
        .collect()
}

/// Reads the four files of MNIST, or of a data set packed like it, from a folder: `train-images-idx3-ubyte`,
/// `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and `t10k-labels-idx1-ubyte`, each also with a `.` for the
/// last `-` but one, as some unpackers name them, and with `.gz`.
///
/// # Errors
/// When a file is missing (the error lists the names looked for) or faulty, or train and test differ in size.
pub fn mnist(folder: &Path) -> Result<Split> {
    let part = |name: &str| {
        images(
            &find(folder, &format!("{name}-images"), "idx3-ubyte")?,
            Some(&find(folder, &format!("{name}-labels"), "idx1-ubyte")?),
        )
    };
    let (mut train, mut test) = (part("train")?, part("t10k")?);
    let shape = |i: &Images| [i.channels, i.height, i.width];
    if shape(&train) != shape(&test) {
        let (a, b) = (shape(&train), shape(&test));
        return Err(Error::file(
            folder,
            format!("its train images are {a:?}, its test images {b:?} (channels, height, width)"),
        ));
    }
    let longer =
        if train.classes.len() > test.classes.len() { &train.classes } else { &test.classes }.clone();
    train.classes.clone_from(&longer);
    test.classes = longer;
    Ok(Split { train, test })
}

fn find(folder: &Path, stem: &str, kind: &str) -> Result<PathBuf> {
    let names: Vec<String> =
        ["", ".gz"].iter().flat_map(|gz| ["-", "."].map(|dot| format!("{stem}{dot}{kind}{gz}"))).collect();
    // Not `exists`, which hides a broken link behind "none of them": opening it says what is wrong.
    names.iter().map(|n| folder.join(n)).find(|p| p.symlink_metadata().is_ok()).ok_or_else(|| {
        let names = names.join(", ");
        let fault = if folder.is_dir() { "holds none of" } else { "is not a folder; wanted one with" };
        Error::file(folder, format!("{fault} {names}"))
    })
}
