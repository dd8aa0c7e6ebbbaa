//! Indexing by tensors, running sums, sorting.

use super::Op;
use crate::error::{BuildError, fail};
use crate::graph::Inputs;
use crate::shape::{Shape, axis_arg};
use crate::tensor::Tensor;
use gradus_kernels::DType;

#[track_caller]
fn check_index(op: &'static str, index: &Tensor) {
    if !matches!(index.dtype(), DType::U32 | DType::I32) {
        fail(BuildError::new(op, format!("the index must be u32 or i32, not {}", index.dtype())));
    }
}

#[track_caller]
pub(super) fn scatter_add(src: &Tensor, index: &Tensor, axis: usize, len: usize) -> Tensor {
    let shape = src.shape().with(axis, len);
    let inputs = Inputs::Two([src.clone(), index.clone()]);
    Tensor::make(Op::ScatterAdd(axis as u8, len), inputs, shape, src.dtype())
}

impl Tensor {
    /// Along `axis`, the elements at the positions in `index`: `out[i, j] = self[index[i, j], j]` for axis 0, and so
    /// on. The result has the shape of `index`, whose other extents are at most those of this tensor.
    ///
    /// # Panics
    /// If ranks or extents do not fit or `index` is not u32 or i32. A position outside the axis is an error when
    /// the value is read.
    #[track_caller]
    pub fn gather(&self, axis: isize, index: &Tensor) -> Tensor {
        let axis = axis_arg("gather", axis, self.rank());
        check_index("gather", index);
        let fits = index.rank() == self.rank()
            && (0..self.rank()).all(|i| i == axis || index.shape()[i] <= self.shape()[i]);
        if !fits {
            let rule = format!(
                "index {} must have the axes of {} with extents no larger except along axis {axis}",
                index.shape(),
                self.shape()
            );
            fail(BuildError::new("gather", rule));
        }
        let mut x = self.clone();
        for i in (0..x.rank()).filter(|&i| i != axis) {
            x = x.slice(i as isize, 0..index.shape()[i] as isize);
        }
        let inputs = Inputs::Two([x, index.clone()]);
        Tensor::make(Op::Gather(axis as u8), inputs, *index.shape(), self.dtype())
    }

    /// This tensor with `src` added at the positions in `index` along `axis`:
    /// `out[index[i, j], j] += src[i, j]` for axis 0. The dual of [`gather`](Tensor::gather); equal positions add up in
    /// order.
    ///
    /// # Panics
    /// If ranks, extents or types do not fit.
    #[track_caller]
    pub fn scatter_add(&self, axis: isize, index: &Tensor, src: &Tensor) -> Tensor {
        let axis = axis_arg("scatter_add", axis, self.rank());
        check_index("scatter_add", index);
        let fits = index.shape() == src.shape()
            && src.rank() == self.rank()
            && (0..self.rank()).all(|i| i == axis || src.shape()[i] <= self.shape()[i]);
        if !fits || src.dtype() != self.dtype() || self.dtype() == DType::Bool {
            let rule = format!(
                "index {} and src {} {} must have one shape, with extents no larger than those of {} {} except along axis {axis}",
                index.shape(),
                src.dtype(),
                src.shape(),
                self.dtype(),
                self.shape()
            );
            fail(BuildError::new("scatter_add", rule));
        }
        let sums = scatter_add(src, index, axis, self.shape()[axis]);
        let widths: Vec<(usize, usize)> =
            (0..self.rank()).map(|i| (0, self.shape()[i] - sums.shape()[i])).collect();
        self + sums.pad(&widths)
    }

    /// The slices at the positions in `index` (one axis) along `axis`, in that order.
    ///
    /// # Panics
    /// If `index` does not have exactly one axis.
    #[track_caller]
    pub fn index_select(&self, axis: isize, index: &Tensor) -> Tensor {
        let axis = axis_arg("index_select", axis, self.rank());
        if index.rank() != 1 {
            let rule = format!("the index must have one axis, not shape {}", index.shape());
            fail(BuildError::new("index_select", rule));
        }
        let n = index.shape()[0];
        let column: Vec<usize> = (0..self.rank()).map(|i| if i == axis { n } else { 1 }).collect();
        // Broadcast along the other axes: the kernel sees stride 0 and moves whole rows.
        self.gather(axis as isize, &index.reshape(column).expand(self.shape().with(axis, n)))
    }

    /// Rows of this `[count, width]` table by number: indices of any shape → that shape with a new last axis `width`.
    ///
    /// # Panics
    /// If this is not a matrix.
    #[track_caller]
    pub fn embedding(&self, index: &Tensor) -> Tensor {
        if self.rank() != 2 {
            fail(BuildError::new("embedding", format!("the table must be a matrix, not {}", self.shape())));
        }
        let dims: Vec<usize> = index.shape().iter().copied().chain([self.shape()[1]]).collect();
        self.index_select(0, &index.reshape([index.numel()])).reshape(dims)
    }

    /// Running sums along an axis: element `i` is the sum of elements 0 to `i`.
    #[track_caller]
    pub fn cumsum(&self, axis: isize) -> Tensor {
        let axis = axis_arg("cumsum", axis, self.rank());
        if self.dtype() == DType::Bool {
            fail(BuildError::new("cumsum", "is not defined for bool; convert with .to(dtype)"));
        }
        Tensor::make(Op::Cumsum(axis as u8), Inputs::One([self.clone()]), *self.shape(), self.dtype())
    }

    /// The positions (u32) that sort the axis in ascending order. Stable; NaN last.
    #[track_caller]
    pub fn argsort(&self, axis: isize) -> Tensor {
        argsort(self, axis, false)
    }

    /// The positions (u32) that sort the axis in descending order. Stable; NaN first.
    #[track_caller]
    pub fn argsort_descending(&self, axis: isize) -> Tensor {
        argsort(self, axis, true)
    }

    /// The elements in ascending order along an axis, and the positions (u32) they came from.
    #[track_caller]
    pub fn sort(&self, axis: isize) -> (Tensor, Tensor) {
        let order = self.argsort(axis);
        (self.gather(axis, &order), order)
    }

    /// The `k` largest elements along an axis in descending order, and their positions (u32).
    ///
    /// # Panics
    /// If the axis has fewer than `k` elements.
    #[track_caller]
    pub fn topk(&self, k: usize, axis: isize) -> (Tensor, Tensor) {
        let at = axis_arg("topk", axis, self.rank());
        if k > self.shape()[at] {
            fail(BuildError::new(
                "topk",
                format!("k = {k} of only {} along axis {axis} of {}", self.shape()[at], self.shape()),
            ));
        }
        let order = argsort(self, axis, true).slice(axis, 0..k as isize);
        (self.gather(axis, &order), order)
    }
}

#[track_caller]
fn argsort(x: &Tensor, axis: isize, descending: bool) -> Tensor {
    let axis = axis_arg("argsort", axis, x.rank());
    let shape: Shape = *x.shape();
    Tensor::make(Op::Argsort { axis: axis as u8, descending }, Inputs::One([x.clone()]), shape, DType::U32)
}
