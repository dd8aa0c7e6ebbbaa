//! Pictures in folders: either all in one, without labels, or one folder for each class.
//!
//! Decoding PNG or JPEG takes large libraries, so this crate leaves it to its caller: see [`Decoder`].

use super::resize::{Decoded, Filter, Fit, resize};
use super::source::{mix, mix_bytes};
use super::{Images, Source};
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

/// What is made of the pictures.
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
    /// Most bytes of all pictures in memory ([`Folder::images`]).
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

/// Reads the pictures of a folder into memory: [`Folder::open`], then [`Folder::images`].
///
/// # Errors
/// As those.
pub fn read(
    folder: &Path,
    options: &FolderOptions,
    decoder: impl Decoder + Send + 'static,
) -> Result<Images> {
    Folder::open(folder, options, decoder)?.images()
}

/// The pictures of a folder, decoded when they are asked for: a set that may be larger than memory. What is kept is
/// the list of files, and while a batch is read one decoded picture for each thread.
pub struct Folder {
    path: PathBuf,
    files: Vec<PathBuf>,
    labels: Option<Vec<u32>>,
    classes: Vec<String>,
    /// Of names and lengths.
    fingerprint: u64,
    options: FolderOptions,
    decoder: Box<dyn Decoder + Send>,
}

impl Folder {
    /// Lists the pictures of a folder. If it has folders in it, each is a class, in the order of their names, and the
    /// pictures directly in them are its members; otherwise the pictures in it are read without labels. Pictures come
    /// in the order of classes and names. Nothing deeper is looked at, nothing whose name begins with a dot either.
    ///
    /// # Errors
    /// When the folder cannot be read or holds no pictures, a class holds none, or there are pictures beside the
    /// classes. The error names the file or folder. What is wrong with a file is found when it is read.
    pub fn open(
        folder: &Path,
        options: &FolderOptions,
        decoder: impl Decoder + Send + 'static,
    ) -> Result<Folder> {
        let FolderOptions { height, width, channels, .. } = *options;
        let each = channels.checked_mul(height).and_then(|n| n.checked_mul(width));
        if !matches!(channels, 1 | 3) || each.is_none_or(|n| n == 0 || isize::try_from(n).is_err()) {
            return Err(Error::Data(format!(
                "pictures of {channels} channels, {height}x{width}, cannot be made"
            )));
        }
        let Listing { files, labels, classes } = list(folder, options)?;
        let mut fingerprint = files.len() as u64;
        for file in &files {
            let name = file.strip_prefix(folder).unwrap_or(file);
            fingerprint = mix_bytes(fingerprint, name.as_os_str().as_encoded_bytes());
            // A link that leads nowhere is an error when the picture is read.
            fingerprint = mix(fingerprint, fs::metadata(file).map_or(0, |m| m.len()));
        }
        let (options, decoder) = (options.clone(), Box::new(decoder));
        Ok(Folder { path: folder.into(), files, labels, classes, fingerprint, options, decoder })
    }

    /// Bytes of all pictures together, decoded and resized; `None` where that is more than can be addressed.
    pub fn total_bytes(&self) -> Option<usize> {
        let each = self.shape().iter().product::<usize>();
        each.checked_mul(self.files.len()).filter(|&n| isize::try_from(n).is_ok())
    }

    /// All pictures, in memory.
    ///
    /// # Errors
    /// When a file cannot be read or decoded, or the limits are passed. The error names the file; of several faulty
    /// files the first.
    pub fn images(&self) -> Result<Images> {
        let (count, [channels, height, width]) = (self.files.len(), self.shape());
        let limit = self.options.total_limit;
        let Some(total) = self.total_bytes().filter(|&n| n <= limit) else {
            let images = format!("{count} images of {channels}x{height}x{width}");
            return Err(Error::file(&self.path, format!("{images} take more than {limit} bytes")));
        };
        let mut pixels = Vec::new();
        pixels
            .try_reserve_exact(total)
            .map_err(|_| Error::file(&self.path, format!("no memory for {total} bytes of images")))?;
        pixels.resize(total, 0);
        self.decode_all(&self.files.iter().collect::<Vec<_>>(), &mut pixels)?;
        Images::new([count, channels, height, width], pixels, self.labels.clone(), self.classes.clone())
    }

    /// Decodes files one after the other into `pixels`, on all threads.
    fn decode_all(&self, files: &[&PathBuf], pixels: &mut [u8]) -> Result<()> {
        let each = self.shape().iter().product::<usize>();
        let slots: Vec<_> = pixels.chunks_exact_mut(each).map(Mutex::new).collect();
        let first_fault: Mutex<Option<(usize, Error)>> = Mutex::new(None);
        let fault = || first_fault.lock().unwrap_or_else(|e| e.into_inner());
        par::for_each(files.len(), |i| {
            if fault().as_ref().is_some_and(|(at, _)| *at < i) {
                return;
            }
            // Each task locks its own slot, once: the lock is only how the slices reach the threads.
            let mut slot = slots[i].lock().unwrap_or_else(|e| e.into_inner());
            if let Err(e) = decode(files[i], &self.options, &*self.decoder, &mut slot) {
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

    /// The file of picture `index`.
    fn file(&self, index: usize) -> Result<&PathBuf> {
        let missing = || Error::file(&self.path, format!("has no image {index} among {}", self.files.len()));
        self.files.get(index).ok_or_else(missing)
    }
}

impl Source for Folder {
    fn len(&self) -> usize {
        self.files.len()
    }

    fn shape(&self) -> [usize; 3] {
        [self.options.channels, self.options.height, self.options.width]
    }

    fn is_labelled(&self) -> bool {
        self.labels.is_some()
    }

    fn classes(&self) -> Vec<String> {
        self.classes.clone()
    }

    /// Of the names and lengths of the files, not their content: that would be to read all of a set which may be
    /// larger than memory, and a damaged picture could no longer be told from another set.
    fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    fn read(&self, index: usize, pixels: &mut [u8]) -> Result<Option<u32>> {
        decode(self.file(index)?, &self.options, &*self.decoder, pixels)?;
        Ok(self.labels.as_ref().map(|l| l[index]))
    }

    fn read_batch(&self, indices: &[u32], pixels: &mut [u8]) -> Result<Option<Vec<u32>>> {
        let files: Result<Vec<_>> = indices.iter().map(|&i| self.file(i as usize)).collect();
        self.decode_all(&files?, pixels)?;
        Ok(self.labels.as_ref().map(|l| indices.iter().map(|&i| l[i as usize]).collect()))
    }
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
