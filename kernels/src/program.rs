//! Fused pointwise programs: the language every backend's `Map` and `Reduce` kernels speak.
//!
//! A program is straight-line code over registers, one value per element of the iteration space. Instruction `i`
//! writes register `i`; it may read only registers before it. The same text runs on the CPU (tile by tile) and is
//! printed as WGSL for a GPU.

use crate::DType;

/// Index of a register, which is the index of the instruction that wrote it.
pub type Reg = u16;

/// What one instruction does. Its result type stands beside it in [`Program::code`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Instr {
    /// The element of input operand `.0`.
    Input(u16),
    /// Run-time parameter `.0`, the same for every element: the bits of an f64 for float types, a sign-extended
    /// integer for the others.
    Param(u32),
    /// A function of one register of the same type (for [`Unary::IsNan`]: result bool).
    Unary(Unary, Reg),
    /// A function of two registers of one type; comparisons give bool.
    Binary(Binary, Reg, Reg),
    /// `if .0 {.1} else {.2}`, `.0` bool.
    Select(Reg, Reg, Reg),
    /// Conversion from the type of register `.0`: float to integer saturates and truncates (NaN gives 0), anything
    /// to bool is `!= 0` (NaN gives true), bool to number is 0 or 1, integers wrap.
    Cast(Reg),
    /// The row-major index of the element in the iteration space, as the result type.
    Index,
    /// A random draw for the element with row-major index `e`: Philox4x32-10 with key = `seed` and counter =
    /// (`e / 4` as two words, `draw` as two words), word `e % 4`. See [`crate::random`] for the maps to floats.
    Random {
        /// The distribution.
        kind: Random,
        /// Parameter holding the 64-bit seed (raw bits).
        seed: u32,
        /// Parameter holding the 64-bit number of this draw (raw bits).
        draw: u32,
    },
}

impl Instr {
    /// Whether the result depends on where an element stands, not only on operands.
    pub const fn reads_index(self) -> bool {
        matches!(self, Instr::Index | Instr::Random { .. })
    }

    /// The registers it reads.
    pub fn reads(self) -> impl Iterator<Item = Reg> {
        let list = match self {
            Instr::Unary(_, a) | Instr::Cast(a) => [Some(a), None, None],
            Instr::Binary(_, a, b) => [Some(a), Some(b), None],
            Instr::Select(c, a, b) => [Some(c), Some(a), Some(b)],
            Instr::Input(_) | Instr::Param(_) | Instr::Index | Instr::Random { .. } => [None; 3],
        };
        list.into_iter().flatten()
    }
}

/// Functions of one argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unary {
    /// `-x` (wrapping for integers).
    Neg,
    /// `|x|`.
    Abs,
    /// -1, 0 or 1; NaN stays NaN.
    Sign,
    /// Largest integer not above.
    Floor,
    /// Smallest integer not below.
    Ceil,
    /// Nearest integer, ties to even.
    Round,
    /// Integer part.
    Trunc,
    /// `1 / x`.
    Recip,
    /// Square root.
    Sqrt,
    /// `1 / sqrt(x)`, computed as that quotient.
    Rsqrt,
    /// e to the x.
    Exp,
    /// `exp(x) - 1`, accurate near 0.
    Expm1,
    /// Natural logarithm.
    Log,
    /// `log(1 + x)`, accurate near 0.
    Log1p,
    /// Sine of radians.
    Sin,
    /// Cosine of radians.
    Cos,
    /// Hyperbolic tangent.
    Tanh,
    /// `1 / (1 + exp(-x))` without overflow.
    Sigmoid,
    /// `log(1 + exp(x))` without overflow.
    Softplus,
    /// `x` where `x > 0`, else 0; NaN stays NaN.
    Relu,
    /// The error function.
    Erf,
    /// Logical not of a bool.
    Not,
    /// Whether a float is NaN; result bool.
    IsNan,
}

/// Functions of two arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Binary {
    /// `a + b` (bool: or).
    Add,
    /// `a - b`.
    Sub,
    /// `a * b` (bool: and).
    Mul,
    /// `a / b`; integers divide towards zero, and by zero give 0.
    Div,
    /// `a` to the power `b` (floats only).
    Pow,
    /// The larger; NaN if either is NaN.
    Max,
    /// The smaller; NaN if either is NaN.
    Min,
    /// `a == b`.
    Eq,
    /// `a != b`.
    Ne,
    /// `a < b`.
    Lt,
    /// `a <= b`.
    Le,
    /// Exclusive or of bools.
    Xor,
}

/// Distributions of [`Instr::Random`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Random {
    /// Uniform on [0, 1): multiples of 2^-24 (f32) or 2^-53 (f64).
    Uniform,
    /// Standard normal.
    Normal,
    /// 32 uniform bits (u32).
    Bits,
}

/// A fused pointwise program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Program {
    /// Instructions with the type of their result.
    pub code: Vec<(Instr, DType)>,
    /// The registers stored to the outputs, in order.
    pub outputs: Vec<Reg>,
}

impl Program {
    /// Which instructions an output depends on.
    pub fn live(&self) -> Vec<bool> {
        let mut live = vec![false; self.code.len()];
        self.outputs.iter().for_each(|&r| live[usize::from(r)] = true);
        for i in (0..live.len()).rev() {
            if live[i] {
                self.code[i].0.reads().for_each(|r| live[usize::from(r)] = true);
            }
        }
        live
    }

    /// How many instructions lie at least between input operand `k` and register `to`, `to`'s own among them; the largest
    /// number where that does not depend on the operand.
    pub fn distance(&self, k: u16, to: Reg) -> u32 {
        let mut from = vec![u32::MAX; usize::from(to) + 1];
        for (i, &(instr, _)) in self.code[..=usize::from(to)].iter().enumerate() {
            for read in instr.reads() {
                from[i] = from[i].min(from[usize::from(read)].saturating_add(1));
            }
            if instr == Instr::Input(k) {
                from[i] = 0;
            }
        }
        from[usize::from(to)]
    }
}

impl Binary {
    /// Whether the result is bool whatever the operands are.
    pub const fn is_comparison(self) -> bool {
        matches!(self, Binary::Eq | Binary::Ne | Binary::Lt | Binary::Le)
    }
}
