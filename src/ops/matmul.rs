//! Matrix products.

use super::cases::{Array, Draw, Gradient, OpCase};
use super::{Op, view};
use crate::error::{BuildError, fail};
use crate::graph::Inputs;
use crate::shape::Shape;
use crate::tensor::Tensor;
use gradus_kernels::MAX_RANK;

impl Tensor {
    /// The matrix product, with NumPy's rules: `[…, m, k] × […, k, n] → […, m, n]`, leading axes broadcast; a vector
    /// on the left is a row, on the right a column, and its axis goes away.
    ///
    /// # Panics
    /// If the inner extents differ, the leading axes do not broadcast, a side is a scalar, or the types differ or
    /// are not floats.
    ///
    /// ```
    /// use gradus::Tensor;
    /// let a = Tensor::from([[1.0f32, 2.0], [3.0, 4.0]]);
    /// let x = Tensor::from([1.0f32, 10.0]);
    /// assert_eq!(a.matmul(&x).to_vec::<f32>()?, [21.0, 43.0]);
    /// # Ok::<(), gradus::Error>(())
    /// ```
    #[track_caller]
    pub fn matmul(&self, other: &Tensor) -> Tensor {
        if self.dtype() != other.dtype() || !self.dtype().is_float() {
            mismatch(self, other, "needs two tensors of one float type");
        }
        if self.rank() == 0 || other.rank() == 0 {
            mismatch(self, other, "needs at least one axis on each side (use * for scalars)");
        }
        let (row, column);
        let (mut a, mut b) = (self, other);
        if a.rank() == 1 {
            row = a.unsqueeze(0);
            a = &row;
        }
        if b.rank() == 1 {
            column = b.unsqueeze(1);
            b = &column;
        }
        let (lead, [m, k]) = a.shape().split_last_chunk().expect("two axes");
        let (other_lead, [l, n]) = b.shape().split_last_chunk().expect("two axes");
        if k != l {
            mismatch(
                self,
                other,
                "the inner extents differ: the last of the left must equal the last but one of the right",
            );
        }
        let product = match (lead, other_lead) {
            ([], []) => product(a, b),
            (lead, []) => {
                // One matrix on the right serves all rows at once.
                let rows: usize = lead.iter().chain([m]).product();
                let dims: Vec<usize> = lead.iter().chain([m, n]).copied().collect();
                product(&a.reshape([rows, *k]), b).reshape(dims)
            }
            _ => {
                let batch = Shape::of(lead).broadcast(&Shape::of(other_lead));
                let Some(batch) = batch else { mismatch(self, other, "the leading axes do not broadcast") };
                let with = |rows: usize, cols: usize| {
                    let (mut dims, lead) = ([0; MAX_RANK], batch.rank());
                    dims[..lead].copy_from_slice(&batch);
                    dims[lead..lead + 2].copy_from_slice(&[rows, cols]);
                    Shape::of(&dims[..lead + 2])
                };
                product(&view::expand(a, with(*m, *k)), &view::expand(b, with(*k, *n)))
            }
        };
        match (self.rank(), other.rank()) {
            (1, 1) => product.reshape([0usize; 0]),
            (1, _) => product.squeeze(-2),
            (_, 1) => product.squeeze(-1),
            _ => product,
        }
    }

    /// The product of two vectors, or of every row of two matrices: the sum of `a * b` over the last axis.
    #[track_caller]
    pub fn dot(&self, other: &Tensor) -> Tensor {
        (self * other).sum(-1)
    }
}

/// Whether a tensor is the transpose, as a view, of another.
fn is_transposed(x: &Tensor) -> bool {
    let last = x.rank() - 1;
    matches!(&x.node().op, Op::Permute(axes) if axes[last] as usize == last - 1 && axes[last - 1] as usize == last)
}

/// `g bᵀ`. For an `a` that is a transpose it is written as the transpose of `b gᵀ`, so that the gradient of what was
/// transposed comes out row-major.
pub(super) fn vjp_left(x: &[Tensor], g: &Tensor) -> Tensor {
    if is_transposed(&x[0]) {
        return x[1].matmul(&g.transpose(-1, -2)).transpose(-1, -2);
    }
    g.matmul(&x[1].transpose(-1, -2))
}

/// `aᵀ g`; for a `b` that is a transpose, as the weight of every linear layer is, the transpose of `gᵀ a`.
pub(super) fn vjp_right(x: &[Tensor], g: &Tensor) -> Tensor {
    if is_transposed(&x[1]) {
        return g.transpose(-1, -2).matmul(&x[0]).transpose(-1, -2);
    }
    x[0].transpose(-1, -2).matmul(g)
}

#[track_caller]
fn mismatch(a: &Tensor, b: &Tensor, rule: &str) -> ! {
    let text = format!("{rule}: {} {} × {} {}", a.dtype(), a.shape(), b.dtype(), b.shape());
    fail(BuildError::new("matmul", text))
}

/// `[batch…, m, k] × [batch…, k, n]`, shapes already right.
#[track_caller]
fn product(a: &Tensor, b: &Tensor) -> Tensor {
    let shape = a.shape().with(a.rank() - 1, b.shape()[b.rank() - 1]);
    Tensor::make(Op::Matmul, Inputs::Two([a.clone(), b.clone()]), shape, a.dtype())
}

/// The product by NumPy's rules, one element at a time.
fn expected_product(a: &Array, b: &Array) -> Array {
    let (row, column) = (a.shape.len() == 1, b.shape.len() == 1);
    let matrix = |x: &Array, axis: usize| {
        let mut shape = x.shape.clone();
        shape.insert(axis, 1);
        x.reshape(&shape)
    };
    let a = if row { matrix(a, 0) } else { a.clone() };
    let b = if column { matrix(b, 1) } else { b.clone() };
    let (p, q) = (a.shape.len() - 2, b.shape.len() - 2);
    let (m, k, n) = (a.shape[p], a.shape[p + 1], b.shape[q + 1]);
    // Leading axes broadcast as those of two arrays of zeros do.
    let lead = |shape: &[usize]| Array::from_fn(shape, |_| 0.0);
    let mut shape = lead(&a.shape[..p]).zip(&lead(&b.shape[..q]), |_, _| 0.0).shape;
    shape.extend([m, n]);
    let whole = Array::from_fn(&shape, |i| {
        let (batch, place) = i.split_at(i.len() - 2);
        let at = |r: usize, c: usize| [batch, &[r, c]].concat();
        (0..k).map(|l| a.at(&at(place[0], l)) * b.at(&at(l, place[1]))).sum()
    });
    let end = shape.len();
    shape.drain(if row { end - 2..end - 1 } else { end..end });
    shape.truncate(shape.len() - usize::from(column));
    whole.reshape(&shape)
}

/// Two shapes that `matmul` takes: vectors, matrices and batches that broadcast.
fn drawn_shapes(d: &mut Draw) -> [Vec<usize>; 2] {
    let (m, k, n) = (d.extent(), d.extent(), d.extent());
    let batch: Vec<usize> = (0..d.pick(0..=2)).map(|_| d.pick(0..=3).max(1)).collect();
    let (a, b) = (d.narrowed(&batch), d.narrowed(&batch));
    match d.below(6) {
        0 => [vec![k], [b, vec![k, n]].concat()],
        1 => [[a, vec![m, k]].concat(), vec![k]],
        2 => [vec![m, k], vec![k, n]],
        3 => [[a, vec![m, k]].concat(), vec![k, n]],
        _ => [[a, vec![m, k]].concat(), [b, vec![k, n]].concat()],
    }
}

pub(super) fn cases() -> Vec<OpCase> {
    vec![
        OpCase::new("matmul", Gradient::Smooth, |mut d| {
            drawn_shapes(&mut d).iter().for_each(|shape| d.input(shape, -2.0, 2.0));
            d.case(|x| x[0].matmul(&x[1]), |x| expected_product(&x[0], &x[1]))
        }),
        OpCase::new("dot", Gradient::Smooth, |mut d| {
            let shape = d.shape(1..=3);
            (0..2).for_each(|_| d.input(&shape, -2.0, 2.0));
            let last = shape.len() - 1;
            d.case(
                |x| x[0].dot(&x[1]),
                |x| x[0].zip(&x[1], |a, b| a * b).reduce(&[last], |line| line.iter().sum()),
            )
        }),
    ]
}
