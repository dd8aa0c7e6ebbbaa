//! Two f32 instructions in one loop, the value between them staying in a register.
//!
//! Both are rounded, in the order of the program: a pair gives the bits of its instructions one by one. It only saves
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

/// Elements that a loop takes at a time; a scalar operand is given that many times.
pub(super) const LANES: usize = 16;

/// A compiled loop over `n` elements. Operands with step 1 have as many, those with step 0 are one number
/// [`LANES`] times; `dst` overlaps none.
pub(super) type PairLoop = unsafe fn(dst: *mut f32, args: [*const f32; 3], steps: [usize; 3], n: usize);

/// # Safety
/// As [`PairLoop`].
#[inline(always)]
unsafe fn run(
    dst: *mut f32,
    [a, b, c]: [*const f32; 3],
    [sa, sb, sc]: [usize; 3],
    n: usize,
    f: impl Fn(f32, f32, f32) -> f32,
) {
    let chunks = n / LANES;
    // SAFETY: a loop is called with n elements, or one chunk where the step is 0.
    unsafe {
        for k in (0..chunks).map(|k| k * LANES) {
            let chunk = |p: *const f32, step: usize| *p.add(k * step).cast::<[f32; LANES]>();
            let (x, y, z) = (chunk(a, sa), chunk(b, sb), chunk(c, sc));
            let mut out = [0f32; LANES];
            for l in 0..LANES {
                out[l] = f(x[l], y[l], z[l]);
            }
            *dst.add(k).cast::<[f32; LANES]>() = out;
        }
        for i in chunks * LANES..n {
            *dst.add(i) = f(*a.add(i * sa), *b.add(i * sb), *c.add(i * sc));
        }
    }
}

macro_rules! level {
    ($module:ident $(, $features:literal)?) => {
        mod $module {
            use super::*;

            level!(@pair mul_add($($features)?) |a, b, c| a * b + c);
            level!(@pair mul_sub($($features)?) |a, b, c| a * b - c);
            level!(@pair sub_from($($features)?) |a, b, c| c - a * b);
            level!(@pair mul_mul($($features)?) |a, b, c| a * b * c);
            level!(@pair mul_div($($features)?) |a, b, c| a * b / c);
            level!(@pair add_mul($($features)?) |a, b, c| (a + b) * c);
            level!(@pair sub_mul($($features)?) |a, b, c| (a - b) * c);

            pub(super) fn of(pair: Pair) -> PairLoop {
                match pair {
                    Pair::MulAdd => mul_add,
                    Pair::MulSub => mul_sub,
                    Pair::SubFrom => sub_from,
                    Pair::MulMul => mul_mul,
                    Pair::MulDiv => mul_div,
                    Pair::AddMul => add_mul,
                    Pair::SubMul => sub_mul,
                }
            }
        }
    };
    (@pair $name:ident($($features:literal)?) |$a:ident, $b:ident, $c:ident| $body:expr) => {
        /// # Safety
        /// As [`PairLoop`]; the machine has the level's features.
        $(#[target_feature(enable = $features)])?
        unsafe fn $name(dst: *mut f32, args: [*const f32; 3], steps: [usize; 3], n: usize) {
            // SAFETY: the caller's promise.
            unsafe { run(dst, args, steps, n, |$a, $b, $c| $body) }
        }
    };
}

level!(portable);
#[cfg(target_arch = "x86_64")]
level!(avx2, "avx2,fma");
#[cfg(all(target_arch = "x86_64", feature = "avx512"))]
level!(avx512, "avx512f,avx512bw,avx512dq,avx512vl,fma");

/// The loop of a pair.
pub(super) fn pair_loop(pair: Pair, level: Level) -> PairLoop {
    match level {
        Level::Portable => portable::of(pair),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => avx2::of(pair),
        #[cfg(all(target_arch = "x86_64", feature = "avx512"))]
        Level::Avx512 => avx512::of(pair),
        #[cfg(not(all(target_arch = "x86_64", feature = "avx512")))]
        _ => portable::of(pair),
    }
}
