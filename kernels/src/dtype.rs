//! Element types, and what every kernel needs to know of them.

/// The largest number of axes a kernel accepts.
pub const MAX_RANK: usize = 8;

/// The type of one element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum DType {
    /// 32-bit IEEE 754 float.
    F32,
    /// 64-bit IEEE 754 float.
    F64,
    /// 32-bit signed integer, wrapping arithmetic.
    I32,
    /// 32-bit unsigned integer, wrapping arithmetic.
    U32,
    /// One byte, 0 or 1.
    Bool,
}

impl DType {
    /// Bytes of one element.
    pub const fn size(self) -> usize {
        match self {
            DType::F32 | DType::I32 | DType::U32 => 4,
            DType::F64 => 8,
            DType::Bool => 1,
        }
    }

    /// Whether gradients can flow through values of this type.
    pub const fn is_float(self) -> bool {
        matches!(self, DType::F32 | DType::F64)
    }

    /// The lower-case name, as printed in messages.
    pub const fn name(self) -> &'static str {
        match self {
            DType::F32 => "f32",
            DType::F64 => "f64",
            DType::I32 => "i32",
            DType::U32 => "u32",
            DType::Bool => "bool",
        }
    }
}

impl std::fmt::Display for DType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A raw strided operand: the address of its first element and the stride of every axis of the iteration space.
///
/// The type of the elements is said by the program or the call it is given to. An axis of stride 0 is broadcast.
#[derive(Clone, Copy, Debug)]
pub struct RawView {
    /// Address of the element with index (0, 0, …).
    pub ptr: *mut u8,
    /// Strides in elements, one per axis of the iteration space; the rest is ignored.
    pub strides: [isize; MAX_RANK],
}

// SAFETY: a RawView is an address and numbers; whoever dereferences it (the unsafe kernel entry points) states what
// must hold, data races included.
unsafe impl Send for RawView {}
// SAFETY: as above.
unsafe impl Sync for RawView {}

/// Row-major strides of `shape`.
pub fn contiguous(shape: &[usize]) -> [isize; MAX_RANK] {
    let mut strides = [0; MAX_RANK];
    let mut step = 1isize;
    for axis in (0..shape.len()).rev() {
        strides[axis] = step;
        step *= shape[axis] as isize;
    }
    strides
}
