//! Iteration spaces: axes merged where every operand allows it, cut into boxes the size of a tile.

use crate::MAX_RANK;

/// An iteration space with the strides of all operands, in elements.
pub(crate) struct Space {
    /// The length of every axis, outermost first; none is 1.
    pub(crate) lens: Vec<usize>,
    /// For every operand the strides along `lens`.
    pub(crate) strides: Vec<[isize; MAX_RANK]>,
}

impl Space {
    /// The space with axes `lens`, without axes of length 1, and with neighbours merged that every operand steps
    /// through like one axis, unless `apart` says that they must stay two.
    pub(crate) fn new(
        lens: &[usize],
        strides: Vec<[isize; MAX_RANK]>,
        apart: impl Fn(usize, usize) -> bool,
    ) -> (Space, Vec<usize>) {
        let mut space = Space { lens: Vec::new(), strides: vec![[0; MAX_RANK]; strides.len()] };
        // The (innermost) original axis of each axis of the space.
        let mut origin: Vec<usize> = Vec::new();
        for axis in (0..lens.len()).filter(|&axis| lens[axis] != 1) {
            let merges = origin.last().is_some_and(|&outer| {
                !apart(outer, axis) && strides.iter().all(|s| s[outer] == s[axis] * lens[axis] as isize)
            });
            if merges {
                *space.lens.last_mut().expect("there is an outer axis") *= lens[axis];
                *origin.last_mut().expect("there is an outer axis") = axis;
            } else {
                space.lens.push(lens[axis]);
                origin.push(axis);
            }
            let at = space.lens.len() - 1;
            for (to, from) in space.strides.iter_mut().zip(&strides) {
                to[at] = from[axis];
            }
        }
        (space, origin)
    }

    pub(crate) fn rank(&self) -> usize {
        self.lens.len()
    }
}

/// Start and lengths of a box.
pub(crate) type Region = ([usize; MAX_RANK], [usize; MAX_RANK]);

/// A space cut into boxes of at most `chunk` elements along each axis.
pub(crate) struct Grid {
    pub(crate) chunk: [usize; MAX_RANK],
    counts: [usize; MAX_RANK],
    /// The axes in the order in which boxes follow each other, the one that changes with every box last.
    order: [usize; MAX_RANK],
    rank: usize,
}

impl Grid {
    /// The boxes of a space with axes `lens` that are at most `largest` long along each axis, as even as possible.
    pub(crate) fn new(lens: &[usize], largest: &[usize]) -> Grid {
        let order = std::array::from_fn(|axis| axis);
        let mut grid = Grid { chunk: [1; MAX_RANK], counts: [1; MAX_RANK], order, rank: lens.len() };
        for axis in 0..lens.len() {
            let pieces = lens[axis].div_ceil(largest[axis].max(1));
            let even = lens[axis].div_ceil(pieces.max(1)).max(1);
            // Whole vectors, where that matters.
            grid.chunk[axis] = if even > 64 { even.next_multiple_of(64).min(largest[axis]) } else { even };
            grid.counts[axis] = lens[axis].div_ceil(grid.chunk[axis]);
        }
        grid
    }

    /// Makes the boxes that differ along the first axis that `is_better` follow each other, if it has several.
    pub(crate) fn go_along(&mut self, is_better: impl Fn(usize) -> bool) {
        let many = |&axis: &usize| self.counts[axis] > 1 && is_better(axis);
        if let Some(axis) = (0..self.rank).find(many) {
            self.order[axis..self.rank].rotate_left(1);
        }
    }

    /// How many boxes there are.
    pub(crate) fn count(&self) -> usize {
        self.counts[..self.rank].iter().product()
    }

    /// Goes on to the next box; from the last to the first.
    pub(crate) fn advance(&self, lens: &[usize], (start, size): &mut Region) {
        for &axis in self.order[..self.rank].iter().rev() {
            start[axis] += self.chunk[axis];
            let wraps = start[axis] >= lens[axis];
            start[axis] = if wraps { 0 } else { start[axis] };
            size[axis] = self.chunk[axis].min(lens[axis] - start[axis]);
            if !wraps {
                break;
            }
        }
    }

    /// Start and lengths of box `number` of the space with axes `lens`.
    pub(crate) fn region(&self, lens: &[usize], mut number: usize) -> Region {
        let (mut start, mut size) = ([0; MAX_RANK], [1; MAX_RANK]);
        for &axis in self.order[..self.rank].iter().rev() {
            let at = number % self.counts[axis];
            number /= self.counts[axis];
            start[axis] = at * self.chunk[axis];
            size[axis] = self.chunk[axis].min(lens[axis] - start[axis]);
        }
        (start, size)
    }
}
