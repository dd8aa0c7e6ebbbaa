//! Activations that are compositions: no rule of their own, right at every order.

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
