//! How a reduction goes through its space.

use super::{BLOCK, Reduction};
use crate::pointwise::space::Space;
use crate::pointwise::{Code, LONG};
use crate::{MAX_RANK, RawView, contiguous};

/// A space whose axes stand in the order: kept, reduced, and (for sums of columns) the innermost kept axis.
pub(super) struct Layout {
    pub space: Space,
    /// How many axes are kept, those before the reduced ones.
    pub outer: usize,
    /// One past the last reduced axis; the innermost kept axis, if it stands there.
    pub inner: usize,
    /// Elements of one reduction.
    pub reduced: usize,
    /// Columns, 1 if the reduced axes are the innermost.
    pub columns: usize,
    /// Positions of the kept axes before the reduced ones.
    pub rows: usize,
}

impl Layout {
    /// Rows whose elements lie together are summed along; where neighbours are of different sums, many sums go on side
    /// by side.
    pub(super) fn new(code: &Code, shape: &[usize], axes: u32, inputs: &[RawView]) -> Layout {
        let is_reduced = |axis: usize| axes >> axis & 1 == 1;
        let present = (0..shape.len()).filter(|&axis| shape[axis] != 1);
        let (reduced, mut kept): (Vec<usize>, Vec<usize>) = present.partition(|&axis| is_reduced(axis));
        let length = |axes: &[usize]| axes.iter().map(|&axis| shape[axis]).product::<usize>();
        let count = length(&reduced);
        let by_columns = match (kept.last(), reduced.last()) {
            (None, _) => false,
            (_, None) => true,
            (Some(&k), Some(&r)) => {
                let along = |axis: usize| inputs.iter().filter(|view| view.strides[axis].abs() == 1).count();
                let nearer = along(k) > along(r) || (along(k) == along(r) && k > r);
                // Few columns of few elements are not worth a tile.
                nearer && (kept.len() == 1 || count * shape[k] >= LONG || count > LONG)
            }
        };
        let last = if by_columns { kept.pop() } else { None };
        let order: Vec<usize> = kept.iter().chain(&reduced).copied().chain(last).collect();
        let row_major = if code.uses_index { contiguous(shape) } else { [0; MAX_RANK] };
        let mut strides: Vec<[isize; MAX_RANK]> = Vec::new();
        for (k, view) in inputs.iter().enumerate() {
            strides.push(if code.input_type(k).is_some() { view.strides } else { [0; MAX_RANK] });
        }
        strides.push(row_major);
        for strides in &mut strides {
            let from = *strides;
            order.iter().enumerate().for_each(|(at, &axis)| strides[at] = from[axis]);
        }
        let lens: Vec<usize> = order.iter().map(|&axis| shape[axis]).collect();
        let class = |at: usize| (at >= kept.len()) as u8 + (at >= kept.len() + reduced.len()) as u8;
        let (space, origin) = Space::new(&lens, strides, |a, b| class(a) != class(b));
        let of_class = |c: u8| origin.iter().filter(|&&at| class(at) == c).count();
        Layout {
            outer: of_class(0),
            inner: of_class(0) + of_class(1),
            reduced: count,
            columns: last.map_or(1, |axis| shape[axis]),
            rows: length(&kept),
            space,
        }
    }

    /// Blocks of one reduction.
    pub(super) fn blocks(&self, reduction: Reduction) -> usize {
        if reduction.is_arg() { self.reduced.div_ceil(16 * BLOCK) } else { self.reduced.div_ceil(BLOCK) }
    }

    /// The next box of the reduction that goes on at `r` of `end`, as many elements of it as fit in `room`: its start
    /// and lengths along the reduced axes go to `start` and `size`. Returns how many elements it has.
    pub(super) fn next_box(
        &self,
        r: usize,
        end: usize,
        room: usize,
        start: &mut [usize; MAX_RANK],
        size: &mut [usize; MAX_RANK],
    ) -> usize {
        let lens = &self.space.lens;
        let mut rest = r;
        for axis in (self.outer..self.inner).rev() {
            (start[axis], size[axis]) = (rest % lens[axis], 1);
            rest /= lens[axis];
        }
        let (room, mut count) = (room.min(end - r), 1);
        for axis in (self.outer..self.inner).rev() {
            let fit = (room / count).min(lens[axis] - start[axis]).max(1);
            size[axis] = fit;
            count *= fit;
            if fit < lens[axis] || (self.columns == 1 && lens[axis] >= LONG) {
                break;
            }
        }
        count
    }

    /// The largest box that [`Layout::next_box`] gives for this room, with `columns` of the innermost kept axis.
    pub(super) fn chunk(&self, mut room: usize, columns: usize) -> [usize; MAX_RANK] {
        let mut chunk = [1; MAX_RANK];
        for axis in (self.outer..self.inner).rev() {
            let len = self.space.lens[axis];
            chunk[axis] = len.min(room);
            room /= len;
            if room <= 1 || (self.columns == 1 && len >= LONG) {
                break;
            }
        }
        if self.inner < self.space.rank() {
            chunk[self.inner] = columns;
        }
        chunk
    }
}
