//! `Map`: fused pointwise programs over strided operands.
//!
//! A program is interpreted tile by tile: a tile is a box of about a thousand elements, each instruction runs over a
//! whole tile in one vector loop, and its registers stay in the first-level cache. Operands that are contiguous in a
//! tile are read and written where they are; those that are the same for a whole tile are scalars; all others are
//! copied to or from the tile. So a long program costs the memory traffic of its operands once.

mod ahead;
mod check;
mod compile;
mod copy;
mod join;
mod loops;
mod moments;
mod numbers;
mod pairs;
pub(crate) mod plan;
mod slices;
pub(crate) mod space;
mod table;
pub(crate) mod tile;

use crate::program::Program;
use crate::{MAX_RANK, RawView, contiguous, par, simd};
use check::check;
pub(crate) use compile::Code;
pub(crate) use loops::Lane;
use plan::Plan;
pub use slices::{Slice, SliceMut};
use space::{Grid, Space};
use tile::Worker;

/// A program made ready to run.
pub struct Kernel {
    code: Code,
}

/// Work below this (in simple instructions) is not worth waking other threads; above, it is cut in tasks of this size.
pub(crate) const TASK_WORK: usize = 1 << 17;

/// Tasks that the largest map is cut into: results that go past the caches are waited for at the end of each.
const MOST_TASKS: usize = 256;

/// Inputs of more bytes than this are taken to lie in memory, not in a cache.
const CACHE_BYTES: usize = 1 << 20;

/// Results of more bytes than this are written past the caches.
const STREAM_BYTES: usize = 4 << 20;

/// What a run gives to a plan: operands in the order of the space's strides (inputs, outputs, the index).
pub(crate) struct Operands<'a> {
    pub(crate) inputs: &'a [RawView],
    pub(crate) outputs: &'a [RawView],
    pub(crate) params: &'a [u64],
    pub(crate) index_start: u64,
    /// Whether outputs are so large that the caches are better kept for other things.
    pub(crate) stream: bool,
    /// [`Traffic::next`].
    pub(crate) next: [usize; 2],
}

/// The operands of a call, as it gives them.
fn given<'a>(inputs: &'a [RawView], outputs: &'a [RawView], params: &'a [u64]) -> Operands<'a> {
    Operands { inputs, outputs, params, index_start: 0, stream: false, next: [0; 2] }
}

/// Where the operands of a part of a run lie, and are to lie. No bit depends on it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Traffic {
    /// Whether inputs lie in memory: then they are fetched into the cache ahead of their use.
    pub far: bool,
    /// Whether results are written past the caches, for what is large and not read soon.
    pub stream: bool,
    /// Memory that somebody will read soon, to be fetched into the cache meanwhile: its address, and how many bytes.
    pub next: [usize; 2],
}

/// Whether what a program reads in a space of these lengths is taken to lie in memory.
pub(crate) fn is_far(code: &Code, lens: &[usize], inputs: &[RawView]) -> bool {
    let bytes = |(k, view): (usize, &RawView)| {
        let seen = lens.iter().zip(&view.strides).filter(|(_, stride)| **stride != 0);
        code.input_type(k).map_or(0, |t| t.size() * seen.map(|(len, _)| len).product::<usize>())
    };
    inputs.iter().enumerate().map(bytes).sum::<usize>() > CACHE_BYTES
}

impl Kernel {
    /// Checks the types of `program`, drops what no output needs and assigns registers.
    ///
    /// # Panics
    /// If the program is ill-typed, which is a bug of whoever wrote it.
    pub fn new(program: &Program) -> Kernel {
        Kernel { code: Code::new(program) }
    }

    /// Evaluates the program at every element of `shape`.
    ///
    /// # Panics
    /// If there are fewer operands or parameters than the program names, or more than [`MAX_RANK`] axes.
    ///
    /// # Safety
    /// Every address that shape and strides reach is inside a live allocation and aligned, for inputs of the types
    /// of the program's inputs and for outputs of its output registers. No output overlaps itself, another output
    /// or an input, except that an output may be exactly an input (same address, same strides).
    pub unsafe fn run(&self, shape: &[usize], inputs: &[RawView], outputs: &[RawView], params: &[u64]) {
        let given = given(inputs, outputs, params);
        let far = is_far(&self.code, shape, inputs);
        // SAFETY: the region is the whole space.
        unsafe { self.run_box(shape, [&[0; MAX_RANK][..shape.len()], shape], given, far, true) }
    }

    /// As [`Kernel::run_region`], told where operands lie.
    ///
    /// # Panics
    /// As [`Kernel::run`].
    ///
    /// # Safety
    /// As [`Kernel::run_region`].
    #[allow(clippy::too_many_arguments)]
    pub unsafe fn run_part(
        &self,
        shape: &[usize],
        start: &[usize],
        size: &[usize],
        inputs: &[RawView],
        outputs: &[RawView],
        params: &[u64],
        traffic: Traffic,
    ) {
        let (stream, next) = (traffic.stream, traffic.next);
        let given = Operands { stream, next, ..given(inputs, outputs, params) };
        // SAFETY: the caller's promise.
        unsafe { self.run_box(shape, [start, size], given, traffic.far, false) }
    }

    /// Evaluates the program over the box `start .. start + size` of the space `shape`, on the calling thread.
    ///
    /// # Panics
    /// As [`Kernel::run`].
    ///
    /// # Safety
    /// As [`Kernel::run`], for the addresses of the box.
    pub unsafe fn run_region(
        &self,
        shape: &[usize],
        start: &[usize],
        size: &[usize],
        inputs: &[RawView],
        outputs: &[RawView],
        params: &[u64],
    ) {
        let far = is_far(&self.code, size, inputs);
        // SAFETY: the caller's promise.
        unsafe { self.run_box(shape, [start, size], given(inputs, outputs, params), far, false) }
    }

    /// # Safety
    /// As [`Kernel::run_region`].
    unsafe fn run_box(
        &self,
        shape: &[usize],
        [start, size]: [&[usize]; 2],
        given: Operands,
        far: bool,
        parallel: bool,
    ) {
        assert!(shape.len() <= MAX_RANK, "at most {MAX_RANK} axes, not {}", shape.len());
        check_arity(&self.code, given.inputs, Some(given.outputs), given.params);
        if size.contains(&0) {
            return;
        }
        let row_major = contiguous(shape);
        let offset = |strides: &[isize; MAX_RANK]| -> isize {
            start.iter().zip(strides).map(|(&s, &stride)| s as isize * stride).sum()
        };
        let moved = |views: &[RawView], bytes: &dyn Fn(usize) -> usize| -> Vec<RawView> {
            let ptr = |k: usize, view: &RawView| {
                view.ptr.wrapping_offset(offset(&view.strides) * bytes(k) as isize)
            };
            let moved = |(k, view): (usize, &RawView)| RawView { ptr: ptr(k, view), strides: view.strides };
            views.iter().enumerate().map(moved).collect()
        };
        let inputs = moved(given.inputs, &|k| self.code.input_type(k).map_or(0, |t| t.size()));
        let outputs = moved(given.outputs, &|k| self.code.output_type(k).size());
        let operands = Operands {
            inputs: &inputs,
            outputs: &outputs,
            params: given.params,
            index_start: offset(&row_major) as u64,
            stream: given.stream
                || parallel && size.iter().product::<usize>() * 4 * outputs.len() > STREAM_BYTES,
            next: given.next,
        };
        let (space, largest) = self.layout(size, &row_major, &operands);
        let mut grid = Grid::new(&space.lens, &largest[..space.rank()]);
        let plan = Plan::new(&self.code, &space, &grid.chunk, &operands, simd::level());
        grid.go_along(|axis| plan.gathers_once_along(axis));
        let (tile, share) = (grid.chunk.iter().product::<usize>(), operands.next[1].div_ceil(grid.count()));
        let per_task = (TASK_WORK / (tile * self.code.weight)).max(grid.count() / MOST_TASKS).max(1);
        let task = |task: usize| {
            let mut worker = Worker::new(&plan);
            let (first, end) = (task * per_task, ((task + 1) * per_task).min(grid.count()));
            // Two, each advanced where it is: a copy of what has just been written would have to wait for that.
            let (mut here, mut next) = (grid.region(&space.lens, first), grid.region(&space.lens, first));
            for number in first..end {
                if far && number + 1 < end {
                    grid.advance(&space.lens, &mut next);
                    worker.announce(&next.0, &next.1);
                }
                worker.fetch(operands.next[0] + number * share, share);
                // SAFETY: the box lies in the region, which the caller promises may be read and written.
                unsafe { worker.eval(&here.0, &here.1) };
                grid.advance(&space.lens, &mut here);
            }
        };
        let tasks = grid.count().div_ceil(per_task);
        if parallel { par::for_each(tasks, task) } else { (0..tasks).for_each(task) }
    }

    /// The space of a run, its axes ordered as the first output lies in memory, and the largest box along each axis.
    fn layout(
        &self,
        size: &[usize],
        row_major: &[isize; MAX_RANK],
        operands: &Operands,
    ) -> (Space, [usize; MAX_RANK]) {
        let views = operands.inputs.iter().chain(operands.outputs);
        let all = views.map(|view| &view.strides).chain([row_major]);
        let stride = |axis: usize| operands.outputs.first().map_or(0, |out| out.strides[axis].unsigned_abs());
        // Few axes, mostly in order already: a general sort would be more work, and more code.
        let mut order: Vec<usize> = Vec::with_capacity(size.len());
        for axis in 0..size.len() {
            let before = order.iter().rposition(|&outer| stride(outer) >= stride(axis));
            order.insert(before.map_or(0, |before| before + 1), axis);
        }
        let permuted = |strides: &[isize; MAX_RANK]| {
            let mut to = [0; MAX_RANK];
            order.iter().enumerate().for_each(|(at, &axis)| to[at] = strides[axis]);
            to
        };
        let lens: Vec<usize> = order.iter().map(|&axis| size[axis]).collect();
        let mut strides: Vec<[isize; MAX_RANK]> = all.map(permuted).collect();
        if !self.code.uses_index {
            // Nobody reads the index: it must not keep axes apart.
            strides.pop();
            strides.push([0; MAX_RANK]);
        }
        for (k, strides) in strides[..operands.inputs.len()].iter_mut().enumerate() {
            if self.code.input_type(k).is_none() {
                *strides = [0; MAX_RANK];
            }
        }
        let (space, _) = Space::new(&lens, strides, |_, _| false);
        let largest = largest_box(&space, self.code.tile);
        (space, largest)
    }
}

/// Panics unless a call brings all operands and parameters that a program names.
pub(crate) fn check_arity(code: &Code, inputs: &[RawView], outputs: Option<&[RawView]>, params: &[u64]) {
    let [needs_inputs, needs_outputs, needs_params] = code.arity();
    assert!(inputs.len() >= needs_inputs, "the program has {needs_inputs} inputs, not {}", inputs.len());
    assert!(params.len() >= needs_params, "the program has {needs_params} parameters, not {}", params.len());
    if let Some(outputs) = outputs {
        assert_eq!(outputs.len(), needs_outputs, "the program has other outputs");
    }
}

/// An inner axis of this length fills vectors well enough to be a tile alone, all broadcast operands being scalars.
pub(crate) const LONG: usize = 256;

/// The largest box of a space to be one tile of at most `tile` elements.
fn largest_box(space: &Space, tile: usize) -> [usize; MAX_RANK] {
    let mut largest = [1; MAX_RANK];
    let Some(inner) = space.rank().checked_sub(1) else { return largest };
    // An operand that lies across the others is read in square blocks: every cache line once.
    let across = space.strides[..space.strides.len() - 1].iter().find_map(|strides| {
        let lies_across = strides[inner].unsigned_abs() > 1 && space.lens[inner] >= 8;
        (0..inner).find(|&axis| lies_across && strides[axis] == 1 && space.lens[axis] >= 8)
    });
    if let Some(axis) = across {
        largest[axis] = 32;
        largest[inner] = tile / 32;
        return largest;
    }
    let (mut room, mut count) = (tile, 1);
    let mut together = vec![true; space.strides.len()];
    for axis in (0..=inner).rev() {
        // What lies together and fills vectors well stays where it is: more of it would have to be copied into a tile.
        let goes_on = |k: usize| space.strides[k][axis] == count as isize;
        if count >= LONG && (0..together.len()).any(|k| together[k] && !goes_on(k)) {
            break;
        }
        (0..together.len()).for_each(|k| together[k] &= goes_on(k));
        count *= space.lens[axis];
        largest[axis] = room.min(space.lens[axis]);
        room /= space.lens[axis];
        if room <= 1 || space.lens[axis] >= LONG {
            break;
        }
    }
    largest
}
