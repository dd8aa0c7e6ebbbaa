//! Sorting along an axis.
//!
//! Every element becomes an integer whose order is the wanted one, with its position in the low bits: all are then
//! different, so any sorting method gives the one stable result.

use crate::DType;
use crate::dtype::{RawView, contiguous};
use crate::par;
use crate::space::{Axis, Blocks, Space};
use crate::strided::{Element, Strided, elements};

/// The positions along `axis` that would put the elements in order, as u32; equal elements keep their order.
///
/// NaN of any kind stands after everything (ascending) or before everything (descending); -0 equals +0; false is
/// below true. `out` has the shape of `x` and is contiguous.
///
/// # Panics
/// If `axis` is not an axis of `shape`, or longer than 2^32.
///
/// # Safety
/// `x` must be readable at every index of `shape` and `out` writable for as many u32, both aligned; they do not
/// overlap and nobody else uses `out` meanwhile.
pub unsafe fn argsort(
    dtype: DType,
    shape: &[usize],
    axis: usize,
    descending: bool,
    x: RawView,
    out: *mut u8,
) {
    let job = Job::new(shape, axis, descending, x, out);
    // SAFETY: the caller's promises.
    unsafe {
        match dtype {
            DType::F32 => job.run::<f32>(),
            DType::F64 => job.run::<f64>(),
            DType::I32 => job.run::<i32>(),
            DType::U32 => job.run::<u32>(),
            DType::Bool => job.run::<u8>(),
        }
    }
}

/// [`argsort`] on slices.
///
/// # Panics
/// As [`argsort`], and if `x` reaches outside its slice or `out` has not exactly `shape`'s number of elements.
#[track_caller]
pub fn argsort_slices<T: Element>(
    shape: &[usize],
    axis: usize,
    descending: bool,
    x: Strided<'_, T>,
    out: &mut [u32],
) {
    assert_eq!(out.len(), elements(shape), "argsort: the output of shape {shape:?} has another length");
    let x = x.view(shape);
    // SAFETY: the view and the length of `out` were just checked; `out` is borrowed mutably, so it overlaps nothing.
    unsafe { argsort(T::DTYPE, shape, axis, descending, x, out.as_mut_ptr().cast()) }
}

/// An element that can be sorted through an integer.
trait Key: Copy {
    /// The key above, the position in the low 32 bits.
    type Packed: Ord + Copy + Send;

    /// The integer to sort by.
    fn pack(self, position: u32, descending: bool) -> Self::Packed;

    /// The position that was packed.
    fn position(packed: Self::Packed) -> u32;
}

/// `key` in ascending order, or reversed, above the position.
#[inline(always)]
fn pack32(key: u32, position: u32, descending: bool) -> u64 {
    let key = if descending { !key } else { key };
    u64::from(key) << 32 | u64::from(position)
}

macro_rules! keys32 {
    ($($t:ty, |$x:ident| $key:expr;)*) => { $(
        impl Key for $t {
            type Packed = u64;
            #[inline(always)]
            fn pack(self, position: u32, descending: bool) -> u64 {
                let $x = self;
                pack32($key, position, descending)
            }
            #[inline(always)]
            fn position(packed: u64) -> u32 {
                packed as u32
            }
        }
    )* };
}
keys32! {
    u32, |x| x;
    i32, |x| x.cast_unsigned() ^ 1 << 31;
    u8, |x| u32::from(x != 0);
    f32, |x| {
        // The bits of a float without its sign ascend with its size: negative ones are reversed and put below.
        let bits = if x == 0.0 { 0 } else { x.to_bits() };
        let sign = (bits.cast_signed() >> 31).cast_unsigned();
        if x.is_nan() { u32::MAX } else { bits ^ (sign | 1 << 31) }
    };
}

impl Key for f64 {
    type Packed = u128;

    #[inline(always)]
    fn pack(self, position: u32, descending: bool) -> u128 {
        let bits = if self == 0.0 { 0 } else { self.to_bits() };
        let sign = (bits.cast_signed() >> 63).cast_unsigned();
        let key = if self.is_nan() { u64::MAX } else { bits ^ (sign | 1 << 63) };
        let key = if descending { !key } else { key };
        u128::from(key) << 32 | u128::from(position)
    }

    #[inline(always)]
    fn position(packed: u128) -> u32 {
        packed as u32
    }
}

/// Neighbouring lines read and written together when they interleave in memory: a cache line of u32.
const LANES: usize = 16;

/// Operands 0 and 1 of the spaces, which leave out the axis: `x`, `out`.
struct Job {
    x: RawView,
    out: RawView,
    outer: Space<2>,
    inner: Axis<2>,
    axis: Axis<2>,
    descending: bool,
}

impl Job {
    fn new(shape: &[usize], axis: usize, descending: bool, x: RawView, out: *mut u8) -> Self {
        assert!(axis < shape.len(), "axis {axis} of a shape of {} axes", shape.len());
        assert!(shape[axis].saturating_sub(1) <= u32::MAX as usize, "argsort: positions pass u32");
        let out = RawView { ptr: out, strides: contiguous(shape) };
        let at = |d: usize| Axis { len: shape[d], strides: [x.strides[d], out.strides[d]] };
        let mut outer = Space::new((0..shape.len()).filter(|&d| d != axis).map(at));
        let inner = outer.pop();
        Job { x, out, outer, inner, axis: at(axis), descending }
    }

    /// # Safety
    /// As [`argsort`], for elements of type `T`.
    unsafe fn run<T: Key>(&self) {
        let n = self.axis.len;
        if n == 0 {
            return;
        }
        let [xs, os] = self.inner.strides;
        let lanes = if os == 1 { LANES } else { 1 };
        let blocks = Blocks::new(self.outer.size(), self.inner.len, n, lanes);
        par::for_each(blocks.count(), |task| {
            let (outer, inner) = blocks.get(task);
            let mut packed: Vec<T::Packed> = Vec::new();
            self.outer.for_each(outer, |[x, out]| {
                for first in inner.clone().step_by(lanes) {
                    let width = lanes.min(inner.end - first);
                    let first = first as isize;
                    // SAFETY: positions of lines of `shape`; lines share no output, so no two threads write to one
                    // element.
                    unsafe {
                        let x = self.x.ptr.cast::<T>().offset(x + first * xs);
                        let out = self.out.ptr.cast::<u32>().offset(out + first * os);
                        self.lines(width, x, out, &mut packed);
                    }
                }
            });
        });
    }

    /// `width` lines along the inner axis, with room to work in.
    ///
    /// # Safety
    /// The addresses must be those of the first element of the first line; the axis is not empty.
    unsafe fn lines<T: Key>(&self, width: usize, x: *const T, out: *mut u32, packed: &mut Vec<T::Packed>) {
        let (n, [xs, os], [xa, oa]) = (self.axis.len, self.inner.strides, self.axis.strides);
        // SAFETY: the caller's promise.
        let load = |i: usize, l: usize| unsafe {
            (*x.offset(i as isize * xa + l as isize * xs)).pack(i as u32, self.descending)
        };
        packed.resize(width * n, load(0, 0));
        for i in 0..n {
            (0..width).for_each(|l| packed[l * n + i] = load(i, l));
        }
        packed.chunks_exact_mut(n).for_each(sort);
        for i in 0..n {
            for l in 0..width {
                // SAFETY: the caller's promise.
                unsafe { *out.offset(i as isize * oa + l as isize * os) = T::position(packed[l * n + i]) };
            }
        }
    }
}

/// Sorts, long lines on all threads: no two are equal, so there is one result.
fn sort<P: Ord + Send>(packed: &mut [P]) {
    #[cfg(feature = "parallel")]
    if packed.len() >= 1 << 16 {
        use rayon::slice::ParallelSliceMut;
        packed.par_sort_unstable();
        return;
    }
    packed.sort_unstable();
}
