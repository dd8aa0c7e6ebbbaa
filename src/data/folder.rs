//! Pictures in folders: either all in one, without labels, or one folder for each class.
//!
//! Decoding PNG or JPEG takes large libraries, so this crate leaves it to its caller: see [`Decoder`].

use super::Images;
use super::resize::{Decoded, Filter, Fit, resize};
use crate::files::read_bounded;
use crate::{Error, Result};
use gradus_kernels::par;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Turns the bytes of a file into a picture. Closures are decoders.
pub trait Decoder: Sync {
    /// Decodes the content of the file `path`.
    ///
    /// # Errors
    /// A sentence that says what is wrong; the caller adds the name of the file. A panic counts as an error too.
    fn decode(&self, path: &Path, bytes: &[u8]) -> std::result::Result<Decoded, String>;
}

impl<F: Fn(&Path, &[u8]) -> std::result::Result<Decoded, String> + Sync> Decoder for F {
    fn decode(&self, path: &Path, bytes: &[u8]) -> std::result::Result<Decoded, String> {
        self(path, bytes)
    }
}

/// What [`read`] makes of the pictures.
#[derive(Debug, Clone)]
pub struct FolderOptions {
    /// Rows of every picture.
    pub height: usize,
    /// Columns of every picture.
    pub width: usize,
    /// 1: grey; 3: colour.
    pub channels: usize,
    /// How they are brought to that size.
    pub filter: Filter,
    /// How they are brought to that shape.
    pub fit: Fit,
    /// Endings of the names that are pictures, in lower case; other files are passed over.
    pub extensions: Vec<String>,
    /// Most bytes of one file.
    pub file_limit: u64,
    /// Most bytes of all pictures in memory.
    pub total_limit: usize,
}

impl FolderOptions {
    /// Pictures of this size; centre crop, [`Filter::Auto`], png, jpg, jpeg, bmp, gif, webp, pgm, ppm, at most
    /// 64 MiB a file and 4 GiB in all.
    pub fn new(channels: usize, height: usize, width: usize) -> FolderOptions {
        FolderOptions {
            height,
            width,
            channels,
            filter: Filter::default(),
            fit: Fit::default(),
            extensions: ["png", "jpg", "jpeg", "bmp", "gif", "webp", "pgm", "ppm"].map(String::from).to_vec(),
            file_limit: 64 << 20,
            total_limit: usize::try_from(4u64 << 30).unwrap_or(1 << 30),
        }
    }
}

/// Reads the pictures of a folder. If it has folders in it, each is a class, in the order of their names, and the
/// pictures directly in them are its members; otherwise the pictures in it are read without labels. Pictures come
/// in the order of classes and names. Nothing deeper is looked at, nothing whose name begins with a dot either.
///
/// # Errors
/// When the folder cannot be read or holds no pictures, a class holds none, there are pictures beside the classes,
/// a file cannot be read or decoded, or the limits are passed. The error names the file or folder; of several
/// faulty files the first.
pub fn read(folder: &Path, options: &FolderOptions, decoder: &dyn Decoder) -> Result<Images> {
    let FolderOptions { height, width, channels, .. } = *options;
    if !matches!(channels, 1 | 3) || height == 0 || width == 0 {
        return Err(Error::Data(format!(
            "pictures of {channels} channels, {height}x{width}, cannot be made"
        )));
    }
    let listing = list(folder, options)?;
    let count = listing.files.len();
    let each = channels.checked_mul(height).and_then(|n| n.checked_mul(width));
    let total = each.and_then(|n| n.checked_mul(count)).filter(|&n| n <= options.total_limit);
    let (Some(each), Some(total)) = (each, total) else {
        let limit = options.total_limit;
        return Err(Error::file(
            folder,
            format!("{count} images of {channels}x{height}x{width} take more than {limit} bytes"),
        ));
    };
    let mut pixels = Vec::new();
    pixels
        .try_reserve_exact(total)
        .map_err(|_| Error::file(folder, format!("no memory for {total} bytes of images")))?;
    pixels.resize(total, 0);
    decode_all(&listing.files, options, decoder, pixels.chunks_mut(each))?;
    Images::new([count, channels, height, width], pixels, listing.labels, listing.classes)
}

struct Listing {
    files: Vec<PathBuf>,
    labels: Option<Vec<u32>>,
    classes: Vec<String>,
}

fn list(folder: &Path, options: &FolderOptions) -> Result<Listing> {
    let (folders, files) = entries(folder, options)?;
    let nothing = |at: &Path| Error::file(at, format!("holds no images ({})", options.extensions.join(", ")));
    if folders.is_empty() {
        if files.is_empty() {
            return Err(nothing(folder));
        }
        return Ok(Listing { files, labels: None, classes: Vec::new() });
    }
    if let Some(stray) = files.first() {
        return Err(Error::file(
            stray,
            "is an image beside the folders of the classes: of which class is it?",
        ));
    }
    let mut all = Listing { files: Vec::new(), labels: None, classes: Vec::new() };
    let mut labels = Vec::new();
    for class in folders {
        let (_, files) = entries(&class, options)?;
        if files.is_empty() {
            return Err(nothing(&class));
        }
        labels.extend(std::iter::repeat_n(all.classes.len() as u32, files.len()));
        all.classes.push(class.file_name().unwrap_or_default().to_string_lossy().into_owned());
        all.files.extend(files);
    }
    all.labels = Some(labels);
    Ok(all)
}

/// The folders and the pictures directly in `folder`, each sorted by name.
fn entries(folder: &Path, options: &FolderOptions) -> Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let fail = |e: std::io::Error| Error::file(folder, format!("cannot read the folder: {e}"));
    let (mut folders, mut files) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(folder).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        if path.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(b".")) {
            continue;
        }
        let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase());
        // Follows links. A link that leads nowhere is an error only where its name says it is a picture.
        if fs::metadata(&path).is_ok_and(|m| m.is_dir()) {
            folders.push(path);
        } else if extension.is_some_and(|e| options.extensions.contains(&e)) {
            files.push(path);
        }
    }
    folders.sort();
    files.sort();
    Ok((folders, files))
}

fn decode_all<'a>(
    files: &[PathBuf],
    options: &FolderOptions,
    decoder: &dyn Decoder,
    slots: impl Iterator<Item = &'a mut [u8]>,
) -> Result<()> {
    let slots: Vec<_> = slots.map(Mutex::new).collect();
    let first_fault: Mutex<Option<(usize, Error)>> = Mutex::new(None);
    let fault = || first_fault.lock().unwrap_or_else(|e| e.into_inner());
    par::for_each(files.len(), |i| {
        if fault().as_ref().is_some_and(|(at, _)| *at < i) {
            return;
        }
        // Each task locks its own slot, once: the lock is only how the slices reach the threads.
        let mut slot = slots[i].lock().unwrap_or_else(|e| e.into_inner());
        if let Err(e) = decode(&files[i], options, decoder, &mut slot) {
            let mut fault = fault();
            if fault.as_ref().is_none_or(|(at, _)| i < *at) {
                *fault = Some((i, e));
            }
        }
    });
    match first_fault.into_inner().unwrap_or_else(|e| e.into_inner()) {
        Some((_, e)) => Err(e),
        None => Ok(()),
    }
}

fn decode(path: &Path, options: &FolderOptions, decoder: &dyn Decoder, out: &mut [u8]) -> Result<()> {
    let bytes = read_bounded(path, options.file_limit)?;
    // Decoders of others panic on some malformed files; that must not end the program.
    let decoded = catch_unwind(AssertUnwindSafe(|| decoder.decode(path, &bytes)))
        .unwrap_or_else(|panic| Err(format!("its decoder panicked: {}", super::panic_message(&*panic))))
        .and_then(|d| d.fault().map_or(Ok(d), Err))
        .map_err(|reason| Error::file(path, format!("cannot be decoded: {reason}")))?;
    let decoded = decoded.with_channels(options.channels);
    resize(&decoded, [options.height, options.width], options.filter, options.fit, out);
    Ok(())
}
