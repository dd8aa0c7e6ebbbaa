//! Sums of channels: the reduced axes stand on both sides of a kept one, as those of `[n, c, h w]` around c.
//!
//! Elements of one sum lie together in planes of `h w`, too short to be a tile. Copied into one they would be read twice;
//! so a tile is a row of several planes, as it lies in memory, and every channel has lanes of its own.

use std::ops::Range;

use super::{BLOCK, LANES, Run, Shared};
use crate::pointwise::plan::Plan;
use crate::pointwise::space::{Grid, Space};
use crate::pointwise::tile::Worker;
use crate::pointwise::{Code, LONG};
use crate::{MAX_RANK, RawView};

/// A space of three axes, of which the middle one is kept.
pub(super) struct Planes {
    space: Space,
    /// Length of the outer axis, number of channels, and elements of a plane.
    rows: usize,
    channels: usize,
    plane: usize,
}

impl Planes {
    /// The space of a reduction, if it is of this form and goes better this way.
    pub(super) fn new(code: &Code, shape: &[usize], axes: u32, inputs: &[RawView]) -> Option<Planes> {
        if code.uses_index {
            return None;
        }
        let mut strides: Vec<[isize; MAX_RANK]> = (inputs.iter().enumerate())
            .map(|(k, view)| if code.input_type(k).is_some() { view.strides } else { [0; MAX_RANK] })
            .collect();
        strides.push([0; MAX_RANK]);
        let is_reduced = |axis: usize| axes >> axis & 1 == 1;
        let (space, origin) = Space::new(shape, strides, |a, b| is_reduced(a) != is_reduced(b));
        if origin.len() != 3 || [0, 1, 2].map(|at| is_reduced(origin[at])) != [true, false, true] {
            return None;
        }
        let [rows, channels, plane] = [0, 1, 2].map(|at| space.lens[at]);
        let together = space.strides.iter().any(|s| s[2] == 1 && s[1] == plane as isize);
        let fits = together && plane < LONG && channels * plane >= LONG / 2;
        fits.then_some(Planes { space, rows, channels, plane })
    }

    /// The rows that have elements `range` of the sums.
    fn rows_of(&self, range: &Range<usize>) -> Range<usize> {
        range.start / self.plane..range.end.div_ceil(self.plane)
    }
}

impl Run<'_> {
    /// Row by row of planes: first the results of all blocks, then those combined.
    ///
    /// # Safety
    /// As [`super::Kernel::run`].
    pub(super) unsafe fn planes(&self, planes: &Planes) {
        let code = &self.kernel.code;
        let Planes { space, channels, plane, .. } = planes;
        let cut = Grid::new(&[*channels], &[code.tile / plane]);
        let group = cut.chunk[0];
        let mut chunk = [1; MAX_RANK];
        (chunk[1], chunk[2]) = (group, *plane);
        let plan = Plan::new(code, space, &chunk, &self.operands, self.level);
        let count = planes.rows * plane;
        let blocks = count.div_ceil(BLOCK);
        let mut values = vec![0u64; if blocks > 1 { (blocks * channels * self.size).div_ceil(8) } else { 0 }];
        let into = if blocks > 1 { Shared(values.as_mut_ptr().cast()) } else { self.out };
        self.in_tasks(blocks * cut.count(), group * BLOCK.min(count), |jobs| {
            let mut worker = Worker::new(&plan);
            let mut lanes = vec![0u64; (LANES * group * self.size).div_ceil(8)];
            for number in jobs {
                let (block, piece) = (number / cut.count(), number % cut.count());
                let range = block * BLOCK..((block + 1) * BLOCK).min(count);
                let some = piece * group..((piece + 1) * group).min(*channels);
                let to = into.at((block * channels + some.start) * self.size);
                // SAFETY: the block lies in the space, and its results are this task's alone.
                unsafe { self.planes_block(planes, &mut worker, range, some, lanes.as_mut_ptr().cast(), to) };
            }
        });
        if blocks > 1 {
            // SAFETY: the buffer holds the results of all blocks.
            unsafe { self.combine(into, blocks, *channels) };
        }
    }

    /// Reduces elements `range` of the sums of some channels to `to`, with `lanes` to work in.
    ///
    /// # Safety
    /// Range and channels lie in the space; `lanes` has [`LANES`] elements for each of these channels, `to` one.
    unsafe fn planes_block(
        &self,
        planes: &Planes,
        worker: &mut Worker,
        range: Range<usize>,
        channels: Range<usize>,
        lanes: *mut u8,
        to: *mut u8,
    ) {
        let (plane, size, rows) = (planes.plane, self.size, planes.rows_of(&range));
        let (mut start, mut lens) = ([0; MAX_RANK], [1; MAX_RANK]);
        (start[1], lens[1], lens[2]) = (channels.start, channels.len(), plane);
        // SAFETY: all offsets are of elements of `lanes` or of a tile.
        unsafe {
            self.fill_identity(lanes, LANES * channels.len());
            for row in rows.clone() {
                if self.far && row + 1 < rows.end {
                    start[0] = row + 1;
                    worker.announce(&start, &lens);
                }
                start[0] = row;
                worker.eval(&start, &lens);
                let x = worker.output(0, channels.len() * plane);
                // A block may begin and end within a plane.
                let first = range.start.saturating_sub(row * plane);
                let len = range.end.min((row + 1) * plane) - row * plane - first;
                let lane = (row * plane + first - range.start) % LANES;
                (self.folds.planes)(lanes, x.add(first * size), channels.len(), [plane, len, lane]);
            }
            (self.folds.rows)(to, lanes, channels.len(), LANES);
        }
    }
}
