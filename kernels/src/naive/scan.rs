//! Running sums, one element at a time.

use super::positions;
use crate::strided::{Number, Strided, elements};

/// What [`crate::scan::cumsum`] computes.
///
/// # Panics
/// If `x` reaches outside its slice.
pub fn cumsum<T: Number>(shape: &[usize], axis: usize, x: Strided<'_, T>) -> Vec<T> {
    let step: usize = shape[axis + 1..].iter().product();
    let mut out = Vec::with_capacity(elements(shape));
    for at in positions(shape) {
        let value = x.get(&at);
        let before = (at[axis] > 0).then(|| out[out.len() - step]);
        out.push(before.map_or(value, |sum: T| sum.plus(value)));
    }
    out
}
