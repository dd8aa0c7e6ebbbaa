//! Functions of two tensors, element by element, with NumPy broadcasting.

use super::cases::{DISCRETE, Gradient, OpCase};
use super::{Op, view};
use crate::error::{BuildError, fail};
use crate::graph::Inputs;
use crate::shape::Shape;
use crate::tensor::Tensor;
use gradus_kernels::DType;
use gradus_kernels::program::Binary;
use std::ops::{Add, Div, Mul, Sub};

/// The name of the public method.
pub(super) fn name(b: Binary) -> &'static str {
    match b {
        Binary::Add => "add",
        Binary::Sub => "sub",
        Binary::Mul => "mul",
        Binary::Div => "div",
        Binary::Pow => "pow",
        Binary::Max => "maximum",
        Binary::Min => "minimum",
        Binary::Eq => "eq",
        Binary::Ne => "ne",
        Binary::Lt => "lt",
        Binary::Le => "le",
        Binary::Xor => "logical_xor",
    }
}

/// The derivative of `y = b(x[0], x[1])` for each argument, times the cotangent `g`.
pub(super) fn vjp(
    b: Binary,
    x: &[Tensor],
    y: &Tensor,
    g: &Tensor,
    needs: &dyn Fn(usize) -> bool,
) -> Vec<Option<Tensor>> {
    // Where a rule computes with the operands alone, a number gets the shape of the other.
    let filled = |t: &Tensor| match t.node().op {
        Op::Number(bits) if matches!(b, Binary::Pow | Binary::Max | Binary::Min) => {
            Tensor::make(Op::Full(bits), Inputs::None, *y.shape(), t.dtype())
        }
        _ => t.clone(),
    };
    let (p, q) = (&filled(&x[0]), &filled(&x[1]));
    let when = |i: usize, f: &dyn Fn() -> Tensor| if needs(i) { Some(f()) } else { None };
    match b {
        Binary::Add => vec![when(0, &|| g.clone()), when(1, &|| g.clone())],
        Binary::Sub => vec![when(0, &|| g.clone()), when(1, &|| -g)],
        Binary::Mul => vec![when(0, &|| g * q), when(1, &|| g * p)],
        Binary::Div => vec![when(0, &|| g / q), when(1, &|| -(g * y / q))],
        Binary::Pow => vec![when(0, &|| pow_base(p, q, g)), when(1, &|| pow_exponent(p, q, y, g))],
        Binary::Max => vec![when(0, &|| winner(p, q, g)), when(1, &|| winner(q, p, g))],
        Binary::Min => vec![when(0, &|| winner(&-p, &-q, g)), when(1, &|| winner(&-q, &-p, g))],
        Binary::Eq | Binary::Ne | Binary::Lt | Binary::Le | Binary::Xor => vec![None, None],
    }
}

/// `g` where `p` beats `q`, half of it on a tie, none where it loses: PyTorch's choice.
fn winner(p: &Tensor, q: &Tensor, g: &Tensor) -> Tensor {
    let shared = p.eq(q).select(&(g * 0.5), g);
    p.lt(q).select(&g.zeros_like(), &shared)
}

/// `q * p^(q-1)`, and 0 where `q = 0` also at `p = 0`.
fn pow_base(p: &Tensor, q: &Tensor, g: &Tensor) -> Tensor {
    let slope = q * binary(Binary::Pow, p.clone(), q - 1.0);
    q.eq(0.0).select(&g.zeros_like(), &(g * slope))
}

/// `p^q log p`, and 0 where `p = 0` and `q >= 0`, as in PyTorch.
fn pow_exponent(p: &Tensor, q: &Tensor, y: &Tensor, g: &Tensor) -> Tensor {
    let flat = p.eq(0.0) * q.ge(0.0);
    let safe = flat.select(&p.ones_like(), p);
    flat.select(&g.zeros_like(), &(g * (y * safe.log())))
}

/// Whether a tensor is a number that stands for a tensor of any shape.
fn is_number(x: &Tensor) -> bool {
    matches!(x.node().op, Op::Number(_))
}

/// Broadcasts two tensors to their common shape; numbers stay as they are.
#[track_caller]
pub(super) fn broadcast(op: &'static str, a: Tensor, b: Tensor) -> (Tensor, Tensor) {
    if a.shape() == b.shape() || is_number(&a) || is_number(&b) {
        return (a, b);
    }
    match a.shape().broadcast(b.shape()) {
        Some(shape) => (view::expand(&a, shape), view::expand(&b, shape)),
        None => fail(BuildError::new(
            op,
            format!(
                "shapes {} and {} do not broadcast: aligned at the right, extents must be equal or one of them 1",
                a.shape(),
                b.shape()
            ),
        )),
    }
}

#[track_caller]
pub(super) fn binary(b: Binary, p: Tensor, q: Tensor) -> Tensor {
    check_types(name(b), b, &p, &q);
    let (p, q) = broadcast(name(b), p, q);
    combine(b, p, q)
}

/// `b` with its operands swapped, under the name `op`.
#[track_caller]
fn swapped(op: &'static str, b: Binary, p: Tensor, q: Tensor) -> Tensor {
    check_types(op, b, &p, &q);
    let (p, q) = broadcast(op, p, q);
    combine(b, q, p)
}

#[track_caller]
fn check_types(op: &'static str, b: Binary, p: &Tensor, q: &Tensor) {
    if p.dtype() != q.dtype() {
        let rule = format!(
            "types {} and {} differ (shapes {} and {}); convert one with .to(dtype)",
            p.dtype(),
            q.dtype(),
            p.shape(),
            q.shape()
        );
        fail(BuildError::new(op, rule));
    }
    let fits = match b {
        Binary::Pow => p.dtype().is_float(),
        Binary::Sub | Binary::Div => p.dtype() != DType::Bool,
        Binary::Xor => p.dtype() == DType::Bool,
        _ => true,
    };
    if !fits {
        fail(BuildError::new(op, format!("is not defined for {}", p.dtype())));
    }
}

/// The node, of operands that fit.
#[track_caller]
fn combine(b: Binary, p: Tensor, q: Tensor) -> Tensor {
    let shape = if is_number(&p) { *q.shape() } else { *p.shape() };
    if let Some(simple) = simplify(b, &p, &q, shape) {
        return simple;
    }
    let dtype = if b.is_comparison() { DType::Bool } else { p.dtype() };
    Tensor::make(Op::Binary(b), Inputs::Two([p, q]), shape, dtype)
}

/// The few identities that hold for every float, NaN and infinities included, and keep gradients small.
#[track_caller]
fn simplify(b: Binary, p: &Tensor, q: &Tensor, shape: Shape) -> Option<Tensor> {
    if !p.dtype().is_float() {
        return None;
    }
    let constant = |t: &Tensor| match t.node().op {
        Op::Full(bits) | Op::Number(bits) => Some(f64::from_bits(bits)),
        _ => None,
    };
    match (b, constant(p), constant(q)) {
        (_, Some(x), Some(y)) => {
            let value = folded(b, x, y, p.dtype())?;
            Some(Tensor::constant(shape, value, p.dtype()))
        }
        (Binary::Mul | Binary::Div, _, Some(1.0)) => Some(p.clone()),
        (Binary::Mul, Some(1.0), _) => Some(q.clone()),
        _ => None,
    }
}

/// What a kernel makes of two constants, to the bit.
fn folded(b: Binary, x: f64, y: f64, dtype: DType) -> Option<f64> {
    match dtype {
        DType::F32 => arithmetic(b, x as f32, y as f32).map(f64::from),
        _ => arithmetic(b, x, y),
    }
}

fn arithmetic<T>(b: Binary, x: T, y: T) -> Option<T>
where
    T: Add<Output = T> + Sub<Output = T> + Mul<Output = T> + Div<Output = T>,
{
    match b {
        Binary::Add => Some(x + y),
        Binary::Sub => Some(x - y),
        Binary::Mul => Some(x * y),
        Binary::Div => Some(x / y),
        _ => None,
    }
}

/// Something that can stand on the right of an elementwise method: a tensor, or a number of the tensor's type.
pub trait Operand {
    /// The operand of `op` as a tensor to combine with `like`.
    ///
    /// # Panics
    /// If it is a number that the type of `like` does not have.
    fn operand(self, op: &'static str, like: &Tensor) -> Tensor;
}

impl Operand for Tensor {
    fn operand(self, _: &'static str, _: &Tensor) -> Tensor {
        self
    }
}

impl Operand for &Tensor {
    fn operand(self, _: &'static str, _: &Tensor) -> Tensor {
        self.clone()
    }
}

impl Operand for f64 {
    #[track_caller]
    fn operand(self, op: &'static str, like: &Tensor) -> Tensor {
        // NumPy would convert the tensor. Here types never change unasked, and rounding 0.5 to 0 would help nobody.
        let held = match like.dtype() {
            DType::F32 | DType::F64 => true,
            DType::I32 => f64::from(self as i32) == self,
            DType::U32 => f64::from(self as u32) == self,
            DType::Bool => self == 0.0 || self == 1.0,
        };
        if !held {
            let rule =
                format!("{self} is no {}; convert the tensor {} with .to(dtype)", like.dtype(), like.shape());
            fail(BuildError::new(op, rule));
        }
        Tensor::number(self, like.dtype())
    }
}

macro_rules! methods {
    ($($(#[$doc:meta])* $method:ident $variant:ident;)*) => {
        impl Tensor {$(
            $(#[$doc])*
            ///
            /// Panics if the shapes do not broadcast or the types differ.
            #[track_caller]
            pub fn $method(&self, other: impl Operand) -> Tensor {
                binary(Binary::$variant, self.clone(), other.operand(stringify!($method), self))
            }
        )*}
    };
}

methods! {
    /// `a + b`; of bools: or.
    add Add;
    /// `a - b`.
    sub Sub;
    /// `a * b`; of bools: and.
    mul Mul;
    /// `a / b`.
    div Div;
    /// The larger of both; a tie passes half the gradient to each. NaN if either is NaN.
    maximum Max;
    /// The smaller of both; a tie passes half the gradient to each. NaN if either is NaN.
    minimum Min;
    /// `a == b`: bool.
    eq Eq;
    /// `a != b`: bool.
    ne Ne;
    /// `a < b`: bool.
    lt Lt;
    /// `a <= b`: bool.
    le Le;
    /// Exclusive or of bools.
    logical_xor Xor;
}

impl Tensor {
    /// `a > b`: bool. Panics if the shapes do not broadcast or the types differ.
    #[track_caller]
    pub fn gt(&self, other: impl Operand) -> Tensor {
        swapped("gt", Binary::Lt, self.clone(), other.operand("gt", self))
    }

    /// `a >= b`: bool. Panics if the shapes do not broadcast or the types differ.
    #[track_caller]
    pub fn ge(&self, other: impl Operand) -> Tensor {
        swapped("ge", Binary::Le, self.clone(), other.operand("ge", self))
    }

    /// `a` to the power `b`. Small whole and half exponents given as numbers become products and roots.
    ///
    /// Derivative for the base `b a^(b-1)`, for the exponent `a^b log a`, with 0 where `a = 0, b >= 0`.
    ///
    /// Panics if the shapes do not broadcast or the types differ.
    #[track_caller]
    pub fn pow(&self, exponent: impl Operand) -> Tensor {
        let exponent = exponent.operand("pow", self);
        if let Op::Full(bits) | Op::Number(bits) = exponent.node().op
            && self.dtype().is_float()
            && exponent.shape().broadcast(self.shape()) == Some(*self.shape())
        {
            match f64::from_bits(bits) {
                1.0 => return self.clone(),
                2.0 => return self * self,
                3.0 => return self * self * self,
                -1.0 => return self.recip(),
                0.5 => return self.sqrt(),
                -0.5 => return self.rsqrt(),
                _ => {}
            }
        }
        binary(Binary::Pow, self.clone(), exponent)
    }
}

/// A row for a function of two tensors that broadcast, each drawn between its own bounds.
fn smooth(
    op: &'static str,
    f: fn(&Tensor, &Tensor) -> Tensor,
    std: fn(f64, f64) -> f64,
    bounds: [(f64, f64); 2],
) -> OpCase {
    OpCase::new(op, Gradient::Smooth, move |mut d| {
        let shapes = d.pair(0..=4);
        (0..2).for_each(|i| d.input(&shapes[i], bounds[i].0, bounds[i].1));
        d.case(move |x| f(&x[0], &x[1]), |x| x[0].zip(&x[1], std))
    })
}

/// A row for a function that jumps or bends where its arguments are equal. Some are, unless gradients are asked for.
fn compared(
    op: &'static str,
    gradient: Gradient,
    f: fn(&Tensor, &Tensor) -> Tensor,
    std: fn(f64, f64) -> f64,
) -> OpCase {
    OpCase::new(op, gradient, move |mut d| {
        let shapes = d.pair(0..=4);
        let ties = if gradient == DISCRETE { 0.0 } else { 0.1 };
        d.input_with(&shapes[0], |d| d.below(8) as f64 * 0.5);
        d.input_with(&shapes[1], move |d| d.below(8) as f64 * 0.5 + ties);
        d.case(move |x| f(&x[0], &x[1]), |x| x[0].zip(&x[1], std))
    })
}

pub(super) fn cases() -> Vec<OpCase> {
    let wide = (-2.0, 2.0);
    vec![
        smooth("add", |a, b| a.add(b), |a, b| a + b, [wide, wide]),
        smooth("sub", |a, b| a.sub(b), |a, b| a - b, [wide, wide]),
        smooth("mul", |a, b| a.mul(b), |a, b| a * b, [wide, wide]),
        smooth("div", |a, b| a.div(b), |a, b| a / b, [wide, (0.4, 3.0)]),
        smooth("pow", |a, b| a.pow(b), f64::powf, [(0.4, 2.5), wide]),
        OpCase::new("pow", Gradient::Smooth, |mut d| {
            let shape = d.shape(0..=3);
            let exponent = [-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 3.0, 5.0, 1.7][d.below(10)];
            d.note(format!("exponent {exponent}"));
            d.input(&shape, 0.4, 2.5);
            d.case(move |x| x[0].pow(exponent), move |x| x[0].map(|x| x.powf(exponent)))
        })
        .variant("a number"),
        compared("maximum", Gradient::Pieces, |a, b| a.maximum(b), f64::max),
        compared("minimum", Gradient::Pieces, |a, b| a.minimum(b), f64::min),
        compared("eq", DISCRETE, |a, b| a.eq(b), |a, b| f64::from(a == b)),
        compared("ne", DISCRETE, |a, b| a.ne(b), |a, b| f64::from(a != b)),
        compared("lt", DISCRETE, |a, b| a.lt(b), |a, b| f64::from(a < b)),
        compared("le", DISCRETE, |a, b| a.le(b), |a, b| f64::from(a <= b)),
        compared("gt", DISCRETE, |a, b| a.gt(b), |a, b| f64::from(a > b)),
        compared("ge", DISCRETE, |a, b| a.ge(b), |a, b| f64::from(a >= b)),
        OpCase::new("logical_xor", DISCRETE, |mut d| {
            let shapes = d.pair(0..=3);
            let ((a, x), (b, y)) = (d.mask(&shapes[0]), d.mask(&shapes[1]));
            d.case(move |_| a.logical_xor(&b), |_| x.zip(&y, |x, y| f64::from(x != y)))
        }),
    ]
}
