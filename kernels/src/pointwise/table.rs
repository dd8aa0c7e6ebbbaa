//! Which loop computes which instruction.

use super::loops::{Fn1, Fn2, Lane, Loop, loop_choose, loop1, loop2};
use crate::DType;
use crate::math::{self, Arch, Pow, Trig};
use crate::program::{Binary, Unary};
use crate::simd::Level;

/// The arithmetic that floats and integers share.
trait Number: Lane + PartialOrd {
    fn neg(self) -> Self;
    fn abs(self) -> Self;
    fn sign(self) -> Self;
    fn relu(self) -> Self;
    fn add(self, b: Self) -> Self;
    fn sub(self, b: Self) -> Self;
    fn mul(self, b: Self) -> Self;
    fn div(self, b: Self) -> Self;
    fn max(self, b: Self) -> Self;
    fn min(self, b: Self) -> Self;
}

/// What only floats have.
trait Float: Number + Trig + Pow {
    fn floor(self) -> Self;
    fn ceil(self) -> Self;
    fn round(self) -> Self;
    fn trunc(self) -> Self;
}

macro_rules! number {
    ($t:ty, |$x:ident, $y:ident| $neg:expr, $abs:expr, $sign:expr, $relu:expr, $add:expr, $sub:expr, $mul:expr, $div:expr, $max:expr, $min:expr) => {
        impl Number for $t {
            number!(@one $t, neg, |$x| $neg);
            number!(@one $t, abs, |$x| $abs);
            number!(@one $t, sign, |$x| $sign);
            number!(@one $t, relu, |$x| $relu);
            number!(@two $t, add, |$x, $y| $add);
            number!(@two $t, sub, |$x, $y| $sub);
            number!(@two $t, mul, |$x, $y| $mul);
            number!(@two $t, div, |$x, $y| $div);
            number!(@two $t, max, |$x, $y| $max);
            number!(@two $t, min, |$x, $y| $min);
        }
    };
    (@one $t:ty, $name:ident, |$x:ident| $body:expr) => {
        #[inline(always)]
        fn $name(self) -> $t {
            let $x = self;
            $body
        }
    };
    (@two $t:ty, $name:ident, |$x:ident, $y:ident| $body:expr) => {
        #[inline(always)]
        fn $name(self, $y: $t) -> $t {
            let $x = self;
            $body
        }
    };
}

macro_rules! float {
    ($t:ty) => {
        number!($t, |x, y| -x, <$t>::abs(x),
            if x.abs() > 0.0 { (1.0 as $t).copysign(x) } else { x + 0.0 },
            if x <= 0.0 { 0.0 } else { x },
            x + y, x - y, x * y, x / y,
            if (x > y) | x.is_nan() { x } else { y },
            if (x < y) | x.is_nan() { x } else { y });
        impl Float for $t {
            number!(@one $t, floor, |x| <$t>::floor(x));
            number!(@one $t, ceil, |x| <$t>::ceil(x));
            number!(@one $t, round, |x| <$t>::round_ties_even(x));
            number!(@one $t, trunc, |x| <$t>::trunc(x));
        }
    };
}
float!(f32);
float!(f64);
number!(
    i32,
    |x, y| x.wrapping_neg(),
    x.wrapping_abs(),
    x.signum(),
    if x > 0 { x } else { 0 },
    x.wrapping_add(y),
    x.wrapping_sub(y),
    x.wrapping_mul(y),
    if y == 0 { 0 } else { x.wrapping_div(y) },
    if x > y { x } else { y },
    if x < y { x } else { y }
);
number!(
    u32,
    |x, y| x.wrapping_neg(),
    x,
    if x > 0 { 1 } else { 0 },
    x,
    x.wrapping_add(y),
    x.wrapping_sub(y),
    x.wrapping_mul(y),
    x.checked_div(y).unwrap_or(0),
    if x > y { x } else { y },
    if x < y { x } else { y }
);

/// Functions of one element: a type for each, so that each gets its own loop.
macro_rules! functions1 {
    ($($name:ident<$bound:ident>: $out:ty = |$x:ident| $body:expr;)*) => {$(
        struct $name;
        impl<T: $bound> Fn1<T> for $name {
            type Out = $out;
            #[inline(always)]
            fn call<A: Arch>($x: T) -> $out {
                $body
            }
        }
    )*};
}
functions1! {
    Neg<Number>: T = |x| x.neg();
    Abs<Number>: T = |x| Number::abs(x);
    Sign<Number>: T = |x| x.sign();
    Relu<Number>: T = |x| x.relu();
    Floor<Float>: T = |x| x.floor();
    Ceil<Float>: T = |x| x.ceil();
    Round<Float>: T = |x| x.round();
    Trunc<Float>: T = |x| x.trunc();
    Recip<Float>: T = |x| T::of(1.0) / x;
    Sqrt<Float>: T = |x| x.sqrt();
    Rsqrt<Float>: T = |x| T::of(1.0) / x.sqrt();
    Exp<Float>: T = |x| math::exp::<A, T>(x);
    Expm1<Float>: T = |x| math::expm1::<A, T>(x);
    Log<Float>: T = |x| math::log::<A, T>(x);
    Log1p<Float>: T = |x| math::log1p::<A, T>(x);
    Tanh<Float>: T = |x| math::tanh::<A, T>(x);
    Sigmoid<Float>: T = |x| math::sigmoid::<A, T>(x);
    Softplus<Float>: T = |x| math::softplus::<A, T>(x);
    Erf<Float>: T = |x| math::erf::<A, T>(x);
    IsNan<Float>: u8 = |x| x.partial_cmp(&x).is_none() as u8;
}

/// Sine and cosine, with the standard library's for what lies beyond their reach.
macro_rules! trigonometric {
    ($name:ident, $function:ident, $any:ident) => {
        struct $name;
        impl<T: Float> Fn1<T> for $name {
            type Out = T;
            #[inline(always)]
            fn call<A: Arch>(x: T) -> T {
                T::$function::<A>(x)
            }
            #[inline(always)]
            fn repair(out: &mut [T], x: &[T]) {
                let far = |x: T| (Number::abs(x) > T::LIMIT) as u8;
                if x.iter().fold(0, |any, &x| any | far(x)) != 0 {
                    for (out, &x) in out.iter_mut().zip(x).filter(|(_, x)| far(**x) != 0) {
                        *out = T::$any(x);
                    }
                }
            }
        }
    };
}
trigonometric!(Sin, sin, sin_any);
trigonometric!(Cos, cos, cos_any);

struct Not;
impl Fn1<u8> for Not {
    type Out = u8;
    #[inline(always)]
    fn call<A: Arch>(x: u8) -> u8 {
        x ^ 1
    }
}

/// Functions of two elements.
macro_rules! functions2 {
    ($($name:ident<$bound:ident>: $out:ty = |$x:ident, $y:ident| $body:expr;)*) => {$(
        struct $name;
        impl<T: $bound> Fn2<T> for $name {
            type Out = $out;
            #[inline(always)]
            fn call<A: Arch>($x: T, $y: T) -> $out {
                $body
            }
        }
    )*};
}
functions2! {
    Add<Number>: T = |x, y| x.add(y);
    Sub<Number>: T = |x, y| x.sub(y);
    Mul<Number>: T = |x, y| x.mul(y);
    Div<Number>: T = |x, y| x.div(y);
    Max<Number>: T = |x, y| x.max(y);
    Min<Number>: T = |x, y| x.min(y);
    Power<Float>: T = |x, y| T::pow::<A>(x, y);
    Eq<Comparable>: u8 = |x, y| (x == y) as u8;
    Ne<Comparable>: u8 = |x, y| (x != y) as u8;
    Lt<Comparable>: u8 = |x, y| (x < y) as u8;
    Le<Comparable>: u8 = |x, y| (x <= y) as u8;
    And<Bits>: T = |x, y| x & y;
    Or<Bits>: T = |x, y| x | y;
    Xor<Bits>: T = |x, y| x ^ y;
}

/// What can be compared; bools are bytes here.
trait Comparable: Lane + PartialOrd {}
impl<T: Lane + PartialOrd> Comparable for T {}

/// A bool as a byte.
trait Bits:
    Lane + std::ops::BitAnd<Output = Self> + std::ops::BitOr<Output = Self> + std::ops::BitXor<Output = Self>
{
}
impl Bits for u8 {}

/// A conversion to `O`.
struct Convert<O>(std::marker::PhantomData<O>);
macro_rules! conversions {
    ($($from:ty => $($to:ty),*;)*) => {$($(
        impl Fn1<$from> for Convert<$to> {
            type Out = $to;
            #[inline(always)]
            fn call<A: Arch>(x: $from) -> $to {
                x as $to
            }
        }
    )*)*};
}
conversions! {
    f32 => f32, f64, i32, u32;
    f64 => f32, f64, i32, u32;
    i32 => f32, f64, i32, u32;
    u32 => f32, f64, i32, u32;
    u8 => f32, f64, i32, u32;
}

/// Whether a number is not zero.
struct NonZero;
impl<T: Comparable> Fn1<T> for NonZero {
    type Out = u8;
    #[inline(always)]
    fn call<A: Arch>(x: T) -> u8 {
        (x != T::default()) as u8
    }
}

/// The loop of `op` on operands of type `t`.
pub(super) fn unary(op: Unary, t: DType, level: Level) -> Loop {
    match (op, t) {
        (Unary::Not, DType::Bool) => loop1::<u8, Not>(level),
        (_, DType::F32) => unary_float::<f32>(op, level),
        (_, DType::F64) => unary_float::<f64>(op, level),
        (_, DType::I32) => unary_number::<i32>(op, level),
        (_, DType::U32) => unary_number::<u32>(op, level),
        _ => unreachable!("{op:?} of {t} passed the type check"),
    }
}

fn unary_number<T: Number>(op: Unary, level: Level) -> Loop {
    match op {
        Unary::Neg => loop1::<T, Neg>(level),
        Unary::Abs => loop1::<T, Abs>(level),
        Unary::Sign => loop1::<T, Sign>(level),
        Unary::Relu => loop1::<T, Relu>(level),
        _ => unreachable!("{op:?} of integers passed the type check"),
    }
}

fn unary_float<T: Float>(op: Unary, level: Level) -> Loop {
    match op {
        Unary::Neg | Unary::Abs | Unary::Sign | Unary::Relu => unary_number::<T>(op, level),
        Unary::Floor => loop1::<T, Floor>(level),
        Unary::Ceil => loop1::<T, Ceil>(level),
        Unary::Round => loop1::<T, Round>(level),
        Unary::Trunc => loop1::<T, Trunc>(level),
        Unary::Recip => loop1::<T, Recip>(level),
        Unary::Sqrt => loop1::<T, Sqrt>(level),
        Unary::Rsqrt => loop1::<T, Rsqrt>(level),
        Unary::Exp => loop1::<T, Exp>(level),
        Unary::Expm1 => loop1::<T, Expm1>(level),
        Unary::Log => loop1::<T, Log>(level),
        Unary::Log1p => loop1::<T, Log1p>(level),
        Unary::Sin => loop1::<T, Sin>(level),
        Unary::Cos => loop1::<T, Cos>(level),
        Unary::Tanh => loop1::<T, Tanh>(level),
        Unary::Sigmoid => loop1::<T, Sigmoid>(level),
        Unary::Softplus => loop1::<T, Softplus>(level),
        Unary::Erf => loop1::<T, Erf>(level),
        Unary::IsNan => loop1::<T, IsNan>(level),
        Unary::Not => unreachable!("Not of floats passed the type check"),
    }
}

/// The loop of `op` on operands of type `t`.
pub(super) fn binary(op: Binary, t: DType, level: Level) -> Loop {
    match (op, t) {
        (Binary::Pow, DType::F32) => loop2::<f32, Power>(level),
        (Binary::Pow, DType::F64) => loop2::<f64, Power>(level),
        (_, DType::F32) => binary_number::<f32>(op, level),
        (_, DType::F64) => binary_number::<f64>(op, level),
        (_, DType::I32) => binary_number::<i32>(op, level),
        (_, DType::U32) => binary_number::<u32>(op, level),
        (Binary::Add | Binary::Max, DType::Bool) => loop2::<u8, Or>(level),
        (Binary::Mul | Binary::Min, DType::Bool) => loop2::<u8, And>(level),
        (Binary::Xor, DType::Bool) => loop2::<u8, Xor>(level),
        (_, DType::Bool) => comparison::<u8>(op, level),
    }
}

fn binary_number<T: Number>(op: Binary, level: Level) -> Loop {
    match op {
        Binary::Add => loop2::<T, Add>(level),
        Binary::Sub => loop2::<T, Sub>(level),
        Binary::Mul => loop2::<T, Mul>(level),
        Binary::Div => loop2::<T, Div>(level),
        Binary::Max => loop2::<T, Max>(level),
        Binary::Min => loop2::<T, Min>(level),
        _ => comparison::<T>(op, level),
    }
}

fn comparison<T: Comparable>(op: Binary, level: Level) -> Loop {
    match op {
        Binary::Eq => loop2::<T, Eq>(level),
        Binary::Ne => loop2::<T, Ne>(level),
        Binary::Lt => loop2::<T, Lt>(level),
        Binary::Le => loop2::<T, Le>(level),
        _ => unreachable!("{op:?} passed the type check"),
    }
}

/// The loop that selects values of type `t`, operands in the order condition, then, else.
pub(super) fn select(t: DType, level: Level) -> Loop {
    match t.size() {
        1 => loop_choose::<u8>(level),
        4 => loop_choose::<u32>(level),
        _ => loop_choose::<u64>(level),
    }
}

/// The loop that converts `from` to `to`.
pub(super) fn cast(from: DType, to: DType, level: Level) -> Loop {
    macro_rules! to {
        ($from:ty) => {
            match to {
                DType::F32 => loop1::<$from, Convert<f32>>(level),
                DType::F64 => loop1::<$from, Convert<f64>>(level),
                DType::I32 => loop1::<$from, Convert<i32>>(level),
                DType::U32 => loop1::<$from, Convert<u32>>(level),
                DType::Bool => loop1::<$from, NonZero>(level),
            }
        };
    }
    match from {
        DType::F32 => to!(f32),
        DType::F64 => to!(f64),
        DType::I32 => to!(i32),
        DType::U32 => to!(u32),
        DType::Bool => to!(u8),
    }
}
