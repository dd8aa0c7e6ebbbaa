//! Parameters and indices as elements of a type.

use crate::DType;

/// The element that a parameter is, in the first bytes.
pub(super) fn param_bits(dtype: DType, param: u64) -> u64 {
    let bytes = match dtype {
        DType::F32 => (f64::from_bits(param) as f32).to_bits() as u64,
        DType::F64 => param,
        DType::I32 | DType::U32 => param as u32 as u64,
        DType::Bool => (param != 0) as u64,
    };
    // Elements are read at the address of the word: the low bytes must come first.
    if cfg!(target_endian = "big") { bytes << (64 - 8 * dtype.size()) } else { bytes }
}

/// # Safety
/// `at` has an element `i` of type `dtype`.
pub(super) unsafe fn write_index(dtype: DType, at: *mut u8, i: usize, index: u64) {
    // SAFETY: the caller's promise.
    unsafe {
        match dtype {
            DType::F32 => *at.cast::<f32>().add(i) = index as f32,
            DType::F64 => *at.cast::<f64>().add(i) = index as f64,
            DType::I32 => *at.cast::<i32>().add(i) = index as i32,
            DType::U32 => *at.cast::<u32>().add(i) = index as u32,
            DType::Bool => *at.add(i) = (index != 0) as u8,
        }
    }
}
