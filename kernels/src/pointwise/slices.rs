//! The safe entry: operands as slices, everything checked.

use super::Kernel;
use crate::{DType, MAX_RANK, RawView, contiguous};

/// A slice of any element type, to be read.
#[derive(Clone, Copy, Debug)]
pub enum Slice<'a> {
    /// Of f32.
    F32(&'a [f32]),
    /// Of f64.
    F64(&'a [f64]),
    /// Of i32.
    I32(&'a [i32]),
    /// Of u32.
    U32(&'a [u32]),
    /// Of bool.
    Bool(&'a [bool]),
}

/// A slice of any element type, to be written.
#[derive(Debug)]
pub enum SliceMut<'a> {
    /// Of f32.
    F32(&'a mut [f32]),
    /// Of f64.
    F64(&'a mut [f64]),
    /// Of i32.
    I32(&'a mut [i32]),
    /// Of u32.
    U32(&'a mut [u32]),
    /// Of bool.
    Bool(&'a mut [bool]),
}

impl Slice<'_> {
    /// Type, address and length.
    fn parts(&self) -> (DType, *mut u8, usize) {
        match self {
            Slice::F32(x) => (DType::F32, x.as_ptr().cast_mut().cast(), x.len()),
            Slice::F64(x) => (DType::F64, x.as_ptr().cast_mut().cast(), x.len()),
            Slice::I32(x) => (DType::I32, x.as_ptr().cast_mut().cast(), x.len()),
            Slice::U32(x) => (DType::U32, x.as_ptr().cast_mut().cast(), x.len()),
            Slice::Bool(x) => (DType::Bool, x.as_ptr().cast_mut().cast(), x.len()),
        }
    }

    /// A view of the slice as an operand of type `dtype` over `shape`.
    ///
    /// # Panics
    /// If the type is another or an element of the space lies outside the slice.
    pub(crate) fn view(&self, dtype: Option<DType>, shape: &[usize], strides: &[usize]) -> RawView {
        let (own, ptr, len) = self.parts();
        assert!(dtype.is_none_or(|t| t == own), "an operand is {own}, the program has {dtype:?}");
        assert_eq!(shape.len(), strides.len(), "as many strides as axes");
        let reach = |(&n, &s): (&usize, &usize)| n.saturating_sub(1).saturating_mul(s);
        let last = shape.iter().zip(strides).map(reach).fold(0, usize::saturating_add);
        assert!(last < len || shape.contains(&0), "element {last} of an operand of {len} elements");
        let mut all = [0; MAX_RANK];
        all.iter_mut().zip(strides).for_each(|(to, &s)| *to = s as isize);
        RawView { ptr, strides: all }
    }
}

impl SliceMut<'_> {
    /// Type, address and length.
    pub(crate) fn parts(&mut self) -> (DType, *mut u8, usize) {
        match self {
            SliceMut::F32(x) => (DType::F32, x.as_mut_ptr().cast(), x.len()),
            SliceMut::F64(x) => (DType::F64, x.as_mut_ptr().cast(), x.len()),
            SliceMut::I32(x) => (DType::I32, x.as_mut_ptr().cast(), x.len()),
            SliceMut::U32(x) => (DType::U32, x.as_mut_ptr().cast(), x.len()),
            SliceMut::Bool(x) => (DType::Bool, x.as_mut_ptr().cast(), x.len()),
        }
    }
}

impl Kernel {
    /// [`Kernel::run`] on slices: inputs with their strides in elements (0: broadcast), outputs contiguous.
    ///
    /// # Panics
    /// If a type is not the program's, an operand is missing, or the space reaches beyond a slice.
    pub fn run_slices(
        &self,
        shape: &[usize],
        inputs: &[(Slice, &[usize])],
        outputs: &mut [SliceMut],
        params: &[u64],
    ) {
        let count: usize = shape.iter().product();
        let inputs: Vec<RawView> = (inputs.iter().enumerate())
            .map(|(k, (slice, strides))| slice.view(self.code.input_type(k), shape, strides))
            .collect();
        assert_eq!(outputs.len(), self.code.arity()[1], "the program has other outputs");
        let view = |(k, output): (usize, &mut SliceMut)| {
            let (dtype, ptr, len) = output.parts();
            assert!(dtype == self.code.output_type(k), "output {k} is {dtype}");
            assert_eq!(len, count, "output {k} has another length than the space");
            RawView { ptr, strides: contiguous(shape) }
        };
        let outputs: Vec<RawView> = outputs.iter_mut().enumerate().map(view).collect();
        // SAFETY: types and bounds are checked above; the borrows keep outputs apart from everything.
        unsafe { self.run(shape, &inputs, &outputs, params) }
    }
}
