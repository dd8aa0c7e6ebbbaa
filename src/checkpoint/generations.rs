//! Checkpoints on the disk: the newest, and the one before it.

use super::{Checkpoint, read};
use crate::error::{Error, Result};
use crate::files;
use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Larger files are refused: it takes no disk space to make a file that claims more than any memory holds.
const MAX_FILE: u64 = 64 << 30;

/// Beside `path`, a file of its name with `before` and `after` around it.
fn beside(path: &Path, before: &str, after: &str) -> PathBuf {
    let mut name = OsString::from(before);
    name.push(path.file_name().unwrap_or_default());
    name.push(after);
    path.with_file_name(name)
}

/// Where the file is kept that [`Checkpoint::save`] replaces.
pub fn previous(path: &Path) -> PathBuf {
    beside(path, "", ".previous")
}

/// Keeps what is at `path` as the previous generation. At every moment both names stand for complete files.
fn keep_previous(path: &Path) -> io::Result<()> {
    let old = match fs::canonicalize(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    let (kept, temporary) = (previous(path), beside(path, ".", ".previous.tmp"));
    match fs::remove_file(&temporary) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    // A second name costs nothing; some file systems have none, and there the file is copied.
    let made = fs::hard_link(&old, &temporary).or_else(|_| fs::copy(&old, &temporary).map(|_| ()));
    let renamed = made.and_then(|()| fs::rename(&temporary, &kept));
    // What is left of a failure; and between two names of one file a rename does nothing, and leaves both.
    match fs::remove_file(&temporary) {
        Err(e) if e.kind() != ErrorKind::NotFound => renamed.and(Err(e)),
        _ => renamed,
    }
}

impl Checkpoint {
    /// Writes the file `path` as a whole or not at all, through [`files::write_atomic`], and keeps the file it
    /// replaces beside it as `path.previous`.
    ///
    /// # Errors
    /// As [`to_bytes`](Checkpoint::to_bytes), and naming the file when anything on the disk fails. The file at `path`
    /// is then what it was.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let (header, order) = self.header()?;
        files::write_atomic(path, |out| {
            self.write(&header, &order, out)?;
            // Only once the new bytes are written: on a full disk the two old generations stay.
            out.flush()?;
            keep_previous(path).map_err(|e| io::Error::new(e.kind(), format!("the previous generation: {e}")))
        })
    }

    /// Reads the file `path`.
    ///
    /// # Errors
    /// [`Error::File`] naming the file and what is wrong with it; it never takes more memory than such a file needs.
    pub fn load(path: impl AsRef<Path>) -> Result<Checkpoint> {
        let path = path.as_ref();
        let (mut file, len) = files::open_regular(path, MAX_FILE)?;
        read(&mut file, len).map_err(|e| match e {
            Error::Data(reason) => Error::file(path, reason),
            other => other,
        })
    }

    /// Reads the file `path`, or if that cannot be done, the one [`save`](Checkpoint::save) kept before it; then
    /// the reason is given too.
    ///
    /// # Errors
    /// That of `path`, if the previous file cannot be read either.
    pub fn load_or_previous(path: impl AsRef<Path>) -> Result<(Checkpoint, Option<Error>)> {
        let path = path.as_ref();
        match Checkpoint::load(path) {
            Ok(checkpoint) => Ok((checkpoint, None)),
            Err(reason) => match Checkpoint::load(previous(path)) {
                Ok(checkpoint) => Ok((checkpoint, Some(reason))),
                Err(_) => Err(reason),
            },
        }
    }
}
