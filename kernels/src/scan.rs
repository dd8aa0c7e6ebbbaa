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

/// Lines whose sums run side by side: each waits for its own last addition, together they keep the adder busy. With
/// more, lines a power of two apart would push each other out of the first-level cache.
const LANES: usize = 4;

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
        let inner = outer.pop();
        Job { x, out, outer, inner, axis: at(axis) }
    }

    /// # Safety
    /// As [`cumsum`], for elements of type `T`.
    unsafe fn run<T: Number>(&self) {
        if self.axis.len == 0 {
            return;
        }
        let [xs, os] = self.inner.strides;
        // Neighbours in memory are added row by row, lines that stand apart each along itself.
        let rows_of_lines = os == 1;
        let min_inner = if rows_of_lines { MIN_COLUMNS } else { LANES };
        let blocks = Blocks::new(self.outer.size(), self.inner.len, self.axis.len, min_inner);
        par::for_each(blocks.count(), |task| {
            let (outer, inner) = blocks.get(task);
            self.outer.for_each(outer, |[x, out]| {
                // SAFETY: these are positions of `shape` without the axis, and blocks do not share any, so no two
                // threads write to one element.
                unsafe {
                    let at = |j: usize| {
                        let j = j as isize;
                        (
                            self.x.ptr.cast::<T>().offset(x + j * xs),
                            self.out.ptr.cast::<T>().offset(out + j * os),
                        )
                    };
                    if rows_of_lines {
                        let (x, out) = at(inner.start);
                        return self.rows(inner.len(), x, out);
                    }
                    let mut j = inner.start;
                    while j + LANES <= inner.end {
                        let (x, out) = at(j);
                        self.lines::<T, LANES>(x, out);
                        j += LANES;
                    }
                    for j in j..inner.end {
                        let (x, out) = at(j);
                        self.lines::<T, 1>(x, out);
                    }
                }
            });
        });
    }

    /// `N` lines along the inner axis, side by side.
    ///
    /// # Safety
    /// The addresses must be those of the first element.
    unsafe fn lines<T: Number, const N: usize>(&self, x: *const T, out: *mut T) {
        let ([xs, os], [xa, oa]) = (self.inner.strides, self.axis.strides);
        let mut sums = [T::ZERO; N];
        for i in 0..self.axis.len as isize {
            for (l, sum) in sums.iter_mut().enumerate() {
                // SAFETY: the caller's promise.
                unsafe {
                    let value = *x.offset(i * xa + l as isize * xs);
                    // The first is taken, not added to zero, which would lose the sign of -0.
                    *sum = if i == 0 { value } else { sum.plus(value) };
                    *out.offset(i * oa + l as isize * os) = *sum;
                }
            }
        }
    }

    /// `columns` neighbouring lines, row by row: each row is the row before plus that of `x`.
    ///
    /// # Safety
    /// The addresses must be those of the first element, the axis not empty, and the inner stride of `out` 1.
    unsafe fn rows<T: Number>(&self, columns: usize, x: *const T, out: *mut T) {
        let ([xs, _], [xa, oa]) = (self.inner.strides, self.axis.strides);
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
