//! Rows of pixels: those a stride apart brought together, and the way back.

use super::patches::copy_every;
use crate::gemm::Float;
use crate::simd::Level;

/// `out[i] = src[(i - first) * step]` for first <= i < end, zero for the others below len. Arguments: src, step,
/// `[first, end, len]`, out.
pub type Stage<T> = unsafe fn(*const T, usize, [usize; 3], *mut T);

/// `out[2 * x + i] = from[i][x]` below len. Whole vectors of `from` are readable. Arguments: from, len, out.
pub type Weave<T> = unsafe fn([*const T; 2], usize, *mut T);

/// The functions of one level for one type.
pub struct Rows<T> {
    /// Stages a row.
    pub stage: Stage<T>,
    /// Weaves two rows.
    pub weave: Weave<T>,
}

/// The types that have them.
pub trait HasRows: Sized + 'static {
    /// Those of `level`.
    #[doc(hidden)]
    fn rows(level: Level) -> &'static Rows<Self>;
}

macro_rules! has_rows {
    ($t:ty, $module:ident) => {
        impl HasRows for $t {
            fn rows(level: Level) -> &'static Rows<$t> {
                match level {
                    #[cfg(all(target_arch = "x86_64", feature = "avx512"))]
                    Level::Avx512 => &avx512::$module::ROWS,
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx2 => &avx2::$module::ROWS,
                    _ => &Rows { stage: stage::<$t>, weave: weave::<$t> },
                }
            }
        }
    };
}

has_rows!(f32, single);
has_rows!(f64, double);

/// See [`Stage`].
unsafe fn stage<T: Float>(src: *const T, step: usize, [first, end, len]: [usize; 3], out: *mut T) {
    // SAFETY: the caller vouches for `len` elements, and for as many of the source as there are from `first` to `end`.
    unsafe {
        let out = std::slice::from_raw_parts_mut(out, len);
        out[..first].fill(T::ZERO);
        out[end..].fill(T::ZERO);
        match step {
            1 => copy_every::<T, 1>(src, &mut out[first..end]),
            2 => copy_every::<T, 2>(src, &mut out[first..end]),
            step => out[first..end].iter_mut().enumerate().for_each(|(i, x)| *x = *src.add(i * step)),
        }
    }
}

/// See [`Weave`].
unsafe fn weave<T: Float>(from: [*const T; 2], len: usize, out: *mut T) {
    for x in 0..len {
        // SAFETY: the caller vouches for both.
        unsafe { *out.add(x) = *from[x % 2].add(x / 2) };
    }
}

/// The same in a module that names its vectors: `zero`, `load`, `first` (the mask of the first lanes), `load_first`,
/// `store_first`, `evens` (every second lane of two vectors) and `woven` (the lanes of two vectors in turn).
#[cfg(target_arch = "x86_64")]
macro_rules! rows {
    ($t:ty, $lanes:literal, $features:literal) => {
        pub static ROWS: super::super::Rows<$t> = super::super::Rows { stage, weave };

        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn clear(out: *mut $t, len: usize) {
            for at in (0..len).step_by($lanes) {
                // SAFETY: the caller vouches for `len` elements.
                unsafe { store_first(first(len - at), out.add(at), zero()) };
            }
        }

        /// See [`super::super::Stage`].
        #[target_feature(enable = $features)]
        unsafe fn stage(src: *const $t, step: usize, [begin, end, len]: [usize; 3], out: *mut $t) {
            let count = end - begin;
            // SAFETY: the caller vouches for `len` elements, and for as many of the source as are staged; masks keep to
            // them.
            unsafe {
                clear(out, begin);
                clear(out.add(end), len - end);
                let out = out.add(begin);
                match step {
                    1 => {
                        for at in (0..count).step_by($lanes) {
                            let mask = first(count - at);
                            store_first(mask, out.add(at), load_first(mask, src.add(at)));
                        }
                    }
                    2 => {
                        for at in (0..count).step_by($lanes) {
                            let (src, span) = (src.add(2 * at), 2 * $lanes.min(count - at) - 1);
                            let low = load_first(first(span), src);
                            let high =
                                load_first(first(span.saturating_sub($lanes)), src.wrapping_add($lanes));
                            store_first(first(count - at), out.add(at), evens(low, high));
                        }
                    }
                    step => (0..count).for_each(|i| *out.add(i) = *src.add(i * step)),
                }
            }
        }

        /// See [`super::super::Weave`].
        #[target_feature(enable = $features)]
        unsafe fn weave(from: [*const $t; 2], len: usize, out: *mut $t) {
            for at in (0..len).step_by(2 * $lanes) {
                // SAFETY: the caller vouches for whole vectors of both and for `len` elements, to which masks keep.
                unsafe {
                    let [low, high] = woven(load(from[0].add(at / 2)), load(from[1].add(at / 2)));
                    store_first(first(len - at), out.add(at), low);
                    store_first(
                        first((len - at).saturating_sub($lanes)),
                        out.wrapping_add(at + $lanes),
                        high,
                    );
                }
            }
        }
    };
}

#[cfg(all(target_arch = "x86_64", feature = "avx512"))]
mod avx512 {
    pub mod single {
        use crate::gemm::avx512::single::{first, store_first};
        use std::arch::x86_64::{
            __m512 as Vector, _mm512_loadu_ps as load, _mm512_maskz_loadu_ps as load_first,
            _mm512_permutex2var_ps, _mm512_setr_epi32, _mm512_setzero_ps as zero,
        };
        rows!(f32, 16usize, "avx512f,avx2,fma");

        #[inline]
        #[target_feature(enable = "avx512f,avx2,fma")]
        fn evens(a: Vector, b: Vector) -> Vector {
            let index = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
            _mm512_permutex2var_ps(a, index, b)
        }

        #[inline]
        #[target_feature(enable = "avx512f,avx2,fma")]
        fn woven(a: Vector, b: Vector) -> [Vector; 2] {
            let low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
            let high = _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
            [_mm512_permutex2var_ps(a, low, b), _mm512_permutex2var_ps(a, high, b)]
        }
    }

    pub mod double {
        use crate::gemm::avx512::double::{first, store_first};
        use std::arch::x86_64::{
            __m512d as Vector, _mm512_loadu_pd as load, _mm512_maskz_loadu_pd as load_first,
            _mm512_permutex2var_pd, _mm512_setr_epi64, _mm512_setzero_pd as zero,
        };
        rows!(f64, 8usize, "avx512f,avx2,fma");

        #[inline]
        #[target_feature(enable = "avx512f,avx2,fma")]
        fn evens(a: Vector, b: Vector) -> Vector {
            _mm512_permutex2var_pd(a, _mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14), b)
        }

        #[inline]
        #[target_feature(enable = "avx512f,avx2,fma")]
        fn woven(a: Vector, b: Vector) -> [Vector; 2] {
            let low = _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11);
            let high = _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15);
            [_mm512_permutex2var_pd(a, low, b), _mm512_permutex2var_pd(a, high, b)]
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    pub mod single {
        use crate::gemm::avx2::single::{first, load_first, store_first};
        use std::arch::x86_64::{
            __m256 as Vector, _mm256_castpd_ps, _mm256_castps_pd, _mm256_loadu_ps as load,
            _mm256_permute2f128_ps, _mm256_permute4x64_pd, _mm256_setzero_ps as zero, _mm256_shuffle_ps,
            _mm256_unpackhi_ps, _mm256_unpacklo_ps,
        };
        rows!(f32, 8usize, "avx2,fma");

        #[inline]
        #[target_feature(enable = "avx2,fma")]
        fn evens(a: Vector, b: Vector) -> Vector {
            let halves = _mm256_castps_pd(_mm256_shuffle_ps::<0x88>(a, b));
            _mm256_castpd_ps(_mm256_permute4x64_pd::<0xd8>(halves))
        }

        #[inline]
        #[target_feature(enable = "avx2,fma")]
        fn woven(a: Vector, b: Vector) -> [Vector; 2] {
            let (low, high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
            [_mm256_permute2f128_ps::<0x20>(low, high), _mm256_permute2f128_ps::<0x31>(low, high)]
        }
    }

    pub mod double {
        use crate::gemm::avx2::double::{first, load_first, store_first};
        use std::arch::x86_64::{
            __m256d as Vector, _mm256_loadu_pd as load, _mm256_permute2f128_pd, _mm256_permute4x64_pd,
            _mm256_setzero_pd as zero, _mm256_unpackhi_pd, _mm256_unpacklo_pd,
        };
        rows!(f64, 4usize, "avx2,fma");

        #[inline]
        #[target_feature(enable = "avx2,fma")]
        fn evens(a: Vector, b: Vector) -> Vector {
            _mm256_permute4x64_pd::<0xd8>(_mm256_unpacklo_pd(a, b))
        }

        #[inline]
        #[target_feature(enable = "avx2,fma")]
        fn woven(a: Vector, b: Vector) -> [Vector; 2] {
            let (low, high) = (_mm256_unpacklo_pd(a, b), _mm256_unpackhi_pd(a, b));
            [_mm256_permute2f128_pd::<0x20>(low, high), _mm256_permute2f128_pd::<0x31>(low, high)]
        }
    }
}
