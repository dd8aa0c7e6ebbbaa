//! What ends the program, and with which exit code.

use std::fmt;

/// Ends that callers can tell apart by the exit code; every other error is 1, and a wrong command line 2.
#[derive(Debug)]
pub enum Failure {
    /// Training met NaN or infinity.
    Diverged(String),
    /// A signal asked to stop; the state is saved.
    Stopped { signal: i32, saved: String },
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Diverged(why) => f.write_str(why),
            Failure::Stopped { signal, saved } => {
                write!(f, "stopped by {}; {saved}", crate::signals::name(*signal))
            }
        }
    }
}

impl std::error::Error for Failure {}

/// The exit code of an error.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    match error.downcast_ref::<Failure>() {
        Some(Failure::Diverged(_)) => 3,
        Some(Failure::Stopped { signal, .. }) => u8::try_from(128 + signal).unwrap_or(1),
        None => 1,
    }
}

/// The error and its causes on one line.
pub fn chain(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
