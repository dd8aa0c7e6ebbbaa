//! The built command, driven from outside.

mod common;
mod faults;
#[cfg(unix)]
mod signals;
mod train;
