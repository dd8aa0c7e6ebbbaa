//! `Map`: fused pointwise programs over strided operands.

mod check;

use crate::RawView;
use crate::naive;
use crate::program::Program;
pub(crate) use check::check;

/// A program made ready to run.
pub struct Kernel {
    program: Program,
}

impl Kernel {
    /// Checks the types of `program` and makes it ready.
    ///
    /// # Panics
    /// If the program is ill-typed, which is a bug of whoever wrote it.
    pub fn new(program: &Program) -> Kernel {
        check(program);
        Kernel { program: program.clone() }
    }

    /// Evaluates the program at every element of `shape`.
    ///
    /// # Safety
    /// Every address that shape and strides reach is inside a live allocation and aligned, for inputs of the types
    /// of the program's inputs and for outputs of its output registers. No output overlaps itself, another output
    /// or an input, except that an output may be exactly an input (same address, same strides).
    pub unsafe fn run(&self, shape: &[usize], inputs: &[RawView], outputs: &[RawView], params: &[u64]) {
        // SAFETY: the caller's promise.
        unsafe { naive::pointwise::run(&self.program, shape, inputs, outputs, params) }
    }

    /// Evaluates the program over the box `start .. start + size` of the space `shape`, on the calling thread.
    ///
    /// # Safety
    /// As [`Kernel::run`], for the addresses of the box.
    pub unsafe fn run_region(
        &self,
        shape: &[usize],
        start: &[usize],
        size: &[usize],
        inputs: &[RawView],
        outputs: &[RawView],
        params: &[u64],
    ) {
        // SAFETY: the caller's promise.
        unsafe { naive::pointwise::run_region(&self.program, shape, start, size, inputs, outputs, params) }
    }
}
