//! What the processor can do at most, measured: the rates that kernels are judged by.

use crate::timing::Timing;
use gradus::kernels::peak::{Stream, Unit, multiply_add, stream};
use std::sync::Barrier;
use std::time::Instant;

/// How fast something was done, sample by sample.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// What was done in a sample: floating-point operations or bytes.
    pub amount: f64,
    /// The seconds that it took.
    pub timing: Timing,
}

impl Rate {
    /// The best rate, a second.
    pub fn best(&self) -> f64 {
        self.amount / self.timing.min
    }
}

/// Rounds of multiply-adds that take about a millisecond or less.
const ROUNDS: usize = 100_000;

/// Runs `work` on `threads` threads at once; the seconds from the first start to the last end.
fn together<T: Send>(state: &mut [T], work: impl Fn(&mut T) + Sync) -> f64 {
    let barrier = Barrier::new(state.len());
    let (barrier, work) = (&barrier, &work);
    let times: Vec<(Instant, Instant)> = std::thread::scope(|scope| {
        let run = |state| {
            scope.spawn(move || {
                barrier.wait();
                let start = Instant::now();
                work(state);
                (start, Instant::now())
            })
        };
        let threads: Vec<_> = state.iter_mut().map(run).collect();
        threads.into_iter().map(|t| t.join().expect("the work does not panic")).collect()
    });
    let start = times.iter().map(|t| t.0).min().expect("there are threads");
    let end = times.iter().map(|t| t.1).max().expect("there are threads");
    (end - start).as_secs_f64()
}

/// Multiply-adds in f32, for `seconds`: a multiplication and an addition count one each.
pub fn flops(unit: Unit, threads: usize, seconds: f64) -> Rate {
    let (begin, mut times, mut done) = (Instant::now(), Vec::new(), vec![0.0; threads]);
    while times.is_empty() || begin.elapsed().as_secs_f64() < seconds {
        times.push(together(&mut done, |done| *done = multiply_add(unit, ROUNDS)));
    }
    Rate { amount: done.iter().sum(), timing: Timing::of(times) }
}

/// Arrays for streams on several threads, each thread's its own, first touched by it.
pub struct Memory {
    arrays: Vec<[Vec<f32>; 3]>,
}

impl Memory {
    /// Three arrays for each thread, `bytes` in all.
    pub fn new(bytes: usize, threads: usize) -> Memory {
        let n = (bytes / threads / 12).max(16);
        let mut arrays = vec![[const { Vec::new() }; 3]; threads];
        together(&mut arrays, |own| *own = [0.0, 1.0, 2.0].map(|x| vec![x; n]));
        Memory { arrays }
    }

    /// Bytes read and written, for `seconds`. Stores that go past the caches are tried, too, and the better ones count.
    pub fn bandwidth(&mut self, kind: Stream, seconds: f64) -> Rate {
        let n = self.arrays[0][0].len();
        // A sample of at least a megabyte, or the clock's own cost would show.
        let turns = (1 << 18) / n + 1;
        let amount = (kind.bytes() * n * turns * self.arrays.len()) as f64;
        let [through, past] = [false, true].map(|past_cache| {
            let (begin, mut times) = (Instant::now(), Vec::new());
            while times.is_empty() || begin.elapsed().as_secs_f64() < seconds / 2.0 {
                times.push(together(&mut self.arrays, |[a, b, c]| {
                    for _ in 0..turns {
                        stream(kind, a, b, c, past_cache);
                        std::hint::black_box(&a);
                    }
                }));
            }
            Timing::of(times)
        });
        Rate { amount, timing: if past.min < through.min { past } else { through } }
    }
}

/// A cache, or main memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryLevel {
    /// L1, L2, L3 or DRAM.
    pub name: String,
    /// Bytes to measure it with, for one thread: half of the cache, or four times the largest.
    pub bytes: usize,
}

/// The levels of memory of the first processor, as Linux tells; elsewhere sizes that are common.
pub fn memory_levels() -> Vec<MemoryLevel> {
    let read = |index: usize, file: &str| {
        let path = format!("/sys/devices/system/cpu/cpu0/cache/index{index}/{file}");
        std::fs::read_to_string(path).ok().map(|text| text.trim().to_string())
    };
    let mut caches: Vec<(usize, usize)> = (0..8)
        .filter(|&i| read(i, "type").is_some_and(|t| t != "Instruction"))
        .filter_map(|i| Some((read(i, "level")?.parse().ok()?, size(&read(i, "size")?)?)))
        .collect();
    if caches.is_empty() {
        caches = vec![(1, 32 << 10), (2, 512 << 10), (3, 16 << 20)];
    }
    caches.sort_unstable();
    caches.dedup_by_key(|c| c.0);
    let largest = caches.iter().map(|c| c.1).max().unwrap_or(0);
    let level = |&(level, size): &(usize, usize)| MemoryLevel {
        name: format!("L{level}"),
        // A cache shared by a whole machine is not ours alone.
        bytes: (size / 2).min(LARGEST / 4),
    };
    let mut levels: Vec<MemoryLevel> = caches.iter().map(level).collect();
    levels.push(MemoryLevel { name: "DRAM".into(), bytes: (4 * largest).clamp(LARGEST / 2, LARGEST) });
    levels
}

/// No stream is longer than this: a benchmark must not take a small machine's memory.
const LARGEST: usize = 512 << 20;

/// `48K` or `2M` in bytes.
fn size(text: &str) -> Option<usize> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let shift = match unit {
        "" => 0,
        "K" => 10,
        "M" => 20,
        _ => return None,
    };
    number.parse::<usize>().ok().map(|n| n << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        assert_eq!((size("48K"), size("2M"), size("7")), (Some(48 << 10), Some(2 << 20), Some(7)));
        assert_eq!((size("many"), size("2G")), (None, None));
    }

    #[test]
    fn memory_gets_larger_and_ends_outside_the_chip() {
        let levels = memory_levels();
        assert!(levels.len() >= 2 && levels.windows(2).all(|w| w[0].bytes < w[1].bytes), "{levels:?}");
        assert_eq!(levels.last().map(|l| l.name.as_str()), Some("DRAM"));
    }

    #[test]
    fn rates_are_positive() {
        assert!(flops(Unit::Scalar, 2, 0.0).best() > 0.0);
        let mut memory = Memory::new(48 << 10, 2);
        for kind in [Stream::Copy, Stream::Triad, Stream::Read] {
            assert!(memory.bandwidth(kind, 0.0).best() > 0.0);
        }
    }
}
