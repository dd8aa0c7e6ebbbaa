//! Fused programs as WGSL: one `let` for each instruction, and how operands are addressed.

use super::dispatch::{Bind, Word};
use gradus_kernels::program::{Binary, Instr, Program, Random, Reg, Unary};
use gradus_kernels::{DType, MAX_RANK};
use std::fmt::Write;

/// The WGSL type of a register.
pub(super) fn register_type(dtype: DType) -> &'static str {
    match dtype {
        DType::F32 => "f32",
        DType::I32 => "i32",
        DType::U32 => "u32",
        DType::Bool => "bool",
        DType::F64 => unreachable!("no f64 reaches a device: captures refuse it"),
    }
}

/// The WGSL type of an element in a buffer.
pub(super) fn element_type(dtype: DType) -> &'static str {
    if dtype == DType::Bool { "u32" } else { register_type(dtype) }
}

/// A register's value as an element.
pub(super) fn stored(dtype: DType, value: &str) -> String {
    if dtype == DType::Bool { format!("select(0u, 1u, {value})") } else { value.to_string() }
}

/// The struct `P`: its fields, its words, and which of them are filled in later.
#[derive(Default)]
pub(super) struct Fields {
    text: String,
    pub words: Vec<u32>,
    pub patches: Vec<(usize, Word)>,
}

impl Fields {
    /// A field; gives the expression that reads it.
    pub fn add(&mut self, ty: &str, word: u32) -> String {
        let name = format!("f{}", self.words.len());
        let _ = writeln!(self.text, "    {name}: {ty},");
        self.words.push(word);
        format!("p.{name}")
    }

    /// A field whose word is filled in, or added to, when the dispatch is recorded.
    pub fn later(&mut self, ty: &str, word: u32, patch: Word) -> String {
        self.patches.push((self.words.len(), patch));
        self.add(ty, word)
    }

    /// A number that places or counts elements; negative strides wrap.
    pub fn number(&mut self, number: isize) -> String {
        self.add("u32", number as u32)
    }

    /// The fields for a struct that has others before, the first of them at a multiple of 16 bytes.
    pub fn aligned(&self) -> String {
        match self.text.is_empty() {
            true => String::new(),
            false => format!("    @align(16) {}", self.text.trim_start()),
        }
    }

    /// The declaration.
    pub fn declaration(&self) -> String {
        format!("struct P {{\n{}}}\n@group(1) @binding(0) var<uniform> p: P;\n", self.text)
    }
}

/// The axes of a space in which each operand has a stride, with those merged that every operand goes through evenly.
pub(super) struct Axes {
    pub lengths: Vec<usize>,
    /// For each operand, the stride along each axis.
    pub strides: Vec<Vec<isize>>,
}

impl Axes {
    /// `axes` of `shape`, outermost first, with the strides of operands.
    pub fn new(shape: &[usize], axes: &[usize], operands: &[[isize; MAX_RANK]]) -> Axes {
        let mut merged = Axes { lengths: Vec::new(), strides: vec![Vec::new(); operands.len()] };
        for &axis in axes.iter().filter(|&&axis| shape[axis] != 1) {
            let len = shape[axis];
            let even = |(strides, operand): (&Vec<isize>, &[isize; MAX_RANK])| {
                strides.last().is_some_and(|&outer| outer == operand[axis] * len as isize)
            };
            if merged.strides.iter().zip(operands).all(even) && !merged.lengths.is_empty() {
                *merged.lengths.last_mut().expect("not empty") *= len;
                for (strides, operand) in merged.strides.iter_mut().zip(operands) {
                    *strides.last_mut().expect("as long as lengths") = operand[axis];
                }
            } else {
                merged.lengths.push(len);
                merged.strides.iter_mut().zip(operands).for_each(|(s, operand)| s.push(operand[axis]));
            }
        }
        merged
    }

    /// Statements that split the row-major position `flat` into one coordinate an axis, `{prefix}0` and so on.
    pub fn coordinates(&self, flat: &str, prefix: &str, fields: &mut Fields) -> String {
        let mut text = String::new();
        let mut rest = flat.to_string();
        for (axis, &len) in self.lengths.iter().enumerate().rev() {
            if axis == 0 {
                let _ = writeln!(text, "    let {prefix}0 = {rest};");
            } else {
                let field = fields.number(len as isize);
                let _ = writeln!(text, "    let {prefix}{axis} = {rest} % {field};");
                let _ = writeln!(text, "    let {prefix}{axis}r = {rest} / {field};");
                rest = format!("{prefix}{axis}r");
            }
        }
        text
    }

    /// The sum of coordinates times strides of an operand, ` + …` after an offset; empty if it stays where it is.
    pub fn steps(&self, operand: usize, prefix: &str, fields: &mut Fields) -> String {
        let mut text = String::new();
        for (axis, &stride) in self.strides[operand].iter().enumerate() {
            match stride {
                0 => {}
                1 => text.push_str(&format!(" + {prefix}{axis}")),
                _ => text.push_str(&format!(" + {prefix}{axis} * {}", fields.number(stride))),
            }
        }
        text
    }
}

/// Writes the instructions of `program` as statements. `loads[k]` is the expression that reads input `k`, `index` the
/// row-major position of the element.
pub(super) fn body(program: &Program, loads: &[String], index: &str, fields: &mut Fields) -> String {
    let mut text = String::new();
    let live = program.live();
    for (i, &(instr, dtype)) in program.code.iter().enumerate() {
        if !live[i] {
            continue;
        }
        let of = |r: Reg| program.code[r as usize].1;
        let value = match instr {
            Instr::Input(k) => match dtype {
                DType::Bool => format!("{} != 0u", loads[k as usize]),
                _ => loads[k as usize].clone(),
            },
            Instr::Param(k) => match dtype {
                DType::F32 => fields.later("f32", 0, Word::Float(k)),
                DType::Bool => format!("{} != 0u", fields.later("u32", 0, Word::Low(k))),
                _ => fields.later(register_type(dtype), 0, Word::Low(k)),
            },
            Instr::Unary(u, a) => unary(u, of(a), &format!("r{a}")),
            Instr::Binary(b, x, y) => binary(b, of(x), &format!("r{x}"), &format!("r{y}")),
            Instr::Select(c, a, b) => format!("select(r{b}, r{a}, r{c})"),
            Instr::Cast(a) => cast(of(a), dtype, &format!("r{a}")),
            Instr::Index => cast(DType::U32, dtype, index),
            Instr::Random { kind, seed, draw: number } => draw(kind, [seed, number], "", index, fields),
        };
        let _ = writeln!(text, "    let r{i} = {value};");
    }
    text
}

/// The draw at position `index`, or those from there on by a function with `suffix`. `words` are the numbers of the graph
/// that seed and draw are.
pub(super) fn draw(kind: Random, words: [u32; 2], suffix: &str, index: &str, fields: &mut Fields) -> String {
    let function = match kind {
        Random::Uniform => "random_uniform",
        Random::Normal => "random_normal",
        Random::Bits => "random_bits",
    };
    let [seed, draw] = words.map(|k| {
        let low = fields.later("u32", 0, Word::Low(k));
        format!("vec2<u32>({low}, {})", fields.later("u32", 0, Word::High(k)))
    });
    format!("{function}{suffix}({seed}, {draw}, {index})")
}

/// The files that a text needs, as includes.
pub(super) fn includes(text: &str) -> String {
    let mut includes = String::from("//!include lib/grid.wgsl\n");
    if text.contains("f_") || text.contains("i_div") || text.contains("u_div") {
        includes.push_str("//!include lib/math.wgsl\n");
    }
    if text.contains("random_") {
        includes.push_str("//!include lib/philox.wgsl\n");
    }
    includes
}

fn unary(u: Unary, dtype: DType, x: &str) -> String {
    let float = dtype == DType::F32;
    let function = match u {
        Unary::Neg if dtype == DType::U32 => return format!("0u - {x}"),
        Unary::Neg => return format!("-{x}"),
        Unary::Abs | Unary::Relu if dtype == DType::U32 => return x.to_string(),
        Unary::Sign if dtype == DType::U32 => return format!("min({x}, 1u)"),
        Unary::Sign if !float => "sign",
        Unary::Relu if !float => return format!("max({x}, 0)"),
        Unary::Recip => return format!("1.0 / {x}"),
        Unary::Rsqrt => return format!("1.0 / sqrt({x})"),
        Unary::Not => return format!("!{x}"),
        Unary::Abs => "abs",
        Unary::Sign => "f_sign",
        Unary::Floor => "floor",
        Unary::Ceil => "ceil",
        Unary::Round => "round",
        Unary::Trunc => "trunc",
        Unary::Sqrt => "sqrt",
        Unary::Exp => "f_exp",
        Unary::Expm1 => "f_expm1",
        Unary::Log => "f_log",
        Unary::Log1p => "f_log1p",
        Unary::Sin => "f_sin",
        Unary::Cos => "f_cos",
        Unary::Tanh => "f_tanh",
        Unary::Sigmoid => "f_sigmoid",
        Unary::Softplus => "f_softplus",
        Unary::Relu => "f_relu",
        Unary::Erf => "f_erf",
        Unary::IsNan => "f_is_nan",
    };
    format!("{function}({x})")
}

fn binary(b: Binary, dtype: DType, x: &str, y: &str) -> String {
    if dtype == DType::Bool {
        return match b {
            Binary::Add | Binary::Max => format!("{x} | {y}"),
            Binary::Mul | Binary::Min => format!("{x} & {y}"),
            Binary::Eq => format!("{x} == {y}"),
            Binary::Ne | Binary::Xor => format!("{x} != {y}"),
            Binary::Lt => format!("!{x} & {y}"),
            Binary::Le => format!("!{x} | {y}"),
            Binary::Sub | Binary::Div | Binary::Pow => unreachable!("not defined for bool"),
        };
    }
    match (b, dtype) {
        (Binary::Add, _) => format!("{x} + {y}"),
        (Binary::Sub, _) => format!("{x} - {y}"),
        (Binary::Mul, _) => format!("{x} * {y}"),
        (Binary::Div, DType::I32) => format!("i_div({x}, {y})"),
        (Binary::Div, DType::U32) => format!("u_div({x}, {y})"),
        (Binary::Div, _) => format!("{x} / {y}"),
        (Binary::Pow, _) => format!("f_pow({x}, {y})"),
        (Binary::Max, DType::F32) => format!("f_max({x}, {y})"),
        (Binary::Min, DType::F32) => format!("f_min({x}, {y})"),
        (Binary::Max, _) => format!("max({x}, {y})"),
        (Binary::Min, _) => format!("min({x}, {y})"),
        (Binary::Eq, _) => format!("{x} == {y}"),
        // Not `!=`, which naga makes a comparison that is false for NaN.
        (Binary::Ne, _) => format!("!({x} == {y})"),
        (Binary::Lt, _) => format!("{x} < {y}"),
        (Binary::Le, _) => format!("{x} <= {y}"),
        (Binary::Xor, _) => unreachable!("defined for bool only"),
    }
}

fn cast(from: DType, to: DType, x: &str) -> String {
    match (from, to) {
        _ if from == to => x.to_string(),
        (DType::Bool, DType::F32) => format!("select(0.0, 1.0, {x})"),
        (DType::Bool, DType::I32) => format!("select(0, 1, {x})"),
        (DType::Bool, _) => format!("select(0u, 1u, {x})"),
        (DType::F32, DType::I32) => format!("f_to_i32({x})"),
        (DType::F32, DType::U32) => format!("f_to_u32({x})"),
        (DType::F32, _) => format!("!({x} == 0.0)"),
        (DType::I32, DType::U32) => format!("bitcast<u32>({x})"),
        (DType::U32, DType::I32) => format!("bitcast<i32>({x})"),
        (DType::I32, DType::Bool) => format!("{x} != 0"),
        (DType::U32, DType::Bool) => format!("{x} != 0u"),
        (_, to) => format!("{}({x})", register_type(to)),
    }
}

/// The bindings of a text: each distinct buffer once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bindings {
    pub reads: Vec<(Bind, DType)>,
    pub writes: Vec<(Bind, DType)>,
}

impl Bindings {
    /// The name of a buffer, which is bound to be read where it is not bound yet.
    pub fn name(&mut self, bind: Bind, dtype: DType) -> String {
        let at = |list: &[(Bind, DType)]| list.iter().position(|(known, _)| *known == bind);
        match (at(&self.writes), at(&self.reads)) {
            (Some(n), _) => format!("y{n}"),
            (None, Some(n)) => format!("a{n}"),
            (None, None) => {
                self.reads.push((bind, dtype));
                format!("a{}", self.reads.len() - 1)
            }
        }
    }

    /// The declarations, from binding `first` on: `a0`, … that are read, `y0`, … that are written.
    pub fn declarations(&self, first: usize) -> String {
        self.declared(first, |_| false)
    }

    /// As [`Bindings::declarations`], where buffers of `fours` are arrays of four elements.
    pub fn declared(&self, first: usize, fours: impl Fn(Bind) -> bool) -> String {
        let mut text = String::new();
        let mut binding = first;
        let groups = [(&self.reads, "read", 'a'), (&self.writes, "read_write", 'y')];
        for (list, access, letter) in groups {
            for (k, (bind, dtype)) in list.iter().enumerate() {
                let element = element_type(*dtype);
                let ty = if fours(*bind) { format!("vec4<{element}>") } else { element.to_string() };
                let _ = writeln!(
                    text,
                    "@group(0) @binding({binding}) var<storage, {access}> {letter}{k}: array<{ty}>;"
                );
                binding += 1;
            }
        }
        text
    }
}
