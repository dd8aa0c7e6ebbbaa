//! Printing of tensors.

use crate::shape::Shape;
use gradus_kernels::DType;
use std::fmt::{self, Write};

/// Axes longer than this show only their ends.
const LONG: usize = 10;
/// How many entries each end shows.
const ENDS: usize = 4;

/// Writes `values` (row-major, of `shape`) with `precision` significant digits behind the point (4 unless said).
pub(crate) fn write(
    f: &mut fmt::Formatter<'_>,
    values: &[f64],
    shape: &Shape,
    dtype: DType,
    precision: Option<usize>,
) -> fmt::Result {
    let precision = precision.unwrap_or(4);
    let abridge = shape.numel() > 1000;
    let shown = shown_indices(shape, abridge);
    let largest = values.iter().filter(|v| v.is_finite()).fold(0.0f64, |m, v| m.max(v.abs()));
    // One scale for the whole tensor: exponents only when the plain form would hide the digits.
    let exponents = largest != 0.0 && !(1e-3..1e6).contains(&largest);
    let cells: Vec<String> = shown.iter().map(|&i| cell(values[i], dtype, precision, exponents)).collect();
    let width = cells.iter().map(String::len).max().unwrap_or(0);
    let mut cells = cells.into_iter();
    axis(f, shape, 0, abridge, width, &mut cells)?;
    if shape.rank() > 0 {
        write!(f, "  {shape} {dtype}")?;
    }
    Ok(())
}

fn kept(extent: usize, abridge: bool) -> (Vec<usize>, bool) {
    if abridge && extent > LONG {
        ((0..ENDS).chain(extent - ENDS..extent).collect(), true)
    } else {
        ((0..extent).collect(), false)
    }
}

fn shown_indices(shape: &Shape, abridge: bool) -> Vec<usize> {
    let mut indices = vec![0];
    for &extent in shape.dims() {
        let (positions, _) = kept(extent, abridge);
        indices = indices.iter().flat_map(|&i| positions.iter().map(move |&p| i * extent + p)).collect();
    }
    indices
}

fn cell(x: f64, dtype: DType, precision: usize, exponents: bool) -> String {
    match dtype {
        DType::Bool => (if x != 0.0 { "true" } else { "false" }).to_string(),
        DType::I32 | DType::U32 => format!("{x}"),
        _ if !x.is_finite() => format!("{x}"),
        _ if exponents => format!("{x:.precision$e}"),
        _ => format!("{x:.precision$}"),
    }
}

fn axis(
    f: &mut fmt::Formatter<'_>,
    shape: &Shape,
    depth: usize,
    abridge: bool,
    width: usize,
    cells: &mut impl Iterator<Item = String>,
) -> fmt::Result {
    if depth == shape.rank() {
        return write!(f, "{:>width$}", cells.next().unwrap_or_default());
    }
    let (positions, cut) = kept(shape[depth], abridge);
    let last = depth + 1 == shape.rank();
    f.write_char('[')?;
    for k in 0..positions.len() {
        if k > 0 {
            if last {
                f.write_str(", ")?;
            } else {
                f.write_char(',')?;
                (0..shape.rank() - depth - 1).try_for_each(|_| f.write_char('\n'))?;
                (0..=depth).try_for_each(|_| f.write_char(' '))?;
            }
        }
        if cut && k == ENDS {
            f.write_str("…, ")?;
            if !last {
                f.write_char('\n')?;
                (0..=depth).try_for_each(|_| f.write_char(' '))?;
            }
        }
        axis(f, shape, depth + 1, abridge, width, cells)?;
    }
    f.write_char(']')
}
