//! The inner loop of every instruction, compiled once per instruction-set level.
//!
//! Each loop is a plain `for` over a function of one element; what makes it fast is that the whole is compiled inside
//! a function with the level's `#[target_feature]`, where the compiler turns it into full-width vector code. No
//! multiply and add of two instructions ever meet in one loop, so none can be contracted.

#[cfg(target_arch = "x86_64")]
use crate::math::Avx2;
#[cfg(all(target_arch = "x86_64", feature = "avx512"))]
use crate::math::Avx512;
use crate::math::{Arch, Portable};
use crate::simd::Level;

/// A compiled loop: `dst[i] = f(a[i], b[i], c[i])` for `i < n`, on the types it was chosen for.
///
/// Operands that the function does not have are ignored. `dst` overlaps no operand, or `n <= 1`.
pub(crate) type Loop = unsafe fn(dst: *mut u8, a: *const u8, b: *const u8, c: *const u8, n: usize);

/// A function of one element.
pub(super) trait Fn1<T: Copy> {
    type Out: Copy;
    fn call<A: Arch>(x: T) -> Self::Out;
    /// Recomputes the elements for which `call` does not hold; there mostly are none.
    #[inline(always)]
    fn repair(_out: &mut [Self::Out], _x: &[T]) {}
}

/// A function of two elements.
pub(super) trait Fn2<T: Copy> {
    type Out: Copy;
    fn call<A: Arch>(a: T, b: T) -> Self::Out;
}

/// Element `i` of `p`, or its only one.
///
/// # Safety
/// That element is readable.
#[inline(always)]
unsafe fn at<T: Copy, const SCALAR: bool>(p: *const T, first: T, i: usize) -> T {
    // SAFETY: the caller's promise.
    if SCALAR { first } else { unsafe { *p.add(i) } }
}

/// # Safety
/// As [`Loop`].
#[inline(always)]
unsafe fn map1<A: Arch, T: Copy, F: Fn1<T>>(dst: *mut u8, a: *const u8, n: usize) {
    // SAFETY: a loop is called with n elements of these types, not overlapping.
    let (dst, a) = unsafe {
        (
            std::slice::from_raw_parts_mut(dst.cast::<F::Out>(), n),
            std::slice::from_raw_parts(a.cast::<T>(), n),
        )
    };
    for (d, &x) in dst.iter_mut().zip(a) {
        *d = F::call::<A>(x);
    }
    F::repair(dst, a);
}

/// # Safety
/// As [`Loop`]; scalar operands have one element.
#[inline(always)]
unsafe fn map2<A: Arch, T: Copy, F: Fn2<T>, const SA: bool, const SB: bool>(
    dst: *mut u8,
    a: *const u8,
    b: *const u8,
    n: usize,
) {
    if n == 0 {
        return;
    }
    let (dst, a, b) = (dst.cast::<F::Out>(), a.cast::<T>(), b.cast::<T>());
    // SAFETY: a loop is called with n > 0 elements of these types, or one where scalar.
    unsafe {
        let (a0, b0) = (*a, *b);
        for i in 0..n {
            *dst.add(i) = F::call::<A>(at::<T, SA>(a, a0, i), at::<T, SB>(b, b0, i));
        }
    }
}

/// # Safety
/// As [`Loop`]; scalar operands have one element.
#[inline(always)]
unsafe fn choose<T: Copy, const SC: bool, const SA: bool, const SB: bool>(
    dst: *mut u8,
    c: *const u8,
    a: *const u8,
    b: *const u8,
    n: usize,
) {
    if n == 0 {
        return;
    }
    let (dst, a, b) = (dst.cast::<T>(), a.cast::<T>(), b.cast::<T>());
    // SAFETY: a loop is called with n > 0 elements of these types, or one where scalar.
    unsafe {
        let (c0, a0, b0) = (*c, *a, *b);
        for i in 0..n {
            let (x, y) = (at::<T, SA>(a, a0, i), at::<T, SB>(b, b0, i));
            *dst.add(i) = if at::<u8, SC>(c, c0, i) != 0 { x } else { y };
        }
    }
}

macro_rules! level {
    ($module:ident, $arch:ty $(, $features:literal)?) => {
        /// The loops of one level.
        pub(super) mod $module {
            use super::*;

            /// # Safety
            /// As [`Loop`]; the machine has the level's features.
            $(#[target_feature(enable = $features)])?
            pub unsafe fn map1<T: Copy, F: Fn1<T>>(d: *mut u8, a: *const u8, _: *const u8, _: *const u8, n: usize) {
                // SAFETY: the caller's promise.
                unsafe { super::map1::<$arch, T, F>(d, a, n) }
            }

            /// # Safety
            /// As [`Loop`]; the machine has the level's features.
            $(#[target_feature(enable = $features)])?
            pub unsafe fn map2<T: Copy, F: Fn2<T>, const SA: bool, const SB: bool>(
                d: *mut u8, a: *const u8, b: *const u8, _: *const u8, n: usize,
            ) {
                // SAFETY: the caller's promise.
                unsafe { super::map2::<$arch, T, F, SA, SB>(d, a, b, n) }
            }

            /// # Safety
            /// As [`Loop`], the operands being condition, then, else; the machine has the level's features.
            $(#[target_feature(enable = $features)])?
            pub unsafe fn choose<T: Copy, const SC: bool, const SA: bool, const SB: bool>(
                d: *mut u8, c: *const u8, a: *const u8, b: *const u8, n: usize,
            ) {
                // SAFETY: the caller's promise.
                unsafe { super::choose::<T, SC, SA, SB>(d, c, a, b, n) }
            }
        }
    };
}

level!(portable, Portable);
#[cfg(target_arch = "x86_64")]
level!(avx2, Avx2, "avx2,fma");
#[cfg(all(target_arch = "x86_64", feature = "avx512"))]
level!(avx512, Avx512, "avx512f,avx512bw,avx512dq,avx512vl,fma");

/// The path of a loop at `$level`.
macro_rules! at_level {
    ($level:expr, $($path:tt)*) => {
        match $level {
            Level::Portable => portable::$($path)*,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => avx2::$($path)*,
            #[cfg(all(target_arch = "x86_64", feature = "avx512"))]
            Level::Avx512 => avx512::$($path)*,
            #[cfg(not(all(target_arch = "x86_64", feature = "avx512")))]
            _ => portable::$($path)*,
        }
    };
}

/// Element types, and whether their loops are worth compiling for every level. Integers and bools are labels and
/// masks: what the portable loops do with them is enough, and gives the same bits.
pub(crate) trait Lane: Copy {
    const EVERY_LEVEL: bool;
}

macro_rules! lanes {
    ($($t:ty: $every:literal),*) => {$(
        impl Lane for $t {
            const EVERY_LEVEL: bool = $every;
        }
    )*};
}
lanes!(f32: true, f64: true, i32: false, u32: false, u8: false);

/// The loop of a function of one operand.
pub(super) fn loop1<T: Lane, F: Fn1<T>>(level: Level) -> Loop {
    if !T::EVERY_LEVEL {
        return portable::map1::<T, F>;
    }
    at_level!(level, map1::<T, F>)
}

/// The loop of a function of two operands, of which those marked are scalars.
pub(super) fn loop2<T: Lane, F: Fn2<T>>(level: Level, scalar: [bool; 2]) -> Loop {
    if !T::EVERY_LEVEL {
        return match scalar {
            [true, false] => portable::map2::<T, F, true, false>,
            [false, true] => portable::map2::<T, F, false, true>,
            _ => portable::map2::<T, F, false, false>,
        };
    }
    match scalar {
        [true, false] => at_level!(level, map2::<T, F, true, false>),
        [false, true] => at_level!(level, map2::<T, F, false, true>),
        // Two scalars give a scalar: a loop of length one.
        _ => at_level!(level, map2::<T, F, false, false>),
    }
}

/// The loop that selects, operands in the order condition, then, else.
pub(super) fn loop_choose<T: Copy>(level: Level, scalar: [bool; 3]) -> Loop {
    match scalar {
        [false, false, true] => at_level!(level, choose::<T, false, false, true>),
        [false, true, false] => at_level!(level, choose::<T, false, true, false>),
        [false, true, true] => at_level!(level, choose::<T, false, true, true>),
        [true, false, false] => at_level!(level, choose::<T, true, false, false>),
        [true, false, true] => at_level!(level, choose::<T, true, false, true>),
        [true, true, false] => at_level!(level, choose::<T, true, true, false>),
        _ => at_level!(level, choose::<T, false, false, false>),
    }
}
