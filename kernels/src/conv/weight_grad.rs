//! The gradient of w as one product per group: dy [out, (image, pixel)] × patches [(image, pixel), (in, tap)].
//!
//! The sums run over the whole batch and are long where the result is small, so the batch is cut into chunks, which
//! are summed apart and added in order. The cut depends on the shape alone, and so does every bit.

use super::Conv;
use super::patches::Transposed;
use crate::gemm::kernel::Kernels;
use crate::gemm::loops::{AnyProduct, Left};
use crate::gemm::strided::Contiguous;
use crate::gemm::tasks::Grid;
use crate::gemm::{Float, SharedMut, scratch};
use crate::{par, simd};
use std::ops::Range;

/// Most chunks of the batch.
const CHUNKS: usize = 8;
/// Results up to this many elements are worth adding from several chunks.
const SMALL: usize = 1 << 17;
/// Multiply-adds that a chunk has at least.
const CHUNK_WORK: usize = 1 << 24;

/// Chunks of the batch that have enough work.
pub(super) fn chunks(c: &Conv) -> usize {
    let work = c.batch * c.output[0] * c.output[1] * c.w_len();
    (work / CHUNK_WORK).clamp(1, CHUNKS)
}

/// Images of one chunk.
pub(super) fn chunk(c: &Conv) -> usize {
    let chunks = if c.w_len() > SMALL { 1 } else { chunks(c) };
    c.batch.div_ceil(chunks).max(1)
}

/// See [`super::weight_grad()`]; dw is not empty.
///
/// # Safety
/// As [`super::weight_grad()`].
pub unsafe fn run<T: Float>(c: &Conv, x: *const T, dy: *const T, dw: *mut T) {
    let (len, per_chunk) = (c.w_len(), chunk(c));
    let chunks = c.batch.div_ceil(per_chunk).max(1);
    if chunks == 1 {
        // SAFETY: handed on.
        return unsafe { products(c, x, dy, dw, per_chunk) };
    }
    scratch::with(chunks * len, |parts: *mut T| {
        // SAFETY: handed on, with room for every chunk's sum.
        unsafe { products(c, x, dy, parts, per_chunk) };
        let (parts, dw) = (SharedMut(parts), SharedMut(dw));
        let piece = 1 << 14;
        par::for_each(len.div_ceil(piece), |task| {
            let range = task * piece..len.min((task + 1) * piece);
            // SAFETY: the pieces of dw are disjoint, the chunks' sums are no longer written to.
            unsafe {
                let dw = std::slice::from_raw_parts_mut(dw.at(range.start), range.len());
                dw.copy_from_slice(std::slice::from_raw_parts(parts.at(range.start), range.len()));
                for chunk in 1..chunks {
                    let part = std::slice::from_raw_parts(parts.at(chunk * len + range.start), range.len());
                    dw.iter_mut().zip(part).for_each(|(dw, &part)| *dw = *dw + part);
                }
            }
        });
    });
}

/// The sum of each chunk of images, into `out` one after the other.
unsafe fn products<T: Float>(c: &Conv, x: *const T, dy: *const T, out: *mut T, per_chunk: usize) {
    let kernels = T::kernels(simd::level());
    let (group_in, group_out) = (c.group_in(), c.group_out());
    let (plane, area) = (c.input[0] * c.input[1], c.output[0] * c.output[1]);
    let (cols, chunks) = (group_in * c.taps(), c.batch.div_ceil(per_chunk).max(1));
    let grid = Grid::new(chunks * c.groups, [group_out, cols, per_chunk * area], kernels.mr(), kernels.nr());
    let (x, dy, out) = (SharedMut(x.cast_mut()), SharedMut(dy.cast_mut()), SharedMut(out));
    par::for_each(grid.tasks(), |task| {
        let (products, down, across) = grid.task(task);
        for index in products {
            let (first, group) = (index / c.groups * per_chunk, index % c.groups);
            let images = per_chunk.min(c.batch - first);
            let product = AnyProduct {
                kernels,
                size: [group_out, cols, images * area],
                left: &Pixels {
                    dy: dy.at((first * c.out_channels + group * group_out) * area),
                    image_stride: c.out_channels * area,
                    area,
                },
                right: &Transposed(c.patches(x.at((first * c.in_channels + group * group_in) * plane))),
                target: &Contiguous {
                    ptr: SharedMut(out.at(index * group_out * cols)),
                    cols,
                    batch: 0,
                    epilogue: None,
                },
            };
            // SAFETY: the caller vouches for x, dy and out; tasks have disjoint parts of it.
            unsafe { product.run(down.clone(), across.clone()) };
        }
    });
}

/// Planes of a batch of images on the left: rows = channels, k = (image, pixel).
struct Pixels<T> {
    dy: *const T,
    image_stride: usize,
    area: usize,
}

// SAFETY: an address and numbers; it is read only in `pack`, whose caller vouches for it.
unsafe impl<T: Sync> Sync for Pixels<T> {}

impl<T: Float> Left<T> for Pixels<T> {
    fn in_place(&self, _: usize, _: usize) -> Option<(*const T, isize)> {
        None
    }

    unsafe fn pack(&self, kernels: &Kernels<T>, rows: Range<usize>, ks: Range<usize>, out: *mut T) {
        let (count, area, mut k) = (rows.len(), self.area, ks.start);
        while k < ks.end {
            // The rest of this image; single pixels of many images are at one stride, so all of them.
            let len = if area == 1 { ks.end - k } else { (area - k % area).min(ks.end - k) };
            let down = if area == 1 { self.image_stride as isize } else { 1 };
            let from = k / area * self.image_stride + rows.start * area + k % area;
            // SAFETY: pixels k .. k + len of these channels are inside dy, and `out` holds them in their place;
            // what is written past them is written again or in the slack.
            unsafe {
                let out = out.add((k - ks.start) * count);
                kernels.pack(len, count, count, self.dy.add(from), area as isize, down, out);
            }
            k += len;
        }
    }
}
