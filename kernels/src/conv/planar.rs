//! Forward pass and input gradient with runs of pixels in the vectors, for planes about as wide as whole vectors.
//!
//! The rows of an image that a band of the target sees are *staged*: copied with the padding beside them, columns that
//! are a stride apart next to each other. Then what a tap of a run of pixels sees is adjacent for every channel, and a
//! run is one batch-reduce product over its taps ([`super::reduce`]), straight into the planes of the target; no patch
//! is packed. Rows above and below the image are left out of the sums; in the gradient, so are inserted zeros: columns
//! of one stride phase are computed together, and woven with those of the others.

use super::patches;
use super::reduce::{Ahead, OFTEN, Reduce, SELDOM, Step, Term};
use super::rows::Rows;
use super::taps::{Axis, Form, channels, depth, pack_weights};
use super::{Conv, ConvBlock, ConvEpilogue};
use crate::gemm::kernel::Kernels;
use crate::gemm::loops::panel_height;
use crate::gemm::{Float, SharedMut, scratch};
use crate::{par, simd};
use std::ops::Range;

/// Bytes of staged rows, and of rows of the target that are woven: together half of a second-level cache.
const BAND: usize = 512 << 10;
/// Elements between channels of what is woven, beyond their rows, lest they compete for the same lines of a cache. At
/// least a vector: where one phase is a pixel longer than the other, weaving reads as much after the shorter.
const APART: usize = 16;

/// Shorter sums than this cost less than their way around.
const SHORT: usize = 32;

/// One column phase of the target.
pub struct Phase {
    /// For each tap that it sees: column of the kernel, source phase, and staged column of the first pixel.
    pub taps: Vec<(usize, usize, usize)>,
    /// Pixels.
    len: usize,
}

/// Taps of an axis, and the source coordinate that pixel 0 sees through each.
type Seen = Vec<(usize, isize)>;

/// How rows are staged.
pub struct Columns {
    /// Source column that is staged first; may be outside.
    pub origin: isize,
    /// Columns from one to the next of a source phase, and so the number of these.
    pub step: usize,
    /// Staged columns of a source phase.
    pub pitch: usize,
    /// Of the target.
    pub phases: Vec<Phase>,
}

impl Columns {
    /// Columns for vectors of so many lanes.
    pub fn new(c: &Conv, form: Form, lanes: usize) -> Columns {
        let (stride, dilation) = (c.stride[1] as isize, c.dilation[1] as isize);
        let padding = c.padding[1] as isize;
        let taps = 0..c.kernel[1];
        // For each target phase, its taps and the source column that pixel 0 sees through each.
        let (step, seen): (_, Vec<(usize, Seen)>) = match form {
            Form::Forward => (
                c.stride[1],
                vec![(c.output[1], taps.map(|k| (k, k as isize * dilation - padding)).collect())],
            ),
            Form::InputGrad => {
                let phase = |first: usize| {
                    let at = |k: usize| first as isize + padding - k as isize * dilation;
                    let seen = taps.clone().filter(|&k| at(k) % stride == 0).map(|k| (k, at(k) / stride));
                    ((c.input[1] - first).div_ceil(c.stride[1]), seen.collect())
                };
                (1, (0..c.stride[1].min(c.input[1])).map(phase).collect())
            }
        };
        let all = || seen.iter().flat_map(|(_, taps)| taps).map(|&(_, at)| at);
        let origin = all().min().unwrap_or(0);
        let phases = seen.iter().map(|(len, taps)| {
            let place = |&(k, at): &(usize, isize)| {
                let at = (at - origin) as usize;
                (k, at % step, at / step)
            };
            Phase { taps: taps.iter().map(place).collect(), len: *len }
        });
        let phases: Vec<Phase> = phases.collect();
        let ends = phases
            .iter()
            .flat_map(|phase| phase.taps.iter().map(|&(_, _, at)| at + phase.len.next_multiple_of(lanes)));
        let pitch = ends.max().unwrap_or(0).next_multiple_of(4);
        Columns { origin, step, pitch, phases }
    }

    /// Most taps of a phase.
    fn most(&self) -> usize {
        self.phases.iter().map(|phase| phase.taps.len()).max().unwrap_or(0)
    }

    /// How a row of `len` source columns is staged: one part for each source phase.
    pub fn parts(&self, len: usize) -> Vec<patches::RowPart> {
        let (step, offset) = (self.step, self.origin);
        let axis = patches::Axis { len, out: 0, taps: 1, step, tap_step: 0, offset };
        (0..step).map(|phase| axis.part(phase, self.pitch)).collect()
    }
}

/// What all tasks share.
struct Pass<'a, T: 'static> {
    c: &'a Conv,
    kernels: &'static Kernels<T>,
    tiles: &'static [[Reduce<T>; 2]],
    staging: &'static Rows<T>,
    rows: Axis,
    columns: Columns,
    /// Channels of a group: source and target.
    channels: [usize; 2],
    /// Height and width of the planes: source and target.
    planes: [[usize; 2]; 2],
    /// Source channels of a chunk.
    depth: usize,
    /// Target rows that are computed at once.
    band: usize,
    /// Whether whole vectors of the target's rows are adjacent, so that nothing is woven.
    direct: bool,
}

/// Whether [`run`] applies and is the faster way.
pub fn applies<T: Float>(c: &Conv, form: Form) -> bool {
    let lanes = T::kernels(simd::level()).lanes;
    let [source, target] = channels(c, form);
    let len = match form {
        Form::Forward => c.output[1],
        Form::InputGrad => c.input[1].div_ceil(c.stride[1].max(1)),
    };
    let narrow = c.padding[1].max(c.kernel[1] * c.dilation[1]) > 4 * len;
    len.next_multiple_of(lanes) * 7 <= len * 8 && target >= 8 && source * c.taps() >= SHORT && !narrow
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
    let (height, products) = (pass.rows.len(), c.batch * c.groups);
    // Where images are too few, their rows are cut as well; no result depends on it.
    let wanted = (4 * par::threads()).div_ceil(products);
    let wanted = if par::threads() == 1 { 1 } else { wanted };
    let rows = height.div_ceil(pass.band).div_ceil(wanted) * pass.band;
    let parts = height.div_ceil(rows);
    let (src, to) = (SharedMut(src.cast_mut()), SharedMut(to));
    scratch::with(c.w_len(), |weights: *mut T| {
        let weights = SharedMut(weights);
        // SAFETY: the caller vouches for src, w and to; `weights` has room for w; tasks have disjoint images, groups
        // or rows of the target.
        unsafe {
            pack_weights(c, form, pass.depth, w, &weights);
            par::for_each(products * parts, |task| {
                let (product, part) = (task / parts, task % parts);
                let rows = part * rows..height.min((part + 1) * rows);
                pass.task(product, rows, src.at(0), weights.at(0), to.at(0), epilogue);
            });
        }
    });
}

impl<T: Float> Pass<'_, T> {
    fn new(c: &Conv, form: Form) -> Pass<'_, T> {
        let level = simd::level();
        let (kernels, tiles, rows) = (T::kernels(level), T::reduce(level), Axis::new(c, form, 0));
        let (columns, channels) = (Columns::new(c, form, kernels.lanes), channels(c, form));
        let depth = depth(channels[0], rows.most() * columns.most());
        let planes = match form {
            Form::Forward => [c.input, c.output],
            Form::InputGrad => [c.output, c.input],
        };
        let direct = columns.phases.len() == 1 && planes[1][1].is_multiple_of(kernels.lanes);
        let staging = T::rows(level);
        let mut pass =
            Pass { c, kernels, tiles, staging, rows, columns, channels, planes, depth, band: 1, direct };
        let fits = |&h: &usize| {
            let staged = pass.rows.widest(h) * pass.staged_row();
            staged * size_of::<T>() <= BAND && pass.block_len(h) * size_of::<T>() <= BAND
        };
        let most = (2..=pass.rows.len()).take_while(fits).last().unwrap_or(1);
        pass.band = pass.rows.len().div_ceil(pass.rows.len().div_ceil(most));
        pass
    }

    /// Elements of a staged row: source phase, channel, column.
    fn staged_row(&self) -> usize {
        self.columns.step * self.channels[0] * self.columns.pitch
    }

    /// Elements of a row of one target channel that is woven: phase, column.
    fn block_row(&self) -> usize {
        self.columns.phases.iter().map(|phase| phase.len.next_multiple_of(self.kernels.lanes)).sum()
    }

    /// Elements of `height` rows of all target channels that are woven.
    fn block_len(&self, height: usize) -> usize {
        if self.direct { 0 } else { self.channels[1] * (height * self.block_row() + APART) }
    }

    /// Some rows of the target of one group of one image.
    unsafe fn task(
        &self,
        product: usize,
        rows: Range<usize>,
        src: *const T,
        weights: *const T,
        to: *mut T,
        epilogue: ConvEpilogue,
    ) {
        let ([source, target], width) = (self.channels, self.planes[1][1]);
        let [source_area, area] = self.planes.map(|plane| plane[0] * plane[1]);
        let src = src.wrapping_add(product * source * source_area);
        let to = to.wrapping_add(product * target * area);
        let (image, group) = (product / self.c.groups, product % self.c.groups);
        let weights = weights.wrapping_add(group * source * target * self.c.taps());
        let staged_len = self.rows.widest(self.band) * self.staged_row();
        scratch::with(staged_len + self.block_len(self.band), |staged: *mut T| {
            let block = staged.wrapping_add(staged_len);
            for first in rows.clone().step_by(self.band) {
                let band = first..rows.end.min(first + self.band);
                let lines = |len: usize| len * size_of::<T>() / LINE;
                let mut ahead = Lines { ranges: [(src, 0), (to.cast_const(), 0)] };
                if band.len() == self.rows.len() && product + 1 < self.c.batch * self.c.groups {
                    // What the next task of this thread will stage.
                    ahead.ranges[0] = (src.wrapping_add(source * source_area), lines(source * source_area));
                }
                if self.direct && product + 1 < self.c.batch * self.c.groups {
                    // And where it will put its results.
                    ahead.ranges[1] = (to.wrapping_add(target * area), lines(target * area));
                }
                if band.len() == self.rows.len() && !self.direct {
                    ahead.ranges[1].1 = lines(target * area);
                }
                // SAFETY: the caller vouches for the operands; the buffers hold what the band sees, and the band.
                unsafe {
                    let need = self.rows.span(&band);
                    self.stage(&need, src, staged);
                    let (out, stride) = if self.direct {
                        (to.wrapping_add(band.start * width), area)
                    } else {
                        (block, self.band * self.block_row() + APART)
                    };
                    self.products(&band, need.start, weights, staged, out, stride, &mut ahead);
                    if !self.direct {
                        self.weave(&band, block, stride, to);
                    }
                }
                if let Some(epilogue) = epilogue {
                    let channels = group * target..(group + 1) * target;
                    epilogue(ConvBlock { image, channels, pixels: band.start * width..band.end * width });
                }
            }
        });
    }

    /// Stages some rows of all source channels: row, source phase, channel, column.
    unsafe fn stage(&self, rows: &Range<usize>, src: *const T, staged: *mut T) {
        let ([height, width], channels) = (self.planes[0], self.channels[0]);
        let (pitch, parts) = (self.columns.pitch, self.columns.parts(width));
        for channel in 0..channels {
            for row in rows.clone() {
                let source = src.wrapping_add((channel * height + row) * width);
                for (phase, part) in parts.iter().enumerate() {
                    let at = (row - rows.start) * self.staged_row() + (phase * channels + channel) * pitch;
                    // SAFETY: the row is inside the plane, and has its place among the staged ones.
                    unsafe { part.fill(self.staging, Some(source), staged.add(at), pitch) };
                }
            }
        }
    }

    /// The rows `band` of the target, row by row with `stride` elements from one channel to the next.
    #[expect(clippy::too_many_arguments, reason = "which part, and where the operands are")]
    unsafe fn products(
        &self,
        band: &Range<usize>,
        first_row: usize,
        weights: *const T,
        staged: *const T,
        out: *mut T,
        stride: usize,
        ahead: &mut Lines<T>,
    ) {
        let (lanes, row_len) = (self.kernels.lanes, self.block_row());
        // The first staged row that a row of the target sees.
        let top = |y: usize| lowest(&self.rows.sources[y]).map_or(0, |at| at - first_row);
        let (mut runs, mut terms) = (vec![], vec![]);
        for chunk in (0..self.channels[0]).step_by(self.depth) {
            for class in self.rows.classes_of(band) {
                let mut before = 0;
                for phase in &self.columns.phases {
                    // These see the same taps: with the same weights, and as far from the first row and column.
                    runs.clear();
                    for y in band.clone().filter(|&y| self.rows.classes[y] == class) {
                        let from = staged.wrapping_add(top(y) * self.staged_row());
                        let to = out.wrapping_add((y - band.start) * row_len + before);
                        let run = |x: usize| (from.wrapping_add(x), to.wrapping_add(x));
                        runs.extend((0..phase.len).step_by(lanes).map(run));
                    }
                    let k = self.terms(&self.rows.sources[class], phase, chunk, &mut terms);
                    for pair in runs.chunks(2) {
                        // SAFETY: the terms name panels in the packed weights and, for each run, in the staged rows;
                        // every run has whole vectors in `out`.
                        unsafe { self.runs(pair, &terms, k, chunk, weights, stride, ahead) };
                    }
                    before += phase.len.next_multiple_of(lanes);
                }
            }
        }
    }

    /// The terms of a run that sees these taps and rows, and the steps of each.
    fn terms(&self, rows: &[(usize, usize)], phase: &Phase, chunk: usize, terms: &mut Vec<Term>) -> usize {
        let (source, len) = (self.channels[0], self.depth.min(self.channels[0] - chunk));
        terms.clear();
        for &(kh, row) in rows {
            let row = (row - lowest(rows).unwrap_or(row)) * self.staged_row();
            terms.extend(phase.taps.iter().map(|&(kw, source_phase, at)| {
                let b = row + (source_phase * source + chunk) * self.columns.pitch + at;
                Term { a: (kh * self.c.kernel[1] + kw) * len, b: [b, b] }
            }));
        }
        // Taps of neighbouring source phases go on where the one before ends.
        let mut k = len;
        let joined = |pair: &[Term], k: usize| match pair {
            [x, y] => y.a == x.a + k && y.b[0] == x.b[0] + k * self.columns.pitch,
            _ => false,
        };
        while !terms.is_empty() && terms.chunks(2).all(|pair| joined(pair, k)) {
            let mut index = 0;
            terms.retain(|_| {
                index += 1;
                index % 2 == 1
            });
            k *= 2;
        }
        k
    }

    /// All target channels of one run or two: from where, and to where.
    #[expect(clippy::too_many_arguments, reason = "which part, and where the operands are")]
    unsafe fn runs(
        &self,
        pair: &[(*const T, *mut T)],
        terms: &[Term],
        k: usize,
        chunk: usize,
        weights: *const T,
        stride: usize,
        ahead: &mut Lines<T>,
    ) {
        let ([source, target], taps) = (self.channels, self.c.taps());
        let (height, len) = (panel_height(target, self.tiles.len()), self.depth.min(source - chunk));
        let every = if k < SELDOM { OFTEN } else { SELDOM };
        let [(b0, to0), (b1, to1)] = [pair[0], pair[pair.len() - 1]];
        for first in (0..target).step_by(height) {
            let rows = height.min(target - first);
            let step = Step {
                terms,
                k,
                a: weights.wrapping_add((chunk * target + first * len) * taps),
                a_step: rows,
                b: [b0, b1],
                b_step: self.columns.pitch,
                c: [to0, to1].map(|to| to.wrapping_add(first * stride)),
                c_stride: stride,
                accumulate: chunk > 0,
                ahead: ahead.take(terms.len() * k.div_ceil(every), to0),
                every,
            };
            // SAFETY: handed on.
            unsafe { self.tiles[rows - 1][pair.len() - 1](&step) };
        }
    }

    /// Weaves the rows `band` of all target channels from the block.
    unsafe fn weave(&self, band: &Range<usize>, block: *const T, stride: usize, to: *mut T) {
        let ([height, width], lanes) = (self.planes[1], self.kernels.lanes);
        for channel in 0..self.channels[1] {
            for y in band.clone() {
                let from = block.wrapping_add(channel * stride + (y - band.start) * self.block_row());
                // SAFETY: the row is inside the target, and each of its phases inside the block.
                unsafe {
                    let to = to.add((channel * height + y) * width);
                    match &self.columns.phases[..] {
                        [_] => (self.staging.stage)(from, 1, [0, width, width], to),
                        [even, _] => {
                            let odds = from.add(even.len.next_multiple_of(lanes));
                            (self.staging.weave)([from, odds], width, to);
                        }
                        phases => {
                            let mut before = 0;
                            for (first, phase) in phases.iter().enumerate() {
                                for x in 0..phase.len {
                                    *to.add(first + x * phases.len()) = *from.add(before + x);
                                }
                                before += phase.len.next_multiple_of(lanes);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The first source row among these taps.
fn lowest(rows: &[(usize, usize)]) -> Option<usize> {
    rows.iter().map(|&(_, row)| row).min()
}

/// Bytes of a cache line.
const LINE: usize = 64;

/// Adjacent cache lines that are still to be asked for: where, and how many.
struct Lines<T> {
    ranges: [(*const T, usize); 2],
}

impl<T> Lines<T> {
    /// The next `room` lines, or fewer; if there are none left, `hot`.
    fn take(&mut self, room: usize, hot: *const T) -> Ahead<T> {
        let line = LINE / size_of::<T>();
        let Some((next, left)) = self.ranges.iter_mut().find(|(_, left)| *left > 0) else {
            return Ahead { first: hot, stride: 0, planes: usize::MAX };
        };
        let ahead = Ahead { first: *next, stride: line, planes: usize::MAX };
        let some = room.min(*left);
        (*next, *left) = (next.wrapping_add(some * line), *left - some);
        ahead
    }
}
