//! Sine and cosine.

use super::{Arch, Real, mul_add, polynomial};

/// pi / 2 in three pieces: the products of the first two with integers below 2^20 are exact, the third is rounded.
const HALF_PI: [f64; 3] = [1.5707963267341256, 6.077100506303966e-11, 2.0222662487959506e-21];

/// Sine and cosine of one float type.
pub trait Trig: Real {
    /// The functions hold up to this magnitude; beyond (and for infinities) use the standard library's.
    const LIMIT: Self;

    /// Sine of radians. Error: f32 1.5 ulp, f64 1 ulp.
    fn sin<A: Arch>(x: Self) -> Self;
    /// Cosine of radians. Error: f32 1.5 ulp, f64 1 ulp.
    fn cos<A: Arch>(x: Self) -> Self;
    /// Sine for any argument, by the standard library.
    fn sin_any(x: Self) -> Self;
    /// Cosine for any argument, by the standard library.
    fn cos_any(x: Self) -> Self;
}

/// Sine and cosine of `r + tail`, `|r| <= pi / 4`, the tail below the last place of `r`.
#[inline(always)]
pub(crate) fn reduced_sin_cos<A: Arch, T: Real>(r: T, tail: T) -> (T, T) {
    let z = r * r;
    let half = T::of(0.5) * z;
    let one = T::of(1.0);
    let low = mul_add::<A, T>(r * z, polynomial::<A, T>(z, T::SIN), mul_add::<A, T>(-half, tail, tail));
    let sin = if r == T::of(0.0) { r } else { r + low };
    let high = one - half;
    let low = mul_add::<A, T>(z * z, polynomial::<A, T>(z, T::COS), -(r * tail));
    (sin, high + (((one - high) - half) + low))
}

/// The sine of an angle `quadrant` quarter turns beyond one with these sine and cosine.
#[inline(always)]
pub(crate) fn turned<T: Real>(quadrant: u32, sin: T, cos: T) -> T {
    let value = if quadrant & 1 == 0 { sin } else { cos };
    if quadrant & 2 == 0 { value } else { -value }
}

/// The multiple of pi / 2 nearest to `x`: its number, as a float and in the low bits of an integer.
#[inline(always)]
fn quadrant<A: Arch>(x: f64) -> (f64, u32) {
    let n = mul_add::<A, f64>(x, std::f64::consts::FRAC_2_PI, f64::MAGIC);
    (n - f64::MAGIC, n.to_bits() as u32)
}

/// The reduction of an f32 in f64, where two pieces of pi / 2 are enough.
#[inline(always)]
fn sin_f32<A: Arch>(x: f32, quarter: u32) -> f32 {
    let (n, q) = quadrant::<A>(x as f64);
    let r = (x as f64 - n * HALF_PI[0]) - n * HALF_PI[1];
    let (sin, cos) = reduced_sin_cos::<A, f32>(r as f32, 0.0);
    turned(q.wrapping_add(quarter), sin, cos)
}

/// The reduction of an f64 with a tail (Cody and Waite, in three pieces).
#[inline(always)]
fn sin_f64<A: Arch>(x: f64, quarter: u32) -> f64 {
    let (n, q) = quadrant::<A>(x);
    let t = x - n * HALF_PI[0];
    let w = n * HALF_PI[1];
    let r = t - w;
    let lost = (t - r) - w;
    let w = n * HALF_PI[2] - lost;
    let high = r - w;
    let tail = (r - high) - w;
    let (sin, cos) = reduced_sin_cos::<A, f64>(high, tail);
    turned(q.wrapping_add(quarter), sin, cos)
}

impl Trig for f32 {
    const LIMIT: f32 = 1e6;

    #[inline(always)]
    fn sin<A: Arch>(x: f32) -> f32 {
        // Where the reduction gives r = x; it would lose the sign of -0.
        if x.abs() < f32::TINY { x } else { sin_f32::<A>(x, 0) }
    }
    #[inline(always)]
    fn cos<A: Arch>(x: f32) -> f32 {
        sin_f32::<A>(x, 1)
    }
    fn sin_any(x: f32) -> f32 {
        (x as f64).sin() as f32
    }
    fn cos_any(x: f32) -> f32 {
        (x as f64).cos() as f32
    }
}

impl Trig for f64 {
    const LIMIT: f64 = 1e6;

    #[inline(always)]
    fn sin<A: Arch>(x: f64) -> f64 {
        if x.abs() < f64::TINY { x } else { sin_f64::<A>(x, 0) }
    }
    #[inline(always)]
    fn cos<A: Arch>(x: f64) -> f64 {
        sin_f64::<A>(x, 1)
    }
    fn sin_any(x: f64) -> f64 {
        x.sin()
    }
    fn cos_any(x: f64) -> f64 {
        x.cos()
    }
}
