//! Matrix products.

use super::{Op, view};
use crate::error::{BuildError, fail};
use crate::graph::Inputs;
use crate::shape::Shape;
use crate::tensor::Tensor;

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
        let mismatch = |rule: &str| -> ! {
            let text =
                format!("{rule}: {} {} × {} {}", self.dtype(), self.shape(), other.dtype(), other.shape());
            fail(BuildError::new("matmul", text))
        };
        if self.dtype() != other.dtype() || !self.dtype().is_float() {
            mismatch("needs two tensors of one float type");
        }
        if self.rank() == 0 || other.rank() == 0 {
            mismatch("needs at least one axis on each side (use * for scalars)");
        }
        let a = if self.rank() == 1 { self.unsqueeze(0) } else { self.clone() };
        let b = if other.rank() == 1 { other.unsqueeze(1) } else { other.clone() };
        let (m, k) = (a.shape()[a.rank() - 2], a.shape()[a.rank() - 1]);
        let (l, n) = (b.shape()[b.rank() - 2], b.shape()[b.rank() - 1]);
        if k != l {
            mismatch(
                "the inner extents differ: the last of the left must equal the last but one of the right",
            );
        }
        let batch = Shape::of(&a.shape()[..a.rank() - 2]).broadcast(&Shape::of(&b.shape()[..b.rank() - 2]));
        let Some(batch) = batch else { mismatch("the leading axes do not broadcast") };
        let product = if b.rank() == 2 && a.rank() > 2 {
            // One matrix on the right serves all rows at once.
            let dims: Vec<usize> = a.shape()[..a.rank() - 1].iter().copied().chain([n]).collect();
            product(&a.reshape([batch.numel() * m, k]), &b).reshape(dims)
        } else {
            let with = |rows: usize, cols: usize| {
                Shape::of(&batch.iter().copied().chain([rows, cols]).collect::<Vec<_>>())
            };
            product(&view::expand(&a, with(m, k)), &view::expand(&b, with(k, n)))
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

/// `[batch…, m, k] × [batch…, k, n]`, shapes already right.
#[track_caller]
fn product(a: &Tensor, b: &Tensor) -> Tensor {
    let shape = a.shape().with(a.rank() - 1, b.shape()[b.rank() - 1]);
    Tensor::make(Op::Matmul, Inputs::Two([a.clone(), b.clone()]), shape, a.dtype())
}
