//! Sets larger than memory: what is read when, and how much of it is held at once. Alone in its program, because it
//! looks at the memory of the process.

mod support;

use gradus::data::folder::{Folder as PictureFolder, FolderOptions};
use gradus::data::resize::Decoded;
use gradus::data::{Loader, LoaderOptions, Source, random_split};
use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use support::Folder;

const SIDE: usize = 256;
const COUNT: usize = 1600;

static DECODED: AtomicUsize = AtomicUsize::new(0);

/// A file holds the number of the picture, whose pixels are all that number modulo 251.
fn decode(_: &Path, bytes: &[u8]) -> Result<Decoded, String> {
    DECODED.fetch_add(1, Ordering::Relaxed);
    let number: [u8; 4] = bytes.try_into().map_err(|_| "is not a number")?;
    let value = (u32::from_le_bytes(number) % 251) as u8;
    Ok(Decoded { width: SIDE, height: SIDE, channels: 1, pixels: vec![value; SIDE * SIDE] })
}

/// The most memory this process has had, in bytes, where the system tells.
fn peak_memory() -> Option<usize> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse::<usize>().ok().map(|kb| kb << 10)
}

/// 1,600 pictures of 64 KiB, 100 MiB in all, go through a loader in a small part of that, each once, labels right.
#[test]
fn a_folder_larger_than_its_memory_streams() {
    let folder = Folder::new("streaming");
    for i in 0..COUNT as u32 {
        let class = folder.join(format!("class-{}", i % 4));
        fs::create_dir_all(&class).unwrap();
        fs::write(class.join(format!("{i:05}.png")), i.to_le_bytes()).unwrap();
    }
    let options = FolderOptions { total_limit: 1 << 20, ..FolderOptions::new(1, SIDE, SIDE) };
    let source = PictureFolder::open(&folder, &options, decode).unwrap();
    assert_eq!(DECODED.load(Ordering::Relaxed), 0, "opening a folder decodes nothing");
    assert_eq!(source.total_bytes(), Some(COUNT * SIDE * SIDE));
    let refused = source.images().unwrap_err().to_string();
    assert!(refused.contains("more than 1048576 bytes"), "{refused}");

    let (batch, prefetch) = (8, 2);
    let before = peak_memory();
    let [train, held]: [_; 2] =
        random_split(Arc::new(source), &[0.75, 0.25], 1).unwrap().try_into().unwrap_or_else(|_| panic!());
    let mut seen = HashSet::new();
    for (part, expected) in [(train, 1200), (held, 400)] {
        assert_eq!(part.len(), expected);
        let numbers: Vec<u32> = part.indices().iter().map(|i| i % 400 * 4 + i / 400).collect();
        let start = DECODED.load(Ordering::Relaxed);
        let options = LoaderOptions { prefetch, ..LoaderOptions::new(batch, 3) };
        let mut loader = Loader::new(Arc::new(part), options).unwrap();
        let mut handed = 0;
        while handed < expected {
            let made = loader.next_batch().unwrap();
            handed += made.indices.len();
            // What waits: `prefetch` batches, and the one that is being made.
            let ahead = DECODED.load(Ordering::Relaxed) - start - handed;
            assert!(ahead <= (prefetch + 1) * batch, "{ahead} pictures ahead");
            for ((&i, label), picture) in
                made.indices.iter().zip(made.labels.unwrap()).zip(made.pixels.chunks(SIDE * SIDE))
            {
                let number = numbers[i as usize];
                assert_eq!(label, number % 4);
                let value = (number % 251) as f32 / 255.0;
                assert!(picture.iter().all(|v| *v == value), "picture {number}");
                assert!(seen.insert(number), "picture {number} twice");
            }
        }
    }
    assert_eq!(seen.len(), COUNT);
    if let (Some(before), Some(after)) = (before, peak_memory()) {
        let grown = (after - before) >> 20;
        println!("memory grew by {grown} MiB for {} MiB of pictures", (COUNT * SIDE * SIDE) >> 20);
        // Four batches of 2 MiB as numbers and one of 0.5 MiB as bytes, and pictures being decoded.
        assert!(grown <= 24, "memory grew by {grown} MiB");
    }

    // A file that has become unreadable is named when it is reached, and nothing else suffers.
    fs::write(folder.join("class-1/00001.png"), b"broken").unwrap();
    let source = Arc::new(PictureFolder::open(&folder, &options, decode).unwrap());
    let options = LoaderOptions { shuffle: false, prefetch: 0, ..LoaderOptions::new(400, 3) };
    let mut loader = Loader::new(source, options).unwrap();
    loader.next_batch().unwrap();
    let message = loader.next_batch().unwrap_err().to_string();
    assert!(message.contains("class-1/00001.png") && message.contains("is not a number"), "{message}");
}
