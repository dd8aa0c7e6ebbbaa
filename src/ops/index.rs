//! Indexing by tensors, running sums, sorting.

use super::Op;
use super::cases::{Array, DISCRETE, Gradient, OpCase};
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

/// The positions that sort a line: stable, ascending or descending.
fn sorting(line: &[f64], descending: bool) -> Vec<f64> {
    let mut order: Vec<usize> = (0..line.len()).collect();
    order
        .sort_by(|&a, &b| if descending { line[b].total_cmp(&line[a]) } else { line[a].total_cmp(&line[b]) });
    order.into_iter().map(|i| i as f64).collect()
}

/// A row for the order of a line with ties.
fn order(op: &'static str, descending: bool, f: fn(&Tensor, isize) -> Tensor) -> OpCase {
    OpCase::new(op, DISCRETE, move |mut d| {
        let shape = d.shape(1..=3);
        let (axis, written) = d.axis(shape.len());
        d.input_with(&shape, |d| d.below(4) as f64);
        d.case(move |x| f(&x[0], written), |x| x[0].along(axis, |line| sorting(line, descending)))
    })
}

pub(super) fn cases() -> Vec<OpCase> {
    let mut rows = indexing_cases();
    rows.extend(sorting_cases());
    rows
}

/// Rows of the ops that move elements by position.
fn indexing_cases() -> Vec<OpCase> {
    vec![
        OpCase::new("gather", Gradient::Smooth, |mut d| {
            let shape = d.filled_shape(1..=3);
            let (axis, written) = d.axis(shape.len());
            let taken: Vec<usize> =
                (0..shape.len()).map(|i| if i == axis { d.below(5) } else { d.pick(0..=shape[i]) }).collect();
            let (index, places) = d.index(&taken, shape[axis]);
            d.input(&shape, -2.0, 2.0);
            let x = d.values(0);
            let expected = Array::from_fn(&taken, |i| {
                let mut at = i.to_vec();
                at[axis] = places.at(i) as usize;
                x.at(&at)
            });
            d.case(move |x| x[0].gather(written, &index), |_| expected)
        }),
        OpCase::new("scatter_add", Gradient::Smooth, |mut d| {
            let shape = d.filled_shape(1..=3);
            let (axis, written) = d.axis(shape.len());
            let given: Vec<usize> =
                (0..shape.len()).map(|i| if i == axis { d.below(5) } else { d.pick(0..=shape[i]) }).collect();
            let (index, places) = d.index(&given, shape[axis]);
            d.input(&shape, -2.0, 2.0);
            d.input(&given, -2.0, 2.0);
            let mut expected = d.values(0).clone();
            let source = d.values(1).clone();
            Array::from_fn(&given, |i| {
                let mut at = i.to_vec();
                at[axis] = places.at(i) as usize;
                let flat = at.iter().zip(&shape).fold(0, |flat, (i, n)| flat * n + i);
                expected.data[flat] += source.at(i);
                0.0
            });
            d.case(move |x| x[0].scatter_add(written, &index, &x[1]), |_| expected)
        }),
        OpCase::new("index_select", Gradient::Smooth, |mut d| {
            let shape = d.filled_shape(1..=3);
            let (axis, written) = d.axis(shape.len());
            let mut taken = shape.clone();
            taken[axis] = d.below(5);
            let (index, places) = d.index(&[taken[axis]], shape[axis]);
            d.input(&shape, -2.0, 2.0);
            let x = d.values(0);
            let expected = Array::from_fn(&taken, |i| {
                let mut i = i.to_vec();
                i[axis] = places.data[i[axis]] as usize;
                x.at(&i)
            });
            d.case(move |x| x[0].index_select(written, &index), |_| expected)
        }),
        OpCase::new("embedding", Gradient::Smooth, |mut d| {
            let table = d.filled_shape(2..=2);
            let asked = d.shape(0..=2);
            let (index, places) = d.index(&asked, table[0]);
            d.input(&table, -2.0, 2.0);
            let x = d.values(0);
            let whole = [&asked[..], &table[1..]].concat();
            let expected = Array::from_fn(&whole, |i| {
                let (place, column) = i.split_at(asked.len());
                x.at(&[places.at(place) as usize, column[0]])
            });
            d.case(move |x| x[0].embedding(&index), |_| expected)
        }),
        OpCase::new("cumsum", Gradient::Smooth, |mut d| {
            let shape = d.shape(1..=3);
            let (axis, written) = d.axis(shape.len());
            d.input(&shape, -2.0, 2.0);
            let running = |line: &[f64]| (1..=line.len()).map(|n| line[..n].iter().sum()).collect();
            d.case(move |x| x[0].cumsum(written), |x| x[0].along(axis, running))
        }),
    ]
}

/// Rows of the ops that sort.
fn sorting_cases() -> Vec<OpCase> {
    vec![
        order("argsort", false, |x, axis| x.argsort(axis)),
        order("argsort_descending", true, |x, axis| x.argsort_descending(axis)),
        OpCase::new("sort", Gradient::Pieces, |mut d| {
            let shape = d.shape(1..=3);
            let (axis, written) = d.axis(shape.len());
            d.distinct(&shape);
            let sorted = |line: &[f64]| sorting(line, false).into_iter().map(|i| line[i as usize]).collect();
            d.case(move |x| x[0].sort(written).0, |x| x[0].along(axis, sorted))
        }),
        OpCase::new("topk", Gradient::Pieces, |mut d| {
            let shape = d.shape(1..=3);
            let (axis, written) = d.axis(shape.len());
            let k = d.pick(0..=shape[axis]);
            d.note(format!("k {k}"));
            d.distinct(&shape);
            let sorted = d
                .values(0)
                .along(axis, |line| sorting(line, true).into_iter().map(|i| line[i as usize]).collect());
            let mut shape = shape;
            shape[axis] = k;
            let expected = Array::from_fn(&shape, |i| sorted.at(i));
            d.case(move |x| x[0].topk(k, written).0, |_| expected)
        }),
    ]
}
