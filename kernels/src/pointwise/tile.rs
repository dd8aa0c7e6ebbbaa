//! The tile interpreter: runs the steps of a program over boxes of a space, one box after another.

use std::cell::RefCell;

use super::ahead::{Ahead, LINE};
use super::compile::{SLOT_BYTES, Source};
use super::copy::{self, Strided};
use super::loops::{Call, LANES, MORE, MOST_ARGS};
use super::numbers::{param_bits, write_index};
use super::plan::{Bound, BoundLoop, Mode, Operand, Plan};
use crate::{MAX_RANK, random};

/// One thread's registers for a plan.
pub(crate) struct Worker<'a> {
    plan: &'a Plan<'a>,
    /// Where each value is at present.
    at: Vec<*mut u8>,
    scratch: Vec<u8>,
    /// Which box of each input its slot holds: address and lengths.
    held: Vec<(*mut u8, [usize; MAX_RANK])>,
    /// What the box after the present one will read.
    ahead: Ahead,
    /// Whether every output that goes past the caches starts at a line in the present box.
    lines: bool,
}

/// A slot and a gap, so that equal offsets of two slots do not compete for the same cache set.
const SLOT_STEP: usize = SLOT_BYTES + 128;
/// Room for a scalar, spread over a block of the widest type.
const SCALAR_STEP: usize = 8 * LANES;

thread_local! {
    /// Scratch memory that a finished worker left for the next one on this thread.
    static SPARE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Drop for Worker<'_> {
    fn drop(&mut self) {
        if self.plan.goes_past() {
            copy::fence();
        }
        SPARE.set(std::mem::take(&mut self.scratch));
    }
}

impl<'a> Worker<'a> {
    /// Registers for `plan` on the calling thread.
    pub(crate) fn new(plan: &'a Plan<'a>) -> Worker<'a> {
        let code = plan.code;
        let mut scratch = SPARE.take();
        // One slot more than the program has, for scalars spread out to be stored; then all scalars but inputs.
        let slots = (code.slots + 1) * SLOT_STEP;
        let bytes = slots + plan.scalar.len() * SCALAR_STEP + LINE;
        if scratch.len() < bytes {
            scratch.resize(bytes, 0);
        }
        let mut worker = Worker {
            plan,
            at: Vec::with_capacity(code.values.len()),
            scratch,
            held: vec![(std::ptr::null_mut(), [0; MAX_RANK]); plan.inputs.len()],
            ahead: Ahead::default(),
            lines: false,
        };
        for (value, info) in code.values.iter().enumerate() {
            let is_input = matches!(info.source, Source::Input(_));
            let own = plan.scalar[value] && !is_input;
            let at = if own { worker.room(slots + value * SCALAR_STEP) } else { worker.slot(info.slot) };
            if let Source::Param(k) = info.source {
                let bits = param_bits(info.dtype, plan.params[k]);
                // SAFETY: there is room for a block of any type.
                unsafe { copy::fill(info.dtype.size(), at, (&raw const bits).cast(), LANES) };
            }
            worker.at.push(at);
        }
        for step in &plan.constant {
            // SAFETY: constant steps read and write scalars, which lie in `scratch`.
            unsafe { worker.run(step, LANES) }
        }
        worker
    }

    fn slot(&mut self, slot: usize) -> *mut u8 {
        self.room(slot * SLOT_STEP)
    }

    /// The place in the scratch memory this far from its first line.
    fn room(&mut self, bytes: usize) -> *mut u8 {
        debug_assert!(bytes + SCALAR_STEP + LINE <= self.scratch.len());
        let base = self.scratch.as_mut_ptr();
        base.wrapping_add(base.align_offset(LINE) + bytes)
    }

    /// Runs the program over the box with this start and these lengths.
    ///
    /// # Safety
    /// The operands may be read and written there, and the box is of the form that the plan was made for.
    pub(crate) unsafe fn eval(&mut self, start: &[usize; MAX_RANK], size: &[usize; MAX_RANK]) {
        let plan = self.plan;
        let n: usize = plan.axes.iter().map(|&axis| size[axis]).product();
        debug_assert!(n <= plan.code.tile);
        let rank = plan.space.rank();
        let mut fresh = false;
        for (k, input) in plan.inputs.iter().enumerate() {
            let ptr = address(input, start, rank);
            if matches!(input.mode, Mode::Direct | Mode::Streamed) {
                self.at[input.value] = ptr;
                continue;
            }
            let slot = self.slot(plan.code.values[input.value].slot);
            self.at[input.value] = slot;
            match input.mode {
                Mode::Scalar if self.held[k].0 != ptr => {
                    (self.held[k].0, fresh) = (ptr, true);
                    // SAFETY: the input has this element; the slot has room for a block.
                    unsafe { copy::fill(input.size, slot, ptr, LANES) };
                }
                Mode::Copied { cache } if !cache || !self.holds(k, ptr, size) => {
                    self.held[k] = (ptr, *size);
                    // SAFETY: the box of the input is readable; the slot has room for a tile.
                    unsafe { self.with_box(input, size, |of| copy::gather(input.size, slot, ptr, of)) };
                }
                _ => {}
            }
        }
        self.place_outputs(start, rank);
        match plan.loops {
            0 => self.ahead.fetch_all(),
            loops => self.ahead.spread(loops * n.div_ceil(LANES)),
        }
        for step in &plan.steps {
            // SAFETY: all operands stand at their places for this box.
            unsafe {
                match step {
                    // What depends on scalars only is known as long as these are the same.
                    Bound::Loop(step) if step.all && !fresh => {}
                    Bound::Loop(step) => self.run(step, n),
                    step => self.step(step, start, size, n),
                }
            }
        }
        self.ahead.clear();
    }

    /// Whether the slot of input `k` holds the box at this address with these lengths.
    fn holds(&self, k: usize, ptr: *mut u8, size: &[usize; MAX_RANK]) -> bool {
        let (at, lens) = &self.held[k];
        *at == ptr && self.plan.axes.iter().all(|&axis| lens[axis] == size[axis])
    }

    /// Decides where the outputs of a box are computed.
    fn place_outputs(&mut self, start: &[usize; MAX_RANK], rank: usize) {
        let code = self.plan.code;
        let streamed = || self.plan.outputs.iter().filter(|o| o.mode == Mode::Streamed);
        self.lines = streamed().all(|o| address(o, start, rank).addr().is_multiple_of(LINE));
        for output in &self.plan.outputs {
            self.at[output.value] = match output.mode {
                Mode::Direct => address(output, start, rank),
                Mode::Streamed if self.plan.streams[output.value] && self.lines => {
                    address(output, start, rank)
                }
                Mode::Streamed => self.slot(code.values[output.value].slot),
                _ => continue,
            };
        }
    }

    /// Whether the program has anything to compute.
    pub(crate) fn computes(&self) -> bool {
        self.plan.loops > 0
    }

    /// Says that a box of about the lengths `size` at `start` comes after the next one evaluated, during which its
    /// inputs are fetched into the cache.
    pub(crate) fn announce(&mut self, start: &[usize; MAX_RANK], size: &[usize; MAX_RANK]) {
        let together = || self.plan.inputs.iter().filter(|input| input.together);
        // One loop over many streams, and one past the caches, keeps memory busy by itself; to ask for more would only
        // hold it up.
        if self.plan.steps.len() == 1 && together().count() > 2 && self.plan.goes_past() {
            return;
        }
        let rank = self.plan.space.rank();
        let n: usize = self.plan.axes.iter().map(|&axis| size[axis]).product();
        for input in together() {
            self.ahead.push(address(input, start, rank), n * input.size);
        }
    }

    /// Says that memory is to be fetched into the cache during the next box evaluated.
    pub(crate) fn fetch(&mut self, address: usize, bytes: usize) {
        if bytes > 0 {
            self.ahead.push(std::ptr::without_provenance(address), bytes);
        }
    }

    /// The value of output `k` of the last box, contiguous; a scalar is spread out over the box.
    ///
    /// # Safety
    /// A box was evaluated, with `n` elements.
    pub(crate) unsafe fn output(&mut self, k: usize, n: usize) -> *const u8 {
        let value = self.plan.code.outputs[k];
        if !self.plan.scalar[value] {
            return self.at[value];
        }
        let (from, to) = (self.at[value], self.slot(self.plan.code.slots));
        // SAFETY: a scalar is one readable element; the last slot is for this.
        unsafe { copy::fill(self.plan.code.values[value].dtype.size(), to, from, n) };
        to
    }

    /// # Safety
    /// The values that the step reads stand at `at`, and its result has room for `n` elements.
    unsafe fn run(&mut self, step: &BoundLoop, n: usize) {
        let mut call = Call {
            dst: self.at[step.dst],
            more: step.more.map_or([std::ptr::null_mut(); MORE], |more| more.map(|value| self.at[value])),
            args: [std::ptr::null(); MOST_ARGS],
            arity: step.arity,
            steps: &step.steps,
            n: if step.all { LANES } else { n },
            stream: self.lines && self.plan.streams[step.dst],
            ahead: &mut self.ahead,
            level: self.plan.level,
        };
        // Filled where it is: a copy of what has just been written piece by piece would have to wait for that.
        for (to, &arg) in call.args.iter_mut().zip(&step.args[..step.arity]) {
            *to = self.at[arg as usize].cast_const();
        }
        // SAFETY: the caller's promise; the loop was chosen for these types, `place` keeps results and operands apart,
        // and a scalar is a block.
        unsafe { step.run.run(&mut call) }
    }

    /// # Safety
    /// As [`Worker::run`].
    unsafe fn step(&mut self, step: &Bound, start: &[usize; MAX_RANK], size: &[usize; MAX_RANK], n: usize) {
        match *step {
            // SAFETY: the caller's promise.
            Bound::Loop(ref step) => unsafe { self.run(step, n) },
            Bound::Index { dst, dtype } => {
                let at = self.at[dst];
                self.index_runs(start, size, |done, first, step, len| {
                    for i in 0..len {
                        let index = first.wrapping_add((step as u64).wrapping_mul(i as u64));
                        // SAFETY: the result has room for all elements of the box.
                        unsafe { write_index(dtype, at, done + i, index) };
                    }
                });
            }
            Bound::Random { dst, dtype, kind, seed, draw } => {
                let (at, level) = (self.at[dst], self.plan.level);
                self.index_runs(start, size, |done, first, step, len| {
                    let (pieces, of) = if step == 1 { (1, len) } else { (len, 1) };
                    for i in 0..pieces {
                        let index = first.wrapping_add((step as u64).wrapping_mul(i as u64));
                        // SAFETY: the result has room for all elements of the box.
                        unsafe {
                            let dst = at.add((done + i) * dtype.size());
                            random::fill(level, kind, dtype, [seed, draw], index, dst, of);
                        }
                    }
                });
            }
            Bound::Store { output } => {
                let output = &self.plan.outputs[output];
                if output.mode == Mode::Streamed && self.plan.streams[output.value] && self.lines {
                    return;
                }
                let to = address(output, start, self.plan.space.rank());
                let mut from = self.at[output.value];
                if self.plan.scalar[output.value] {
                    let spread = self.slot(self.plan.code.slots);
                    // SAFETY: a scalar is one readable element; the last slot is for this.
                    unsafe { copy::fill(output.size, spread, from, n) };
                    from = spread;
                }
                // SAFETY: the box of the output is writable, and the value is a whole tile.
                unsafe {
                    if output.mode == Mode::Streamed {
                        copy::stream(self.plan.level, to, from, n * output.size)
                    } else {
                        self.with_box(output, size, |of| copy::scatter(output.size, to, from, of))
                    }
                };
            }
        }
    }

    /// Calls `f` with the lengths and the operand's strides of a box.
    ///
    /// # Safety
    /// That of what `f` does.
    unsafe fn with_box(&self, operand: &Operand, size: &[usize; MAX_RANK], f: impl FnOnce(Strided)) {
        let (mut lens, mut strides, mut rank) = ([0; MAX_RANK], [0; MAX_RANK], 0);
        for &axis in &self.plan.axes {
            let stride = operand.view.strides[axis];
            if size[axis] == 1 {
                continue;
            }
            if rank > 0 && strides[rank - 1] == stride * size[axis] as isize {
                lens[rank - 1] *= size[axis];
                strides[rank - 1] = stride;
            } else {
                (lens[rank], strides[rank]) = (size[axis], stride);
                rank += 1;
            }
        }
        f(Strided { lens: &lens[..rank], strides: &strides[..rank] });
    }

    /// Calls `f(elements before, first index, step, length)` for every run along the innermost axis of a box.
    fn index_runs(
        &self,
        start: &[usize; MAX_RANK],
        size: &[usize; MAX_RANK],
        f: impl Fn(usize, u64, isize, usize),
    ) {
        let (strides, mut first) = self.plan.index;
        for axis in 0..self.plan.space.rank() {
            first = first.wrapping_add((start[axis] as u64).wrapping_mul(strides[axis] as u64));
        }
        let Some((&inner, outer)) = self.plan.axes.split_last() else { return f(0, first, 1, 1) };
        let rows: usize = outer.iter().map(|&axis| size[axis]).product();
        for row in 0..rows {
            let (mut rest, mut index) = (row, first);
            for &axis in outer.iter().rev() {
                let step = (rest % size[axis]) as u64;
                index = index.wrapping_add(step.wrapping_mul(strides[axis] as u64));
                rest /= size[axis];
            }
            f(row * size[inner], index, strides[inner], size[inner]);
        }
    }
}

fn address(operand: &Operand, start: &[usize; MAX_RANK], rank: usize) -> *mut u8 {
    let offset: isize = (0..rank).map(|axis| start[axis] as isize * operand.view.strides[axis]).sum();
    operand.view.ptr.wrapping_offset(offset * operand.size as isize)
}
