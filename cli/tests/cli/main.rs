//! The built command, driven from outside.

mod common;
mod faults;
mod models;
#[cfg(unix)]
mod signals;
mod train;
mod verbs;
