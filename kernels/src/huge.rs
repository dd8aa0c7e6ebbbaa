//! Huge pages: where a buffer is large, fewer faults at its first touch, and far fewer misses of the address translation.

use std::ptr::NonNull;

/// Bytes of a huge page. Buffers of several start on one, so that the system can back them with them.
pub const PAGE: usize = 2 << 20;

/// Asks the system to back the whole huge pages of a buffer, which starts on one, with one each.
///
/// # Safety
/// The `bytes` bytes from `start` on are of one live allocation.
#[cfg(target_os = "linux")]
pub unsafe fn prefer(start: NonNull<u8>, bytes: usize) {
    use std::ffi::{c_int, c_void};
    unsafe extern "C" {
        fn madvise(start: *mut c_void, bytes: usize, advice: c_int) -> c_int;
    }
    const MADV_HUGEPAGE: c_int = 14;
    if bytes >= PAGE {
        // SAFETY: the range is whole pages inside an allocation, and the advice changes no content. A system that
        // does not take it says so, and nothing is lost.
        unsafe { madvise(start.as_ptr().cast(), bytes & !(PAGE - 1), MADV_HUGEPAGE) };
    }
}

/// Asks for nothing: other systems decide by themselves.
///
/// # Safety
/// None is needed.
#[cfg(not(target_os = "linux"))]
pub unsafe fn prefer(_: NonNull<u8>, _: usize) {}
