//! How a product is cut into tasks.

use super::loops::{KC, panel_height};
use crate::par;
use std::ops::Range;

/// Multiply-adds below which starting another task costs more than it saves.
const GRAIN: usize = 1 << 19;
/// Multiply-adds for which a thread gets one more task, so that a thread that is held up does not hold up the rest. With
/// fewer, what each task packs for itself would cost more than that saves.
const LARGE: usize = 1 << 26;
/// The most tasks of a thread.
const MOST: usize = 2;
/// What packing one element costs, in multiply-adds.
const PACKING: usize = 10;
/// Elements of B that lie in the second-level cache at once. A task with more columns goes through its rows of A again
/// for each so many, so that many rows are better than many columns.
const B_BLOCK: usize = 1 << 18;

/// A batch of products, each `rows` × `cols`, as equal tasks: either several whole products each, or a part of one.
///
/// The cut has no influence on results (each element is computed in the same order whatever task it belongs to),
/// so it may depend on the number of threads.
pub struct Grid {
    batches: usize,
    per_task: usize,
    size: [usize; 2],
    /// Rows and columns of one task.
    part: [usize; 2],
}

impl Grid {
    /// `size` is rows, columns, and length of the sums; parts start at panels, `nr` columns wide.
    pub fn new(batches: usize, size: [usize; 3], mr: usize, nr: usize) -> Grid {
        let [rows, cols, k] = size;
        let work = rows * cols * k.max(1);
        let threads = par::threads();
        let wanted = threads * (work * batches / LARGE).clamp(1, MOST);
        let wanted = if threads == 1 { 1 } else { wanted.min(work * batches / GRAIN).max(1) };
        let whole =
            Grid { batches, per_task: batches.div_ceil(wanted), size: [rows, cols], part: [rows, cols] };
        if batches >= wanted {
            return whole;
        }
        let pieces = wanted.div_ceil(batches);
        let height = panel_height(rows, mr);
        let (down, across) = (rows.div_ceil(height), cols.div_ceil(nr));
        let wide = B_BLOCK / k.clamp(1, KC);
        let cut = |i: usize| [down.div_ceil(i) * height, across.div_ceil(pieces.div_ceil(i)) * nr];
        let cost = |[r, c]: [usize; 2]| {
            let tasks = rows.div_ceil(r) * cols.div_ceil(c) * batches;
            tasks.div_ceil(threads) * (r * c + PACKING * (r * c.div_ceil(wide) + c))
        };
        let part = (1..=pieces).map(cut).min_by_key(|&part| cost(part)).unwrap_or([rows, cols]);
        Grid { per_task: 1, part, ..whole }
    }

    /// Rows and columns of one task.
    pub fn part(&self) -> [usize; 2] {
        self.part
    }

    fn parts(&self) -> [usize; 2] {
        [self.size[0].div_ceil(self.part[0]), self.size[1].div_ceil(self.part[1])]
    }

    /// Number of tasks.
    pub fn tasks(&self) -> usize {
        self.batches.div_ceil(self.per_task) * self.parts()[0] * self.parts()[1]
    }

    /// Products, rows and columns of one task.
    pub fn task(&self, task: usize) -> (Range<usize>, Range<usize>, Range<usize>) {
        let [down, across] = self.parts();
        let range = |index: usize, part: usize, end: usize| index * part..end.min((index + 1) * part);
        (
            range(task / (down * across), self.per_task, self.batches),
            range(task / across % down, self.part[0], self.size[0]),
            range(task % across, self.part[1], self.size[1]),
        )
    }
}
