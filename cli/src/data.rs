//! Data sets by name: those of the library, and pictures from folders.

use anyhow::{Context, Result};
use gradus::data::folder::{FolderOptions, read};
use gradus::data::resize::Decoded;
use gradus::data::{Images, open};
use image::{ImageReader, Limits};
use std::io::Cursor;
use std::path::Path;

/// What may stand behind `--data`.
pub const NAMES: &str = "digits, digits:COUNT, mnist:FOLDER, images:FOLDER";

/// Most memory that decoding one picture may take.
const DECODER_LIMIT: u64 = 256 << 20;

/// What a model learns from, and what it is judged by where the name has such a part.
pub struct Data {
    pub train: Images,
    pub test: Option<Images>,
}

/// The data set `name`. Pictures of a folder become `channels` x `size` x `size`.
pub fn load(name: &str, seed: u64, size: usize, channels: usize) -> Result<Data> {
    if let Some(folder) = name.strip_prefix("images:") {
        let train = read(Path::new(folder), &FolderOptions::new(channels, size, size), &decode)?;
        return Ok(Data { train, test: None });
    }
    let known =
        name == "digits" || ["digits:", "mnist:"].iter().any(|p| name.starts_with(p) && name.len() > p.len());
    if !known {
        anyhow::bail!("data {name:?} are not known; there are {NAMES}");
    }
    let split = open(name, seed).with_context(|| format!("data {name:?}"))?;
    Ok(Data { train: split.train, test: Some(split.test) })
}

/// Decodes whatever the `image` crate knows, by content and not by name. Alpha is dropped.
fn decode(_: &Path, bytes: &[u8]) -> std::result::Result<Decoded, String> {
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|e| e.to_string())?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(DECODER_LIMIT);
    reader.limits(limits);
    let picture = reader.decode().map_err(|e| e.to_string())?;
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let (channels, pixels) = if picture.color().has_color() {
        (3, picture.into_rgb8().into_raw())
    } else {
        (1, picture.into_luma8().into_raw())
    };
    Ok(Decoded { width, height, channels, pixels })
}

/// A number that changes when the set does, to notice a run resumed on other data.
pub fn fingerprint(images: &Images) -> u64 {
    let mix = |h: u64, v: u64| (h ^ v).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    let (words, rest) = images.pixels.as_chunks::<8>();
    let h = words.iter().fold(images.count as u64, |h, w| mix(h, u64::from_le_bytes(*w)));
    let h = rest.iter().fold(h, |h, &b| mix(h, u64::from(b)));
    images.labels.iter().flatten().fold(h, |h, &l| mix(h, u64::from(l)))
}
