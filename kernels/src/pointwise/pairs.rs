//! Two f32 instructions in one loop, the value between them staying in a register; and the longer phrases that
//! optimizers, averages and activations are made of.
//!
//! All are rounded, in the order of the program: a pair gives the bits of its instructions one by one. It only saves
//! a store and a load of each element, which is most of what an instruction costs.

use super::loops::{Body, LANES, Loop, MOST_ARGS, Places, loop_moments, loop_of, sizes};
use crate::math::{self, Arch};
use crate::program::Binary;
use crate::simd::Level;
use std::hint::select_unpredictable;

/// The pairs and phrases: what each computes of its operands, in the order in which it has them.
macro_rules! pairs {
    ($($(#[$doc:meta])* $name:ident |$($a:ident $k:literal),*| $body:expr;)*) => {
        /// `(a first b) second c`, or `c second (a first b)`; and phrases.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Pair {
            $($(#[$doc])* $name,)*
            /// [`moments`](super::moments).
            Moments,
        }

        mod bodies {
            use super::*;

            $(
                pub(super) struct $name;
                impl Body for $name {
                    type Out = f32;
                    const SIZES: [u8; MOST_ARGS] = sizes(&[size_of::<f32>(); [$($k),*].len()]);

                    #[inline(always)]
                    unsafe fn block<A: Arch>(to: &mut Places<f32>, from: [*const u8; MOST_ARGS]) {
                        // SAFETY: the caller's promise.
                        $(let $a = unsafe { &*from[$k].cast::<[f32; LANES]>() };)*
                        for i in 0..LANES {
                            $(let $a = $a[i];)*
                            to[i].write($body);
                        }
                    }
                }
            )*
        }

        /// The loop of a pair.
        pub(super) fn pair_loop(pair: Pair, level: Level) -> Loop {
            match pair {
                $(Pair::$name => loop_of::<bodies::$name>(level),)*
                Pair::Moments => loop_moments(level),
            }
        }
    };
}

pairs! {
    /// `a b + c`.
    MulAdd |a 0, b 1, c 2| a * b + c;
    /// `a b - c`.
    MulSub |a 0, b 1, c 2| a * b - c;
    /// `c - a b`.
    SubFrom |a 0, b 1, c 2| c - a * b;
    /// `a b c`.
    MulMul |a 0, b 1, c 2| a * b * c;
    /// `a b / c`.
    MulDiv |a 0, b 1, c 2| a * b / c;
    /// `(a + b) c`.
    AddMul |a 0, b 1, c 2| (a + b) * c;
    /// `(a - b) c`.
    SubMul |a 0, b 1, c 2| (a - b) * c;
    /// `a b + c d`.
    Blend |a 0, b 1, c 2, d 3| a * b + c * d;
    /// `a b + c d e`.
    BlendProduct |a 0, b 1, c 2, d 3, e 4| a * b + c * d * e;
    /// `a - b c / (sqrt(d) e + f)`.
    SubRatio |a 0, b 1, c 2, d 3, e 4, f 5| a - b * c / (d.sqrt() * e + f);
    /// `(a + b) c d`.
    AddMulMul |a 0, b 1, c 2, d 3| (a + b) * c * d;
    /// `(erf(a b) + c) d e`.
    ErfMul |a 0, b 1, c 2, d 3, e 4| (math::erf::<A, f32>(a * b) + c) * d * e;
    /// `(tanh((a b c d + e) f) + g) h k`.
    TanhMul |a 0, b 1, c 2, d 3, e 4, f 5, g 6, h 7, k 8|
        (math::tanh::<A, f32>((a * b * c * d + e) * f) + g) * h * k;
    /// `exp(a - b)`.
    ExpSub |a 0, b 1| math::exp::<A, f32>(a - b);
    /// `c` where `a < b`, else `d`.
    Less |a 0, b 1, c 2, d 3| select_unpredictable(a < b, c, d);
    /// `c` where `a < b`, else `d e`.
    LessMul |a 0, b 1, c 2, d 3, e 4| select_unpredictable(a < b, c, d * e);
}

impl Pair {
    /// The pair of `first` and `second`, whose left operand is the result of `first` if `left`, else the right one.
    pub(super) fn of(first: Binary, second: Binary, left: bool) -> Option<Pair> {
        match (first, second, left) {
            (Binary::Mul, Binary::Add, _) => Some(Pair::MulAdd),
            (Binary::Mul, Binary::Sub, true) => Some(Pair::MulSub),
            (Binary::Mul, Binary::Sub, false) => Some(Pair::SubFrom),
            (Binary::Mul, Binary::Mul, _) => Some(Pair::MulMul),
            (Binary::Mul, Binary::Div, true) => Some(Pair::MulDiv),
            (Binary::Add, Binary::Mul, _) => Some(Pair::AddMul),
            (Binary::Sub, Binary::Mul, _) => Some(Pair::SubMul),
            _ => None,
        }
    }
}
