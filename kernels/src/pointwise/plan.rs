//! A program bound to operands: everything decided that does not change from tile to tile.

use super::Operands;
use super::compile::{Code, Op, Source, ValueId};
use super::loops::{Loop, MORE, MOST_ARGS};
use super::pairs::pair_loop;
use super::space::Space;
use super::table;
use crate::program::Random;
use crate::simd::Level;
use crate::{DType, MAX_RANK, RawView};

/// How a tile gets at an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
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
pub(super) struct Operand {
    pub(super) view: RawView,
    pub(super) value: ValueId,
    pub(super) size: usize,
    pub(super) mode: Mode,
    /// Whether the elements of a box lie together, which makes it worth fetching ahead.
    pub(super) together: bool,
}

/// A loop with its operands.
pub(super) struct BoundLoop {
    pub(super) run: Loop,
    pub(super) dst: ValueId,
    pub(super) more: Option<[ValueId; MORE]>,
    /// The [`ValueId`]s of the operands.
    pub(super) args: [u32; MOST_ARGS],
    pub(super) arity: usize,
    /// What a block adds to the address of each operand.
    pub(super) steps: [usize; MOST_ARGS],
    /// Whether all operands are scalars: then the loop runs over one block.
    pub(super) all: bool,
}

/// A step with everything decided that does not change from tile to tile.
pub(super) enum Bound {
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
    pub(super) code: &'a Code,
    pub(super) space: &'a Space,
    pub(super) level: Level,
    pub(super) inputs: Vec<Operand>,
    pub(super) outputs: Vec<Operand>,
    /// Steps that depend on parameters only, and all others.
    pub(super) constant: Vec<BoundLoop>,
    pub(super) steps: Vec<Bound>,
    /// How many of the steps are loops over all elements.
    pub(super) loops: usize,
    /// Whether each value is one element for the whole box.
    pub(super) scalar: Vec<bool>,
    /// Whether the loop that computes a value may itself send it past the caches.
    pub(super) streams: Vec<bool>,
    /// The axes along which boxes have more than one element.
    pub(super) axes: Vec<usize>,
    /// Strides of the row-major index, and its value at the origin.
    pub(super) index: ([isize; MAX_RANK], u64),
    pub(super) params: &'a [u64],
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

    /// Whether any output goes past the caches.
    pub(super) fn goes_past(&self) -> bool {
        self.outputs.iter().any(|output| output.mode == Mode::Streamed)
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
