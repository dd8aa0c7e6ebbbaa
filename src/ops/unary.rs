//! Functions of one tensor, element by element.

use super::Op;
use super::cases::{DISCRETE, Gradient, OpCase};
use crate::error::{BuildError, fail};
use crate::graph::Inputs;
use crate::tensor::Tensor;
use gradus_kernels::DType;
use gradus_kernels::program::Unary;
use std::f64::consts::PI;

/// The name of the public method.
pub(super) fn name(u: Unary) -> &'static str {
    match u {
        Unary::Neg => "neg",
        Unary::Abs => "abs",
        Unary::Sign => "sign",
        Unary::Floor => "floor",
        Unary::Ceil => "ceil",
        Unary::Round => "round",
        Unary::Trunc => "trunc",
        Unary::Recip => "recip",
        Unary::Sqrt => "sqrt",
        Unary::Rsqrt => "rsqrt",
        Unary::Exp => "exp",
        Unary::Expm1 => "expm1",
        Unary::Log => "log",
        Unary::Log1p => "log1p",
        Unary::Sin => "sin",
        Unary::Cos => "cos",
        Unary::Tanh => "tanh",
        Unary::Sigmoid => "sigmoid",
        Unary::Softplus => "softplus",
        Unary::Relu => "relu",
        Unary::Erf => "erf",
        Unary::Not => "logical_not",
        Unary::IsNan => "isnan",
    }
}

/// The derivative of `y = u(x)`, times the cotangent `g`.
pub(super) fn vjp(u: Unary, x: &Tensor, y: &Tensor, g: &Tensor) -> Tensor {
    match u {
        Unary::Neg => -g,
        Unary::Abs => g * x.sign(),
        // Flat between their jumps, where the derivative does not exist: 0 everywhere, as in PyTorch.
        Unary::Sign | Unary::Floor | Unary::Ceil | Unary::Round | Unary::Trunc => g.zeros_like(),
        Unary::Recip => -(g * y * y),
        Unary::Sqrt => g * 0.5 / y,
        Unary::Rsqrt => g * -0.5 * y / x,
        Unary::Exp => g * y,
        Unary::Expm1 => g * (y + 1.0),
        Unary::Log => g / x,
        Unary::Log1p => g / (x + 1.0),
        Unary::Sin => g * x.cos(),
        Unary::Cos => -(g * x.sin()),
        Unary::Tanh => g * (1.0 - y * y),
        Unary::Sigmoid => g * (y * (1.0 - y)),
        Unary::Softplus => g * x.sigmoid(),
        // y > 0 exactly where x > 0, and y is at hand.
        Unary::Relu => y.gt(0.0).select(g, &g.zeros_like()),
        Unary::Erf => g * ((x * x).neg().exp() * (2.0 / PI.sqrt())),
        Unary::Not | Unary::IsNan => unreachable!("bool results carry no gradient"),
    }
}

#[track_caller]
fn unary(u: Unary, x: &Tensor) -> Tensor {
    let signed = matches!(u, Unary::Neg | Unary::Abs | Unary::Sign);
    let fits = match x.dtype() {
        DType::F32 | DType::F64 => u != Unary::Not,
        DType::I32 | DType::U32 => signed,
        DType::Bool => u == Unary::Not,
    };
    if !fits {
        let rule = format!("is not defined for {} (shape {}); convert with .to(dtype)", x.dtype(), x.shape());
        fail(BuildError::new(name(u), rule));
    }
    if let (Unary::Neg, Op::Full(bits)) = (u, &x.node().op)
        && x.dtype().is_float()
    {
        return Tensor::constant(*x.shape(), -f64::from_bits(*bits), x.dtype());
    }
    let dtype = if u == Unary::IsNan { DType::Bool } else { x.dtype() };
    Tensor::make(Op::Unary(u), Inputs::One([x.clone()]), *x.shape(), dtype)
}

macro_rules! methods {
    ($($(#[$doc:meta])* $method:ident $variant:ident;)*) => {
        impl Tensor {$(
            $(#[$doc])*
            ///
            /// Same shape and type. Panics if the type has no such function.
            #[track_caller]
            pub fn $method(&self) -> Tensor {
                unary(Unary::$variant, self)
            }
        )*}
    };
}

methods! {
    /// `-x`.
    neg Neg;
    /// `|x|`; derivative `sign(x)`, 0 at 0.
    abs Abs;
    /// -1, 0 or 1; derivative 0.
    sign Sign;
    /// The largest integer not above; derivative 0.
    floor Floor;
    /// The smallest integer not below; derivative 0.
    ceil Ceil;
    /// The nearest integer, ties to even; derivative 0.
    round Round;
    /// The integer part; derivative 0.
    trunc Trunc;
    /// `1 / x`.
    recip Recip;
    /// The square root; infinite slope at 0.
    sqrt Sqrt;
    /// `1 / sqrt(x)`.
    rsqrt Rsqrt;
    /// e to the x.
    exp Exp;
    /// `exp(x) - 1`, accurate near 0.
    expm1 Expm1;
    /// The natural logarithm.
    log Log;
    /// `log(1 + x)`, accurate near 0.
    log1p Log1p;
    /// The sine of radians.
    sin Sin;
    /// The cosine of radians.
    cos Cos;
    /// The hyperbolic tangent.
    tanh Tanh;
    /// `1 / (1 + exp(-x))`, without overflow.
    sigmoid Sigmoid;
    /// `log(1 + exp(x))`, without overflow; derivative `sigmoid(x)`.
    softplus Softplus;
    /// `max(x, 0)`; derivative 1 where `x > 0`, else 0. NaN stays NaN.
    relu Relu;
    /// The error function.
    erf Erf;
    /// Not, of a bool tensor.
    logical_not Not;
    /// Whether each element is NaN: bool.
    isnan IsNan;
}

impl Tensor {
    /// `x * x`.
    #[track_caller]
    pub fn square(&self) -> Tensor {
        self * self
    }
}

/// A row for a function with derivatives of every order between `low` and `high`.
fn smooth(op: &'static str, f: fn(&Tensor) -> Tensor, std: fn(f64) -> f64, low: f64, high: f64) -> OpCase {
    OpCase::new(op, Gradient::Smooth, move |mut d| {
        let shape = d.shape(0..=4);
        d.input(&shape, low, high);
        d.case(move |x| f(&x[0]), |x| x[0].map(std))
    })
}

/// A row for a function whose pieces meet at multiples of one half.
fn pieces(op: &'static str, f: fn(&Tensor) -> Tensor, std: fn(f64) -> f64) -> OpCase {
    OpCase::new(op, Gradient::Pieces, move |mut d| {
        let shape = d.shape(0..=4);
        d.input_with(&shape, |d| (d.below(12) as f64 - 6.0) / 2.0 + d.between(0.05, 0.45));
        d.case(move |x| f(&x[0]), |x| x[0].map(std))
    })
}

pub(super) fn cases() -> Vec<OpCase> {
    vec![
        smooth("neg", Tensor::neg, |x| -x, -2.0, 2.0),
        pieces("abs", Tensor::abs, f64::abs),
        pieces("sign", Tensor::sign, f64::signum),
        pieces("floor", Tensor::floor, f64::floor),
        pieces("ceil", Tensor::ceil, f64::ceil),
        pieces("round", Tensor::round, f64::round_ties_even),
        pieces("trunc", Tensor::trunc, f64::trunc),
        smooth("recip", Tensor::recip, |x| 1.0 / x, 0.4, 3.0),
        smooth("sqrt", Tensor::sqrt, f64::sqrt, 0.4, 3.0),
        smooth("rsqrt", Tensor::rsqrt, |x| 1.0 / x.sqrt(), 0.4, 3.0),
        smooth("exp", Tensor::exp, f64::exp, -2.0, 2.0),
        smooth("expm1", Tensor::expm1, f64::exp_m1, -2.0, 2.0),
        smooth("log", Tensor::log, f64::ln, 0.4, 3.0),
        smooth("log1p", Tensor::log1p, f64::ln_1p, -0.6, 2.0),
        smooth("sin", Tensor::sin, f64::sin, -4.0, 4.0),
        smooth("cos", Tensor::cos, f64::cos, -4.0, 4.0),
        smooth("tanh", Tensor::tanh, f64::tanh, -3.0, 3.0),
        smooth("sigmoid", Tensor::sigmoid, |x| 1.0 / (1.0 + (-x).exp()), -5.0, 5.0),
        smooth("softplus", Tensor::softplus, |x| x.exp().ln_1p(), -5.0, 5.0),
        pieces("relu", Tensor::relu, |x| x.max(0.0)),
        smooth("erf", Tensor::erf, gradus_kernels::naive::pointwise::erf, -3.0, 3.0),
        smooth("square", Tensor::square, |x| x * x, -2.0, 2.0),
        OpCase::new("logical_not", DISCRETE, |mut d| {
            let shape = d.shape(0..=3);
            let (mask, values) = d.mask(&shape);
            d.case(move |_| mask.logical_not(), |_| values.map(|x| 1.0 - x))
        }),
        OpCase::new("isnan", DISCRETE, |mut d| {
            let shape = d.shape(0..=3);
            d.input_with(&shape, |d| [f64::NAN, f64::INFINITY, 1.0][d.below(3)]);
            d.case(|x| x[0].isnan(), |x| x[0].map(|x| f64::from(x.is_nan())))
        }),
    ]
}
