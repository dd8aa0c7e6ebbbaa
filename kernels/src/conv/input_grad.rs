//! The gradient of x, which is transposed convolution, by stride phase.
//!
//! Input position i receives from the taps k with `i + padding - k * dilation` divisible by the stride. Which taps
//! these are depends on `(i + padding) mod stride` only. So the positions fall into stride × stride phases, each of
//! which is a dense correlation of dy with its own taps: no inserted zero is ever multiplied. One product per group
//! and phase: weights [in, (out, tap)] × patches of dy [(out, tap), (image, position of the phase)]. The phases of
//! some images are computed apart and then woven together.

use super::forward::Planes;
use super::patches::{Axis, Patches};
use super::{Conv, ConvBlock, ConvEpilogue};
use crate::gemm::loops::AnyProduct;
use crate::gemm::strided::{Contiguous, Strided};
use crate::gemm::tasks::Grid;
use crate::gemm::{Float, SharedMut, scratch};
use crate::{par, simd};
use std::ops::Range;

/// One phase of one axis.
#[derive(Clone, Copy, Debug)]
struct Phase {
    /// First tap, and the distance to the next.
    tap: usize,
    tap_step: usize,
    /// How its positions and taps read dy.
    axis: Axis,
}

/// The phases of axis `i` that have positions: phase r has r, r + stride, …
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
        Phase { tap: tap.unwrap_or(0), tap_step, axis }
    };
    (0..stride.min(c.input[i])).map(phase).collect()
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// One phase of the plane.
struct Part {
    axes: [Phase; 2],
    /// Taps of the phases before this one.
    taps_before: usize,
}

impl Part {
    fn taps(&self) -> usize {
        self.axes[0].axis.taps * self.axes[1].axis.taps
    }

    fn positions(&self) -> usize {
        self.axes[0].axis.out * self.axes[1].axis.out
    }
}

/// All phases, rows outermost.
fn parts(c: &Conv) -> Vec<Part> {
    let columns = phases(c, 1);
    let mut parts: Vec<Part> = vec![];
    for row in phases(c, 0) {
        for &column in &columns {
            let taps_before = parts.last().map_or(0, |last| last.taps_before + last.taps());
            parts.push(Part { axes: [row, column], taps_before });
        }
    }
    parts
}

/// Positions of a phase that are computed before they are woven: enough columns for the five loops, and the buffer
/// stays in the caches.
const WOVEN: usize = 1024;

/// Weights that one task sorts.
const SORTED: usize = 1 << 16;

/// What all tasks share.
struct Pass<'a, T> {
    c: &'a Conv,
    parts: Vec<Part>,
    dy: SharedMut<T>,
    /// The weights, ordered by group, phase, (out, tap) and in.
    w: SharedMut<T>,
    dx: SharedMut<T>,
    epilogue: ConvEpilogue<'a>,
}

/// See [`super::input_grad()`]; dx is not empty.
///
/// # Safety
/// As [`super::input_grad()`].
pub unsafe fn run<T: Float>(c: &Conv, dy: *const T, w: *const T, dx: *mut T, epilogue: ConvEpilogue) {
    let parts = parts(c);
    scratch::with(c.w_len(), |sorted: *mut T| {
        let pass = Pass {
            c,
            parts,
            dy: SharedMut(dy.cast_mut()),
            w: SharedMut(sorted),
            dx: SharedMut(dx),
            epilogue,
        };
        let (area, out_area) = (c.input[0] * c.input[1], c.output[0] * c.output[1]);
        // There are as many multiply-adds as in the forward pass.
        let depth = (c.group_out() * c.taps() * out_area).div_ceil(area);
        let mr = T::kernels(simd::level()).mr();
        let grid = Grid::new(c.groups, [c.group_in(), c.batch * area, depth], mr, area);
        // SAFETY: the caller vouches for dy, w and dx; `sorted` has room for w; tasks have disjoint channels or
        // images of dx.
        unsafe {
            sort_weights(c, &pass.parts, w, &pass.w);
            par::for_each(grid.tasks(), |task| {
                let (groups, rows, cols) = grid.task(task);
                for group in groups {
                    pass.task(group, rows.clone(), cols.start / area..cols.end / area);
                }
            });
        }
    });
}

/// Brings the weights into the order in which the phases read them, with the input channels adjacent.
unsafe fn sort_weights<T: Float>(c: &Conv, parts: &[Part], w: *const T, sorted: &SharedMut<T>) {
    let (group_in, group_out, taps) = (c.group_in(), c.group_out(), c.taps());
    let w = SharedMut(w.cast_mut());
    let channels_per_task = (SORTED / (group_in * taps).max(1)).max(1);
    par::for_each(c.out_channels.div_ceil(channels_per_task), |task| {
        let first = task * channels_per_task;
        let channels = first..c.out_channels.min(first + channels_per_task);
        for (channel, part) in channels.flat_map(|channel| parts.iter().map(move |part| (channel, part))) {
            let (group, out) = (channel / group_out, channel % group_out);
            let [row, column] = part.axes;
            for tap in 0..part.taps() {
                let kh = row.tap + tap / column.axis.taps * row.tap_step;
                let kw = column.tap + tap % column.axis.taps * column.tap_step;
                let from = w.at(channel * group_in * taps + kh * c.kernel[1] + kw);
                let k = (group * taps + part.taps_before) * group_out + out * part.taps() + tap;
                let to = sorted.at(k * group_in);
                for i in 0..group_in {
                    // SAFETY: tap (kh, kw) of input channel i is inside w; each tap belongs to one phase at most,
                    // so the places in `sorted` are distinct and inside.
                    unsafe { *to.add(i) = *from.add(i * taps) };
                }
            }
        }
    });
}

impl<T: Float> Pass<'_, T> {
    /// The input channels `rows` of `group`, all pixels of `images`.
    unsafe fn task(&self, group: usize, rows: Range<usize>, images: Range<usize>) {
        let (c, area) = (self.c, self.c.input[0] * self.c.input[1]);
        let first_channel = group * c.group_in();
        if let [part] = &self.parts[..] {
            let y = self.dx.at(images.start * c.in_channels * area);
            let epilogue = self.epilogue.map(|epilogue| {
                move |block: ConvBlock| epilogue(ConvBlock { image: images.start + block.image, ..block })
            });
            let epilogue = epilogue.as_ref().map(|f| f as &(dyn Fn(ConvBlock) + Sync));
            let target = Planes { y, channels: c.in_channels, first_channel, area, epilogue };
            // SAFETY: handed on.
            return unsafe { self.product(part, group, rows, images.clone(), &target) };
        }
        let most = self.parts.iter().map(Part::positions).max().unwrap_or(1);
        let at_once = (WOVEN / most).max(1).min(images.len());
        scratch::with(rows.len() * at_once * area, |buffer: *mut T| {
            for first in images.clone().step_by(at_once) {
                let some = first..images.end.min(first + at_once);
                let mut before = 0;
                for part in &self.parts {
                    let cols = some.len() * part.positions();
                    // Row `rows.start` of the target is the first of this phase in the buffer.
                    let ptr = SharedMut(buffer.wrapping_add(before).wrapping_sub(rows.start * cols));
                    let target = Contiguous { ptr, cols, batch: 0, epilogue: None };
                    // SAFETY: handed on; the buffer holds `rows` of all positions of these images.
                    unsafe { self.product(part, group, rows.clone(), some.clone(), &target) };
                    before += rows.len() * cols;
                }
                // SAFETY: the phases were all computed; channels and images of dx are this task's.
                unsafe { self.weave(buffer, first_channel, rows.clone(), some.clone()) };
                if let Some(epilogue) = self.epilogue {
                    let channels = first_channel + rows.start..first_channel + rows.end;
                    some.for_each(|image| {
                        epilogue(ConvBlock { image, channels: channels.clone(), pixels: 0..area })
                    });
                }
            }
        });
    }

    /// One phase of some channels of some images.
    unsafe fn product<C: crate::gemm::loops::Target<T>>(
        &self,
        part: &Part,
        group: usize,
        rows: Range<usize>,
        images: Range<usize>,
        target: &C,
    ) {
        let (c, out_area) = (self.c, self.c.output[0] * self.c.output[1]);
        let (group_in, group_out) = (c.group_in(), c.group_out());
        let cols = images.len() * part.positions();
        let product = AnyProduct {
            kernels: T::kernels(simd::level()),
            size: [group_in, cols, group_out * part.taps()],
            left: &Strided {
                ptr: self.w.at((group * c.taps() + part.taps_before) * group_out * group_in),
                strides: [1, group_in as isize],
                in_place: false,
            },
            right: &Patches {
                src: self.dy.at((images.start * c.out_channels + group * group_out) * out_area),
                image_stride: c.out_channels * out_area,
                axes: part.axes.map(|phase| phase.axis),
            },
            target,
        };
        // SAFETY: the caller vouches for the target; dy and the sorted weights hold what the operands say.
        unsafe { product.run(rows, 0..cols) }
    }

    /// Weaves the phases of some channels of some images into dx.
    unsafe fn weave(&self, buffer: *const T, first_channel: usize, rows: Range<usize>, images: Range<usize>) {
        let (c, stride) = (self.c, self.c.stride);
        let across = stride[1].min(c.input[1]);
        let mut before = 0;
        for (index, part) in self.parts.iter().enumerate() {
            let (first_row, first_column) = (index / across, index % across);
            let [down, columns] = part.axes.map(|phase| phase.axis.out);
            let mut from = buffer.wrapping_add(before);
            for channel in rows.clone() {
                for image in images.clone() {
                    let plane = (image * c.in_channels + first_channel + channel) * c.input[0];
                    for q in 0..down {
                        let to = self.dx.at((plane + first_row + q * stride[0]) * c.input[1] + first_column);
                        for x in 0..columns {
                            // SAFETY: position (q, x) of the phase is in the buffer and has its place in dx.
                            unsafe { *to.add(x * stride[1]) = *from.add(x) };
                        }
                        from = from.wrapping_add(columns);
                    }
                }
            }
            before += rows.len() * images.len() * part.positions();
        }
    }
}
