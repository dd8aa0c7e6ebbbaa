//! Planes brought together lane by lane, so that what a vector holds no longer depends on how wide an image is.

use super::patches::copy_every;
use crate::gemm::Float;
use crate::gemm::kernel::{Kernels, SLACK};

/// Pixels that are transposed at once: their vectors stay in the first-level cache until they are put in their places.
const PIECE: usize = 64;

/// Elements of `room` that the functions here need.
pub fn room<T: Float>(kernels: &Kernels<T>) -> usize {
    PIECE.max(kernels.nr()) * kernels.nr() + SLACK
}

/// Some planes of the same pixels: which become the lanes of one pixel's vectors.
pub struct Planes<T> {
    /// First pixel of the first plane; pixels are adjacent.
    pub src: *const T,
    /// How many, at most as many as there are lanes.
    pub count: usize,
    /// Elements from one to the next.
    pub stride: usize,
}

/// Asks for some adjacent elements of each of `count` planes before they are needed: from one channel to the next,
/// addresses are too far apart for the processor to guess. Any address will do.
pub fn prefetch<T>(first: *const T, pixels: usize, stride: usize, count: usize) {
    #[cfg(target_arch = "x86_64")]
    for plane in 0..count {
        for pixel in (0..pixels).step_by(64 / size_of::<T>()) {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            // SAFETY: a hint that reads nothing.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(first.wrapping_add(plane * stride + pixel).cast()) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (first, pixels, stride, count);
}

/// Puts `lanes` lanes, one vector or two, of pixel p at `to + places[p]`: zeros for the planes that are missing.
///
/// # Safety
/// The planes hold as many pixels as there are places; the places are live, and nobody else's; `room` has as many
/// elements as [`room`] says.
pub unsafe fn interleave<T: Float>(
    kernels: &Kernels<T>,
    lanes: usize,
    planes: &Planes<T>,
    places: &[usize],
    to: *mut T,
    room: *mut T,
) {
    // SAFETY: handed on.
    unsafe {
        match lanes {
            2 => pieces::<T, 2>(kernels, planes, places, to, room),
            4 => pieces::<T, 4>(kernels, planes, places, to, room),
            8 => pieces::<T, 8>(kernels, planes, places, to, room),
            16 => pieces::<T, 16>(kernels, planes, places, to, room),
            32 => pieces::<T, 32>(kernels, planes, places, to, room),
            _ => unreachable!("no level has vectors of {lanes} lanes, or half of that"),
        }
    }
}

unsafe fn pieces<T: Float, const LANES: usize>(
    kernels: &Kernels<T>,
    planes: &Planes<T>,
    places: &[usize],
    to: *mut T,
    room: *mut T,
) {
    for (piece, places) in places.chunks(PIECE).enumerate() {
        let src = planes.src.wrapping_add(piece * PIECE);
        // SAFETY: these pixels are inside the planes, their vectors inside `room`; the caller vouches for the places.
        unsafe {
            (kernels.transpose)(places.len(), planes.count, LANES, src, planes.stride as isize, room);
            for (p, &place) in places.iter().enumerate() {
                to.add(place).cast::<[T; LANES]>().write(room.add(p * LANES).cast::<[T; LANES]>().read());
            }
        }
    }
}

/// The way back: lane l of pixel p, found at `src + p * pitch + l`, goes to pixel p of plane l.
///
/// # Safety
/// `src` holds whole vectors for `pixels` pixels; pixel 0 of `count` planes, `stride` elements apart, is at `to`, and
/// all are live and nobody else's; `room` has as many elements as [`room`] says.
#[expect(clippy::too_many_arguments, reason = "two layouts and where they are")]
pub unsafe fn separate<T: Float>(
    kernels: &Kernels<T>,
    src: *const T,
    pitch: usize,
    pixels: usize,
    to: *mut T,
    stride: usize,
    count: usize,
    room: *mut T,
) {
    for first in (0..pixels).step_by(kernels.nr()) {
        let len = kernels.nr().min(pixels - first);
        // SAFETY: `room` holds `count` rows of `len` (each at most nr) and slack; the rows belong into the planes.
        unsafe {
            (kernels.transpose)(count, len, len, src.add(first * pitch), pitch as isize, room);
            for lane in 0..count {
                let to = std::slice::from_raw_parts_mut(to.add(lane * stride + first), len);
                copy_every::<T, 1>(room.add(lane * len), to);
            }
        }
    }
}
