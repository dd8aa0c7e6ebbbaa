//! Winograd's algorithm F(2 × 2, 3 × 3) for 3 × 3 kernels without stride or dilation (Lavin and Gray, "Fast Algorithms
//! for Convolutional Neural Networks" (2016)): 16 multiplications for the 36 of a tile of 2 × 2 pixels. And F(2 × 2, 2 × 2)
//! for 4 × 4 kernels with stride 2, which are four kernels of 2 × 2, one for each stride phase of the source (in the
//! gradient, of the target): 9 multiplications for 16.
//!
//! Tiles of 4 × 4 pixels of the source become 16 *points*, by sums alone; then each point is a matrix product of its own
//! over the channels, and the points of the target become tiles of 2 × 2 pixels, by sums again. A vector holds one point
//! of several channels. All steps are done for a block of tiles that stays in the second-level cache: `planes` is the
//! forward pass and the input gradient (the same with weights turned by half a circle and transposed), `weights` the
//! weight gradient, which is the adjoint of all three steps, `transforms` what lies between pixels and points.
//!
//! The sums over the channels are nine times shorter than those of the direct algorithm, so the result is closer to the
//! exact one, by a third as a rule. (Tiles of 4 × 4 pixels would need half the products again, but their error is two to
//! four times that of a plain sum.) But infinities and NaN spread to all pixels of a tile, and so do overflows.

mod planes;
pub(crate) mod transforms;
mod weights;

pub use planes::run;
pub use weights::{applies as applies_to_weights, run as weight_grad};

use self::transforms::{Row, Tiles};
use super::Conv;
use super::interleave::{self, Planes};
use super::taps::{Form, channels};
use crate::gemm::Float;
use crate::gemm::kernel::Kernels;
use crate::simd;
use std::ops::Range;

/// Fewer channels, on either side, than this leave too few products for each transform.
const FEW: usize = 32;
/// Fewer tiles of all images than this do not make up for the transform of the weights.
const TILES: usize = 64;
/// Bytes of the source's points beyond which even a single row of tiles is too wide for this way.
const WIDEST: usize = 2 << 20;
/// Bytes of the source's points in a block: half of a second-level cache.
const BLOCK: usize = 1 << 20;
/// Tiles of a block beyond which more of them would not use the weights' points any better.
const MOST: usize = 112;

/// Whether [`run`] applies and is the faster way.
pub fn applies<T: Float>(c: &Conv, form: Form) -> bool {
    let ([source, target], lanes) = (channels(c, form), T::kernels(simd::level()).lanes);
    // Only the source's channels are padded: there are tiles of one vector of the target's, and of two.
    let padded = source.next_multiple_of(lanes);
    let four = c.kernel == [4; 2] && c.stride == [2; 2] && c.dilation == [1; 2] && c.padding == [1; 2];
    let kind = Kind::of(c, form);
    let pays = match (four, form) {
        (true, Form::Forward) => saves(c, kind, form, 20 * padded, 13 * source),
        // With more channels, blocks have too few tiles for what they read of the weights.
        (true, Form::InputGrad) => source <= 128 && saves(c, kind, form, 5 * padded, 3 * source),
        (false, _) => pays(c, source, padded),
    };
    source.min(target) >= FEW && pays && {
        Grid::new(c, kind, form).tiles[1] * padded * kind.all() * size_of::<T>() <= WIDEST
    }
}

/// Whether this is the algorithm's case, and saves enough multiplications if one factor of their number grows from
/// `count` to `padded`.
fn pays(c: &Conv, count: usize, padded: usize) -> bool {
    let fits = c.kernel == [3; 2] && c.stride == [1; 2] && c.dilation == [1; 2];
    fits && c.padding.iter().all(|&p| p <= 2) && saves(c, &THREE, Form::Forward, 5 * padded, 3 * count)
}

/// Whether a tile's products, `padded` times, are at most those of the direct algorithm, `count` times.
fn saves(c: &Conv, kind: &'static Kind, form: Form, padded: usize, count: usize) -> bool {
    let tiles: usize = Grid::new(c, kind, form).tiles.iter().product();
    // The direct algorithm leaves out taps that meet padding.
    let seen = |axis| (0..c.kernel[axis]).map(|k| c.inside(axis, k).len()).sum::<usize>();
    c.batch * tiles >= TILES && kind.all() * tiles * padded <= seen(0) * seen(1) * count
}

/// What is computed in which tiles.
struct Kind {
    /// Points of a product.
    points: usize,
    /// Stride phases of the target, each with products of its own.
    phases: usize,
    /// Stride phases of the source, which add up.
    folds: usize,
    /// Pixels of the source from one tile to the next; a tile has two more.
    step: usize,
    /// Pixels of the target in a tile.
    size: usize,
    /// Taps of the kernel.
    taps: usize,
}

/// Kernels of 3 × 3.
const THREE: Kind = Kind { points: transforms::POINTS, phases: 1, folds: 1, step: 2, size: 2, taps: 9 };
/// Forward pass of kernels of 4 × 4 with stride 2.
const FOUR: Kind = Kind { points: transforms::FEWER, phases: 1, folds: 4, step: 4, size: 2, taps: 16 };
/// Its gradient.
const FOUR_BACK: Kind = Kind { points: transforms::FEWER, phases: 4, folds: 1, step: 2, size: 4, taps: 16 };

impl Kind {
    /// The kind of a pass; a kernel of another size has none.
    fn of(c: &Conv, form: Form) -> &'static Kind {
        match (c.kernel[0], form) {
            (3, _) => &THREE,
            (_, Form::Forward) => &FOUR,
            (_, Form::InputGrad) => &FOUR_BACK,
        }
    }

    /// Products of a tile and a pair of channels; points of a tile of the source.
    fn all(&self) -> usize {
        self.points * self.phases * self.folds
    }
}

/// Which tiles there are.
struct Grid {
    kind: &'static Kind,
    /// Height and width of the planes: source and target.
    planes: [[usize; 2]; 2],
    /// Rows and columns of zeros before the first of the source.
    padding: [usize; 2],
    /// Rows and columns of tiles in a plane.
    tiles: [usize; 2],
}

/// Some rows of tiles of one image.
struct Part {
    image: usize,
    rows: Range<usize>,
    /// Tiles of the block before these.
    before: usize,
}

impl Grid {
    fn new(c: &Conv, kind: &'static Kind, form: Form) -> Grid {
        let (planes, padding) = match form {
            Form::Forward => ([c.input, c.output], c.padding),
            // With stride 2, the padding is 1.
            Form::InputGrad => ([c.output, c.input], c.padding.map(|p| 2 - p)),
        };
        Grid { kind, planes, padding, tiles: planes[1].map(|len| len.div_ceil(kind.size)) }
    }

    /// Rows of tiles of a block, with so many channels of the source: whole images, or an even part of one.
    fn block_rows<T>(&self, channels: usize) -> usize {
        let most =
            (BLOCK / (channels * self.kind.all() * size_of::<T>())).clamp(1, MOST / self.kind.phases.min(2));
        let (rows, height) = ((most / self.tiles[1]).max(1), self.tiles[0]);
        if rows >= height { rows / height * height } else { height.div_ceil(height.div_ceil(rows)) }
    }

    /// Cuts rows of tiles, counted over all images, at image borders.
    fn parts(&self, rows: &Range<usize>) -> impl Iterator<Item = Part> {
        let (rows, [height, width]) = (rows.clone(), self.tiles);
        (rows.start / height..rows.end.div_ceil(height)).map(move |image| {
            let first = rows.start.max(image * height);
            let these = first - image * height..rows.end.min((image + 1) * height) - image * height;
            Part { image, rows: these, before: (first - rows.start) * width }
        })
    }

    /// Rows and columns that are staged for `rows` rows of tiles of the source (side 0) or the target (side 1).
    fn staged(&self, side: usize, rows: usize) -> [usize; 2] {
        let step = self.kind.step;
        match side {
            0 => [step * rows + 2, (step * self.tiles[1] + 2).max(self.planes[0][1] + self.padding[1])],
            _ => [2 * rows, 2 * self.tiles[1]],
        }
    }
}

/// The way from planes of the source (side 0) or the target (side 1) to points.
struct ToPoints<'a, T: 'static> {
    kernels: &'static Kernels<T>,
    transform: Row<T>,
    grid: &'a Grid,
    side: usize,
    /// Room for what is staged.
    stage: *mut T,
    /// Room for [`interleave::interleave`].
    room: *mut T,
}

impl<T: Float> ToPoints<'_, T> {
    /// Points of some rows of tiles of `channels` planes from `src` on: point, block of channels, tile, lane. Steps are
    /// from one point to the next and from one block of channels to the next.
    ///
    /// # Safety
    /// The planes are live; `stage` and `room` are large enough for the part; the points have their places.
    unsafe fn run(
        &self,
        part: &Part,
        src: *const T,
        channels: usize,
        points: *mut T,
        steps: [usize; 2],
        apart: usize,
    ) {
        let (lanes, grid, side) = (self.kernels.lanes, self.grid, self.side);
        let (plane, size) = (grid.planes[side], grid.staged(side, part.rows.len()));
        let padding = if side == 0 { grid.padding } else { [0, 0] };
        let step = if side == 0 { grid.kind.step } else { 2 };
        let top = (step * part.rows.start) as isize - padding[0] as isize;
        let (stage, area) = (Stage::new(plane, top, padding[1], size, lanes), plane[0] * plane[1]);
        for first in (0..channels).step_by(lanes) {
            let count = lanes.min(channels - first);
            let planes = Planes { src: src.wrapping_add(first * area), count, stride: area };
            let points = points.wrapping_add(first / lanes * steps[1] + part.before * lanes);
            // SAFETY: handed on.
            unsafe {
                stage.fill(self.kernels, &planes, self.stage, self.room);
                for row in 0..part.rows.len() {
                    (self.transform)(&Tiles {
                        plane: self.stage.add(step * row * size[1] * lanes),
                        pitch: [size[1] * lanes, lanes],
                        points: points.add(row * grid.tiles[1] * lanes),
                        step: [steps[0], lanes],
                        apart,
                        count: grid.tiles[1],
                        size,
                    });
                }
            }
        }
    }
}

/// How some rows of planes of one size are staged: `[y, x, lane]`, with zeros beside them.
struct Stage {
    /// Pixels of a plane before the first that is staged.
    before: usize,
    /// Where the pixels from there on are put.
    places: Vec<usize>,
    /// Elements.
    len: usize,
}

impl Stage {
    /// Stages `size` rows and columns from row `top` of a plane (height, width) on, which may be outside; there are `left`
    /// zeros before the columns of the plane.
    fn new(plane: [usize; 2], top: isize, left: usize, size: [usize; 2], lanes: usize) -> Stage {
        let inside = |row: isize| row.clamp(0, plane[0] as isize) as usize;
        let rows = inside(top)..inside(top + size[0] as isize);
        let place = |y: usize, x: usize| ((y as isize - top) as usize * size[1] + left + x) * lanes;
        let places = rows.clone().flat_map(|y| (0..plane[1]).map(move |x| place(y, x))).collect();
        Stage { before: rows.start * plane[1], places, len: size[0] * size[1] * lanes }
    }

    /// Fills `out` from some planes.
    ///
    /// # Safety
    /// The planes are live; `out` has room for `len` elements, `room` for as many as [`interleave::room`] says.
    unsafe fn fill<T: Float>(&self, kernels: &Kernels<T>, planes: &Planes<T>, out: *mut T, room: *mut T) {
        let planes = Planes { src: planes.src.wrapping_add(self.before), ..*planes };
        // SAFETY: handed on; the pixels that have places are inside the planes, their places inside `out`.
        unsafe {
            std::slice::from_raw_parts_mut(out, self.len).fill(T::ZERO);
            interleave::interleave(kernels, kernels.lanes, &planes, &self.places, out, room);
        }
    }
}
