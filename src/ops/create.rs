//! Tensors made from nothing: constants and ranges.

use super::Op;
use super::cases::{Array, DISCRETE, Draw, Gradient, OpCase};
use crate::error::{BuildError, fail};
use crate::graph::Inputs;
use crate::shape::{Shape, ToNumbers, shape_arg};
use crate::tensor::Tensor;
use gradus_kernels::DType;
use std::cell::RefCell;

/// The bits that stand for `x` in a constant or a program parameter of type `dtype`.
pub(crate) fn scalar_bits(x: f64, dtype: DType) -> u64 {
    match dtype {
        DType::F32 | DType::F64 => x.to_bits(),
        DType::Bool => (x != 0.0) as u64,
        DType::I32 => x as i32 as i64 as u64,
        DType::U32 => x as u32 as u64,
    }
}

/// Numbers that are made once for all who use them, at most: a list to look through.
const MOST_NUMBERS: usize = 32;

thread_local! {
    /// The numbers beside tensors since this thread's last evaluation: an optimizer has the same ones for each parameter.
    /// Which these are is a matter of the expressions since then alone, and so is the order of the nodes that a plan is
    /// found by.
    static NUMBERS: RefCell<Vec<Tensor>> = const { RefCell::new(Vec::new()) };
}

/// Begins a new list of numbers.
pub(crate) fn forget_numbers() {
    NUMBERS.take();
}

impl Tensor {
    /// A number that stands beside a tensor of any shape.
    #[track_caller]
    pub(super) fn number(x: f64, dtype: DType) -> Tensor {
        let bits = scalar_bits(x, dtype);
        let same = |t: &&Tensor| t.dtype() == dtype && matches!(t.node().op, Op::Number(b) if b == bits);
        if let Some(known) = NUMBERS.with_borrow(|list| list.iter().find(same).cloned()) {
            return known;
        }
        let number = Tensor::make(Op::Number(bits), Inputs::None, Shape::SCALAR, dtype);
        NUMBERS.with_borrow_mut(|list| {
            if list.len() < MOST_NUMBERS {
                list.push(number.clone());
            }
        });
        number
    }

    #[track_caller]
    pub(crate) fn constant(shape: Shape, x: f64, dtype: DType) -> Tensor {
        Tensor::make(Op::Full(scalar_bits(x, dtype)), Inputs::None, shape, dtype)
    }

    /// Every element `x`, f32.
    ///
    /// # Panics
    /// As every constructor: if `shape` has a negative extent or more than eight axes.
    #[track_caller]
    pub fn full(shape: impl ToNumbers, x: f64) -> Tensor {
        Tensor::constant(shape_arg("full", shape), x, DType::F32)
    }

    /// Every element 0, f32. Other types: `Tensor::zeros(shape).to(dtype)`.
    #[track_caller]
    pub fn zeros(shape: impl ToNumbers) -> Tensor {
        Tensor::constant(shape_arg("zeros", shape), 0.0, DType::F32)
    }

    /// Every element 1, f32.
    #[track_caller]
    pub fn ones(shape: impl ToNumbers) -> Tensor {
        Tensor::constant(shape_arg("ones", shape), 1.0, DType::F32)
    }

    /// Every element `x`, shape and type of this tensor.
    #[track_caller]
    pub fn full_like(&self, x: f64) -> Tensor {
        Tensor::constant(*self.shape(), x, self.dtype())
    }

    /// Zeros of this tensor's shape and type.
    #[track_caller]
    pub fn zeros_like(&self) -> Tensor {
        self.full_like(0.0)
    }

    /// Ones of this tensor's shape and type.
    #[track_caller]
    pub fn ones_like(&self) -> Tensor {
        self.full_like(1.0)
    }

    /// `[0, 1, …, n - 1]` as u32, the type of indices.
    #[track_caller]
    pub fn arange(n: usize) -> Tensor {
        Tensor::make(Op::Index, Inputs::None, shape_arg("arange", [n]), DType::U32)
    }

    /// `n` numbers from `start` to `end`, both included, evenly spaced, f32.
    #[track_caller]
    pub fn linspace(start: f64, end: f64, n: usize) -> Tensor {
        let step = if n > 1 { (end - start) / (n - 1) as f64 } else { 0.0 };
        Tensor::arange(n).to(DType::F32) * step + start
    }

    /// The `n` by `n` identity matrix, f32.
    #[track_caller]
    pub fn eye(n: usize) -> Tensor {
        Tensor::arange(n).one_hot(n)
    }

    /// For indices of any shape, a new last axis of length `classes` that is 1 at the index and 0 elsewhere, f32.
    /// An index outside gives zeros.
    ///
    /// # Panics
    /// If this is a tensor of floats.
    #[track_caller]
    pub fn one_hot(&self, classes: usize) -> Tensor {
        if self.dtype().is_float() {
            let rule = format!("needs indices, not {} {}", self.dtype(), self.shape());
            fail(BuildError::new("one_hot", rule));
        }
        self.unsqueeze(-1).eq(Tensor::arange(classes).to(self.dtype())).to(DType::F32)
    }
}

const NOTHING: Gradient = Gradient::None("it depends on no tensor's values");

/// A row for a constant of a drawn shape.
fn constant(op: &'static str, f: fn(&[usize]) -> Tensor, value: f64) -> OpCase {
    OpCase::new(op, NOTHING, move |mut d| {
        let shape = d.shape(0..=4);
        let expected = Array::from_fn(&shape, |_| value);
        d.case(move |_| f(&shape), |_| expected)
    })
}

/// A row for a constant of the shape and type of an input.
fn alike(op: &'static str, f: fn(&Tensor) -> Tensor, value: f64) -> OpCase {
    OpCase::new(op, NOTHING, move |mut d| {
        let shape = d.shape(0..=4);
        d.input(&shape, -2.0, 2.0);
        d.case(move |x| f(&x[0]), |x| x[0].map(|_| value))
    })
}

/// A row for a constant made from one count.
fn counted(op: &'static str, f: fn(usize) -> Tensor, expected: fn(usize) -> Array) -> OpCase {
    OpCase::new(op, NOTHING, move |mut d| {
        let n = d.pick(0..=6);
        d.note(format!("{n}"));
        d.case(move |_| f(n), |_| expected(n))
    })
}

fn line(n: usize, f: fn(usize, usize) -> f64) -> Array {
    Array { shape: vec![n], data: (0..n).map(|i| f(i, n)).collect() }
}

pub(super) fn cases() -> Vec<OpCase> {
    vec![
        constant("full", |s| Tensor::full(s, 2.5), 2.5),
        constant("zeros", |s| Tensor::zeros(s), 0.0),
        constant("ones", |s| Tensor::ones(s), 1.0),
        alike("full_like", |x| x.full_like(-1.25), -1.25),
        alike("zeros_like", Tensor::zeros_like, 0.0),
        alike("ones_like", Tensor::ones_like, 1.0),
        counted("arange", Tensor::arange, |n| line(n, |i, _| i as f64)),
        counted(
            "linspace",
            |n| Tensor::linspace(-1.0, 2.0, n),
            |n| line(n, |i, n| -1.0 + 3.0 * i as f64 / (n.max(2) - 1) as f64),
        ),
        counted("eye", Tensor::eye, |n| Array::from_fn(&[n, n], |i| f64::from(i[0] == i[1]))),
        OpCase::new("one_hot", DISCRETE, |mut d: Draw| {
            let shape = d.shape(0..=3);
            let classes = d.pick(0..=4);
            // One more than there are classes: an index outside gives zeros.
            let (index, places) = d.index(&shape, classes + 1);
            let whole = [&shape[..], &[classes]].concat();
            let expected =
                Array::from_fn(&whole, |i| f64::from(places.at(&i[..i.len() - 1]) == i[i.len() - 1] as f64));
            d.case(move |_| index.one_hot(classes), |_| expected)
        }),
    ]
}
