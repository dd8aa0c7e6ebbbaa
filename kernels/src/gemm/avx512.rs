//! 512-bit kernels: 14 rows by two vectors.
//!
//! 28 of the 32 registers hold the tile, two hold a row of B, one the broadcast element of A. Each k loads 2
//! vectors and broadcasts 14 elements for 28 multiply-adds, well under what two load ports give in the 14 cycles
//! that two multiply-add ports need; and 28 independent chains hide a latency of 4 cycles more than three times.

use super::kernel::{self, Kernels, Run, tiles};
use super::small;
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

/// The code both types share; the intrinsics differ in their suffix only.
macro_rules! kernels {
    ($t:ty, $lanes:literal, $mask:ty, $set0:ident, $set1:ident, $fma:ident, $add:ident,
     $load:ident, $mask_load:ident, $mask_store:ident) => {
        use super::*;

        const LANES: usize = $lanes;

        /// The first `count` lanes.
        fn first(count: usize) -> $mask {
            if count >= LANES { <$mask>::MAX } else { ((1u32 << count) - 1) as $mask }
        }

        /// See [`crate::gemm::kernel::Tile`].
        #[target_feature(enable = "avx512f")]
        #[allow(clippy::too_many_arguments)]
        pub(super) unsafe fn tile<const ROWS: usize, const VECS: usize>(
            k: usize,
            mut a: *const $t,
            a_step: isize,
            mut b: *const $t,
            b_step: isize,
            c: *mut $t,
            c_stride: isize,
            cols: usize,
            accumulate: bool,
        ) {
            // SAFETY: the caller vouches for ROWS elements of A and VECS whole vectors of B at each of the k
            // steps, and for `cols` elements in ROWS rows of C; the last vector of a row is masked to that.
            unsafe {
                let mut sum = [[$set0(); VECS]; ROWS];
                for row in 0..ROWS {
                    _mm_prefetch::<_MM_HINT_T0>(c.offset(row as isize * c_stride).cast());
                }
                for _ in 0..k {
                    let mut x = [$set0(); VECS];
                    for v in 0..VECS {
                        x[v] = $load(b.add(v * LANES));
                    }
                    for row in 0..ROWS {
                        let y = $set1(*a.add(row));
                        for v in 0..VECS {
                            sum[row][v] = $fma(y, x[v], sum[row][v]);
                        }
                    }
                    a = a.wrapping_offset(a_step);
                    b = b.wrapping_offset(b_step);
                }
                let mask = first(cols - (VECS - 1) * LANES);
                for row in 0..ROWS {
                    let c = c.offset(row as isize * c_stride);
                    for v in 0..VECS {
                        let mask = if v + 1 == VECS { mask } else { <$mask>::MAX };
                        let at = c.add(v * LANES);
                        let mut value = sum[row][v];
                        if accumulate {
                            value = $add($mask_load(mask, at), value);
                        }
                        $mask_store(at, mask, value);
                    }
                }
            }
        }

        /// See [`crate::gemm::kernel::Pack`].
        #[target_feature(enable = "avx512f")]
        pub(super) unsafe fn copy(
            k: usize,
            count: usize,
            width: usize,
            mut src: *const $t,
            stride: isize,
            mut out: *mut $t,
        ) {
            let (low, high) = (first(count), first(count.saturating_sub(LANES)));
            let (out_low, out_high) = (first(width), first(width.saturating_sub(LANES)));
            // SAFETY: masks keep reads to `count` and writes to `width` elements per step, which the caller
            // vouches for; a masked-out lane is not touched.
            unsafe {
                for _ in 0..k {
                    $mask_store(out, out_low, $mask_load(low, src));
                    if width > LANES {
                        let (src, out) = (src.wrapping_add(LANES), out.wrapping_add(LANES));
                        $mask_store(out, out_high, $mask_load(high, src));
                    }
                    src = src.wrapping_offset(stride);
                    out = out.wrapping_add(width);
                }
            }
        }

        /// See [`crate::gemm::kernel::Pack`].
        #[target_feature(enable = "avx512f")]
        pub(super) unsafe fn transpose(
            k: usize,
            count: usize,
            width: usize,
            src: *const $t,
            stride: isize,
            out: *mut $t,
        ) {
            for left in (0..width).step_by(LANES) {
                let rows = count.saturating_sub(left).min(LANES);
                let lanes = first(width - left);
                for p in (0..k).step_by(LANES) {
                    let steps = (k - p).min(LANES);
                    let mut square = [$set0(); LANES];
                    // SAFETY: row left + j (< count) holds elements p .. p + steps (<= k); what is written lies
                    // in columns below `width` of steps below k.
                    unsafe {
                        // Over constant positions, so that the square stays in registers.
                        for j in 0..LANES {
                            if j < rows {
                                let row = src.offset((left + j) as isize * stride).add(p);
                                _mm_prefetch::<_MM_HINT_T0>(row.wrapping_add(4 * LANES).cast());
                                square[j] = $mask_load(first(steps), row);
                            }
                        }
                        transpose_square(&mut square);
                        for q in 0..LANES {
                            if q < steps {
                                $mask_store(out.add((p + q) * width + left), lanes, square[q]);
                            }
                        }
                    }
                }
            }
        }

        /// See [`kernel::gather`].
        #[target_feature(enable = "avx512f")]
        pub(super) unsafe fn gather(
            src: *const $t,
            rows: &[usize],
            runs: &[Run],
            pitch: usize,
            out: *mut $t,
        ) {
            // SAFETY: handed on.
            unsafe { kernel::gather(src, rows, runs, pitch, out) }
        }

        /// See [`small::rows_dot`].
        #[target_feature(enable = "avx512f,avx2,fma")]
        pub(super) unsafe fn rows_dot(matrix: small::Matrix<$t>, x: *const $t, y: *mut $t) {
            // SAFETY: handed on.
            unsafe { small::rows_dot::<$t, LANES>(matrix, x, y, |a, b, c| a.mul_add(b, c)) }
        }
    };
}

mod single {
    kernels!(
        f32,
        16,
        __mmask16,
        _mm512_setzero_ps,
        _mm512_set1_ps,
        _mm512_fmadd_ps,
        _mm512_add_ps,
        _mm512_loadu_ps,
        _mm512_maskz_loadu_ps,
        _mm512_mask_storeu_ps
    );

    /// Transposes 16 × 16: 2 × 2 blocks, then 4 × 4, within 128-bit quarters; then the quarters.
    #[inline]
    #[target_feature(enable = "avx512f")]
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
    kernels!(
        f64,
        8,
        __mmask8,
        _mm512_setzero_pd,
        _mm512_set1_pd,
        _mm512_fmadd_pd,
        _mm512_add_pd,
        _mm512_loadu_pd,
        _mm512_maskz_loadu_pd,
        _mm512_mask_storeu_pd
    );

    /// Transposes 8 × 8: pairs within 128-bit quarters, then the quarters.
    #[inline]
    #[target_feature(enable = "avx512f")]
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
