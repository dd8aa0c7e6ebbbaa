//! Overlapping windows summed back into place: the dual of the window view.

use crate::DType;
use crate::dtype::{RawView, contiguous};
use crate::par;
use crate::space::{Axis, Blocks, GRAIN, MIN_COLUMNS, Space, add_row};
use crate::strided::{Number, Strided, elements, with_axis};
use std::ops::Range;

/// `out[.., i, ..]` = sum of `x[.., o, .., k]` over `o * stride + k * dilation == i`, from zero, `k` ascending.
///
/// `shape` is that of `x`, whose axis `axis` counts the windows (`o`) and whose last axis the places in a window
/// (`k`). `out` is contiguous, has `axis` of length `len` and no `k` axis; what falls at or behind `len` is left out.
/// f32, f64, i32 or u32; integers wrap.
///
/// # Panics
/// If `dtype` is bool, `stride` is 0, or `axis` is not an axis before the last.
///
/// # Safety
/// `x` must be readable at every index of `shape` and `out` writable for its elements, both aligned; they do not
/// overlap and nobody else uses `out` meanwhile.
#[expect(clippy::too_many_arguments, reason = "the geometry of a window view: each is needed")]
pub unsafe fn fold(
    dtype: DType,
    shape: &[usize],
    axis: usize,
    len: usize,
    stride: usize,
    dilation: usize,
    x: RawView,
    out: *mut u8,
) {
    let job = Job::new(shape, axis, len, [stride, dilation], x, out);
    // SAFETY: the caller's promises.
    unsafe {
        match dtype {
            DType::F32 => job.run::<f32>(),
            DType::F64 => job.run::<f64>(),
            DType::I32 => job.run::<i32>(),
            DType::U32 => job.run::<u32>(),
            DType::Bool => panic!("fold: bool has no sum"),
        }
    }
}

/// [`fold`] on slices.
///
/// # Panics
/// As [`fold`], and if `x` reaches outside its slice or `out` has not exactly its number of elements.
#[track_caller]
pub fn fold_slices<T: Number>(
    shape: &[usize],
    axis: usize,
    len: usize,
    stride: usize,
    dilation: usize,
    x: Strided<'_, T>,
    out: &mut [T],
) {
    let out_shape = folded(shape, axis, len);
    assert_eq!(out.len(), elements(&out_shape), "fold: the output of shape {out_shape:?} has another length");
    let x = x.view(shape);
    // SAFETY: the view and the length of `out` were just checked; `out` is borrowed mutably, so it overlaps nothing.
    unsafe { fold(T::DTYPE, shape, axis, len, stride, dilation, x, out.as_mut_ptr().cast()) }
}

/// The shape of the output.
#[track_caller]
fn folded(shape: &[usize], axis: usize, len: usize) -> Vec<usize> {
    assert!(axis + 1 < shape.len(), "fold: axis {axis} is not before the last of {} axes", shape.len());
    with_axis(&shape[..shape.len() - 1], axis, len)
}

/// Operands 0 and 1 of the spaces, which leave out both the axis and the last one: `x`, `out`. Operand 2 counts
/// the chunks of the output's axis.
struct Job {
    x: RawView,
    out: RawView,
    outer: Space<3>,
    inner: Axis<3>,
    /// Length of the output's axis, and its stride in `out`.
    len: usize,
    out_axis: isize,
    /// Places along the output's axis in one task.
    chunk: usize,
    /// Windows and their stride in `x`.
    windows: usize,
    x_window: isize,
    /// Places in a window and their stride in `x`.
    places: usize,
    x_place: isize,
    stride: usize,
    dilation: usize,
}

impl Job {
    fn new(
        shape: &[usize],
        axis: usize,
        len: usize,
        [stride, dilation]: [usize; 2],
        x: RawView,
        out: *mut u8,
    ) -> Self {
        assert!(stride > 0, "fold: windows at stride 0");
        let out = RawView { ptr: out, strides: contiguous(&folded(shape, axis, len)) };
        let last = shape.len() - 1;
        let at = |d: usize| Axis { len: shape[d], strides: [x.strides[d], out.strides[d], 0] };
        let mut outer = Space::new((0..last).filter(|&d| d != axis).map(at));
        // When no axis follows, the line itself is the inner loop.
        let line = shape[axis + 1..last].iter().all(|&n| n == 1);
        let inner = if line { Axis::UNIT } else { outer.pop() };
        let chunk = (GRAIN / shape[last].max(1)).clamp(1, len.max(1));
        outer.push(Axis { len: len.div_ceil(chunk), strides: [0, 0, 1] });
        Job {
            x,
            out,
            outer,
            inner,
            len,
            out_axis: out.strides[axis],
            chunk,
            windows: shape[axis],
            x_window: x.strides[axis],
            places: shape[last],
            x_place: x.strides[last],
            stride,
            dilation,
        }
    }

    /// # Safety
    /// As [`fold`], for elements of type `T`.
    unsafe fn run<T: Number>(&self) {
        let work = self.chunk * self.places.max(1);
        let blocks = Blocks::new(self.outer.size(), self.inner.len, work, MIN_COLUMNS);
        par::for_each(blocks.count(), |task| {
            let (rows, columns) = blocks.get(task);
            let first = columns.start as isize;
            let [xs, os, _] = self.inner.strides;
            self.outer.for_each(rows, |[x, out, chunk]| {
                let start = chunk as usize * self.chunk;
                let places = start..(start + self.chunk).min(self.len);
                // SAFETY: these are positions of `shape` without the two axes, and blocks and chunks do not share
                // any output, so no two threads write to one element.
                unsafe {
                    let x = self.x.ptr.cast::<T>().offset(x + first * xs);
                    let out = self.out.ptr.cast::<T>().offset(out + first * os);
                    self.lines(places, columns.len(), x, out);
                }
            });
        });
    }

    /// The outputs `range` along the axis of `columns` neighbouring lines.
    ///
    /// # Safety
    /// The addresses must be those of the first element of the first line.
    unsafe fn lines<T: Number>(&self, range: Range<usize>, columns: usize, x: *const T, out: *mut T) {
        let [xs, os, _] = self.inner.strides;
        for i in range.clone() {
            for j in 0..columns as isize {
                // SAFETY: the caller's promise.
                unsafe { *out.offset(i as isize * self.out_axis + j * os) = T::ZERO };
            }
        }
        for k in 0..self.places {
            // Where the first window's place `k` lands; places behind it land further on.
            let Some(shift) = k.checked_mul(self.dilation).filter(|&shift| shift < range.end) else { break };
            let first = range.start.saturating_sub(shift).div_ceil(self.stride);
            let end = (range.end - shift).div_ceil(self.stride).min(self.windows);
            if first >= end {
                continue;
            }
            let along =
                Axis { len: end - first, strides: [self.x_window, self.stride as isize * self.out_axis] };
            let across = Axis { len: columns, strides: [xs, os] };
            // SAFETY: windows first..end land inside `range`; each output is met once, so the order of this loop is
            // free and that of `k` is the order of its additions.
            unsafe {
                let x = x.offset(k as isize * self.x_place + first as isize * self.x_window);
                let out = out.offset((first * self.stride + shift) as isize * self.out_axis);
                if across.len < along.len {
                    add_plane(across, along, x, out);
                } else {
                    add_plane(along, across, x, out);
                }
            }
        }
    }
}

/// `out += x` over two axes, the second the inner loop.
///
/// # Safety
/// Both must be valid there, and not overlap.
unsafe fn add_plane<T: Number>(outer: Axis<2>, inner: Axis<2>, x: *const T, out: *mut T) {
    for i in 0..outer.len as isize {
        // SAFETY: the caller's promise.
        unsafe {
            let (x, out) = (x.offset(i * outer.strides[0]), out.offset(i * outer.strides[1]));
            add_row(inner.len, x, inner.strides[0], out, inner.strides[1]);
        }
    }
}
