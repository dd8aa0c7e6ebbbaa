//! The batch-reduce micro-kernel: the sum of many small products in one register tile.
//!
//! Georganas et al., "Harnessing Deep Learning via a Single Building Block" (2020): a convolution is
//! `C = sum_t A_t B_t` over taps t. Both panels of every term are named by their place, so that neither taps nor
//! pixels have to be brought together in memory, and C is written once for all terms.

use crate::simd::Level;

/// One term of the sum: where its panels begin, counted from [`Step::a`] and [`Step::b`].
#[derive(Clone, Copy, Debug)]
pub struct Term {
    /// Steps of A before the panel.
    pub a: usize,
    /// Elements of B before the panels, one for each vector across.
    pub b: [usize; 2],
}

/// What will be needed later: one cache line of each of some planes, asked for while the processor computes.
#[derive(Clone, Copy, Debug)]
pub struct Ahead<T> {
    /// Line of plane 0. Any address will do.
    pub first: *const T,
    /// Elements from one plane to the next.
    pub stride: usize,
    /// Planes; after the last, the next line follows.
    pub planes: usize,
}

/// What the micro-kernel does: `C (+)= sum_t A_t B_t`. A panel of A holds the rows of the tile for each of k steps, one
/// of B a vector. How far apart the rows of A are is fixed by the table: see [`HasReduce`].
pub struct Step<'a, T> {
    /// The terms; without any, C is zero.
    pub terms: &'a [Term],
    /// Steps of each.
    pub k: usize,
    /// What the terms count from.
    pub a: *const T,
    /// Elements of A from one step to the next.
    pub a_step: usize,
    /// What the terms count from, for each vector across.
    pub b: [*const T; 2],
    /// Elements of B from one step to the next.
    pub b_step: usize,
    /// Row 0 of each vector of C.
    pub c: [*mut T; 2],
    /// Elements of C from one row to the next.
    pub c_stride: usize,
    /// Whether to add to C or to overwrite it.
    pub accumulate: bool,
    /// What to ask for.
    pub ahead: Ahead<T>,
    /// Steps from one request to the next; every term begins with one.
    pub every: usize,
}

/// Steps from one request to the next where sums are long.
pub const SELDOM: usize = 16;
/// The same where they are short, and results to be brought to the caches many.
pub const OFTEN: usize = 4;

/// Steps that A, which is read once for each tile, is brought to the first-level cache before its use.
#[cfg(target_arch = "x86_64")]
const NEXT: usize = 16;

/// Does a [`Step`]; rows and vectors across are fixed by the place in [`HasReduce::reduce`]. Every element is one chain
/// of multiply-adds over the terms in order, k ascending in each.
pub type Reduce<T> = unsafe fn(&Step<T>);

/// The types that have the micro-kernel.
pub trait HasReduce: Sized {
    /// The micro-kernels of `level` for rows of A that are adjacent: `[rows - 1][vectors - 1]`.
    #[doc(hidden)]
    fn reduce(level: Level) -> &'static [[Reduce<Self>; 2]];

    /// The same for rows of A that are a vector apart.
    #[doc(hidden)]
    fn reduce_apart(level: Level) -> &'static [[Reduce<Self>; 2]];
}

/// The table of a function `tile::<rows, vectors, elements from row to row>`.
macro_rules! table {
    ($tile:path, $apart:literal; $($rows:literal)*) => {{
        use $tile as tile;
        &[$([tile::<$rows, 1, $apart>, tile::<$rows, 2, $apart>]),*]
    }};
}

macro_rules! has_reduce {
    ($t:ty, $module:ident, $avx512:literal $avx2:literal $portable:literal) => {
        impl HasReduce for $t {
            fn reduce(level: Level) -> &'static [[Reduce<$t>; 2]] {
                match level {
                    #[cfg(all(target_arch = "x86_64", feature = "avx512"))]
                    Level::Avx512 => table!(avx512::$module::tile, 1; 1 2 3 4 5 6 7 8 9 10 11 12 13 14),
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx2 => table!(avx2::$module::tile, 1; 1 2 3 4 5 6),
                    _ => table!(portable::$module::tile, 1; 1 2 3 4),
                }
            }

            fn reduce_apart(level: Level) -> &'static [[Reduce<$t>; 2]] {
                match level {
                    #[cfg(all(target_arch = "x86_64", feature = "avx512"))]
                    Level::Avx512 => {
                        table!(avx512::$module::tile, $avx512; 1 2 3 4 5 6 7 8 9 10 11 12 13 14)
                    }
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx2 => table!(avx2::$module::tile, $avx2; 1 2 3 4 5 6),
                    _ => table!(portable::$module::tile, $portable; 1 2 3 4),
                }
            }
        }
    };
}

has_reduce!(f32, single, 16 8 4);
has_reduce!(f64, double, 8 4 2);

mod portable {
    use super::Step;
    use crate::gemm::Float;
    use crate::gemm::portable::multiply_add;

    /// See [`super::Reduce`].
    #[inline(always)]
    unsafe fn tile<T: Float, const LANES: usize, const ROWS: usize, const VECS: usize, const APART: usize>(
        step: &Step<T>,
    ) {
        let mut sum = [[[T::ZERO; LANES]; VECS]; ROWS];
        for term in step.terms {
            for p in 0..step.k {
                let a = step.a.wrapping_add((term.a + p) * step.a_step);
                for (row, sum) in sum.iter_mut().enumerate() {
                    for (v, sum) in sum.iter_mut().enumerate() {
                        // SAFETY: the caller vouches for ROWS elements of A and VECS vectors of B at each step.
                        let (a, b) = unsafe {
                            (
                                *a.add(row * APART),
                                *step.b[v].add(term.b[v] + p * step.b_step).cast::<[T; LANES]>(),
                            )
                        };
                        let old = *sum;
                        *sum = std::array::from_fn(|lane| multiply_add(a, b[lane], old[lane]));
                    }
                }
            }
        }
        for (row, sum) in sum.iter().enumerate() {
            for (v, sum) in sum.iter().enumerate() {
                // SAFETY: the caller vouches for VECS vectors in each of ROWS rows of C.
                unsafe {
                    let c = step.c[v].add(row * step.c_stride).cast::<[T; LANES]>();
                    let old = if step.accumulate { *c } else { [T::ZERO; LANES] };
                    *c = std::array::from_fn(|lane| old[lane] + sum[lane]);
                }
            }
        }
    }

    macro_rules! tile {
        ($module:ident, $t:ty, $lanes:literal) => {
            pub mod $module {
                /// See [`super::super::Reduce`].
                pub unsafe fn tile<const ROWS: usize, const VECS: usize, const APART: usize>(
                    step: &super::Step<$t>,
                ) {
                    // SAFETY: handed on.
                    unsafe { super::tile::<$t, $lanes, ROWS, VECS, APART>(step) }
                }
            }
        };
    }

    tile!(single, f32, 4);
    tile!(double, f64, 2);
}

/// The code that both types and both widths share; the intrinsics differ in their names only.
#[cfg(target_arch = "x86_64")]
macro_rules! tile {
    ($t:ty, $features:literal, $set0:ident, $set1:ident, $fma:ident, $add:ident, $load:ident,
     $store:ident) => {
        use super::super::{NEXT, Step};
        use std::arch::x86_64::*;

        /// See [`super::super::Reduce`].
        #[target_feature(enable = $features)]
        pub unsafe fn tile<const ROWS: usize, const VECS: usize, const APART: usize>(step: &Step<$t>) {
            // SAFETY: the caller vouches for ROWS elements of A and VECS vectors of B at each of the k steps of every
            // term, and for VECS vectors in ROWS rows of C.
            unsafe {
                let mut sum = [[$set0(); VECS]; ROWS];
                for row in 0..ROWS {
                    for v in 0..VECS {
                        _mm_prefetch::<_MM_HINT_T0>(step.c[v].add(row * step.c_stride).cast());
                    }
                }
                let (mut ahead, mut plane, mut line) = (step.ahead.first, 0, step.ahead.first);
                for term in step.terms {
                    let mut a = step.a.add(term.a * step.a_step);
                    let mut b = step.b[0].add(term.b[0]);
                    let second = step.b[1].add(term.b[1]).offset_from(b);
                    let mut left = step.k;
                    while left > 0 {
                        _mm_prefetch::<_MM_HINT_T1>(ahead.cast());
                        (ahead, plane) = (ahead.wrapping_add(step.ahead.stride), plane + 1);
                        if plane == step.ahead.planes {
                            line = line.wrapping_add(64 / size_of::<$t>());
                            (ahead, plane) = (line, 0);
                        }
                        let some = left.min(step.every);
                        for _ in 0..some {
                            if APART == 1 {
                                _mm_prefetch::<_MM_HINT_T0>(a.wrapping_add(NEXT * step.a_step).cast());
                            }
                            let mut x = [$set0(); VECS];
                            for v in 0..VECS {
                                x[v] = $load(b.wrapping_offset(v as isize * second));
                            }
                            for row in 0..ROWS {
                                let y = $set1(*a.add(row * APART));
                                for v in 0..VECS {
                                    sum[row][v] = $fma(y, x[v], sum[row][v]);
                                }
                            }
                            a = a.wrapping_add(step.a_step);
                            b = b.wrapping_add(step.b_step);
                        }
                        left -= some;
                    }
                }
                for row in 0..ROWS {
                    for v in 0..VECS {
                        let c = step.c[v].add(row * step.c_stride);
                        let old = if step.accumulate { $load(c) } else { $set0() };
                        $store(c, $add(old, sum[row][v]));
                    }
                }
            }
        }
    };
}

#[cfg(all(target_arch = "x86_64", feature = "avx512"))]
mod avx512 {
    pub mod single {
        tile!(
            f32,
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
