//! Pictures in folders, and the resampling of pictures.

mod support;

use gradus::data::folder::{self, FolderOptions};
use gradus::data::resize::{Decoded, Filter, Fit, resize};
use std::fs;
use std::path::Path;
use support::Folder;

fn file(folder: &Path, name: &str, bytes: &[u8]) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// The format of these tests: width, height, channels, then the pixels.
fn toy(_: &Path, bytes: &[u8]) -> Result<Decoded, String> {
    let [width, height, channels, pixels @ ..] = bytes else { return Err("no header".into()) };
    assert!(*channels != 9, "nine channels");
    let [width, height, channels] = [width, height, channels].map(|&v| usize::from(v));
    Ok(Decoded { width, height, channels, pixels: pixels.to_vec() })
}

fn grey(width: usize, height: usize, pixels: Vec<u8>) -> Decoded {
    Decoded { width, height, channels: 1, pixels }
}

fn resized(picture: &Decoded, size: [usize; 2], filter: Filter, fit: Fit) -> Vec<u8> {
    let mut out = vec![77; picture.channels * size[0] * size[1]];
    resize(picture, size, filter, fit, &mut out);
    out
}

#[test]
fn classes_are_folders_in_order() {
    let folder = Folder::new("folder-classes");
    file(&folder, "b/2.png", &[1, 1, 1, 20]);
    file(&folder, "b/1.PNG", &[1, 1, 1, 10]);
    file(&folder, "b/notes.txt", b"not a picture");
    file(&folder, "b/deeper/9.png", &[1, 1, 1, 90]);
    file(&folder, "a/x.jpg", &[1, 1, 3, 100, 100, 100]);
    file(&folder, ".hidden/x.png", &[]);
    file(&folder, "a/.x.png", &[]);
    file(&folder, "readme.md", b"");
    let images = folder::read(&folder, &FolderOptions::new(1, 1, 1), toy).unwrap();
    assert_eq!(images.classes, ["a", "b"]);
    assert_eq!(images.labels, Some(vec![0, 1, 1]));
    assert_eq!(images.pixels, [100, 10, 20]);
    let colour = folder::read(&folder, &FolderOptions::new(3, 2, 1), toy).unwrap();
    assert_eq!((colour.channels, colour.height, colour.width), (3, 2, 1));
    assert_eq!(colour.image(2), [20; 6]);

    let flat = folder::read(&folder.join("b"), &FolderOptions::new(1, 1, 1), toy).unwrap_err();
    assert!(flat.to_string().contains("beside the folders"), "{flat}");
    fs::remove_dir_all(folder.join("b/deeper")).unwrap();
    let flat = folder::read(&folder.join("b"), &FolderOptions::new(1, 1, 1), toy).unwrap();
    assert_eq!((flat.labels, flat.pixels), (None, vec![10, 20]));
}

#[test]
fn faults_name_the_file() {
    let folder = Folder::new("folder-faults");
    let fails = |fault: &[&str], options: &FolderOptions| {
        let message = folder::read(&folder, options, toy).unwrap_err().to_string();
        assert!(fault.iter().all(|f| message.contains(f)), "no {fault:?} in: {message}");
    };
    let options = FolderOptions::new(1, 4, 4);
    fails(&["holds no images", "png"], &options);
    (0..20).for_each(|i| file(&folder, &format!("{i:02}.png"), &[1, 1, 1, 0]));
    file(&folder, "18.png", &[]);
    for (bytes, fault) in [
        (&[][..], "no header"),
        (&[1, 1, 9][..], "panicked: nine channels"),
        (&[1, 1, 2, 0, 0][..], "2 channels"),
        (&[2, 2, 1, 0, 0][..], "2 bytes of pixels for 2x2x1"),
        (&[0, 2, 1][..], "0 bytes of pixels"),
    ] {
        file(&folder, "07.png", bytes);
        fails(&["07.png", "cannot be decoded", fault], &options);
    }
    file(&folder, "07.png", &[1; 100]);
    fails(
        &["07.png", "100 bytes, more than the limit of 99"],
        &FolderOptions { file_limit: 99, ..options.clone() },
    );
    fails(
        &["20 images of 1x4x4 take more than 319 bytes"],
        &FolderOptions { total_limit: 319, ..options.clone() },
    );
    fails(&["cannot be made"], &FolderOptions::new(3, usize::MAX, 2));
    fails(&["cannot be made"], &FolderOptions::new(2, 1, 1));
    fs::create_dir(folder.join("empty")).unwrap();
    fs::read_dir(&folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.is_file())
        .for_each(|p| fs::remove_file(p).unwrap());
    fails(&["empty", "holds no images"], &options);
    let none = folder::read(&folder.join("none"), &options, toy).unwrap_err();
    assert!(none.to_string().contains("cannot read the folder"), "{none}");
}

#[cfg(unix)]
#[test]
fn loops_and_pipes_end_in_an_error() {
    let folder = Folder::new("folder-loops");
    file(&folder, "class/1.png", &[1, 1, 1, 5]);
    std::os::unix::fs::symlink(&folder, folder.join("class/loop")).unwrap(); // not entered
    let options = FolderOptions::new(1, 1, 1);
    assert_eq!(folder::read(&folder, &options, toy).unwrap().pixels, [5]);
    std::os::unix::fs::symlink("self.png", folder.join("class/self.png")).unwrap();
    let message = folder::read(&folder, &options, toy).unwrap_err().to_string();
    assert!(message.contains("self.png"), "{message}");
    fs::remove_file(folder.join("class/self.png")).unwrap();
    let fifo = folder.join("class/pipe.png");
    if std::process::Command::new("mkfifo").arg(&fifo).status().is_ok_and(|s| s.success()) {
        let message = folder::read(&folder, &options, toy).unwrap_err().to_string();
        assert!(message.contains("pipe.png") && message.contains("a pipe"), "{message}");
    }
}

#[test]
fn grey_is_luma() {
    let luma = |rgb: [u8; 3]| {
        Decoded { width: 1, height: 1, channels: 3, pixels: rgb.to_vec() }.with_channels(1).pixels[0]
    };
    assert_eq!([luma([255, 255, 255]), luma([0, 0, 0]), luma([9, 9, 9])], [255, 0, 9]);
    assert_eq!([luma([255, 0, 0]), luma([0, 255, 0]), luma([0, 0, 255])], [76, 150, 29]);
}

#[test]
fn the_same_size_changes_nothing() {
    let picture = grey(5, 4, (0..20).map(|v| v * 12).collect());
    for filter in [Filter::Area, Filter::Bilinear, Filter::Auto] {
        for fit in [Fit::Crop, Fit::Stretch] {
            assert_eq!(resized(&picture, [4, 5], filter, fit), picture.pixels);
        }
    }
}

/// Area: whole blocks are plain means; a ratio of 3/2 weighs the shared pixel by half.
#[test]
fn area_is_the_mean_of_what_is_covered() {
    let picture = grey(4, 2, vec![0, 10, 20, 30, 100, 110, 120, 130]);
    assert_eq!(resized(&picture, [1, 2], Filter::Area, Fit::Stretch), [55, 75]);
    let picture = grey(3, 1, vec![30, 60, 90]);
    assert_eq!(resized(&picture, [1, 2], Filter::Area, Fit::Stretch), [40, 80]);
    // Three channels stay apart and come out plane by plane.
    let rgb = Decoded { width: 2, height: 1, channels: 3, pixels: vec![10, 20, 30, 30, 40, 50] };
    assert_eq!(resized(&rgb, [1, 1], Filter::Auto, Fit::Stretch), [20, 30, 40]);
    assert_eq!(resized(&rgb, [1, 2], Filter::Auto, Fit::Stretch), [10, 30, 20, 40, 30, 50]);
}

#[test]
fn bilinear_interpolates_between_centres() {
    let picture = grey(2, 1, vec![0, 100]);
    assert_eq!(resized(&picture, [1, 4], Filter::Bilinear, Fit::Stretch), [0, 25, 75, 100]);
    assert_eq!(resized(&picture, [2, 4], Filter::Auto, Fit::Stretch), [0, 25, 75, 100, 0, 25, 75, 100]);
    assert_eq!(resized(&grey(1, 1, vec![9]), [3, 2], Filter::Bilinear, Fit::Stretch), [9; 6]);
}

#[test]
fn cropping_keeps_the_middle_undistorted() {
    let wide = grey(6, 2, vec![1, 2, 10, 20, 3, 4, 5, 6, 30, 40, 7, 8]);
    assert_eq!(resized(&wide, [2, 2], Filter::Auto, Fit::Crop), [10, 20, 30, 40]);
    let tall = grey(1, 5, vec![1, 2, 77, 3, 4]);
    assert_eq!(resized(&tall, [1, 1], Filter::Auto, Fit::Crop), [77]);
}

/// A constant picture stays constant and a ramp keeps its mean, whatever the sizes.
#[test]
fn every_size_keeps_the_level() {
    for (w, h) in [(1, 1), (2, 3), (7, 5), (64, 48), (105, 105), (3, 200)] {
        for size in [[1, 1], [2, 2], [5, 9], [28, 28], [64, 3]] {
            for filter in [Filter::Area, Filter::Bilinear, Filter::Auto] {
                for fit in [Fit::Crop, Fit::Stretch] {
                    let constant = grey(w, h, vec![200; w * h]);
                    assert!(
                        resized(&constant, size, filter, fit).iter().all(|&v| v == 200),
                        "{w}x{h} {size:?}"
                    );
                }
            }
            let ramp: Vec<u8> = (0..w * h).map(|k| (k % w * 200 / w) as u8).collect();
            let mean = |v: &[u8]| v.iter().map(|&v| f64::from(v)).sum::<f64>() / v.len() as f64;
            let small = resized(&grey(w, h, ramp.clone()), size, Filter::Area, Fit::Stretch);
            assert!((mean(&small) - mean(&ramp)).abs() <= 0.51, "{w}x{h} {size:?}");
        }
    }
}
