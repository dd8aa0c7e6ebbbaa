//! 512-bit kernels: 14 rows by two vectors.
//!
//! 28 of the 32 registers hold the tile, two hold a row of B, one the broadcast element of A. Each k loads 2
//! vectors and broadcasts 14 elements for 28 multiply-adds, well under what two load ports give in the 14 cycles
//! that two multiply-add ports need; and 28 independent chains hide a latency of 4 cycles more than three times.

use super::kernel::{Kernels, tiles};
use super::x86::kernels;
use std::arch::x86_64::*;

pub(crate) static F32: Kernels<f32> = Kernels {
    tiles: tiles!(single::tile; 1 2 3 4 5 6 7 8 9 10 11 12 13 14),
    lanes: 16,
    copy: single::copy,
    transpose: single::transpose,
    untile: single::untile,
    gather: single::gather,
    rows_dot: single::rows_dot,
};

pub(crate) static F64: Kernels<f64> = Kernels {
    tiles: tiles!(double::tile; 1 2 3 4 5 6 7 8 9 10 11 12 13 14),
    lanes: 8,
    copy: double::copy,
    transpose: double::transpose,
    untile: double::untile,
    gather: double::gather,
    rows_dot: double::rows_dot,
};

pub(crate) mod single {
    use super::*;
    use std::arch::x86_64::{
        __m512 as Vector, __mmask16 as Mask, _mm512_add_ps as add, _mm512_fmadd_ps as multiply_add,
        _mm512_loadu_ps as load, _mm512_maskz_loadu_ps as load_first, _mm512_set1_ps as splat,
        _mm512_setzero_ps as zero, _mm512_storeu_ps as store,
    };

    kernels!("avx512f,avx2,fma", f32, 16);

    /// The first `count` lanes.
    pub(crate) fn first(count: usize) -> Mask {
        if count >= LANES { Mask::MAX } else { ((1u32 << count) - 1) as Mask }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx2,fma")]
    pub(crate) unsafe fn store_first(mask: Mask, at: *mut f32, value: Vector) {
        // SAFETY: the caller vouches for the lanes of the mask.
        unsafe { _mm512_mask_storeu_ps(at, mask, value) }
    }

    /// The transposed square of elements 0 .. LANES of the first `rows` rows, zeros for the rest. It is read in halves
    /// of a vector, which takes fewer shuffles than to transpose whole ones.
    #[inline]
    #[target_feature(enable = "avx512f,avx2,fma")]
    unsafe fn square(corner: *const f32, stride: isize, rows: usize) -> [Vector; 16] {
        let half = |row: usize, left: usize| match row < rows {
            // SAFETY: the caller vouches for the square of these rows.
            true => unsafe { _mm256_loadu_ps(corner.offset(row as isize * stride).add(left)) },
            false => _mm256_setzero_ps(),
        };
        // Of each half, columns j and 4 + j, alternating by quarters, of eight rows each. A line is read by both halves
        // before there are more of them than the first-level cache has ways.
        let mut columns = [[[zero(); 4]; 2]; 2];
        for (upper, columns) in columns.iter_mut().enumerate() {
            for (left, columns) in columns.iter_mut().enumerate() {
                let mut r = [zero(); 4];
                for (i, r) in r.iter_mut().enumerate() {
                    let row = 8 * upper + i;
                    let low = _mm512_castpd256_pd512(_mm256_castps_pd(half(row, 8 * left)));
                    let high = _mm256_castps_pd(half(row + 4, 8 * left));
                    *r = _mm512_castpd_ps(_mm512_insertf64x4::<1>(low, high));
                }
                let low = [_mm512_unpacklo_ps(r[0], r[1]), _mm512_unpacklo_ps(r[2], r[3])];
                let high = [_mm512_unpackhi_ps(r[0], r[1]), _mm512_unpackhi_ps(r[2], r[3])];
                *columns = [
                    _mm512_shuffle_ps::<0x44>(low[0], low[1]),
                    _mm512_shuffle_ps::<0xee>(low[0], low[1]),
                    _mm512_shuffle_ps::<0x44>(high[0], high[1]),
                    _mm512_shuffle_ps::<0xee>(high[0], high[1]),
                ];
            }
        }
        let mut out = [zero(); 16];
        let [upper, lower] = columns;
        for (left, (upper, lower)) in upper.into_iter().zip(lower).enumerate() {
            for j in 0..4 {
                out[8 * left + j] = _mm512_shuffle_f32x4::<0x88>(upper[j], lower[j]);
                out[8 * left + 4 + j] = _mm512_shuffle_f32x4::<0xdd>(upper[j], lower[j]);
            }
        }
        out
    }
}

pub(crate) mod double {
    use super::*;
    use std::arch::x86_64::{
        __m512d as Vector, __mmask8 as Mask, _mm512_add_pd as add, _mm512_fmadd_pd as multiply_add,
        _mm512_loadu_pd as load, _mm512_maskz_loadu_pd as load_first, _mm512_set1_pd as splat,
        _mm512_setzero_pd as zero, _mm512_storeu_pd as store,
    };

    kernels!("avx512f,avx2,fma", f64, 8);

    /// The first `count` lanes.
    pub(crate) fn first(count: usize) -> Mask {
        if count >= LANES { Mask::MAX } else { ((1u32 << count) - 1) as Mask }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx2,fma")]
    pub(crate) unsafe fn store_first(mask: Mask, at: *mut f64, value: Vector) {
        // SAFETY: the caller vouches for the lanes of the mask.
        unsafe { _mm512_mask_storeu_pd(at, mask, value) }
    }

    /// The transposed square of elements 0 .. LANES of the first `rows` rows, zeros for the rest. It is read in halves
    /// of a vector, which takes fewer shuffles than to transpose whole ones.
    #[inline]
    #[target_feature(enable = "avx512f,avx2,fma")]
    unsafe fn square(corner: *const f64, stride: isize, rows: usize) -> [Vector; 8] {
        let half = |row: usize, left: usize| match row < rows {
            // SAFETY: the caller vouches for the square of these rows.
            true => unsafe { _mm256_loadu_pd(corner.offset(row as isize * stride).add(left)) },
            false => _mm256_setzero_pd(),
        };
        let mut out = [zero(); 8];
        for left in [0, 4] {
            let mut r = [zero(); 4];
            for (i, r) in r.iter_mut().enumerate() {
                let row = 4 * (i / 2) + i % 2;
                *r = _mm512_insertf64x4::<1>(_mm512_castpd256_pd512(half(row, left)), half(row + 2, left));
            }
            let low = [_mm512_unpacklo_pd(r[0], r[1]), _mm512_unpacklo_pd(r[2], r[3])];
            let high = [_mm512_unpackhi_pd(r[0], r[1]), _mm512_unpackhi_pd(r[2], r[3])];
            out[left] = _mm512_shuffle_f64x2::<0x88>(low[0], low[1]);
            out[left + 1] = _mm512_shuffle_f64x2::<0x88>(high[0], high[1]);
            out[left + 2] = _mm512_shuffle_f64x2::<0xdd>(low[0], low[1]);
            out[left + 3] = _mm512_shuffle_f64x2::<0xdd>(high[0], high[1]);
        }
        out
    }
}
