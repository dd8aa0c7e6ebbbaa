//! Forward pass and input gradient of a batch large enough to fill vectors: one image in every lane.
//!
//! Rows of source planes are interleaved, `[y, x, channel, image]`, as they are needed. Then every tap of every
//! pixel is a panel of B as it lies, and a pixel of the target is one batch-reduce product over its taps
//! ([`super::reduce`]): no patch is packed, any stride or dilation costs nothing, and a tap that meets padding (or,
//! in the gradient, an inserted zero) is left out of the sum. Two pixels that see the same taps share a register tile.
//! The target, `[y, x, channel, image]` as well, is separated into planes while it is in the cache.
//!
//! The sums over the source channels are cut into equal chunks, so that the panels of one stay in the cache.

use super::ahead::{Lines, Requests};
use super::interleave::{self, Planes};
use super::reduce::{Reduce, SELDOM, Step, Term};
use super::taps::{Axis, Form, channels, depth, pack_weights};
use super::{Conv, ConvBlock, ConvEpilogue};
use crate::gemm::kernel::Kernels;
use crate::gemm::loops::panel_height;
use crate::gemm::{Float, SharedMut, scratch};
use crate::{par, simd};
use std::ops::Range;

/// Source channels below which the target's way to its planes costs more than packing patches.
const FEW: usize = 16;

/// Bytes that are in use during a chunk, apart from the weights: half of a second-level cache.
const CHUNK: usize = 1 << 20;
/// Bytes of interleaved rows that are kept.
const RING: usize = 2 << 20;
/// Bytes of the source's rows beyond which even a single row of the target is too wide for this way.
const WIDEST: usize = 8 << 20;

/// What all tasks share.
struct Pass<'a, T: 'static> {
    c: &'a Conv,
    form: Form,
    kernels: &'static Kernels<T>,
    tiles: &'static [[Reduce<T>; 2]],
    axes: [Axis; 2],
    /// Channels of a group: source and target.
    channels: [usize; 2],
    /// Source channels of a chunk.
    depth: usize,
    /// Target rows that are computed at once.
    band: usize,
    /// Source rows that are kept: row y in place y modulo this.
    ring: usize,
}

/// What a task computes.
struct Part {
    group: usize,
    images: Range<usize>,
    /// Rows of the target.
    rows: Range<usize>,
}

/// Whether [`run`] applies and is the faster way.
pub fn applies<T: Float>(c: &Conv, form: Form) -> bool {
    let lanes = T::kernels(simd::level()).lanes;
    let [source, target] = channels(c, form);
    let full = c.batch.next_multiple_of(lanes) * 3 <= c.batch * 4;
    full && c.taps() >= 4 && target >= 8 && source >= FEW && {
        let pass = Pass::<T>::new(c, form);
        pass.ring * pass.source_row() * size_of::<T>() <= WIDEST
    }
}

/// The pass of `form` from `src` to `to`; the target is not empty.
///
/// # Safety
/// As [`super::forward()`] or [`super::input_grad()`]; [`applies`].
pub unsafe fn run<T: Float>(
    c: &Conv,
    form: Form,
    src: *const T,
    w: *const T,
    to: *mut T,
    epilogue: ConvEpilogue,
) {
    let pass = Pass::<T>::new(c, form);
    let (lanes, height) = (pass.kernels.lanes, pass.axes[0].len());
    let blocks = c.batch.div_ceil(lanes);
    // Where blocks of images are too few, their rows are cut as well; no result depends on it.
    let threads = par::threads();
    let wanted = if threads == 1 { 1 } else { (2 * threads).div_ceil(blocks * c.groups) };
    let rows = height.div_ceil(pass.band).div_ceil(wanted) * pass.band;
    let parts = height.div_ceil(rows);
    let (src, to) = (SharedMut(src.cast_mut()), SharedMut(to));
    scratch::with(c.w_len(), |weights: *mut T| {
        let weights = SharedMut(weights);
        // SAFETY: the caller vouches for src, w and to; `weights` has room for w; tasks have disjoint images, groups
        // or rows of the target.
        unsafe {
            pack_weights(c, form, pass.depth, w, &weights);
            let tasks = c.groups * blocks * parts;
            let part = |task: usize| {
                let (block, part) = (task / parts, task % parts);
                let (group, first) = (block % c.groups, block / c.groups * lanes);
                let images = first..c.batch.min(first + lanes);
                Part { group, images, rows: part * rows..height.min((part + 1) * rows) }
            };
            par::for_each(tasks, |task| {
                // A thread takes one task after the other, as a rule.
                let after = (task + 1 < tasks).then(|| part(task + 1));
                pass.task(part(task), after, src.at(0), weights.at(0), to.at(0), epilogue);
            });
        }
    });
}

impl<T: Float> Pass<'_, T> {
    fn new(c: &Conv, form: Form) -> Pass<'_, T> {
        let level = simd::level();
        let axes = [Axis::new(c, form, 0), Axis::new(c, form, 1)];
        let channels = channels(c, form);
        let depth = depth(channels[0], axes[0].most() * axes[1].most());
        let (kernels, tiles) = (T::kernels(level), T::reduce(level));
        let mut pass = Pass { c, form, kernels, tiles, axes, channels, depth, band: 1, ring: 0 };
        let size = size_of::<T>();
        let fits = |&h: &usize| {
            let (ring, block) =
                (pass.axes[0].widest(h) * pass.source_row() * size, h * pass.target_row() * size);
            ring <= RING && ring * depth / channels[0].max(1) + block <= CHUNK
        };
        let most = (2..=pass.axes[0].len()).take_while(fits).last().unwrap_or(1);
        pass.band = pass.axes[0].len().div_ceil(pass.axes[0].len().div_ceil(most));
        pass.ring = pass.axes[0].widest(pass.band).max(1);
        pass
    }

    /// Height and width of the source.
    fn source_plane(&self) -> [usize; 2] {
        match self.form {
            Form::Forward => self.c.input,
            Form::InputGrad => self.c.output,
        }
    }

    /// Elements from one pixel to the next, in the source and in the target. One channel more than there are, lest
    /// all pixels compete for the same lines of the caches.
    fn pitch(&self) -> [usize; 2] {
        self.channels.map(|channels| (channels + 1) * self.kernels.lanes)
    }

    /// Elements of an interleaved row of the source.
    fn source_row(&self) -> usize {
        self.source_plane()[1] * self.pitch()[0]
    }

    /// Elements of an interleaved row of the target.
    fn target_row(&self) -> usize {
        self.axes[1].len() * self.pitch()[1]
    }

    /// Some rows of the target of one group of some images; `after` comes next.
    unsafe fn task(
        &self,
        Part { group, images, rows }: Part,
        after: Option<Part>,
        src: *const T,
        weights: *const T,
        to: *mut T,
        epilogue: ConvEpilogue,
    ) {
        let (c, [source, target], width) = (self.c, self.channels, self.axes[1].len());
        let (ring_len, band_len) = (self.ring * self.source_row(), self.band * self.target_row());
        let weights = weights.wrapping_add(group * source * target * c.taps());
        scratch::with(ring_len + band_len + interleave::room(self.kernels), |ring: *mut T| {
            let block = ring.wrapping_add(ring_len);
            let room = block.wrapping_add(band_len);
            let (mut places, mut staged) = (vec![], 0);
            for first in rows.clone().step_by(self.band) {
                let band = first..rows.end.min(first + self.band);
                let need = self.axes[0].span(&band);
                let new = need.start.max(staged)..need.end;
                // SAFETY: the caller vouches for the operands; the ring holds all rows that the band needs, the
                // block those of the band; `room` is as large as asked for.
                unsafe {
                    if !new.is_empty() {
                        self.stage(group, &images, &new, src, ring, room, &mut places);
                        staged = new.end;
                    }
                    let next = band.end..rows.end.min(band.end + self.band);
                    let later = match &after {
                        _ if !next.is_empty() => {
                            self.source_rows(group, &images, staged..self.axes[0].span(&next).end, src)
                        }
                        Some(Part { group, images, rows }) => {
                            let band = rows.start..rows.end.min(rows.start + self.band);
                            self.source_rows(*group, images, self.axes[0].span(&band), src)
                        }
                        None => self.source_rows(group, &images, 0..0, src),
                    };
                    let results = self.lines(1, group, &images, to, band.start * width, band.len() * width);
                    let mut requests = Requests::new([results, later]);
                    self.products(&band, weights, ring, block, &mut requests);
                    self.separate(group, &images, &band, block, to, room);
                }
                if let Some(epilogue) = epilogue {
                    for image in images.clone() {
                        let channels = group * target..(group + 1) * target;
                        epilogue(ConvBlock { image, channels, pixels: band.start * width..band.end * width });
                    }
                }
            }
        });
    }

    /// Interleaves some rows of the source.
    #[expect(clippy::too_many_arguments, reason = "which part, and where the operands are")]
    unsafe fn stage(
        &self,
        group: usize,
        images: &Range<usize>,
        rows: &Range<usize>,
        src: *const T,
        ring: *mut T,
        room: *mut T,
        places: &mut Vec<usize>,
    ) {
        let ([height, width], channels) = (self.source_plane(), self.channels[0]);
        let (row_len, pitch) = (self.source_row(), self.pitch()[0]);
        places.clear();
        places
            .extend(rows.clone().flat_map(|y| (0..width).map(move |x| y % self.ring * row_len + x * pitch)));
        for channel in 0..channels {
            let plane = (images.start * self.c.groups + group) * channels + channel;
            let planes = Planes {
                src: src.wrapping_add((plane * height + rows.start) * width),
                count: images.len(),
                stride: self.c.groups * channels * height * width,
            };
            let to = ring.wrapping_add(channel * self.kernels.lanes);
            let next = planes.src.wrapping_add(height * width);
            interleave::prefetch(next, places.len(), planes.stride, planes.count);
            // SAFETY: the rows are inside the planes of these images, and have their places in the ring.
            unsafe { interleave::interleave(self.kernels, self.kernels.lanes, &planes, places, to, room) };
        }
    }

    /// The lines that hold some pixels of all channels of the source (side 0) or the target (side 1).
    fn lines(
        &self,
        side: usize,
        group: usize,
        images: &Range<usize>,
        planes: *const T,
        first: usize,
        pixels: usize,
    ) -> Lines<T> {
        let channels = self.channels[side];
        let area = match side {
            0 => self.source_plane().iter().product(),
            _ => self.axes[0].len() * self.axes[1].len(),
        };
        let stride = self.c.groups * channels * area;
        let first = planes.wrapping_add((images.start * self.c.groups + group) * channels * area + first);
        Lines::new(first, pixels, [images.len(), stride], [channels, area])
    }

    /// The lines that hold some rows of all channels of the source.
    fn source_rows(
        &self,
        group: usize,
        images: &Range<usize>,
        rows: Range<usize>,
        src: *const T,
    ) -> Lines<T> {
        let width = self.source_plane()[1];
        self.lines(0, group, images, src, rows.start * width, rows.len() * width)
    }

    /// Takes the rows `band` of the target out of the block, image by image.
    unsafe fn separate(
        &self,
        group: usize,
        images: &Range<usize>,
        band: &Range<usize>,
        block: *const T,
        to: *mut T,
        room: *mut T,
    ) {
        let (c, target, pitch) = (self.c, self.channels[1], self.pitch()[1]);
        let (width, area) = (self.axes[1].len(), self.axes[0].len() * self.axes[1].len());
        let (pixels, stride) = (band.len() * width, c.groups * target * area);
        for channel in 0..target {
            let plane = (images.start * c.groups + group) * target + channel;
            let to = to.wrapping_add(plane * area + band.start * width);
            let from = block.wrapping_add(channel * self.kernels.lanes);
            interleave::prefetch(to.wrapping_add(area), pixels, stride, images.len());
            // SAFETY: the caller vouches for the block, the band of the target and the room.
            unsafe {
                interleave::separate(self.kernels, from, pitch, pixels, to, stride, images.len(), room);
            }
        }
    }

    /// The rows `band` of the target, from the ring into the block.
    unsafe fn products(
        &self,
        band: &Range<usize>,
        weights: *const T,
        ring: *const T,
        block: *mut T,
        requests: &mut Requests<T>,
    ) {
        let ([source, target], taps) = (self.channels, self.c.taps());
        let [rows, columns] = &self.axes;
        let (mut pixels, mut terms) = (vec![], vec![]);
        for chunk in (0..source).step_by(self.depth) {
            let len = self.depth.min(source - chunk);
            let weights = weights.wrapping_add(chunk * target * taps);
            let ring = ring.wrapping_add(chunk * self.kernels.lanes);
            for down in rows.classes_of(band) {
                for across in columns.classes_of(&(0..columns.len())) {
                    // These see the same taps, and so use the same weights.
                    pixels.clear();
                    for y in band.clone().filter(|&y| rows.classes[y] == down) {
                        let these = (0..columns.len()).filter(|&x| columns.classes[x] == across);
                        pixels.extend(these.map(|x| [y, x]));
                    }
                    for pair in pixels.chunks(2) {
                        self.terms(pair, len, &mut terms);
                        let place = |[y, x]: [usize; 2]| {
                            let pixel = (y - band.start) * columns.len() + x;
                            block.wrapping_add(pixel * self.pitch()[1])
                        };
                        let to = [place(pair[0]), place(pair[pair.len() - 1])];
                        // SAFETY: the terms name panels of `len` steps in the packed weights and in the ring; both
                        // pixels are inside the block.
                        unsafe {
                            self.pixels(pair.len(), &terms, len, weights, ring, to, chunk > 0, requests)
                        };
                    }
                }
            }
        }
    }

    /// The terms of one pixel or of two that see the same taps.
    fn terms(&self, pair: &[[usize; 2]], len: usize, terms: &mut Vec<Term>) {
        let ([rows, columns], row_len, pitch) = (&self.axes, self.source_row(), self.pitch()[0]);
        let [[y0, x0], [y1, x1]] = [pair[0], pair[pair.len() - 1]];
        let place = |y: usize, x: usize| y % self.ring * row_len + x * pitch;
        terms.clear();
        for (&(kh, sy0), &(_, sy1)) in rows.sources[y0].iter().zip(&rows.sources[y1]) {
            let both = columns.sources[x0].iter().zip(&columns.sources[x1]);
            terms.extend(both.map(|(&(kw, sx0), &(_, sx1))| Term {
                a: (kh * self.c.kernel[1] + kw) * len,
                b: [place(sy0, sx0), place(sy1, sx1)],
            }));
        }
    }

    /// All target channels of one pixel or two.
    #[expect(clippy::too_many_arguments, reason = "how many, and where the operands are")]
    unsafe fn pixels(
        &self,
        count: usize,
        terms: &[Term],
        k: usize,
        a: *const T,
        b: *const T,
        to: [*mut T; 2],
        accumulate: bool,
        requests: &mut Requests<T>,
    ) {
        let (target, taps, height, lanes) = (
            self.channels[1],
            self.c.taps(),
            panel_height(self.channels[1], self.tiles.len()),
            self.kernels.lanes,
        );
        for first in (0..target).step_by(height) {
            let rows = height.min(target - first);
            let step = Step {
                terms,
                k,
                a: a.wrapping_add(first * taps * k),
                a_step: rows,
                b: [b, b],
                b_step: lanes,
                c: to.map(|to| to.wrapping_add(first * lanes)),
                c_stride: lanes,
                accumulate,
                ahead: requests.take(terms.len() * k.div_ceil(SELDOM), to[0]),
                every: SELDOM,
            };
            // SAFETY: handed on.
            unsafe { self.tiles[rows - 1][count - 1](&step) };
        }
    }
}
