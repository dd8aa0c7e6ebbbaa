//! Two f32 instructions in one loop, the value between them staying in a register; and the longer phrases that
//! optimizers and averages are made of.
//!
//! All are rounded, in the order of the program: a pair gives the bits of its instructions one by one. It only saves
//! a store and a load of each element, which is most of what an instruction costs.

use crate::program::Binary;
use crate::simd::Level;

/// `(a first b) second c`, or `c second (a first b)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pair {
    /// `a b + c`.
    MulAdd,
    /// `a b - c`.
    MulSub,
    /// `c - a b`.
    SubFrom,
    /// `a b c`.
    MulMul,
    /// `a b / c`.
    MulDiv,
    /// `(a + b) c`.
    AddMul,
    /// `(a - b) c`.
    SubMul,
    /// `a b + c d`.
    Blend,
    /// `a b + c d e`.
    BlendProduct,
    /// `a - b c / (sqrt(d) e + f)`.
    SubRatio,
}

impl Pair {
    /// The pair of `first` and `second`, whose left operand is the result of `first` if `left`, else the right one.
    pub(super) fn of(first: Binary, second: Binary, left: bool) -> Option<Pair> {
        match (first, second, left) {
            (Binary::Mul, Binary::Add, _) => Some(Pair::MulAdd),
            (Binary::Mul, Binary::Sub, true) => Some(Pair::MulSub),
            (Binary::Mul, Binary::Sub, false) => Some(Pair::SubFrom),
            (Binary::Mul, Binary::Mul, _) => Some(Pair::MulMul),
            (Binary::Mul, Binary::Div, true) => Some(Pair::MulDiv),
            (Binary::Add, Binary::Mul, _) => Some(Pair::AddMul),
            (Binary::Sub, Binary::Mul, _) => Some(Pair::SubMul),
            _ => None,
        }
    }
}

/// Operands of the longest.
pub(super) const MOST_ARGS: usize = 6;

/// Elements that a loop takes at a time; a scalar operand is given that many times.
pub(super) const LANES: usize = 16;

/// A compiled loop over `n` elements. Operands with step 1 have as many, those with step 0 are one number
/// [`LANES`] times; `dst` overlaps none, or is one exactly.
pub(super) type PairLoop =
    unsafe fn(dst: *mut f32, args: [*const f32; MOST_ARGS], steps: [usize; MOST_ARGS], n: usize);

/// The loop of a pair, among those of a module.
macro_rules! by_pair {
    () => {
        pub(super) fn of(pair: Pair) -> PairLoop {
            match pair {
                Pair::MulAdd => mul_add,
                Pair::MulSub => mul_sub,
                Pair::SubFrom => sub_from,
                Pair::MulMul => mul_mul,
                Pair::MulDiv => mul_div,
                Pair::AddMul => add_mul,
                Pair::SubMul => sub_mul,
                Pair::Blend => blend,
                Pair::BlendProduct => blend_product,
                Pair::SubRatio => sub_ratio,
            }
        }
    };
}

/// The loops of one level, out of its vectors of `$lanes` numbers. Written with the vectors themselves: steps that are
/// known only at run time keep a compiler from finding them.
macro_rules! level {
    ($module:ident, $features:literal, $lanes:literal,
     $load:ident, $store:ident, $add:ident, $sub:ident, $mul:ident, $div:ident, $sqrt:ident) => {
        #[cfg(target_arch = "x86_64")]
        mod $module {
            use super::*;
            use std::arch::x86_64::*;

            by_pair!();

            level!(@pair mul_add $features $lanes $load $store |a 0, b 1, c 2| $add($mul(a, b), c));
            level!(@pair mul_sub $features $lanes $load $store |a 0, b 1, c 2| $sub($mul(a, b), c));
            level!(@pair sub_from $features $lanes $load $store |a 0, b 1, c 2| $sub(c, $mul(a, b)));
            level!(@pair mul_mul $features $lanes $load $store |a 0, b 1, c 2| $mul($mul(a, b), c));
            level!(@pair mul_div $features $lanes $load $store |a 0, b 1, c 2| $div($mul(a, b), c));
            level!(@pair add_mul $features $lanes $load $store |a 0, b 1, c 2| $mul($add(a, b), c));
            level!(@pair sub_mul $features $lanes $load $store |a 0, b 1, c 2| $mul($sub(a, b), c));
            level!(@pair blend $features $lanes $load $store
                |a 0, b 1, c 2, d 3| $add($mul(a, b), $mul(c, d)));
            level!(@pair blend_product $features $lanes $load $store
                |a 0, b 1, c 2, d 3, e 4| $add($mul(a, b), $mul($mul(c, d), e)));
            level!(@pair sub_ratio $features $lanes $load $store
                |a 0, b 1, c 2, d 3, e 4, f 5| $sub(a, $div($mul(b, c), $add($mul($sqrt(d), e), f))));
        }
    };
    (@pair $name:ident $features:literal $lanes:literal $load:ident $store:ident
     |$($a:ident $k:literal),*| $body:expr) => {
        /// # Safety
        /// As [`PairLoop`]; the machine has the level's features.
        #[target_feature(enable = $features)]
        unsafe fn $name(dst: *mut f32, args: [*const f32; MOST_ARGS], steps: [usize; MOST_ARGS], n: usize) {
            let whole = n / $lanes * $lanes;
            for i in (0..whole).step_by($lanes) {
                // SAFETY: a loop is called with n elements, or one chunk where the step is 0.
                unsafe {
                    $(let $a = $load(args[$k].add(i * steps[$k]));)*
                    $store(dst.add(i), $body);
                }
            }
            // SAFETY: as above; the rest is shorter than a chunk.
            unsafe { rest::$name(dst.add(whole), std::array::from_fn(|k| args[k].wrapping_add(whole * steps[k])), steps, n - whole) }
        }
    };
}

#[cfg(feature = "avx512")]
level!(
    avx512,
    "avx512f,avx512bw,avx512dq,avx512vl,fma",
    16,
    _mm512_loadu_ps,
    _mm512_storeu_ps,
    _mm512_add_ps,
    _mm512_sub_ps,
    _mm512_mul_ps,
    _mm512_div_ps,
    _mm512_sqrt_ps
);
level!(
    avx2,
    "avx2,fma",
    8,
    _mm256_loadu_ps,
    _mm256_storeu_ps,
    _mm256_add_ps,
    _mm256_sub_ps,
    _mm256_mul_ps,
    _mm256_div_ps,
    _mm256_sqrt_ps
);

/// The portable loops, and what is left of the others.
mod rest {
    use super::*;

    by_pair!();

    macro_rules! pair {
        ($name:ident |$($a:ident $k:literal),*| $body:expr) => {
            /// # Safety
            /// As [`PairLoop`].
            pub(super) unsafe fn $name(
                dst: *mut f32,
                args: [*const f32; MOST_ARGS],
                steps: [usize; MOST_ARGS],
                n: usize,
            ) {
                for i in 0..n {
                    // SAFETY: a loop is called with n elements, or at least one where the step is 0.
                    unsafe {
                        $(let $a = *args[$k].add(i * steps[$k]);)*
                        *dst.add(i) = $body;
                    }
                }
            }
        };
    }

    pair!(mul_add |a 0, b 1, c 2| a * b + c);
    pair!(mul_sub |a 0, b 1, c 2| a * b - c);
    pair!(sub_from |a 0, b 1, c 2| c - a * b);
    pair!(mul_mul |a 0, b 1, c 2| a * b * c);
    pair!(mul_div |a 0, b 1, c 2| a * b / c);
    pair!(add_mul |a 0, b 1, c 2| (a + b) * c);
    pair!(sub_mul |a 0, b 1, c 2| (a - b) * c);
    pair!(blend |a 0, b 1, c 2, d 3| a * b + c * d);
    pair!(blend_product |a 0, b 1, c 2, d 3, e 4| a * b + c * d * e);
    pair!(sub_ratio |a 0, b 1, c 2, d 3, e 4, f 5| a - b * c / (d.sqrt() * e + f));
}

/// The loop of a pair.
pub(super) fn pair_loop(pair: Pair, level: Level) -> PairLoop {
    match level {
        Level::Portable => rest::of(pair),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => avx2::of(pair),
        #[cfg(all(target_arch = "x86_64", feature = "avx512"))]
        Level::Avx512 => avx512::of(pair),
        #[cfg(not(all(target_arch = "x86_64", feature = "avx512")))]
        _ => rest::of(pair),
    }
}
