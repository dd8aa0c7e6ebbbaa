//! Padding, joining and splitting.

use super::{Op, PadSpec, SliceSpec};
use crate::error::{BuildError, fail};
use crate::graph::Inputs;
use crate::shape::{Shape, ToNumbers, axis_arg};
use crate::tensor::Tensor;
use gradus_kernels::MAX_RANK;

/// The dual of a pad: the places where the elements went.
pub(super) fn vjp_pad(spec: &PadSpec, x: &Tensor, g: &Tensor) -> Tensor {
    let slice = SliceSpec { start: spec.before, step: std::array::from_fn(|i| spec.between[i] as isize + 1) };
    Tensor::make(Op::Slice(Box::new(slice)), Inputs::One([g.clone()]), *x.shape(), g.dtype())
}

pub(super) fn vjp_cat(
    axis: usize,
    x: &[Tensor],
    g: &Tensor,
    needs: &dyn Fn(usize) -> bool,
) -> Vec<Option<Tensor>> {
    let mut start = 0isize;
    let mut out = Vec::with_capacity(x.len());
    for (i, part) in x.iter().enumerate() {
        let end = start + part.shape()[axis] as isize;
        out.push(needs(i).then(|| g.slice(axis as isize, start..end)));
        start = end;
    }
    out
}

#[track_caller]
pub(super) fn pad_spec(x: &Tensor, spec: PadSpec) -> Tensor {
    let mut dims = [0usize; MAX_RANK];
    for (i, &n) in x.shape().iter().enumerate() {
        // Saturating: an extent too large for memory is refused by the shape.
        let inner = n.saturating_add(n.saturating_sub(1).saturating_mul(spec.between[i]));
        dims[i] = inner.saturating_add(spec.before[i]).saturating_add(spec.after[i]);
    }
    let shape = Shape::of(&dims[..x.rank()]);
    if shape == *x.shape() {
        return x.clone();
    }
    Tensor::make(Op::Pad(Box::new(spec)), Inputs::One([x.clone()]), shape, x.dtype())
}

impl Tensor {
    /// Zeros added before and after along each axis: `widths[i] = (before, after)`.
    ///
    /// # Panics
    /// If there is not one pair for each axis.
    #[track_caller]
    pub fn pad(&self, widths: &[(usize, usize)]) -> Tensor {
        if widths.len() != self.rank() {
            let rule =
                format!("{} pairs of widths for shape {}: one for each axis", widths.len(), self.shape());
            fail(BuildError::new("pad", rule));
        }
        let mut spec = PadSpec { before: [0; MAX_RANK], after: [0; MAX_RANK], between: [0; MAX_RANK] };
        for (i, &(before, after)) in widths.iter().enumerate() {
            (spec.before[i], spec.after[i]) = (before, after);
        }
        pad_spec(self, spec)
    }

    /// As [`pad`](Tensor::pad), with `value` in place of zeros.
    #[track_caller]
    pub fn pad_with(&self, widths: &[(usize, usize)], value: f64) -> Tensor {
        if value == 0.0 {
            return self.pad(widths);
        }
        let inside = self.ones_like().to(gradus_kernels::DType::Bool).pad(widths);
        let padded = self.pad(widths);
        inside.select(&padded, &padded.full_like(value))
    }

    /// Tensors one after the other along an axis; all other extents agree.
    ///
    /// # Panics
    /// If there is no tensor, or shapes or types do not agree.
    #[track_caller]
    pub fn cat(parts: &[Tensor], axis: isize) -> Tensor {
        let Some(first) = parts.first() else {
            fail(BuildError::new("cat", "needs at least one tensor"));
        };
        let axis = axis_arg("cat", axis, first.rank());
        let mut total = 0usize;
        for part in parts {
            let fits = part.rank() == first.rank()
                && (0..first.rank()).all(|i| i == axis || part.shape()[i] == first.shape()[i]);
            if !fits || part.dtype() != first.dtype() {
                let rule = format!(
                    "{} {} and {} {} must agree in type and in every extent but that of axis {axis}",
                    first.dtype(),
                    first.shape(),
                    part.dtype(),
                    part.shape()
                );
                fail(BuildError::new("cat", rule));
            }
            total = total.saturating_add(part.shape()[axis]);
        }
        if parts.len() == 1 {
            return first.clone();
        }
        let shape = first.shape().with(axis, total);
        Tensor::make(Op::Cat(axis as u8), Inputs::from(parts.to_vec()), shape, first.dtype())
    }

    /// Tensors of one shape side by side along a new axis.
    ///
    /// # Panics
    /// If there is no tensor, or shapes or types differ.
    #[track_caller]
    pub fn stack(parts: &[Tensor], axis: isize) -> Tensor {
        let rows: Vec<Tensor> = parts.iter().map(|p| p.unsqueeze(axis)).collect();
        Tensor::cat(&rows, axis)
    }

    /// Consecutive parts of the given sizes along an axis.
    ///
    /// # Panics
    /// If the sizes do not add up to the extent.
    #[track_caller]
    pub fn split(&self, axis: isize, sizes: &[usize]) -> Vec<Tensor> {
        let axis = axis_arg("split", axis, self.rank());
        let n = self.shape()[axis];
        if sizes.iter().fold(0usize, |a, &b| a.saturating_add(b)) != n {
            fail(BuildError::new(
                "split",
                format!("sizes {sizes:?} do not add up to {n}, axis {axis} of {}", self.shape()),
            ));
        }
        let mut start = 0isize;
        let mut parts = Vec::with_capacity(sizes.len());
        for &size in sizes {
            parts.push(self.slice(axis as isize, start..start + size as isize));
            start += size as isize;
        }
        parts
    }

    /// At most `count` parts of equal size along an axis, the last one perhaps smaller.
    ///
    /// # Panics
    /// If `count` is 0.
    #[track_caller]
    pub fn chunk(&self, axis: isize, count: usize) -> Vec<Tensor> {
        if count == 0 {
            fail(BuildError::new("chunk", "needs at least one part"));
        }
        let n = self.shape()[axis_arg("chunk", axis, self.rank())];
        let size = n.div_ceil(count).max(1);
        let sizes: Vec<usize> = (0..n.div_ceil(size)).map(|i| size.min(n - i * size)).collect();
        self.split(axis, &sizes)
    }

    /// The whole repeated `counts[i]` times along axis `i` (NumPy's `tile`, PyTorch's `repeat`).
    ///
    /// # Panics
    /// If there are fewer counts than axes.
    #[track_caller]
    pub fn tile(&self, counts: impl ToNumbers) -> Tensor {
        let counts = crate::shape::shape_arg("tile", counts);
        if counts.rank() < self.rank() {
            fail(BuildError::new(
                "tile",
                format!("counts {counts} for shape {}: one for each axis", self.shape()),
            ));
        }
        let lead = counts.rank() - self.rank();
        let extent = |i: usize| if i < lead { 1 } else { self.shape()[i - lead] };
        let mut x = self.clone();
        // One axis at a time keeps within eight axes.
        x = x.reshape((0..counts.rank()).map(extent).collect::<Vec<usize>>());
        for i in 0..counts.rank() {
            let mut split = x.shape().to_vec();
            split.insert(i, 1);
            let mut wide = split.clone();
            wide[i] = counts[i];
            let mut joined = x.shape().to_vec();
            joined[i] = joined[i].saturating_mul(counts[i]);
            x = x.reshape(split).expand(wide).reshape(joined);
        }
        x
    }

    /// Each element repeated `count` times in place along an axis (NumPy's `repeat`).
    #[track_caller]
    pub fn repeat_interleave(&self, axis: isize, count: usize) -> Tensor {
        let axis = axis_arg("repeat_interleave", axis, self.rank());
        let mut wide = self.shape().to_vec();
        wide.insert(axis + 1, count);
        let mut joined = self.shape().to_vec();
        joined[axis] = joined[axis].saturating_mul(count);
        self.unsqueeze(axis as isize + 1).expand(wide).reshape(joined)
    }
}
