//! The error function.

use super::{Arch, Real, mul_add, polynomial};

/// The error function: `x + x p(x^2)` below 1, one minus its complement above. Error: f32 1.3 ulp, f64 3 ulp.
#[inline(always)]
pub fn erf<A: Arch, T: Real>(x: T) -> T {
    let a = x.abs();
    let near = mul_add::<A, T>(a, polynomial::<A, T>(a * a, T::ERF), a);
    let far = a.erf_far::<A>();
    if a < T::of(1.0) { near } else { far }.copysign(x)
}
