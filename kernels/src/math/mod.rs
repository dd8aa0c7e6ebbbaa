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
pub(crate) use trig::{reduced_sin_cos, turned};

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
    /// [`Real::MAGIC`] and the bias of exponents: the bits of the sum are a power of two but for a shift, [`Real::power`].
    const POWER_MAGIC: Self;
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
    /// Whether this is no number.
    fn is_nan(self) -> bool;
    /// Absolute value.
    fn abs(self) -> Self;
    /// This magnitude with the sign of `sign`.
    fn copysign(self, sign: Self) -> Self;
    /// Square root.
    fn sqrt(self) -> Self;
    /// 2 to the power `n`, where this is the sum of `n`, within the exponents of normal numbers, and [`Real::POWER_MAGIC`].
    fn power(self) -> Self;
    /// 2 to the power `self`, an integer within the exponents of normal numbers.
    fn exp2_integer(self) -> Self;
    /// `(k, m)` with `self = 2^k m`, `sqrt(1/2) <= m < sqrt(2)`, for a positive finite number, subnormals included.
    fn split(self) -> (Self, Self);
    /// `erf(x)` for `1 <= x`.
    fn erf_far<A: Arch>(self) -> Self;
    /// `log(1 + x)` for `0 <= x <= 1`.
    fn log1p_fraction<A: Arch>(self) -> Self;
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
        fn is_nan(self) -> bool {
            <$t>::is_nan(self)
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
        fn power(self) -> Self {
            <$t>::from_bits(self.to_bits() << $fraction)
        }
        #[inline(always)]
        fn exp2_integer(self) -> Self {
            (self + Self::POWER_MAGIC).power()
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
    const POWER_MAGIC: f32 = f32::MAGIC + 127.0;
    const TINY: f32 = f32::EPSILON / 2.0;
    const INFINITY: f32 = f32::INFINITY;
    const NAN: f32 = f32::NAN;
    const LN2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    const EXP_RANGE: [f32; 2] = [-104.0, 89.0];
    const SATURATED: [f32; 2] = [-18.0, 10.0];
    const EXP: &'static [f32] = &[0.5, 1.6666577e-1, 4.1666555e-2, 8.363179e-3, 1.3926184e-3];
    const LOG: &'static [f32] = &[6.6666685e-1, 3.998876e-1, 2.9580986e-1];
    const SIN: &'static [f32] = &[-1.666_666_4e-1, 8.332747e-3, -1.9587639e-4];
    const COS: &'static [f32] = &[4.1666665e-2, -1.388_830_1e-3, 2.454769e-5];
    const ERF: &'static [f32] = &[
        1.2837917e-1,
        -3.7612627e-1,
        1.128_359_4e-1,
        -2.6854212e-2,
        5.1890874e-3,
        -8.0168643e-4,
        7.875875e-5,
    ];
    bits!(f32, 23, 127);

    /// `1 - p^2` with a polynomial `p` for `sqrt(1 - erf(x))` on 1 to 3.92, in `x - 1.25`, so that it is most precise where
    /// `p` is large; above, f32 erf is 1. The weight of the approximation is that of `p` in the result.
    #[inline(always)]
    fn erf_far<A: Arch>(self) -> f32 {
        const P: [f32; 11] = [
            2.776_686_3e-1,
            -4.259_056_4e-1,
            2.057_427e-1,
            1.390_955_4e-2,
            -4.385_707e-2,
            7.368_602e-3,
            5.671_519e-3,
            -2.650_118_4e-3,
            2.408_378_4e-4,
            6.930_632e-5,
            -1.271_061_1e-5,
        ];
        let x = if self > 3.92 { 3.92 } else { self };
        let p = polynomial::<A, f32>(x - 1.25, &P);
        mul_add::<A, f32>(-p, p, 1.0)
    }

    /// `log(1 + f) + log c` with `1 + x = (1 + f) c`, where c is 1 or 1.5, and a polynomial for `(log(1 + f) - f) / f^2` on
    /// -1/15 to 0.4: neither a quotient nor an exponent. Error 1.1 ulp.
    #[inline(always)]
    fn log1p_fraction<A: Arch>(self) -> f32 {
        const Q: [f32; 7] = [
            -5.000_002e-1,
            3.333_369_3e-1,
            -2.499_872_9e-1,
            1.991_668_8e-1,
            -1.587_120_7e-1,
            1.077_024_64e-1,
            -4.191_709e-2,
        ];
        // The logarithm of 1.5 in two parts.
        const LOG: [f32; 2] = [4.054_651e-1, 1.187_288_9e-8];
        let large = self > 0.4;
        let f = if large { (self - 0.5) * (2.0 / 3.0) } else { self };
        let [high, low] = if large { LOG } else { [0.0; 2] };
        high + (f + mul_add::<A, f32>(f * f, polynomial::<A, f32>(f, &Q), low))
    }
}

impl Real for f64 {
    const MAGIC: f64 = 6_755_399_441_055_744.0;
    const POWER_MAGIC: f64 = f64::MAGIC + 1023.0;
    const TINY: f64 = f64::EPSILON / 2.0;
    const INFINITY: f64 = f64::INFINITY;
    const NAN: f64 = f64::NAN;
    const LN2: [f64; 2] = [6.931471803691238e-1, 1.9082149292705877e-10];
    const EXP_RANGE: [f64; 2] = [-746.0, 710.0];
    const SATURATED: [f64; 2] = [-38.0, 20.0];
    const EXP: &'static [f64] = &[
        5.000000000000001e-1,
        1.6666666666666669e-1,
        4.166666666662413e-2,
        8.333333333330062e-3,
        1.3888888917213717e-3,
        1.9841269863053618e-4,
        2.4801521295954376e-5,
        2.7557268459997064e-6,
        2.7620088445409746e-7,
        2.510038549551032e-8,
    ];
    const LOG: &'static [f64] = &[
        6.66666666666667e-1,
        3.999999999989889e-1,
        2.8571428626253836e-1,
        2.2222211089379496e-1,
        1.818289243253687e-1,
        1.5331611722055008e-1,
        1.4617807153417325e-1,
    ];
    const SIN: &'static [f64] = &[
        -1.6666666666666666e-1,
        8.333333333330936e-3,
        -1.9841269836740532e-4,
        2.7557316093198404e-6,
        -2.5051129896450185e-8,
        1.5917988979397435e-10,
    ];
    const COS: &'static [f64] = &[
        4.1666666666666664e-2,
        -1.3888888888887389e-3,
        2.48015872987544e-5,
        -2.755731726587808e-7,
        2.087614504941318e-9,
        -1.138254464534925e-11,
    ];
    const ERF: &'static [f64] = &[
        1.2837916709551256e-1,
        -3.7612638903183543e-1,
        1.1283791670945006e-1,
        -2.686617064323777e-2,
        5.2239776071164225e-3,
        -8.548325975389692e-4,
        1.2055294904839707e-4,
        -1.492473690741966e-5,
        1.6447424703317362e-6,
        -1.6208483801871705e-7,
        1.3720064546777686e-8,
        -7.795898827002142e-10,
    ];
    bits!(f64, 52, 1023);

    /// One minus `exp(-x^2)` times a polynomial for the scaled complement, in `(x - 4) / (x + 4)`, on 1 to 6; above, f64
    /// erf is 1.
    #[inline(always)]
    fn erf_far<A: Arch>(self) -> f64 {
        const SCALED: [f64; 16] = [
            1.3699945762506138e-1,
            -2.590680487601718e-1,
            2.1871967891826713e-1,
            -1.6425781669724077e-1,
            1.0896317739865745e-1,
            -6.31078156473828e-2,
            3.129905651583277e-2,
            -1.2843945687071453e-2,
            4.060264660151152e-3,
            -7.991322076390439e-4,
            -2.179568166418796e-5,
            7.895694927713207e-5,
            -2.2294712208280907e-5,
            -9.380004337296444e-7,
            4.460009108363892e-6,
            7.423164251116965e-7,
        ];
        let x = if self > 6.0 { 6.0 } else { self };
        1.0 - exp::<A, f64>(-(x * x)) * polynomial::<A, f64>((x - 4.0) / (x + 4.0), &SCALED)
    }

    #[inline(always)]
    fn log1p_fraction<A: Arch>(self) -> f64 {
        log1p::<A, f64>(self)
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
