//! `+ - * /` and unary minus for tensors and numbers, owned or borrowed.

use super::binary::{Operand, binary};
use crate::tensor::Tensor;
use gradus_kernels::program::Binary;
use std::ops::{Add, Div, Mul, Neg, Sub};

macro_rules! operator {
    ($($trait:ident $method:ident $variant:ident;)*) => {$(
        operator!(@pair $trait $method $variant, a: &Tensor => a.clone(), b: &Tensor => b.clone());
        operator!(@pair $trait $method $variant, a: &Tensor => a.clone(), b: Tensor => b);
        operator!(@pair $trait $method $variant, a: Tensor => a, b: &Tensor => b.clone());
        operator!(@pair $trait $method $variant, a: Tensor => a, b: Tensor => b);
        operator!(@number $trait $method $variant, t: &Tensor => t.clone());
        operator!(@number $trait $method $variant, t: Tensor => t);
    )*};
    // Each operand: its name, its type, and the handle that the node gets.
    (@pair $trait:ident $method:ident $variant:ident,
     $a:ident: $left:ty => $own_a:expr, $b:ident: $right:ty => $own_b:expr) => {
        impl $trait<$right> for $left {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, $b: $right) -> Tensor {
                let $a = self;
                binary(Binary::$variant, $own_a, $own_b)
            }
        }
    };
    (@number $trait:ident $method:ident $variant:ident, $t:ident: $type:ty => $own:expr) => {
        impl $trait<f64> for $type {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, x: f64) -> Tensor {
                let $t = self;
                let number = x.operand(stringify!($method), &$t);
                binary(Binary::$variant, $own, number)
            }
        }
        impl $trait<$type> for f64 {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, $t: $type) -> Tensor {
                let number = self.operand(stringify!($method), &$t);
                binary(Binary::$variant, number, $own)
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
