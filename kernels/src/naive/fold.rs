//! Overlapping windows summed, one output at a time.

use super::positions;
use crate::strided::{Number, Strided, with_axis};

/// What [`crate::fold::fold`] computes.
///
/// # Panics
/// If `x` reaches outside its slice.
pub fn fold<T: Number>(
    shape: &[usize],
    axis: usize,
    len: usize,
    stride: usize,
    dilation: usize,
    x: Strided<'_, T>,
) -> Vec<T> {
    let (&places, rest) = shape.split_last().expect("an axis of places");
    let sum = |at: Vec<usize>| {
        let mut sum = T::ZERO;
        for k in 0..places {
            for o in 0..shape[axis] {
                if o * stride + k * dilation == at[axis] {
                    let mut from = at.clone();
                    from[axis] = o;
                    from.push(k);
                    sum = sum.plus(x.get(&from));
                }
            }
        }
        sum
    };
    positions(&with_axis(rest, axis, len)).map(sum).collect()
}
