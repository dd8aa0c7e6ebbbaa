//! Weight gradient: the adjoint of the forward pass, step by step.
//!
//! x and the gradient of y become points; for each point, the sum over tiles of y's [channel, tile] times x's
//! [tile, channel] is a matrix product, whose tiles go to the weights' 3 × 3 taps at the end.
//!
//! The sum over the batch is cut into chunks and blocks by the shape alone, and so is every bit.

use super::super::interleave;
use super::super::reduce::{Ahead, Reduce, SELDOM, Step, Term};
use super::super::tap_grad::turn;
use super::super::taps::Form;
use super::super::{Conv, weight_grad};
use super::transforms::{self, POINTS, Transforms};
use super::{BLOCK, Grid, THREE, ToPoints, pays};
use crate::gemm::kernel::{Kernels, SLACK};
use crate::gemm::loops::panel_height;
use crate::gemm::{Float, SharedMut, scratch};
use crate::{par, simd};
use std::ops::Range;

/// Fewest tiles of a block: with less, the sums are read and written too often.
const FEWEST: usize = 32;

/// Bytes of the sums of all chunks that are worth adding.
const SUMS: usize = 4 << 20;
/// Fewer channels than this leave too few products for each transform.
const FEW: usize = 16;

/// Whether [`run`] applies and is the faster way.
pub fn applies<T: Float>(c: &Conv) -> bool {
    let (channels, lanes) = ([c.group_in(), c.group_out()], T::kernels(simd::level()).lanes);
    let padded = channels.map(|n| n.next_multiple_of(lanes));
    let size = (padded[0] + padded[1]) * transforms::POINTS * size_of::<T>();
    channels.iter().all(|&n| n >= FEW)
        && pays(c, channels[0] * channels[1], padded[0] * padded[1])
        && BLOCK / size >= FEWEST.max(Grid::new(c, &THREE, Form::Forward).tiles[1])
}

/// Images of one chunk of the batch. The sums of all chunks are written and read once.
fn chunk<T>(c: &Conv, padded: [usize; 2]) -> usize {
    let most = SUMS / (POINTS * padded[0] * padded[1] * size_of::<T>());
    c.batch.div_ceil(most.min(weight_grad::chunks(c)).max(1))
}

/// What all tasks share.
struct Pass<'a, T: 'static> {
    c: &'a Conv,
    kernels: &'static Kernels<T>,
    tiles: &'static [[Reduce<T>; 2]],
    transforms: &'static Transforms<T>,
    grid: Grid,
    x: SharedMut<T>,
    dy: SharedMut<T>,
    /// For each chunk and group: point, panel of input channels, output channel, input channel.
    sums: SharedMut<T>,
    /// Images of a chunk.
    images: usize,
    /// Rows of tiles of a block.
    rows: usize,
    /// Channels of a group, in and out, as whole vectors.
    padded: [usize; 2],
}

/// See [`super::super::weight_grad()`]; dw is not empty.
///
/// # Safety
/// As [`super::super::weight_grad()`]; [`applies`].
pub unsafe fn run<T: Float>(c: &Conv, x: *const T, dy: *const T, dw: *mut T) {
    let level = simd::level();
    let (kernels, grid) = (T::kernels(level), Grid::new(c, &THREE, Form::Forward));
    let padded = [c.group_in(), c.group_out()].map(|n| n.next_multiple_of(kernels.lanes));
    let images = chunk::<T>(c, padded);
    let products = c.batch.div_ceil(images) * c.groups;
    let len = POINTS * padded[0].next_multiple_of(kernels.nr()) * padded[1];
    scratch::with(products * len, |sums: *mut T| {
        let pass = Pass {
            c,
            kernels,
            tiles: T::reduce(level),
            transforms: T::transforms(level),
            rows: grid.block_rows::<T>(padded[0] + padded[1]).min(images * grid.tiles[0]),
            grid,
            x: SharedMut(x.cast_mut()),
            dy: SharedMut(dy.cast_mut()),
            sums: SharedMut(sums),
            images,
            padded,
        };
        let dw = SharedMut(dw);
        // SAFETY: the caller vouches for x, dy and dw; `sums` has room for every product; tasks have disjoint parts.
        unsafe {
            pass.all_sums(products);
            par::for_each(c.groups * c.group_out(), |task| {
                pass.collect(task / c.group_out(), task % c.group_out(), products, &dw);
            });
        }
    });
}

impl<T: Float> Pass<'_, T> {
    /// Elements of the sums of a point.
    fn point_len(&self) -> usize {
        self.padded[0].next_multiple_of(self.kernels.nr()) * self.padded[1]
    }

    /// Every product, cut into tasks.
    unsafe fn all_sums(&self, products: usize) {
        // A cut across a product has no influence on its sums.
        let (threads, [across, down]) = (par::threads(), [self.kernels.nr(), self.kernels.lanes]);
        let wanted = if threads == 1 { 1 } else { (2 * threads).div_ceil(products) };
        let panels = [self.padded[0].div_ceil(across), self.padded[1].div_ceil(down)];
        let parts = [wanted.min(panels[0]), wanted.div_ceil(wanted.min(panels[0])).min(panels[1])];
        let size = [panels[0].div_ceil(parts[0]) * across, panels[1].div_ceil(parts[1]) * down];
        let parts = [self.padded[0].div_ceil(size[0]), self.padded[1].div_ceil(size[1])];
        par::for_each(products * parts[0] * parts[1], |task| {
            let (product, part) = (task / (parts[0] * parts[1]), task % (parts[0] * parts[1]));
            let first = [part % parts[0] * size[0], part / parts[0] * size[1]];
            let channels = [0, 1].map(|i| first[i]..self.padded[i].min(first[i] + size[i]));
            // SAFETY: handed on; the parts are disjoint.
            unsafe { self.sum(product, channels) };
        });
    }

    /// The sums of some input and output channels over one chunk of images.
    unsafe fn sum(&self, product: usize, channels: [Range<usize>; 2]) {
        let (c, grid, lanes) = (self.c, &self.grid, self.kernels.lanes);
        let (group, first) = (product % c.groups, product / c.groups * self.images);
        let images = first..c.batch.min(first + self.images);
        let most = self.rows * grid.tiles[1];
        // An odd number of vectors, lest points compete for the same lines of the cache.
        let step = |side: usize, tiles: usize| ((channels[side].len() / lanes * tiles) | 1) * lanes;
        let lens = [0, 1].map(|side| POINTS * step(side, most));
        let staged = |side| grid.staged(side, self.rows.min(grid.tiles[0])).iter().product::<usize>() * lanes;
        let stage_len = staged(0).max(staged(1));
        let len = lens[0] + lens[1] + stage_len + interleave::room(self.kernels);
        scratch::with(len, |buffer: *mut T| {
            let points = [buffer, buffer.wrapping_add(lens[0])];
            let stage = points[1].wrapping_add(lens[1]);
            let rows = images.start * grid.tiles[0]..images.end * grid.tiles[0];
            for first in rows.clone().step_by(self.rows) {
                let block = first..rows.end.min(first + self.rows);
                let tiles = block.len() * grid.tiles[1];
                let steps = [step(0, tiles), step(1, tiles)];
                for side in 0..2 {
                    let to_points = ToPoints {
                        kernels: self.kernels,
                        transform: [self.transforms.source, self.transforms.gradient][side],
                        grid,
                        side,
                        stage,
                        room: stage.wrapping_add(stage_len),
                    };
                    let (planes, all) = ([&self.x, &self.dy][side], [c.group_in(), c.group_out()][side]);
                    let these = channels[side].start..channels[side].end.min(all);
                    let area = grid.planes[side][0] * grid.planes[side][1];
                    for part in grid.parts(&block) {
                        let plane = (part.image * c.groups + group) * all + these.start;
                        let (src, steps) = (planes.at(plane * area), [steps[side], tiles * lanes]);
                        // SAFETY: these planes are live, and the buffers as large as the block needs.
                        unsafe { to_points.run(&part, src, these.len(), points[side], steps, 0) };
                    }
                }
                let sums = self.sums.at(product * POINTS * self.point_len());
                // SAFETY: the points of the block are there; the sums of these channels are this task's.
                unsafe { self.products(&channels, tiles, points, steps, sums, first > rows.start) };
            }
        });
    }

    /// Adds the products of a block, or writes the first.
    unsafe fn products(
        &self,
        channels: &[Range<usize>; 2],
        tiles: usize,
        [x, dy]: [*mut T; 2],
        steps: [usize; 2],
        sums: *mut T,
        accumulate: bool,
    ) {
        let (nr, lanes) = (self.kernels.nr(), self.kernels.lanes);
        let height = panel_height(lanes, self.tiles.len());
        for point in 0..POINTS {
            let (x, dy) = (x.wrapping_add(point * steps[0]), dy.wrapping_add(point * steps[1]));
            for left in channels[0].clone().step_by(nr) {
                let b = x.wrapping_add((left - channels[0].start) * tiles);
                let vectors = nr.min(channels[0].end - left) / lanes;
                for row in channels[1].clone().step_by(height) {
                    let a = row - channels[1].start;
                    let sum = point * self.point_len() + left * self.padded[1] + row * nr;
                    let to = sums.wrapping_add(sum);
                    let step = Step {
                        terms: &[Term { a: 0, b: [0, 0] }],
                        k: tiles,
                        a: dy.wrapping_add(a / lanes * lanes * tiles + a % lanes),
                        a_step: lanes,
                        b: [b.cast_const(), b.wrapping_add(lanes * tiles)],
                        b_step: lanes,
                        c: [to, to.wrapping_add(lanes)],
                        c_stride: nr,
                        accumulate,
                        ahead: Ahead { first: to.wrapping_add(height * nr), stride: 0, planes: 1 },
                        every: SELDOM,
                    };
                    // SAFETY: the points of these channels have `tiles` vectors, a tile's rows are in one of them; the
                    // sums have their places.
                    unsafe { self.tiles[height - 1][vectors - 1](&step) };
                }
            }
        }
    }

    /// Adds the chunks in order and brings the sums of one output channel into the order of dw.
    unsafe fn collect(&self, group: usize, row: usize, products: usize, dw: &SharedMut<T>) {
        let (c, nr, lanes) = (self.c, self.kernels.nr(), self.kernels.lanes);
        scratch::with((POINTS + 2 * 9) * nr + SLACK, |sum: *mut T| {
            let taps = sum.wrapping_add(POINTS * nr);
            let turned = taps.wrapping_add(9 * nr);
            for left in (0..c.group_in()).step_by(nr) {
                let (count, vectors) = (nr.min(c.group_in() - left), nr.min(self.padded[0] - left) / lanes);
                // SAFETY: `sum` holds a panel's channels of every point, `taps` of every tap, `turned` the same and slack;
                // the sums are no longer written to, and dw has `count` channels with all taps here.
                unsafe {
                    for point in 0..POINTS {
                        let to = std::slice::from_raw_parts_mut(sum.add(point * nr), vectors * lanes);
                        let at = point * self.point_len() + left * self.padded[1] + row * nr;
                        for product in (group..products).step_by(c.groups) {
                            let from = self.sums.at(product * POINTS * self.point_len() + at);
                            let from = std::slice::from_raw_parts(from, to.len());
                            if product == group {
                                to.copy_from_slice(from);
                            } else {
                                to.iter_mut().zip(from).for_each(|(sum, &x)| *sum = *sum + x);
                            }
                        }
                    }
                    for vector in 0..vectors {
                        let at = vector * lanes;
                        (self.transforms.weight_grad)(taps.add(at), nr as isize, sum.add(at), nr);
                    }
                    turn(self.kernels, taps, 9, count, turned);
                    let dw = dw.at(((group * c.group_out() + row) * c.group_in() + left) * 9);
                    std::ptr::copy_nonoverlapping(turned, dw, count * 9);
                }
            }
        });
    }
}
