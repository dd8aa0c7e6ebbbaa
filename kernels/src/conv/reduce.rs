//! The batch-reduce micro-kernel: the sum of many small products in one register tile.
//!
//! Georganas et al., "Harnessing Deep Learning via a Single Building Block" (2020): a convolution is
//! `C = sum_t A_t B_t` over taps t. Both panels of every term are named by their place, so that neither taps nor
//! pixels have to be brought together in memory, and C is written once for all terms.

use crate::gemm::Float;
use crate::simd::Level;

/// One term of the sum: where its panels begin, from the start of A and B.
#[derive(Clone, Copy, Debug)]
pub struct Term {
    /// Columns of A before the panel, as many elements each as the tile has rows.
    pub a: usize,
    /// Elements of B before the panel.
    pub b: usize,
}

/// `C (+)= sum_t A_t B_t`. A panel of A holds, for each of k steps, the rows of the tile; one of B two vectors; C has
/// rows of two vectors.
///
/// Arguments: the terms; k; A; B; C and its row stride; whether to add to C or to overwrite it (with zeros, if there
/// are no terms). Every element is one chain of multiply-adds over the terms in order, k ascending in each.
pub type Reduce<T> = unsafe fn(&[Term], usize, *const T, *const T, *mut T, usize, bool);

/// The types that have the micro-kernel.
pub trait HasReduce: Sized {
    /// The micro-kernels of `level`: entry i is that for i + 1 rows.
    #[doc(hidden)]
    fn reduce(level: Level) -> &'static [Reduce<Self>];
}

/// The table of a function `tile::<rows>`.
macro_rules! table {
    ($tile:path; $($rows:literal)*) => {{
        use $tile as tile;
        &[$(tile::<$rows>),*]
    }};
}

macro_rules! has_reduce {
    ($t:ty, $module:ident, $portable:literal) => {
        impl HasReduce for $t {
            fn reduce(level: Level) -> &'static [Reduce<$t>] {
                match level {
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx512 => table!(avx512::$module::tile; 1 2 3 4 5 6 7 8 9 10 11 12 13 14),
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx2 => table!(avx2::$module::tile; 1 2 3 4 5 6),
                    _ => &[
                        portable::<$t, $portable, 1>,
                        portable::<$t, $portable, 2>,
                        portable::<$t, $portable, 3>,
                        portable::<$t, $portable, 4>,
                    ],
                }
            }
        }
    };
}

has_reduce!(f32, single, 4);
has_reduce!(f64, double, 2);

/// See [`Reduce`].
unsafe fn portable<T: Float, const LANES: usize, const ROWS: usize>(
    terms: &[Term],
    k: usize,
    a: *const T,
    b: *const T,
    c: *mut T,
    c_stride: usize,
    accumulate: bool,
) {
    // Fused where the target has an instruction for it; a call into the C library for each element would be slow.
    let multiply_add = |a: T, b: T, c: T| {
        if cfg!(any(target_feature = "fma", target_arch = "aarch64")) { a.mul_add(b, c) } else { a * b + c }
    };
    let mut sum = [[[T::ZERO; LANES]; 2]; ROWS];
    for term in terms {
        for p in 0..k {
            let (a, b) = (a.wrapping_add((term.a + p) * ROWS), b.wrapping_add(term.b + p * 2 * LANES));
            for (row, sum) in sum.iter_mut().enumerate() {
                for (v, sum) in sum.iter_mut().enumerate() {
                    // SAFETY: the caller vouches for ROWS elements of A and two vectors of B at each step.
                    let (a, b) = unsafe { (*a.add(row), *b.add(v * LANES).cast::<[T; LANES]>()) };
                    let old = *sum;
                    *sum = std::array::from_fn(|lane| multiply_add(a, b[lane], old[lane]));
                }
            }
        }
    }
    for (row, sum) in sum.iter().enumerate() {
        for (col, &value) in sum.as_flattened().iter().enumerate() {
            // SAFETY: the caller vouches for two vectors in each of ROWS rows of C.
            unsafe {
                let c = c.add(row * c_stride + col);
                *c = if accumulate { *c + value } else { value };
            }
        }
    }
}

/// The code that both types and both widths share; the intrinsics differ in their names only.
#[cfg(target_arch = "x86_64")]
macro_rules! tile {
    ($t:ty, $lanes:literal, $features:literal, $set0:ident, $set1:ident, $fma:ident, $add:ident, $load:ident,
     $store:ident) => {
        use super::super::Term;
        use std::arch::x86_64::*;

        /// See [`super::super::Reduce`].
        #[target_feature(enable = $features)]
        pub unsafe fn tile<const ROWS: usize>(
            terms: &[Term],
            k: usize,
            a: *const $t,
            b: *const $t,
            c: *mut $t,
            c_stride: usize,
            accumulate: bool,
        ) {
            // SAFETY: the caller vouches for ROWS elements of A and two vectors of B at each of the k steps of every
            // term, and for two vectors in ROWS rows of C.
            unsafe {
                let mut sum = [[$set0(); 2]; ROWS];
                for row in 0..ROWS {
                    _mm_prefetch::<_MM_HINT_T0>(c.add(row * c_stride).cast());
                    _mm_prefetch::<_MM_HINT_T0>(c.add(row * c_stride + $lanes).cast());
                }
                for term in terms {
                    let (mut a, mut b) = (a.add(term.a * ROWS), b.add(term.b));
                    for _ in 0..k {
                        let x = [$load(b), $load(b.add($lanes))];
                        for row in 0..ROWS {
                            let y = $set1(*a.add(row));
                            for v in 0..2 {
                                sum[row][v] = $fma(y, x[v], sum[row][v]);
                            }
                        }
                        a = a.wrapping_add(ROWS);
                        b = b.wrapping_add(2 * $lanes);
                    }
                }
                for row in 0..ROWS {
                    for v in 0..2 {
                        let c = c.add(row * c_stride + v * $lanes);
                        let old = if accumulate { $load(c) } else { $set0() };
                        $store(c, $add(old, sum[row][v]));
                    }
                }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    pub mod single {
        tile!(
            f32,
            16,
            "avx512f",
            _mm512_setzero_ps,
            _mm512_set1_ps,
            _mm512_fmadd_ps,
            _mm512_add_ps,
            _mm512_loadu_ps,
            _mm512_storeu_ps
        );
    }

    pub mod double {
        tile!(
            f64,
            8,
            "avx512f",
            _mm512_setzero_pd,
            _mm512_set1_pd,
            _mm512_fmadd_pd,
            _mm512_add_pd,
            _mm512_loadu_pd,
            _mm512_storeu_pd
        );
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    pub mod single {
        tile!(
            f32,
            8,
            "avx2,fma",
            _mm256_setzero_ps,
            _mm256_set1_ps,
            _mm256_fmadd_ps,
            _mm256_add_ps,
            _mm256_loadu_ps,
            _mm256_storeu_ps
        );
    }

    pub mod double {
        tile!(
            f64,
            4,
            "avx2,fma",
            _mm256_setzero_pd,
            _mm256_set1_pd,
            _mm256_fmadd_pd,
            _mm256_add_pd,
            _mm256_loadu_pd,
            _mm256_storeu_pd
        );
    }
}
