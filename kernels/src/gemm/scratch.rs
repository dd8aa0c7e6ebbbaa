//! Memory for packed panels: each thread keeps its buffers from call to call.

use crate::huge;
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::Cell;
use std::ptr::NonNull;

/// Bytes of a cache line, on which buffers start.
const LINE: usize = 64;
/// From this size on, a buffer is made of huge pages: it is read again and again, in long strides.
const LARGE: usize = huge::PAGE / 4;

thread_local! {
    static KEPT: Cell<Vec<Buffer>> = const { Cell::new(Vec::new()) };
}

/// Calls `f` with at least `len` elements of memory on a cache line, holding any (initialised) bytes.
///
/// The buffer is out of its place for the time of the call: if `f` comes here again on this thread (for another
/// buffer, in an epilogue that multiplies matrices itself, or in a task that rayon runs here meanwhile), it gets
/// another one. So nothing waits and nothing is shared; a thread keeps as many buffers as it ever used at once.
pub fn with<T, R>(len: usize, f: impl FnOnce(*mut T) -> R) -> R {
    const { assert!(align_of::<T>() <= LINE) };
    let need = (len * size_of::<T>()).max(LINE);
    let mut kept = KEPT.take();
    // The smallest that is large enough, else the largest: so nested buffers keep their sizes.
    let best = (0..kept.len()).min_by_key(|&i| {
        let bytes = kept[i].layout.size();
        (bytes < need, bytes.abs_diff(need))
    });
    let buffer = best.map(|i| kept.swap_remove(i)).filter(|buffer| buffer.layout.size() >= need);
    KEPT.set(kept);
    let buffer = buffer.unwrap_or_else(|| Buffer::new(need));
    let result = f(buffer.start.as_ptr().cast());
    let mut kept = KEPT.take();
    kept.push(buffer);
    KEPT.set(kept);
    result
}

/// Initialised memory.
struct Buffer {
    start: NonNull<u8>,
    layout: Layout,
}

impl Buffer {
    /// At least `bytes` bytes, of which there are some.
    fn new(bytes: usize) -> Buffer {
        let align = if bytes >= LARGE { huge::PAGE } else { LINE };
        let layout = Layout::from_size_align(bytes, align)
            .expect("fewer bytes than half of all addresses")
            .pad_to_align();
        // SAFETY: the layout is not empty.
        let start = unsafe { alloc(layout) };
        let Some(start) = NonNull::new(start) else { handle_alloc_error(layout) };
        // SAFETY: the range is that of the allocation. The advice comes first: it holds for pages not touched yet.
        unsafe {
            huge::prefer(start, layout.size());
            start.write_bytes(0, layout.size());
        }
        Buffer { start, layout }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout, and nobody else has the address.
        unsafe { dealloc(self.start.as_ptr(), self.layout) }
    }
}
