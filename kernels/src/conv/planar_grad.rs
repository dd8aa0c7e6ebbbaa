//! Weight gradient of few input channels, with runs of pixels in the vectors.
//!
//! dw [out, (in, tap)] is the inner product of planes of dy with what taps of x see of them. With few input channels
//! there are too few products for each element of dy to bring it into another order, so planes stay as they lie: some
//! channels of dy meet some taps of a row of the kernel in registers, one vector of partial sums for each pair
//! ([`super::dots`]), and lanes are added at the very end. x, of which there is little, is staged as for [`super::planar`].
//!
//! The sum over the batch is cut into chunks and bands of rows by the shape alone, and so is every bit.

use super::Conv;
use super::dots::{Dots, Lines, TAPS};
use super::planar::Columns;
use super::rows::Rows;
use super::taps::{Axis, Form};
use super::weight_grad::chunk;
use crate::gemm::loops::panel_height;
use crate::gemm::{Float, SharedMut, scratch};
use crate::{par, simd};
use std::ops::Range;

/// Most input channels of a group: with more, transposing dy pays.
const FEW: usize = 4;
/// Pixels of a band: of so many, a few planes fit the first-level cache.
const BAND: usize = 1024;
/// Fewer pixels of a plane than this do not make up for reading and writing the sums.
const SMALLEST: usize = 512;
/// Bytes of staged rows: half of a second-level cache.
const STAGE: usize = 1 << 20;

/// Whether [`run`] applies and is the faster way.
pub fn applies<T: Float>(c: &Conv) -> bool {
    let (lanes, width) = (T::kernels(simd::level()).lanes, c.output[1]);
    let few = c.group_in() <= FEW && c.group_out() >= 8 && c.batch > 0;
    few && width.next_multiple_of(lanes) * 7 <= width * 8 && c.output[0] * width >= SMALLEST && {
        let pass = Geometry::<T>::new(c);
        pass.staged_len() * size_of::<T>() <= STAGE
    }
}

/// How planes are cut.
struct Geometry<'a, T: 'static> {
    c: &'a Conv,
    tiles: &'static [[Dots<T>; TAPS]],
    staging: &'static Rows<T>,
    lanes: usize,
    rows: Axis,
    columns: Columns,
    /// Output rows of a band.
    band: usize,
    /// Output channels of a tile, and columns of the kernel.
    panel: [usize; 2],
}

/// What a tile sees of x.
struct View {
    /// Rows of the band.
    rows: Range<usize>,
    /// Place of the first row among those staged.
    x: usize,
    /// Elements from there to each tap.
    taps: [usize; TAPS],
    /// Taps.
    count: usize,
}

/// See [`super::weight_grad()`]; dw is not empty.
///
/// # Safety
/// As [`super::weight_grad()`]; [`applies`].
pub unsafe fn run<T: Float>(c: &Conv, x: *const T, dy: *const T, dw: *mut T) {
    let (pass, images) = (Geometry::<T>::new(c), chunk(c));
    let products = c.batch.div_ceil(images) * c.groups;
    // A cut across a product has no influence on its sums.
    let threads = par::threads();
    let wanted = if threads == 1 { 1 } else { (4 * threads).div_ceil(products) };
    let (height, len) = (pass.panel[0], pass.channel_len() * c.group_out());
    let channels = c.group_out().div_ceil(height).div_ceil(wanted) * height;
    let parts = c.group_out().div_ceil(channels);
    let (x, dy, dw) = (SharedMut(x.cast_mut()), SharedMut(dy.cast_mut()), SharedMut(dw));
    scratch::with(products * len, |sums: *mut T| {
        let sums = SharedMut(sums);
        // SAFETY: the caller vouches for x, dy and dw; `sums` has room for every product; tasks have disjoint parts.
        unsafe {
            par::for_each(products * parts, |task| {
                let (product, part) = (task / parts, task % parts);
                let (group, first) = (product % c.groups, product / c.groups * images);
                let channels = part * channels..c.group_out().min((part + 1) * channels);
                let images = first..c.batch.min(first + images);
                pass.sum(group, images, channels, x.at(0), dy.at(0), sums.at(product * len));
            });
            par::for_each(c.groups * c.group_out().div_ceil(height), |task| {
                let panels = c.group_out().div_ceil(height);
                let (group, first) = (task / panels, task % panels * height);
                let channels = first..c.group_out().min(first + height);
                let sums = (group..products).step_by(c.groups).map(|product| sums.at(product * len));
                pass.collect(group, channels, sums, dw.at(0));
            });
        }
    });
}

impl<T: Float> Geometry<'_, T> {
    fn new(c: &Conv) -> Geometry<'_, T> {
        let (level, most) = (simd::level(), (BAND / c.output[1]).max(1));
        let (lanes, tiles) = (T::kernels(level).lanes, T::dots(level));
        let mut columns = Columns::new(c, Form::Forward, lanes);
        // Half of the taps or more begin a line.
        columns.pitch = columns.pitch.next_multiple_of(lanes);
        Geometry {
            c,
            tiles,
            staging: T::rows(level),
            lanes,
            rows: Axis::new(c, Form::Forward, 0),
            columns,
            band: c.output[0].div_ceil(c.output[0].div_ceil(most)),
            panel: [panel_height(c.group_out(), tiles.len()), panel_height(c.kernel[1], TAPS)],
        }
    }

    /// Elements of the sums of one output channel.
    fn channel_len(&self) -> usize {
        self.c.group_in() * self.c.taps() * self.lanes
    }

    /// Elements of a staged row of x: source phase, column.
    fn staged_row(&self) -> usize {
        self.columns.step * self.columns.pitch
    }

    /// Elements of the staged rows that a band sees.
    fn staged_len(&self) -> usize {
        self.c.group_in() * self.rows.widest(self.band) * self.staged_row()
    }

    /// Elements of a row of dy, whole vectors.
    fn width(&self) -> usize {
        self.c.output[1].next_multiple_of(self.lanes)
    }

    /// The sums of some output channels over some images.
    unsafe fn sum(
        &self,
        group: usize,
        images: Range<usize>,
        channels: Range<usize>,
        x: *const T,
        dy: *const T,
        sums: *mut T,
    ) {
        let (c, out, area) = (self.c, self.c.group_out(), self.c.output[0] * self.c.output[1]);
        let copied = self.panel[0] * self.band * self.width();
        scratch::with(self.staged_len() + copied, |staged: *mut T| {
            let copy = staged.wrapping_add(self.staged_len());
            let (mut accumulate, mut views) = (false, vec![]);
            for image in images.clone() {
                for first in (0..c.output[0]).step_by(self.band) {
                    let band = first..c.output[0].min(first + self.band);
                    let need = self.rows.span(&band);
                    self.views(&band, &mut views);
                    // SAFETY: the caller vouches for the operands; the buffers hold what a band sees, and a panel.
                    unsafe {
                        self.stage(image * c.groups + group, &need, x, staged);
                        for row in channels.clone().step_by(self.panel[0]) {
                            let height = self.panel[0].min(channels.end - row);
                            let plane = ((image * c.groups + group) * out + row) * area;
                            let mut y = dy.wrapping_add(plane + band.start * c.output[1]);
                            let mut y_step = [area, c.output[1]];
                            let ahead = y.wrapping_add(height * area);
                            if self.width() != c.output[1] {
                                self.copy(y, height, band.len(), copy);
                                (y, y_step) = (copy.cast_const(), [self.band * self.width(), self.width()]);
                            }
                            let sums = sums.wrapping_add(row * self.channel_len());
                            self.panel(&views, height, (y, y_step), staged, sums, ahead, accumulate);
                        }
                    }
                    accumulate = true;
                }
            }
        });
    }

    /// Stages some rows of all input channels: channel, row, source phase, column.
    unsafe fn stage(&self, product: usize, rows: &Range<usize>, x: *const T, staged: *mut T) {
        let ([height, width], pitch) = (self.c.input, self.columns.pitch);
        let parts = self.columns.parts(width);
        for channel in 0..self.c.group_in() {
            for row in rows.clone() {
                let plane = (product * self.c.group_in() + channel) * height;
                let source = x.wrapping_add((plane + row) * width);
                let at = (channel * rows.len() + row - rows.start) * self.staged_row();
                for (phase, part) in parts.iter().enumerate() {
                    // SAFETY: the row is inside x, and has its place among the staged ones.
                    unsafe {
                        let to = staged.add(at + phase * pitch);
                        part.fill(self.staging, Some(source), to, pitch);
                    }
                }
            }
        }
    }

    /// Copies some rows of some planes of dy, with zeros up to whole vectors.
    unsafe fn copy(&self, dy: *const T, planes: usize, rows: usize, to: *mut T) {
        let ([height, width], all) = (self.c.output, self.width());
        for plane in 0..planes {
            for row in 0..rows {
                // SAFETY: the row is inside dy, and has its place in the copy.
                unsafe {
                    let from = dy.add((plane * height + row) * width);
                    (self.staging.stage)(from, 1, [0, width, all], to.add((plane * self.band + row) * all));
                }
            }
        }
    }

    /// What each tile of a band sees: input channel, row of the kernel, some of its columns.
    fn views(&self, band: &Range<usize>, views: &mut Vec<View>) {
        let (c, row_len, need) = (self.c, self.staged_row(), self.rows.span(band));
        views.clear();
        for channel in 0..c.group_in() {
            for kh in 0..c.kernel[0] {
                // Output rows whose tap is inside.
                let inside = c.inside(0, kh);
                let rows = inside.start.max(band.start)..inside.end.min(band.end).max(band.start);
                let row = match rows.is_empty() {
                    true => 0,
                    false => rows.start * c.stride[0] + kh * c.dilation[0] - c.padding[0] - need.start,
                };
                views.extend(self.columns.phases[0].taps.chunks(self.panel[1]).map(|taps| {
                    let mut places = [0; TAPS];
                    for (place, &(_, phase, at)) in places.iter_mut().zip(taps) {
                        *place = phase * self.columns.pitch + at;
                    }
                    View {
                        rows: rows.start - band.start..rows.end.max(rows.start) - band.start,
                        x: (channel * need.len() + row) * row_len,
                        taps: places,
                        count: taps.len(),
                    }
                }));
            }
        }
    }

    /// The sums of a panel of output channels over a band: view, output channel, column of the kernel.
    #[expect(clippy::too_many_arguments, reason = "which part, and where the operands are")]
    unsafe fn panel(
        &self,
        views: &[View],
        height: usize,
        (y, y_step): (*const T, [usize; 2]),
        staged: *const T,
        sums: *mut T,
        ahead: *const T,
        accumulate: bool,
    ) {
        let (mut sums, mut ahead) = (sums, ahead);
        for view in views {
            let lines = Lines {
                y: y.wrapping_add(view.rows.start * y_step[1]),
                y_step,
                x: staged.wrapping_add(view.x),
                taps: view.taps,
                x_line: self.c.stride[0] * self.staged_row(),
                count: [view.rows.len(), self.width() / self.lanes],
                sums,
                accumulate,
                ahead,
            };
            // SAFETY: the lines are inside the band and what it sees, whole vectors of each; the sums have their place.
            unsafe { self.tiles[height - 1][view.count - 1](&lines) };
            ahead = ahead.wrapping_add(view.rows.len() * self.width());
            sums = sums.wrapping_add(height * view.count * self.lanes);
        }
    }

    /// Adds the sums of several products in order and then their lanes, and brings those of a panel of output channels
    /// into the order of dw.
    unsafe fn collect(
        &self,
        group: usize,
        channels: Range<usize>,
        mut products: impl Iterator<Item = *mut T>,
        dw: *mut T,
    ) {
        let (c, lanes, len) = (self.c, self.lanes, channels.len() * self.channel_len());
        // SAFETY: the sums are no longer written to, and each panel is this task's.
        let panel = |sums: *mut T| unsafe {
            std::slice::from_raw_parts_mut(sums.add(channels.start * self.channel_len()), len)
        };
        let Some(total) = products.next().map(panel) else { return };
        for product in products {
            total.iter_mut().zip(panel(product)).for_each(|(total, x)| *total = *total + *x);
        }
        let mut sums = total.chunks_exact_mut(lanes);
        for channel in 0..c.group_in() {
            for kh in 0..c.kernel[0] {
                for first in (0..c.kernel[1]).step_by(self.panel[1]) {
                    for row in channels.clone() {
                        for kw in first..c.kernel[1].min(first + self.panel[1]) {
                            let at = (((group * c.group_out() + row) * c.group_in() + channel) * c.kernel[0]
                                + kh)
                                * c.kernel[1]
                                + kw;
                            let sum = sums.next().map_or(T::ZERO, across);
                            // SAFETY: this weight is inside dw, and this task's.
                            unsafe { *dw.add(at) = sum };
                        }
                    }
                }
            }
        }
    }
}

/// The sum of the lanes (a power of two), by a tree.
fn across<T: Float>(lanes: &mut [T]) -> T {
    let mut half = lanes.len() / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] = lanes[i] + lanes[i + half];
        }
        half /= 2;
    }
    lanes[0]
}
