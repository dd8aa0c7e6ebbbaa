//! The registry: for every public op, how to draw a random case of it, and what its value should be.
//!
//! One list drives every check of every op: values against plain loops, gradients of first and second order against
//! differences, devices, fused and eager execution against each other, and the op table of the documentation. It
//! needs no test framework: a case is drawn from a number.
//!
//! Each family's file ends with `cases()`, a list of [`OpCase`]s, one or more for each op. A row reads:
//!
//! ```ignore
//! OpCase::new("sqrt", Gradient::Smooth, |mut d| {
//!     let shape = d.shape(0..=3);
//!     d.input(&shape, 0.3, 3.0);
//!     d.case(|x| x[0].sqrt(), |x| x[0].map(f64::sqrt))
//! })
//! ```
//!
//! The second closure is the op under test, of the inputs in the order they were drawn; the third says what its value
//! should be, in plain Rust over plain arrays. Inputs reach the op as they come in life: some row-major, some as
//! permuted, flipped, strided or repeated views. What the op does not differentiate (indices, masks, options) is
//! drawn too and captured.

mod array;
mod draw;

pub use array::Array;
pub use draw::{Case, Draw};

/// What a gradient check can expect of an op.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gradient {
    /// Derivatives of every order exist wherever cases are drawn, and directional ones are checked to order 4.
    Smooth,
    /// Pieces that are smooth inside: cases keep away from the kinks, jumps and ties between them. Checked to order 2.
    Pieces,
    /// A gradient flows, but differences cannot measure it, for this reason: a test of its own does.
    ByHand(&'static str),
    /// No gradient flows, for this reason.
    None(&'static str),
}

/// The reason of ops that give integers or bools.
pub(super) const DISCRETE: Gradient = Gradient::None(super::INTEGER_RESULT);

type DrawFn = Box<dyn Fn(Draw) -> Case + Send + Sync>;

/// A row of the registry.
pub struct OpCase {
    op: &'static str,
    variant: &'static str,
    family: &'static str,
    gradient: Gradient,
    draw: DrawFn,
}

impl OpCase {
    /// A row for the public op of that name.
    pub fn new(
        op: &'static str,
        gradient: Gradient,
        draw: impl Fn(Draw) -> Case + Send + Sync + 'static,
    ) -> OpCase {
        OpCase { op, variant: "", family: "", gradient, draw: Box::new(draw) }
    }

    /// Tells this row from others of the same op.
    pub fn variant(self, variant: &'static str) -> OpCase {
        OpCase { variant, ..self }
    }

    /// The public name of the op: that of a method of [`Tensor`](crate::Tensor) or [`Rng`](crate::Rng), or of a
    /// function in [`loss`](crate::loss).
    pub fn op(&self) -> &'static str {
        self.op
    }

    /// The op and, where it has several rows, which.
    pub fn name(&self) -> String {
        match self.variant {
            "" => self.op.to_string(),
            variant => format!("{} ({variant})", self.op),
        }
    }

    /// The file in `src/ops` that defines the op, or `loss`.
    pub fn family(&self) -> &'static str {
        self.family
    }

    /// What is known about its derivatives.
    pub fn gradient(&self) -> Gradient {
        self.gradient
    }

    /// Case number `seed`: the same one every time.
    pub fn draw(&self, seed: u64) -> Case {
        (self.draw)(Draw::new(seed, &self.name()))
    }
}

/// Every row, family by family.
pub fn all() -> Vec<OpCase> {
    let families: Vec<(&'static str, Vec<OpCase>)> = vec![
        ("activation", super::activation::cases()),
        ("binary", super::binary::cases()),
        ("conv", super::conv::cases()),
        ("create", super::create::cases()),
        ("dropout", super::dropout::cases()),
        ("einsum", super::einsum::cases()),
        ("index", super::index::cases()),
        ("join", super::join::cases()),
        ("loss", crate::loss::cases::cases()),
        ("matmul", super::matmul::cases()),
        ("norm", super::norm::cases()),
        ("pool", super::pool::cases()),
        ("random", super::random::cases()),
        ("reduce", super::reduce::cases()),
        ("resample", super::resample::cases()),
        ("select", super::select::cases()),
        ("unary", super::unary::cases()),
        ("view", super::view::cases()),
    ];
    let tag = |(family, rows): (&'static str, Vec<OpCase>)| {
        rows.into_iter().map(move |row| OpCase { family, ..row })
    };
    families.into_iter().flat_map(tag).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grad::vjp;
    use crate::graph::reachable;
    use crate::tensor::Tensor;
    use std::collections::BTreeSet;

    /// The names that a file's `match` gives to its variants.
    fn names(text: &'static str) -> impl Iterator<Item = &'static str> {
        text.lines().filter_map(|line| {
            let (variant, name) = line.trim().split_once(" => \"")?;
            variant.contains("::").then(|| name.trim_end_matches("\","))
        })
    }

    /// Public ops are tested by name; this holds for what they are made of, and what their derivatives are made of.
    #[test]
    fn every_primitive_is_reached_by_a_case() {
        let mut seen = BTreeSet::new();
        for row in all() {
            for seed in 0..8 {
                let case = row.draw(seed);
                let y = case.apply(case.inputs());
                let mut roots = vec![y.clone()];
                if y.dtype().is_float() {
                    let inputs: Vec<&Tensor> = case.inputs().iter().collect();
                    roots.extend(vjp(&y, &inputs, &y.full_like(0.5)).into_iter().flatten());
                }
                seen.extend(reachable(&roots, |_| true).iter().map(|x| x.node().op.name()));
            }
        }
        let files = [
            include_str!("../mod.rs"),
            include_str!("../unary.rs"),
            include_str!("../binary.rs"),
            include_str!("../reduce.rs"),
        ];
        // Made by `crate::checkpoint` and `crate::jvp`, whose tests these are.
        let elsewhere = ["checkpoint", "after"];
        let all: BTreeSet<&str> =
            files.into_iter().flat_map(names).filter(|n| !elsewhere.contains(n)).collect();
        assert!(all.len() > 60, "the scan finds the primitives: {all:?}");
        let missing: Vec<_> = all.difference(&seen).collect();
        assert!(missing.is_empty(), "primitives that no case reaches: {missing:?}");
    }
}
