//! Randomness: explicit, splittable, and counted, so that every draw can be repeated and a run resumed.

/// A source of random tensors: a seed and the number of the next draw.
///
/// Draw number `d` of seed `s` is a pure function of `(s, d, element)` through Philox4x32-10 (Salmon et al. 2011,
/// "Parallel random numbers: as easy as 1, 2, 3"): the same on every number of threads, and nothing but the two
/// numbers of [`state`](Rng::state) need be saved.
///
/// ```
/// use gradus::Rng;
/// let mut a = Rng::seed(7);
/// let mut b = Rng::seed(7);
/// assert_eq!(a.normal([3]).to_vec::<f32>()?, b.normal([3]).to_vec::<f32>()?);
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rng {
    seed: u64,
    draw: u64,
}

/// One round of SplitMix64 (Steele, Lea and Flood 2014): a bijection that scatters related seeds.
fn scatter(x: u64) -> u64 {
    let z = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Rng {
    /// The generator of a seed, at its first draw.
    pub fn seed(seed: u64) -> Rng {
        Rng { seed, draw: 0 }
    }

    /// An independent generator that depends on this one's seed and on `name` only, not on what was drawn.
    pub fn split(&self, name: &str) -> Rng {
        let hash = name.bytes().fold(scatter(self.seed), |h, b| scatter(h ^ b as u64));
        Rng { seed: scatter(hash ^ name.len() as u64), draw: 0 }
    }

    /// A seed for another generator, which uses up one draw: unlike [`split`](Rng::split), each call gives another.
    pub fn next_seed(&mut self) -> u64 {
        let (seed, draw) = self.next_draw();
        scatter(scatter(seed) ^ draw)
    }

    /// `[seed, next draw]`: all there is to save.
    pub fn state(&self) -> [u64; 2] {
        [self.seed, self.draw]
    }

    /// The generator with a saved state.
    pub fn from_state([seed, draw]: [u64; 2]) -> Rng {
        Rng { seed, draw }
    }

    /// The seed and number of one draw, which is used up.
    pub(crate) fn next_draw(&mut self) -> (u64, u64) {
        let draw = self.draw;
        self.draw += 1;
        (self.seed, draw)
    }
}

/// The host-side stream, for the `rand` crate's distributions and shuffles: each word is one draw.
impl rand::TryRng for Rng {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok(self.try_next_u64()? as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        let (seed, draw) = self.next_draw();
        // The top bit of the counter keeps these words apart from the elements of tensors.
        let words = gradus_kernels::random::philox4x32_10(
            [0, 1 << 31, draw as u32, (draw >> 32) as u32],
            [seed as u32, (seed >> 32) as u32],
        );
        Ok(u64::from(words[0]) | u64::from(words[1]) << 32)
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Self::Error> {
        for chunk in dst.chunks_mut(8) {
            let word = self.try_next_u64()?.to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
        Ok(())
    }
}
