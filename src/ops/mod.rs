//! The operations, one file per family: shape rule, derivative, cases for the checks.
//!
//! # How to add an op
//! * **A composite** (most new ops): a method on [`Tensor`] written with the ops that exist, in the file of its
//!   family, and one row in that file's `cases`. It needs no derivative: it has that of its parts, at every order.
//! * **A pointwise primitive**: a variant of `Unary` or `Binary` in the kernels crate (with its CPU loop, and its
//!   WGSL line), a row in `unary.rs` or `binary.rs`: the compiler asks for its name and its rule.
//! * **A new family**: a variant of `Op`, a file here, an arm in each `match` below; none has a default, so
//!   nothing can be forgotten. The test `every_public_op_has_a_case` names what lacks a case.
//!
//! A rule (`vjp`) gets the inputs `x`, the output `y` and the cotangent `g` of `y`, and returns for each input the
//! cotangent as an ordinary expression, or `None` where nothing flows. Rules never add up contributions: the sweep
//! in [`crate::grad`](mod@crate::grad) does.

#[cfg(feature = "checks")]
pub mod cases;
#[cfg(not(feature = "checks"))]
pub(crate) mod cases;

mod activation;
mod binary;
mod conv;
mod create;
mod dropout;
mod einsum;
mod index;
mod join;
mod matmul;
mod norm;
mod operators;
mod pool;
mod random;
mod reduce;
mod resample;
mod select;
mod unary;
mod view;

pub use conv::ConvOptions;
pub(crate) use create::forget_numbers;
pub use norm::BatchStats;
pub use resample::Interpolation;
pub(crate) use view::{PadSpec, SliceSpec, WindowSpec, layout};

use crate::tensor::Tensor;
use gradus_kernels::MAX_RANK;
use gradus_kernels::conv::Conv;
use gradus_kernels::program::{Binary, Random, Unary};
use gradus_kernels::reduce::Reduction;

/// The primitive operations. Families are closed under differentiation: the rule of each is made of the others.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// A value that was given.
    Leaf,
    /// Every element the same: the bits of an f64 for float types, a sign-extended integer for the others.
    Full(u64),
    /// A number beside a tensor in a function of both, whatever that one's shape: its own has no axes, and nobody outside
    /// the graph has a handle on it. The bits are as those of `Full`.
    Number(u64),
    /// The row-major index of each element.
    Index,
    /// Draws number `draw` of the generator `seed`.
    Random { kind: Random, seed: u64, draw: u64 },
    /// A function of one tensor.
    Unary(Unary),
    /// A function of two tensors of one shape.
    Binary(Binary),
    /// `where(condition, a, b)`.
    Select,
    /// Conversion of the type.
    Cast,
    /// The same elements under another shape.
    Reshape,
    /// Axes in another order: axis `i` of the result is axis `.0[i]` of the input.
    Permute([u8; MAX_RANK]),
    /// Broadcast to the node's shape, aligned at the right.
    Expand,
    /// Every `step`-th element from `start`, per axis.
    Slice(Box<SliceSpec>),
    /// Overlapping windows along an axis; the place within the window becomes a new last axis.
    Window(WindowSpec),
    /// The dual of `Window`: adds what overlaps, giving back an axis of length `.1`.
    Fold(WindowSpec, usize),
    /// Zeros around, and between, the elements: the dual of `Slice`.
    Pad(Box<PadSpec>),
    /// Tensors one after the other along an axis.
    Cat(u8),
    /// A reduction over the axes in the mask, which stay with extent 1.
    Reduce(Reduction, u32),
    /// `[…, m, k] × […, k, n]`.
    Matmul,
    /// `y = conv(x, w)`: inputs x, w.
    Conv(Box<Conv>),
    /// The gradient of `conv` for x, which is transposed convolution: inputs dy, w.
    ConvInput(Box<Conv>),
    /// The gradient of `conv` for w: inputs x, dy.
    ConvWeight(Box<Conv>),
    /// `out[i] = x[index[i]]` along an axis: inputs x, index.
    Gather(u8),
    /// The dual of `Gather`, into an axis of length `.1`: inputs src, index.
    ScatterAdd(u8, usize),
    /// Running sums along an axis.
    Cumsum(u8),
    /// The order that sorts along an axis.
    Argsort { axis: u8, descending: bool },
    /// The same value, through which no gradient flows.
    StopGrad,
    /// The value of the first input; its rule computes the segment again. See [`crate::checkpoint()`].
    Checkpoint,
    /// The value of the first input, not to be computed before the second exists.
    After,
}

/// Why nothing flows through an op, in words that errors quote.
pub(crate) const INTEGER_RESULT: &str = "its result is not a float";

impl Op {
    /// The name in messages and pictures.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Leaf => "leaf",
            Op::Full(_) => "full",
            Op::Number(_) => "number",
            Op::Index => "arange",
            Op::Random { .. } => "random",
            Op::Unary(u) => unary::name(*u),
            Op::Binary(b) => binary::name(*b),
            Op::Select => "where",
            Op::Cast => "to",
            Op::Reshape => "reshape",
            Op::Permute(_) => "permute",
            Op::Expand => "expand",
            Op::Slice(_) => "slice",
            Op::Window(_) => "window",
            Op::Fold(..) => "fold",
            Op::Pad(_) => "pad",
            Op::Cat(_) => "cat",
            Op::Reduce(r, _) => reduce::name(*r),
            Op::Matmul => "matmul",
            Op::Conv(_) => "conv2d",
            Op::ConvInput(_) => "conv_transpose2d",
            Op::ConvWeight(_) => "conv2d_weight",
            Op::Gather(_) => "gather",
            Op::ScatterAdd(..) => "scatter_add",
            Op::Cumsum(_) => "cumsum",
            Op::Argsort { .. } => "argsort",
            Op::StopGrad => "stop_grad",
            Op::Checkpoint => "checkpoint",
            Op::After => "after",
        }
    }

    /// The cotangents of the inputs; `needs(i)` says whether that of input `i` is wanted.
    pub fn vjp(
        &self,
        x: &[Tensor],
        y: &Tensor,
        g: &Tensor,
        needs: &dyn Fn(usize) -> bool,
    ) -> Vec<Option<Tensor>> {
        let when = |i: usize, f: &dyn Fn() -> Tensor| if needs(i) { Some(f()) } else { None };
        match self {
            Op::Leaf | Op::Full(_) | Op::Number(_) | Op::Index | Op::Random { .. } => vec![],
            Op::Unary(u) => vec![when(0, &|| unary::vjp(*u, &x[0], y, g))],
            Op::Binary(b) => binary::vjp(*b, x, y, g, needs),
            Op::Select => select::vjp_where(x, g, needs),
            Op::Cast => vec![when(0, &|| g.to(x[0].dtype()))],
            Op::Reshape => vec![when(0, &|| g.reshape(x[0].shape()))],
            Op::Permute(axes) => vec![when(0, &|| view::vjp_permute(axes, g))],
            Op::Expand => vec![when(0, &|| view::vjp_expand(&x[0], g))],
            Op::Slice(spec) => vec![when(0, &|| view::vjp_slice(spec, &x[0], g))],
            Op::Window(spec) => vec![when(0, &|| view::fold(g, *spec, x[0].shape()[spec.axis as usize]))],
            Op::Fold(spec, _) => vec![when(0, &|| view::window(g, *spec))],
            Op::Pad(spec) => vec![when(0, &|| join::vjp_pad(spec, &x[0], g))],
            Op::Cat(axis) => join::vjp_cat(*axis as usize, x, g, needs),
            Op::Reduce(r, mask) => vec![when(0, &|| reduce::vjp(*r, *mask, &x[0], y, g))],
            Op::Matmul => vec![when(0, &|| matmul::vjp_left(x, g)), when(1, &|| matmul::vjp_right(x, g))],
            Op::Conv(c) => {
                vec![when(0, &|| conv::conv_input(g, &x[1], c)), when(1, &|| conv::conv_weight(&x[0], g, c))]
            }
            Op::ConvInput(c) => {
                vec![when(0, &|| conv::conv(g, &x[1], c)), when(1, &|| conv::conv_weight(g, &x[0], c))]
            }
            Op::ConvWeight(c) => {
                vec![when(0, &|| conv::conv_input(&x[1], g, c)), when(1, &|| conv::conv(&x[0], g, c))]
            }
            Op::Gather(axis) => {
                let axis = *axis as usize;
                vec![when(0, &|| index::scatter_add(g, &x[1], axis, x[0].shape()[axis])), None]
            }
            Op::ScatterAdd(axis, _) => vec![when(0, &|| g.gather(*axis as isize, &x[1])), None],
            Op::Cumsum(axis) => {
                let axis = *axis as isize;
                vec![when(0, &|| g.flip(axis).cumsum(axis).flip(axis))]
            }
            Op::Argsort { .. } | Op::StopGrad => vec![None],
            Op::After => vec![Some(g.clone()), None],
            // The sweep expands a checkpoint itself: its rule needs the whole segment.
            Op::Checkpoint => x.iter().map(|_| None).collect(),
        }
    }

    /// Why no gradient passes, for the ops through which none does.
    pub fn blocks(&self) -> Option<&'static str> {
        match self {
            Op::StopGrad => Some("stop_grad was asked for"),
            Op::Argsort { .. } | Op::Index => Some(INTEGER_RESULT),
            Op::Reduce(r, _) => reduce::blocks(*r),
            Op::Binary(b) if b.is_comparison() => Some(INTEGER_RESULT),
            Op::Unary(Unary::IsNan | Unary::Not) => Some(INTEGER_RESULT),
            _ => None,
        }
    }
}
