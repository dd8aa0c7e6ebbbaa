//! The built command, driven from outside.

mod common;
mod faults;
mod look;
mod models;
#[cfg(unix)]
mod signals;
mod train;
