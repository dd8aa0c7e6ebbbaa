//! What the processor can do at most, to judge the kernels by: multiply-adds out of registers, and streams through
//! memory as in STREAM (McCalpin 1995). Each runs on the calling thread; whoever wants more starts more.

#[cfg(target_arch = "x86_64")]
use crate::simd;
use crate::simd::Level;

/// What multiplies and adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// One multiply-add at a time, with the fused instruction where there is one.
    Scalar,
    /// The vectors of a level. Those of [`Level::Portable`] are what the compiler makes of plain loops.
    Vectors(Level),
}

/// Sums that run side by side: more than latency times throughput of any processor asks for, as many as fit in the
/// registers of AVX2.
const CHAINS: usize = 12;

/// Runs `rounds` rounds of multiply-adds out of registers; returns how many floating-point operations (f32) that was,
/// a multiplication and an addition counting one each. A level that the machine does not have runs as the widest
/// that it has.
pub fn multiply_add(unit: Unit, rounds: usize) -> f64 {
    #[cfg(target_arch = "x86_64")]
    {
        let available = simd::detected();
        // SAFETY: the level that each needs is available.
        let lanes = unsafe {
            match unit {
                Unit::Scalar if available >= Level::Avx2 => Some(x86::scalar(rounds)),
                Unit::Vectors(level) if level.min(available) == Level::Avx512 => Some(x86::avx512(rounds)),
                Unit::Vectors(level) if level.min(available) == Level::Avx2 => Some(x86::avx2(rounds)),
                _ => None,
            }
        };
        if let Some(lanes) = lanes {
            return (2 * CHAINS * lanes * rounds) as f64;
        }
    }
    match unit {
        Unit::Scalar => (2 * CHAINS * plain::<1>(rounds)) as f64 * rounds as f64,
        Unit::Vectors(_) => (2 * CHAINS * plain::<4>(rounds)) as f64 * rounds as f64,
    }
}

/// Chains of `LANES` numbers each, in plain Rust; gives `LANES`.
fn plain<const LANES: usize>(rounds: usize) -> usize {
    let (factor, add) = (std::hint::black_box(0.999f32), std::hint::black_box(0.001f32));
    let mut sums = [[0.5f32; LANES]; CHAINS];
    for _ in 0..rounds {
        for sum in &mut sums {
            for s in sum {
                *s = *s * factor + add;
            }
        }
    }
    std::hint::black_box(sums);
    LANES
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::CHAINS;
    use std::arch::x86_64::*;

    macro_rules! chains {
        ($(#[$doc:meta])* $name:ident, $features:literal, $lanes:literal, $set:ident, $fmadd:ident) => {
            $(#[$doc])*
            #[target_feature(enable = $features)]
            pub fn $name(rounds: usize) -> usize {
                let (factor, add) = ($set(std::hint::black_box(0.999)), $set(std::hint::black_box(0.001)));
                let mut sums = [$set(0.5); CHAINS];
                for _ in 0..rounds {
                    // By index: an iterator would keep the sums in memory.
                    #[allow(clippy::needless_range_loop)]
                    for i in 0..CHAINS {
                        sums[i] = $fmadd(sums[i], factor, add);
                    }
                }
                std::hint::black_box(sums);
                $lanes
            }
        };
    }

    chains!(
        /// Gives the number of lanes, as the others.
        scalar, "avx,fma", 1, _mm_set_ss, _mm_fmadd_ss
    );
    chains!(avx2, "avx2,fma", 8, _mm256_set1_ps, _mm256_fmadd_ps);
    chains!(avx512, "avx512f", 16, _mm512_set1_ps, _mm512_fmadd_ps);
}

/// What a stream does with each element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// `a[i] = b[i]`: 8 bytes an element.
    Copy,
    /// `a[i] = b[i] + 3 c[i]`: 12 bytes an element.
    Triad,
    /// The sum of all `b[i]`, put into `a[0]`: 4 bytes an element.
    Read,
}

impl Stream {
    /// Bytes read and written for an f32 element.
    pub const fn bytes(self) -> usize {
        match self {
            Stream::Copy => 8,
            Stream::Triad => 12,
            Stream::Read => 4,
        }
    }
}

/// Runs a stream once over the common length of the operands, with the widest vectors there are. `past_cache`: with
/// stores that go to memory directly where the machine has them, which pays when `a` is larger than the caches.
///
/// # Panics
/// If [`Stream::Read`] has no element to put the sum into.
pub fn stream(kind: Stream, a: &mut [f32], b: &[f32], c: &[f32], past_cache: bool) {
    let n = a.len().min(b.len()).min(c.len());
    let (a, b, c) = (&mut a[..n], &b[..n], &c[..n]);
    #[cfg(target_arch = "x86_64")]
    {
        let level = simd::detected();
        if level >= Level::Avx512 {
            // SAFETY: the level is available.
            return unsafe { wide::avx512(kind, a, b, c, past_cache) };
        }
        if level >= Level::Avx2 {
            // SAFETY: the level is available.
            return unsafe { wide::avx2(kind, a, b, c, past_cache) };
        }
    }
    let _ = past_cache;
    rest(kind, a, b, c);
}

fn rest(kind: Stream, a: &mut [f32], b: &[f32], c: &[f32]) {
    match kind {
        Stream::Copy => a.copy_from_slice(b),
        Stream::Triad => a.iter_mut().zip(b.iter().zip(c)).for_each(|(a, (b, c))| *a = b + 3.0 * c),
        Stream::Read => a[0] = b.iter().sum(),
    }
}

#[cfg(target_arch = "x86_64")]
mod wide {
    use super::{Stream, rest};
    use std::arch::x86_64::*;

    macro_rules! stream {
        ($name:ident, $features:literal, $lanes:literal, $load:ident, $store:ident, $stream:ident, $set:ident,
         $fmadd:ident, $add:ident) => {
            /// The operands have one length.
            #[target_feature(enable = $features)]
            pub fn $name(kind: Stream, a: &mut [f32], b: &[f32], c: &[f32], past_cache: bool) {
                if kind == Stream::Read {
                    let mut sums = [$set(0.0); 8];
                    let blocks = b.chunks_exact(8 * $lanes);
                    let left: f32 = blocks.remainder().iter().sum();
                    for block in blocks {
                        for (k, sum) in sums.iter_mut().enumerate() {
                            // SAFETY: the block has 8 vectors.
                            *sum = $add(*sum, unsafe { $load(block.as_ptr().add(k * $lanes)) });
                        }
                    }
                    let mut lanes = [0f32; 8 * $lanes];
                    for (k, sum) in sums.into_iter().enumerate() {
                        // SAFETY: the array has room for 8 vectors.
                        unsafe { $store(lanes.as_mut_ptr().add(k * $lanes), sum) };
                    }
                    a[0] = lanes.iter().sum::<f32>() + left;
                    return;
                }
                let three = $set(3.0);
                // What goes to memory directly must be aligned.
                let before = if past_cache { a.as_ptr().align_offset(4 * $lanes).min(a.len()) } else { 0 };
                rest(kind, &mut a[..before], &b[..before], &c[..before]);
                let end = before + (a.len() - before) / $lanes * $lanes;
                for i in (before..end).step_by($lanes) {
                    // SAFETY: i + lanes <= end, the length of all three at most; i is aligned for direct stores.
                    unsafe {
                        let b = $load(b.as_ptr().add(i));
                        let value = match kind {
                            Stream::Triad => $fmadd($load(c.as_ptr().add(i)), three, b),
                            Stream::Copy | Stream::Read => b,
                        };
                        if past_cache {
                            $stream(a.as_mut_ptr().add(i), value);
                        } else {
                            $store(a.as_mut_ptr().add(i), value);
                        }
                    }
                }
                // Direct stores are not ordered with others.
                _mm_sfence();
                rest(kind, &mut a[end..], &b[end..], &c[end..]);
            }
        };
    }

    stream!(
        avx2,
        "avx2,fma",
        8,
        _mm256_loadu_ps,
        _mm256_storeu_ps,
        _mm256_stream_ps,
        _mm256_set1_ps,
        _mm256_fmadd_ps,
        _mm256_add_ps
    );
    stream!(
        avx512,
        "avx512f",
        16,
        _mm512_loadu_ps,
        _mm512_storeu_ps,
        _mm512_stream_ps,
        _mm512_set1_ps,
        _mm512_fmadd_ps,
        _mm512_add_ps
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_do_what_they_say_at_any_alignment_and_length() {
        let source: Vec<f32> = (0..100).map(|i| i as f32).collect();
        for start in 0..20 {
            for len in [0, 1, 15, 16, 17, 47, 64] {
                for past_cache in [false, true] {
                    for kind in [Stream::Copy, Stream::Triad] {
                        let mut all = vec![-1.0f32; 100];
                        let (b, c) = (&source[7..7 + len], &source[3..3 + len]);
                        stream(kind, &mut all[start..start + len], b, c, past_cache);
                        for (i, &found) in all.iter().enumerate() {
                            let expected = match i.checked_sub(start).filter(|&k| k < len) {
                                Some(k) if kind == Stream::Copy => b[k],
                                Some(k) => b[k] + 3.0 * c[k],
                                None => -1.0,
                            };
                            assert_eq!(found, expected, "{kind:?} of {len} at {start}, element {i}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_read_sees_every_element_once() {
        // Whole numbers, so that the order of the additions does not matter.
        let b: Vec<f32> = (0..300).map(|i| i as f32).collect();
        for len in [1, 7, 127, 128, 129, 300] {
            let mut a = vec![0.0; len];
            stream(Stream::Read, &mut a, &b[..len], &b[..len], false);
            assert_eq!(a[0], (len * (len - 1) / 2) as f32, "{len} elements");
        }
    }

    #[test]
    fn operations_are_counted_by_lane() {
        let widest = match crate::simd::detected() {
            Level::Portable => 4.0,
            Level::Avx2 => 8.0,
            Level::Avx512 => 16.0,
        };
        let one = (2 * CHAINS * 10) as f64;
        assert_eq!(multiply_add(Unit::Scalar, 10), one);
        assert_eq!(multiply_add(Unit::Vectors(Level::Portable), 10), 4.0 * one);
        assert_eq!(multiply_add(Unit::Vectors(Level::Avx512), 10), widest * one);
    }
}
