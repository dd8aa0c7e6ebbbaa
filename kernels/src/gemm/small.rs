//! Matrix times vector (m = 1 or n = 1): nothing is packed, every element of the matrix is read once.
//!
//! The sum over k, filled up with zeros to whole vectors, runs in as many lanes as the level's vectors have: lane l adds
//! p = l, l + LANES, … in this order, and a tree adds the lanes, the upper half to the lower half until one is left.
//! Both fast layouts, and any other, follow it, so strides do not change a bit.

use super::{Block, Epilogue, Float, Gemm, SharedMut, scratch};
use crate::{par, simd};
use std::ops::Range;

/// `rows` × `k` elements at any strides.
#[derive(Clone, Copy)]
pub struct Matrix<T> {
    /// Element (0, 0).
    pub ptr: *const T,
    /// Extents: rows, k.
    pub size: [usize; 2],
    /// Strides along both.
    pub strides: [isize; 2],
}

// SAFETY: an address and numbers; it is read only in the unsafe functions here, whose callers vouch for it.
unsafe impl<T: Sync> Sync for Matrix<T> {}

impl<T> Matrix<T> {
    fn at(&self, row: usize, k: usize) -> *const T {
        self.ptr.wrapping_offset(row as isize * self.strides[0] + k as isize * self.strides[1])
    }

    /// The matrix of some of the rows.
    pub fn rows(&self, rows: Range<usize>) -> Matrix<T> {
        Matrix { ptr: self.at(rows.start, 0), size: [rows.len(), self.size[1]], strides: self.strides }
    }
}

/// Multiply-adds below which a product stays on the calling thread.
const SERIAL: usize = 1 << 19;
/// Multiply-adds of one task.
const GRAIN: usize = 1 << 18;

/// [`super::run`] for m = 1 or n = 1.
///
/// # Safety
/// As [`super::run`].
pub unsafe fn run<T: Float>(g: &Gemm, a: *const T, b: *const T, c: *mut T, epilogue: Epilogue) {
    let rows = g.m * g.n;
    let (kernels, c) = (T::kernels(simd::level()), SharedMut(c));
    for batch in 0..g.batches() {
        let (a_batch, b_batch) = g.batch_offsets(batch);
        let (a, b) = (a.wrapping_offset(a_batch), b.wrapping_offset(b_batch));
        let (matrix, vector, stride) = if g.n == 1 {
            (Matrix { ptr: a, size: [g.m, g.k], strides: g.a }, b, g.b[0])
        } else {
            (Matrix { ptr: b, size: [g.n, g.k], strides: [g.b[1], g.b[0]] }, a, g.a[1])
        };
        let dot = |x: *const T| {
            let x = &SharedMut(x.cast_mut());
            let per_task = (GRAIN / g.k.max(1)).next_multiple_of(64);
            let tasks = if rows * g.k < SERIAL { 1 } else { rows.div_ceil(per_task) };
            let chunk = if tasks == 1 { rows } else { per_task };
            par::for_each(tasks, |task| {
                let part = task * chunk..rows.min((task + 1) * chunk);
                // SAFETY: the caller vouches for A, B and C; each task writes its own rows of this batch's C.
                unsafe {
                    (kernels.rows_dot)(matrix.rows(part.clone()), x.0, c.at(batch * rows + part.start))
                };
                if let Some(epilogue) = epilogue {
                    let (rows, cols) = if g.n == 1 { (part, 0..1) } else { (0..1, part) };
                    epilogue(Block { batch, rows, cols });
                }
            });
        };
        if stride == 1 {
            dot(vector);
        } else {
            scratch::with::<T, _>(g.k, |x| {
                for p in 0..g.k {
                    // SAFETY: the scratch has k elements, and the caller vouches for element p of the vector.
                    unsafe { *x.add(p) = *vector.wrapping_offset(p as isize * stride) };
                }
                dot(x);
            });
        }
    }
}

/// `y[i] = sum_p matrix[i, p] x[p]` at any strides, in plain Rust.
///
/// # Safety
/// Matrix, x (k elements, adjacent) and y (one per row, adjacent) are live, and y is apart from the others.
#[inline(always)]
pub unsafe fn rows_dot<T: Float, const LANES: usize>(
    matrix: Matrix<T>,
    x: *const T,
    y: *mut T,
    multiply_add: impl Fn(T, T, T) -> T,
) {
    let [rows, k] = matrix.size;
    for row in 0..rows {
        let mut sum = [T::ZERO; LANES];
        for p in (0..k).step_by(LANES) {
            for (lane, sum) in sum.iter_mut().enumerate() {
                let p = p + lane;
                // SAFETY: row < rows and p < k are inside the matrix, p inside x.
                let [m, x] = if p < k { unsafe { [*matrix.at(row, p), *x.add(p)] } } else { [T::ZERO; 2] };
                *sum = multiply_add(m, x, *sum);
            }
        }
        let mut half = LANES / 2;
        while half > 0 {
            for lane in 0..half {
                sum[lane] = sum[lane] + sum[lane + half];
            }
            half /= 2;
        }
        // SAFETY: y has one element per row.
        unsafe { *y.add(row) = sum[0] };
    }
}
