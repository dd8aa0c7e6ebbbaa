//! `+ - * /` and unary minus for tensors and numbers, owned or borrowed.

use super::binary::{Operand, binary};
use crate::tensor::Tensor;
use gradus_kernels::program::Binary;
use std::ops::{Add, Div, Mul, Neg, Sub};

macro_rules! operator {
    ($($trait:ident $method:ident $variant:ident;)*) => {$(
        operator!(@pair $trait $method $variant, &Tensor, &Tensor);
        operator!(@pair $trait $method $variant, &Tensor, Tensor);
        operator!(@pair $trait $method $variant, Tensor, &Tensor);
        operator!(@pair $trait $method $variant, Tensor, Tensor);
        operator!(@number $trait $method $variant, &Tensor);
        operator!(@number $trait $method $variant, Tensor);
    )*};
    (@pair $trait:ident $method:ident $variant:ident, $a:ty, $b:ty) => {
        impl $trait<$b> for $a {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, other: $b) -> Tensor {
                let (a, b): (&Tensor, &Tensor) = (&self, &other);
                binary(Binary::$variant, a, b)
            }
        }
    };
    (@number $trait:ident $method:ident $variant:ident, $t:ty) => {
        impl $trait<f64> for $t {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, x: f64) -> Tensor {
                let a: &Tensor = &self;
                binary(Binary::$variant, a, &x.operand(stringify!($method), a))
            }
        }
        impl $trait<$t> for f64 {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, b: $t) -> Tensor {
                let b: &Tensor = &b;
                binary(Binary::$variant, &self.operand(stringify!($method), b), b)
            }
        }
    };
}

operator! {
    Add add Add;
    Sub sub Sub;
    Mul mul Mul;
    Div div Div;
}

impl Neg for &Tensor {
    type Output = Tensor;
    #[track_caller]
    fn neg(self) -> Tensor {
        Tensor::neg(self)
    }
}

impl Neg for Tensor {
    type Output = Tensor;
    #[track_caller]
    fn neg(self) -> Tensor {
        Tensor::neg(&self)
    }
}
