//! 256-bit kernels: 6 rows by two vectors.
//!
//! 12 of the 16 registers hold the tile, two a row of B, one the broadcast element of A: 12 independent chains
//! against a latency of 4 cycles on two ports.

use super::kernel::{Kernels, tiles};
use super::x86::kernels;
use std::arch::x86_64::*;

pub(crate) static F32: Kernels<f32> = Kernels {
    tiles: tiles!(single::tile; 1 2 3 4 5 6),
    lanes: 8,
    copy: single::copy,
    transpose: single::transpose,
    untile: single::untile,
    gather: single::gather,
    rows_dot: single::rows_dot,
};

pub(crate) static F64: Kernels<f64> = Kernels {
    tiles: tiles!(double::tile; 1 2 3 4 5 6),
    lanes: 4,
    copy: double::copy,
    transpose: double::transpose,
    untile: double::untile,
    gather: double::gather,
    rows_dot: double::rows_dot,
};

pub(crate) mod single {
    use super::*;
    use std::arch::x86_64::{
        __m256 as Vector, __m256i as Mask, _mm256_add_ps as add, _mm256_fmadd_ps as multiply_add,
        _mm256_loadu_ps as load, _mm256_set1_ps as splat, _mm256_setzero_ps as zero,
        _mm256_storeu_ps as store,
    };

    kernels!("avx2,fma", f32, 8);

    /// The first `count` lanes.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(crate) fn first(count: usize) -> Mask {
        _mm256_cmpgt_epi32(_mm256_set1_epi32(count as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(crate) unsafe fn load_first(mask: Mask, at: *const f32) -> Vector {
        // SAFETY: the caller vouches for the lanes of the mask.
        unsafe { _mm256_maskload_ps(at, mask) }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(crate) unsafe fn store_first(mask: Mask, at: *mut f32, value: Vector) {
        // SAFETY: the caller vouches for the lanes of the mask.
        unsafe { _mm256_maskstore_ps(at, mask, value) }
    }

    /// The transposed square of elements 0 .. LANES of the first `rows` rows, zeros for the rest. It is read in halves
    /// of a vector, which takes fewer shuffles than to transpose whole ones.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn square(corner: *const f32, stride: isize, rows: usize) -> [Vector; 8] {
        let half = |row: usize, left: usize| match row < rows {
            // SAFETY: the caller vouches for the square of these rows.
            true => unsafe { _mm_loadu_ps(corner.offset(row as isize * stride).add(left)) },
            false => _mm_setzero_ps(),
        };
        let mut out = [zero(); 8];
        for left in [0, 4] {
            let mut r = [zero(); 4];
            for (i, r) in r.iter_mut().enumerate() {
                *r = _mm256_insertf128_ps::<1>(_mm256_castps128_ps256(half(i, left)), half(i + 4, left));
            }
            let low = [_mm256_unpacklo_ps(r[0], r[1]), _mm256_unpacklo_ps(r[2], r[3])];
            let high = [_mm256_unpackhi_ps(r[0], r[1]), _mm256_unpackhi_ps(r[2], r[3])];
            out[left] = _mm256_shuffle_ps::<0x44>(low[0], low[1]);
            out[left + 1] = _mm256_shuffle_ps::<0xee>(low[0], low[1]);
            out[left + 2] = _mm256_shuffle_ps::<0x44>(high[0], high[1]);
            out[left + 3] = _mm256_shuffle_ps::<0xee>(high[0], high[1]);
        }
        out
    }
}

pub(crate) mod double {
    use super::*;
    use std::arch::x86_64::{
        __m256d as Vector, __m256i as Mask, _mm256_add_pd as add, _mm256_fmadd_pd as multiply_add,
        _mm256_loadu_pd as load, _mm256_set1_pd as splat, _mm256_setzero_pd as zero,
        _mm256_storeu_pd as store,
    };

    kernels!("avx2,fma", f64, 4);

    /// The first `count` lanes.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(crate) fn first(count: usize) -> Mask {
        _mm256_cmpgt_epi64(_mm256_set1_epi64x(count as i64), _mm256_setr_epi64x(0, 1, 2, 3))
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(crate) unsafe fn load_first(mask: Mask, at: *const f64) -> Vector {
        // SAFETY: the caller vouches for the lanes of the mask.
        unsafe { _mm256_maskload_pd(at, mask) }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(crate) unsafe fn store_first(mask: Mask, at: *mut f64, value: Vector) {
        // SAFETY: the caller vouches for the lanes of the mask.
        unsafe { _mm256_maskstore_pd(at, mask, value) }
    }

    /// The transposed square of elements 0 .. LANES of the first `rows` rows, zeros for the rest. It is read in halves
    /// of a vector, which takes fewer shuffles than to transpose whole ones.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn square(corner: *const f64, stride: isize, rows: usize) -> [Vector; 4] {
        let half = |row: usize, left: usize| match row < rows {
            // SAFETY: the caller vouches for the square of these rows.
            true => unsafe { _mm_loadu_pd(corner.offset(row as isize * stride).add(left)) },
            false => _mm_setzero_pd(),
        };
        let mut out = [zero(); 4];
        for left in [0, 2] {
            let mut r = [zero(); 2];
            for (i, r) in r.iter_mut().enumerate() {
                *r = _mm256_insertf128_pd::<1>(_mm256_castpd128_pd256(half(i, left)), half(i + 2, left));
            }
            out[left] = _mm256_unpacklo_pd(r[0], r[1]);
            out[left + 1] = _mm256_unpackhi_pd(r[0], r[1]);
        }
        out
    }
}
