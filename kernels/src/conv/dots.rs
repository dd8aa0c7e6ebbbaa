//! The micro-kernel of inner products along rows of pixels: some rows of one operand with some of another, a vector
//! of partial sums for each pair in a register.

use crate::simd::Level;

/// The most taps of a tile.
pub const TAPS: usize = 4;

/// What the micro-kernel does: `sums[row, tap, lane] (+)= sum y[row, line, i * LANES + lane] x[tap, line, i * LANES + lane]`
/// over lines and i.
pub struct Lines<T> {
    /// Line 0 of row 0.
    pub y: *const T,
    /// Elements from one row to the next, and from one line to the next.
    pub y_step: [usize; 2],
    /// Line 0.
    pub x: *const T,
    /// Elements from there to each tap.
    pub taps: [usize; TAPS],
    /// Elements of x from one line to the next.
    pub x_line: usize,
    /// Lines, and vectors of each.
    pub count: [usize; 2],
    /// One vector for each row and tap.
    pub sums: *mut T,
    /// Whether to add to the sums or to overwrite them.
    pub accumulate: bool,
    /// What will be needed later: as many adjacent vectors as there are here. Any address will do.
    pub ahead: *const T,
}

/// Adds up some [`Lines`]; rows and taps are fixed by the place in [`HasDots::dots`]. Every lane is one chain of
/// multiply-adds.
pub type Dots<T> = unsafe fn(&Lines<T>);

/// The types that have the micro-kernel.
pub trait HasDots: Sized {
    /// The micro-kernels of `level`: `[rows - 1][taps - 1]`.
    #[doc(hidden)]
    fn dots(level: Level) -> &'static [[Dots<Self>; TAPS]];
}

/// The table of a function `tile::<rows, taps>`.
macro_rules! table {
    ($tile:path; $($rows:literal)*) => {{
        use $tile as tile;
        &[$([tile::<$rows, 1>, tile::<$rows, 2>, tile::<$rows, 3>, tile::<$rows, 4>]),*]
    }};
}

macro_rules! has_dots {
    ($t:ty, $module:ident) => {
        impl HasDots for $t {
            fn dots(level: Level) -> &'static [[Dots<$t>; TAPS]] {
                match level {
                    #[cfg(all(target_arch = "x86_64", feature = "avx512"))]
                    Level::Avx512 => table!(avx512::$module::tile; 1 2 3 4 5 6),
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx2 => table!(avx2::$module::tile; 1 2 3),
                    _ => table!(portable::$module::tile; 1 2 3),
                }
            }
        }
    };
}

has_dots!(f32, single);
has_dots!(f64, double);

/// The tile in a module that names its vectors: `Vector`, `zero`, `load`, `store`, `multiply_add`.
macro_rules! tile {
    ($t:ty, $lanes:literal $(, $features:literal)?) => {
        use super::super::Lines;

        /// See [`super::super::Dots`].
        $(#[target_feature(enable = $features)])?
        pub unsafe fn tile<const ROWS: usize, const TAPS: usize>(lines: &Lines<$t>) {
            // SAFETY: the caller vouches for all vectors of ROWS rows and TAPS taps, and for a sum of each pair.
            unsafe {
                let mut sum = [[zero(); TAPS]; ROWS];
                if lines.accumulate {
                    for (row, sum) in sum.iter_mut().enumerate() {
                        for (tap, sum) in sum.iter_mut().enumerate() {
                            *sum = load(lines.sums.add((row * TAPS + tap) * $lanes));
                        }
                    }
                }
                let mut ahead = lines.ahead;
                for line in 0..lines.count[0] {
                    let mut y = lines.y.add(line * lines.y_step[1]);
                    let mut x = lines.x.add(line * lines.x_line);
                    for _ in 0..lines.count[1] {
                        later(ahead);
                        let mut seen = [zero(); TAPS];
                        for (tap, seen) in seen.iter_mut().enumerate() {
                            *seen = load(x.wrapping_add(lines.taps[tap]));
                        }
                        for row in 0..ROWS {
                            let y = load(y.wrapping_add(row * lines.y_step[0]));
                            for tap in 0..TAPS {
                                sum[row][tap] = multiply_add(y, seen[tap], sum[row][tap]);
                            }
                        }
                        ahead = ahead.wrapping_add($lanes);
                        (x, y) = (x.wrapping_add($lanes), y.wrapping_add($lanes));
                    }
                }
                for (row, sum) in sum.into_iter().enumerate() {
                    for (tap, sum) in sum.into_iter().enumerate() {
                        store(lines.sums.add((row * TAPS + tap) * $lanes), sum);
                    }
                }
            }
        }
    };
}

/// Asks for a line of the second-level cache.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn later<T>(at: *const T) {
    use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
    // SAFETY: a hint that reads nothing.
    unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) }
}

#[cfg(all(target_arch = "x86_64", feature = "avx512"))]
mod avx512 {
    pub mod single {
        use super::super::later;
        use std::arch::x86_64::{
            _mm512_fmadd_ps as multiply_add, _mm512_loadu_ps as load, _mm512_setzero_ps as zero,
            _mm512_storeu_ps as store,
        };
        tile!(f32, 16, "avx512f");
    }

    pub mod double {
        use super::super::later;
        use std::arch::x86_64::{
            _mm512_fmadd_pd as multiply_add, _mm512_loadu_pd as load, _mm512_setzero_pd as zero,
            _mm512_storeu_pd as store,
        };
        tile!(f64, 8, "avx512f");
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    pub mod single {
        use super::super::later;
        use std::arch::x86_64::{
            _mm256_fmadd_ps as multiply_add, _mm256_loadu_ps as load, _mm256_setzero_ps as zero,
            _mm256_storeu_ps as store,
        };
        tile!(f32, 8, "avx2,fma");
    }

    pub mod double {
        use super::super::later;
        use std::arch::x86_64::{
            _mm256_fmadd_pd as multiply_add, _mm256_loadu_pd as load, _mm256_setzero_pd as zero,
            _mm256_storeu_pd as store,
        };
        tile!(f64, 4, "avx2,fma");
    }
}

mod portable {
    macro_rules! vectors {
        ($t:ty, $lanes:literal) => {
            type Vector = [$t; $lanes];

            fn zero() -> Vector {
                [0.0; $lanes]
            }

            fn multiply_add(x: Vector, y: Vector, z: Vector) -> Vector {
                std::array::from_fn(|lane| super::multiply_add(x[lane], y[lane], z[lane]))
            }

            unsafe fn load(from: *const $t) -> Vector {
                // SAFETY: the caller vouches for a vector.
                unsafe { from.cast::<Vector>().read() }
            }

            unsafe fn store(to: *mut $t, x: Vector) {
                // SAFETY: as above.
                unsafe { to.cast::<Vector>().write(x) }
            }

            fn later(_: *const $t) {}

            tile!($t, $lanes);
        };
    }

    use crate::gemm::portable::multiply_add;

    pub mod single {
        vectors!(f32, 4);
    }

    pub mod double {
        vectors!(f64, 2);
    }
}
