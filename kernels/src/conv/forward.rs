//! `y = x ⋆ w` as one product per group: weights [out, (in, tap)] × patches [(in, tap), (image, pixel)].

use super::patches::{Axis, Patches};
use super::{Conv, ConvBlock, ConvEpilogue};
use crate::gemm::loops::{AnyProduct, Target};
use crate::gemm::strided::Strided;
use crate::gemm::tasks::Grid;
use crate::gemm::{Float, SharedMut, kernel::MAX_NR};
use crate::{par, simd};
use std::ops::Range;

impl Conv {
    /// The patches of `x` (address of the group's first channel) that y's positions see.
    pub(super) fn patches<T>(&self, x: *const T) -> Patches<T> {
        let axis = |i: usize| Axis {
            len: self.input[i],
            out: self.output[i],
            taps: self.kernel[i],
            step: self.stride[i],
            tap_step: self.dilation[i] as isize,
            offset: -(self.padding[i] as isize),
        };
        let image_stride = self.in_channels * self.input[0] * self.input[1];
        Patches { src: x, image_stride, axes: [axis(0), axis(1)] }
    }
}

/// See [`super::forward()`]; y is not empty.
///
/// # Safety
/// As [`super::forward()`].
pub unsafe fn run<T: Float>(c: &Conv, x: *const T, w: *const T, y: *mut T, epilogue: ConvEpilogue) {
    let kernels = T::kernels(simd::level());
    let (group_in, group_out) = (c.group_in(), c.group_out());
    let (area, k) = (c.output[0] * c.output[1], group_in * c.taps());
    let size = [group_out, c.batch * area, k];
    let grid = Grid::new(c.groups, size, kernels.mr(), kernels.nr());
    let (x, w, y) = (SharedMut(x.cast_mut()), SharedMut(w.cast_mut()), SharedMut(y));
    par::for_each(grid.tasks(), |task| {
        let (groups, rows, cols) = grid.task(task);
        for group in groups {
            let first_channel = group * group_out;
            let target = Planes { y: y.at(0), channels: c.out_channels, first_channel, area, epilogue };
            let product = AnyProduct {
                kernels,
                size,
                left: &Strided { ptr: w.at(first_channel * k), strides: [k as isize, 1], in_place: false },
                right: &c.patches(x.at(group * group_in * c.input[0] * c.input[1])),
                target: &target,
            };
            // SAFETY: the caller vouches for x, w and y; tasks have disjoint parts of y.
            unsafe { product.run(rows.clone(), cols.clone()) };
        }
    });
}

/// Planes of a batch of images as a target: rows = channels, columns = (image, pixel).
pub struct Planes<'a, T> {
    /// First element of image 0.
    pub y: *mut T,
    /// Channels of an image.
    pub channels: usize,
    /// The channel that is row 0.
    pub first_channel: usize,
    /// Pixels of a plane.
    pub area: usize,
    /// What to call on finished blocks.
    pub epilogue: ConvEpilogue<'a>,
}

// SAFETY: an address and numbers; writes are those of the five loops, whose callers keep tasks apart.
unsafe impl<T: Sync> Sync for Planes<'_, T> {}

impl<T> Planes<'_, T> {
    fn at(&self, row: usize, col: usize) -> *mut T {
        let channel = col / self.area * self.channels + self.first_channel + row;
        self.y.wrapping_add(channel * self.area + col % self.area)
    }

    /// Cuts columns at image borders.
    fn images(&self, cols: Range<usize>) -> impl Iterator<Item = Range<usize>> {
        let area = self.area;
        (cols.start / area..cols.end.div_ceil(area))
            .map(move |image| cols.start.max(image * area)..cols.end.min((image + 1) * area))
    }
}

impl<T: Float> Target<T> for Planes<'_, T> {
    fn in_place(&self, row: usize, cols: Range<usize>) -> Option<(*mut T, isize)> {
        (cols.start / self.area == (cols.end - 1) / self.area)
            .then(|| (self.at(row, cols.start), self.area as isize))
    }

    unsafe fn scatter(&self, rows: Range<usize>, cols: Range<usize>, tile: *const T, accumulate: bool) {
        for part in self.images(cols.clone()) {
            for row in rows.clone() {
                // SAFETY: the tile holds the row; a part of it is adjacent in y, and this thread's.
                unsafe {
                    let tile = tile.add((row - rows.start) * MAX_NR + part.start - cols.start);
                    let y = std::slice::from_raw_parts_mut(self.at(row, part.start), part.len());
                    for (i, y) in y.iter_mut().enumerate() {
                        let value = *tile.add(i);
                        *y = if accumulate { *y + value } else { value };
                    }
                }
            }
        }
    }

    fn finish(&self, rows: Range<usize>, cols: Range<usize>) {
        let Some(epilogue) = self.epilogue else { return };
        let channels = self.first_channel + rows.start..self.first_channel + rows.end;
        for part in self.images(cols) {
            let image = part.start / self.area;
            let pixels = part.start - image * self.area..part.end - image * self.area;
            epilogue(ConvBlock { image, channels: channels.clone(), pixels });
        }
    }
}
