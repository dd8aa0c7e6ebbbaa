//! Counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as
//! 1, 2, 3", SC 2011).
//!
//! The draw numbered `draw` under the key `seed` gives element `e` the word `e % 4` of the block with
//! counter `(e / 4 low, e / 4 high, draw low, draw high)` and key `(seed low, seed high)`; call it `word(e)`. For f64
//! it is extended by `low(e)`: the word `e % 4` of the block whose counter has the top bit of `e / 4 high` set too.
//!
//! * Bits: `word(e)`.
//! * Uniform f32: `(word(e) >> 8) * 2^-24`; f64: the top 53 bits of `word(e) * 2^32 + low(e)`, times `2^-53`. So
//!   the f64 draw refines the f32 draw.
//! * Normal (Box and Muller 1958): elements `2 j` and `2 j + 1` share the pair `a = word(2 j)`, `b = word(2 j + 1)`:
//!   `sqrt(-2 log((a + 1/2) / 2^32))` times `cos(2 pi b / 2^32)` for the even and `sin(2 pi b / 2^32)` for the odd
//!   element (in f32 the fraction under the logarithm is rounded to 24 bits, so radii below 1 have an absolute error
//!   of about 1e-7 over the radius). For f64, `a` and `b` have the 52 top bits of `word * 2^32 + low`, and stand over `2^52`.

use crate::DType;
use crate::math::{self, Arch, Real};
use crate::program::Random;
use crate::simd::Level;

/// One round's multipliers and the key's increments (section 3.3, table 2 of the paper).
const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// The Philox block function with 4 words of 32 bits and 10 rounds.
#[inline(always)]
pub fn philox4x32_10(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let ([mut c0, mut c1, mut c2, mut c3], [mut k0, mut k1]) = (counter, key);
    for _ in 0..10 {
        let p0 = c0 as u64 * MULTIPLIERS[0] as u64;
        let p1 = c2 as u64 * MULTIPLIERS[1] as u64;
        (c0, c1, c2, c3) = ((p1 >> 32) as u32 ^ c1 ^ k0, p1 as u32, (p0 >> 32) as u32 ^ c3 ^ k1, p0 as u32);
        k0 = k0.wrapping_add(WEYL[0]);
        k1 = k1.wrapping_add(WEYL[1]);
    }
    [c0, c1, c2, c3]
}

fn word(seed: u64, draw: u64, e: u64, top: u32) -> u32 {
    let block = e / 4;
    let counter = [block as u32, (block >> 32) as u32 | top, draw as u32, (draw >> 32) as u32];
    philox4x32_10(counter, [seed as u32, (seed >> 32) as u32])[(e % 4) as usize]
}

/// The 32 random bits of element `e`.
pub fn bits(seed: u64, draw: u64, e: u64) -> u32 {
    word(seed, draw, e, 0)
}

/// 64 random bits of element `e`, the upper half being [`bits`].
pub fn wide_bits(seed: u64, draw: u64, e: u64) -> u64 {
    (word(seed, draw, e, 0) as u64) << 32 | word(seed, draw, e, 1 << 31) as u64
}

/// The uniform draw of element `e` as f32.
pub fn uniform_f32(seed: u64, draw: u64, e: u64) -> f32 {
    (bits(seed, draw, e) >> 8) as f32 / (1 << 24) as f32
}

/// The uniform draw of element `e` as f64.
pub fn uniform_f64(seed: u64, draw: u64, e: u64) -> f64 {
    (wide_bits(seed, draw, e) >> 11) as f64 / (1u64 << 53) as f64
}

/// The normal draw of element `e` as f32, by the standard library's functions in f64.
pub fn normal_f32(seed: u64, draw: u64, e: u64) -> f32 {
    let unit = |e| bits(seed, draw, e) as f64;
    box_muller(unit(e & !1), unit(e | 1), (1u64 << 32) as f64, e) as f32
}

/// The normal draw of element `e` as f64, by the standard library's functions.
pub fn normal_f64(seed: u64, draw: u64, e: u64) -> f64 {
    let unit = |e| (wide_bits(seed, draw, e) >> 12) as f64;
    box_muller(unit(e & !1), unit(e | 1), (1u64 << 52) as f64, e)
}

fn box_muller(a: f64, b: f64, scale: f64, e: u64) -> f64 {
    let radius = (-2.0 * ((a + 0.5) / scale).ln()).sqrt();
    let (sin, cos) = (std::f64::consts::TAU * (b / scale)).sin_cos();
    radius * if e.is_multiple_of(2) { cos } else { sin }
}

/// Blocks computed side by side, and the elements they hold.
const BLOCKS: usize = 16;
const GROUP: usize = 4 * BLOCKS;

/// The words of [`BLOCKS`] blocks from number `block` on, in the order of the elements.
#[inline(always)]
fn words(seed: u64, draw: u64, block: u64, top: u32) -> [u32; GROUP] {
    // Words in 64-bit lanes, where products need no widening; the upper halves hold rubbish that nobody reads.
    let number: [u64; BLOCKS] = std::array::from_fn(|l| block.wrapping_add(l as u64));
    let mut c0 = number;
    let mut c1 = number.map(|number| number >> 32 | top as u64);
    let mut c2 = [draw; BLOCKS];
    let mut c3 = [draw >> 32; BLOCKS];
    let [mut k0, mut k1] = [seed as u32, (seed >> 32) as u32];
    for _ in 0..10 {
        for l in 0..BLOCKS {
            let p0 = c0[l] as u32 as u64 * MULTIPLIERS[0] as u64;
            let p1 = c2[l] as u32 as u64 * MULTIPLIERS[1] as u64;
            c0[l] = (p1 >> 32) ^ c1[l] ^ k0 as u64;
            c2[l] = (p0 >> 32) ^ c3[l] ^ k1 as u64;
            c1[l] = p1;
            c3[l] = p0;
        }
        k0 = k0.wrapping_add(WEYL[0]);
        k1 = k1.wrapping_add(WEYL[1]);
    }
    let mut words = [0; GROUP];
    for l in 0..BLOCKS {
        for (w, c) in [c0[l], c1[l], c2[l], c3[l]].into_iter().enumerate() {
            words[4 * l + w] = c as u32;
        }
    }
    words
}

/// A float type that draws are made of.
trait Draw: Real {
    /// The uniform draw from a word and its extension.
    fn uniform(high: u32, low: u32) -> Self;
    /// A number in (0, 1], the middle of the interval of numbers with these bits.
    fn open(high: u32, low: u32) -> Self;
    /// An angle: the nearest multiple of a quarter turn, and the rest in radians.
    fn angle(high: u32, low: u32) -> (u32, Self);
    /// Whether a draw needs the extension.
    const WIDE: bool;
}

impl Draw for f32 {
    const WIDE: bool = false;
    #[inline(always)]
    fn uniform(high: u32, _: u32) -> f32 {
        // Through i32, which every instruction set converts.
        (high >> 8) as i32 as f32 * (1.0 / (1 << 24) as f32)
    }
    #[inline(always)]
    fn open(high: u32, _: u32) -> f32 {
        // In two exact halves; their sum is rounded, but never to 0.
        let upper = (high >> 16) as i32 as f32 * (1.0 / (1 << 16) as f32);
        let lower = ((high & 0xFFFF) as i32 as f32 + 0.5) * (1.0 / (1u64 << 32) as f32);
        upper + lower
    }
    #[inline(always)]
    fn angle(high: u32, _: u32) -> (u32, f32) {
        let quadrant = high.wrapping_add(1 << 29) >> 30;
        let rest = high.wrapping_sub(quadrant << 30) as i32;
        (quadrant, rest as f32 * (std::f64::consts::TAU / (1u64 << 32) as f64) as f32)
    }
}

impl Draw for f64 {
    const WIDE: bool = true;
    #[inline(always)]
    fn uniform(high: u32, low: u32) -> f64 {
        let upper = high as f64 * (1.0 / (1u64 << 32) as f64);
        upper + (low >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }
    #[inline(always)]
    fn open(high: u32, low: u32) -> f64 {
        let upper = high as f64 * (1.0 / (1u64 << 32) as f64);
        upper + ((low >> 12) as f64 + 0.5) * (1.0 / (1u64 << 52) as f64)
    }
    #[inline(always)]
    fn angle(high: u32, low: u32) -> (u32, f64) {
        let quadrant = high.wrapping_add(1 << 29) >> 30;
        let rest = high.wrapping_sub(quadrant << 30) as i32;
        let turns = rest as f64 + (low >> 12) as f64 * (1.0 / (1 << 20) as f64);
        (quadrant, turns * (std::f64::consts::TAU / (1u64 << 32) as f64))
    }
}

/// The draws of [`GROUP`] elements from their words.
#[inline(always)]
fn group<A: Arch, T: Draw>(kind: Random, high: &[u32; GROUP], low: &[u32; GROUP]) -> [T; GROUP] {
    let mut out = [T::of(0.0); GROUP];
    if kind == Random::Uniform {
        for i in 0..GROUP {
            out[i] = T::uniform(high[i], low[i]);
        }
        return out;
    }
    let (mut even, mut odd) = ([T::of(0.0); GROUP / 2], [T::of(0.0); GROUP / 2]);
    for j in 0..GROUP / 2 {
        let unit = T::open(high[2 * j], low[2 * j]);
        let radius = (T::of(-2.0) * math::log::<A, T>(unit)).sqrt();
        let (quadrant, rest) = T::angle(high[2 * j + 1], low[2 * j + 1]);
        let (sin, cos) = math::reduced_sin_cos::<A, T>(rest, T::of(0.0));
        even[j] = radius * math::turned(quadrant.wrapping_add(1), sin, cos);
        odd[j] = radius * math::turned(quadrant, sin, cos);
    }
    for j in 0..GROUP / 2 {
        (out[2 * j], out[2 * j + 1]) = (even[j], odd[j]);
    }
    out
}

/// # Safety
/// `dst` has room for `n` elements of type `T`.
#[inline(always)]
unsafe fn draws<A: Arch, T: Draw>(kind: Random, [seed, draw]: [u64; 2], first: u64, dst: *mut u8, n: usize) {
    let mut done = 0;
    while done < n {
        let element = first + done as u64;
        let skip = (element % 4) as usize;
        let high = words(seed, draw, element / 4, 0);
        let low = if T::WIDE { words(seed, draw, element / 4, 1 << 31) } else { [0; GROUP] };
        let values = group::<A, T>(kind, &high, &low);
        let len = (GROUP - skip).min(n - done);
        // SAFETY: `len` elements fit after the first `done`, and are among the values.
        unsafe {
            std::ptr::copy_nonoverlapping(values.as_ptr().add(skip), dst.cast::<T>().add(done), len);
        }
        done += len;
    }
}

/// # Safety
/// `dst` has room for `n` elements of type `dtype`.
#[inline(always)]
unsafe fn typed<A: Arch>(kind: Random, dtype: DType, key: [u64; 2], first: u64, dst: *mut u8, n: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        match (kind, dtype) {
            (Random::Bits, _) => raw_words(key, first, dst.cast(), n),
            (_, DType::F32) => draws::<A, f32>(kind, key, first, dst, n),
            (_, _) => draws::<A, f64>(kind, key, first, dst, n),
        }
    }
}

/// # Safety
/// `dst` has room for `n` words.
#[inline(always)]
unsafe fn raw_words([seed, draw]: [u64; 2], first: u64, dst: *mut u32, n: usize) {
    let mut done = 0;
    while done < n {
        let element = first + done as u64;
        let skip = (element % 4) as usize;
        let words = words(seed, draw, element / 4, 0);
        let len = (GROUP - skip).min(n - done);
        // SAFETY: `len` words fit after the first `done`, and are among these.
        unsafe { std::ptr::copy_nonoverlapping(words.as_ptr().add(skip), dst.add(done), len) };
        done += len;
    }
}

macro_rules! level {
    ($name:ident, $arch:ty $(, $features:literal)?) => {
        /// # Safety
        /// As [`fill`]; the machine has the level's features.
        $(#[target_feature(enable = $features)])?
        unsafe fn $name(kind: Random, dtype: DType, key: [u64; 2], first: u64, dst: *mut u8, n: usize) {
            // SAFETY: the caller's promise.
            unsafe { typed::<$arch>(kind, dtype, key, first, dst, n) }
        }
    };
}
level!(portable, math::Portable);
#[cfg(target_arch = "x86_64")]
level!(avx2, math::Avx2, "avx2,fma");
#[cfg(all(target_arch = "x86_64", feature = "avx512"))]
level!(avx512, math::Avx512, "avx512f,avx512bw,avx512dq,avx512vl,fma");

/// Writes `n` draws of `kind` for the elements from `first` on to `dst`; `key` is the seed and the number of the draw.
///
/// # Safety
/// `dst` has room for `n` elements of type `dtype`; the machine has `level`.
pub(crate) unsafe fn fill(
    level: Level,
    kind: Random,
    dtype: DType,
    key: [u64; 2],
    first: u64,
    dst: *mut u8,
    n: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        match level {
            Level::Portable => portable(kind, dtype, key, first, dst, n),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => avx2(kind, dtype, key, first, dst, n),
            #[cfg(all(target_arch = "x86_64", feature = "avx512"))]
            Level::Avx512 => avx512(kind, dtype, key, first, dst, n),
            #[cfg(not(all(target_arch = "x86_64", feature = "avx512")))]
            _ => portable(kind, dtype, key, first, dst, n),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::philox4x32_10;

    /// The vectors distributed with the authors' Random123 library (kat_vectors, philox4x32 with 10 rounds).
    #[test]
    fn known_answers() {
        let ones = u32::MAX;
        let zero = philox4x32_10([0; 4], [0; 2]);
        assert_eq!(zero, [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        let full = philox4x32_10([ones; 4], [ones; 2]);
        assert_eq!(full, [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        let pi = [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344];
        let mixed = philox4x32_10(pi, [0xa409_3822, 0x299f_31d0]);
        assert_eq!(mixed, [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]);
    }
}
