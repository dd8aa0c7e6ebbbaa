//! Forward pass and input gradient of a batch large enough to fill vectors: one image in every lane.
//!
//! Rows of source planes are interleaved, `[y, x, channel, image]`, as they are needed. Then every tap of every
//! pixel is a panel of B as it lies, and a pixel of the target is one batch-reduce product over its taps
//! ([`super::reduce`]): no patch is packed, any stride or dilation costs nothing, and a tap that meets padding (or,
//! in the gradient, an inserted zero) is left out of the sum. The target, `[y, x, channel, image]` as well, is
//! separated into planes while it is in the cache.
//!
//! The sums over the source channels are cut into equal chunks, so that the panels of one stay in the cache.

use super::interleave::{self, Planes};
use super::patches::copy_every;
use super::reduce::{Reduce, Term};
use super::{Conv, ConvBlock, ConvEpilogue};
use crate::gemm::kernel::{Kernels, SLACK};
use crate::gemm::loops::panel_height;
use crate::gemm::{Float, SharedMut, scratch};
use crate::{par, simd};
use std::ops::Range;

/// Source channels below which the target's way to its planes costs more than packing patches.
const FEW: usize = 16;

/// Which of the two passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// From x to y.
    Forward,
    /// From the gradient of y to that of x.
    InputGrad,
}

/// Longest sum over the taps and a chunk of the channels, where a tap has more than one channel: a panel of B takes
/// 64 KiB of f32, one of A 28.
const KC: usize = 512;
/// Bytes of the target's rows that are computed at once: half of a second-level cache.
const TARGET: usize = 1 << 20;
/// Bytes of the source's rows that these see. Of a chunk's channels, what is read again fits the second-level cache.
const SOURCE: usize = 2 << 20;
/// Bytes of the source's rows beyond which even a single row of the target is too wide for this way.
const WIDEST: usize = 8 << 20;

/// One axis: which taps and source coordinates a target coordinate adds.
struct Axis {
    /// For each target coordinate.
    sources: Vec<Vec<(usize, usize)>>,
    /// For each target coordinate, the lowest source coordinate that it or one after it sees, and the end of those
    /// that it and the ones before it see: neither ever falls.
    spans: Vec<(usize, usize)>,
    /// Target coordinates this far apart see the same taps, away from the border.
    phases: usize,
}

impl Axis {
    fn new(c: &Conv, form: Form, i: usize) -> Axis {
        let (stride, dilation, padding) = (c.stride[i], c.dilation[i], c.padding[i]);
        let (targets, phases) = match form {
            Form::Forward => (c.output[i], 1),
            Form::InputGrad => (c.input[i], stride.min(c.input[i])),
        };
        let source = |target: usize, tap: usize| match form {
            Form::Forward => {
                (target * stride + tap * dilation).checked_sub(padding).filter(|&at| at < c.input[i])
            }
            Form::InputGrad => (target + padding)
                .checked_sub(tap * dilation)
                .filter(|at| at % stride == 0 && at / stride < c.output[i])
                .map(|at| at / stride),
        };
        let sources: Vec<Vec<_>> = (0..targets)
            .map(|target| (0..c.kernel[i]).filter_map(|tap| Some((tap, source(target, tap)?))).collect())
            .collect();
        let (mut low, mut high) = (usize::MAX, 0);
        let mut spans = vec![(0, 0); targets];
        for (seen, span) in sources.iter().zip(&mut spans).rev() {
            low = seen.iter().map(|&(_, at)| at).fold(low, usize::min);
            span.0 = low;
        }
        for (seen, span) in sources.iter().zip(&mut spans) {
            high = seen.iter().map(|&(_, at)| at + 1).fold(high, usize::max);
            *span = (span.0.min(high), high);
        }
        Axis { sources, spans, phases }
    }

    /// Target coordinates.
    fn len(&self) -> usize {
        self.sources.len()
    }

    /// Most taps of any.
    fn most(&self) -> usize {
        self.sources.iter().map(Vec::len).max().unwrap_or(0)
    }

    /// The source coordinates that `targets` (not empty) need, and maybe some more.
    fn span(&self, targets: &Range<usize>) -> Range<usize> {
        self.spans[targets.start].0..self.spans[targets.end - 1].1
    }

    /// Most source coordinates that any `height` targets, counted from 0, see together.
    fn widest(&self, height: usize) -> usize {
        let bands = (0..self.len()).step_by(height).map(|first| first..self.len().min(first + height));
        bands.map(|band| self.span(&band).len()).max().unwrap_or(0)
    }
}

/// What all tasks share.
struct Pass<'a, T: 'static> {
    c: &'a Conv,
    form: Form,
    kernels: &'static Kernels<T>,
    tiles: &'static [Reduce<T>],
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

/// Whether [`run`] applies and is the faster way.
pub fn applies<T: Float>(c: &Conv, form: Form) -> bool {
    let nr = T::kernels(simd::level()).nr();
    let [source, target] = channels(c, form);
    let full = c.batch.next_multiple_of(nr) * 3 <= c.batch * 4;
    full && c.taps() >= 4 && target >= 8 && source >= FEW && {
        let pass = Pass::<T>::new(c, form);
        pass.ring * pass.source_row() * size_of::<T>() <= WIDEST
    }
}

fn channels(c: &Conv, form: Form) -> [usize; 2] {
    match form {
        Form::Forward => [c.group_in(), c.group_out()],
        Form::InputGrad => [c.group_out(), c.group_in()],
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
    let (nr, height) = (pass.kernels.nr(), pass.axes[0].len());
    let blocks = c.batch.div_ceil(nr);
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
            pass.pack_weights(w, &weights);
            par::for_each(c.groups * blocks * parts, |task| {
                let (block, part) = (task / parts, task % parts);
                let (group, first) = (block % c.groups, block / c.groups * nr);
                let images = first..c.batch.min(first + nr);
                let rows = part * rows..height.min((part + 1) * rows);
                pass.task(group, images, rows, src.at(0), weights.at(0), to.at(0), epilogue);
            });
        }
    });
}

impl<T: Float> Pass<'_, T> {
    fn new(c: &Conv, form: Form) -> Pass<'_, T> {
        let level = simd::level();
        let axes = [Axis::new(c, form, 0), Axis::new(c, form, 1)];
        let channels = channels(c, form);
        let most = (KC / (axes[0].most() * axes[1].most()).max(1)).max(1);
        let depth = channels[0].div_ceil(channels[0].div_ceil(most).max(1)).max(1);
        let (kernels, tiles) = (T::kernels(level), T::reduce(level));
        let mut pass = Pass { c, form, kernels, tiles, axes, channels, depth, band: 1, ring: 0 };
        let (source, target) = (pass.source_row() * size_of::<T>(), pass.target_row() * size_of::<T>());
        let fits = |&h: &usize| h * target <= TARGET && pass.axes[0].widest(h) * source <= SOURCE;
        pass.band = (2..=pass.axes[0].len()).take_while(fits).last().unwrap_or(1);
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
        self.channels.map(|channels| (channels + 1) * self.kernels.nr())
    }

    /// Elements of an interleaved row of the source.
    fn source_row(&self) -> usize {
        self.source_plane()[1] * self.pitch()[0]
    }

    /// Elements of an interleaved row of the target.
    fn target_row(&self) -> usize {
        self.axes[1].len() * self.pitch()[1]
    }

    /// Height of the panels of A.
    fn panel(&self) -> usize {
        panel_height(self.channels[1], self.tiles.len())
    }

    /// Brings the weights into the order in which they are read: group, chunk, panel, tap, source channel, row.
    unsafe fn pack_weights(&self, w: *const T, out: &SharedMut<T>) {
        let ([source, target], taps, height) = (self.channels, self.c.taps(), self.panel());
        let panels = target.div_ceil(height);
        let w = SharedMut(w.cast_mut());
        par::for_each(self.c.groups * panels, |task| {
            let (group, first) = (task / panels, task % panels * height);
            let rows = height.min(target - first);
            scratch::with(self.depth * taps * rows + SLACK, |room: *mut T| {
                for chunk in (0..source).step_by(self.depth) {
                    let len = self.depth.min(source - chunk);
                    let out = out.at((group * source + chunk) * target * taps + first * taps * len);
                    // SAFETY: rows and channels are inside w; the panel has its place in `out`.
                    unsafe {
                        match self.form {
                            Form::Forward => {
                                let row = source * taps;
                                let w = w.at((group * target + first) * row + chunk * taps);
                                (self.kernels.transpose)(len * taps, rows, rows, w, row as isize, room);
                                for channel in 0..len {
                                    spread(
                                        room.add(channel * taps * rows),
                                        taps,
                                        rows,
                                        out.add(channel * rows),
                                        len,
                                    );
                                }
                            }
                            Form::InputGrad => {
                                for channel in 0..len {
                                    let w =
                                        w.at(((group * source + chunk + channel) * target + first) * taps);
                                    (self.kernels.transpose)(taps, rows, rows, w, taps as isize, room);
                                    spread(room, taps, rows, out.add(channel * rows), len);
                                }
                            }
                        }
                    }
                }
            });
        });
    }

    /// Some rows of the target of one group of some images.
    #[expect(clippy::too_many_arguments, reason = "which part, and where the operands are")]
    unsafe fn task(
        &self,
        group: usize,
        images: Range<usize>,
        rows: Range<usize>,
        src: *const T,
        weights: *const T,
        to: *mut T,
        epilogue: ConvEpilogue,
    ) {
        let (c, [source, target]) = (self.c, self.channels);
        let (width, area) = (self.axes[1].len(), self.axes[0].len() * self.axes[1].len());
        let (ring_len, band_len) = (self.ring * self.source_row(), self.band * self.target_row());
        let weights = weights.wrapping_add(group * source * target * c.taps());
        scratch::with(ring_len + band_len + interleave::room(self.kernels), |ring: *mut T| {
            let block = ring.wrapping_add(ring_len);
            let room = block.wrapping_add(band_len);
            let (mut places, mut terms, mut staged) = (vec![], vec![], 0);
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
                    self.products(&band, weights, ring, block, &mut terms);
                    for channel in 0..target {
                        let plane = (images.start * c.groups + group) * target + channel;
                        let to = to.add(plane * area + band.start * width);
                        let (from, pitch) = (block.add(channel * self.kernels.nr()), self.pitch()[1]);
                        let (pixels, stride) = (band.len() * width, c.groups * target * area);
                        interleave::prefetch(to.wrapping_add(area), pixels, stride, images.len());
                        interleave::separate(
                            self.kernels,
                            from,
                            pitch,
                            pixels,
                            to,
                            stride,
                            images.len(),
                            room,
                        );
                    }
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
            let to = ring.wrapping_add(channel * self.kernels.nr());
            let next = planes.src.wrapping_add(height * width);
            interleave::prefetch(next, places.len(), planes.stride, planes.count);
            // SAFETY: the rows are inside the planes of these images, and have their places in the ring.
            unsafe { interleave::interleave(self.kernels, &planes, places, to, room) };
        }
    }

    /// The rows `band` of the target, from the ring into the block.
    unsafe fn products(
        &self,
        band: &Range<usize>,
        weights: *const T,
        ring: *const T,
        block: *mut T,
        terms: &mut Vec<Term>,
    ) {
        let ([source, target], taps, height) = (self.channels, self.c.taps(), self.panel());
        let ([pitch, target_pitch], nr) = (self.pitch(), self.kernels.nr());
        let [rows, columns] = &self.axes;
        for chunk in (0..source).step_by(self.depth) {
            let len = self.depth.min(source - chunk);
            let weights = weights.wrapping_add(chunk * target * taps);
            let ring = ring.wrapping_add(chunk * nr);
            // Pixels of one phase use the same weights.
            for phase in 0..rows.phases * columns.phases {
                let (down, across) = (phase / columns.phases, phase % columns.phases);
                for y in band.clone().filter(|y| y % rows.phases == down) {
                    for x in (across..columns.len()).step_by(columns.phases) {
                        terms.clear();
                        for &(kh, sy) in &rows.sources[y] {
                            let row = sy % self.ring * self.source_row();
                            terms.extend(columns.sources[x].iter().map(|&(kw, sx)| Term {
                                a: (kh * self.c.kernel[1] + kw) * len,
                                b: row + sx * pitch,
                            }));
                        }
                        let pixel = (y - band.start) * columns.len() + x;
                        let to = block.wrapping_add(pixel * target_pitch);
                        for first in (0..target).step_by(height) {
                            let tile = self.tiles[height.min(target - first) - 1];
                            let (a, c) =
                                (weights.wrapping_add(first * taps * len), to.wrapping_add(first * nr));
                            // SAFETY: the terms name panels of `len` steps in the packed weights and in the ring;
                            // the tile is inside the block.
                            unsafe { tile(terms, len, a, ring, c, nr, chunk > 0) };
                        }
                    }
                }
            }
        }
    }
}

/// Copies `taps` rows of `rows` adjacent elements, each `len` rows after the last.
unsafe fn spread<T: Float>(from: *const T, taps: usize, rows: usize, to: *mut T, len: usize) {
    for tap in 0..taps {
        // SAFETY: the caller vouches for both.
        unsafe {
            let to = std::slice::from_raw_parts_mut(to.add(tap * len * rows), rows);
            copy_every::<T, 1>(from.add(tap * rows), to);
        }
    }
}
