//! Random draws as expressions: pure functions of a seed, a draw number and the position of the element.

use super::Op;
use super::cases::{Array, Gradient, OpCase};
use crate::graph::Inputs;
use crate::rng::Rng;
use crate::shape::{Shape, ToNumbers, shape_arg};
use crate::tensor::Tensor;
use gradus_kernels::DType;
use gradus_kernels::program::Random;

#[track_caller]
fn draw(rng: &mut Rng, kind: Random, shape: Shape, dtype: DType) -> Tensor {
    let (seed, draw) = rng.next_draw();
    Tensor::make(Op::Random { kind, seed, draw }, Inputs::None, shape, dtype)
}

impl Rng {
    /// Independent standard normal values, f32.
    ///
    /// # Panics
    /// As every constructor: if `shape` has a negative extent or more than eight axes.
    #[track_caller]
    pub fn normal(&mut self, shape: impl ToNumbers) -> Tensor {
        self.normal_of(shape, DType::F32)
    }

    /// Independent standard normal values of a float type.
    #[track_caller]
    pub fn normal_of(&mut self, shape: impl ToNumbers, dtype: DType) -> Tensor {
        assert!(dtype.is_float(), "normal: {dtype} is not a float type");
        draw(self, Random::Normal, shape_arg("normal", shape), dtype)
    }

    /// Independent values uniform on [0, 1), f32.
    #[track_caller]
    pub fn uniform(&mut self, shape: impl ToNumbers) -> Tensor {
        self.uniform_of(shape, DType::F32)
    }

    /// Independent values uniform on [0, 1), of a float type.
    #[track_caller]
    pub fn uniform_of(&mut self, shape: impl ToNumbers, dtype: DType) -> Tensor {
        assert!(dtype.is_float(), "uniform: {dtype} is not a float type");
        draw(self, Random::Uniform, shape_arg("uniform", shape), dtype)
    }

    /// Independent values uniform over all u32.
    #[track_caller]
    pub fn bits(&mut self, shape: impl ToNumbers) -> Tensor {
        draw(self, Random::Bits, shape_arg("bits", shape), DType::U32)
    }

    /// Independent coin flips, one for each probability in `p`: 1 or 0 in its type. No gradient flows to `p`.
    #[track_caller]
    pub fn bernoulli(&mut self, p: &Tensor) -> Tensor {
        let u = draw(self, Random::Uniform, *p.shape(), p.dtype());
        u.lt(p.stop_grad()).to(p.dtype())
    }

    /// The numbers 0 to n - 1 in random order, u32.
    #[track_caller]
    pub fn permutation(&mut self, n: usize) -> Tensor {
        self.bits([n]).argsort(0)
    }
}

/// A row for draws, whose values the kernels crate checks: what is checked here is that they do not depend on how
/// they are computed.
fn row(op: &'static str, f: fn(&mut Rng, &[usize]) -> Tensor) -> OpCase {
    OpCase::new(op, Gradient::None("draws depend on no tensor"), move |mut d| {
        let shape = d.shape(0..=3);
        let rng = Rng::seed(d.below(1000) as u64);
        d.case_by_gradient(move |_| f(&mut rng.clone(), &shape))
    })
}

pub(super) fn cases() -> Vec<OpCase> {
    vec![
        row("normal", |rng, shape| rng.normal(shape)),
        row("normal_of", |rng, shape| rng.normal_of(shape, DType::F64)),
        row("uniform", |rng, shape| rng.uniform(shape)),
        row("uniform_of", |rng, shape| rng.uniform_of(shape, DType::F64)),
        row("bits", |rng, shape| rng.bits(shape)),
        OpCase::new(
            "bernoulli",
            Gradient::None("a coin flip does not depend smoothly on its probability"),
            |mut d| {
                let shape = d.shape(0..=3);
                let rng = Rng::seed(d.below(1000) as u64);
                // Certain ones and zeros are known beforehand.
                d.input_with(&shape, |d| d.below(2) as f64);
                d.case(move |x| rng.clone().bernoulli(&x[0]), |x| x[0].clone())
            },
        ),
        OpCase::new("permutation", Gradient::None("it depends on no tensor"), |mut d| {
            let (n, rng) = (d.pick(0..=9), Rng::seed(d.below(1000) as u64));
            let expected = Array { shape: vec![n], data: (0..n).map(|i| i as f64).collect() };
            d.case(move |_| rng.clone().permutation(n).sort(0).0, |_| expected)
        }),
    ]
}
