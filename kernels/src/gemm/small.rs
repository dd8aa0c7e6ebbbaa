//! Matrix times vector (m = 1 or n = 1): nothing is packed, every element of the matrix is read once.
//!
//! The sum over k runs in as many lanes as the level's vectors have: lane l adds p = l, l + LANES, … in this order,
//! and a tree adds the lanes. Both fast layouts, and any other, follow it, so strides do not change a bit.

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
    fn rows(&self, rows: Range<usize>) -> Matrix<T> {
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

/// `y[i] = sum_p matrix[i, p] x[p]`: the body that every level compiles for itself.
///
/// # Safety
/// Matrix, x (k elements, adjacent) and y (one per row, adjacent) are live, and y is apart from the others.
#[inline(always)]
pub unsafe fn rows_dot<T: Float, const LANES: usize>(
    matrix: Matrix<T>,
    x: *const T,
    y: *mut T,
    multiply_add: impl Fn(T, T, T) -> T + Copy,
) {
    const GROUP: usize = 8;
    let rows = matrix.size[0];
    let mut row = 0;
    // SAFETY: rows stay below the matrix's; each callee reads those rows, x, and returns their sums.
    unsafe {
        if matrix.strides[1] == 1 {
            while row + GROUP <= rows {
                y.add(row).cast::<[T; GROUP]>().write(along_k::<T, LANES, GROUP>(
                    &matrix,
                    row,
                    x,
                    multiply_add,
                ));
                row += GROUP;
            }
        } else if matrix.strides[0] == 1 {
            while row < rows {
                let width = WIDTH.min(rows - row);
                along_rows::<T, LANES>(&matrix, row, width, x, y.add(row), multiply_add);
                row += width;
            }
        }
        while row < rows {
            let [sum] = along_k::<T, LANES, 1>(&matrix, row, x, multiply_add);
            *y.add(row) = sum;
            row += 1;
        }
    }
}

/// The inner products of `GROUP` rows, a vector holding successive k of one row.
#[inline(always)]
unsafe fn along_k<T: Float, const LANES: usize, const GROUP: usize>(
    matrix: &Matrix<T>,
    row: usize,
    x: *const T,
    multiply_add: impl Fn(T, T, T) -> T,
) -> [T; GROUP] {
    let k = matrix.size[1];
    let (whole, adjacent) = (k / LANES * LANES, matrix.strides[1] == 1);
    let mut sum = [[T::ZERO; LANES]; GROUP];
    let at = |r: usize, p: usize| matrix.at(row + r, p);
    // SAFETY: rows row .. row + GROUP and all p < k are inside the matrix, p is inside x; whole vectors are read
    // only where k is adjacent.
    unsafe {
        for p in (0..if adjacent { whole } else { 0 }).step_by(LANES) {
            let x = *x.add(p).cast::<[T; LANES]>();
            for (r, sum) in sum.iter_mut().enumerate() {
                let m = *at(r, p).cast::<[T; LANES]>();
                for lane in 0..LANES {
                    sum[lane] = multiply_add(m[lane], x[lane], sum[lane]);
                }
            }
        }
        for p in if adjacent { whole } else { 0 }..k {
            for (r, sum) in sum.iter_mut().enumerate() {
                sum[p % LANES] = multiply_add(*at(r, p), *x.add(p), sum[p % LANES]);
            }
        }
    }
    sum.map(|mut lanes| {
        let mut half = LANES / 2;
        while half > 0 {
            for lane in 0..half {
                lanes[lane] = lanes[lane] + lanes[lane + half];
            }
            half /= 2;
        }
        lanes[0]
    })
}

/// Rows that [`along_rows`] takes at once: their sums, 8 KiB, stay in the first-level cache, and each k reads
/// some cache lines in a row, which memory delivers faster than single ones.
const WIDTH: usize = 128;

/// The inner products of `width` (at most `WIDTH`) adjacent rows, a vector holding one k of several rows.
#[inline(always)]
unsafe fn along_rows<T: Float, const LANES: usize>(
    matrix: &Matrix<T>,
    row: usize,
    width: usize,
    x: *const T,
    y: *mut T,
    multiply_add: impl Fn(T, T, T) -> T,
) {
    let mut sum = [[T::ZERO; WIDTH]; LANES];
    for p in 0..matrix.size[1] {
        // SAFETY: rows row .. row + width, adjacent in memory, and p < k are inside the matrix; p is inside x.
        let (m, x) = unsafe { (std::slice::from_raw_parts(matrix.at(row, p), width), *x.add(p)) };
        for (sum, &m) in sum[p % LANES].iter_mut().zip(m) {
            *sum = multiply_add(m, x, *sum);
        }
    }
    let mut half = LANES / 2;
    while half > 0 {
        let (low, high) = sum.split_at_mut(half);
        for (low, high) in low.iter_mut().zip(high) {
            for (low, &mut high) in low.iter_mut().zip(high) {
                *low = *low + high;
            }
        }
        half /= 2;
    }
    // SAFETY: y has room for these rows.
    unsafe { std::ptr::copy_nonoverlapping(sum[0].as_ptr(), y, width) };
}
