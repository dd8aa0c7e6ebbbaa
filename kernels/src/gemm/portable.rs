//! Plain Rust: 4 rows by two vectors of 16 bytes, which compilers map to any machine's 128-bit registers.
//!
//! Multiply and add are two roundings here unless the build's target has a fused instruction: without one,
//! `mul_add` would be a call into the C library for each element.

use super::Float;
use super::kernel::{self, Kernels, MAX_NR, Step, pack_any, tiles};
use super::small;

pub(crate) static F32: Kernels<f32> = Kernels {
    tiles: tiles!(single::tile; 1 2 3 4),
    lanes: 4,
    copy: copy::<f32>,
    transpose: transpose::<f32>,
    untile: untile::<f32>,
    gather: kernel::gather::<f32>,
    rows_dot: rows_dot::<f32, 4>,
};

pub(crate) static F64: Kernels<f64> = Kernels {
    tiles: tiles!(double::tile; 1 2 3 4),
    lanes: 2,
    copy: copy::<f64>,
    transpose: transpose::<f64>,
    untile: untile::<f64>,
    gather: kernel::gather::<f64>,
    rows_dot: rows_dot::<f64, 2>,
};

/// `a * b + c`, fused where the target has an instruction for it.
#[inline(always)]
pub(crate) fn multiply_add<T: Float>(a: T, b: T, c: T) -> T {
    if cfg!(any(target_feature = "fma", target_arch = "aarch64")) { a.mul_add(b, c) } else { a * b + c }
}

/// A row of tiles.
#[inline(always)]
unsafe fn tiles_in_row<T: Float, const LANES: usize, const ROWS: usize, const VECS: usize>(step: &Step<T>) {
    let mut now = Step { ..*step };
    for _ in 0..step.tiles_at_once() {
        // SAFETY: handed on.
        unsafe { tile::<T, LANES, ROWS, VECS>(&now) };
        now.advance();
    }
}

/// See [`crate::gemm::kernel::Tile`].
#[inline(always)]
unsafe fn tile<T: Float, const LANES: usize, const ROWS: usize, const VECS: usize>(step: &Step<T>) {
    let mut sum = [[[T::ZERO; LANES]; VECS]; ROWS];
    for p in 0..step.k {
        let a = step.a.wrapping_offset(p as isize * step.a_strides[1]);
        let mut b = step.b.wrapping_offset(p as isize * step.b_step);
        if !step.packed.is_null() {
            let packed = step.packed.wrapping_add(p * 2 * LANES);
            for col in 0..VECS * LANES {
                // SAFETY: the caller vouches for `cols` elements of B, and for two vectors a step of the packed panel.
                unsafe { *packed.add(col) = if col < step.cols { *b.add(col) } else { T::ZERO } };
            }
            b = packed;
        }
        for (row, sum) in sum.iter_mut().enumerate() {
            // SAFETY: the caller vouches for ROWS elements of A at each of the k steps.
            let a = unsafe { *a.offset(row as isize * step.a_strides[0]) };
            for (v, sum) in sum.iter_mut().enumerate() {
                // SAFETY: whole vectors were copied above, or the caller vouches for them.
                let b = unsafe { *b.add(v * LANES).cast::<[T; LANES]>() };
                let old = *sum;
                *sum = std::array::from_fn(|lane| multiply_add(a, b[lane], old[lane]));
            }
        }
    }
    for (row, sum) in sum.iter().enumerate() {
        for (col, &value) in sum.as_flattened().iter().enumerate().take(step.cols) {
            // SAFETY: the caller vouches for `cols` elements in each of ROWS rows of C.
            unsafe {
                let c = step.c.offset(row as isize * step.c_stride).add(col);
                *c = if step.accumulate { *c + value } else { value };
            }
        }
    }
}

unsafe fn copy<T: Float>(k: usize, count: usize, width: usize, src: *const T, stride: isize, out: *mut T) {
    // SAFETY: handed on.
    unsafe { pack_any(k, count, width, src, 1, stride, out) }
}

unsafe fn transpose<T: Float>(
    k: usize,
    count: usize,
    width: usize,
    src: *const T,
    stride: isize,
    out: *mut T,
) {
    // SAFETY: handed on.
    unsafe { pack_any(k, count, width, src, stride, 1, out) }
}

unsafe fn untile<T: Float>(
    rows: usize,
    cols: usize,
    tile: *const T,
    c: *mut T,
    c_stride: isize,
    accumulate: bool,
) {
    for col in 0..cols {
        for row in 0..rows {
            // SAFETY: the caller vouches for the tile, and for `rows` elements in each of `cols` rows of C.
            unsafe {
                let (value, c) = (*tile.add(row * MAX_NR + col), c.offset(col as isize * c_stride).add(row));
                *c = if accumulate { *c + value } else { value };
            }
        }
    }
}

unsafe fn rows_dot<T: Float, const LANES: usize>(matrix: small::Matrix<T>, x: *const T, y: *mut T) {
    // SAFETY: handed on.
    unsafe { small::rows_dot::<T, LANES>(matrix, x, y, multiply_add) }
}

macro_rules! tile {
    ($t:ty, $lanes:literal) => {
        /// See [`crate::gemm::kernel::Tile`].
        pub(super) unsafe fn tile<const ROWS: usize, const VECS: usize>(step: &super::Step<$t>) {
            // SAFETY: handed on.
            unsafe { super::tiles_in_row::<$t, $lanes, ROWS, VECS>(step) }
        }
    };
}

mod single {
    tile!(f32, 4);
}

mod double {
    tile!(f64, 2);
}
