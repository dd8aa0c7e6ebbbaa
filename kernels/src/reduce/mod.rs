//! `Reduce`: a fused pointwise program, reduced over any axes.
//!
//! # The order of additions
//! The elements of one sum are numbered row-major over the reduced axes and cut into blocks of [`BLOCK`]. In a block,
//! element `r` is added to lane `r % LANES`; lanes start at zero and are combined as `l + (l + 8)`, then 4, 2, 1 apart.
//! The sums of the blocks are added pairwise, neighbour to neighbour, until one is left. So the order depends on
//! shape and axes alone: not on strides, threads, instruction set or what was fused into the program.

mod fold;
mod layout;
mod planes;

use std::ops::Range;

use crate::pointwise::plan::Plan;
use crate::pointwise::space::Grid;
use crate::pointwise::tile::Worker;
use crate::pointwise::{Code, Operands, Slice, SliceMut, TASK_WORK, check_arity, is_far};
use crate::program::Program;
use crate::simd::{self, Level};
use crate::{DType, MAX_RANK, RawView, par};
use fold::{Folds, folds};
use layout::Layout;
use planes::Planes;

/// Lanes that a block is summed in.
pub const LANES: usize = 16;
/// Elements of one block.
pub const BLOCK: usize = 4096;

/// Bytes of the lanes that columns are summed in at a time.
const LANE_BYTES: usize = 32 << 10;

/// What is done along the reduced axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reduction {
    /// The sum (integers wrap; bool: any). Of nothing: 0.
    Sum,
    /// The largest; NaN if there is one; bool: any. Of nothing: the least value of the type.
    Max,
    /// The smallest; NaN if there is one; bool: all. Of nothing: the greatest value of the type.
    Min,
    /// Row-major index (u32) among the reduced axes of the first largest element, or of the first NaN. Of nothing: 0.
    ArgMax,
    /// Row-major index (u32) among the reduced axes of the first smallest element, or of the first NaN. Of nothing: 0.
    ArgMin,
}

impl Reduction {
    /// Whether the result is an index.
    pub const fn is_arg(self) -> bool {
        matches!(self, Reduction::ArgMax | Reduction::ArgMin)
    }

    /// The type of the result, for elements of type `dtype`.
    pub const fn result(self, dtype: DType) -> DType {
        if self.is_arg() { DType::U32 } else { dtype }
    }
}

/// A program with one output, and a reduction of it, made ready to run.
pub struct Kernel {
    code: Code,
    reduction: Reduction,
}

impl Kernel {
    /// Makes the reduction of `program`'s one output ready.
    ///
    /// # Panics
    /// If the program is ill-typed or has not exactly one output.
    pub fn new(program: &Program, reduction: Reduction) -> Kernel {
        assert_eq!(program.outputs.len(), 1, "a reduced program has one output");
        Kernel { code: Code::new(program), reduction }
    }

    /// Evaluates the program over `shape` and reduces it over the axes whose bit is set in `axes`. `out` is contiguous
    /// over the kept axes, of the type [`Reduction::result`].
    ///
    /// # Panics
    /// If there are fewer operands or parameters than the program names, or more than [`MAX_RANK`] axes.
    ///
    /// # Safety
    /// Every input address that shape and strides reach is inside a live allocation of the right type, aligned; `out`
    /// has room for the kept positions, is aligned, and overlaps no input.
    pub unsafe fn run(&self, shape: &[usize], axes: u32, inputs: &[RawView], out: *mut u8, params: &[u64]) {
        // SAFETY: the caller's promise.
        unsafe { self.run_all(shape, axes, inputs, out, params, is_far(&self.code, shape, inputs)) }
    }

    /// # Safety
    /// As [`Kernel::run`].
    unsafe fn run_all(
        &self,
        shape: &[usize],
        axes: u32,
        inputs: &[RawView],
        out: *mut u8,
        params: &[u64],
        far: bool,
    ) {
        assert!(shape.len() <= MAX_RANK, "at most {MAX_RANK} axes, not {}", shape.len());
        check_arity(&self.code, inputs, None, params);
        let layout = Layout::new(&self.code, shape, axes, inputs);
        let level = simd::level();
        let dtype = self.code.output_type(0);
        let run = Run {
            kernel: self,
            folds: folds(self.reduction, dtype, level),
            size: dtype.size(),
            operands: Operands { inputs, outputs: &[], params, index_start: 0, stream: false, next: [0; 2] },
            level,
            far,
            out: Shared(out),
            layout,
        };
        if run.layout.rows * run.layout.columns == 0 {
            return;
        }
        // SAFETY: the caller's promise.
        unsafe {
            if run.layout.reduced == 0 {
                run.nothing()
            } else if let Some(planes) = run.has_planes(shape, axes) {
                run.planes(&planes)
            } else if run.layout.columns == 1 && run.layout.reduced <= self.code.tile / 2 {
                run.short_rows()
            } else {
                run.blocks()
            }
        }
    }
}

impl Kernel {
    /// [`Kernel::run`] for a range of one kept axis, all kept axes before which have length 1: results of a range
    /// lie together. `out` is still that of the whole; `far` says whether inputs lie in memory, not in a cache.
    ///
    /// # Panics
    /// As [`Kernel::run`]; if the axis is reduced or the program reads the index.
    ///
    /// # Safety
    /// As [`Kernel::run`], for that range.
    #[allow(clippy::too_many_arguments)]
    pub unsafe fn run_part(
        &self,
        shape: &[usize],
        axes: u32,
        (axis, range): (usize, Range<usize>),
        inputs: &[RawView],
        out: *mut u8,
        params: &[u64],
        far: bool,
    ) {
        let kept = |k: &usize| axes >> k & 1 == 0;
        assert!(
            kept(&axis) && !self.code.uses_index,
            "a part along axis {axis} of a reduction over {axes:#b}"
        );
        let mut part = [1; MAX_RANK];
        part[..shape.len()].copy_from_slice(shape);
        part[axis] = range.len();
        let views: Vec<RawView> = (inputs.iter().enumerate())
            .map(|(k, view)| {
                let bytes = self.code.input_type(k).map_or(0, |t| t.size()) as isize;
                let ptr = view.ptr.wrapping_offset(range.start as isize * view.strides[axis] * bytes);
                RawView { ptr, strides: view.strides }
            })
            .collect();
        let stride: usize = (axis + 1..shape.len()).filter(kept).map(|k| shape[k]).product();
        let size = self.reduction.result(self.code.output_type(0)).size();
        // SAFETY: the caller's promise.
        unsafe {
            let out = out.wrapping_add(range.start * stride * size);
            self.run_all(&part[..shape.len()], axes, &views, out, params, far)
        }
    }

    /// [`Kernel::run`] on slices: inputs with their strides in elements (0: broadcast).
    ///
    /// # Panics
    /// If a type is not the program's, an operand is missing, or the space reaches beyond a slice.
    pub fn run_slices(
        &self,
        shape: &[usize],
        axes: u32,
        inputs: &[(Slice, &[usize])],
        out: &mut SliceMut,
        params: &[u64],
    ) {
        let inputs: Vec<RawView> = (inputs.iter().enumerate())
            .map(|(k, (slice, strides))| slice.view(self.code.input_type(k), shape, strides))
            .collect();
        let kept: usize =
            (0..shape.len()).filter(|axis| axes >> axis & 1 == 0).map(|axis| shape[axis]).product();
        let (dtype, ptr, len) = out.parts();
        assert_eq!(dtype, self.reduction.result(self.code.output_type(0)), "the type of the output");
        assert_eq!(len, kept, "the output has another length than the kept axes");
        // SAFETY: types and bounds are checked above; the borrows keep the output apart from the inputs.
        unsafe { self.run(shape, axes, &inputs, ptr, params) }
    }
}

/// A pointer that tasks write through, each to places of its own.
#[derive(Clone, Copy)]
struct Shared(*mut u8);
// SAFETY: an address; the tasks that use it write to places of their own.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    fn at(self, bytes: usize) -> *mut u8 {
        self.0.wrapping_add(bytes)
    }
}

/// One call of a kernel.
struct Run<'a> {
    kernel: &'a Kernel,
    layout: Layout,
    folds: Folds,
    /// Bytes of one element of the program's output.
    size: usize,
    operands: Operands<'a>,
    level: Level,
    /// Whether the inputs are taken to lie in memory, not in a cache.
    far: bool,
    out: Shared,
}

/// The part of a reduction that one task does at a time: a block of one row, some columns.
struct Job {
    row: usize,
    block: Range<usize>,
    columns: Range<usize>,
}

impl Run<'_> {
    /// Calls `task(first, last)` for ranges of `count` jobs of equal work (in elements), on all threads.
    fn in_tasks(&self, count: usize, elements: usize, task: impl Fn(Range<usize>) + Sync + Send) {
        let per_task = (TASK_WORK / (elements * self.kernel.code.weight).max(1)).max(1);
        par::for_each(count.div_ceil(per_task), |t| task(t * per_task..((t + 1) * per_task).min(count)));
    }

    /// The space as planes of channels, if that is what it is.
    fn has_planes(&self, shape: &[usize], axes: u32) -> Option<Planes> {
        let indexed = self.kernel.reduction.is_arg();
        if indexed { None } else { Planes::new(&self.kernel.code, shape, axes, self.operands.inputs) }
    }

    /// Fills `n` elements with what changes no result.
    ///
    /// # Safety
    /// `lanes` has room for them.
    unsafe fn fill_identity(&self, lanes: *mut u8, n: usize) {
        // SAFETY: the caller's promise; what is filled so far is copied behind itself, since a copy for each element
        // would cost more than the sums.
        unsafe {
            std::ptr::copy_nonoverlapping(self.folds.identity.as_ptr(), lanes, self.size);
            let (mut filled, all) = (self.size, n * self.size);
            while filled < all {
                let more = filled.min(all - filled);
                std::ptr::copy_nonoverlapping(lanes, lanes.add(filled), more);
                filled += more;
            }
        }
    }

    /// Writes the result of nothing everywhere.
    ///
    /// # Safety
    /// As [`Kernel::run`].
    unsafe fn nothing(&self) {
        let (bytes, size) =
            if self.kernel.reduction.is_arg() { ([0; 8], 4) } else { (self.folds.identity, self.size) };
        for k in 0..self.layout.rows * self.layout.columns {
            // SAFETY: `out` has room for all kept positions.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.out.at(k * size), size) };
        }
    }

    /// Rows that fit in a tile, several at a time.
    ///
    /// # Safety
    /// As [`Kernel::run`].
    unsafe fn short_rows(&self) {
        let (layout, code) = (&self.layout, &self.kernel.code);
        let lens = &layout.space.lens;
        let mut largest = [1; MAX_RANK];
        let mut room = code.tile;
        for axis in (0..layout.space.rank()).rev() {
            largest[axis] = room.min(lens[axis]);
            room /= lens[axis];
            if room <= 1 {
                break;
            }
        }
        let grid = Grid::new(lens, &largest[..layout.space.rank()]);
        let plan = Plan::new(code, &layout.space, &grid.chunk, &self.operands, self.level);
        let out = self.out;
        self.in_tasks(grid.count(), grid.chunk.iter().product(), |boxes| {
            let mut worker = Worker::new(&plan);
            for number in boxes {
                let (start, size) = grid.region(lens, number);
                let rows: usize = size[..layout.outer].iter().product();
                let first = (0..layout.outer).fold(0, |flat, axis| flat * lens[axis] + start[axis]);
                // SAFETY: the box lies in the space; it holds whole rows, whose results are this task's alone.
                unsafe {
                    worker.eval(&start, &size);
                    let x = worker.output(0, rows * layout.reduced);
                    if self.kernel.reduction.is_arg() {
                        let mut value = [0u64; 1];
                        for row in 0..rows {
                            let x = x.add(row * layout.reduced * self.size);
                            let at = (self.folds.best)(value.as_mut_ptr().cast(), x, layout.reduced);
                            out.at((first + row) * 4).cast::<u32>().write(at as u32);
                        }
                    } else {
                        (self.folds.rows)(out.at(first * self.size), x, rows, layout.reduced);
                    }
                }
            }
        });
    }

    /// Block by block: first the results of all blocks, then those combined.
    ///
    /// # Safety
    /// As [`Kernel::run`].
    unsafe fn blocks(&self) {
        let (layout, code, arg) = (&self.layout, &self.kernel.code, self.kernel.reduction.is_arg());
        // The lanes of all columns stay in the first-level cache.
        let most = (code.tile / 2).min(LANE_BYTES / LANES / self.size);
        let widest = layout.columns.min(most);
        let cut = Grid::new(&[layout.columns], &[widest]);
        let widest = cut.chunk[0];
        // Rows of a part of the columns do not lie together: one at a time they are read in place.
        let room = if widest < layout.columns { 1 } else { code.tile / widest };
        let chunk = layout.chunk(room, widest);
        let plan = Plan::new(code, &layout.space, &chunk, &self.operands, self.level);
        let (blocks, kept) = (layout.blocks(self.kernel.reduction), layout.rows * layout.columns);
        let block = if arg { 16 * BLOCK } else { BLOCK };
        // With one block a sum goes straight to its place; an arg reduction has values beside its result.
        let mut values =
            vec![0u64; if blocks > 1 || arg { (blocks * kept * self.size).div_ceil(8) } else { 0 }];
        let mut places = vec![0u32; if blocks > 1 && arg { blocks * kept } else { 0 }];
        let into = if values.is_empty() { self.out } else { Shared(values.as_mut_ptr().cast()) };
        let at = if places.is_empty() { self.out } else { Shared(places.as_mut_ptr().cast()) };
        let job = |number: usize| {
            let (piece, rest) = (number % cut.count(), number / cut.count());
            let (number, row) = (rest % blocks, rest / blocks);
            let columns = piece * widest..((piece + 1) * widest).min(layout.columns);
            let place = number * kept + row * layout.columns + columns.start;
            let block = number * block..((number + 1) * block).min(layout.reduced);
            (Job { row, block, columns }, place)
        };
        let elements = widest * block.min(layout.reduced);
        self.in_tasks(layout.rows * blocks * cut.count(), elements, |jobs| {
            let mut worker = Worker::new(&plan);
            let mut lanes = vec![0u64; (LANES * widest * self.size).div_ceil(8)];
            for (job, place) in jobs.map(job) {
                let to = into.at(place * self.size);
                // SAFETY: the job lies in the space, and its results are this task's alone.
                unsafe {
                    if arg {
                        self.best_of_block(&mut worker, &job, room, to, at.at(place * 4).cast());
                    } else {
                        self.fold_block(&mut worker, &job, room, lanes.as_mut_ptr().cast(), to);
                    }
                }
            }
        });
        // SAFETY: the buffers hold the results of all blocks.
        unsafe {
            if arg && blocks > 1 {
                self.combine_best(into, at.0.cast(), blocks, kept);
            } else if blocks > 1 {
                self.combine(into, blocks, kept);
            }
        }
    }

    /// Evaluates the program over a job, box by box, and calls `f(first element, elements, values)` for each.
    ///
    /// # Safety
    /// The job lies in the space.
    unsafe fn each_tile(
        &self,
        worker: &mut Worker,
        job: &Job,
        room: usize,
        mut f: impl FnMut(usize, usize, *const u8),
    ) {
        let layout = &self.layout;
        let (mut start, mut size) = ([0; MAX_RANK], [1; MAX_RANK]);
        let mut rest = job.row;
        for axis in (0..layout.outer).rev() {
            start[axis] = rest % layout.space.lens[axis];
            rest /= layout.space.lens[axis];
        }
        if layout.inner < layout.space.rank() {
            (start[layout.inner], size[layout.inner]) = (job.columns.start, job.columns.len());
        }
        let (mut r, end) = (job.block.start, job.block.end);
        let mut count = layout.next_box(r, end, room, &mut start, &mut size);
        while r < end {
            let (mut next_start, mut next_size, mut next) = (start, size, 0);
            if r + count < end {
                next = layout.next_box(r + count, end, room, &mut next_start, &mut next_size);
                // What is read in place, in order, asks for itself.
                if self.far && (worker.computes() || job.columns.len() > 1) {
                    worker.announce(&next_start, &next_size);
                }
            }
            // SAFETY: the box is part of the job.
            let x = unsafe {
                worker.eval(&start, &size);
                worker.output(0, count * job.columns.len())
            };
            f(r, count, x);
            r += count;
            (start, size, count) = (next_start, next_size, next);
        }
    }

    /// Reduces a block of a sum (or maximum, or minimum) to `to`, with `lanes` to work in.
    ///
    /// # Safety
    /// The job lies in the space; `lanes` has [`LANES`] times as many elements as the job has columns, `to` as many.
    unsafe fn fold_block(&self, worker: &mut Worker, job: &Job, room: usize, lanes: *mut u8, to: *mut u8) {
        let (columns, size) = (job.columns.len(), self.size);
        let used = LANES.min(job.block.len());
        let whole = LANES * columns;
        // SAFETY: all offsets are of elements of `lanes` or of a tile.
        unsafe {
            self.fill_identity(lanes, used * columns);
            let begin = job.block.start;
            self.each_tile(worker, job, room, |r, count, x| {
                let (mut lane, mut done) = ((r - begin) % LANES * columns, 0);
                let n = count * columns;
                while done < n {
                    let from = x.add(done * size);
                    // From lane 0 on, the rows of one column are one loop.
                    let of = if columns == 1 && lane == 0 { n - done } else { (whole - lane).min(n - done) };
                    if columns == 1 && lane == 0 {
                        (self.folds.lanes)(lanes, from, of);
                    } else {
                        (self.folds.flat)(lanes.add(lane * size), from, of);
                    }
                    lane = 0;
                    done += of;
                }
            });
            // Lanes that nothing was added to would change nothing.
            let mut half = LANES / 2;
            while half > 0 {
                let pairs = half.min(used.saturating_sub(half));
                (self.folds.flat)(lanes, lanes.add(half * columns * size), pairs * columns);
                half /= 2;
            }
            std::ptr::copy_nonoverlapping(lanes, to, columns * size);
        }
    }

    /// Finds the extremes of a block, values to `values` and positions to `at`.
    ///
    /// # Safety
    /// The job lies in the space; `values` and `at` have an element for each of its columns.
    unsafe fn best_of_block(
        &self,
        worker: &mut Worker,
        job: &Job,
        room: usize,
        values: *mut u8,
        at: *mut u32,
    ) {
        let (columns, size) = (job.columns.len(), self.size);
        // SAFETY: all offsets are of elements of the results or of a tile.
        unsafe {
            let begin = job.block.start;
            self.each_tile(worker, job, room, |first, count, x| {
                if first == begin {
                    std::ptr::copy_nonoverlapping(x, values, columns * size);
                    std::slice::from_raw_parts_mut(at, columns).fill(begin as u32);
                }
                if columns == 1 {
                    let mut value = [0u64; 1];
                    let position = (self.folds.best)(value.as_mut_ptr().cast(), x, count);
                    if (self.folds.beats)(value.as_ptr().cast(), values) {
                        std::ptr::copy_nonoverlapping(value.as_ptr().cast(), values, size);
                        at.write((first + position) as u32);
                    }
                    return;
                }
                for row in 0..count {
                    let from = x.add(row * columns * size);
                    (self.folds.flat_best)(values, at, from, columns, (first + row) as u32);
                }
            });
        }
    }

    /// Adds up the results of blocks, neighbour to neighbour.
    ///
    /// # Safety
    /// `values` has `kept` results for each block.
    unsafe fn combine(&self, values: Shared, blocks: usize, kept: usize) {
        let row = |block: usize| values.at(block * kept * self.size);
        let mut step = 1;
        while step < blocks {
            for block in (0..blocks - step).step_by(2 * step) {
                // SAFETY: both are results of a block, `kept` of them.
                unsafe { (self.folds.flat)(row(block), row(block + step), kept) };
            }
            step *= 2;
        }
        // SAFETY: `out` has room for the kept positions.
        unsafe { std::ptr::copy_nonoverlapping(row(0), self.out.0, kept * self.size) };
    }

    /// Writes for each position the place of the best of all blocks, the first of equals.
    ///
    /// # Safety
    /// `values` and `places` have `kept` results for each block.
    unsafe fn combine_best(&self, values: Shared, places: *const u32, blocks: usize, kept: usize) {
        for k in 0..kept {
            let mut best = k;
            for other in (1..blocks).map(|block| block * kept + k) {
                // SAFETY: both are results of a block.
                if unsafe { (self.folds.beats)(values.at(other * self.size), values.at(best * self.size)) } {
                    best = other;
                }
            }
            // SAFETY: `out` has room for the kept positions.
            unsafe { self.out.0.cast::<u32>().add(k).write(*places.add(best)) };
        }
    }
}
