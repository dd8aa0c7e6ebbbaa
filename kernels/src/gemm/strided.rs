//! Matrices at any strides as operands of the five loops.

use super::kernel::Kernels;
use super::loops::{Left, Right, Target, pitch};
use super::{Block, Epilogue, Float, SharedMut};
use crate::simd::prefetch;
use std::ops::Range;
use std::ptr;

/// A matrix at any strides, on either side of the product.
pub struct Strided<T> {
    /// Element (0, 0).
    pub ptr: *const T,
    /// Strides along rows and columns.
    pub strides: [isize; 2],
    /// Whether the kernels may read it where it lies, if one of its strides lets them; else it is packed first.
    pub in_place: bool,
}

// SAFETY: an address and numbers; it is read only in the unsafe functions of the five loops, whose callers vouch for it.
unsafe impl<T: Sync> Sync for Strided<T> {}

impl<T> Strided<T> {
    fn at(&self, row: usize, col: usize) -> *const T {
        self.ptr.wrapping_offset(row as isize * self.strides[0] + col as isize * self.strides[1])
    }
}

impl<T: Float> Left<T> for Strided<T> {
    fn in_place(&self, row: usize, k: usize) -> Option<(*const T, isize)> {
        (self.in_place && self.strides[0] == 1).then(|| (self.at(row, k), self.strides[1]))
    }

    fn along_k(&self, row: usize, k: usize) -> Option<(*const T, isize)> {
        (self.in_place && self.strides[1] == 1).then(|| (self.at(row, k), self.strides[0]))
    }

    fn keeps_rows(&self) -> bool {
        self.strides[1] == 1
    }

    fn shares_lines(&self) -> bool {
        self.strides[0] == 1 && !self.keeps_rows()
    }

    unsafe fn pack(&self, kernels: &Kernels<T>, rows: Range<usize>, ks: Range<usize>, out: *mut T) {
        let [along, down] = self.strides;
        if self.keeps_rows() {
            for (i, row) in rows.enumerate() {
                // SAFETY: the caller vouches for the row and for its place in the panel.
                unsafe {
                    ptr::copy_nonoverlapping(
                        self.at(row, ks.start),
                        out.add(i * pitch::<T>(ks.len())),
                        ks.len(),
                    )
                }
            }
            return;
        }
        let (count, src) = (rows.len(), self.at(rows.start, ks.start));
        // SAFETY: handed on.
        unsafe { kernels.pack(ks.len(), count, count, src, along, down, out) }
    }
}

impl<T: Float> Right<T> for Strided<T> {
    fn in_place(&self, k: usize, cols: Range<usize>) -> Option<(*const T, isize)> {
        (self.in_place && self.strides[1] == 1).then(|| (self.at(k, cols.start), self.strides[0]))
    }

    unsafe fn pack(&self, kernels: &Kernels<T>, ks: Range<usize>, cols: Range<usize>, out: *mut T) {
        let ([down, along], nr) = (self.strides, kernels.nr());
        for col in cols.clone().step_by(nr) {
            let count = nr.min(cols.end - col);
            let out = out.wrapping_add((col - cols.start) * ks.len());
            // SAFETY: handed on; panels before this one take (col - cols.start) columns.
            unsafe { kernels.pack(ks.len(), count, nr, self.at(ks.start, col), along, down, out) }
        }
    }
}

/// The operands on one side of several products of one shape that add up: one after the other along k.
pub struct Summands<'a, T> {
    /// Addresses of both operands of each product.
    pub operands: &'a [[*const T; 2]],
    /// Which of the two these are.
    pub side: usize,
    /// Elements from there to element (0, 0).
    pub offset: isize,
    /// As [`Strided::strides`].
    pub strides: [isize; 2],
    /// As [`Strided::in_place`].
    pub in_place: bool,
    /// The k of each product.
    pub k: usize,
}

// SAFETY: addresses and numbers, as in `Strided`.
unsafe impl<T: Sync> Sync for Summands<'_, T> {}

impl<'a, T> Summands<'a, T> {
    /// Those of another matrix of a batch: this many elements on in either operand.
    pub fn at(&self, offset: [isize; 2]) -> Summands<'a, T> {
        Summands { offset: offset[self.side], ..*self }
    }

    /// The operand that holds `k`, and which of its own that is.
    fn part(&self, k: usize) -> (Strided<T>, usize) {
        let index = if self.operands.len() == 1 { 0 } else { k / self.k };
        let ptr = self.operands[index][self.side].wrapping_offset(self.offset);
        (Strided { ptr, strides: self.strides, in_place: self.in_place }, k - index * self.k)
    }
}

impl<T: Float> Left<T> for Summands<'_, T> {
    fn in_place(&self, row: usize, k: usize) -> Option<(*const T, isize)> {
        let (part, k) = self.part(k);
        Left::in_place(&part, row, k)
    }

    fn along_k(&self, row: usize, k: usize) -> Option<(*const T, isize)> {
        let (part, k) = self.part(k);
        part.along_k(row, k)
    }

    fn keeps_rows(&self) -> bool {
        self.part(0).0.keeps_rows()
    }

    fn shares_lines(&self) -> bool {
        self.part(0).0.shares_lines()
    }

    fn of_each(&self) -> Option<usize> {
        (self.operands.len() > 1).then_some(self.k)
    }

    unsafe fn pack(&self, kernels: &Kernels<T>, rows: Range<usize>, ks: Range<usize>, out: *mut T) {
        let (part, k) = self.part(ks.start);
        // SAFETY: handed on; no block goes beyond one product.
        unsafe { Left::pack(&part, kernels, rows, k..k + ks.len(), out) }
    }
}

impl<T: Float> Right<T> for Summands<'_, T> {
    fn in_place(&self, k: usize, cols: Range<usize>) -> Option<(*const T, isize)> {
        let (part, k) = self.part(k);
        Right::in_place(&part, k, cols)
    }

    unsafe fn pack(&self, kernels: &Kernels<T>, ks: Range<usize>, cols: Range<usize>, out: *mut T) {
        let (part, k) = self.part(ks.start);
        // SAFETY: handed on; no block goes beyond one product.
        unsafe { Right::pack(&part, kernels, k..k + ks.len(), cols, out) }
    }
}

/// A contiguous product and what to call on its finished blocks.
pub struct Contiguous<'a, T> {
    /// Element (0, 0).
    pub ptr: SharedMut<T>,
    /// Elements per row.
    pub cols: usize,
    /// Its index, for the epilogue.
    pub batch: usize,
    /// The epilogue.
    pub epilogue: Epilogue<'a>,
}

/// A contiguous product that the loops see transposed: its rows are their columns.
pub struct Transposed<'a, T: 'static> {
    /// The product.
    pub product: Contiguous<'a, T>,
    /// Kernels of the level in use.
    pub kernels: &'static Kernels<T>,
}

impl<T: Float> Target<T> for Transposed<'_, T> {
    fn in_place(&self, _: usize, _: Range<usize>) -> Option<(*mut T, isize)> {
        None
    }

    fn expect(&self, rows: Range<usize>, cols: Range<usize>) {
        for col in cols {
            let at = self.product.ptr.at(col * self.product.cols + rows.start);
            prefetch(at);
            prefetch(at.wrapping_add(rows.len() - 1));
        }
    }

    unsafe fn scatter(&self, rows: Range<usize>, cols: Range<usize>, tile: *const T, accumulate: bool) {
        let at = self.product.ptr.at(cols.start * self.product.cols + rows.start);
        let stride = self.product.cols as isize;
        // SAFETY: handed on; `rows` and `cols` are columns and rows of the product.
        unsafe { (self.kernels.untile)(rows.len(), cols.len(), tile, at, stride, accumulate) }
    }

    fn finish(&self, rows: Range<usize>, cols: Range<usize>) {
        self.product.finish(cols, rows);
    }
}

impl<T: Float> Target<T> for Contiguous<'_, T> {
    fn in_place(&self, row: usize, cols: Range<usize>) -> Option<(*mut T, isize)> {
        Some((self.ptr.at(row * self.cols + cols.start), self.cols as isize))
    }

    unsafe fn scatter(&self, _: Range<usize>, _: Range<usize>, _: *const T, _: bool) {
        unreachable!("every tile is in place");
    }

    fn finish(&self, rows: Range<usize>, cols: Range<usize>) {
        if let Some(epilogue) = self.epilogue {
            epilogue(Block { batch: self.batch, rows, cols });
        }
    }
}
