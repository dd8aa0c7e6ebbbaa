//! Pooling over windows of the last two axes (or one): compositions of window views, sums and gathers.

use super::cases::{Array, Draw, Gradient, OpCase};
use super::reduce::keep;
use crate::error::{BuildError, fail};
use crate::shape::ToNumbers;
use crate::tensor::Tensor;
use gradus_kernels::DType;
use gradus_kernels::reduce::Reduction;

/// Up to this many elements a window's maximum is found by comparing shifted views, all in one pointwise kernel: for
/// windows of 3 by 3 some 20 times as fast as a reduction of each. Above, the program would grow too long, and a
/// reduction has enough to do per window.
const UNROLLED: usize = 32;

/// How windows lie on a plane: (height, width) each.
#[derive(Clone, Copy, Debug)]
struct Windows {
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    /// How many windows there are.
    count: [usize; 2],
}

/// Reads one number for both axes, or one for each.
#[track_caller]
pub(super) fn pair(op: &'static str, what: &str, numbers: impl ToNumbers) -> [usize; 2] {
    let numbers = numbers.to_numbers();
    let given: Vec<usize> = numbers.as_slice().iter().filter_map(|&d| usize::try_from(d).ok()).collect();
    match (numbers.as_slice().len(), given.as_slice()) {
        (1, &[both]) => [both; 2],
        (2, &[height, width]) => [height, width],
        _ => {
            let rule =
                format!("the {what} must be one number or two, none negative, not {:?}", numbers.as_slice());
            fail(BuildError::new(op, rule))
        }
    }
}

impl Windows {
    #[track_caller]
    fn new(
        op: &'static str,
        x: &Tensor,
        kernel: impl ToNumbers,
        stride: impl ToNumbers,
        padding: impl ToNumbers,
    ) -> Windows {
        if x.rank() != 4 || !x.dtype().is_float() {
            fail(BuildError::new(op, format!("needs floats [n, c, h, w], not {} {}", x.dtype(), x.shape())));
        }
        let (kernel, stride) = (pair(op, "kernel", kernel), pair(op, "stride", stride));
        let padding = pair(op, "padding", padding);
        if kernel.contains(&0) || stride.contains(&0) {
            fail(BuildError::new(op, format!("kernel {kernel:?} and stride {stride:?} must be at least 1")));
        }
        let count = [0, 1].map(|i| {
            if padding[i] > kernel[i] / 2 {
                let rule = format!("the padding {padding:?} must be at most half the kernel {kernel:?}");
                fail(BuildError::new(op, rule));
            }
            let padded = x.shape()[2 + i].saturating_add(2 * padding[i]);
            if padded < kernel[i] {
                let rule = format!(
                    "the kernel {kernel:?} is larger than the padded input: x {}, padding {padding:?}",
                    x.shape()
                );
                fail(BuildError::new(op, rule));
            }
            (padded - kernel[i]) / stride[i] + 1
        });
        Windows { kernel, stride, padding, count }
    }

    fn widths(&self) -> [(usize, usize); 4] {
        let [h, w] = self.padding;
        [(0, 0), (0, 0), (h, h), (w, w)]
    }

    /// Where each window's first element lies in the row-major plane, i32 [oh, ow]: outside it where the window begins
    /// in the padding, unless `inside` moves it to the nearest element.
    fn corners(&self, width: usize, inside: bool) -> Tensor {
        let [rows, columns] = self.count;
        let number = Tensor::arange(rows * columns).to(DType::I32);
        let row = &number / columns as f64;
        let column = number - &row * columns as f64;
        let [top, left] = [(row, 0), (column, 1)].map(|(at, i)| {
            let first = at * self.stride[i] as f64 - self.padding[i] as f64;
            if inside { first.maximum(0.0) } else { first }
        });
        (top * width as f64 + left).reshape(self.count)
    }

    /// The position in its plane of the first maximum of each window, i32 [n, c, oh, ow].
    fn first_maximum(&self, x: &Tensor) -> Tensor {
        let width = x.shape()[3];
        let padded = x.pad_with(&self.widths(), f64::NEG_INFINITY);
        let offset = match self.kernel[0] * self.kernel[1] <= UNROLLED {
            true => self.compare(&padded, width),
            false => self.reduce(&padded, width),
        };
        let position = self.corners(width, false) + &offset;
        if self.padding == [0; 2] {
            return position;
        }
        // Only what is larger than a window's first element is chosen instead of it, and padding never is.
        offset.eq(0.0).select(&self.corners(width, true), &position)
    }

    /// How far after its window's first element the first maximum lies, by comparing one shifted view after another.
    fn compare(&self, padded: &Tensor, width: usize) -> Tensor {
        let shifted = |i: usize, j: usize| {
            let mut view = padded.clone();
            for (axis, first) in [(0, i), (1, j)] {
                let last = first + (self.count[axis] - 1) * self.stride[axis];
                view = view.slice_step(
                    2 + axis as isize,
                    first as isize..=last as isize,
                    self.stride[axis] as isize,
                );
            }
            view
        };
        let mut best = shifted(0, 0);
        let mut offset = Tensor::zeros(best.shape()).to(DType::I32);
        for k in 1..self.kernel[0] * self.kernel[1] {
            let (i, j) = (k / self.kernel[1], k % self.kernel[1]);
            let next = shifted(i, j);
            // A NaN wins and stays: nothing compares as larger.
            let wins = next.gt(&best) + next.isnan() * best.isnan().logical_not();
            best = wins.select(&next, &best);
            offset = wins.select(&offset.full_like((i * width + j) as f64), &offset);
        }
        offset
    }

    /// The same by a reduction.
    fn reduce(&self, padded: &Tensor, width: usize) -> Tensor {
        let windows =
            padded.window(2, self.kernel[0], self.stride[0], 1).window(3, self.kernel[1], self.stride[1], 1);
        let columns = self.kernel[1] as f64;
        let place = keep(Reduction::ArgMax, &windows, 0b11_0000).squeeze([4, 5]).to(DType::I32);
        let row = &place / columns;
        let column = place - &row * columns;
        row * width as f64 + column
    }
}

/// The sum of each of the `count` windows of `size` along `axis`.
fn window_sums(x: &Tensor, axis: usize, size: usize, stride: usize, count: usize) -> Tensor {
    if size != stride {
        return x.window(axis as isize, size, stride, 1).sum(-1);
    }
    // Windows side by side are a split of the axis, and so is their gradient.
    let mut split = x.shape().to_vec();
    split.splice(axis..=axis, [count, size]);
    x.slice(axis as isize, 0..(count * size) as isize).reshape(split).sum(axis + 1)
}

impl Tensor {
    /// The maximum of each window of the planes of x `[n, c, h, w]` → `[n, c, oh, ow]` with
    /// `oh = (h + 2 padding - kernel) / stride + 1`; kernel, stride and padding are one number or (height, width).
    ///
    /// The gradient goes to the first maximum of a window, as in PyTorch. Padding counts as -∞. A NaN is the maximum
    /// of its windows.
    ///
    /// # Panics
    /// If x is not a tensor of floats with four axes, the kernel or a stride is 0, the padding is more than half the
    /// kernel, or the kernel is larger than the padded plane.
    ///
    /// ```
    /// use gradus::Tensor;
    /// let x = Tensor::from([[1.0f32, 5.0, 2.0, 0.0], [3.0, 4.0, 8.0, 6.0]]).reshape([1, 1, 2, 4]);
    /// assert_eq!(x.max_pool2d(2, 2, 0).to_vec::<f32>()?, [5.0, 8.0]);
    /// # Ok::<(), gradus::Error>(())
    /// ```
    #[track_caller]
    pub fn max_pool2d(
        &self,
        kernel: impl ToNumbers,
        stride: impl ToNumbers,
        padding: impl ToNumbers,
    ) -> Tensor {
        let windows = Windows::new("max_pool2d", self, kernel, stride, padding);
        let [n, c, h, w] = [0, 1, 2, 3].map(|i| self.shape()[i]);
        if i32::try_from(h * w).is_err() {
            fail(BuildError::new("max_pool2d", format!("a plane of {h} by {w} is too large to index")));
        }
        let [rows, columns] = windows.count;
        let first = windows.first_maximum(&self.stop_grad()).reshape([n, c, rows * columns]);
        self.reshape([n, c, h * w]).gather(2, &first).reshape([n, c, rows, columns])
    }

    /// The mean of each window of the planes of x `[n, c, h, w]`; shapes as in [`max_pool2d`](Tensor::max_pool2d).
    /// Padding counts as zeros, and as elements of the mean, as PyTorch's default has it.
    ///
    /// # Panics
    /// As [`max_pool2d`](Tensor::max_pool2d).
    #[track_caller]
    pub fn avg_pool2d(
        &self,
        kernel: impl ToNumbers,
        stride: impl ToNumbers,
        padding: impl ToNumbers,
    ) -> Tensor {
        let o = Windows::new("avg_pool2d", self, kernel, stride, padding);
        let padded = self.pad(&o.widths());
        let columns = window_sums(&padded, 2, o.kernel[0], o.stride[0], o.count[0]);
        window_sums(&columns, 3, o.kernel[1], o.stride[1], o.count[1]) / (o.kernel[0] * o.kernel[1]) as f64
    }

    /// As [`max_pool2d`](Tensor::max_pool2d), for signals `[n, c, l]`.
    ///
    /// # Panics
    /// As [`max_pool2d`](Tensor::max_pool2d).
    #[track_caller]
    pub fn max_pool1d(&self, kernel: usize, stride: usize, padding: usize) -> Tensor {
        flat("max_pool1d", self).max_pool2d([1, kernel], [1, stride], [0, padding]).squeeze(2)
    }

    /// As [`avg_pool2d`](Tensor::avg_pool2d), for signals `[n, c, l]`.
    ///
    /// # Panics
    /// As [`max_pool2d`](Tensor::max_pool2d).
    #[track_caller]
    pub fn avg_pool1d(&self, kernel: usize, stride: usize, padding: usize) -> Tensor {
        flat("avg_pool1d", self).avg_pool2d([1, kernel], [1, stride], [0, padding]).squeeze(2)
    }

    /// The mean of each channel of x `[n, c, …]` over all that follows: `[n, c, 1, …]` (PyTorch's adaptive average
    /// pooling to extent 1).
    ///
    /// # Panics
    /// If x has fewer than three axes or is not of floats.
    #[track_caller]
    pub fn global_avg_pool(&self) -> Tensor {
        self.mean_keepdim(pooled_axes("global_avg_pool", self))
    }

    /// The maximum of each channel of x `[n, c, …]` over all that follows: `[n, c, 1, …]`. The gradient goes to the
    /// first maximum.
    ///
    /// # Panics
    /// If x has fewer than three axes, is not of floats, or has a channel without elements.
    #[track_caller]
    pub fn global_max_pool(&self) -> Tensor {
        let axes = pooled_axes("global_max_pool", self);
        let rest = self.flatten(2);
        if rest.shape()[2] == 0 {
            fail(BuildError::new(
                "global_max_pool",
                format!("shape {} has no element to choose from", self.shape()),
            ));
        }
        let first = rest.stop_grad().argmax(2).unsqueeze(2);
        let mut shape = *self.shape();
        axes.iter().for_each(|&axis| shape = shape.with(axis, 1));
        rest.gather(2, &first).reshape(shape)
    }
}

/// All axes after the channels.
#[track_caller]
fn pooled_axes(op: &'static str, x: &Tensor) -> Vec<usize> {
    if x.rank() < 3 || !x.dtype().is_float() {
        fail(BuildError::new(op, format!("needs floats [n, c, …], not {} {}", x.dtype(), x.shape())));
    }
    (2..x.rank()).collect()
}

/// A signal as an image of height 1.
#[track_caller]
fn flat(op: &'static str, x: &Tensor) -> Tensor {
    if x.rank() != 3 {
        fail(BuildError::new(op, format!("needs x [n, c, l], not {}", x.shape())));
    }
    x.unsqueeze(2)
}

/// Images and windows that fit them; signals are images of height 1.
fn drawn(d: &mut Draw, flat: bool, least: usize) -> (Windows, Vec<usize>) {
    let height_kernel = if flat { 1 } else { d.pick(least..=least + 2) };
    let kernel = [height_kernel, d.pick(least..=least + 2)];
    let stride = kernel.map(|k| if d.coin() { k } else { d.pick(1..=3) });
    let padding = kernel.map(|k| d.pick(0..=k / 2));
    let extents = [0, 1].map(|i| {
        let least = kernel[i].saturating_sub(2 * padding[i]).max(1);
        if flat && i == 0 { 1 } else { least + d.below(3) }
    });
    let count = [0, 1].map(|i| (extents[i] + 2 * padding[i] - kernel[i]) / stride[i] + 1);
    let windows = Windows { kernel, stride, padding, count };
    d.note(format!("{windows:?}"));
    (windows, vec![d.pick(1..=2), d.pick(1..=2), extents[0], extents[1]])
}

/// The definition: `f` of the elements of each window that lie inside the image.
fn expected(x: &Array, o: &Windows, f: fn(&[f64], usize) -> f64) -> Array {
    Array::from_fn(&[x.shape[0], x.shape[1], o.count[0], o.count[1]], |at| {
        let mut inside = vec![];
        for (i, j) in (0..o.kernel[0]).flat_map(|i| (0..o.kernel[1]).map(move |j| (i, j))) {
            let row = (at[2] * o.stride[0] + i).checked_sub(o.padding[0]);
            let column = (at[3] * o.stride[1] + j).checked_sub(o.padding[1]);
            if let (Some(row), Some(column)) = (row, column)
                && row < x.shape[2]
                && column < x.shape[3]
            {
                inside.push(x.at(&[at[0], at[1], row, column]));
            }
        }
        f(&inside, o.kernel[0] * o.kernel[1])
    })
}

fn largest(x: &[f64], _: usize) -> f64 {
    x.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

fn average(x: &[f64], n: usize) -> f64 {
    x.iter().sum::<f64>() / n as f64
}

/// A row for windows on images, of at least `least` elements along an axis.
fn planes(op: &'static str, max: bool, least: usize) -> OpCase {
    let gradient = if max { Gradient::Pieces } else { Gradient::Smooth };
    OpCase::new(op, gradient, move |mut d| {
        let (o, shape) = drawn(&mut d, false, least);
        d.distinct(&shape);
        let pool = if max { Tensor::max_pool2d } else { Tensor::avg_pool2d };
        let f = if max { largest } else { average };
        d.case(move |x| pool(&x[0], o.kernel, o.stride, o.padding), |x| expected(&x[0], &o, f))
    })
}

/// A row for windows on signals.
fn lines(op: &'static str, max: bool) -> OpCase {
    let gradient = if max { Gradient::Pieces } else { Gradient::Smooth };
    OpCase::new(op, gradient, move |mut d| {
        let (o, shape) = drawn(&mut d, true, 1);
        d.distinct(&[shape[0], shape[1], shape[3]]);
        let pool = if max { Tensor::max_pool1d } else { Tensor::avg_pool1d };
        let f = if max { largest } else { average };
        d.case(
            move |x| pool(&x[0], o.kernel[1], o.stride[1], o.padding[1]),
            |x| {
                let y = expected(&x[0].reshape(&shape), &o, f);
                y.reshape(&[y.shape[0], y.shape[1], y.shape[3]])
            },
        )
    })
}

/// A row for all of a channel at once.
fn whole(op: &'static str, max: bool) -> OpCase {
    let gradient = if max { Gradient::Pieces } else { Gradient::Smooth };
    OpCase::new(op, gradient, move |mut d| {
        let shape = d.filled_shape(3..=5);
        d.distinct(&shape);
        let pool = if max { Tensor::global_max_pool } else { Tensor::global_avg_pool };
        d.case(
            move |x| pool(&x[0]),
            |x| {
                let axes: Vec<usize> = (2..shape.len()).collect();
                let f = if max { largest } else { average };
                let kept: Vec<usize> = (0..shape.len()).map(|i| if i < 2 { shape[i] } else { 1 }).collect();
                x[0].reduce(&axes, |line| f(line, line.len())).reshape(&kept)
            },
        )
    })
}

pub(super) fn cases() -> Vec<OpCase> {
    vec![
        planes("max_pool2d", true, 1),
        planes("max_pool2d", true, 6).variant("large windows"),
        planes("avg_pool2d", false, 1),
        lines("max_pool1d", true),
        lines("avg_pool1d", false),
        whole("global_max_pool", true),
        whole("global_avg_pool", false),
    ]
}
