//! Padding, joining and splitting.

use super::cases::{Array, Draw, Gradient, OpCase};
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

/// Widths of a padding, some of them 0.
fn widths(d: &mut Draw, rank: usize) -> Vec<(usize, usize)> {
    let widths: Vec<(usize, usize)> = (0..rank).map(|_| (d.below(3), d.below(3))).collect();
    d.note(format!("widths {widths:?}"));
    widths
}

fn padded(x: &Array, widths: &[(usize, usize)], value: f64) -> Array {
    let shape: Vec<usize> = x.shape.iter().zip(widths).map(|(n, (a, b))| n + a + b).collect();
    Array::from_fn(&shape, |i| {
        let inside = (0..i.len()).all(|k| i[k] >= widths[k].0 && i[k] - widths[k].0 < x.shape[k]);
        let at = || i.iter().zip(widths).map(|(i, (a, _))| i - a).collect::<Vec<_>>();
        if inside { x.at(&at()) } else { value }
    })
}

/// The arrays one after the other along an axis.
fn joined(parts: &[Array], axis: usize) -> Array {
    let mut shape = parts[0].shape.clone();
    shape[axis] = parts.iter().map(|p| p.shape[axis]).sum();
    Array::from_fn(&shape, |i| {
        let (mut i, mut k) = (i.to_vec(), 0);
        while i[axis] >= parts[k].shape[axis] {
            i[axis] -= parts[k].shape[axis];
            k += 1;
        }
        parts[k].at(&i)
    })
}

pub(super) fn cases() -> Vec<OpCase> {
    let mut rows = joining_cases();
    rows.extend(splitting_cases());
    rows
}

/// Rows of the ops that make one tensor of several, or a larger one.
fn joining_cases() -> Vec<OpCase> {
    vec![
        OpCase::new("pad", Gradient::Smooth, |mut d| {
            let shape = d.shape(0..=3);
            let widths = widths(&mut d, shape.len());
            d.input(&shape, -2.0, 2.0);
            let expected = padded(d.values(0), &widths, 0.0);
            d.case(move |x| x[0].pad(&widths), |_| expected)
        }),
        OpCase::new("pad_with", Gradient::Smooth, |mut d| {
            let shape = d.shape(0..=3);
            let widths = widths(&mut d, shape.len());
            let value = [0.0, 1.5][d.below(2)];
            d.input(&shape, -2.0, 2.0);
            let expected = padded(d.values(0), &widths, value);
            d.case(move |x| x[0].pad_with(&widths, value), |_| expected)
        }),
        OpCase::new("cat", Gradient::Smooth, |mut d| {
            let shape = d.shape(1..=3);
            let (axis, written) = d.axis(shape.len());
            for _ in 0..d.pick(1..=4) {
                let mut part = shape.clone();
                part[axis] = d.below(4);
                d.input(&part, -2.0, 2.0);
            }
            d.case(move |x| Tensor::cat(x, written), |x| joined(x, axis))
        }),
        OpCase::new("stack", Gradient::Smooth, |mut d| {
            let shape = d.shape(0..=3);
            let (axis, written) = d.axis(shape.len() + 1);
            (0..d.pick(1..=3)).for_each(|_| d.input(&shape, -2.0, 2.0));
            let mut row = shape;
            row.insert(axis, 1);
            d.case(
                move |x| Tensor::stack(x, written),
                |x| joined(&x.iter().map(|x| x.reshape(&row)).collect::<Vec<_>>(), axis),
            )
        }),
        OpCase::new("tile", Gradient::Smooth, |mut d| {
            let shape = d.shape(0..=3);
            let counts: Vec<usize> = (0..shape.len() + d.below(2)).map(|_| d.pick(0..=3)).collect();
            d.note(format!("counts {counts:?}"));
            d.input(&shape, -2.0, 2.0);
            let lead = counts.len() - shape.len();
            let times = |(i, &c): (usize, &usize)| if i < lead { c } else { c * shape[i - lead] };
            let whole: Vec<usize> = counts.iter().enumerate().map(times).collect();
            let x = d.values(0);
            let expected = Array::from_fn(&whole, |i| {
                x.at(&i[lead..].iter().zip(&x.shape).map(|(i, n)| i % n).collect::<Vec<_>>())
            });
            d.case(move |x| x[0].tile(counts.clone()), |_| expected)
        }),
        OpCase::new("repeat_interleave", Gradient::Smooth, |mut d| {
            let shape = d.shape(1..=3);
            let (axis, written) = d.axis(shape.len());
            let count = d.pick(0..=3);
            d.note(format!("{count} times"));
            d.input(&shape, -2.0, 2.0);
            let mut whole = shape;
            whole[axis] *= count;
            let x = d.values(0);
            let expected = Array::from_fn(&whole, |i| {
                let mut i = i.to_vec();
                i[axis] /= count;
                x.at(&i)
            });
            d.case(move |x| x[0].repeat_interleave(written, count), |_| expected)
        }),
    ]
}

/// Rows of the ops that give several tensors: each part counts with another weight.
fn splitting_cases() -> Vec<OpCase> {
    let weighted = |parts: Vec<Tensor>, axis: isize| {
        let scaled: Vec<Tensor> = parts.iter().zip(1..).map(|(p, k)| p * f64::from(k)).collect();
        Tensor::cat(&scaled, axis)
    };
    let expected = |x: &Array, axis: usize, sizes: &[usize]| {
        let part: Vec<usize> = sizes.iter().enumerate().flat_map(|(k, &n)| vec![k + 1; n]).collect();
        Array::from_fn(&x.shape, |i| x.at(i) * part[i[axis]] as f64)
    };
    vec![
        OpCase::new("split", Gradient::Smooth, move |mut d| {
            let mut shape = d.shape(1..=3);
            let (axis, written) = d.axis(shape.len());
            let sizes: Vec<usize> = (0..d.pick(1..=3)).map(|_| d.below(4)).collect();
            shape[axis] = sizes.iter().sum();
            d.note(format!("sizes {sizes:?}"));
            d.input(&shape, -2.0, 2.0);
            let value = expected(d.values(0), axis, &sizes);
            d.case(move |x| weighted(x[0].split(written, &sizes), written), |_| value)
        }),
        OpCase::new("chunk", Gradient::Smooth, move |mut d| {
            let shape = d.filled_shape(1..=3);
            let (axis, written) = d.axis(shape.len());
            let count = d.pick(1..=4);
            d.note(format!("{count} parts"));
            d.input(&shape, -2.0, 2.0);
            let sizes = vec![shape[axis].div_ceil(count); count];
            let value = expected(d.values(0), axis, &sizes);
            d.case(move |x| weighted(x[0].chunk(written, count), written), |_| value)
        }),
    ]
}
