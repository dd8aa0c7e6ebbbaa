//! Activations that are compositions: no rule of their own, right at every order.

use super::cases::{Gradient, OpCase};
use crate::tensor::Tensor;
use std::f64::consts::{FRAC_1_SQRT_2, PI};

impl Tensor {
    /// `x` where `x > 0`, else `slope * x`; the derivative at 0 is `slope`, as in PyTorch.
    #[track_caller]
    pub fn leaky_relu(&self, slope: f64) -> Tensor {
        self.gt(0.0).select(self, &(self * slope))
    }

    /// `x` where `x > 0`, else `alpha (exp(x) - 1)` (Clevert et al. 2016).
    #[track_caller]
    pub fn elu(&self, alpha: f64) -> Tensor {
        // The exponential sees no positive value, which might overflow and poison the gradient.
        self.gt(0.0).select(self, &(self.minimum(0.0).expm1() * alpha))
    }

    /// `x sigmoid(x)` (Hendrycks & Gimpel 2016; also called swish).
    #[track_caller]
    pub fn silu(&self) -> Tensor {
        self * self.sigmoid()
    }

    /// `x Φ(x)` with the normal distribution function Φ, exactly through erf (Hendrycks & Gimpel 2016).
    #[track_caller]
    pub fn gelu(&self) -> Tensor {
        self * ((self * FRAC_1_SQRT_2).erf() + 1.0) * 0.5
    }

    /// The approximation `x/2 (1 + tanh(√(2/π) (x + 0.044715 x³)))` of [`gelu`](Tensor::gelu).
    #[track_caller]
    pub fn gelu_tanh(&self) -> Tensor {
        let inner = (self + self.pow(3.0) * 0.044715) * (2.0 / PI).sqrt();
        self * (inner.tanh() + 1.0) * 0.5
    }

    /// `log(sigmoid(x))`, without overflow.
    #[track_caller]
    pub fn log_sigmoid(&self) -> Tensor {
        -(-self).softplus()
    }
}

/// A row for a function that bends at 0 at most.
fn row(op: &'static str, gradient: Gradient, f: fn(&Tensor) -> Tensor, std: fn(f64) -> f64) -> OpCase {
    OpCase::new(op, gradient, move |mut d| {
        let shape = d.shape(0..=4);
        d.input_with(&shape, |d| d.between(0.05, 3.0) * if d.coin() { 1.0 } else { -1.0 });
        d.case(move |x| f(&x[0]), |x| x[0].map(std))
    })
}

pub(super) fn cases() -> Vec<OpCase> {
    fn phi(x: f64) -> f64 {
        0.5 * (1.0 + gradus_kernels::naive::pointwise::erf(x * FRAC_1_SQRT_2))
    }
    fn tanh_gelu(x: f64) -> f64 {
        0.5 * x * (1.0 + ((2.0 / PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh())
    }
    vec![
        row("leaky_relu", Gradient::Pieces, |x| x.leaky_relu(0.2), |x| if x > 0.0 { x } else { 0.2 * x }),
        row("elu", Gradient::Pieces, |x| x.elu(1.5), |x| if x > 0.0 { x } else { 1.5 * x.exp_m1() }),
        row("silu", Gradient::Smooth, Tensor::silu, |x| x / (1.0 + (-x).exp())),
        row("gelu", Gradient::Smooth, Tensor::gelu, |x| x * phi(x)),
        row("gelu_tanh", Gradient::Smooth, Tensor::gelu_tanh, tanh_gelu),
        row("log_sigmoid", Gradient::Smooth, Tensor::log_sigmoid, |x| -(-x).exp().ln_1p()),
    ]
}
