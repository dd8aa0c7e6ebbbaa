//! Running sums along an axis.

use crate::DType;
use crate::dtype::{RawView, contiguous};
use crate::par;
use crate::space::{Axis, Blocks, MIN_COLUMNS, Space};
use crate::strided::{Number, Strided, elements};

/// `out[.., i, ..] = x[.., 0, ..] + … + x[.., i, ..]` along `axis`, added from the left one by one.
///
/// `out` has the shape of `x` and is contiguous. f32, f64, i32 or u32; integers wrap.
///
/// # Panics
/// If `dtype` is bool, or `axis` is not an axis of `shape`.
///
/// # Safety
/// `x` must be readable at every index of `shape` and `out` writable for its elements, both aligned; they do not
/// overlap and nobody else uses `out` meanwhile.
pub unsafe fn cumsum(dtype: DType, shape: &[usize], axis: usize, x: RawView, out: *mut u8) {
    let job = Job::new(shape, axis, x, out);
    // SAFETY: the caller's promises.
    unsafe {
        match dtype {
            DType::F32 => job.run::<f32>(),
            DType::F64 => job.run::<f64>(),
            DType::I32 => job.run::<i32>(),
            DType::U32 => job.run::<u32>(),
            DType::Bool => panic!("cumsum: bool has no sum"),
        }
    }
}

/// [`cumsum`] on slices.
///
/// # Panics
/// If `x` reaches outside its slice, `out` has not exactly `shape`'s number of elements, or `axis` is not an axis.
#[track_caller]
pub fn cumsum_slices<T: Number>(shape: &[usize], axis: usize, x: Strided<'_, T>, out: &mut [T]) {
    assert_eq!(out.len(), elements(shape), "cumsum: the output of shape {shape:?} has another length");
    let x = x.view(shape);
    // SAFETY: the view and the length of `out` were just checked; `out` is borrowed mutably, so it overlaps nothing.
    unsafe { cumsum(T::DTYPE, shape, axis, x, out.as_mut_ptr().cast()) }
}

/// Operands 0 and 1 of the spaces, which leave out the axis: `x`, `out`.
struct Job {
    x: RawView,
    out: RawView,
    outer: Space<2>,
    inner: Axis<2>,
    axis: Axis<2>,
}

impl Job {
    fn new(shape: &[usize], axis: usize, x: RawView, out: *mut u8) -> Self {
        assert!(axis < shape.len(), "axis {axis} of a shape of {} axes", shape.len());
        let out = RawView { ptr: out, strides: contiguous(shape) };
        let at = |d: usize| Axis { len: shape[d], strides: [x.strides[d], out.strides[d]] };
        let mut outer = Space::new((0..shape.len()).filter(|&d| d != axis).map(at));
        // When no axis follows, the line itself is the inner loop.
        let line = shape[axis + 1..].iter().all(|&n| n == 1);
        let inner = if line { Axis::UNIT } else { outer.pop() };
        Job { x, out, outer, inner, axis: at(axis) }
    }

    /// # Safety
    /// As [`cumsum`], for elements of type `T`.
    unsafe fn run<T: Number>(&self) {
        if self.axis.len == 0 {
            return;
        }
        let blocks = Blocks::new(self.outer.size(), self.inner.len, self.axis.len, MIN_COLUMNS);
        par::for_each(blocks.count(), |task| {
            let (rows, columns) = blocks.get(task);
            let first = columns.start as isize;
            let [xs, os] = self.inner.strides;
            self.outer.for_each(rows, |[x, out]| {
                // SAFETY: these are positions of `shape` without the axis, and blocks do not share any, so no two
                // threads write to one element.
                unsafe {
                    let x = self.x.ptr.cast::<T>().offset(x + first * xs);
                    let out = self.out.ptr.cast::<T>().offset(out + first * os);
                    if columns.len() == 1 {
                        self.line(x, out);
                    } else {
                        self.lines(columns.len(), x, out);
                    }
                }
            });
        });
    }

    /// One line.
    ///
    /// # Safety
    /// The addresses must be those of its first element; the axis is not empty.
    unsafe fn line<T: Number>(&self, x: *const T, out: *mut T) {
        let [xa, oa] = self.axis.strides;
        // SAFETY: the caller's promise.
        unsafe {
            let mut sum = *x;
            *out = sum;
            for i in 1..self.axis.len as isize {
                sum = sum.plus(*x.offset(i * xa));
                *out.offset(i * oa) = sum;
            }
        }
    }

    /// `columns` neighbouring lines, row by row: each row is the row before plus that of `x`.
    ///
    /// # Safety
    /// The addresses must be those of the first element; the axis is not empty.
    unsafe fn lines<T: Number>(&self, columns: usize, x: *const T, out: *mut T) {
        let ([xs, _], [xa, oa]) = (self.inner.strides, self.axis.strides);
        // `out` is contiguous over the axes after the scanned one, so an inner step of it is one element.
        // SAFETY: the caller's promise; rows of `out` do not overlap.
        unsafe {
            let row = std::slice::from_raw_parts_mut(out, columns);
            row.iter_mut().enumerate().for_each(|(j, o)| *o = *x.offset(j as isize * xs));
            for i in 1..self.axis.len as isize {
                let x = x.offset(i * xa);
                let before = std::slice::from_raw_parts(out.offset((i - 1) * oa), columns);
                let row = std::slice::from_raw_parts_mut(out.offset(i * oa), columns);
                if xs == 1 {
                    let x = std::slice::from_raw_parts(x, columns);
                    for ((o, &b), &v) in row.iter_mut().zip(before).zip(x) {
                        *o = b.plus(v);
                    }
                } else {
                    for (j, (o, &b)) in row.iter_mut().zip(before).enumerate() {
                        *o = b.plus(*x.offset(j as isize * xs));
                    }
                }
            }
        }
    }
}
