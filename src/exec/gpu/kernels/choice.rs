//! What can be chosen about a kernel without changing what it computes: the listed choices, and the size classes that
//! they are measured for.
//!
//! Tiles leave every sum in its order. The parts of k, the depth of a product with a vector and the workgroup of a
//! reduction set the order of sums, so that their results differ by rounding.

use super::super::dispatch::Limits;
use super::tile::{Cut, Extent, TILES, Tile, cuts, time};
use std::fmt;
use std::str::FromStr;

/// The kernels that have a choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Family {
    /// Products of matrices; sizes m, n, k, and how many products.
    Gemm,
    /// Products with a vector, the matrix with its smaller stride along k; sizes m, k, and how many.
    Gemv,
    /// The matrix with its smaller stride along the rows.
    GemvAcross,
    /// Convolutions, seen as products.
    ConvForward,
    ConvInput,
    ConvWeight,
    /// Reductions of neighbours in memory; sizes kept, reduced.
    Reduce,
    /// Reductions whose neighbours in memory are kept.
    ReduceAcross,
}

/// Names of the families, and how many sizes they have.
const FAMILIES: [(Family, &str, usize); 8] = [
    (Family::Gemm, "gemm", 4),
    (Family::Gemv, "gemv", 3),
    (Family::GemvAcross, "gemv_across", 3),
    (Family::ConvForward, "conv_forward", 4),
    (Family::ConvInput, "conv_input", 4),
    (Family::ConvWeight, "conv_weight", 4),
    (Family::Reduce, "reduce", 2),
    (Family::ReduceAcross, "reduce_across", 2),
];

/// A kernel and its sizes, each rounded to a power of two. As text: `gemm 128x256x1024x1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Class {
    family: Family,
    /// Exponents of 2; 0 where the family has fewer sizes.
    sizes: [u8; 4],
}

/// As text: a tile (`64x64`), perhaps with parts of k (`64x64 in 4`); rows and depth (`4 by 64`); a workgroup (`256`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// A tile, and into how many parts k is cut.
    Tile { tile: Tile, parts: u32 },
    /// Rows of a workgroup, and invocations along k.
    Vector { rows: u32, depth: u32 },
    /// Invocations of a workgroup.
    Workgroup(u32),
}

/// Parts of k at most.
const MOST_PARTS: u32 = 128;
/// Cuts of a product that are listed for their estimated time, besides each tile with k in one part.
const PROMISING: usize = 6;
/// Rows and depth of products with a vector, and workgroups of reductions. The first is the one without a table.
pub(crate) const VECTORS: [[u32; 2]; 4] = [[4, 64], [16, 16], [1, 256], [1, 64]];
pub(crate) const VECTORS_ACROSS: [[u32; 2]; 4] = [[32, 8], [64, 4], [128, 2], [256, 1]];
pub(crate) const WORKGROUPS: [u32; 4] = [256, 64, 128, 512];

impl Class {
    pub fn new(family: Family, sizes: &[usize]) -> Class {
        let mut rounded = [0; 4];
        for (exponent, &size) in rounded.iter_mut().zip(sizes) {
            *exponent = (size.max(1) as f64).log2().round() as u8;
        }
        Class { family, sizes: rounded }
    }

    /// What can be chosen for it on a device.
    pub fn choices(&self, limits: &Limits) -> Vec<Choice> {
        let vectors = |list: [[u32; 2]; 4]| list.map(|[rows, depth]| Choice::Vector { rows, depth }).to_vec();
        let all = match self.family {
            Family::Gemm | Family::ConvForward | Family::ConvInput | Family::ConvWeight => self.cuts(limits),
            Family::Gemv => vectors(VECTORS),
            Family::GemvAcross => vectors(VECTORS_ACROSS),
            Family::Reduce | Family::ReduceAcross => WORKGROUPS.map(Choice::Workgroup).to_vec(),
        };
        all.into_iter().filter(|choice| choice.fits(limits)).collect()
    }

    /// Each tile with k in one part, and the cuts of the least estimated time.
    fn cuts(&self, limits: &Limits) -> Vec<Choice> {
        let [m, n, k, count] = self.sizes.map(|exponent| 1usize << exponent);
        let extent = Extent { m, n, k, count };
        let mut cuts: Vec<Cut> = cuts(&extent, limits).collect();
        cuts.sort_by_key(|&cut| time(&extent, cut, limits));
        let (promising, rest) = cuts.split_at(PROMISING.min(cuts.len()));
        let listed = promising.iter().chain(rest.iter().filter(|cut| cut.parts == 1));
        listed.map(|cut| Choice::Tile { tile: cut.tile, parts: cut.parts }).collect()
    }

    /// Whether a choice is one for this family.
    pub fn takes(&self, choice: Choice) -> bool {
        match self.family {
            Family::Gemm | Family::ConvForward | Family::ConvInput | Family::ConvWeight => {
                matches!(choice, Choice::Tile { .. })
            }
            Family::Gemv | Family::GemvAcross => matches!(choice, Choice::Vector { .. }),
            Family::Reduce | Family::ReduceAcross => matches!(choice, Choice::Workgroup(_)),
        }
    }
}

impl Choice {
    /// Whether a device can run it.
    pub fn fits(self, limits: &Limits) -> bool {
        match self {
            Choice::Tile { tile, .. } => tile.fits(limits),
            Choice::Vector { rows, depth } => rows * depth <= limits.invocations,
            Choice::Workgroup(invocations) => invocations <= limits.invocations,
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = FAMILIES.iter().find(|(family, ..)| *family == self.family);
        let (_, name, count) = known.expect("every family has a name");
        let sizes: Vec<String> = self.sizes[..*count].iter().map(|e| (1u64 << e).to_string()).collect();
        write!(f, "{name} {}", sizes.join("x"))
    }
}

impl FromStr for Class {
    type Err = String;

    fn from_str(text: &str) -> Result<Class, String> {
        let wrong = || format!("{text:?} is no kernel with sizes, as `gemm 128x256x1024x1` is");
        let (name, sizes) = text.split_once(' ').ok_or_else(wrong)?;
        let &(family, _, count) = FAMILIES.iter().find(|(_, known, _)| *known == name).ok_or_else(wrong)?;
        let exponent = |size: &str| {
            let size = size.parse::<u32>().ok().filter(|size| size.is_power_of_two());
            size.map(|size| size.ilog2() as u8).ok_or_else(wrong)
        };
        let sizes = sizes.split('x').map(exponent).collect::<Result<Vec<u8>, String>>()?;
        if sizes.len() != count {
            return Err(wrong());
        }
        let mut rounded = [0; 4];
        rounded[..count].copy_from_slice(&sizes);
        Ok(Class { family, sizes: rounded })
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Choice::Tile { tile, parts: 1 } => f.write_str(tile.name),
            Choice::Tile { tile, parts } => write!(f, "{} in {parts}", tile.name),
            Choice::Vector { rows, depth } => write!(f, "{rows} by {depth}"),
            Choice::Workgroup(invocations) => write!(f, "{invocations}"),
        }
    }
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Choice, String> {
        let wrong =
            || format!("{text:?} is no choice that is listed, as `64x64 in 4`, `4 by 64` or `256` are");
        let vectors = || VECTORS.into_iter().chain(VECTORS_ACROSS).map(|[rows, depth]| (rows, depth));
        if let Some((rows, depth)) = text.split_once(" by ") {
            let pair = rows.parse().ok().zip(depth.parse().ok()).filter(|pair| vectors().any(|v| v == *pair));
            return pair.map(|(rows, depth)| Choice::Vector { rows, depth }).ok_or_else(wrong);
        }
        if let Ok(invocations) = text.parse() {
            let known = WORKGROUPS.contains(&invocations);
            return if known { Ok(Choice::Workgroup(invocations)) } else { Err(wrong()) };
        }
        let (tile, parts) = text.split_once(" in ").unwrap_or((text, "1"));
        let tile = TILES.into_iter().find(|known| known.name == tile).ok_or_else(wrong)?;
        let parts = parts.parse().ok().filter(|parts| (1..=MOST_PARTS).contains(parts)).ok_or_else(wrong)?;
        Ok(Choice::Tile { tile, parts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_and_choices_are_read_as_they_are_written() {
        for (family, _, count) in FAMILIES {
            let class = Class::new(family, &[100, 784, 1, 3][..count]);
            assert_eq!(class.to_string().parse(), Ok(class));
            let choices = class.choices(&Limits::LEAST);
            assert!(choices.len() >= 3, "{class}: {choices:?}");
            for choice in choices {
                assert_eq!(choice.to_string().parse(), Ok(choice));
                assert!(class.takes(choice) && choice.fits(&Limits::LEAST));
            }
        }
        assert_eq!(Class::new(Family::Gemm, &[100, 784, 1, 3]).to_string(), "gemm 128x1024x1x4");
    }

    #[test]
    fn what_is_not_listed_is_refused() {
        for text in ["", "gemm", "gemm 128", "gemm 100x1x1x1", "gemm 128x1x1x1x1", "norm 8x8", "reduce 8xk"] {
            assert!(text.parse::<Class>().is_err(), "{text}");
        }
        for text in ["", "64", "0", "63x64", "64x64 in 0", "64x64 in 1000", "4 by 63", "64x64 by 4", "in 4"] {
            assert!(text.parse::<Choice>().is_ok() == (text == "64"), "{text}");
        }
    }
}
