//! The tiles that GEMM and the convolutions share: which shapes there are, and which serves a product best.

use super::super::dispatch::{Limits, Word};
use super::super::wgsl::Bindings;
use super::choice::Choice;

/// The shape of a tile: see `shaders/lib/tile.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tile {
    pub name: &'static str,
    /// Invocations along the rows (a multiple of 8) and along the columns (at least 8).
    pub invocations: [u32; 2],
    /// Rows of one invocation.
    pub rows: u32,
    /// Columns of one invocation, in fours.
    pub fours: u32,
    /// Its share of the arithmetic's peak where all workgroups are busy, in percent: what it is chosen by.
    share: u64,
}

/// The tiles, the largest first.
pub(crate) const TILES: [Tile; 3] = [
    Tile { name: "128x128", invocations: [16, 16], rows: 8, fours: 2, share: 70 },
    Tile { name: "64x64", invocations: [8, 16], rows: 8, fours: 1, share: 55 },
    Tile { name: "32x32", invocations: [8, 8], rows: 4, fours: 1, share: 35 },
];

impl Tile {
    /// Rows of the tile.
    pub fn height(self) -> u32 {
        self.invocations[0] * self.rows
    }

    /// Columns of the tile.
    pub fn width(self) -> u32 {
        self.invocations[1] * self.fours * 4
    }

    fn threads(self) -> u32 {
        self.invocations[0] * self.invocations[1]
    }

    /// Bytes of workgroup memory of one stage.
    fn stage(self) -> u32 {
        64 * (self.height() + self.width())
    }

    /// Whether an adapter can run it.
    pub fn fits(self, limits: &Limits) -> bool {
        self.stage() <= limits.workgroup_memory && self.threads() <= limits.invocations
    }

    pub fn stages(self, limits: &Limits) -> u32 {
        if 2 * self.stage() <= limits.workgroup_memory { 2 } else { 1 }
    }
}

/// The size of a product, or of as many equal ones.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub count: usize,
}

/// How a product is cut: its tile, and into how many parts of k.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    pub tile: Tile,
    pub parts: u32,
    /// k of a part, a multiple of 16.
    pub depth: u32,
}

/// The shortest part of k that is worth a workgroup.
const LEAST_DEPTH: usize = 128;

impl Cut {
    /// A tile with k in `parts` parts, or in fewer where a part would have none.
    pub fn new(e: &Extent, tile: Tile, parts: u32) -> Cut {
        let depth = e.k.div_ceil(parts as usize).next_multiple_of(16).max(16);
        Cut { tile, parts: e.k.div_ceil(depth).max(1) as u32, depth: depth as u32 }
    }
}

/// The cuts that a device can run: every tile, with k in 1, 2, 4, … parts.
pub(super) fn cuts(e: &Extent, limits: &Limits) -> impl Iterator<Item = Cut> {
    let tiles = TILES.into_iter().filter(|tile| tile.fits(limits));
    tiles.flat_map(move |tile| {
        let parts = (0..8).map(|doublings| 1u32 << doublings);
        let worth = move |parts: &u32| *parts == 1 || e.k >= *parts as usize * LEAST_DEPTH;
        parts.take_while(worth).map(move |parts| Cut::new(e, tile, parts))
    })
}

/// The cut that was chosen, where one was that the device can run, else the one of the lowest estimated time.
pub(crate) fn cut(e: &Extent, choice: Option<Choice>, limits: &Limits) -> Cut {
    match choice {
        Some(Choice::Tile { tile, parts }) if tile.fits(limits) => Cut::new(e, tile, parts),
        _ => cuts(e, limits)
            .min_by_key(|&cut| time(e, cut, limits))
            .expect("every adapter runs the smallest tile"),
    }
}

/// Estimated cycles of a device with as many units as `limits` says: 128 products a cycle and unit, 2,000 bytes of memory
/// a cycle, 5,000 cycles for a second pass.
pub(super) fn time(e: &Extent, cut: Cut, limits: &Limits) -> u64 {
    let (height, width) = (cut.tile.height() as usize, cut.tile.width() as usize);
    let workgroups = (e.m.div_ceil(height) * e.n.div_ceil(width) * e.count * cut.parts as usize) as u64;
    let products = u64::from(cut.tile.height() * cut.tile.width()) * u64::from(cut.depth);
    let rounds = workgroups.div_ceil(u64::from(limits.units));
    let arithmetic = rounds * products * 100 / (128 * cut.tile.share);
    let parts = match cut.parts {
        1 => 0,
        parts => 5000 + (e.m * e.n * e.count * 4) as u64 * (2 * u64::from(parts) + 1) / 2000,
    };
    arithmetic + parts
}

/// A program that takes each element of a result as it leaves the registers.
#[derive(Clone, Debug)]
pub(crate) struct Epilogue {
    /// `fn epilogue(e: u32, value: f32)`: e is the element's row-major number.
    pub function: String,
    /// The buffers that it reads besides the product's, and those it writes instead of the product's result.
    pub bindings: Bindings,
    /// Fields for the struct of parameters, the first of them aligned to 16 bytes.
    pub fields: String,
    pub params: Vec<u32>,
    pub patches: Vec<(usize, Word)>,
}
