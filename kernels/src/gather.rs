//! Indexing along an axis, and its dual.
//!
//! Both first check every index, so that a bad one is reported with nothing read out of bounds and nothing
//! written. Where the index is broadcast along the trailing axes (an embedding, a selection of rows), whole rows are
//! copied or added.

use crate::DType;
use crate::dtype::{RawView, contiguous};
use crate::par;
use crate::space::{Axis, Blocks, MIN_COLUMNS, Space, add_row};
use crate::strided::{Element, IndexElement, Number, Strided, elements, with_axis};
use std::sync::atomic::{AtomicUsize, Ordering};

/// An index that is negative or not below the length of the axis: the first one, in row-major order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadIndex {
    /// The index.
    pub value: i64,
    /// The length of the axis it indexes.
    pub len: usize,
}

impl std::fmt::Display for BadIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "index {} is out of range for an axis of length {}", self.value, self.len)
    }
}

impl std::error::Error for BadIndex {}

/// `out[.., i, ..] = x[.., index[.., i, ..], ..]` along `axis`.
///
/// `shape` is that of the index and of `out`, which is contiguous; `x` has length `len` along `axis`. Any element
/// type; `index_type` is u32 or i32. A bad index leaves `out` as it was.
///
/// # Errors
/// [`BadIndex`] when an index is negative or not below `len`.
///
/// # Panics
/// If `index_type` is not an integer type, or `axis` is not an axis of `shape`.
///
/// # Safety
/// `x` must be readable at every index of `shape` with `axis` of length `len`, `index` at every index of `shape`, and
/// `out` writable for `shape`'s elements, all aligned; `out` overlaps neither and nobody else uses it meanwhile.
#[expect(clippy::too_many_arguments, reason = "two operands, their types and the geometry: each is needed")]
pub unsafe fn gather(
    dtype: DType,
    index_type: DType,
    shape: &[usize],
    axis: usize,
    len: usize,
    x: RawView,
    index: RawView,
    out: *mut u8,
) -> Result<(), BadIndex> {
    // SAFETY: the caller's promises on `index`.
    unsafe { check(index_type, shape, axis, len, index)? };
    let job = GatherJob::new(shape, axis, x, index, out);
    // SAFETY: the caller's promises, and every index is below `len`. Elements are only moved, so a type of the same
    // size and at most its alignment serves.
    unsafe {
        match dtype.size() {
            1 => job.run::<u8>(),
            4 => job.run::<u32>(),
            _ => job.run::<u64>(),
        }
    }
    Ok(())
}

/// [`gather`] on slices.
///
/// # Errors
/// [`BadIndex`] when an index is negative or not below `len`.
///
/// # Panics
/// If an operand reaches outside its slice, or `out` has not exactly `shape`'s number of elements.
#[track_caller]
pub fn gather_slices<T: Element, I: IndexElement>(
    shape: &[usize],
    axis: usize,
    len: usize,
    x: Strided<'_, T>,
    index: Strided<'_, I>,
    out: &mut [T],
) -> Result<(), BadIndex> {
    assert_eq!(out.len(), elements(shape), "gather: the output of shape {shape:?} has another length");
    let (x, index) = (x.view(&with_axis(shape, axis, len)), index.view(shape));
    // SAFETY: the views were checked for these shapes and the length of `out` just above; `out` is borrowed mutably,
    // so it overlaps nothing.
    unsafe { gather(T::DTYPE, I::DTYPE, shape, axis, len, x, index, out.as_mut_ptr().cast()) }
}

/// `out[.., index[.., i, ..], ..] += src[.., i, ..]` along `axis`, from zeros, in order of `i`.
///
/// `shape` is that of the index and of `src`; `out` is contiguous, with length `len` along `axis`. f32, f64, i32 or
/// u32 (integers wrap); `index_type` is u32 or i32. A bad index leaves `out` as it was.
///
/// # Errors
/// [`BadIndex`] when an index is negative or not below `len`.
///
/// # Panics
/// If `dtype` is bool, `index_type` is not an integer type, or `axis` is not an axis of `shape`.
///
/// # Safety
/// `src` and `index` must be readable at every index of `shape`, and `out` writable for the elements of `shape` with
/// `axis` of length `len`, all aligned; `out` overlaps neither and nobody else uses it meanwhile.
#[expect(clippy::too_many_arguments, reason = "two operands, their types and the geometry: each is needed")]
pub unsafe fn scatter_add(
    dtype: DType,
    index_type: DType,
    shape: &[usize],
    axis: usize,
    len: usize,
    src: RawView,
    index: RawView,
    out: *mut u8,
) -> Result<(), BadIndex> {
    // SAFETY: the caller's promises on `index`.
    unsafe { check(index_type, shape, axis, len, index)? };
    let job = ScatterJob::new(shape, axis, len, src, index, out);
    // SAFETY: the caller's promises, and every index is below `len`.
    unsafe {
        match dtype {
            DType::F32 => job.run::<f32>(),
            DType::F64 => job.run::<f64>(),
            DType::I32 => job.run::<i32>(),
            DType::U32 => job.run::<u32>(),
            DType::Bool => panic!("scatter_add: bool has no sum"),
        }
    }
    Ok(())
}

/// [`scatter_add`] on slices.
///
/// # Errors
/// [`BadIndex`] when an index is negative or not below `len`.
///
/// # Panics
/// If an operand reaches outside its slice, or `out` has not exactly the elements of `shape` with `axis` of length
/// `len`.
#[track_caller]
pub fn scatter_add_slices<T: Number, I: IndexElement>(
    shape: &[usize],
    axis: usize,
    len: usize,
    src: Strided<'_, T>,
    index: Strided<'_, I>,
    out: &mut [T],
) -> Result<(), BadIndex> {
    let out_shape = with_axis(shape, axis, len);
    assert_eq!(
        out.len(),
        elements(&out_shape),
        "scatter_add: the output of shape {out_shape:?} has another length"
    );
    let (src, index) = (src.view(shape), index.view(shape));
    // SAFETY: the views were checked for this shape and the length of `out` just above; `out` is borrowed mutably, so
    // it overlaps nothing.
    unsafe { scatter_add(T::DTYPE, I::DTYPE, shape, axis, len, src, index, out.as_mut_ptr().cast()) }
}

/// Finds the first index, in row-major order, that is negative or not below `len`.
///
/// # Safety
/// `index` must be readable at every index of `shape`.
unsafe fn check(
    index_type: DType,
    shape: &[usize],
    axis: usize,
    len: usize,
    index: RawView,
) -> Result<(), BadIndex> {
    assert!(axis < shape.len(), "axis {axis} of a shape of {} axes", shape.len());
    let signed = match index_type {
        DType::I32 => true,
        DType::U32 => false,
        other => panic!("an index is i32 or u32, not {other}"),
    };
    if shape.contains(&0) {
        return Ok(());
    }
    // Read as u32 a negative i32 is 2^31 or more, so one comparison finds both faults.
    let limit = if signed { len.min(1 << 31) } else { len };
    // Each value is looked at once: along a broadcast axis it is the same.
    let distinct = shape.iter().zip(index.strides).filter(|&(_, stride)| stride != 0);
    let mut outer = Space::new(distinct.map(|(&len, stride)| Axis { len, strides: [stride] }));
    let whole = outer;
    let inner = outer.pop();
    let blocks = Blocks::new(outer.size(), inner.len, 1, 1);
    let first = AtomicUsize::new(usize::MAX);
    let values = index;
    par::for_each(blocks.count(), |task| {
        let (rows, columns) = blocks.get(task);
        let mut row = rows.start;
        outer.for_each(rows, |[offset]| {
            // SAFETY: positions of the space are positions of `shape`, where the caller lets us read.
            let bad = unsafe { first_at_least(limit, &values, offset, inner.strides[0], columns.clone()) };
            if let Some(j) = bad {
                first.fetch_min(row * inner.len + j, Ordering::Relaxed);
            }
            row += 1;
        });
    });
    match first.into_inner() {
        usize::MAX => Ok(()),
        at => {
            // SAFETY: `at` is a position of the space.
            let bits = unsafe { *index.ptr.cast::<u32>().offset(whole.offsets(at)[0]) };
            let value = if signed { i64::from(bits.cast_signed()) } else { i64::from(bits) };
            Err(BadIndex { value, len })
        }
    }
}

/// The first of `columns` where `index[offset + column * stride]` is `limit` or more.
///
/// # Safety
/// `index` must be readable at all of them.
unsafe fn first_at_least(
    limit: usize,
    index: &RawView,
    offset: isize,
    stride: isize,
    columns: std::ops::Range<usize>,
) -> Option<usize> {
    // SAFETY: the caller's promise.
    let at =
        |j: usize| unsafe { *index.ptr.cast::<u32>().offset(offset + j as isize * stride) as usize >= limit };
    let any = match stride {
        1 => {
            // SAFETY: the caller's promise, for consecutive elements.
            let row = unsafe {
                let start = index.ptr.cast::<u32>().offset(offset + columns.start as isize);
                std::slice::from_raw_parts(start, columns.len())
            };
            // Without an early exit the loop becomes vector code; a bad index is the rare case.
            row.iter().fold(false, |bad, &v| bad | (v as usize >= limit))
        }
        _ => columns.clone().any(at),
    };
    if any { columns.into_iter().find(|&j| at(j)) } else { None }
}

/// Operands 0, 1, 2 of the spaces: `x`, index, `out`.
struct GatherJob {
    x: RawView,
    index: RawView,
    out: RawView,
    outer: Space<3>,
    inner: Axis<3>,
    /// The stride of `x` that an index value is multiplied with.
    x_axis: isize,
}

impl GatherJob {
    fn new(shape: &[usize], axis: usize, x: RawView, index: RawView, out: *mut u8) -> Self {
        let out = RawView { ptr: out, strides: contiguous(shape) };
        let mut outer = Space::new((0..shape.len()).map(|d| {
            // Along the axis itself it is the index that says where in `x`.
            let x_stride = if d == axis { 0 } else { x.strides[d] };
            Axis { len: shape[d], strides: [x_stride, index.strides[d], out.strides[d]] }
        }));
        let inner = outer.pop();
        GatherJob { x, index, out, outer, inner, x_axis: x.strides[axis] }
    }

    /// # Safety
    /// As [`gather`], with every index in range, for elements of type `T`.
    unsafe fn run<T: Copy>(&self) {
        let blocks = Blocks::new(self.outer.size(), self.inner.len, 1, 1);
        par::for_each(blocks.count(), |task| {
            let (rows, columns) = blocks.get(task);
            let Axis { strides: [xs, is, os], .. } = self.inner;
            let first = columns.start as isize;
            self.outer.for_each(rows, |[x, index, out]| {
                // SAFETY: these are positions of `shape`, and blocks do not share any, so no two threads write to
                // one element.
                unsafe {
                    let index = self.index.ptr.cast::<u32>().offset(index + first * is);
                    let x = self.x.ptr.cast::<T>().offset(x + first * xs);
                    let out = self.out.ptr.cast::<T>().offset(out + first * os);
                    if is == 0 {
                        copy_row(columns.len(), x.offset(*index as isize * self.x_axis), xs, out, os);
                    } else {
                        self.pick(columns.len(), x, index, out);
                    }
                }
            });
        });
    }

    /// One element for each of `n` indices along the inner axis.
    ///
    /// # Safety
    /// The addresses must be those of the first element, and indices in range.
    #[inline(always)]
    unsafe fn pick<T: Copy>(&self, n: usize, x: *const T, index: *const u32, out: *mut T) {
        let Axis { strides: [xs, is, os], .. } = self.inner;
        // SAFETY: the caller's promise.
        unsafe {
            if is == 1 && os == 1 {
                let (index, out) =
                    (std::slice::from_raw_parts(index, n), std::slice::from_raw_parts_mut(out, n));
                let mut column = x;
                for (o, &i) in out.iter_mut().zip(index) {
                    *o = *column.offset(i as isize * self.x_axis);
                    // May step past the end after the last element, where it is not used.
                    column = column.wrapping_offset(xs);
                }
            } else {
                for j in 0..n as isize {
                    let at = *index.offset(j * is) as isize * self.x_axis + j * xs;
                    *out.offset(j * os) = *x.offset(at);
                }
            }
        }
    }
}

/// Copies `n` elements.
///
/// # Safety
/// Both must be valid at `n` steps of their strides, and not overlap.
#[inline(always)]
unsafe fn copy_row<T: Copy>(n: usize, x: *const T, x_stride: isize, out: *mut T, out_stride: isize) {
    // SAFETY: the caller's promise.
    unsafe {
        if x_stride == 1 && out_stride == 1 {
            std::ptr::copy_nonoverlapping(x, out, n);
        } else {
            for j in 0..n as isize {
                *out.offset(j * out_stride) = *x.offset(j * x_stride);
            }
        }
    }
}

/// Operands 0, 1, 2 of the spaces, which leave out the axis: `src`, index, `out`.
struct ScatterJob {
    src: RawView,
    index: RawView,
    out: RawView,
    outer: Space<3>,
    inner: Axis<3>,
    /// The axis: its strides of `src` and index are steps of `i`, that of `out` a step of an index value.
    axis: Axis<3>,
    /// The length of the axis in `out`, and all of `out`'s elements.
    len: usize,
    size: usize,
    /// Whether no axis follows, so that every line is one piece of `out`.
    line: bool,
}

impl ScatterJob {
    fn new(shape: &[usize], axis: usize, len: usize, src: RawView, index: RawView, out: *mut u8) -> Self {
        let out_shape = with_axis(shape, axis, len);
        let out = RawView { ptr: out, strides: contiguous(&out_shape) };
        let at =
            |d: usize| Axis { len: shape[d], strides: [src.strides[d], index.strides[d], out.strides[d]] };
        let mut outer = Space::new((0..shape.len()).filter(|&d| d != axis).map(at));
        let line = shape[axis + 1..].iter().all(|&n| n == 1);
        let inner = if line { Axis::UNIT } else { outer.pop() };
        let size = out_shape.iter().product();
        ScatterJob { src, index, out, outer, inner, axis: at(axis), len, size, line }
    }

    /// # Safety
    /// As [`scatter_add`], with every index in range, for elements of type `T`.
    unsafe fn run<T: Number>(&self) {
        if !self.line {
            // SAFETY: the caller's promise on `out`.
            unsafe { self.clear::<T>() };
        }
        // Positions off the axis never share an output; along it one task adds in order.
        let work = if self.line { self.axis.len.max(self.len) } else { self.axis.len };
        let blocks = Blocks::new(self.outer.size(), self.inner.len, work, MIN_COLUMNS);
        par::for_each(blocks.count(), |task| {
            let (rows, columns) = blocks.get(task);
            let first = columns.start as isize;
            let [ss, is, os] = self.inner.strides;
            self.outer.for_each(rows, |[src, index, out]| {
                // SAFETY: these are positions of `shape` without the axis, and blocks do not share any, so no two
                // threads write to one element.
                unsafe {
                    let src = self.src.ptr.cast::<T>().offset(src + first * ss);
                    let index = self.index.ptr.cast::<u32>().offset(index + first * is);
                    let out = self.out.ptr.cast::<T>().offset(out + first * os);
                    if self.line {
                        self.add_line(src, index, out);
                    } else {
                        self.add_lines(columns.len(), src, index, out);
                    }
                }
            });
        });
    }

    /// Sets all of `out` to zero.
    ///
    /// # Safety
    /// `out` must be writable for `size` elements of type `T`.
    unsafe fn clear<T: Number>(&self) {
        let blocks = Blocks::new(1, self.size, 1, 1);
        par::for_each(blocks.count(), |task| {
            let (_, part) = blocks.get(task);
            // SAFETY: the caller's promise; all-zero bits are the zero of every number type.
            unsafe { std::ptr::write_bytes(self.out.ptr.cast::<T>().add(part.start), 0, part.len()) };
        });
    }

    /// Sets one line of `out` to zero and adds, in order along the axis.
    ///
    /// # Safety
    /// The addresses must be those of the first position, indices in range, and the line without gaps in `out`.
    unsafe fn add_line<T: Number>(&self, src: *const T, index: *const u32, out: *mut T) {
        let [sa, ia, _] = self.axis.strides;
        // SAFETY: the caller's promise; `out` has a position for every index value.
        unsafe {
            std::ptr::write_bytes(out, 0, self.len);
            for i in 0..self.axis.len as isize {
                let place = out.add(*index.offset(i * ia) as usize);
                *place = (*place).plus(*src.offset(i * sa));
            }
        }
    }

    /// Adds `columns` neighbouring lines, in order along the axis.
    ///
    /// # Safety
    /// The addresses must be those of the first position, and indices in range.
    unsafe fn add_lines<T: Number>(&self, columns: usize, src: *const T, index: *const u32, out: *mut T) {
        let ([ss, is, os], [sa, ia, oa]) = (self.inner.strides, self.axis.strides);
        for i in 0..self.axis.len as isize {
            // SAFETY: the caller's promise; `out` has a position for every index value.
            unsafe {
                let (src, index) = (src.offset(i * sa), index.offset(i * ia));
                if is == 0 {
                    add_row(columns, src, ss, out.offset(*index as isize * oa), os);
                } else {
                    for j in 0..columns as isize {
                        let place = out.offset(*index.offset(j * is) as isize * oa + j * os);
                        *place = (*place).plus(*src.offset(j * ss));
                    }
                }
            }
        }
    }
}
