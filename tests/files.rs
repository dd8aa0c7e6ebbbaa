//! The atomic writer: the old file or the new one, never a part, and nothing left beside it.

mod support;

use gradus::files::{read_bounded, write_atomic};
use std::fs;
use std::io;
use std::path::Path;
use support::Folder;

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[track_caller]
fn fails(path: &Path, fault: &str) {
    let message = write_atomic(path, |w| w.write_all(b"new")).expect_err("was written").to_string();
    assert!(
        message.contains(path.file_name().unwrap().to_str().unwrap()),
        "does not name the file: {message}"
    );
    assert!(message.contains(fault), "no {fault:?} in: {message}");
}

#[test]
fn writes_and_replaces() {
    let folder = Folder::new("files-replace");
    let path = folder.join("model.bin");
    for content in [&b"first"[..], b"", &[7; 300_000]] {
        write_atomic(&path, |w| content.chunks(1000).try_for_each(|c| w.write_all(c))).unwrap();
        assert_eq!(read_bounded(&path, 1 << 20).unwrap(), content);
        assert_eq!(names(&folder), ["model.bin"]);
    }
}

/// A failure at any write leaves the old file and no temporary one; so does a panic of the caller's writer.
#[test]
fn a_failed_write_leaves_the_old_file() {
    let folder = Folder::new("files-failed");
    let path = folder.join("model.bin");
    for exists in [false, true] {
        for k in 0..5 {
            let error = write_atomic(&path, |w| {
                (0..k).try_for_each(|_| w.write_all(&[1; 100_000]))?;
                Err(io::Error::other("disk on fire"))
            })
            .unwrap_err();
            assert!(
                error.to_string().contains("model.bin") && error.to_string().contains("disk on fire"),
                "{error}"
            );
            assert_eq!(names(&folder), if exists { &["model.bin"][..] } else { &[] });
        }
        let panicked = std::panic::catch_unwind(|| write_atomic(&path, |_| panic!("in the writer")));
        assert!(panicked.is_err());
        if exists {
            assert_eq!(fs::read(&path).unwrap(), b"old");
        } else {
            assert!(names(&folder).is_empty());
            fs::write(&path, b"old").unwrap();
        }
    }
}

#[test]
fn impossible_targets_are_refused() {
    let folder = Folder::new("files-impossible");
    fails(&folder.join("no folder").join("f"), "cannot create a temporary file");
    fs::write(folder.join("file"), b"x").unwrap();
    fails(&folder.join("file").join("f"), "cannot");
    fails(&folder, "a folder");
    assert!(write_atomic(&folder.join(".."), |_| Ok(())).unwrap_err().to_string().contains("a folder"));
    assert!(write_atomic(Path::new(""), |_| Ok(())).is_err());
    fails(&folder.join("n".repeat(300)), "cannot");
    assert_eq!(names(&folder), ["file"]);
    // The longest name there may be: that of the temporary file is not longer.
    let longest = "n".repeat(255);
    write_atomic(&folder.join(&longest), |w| w.write_all(b"new")).unwrap();
    assert_eq!(names(&folder), ["file", &longest]);
}

#[cfg(unix)]
#[test]
fn devices_and_read_only_folders_are_refused() {
    use std::os::unix::fs::PermissionsExt;
    fails(Path::new("/dev/null"), "a device"); // renaming over it would be a disaster for root
    let folder = Folder::new("files-readonly");
    fs::write(folder.join("f"), b"old").unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o555)).unwrap();
    // The super-user may write there in spite of the permissions; /proc refuses everybody.
    if fs::File::create(folder.join("probe")).is_err() {
        fails(&folder.join("f"), "cannot create a temporary file");
    } else if Path::new("/proc/self").exists() {
        fails(Path::new("/proc/self/f"), "cannot create a temporary file");
    }
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(fs::read(folder.join("f")).unwrap(), b"old");
}

#[cfg(unix)]
#[test]
fn links_are_followed_and_permissions_kept() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let folder = Folder::new("files-links");
    let (file, link) = (folder.join("file"), folder.join("link"));
    fs::write(&file, b"old").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    symlink("file", &link).unwrap();
    write_atomic(&link, |w| w.write_all(b"new")).unwrap();
    assert_eq!(fs::read(&file).unwrap(), b"new");
    assert!(link.symlink_metadata().unwrap().file_type().is_symlink());
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o640);
    symlink("nowhere", folder.join("dangling")).unwrap();
    fails(&folder.join("dangling"), "leads nowhere");
}

/// What killed processes left is removed by the next write; what a living one writes, or another file's, is not.
#[cfg(target_os = "linux")]
#[test]
fn leftovers_of_killed_processes_are_removed() {
    let folder = Folder::new("files-stale");
    let mut child = std::process::Command::new("true").spawn().unwrap();
    let dead = child.id();
    child.wait().unwrap();
    let keep = [
        format!(".f.{}-3.tmp", std::process::id()),
        ".f.1-0.tmp".into(),
        format!(".g.{dead}-0.tmp"),
        ".f.tmp".into(),
        format!(".f.{dead}-x.tmp"),
    ];
    for name in keep.iter().chain(&[format!(".f.{dead}-0.tmp"), format!(".f.{dead}-17.tmp")]) {
        fs::write(folder.join(name), b"part").unwrap();
    }
    write_atomic(&folder.join("f"), |w| w.write_all(b"new")).unwrap();
    let mut want: Vec<String> = keep.into_iter().chain(["f".to_string()]).collect();
    want.sort();
    assert_eq!(names(&folder), want);
}

/// Readers during many concurrent writes see a complete file each time.
#[test]
fn concurrent_writers_never_mix() {
    let folder = Folder::new("files-concurrent");
    let path = folder.join("f");
    write_atomic(&path, |w| w.write_all(&[0; 20_000])).unwrap();
    std::thread::scope(|s| {
        for t in 1..=3u8 {
            let path = &path;
            s.spawn(move || (0..20).for_each(|_| write_atomic(path, |w| w.write_all(&[t; 20_000])).unwrap()));
        }
        for _ in 0..200 {
            let bytes = fs::read(&path).unwrap();
            assert!(bytes.len() == 20_000 && bytes.iter().all(|&b| b == bytes[0]));
        }
    });
    assert_eq!(names(&folder), ["f"]);
}

#[test]
fn bounded_reading_refuses_what_is_larger() {
    let folder = Folder::new("files-bounded");
    let path = folder.join("f");
    fs::write(&path, [1; 100]).unwrap();
    assert_eq!(read_bounded(&path, 100).unwrap().len(), 100);
    assert!(
        read_bounded(&path, 99).unwrap_err().to_string().contains("100 bytes, more than the limit of 99")
    );
    assert!(read_bounded(&folder, 99).unwrap_err().to_string().contains("a folder"));
}

/// Not a test: what [`kills_leave_a_complete_file`] starts and kills.
#[test]
#[ignore]
fn writes_until_killed() {
    let Some(path) = std::env::var_os("GRADUS_TEST_WRITES") else { return };
    for n in 0u64.. {
        let content = n.to_le_bytes().repeat(10_000);
        write_atomic(Path::new(&path), |w| content.chunks(999).try_for_each(|c| w.write_all(c))).unwrap();
    }
}

/// A writer killed at any moment leaves a complete file, and at most one temporary one.
#[cfg(target_os = "linux")]
#[test]
fn kills_leave_a_complete_file() {
    let folder = Folder::new("files-killed");
    let path = folder.join("f");
    write_atomic(&path, |w| w.write_all(&[0; 80_000])).unwrap();
    for round in 0..25u64 {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "writes_until_killed"])
            .env("GRADUS_TEST_WRITES", &path)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let before = fs::read(&path).unwrap();
        while fs::read(&path).unwrap() == before {
            assert!(child.try_wait().unwrap().is_none(), "the writer ended by itself");
        }
        std::thread::sleep(std::time::Duration::from_micros(137 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        let bytes = fs::read(&path).unwrap();
        assert!(bytes.len() == 80_000 && bytes.chunks(8).all(|c| c == &bytes[..8]), "round {round}");
        assert!(names(&folder).len() <= 2, "{:?}", names(&folder));
    }
}
