//! Slices seen through strides: the checked operands of the kernels' safe entries.

use crate::DType;
use crate::dtype::{MAX_RANK, RawView, contiguous};

/// A Rust type that is the element of a [`DType`].
pub trait Element: Copy + Send + Sync + 'static {
    /// The element type this is.
    const DTYPE: DType;
}

/// An element that can be added: everything but `bool`.
pub trait Number: Element {
    /// The neutral element of addition.
    const ZERO: Self;

    /// The sum; integers wrap.
    fn plus(self, other: Self) -> Self;
}

/// An element that can be an index: `u32` or `i32`.
pub trait IndexElement: Element + Into<i64> {}

impl IndexElement for u32 {}
impl IndexElement for i32 {}

macro_rules! elements {
    ($($t:ty, $dtype:ident;)*) => { $(impl Element for $t { const DTYPE: DType = DType::$dtype; })* };
}
elements! { f32, F32; f64, F64; i32, I32; u32, U32; bool, Bool; }

macro_rules! numbers {
    ($($t:ty, $zero:expr, |$a:ident, $b:ident| $sum:expr;)*) => { $(
        impl Number for $t {
            const ZERO: Self = $zero;
            #[inline(always)]
            fn plus(self, other: Self) -> Self {
                let ($a, $b) = (self, other);
                $sum
            }
        }
    )* };
}
numbers! {
    f32, 0.0, |a, b| a + b;
    f64, 0.0, |a, b| a + b;
    i32, 0, |a, b| a.wrapping_add(b);
    u32, 0, |a, b| a.wrapping_add(b);
}

/// A slice, the place in it of the element with index (0, 0, …), and a stride in elements for every axis.
///
/// Strides may be negative or zero. The shape is given by the call.
#[derive(Clone, Copy, Debug)]
pub struct Strided<'a, T> {
    data: &'a [T],
    offset: usize,
    strides: [isize; MAX_RANK],
    rank: usize,
}

impl<'a, T: Element> Strided<'a, T> {
    /// The view of `data` whose element (0, 0, …) is `data[offset]`.
    ///
    /// # Panics
    /// If there are more than [`MAX_RANK`] strides.
    #[track_caller]
    pub fn new(data: &'a [T], offset: usize, strides: &[isize]) -> Self {
        assert!(strides.len() <= MAX_RANK, "{} axes, the kernels take at most {MAX_RANK}", strides.len());
        let mut all = [0; MAX_RANK];
        all[..strides.len()].copy_from_slice(strides);
        Strided { data, offset, strides: all, rank: strides.len() }
    }

    /// The row-major view of `data` as `shape`.
    ///
    /// # Panics
    /// If `shape` has more than [`MAX_RANK`] axes.
    #[track_caller]
    pub fn contiguous(data: &'a [T], shape: &[usize]) -> Self {
        assert!(shape.len() <= MAX_RANK, "{} axes, the kernels take at most {MAX_RANK}", shape.len());
        Strided { data, offset: 0, strides: contiguous(shape), rank: shape.len() }
    }

    /// The element at `index`.
    ///
    /// # Panics
    /// If it lies outside the slice.
    #[track_caller]
    pub fn get(&self, index: &[usize]) -> T {
        let at = index.iter().zip(&self.strides).map(|(&i, &s)| i as isize * s).sum::<isize>();
        self.data[self.offset.wrapping_add_signed(at)]
    }

    /// The unchecked form, after checking that every index of `shape` falls inside the slice.
    ///
    /// # Panics
    /// If one does not, or the number of axes differs.
    #[track_caller]
    pub fn view(&self, shape: &[usize]) -> RawView {
        assert_eq!(shape.len(), self.rank, "a shape of {} axes with {} strides", shape.len(), self.rank);
        let mut ptr = self.data.as_ptr();
        if !shape.contains(&0) {
            // In i128: lengths and strides are the caller's, and their products may pass any machine word.
            let (mut low, mut high) = (self.offset as i128, self.offset as i128);
            for (&len, &stride) in shape.iter().zip(&self.strides) {
                let reach = (len as i128 - 1).saturating_mul(stride as i128);
                low = low.saturating_add(reach.min(0));
                high = high.saturating_add(reach.max(0));
            }
            assert!(
                low >= 0 && high < self.data.len() as i128,
                "shape {shape:?} with strides {:?} from offset {} reaches {low}..={high} of a slice of {}",
                &self.strides[..self.rank],
                self.offset,
                self.data.len()
            );
            // SAFETY: the offset lies between `low` and `high`, which are inside the slice.
            ptr = unsafe { ptr.add(self.offset) };
        }
        RawView { ptr: ptr.cast_mut().cast(), strides: self.strides }
    }
}

/// The number of elements of `shape`, the safe entries' measure of an output.
///
/// # Panics
/// If there are more than [`MAX_RANK`] axes or the number of elements overflows.
#[track_caller]
pub(crate) fn elements(shape: &[usize]) -> usize {
    assert!(shape.len() <= MAX_RANK, "{} axes, the kernels take at most {MAX_RANK}", shape.len());
    let size = shape.iter().try_fold(1usize, |n, &len| n.checked_mul(len));
    // With an axis of length 0 the product may still overflow before the 0 is met.
    if shape.contains(&0) { 0 } else { size.expect("the number of elements overflows") }
}

/// `shape` with the length of `axis` replaced.
///
/// # Panics
/// If `axis` is not an axis of `shape`, or there are more than [`MAX_RANK`].
#[track_caller]
pub(crate) fn with_axis(shape: &[usize], axis: usize, len: usize) -> Vec<usize> {
    assert!(axis < shape.len(), "axis {axis} of a shape of {} axes", shape.len());
    let mut shape = shape.to_vec();
    shape[axis] = len;
    shape
}
