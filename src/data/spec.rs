//! Data sets by name.

use super::{Digits, Split, cifar, idx};
use crate::{Error, Result};
use std::path::Path;

/// Pictures number 2^32 and up of a seed are for testing.
const TEST: u64 = 1 << 32;

/// The data set that `name` names:
///
/// * `digits`: 60,000 [`Digits`] of the seed to learn from and 10,000 others for testing;
/// * `digits:N`: N of them, and a sixth of N (at least one) for testing;
/// * `mnist:FOLDER`: [`idx::mnist`], whatever the seed;
/// * `cifar:FOLDER`: [`cifar::cifar10`], whatever the seed.
///
/// ```
/// let split = gradus::data::open("digits:600", 1)?;
/// assert_eq!((split.train.count, split.test.count), (600, 100));
/// # Ok::<(), gradus::Error>(())
/// ```
///
/// # Errors
/// When there is no such name, or the files cannot be read.
pub fn open(name: &str, seed: u64) -> Result<Split> {
    let digits = |train: usize, test: usize| Split {
        train: Digits::new(seed, train).images(),
        test: Digits::new(seed, test).starting_at(TEST).images(),
    };
    match name.split_once(':') {
        None if name == "digits" => Ok(digits(60_000, 10_000)),
        Some(("mnist", folder)) if !folder.is_empty() => idx::mnist(Path::new(folder)),
        Some(("cifar", folder)) if !folder.is_empty() => cifar::cifar10(Path::new(folder)),
        Some(("digits", count)) => match count.parse() {
            Ok(n @ 1..=10_000_000) => Ok(digits(n, (n / 6).max(1))),
            _ => Err(Error::Data(format!("data {name:?}: the count must be a number from 1 to 10000000"))),
        },
        _ => {
            let names = "digits, digits:COUNT, mnist:FOLDER or cifar:FOLDER";
            Err(Error::Data(format!("data {name:?} are not known: try {names}")))
        }
    }
}
