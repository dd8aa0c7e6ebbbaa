//! Iteration spaces: the axes a kernel loops over, with the strides of its operands, and how they are cut into tasks.

use crate::MAX_RANK;
use crate::strided::Number;
use std::ops::Range;

/// Elements in one task: enough to hide the cost of handing it to a thread, and less than a second-level cache.
pub(crate) const GRAIN: usize = 1 << 15;

/// Columns below which rows are not cut: enough of a row to be worth the jump to the next.
pub(crate) const MIN_COLUMNS: usize = 256;

/// One axis: its length, and the stride along it of each of `K` operands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Axis<const K: usize> {
    pub len: usize,
    pub strides: [isize; K],
}

impl<const K: usize> Axis<K> {
    /// A single position.
    pub const UNIT: Self = Axis { len: 1, strides: [0; K] };
}

/// Nested axes, outermost first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Space<const K: usize> {
    axes: [Axis<K>; MAX_RANK],
    rank: usize,
}

impl<const K: usize> Space<K> {
    /// The space of `axes`, outermost first, with fewer of them where that visits the same offsets in the same
    /// order: axes of length 1 are dropped, neighbours that every operand steps through evenly become one.
    pub fn new(axes: impl IntoIterator<Item = Axis<K>>) -> Self {
        let mut space = Space { axes: [Axis::UNIT; MAX_RANK], rank: 0 };
        for axis in axes {
            space.push(axis);
        }
        space
    }

    /// Adds an innermost axis.
    pub fn push(&mut self, axis: Axis<K>) {
        if axis.len == 1 {
            return;
        }
        if let Some(outer) = self.axes[..self.rank].last_mut() {
            let even = |k: usize| outer.strides[k] == axis.strides[k] * axis.len as isize;
            if (0..K).all(even) {
                *outer = Axis { len: outer.len * axis.len, strides: axis.strides };
                return;
            }
        }
        self.axes[self.rank] = axis;
        self.rank += 1;
    }

    /// The number of positions.
    pub fn size(&self) -> usize {
        self.axes[..self.rank].iter().map(|a| a.len).product()
    }

    /// Takes the innermost axis out; a space without axes gives [`Axis::UNIT`].
    pub fn pop(&mut self) -> Axis<K> {
        if self.rank == 0 {
            return Axis::UNIT;
        }
        self.rank -= 1;
        self.axes[self.rank]
    }

    /// The operands' offsets at row-major position `at`, which must be below [`Space::size`].
    pub fn offsets(&self, at: usize) -> [isize; K] {
        self.locate(at).1
    }

    fn locate(&self, mut at: usize) -> ([usize; MAX_RANK], [isize; K]) {
        let (mut index, mut offsets) = ([0; MAX_RANK], [0; K]);
        for (i, axis) in index.iter_mut().zip(&self.axes[..self.rank]).rev() {
            *i = at % axis.len;
            at /= axis.len;
            for (offset, stride) in offsets.iter_mut().zip(axis.strides) {
                *offset += *i as isize * stride;
            }
        }
        (index, offsets)
    }

    /// Calls `f` with the operands' offsets at each position of `range`, in row-major order.
    pub fn for_each(&self, range: Range<usize>, mut f: impl FnMut([isize; K])) {
        if range.is_empty() {
            return;
        }
        let Some(last) = self.rank.checked_sub(1) else { return f([0; K]) };
        let inner = self.axes[last];
        let (mut index, mut offsets) = self.locate(range.start);
        let mut left = range.len();
        loop {
            let run = left.min(inner.len - index[last]);
            for _ in 0..run {
                f(offsets);
                step(&mut offsets, &inner, 1);
            }
            left -= run;
            if left == 0 {
                return;
            }
            step(&mut offsets, &inner, -(inner.len as isize));
            index[last] = 0;
            for d in (0..last).rev() {
                let axis = self.axes[d];
                index[d] += 1;
                step(&mut offsets, &axis, 1);
                if index[d] < axis.len {
                    break;
                }
                index[d] = 0;
                step(&mut offsets, &axis, -(axis.len as isize));
            }
        }
    }
}

#[inline(always)]
fn step<const K: usize>(offsets: &mut [isize; K], axis: &Axis<K>, by: isize) {
    for (offset, stride) in offsets.iter_mut().zip(axis.strides) {
        *offset += stride * by;
    }
}

/// A cut of `outer` x `inner` positions into rectangles of about [`GRAIN`] elements, by sizes alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Blocks {
    outer: usize,
    inner: usize,
    outer_step: usize,
    inner_step: usize,
}

impl Blocks {
    /// Rectangles of positions which each cost `work` elements; inner sides are cut last, and not below
    /// `min_inner` positions.
    pub fn new(outer: usize, inner: usize, work: usize, min_inner: usize) -> Self {
        let positions = (GRAIN / work.max(1)).max(1);
        let inner_step = positions.max(min_inner).min(inner).max(1);
        Blocks { outer, inner, outer_step: (positions / inner_step).max(1), inner_step }
    }

    /// The number of rectangles; none when there is no position.
    pub fn count(&self) -> usize {
        self.outer.div_ceil(self.outer_step) * self.inner.div_ceil(self.inner_step)
    }

    /// Rectangle `task`: its outer and its inner positions.
    pub fn get(&self, task: usize) -> (Range<usize>, Range<usize>) {
        let columns = self.inner.div_ceil(self.inner_step);
        let (o, i) = (task / columns * self.outer_step, task % columns * self.inner_step);
        (o..(o + self.outer_step).min(self.outer), i..(i + self.inner_step).min(self.inner))
    }
}

/// `out[j] += src[j]` for `n` elements.
///
/// # Safety
/// Both must be valid at `n` steps of their strides, and not overlap.
#[inline(always)]
pub(crate) unsafe fn add_row<T: Number>(
    n: usize,
    src: *const T,
    src_stride: isize,
    out: *mut T,
    out_stride: isize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        if src_stride == 1 && out_stride == 1 {
            let (src, out) = (std::slice::from_raw_parts(src, n), std::slice::from_raw_parts_mut(out, n));
            for (o, &s) in out.iter_mut().zip(src) {
                *o = o.plus(s);
            }
        } else {
            for j in 0..n as isize {
                let place = out.offset(j * out_stride);
                *place = (*place).plus(*src.offset(j * src_stride));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn walks_in_row_major_order_from_anywhere() {
        let axes = [(2, [100, 1]), (3, [-7, 0]), (1, [9, 9]), (4, [2, 5])];
        let space = Space::new(axes.map(|(len, strides)| Axis { len, strides }));
        let all: Vec<_> = (0..space.size()).map(|at| space.offsets(at)).collect();
        assert_eq!(all.len(), 24);
        assert_eq!(all[23], [100 - 14 + 6, 1 + 15]);
        for start in 0..=24 {
            for end in start..=24 {
                let mut seen = Vec::new();
                space.for_each(start..end, |o| seen.push(o));
                assert_eq!(seen, all[start..end]);
            }
        }
    }

    #[test]
    fn merges_only_what_is_even_for_all() {
        let even = Space::new([Axis { len: 3, strides: [8, 0] }, Axis { len: 4, strides: [2, 0] }]).pop();
        assert_eq!(even, Axis { len: 12, strides: [2, 0] });
        let uneven = Space::new([Axis { len: 3, strides: [8, 1] }, Axis { len: 4, strides: [2, 0] }]).pop();
        assert_eq!(uneven, Axis { len: 4, strides: [2, 0] });
        assert_eq!(Space::<1>::new([]).size(), 1);
    }

    #[test]
    fn blocks_tile_exactly() {
        for (outer, inner, work, min) in
            [(0, 5, 1, 1), (7, 0, 1, 1), (1, 1, 0, 64), (9, 1000, 5000, 64), (500, 3, 300, 1)]
        {
            let blocks = Blocks::new(outer, inner, work, min);
            let mut hits = vec![0; outer * inner];
            for task in 0..blocks.count() {
                let (rows, columns) = blocks.get(task);
                for at in rows.flat_map(|r| columns.clone().map(move |c| r * inner + c)) {
                    hits[at] += 1;
                }
            }
            assert!(hits.iter().all(|&h| h == 1), "{outer} x {inner}");
        }
    }
}
