//! The kernels of the waist as dispatches: which shader, with which tiles, over which grid. One file a family.

pub(crate) mod choice;
pub(crate) mod conv;
pub(crate) mod gemm;
pub(crate) mod index;
pub(crate) mod lines;
pub(crate) mod params;
pub(crate) mod reduce;
pub(crate) mod sort;
pub(crate) mod tile;
