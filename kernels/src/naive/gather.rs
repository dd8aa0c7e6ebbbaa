//! Indexing along an axis and its dual, one element at a time.

use super::positions;
use crate::gather::BadIndex;
use crate::strided::{Element, IndexElement, Number, Strided, elements, with_axis};

/// What [`crate::gather::gather`] computes.
///
/// # Errors
/// [`BadIndex`] when an index is negative or not below `len`.
///
/// # Panics
/// If an operand reaches outside its slice.
pub fn gather<T: Element, I: IndexElement>(
    shape: &[usize],
    axis: usize,
    len: usize,
    x: Strided<'_, T>,
    index: Strided<'_, I>,
) -> Result<Vec<T>, BadIndex> {
    let element = |mut at: Vec<usize>| {
        at[axis] = checked(index.get(&at), len)?;
        Ok(x.get(&at))
    };
    positions(shape).map(element).collect()
}

/// What [`crate::gather::scatter_add`] computes.
///
/// # Errors
/// [`BadIndex`] when an index is negative or not below `len`.
///
/// # Panics
/// If an operand reaches outside its slice.
pub fn scatter_add<T: Number, I: IndexElement>(
    shape: &[usize],
    axis: usize,
    len: usize,
    src: Strided<'_, T>,
    index: Strided<'_, I>,
) -> Result<Vec<T>, BadIndex> {
    let out_shape = with_axis(shape, axis, len);
    let mut out = vec![T::ZERO; elements(&out_shape)];
    // Row-major order meets the positions of one line in order of the axis.
    for mut at in positions(shape) {
        let value = src.get(&at);
        at[axis] = checked(index.get(&at), len)?;
        let flat = at.iter().zip(&out_shape).fold(0, |flat, (&i, &n)| flat * n + i);
        out[flat] = out[flat].plus(value);
    }
    Ok(out)
}

fn checked(value: impl Into<i64>, len: usize) -> Result<usize, BadIndex> {
    let value = value.into();
    usize::try_from(value).ok().filter(|&i| i < len).ok_or(BadIndex { value, len })
}
