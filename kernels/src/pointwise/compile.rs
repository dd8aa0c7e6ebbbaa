//! From a program to the steps that one tile goes through.

use super::check;
use super::loops::{MORE, MOST_ARGS};
use super::pairs::Pair;
use crate::DType;
use crate::program::{Binary, Instr, Program, Random, Unary};

/// Index of a value: what an input, a parameter or a step gives.
pub(super) type ValueId = usize;

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Input operand with this number.
    Input(usize),
    /// Parameter with this number.
    Param(usize),
    /// Step with this number.
    Step(usize),
}

/// What a step does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Op {
    Unary(Unary),
    Binary(Binary),
    /// Several of those on f32.
    Pair(Pair),
    Select,
    Cast,
    Index,
    Random {
        kind: Random,
        seed: usize,
        draw: usize,
    },
}

/// One instruction that something needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub op: Op,
    /// The type of the (last) operand.
    pub operand: DType,
    pub args: [ValueId; MOST_ARGS],
    /// How many of `args` there are.
    pub arity: usize,
    pub dst: ValueId,
    /// What a step of several results gives besides `dst`.
    pub more: Option<[ValueId; MORE]>,
}

impl Step {
    /// All results.
    pub(super) fn results(&self) -> impl Iterator<Item = ValueId> {
        std::iter::once(self.dst).chain(self.more.into_iter().flatten())
    }
}

/// One value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value {
    pub dtype: DType,
    pub source: Source,
    /// The last step that reads it; `usize::MAX` for an input or a parameter that is an output.
    pub last_use: usize,
    /// The place in the scratch memory that holds it, for parameters none.
    pub slot: usize,
}

/// A program without its dead and double instructions, its values placed in slots.
pub(crate) struct Code {
    pub(super) values: Vec<Value>,
    pub(super) steps: Vec<Step>,
    pub(super) outputs: Vec<ValueId>,
    pub(super) slots: usize,
    /// The type of each input operand; None where the program never reads it.
    pub(super) inputs: Vec<Option<DType>>,
    pub(super) params: usize,
    /// Elements of one tile, such that a value of the widest type fills one slot.
    pub(crate) tile: usize,
    /// What an element costs, in simple instructions.
    pub(crate) weight: usize,
    pub(crate) uses_index: bool,
}

/// Bytes of one slot.
pub(super) const SLOT_BYTES: usize = 8192;
/// A tile is so small that its registers and operands fit the first-level cache.
const CACHE_BYTES: usize = 40 << 10;

impl Code {
    /// # Panics
    /// If the program is ill-typed.
    pub(crate) fn new(program: &Program) -> Code {
        check(program);
        let mut code = Code {
            values: Vec::new(),
            steps: Vec::new(),
            outputs: Vec::new(),
            slots: 0,
            inputs: Vec::new(),
            params: 0,
            tile: 0,
            weight: 1,
            uses_index: false,
        };
        let live = program.live();
        let mut value_of = vec![usize::MAX; program.code.len()];
        for (i, &(instr, dtype)) in program.code.iter().enumerate() {
            code.note_operands(instr, dtype);
            if live[i] {
                value_of[i] = code.push(instr, dtype, &value_of);
            }
        }
        code.outputs = program.outputs.iter().map(|&reg| value_of[reg as usize]).collect();
        code.join();
        code.find_last_uses();
        code.place();
        let widest = code.values.iter().map(|v| v.dtype.size().max(4)).max().unwrap_or(4);
        let arrays = code.slots + code.outputs.len();
        let bytes = (CACHE_BYTES / arrays.max(1)).clamp(SLOT_BYTES / 8, SLOT_BYTES);
        code.tile = (bytes / widest).next_multiple_of(64);
        code
    }

    /// The type of the output with number `k`.
    pub(crate) fn output_type(&self, k: usize) -> DType {
        self.values[self.outputs[k]].dtype
    }

    /// The type of input operand `k`, None if the program does not have it.
    pub(crate) fn input_type(&self, k: usize) -> Option<DType> {
        self.inputs.get(k).copied().flatten()
    }

    /// How many input operands, outputs and parameters a call must bring.
    pub(crate) fn arity(&self) -> [usize; 3] {
        [self.inputs.len(), self.outputs.len(), self.params]
    }

    fn note_operands(&mut self, instr: Instr, dtype: DType) {
        match instr {
            Instr::Input(k) => {
                self.inputs.resize(self.inputs.len().max(k as usize + 1), None);
                self.inputs[k as usize] = Some(dtype);
            }
            Instr::Param(k) => self.params = self.params.max(k as usize + 1),
            Instr::Random { seed, draw, .. } => self.params = self.params.max(seed.max(draw) as usize + 1),
            _ => {}
        }
    }

    fn push(&mut self, instr: Instr, dtype: DType, value_of: &[ValueId]) -> ValueId {
        let dst = self.values.len();
        let (op, args, cost): (Op, Vec<u16>, usize) = match instr {
            Instr::Input(k) => return self.push_source(Source::Input(k as usize), dtype),
            Instr::Param(k) => return self.push_source(Source::Param(k as usize), dtype),
            Instr::Unary(op, a) => (Op::Unary(op), vec![a], unary_cost(op)),
            Instr::Binary(op, a, b) => (Op::Binary(op), vec![a, b], binary_cost(op)),
            Instr::Select(c, a, b) => (Op::Select, vec![c, a, b], 1),
            Instr::Cast(a) => (Op::Cast, vec![a], 1),
            Instr::Index => (Op::Index, vec![], 1),
            Instr::Random { kind, seed, draw } => {
                (Op::Random { kind, seed: seed as usize, draw: draw as usize }, vec![], 24)
            }
        };
        let mut ids = [0; MOST_ARGS];
        for (id, &reg) in ids.iter_mut().zip(&args) {
            *id = value_of[reg as usize];
        }
        let operand = args.last().map_or(dtype, |&reg| self.values[value_of[reg as usize]].dtype);
        self.uses_index |= instr.reads_index();
        self.weight += cost;
        let source = Source::Step(self.steps.len());
        self.values.push(Value { dtype, source, last_use: 0, slot: 0 });
        self.steps.push(Step { op, operand, args: ids, arity: args.len(), dst, more: None });
        dst
    }

    fn push_source(&mut self, source: Source, dtype: DType) -> ValueId {
        let known = self.values.iter().position(|v| v.source == source && v.dtype == dtype);
        known.unwrap_or_else(|| {
            self.values.push(Value { dtype, source, last_use: 0, slot: 0 });
            self.values.len() - 1
        })
    }

    fn find_last_uses(&mut self) {
        for (at, step) in self.steps.iter().enumerate() {
            step.results().for_each(|value| self.values[value].last_use = at);
            for &arg in &step.args[..step.arity] {
                self.values[arg].last_use = at;
            }
        }
        for &out in &self.outputs {
            if !matches!(self.values[out].source, Source::Step(_)) {
                self.values[out].last_use = usize::MAX;
            }
        }
        // A reduction reads its one output after the last step.
        if let [out] = self.outputs[..] {
            self.values[out].last_use = usize::MAX;
        }
    }

    /// Gives every value a slot. Inputs keep theirs, because a gathered operand often serves several tiles; a step's
    /// is free again after its last use, and never one that the step itself reads: loops do not run in place.
    fn place(&mut self) {
        let mut free = Vec::new();
        let mut expiring = vec![Vec::new(); self.steps.len()];
        for value in self.values.iter_mut().filter(|v| matches!(v.source, Source::Input(_))) {
            value.slot = self.slots;
            self.slots += 1;
        }
        for (at, step) in self.steps.iter().enumerate() {
            for result in step.results() {
                let slot = free.pop().unwrap_or(self.slots);
                self.slots = self.slots.max(slot + 1);
                let value = &mut self.values[result];
                value.slot = slot;
                if value.last_use < self.steps.len() {
                    expiring[value.last_use].push(slot);
                }
            }
            free.append(&mut expiring[at]);
        }
    }
}

/// What a function costs, in simple instructions.
fn unary_cost(op: Unary) -> usize {
    use Unary::*;
    match op {
        Sqrt | Recip => 6,
        Rsqrt | Exp | Expm1 | Log | Sin | Cos | Tanh | Sigmoid | Erf => 12,
        Log1p | Softplus => 24,
        _ => 1,
    }
}

/// What a function costs, in simple instructions.
fn binary_cost(op: Binary) -> usize {
    match op {
        Binary::Div => 6,
        Binary::Pow => 60,
        _ => 1,
    }
}
