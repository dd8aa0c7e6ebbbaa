//! Memory for packed panels: each thread keeps its buffers from call to call.

use std::cell::Cell;

/// One cache line, so that panels start on one.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line(#[allow(dead_code)] [u8; 64]);

thread_local! {
    static KEPT: Cell<Vec<Vec<Line>>> = const { Cell::new(Vec::new()) };
}

/// Calls `f` with at least `len` elements of memory on a cache line, holding any (initialised) bytes.
///
/// The buffer is out of its place for the time of the call: if `f` comes here again on this thread (for another
/// buffer, in an epilogue that multiplies matrices itself, or in a task that rayon runs here meanwhile), it gets
/// another one. So nothing waits and nothing is shared; a thread keeps as many buffers as it ever used at once.
pub fn with<T, R>(len: usize, f: impl FnOnce(*mut T) -> R) -> R {
    const { assert!(align_of::<T>() <= align_of::<Line>()) };
    let mut kept = KEPT.take();
    let mut lines = kept.pop().unwrap_or_default();
    KEPT.set(kept);
    let need = (len * size_of::<T>()).div_ceil(size_of::<Line>());
    if lines.len() < need {
        lines.resize(need, Line([0; 64]));
    }
    let result = f(lines.as_mut_ptr().cast());
    let mut kept = KEPT.take();
    kept.push(lines);
    KEPT.set(kept);
    result
}
