//! `Map` against its plain loop: every instruction, type and instruction-set level, over shapes and layouts.

#[path = "../buffers/mod.rs"]
mod buffers;
mod functions;
mod memory;
mod phrases;

use buffers::{ALL, Buffer, Layout, Words, assert_close, at_levels};
use gradus_kernels::pointwise::{Kernel, Slice, SliceMut};
use gradus_kernels::program::{Binary, Instr, Program, Random, Unary};
use gradus_kernels::simd;
use gradus_kernels::{DType, RawView, naive};

const TYPES: [DType; 5] = [DType::F32, DType::F64, DType::I32, DType::U32, DType::Bool];
const FLOATS: [DType; 2] = [DType::F32, DType::F64];
const UNARY: [Unary; 21] = [
    Unary::Neg,
    Unary::Abs,
    Unary::Sign,
    Unary::Floor,
    Unary::Ceil,
    Unary::Round,
    Unary::Trunc,
    Unary::Recip,
    Unary::Sqrt,
    Unary::Rsqrt,
    Unary::Exp,
    Unary::Expm1,
    Unary::Log,
    Unary::Log1p,
    Unary::Sin,
    Unary::Cos,
    Unary::Tanh,
    Unary::Sigmoid,
    Unary::Softplus,
    Unary::Relu,
    Unary::Erf,
];
const BINARY: [Binary; 11] = [
    Binary::Add,
    Binary::Sub,
    Binary::Mul,
    Binary::Div,
    Binary::Pow,
    Binary::Max,
    Binary::Min,
    Binary::Eq,
    Binary::Ne,
    Binary::Lt,
    Binary::Le,
];

/// The layouts in which no two elements share a place.
const DENSE: [Layout; 5] =
    [Layout::Contiguous, Layout::Transposed, Layout::Spread, Layout::Reversed, Layout::Padded];

fn program(code: &[(Instr, DType)], outputs: &[u16]) -> Program {
    Program { code: code.to_vec(), outputs: outputs.to_vec() }
}

/// The types of the inputs and outputs of a program.
fn types(program: &Program) -> (Vec<DType>, Vec<DType>) {
    let mut inputs = Vec::new();
    for &(instr, dtype) in &program.code {
        if let Instr::Input(k) = instr {
            inputs.resize(inputs.len().max(k as usize + 1), dtype);
            inputs[k as usize] = dtype;
        }
    }
    (inputs, program.outputs.iter().map(|&r| program.code[r as usize].1).collect())
}

/// Runs a program and its plain loop on the same operands, and compares whole buffers, guards included.
fn compare(p: &Program, shape: &[usize], ins: &[Layout], out: Layout, params: &[u64], ulp: f64, seed: u64) {
    let (in_types, out_types) = types(p);
    let mut words = Words(seed);
    let mut inputs: Vec<Buffer> = (in_types.iter().enumerate())
        .map(|(k, &t)| Buffer::random(t, shape, ins[k % ins.len()], &mut words))
        .collect();
    let inputs: Vec<RawView> = inputs.iter_mut().map(|b| b.view()).collect();
    let mut wanted: Vec<Buffer> = out_types.iter().map(|&t| Buffer::guarded(t, shape, out)).collect();
    let views: Vec<RawView> = wanted.iter_mut().map(|b| b.view()).collect();
    // SAFETY: the buffers were made for this shape.
    unsafe { naive::pointwise::run(p, shape, &inputs, &views, params) };
    let mut got: Vec<Buffer> = out_types.iter().map(|&t| Buffer::guarded(t, shape, out)).collect();
    let views: Vec<RawView> = got.iter_mut().map(|b| b.view()).collect();
    // SAFETY: as above.
    unsafe { Kernel::new(p).run(shape, &inputs, &views, params) };
    for ((got, want), &t) in got.iter().zip(&wanted).zip(&out_types) {
        let what = format!("{:?} {shape:?} {ins:?} -> {out:?} at {:?}", p.code.last(), simd::level());
        assert_close(&got.elements(t), &want.elements(t), t, ulp, &what);
    }
}

fn unary(op: Unary, t: DType) -> Program {
    let result = if op == Unary::IsNan { DType::Bool } else { t };
    program(&[(Instr::Input(0), t), (Instr::Unary(op, 0), result)], &[1])
}

fn binary(op: Binary, t: DType) -> Program {
    let result = if op.is_comparison() { DType::Bool } else { t };
    program(&[(Instr::Input(0), t), (Instr::Input(1), t), (Instr::Binary(op, 0, 1), result)], &[2])
}

fn tolerance(op: Unary) -> f64 {
    use Unary::*;
    match op {
        Exp | Expm1 | Log | Log1p | Sin | Cos | Tanh | Sigmoid | Softplus | Erf => 4.0,
        _ => 0.0,
    }
}

/// A program with most kinds of instruction, four inputs, dead code and outputs that are inputs and parameters.
fn mixed() -> Program {
    let t = DType::F32;
    program(
        &[
            (Instr::Input(0), t),
            (Instr::Input(1), t),
            (Instr::Param(0), t),
            (Instr::Binary(Binary::Mul, 0, 2), t),
            (Instr::Binary(Binary::Add, 3, 1), t),
            (Instr::Input(2), DType::Bool),
            (Instr::Unary(Unary::Tanh, 4), t),
            (Instr::Unary(Unary::Exp, 6), t),
            (Instr::Select(5, 4, 6), t),
            (Instr::Index, DType::U32),
            (Instr::Cast(9), t),
            (Instr::Binary(Binary::Sub, 10, 8), t),
            (Instr::Random { kind: Random::Uniform, seed: 1, draw: 2 }, t),
            (Instr::Binary(Binary::Mul, 11, 12), t),
            (Instr::Binary(Binary::Lt, 13, 4), DType::Bool),
            (Instr::Input(3), DType::I32),
            (Instr::Binary(Binary::Add, 15, 15), DType::I32),
            (Instr::Unary(Unary::Sqrt, 2), t),
        ],
        &[13, 14, 16, 0, 17, 4, 4],
    )
}

const PARAMS: [u64; 3] = [0x3FF8_0000_0000_0000, 1234, 0x1_0000_0007];

#[test]
fn mixed_program() {
    at_levels(|_| {
        for shape in [&[3000][..], &[37, 41], &[5, 3, 29], &[2, 3, 700]] {
            for a in ALL {
                for out in DENSE {
                    let ins = [a, Layout::Contiguous, Layout::Channel, Layout::Padded];
                    compare(&mixed(), shape, &ins, out, &PARAMS, 3e4, 9);
                }
            }
        }
    });
}

#[test]
#[should_panic(expected = "ill-typed")]
fn ill_typed_programs_are_refused() {
    Kernel::new(&program(
        &[(Instr::Input(0), DType::Bool), (Instr::Unary(Unary::Neg, 0), DType::Bool)],
        &[1],
    ));
}

#[test]
fn slices() {
    let (x, row) = ([1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0], [10.0f32, 20.0, 30.0]);
    let mut out = [0f32; 6];
    let inputs: [(Slice, &[usize]); 2] = [(Slice::F32(&x), &[3, 1]), (Slice::F32(&row), &[0, 1])];
    let kernel = Kernel::new(&binary(Binary::Add, DType::F32));
    kernel.run_slices(&[2, 3], &inputs, &mut [SliceMut::F32(&mut out)], &[]);
    assert_eq!(out, [11.0, 22.0, 33.0, 14.0, 25.0, 36.0]);
}

#[test]
#[should_panic(expected = "of an operand of 6 elements")]
fn slices_are_not_left() {
    let x = [0f32; 6];
    let inputs: [(Slice, &[usize]); 2] = [(Slice::F32(&x), &[3, 1]), (Slice::F32(&x), &[4, 1])];
    let kernel = Kernel::new(&binary(Binary::Add, DType::F32));
    kernel.run_slices(&[2, 3], &inputs, &mut [SliceMut::F32(&mut [0f32; 6])], &[]);
}
