//! Memory for tensor data: aligned buffers from a pool, so that after the first step nothing is asked of the system.

use gradus_kernels::huge;
use std::alloc::{Layout, alloc, dealloc};
use std::collections::HashMap;
use std::ptr::NonNull;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

/// Every buffer starts on a cache line, which is also an AVX-512 vector.
const ALIGN: usize = 64;
/// From so many bytes on, sizes are rounded up less.
const FINE: usize = 1 << 12;

/// Memory statistics of the process. See [`memory_stats`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryStats {
    /// Bytes that tensors hold now, not counting what the pool holds back.
    pub live: usize,
    /// The most they have held at once since the start or [`reset_peak`].
    pub peak: usize,
    /// How often the system was asked for tensor memory. Constant from the second step of a training loop on.
    pub system_allocations: usize,
}

/// Bytes held by tensors now and at most, and how often the system was asked for more.
pub fn memory_stats() -> MemoryStats {
    pool().stats
}

/// Starts the measurement of the peak anew.
pub fn reset_peak() {
    let stats = &mut pool().stats;
    stats.peak = stats.live;
}

/// Gives the memory that no tensor uses back to the system: all of a chunk that no tensor has a part of.
pub fn trim_memory() {
    pool().trim();
}

/// Bytes of the smallest chunk and of the largest that is made for more than one buffer.
const CHUNKS: [usize; 2] = [16 * huge::PAGE, 32 * huge::PAGE];

/// Memory of the system that buffers are cut from, one after the other. Most are smaller than a huge page or end inside
/// of one, so that they must share them to lie in them; and matrices in small pages make products of them a fifth slower.
struct Chunk {
    start: NonNull<u8>,
    layout: Layout,
    /// Bytes that have been cut off, from the start.
    cut: usize,
    /// Buffers that tensors hold.
    held: usize,
}

impl Chunk {
    fn new(bytes: usize) -> Option<Chunk> {
        let layout = Layout::from_size_align(bytes.checked_next_multiple_of(huge::PAGE)?, huge::PAGE).ok()?;
        // SAFETY: the size is not zero, as no class is.
        let start = NonNull::new(unsafe { alloc(layout) })?;
        Some(Chunk { start, layout, cut: 0, held: 0 })
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout; the pool drops a chunk when no tensor holds a part of it and has
        // forgotten its free blocks.
        unsafe { dealloc(self.start.as_ptr(), self.layout) };
    }
}

/// A part of a chunk.
#[derive(Clone, Copy)]
struct Block {
    start: NonNull<u8>,
    chunk: u32,
}

/// All memory for tensors.
#[derive(Default)]
struct Pool {
    /// A chunk keeps its place for life.
    chunks: Vec<Option<Chunk>>,
    /// Free blocks by size class.
    free: HashMap<usize, Vec<Block>>,
    stats: MemoryStats,
}

// SAFETY: chunks and the blocks in the pool are plain memory that the pool alone has addresses of.
unsafe impl Send for Pool {}

/// The pool.
fn pool() -> MutexGuard<'static, Pool> {
    static POOL: LazyLock<Mutex<Pool>> = LazyLock::new(Mutex::default);
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pool {
    /// A block of this class.
    fn take(&mut self, class: usize) -> Option<Block> {
        let block = match self.free.get_mut(&class).and_then(Vec::pop) {
            Some(block) => block,
            None => self.cut(class).or_else(|| {
                self.trim();
                self.cut(class)
            })?,
        };
        self.chunk(block).held += 1;
        self.stats.live += class;
        self.stats.peak = self.stats.peak.max(self.stats.live);
        Some(block)
    }

    fn put(&mut self, class: usize, block: Block) {
        self.chunk(block).held -= 1;
        self.stats.live -= class;
        self.free.entry(class).or_default().push(block);
    }

    fn chunk(&mut self, block: Block) -> &mut Chunk {
        self.chunks[block.chunk as usize].as_mut().expect("a chunk lives as long as its blocks")
    }

    /// Cuts a block off the first chunk that has room, or off a new one. A page becomes a huge one when all of it has been
    /// cut off: what no buffer uses takes no memory.
    fn cut(&mut self, class: usize) -> Option<Block> {
        let has_room = |c: &Option<Chunk>| c.as_ref().is_some_and(|c| c.layout.size() - c.cut >= class);
        let index = match self.chunks.iter().position(has_room) {
            Some(index) => index,
            None => {
                let all: usize = self.chunks.iter().flatten().map(|c| c.layout.size()).sum();
                let usual = all.clamp(CHUNKS[0], CHUNKS[1]);
                let chunk = Chunk::new(usual.max(class)).or_else(|| Chunk::new(class))?;
                self.stats.system_allocations += 1;
                let index = self.chunks.iter().position(Option::is_none).unwrap_or(self.chunks.len());
                self.chunks.resize_with(self.chunks.len().max(index + 1), || None);
                self.chunks[index] = Some(chunk);
                index
            }
        };
        let chunk = self.chunks[index].as_mut()?;
        // SAFETY: the chunk has room for `class` bytes after those cut off.
        let start = unsafe { chunk.start.add(chunk.cut) };
        let whole = [chunk.cut, chunk.cut + class].map(|cut| cut / huge::PAGE * huge::PAGE);
        // SAFETY: these are pages of the chunk, which is alive.
        unsafe {
            let first = chunk.start.add(whole[0]);
            huge::prefer(first, whole[1] - whole[0]);
            if whole[0] < chunk.cut && chunk.cut < whole[1] {
                huge::collapse(first);
            }
        }
        chunk.cut += class;
        Some(Block { start, chunk: index as u32 })
    }

    fn trim(&mut self) {
        let idle = |chunk: &Option<Chunk>| chunk.as_ref().is_some_and(|c| c.held == 0);
        let idle: Vec<bool> = self.chunks.iter().map(idle).collect();
        for blocks in self.free.values_mut() {
            blocks.retain(|block| !idle[block.chunk as usize]);
        }
        self.free.retain(|_, blocks| !blocks.is_empty());
        for (chunk, idle) in self.chunks.iter_mut().zip(idle) {
            *chunk = chunk.take().filter(|_| !idle);
        }
    }
}

/// Rounds up to one of eight sizes per power of two, of 32 where it is large; `None` when no such size exists.
fn size_class(bytes: usize) -> Option<usize> {
    let bytes = bytes.max(ALIGN);
    let parts = if bytes < FINE { 16 } else { 64 };
    let step = (bytes.checked_next_power_of_two()? / parts).max(ALIGN);
    bytes.checked_next_multiple_of(step).filter(|&c| c <= isize::MAX as usize - huge::PAGE)
}

/// A piece of memory that tensors share; back to the pool with the last of them.
pub(crate) struct Buffer {
    block: Block,
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
        let block = pool().take(class).ok_or(bytes)?;
        Ok(Buffer { block, class })
    }

    /// Whether it is what a request for `bytes` would give.
    pub fn suits(&self, bytes: usize) -> bool {
        size_class(bytes) == Some(self.class)
    }

    /// The first byte.
    pub fn as_ptr(&self) -> *mut u8 {
        self.block.start.as_ptr()
    }

    /// The number of bytes.
    pub fn len(&self) -> usize {
        self.class
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        pool().put(self.class, self.block);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_waste_at_most_a_seventh() {
        for bytes in (1..3_000_000).step_by(37) {
            let class = size_class(bytes).unwrap();
            let rounded = if bytes < FINE { bytes / 7 + ALIGN } else { bytes / 31 };
            assert!(class >= bytes && class - bytes <= rounded, "{bytes} -> {class}");
            assert_eq!(size_class(class), Some(class));
        }
        assert!(size_class(usize::MAX / 2).is_none());
    }

    #[test]
    fn a_block_comes_back_before_another_is_cut() {
        let mut pool = Pool::default();
        let (a, b) = (pool.take(4096).unwrap(), pool.take(4096).unwrap());
        assert_eq!(a.start.as_ptr().wrapping_add(4096), b.start.as_ptr(), "side by side in one chunk");
        pool.put(4096, a);
        assert_eq!(pool.take(4096).unwrap().start, a.start);
        assert_eq!((pool.chunks.len(), pool.chunk(a).cut, pool.chunk(a).held), (1, 8192, 2));
    }

    #[test]
    fn trimming_gives_back_what_nothing_uses() {
        let mut pool = Pool::default();
        let (kept, large) = (pool.take(64).unwrap(), CHUNKS[1] + 64);
        let gone = pool.take(large).unwrap();
        assert_ne!(kept.chunk, gone.chunk);
        pool.put(large, gone);
        pool.trim();
        assert!(pool.chunks[kept.chunk as usize].is_some() && pool.chunks[gone.chunk as usize].is_none());
        assert!(pool.free.is_empty());
        // The place of the chunk is free for another.
        assert_eq!(pool.take(large).unwrap().chunk, gone.chunk);
        pool.put(64, kept);
        pool.trim();
        assert!(pool.chunks[kept.chunk as usize].is_none());
    }

    /// Pages that are made huge while buffers lie in them keep what is there.
    #[test]
    fn blocks_across_huge_pages_keep_their_bytes() {
        let (mut pool, class) = (Pool::default(), size_class(huge::PAGE * 5 / 8).unwrap());
        let blocks: Vec<Block> = (0..8u8)
            .map(|i| {
                let block = pool.take(class).unwrap();
                // SAFETY: the block is `class` bytes long and nobody else's.
                unsafe { block.start.write_bytes(i + 1, class) };
                block
            })
            .collect();
        for (i, block) in blocks.iter().enumerate() {
            // SAFETY: as above.
            let bytes = unsafe { std::slice::from_raw_parts(block.start.as_ptr(), class) };
            assert!(bytes.iter().all(|&b| b == i as u8 + 1));
        }
    }

    #[test]
    fn an_absurd_request_is_refused() {
        assert_eq!(Buffer::new(isize::MAX as usize).err(), Some(isize::MAX as usize));
    }
}
