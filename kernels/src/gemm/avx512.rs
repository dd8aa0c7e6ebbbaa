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
    gather: single::gather,
    rows_dot: single::rows_dot,
};

pub(crate) static F64: Kernels<f64> = Kernels {
    tiles: tiles!(double::tile; 1 2 3 4 5 6 7 8 9 10 11 12 13 14),
    lanes: 8,
    copy: double::copy,
    transpose: double::transpose,
    gather: double::gather,
    rows_dot: double::rows_dot,
};

mod single {
    use super::*;
    use std::arch::x86_64::{
        __m512 as Vector, __mmask16 as Mask, _mm512_add_ps as add, _mm512_fmadd_ps as multiply_add,
        _mm512_loadu_ps as load, _mm512_maskz_loadu_ps as load_first, _mm512_set1_ps as splat,
        _mm512_setzero_ps as zero, _mm512_storeu_ps as store,
    };

    kernels!("avx512f,avx2,fma", f32, 16);

    /// The first `count` lanes.
    fn first(count: usize) -> Mask {
        if count >= LANES { Mask::MAX } else { ((1u32 << count) - 1) as Mask }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx2,fma")]
    unsafe fn store_first(mask: Mask, at: *mut f32, value: Vector) {
        // SAFETY: the caller vouches for the lanes of the mask.
        unsafe { _mm512_mask_storeu_ps(at, mask, value) }
    }

    /// Transposes 16 × 16: 2 × 2 blocks, then 4 × 4, within 128-bit quarters; then the quarters.
    #[inline]
    #[target_feature(enable = "avx512f,avx2,fma")]
    fn transpose_square(r: &mut [__m512; 16]) {
        let mut t = *r;
        for i in 0..8 {
            t[2 * i] = _mm512_unpacklo_ps(r[2 * i], r[2 * i + 1]);
            t[2 * i + 1] = _mm512_unpackhi_ps(r[2 * i], r[2 * i + 1]);
        }
        for i in 0..4 {
            let [a, b, c, d] = [t[4 * i], t[4 * i + 1], t[4 * i + 2], t[4 * i + 3]];
            r[4 * i] = _mm512_shuffle_ps::<0x44>(a, c);
            r[4 * i + 1] = _mm512_shuffle_ps::<0xee>(a, c);
            r[4 * i + 2] = _mm512_shuffle_ps::<0x44>(b, d);
            r[4 * i + 3] = _mm512_shuffle_ps::<0xee>(b, d);
        }
        // r[4 i + j] now holds, in quarter q, column 4 q + j of rows 4 i .. 4 i + 4.
        for j in 0..4 {
            let low01 = _mm512_shuffle_f32x4::<0x88>(r[j], r[4 + j]);
            let odd01 = _mm512_shuffle_f32x4::<0xdd>(r[j], r[4 + j]);
            let low23 = _mm512_shuffle_f32x4::<0x88>(r[8 + j], r[12 + j]);
            let odd23 = _mm512_shuffle_f32x4::<0xdd>(r[8 + j], r[12 + j]);
            t[j] = _mm512_shuffle_f32x4::<0x88>(low01, low23);
            t[8 + j] = _mm512_shuffle_f32x4::<0xdd>(low01, low23);
            t[4 + j] = _mm512_shuffle_f32x4::<0x88>(odd01, odd23);
            t[12 + j] = _mm512_shuffle_f32x4::<0xdd>(odd01, odd23);
        }
        *r = t;
    }
}

mod double {
    use super::*;
    use std::arch::x86_64::{
        __m512d as Vector, __mmask8 as Mask, _mm512_add_pd as add, _mm512_fmadd_pd as multiply_add,
        _mm512_loadu_pd as load, _mm512_maskz_loadu_pd as load_first, _mm512_set1_pd as splat,
        _mm512_setzero_pd as zero, _mm512_storeu_pd as store,
    };

    kernels!("avx512f,avx2,fma", f64, 8);

    /// The first `count` lanes.
    fn first(count: usize) -> Mask {
        if count >= LANES { Mask::MAX } else { ((1u32 << count) - 1) as Mask }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx2,fma")]
    unsafe fn store_first(mask: Mask, at: *mut f64, value: Vector) {
        // SAFETY: the caller vouches for the lanes of the mask.
        unsafe { _mm512_mask_storeu_pd(at, mask, value) }
    }

    /// Transposes 8 × 8: pairs within 128-bit quarters, then the quarters.
    #[inline]
    #[target_feature(enable = "avx512f,avx2,fma")]
    fn transpose_square(r: &mut [__m512d; 8]) {
        let mut t = *r;
        for i in 0..4 {
            t[2 * i] = _mm512_unpacklo_pd(r[2 * i], r[2 * i + 1]);
            t[2 * i + 1] = _mm512_unpackhi_pd(r[2 * i], r[2 * i + 1]);
        }
        // t[2 i + j] now holds, in quarter q, column 2 q + j of rows 2 i, 2 i + 1.
        for j in 0..2 {
            let low01 = _mm512_shuffle_f64x2::<0x88>(t[j], t[2 + j]);
            let odd01 = _mm512_shuffle_f64x2::<0xdd>(t[j], t[2 + j]);
            let low23 = _mm512_shuffle_f64x2::<0x88>(t[4 + j], t[6 + j]);
            let odd23 = _mm512_shuffle_f64x2::<0xdd>(t[4 + j], t[6 + j]);
            r[j] = _mm512_shuffle_f64x2::<0x88>(low01, low23);
            r[4 + j] = _mm512_shuffle_f64x2::<0xdd>(low01, low23);
            r[2 + j] = _mm512_shuffle_f64x2::<0x88>(odd01, odd23);
            r[6 + j] = _mm512_shuffle_f64x2::<0xdd>(odd01, odd23);
        }
    }
}
