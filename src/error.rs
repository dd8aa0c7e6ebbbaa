//! What can go wrong for reasons outside the source.

use std::fmt;
use std::path::PathBuf;

/// A failure that is not a bug in the calling program.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder could not be read or written, or is malformed.
    File {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Data of the wrong kind or size, or a data source that failed.
    Data {
        /// What is wrong.
        reason: String,
    },
}

/// A result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The file or folder `path` has the fault `reason`.
    pub fn file(path: impl Into<PathBuf>, reason: impl Into<String>) -> Error {
        Error::File { path: path.into(), reason: reason.into() }
    }

    /// Data has the fault `reason`.
    pub fn data(reason: impl Into<String>) -> Error {
        Error::Data { reason: reason.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            // Debug form of the name: control characters in it must not reach a terminal.
            Error::File { path, reason } => write!(f, "{path:?}: {reason}"),
            Error::Data { reason } => f.write_str(reason),
        }
    }
}

impl std::error::Error for Error {}
