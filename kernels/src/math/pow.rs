//! Powers.

use super::exp::{clamp, reduce, reduced_expm1, scale};
use super::{Arch, Real, exp, log, mul_add, polynomial};

/// Powers of one float type.
pub trait Pow: Real {
    /// `x` to the power `y`, with the special cases of IEEE 754 (section 9.2.1). Error: f32 0.51 ulp, f64 1 ulp.
    fn pow<A: Arch>(x: Self, y: Self) -> Self;
}

impl Pow for f32 {
    #[inline(always)]
    fn pow<A: Arch>(x: f32, y: f32) -> f32 {
        let magnitude = exp::<A, f64>(y as f64 * log::<A, f64>(x.abs() as f64)) as f32;
        special_cases(x, y, magnitude, 1.0f32.copysign(x) < 0.0)
    }
}

impl Pow for f64 {
    #[inline(always)]
    fn pow<A: Arch>(x: f64, y: f64) -> f64 {
        let (high, low) = wide_log::<A>(x.abs());
        let (product, error) = two_product::<A>(y, high);
        let small = product.abs() < 800.0;
        let error = if small { mul_add::<A, f64>(y, low, error) } else { 0.0 };
        let (n, r) = reduce::<A, f64>(clamp(product, f64::EXP_RANGE[0], f64::EXP_RANGE[1]));
        let magnitude = scale::<A, f64>(1.0 + reduced_expm1::<A, f64>(r + error), n);
        special_cases(x, y, magnitude, 1.0f64.copysign(x) < 0.0)
    }
}

/// The result for `x`, `y` from the power of `|x|`; `negative` is the sign bit of `x`.
#[inline(always)]
fn special_cases<T: Real>(x: T, y: T, magnitude: T, negative: bool) -> T {
    let (zero, one) = (T::of(0.0), T::of(1.0));
    let whole = nearest(y) == y;
    let half = y * T::of(0.5);
    // From 2^(fraction bits + 1) on, every number is even.
    let odd = whole & (nearest(half) != half) & (y.abs() * T::TINY < one);
    let signed = if negative & odd { -magnitude } else { magnitude };
    let defined = !negative | whole | (x == zero) | (x == -T::INFINITY);
    let result = if defined { signed } else { T::NAN };
    let result = if (x == -one) & (y.abs() == T::INFINITY) { one } else { result };
    let result = if x.is_nan() | y.is_nan() { x + y } else { result };
    if (y == zero) | (x == one) { one } else { result }
}

/// The nearest integer.
#[inline(always)]
fn nearest<T: Real>(v: T) -> T {
    // 2 to the number of fraction bits: from here on every number is an integer.
    let unit = T::of(0.5) / T::TINY;
    let a = v.abs();
    if a < unit { (a + unit) - unit } else { a }.copysign(v)
}

/// `a * b` and its rounding error (Dekker 1971, where no fused multiply-add has it directly).
#[inline(always)]
fn two_product<A: Arch>(a: f64, b: f64) -> (f64, f64) {
    let product = a * b;
    if A::FMA {
        return (product, a.mul_add(b, -product));
    }
    let halves = |v: f64| {
        let c = 134_217_729.0 * v;
        let high = c - (c - v);
        (high, v - high)
    };
    let ((ah, al), (bh, bl)) = (halves(a), halves(b));
    (product, ((ah * bh - product) + ah * bl + al * bh) + al * bl)
}

/// The natural logarithm as a sum of two numbers, with about 11 bits more than one.
///
/// `2 s + s z (2/3 + z t(z))` with `s = (m - 1) / (m + 1)`, `z = s^2`: all but `z t(z)` in double length.
#[inline(always)]
fn wide_log<A: Arch>(x: f64) -> (f64, f64) {
    /// `(2 atanh(s) / s - 2 - 2/3 z) / z^2` in `z = s^2`.
    const TAIL: [f64; 8] = [
        4.0e-1,
        2.857142857142937e-1,
        2.2222222221652765e-1,
        1.8181818336099848e-1,
        1.538459488700718e-1,
        1.333480879881234e-1,
        1.1706126464563398e-1,
        1.1724327060846747e-1,
    ];
    const THIRDS: [f64; 2] = [2.0 / 3.0, 3.700743415417188e-17];
    let (k, m) = x.split();
    let f = m - 1.0;
    let d = m + 1.0;
    let d_low = m - (d - 1.0);
    let s = f / d;
    let (p, e) = two_product::<A>(s, d);
    let s_low = (((f - p) - e) - s * d_low) / d;
    let (z, e) = two_product::<A>(s, s);
    let z_low = e + 2.0 * s * s_low;
    let u = z * polynomial::<A, f64>(z, &TAIL);
    let inner = THIRDS[0] + u;
    let inner_low = ((THIRDS[0] - inner) + u) + THIRDS[1];
    let (v, e) = two_product::<A>(z, inner);
    let v_low = e + z * inner_low + z_low * inner;
    let w = 2.0 + v;
    let w_low = ((2.0 - w) + v) + v_low;
    let (l, e) = two_product::<A>(s, w);
    let l_low = e + s * w_low + s_low * w;
    let base = k * f64::LN2[0];
    let high = base + l;
    let low = (l - (high - base)) + l_low + k * f64::LN2[1];
    // Zero, infinity and NaN have no mantissa to speak of.
    let ordinary = (x > 0.0) & (x < f64::INFINITY);
    let edge = if x == 0.0 { -f64::INFINITY } else { x };
    (if ordinary { high } else { edge }, if ordinary { low } else { 0.0 })
}
