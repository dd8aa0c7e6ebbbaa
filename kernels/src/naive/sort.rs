//! Sorting by comparison, one line at a time.

use super::positions;
use crate::strided::{Element, Strided, elements, with_axis};
use std::cmp::Ordering;

/// What [`crate::sort::argsort`] computes. NaN is what is not equal to itself.
///
/// # Panics
/// If `x` reaches outside its slice.
pub fn argsort<T: Element + PartialOrd>(
    shape: &[usize],
    axis: usize,
    descending: bool,
    x: Strided<'_, T>,
) -> Vec<u32> {
    let step: usize = shape[axis + 1..].iter().product();
    let mut out = vec![0; elements(shape)];
    for line in positions(&with_axis(shape, axis, 1)) {
        let at = |i: usize| {
            let mut at = line.clone();
            at[axis] = i;
            at
        };
        let mut order: Vec<usize> = (0..shape[axis]).collect();
        order.sort_by(|&i, &j| {
            let ascending = compare(x.get(&at(i)), x.get(&at(j)));
            if descending { ascending.reverse() } else { ascending }
        });
        let first = line.iter().zip(shape).fold(0, |flat, (&i, &n)| flat * n + i);
        for (i, &position) in order.iter().enumerate() {
            out[first + i * step] = position as u32;
        }
    }
    out
}

/// The order of numbers, with NaN above all and equal to itself.
fn compare<T: PartialOrd>(a: T, b: T) -> Ordering {
    #[expect(clippy::eq_op, reason = "the definition of NaN")]
    let nan = |x: &T| x != x;
    a.partial_cmp(&b).unwrap_or_else(|| nan(&a).cmp(&nan(&b)))
}
