//! Moving boxes of elements between strided memory and tiles. Types do not matter here, only sizes.

use crate::simd::Level;
#[cfg(all(target_arch = "x86_64", feature = "avx512"))]
use std::mem::MaybeUninit;

/// The axes of a box that have more than one element, outermost first: lengths, and strides in elements.
#[derive(Clone, Copy)]
pub(super) struct Strided<'a> {
    pub lens: &'a [usize],
    pub strides: &'a [isize],
}

impl<'a> Strided<'a> {
    fn inner(self) -> Strided<'a> {
        Strided { lens: &self.lens[1..], strides: &self.strides[1..] }
    }
}

/// Copies the box at `src` to `dst`, contiguous and row-major.
///
/// # Safety
/// Every element of the box is readable, `dst` is writable for as many, both are aligned to `size` (1, 4 or 8),
/// and they do not overlap.
pub(super) unsafe fn gather(size: usize, dst: *mut u8, src: *const u8, of: Strided) {
    // SAFETY: the caller's promise.
    unsafe {
        match size {
            1 => gather_box::<u8>(dst, src, of),
            4 => gather_box::<u32>(dst.cast(), src.cast(), of),
            _ => gather_box::<u64>(dst.cast(), src.cast(), of),
        }
    }
}

/// Copies `src`, contiguous and row-major, to the box at `dst`.
///
/// # Safety
/// As [`gather`], the other way round.
pub(super) unsafe fn scatter(size: usize, dst: *mut u8, src: *const u8, of: Strided) {
    // SAFETY: the caller's promise.
    unsafe {
        match size {
            1 => scatter_box::<u8>(dst, src, of),
            4 => scatter_box::<u32>(dst.cast(), src.cast(), of),
            _ => scatter_box::<u64>(dst.cast(), src.cast(), of),
        }
    }
}

/// Copies `bytes` contiguous bytes past the caches: what is written will not be read soon, and must not be fetched
/// before it is overwritten. [`fence`] makes it visible to other threads.
///
/// # Safety
/// `src` is readable and `dst` writable for `bytes`, and they do not overlap.
pub(super) unsafe fn stream(level: Level, dst: *mut u8, src: *const u8, bytes: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        let head = dst.align_offset(64).min(bytes);
        let lines = (bytes - head) / 64;
        let done = head + lines * 64;
        // SAFETY: head, whole lines and tail are the `bytes` of the caller's promise; lines start at multiples of 64.
        unsafe {
            std::ptr::copy_nonoverlapping(src, dst, head);
            self::lines(level, dst.add(head), src.add(head), lines);
            std::ptr::copy_nonoverlapping(src.add(done), dst.add(done), bytes - done);
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    // SAFETY: the caller's promise.
    unsafe {
        let _ = level;
        std::ptr::copy_nonoverlapping(src, dst, bytes)
    }
}

/// Copies whole cache lines past the caches, as [`stream`] does.
///
/// # Safety
/// As [`stream`], for `lines` of 64 bytes; `dst` is a multiple of 64.
pub(super) unsafe fn lines(level: Level, dst: *mut u8, src: *const u8, lines: usize) {
    // SAFETY: the caller's promise; a level is one that the machine has.
    unsafe {
        match level {
            #[cfg(all(target_arch = "x86_64", feature = "avx512"))]
            Level::Avx512 => stream_lines_512(dst, src, lines),
            _ => stream_lines(dst, src, lines),
        }
    }
}

/// Copies whole cache lines past the caches.
///
/// # Safety
/// As [`stream`], for `lines` of 64 bytes; `dst` is a multiple of 64.
#[cfg(target_arch = "x86_64")]
unsafe fn stream_lines(dst: *mut u8, src: *const u8, lines: usize) {
    use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_stream_si128};
    for part in 0..4 * lines {
        // SAFETY: the caller's promise.
        unsafe {
            _mm_stream_si128(
                dst.cast::<__m128i>().add(part),
                _mm_loadu_si128(src.cast::<__m128i>().add(part)),
            );
        }
    }
}

/// Copies whole lines; there is no way past the caches.
///
/// # Safety
/// As [`stream`], for `lines` of 64 bytes.
#[cfg(not(target_arch = "x86_64"))]
unsafe fn stream_lines(dst: *mut u8, src: *const u8, lines: usize) {
    // SAFETY: the caller's promise.
    unsafe { std::ptr::copy_nonoverlapping(src, dst, 64 * lines) }
}

/// [`stream_lines`], a line at a time.
///
/// # Safety
/// As [`stream_lines`]; the machine has AVX-512.
#[cfg(all(target_arch = "x86_64", feature = "avx512"))]
#[target_feature(enable = "avx512f")]
unsafe fn stream_lines_512(dst: *mut u8, src: *const u8, lines: usize) {
    use std::arch::x86_64::{__m512i, _mm512_loadu_si512, _mm512_stream_si512};
    for line in 0..lines {
        // SAFETY: the caller's promise.
        unsafe {
            let from = src.cast::<__m512i>().add(line);
            _mm512_stream_si512(dst.cast::<__m512i>().add(line), _mm512_loadu_si512(from));
        }
    }
}

/// Writes elements, 16 bytes or whole lines of them, past the caches.
///
/// # Safety
/// `to` is writable, and a multiple of 64; the machine has AVX-512.
#[cfg(all(target_arch = "x86_64", feature = "avx512"))]
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn stream_block_512<T: Copy, const N: usize>(
    to: *mut [MaybeUninit<T>; N],
    block: &[MaybeUninit<T>; N],
) {
    use std::arch::x86_64::{__m128i, __m512i, _mm_loadu_si128, _mm_stream_si128};
    use std::arch::x86_64::{_mm512_loadu_si512, _mm512_stream_si512};
    let from = block.as_ptr();
    // SAFETY: the caller's promise; the block has that many bytes.
    unsafe {
        if size_of_val(block) == 16 {
            return _mm_stream_si128(to.cast(), _mm_loadu_si128(from.cast::<__m128i>()));
        }
        for line in 0..size_of_val(block) / 64 {
            let part = _mm512_loadu_si512(from.cast::<__m512i>().add(line));
            _mm512_stream_si512(to.cast::<__m512i>().add(line), part);
        }
    }
}

/// Orders what was written by [`stream`] before whatever the thread writes next.
pub(super) fn fence() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a fence touches no memory, and every x86-64 has it.
    unsafe {
        std::arch::x86_64::_mm_sfence()
    }
}

/// Writes the element at `src` to every element of `dst`, contiguous.
///
/// # Safety
/// `src` is readable and `dst` writable for `n` elements, both aligned to `size` (1, 4 or 8).
pub(super) unsafe fn fill(size: usize, dst: *mut u8, src: *const u8, n: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        match size {
            1 => std::slice::from_raw_parts_mut(dst, n).fill(*src),
            4 => std::slice::from_raw_parts_mut(dst.cast::<u32>(), n).fill(*src.cast()),
            _ => std::slice::from_raw_parts_mut(dst.cast::<u64>(), n).fill(*src.cast()),
        }
    }
}

/// # Safety
/// As [`gather`].
unsafe fn gather_box<T: Copy>(dst: *mut T, src: *const T, of: Strided) {
    // SAFETY: every offset below is that of an element of the box, or of its place in the tile.
    unsafe {
        match (of.lens, of.strides) {
            ([], _) => *dst = *src,
            (&[n], &[1]) => std::ptr::copy_nonoverlapping(src, dst, n),
            (&[n], &[0]) => std::slice::from_raw_parts_mut(dst, n).fill(*src),
            (&[n], &[s]) => (0..n).for_each(|i| *dst.add(i) = *src.offset(i as isize * s)),
            (&[m, n], &[1, s]) if s != 0 => {
                // A transposed block: read along memory, write across the tile.
                for j in 0..n {
                    let row = src.offset(j as isize * s);
                    (0..m).for_each(|i| *dst.add(i * n + j) = *row.add(i));
                }
            }
            _ => {
                let inner: usize = of.lens[1..].iter().product();
                gather_box(dst, src, of.inner());
                for i in 1..of.lens[0] {
                    let row = dst.add(i * inner);
                    if of.strides[0] == 0 {
                        std::ptr::copy_nonoverlapping(dst, row, inner);
                    } else {
                        gather_box(row, src.offset(i as isize * of.strides[0]), of.inner());
                    }
                }
            }
        }
    }
}

/// # Safety
/// As [`scatter`].
unsafe fn scatter_box<T: Copy>(dst: *mut T, src: *const T, of: Strided) {
    // SAFETY: every offset below is that of an element of the box, or of its place in the tile.
    unsafe {
        match (of.lens, of.strides) {
            ([], _) => *dst = *src,
            (&[n], &[1]) => std::ptr::copy_nonoverlapping(src, dst, n),
            (&[n], &[s]) => (0..n).for_each(|i| *dst.offset(i as isize * s) = *src.add(i)),
            _ => {
                let inner: usize = of.lens[1..].iter().product();
                for i in 0..of.lens[0] {
                    scatter_box(dst.offset(i as isize * of.strides[0]), src.add(i * inner), of.inner());
                }
            }
        }
    }
}
