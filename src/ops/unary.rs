//! Functions of one tensor, element by element.

use super::Op;
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
        Unary::Not => "not",
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
