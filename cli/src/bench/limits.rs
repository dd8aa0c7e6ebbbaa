//! What the machine can do at most: measured first, shown, and asked for as shares are printed.

use super::table::Table;
use crate::output::say;
use gradus::kernels::peak::{Stream, Unit};
use gradus::kernels::simd::{self, Level};
use gradus_bench::machine::{Memory, Rate, flops, memory_levels};
use std::collections::HashMap;

/// The best rates seen so far. A machine whose clock goes up later raises them, so that no share is flattered by a
/// slow moment.
pub struct Limits {
    /// FLOP/s by level and threads.
    flops: HashMap<(&'static str, usize), f64>,
    /// Bytes a second by stream, bytes in all and threads.
    bytes: HashMap<(&'static str, usize, usize), f64>,
}

/// Seconds for each limit when it is measured first, and when it is looked at again.
const FIRST: f64 = 0.12;
const AGAIN: f64 = 0.004;

fn name(kind: Stream) -> &'static str {
    match kind {
        Stream::Copy => "copy",
        Stream::Triad => "triad",
        Stream::Read => "read",
    }
}

fn units() -> Vec<(&'static str, Unit)> {
    let levels = simd::available().into_iter().map(|l| (l.name(), Unit::Vectors(l)));
    [("scalar", Unit::Scalar)].into_iter().chain(levels).collect()
}

/// 1 and `threads`, once each.
fn counts(threads: usize) -> Vec<usize> {
    if threads > 1 { vec![1, threads] } else { vec![1] }
}

/// `1 thread`, `2 threads`.
pub fn threads_in_words(n: usize) -> String {
    if n == 1 { String::from("1 thread") } else { format!("{n} threads") }
}

impl Limits {
    /// None measured yet: each is when it is asked for.
    pub fn unknown() -> Limits {
        Limits { flops: HashMap::new(), bytes: HashMap::new() }
    }

    /// Measures and shows all limits; fewer when `quick`. Gives up when `stopped` says so.
    pub fn measure(threads: usize, json: bool, quick: bool, stopped: &dyn Fn() -> bool) -> Limits {
        let mut limits = Limits::unknown();
        limits.show_flops(threads, json, stopped);
        if !quick && !stopped() {
            limits.show_memory(threads, json, stopped);
        }
        limits
    }

    fn show_flops(&mut self, threads: usize, json: bool, stopped: &dyn Fn() -> bool) {
        let headings: Vec<(String, bool)> = units().iter().map(|u| (u.0.to_string(), false)).collect();
        let table = (!json).then(|| Table::new("multiply-adds, f32", "GFLOP/s", [], &headings));
        for n in counts(threads) {
            table.iter().for_each(|t| t.name(&threads_in_words(n)));
            for (name, unit) in units() {
                if stopped() {
                    break;
                }
                let rate = flops(unit, n, FIRST);
                self.flops.insert((name, n), rate.best());
                match &table {
                    Some(table) => table.rate(name, rate.best() / 1e9),
                    None => say(&line("peak", &format!("fma_{name}"), n, &rate, "flops", "gflops")),
                }
            }
            table.iter().for_each(Table::end);
        }
    }

    fn show_memory(&mut self, threads: usize, json: bool, stopped: &dyn Fn() -> bool) {
        let levels = memory_levels();
        let headings: Vec<(String, bool)> =
            levels.iter().map(|l| (format!("{} {}", l.name, size(l.bytes)), false)).collect();
        let table = (!json).then(|| Table::new("memory, 3 arrays", "GB/s", [18], &headings));
        for n in counts(threads) {
            for kind in [Stream::Copy, Stream::Triad, Stream::Read] {
                table.iter().for_each(|t| t.name(&format!("{}, {}", name(kind), threads_in_words(n))));
                for (level, (heading, _)) in levels.iter().zip(&headings) {
                    if stopped() {
                        break;
                    }
                    // Caches of their own grow with the threads; main memory does not.
                    let bytes = level.bytes * if level.name == "DRAM" { 1 } else { n };
                    let rate = Memory::new(bytes, n).bandwidth(kind, FIRST);
                    match &table {
                        Some(table) => table.rate(heading, rate.best() / 1e9),
                        None => {
                            let what = format!("{}_{}", name(kind), level.name.to_lowercase());
                            say(&line("membw", &what, n, &rate, "bytes", "gbps"));
                        }
                    }
                }
                table.iter().for_each(Table::end);
            }
        }
    }

    /// FLOP/s of multiply-adds of a level on so many threads.
    pub fn flops(&mut self, level: Level, threads: usize) -> f64 {
        let key = (level.name(), threads);
        let seconds = if self.flops.contains_key(&key) { AGAIN } else { FIRST };
        let now = flops(Unit::Vectors(level), threads, seconds).best();
        let best = self.flops.entry(key).or_insert(0.0);
        *best = best.max(now);
        *best
    }

    /// Bytes a second of a stream over so many bytes in all.
    pub fn bandwidth(&mut self, kind: Stream, bytes: usize, threads: usize) -> f64 {
        *self.bytes.entry((name(kind), bytes, threads)).or_insert_with(|| {
            // The three arrays are there whatever the stream uses of them.
            let all = bytes / kind.bytes() * 12;
            Memory::new(all, threads).bandwidth(kind, FIRST).best()
        })
    }
}

/// `24 KiB`, `1 MiB`.
fn size(bytes: usize) -> String {
    if bytes < 1 << 20 { format!("{} KiB", bytes >> 10) } else { format!("{} MiB", bytes >> 20) }
}

fn line(suite: &str, name: &str, threads: usize, rate: &Rate, amount: &str, unit: &str) -> String {
    let Rate { amount: of, timing: t } = rate;
    format!(
        "{{\"suite\":\"{suite}\",\"name\":\"{name}\",\"impl\":\"gradus\",\"threads\":{threads},{},\"{amount}\":{of:.6e},\
         \"{unit}\":{:.3}}}",
        t.fields(),
        of / t.median / 1e9
    )
}
