//! Weight gradient tap by tap, for channels that fill vectors.
//!
//! For each tap, dw [out, in] is the sum over images and pixels of dy [out, pixel] x [pixel seen through the tap, in].
//! Of a block of images, dy is packed once for all taps and x transposed to `[image, pixel, channel]`, columns that
//! are a stride apart next to each other; then a tap sees x as it lies, row by row of pixels, and pixels that see
//! padding are left out. One batch-reduce product ([`super::reduce`]) per tap and register tile sums the block.
//!
//! The sum over the batch is cut into chunks and blocks by the shape alone, and so is every bit.

use super::Conv;
use super::ahead::{Lines, Requests};
use super::interleave::{self, Planes};
use super::reduce::{Reduce, SELDOM, Step, Term};
use super::weight_grad::chunk;
use crate::gemm::kernel::{Kernels, SLACK};
use crate::gemm::loops::panel_height;
use crate::gemm::{Float, SharedMut, scratch};
use crate::{par, simd};
use std::ops::Range;

/// Pixels that a block of images has at least, so that the sums are not read and written too often. With more, the images
/// that are fetched meanwhile would not find room in the second-level cache.
const KC: usize = 160;
/// Most pixels of an image: of larger ones, a single one would leave the caches.
const LARGEST: usize = 1 << 12;

/// Whether [`run`] applies and is the faster way.
pub fn applies<T: Float>(c: &Conv) -> bool {
    let nr = T::kernels(simd::level()).nr();
    let (group_in, area) = (c.group_in(), c.output[0] * c.output[1]);
    let full = group_in.next_multiple_of(nr) * 3 <= group_in * 4;
    full && c.group_out() >= 8
        && c.taps() >= 4
        && c.batch > 0
        && (4..=LARGEST).contains(&area)
        && c.input[0] * c.input[1] <= 4 * LARGEST
}

/// What all tasks share.
struct Pass<'a, T: 'static> {
    c: &'a Conv,
    kernels: &'static Kernels<T>,
    tiles: &'static [[Reduce<T>; 2]],
    x: SharedMut<T>,
    dy: SharedMut<T>,
    /// For each chunk and group: panel of input channels, panel of output channels, tap, output channel, input channel.
    sums: SharedMut<T>,
    /// Images of a chunk, and of a block within it.
    images: [usize; 2],
    /// Panels of input channels.
    panels: usize,
    /// Where pixels of x are put, in vectors.
    places: Vec<usize>,
}

/// See [`super::weight_grad()`]; dw is not empty.
///
/// # Safety
/// As [`super::weight_grad()`]; [`applies`].
pub unsafe fn run<T: Float>(c: &Conv, x: *const T, dy: *const T, dw: *mut T) {
    let level = simd::level();
    let (kernels, per_chunk) = (T::kernels(level), chunk(c));
    let panels = c.group_in().div_ceil(kernels.nr());
    let row_len = width(c);
    let place = |y: usize, x: usize| (y * row_len + column(c, x)) * kernels.nr();
    let products = c.batch.div_ceil(per_chunk) * c.groups;
    let len = panels * kernels.nr() * c.taps() * c.group_out();
    scratch::with(products * len, |sums: *mut T| {
        let pass = Pass {
            c,
            kernels,
            tiles: T::reduce(level),
            x: SharedMut(x.cast_mut()),
            dy: SharedMut(dy.cast_mut()),
            sums: SharedMut(sums),
            images: [per_chunk, KC.div_ceil(c.output[0] * c.output[1]).min(per_chunk)],
            panels,
            places: (0..c.input[0]).flat_map(|y| (0..c.input[1]).map(move |x| place(y, x))).collect(),
        };
        let dw = SharedMut(dw);
        // SAFETY: the caller vouches for x, dy and dw; `sums` has room for every product; tasks have disjoint parts.
        unsafe {
            pass.all_sums(products);
            let rows = pass.panel();
            let downs = c.group_out().div_ceil(rows);
            par::for_each(c.groups * downs, |task| {
                let (group, first) = (task / downs, task % downs * rows);
                pass.collect(group, first..c.group_out().min(first + rows), products, &dw);
            });
        }
    });
}

/// Where column x is put: those a stride apart are adjacent.
fn column(c: &Conv, x: usize) -> usize {
    let stride = c.stride[1].min(c.input[1]);
    x % stride * c.input[1].div_ceil(stride) + x / stride
}

/// Places of a row.
fn width(c: &Conv) -> usize {
    let stride = c.stride[1].min(c.input[1]);
    stride * c.input[1].div_ceil(stride)
}

impl<T: Float> Pass<'_, T> {
    /// Height of the panels of dy.
    fn panel(&self) -> usize {
        panel_height(self.c.group_out(), self.tiles.len())
    }

    /// Elements of the sums of a product.
    fn len(&self) -> usize {
        self.panels * self.kernels.nr() * self.c.taps() * self.c.group_out()
    }

    /// Every product, cut into tasks.
    unsafe fn all_sums(&self, products: usize) {
        // A cut across a product has no influence on its sums.
        let threads = par::threads();
        let wanted = if threads == 1 { 1 } else { (4 * threads).div_ceil(products) };
        let across = wanted.min(self.panels);
        let (height, out) = (self.panel(), self.c.group_out());
        let down = wanted.div_ceil(across).min(out.div_ceil(4 * height));
        let (panels, rows) = (self.panels.div_ceil(across), out.div_ceil(height).div_ceil(down) * height);
        let (across, down) = (self.panels.div_ceil(panels), out.div_ceil(rows));
        par::for_each(products * across * down, |task| {
            let (product, part) = (task / (across * down), task % (across * down));
            let (first_row, first_panel) = (part / across * rows, part % across * panels);
            let rows = first_row..out.min(first_row + rows);
            // SAFETY: handed on; the parts are disjoint.
            unsafe { self.sum(product, rows, first_panel..self.panels.min(first_panel + panels)) };
        });
    }

    /// The sums of some output channels and some panels of input channels over one chunk of images.
    unsafe fn sum(&self, product: usize, rows: Range<usize>, panels: Range<usize>) {
        let (c, nr) = (self.c, self.kernels.nr());
        let (area, x_image) = (c.output[0] * c.output[1], c.input[0] * width(c) * nr);
        let (group, first) = (product % c.groups, product / c.groups * self.images[0]);
        let images = first..c.batch.min(first + self.images[0]);
        let a_len = (self.images[1] * area * rows.len() + SLACK).next_multiple_of(nr);
        let b_len = self.images[1] * x_image;
        scratch::with(a_len + b_len + interleave::room(self.kernels), |a: *mut T| {
            let (b, mut terms) = (a.wrapping_add(a_len), vec![]);
            for first in images.clone().step_by(self.images[1]) {
                let block = first..images.end.min(first + self.images[1]);
                let accumulate = first > images.start;
                let mut requests = self.requests(block.end);
                // SAFETY: the buffers hold a block of images, for `rows` and for one panel of input channels.
                unsafe {
                    self.pack_dy(group, &block, &rows, a);
                    for panel in panels.clone() {
                        self.transpose_x(group, &block, panel, b, b.wrapping_add(b_len));
                        for tap in 0..c.taps() {
                            let k = self.terms(tap, block.len(), &mut terms);
                            for row in rows.clone().step_by(self.panel()) {
                                let height = self.panel().min(rows.end - row);
                                let sums = (panel * c.group_out() + row) * c.taps() + tap * height;
                                let to = self.sums.at(product * self.len() + sums * nr);
                                let a = a.wrapping_add((row - rows.start) * block.len() * area);
                                let lanes = self.kernels.lanes;
                                (self.tiles[height - 1][1])(&Step {
                                    terms: &terms,
                                    k,
                                    a,
                                    a_step: height,
                                    b: [b.cast_const(), b.wrapping_add(lanes)],
                                    b_step: nr,
                                    c: [to, to.wrapping_add(lanes)],
                                    c_stride: nr,
                                    accumulate,
                                    ahead: requests.take(terms.len(), to),
                                    every: SELDOM,
                                });
                            }
                        }
                    }
                }
            }
        });
    }

    /// The lines of the images that come after a block, of x and of dy: whole images are adjacent.
    fn requests(&self, first: usize) -> Requests<T> {
        let c = self.c;
        let count = self.images[1].min(c.batch - first);
        let lines = |from: &SharedMut<T>, image: usize| {
            Lines::new(from.at(first * image).cast_const(), count * image, [1, 0], [1, 0])
        };
        Requests::new([
            lines(&self.dy, c.out_channels * c.output[0] * c.output[1]),
            lines(&self.x, c.in_channels * c.input[0] * c.input[1]),
        ])
    }

    /// Packs dy: panel of output channels, image, pixel, channel.
    unsafe fn pack_dy(&self, group: usize, images: &Range<usize>, rows: &Range<usize>, mut out: *mut T) {
        let (c, area) = (self.c, self.c.output[0] * self.c.output[1]);
        for row in rows.clone().step_by(self.panel()) {
            let height = self.panel().min(rows.end - row);
            for image in images.clone() {
                let dy = self.dy.at((image * c.out_channels + group * c.group_out() + row) * area);
                // SAFETY: these planes are inside dy; what is written past the panel is written again or slack.
                unsafe { (self.kernels.transpose)(area, height, height, dy, area as isize, out) };
                out = out.wrapping_add(area * height);
            }
        }
    }

    /// Transposes one panel of input channels.
    unsafe fn transpose_x(
        &self,
        group: usize,
        images: &Range<usize>,
        panel: usize,
        out: *mut T,
        room: *mut T,
    ) {
        let (c, nr, plane) = (self.c, self.kernels.nr(), self.c.input[0] * self.c.input[1]);
        for image in images.clone() {
            let channel = image * c.in_channels + group * c.group_in() + panel * nr;
            let count = nr.min(c.group_in() - panel * nr);
            let planes = Planes { src: self.x.at(channel * plane), count, stride: plane };
            let out = out.wrapping_add((image - images.start) * c.input[0] * width(c) * nr);
            // SAFETY: these planes are inside x, the places inside the image's part of `out`.
            unsafe { interleave::interleave::<T>(self.kernels, nr, &planes, &self.places, out, room) };
        }
    }

    /// The terms of a tap, one for each image and row of pixels, and how many pixels of a row see x through it.
    fn terms(&self, tap: usize, images: usize, terms: &mut Vec<Term>) -> usize {
        let (c, nr) = (self.c, self.kernels.nr());
        let (kh, kw) = (tap / c.kernel[1], tap % c.kernel[1]);
        let (down, across) = (c.inside(0, kh), c.inside(1, kw));
        terms.clear();
        if across.is_empty() {
            return 0;
        }
        let at =
            |axis: usize, o: usize, k: usize| o * c.stride[axis] + k * c.dilation[axis] - c.padding[axis];
        let x = column(c, at(1, across.start, kw));
        for image in 0..images {
            terms.extend(down.clone().map(|o| {
                let b = ((image * c.input[0] + at(0, o, kh)) * width(c) + x) * nr;
                let a = (image * c.output[0] + o) * c.output[1] + across.start;
                Term { a, b: [b, b] }
            }));
        }
        across.len()
    }

    /// Adds the chunks in order and brings the sums of some output channels (a panel) into the order of dw.
    unsafe fn collect(&self, group: usize, rows: Range<usize>, products: usize, dw: &SharedMut<T>) {
        let (c, nr, taps) = (self.c, self.kernels.nr(), self.c.taps());
        scratch::with(2 * taps * nr + SLACK, |sum: *mut T| {
            let turned = sum.wrapping_add(taps * nr);
            for row in rows.clone() {
                for panel in 0..self.panels {
                    let count = nr.min(c.group_in() - panel * nr);
                    for tap in 0..taps {
                        let at =
                            (panel * c.group_out() + rows.start) * taps + tap * rows.len() + row - rows.start;
                        for product in (group..products).step_by(c.groups) {
                            // SAFETY: `sum` holds `taps` vectors, the sums one for each of these indices.
                            unsafe {
                                let from = self.sums.at(product * self.len() + at * nr);
                                let from = std::slice::from_raw_parts(from, nr);
                                let sum = std::slice::from_raw_parts_mut(sum.add(tap * nr), nr);
                                if product == group {
                                    sum.copy_from_slice(from);
                                } else {
                                    sum.iter_mut().zip(from).for_each(|(sum, &x)| *sum = *sum + x);
                                }
                            }
                        }
                    }
                    let dw = dw.at(((group * c.group_out() + row) * c.group_in() + panel * nr) * taps);
                    // SAFETY: `turned` has room for as many and slack; dw has `count` channels with all taps here.
                    unsafe {
                        turn(self.kernels, sum, taps, count, turned);
                        std::ptr::copy_nonoverlapping(turned, dw, count * taps);
                    }
                }
            }
        });
    }
}

/// `out[i * taps + tap] = sum[tap * nr + i]` for i < count.
pub unsafe fn turn<T: Float>(kernels: &Kernels<T>, sum: *const T, taps: usize, count: usize, out: *mut T) {
    let nr = kernels.nr();
    // SAFETY: the caller vouches for both.
    unsafe {
        if taps <= nr {
            return (kernels.transpose)(count, taps, taps, sum, nr as isize, out);
        }
        for i in 0..count {
            for tap in 0..taps {
                *out.add(i * taps + tap) = *sum.add(tap * nr + i);
            }
        }
    }
}
