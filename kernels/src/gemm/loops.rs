//! The five loops around the micro-kernel.
//!
//! Goto & van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008); the numbering is that of Van Zee
//! & van de Geijn, "BLIS: A Framework for Rapidly Instantiating BLAS Functionality" (2015), figure 1. What the
//! operands are is left to three traits, so that convolution runs in the same loops with panels of its own.

use super::kernel::{Kernels, MAX_MR, MAX_NR, SLACK};
use super::{Float, scratch};
use std::ops::Range;

/// Most k in one block. A packed panel of A (14 rows, 28 KiB of f32) stays in the first-level cache (48 KiB) for its
/// tile; that of B (two vectors, 64 KiB) comes from the second level again for each, at 9 bytes a cycle, which costs
/// nothing. Half the length would keep it in the first level, but pass over C twice as often, which costs more.
pub const KC: usize = 512;
/// Bytes of a packed block of A: in the second-level cache (1 MiB), with room for a panel of B and the tiles of C,
/// while loop 2 runs over the panels of B.
const A_BLOCK: usize = 560 << 10;
/// Bytes of a packed block of B: in the thread's share of the third-level cache while loop 3 runs over the blocks of A.
const B_BLOCK: usize = 2 << 20;
/// Bytes of C handed to the epilogue at once: still in the second-level cache.
const C_BLOCK: usize = 128 << 10;

/// The left operand, rows × k.
pub trait Left<T>: Sync {
    /// Address of element (row, k) and the step from one k to the next, if the rows of a panel are adjacent there.
    fn in_place(&self, row: usize, k: usize) -> Option<(*const T, isize)>;

    /// Packs one panel: `out[p * rows.len() + i]`, p counted from the start of `ks`.
    ///
    /// # Safety
    /// The ranges are inside the operand; `out` has room for the panel and [`SLACK`] more.
    unsafe fn pack(&self, kernels: &Kernels<T>, rows: Range<usize>, ks: Range<usize>, out: *mut T);
}

/// The right operand, k × columns.
pub trait Right<T>: Sync {
    /// Address of element (k, first of `cols`) and the step from one k to the next, if `cols` are adjacent there.
    fn in_place(&self, k: usize, cols: Range<usize>) -> Option<(*const T, isize)>;

    /// Packs panels of `kernels.nr()` columns, in the last of which columns past the end may hold anything:
    /// `out[(panel * ks.len() + p) * nr + j]`. Panels that are [in place](Right::in_place) may be left out.
    ///
    /// # Safety
    /// The ranges are inside the operand; `out` has room for the panels and [`SLACK`] more.
    unsafe fn pack(&self, kernels: &Kernels<T>, ks: Range<usize>, cols: Range<usize>, out: *mut T);
}

/// Where the product goes.
pub trait Target<T>: Sync {
    /// Address of element (row, first of `cols`) and the row stride, if `cols` are adjacent there.
    fn in_place(&self, row: usize, cols: Range<usize>) -> Option<(*mut T, isize)>;

    /// Stores (or adds) a tile, given with a row stride of [`MAX_NR`], that is not in place.
    ///
    /// # Safety
    /// The ranges are inside the target and no other thread writes there; the tile has as many elements.
    unsafe fn scatter(&self, rows: Range<usize>, cols: Range<usize>, tile: *const T, accumulate: bool);

    /// Called once for each block when its values are final.
    fn finish(&self, rows: Range<usize>, cols: Range<usize>);
}

/// One product, or what tasks on several threads compute of it.
pub struct Product<'a, T: 'static, A, B, C> {
    /// Kernels of the level in use.
    pub kernels: &'static Kernels<T>,
    /// Rows, columns, and length of the sums.
    pub size: [usize; 3],
    /// Left operand.
    pub left: &'a A,
    /// Right operand.
    pub right: &'a B,
    /// Product.
    pub target: &'a C,
}

/// The height of the panels that `rows` rows are cut into: as even as can be, so that no tile is much lower than
/// the rest.
pub fn panel_height(rows: usize, mr: usize) -> usize {
    rows.div_ceil(rows.div_ceil(mr).max(1)).max(1)
}

/// The length of the blocks that loop 4 cuts k into. A function of k alone: each element of the product is the sum,
/// in order, of one chain per block.
pub fn block_depth(k: usize) -> usize {
    k.div_ceil(k.div_ceil(KC).max(1)).max(1)
}

impl<T: Float, A: Left<T>, B: Right<T>, C: Target<T>> Product<'_, T, A, B, C> {
    /// Computes the part `rows` × `cols`; `rows` starts at a panel, `cols` at a multiple of nr.
    ///
    /// # Safety
    /// The operands and the target hold `size`; no other thread works on this part of the target.
    pub unsafe fn run(&self, rows: Range<usize>, cols: Range<usize>) {
        let (height, nr) = (panel_height(self.size[0], self.kernels.mr()), self.kernels.nr());
        let depth = block_depth(self.size[2]);
        let most = |bytes: usize| bytes / (depth * size_of::<T>());
        let mc = even(rows.len(), most(A_BLOCK), height);
        let nc = even(cols.len(), most(B_BLOCK), nr);
        let (a_len, b_len) = (mc * depth + SLACK, nc.next_multiple_of(nr) * depth + SLACK);
        scratch::with(a_len.next_multiple_of(SLACK) + b_len, |a_block: *mut T| {
            let b_block = a_block.wrapping_add(a_len.next_multiple_of(SLACK));
            // Loop 5.
            for jc in cols.clone().step_by(nc) {
                let cols = jc..cols.end.min(jc + nc);
                // Loop 4; once even if k = 0, to write the zeros.
                for pc in (0..self.size[2].max(1)).step_by(depth) {
                    let ks = pc..self.size[2].min(pc + depth);
                    // SAFETY: ks and cols are inside B; the block holds nc columns of `depth` and the slack.
                    unsafe { self.right.pack(self.kernels, ks.clone(), cols.clone(), b_block) };
                    // Loop 3.
                    for ic in rows.clone().step_by(mc) {
                        let block =
                            Block { rows: ic..rows.end.min(ic + mc), cols: cols.clone(), ks: ks.clone() };
                        // SAFETY: as above for A and its block; the part of the target is this thread's.
                        unsafe { self.block(block, height, a_block, b_block) };
                    }
                }
            }
        });
    }

    /// Packs a block of A, then loops 2 and 1: the macro-kernel.
    unsafe fn block(&self, block: Block, height: usize, a_block: *mut T, b_block: *const T) {
        let Block { rows, cols, ks } = block;
        let (nr, depth, last) = (self.kernels.nr(), ks.len(), ks.end == self.size[2]);
        let panel = |row: usize| row..rows.end.min(row + height);
        if self.left.in_place(rows.start, ks.start).is_none() {
            for row in rows.clone().step_by(height) {
                let out = a_block.wrapping_add((row - rows.start) * depth);
                // SAFETY: the panel is inside A, and the block holds all rows up to here times `depth`, and slack.
                unsafe { self.left.pack(self.kernels, panel(row), ks.clone(), out) };
            }
        }
        let mut unfinished = cols.start;
        let finish = C_BLOCK / (rows.len() * size_of::<T>());
        // Loop 2.
        for col in cols.clone().step_by(nr) {
            let across = col..cols.end.min(col + nr);
            let b = self
                .right_panel(&ks, &across)
                .unwrap_or_else(|| (b_block.wrapping_add((col - cols.start) * depth), nr as isize));
            // Loop 1.
            for row in rows.clone().step_by(height) {
                let down = panel(row);
                let a = self.left.in_place(row, ks.start).unwrap_or_else(|| {
                    (a_block.wrapping_add((row - rows.start) * depth).cast_const(), down.len() as isize)
                });
                // SAFETY: both panels were packed above or are in place; the tile is inside this thread's part.
                unsafe { self.tile(depth, a, b, down, across.clone(), ks.start > 0) };
            }
            if last && (across.end - unfinished >= finish || across.end == cols.end) {
                self.target.finish(rows.clone(), unfinished..across.end);
                unfinished = across.end;
            }
        }
    }

    /// A panel of B where it lies, if the kernel can read whole vectors there.
    fn right_panel(&self, ks: &Range<usize>, cols: &Range<usize>) -> Option<(*const T, isize)> {
        cols.len().is_multiple_of(self.kernels.lanes).then(|| self.right.in_place(ks.start, cols.clone()))?
    }

    /// The micro-kernel on one tile, straight into the target or by way of a copy.
    unsafe fn tile(
        &self,
        depth: usize,
        a: (*const T, isize),
        b: (*const T, isize),
        rows: Range<usize>,
        cols: Range<usize>,
        accumulate: bool,
    ) {
        let kernel = self.kernels.tiles[rows.len() - 1][cols.len().div_ceil(self.kernels.lanes) - 1];
        if let Some((c, stride)) = self.target.in_place(rows.start, cols.clone()) {
            // SAFETY: the panels hold `depth` steps, and the target vouches for the tile.
            return unsafe { kernel(depth, a.0, a.1, b.0, b.1, c, stride, cols.len(), accumulate) };
        }
        let mut tile = [T::ZERO; MAX_MR * MAX_NR];
        // SAFETY: as above; the tile has room for MAX_MR rows of MAX_NR.
        unsafe {
            kernel(depth, a.0, a.1, b.0, b.1, tile.as_mut_ptr(), MAX_NR as isize, cols.len(), false);
            self.target.scatter(rows, cols, tile.as_ptr(), accumulate);
        }
    }
}

/// A block of the loops: what loop 3 hands to the macro-kernel.
struct Block {
    rows: Range<usize>,
    cols: Range<usize>,
    ks: Range<usize>,
}

/// The length of the blocks, at most about `most` each and multiples of `unit`, that `len` is cut into evenly.
fn even(len: usize, most: usize, unit: usize) -> usize {
    let units = len.div_ceil(unit);
    let blocks = units.div_ceil((most / unit).max(1)).max(1);
    units.div_ceil(blocks).max(1) * unit
}
