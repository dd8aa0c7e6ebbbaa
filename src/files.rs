//! Writing files so that a crash leaves the old one or the new one, and reading files no larger than asked.
//!
//! Every file this crate writes goes through [`write_atomic`]: a temporary file in the same folder, written,
//! flushed and synced, then renamed over the target, then the folder synced. A process killed at any moment, or a
//! machine that loses power, therefore leaves either the complete old file or the complete new one. What such a
//! kill leaves behind is one temporary file, which the next write of the same target removes.
//!
//! ```
//! let path = std::env::temp_dir().join("gradus-doc-atomic.txt");
//! gradus::files::write_atomic(&path, |w| w.write_all(b"all or nothing"))?;
//! assert_eq!(gradus::files::read_bounded(&path, 1 << 20)?, b"all or nothing");
//! # std::fs::remove_file(path).unwrap();
//! # Ok::<(), gradus::Error>(())
//! ```

use crate::{Error, Result};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// Writes the file `path` as a whole or not at all.
///
/// `write` receives a buffered writer. A symbolic link at `path` is followed: the file it names is replaced. The
/// new file takes over the permissions of the old one.
///
/// # Errors
/// When `write` fails, and when any step on the disk fails: no such folder, read-only, full. The error names
/// `path` and the step. The old file is then untouched and the temporary file is gone; the one exception is a
/// failure to sync the folder, which comes after the new file is in place and is reported as such.
/// A target that exists and is not a regular file (a folder, a device, a pipe) is refused.
pub fn write_atomic(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    let fail = |step: &str, e: io::Error| Error::file(path, format!("cannot {step}: {e}"));
    let target = resolve(path)?;
    let old = match fs::metadata(&target) {
        Ok(m) if m.is_file() => Some(m),
        Ok(m) => return Err(Error::file(path, format!("cannot be replaced: it is {}", kind(&m)))),
        Err(e) if e.kind() == ErrorKind::NotFound => None,
        Err(e) => return Err(fail("look at the file", e)),
    };
    let Some(name) = target.file_name() else {
        return Err(Error::file(path, "is not the name of a file"));
    };
    // Cut, so that the name of the temporary file stays within what a file system allows.
    let name: String = name.to_string_lossy().chars().take(50).collect();
    let folder = match target.parent() {
        Some(p) if !p.as_os_str().is_empty() => p.to_path_buf(),
        _ => PathBuf::from("."),
    };
    remove_stale(&folder, &name);

    let (file, temporary) =
        create_temporary(&folder, &name).map_err(|e| fail("create a temporary file beside it", e))?;
    let mut writer = BufWriter::with_capacity(1 << 16, file);
    write(&mut writer).map_err(|e| fail("write", e))?;
    let file = writer.into_inner().map_err(|e| fail("write", e.into_error()))?;
    if let Some(old) = old {
        file.set_permissions(old.permissions()).map_err(|e| fail("keep its permissions", e))?;
    }
    file.sync_all().map_err(|e| fail("bring it to the disk", e))?;
    drop(file);
    temporary.rename(&target).map_err(|e| fail("rename the temporary file over it", e))?;
    sync_folder(&folder).map_err(|e| {
        fail("bring its folder to the disk (the new file is in place, but may not survive a power loss)", e)
    })
}

/// The file that a write to `path` replaces: `path`, or what the symbolic link there names.
fn resolve(path: &Path) -> Result<PathBuf> {
    match fs::symlink_metadata(path) {
        Ok(m) if m.file_type().is_symlink() => fs::canonicalize(path)
            .map_err(|e| Error::file(path, format!("is a symbolic link that leads nowhere: {e}"))),
        _ => Ok(path.to_path_buf()),
    }
}

/// A temporary file, removed when dropped, on an error and when the caller's writer panics, until it has its final name.
struct Temporary(Option<PathBuf>);

impl Temporary {
    fn rename(mut self, target: &Path) -> io::Result<()> {
        if let Some(path) = &self.0 {
            fs::rename(path, target)?;
        }
        self.0 = None;
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            let _ = fs::remove_file(path);
        }
    }
}

/// `.<name>.<process>-<counter>.tmp`: unique among the threads of a process and the processes of a machine.
fn create_temporary(folder: &Path, name: &str) -> io::Result<(File, Temporary)> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    loop {
        let n = COUNTER.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!(".{name}.{}-{n}.tmp", std::process::id()));
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => return Ok((file, Temporary(Some(path)))),
            // Left by a killed process that had the same number: the counter moves on.
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
    }
}

/// Removes what killed processes left of earlier writes of the same target. Failing to is no failure of the write.
fn remove_stale(folder: &Path, name: &str) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let file_name = entry.file_name();
        if file_name.to_str().and_then(|f| temporary_of(f, name)).is_some_and(|pid| is_stale(&entry, pid)) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// The process that made the temporary file `file` for `name`, if that is what it is.
fn temporary_of(file: &str, name: &str) -> Option<u32> {
    let numbers = file.strip_prefix('.')?.strip_prefix(name)?.strip_prefix('.')?.strip_suffix(".tmp")?;
    let (pid, n) = numbers.split_once('-')?;
    n.parse::<u64>().ok()?;
    pid.parse().ok()
}

/// Whether the process is gone. Without `/proc` a process cannot be looked up by plain Rust, so age decides.
fn is_stale(entry: &fs::DirEntry, pid: u32) -> bool {
    if pid == std::process::id() {
        return false;
    }
    if Path::new("/proc/self").exists() {
        return !Path::new("/proc").join(pid.to_string()).exists();
    }
    let modified = entry.metadata().and_then(|m| m.modified());
    modified.is_ok_and(|t| SystemTime::now().duration_since(t).is_ok_and(|d| d > Duration::from_secs(3600)))
}

#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder)?.sync_all() {
        // Some network and FUSE file systems cannot sync a folder and say so with EINVAL.
        Err(e) if matches!(e.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
        other => other,
    }
}

/// Other systems give no handle on a folder that could be synced.
#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Opens a regular file of at most `limit` bytes for reading and says how long it is.
///
/// # Errors
/// When it cannot be opened, is larger, or is not a regular file: a pipe would block for ever, a device never end.
pub fn open_regular(path: &Path, limit: u64) -> Result<(File, u64)> {
    let fail = |e: io::Error| Error::file(path, format!("cannot open: {e}"));
    let check = |m: &fs::Metadata| {
        if m.is_file() {
            Ok(())
        } else {
            Err(Error::file(path, format!("is {}, not a regular file", kind(m))))
        }
    };
    // Before opening, because opening a pipe waits for its writer; and again after, because names can change hands.
    check(&fs::metadata(path).map_err(fail)?)?;
    let file = File::open(path).map_err(fail)?;
    let metadata = file.metadata().map_err(fail)?;
    check(&metadata)?;
    if metadata.len() > limit {
        return Err(Error::file(
            path,
            format!("has {} bytes, more than the limit of {limit}", metadata.len()),
        ));
    }
    Ok((file, metadata.len()))
}

/// The bytes of a regular file of at most `limit` bytes.
///
/// # Errors
/// As [`open_regular`]; also when reading fails, or finds more than `limit` bytes in a file that grows.
pub fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let (file, len) = open_regular(path, limit)?;
    let mut bytes = Vec::new();
    let len = usize::try_from(len).map_err(|_| Error::file(path, "does not fit into memory"))?;
    bytes.try_reserve_exact(len).map_err(|_| Error::file(path, format!("no memory for its {len} bytes")))?;
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|e| Error::file(path, format!("cannot read: {e}")))?;
    if bytes.len() as u64 > limit {
        return Err(Error::file(path, format!("has more than the limit of {limit} bytes")));
    }
    Ok(bytes)
}

/// What kind of file it is, in words, for an error.
pub(crate) fn kind(metadata: &fs::Metadata) -> &'static str {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        let t = metadata.file_type();
        if t.is_fifo() {
            return "a pipe";
        }
        if t.is_char_device() || t.is_block_device() {
            return "a device";
        }
        if t.is_socket() {
            return "a socket";
        }
    }
    if metadata.is_dir() { "a folder" } else { "something other than a file" }
}
