//! Forward pass and input gradient.

use super::super::ahead::{Lines, Requests};
use super::super::interleave;
use super::super::reduce::{OFTEN, Reduce, Step, Term};
use super::super::taps::{Form, channels};
use super::super::{Conv, ConvBlock, ConvEpilogue};
use super::transforms::{Tiles, Transforms};
use super::{Grid, Kind, Part, ToPoints};
use crate::gemm::kernel::{Kernels, SLACK};
use crate::gemm::loops::panel_height;
use crate::gemm::{Float, SharedMut, scratch};
use crate::{par, simd};
use std::ops::Range;

/// Channels of w that are transposed at once.
const PIECE: usize = 16;
/// Planes of which a line each is asked for together.
const TOGETHER: usize = 8;
/// Pixels of the target that are separated at once, at least: their vectors stay in the first-level cache.
const PIXELS: usize = 64;

/// What all tasks share.
struct Pass<'a, T: 'static> {
    c: &'a Conv,
    form: Form,
    kind: &'static Kind,
    kernels: &'static Kernels<T>,
    tiles: &'static [[Reduce<T>; 2]],
    transforms: &'static Transforms<T>,
    grid: Grid,
    /// Channels of a group: source and target.
    channels: [usize; 2],
    /// Blocks of as many channels as a vector has lanes (source), and two vectors (target).
    blocks: [usize; 2],
}

/// The pass of `form` from `src` to `to`; the target is not empty.
///
/// # Safety
/// As [`super::super::forward()`] or [`super::super::input_grad()`]; [`super::applies`].
pub unsafe fn run<T: Float>(
    c: &Conv,
    form: Form,
    src: *const T,
    w: *const T,
    to: *mut T,
    epilogue: ConvEpilogue,
) {
    let (level, channels) = (simd::level(), channels(c, form));
    let (kernels, kind) = (T::kernels(level), Kind::of(c, form));
    let pass = Pass {
        c,
        form,
        kind,
        kernels,
        tiles: T::reduce_apart(level),
        transforms: T::transforms(level),
        grid: Grid::new(c, kind, form),
        channels,
        blocks: [channels[0].div_ceil(kernels.lanes), channels[1].div_ceil(kernels.nr())],
    };
    let all = c.batch * pass.grid.tiles[0];
    // Where there are too few blocks, they are cut; no result depends on it.
    let threads = par::threads();
    let wanted = if threads == 1 { 1 } else { (4 * threads).div_ceil(c.groups) };
    let rows = pass.grid.block_rows::<T>(pass.blocks[0] * kernels.lanes).min(all.div_ceil(wanted));
    let tasks = all.div_ceil(rows);
    let (src, w, to) = (SharedMut(src.cast_mut()), SharedMut(w.cast_mut()), SharedMut(to));
    scratch::with(c.groups * pass.weights_len(), |points: *mut T| {
        let points = SharedMut(points);
        // SAFETY: the caller vouches for src, w and to; `points` has room for those of every group; tasks have disjoint
        // parts of it and of the target.
        unsafe {
            par::for_each(c.groups * pass.blocks[1], |task| {
                let (group, block) = (task / pass.blocks[1], task % pass.blocks[1]);
                pass.weights(group, block, w.at(0), points.at(group * pass.weights_len()));
            });
            par::for_each(c.groups * tasks, |task| {
                let (group, first) = (task / tasks, task % tasks * rows);
                let (points, rows) = (points.at(group * pass.weights_len()), first..all.min(first + rows));
                pass.task(group, rows, src.at(0), points, to.at(0), epilogue);
            });
        }
    });
}

impl<T: Float> Pass<'_, T> {
    /// Elements from one point of the weights to the next: source phase and channel, target channel. One vector more, lest they
    /// compete for the same lines of the cache.
    fn weights_step(&self) -> usize {
        (self.kind.folds * self.blocks[0] * self.kernels.nr() + 1) * self.kernels.lanes
    }

    /// Elements of the points of a group's weights: block of target channels, point.
    fn weights_len(&self) -> usize {
        self.blocks[1] * self.points() * self.weights_step()
    }

    /// Points of all phases of the target.
    fn points(&self) -> usize {
        self.kind.points * self.kind.phases
    }

    /// Transforms the weights of one block of target channels.
    unsafe fn weights(&self, group: usize, block: usize, w: *const T, points: *mut T) {
        let ([source, target], nr, lanes) = (self.channels, self.kernels.nr(), self.kernels.lanes);
        let (first, step) = (block * nr, self.weights_step());
        let (count, points) = (nr.min(target - first), points.wrapping_add(block * self.points() * step));
        let (all, rows) = (self.kind.taps, self.blocks[0] * lanes);
        // From one phase to the next: of the source, or of the target.
        let next = if self.kind.folds > 1 { rows * nr } else { self.kind.points * step };
        scratch::with(PIECE * all * nr + SLACK, |taps: *mut T| {
            for piece in (0..source).step_by(PIECE) {
                let some = PIECE.min(source - piece);
                // SAFETY: these weights are inside w; `taps` has room for those of PIECE channels, and slack; the points
                // of every channel have their place.
                unsafe {
                    self.taps(group, first..first + count, piece..piece + some, w, taps);
                    for channel in 0..some {
                        // The input gradient sees them from the other end.
                        let (first, apart) = match self.form {
                            Form::Forward => (channel * all, nr as isize),
                            Form::InputGrad => (channel * all + all - 1, -(nr as isize)),
                        };
                        for left in (0..count).step_by(lanes) {
                            let to = points.add((piece + channel) * nr + left);
                            let taps = taps.add(first * nr + left);
                            match all {
                                9 => (self.transforms.weights)(taps, apart, to, step),
                                _ => (self.transforms.weight_phases)(taps, apart, to, step, next),
                            }
                        }
                    }
                }
            }
        });
        for point in 0..self.points() {
            for fold in 0..self.kind.folds {
                // SAFETY: lanes without a channel have their place as well.
                unsafe {
                    let rest = points.add(point * step + (fold * rows + source) * nr);
                    std::slice::from_raw_parts_mut(rest, (rows - source) * nr).fill(T::ZERO);
                }
            }
        }
    }

    /// Brings some weights into the order source channel, tap, target channel.
    unsafe fn taps(&self, group: usize, to: Range<usize>, from: Range<usize>, w: *const T, taps: *mut T) {
        let ([source, target], nr, all) = (self.channels, self.kernels.nr(), self.kind.taps);
        let transpose = self.kernels.transpose;
        // SAFETY: handed on.
        unsafe {
            match self.form {
                Form::Forward => {
                    let w = w.add(((group * target + to.start) * source + from.start) * all);
                    transpose(from.len() * all, to.len(), nr, w, (source * all) as isize, taps);
                }
                Form::InputGrad => {
                    for channel in from.clone() {
                        let w = w.add(((group * source + channel) * target + to.start) * all);
                        let taps = taps.add((channel - from.start) * all * nr);
                        transpose(all, to.len(), nr, w, all as isize, taps);
                    }
                }
            }
        }
    }

    /// Some rows of tiles, counted over all images, of one group.
    unsafe fn task(
        &self,
        group: usize,
        rows: Range<usize>,
        src: *const T,
        weights: *const T,
        to: *mut T,
        epilogue: ConvEpilogue,
    ) {
        let (nr, lanes, tiles) = (self.kernels.nr(), self.kernels.lanes, rows.len() * self.grid.tiles[1]);
        // An odd number of vectors, lest points compete for the same lines of the cache.
        let steps = [((self.kind.folds * self.blocks[0] * tiles) | 1) * lanes, tiles * nr + lanes];
        let height = rows.len().min(self.grid.tiles[0]);
        let stage = self.grid.staged(0, height).iter().product::<usize>() * lanes;
        let sink = self.sink_rows() * self.kind.size.pow(2) * self.grid.tiles[1] * nr;
        let (from_len, to_len) = (self.points() * steps[0], self.points() * steps[1]);
        let area = self.grid.planes[0][0] * self.grid.planes[0][1];
        let len = from_len + to_len + stage.max(sink) + interleave::room(self.kernels);
        scratch::with(len, |from: *mut T| {
            let points = from.wrapping_add(from_len);
            let plane = points.wrapping_add(to_len);
            let room = plane.wrapping_add(stage.max(sink));
            // SAFETY: the caller vouches for the operands; the buffers are as large as the block needs.
            unsafe {
                let to_points = ToPoints {
                    kernels: self.kernels,
                    transform: match (self.kind.folds, self.kind.phases) {
                        (1, 1) => self.transforms.source,
                        (_, 1) => self.transforms.phases,
                        _ => self.transforms.windows,
                    },
                    grid: &self.grid,
                    side: 0,
                    stage: plane,
                    room,
                };
                let apart = match self.kind.phases {
                    1 => self.blocks[0] * tiles * lanes,
                    _ => self.kind.points * steps[0],
                };
                for part in self.grid.parts(&rows) {
                    let first = (part.image * self.c.groups + group) * self.channels[0];
                    let src = src.wrapping_add(first * area);
                    to_points.run(&part, src, self.channels[0], from, [steps[0], tiles * lanes], apart);
                }
                for block in 0..self.blocks[1] {
                    let weights = weights.add(block * self.points() * self.weights_step());
                    let mut ahead = self.ahead(group, block, &rows, src, to);
                    self.products(block, tiles, weights, from, points, steps, &mut ahead);
                    for part in self.grid.parts(&rows) {
                        self.compose(group, block, &part, points, steps[1], plane, to, room);
                        if let Some(epilogue) = epilogue {
                            let first = group * self.channels[1] + block * nr;
                            let count = nr.min(self.channels[1] - block * nr);
                            epilogue(ConvBlock {
                                image: part.image,
                                channels: first..first + count,
                                pixels: self.pixels(&part.rows),
                            });
                        }
                    }
                }
            }
        });
    }

    /// Pixels of the target in some rows of tiles.
    fn pixels(&self, rows: &Range<usize>) -> Range<usize> {
        let [height, width] = self.grid.planes[1];
        self.kind.size * rows.start * width..height.min(self.kind.size * rows.end) * width
    }

    /// What to ask for during the products of one block of the target: its place among the planes, and a share of what
    /// the next task of this thread will stage.
    fn ahead(
        &self,
        group: usize,
        block: usize,
        rows: &Range<usize>,
        src: *const T,
        to: *const T,
    ) -> Requests<T> {
        let nr = self.kernels.nr();
        let lines = |side: usize, planes: *const T, first: usize, channels: Range<usize>| {
            let ([height, width], count) = (self.grid.planes[side], self.channels[side]);
            let step = if side == 0 { self.kind.step } else { self.kind.size };
            let (image, row) = (first / self.grid.tiles[0], step * (first % self.grid.tiles[0]));
            let plane = (image * self.c.groups + group) * count + channels.start;
            let pixels = (step * rows.len()).min(height.saturating_sub(row)) * width;
            let first = planes.wrapping_add((plane * height + row) * width);
            let area = height * width;
            Lines::new(first, pixels, [TOGETHER, area], [channels.len().div_ceil(TOGETHER), TOGETHER * area])
        };
        let share = self.channels[0].div_ceil(self.blocks[1]);
        let sources = block * share..self.channels[0].min((block + 1) * share);
        let targets = block * nr..self.channels[1].min((block + 1) * nr);
        Requests::new([lines(1, to, rows.start, targets), lines(0, src, rows.end, sources)])
    }

    /// Points of one block of the target: point, tile, channel.
    #[expect(clippy::too_many_arguments, reason = "which part, and where the operands are")]
    unsafe fn products(
        &self,
        block: usize,
        tiles: usize,
        weights: *const T,
        from: *const T,
        to: *mut T,
        steps: [usize; 2],
        ahead: &mut Requests<T>,
    ) {
        let (nr, lanes) = (self.kernels.nr(), self.kernels.lanes);
        let vectors = nr.min(self.channels[1] - block * nr).div_ceil(lanes);
        let term = |block: usize| Term { a: block * tiles * lanes, b: [block * lanes * nr; 2] };
        let (terms, height): (Vec<_>, _) = (
            (0..self.kind.folds * self.blocks[0]).map(term).collect(),
            panel_height(tiles, self.tiles.len()),
        );
        for point in 0..self.points() {
            let b = weights.wrapping_add(point * self.weights_step());
            for first in (0..tiles).step_by(height) {
                let c = to.wrapping_add(point * steps[1] + first * nr);
                let step = Step {
                    terms: &terms,
                    k: lanes,
                    a: from.wrapping_add(point * steps[0] + first * lanes),
                    a_step: 1,
                    b: [b, b.wrapping_add(lanes)],
                    b_step: nr,
                    c: [c, c.wrapping_add(lanes)],
                    c_stride: nr,
                    accumulate: false,
                    ahead: ahead.take(terms.len() * lanes.div_ceil(OFTEN), c),
                    every: OFTEN,
                };
                // SAFETY: the terms name whole vectors of every tile of the panel, and of the weights of this point; the
                // tiles have their places among the points of the target.
                unsafe { self.tiles[height.min(tiles - first) - 1][vectors - 1](&step) };
            }
        }
    }

    /// Rows of tiles that become pixels at once.
    fn sink_rows(&self) -> usize {
        PIXELS.div_ceil(self.kind.size * self.grid.planes[1][1])
    }

    /// The pixels of one part of one block of the target.
    #[expect(clippy::too_many_arguments, reason = "which part, and where the operands are")]
    unsafe fn compose(
        &self,
        group: usize,
        block: usize,
        part: &Part,
        points: *mut T,
        step: usize,
        plane: *mut T,
        to: *mut T,
        room: *mut T,
    ) {
        let (nr, lanes, grid, target) = (self.kernels.nr(), self.kernels.lanes, &self.grid, self.channels[1]);
        let ([height, width], count) = (grid.planes[1], nr.min(target - block * nr));
        let first = (part.image * self.c.groups + group) * target + block * nr;
        let to = to.wrapping_add(first * height * width);
        let transform = if self.kind.taps == 9 { self.transforms.target } else { self.transforms.phase };
        // Pixels from one to the next of the same phase.
        let apart = self.kind.size / 2;
        for first in part.rows.clone().step_by(self.sink_rows()) {
            let rows = first..part.rows.end.min(first + self.sink_rows());
            let pixels = self.pixels(&rows);
            // SAFETY: `plane` has room for these rows; the pixels are inside the target.
            unsafe {
                for row in rows.clone() {
                    let tile = part.before + (row - part.rows.start) * grid.tiles[1];
                    let top = (row - first) * self.kind.size;
                    for phase in 0..self.kind.phases {
                        let [y, x] = [phase / 2, phase % 2];
                        for left in (0..count).step_by(lanes) {
                            transform(&Tiles {
                                plane: plane.wrapping_add(((top + y) * width + x) * nr + left),
                                pitch: [apart * width * nr, apart * nr],
                                points: points.add(phase * self.kind.points * step + tile * nr + left),
                                step: [step, nr],
                                apart: 0,
                                count: grid.tiles[1],
                                size: [
                                    height.saturating_sub(row * self.kind.size + y).div_ceil(apart),
                                    (width - x).div_ceil(apart),
                                ],
                            });
                        }
                    }
                }
                let to = to.add(pixels.start);
                interleave::separate(self.kernels, plane, nr, pixels.len(), to, height * width, count, room);
            }
        }
    }
}
