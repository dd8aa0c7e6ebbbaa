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

    /// The public name of the op: that of a method of [`Tensor`](crate::Tensor) or [`Rng`](crate::Rng).
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

    /// The file in `src/ops` that defines the op.
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
        ("unary", super::unary::cases()),
        ("binary", super::binary::cases()),
        ("dropout", super::dropout::cases()),
        ("einsum", super::einsum::cases()),
        ("loss", crate::loss::cases::cases()),
        ("norm", super::norm::cases()),
        ("pool", super::pool::cases()),
        ("resample", super::resample::cases()),
    ];
    let tag = |(family, rows): (&'static str, Vec<OpCase>)| {
        rows.into_iter().map(move |row| OpCase { family, ..row })
    };
    families.into_iter().flat_map(tag).collect()
}
