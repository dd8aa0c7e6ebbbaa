//! 256-bit kernels: 6 rows by two vectors.
//!
//! 12 of the 16 registers hold the tile, two a row of B, one the broadcast element of A: 12 independent chains
//! against a latency of 4 cycles on two ports.

use super::kernel::{self, Kernels, Run, pack_any, tiles};
use super::small;
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

/// The code both types share; the intrinsics differ in their suffix only.
macro_rules! kernels {
    ($t:ty, $lanes:literal, $set0:ident, $set1:ident, $fma:ident, $add:ident, $load:ident, $store:ident) => {
        use super::*;

        const LANES: usize = $lanes;

        /// See [`crate::gemm::kernel::Tile`].
        #[target_feature(enable = "avx2,fma")]
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
            // steps, and for `cols` elements in ROWS rows of C; a partial last vector goes through `part`.
            unsafe {
                let mut sum = [[$set0(); VECS]; ROWS];
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
                let last = cols - (VECS - 1) * LANES;
                for row in 0..ROWS {
                    let c = c.offset(row as isize * c_stride);
                    for v in 0..VECS {
                        let at = c.add(v * LANES);
                        if v + 1 == VECS && last < LANES {
                            let mut part = [0.0; LANES];
                            $store(part.as_mut_ptr(), sum[row][v]);
                            for (lane, &value) in part.iter().enumerate().take(last) {
                                *at.add(lane) = if accumulate { *at.add(lane) + value } else { value };
                            }
                        } else if accumulate {
                            $store(at, $add($load(at), sum[row][v]));
                        } else {
                            $store(at, sum[row][v]);
                        }
                    }
                }
            }
        }

        /// See [`crate::gemm::kernel::Pack`].
        #[target_feature(enable = "avx2,fma")]
        pub(super) unsafe fn copy(
            k: usize,
            count: usize,
            width: usize,
            src: *const $t,
            stride: isize,
            out: *mut $t,
        ) {
            if count < 2 * LANES {
                // SAFETY: handed on.
                return unsafe { pack_any(k, count, width, src, 1, stride, out) };
            }
            for p in 0..k {
                // SAFETY: a whole panel: two vectors of each step are readable, and writable at p * width.
                unsafe {
                    let (src, out) = (src.offset(p as isize * stride), out.add(p * width));
                    let (low, high) = ($load(src), $load(src.add(LANES)));
                    $store(out, low);
                    $store(out.add(LANES), high);
                }
            }
        }

        /// See [`crate::gemm::kernel::Pack`].
        #[target_feature(enable = "avx2,fma")]
        pub(super) unsafe fn transpose(
            k: usize,
            count: usize,
            width: usize,
            src: *const $t,
            stride: isize,
            out: *mut $t,
        ) {
            let whole = k / LANES * LANES;
            for left in (0..width).step_by(LANES).rev() {
                let rows = count.saturating_sub(left).min(LANES);
                for p in (0..whole).step_by(LANES) {
                    let mut square = [$set0(); LANES];
                    // SAFETY: row left + j (< count) holds elements p .. p + LANES (<= k). A store past the end of
                    // a step lands in the next, which is written afterwards (further left, or later), or in the slack.
                    unsafe {
                        // Over constant positions, so that the square stays in registers.
                        for j in 0..LANES {
                            if j < rows {
                                square[j] = $load(src.offset((left + j) as isize * stride).add(p));
                            }
                        }
                        transpose_square(&mut square);
                        for (q, column) in square.into_iter().enumerate() {
                            $store(out.add((p + q) * width + left), column);
                        }
                    }
                }
            }
            // SAFETY: the steps from `whole` on, which the caller vouches for.
            unsafe { pack_any(k - whole, count, width, src.add(whole), stride, 1, out.add(whole * width)) }
        }

        /// See [`kernel::gather`].
        #[target_feature(enable = "avx2,fma")]
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
        #[target_feature(enable = "avx2,fma")]
        pub(super) unsafe fn rows_dot(matrix: small::Matrix<$t>, x: *const $t, y: *mut $t) {
            // SAFETY: handed on.
            unsafe { small::rows_dot::<$t, LANES>(matrix, x, y, |a, b, c| a.mul_add(b, c)) }
        }
    };
}

mod single {
    kernels!(
        f32,
        8,
        _mm256_setzero_ps,
        _mm256_set1_ps,
        _mm256_fmadd_ps,
        _mm256_add_ps,
        _mm256_loadu_ps,
        _mm256_storeu_ps
    );

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
    kernels!(
        f64,
        4,
        _mm256_setzero_pd,
        _mm256_set1_pd,
        _mm256_fmadd_pd,
        _mm256_add_pd,
        _mm256_loadu_pd,
        _mm256_storeu_pd
    );

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
