//! Huge pages: where a buffer is large, fewer faults at its first touch, and far fewer misses of the address translation.

use std::ptr::NonNull;

/// Bytes of a huge page. Buffers of several start on one, so that the system can back them with them.
pub const PAGE: usize = 2 << 20;

/// Asks the system to back the whole huge pages of a buffer, which starts on one, with one each when they are first
/// touched.
///
/// # Safety
/// The `bytes` bytes from `start` on are of one live allocation.
pub unsafe fn prefer(start: NonNull<u8>, bytes: usize) {
    if bytes >= PAGE {
        // SAFETY: handed on.
        unsafe { advise(start, bytes & !(PAGE - 1), 14) }; // MADV_HUGEPAGE
    }
}

/// Asks the system to back a huge page now with one, if parts of it are in small pages.
///
/// # Safety
/// The [`PAGE`] bytes from `start` on are of one live allocation.
pub unsafe fn collapse(start: NonNull<u8>) {
    // SAFETY: handed on.
    unsafe { advise(start, PAGE, 25) }; // MADV_COLLAPSE
}

/// Gives an advice that changes no content. A system that does not take it says so, and nothing is lost.
///
/// # Safety
/// The `bytes` bytes from `start` on are whole pages of one live allocation.
#[cfg(target_os = "linux")]
unsafe fn advise(start: NonNull<u8>, bytes: usize, advice: std::ffi::c_int) {
    use std::ffi::{c_int, c_void};
    unsafe extern "C" {
        fn madvise(start: *mut c_void, bytes: usize, advice: c_int) -> c_int;
    }
    // SAFETY: the caller vouches for the range.
    unsafe { madvise(start.as_ptr().cast(), bytes, advice) };
}

/// Other systems decide by themselves.
#[cfg(not(target_os = "linux"))]
unsafe fn advise(_: NonNull<u8>, _: usize, _: std::ffi::c_int) {}
