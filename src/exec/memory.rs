//! Memory for tensor data: aligned buffers from a pool, so that after the first step nothing is asked of the system.

use gradus_kernels::huge;
use std::alloc::{Layout, alloc, dealloc};
use std::collections::HashMap;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// Every buffer starts on a cache line, which is also an AVX-512 vector.
const ALIGN: usize = 64;

/// Bytes in use by tensors, not counting what the pool holds back.
static LIVE: AtomicUsize = AtomicUsize::new(0);
/// The largest value [`LIVE`] has had.
static PEAK: AtomicUsize = AtomicUsize::new(0);
/// How often the system was asked for memory.
static REQUESTS: AtomicUsize = AtomicUsize::new(0);
/// Free buffers by size class.
static POOL: Mutex<Option<HashMap<usize, Vec<Block>>>> = Mutex::new(None);

/// Memory statistics of the process. See [`memory_stats`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryStats {
    /// Bytes that tensors hold now.
    pub live: usize,
    /// The most they have held at once since the start or [`reset_peak`].
    pub peak: usize,
    /// How often the system was asked for tensor memory. Constant from the second step of a training loop on.
    pub system_allocations: usize,
}

/// Bytes held by tensors now and at most, and how often the system was asked for more.
pub fn memory_stats() -> MemoryStats {
    MemoryStats {
        live: LIVE.load(Relaxed),
        peak: PEAK.load(Relaxed),
        system_allocations: REQUESTS.load(Relaxed),
    }
}

/// Starts the measurement of the peak anew.
pub fn reset_peak() {
    PEAK.store(LIVE.load(Relaxed), Relaxed);
}

/// Gives the memory that no tensor uses back to the system.
pub fn trim_memory() {
    let held = POOL.lock().unwrap_or_else(PoisonError::into_inner).take();
    for (class, blocks) in held.into_iter().flatten() {
        for block in blocks {
            // SAFETY: a pooled block came from `alloc` with this very layout and nobody else has its address.
            unsafe { dealloc(block.0.as_ptr(), layout(class)) };
        }
    }
}

struct Block(NonNull<u8>);
// SAFETY: a block in the pool is owned by the pool alone; it is plain memory.
unsafe impl Send for Block {}

fn layout(class: usize) -> Layout {
    let align = if class >= huge::PAGE { huge::PAGE } else { ALIGN };
    // `size_class` keeps sizes far below the limit of Layout.
    Layout::from_size_align(class, align).expect("size classes are valid layouts")
}

/// Rounds up to one of four sizes per power of two; `None` when no such size exists.
fn size_class(bytes: usize) -> Option<usize> {
    let bytes = bytes.max(ALIGN);
    let step = (bytes.next_power_of_two() / 8).max(ALIGN);
    bytes.checked_next_multiple_of(step).filter(|&c| c <= isize::MAX as usize - huge::PAGE)
}

/// A piece of memory that tensors share; back to the pool with the last of them.
pub(crate) struct Buffer {
    start: NonNull<u8>,
    class: usize,
}

// SAFETY: a buffer is written only by the plan that created it, before anyone else has a handle, or took over the last
// handle on it; otherwise it is only read.
unsafe impl Send for Buffer {}
// SAFETY: as above.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// At least `bytes` bytes with unspecified content; on failure the number of bytes that could not be had.
    pub fn new(bytes: usize) -> Result<Buffer, usize> {
        let class = size_class(bytes).ok_or(bytes)?;
        let pooled = {
            let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
            pool.get_or_insert_with(HashMap::new).get_mut(&class).and_then(Vec::pop)
        };
        let start = match pooled {
            Some(block) => block.0,
            None => {
                REQUESTS.fetch_add(1, Relaxed);
                Self::from_system(class).ok_or(bytes)?
            }
        };
        let live = LIVE.fetch_add(class, Relaxed) + class;
        PEAK.fetch_max(live, Relaxed);
        Ok(Buffer { start, class })
    }

    fn from_system(class: usize) -> Option<NonNull<u8>> {
        // SAFETY: the layout is valid and its size is not zero.
        let found = NonNull::new(unsafe { alloc(layout(class)) });
        found.or_else(|| {
            trim_memory();
            // SAFETY: as above.
            NonNull::new(unsafe { alloc(layout(class)) })
        });
        // SAFETY: the range is that of the allocation.
        found.inspect(|&start| unsafe { huge::prefer(start, class) })
    }

    /// Whether it is what a request for `bytes` would give.
    pub fn suits(&self, bytes: usize) -> bool {
        size_class(bytes) == Some(self.class)
    }

    /// The first byte.
    pub fn as_ptr(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// The number of bytes.
    pub fn len(&self) -> usize {
        self.class
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        LIVE.fetch_sub(self.class, Relaxed);
        let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
        pool.get_or_insert_with(HashMap::new).entry(self.class).or_default().push(Block(self.start));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_waste_at_most_a_quarter() {
        for bytes in (1..100_000).step_by(37) {
            let class = size_class(bytes).unwrap();
            assert!(class >= bytes && (class <= 64.max(bytes + bytes / 4 + 64)), "{bytes} -> {class}");
        }
        assert!(size_class(usize::MAX / 2).is_none());
    }

    #[test]
    fn an_absurd_request_is_refused() {
        assert_eq!(Buffer::new(isize::MAX as usize).err(), Some(isize::MAX as usize));
    }
}
