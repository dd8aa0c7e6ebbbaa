//! The tile interpreter: runs the steps of a program over boxes of a space, one box after another.

use std::cell::RefCell;

use super::Operands;
use super::compile::{Code, Op, SLOT_BYTES, Source, ValueId};
use super::copy::{self, Strided};
use super::loops::{Ahead, CHUNK, Call, LANES, LINE, Loop, MORE, MOST_ARGS};
use super::numbers::{param_bits, write_index};
use super::pairs::pair_loop;
use super::space::Space;
use super::table;
use crate::program::Random;
use crate::simd::Level;
use crate::{DType, MAX_RANK, RawView, random};

/// How a tile gets at an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// One element for the whole box, spread over a block in a slot.
    Scalar,
    /// Contiguous in the box: in place.
    Direct,
    /// Copied to or from a slot. An input that a tile overwrites must be copied again each time.
    Copied { cache: bool },
    /// An output, contiguous in the box, that goes to memory past the caches.
    Streamed,
}

/// An input or output operand of a run.
struct Operand {
    view: RawView,
    value: ValueId,
    size: usize,
    mode: Mode,
    /// Whether the elements of a box lie together, which makes it worth fetching ahead.
    together: bool,
}

/// A loop with its operands.
struct BoundLoop {
    run: Loop,
    dst: ValueId,
    more: Option<[ValueId; MORE]>,
    /// The [`ValueId`]s of the operands.
    args: [u32; MOST_ARGS],
    arity: usize,
    /// What a block adds to the address of each operand.
    steps: [usize; MOST_ARGS],
    /// Whether all operands are scalars: then the loop runs over one block.
    all: bool,
}

/// A step with everything decided that does not change from tile to tile.
enum Bound {
    Loop(BoundLoop),
    /// Row-major indices.
    Index {
        dst: ValueId,
        dtype: DType,
    },
    /// Random numbers.
    Random {
        dst: ValueId,
        dtype: DType,
        kind: Random,
        seed: u64,
        draw: u64,
    },
    /// A value copied to the output operand with this number.
    Store {
        output: usize,
    },
}

/// A program bound to operands, and to boxes of a certain form.
pub(crate) struct Plan<'a> {
    code: &'a Code,
    space: &'a Space,
    level: Level,
    inputs: Vec<Operand>,
    outputs: Vec<Operand>,
    /// Steps that depend on parameters only, and all others.
    constant: Vec<BoundLoop>,
    steps: Vec<Bound>,
    /// How many of the steps are loops over all elements.
    loops: usize,
    /// Whether each value is one element for the whole box.
    scalar: Vec<bool>,
    /// Whether the loop that computes a value may itself send it past the caches.
    streams: Vec<bool>,
    /// The axes along which boxes have more than one element.
    axes: Vec<usize>,
    /// Strides of the row-major index, and its value at the origin.
    index: ([isize; MAX_RANK], u64),
    params: &'a [u64],
}

impl<'a> Plan<'a> {
    /// Binds `code` to operands, for boxes of at most `chunk` elements along each axis of `space`. A box smaller than
    /// that along one axis has length 1 along the axes outside.
    pub(crate) fn new(
        code: &'a Code,
        space: &'a Space,
        chunk: &[usize; MAX_RANK],
        operands: &Operands<'a>,
        level: Level,
    ) -> Plan<'a> {
        let mut plan = Plan {
            code,
            space,
            level,
            inputs: Vec::with_capacity(operands.inputs.len()),
            outputs: Vec::with_capacity(operands.outputs.len()),
            constant: Vec::new(),
            steps: Vec::with_capacity(code.steps.len()),
            loops: 0,
            scalar: vec![false; code.values.len()],
            streams: vec![false; code.values.len()],
            axes: (0..space.rank()).filter(|&axis| chunk[axis] > 1).collect(),
            index: (space.strides[space.strides.len() - 1], operands.index_start),
            params: operands.params,
        };
        plan.bind_operands(chunk, operands);
        plan.bind_steps();
        plan
    }

    fn bind_operands(&mut self, chunk: &[usize; MAX_RANK], operands: &Operands) {
        let code = self.code;
        let operand = |plan: &Plan, at: usize, ptr: *mut u8, value: ValueId| {
            let strides = plan.space.strides[at];
            let size = code.values[value].dtype.size();
            let mode = plan.mode(&strides, chunk);
            Operand { view: RawView { ptr, strides }, value, size, mode, together: mode == Mode::Direct }
        };
        for (k, view) in operands.outputs.iter().enumerate() {
            let mut output = operand(self, operands.inputs.len() + k, view.ptr, code.outputs[k]);
            let computed = matches!(code.values[output.value].source, Source::Step(_));
            let twice = self.outputs.iter().any(|other| other.value == output.value);
            if output.mode == Mode::Scalar {
                output.mode = Mode::Direct;
            }
            if !computed || twice {
                output.mode = Mode::Copied { cache: false };
            }
            // What is written over an input is in the cache already.
            let in_place = operands.inputs.iter().any(|input| input.ptr == output.view.ptr);
            if operands.stream && output.mode == Mode::Direct && !in_place {
                output.mode = Mode::Streamed;
            }
            self.outputs.push(output);
        }
        for (value, info) in code.values.iter().enumerate() {
            match info.source {
                Source::Input(k) => {
                    let mut input = operand(self, k, operands.inputs[k].ptr, value);
                    let overwritten = self.outputs.iter().any(|out| {
                        let before = match code.values[out.value].source {
                            // A loop reads a block before it writes it.
                            Source::Step(_) if out.size != input.size => false,
                            Source::Step(step) => info.last_use <= step,
                            _ => false,
                        };
                        out.view.ptr == input.view.ptr && !before
                    });
                    if overwritten {
                        input.mode = Mode::Copied { cache: false };
                    }
                    self.scalar[value] = input.mode == Mode::Scalar;
                    self.inputs.push(input);
                }
                Source::Param(_) => self.scalar[value] = true,
                Source::Step(_) => {}
            }
        }
    }

    /// How a box with these chunks sees an operand.
    fn mode(&self, strides: &[isize; MAX_RANK], chunk: &[usize; MAX_RANK]) -> Mode {
        if self.axes.iter().all(|&axis| strides[axis] == 0) {
            return Mode::Scalar;
        }
        let (mut expected, mut whole) = (1, true);
        for &axis in self.axes.iter().rev() {
            if !whole || strides[axis] != expected {
                return Mode::Copied { cache: true };
            }
            expected *= chunk[axis] as isize;
            whole = chunk[axis] == self.space.lens[axis];
        }
        Mode::Direct
    }

    /// Whether a box has to be copied into a tile for an input, and boxes along `axis` have the same there.
    pub(crate) fn gathers_once_along(&self, axis: usize) -> bool {
        let mut copied =
            self.inputs.iter().filter(|input| input.mode == Mode::Copied { cache: true }).peekable();
        copied.peek().is_some() && copied.all(|input| input.view.strides[axis] == 0)
    }

    fn bind_steps(&mut self) {
        let mut constant: Vec<bool> =
            self.code.values.iter().map(|v| matches!(v.source, Source::Param(_))).collect();
        for step in &self.code.steps {
            let args = &step.args[..step.arity];
            let scalar =
                std::array::from_fn::<bool, MOST_ARGS, _>(|i| i < args.len() && self.scalar[args[i]]);
            let all = !args.is_empty() && args.iter().all(|&arg| self.scalar[arg]);
            let dtype = self.code.values[step.dst].dtype;
            let run = match step.op {
                Op::Unary(op) => table::unary(op, step.operand, self.level),
                Op::Binary(op) => table::binary(op, step.operand, self.level),
                Op::Pair(pair) => pair_loop(pair, self.level),
                Op::Select => table::select(step.operand, self.level),
                Op::Cast => table::cast(step.operand, dtype, self.level),
                Op::Index => {
                    self.steps.push(Bound::Index { dst: step.dst, dtype });
                    self.push_stores(step.dst);
                    continue;
                }
                Op::Random { kind, seed, draw } => {
                    let (seed, draw) = (self.params[seed], self.params[draw]);
                    self.steps.push(Bound::Random { dst: step.dst, dtype, kind, seed, draw });
                    self.push_stores(step.dst);
                    continue;
                }
            };
            let fixed = !args.is_empty() && args.iter().all(|&arg| constant[arg]);
            for result in step.results() {
                (self.scalar[result], constant[result]) = (all, fixed);
            }
            let (dst, more, arity) = (step.dst, step.more, step.arity);
            let args = step.args.map(|value| value as u32);
            let steps = run.steps(&scalar[..arity]);
            let bound = BoundLoop { run, dst, more, args, arity, steps, all };
            self.streams[dst] = !all && self.goes_out(dst);
            if fixed {
                self.constant.push(bound)
            } else {
                self.loops += usize::from(!all);
                self.steps.push(Bound::Loop(bound))
            }
            step.results().for_each(|result| self.push_stores(result));
        }
        for output in 0..self.outputs.len() {
            if !matches!(self.code.values[self.outputs[output].value].source, Source::Step(_)) {
                self.steps.push(Bound::Store { output });
            }
        }
    }

    /// Whether a value goes past the caches and no step reads it.
    fn goes_out(&self, value: ValueId) -> bool {
        self.outputs.iter().any(|out| out.value == value && out.mode == Mode::Streamed)
            && !self.code.steps.iter().any(|step| step.args[..step.arity].contains(&value))
    }

    /// Right after a value is known, copies it to the outputs that it was not written to directly.
    fn push_stores(&mut self, value: ValueId) {
        for (output, operand) in self.outputs.iter_mut().enumerate().filter(|(_, o)| o.value == value) {
            if self.scalar[value] {
                operand.mode = Mode::Copied { cache: false };
            }
            if operand.mode != Mode::Direct {
                self.steps.push(Bound::Store { output });
            }
        }
    }
}

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
        if self.plan.outputs.iter().any(|output| output.mode == Mode::Streamed) {
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
        self.ahead.spread(plan.loops * n.div_ceil(CHUNK));
        if plan.loops == 0 {
            self.ahead.fetch();
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
    ///
    /// The steps of a tile read one input after the other, and then none for a while. Memory gives a single stream
    /// only a part of its bandwidth, and nothing to those who do not ask: the streams must be asked for side by side,
    /// and all the time.
    pub(crate) fn announce(&mut self, start: &[usize; MAX_RANK], size: &[usize; MAX_RANK]) {
        let together = || self.plan.inputs.iter().filter(|input| input.together);
        // One loop over many streams keeps memory busy by itself; to ask for more would only hold it up.
        if self.plan.steps.len() == 1 && together().count() > 2 {
            return;
        }
        let rank = self.plan.space.rank();
        let n: usize = self.plan.axes.iter().map(|&axis| size[axis]).product();
        for input in together() {
            self.ahead.push(address(input, start, rank), n * input.size);
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
