//! Errors: what the source got wrong panics at the user's line; what the world got wrong is an [`Error`].

use std::cell::Cell;
use std::fmt;
use std::panic::Location;
use std::path::PathBuf;

/// `Result` with gradus's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// Whatever can fail for reasons outside the source, and, through [`build`], mistakes in the source too.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Error {
    /// An expression that cannot be built: wrong shapes, axes or types.
    Build(BuildError),
    /// Memory could not be had.
    OutOfMemory {
        /// Bytes that were asked for.
        bytes: usize,
        /// The op whose result needed them.
        op: &'static str,
        /// Where that op was written.
        site: &'static Location<'static>,
        /// Bytes that tensors hold on that device.
        held: u64,
    },
    /// No GPU can be used.
    NoAdapter {
        /// What was looked for, and what to install.
        reason: String,
    },
    /// A tensor or kernel is larger than the device allows.
    Limit {
        /// What is limited.
        what: &'static str,
        /// How much is needed.
        need: u64,
        /// How much the device allows.
        have: u64,
        /// The op.
        op: &'static str,
        /// Where that op was written.
        site: &'static Location<'static>,
    },
    /// The device is gone, or has failed in a way that leaves its state unknown. Its tensors cannot be read any more;
    /// what lies on the host, and checkpoints, are unharmed.
    Lost {
        /// What the driver said.
        reason: String,
    },
    /// A device has no such thing: f64, say.
    Unsupported {
        /// What it lacks.
        what: String,
    },
    /// An index read from a tensor is outside the axis it indexes.
    BadIndex {
        /// The index found.
        value: i64,
        /// The extent of the axis.
        len: usize,
        /// The op.
        op: &'static str,
        /// Where that op was written.
        site: &'static Location<'static>,
    },
    /// The guard found NaN or infinity.
    NonFinite {
        /// The first op whose result is not finite though its inputs are.
        op: &'static str,
        /// Where that op was written.
        site: &'static Location<'static>,
        /// How many of its elements are not finite.
        count: usize,
        /// The shape of its result.
        shape: Vec<usize>,
    },
    /// Gradients were asked for with respect to tensors that the result does not depend on.
    Unreached {
        /// Their names, or where they were made.
        names: Vec<String>,
        /// Why, where that is known.
        reason: String,
    },
    /// A value was asked for that needs what a step has let go.
    Released {
        /// What was let go, and how to keep it.
        reason: String,
    },
    /// Data from outside does not have the shape or type it should.
    Data(String),
    /// A file could not be read or written, or its content is not what it should be.
    File {
        /// Which file.
        path: PathBuf,
        /// What is wrong, and where it helps, how to mend it.
        reason: String,
    },
}

impl Error {
    /// A [`Error::File`].
    pub fn file(path: impl Into<PathBuf>, reason: impl fmt::Display) -> Error {
        Error::File { path: path.into(), reason: reason.to_string() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Build(e) => e.fmt(f),
            Error::OutOfMemory { bytes, op, site, held } => write!(
                f,
                "out of memory: {bytes} bytes for the result of {op} (written at {site}); tensors hold {held} bytes"
            ),
            Error::NoAdapter { reason } => write!(f, "no GPU: {reason}"),
            Error::Limit { what, need, have, op, site } => {
                write!(f, "{op}: {what}: {need} needed, the device allows {have} (written at {site})")
            }
            Error::Lost { reason } => write!(f, "the device is lost: {reason}"),
            Error::Unsupported { what } => f.write_str(what),
            Error::BadIndex { value, len, op, site } => {
                write!(f, "{op}: index {value} is outside an axis of {len} (written at {site})")
            }
            Error::NonFinite { op, site, count, shape } => write!(
                f,
                "{op} gave {count} NaN or infinite of {} values, shape {shape:?}, from finite inputs (written at {site})",
                shape.iter().product::<usize>()
            ),
            Error::Unreached { names, reason } => {
                write!(f, "grad: the result does not depend on {}{reason}", names.join(", "))
            }
            Error::Released { reason } => f.write_str(reason),
            Error::Data(reason) => f.write_str(reason),
            Error::File { path, reason } => write!(f, "{}: {reason}", path.display()),
        }
    }
}

impl std::error::Error for Error {}

/// An expression that cannot be built: which op, which rule, and where it was written.
#[derive(Clone, Debug)]
pub struct BuildError {
    /// The op, by its public name.
    pub op: &'static str,
    /// The rule that is broken, with the shapes or arguments that break it and, where there is one, a hint.
    pub rule: String,
    /// The line that asked for it.
    pub site: &'static Location<'static>,
}

impl BuildError {
    /// A broken rule at the caller's line.
    #[track_caller]
    pub(crate) fn new(op: &'static str, rule: impl Into<String>) -> BuildError {
        BuildError { op, rule: rule.into(), site: Location::caller() }
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} (at {})", self.op, self.rule, self.site)
    }
}

thread_local! {
    static BUILDING: Cell<u32> = const { Cell::new(0) };
}

/// Reports a mistake in the source: a panic at the user's line, or an error to the [`build`] around it.
#[track_caller]
pub(crate) fn fail(error: BuildError) -> ! {
    if BUILDING.get() > 0 {
        // No panic hook runs, so a service's log stays clean.
        std::panic::resume_unwind(Box::new(error));
    }
    panic!("{}: {}", error.op, error.rule)
}

/// Runs `f`, turning a mistake in building expressions (shapes, axes, types) into an error instead of a panic: for
/// services whose expressions are made from outside input.
///
/// # Errors
/// [`Error::Build`] with what would have been the panic. Other panics pass through.
///
/// ```
/// use gradus::Tensor;
/// let bad = gradus::build(|| Tensor::zeros([2, 3]).matmul(&Tensor::zeros([4, 5])));
/// assert!(bad.unwrap_err().to_string().contains("[2, 3]"));
/// ```
pub fn build<T>(f: impl FnOnce() -> T) -> Result<T> {
    BUILDING.set(BUILDING.get() + 1);
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f));
    BUILDING.set(BUILDING.get() - 1);
    result.map_err(|payload| match payload.downcast::<BuildError>() {
        Ok(error) => Error::Build(*error),
        Err(other) => std::panic::resume_unwind(other),
    })
}
