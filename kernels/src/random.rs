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
//!   element. For f64, `a` and `b` have the 52 top bits of `word * 2^32 + low`, and stand over `2^52`.

use crate::DType;
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

/// Writes `n` draws of `kind` for the elements from `first` on to `dst`; `key` is the seed and the number of the draw.
///
/// # Safety
/// `dst` has room for `n` elements of type `dtype`; the machine has `level`.
pub(crate) unsafe fn fill(
    _level: Level,
    kind: Random,
    dtype: DType,
    key: [u64; 2],
    first: u64,
    dst: *mut u8,
    n: usize,
) {
    let [seed, draw] = key;
    for i in 0..n {
        let e = first + i as u64;
        // SAFETY: the caller's promise.
        unsafe {
            match (kind, dtype) {
                (Random::Uniform, DType::F32) => *dst.cast::<f32>().add(i) = uniform_f32(seed, draw, e),
                (Random::Uniform, _) => *dst.cast::<f64>().add(i) = uniform_f64(seed, draw, e),
                (Random::Normal, DType::F32) => *dst.cast::<f32>().add(i) = normal_f32(seed, draw, e),
                (Random::Normal, _) => *dst.cast::<f64>().add(i) = normal_f64(seed, draw, e),
                (Random::Bits, _) => *dst.cast::<u32>().add(i) = bits(seed, draw, e),
            }
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
