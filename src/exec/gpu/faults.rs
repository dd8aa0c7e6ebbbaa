//! What kernels report: an index outside its axis. Found when a value is next read.

use super::context::Context;
use crate::error::{Error, Result};
use std::panic::Location;
use std::sync::{Mutex, PoisonError};

/// The ops and lines that reports name by number. As many as the program has lines that index.
static ORIGINS: Mutex<Vec<(&'static str, &'static Location<'static>)>> = Mutex::new(Vec::new());

/// The number of an op at a line.
pub(super) fn number(op: &'static str, site: &'static Location<'static>) -> u32 {
    let mut origins = ORIGINS.lock().unwrap_or_else(PoisonError::into_inner);
    let known = origins.iter().position(|known| *known == (op, site));
    known.unwrap_or_else(|| {
        origins.push((op, site));
        origins.len() - 1
    }) as u32
}

/// Makes an error of a report, and clears it for the next.
pub(super) fn check(context: &Context, report: &[u8]) -> Result<()> {
    let word = |i: usize| u32::from_ne_bytes(std::array::from_fn(|b| report[4 * i + b]));
    if word(0) == 0 {
        return Ok(());
    }
    let mut recorder = context.recorder();
    recorder.encoder(context).clear_buffer(&context.fault.buffer, 0, None);
    let origins = ORIGINS.lock().unwrap_or_else(PoisonError::into_inner);
    let (op, site) = origins[word(3) as usize];
    Err(Error::BadIndex { value: i64::from(word(1) as i32), len: word(2) as usize, op, site })
}
