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
    gather: single::gather,
    rows_dot: single::rows_dot,
};

pub(crate) static F64: Kernels<f64> = Kernels {
    tiles: tiles!(double::tile; 1 2 3 4 5 6),
    lanes: 4,
    copy: double::copy,
    transpose: double::transpose,
    gather: double::gather,
    rows_dot: double::rows_dot,
};

mod single {
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
    fn first(count: usize) -> Mask {
        _mm256_cmpgt_epi32(_mm256_set1_epi32(count as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn load_first(mask: Mask, at: *const f32) -> Vector {
        // SAFETY: the caller vouches for the lanes of the mask.
        unsafe { _mm256_maskload_ps(at, mask) }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn store_first(mask: Mask, at: *mut f32, value: Vector) {
        // SAFETY: the caller vouches for the lanes of the mask.
        unsafe { _mm256_maskstore_ps(at, mask, value) }
    }

    /// Transposes 8 × 8: 2 × 2 blocks, then 4 × 4, within 128-bit halves; then the halves.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn transpose_square(r: &mut [__m256; 8]) {
        let mut t = *r;
        for i in 0..2 {
            let low01 = _mm256_unpacklo_ps(r[4 * i], r[4 * i + 1]);
            let high01 = _mm256_unpackhi_ps(r[4 * i], r[4 * i + 1]);
            let low23 = _mm256_unpacklo_ps(r[4 * i + 2], r[4 * i + 3]);
            let high23 = _mm256_unpackhi_ps(r[4 * i + 2], r[4 * i + 3]);
            t[4 * i] = _mm256_shuffle_ps::<0x44>(low01, low23);
            t[4 * i + 1] = _mm256_shuffle_ps::<0xee>(low01, low23);
            t[4 * i + 2] = _mm256_shuffle_ps::<0x44>(high01, high23);
            t[4 * i + 3] = _mm256_shuffle_ps::<0xee>(high01, high23);
        }
        for j in 0..4 {
            r[j] = _mm256_permute2f128_ps::<0x20>(t[j], t[4 + j]);
            r[4 + j] = _mm256_permute2f128_ps::<0x31>(t[j], t[4 + j]);
        }
    }
}

mod double {
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
    fn first(count: usize) -> Mask {
        _mm256_cmpgt_epi64(_mm256_set1_epi64x(count as i64), _mm256_setr_epi64x(0, 1, 2, 3))
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn load_first(mask: Mask, at: *const f64) -> Vector {
        // SAFETY: the caller vouches for the lanes of the mask.
        unsafe { _mm256_maskload_pd(at, mask) }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn store_first(mask: Mask, at: *mut f64, value: Vector) {
        // SAFETY: the caller vouches for the lanes of the mask.
        unsafe { _mm256_maskstore_pd(at, mask, value) }
    }

    /// Transposes 4 × 4: pairs within 128-bit halves, then the halves.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn transpose_square(r: &mut [__m256d; 4]) {
        let (low01, high01) = (_mm256_unpacklo_pd(r[0], r[1]), _mm256_unpackhi_pd(r[0], r[1]));
        let (low23, high23) = (_mm256_unpacklo_pd(r[2], r[3]), _mm256_unpackhi_pd(r[2], r[3]));
        r[0] = _mm256_permute2f128_pd::<0x20>(low01, low23);
        r[1] = _mm256_permute2f128_pd::<0x20>(high01, high23);
        r[2] = _mm256_permute2f128_pd::<0x31>(low01, low23);
        r[3] = _mm256_permute2f128_pd::<0x31>(high01, high23);
    }
}
