//! Elementary functions, written so that a plain loop over them becomes vector code.
//!
//! Every function is branch-free arithmetic on one number, `#[inline(always)]`, generic over the float type and over
//! the instruction set it is compiled for ([`Arch`]): inside a function with `#[target_feature]`, the loop around it
//! is vectorised to the full width. A multiply-add is fused where the instruction set has it, so results of
//! different levels agree within the stated errors, not bit for bit.
//!
//! Errors are given in ulp (units in the last place of the exact result) as the largest seen by
//! `tests/math.rs` over all levels, in millions of points: for f32 against the functions in f64, for f64 against the
//! standard library's, whose own error of an ulp or so is in the figure. The polynomials are Chebyshev interpolants of the functions
//! named beside them. Where an argument reduction is of common knowledge, its source is named.

mod erf;
mod exp;
mod log;
mod pow;
mod trig;

pub use erf::erf;
pub use exp::{exp, expm1, sigmoid, tanh};
pub use log::{log, log1p, softplus};
pub use pow::Pow;
pub use trig::Trig;

/// An instruction set that code is compiled for.
pub trait Arch: Copy + 'static {
    /// Whether a fused multiply-add is an instruction, not a call.
    const FMA: bool;
}

/// Whatever the compiler was told it may use.
#[derive(Clone, Copy, Debug)]
pub struct Portable;
/// AVX2 and FMA.
#[derive(Clone, Copy, Debug)]
pub struct Avx2;
/// AVX-512 F, BW, DQ and VL.
#[derive(Clone, Copy, Debug)]
pub struct Avx512;

impl Arch for Portable {
    const FMA: bool = cfg!(any(target_feature = "fma", target_arch = "aarch64"));
}
impl Arch for Avx2 {
    const FMA: bool = true;
}
impl Arch for Avx512 {
    const FMA: bool = true;
}

/// f32 or f64: the arithmetic, the bit patterns and the tables that the functions of this module need.
pub trait Real:
    Copy
    + 'static
    + PartialOrd
    + std::ops::Add<Output = Self>
    + std::ops::Sub<Output = Self>
    + std::ops::Mul<Output = Self>
    + std::ops::Div<Output = Self>
    + std::ops::Neg<Output = Self>
{
    /// 1.5 times 2 to the number of fraction bits: adding it rounds a smaller number to an integer, to be read in
    /// the low bits.
    const MAGIC: Self;
    /// Half the distance from 1 to the next number: below it `1 + x` is 1.
    const TINY: Self;
    /// Positive infinity.
    const INFINITY: Self;
    /// Not a number.
    const NAN: Self;
    /// log 2 with trailing zeros, so that products with exponents are exact; and what is missing.
    const LN2: [Self; 2];
    /// Beyond these exp underflows to 0, and overflows.
    const EXP_RANGE: [Self; 2];
    /// Beyond these expm1 rounds to -1, and tanh to 1.
    const SATURATED: [Self; 2];
    /// `(exp(r) - 1 - r) / r^2` for `|r| <= log(2) / 2`.
    const EXP: &'static [Self];
    /// `(2 atanh(s) / s - 2) / z` in `z = s^2`, for `s = (m - 1) / (m + 1)`, `m` from `sqrt(1/2)` to `sqrt(2)`.
    const LOG: &'static [Self];
    /// `(sin(r) / r - 1) / z` in `z = r^2` for `|r| <= pi / 4`.
    const SIN: &'static [Self];
    /// `(cos(r) - 1 + z / 2) / z^2` in `z = r^2` for `|r| <= pi / 4`.
    const COS: &'static [Self];
    /// `erf(x) / x - 1` in `x^2` for `|x| <= 1`.
    const ERF: &'static [Self];

    /// The nearest number.
    fn of(x: f64) -> Self;
    /// `self * b + c`, rounded once.
    fn fused(self, b: Self, c: Self) -> Self;
    /// Absolute value.
    fn abs(self) -> Self;
    /// This magnitude with the sign of `sign`.
    fn copysign(self, sign: Self) -> Self;
    /// Square root.
    fn sqrt(self) -> Self;
    /// 2 to the power `self`, an integer within the exponents of normal numbers.
    fn exp2_integer(self) -> Self;
    /// `(k, m)` with `self = 2^k m`, `sqrt(1/2) <= m < sqrt(2)`, for a positive finite number, subnormals included.
    fn split(self) -> (Self, Self);
    /// `1 - erf(x)` as a positive number for `1 <= x`.
    fn erfc_tail<A: Arch>(self) -> Self;
}

macro_rules! bits {
    ($t:ty, $fraction:expr, $bias:expr) => {
        #[inline(always)]
        fn of(x: f64) -> Self {
            x as $t
        }
        #[inline(always)]
        fn fused(self, b: Self, c: Self) -> Self {
            self.mul_add(b, c)
        }
        #[inline(always)]
        fn abs(self) -> Self {
            <$t>::abs(self)
        }
        #[inline(always)]
        fn copysign(self, sign: Self) -> Self {
            <$t>::copysign(self, sign)
        }
        #[inline(always)]
        fn sqrt(self) -> Self {
            <$t>::sqrt(self)
        }
        #[inline(always)]
        fn exp2_integer(self) -> Self {
            <$t>::from_bits((self + (Self::MAGIC + $bias as $t)).to_bits() << $fraction)
        }
        #[inline(always)]
        fn split(self) -> (Self, Self) {
            // Scaled by an exact power of two, a subnormal becomes normal.
            let subnormal = self < <$t>::MIN_POSITIVE;
            let scale = (1u64 << ($fraction + 1)) as $t;
            let x = if subnormal { self * scale } else { self };
            // Counted from sqrt(1/2) the exponent field says k; the bias keeps the difference positive.
            let root = (std::f64::consts::FRAC_1_SQRT_2 as $t).to_bits();
            let one = (1.0 as $t).to_bits();
            let moved = x.to_bits().wrapping_sub(root);
            // The integer is made a float by writing it under the leading bit of 2^fraction.
            let unit = (1u64 << $fraction) as $t;
            let field = <$t>::from_bits((moved.wrapping_add(one) >> $fraction) | unit.to_bits()) - unit;
            let k = field - if subnormal { ($bias + $fraction + 1) as $t } else { $bias as $t };
            let m = <$t>::from_bits((moved & ((1 << $fraction) - 1)) + root);
            (k, m)
        }
    };
}

impl Real for f32 {
    const MAGIC: f32 = 12_582_912.0;
    const TINY: f32 = f32::EPSILON / 2.0;
    const INFINITY: f32 = f32::INFINITY;
    const NAN: f32 = f32::NAN;
    const LN2: [f32; 2] = [0.693_359_375, -2.121_944_4e-4];
    const EXP_RANGE: [f32; 2] = [-104.0, 89.0];
    const SATURATED: [f32; 2] = [-18.0, 10.0];
    const EXP: &'static [f32] = &[0.5, 1.6666576990e-1, 4.1666554617e-2, 8.3631790527e-3, 1.3926183588e-3];
    const LOG: &'static [f32] = &[6.6666685095e-1, 3.9988757717e-1, 2.9580985930e-1];
    const SIN: &'static [f32] = &[-1.6666664656e-1, 8.3327471047e-3, -1.9587639099e-4];
    const COS: &'static [f32] = &[4.1666664653e-2, -1.3888301868e-3, 2.4547689772e-5];
    const ERF: &'static [f32] = &[
        1.2837916585e-1,
        -3.7612626667e-1,
        1.1283594715e-1,
        -2.6854212011e-2,
        5.1890874234e-3,
        -8.0168642872e-4,
        7.8758750627e-5,
    ];
    bits!(f32, 23, 127);

    /// `exp(-q)` with the polynomial `q = -log(1 - erf(x))` on 1 to 4; above, f32 erf is 1.
    #[inline(always)]
    fn erfc_tail<A: Arch>(self) -> f32 {
        const Q: [f32; 9] = [
            -3.2013804968e-4,
            1.1302334348,
            6.3182605156e-1,
            1.1008008295e-1,
            -2.6421136006e-2,
            4.7595962933e-3,
            -5.9680562566e-4,
            4.6058042689e-5,
            -1.6371514146e-6,
        ];
        let x = if self > 4.0 { 4.0 } else { self };
        exp::<A, f32>(-polynomial::<A, f32>(x, &Q))
    }
}

impl Real for f64 {
    const MAGIC: f64 = 6_755_399_441_055_744.0;
    const TINY: f64 = f64::EPSILON / 2.0;
    const INFINITY: f64 = f64::INFINITY;
    const NAN: f64 = f64::NAN;
    const LN2: [f64; 2] = [0.6931471803691238, 1.9082149292705877e-10];
    const EXP_RANGE: [f64; 2] = [-746.0, 710.0];
    const SATURATED: [f64; 2] = [-38.0, 20.0];
    const EXP: &'static [f64] = &[
        5.00000000000000111e-1,
        1.66666666666666685e-1,
        4.16666666666241289e-2,
        8.33333333333006153e-3,
        1.38888889172137167e-3,
        1.98412698630536177e-4,
        2.48015212959543761e-5,
        2.75572684599970641e-6,
        2.76200884454097462e-7,
        2.51003854955103203e-8,
    ];
    const LOG: &'static [f64] = &[
        6.66666666666666963e-1,
        3.99999999998988887e-1,
        2.85714286262538364e-1,
        2.22222110893794955e-1,
        1.81828924325368707e-1,
        1.53316117220550080e-1,
        1.46178071534173254e-1,
    ];
    const SIN: &'static [f64] = &[
        -1.66666666666666657e-1,
        8.33333333333093583e-3,
        -1.98412698367405325e-4,
        2.75573160931984042e-6,
        -2.50511298964501847e-8,
        1.59179889793974346e-10,
    ];
    const COS: &'static [f64] = &[
        4.16666666666666644e-2,
        -1.38888888888873889e-3,
        2.48015872987543999e-5,
        -2.75573172658780818e-7,
        2.08761450494131784e-9,
        -1.13825446453492505e-11,
    ];
    const ERF: &'static [f64] = &[
        1.28379167095512559e-1,
        -3.76126389031835429e-1,
        1.12837916709450065e-1,
        -2.68661706432377703e-2,
        5.22397760711642255e-3,
        -8.54832597538969182e-4,
        1.20552949048397074e-4,
        -1.49247369074196605e-5,
        1.64474247033173623e-6,
        -1.62084838018717052e-7,
        1.37200645467776862e-8,
        -7.79589882700214246e-10,
    ];
    bits!(f64, 52, 1023);

    /// `exp(-x^2)` times a polynomial for the scaled complement, in `(x - 4) / (x + 4)`, on 1 to 6; above, f64 erf is 1.
    #[inline(always)]
    fn erfc_tail<A: Arch>(self) -> f64 {
        const SCALED: [f64; 16] = [
            1.36999457625061383e-1,
            -2.59068048760171810e-1,
            2.18719678918267130e-1,
            -1.64257816697240766e-1,
            1.08963177398657449e-1,
            -6.31078156473827978e-2,
            3.12990565158327710e-2,
            -1.28439456870714525e-2,
            4.06026466015115169e-3,
            -7.99132207639043904e-4,
            -2.17956816641879599e-5,
            7.89569492771320739e-5,
            -2.22947122082809070e-5,
            -9.38000433729644389e-7,
            4.46000910836389221e-6,
            7.42316425111696482e-7,
        ];
        let x = if self > 6.0 { 6.0 } else { self };
        exp::<A, f64>(-(x * x)) * polynomial::<A, f64>((x - 4.0) / (x + 4.0), &SCALED)
    }
}

/// `a * b + c`, in one instruction and with one rounding where the instruction set has it.
#[inline(always)]
fn mul_add<A: Arch, T: Real>(a: T, b: T, c: T) -> T {
    if A::FMA { a.fused(b, c) } else { a * b + c }
}

/// The polynomial with `coefficients` (constant first), by Horner's rule.
#[inline(always)]
fn polynomial<A: Arch, T: Real>(x: T, coefficients: &[T]) -> T {
    let mut sum = coefficients[coefficients.len() - 1];
    for &c in coefficients[..coefficients.len() - 1].iter().rev() {
        sum = mul_add::<A, T>(sum, x, c);
    }
    sum
}
