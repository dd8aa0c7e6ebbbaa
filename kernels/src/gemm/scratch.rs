//! Memory for packed panels: each thread keeps its buffers from call to call.

use std::cell::Cell;

/// Bytes of a cache line, on which buffers start.
const LINE: usize = 64;

thread_local! {
    static KEPT: Cell<Vec<Vec<u64>>> = const { Cell::new(Vec::new()) };
}

/// Calls `f` with at least `len` elements of memory on a cache line, holding any (initialised) bytes.
///
/// The buffer is out of its place for the time of the call: if `f` comes here again on this thread (for another
/// buffer, in an epilogue that multiplies matrices itself, or in a task that rayon runs here meanwhile), it gets
/// another one. So nothing waits and nothing is shared; a thread keeps as many buffers as it ever used at once.
pub fn with<T, R>(len: usize, f: impl FnOnce(*mut T) -> R) -> R {
    const { assert!(align_of::<T>() <= LINE) };
    let need = (len * size_of::<T>() + LINE).div_ceil(size_of::<u64>());
    let mut kept = KEPT.take();
    // The smallest that is large enough, else the largest: so nested buffers keep their sizes.
    let best = (0..kept.len()).min_by_key(|&i| (kept[i].len() < need, kept[i].len().abs_diff(need)));
    let mut words = best.map(|i| kept.swap_remove(i)).unwrap_or_default();
    KEPT.set(kept);
    if words.len() < need {
        words.resize(need, 0);
    }
    let start = words.as_mut_ptr().cast::<u8>();
    let result = f(start.wrapping_add(start.align_offset(LINE)).cast());
    let mut kept = KEPT.take();
    kept.push(words);
    KEPT.set(kept);
    result
}
