//! The typing rules of [`crate::program`].

use crate::DType;
use crate::program::{Binary, Instr, Program, Random, Unary};

/// Whether `op` is defined for operands of type `t`.
fn unary_takes(op: Unary, t: DType) -> bool {
    match op {
        Unary::Neg | Unary::Abs | Unary::Sign | Unary::Relu => t != DType::Bool,
        Unary::Not => t == DType::Bool,
        _ => t.is_float(),
    }
}

/// Whether `op` is defined for operands of type `t`.
fn binary_takes(op: Binary, t: DType) -> bool {
    match op {
        Binary::Sub | Binary::Div => t != DType::Bool,
        Binary::Pow => t.is_float(),
        Binary::Xor => t == DType::Bool,
        _ => true,
    }
}

/// Panics, naming the instruction, unless every instruction reads only registers before it, of the types it needs.
pub(crate) fn check(program: &Program) {
    for (i, &(instr, dtype)) in program.code.iter().enumerate() {
        let of = |reg: u16| {
            assert!((reg as usize) < i, "instruction {i} ({instr:?}) reads register {reg}, not yet written");
            program.code[reg as usize].1
        };
        let right = match instr {
            Instr::Input(_) | Instr::Param(_) | Instr::Index => true,
            Instr::Unary(op, a) => {
                let result = if op == Unary::IsNan { DType::Bool } else { of(a) };
                unary_takes(op, of(a)) && dtype == result
            }
            Instr::Binary(op, a, b) => {
                let result = if op.is_comparison() { DType::Bool } else { of(a) };
                of(a) == of(b) && binary_takes(op, of(a)) && dtype == result
            }
            Instr::Select(c, a, b) => of(c) == DType::Bool && of(a) == dtype && of(b) == dtype,
            Instr::Cast(a) => {
                of(a);
                true
            }
            Instr::Random { kind: Random::Bits, .. } => dtype == DType::U32,
            Instr::Random { .. } => dtype.is_float(),
        };
        assert!(right, "instruction {i} is ill-typed: {instr:?} giving {dtype}");
    }
    for &reg in &program.outputs {
        assert!((reg as usize) < program.code.len(), "output register {reg} does not exist");
    }
    let mut inputs: Vec<(u16, DType)> = Vec::new();
    for &(instr, dtype) in &program.code {
        if let Instr::Input(k) = instr {
            match inputs.iter().find(|(other, _)| *other == k) {
                Some(&(_, t)) => assert_eq!(t, dtype, "input {k} is read as {t} and as {dtype}"),
                None => inputs.push((k, dtype)),
            }
        }
    }
}
