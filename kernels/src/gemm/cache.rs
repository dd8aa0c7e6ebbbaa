//! The size of the second-level cache, which blocks are fitted to. It has no influence on results.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Where the processor does not say: what a core has on most machines.
const USUAL: usize = 1 << 20;

static KNOWN: AtomicUsize = AtomicUsize::new(0);

/// Bytes of the second-level cache of a core.
pub fn second_level() -> usize {
    match KNOWN.load(Ordering::Relaxed) {
        0 => {
            let size = reported().unwrap_or(USUAL).clamp(256 << 10, 4 << 20);
            KNOWN.store(size, Ordering::Relaxed);
            size
        }
        size => size,
    }
}

/// What CPUID says. Leaf 4 (Intel) and leaf 0x8000_001D (AMD) list the caches in the same format: Intel, "Software
/// Developer's Manual", volume 2A; AMD, "Architecture Programmer's Manual", volume 3, appendix E.
#[cfg(target_arch = "x86_64")]
fn reported() -> Option<usize> {
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    const UNIFIED: u32 = 3;
    [4, 0x8000_001d].into_iter().filter(|leaf| __cpuid(leaf & 0x8000_0000).eax >= *leaf).find_map(|leaf| {
        let list = (0..8).map(|index| __cpuid_count(leaf, index)).take_while(|cache| cache.eax & 31 != 0);
        let bits = |word: u32, from: u32, count: u32| (word >> from & ((1 << count) - 1)) as usize + 1;
        list.filter(|cache| cache.eax & 31 == UNIFIED && cache.eax >> 5 & 7 == 2)
            .map(|cache| {
                let line = bits(cache.ebx, 0, 12) * bits(cache.ebx, 12, 10);
                line * bits(cache.ebx, 22, 10) * (cache.ecx as usize + 1)
            })
            .next()
    })
}

#[cfg(not(target_arch = "x86_64"))]
fn reported() -> Option<usize> {
    None
}
