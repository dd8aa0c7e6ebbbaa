//! `Reduce`: a fused pointwise program, reduced over any axes.
//!
//! # The order of additions
//! The elements of one sum are numbered row-major over the reduced axes and cut into blocks of [`BLOCK`]. In a block,
//! element `r` is added to lane `r % LANES`; lanes start at zero and are combined as `l + (l + 8)`, then 4, 2, 1 apart.
//! The sums of the blocks are added pairwise, neighbour to neighbour, until one is left. So the order depends on
//! shape and axes alone: not on strides, threads, instruction set or what was fused into the program.

use crate::program::Program;
use crate::{DType, RawView, naive, pointwise};

/// Lanes that a block is summed in.
pub const LANES: usize = 16;
/// Elements of one block.
pub const BLOCK: usize = 4096;

/// What is done along the reduced axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reduction {
    /// The sum (integers wrap; bool: any). Of nothing: 0.
    Sum,
    /// The largest; NaN if there is one; bool: any. Of nothing: the least value of the type.
    Max,
    /// The smallest; NaN if there is one; bool: all. Of nothing: the greatest value of the type.
    Min,
    /// Row-major index (u32) among the reduced axes of the first largest element, or of the first NaN. Of nothing: 0.
    ArgMax,
    /// Row-major index (u32) among the reduced axes of the first smallest element, or of the first NaN. Of nothing: 0.
    ArgMin,
}

impl Reduction {
    /// Whether the result is an index.
    pub const fn is_arg(self) -> bool {
        matches!(self, Reduction::ArgMax | Reduction::ArgMin)
    }

    /// The type of the result, for elements of type `dtype`.
    pub const fn result(self, dtype: DType) -> DType {
        if self.is_arg() { DType::U32 } else { dtype }
    }
}

/// A program with one output, and a reduction of it, made ready to run.
pub struct Kernel {
    program: Program,
    reduction: Reduction,
}

impl Kernel {
    /// Makes the reduction of `program`'s one output ready.
    ///
    /// # Panics
    /// If the program is ill-typed or has not exactly one output.
    pub fn new(program: &Program, reduction: Reduction) -> Kernel {
        pointwise::check(program);
        assert_eq!(program.outputs.len(), 1, "a reduced program has one output");
        Kernel { program: program.clone(), reduction }
    }

    /// Evaluates the program over `shape` and reduces it over the axes whose bit is set in `axes`. `out` is contiguous
    /// over the kept axes, of the type [`Reduction::result`].
    ///
    /// # Safety
    /// Every input address that shape and strides reach is inside a live allocation of the right type, aligned; `out`
    /// has room for the kept positions, is aligned, and overlaps no input.
    pub unsafe fn run(&self, shape: &[usize], axes: u32, inputs: &[RawView], out: *mut u8, params: &[u64]) {
        // SAFETY: the caller's promise.
        unsafe { naive::reduce::run(&self.program, self.reduction, shape, axes, inputs, out, params) }
    }
}
