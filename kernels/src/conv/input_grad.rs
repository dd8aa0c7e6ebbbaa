//! The gradient of x, which is transposed convolution, by stride phase.
//!
//! Input position i receives from the taps k with `i + padding - k * dilation` divisible by the stride. Which taps
//! these are depends on `(i + padding) mod stride` only. So the positions fall into stride × stride phases, each of
//! which is a dense correlation of dy with its own taps: no inserted zero is ever multiplied. One product per group
//! and phase: weights [in, (out, tap)] × patches of dy [(out, tap), (image, position of the phase)].

use super::patches::{Axis, Patches};
use super::{Conv, ConvBlock, ConvEpilogue};
use crate::gemm::kernel::{Kernels, MAX_NR};
use crate::gemm::loops::{Left, Product, Target};
use crate::gemm::tasks::Grid;
use crate::gemm::{Float, SharedMut};
use crate::{par, simd};
use std::ops::Range;

/// One phase of one axis.
#[derive(Clone, Copy, Debug)]
struct Phase {
    /// Its first input position; the next ones follow `stride` apart.
    first: usize,
    /// Input positions from one to the next.
    stride: usize,
    /// First tap, and the distance to the next.
    tap: usize,
    tap_step: usize,
    /// How its positions and taps read dy.
    axis: Axis,
}

/// The phases of axis `i` that have positions.
fn phases(c: &Conv, i: usize) -> Vec<Phase> {
    let (stride, dilation, padding) = (c.stride[i], c.dilation[i].max(1), c.padding[i]);
    // Taps that far apart fall into the same phase.
    let tap_step = stride / gcd(stride, dilation);
    let phase = |first: usize| {
        let tap =
            (0..tap_step.min(c.kernel[i])).find(|k| k * dilation % stride == (first + padding) % stride);
        let axis = Axis {
            len: c.output[i],
            out: (c.input[i] - first).div_ceil(stride),
            taps: tap.map_or(0, |tap| (c.kernel[i] - tap).div_ceil(tap_step)),
            step: 1,
            tap_step: -((tap_step * dilation / stride) as isize),
            offset: tap
                .map_or(0, |tap| ((first + padding) as isize - (tap * dilation) as isize) / stride as isize),
        };
        Phase { first, stride, tap: tap.unwrap_or(0), tap_step, axis }
    };
    (0..stride.min(c.input[i])).map(phase).collect()
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// See [`super::input_grad`]; dx is not empty.
///
/// # Safety
/// As [`super::input_grad`].
pub unsafe fn run<T: Float>(c: &Conv, dy: *const T, w: *const T, dx: *mut T, epilogue: ConvEpilogue) {
    let kernels = T::kernels(simd::level());
    let (group_in, group_out) = (c.in_channels / c.groups, c.out_channels / c.groups);
    let (area, out_area, taps) =
        (c.input[0] * c.input[1], c.output[0] * c.output[1], c.kernel[0] * c.kernel[1]);
    let phases = [phases(c, 0), phases(c, 1)];
    // Each multiply-add of the forward pass is one here.
    let depth = (group_out * taps * out_area).div_ceil(area);
    let grid = Grid::new(c.groups, [group_in, c.batch * area, depth], kernels.mr(), area);
    let (dy, w, dx) = (SharedMut(dy.cast_mut()), SharedMut(w.cast_mut()), SharedMut(dx));
    par::for_each(grid.tasks(), |task| {
        let (groups, rows, cols) = grid.task(task);
        let images = cols.start / area..cols.end / area;
        for group in groups {
            let first_channel = group * group_in;
            for (row, col) in phases[0].iter().flat_map(|row| phases[1].iter().map(move |col| (row, col))) {
                let dy = dy.at((images.start * c.out_channels + group * group_out) * out_area);
                let dx = dx.at((images.start * c.in_channels + first_channel) * area);
                let positions = row.axis.out * col.axis.out;
                let product = Product {
                    kernels,
                    size: [group_in, images.len() * positions, group_out * row.axis.taps * col.axis.taps],
                    left: &Weights {
                        w: w.at(group * group_out * group_in * taps),
                        group_in,
                        c,
                        phase: [*row, *col],
                    },
                    right: &Patches {
                        src: dy,
                        image_stride: c.out_channels * out_area,
                        axes: [row.axis, col.axis],
                    },
                    target: &Spread { dx, c, phase: [*row, *col] },
                };
                // SAFETY: the caller vouches for dy, w and dx; tasks have disjoint rows or images of dx, phases
                // disjoint positions.
                unsafe { product.run(rows.clone(), 0..images.len() * positions) };
            }
            if let Some(epilogue) = epilogue {
                let channels = first_channel + rows.start..first_channel + rows.end;
                images.clone().for_each(|image| {
                    epilogue(ConvBlock { image, channels: channels.clone(), pixels: 0..area });
                });
            }
        }
    });
}

/// The weights of one phase: rows = input channels, k = (output channel, tap of the phase).
struct Weights<'a, T> {
    w: *const T,
    group_in: usize,
    c: &'a Conv,
    phase: [Phase; 2],
}

// SAFETY: an address and numbers; it is read only in `pack`, whose caller vouches for it.
unsafe impl<T: Sync> Sync for Weights<'_, T> {}

impl<T: Float> Left<T> for Weights<'_, T> {
    fn in_place(&self, _: usize, _: usize) -> Option<(*const T, isize)> {
        None
    }

    unsafe fn pack(&self, _: &Kernels<T>, rows: Range<usize>, ks: Range<usize>, out: *mut T) {
        let ([row, col], kernel) = (self.phase, self.c.kernel);
        let (taps, all) = (row.axis.taps * col.axis.taps, kernel[0] * kernel[1]);
        for (p, k) in ks.enumerate() {
            let (channel, tap) = (k / taps, k % taps);
            let kh = row.tap + tap / col.axis.taps * row.tap_step;
            let kw = col.tap + tap % col.axis.taps * col.tap_step;
            let from = (channel * self.group_in + rows.start) * all + kh * kernel[1] + kw;
            for i in 0..rows.len() {
                // SAFETY: the channels and the tap are inside w; `out` has rows.len() elements for each k.
                unsafe { *out.add(p * rows.len() + i) = *self.w.add(from + i * all) };
            }
        }
    }
}

/// The positions of one phase as a target: rows = input channels, columns = (image, position).
struct Spread<'a, T> {
    dx: *mut T,
    c: &'a Conv,
    phase: [Phase; 2],
}

// SAFETY: an address and numbers; writes are those of the five loops, whose callers keep tasks apart.
unsafe impl<T: Sync> Sync for Spread<'_, T> {}

impl<T> Spread<'_, T> {
    /// Offset in dx of row 0, column `col`.
    fn at(&self, col: usize) -> usize {
        let [row, column] = self.phase;
        let (c, [down, across]) = (self.c, [row.axis.out, column.axis.out]);
        let (image, position) = (col / (down * across), col % (down * across));
        let y = row.first + position / across * row.stride;
        let x = column.first + position % across * column.stride;
        (image * c.in_channels * c.input[0] + y) * c.input[1] + x
    }
}

impl<T: Float> Target<T> for Spread<'_, T> {
    fn in_place(&self, row: usize, cols: Range<usize>) -> Option<(*mut T, isize)> {
        let area = self.c.input[0] * self.c.input[1];
        let dense = self.phase[0].stride == 1 && self.phase[1].stride == 1;
        (dense && cols.start / area == (cols.end - 1) / area)
            .then(|| (self.dx.wrapping_add(row * area + self.at(cols.start)), area as isize))
    }

    unsafe fn scatter(&self, rows: Range<usize>, cols: Range<usize>, tile: *const T, accumulate: bool) {
        let (area, mut offsets) = (self.c.input[0] * self.c.input[1], [0; MAX_NR]);
        for (offset, col) in offsets.iter_mut().zip(cols.clone()) {
            *offset = self.at(col);
        }
        for row in rows.clone() {
            for (j, offset) in offsets[..cols.len()].iter().enumerate() {
                // SAFETY: the tile holds the element, and its place in dx is this thread's.
                unsafe {
                    let value = *tile.add((row - rows.start) * MAX_NR + j);
                    let dx = self.dx.add(row * area + offset);
                    *dx = if accumulate { *dx + value } else { value };
                }
            }
        }
    }

    fn finish(&self, _: Range<usize>, _: Range<usize>) {}
}
