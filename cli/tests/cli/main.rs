//! The built command, driven from outside.

mod common;
mod data;
#[cfg(target_os = "linux")]
mod disk;
mod faults;
mod gpu;
mod models;
#[cfg(unix)]
mod signals;
mod train;
mod verbs;
