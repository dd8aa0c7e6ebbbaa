//! The words of a shader's parameters, and the spaces that strided kernels run over.

use super::super::dispatch::{Bind, Dispatch, Limits, Source, Word, fold_grid};
use gradus_kernels::MAX_RANK;

/// A strided operand: the offset of its first element in its value, and a stride for each axis, in elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct View {
    pub offset: usize,
    pub strides: [isize; MAX_RANK],
}

/// The words of a struct `P`, written in the order of its fields.
#[derive(Default)]
pub(super) struct Params {
    pub words: Vec<u32>,
    pub patches: Vec<(usize, Word)>,
}

/// A number as a word. Buffers have at most 2^31 bytes, so whatever counts or places elements fits.
///
/// # Panics
/// If it does not.
pub(super) fn word(number: usize) -> u32 {
    u32::try_from(number).expect("a kernel of more than 2^32 elements")
}

fn signed(number: isize) -> u32 {
    i32::try_from(number).expect("a stride of more than 2^31 elements") as u32
}

impl Params {
    /// Unsigned numbers.
    pub fn numbers(&mut self, numbers: impl IntoIterator<Item = usize>) -> &mut Params {
        self.words.extend(numbers.into_iter().map(word));
        self
    }

    /// Signed numbers.
    pub fn signed(&mut self, numbers: impl IntoIterator<Item = isize>) -> &mut Params {
        self.words.extend(numbers.into_iter().map(signed));
        self
    }

    /// The place of an operand's first element: the start of its value in the buffer is added later.
    pub fn start(&mut self, offset: usize, of: Bind) -> &mut Params {
        self.patches.push((self.words.len(), Word::Offset(of)));
        self.numbers([offset])
    }

    /// The number of the kernel's node, for a report of a fault.
    pub fn node(&mut self) -> &mut Params {
        self.patches.push((self.words.len(), Word::Node));
        self.numbers([0])
    }

    /// Fills up to the next multiple of 16 bytes, where arrays begin.
    pub fn align(&mut self) -> &mut Params {
        self.words.resize(self.words.len().next_multiple_of(4), 0);
        self
    }

    /// An `array<vec4<u32>, 2>`.
    pub fn lengths(&mut self, lengths: &[usize]) -> &mut Params {
        assert!(lengths.len() <= MAX_RANK, "{} axes", lengths.len());
        self.align().numbers(lengths.iter().copied());
        self.align8(lengths.len())
    }

    /// An `array<vec4<i32>, 2>`.
    pub fn strides(&mut self, strides: &[isize]) -> &mut Params {
        assert!(strides.len() <= MAX_RANK, "{} axes", strides.len());
        self.align().signed(strides.iter().copied());
        self.align8(strides.len())
    }

    /// The run of the file `name` with these parameters.
    pub fn dispatch(
        self,
        name: &'static str,
        defines: Vec<(&'static str, String)>,
        reads: Vec<Bind>,
        writes: Vec<Bind>,
        workgroups: usize,
        limits: &Limits,
    ) -> Dispatch {
        Dispatch {
            source: Source::File { name, defines },
            constants: Vec::new(),
            params: self.words,
            patches: self.patches,
            reads,
            writes,
            grid: fold_grid(workgroups as u64, limits),
        }
    }

    fn align8(&mut self, written: usize) -> &mut Params {
        self.words.resize(self.words.len() + MAX_RANK - written, 0);
        self
    }
}

/// Axes with as many strides as there are operands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Space<const N: usize> {
    pub lengths: Vec<usize>,
    pub strides: [Vec<isize>; N],
}

impl<const N: usize> Space<N> {
    /// The space of `shape` with operands of these strides; axes of length 1 are dropped, and neighbours along which
    /// every operand goes on as if they were one axis are merged.
    pub fn new(shape: &[usize], strides: [&[isize]; N]) -> Space<N> {
        let mut space = Space::whole(shape, strides);
        space.merge();
        space
    }

    /// As [`Space::new`], axis for axis.
    pub fn whole(shape: &[usize], strides: [&[isize]; N]) -> Space<N> {
        Space { lengths: shape.to_vec(), strides: strides.map(|s| s[..shape.len()].to_vec()) }
    }

    fn merge(&mut self) {
        let mut merged: Space<N> =
            Space { lengths: Vec::new(), strides: std::array::from_fn(|_| Vec::new()) };
        for axis in 0..self.lengths.len() {
            let length = self.lengths[axis];
            if length == 1 {
                continue;
            }
            let goes_on = |operand: usize| {
                let last = merged.strides[operand].last();
                last.is_some_and(|&last| last == self.strides[operand][axis] * length as isize)
            };
            if (0..N).all(goes_on) && !merged.lengths.is_empty() {
                let last = merged.lengths.len() - 1;
                merged.lengths[last] *= length;
                (0..N).for_each(|operand| merged.strides[operand][last] = self.strides[operand][axis]);
            } else {
                merged.lengths.push(length);
                (0..N).for_each(|operand| merged.strides[operand].push(self.strides[operand][axis]));
            }
        }
        *self = merged;
    }

    pub fn rank(&self) -> usize {
        self.lengths.len()
    }
}

/// A flag among a file's defines.
pub(super) fn flag(name: &'static str) -> (&'static str, String) {
    (name, String::new())
}

/// `values` without the one of `axis`.
pub(super) fn without<T: Copy>(values: &[T], axis: usize) -> Vec<T> {
    values.iter().enumerate().filter(|(i, _)| *i != axis).map(|(_, v)| *v).collect()
}

/// `strides` of the axes of a shape with that of `axis` replaced by 0.
pub(super) fn cleared(strides: &[isize; MAX_RANK], axis: usize) -> [isize; MAX_RANK] {
    let mut strides = *strides;
    strides[axis] = 0;
    strides
}

#[cfg(test)]
mod tests {
    use super::Space;

    #[test]
    fn neighbours_merge_where_all_operands_go_on() {
        let space = Space::new(&[2, 1, 3, 4], [&[12, 9, 4, 1], &[12, 7, 4, 1]]);
        assert_eq!((space.lengths, space.strides), (vec![24], [vec![1], vec![1]]));
        let space = Space::new(&[2, 3, 4], [&[12, 4, 1], &[3, 1, 6]]);
        assert_eq!((space.lengths, space.strides), (vec![6, 4], [vec![4, 1], vec![1, 6]]));
        assert_eq!(Space::new(&[1, 1], [&[5, 5]]).rank(), 0);
    }
}
