//! Shapes, layouts and the arguments that name axes: every size in gradus is checked here, once.

use crate::error::{BuildError, fail};
use gradus_kernels::MAX_RANK;
use std::fmt;
use std::ops::{Bound, Deref, RangeBounds, RangeFull};

/// The extents of a tensor: up to eight axes, outermost first.
///
/// A `Shape` that exists is sound: its number of elements, and eight times that many bytes, fit an `isize`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    rank: u8,
    dims: [usize; MAX_RANK],
}

impl Shape {
    /// The shape of a scalar: no axes, one element.
    pub const SCALAR: Shape = Shape { rank: 0, dims: [0; MAX_RANK] };

    /// Checks `dims` and makes a shape of them.
    ///
    /// # Errors
    /// A sentence saying which rule is broken: more than eight axes, or more elements than memory can address.
    pub fn new(dims: &[usize]) -> Result<Shape, String> {
        if dims.len() > MAX_RANK {
            return Err(format!("{dims:?} has {} axes; at most {MAX_RANK} are supported", dims.len()));
        }
        // The product of the non-zero extents is bounded too, so that strides of empty tensors never overflow.
        let mut product = 8usize;
        for &d in dims {
            product = match product.checked_mul(d.max(1)) {
                Some(p) if p <= isize::MAX as usize => p,
                _ => return Err(format!("{dims:?} has more elements than memory can address")),
            };
        }
        let mut shape = Shape { rank: dims.len() as u8, dims: [0; MAX_RANK] };
        shape.dims[..dims.len()].copy_from_slice(dims);
        Ok(shape)
    }

    /// As [`Shape::new`], for extents derived from a shape that exists and cannot grow past it.
    #[track_caller]
    pub(crate) fn of(dims: &[usize]) -> Shape {
        match Shape::new(dims) {
            Ok(shape) => shape,
            Err(rule) => fail(BuildError::new("shape", rule)),
        }
    }

    /// The number of axes.
    pub fn rank(&self) -> usize {
        self.rank as usize
    }

    /// The extents.
    pub fn dims(&self) -> &[usize] {
        &self.dims[..self.rank as usize]
    }

    /// The number of elements; 1 for a scalar.
    pub fn numel(&self) -> usize {
        self.dims().iter().product()
    }

    /// This shape with the extent of one axis replaced.
    #[track_caller]
    pub(crate) fn with(&self, axis: usize, extent: usize) -> Shape {
        let mut dims = *self;
        dims.dims[axis] = extent;
        Shape::of(dims.dims())
    }

    /// The shape both broadcast to under NumPy's rule: aligned at the right, extents equal or one of them 1.
    pub fn broadcast(&self, other: &Shape) -> Option<Shape> {
        let rank = self.rank().max(other.rank());
        let mut dims = [0; MAX_RANK];
        for (i, d) in dims[..rank].iter_mut().enumerate() {
            let a = (i + self.rank()).checked_sub(rank).map_or(1, |k| self.dims[k]);
            let b = (i + other.rank()).checked_sub(rank).map_or(1, |k| other.dims[k]);
            *d = match (a, b) {
                _ if a == b => a,
                (1, _) => b,
                (_, 1) => a,
                _ => return None,
            };
        }
        Shape::new(&dims[..rank]).ok()
    }
}

impl Deref for Shape {
    type Target = [usize];
    fn deref(&self) -> &[usize] {
        self.dims()
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.dims())
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.dims())
    }
}

impl<const N: usize> PartialEq<[usize; N]> for Shape {
    fn eq(&self, other: &[usize; N]) -> bool {
        self.dims() == other
    }
}

/// A short list of signed numbers: extents or axes as the user wrote them.
#[derive(Clone, Copy)]
pub struct Numbers {
    len: usize,
    items: [isize; 16],
}

impl Numbers {
    fn collect(items: impl ExactSizeIterator<Item = isize>) -> Numbers {
        // One more than fits marks "too many"; whoever uses the list reports it with its own words.
        let mut out = Numbers { len: items.len().min(16), items: [0; 16] };
        for (slot, item) in out.items.iter_mut().zip(items) {
            *slot = item;
        }
        out
    }

    /// The numbers.
    pub fn as_slice(&self) -> &[isize] {
        &self.items[..self.len]
    }
}

/// Anything that can be written for a list of extents or axes: `[2, 3]`, `3`, `&[usize]`, a `Shape`.
pub trait ToNumbers {
    /// The numbers as written, signs included.
    fn to_numbers(&self) -> Numbers;
}

macro_rules! to_numbers {
    ($($t:ty),*) => {$(
        impl ToNumbers for $t {
            fn to_numbers(&self) -> Numbers {
                Numbers::collect([*self as isize].into_iter())
            }
        }
        impl<const N: usize> ToNumbers for [$t; N] {
            fn to_numbers(&self) -> Numbers {
                self.as_slice().to_numbers()
            }
        }
        impl ToNumbers for [$t] {
            fn to_numbers(&self) -> Numbers {
                Numbers::collect(self.iter().map(|&d| d as isize))
            }
        }
        impl ToNumbers for Vec<$t> {
            fn to_numbers(&self) -> Numbers {
                self.as_slice().to_numbers()
            }
        }
    )*};
}
to_numbers!(i32, isize, usize);

impl ToNumbers for Shape {
    fn to_numbers(&self) -> Numbers {
        self.dims().to_numbers()
    }
}

impl<T: ToNumbers + ?Sized> ToNumbers for &T {
    fn to_numbers(&self) -> Numbers {
        (**self).to_numbers()
    }
}

/// Reads a list of extents.
#[track_caller]
pub(crate) fn shape_arg(op: &'static str, dims: impl ToNumbers) -> Shape {
    let numbers = dims.to_numbers();
    let mut out = [0usize; 16];
    for (o, &d) in out.iter_mut().zip(numbers.as_slice()) {
        *o = usize::try_from(d)
            .unwrap_or_else(|_| fail(BuildError::new(op, format!("extent {d} is negative"))));
    }
    Shape::new(&out[..numbers.len]).unwrap_or_else(|rule| fail(BuildError::new(op, rule)))
}

/// Turns a possibly negative axis of a tensor of rank `rank` into its index.
#[track_caller]
pub(crate) fn axis_arg(op: &'static str, axis: isize, rank: usize) -> usize {
    let index = if axis < 0 { axis + rank as isize } else { axis };
    if index < 0 || index >= rank as isize {
        fail(BuildError::new(op, format!("axis {axis} is out of range for a tensor of {rank} axes")));
    }
    index as usize
}

/// Anything that can be written for a set of axes: `..` for all, `1`, `-1`, `[0, 2]`.
pub trait Axes {
    /// The axes as a bit mask, or the first number that is out of range or repeated.
    fn mask(&self, rank: usize) -> Result<u32, isize>;
}

impl Axes for RangeFull {
    fn mask(&self, rank: usize) -> Result<u32, isize> {
        Ok((1u32 << rank) - 1)
    }
}

impl<T: ToNumbers> Axes for T {
    fn mask(&self, rank: usize) -> Result<u32, isize> {
        let mut mask = 0u32;
        for &axis in self.to_numbers().as_slice() {
            let index = if axis < 0 { axis + rank as isize } else { axis };
            if index < 0 || index >= rank as isize || mask & (1 << index) != 0 {
                return Err(axis);
            }
            mask |= 1 << index;
        }
        Ok(mask)
    }
}

/// Reads a set of axes.
#[track_caller]
pub(crate) fn axes_arg(op: &'static str, axes: impl Axes, rank: usize) -> u32 {
    axes.mask(rank).unwrap_or_else(|axis| {
        fail(BuildError::new(
            op,
            format!("axis {axis} is out of range or repeated for a tensor of {rank} axes"),
        ))
    })
}

/// Reads a range of indices along an axis of `extent`, negative ones counting from the end, clamped as in Python.
pub(crate) fn range_arg(range: impl RangeBounds<isize>, extent: usize) -> (usize, usize) {
    let n = extent as isize;
    let clamp = |i: isize| (if i < 0 { i + n } else { i }).clamp(0, n);
    let start = match range.start_bound() {
        Bound::Included(&i) => clamp(i),
        Bound::Excluded(&i) => clamp(i) + 1,
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(&i) => (clamp(i) + 1).min(n),
        Bound::Excluded(&i) => clamp(i),
        Bound::Unbounded => n,
    };
    (start as usize, end.max(start) as usize)
}

/// Where the elements of a tensor lie in a buffer: the offset of the first and the stride of each axis, in elements.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Layout {
    /// Position of element (0, 0, …).
    pub offset: usize,
    /// Step along each axis; 0 on a broadcast one.
    pub strides: [isize; MAX_RANK],
}

impl Layout {
    /// Row-major from the start of the buffer.
    pub fn contiguous(shape: &Shape) -> Layout {
        Layout { offset: 0, strides: gradus_kernels::dtype::contiguous(shape) }
    }

    /// Whether the elements of `shape` lie row-major without gaps, wherever they start.
    pub fn is_contiguous(&self, shape: &Shape) -> bool {
        let expected = gradus_kernels::dtype::contiguous(shape);
        shape.numel() == 0 || (0..shape.rank()).all(|i| shape[i] == 1 || self.strides[i] == expected[i])
    }

    /// The lowest and highest position any element of `shape` has; `None` when there is no element.
    pub fn span(&self, shape: &Shape) -> Option<(isize, isize)> {
        if shape.numel() == 0 {
            return None;
        }
        let (mut low, mut high) = (self.offset as isize, self.offset as isize);
        for i in 0..shape.rank() {
            let reach = self.strides[i] * (shape[i] as isize - 1);
            low += reach.min(0);
            high += reach.max(0);
        }
        Some((low, high))
    }

    /// The layout after reshaping from `from` to `to` without moving an element, where one exists.
    pub fn reshape(&self, from: &Shape, to: &Shape) -> Option<Layout> {
        if from.numel() == 0 {
            return Some(Layout::contiguous(to));
        }
        let mut strides = [0isize; MAX_RANK];
        let (mut i, mut j) = (0, 0);
        let old: Vec<(usize, isize)> =
            (0..from.rank()).filter(|&k| from[k] != 1).map(|k| (from[k], self.strides[k])).collect();
        let new: Vec<usize> = (0..to.rank()).filter(|&k| to[k] != 1).collect();
        while i < old.len() && j < new.len() {
            let (start, first) = (i, j);
            let (mut a, mut b) = (old[i].0, to[new[j]]);
            while a != b {
                if a < b {
                    i += 1;
                    a *= old[i].0;
                } else {
                    j += 1;
                    b *= to[new[j]];
                }
            }
            // The run of old axes must step as one axis would.
            if (start..i).any(|k| old[k].1 != old[k + 1].0 as isize * old[k + 1].1) {
                return None;
            }
            let mut step = old[i].1;
            for &axis in new[first..=j].iter().rev() {
                strides[axis] = step;
                step *= to[axis] as isize;
            }
            i += 1;
            j += 1;
        }
        Some(Layout { offset: self.offset, strides })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_checked() {
        assert!(Shape::new(&[1 << 32, 1 << 32]).is_err());
        assert!(Shape::new(&[0, 1 << 32, 1 << 32]).is_err());
        assert!(Shape::new(&[1; 9]).is_err());
        assert_eq!(Shape::new(&[]).unwrap().numel(), 1);
        assert_eq!(Shape::new(&[0, 7]).unwrap().numel(), 0);
    }

    #[test]
    fn broadcasting_is_numpys() {
        let s = |d: &[usize]| Shape::new(d).unwrap();
        assert_eq!(s(&[3, 1]).broadcast(&s(&[4])), Some(s(&[3, 4])));
        assert_eq!(s(&[0]).broadcast(&s(&[1])), Some(s(&[0])));
        assert_eq!(s(&[2]).broadcast(&s(&[3])), None);
    }

    #[test]
    fn a_reshape_is_a_view_when_strides_allow() {
        let s = |d: &[usize]| Shape::new(d).unwrap();
        let plain = Layout::contiguous(&s(&[4, 6]));
        assert!(plain.reshape(&s(&[4, 6]), &s(&[2, 2, 3, 2])).is_some());
        let transposed = Layout { offset: 0, strides: [1, 6, 0, 0, 0, 0, 0, 0] };
        assert!(transposed.reshape(&s(&[6, 4]), &s(&[24])).is_none());
        let split = transposed.reshape(&s(&[6, 4]), &s(&[2, 3, 1, 4])).unwrap();
        assert_eq!(&split.strides[..4], &[3, 1, 0, 6]);
    }

    #[test]
    fn ranges_count_from_the_end() {
        assert_eq!(range_arg(-2.., 5), (3, 5));
        let all_but_the_last = -1;
        assert_eq!(range_arg(1..all_but_the_last, 5), (1, 4));
        assert_eq!(range_arg((Bound::Included(4), Bound::Excluded(2)), 5), (4, 4));
        assert_eq!(range_arg(.., 0), (0, 0));
        assert_eq!(range_arg(..=1, 5), (0, 2));
    }
}
