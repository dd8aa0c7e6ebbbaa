//! SplitMix64 (Steele, Lea & Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014): the generator
//! of everything random about data. Output `n` is a function of the seed and `n`, so any part of a stream can be
//! had without the rest.

use rand::TryRng;
use std::convert::Infallible;

const GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

/// The generator. It implements [`rand::Rng`].
///
/// ```
/// use gradus::data::SplitMix64;
/// use rand::Rng;
/// let mut rng = SplitMix64::new(20240229);
/// assert_eq!(rng.next_u64(), 0x293c_c02a_ea25_e48a);
/// assert_eq!(rng.next_u64(), SplitMix64::output(20240229, 1));
/// ```
#[derive(Debug, Clone)]
pub struct SplitMix64 {
    state: u64,
}

impl SplitMix64 {
    /// The stream of the seed.
    pub fn new(seed: u64) -> SplitMix64 {
        SplitMix64 { state: seed }
    }

    /// The stream of a list of numbers, such as (seed, epoch, image): another list, another stream.
    pub fn keyed(parts: &[u64]) -> SplitMix64 {
        SplitMix64 { state: parts.iter().fold(0, |key, &part| mix((key ^ mix(part)).wrapping_add(GAMMA))) }
    }

    /// Output number `n`, counted from 0, of the stream of `seed`.
    #[inline]
    pub fn output(seed: u64, n: u64) -> u64 {
        mix(seed.wrapping_add(n.wrapping_add(1).wrapping_mul(GAMMA)))
    }

    #[inline]
    pub(super) fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GAMMA);
        mix(self.state)
    }

    /// Uniform in [0, 1), a multiple of 2^-53.
    #[inline]
    pub(super) fn unit(&mut self) -> f64 {
        (self.draw() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Uniform in 0..n, without bias (Lemire, "Fast random integer generation in an interval", 2019).
    #[inline]
    pub(super) fn below(&mut self, n: u64) -> u64 {
        let mut product = u128::from(self.draw()) * u128::from(n);
        if (product as u64) < n {
            let threshold = n.wrapping_neg() % n;
            while (product as u64) < threshold {
                product = u128::from(self.draw()) * u128::from(n);
            }
        }
        (product >> 64) as u64
    }

    /// Puts a list in a uniformly random order (Fisher & Yates).
    pub(super) fn shuffle(&mut self, list: &mut [u32]) {
        for i in (1..list.len()).rev() {
            list.swap(i, self.below(i as u64 + 1) as usize);
        }
    }

    /// Two independent standard normal numbers (Box & Muller 1958).
    pub(super) fn normal_pair(&mut self) -> [f64; 2] {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        let (sin, cos) = (std::f64::consts::TAU * self.unit()).sin_cos();
        [radius * cos, radius * sin]
    }

    /// A normal number of the given mean and standard deviation.
    pub(super) fn normal(&mut self, mean: f64, deviation: f64) -> f64 {
        mean + deviation * self.normal_pair()[0]
    }
}

#[inline]
fn mix(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

impl TryRng for SplitMix64 {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok((self.draw() >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.draw())
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Infallible> {
        for chunk in dst.chunks_mut(8) {
            chunk.copy_from_slice(&self.draw().to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_outputs_are_the_published_ones() {
        assert_eq!(SplitMix64::output(20240229, 0), 0x293c_c02a_ea25_e48a);
        assert_eq!(SplitMix64::output(20240229, 1), 0x91c8_901a_ce0f_0abf);
        let mut rng = SplitMix64::new(20240229);
        assert_eq!([rng.draw(), rng.draw()], [0x293c_c02a_ea25_e48a, 0x91c8_901a_ce0f_0abf]);
    }

    #[test]
    fn keys_differ_in_every_part_and_in_order() {
        let key = |p: &[u64]| SplitMix64::keyed(p).state;
        let keys =
            [key(&[]), key(&[0]), key(&[0, 0]), key(&[1, 0]), key(&[0, 1]), key(&[1, 2]), key(&[2, 1])];
        for i in 0..keys.len() {
            assert!(!keys[i + 1..].contains(&keys[i]), "{i}");
        }
    }

    #[test]
    fn bounded_numbers_are_uniform_and_normal_ones_normal() {
        let mut rng = SplitMix64::new(1);
        let mut counts = [0u32; 7];
        (0..70_000).for_each(|_| counts[rng.below(7) as usize] += 1);
        let chi2: f64 = counts.iter().map(|&c| (f64::from(c) - 1e4).powi(2) / 1e4).sum();
        assert!(chi2 < 22.5, "chi-squared {chi2}, 0.1 % point 22.5");

        let x: Vec<f64> = (0..50_000).flat_map(|_| rng.normal_pair()).collect();
        let moment = |k: i32| x.iter().map(|v| v.powi(k)).sum::<f64>() / x.len() as f64;
        for (k, want, tolerance) in [(1, 0.0, 0.02), (2, 1.0, 0.02), (3, 0.0, 0.06), (4, 3.0, 0.15)] {
            assert!((moment(k) - want).abs() < tolerance, "moment {k}: {}", moment(k));
        }
    }
}
