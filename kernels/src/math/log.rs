//! Logarithms.

use super::{Arch, Real, exp, mul_add, polynomial};

/// `k log 2 + log(1 + f) + c` for `sqrt(1/2) <= 1 + f < sqrt(2)` and a tiny `c`, by the series of `atanh(f / (2 + f))`.
///
/// The largest term, `f`, enters unrounded, as in the C library of Sun Microsystems (1993).
#[inline(always)]
fn assemble<A: Arch, T: Real>(k: T, f: T, c: T) -> T {
    let s = f / (T::of(2.0) + f);
    let z = s * s;
    let half_square = T::of(0.5) * f * f;
    let tail = z * polynomial::<A, T>(z, T::LOG);
    let low = mul_add::<A, T>(s, half_square + tail, mul_add::<A, T>(k, T::LN2[1], c));
    mul_add::<A, T>(k, T::LN2[0], f - (half_square - low))
}

/// The limits of `result` at the edge `x = at`, where the logarithm is minus infinity, and beyond.
#[inline(always)]
fn edges<T: Real>(x: T, at: T, result: T) -> T {
    let below = if x == at { -T::INFINITY } else { T::NAN };
    let inside = if x == T::INFINITY { x } else { result };
    if x > at { inside } else { below }
}

/// Natural logarithm. Error: f32 0.9 ulp, f64 1 ulp.
#[inline(always)]
pub fn log<A: Arch, T: Real>(x: T) -> T {
    let (k, m) = x.split();
    edges(x, T::of(0.0), assemble::<A, T>(k, m - T::of(1.0), T::of(0.0)))
}

/// `log(1 + x)`, precise near 0. Error: f32 0.9 ulp, f64 1 ulp.
#[inline(always)]
pub fn log1p<A: Arch, T: Real>(x: T) -> T {
    let one = T::of(1.0);
    let u = one + x;
    let (k, m) = u.split();
    // What rounding `1 + x` lost, relative to it. Without an exponent `x` itself is the reduced argument.
    let lost = if x > one { one - (u - x) } else { x - (u - one) } / u;
    let reduced = k == T::of(0.0);
    let c = if reduced { T::of(0.0) } else { lost };
    let f = if reduced { x } else { m - one };
    let result = edges(x, -one, assemble::<A, T>(k, f, c));
    if x.abs() < T::TINY { x } else { result }
}

/// `log(1 + exp(x))`, as `max(x, 0) + log1p(exp(-|x|))`. Error: f32 1.7 ulp, f64 2 ulp.
#[inline(always)]
pub fn softplus<A: Arch, T: Real>(x: T) -> T {
    let positive = if x > T::of(0.0) { x } else { T::of(0.0) };
    positive + exp::<A, T>(-x.abs()).log1p_fraction::<A>()
}
