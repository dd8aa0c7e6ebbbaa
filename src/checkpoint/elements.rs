//! Element types of safetensors files: bytes to tensors and back, little-endian as the format has it.

use crate::error::{Error, Result};
use crate::shape::Shape;
use crate::tensor::{Element, Tensor};
use gradus_kernels::DType;

/// An element type of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    F64,
    F32,
    F16,
    Bf16,
    I64,
    I32,
    I16,
    I8,
    U64,
    U32,
    U16,
    U8,
    Bool,
}

const KINDS: [(&str, Kind, usize); 13] = [
    ("F64", Kind::F64, 8),
    ("F32", Kind::F32, 4),
    ("F16", Kind::F16, 2),
    ("BF16", Kind::Bf16, 2),
    ("I64", Kind::I64, 8),
    ("I32", Kind::I32, 4),
    ("I16", Kind::I16, 2),
    ("I8", Kind::I8, 1),
    ("U64", Kind::U64, 8),
    ("U32", Kind::U32, 4),
    ("U16", Kind::U16, 2),
    ("U8", Kind::U8, 1),
    ("BOOL", Kind::Bool, 1),
];

impl Kind {
    fn row(self) -> (&'static str, Kind, usize) {
        KINDS[self as usize]
    }

    /// The name in files.
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// Bytes of one element.
    pub fn size(self) -> usize {
        self.row().2
    }

    pub fn parse(name: &str) -> std::result::Result<Kind, String> {
        let row = KINDS.iter().find(|(known, ..)| *known == name);
        row.map(|row| row.1)
            .ok_or_else(|| format!("has the type {}, which is not supported", super::header::quoted(name)))
    }

    /// What a tensor is stored as: its own type.
    pub fn of(dtype: DType) -> Kind {
        match dtype {
            DType::F32 => Kind::F32,
            DType::F64 => Kind::F64,
            DType::I32 => Kind::I32,
            DType::U32 => Kind::U32,
            DType::Bool => Kind::Bool,
        }
    }
}

/// The elements of a tensor, row-major.
pub(super) fn encode(x: &Tensor) -> Result<Vec<u8>> {
    fn bytes<T: Element, const N: usize>(x: &Tensor, f: impl Fn(T) -> [u8; N]) -> Result<Vec<u8>> {
        let values = x.to_vec::<T>()?;
        let mut out = room(values.len() * N)?;
        values.into_iter().for_each(|v| out.extend_from_slice(&f(v)));
        Ok(out)
    }
    match x.dtype() {
        DType::F32 => bytes(x, f32::to_le_bytes),
        DType::F64 => bytes(x, f64::to_le_bytes),
        DType::I32 => bytes(x, i32::to_le_bytes),
        DType::U32 => bytes(x, u32::to_le_bytes),
        DType::Bool => bytes(x, |b: bool| [b as u8]),
    }
}

/// An empty list with room for `len` elements.
pub(super) fn room<T>(len: usize) -> Result<Vec<T>> {
    let mut list = Vec::new();
    let bytes = len.saturating_mul(size_of::<T>());
    list.try_reserve_exact(len).map_err(|_| Error::Data(format!("there is no memory for {bytes} bytes")))?;
    Ok(list)
}

/// The tensor whose elements are `bytes`, exactly as many as `shape` has. Types without a tensor of their own are
/// widened: halves to f32, small integers to i32; 64-bit integers become 32-bit ones if they fit.
pub(super) fn decode(kind: Kind, shape: &Shape, bytes: &[u8]) -> Result<Tensor> {
    fn make<T: Element, const N: usize>(
        shape: &Shape,
        bytes: &[u8],
        f: impl Fn([u8; N]) -> std::result::Result<T, String>,
    ) -> Result<Tensor> {
        let (elements, _) = bytes.as_chunks::<N>();
        let mut values = room(elements.len())?;
        for (i, &element) in elements.iter().enumerate() {
            values.push(f(element).map_err(|fault| Error::Data(format!("element {i} {fault}")))?);
        }
        Tensor::try_from_vec(values, shape)
    }
    match kind {
        Kind::F64 => make(shape, bytes, |b| Ok(f64::from_le_bytes(b))),
        Kind::F32 => make(shape, bytes, |b| Ok(f32::from_le_bytes(b))),
        Kind::F16 => make(shape, bytes, |b| Ok(half_to_f32(u16::from_le_bytes(b)))),
        Kind::Bf16 => make(shape, bytes, |b| Ok(f32::from_bits(u32::from(u16::from_le_bytes(b)) << 16))),
        Kind::I64 => make(shape, bytes, |b| {
            let v = i64::from_le_bytes(b);
            i32::try_from(v).map_err(|_| format!("is {v}, which does not fit i32"))
        }),
        Kind::I32 => make(shape, bytes, |b| Ok(i32::from_le_bytes(b))),
        Kind::I16 => make(shape, bytes, |b| Ok(i32::from(i16::from_le_bytes(b)))),
        Kind::I8 => make(shape, bytes, |b| Ok(i32::from(i8::from_le_bytes(b)))),
        Kind::U64 => make(shape, bytes, |b| {
            let v = u64::from_le_bytes(b);
            u32::try_from(v).map_err(|_| format!("is {v}, which does not fit u32"))
        }),
        Kind::U32 => make(shape, bytes, |b| Ok(u32::from_le_bytes(b))),
        Kind::U16 => make(shape, bytes, |b| Ok(i32::from(u16::from_le_bytes(b)))),
        Kind::U8 => make(shape, bytes, |[b]: [u8; 1]| Ok(i32::from(b))),
        Kind::Bool => make(shape, bytes, |[b]: [u8; 1]| match b {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(format!("is {b}, which is neither false nor true")),
        }),
    }
}

/// IEEE 754 binary16, exactly.
fn half_to_f32(half: u16) -> f32 {
    let (exponent, mantissa) = (u32::from(half >> 10 & 31), u32::from(half & 0x3ff));
    let magnitude = match exponent {
        // Subnormal: a multiple of 2^-24, which f32 holds as a normal number.
        0 => mantissa as f32 * 2f32.powi(-24),
        31 => f32::from_bits(0x7f80_0000 | mantissa << 13),
        _ => f32::from_bits((exponent + 112) << 23 | mantissa << 13),
    };
    f32::from_bits(magnitude.to_bits() | u32::from(half >> 15) << 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every half, against the definition of the format in f64.
    #[test]
    fn halves_are_exact() {
        for bits in 0..=u16::MAX {
            let (e, m) = (i32::from(bits >> 10 & 31), f64::from(bits & 0x3ff));
            let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
            let expected = match e {
                0 => m * 2f64.powi(-24),
                31 if m == 0.0 => f64::INFINITY,
                31 => f64::NAN,
                _ => (1024.0 + m) * 2f64.powi(e - 25),
            } * sign;
            let found = f64::from(half_to_f32(bits));
            let same = found == expected && found.is_sign_negative() == expected.is_sign_negative();
            assert!(
                same || (found.is_nan() && expected.is_nan()),
                "{bits:#06x}: {found} instead of {expected}"
            );
        }
    }

    #[test]
    fn the_table_is_in_the_order_of_the_kinds() {
        assert!(KINDS.iter().enumerate().all(|(i, row)| row.1 as usize == i));
    }
}
