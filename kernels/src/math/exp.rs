//! The exponential and what is made of it.

use super::{Arch, Real, mul_add, polynomial};

/// `x = n log 2 + r` with `n` an integer and `|r| <= log(2) / 2` (Cody and Waite): `(n, r)`.
#[inline(always)]
pub(super) fn reduce<A: Arch, T: Real>(x: T) -> (T, T) {
    let n = mul_add::<A, T>(x, T::of(std::f64::consts::LOG2_E), T::MAGIC) - T::MAGIC;
    let r = mul_add::<A, T>(n, -T::LN2[0], x);
    (n, mul_add::<A, T>(n, -T::LN2[1], r))
}

/// [`reduce`] for an `x` such that 2 to the power `n + more` is a normal number: that power, and `r`.
#[inline(always)]
fn reduce_small<A: Arch, T: Real>(x: T, more: i32) -> (T, T) {
    let magic = T::POWER_MAGIC + T::of(more.into());
    let sum = mul_add::<A, T>(x, T::of(std::f64::consts::LOG2_E), magic);
    let n = sum - magic;
    let r = mul_add::<A, T>(n, -T::LN2[0], x);
    (sum.power(), mul_add::<A, T>(n, -T::LN2[1], r))
}

/// `exp(r) - 1` for a reduced `r`.
#[inline(always)]
pub(super) fn reduced_expm1<A: Arch, T: Real>(r: T) -> T {
    mul_add::<A, T>(r * r, polynomial::<A, T>(r, T::EXP), r)
}

/// `x * 2^n`, rounded once also where the result is subnormal.
#[inline(always)]
pub(super) fn scale<A: Arch, T: Real>(x: T, n: T) -> T {
    // Two powers, each within the exponents of normal numbers: all sums are of integers, and exact.
    let half = mul_add::<A, T>(n, T::of(0.5), T::POWER_MAGIC);
    let rest = (n - half) + (T::POWER_MAGIC + T::POWER_MAGIC);
    x * half.power() * rest.power()
}

/// `x` between `lo` and `hi`; NaN stays.
#[inline(always)]
pub(super) fn clamp<T: Real>(x: T, lo: T, hi: T) -> T {
    let x = if x > hi { hi } else { x };
    if x < lo { lo } else { x }
}

/// e to the x. Error: f32 1.1 ulp, f64 1 ulp.
#[inline(always)]
pub fn exp<A: Arch, T: Real>(x: T) -> T {
    let (n, r) = reduce::<A, T>(clamp(x, T::EXP_RANGE[0], T::EXP_RANGE[1]));
    scale::<A, T>(T::of(1.0) + reduced_expm1::<A, T>(r), n)
}

/// `exp(x) - 1`, precise near 0. Error: f32 1.7 ulp, f64 2 ulp.
#[inline(always)]
pub fn expm1<A: Arch, T: Real>(x: T) -> T {
    let (n, r) = reduce::<A, T>(clamp(x, T::SATURATED[0], T::EXP_RANGE[1]));
    // Half the result, because 2^n itself may overflow where exp(x) does not.
    let half_power = (n - T::of(1.0)).exp2_integer();
    let half = mul_add::<A, T>(half_power, reduced_expm1::<A, T>(r), half_power - T::of(0.5));
    if x.abs() < T::TINY { x } else { half + half }
}

/// Hyperbolic tangent: `m / (m + 2)` with `m = exp(2 x) - 1`. Error: f32 2.5 ulp, f64 3 ulp.
#[inline(always)]
pub fn tanh<A: Arch, T: Real>(x: T) -> T {
    let a = x.abs();
    let a = if a > T::SATURATED[1] { T::SATURATED[1] } else { a };
    // As `expm1`, which has numbers beyond these to think of, and zeros with a sign.
    let (power, r) = reduce_small::<A, T>(a + a, 0);
    let m = mul_add::<A, T>(power, reduced_expm1::<A, T>(r), power - T::of(1.0));
    (m / (m + T::of(2.0))).copysign(x)
}

/// `1 / (1 + exp(-x))`, with full precision down to the smallest results. Error: f32 2.4 ulp, f64 3 ulp.
#[inline(always)]
pub fn sigmoid<A: Arch, T: Real>(x: T) -> T {
    /// So much larger, what is subnormal is a normal number: it is rounded once.
    const LARGER: i32 = 64;
    let a = -x.abs();
    let a = if a < T::EXP_RANGE[0] { T::EXP_RANGE[0] } else { a };
    let (power, r) = reduce_small::<A, T>(a, LARGER);
    let e = (T::of(1.0) + reduced_expm1::<A, T>(r)) * power * T::of(1.0 / (1u128 << LARGER) as f64);
    let numerator = if x >= T::of(0.0) { T::of(1.0) } else { e };
    numerator / (T::of(1.0) + e)
}
