//! The five loops around the micro-kernel.
//!
//! Goto & van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008); the numbering is that of Van Zee
//! & van de Geijn, "BLIS: A Framework for Rapidly Instantiating BLAS Functionality" (2015), figure 1. What the
//! operands are is left to three traits, so that convolution runs in the same loops with panels of its own.

use super::kernel::{Kernels, MAX_MR, MAX_NR, SLACK, Step};
use super::{Float, cache, scratch};
use std::mem::MaybeUninit;
use std::ops::Range;
use std::ptr;

/// Most k in one block. A panel of A (14 rows of f32: 28 KiB) stays in the first-level cache while panels of B (two
/// vectors: 64 KiB) come from the second level, at 9 bytes a cycle, which costs nothing. Half the length would pass
/// over C twice as often, which costs more.
pub const KC: usize = 512;
/// The part of the second-level cache that a packed block of A takes, if its panels are not taken one by one.
const A_SHARE: usize = 4;
/// The part that a packed block of B takes.
const B_SHARE: usize = 2;
/// The fewest bytes of a block of B: with less, A would be packed too often.
const B_LEAST: usize = 1 << 20;
/// Panels of A that are packed at once if they share cache lines.
const TOGETHER: usize = 4;
/// The k that are packed of one such panel before the next.
const STRIPE: usize = 16;
/// Panels of A that a panel of B must serve before copying it pays.
const IN_PLACE_B: usize = 3;
/// Bytes of a cache line.
const LINE: usize = 64;
/// Bytes of C handed to the epilogue at once: still in the second-level cache.
const C_BLOCK: usize = 128 << 10;

/// The left operand, rows × k.
pub trait Left<T>: Sync {
    /// Address of element (row, k) and the step from one k to the next, if the rows of a panel are adjacent there.
    fn in_place(&self, row: usize, k: usize) -> Option<(*const T, isize)>;

    /// Address of element (row, k) and the step from one row to the next, if the k of a row are adjacent there and
    /// the kernel is to read them so.
    fn along_k(&self, _row: usize, _k: usize) -> Option<(*const T, isize)> {
        None
    }

    /// The k of one of several products that add up, if so: no block of k goes beyond one.
    fn of_each(&self) -> Option<usize> {
        None
    }

    /// Packs one panel: `out[p * rows.len() + i]`, p counted from the start of `ks`; or, where it
    /// [keeps rows](Left::keeps_rows), `out[i * pitch(ks.len()) + p]`.
    ///
    /// # Safety
    /// The ranges are inside the operand; `out` has room for the panel and [`SLACK`] more.
    unsafe fn pack(&self, kernels: &Kernels<T>, rows: Range<usize>, ks: Range<usize>, out: *mut T);

    /// Whether packing leaves the k of a row adjacent: it then does no more than lay the rows where they do not compete
    /// for the cache.
    fn keeps_rows(&self) -> bool {
        false
    }

    /// Whether panels side by side share cache lines: then several are packed at once, a few k at a time.
    fn shares_lines(&self) -> bool {
        false
    }
}

/// The right operand, k × columns.
pub trait Right<T>: Sync {
    /// Address of element (k, first of `cols`) and the step from one k to the next, if `cols` are adjacent there:
    /// then the kernels read them there, and copy them as they read.
    fn in_place(&self, k: usize, cols: Range<usize>) -> Option<(*const T, isize)>;

    /// Packs panels of `kernels.nr()` columns, in the last of which columns past the end may hold anything:
    /// `out[(panel * ks.len() + p) * nr + j]`. Not called where they are [in place](Right::in_place).
    ///
    /// # Safety
    /// The ranges are inside the operand; `out` has room for the panels and [`SLACK`] more.
    unsafe fn pack(&self, kernels: &Kernels<T>, ks: Range<usize>, cols: Range<usize>, out: *mut T);
}

/// Where the product goes.
pub trait Target<T>: Sync {
    /// Address of element (row, first of `cols`) and the row stride, if `cols` are adjacent there.
    fn in_place(&self, row: usize, cols: Range<usize>) -> Option<(*mut T, isize)>;

    /// Called before a tile that is not in place is computed: a chance to fetch ahead where it goes.
    fn expect(&self, _rows: Range<usize>, _cols: Range<usize>) {}

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

/// Elements from row to row of a packed panel of A that [keeps rows](Left::keeps_rows): an odd number of cache lines, so
/// that the rows do not compete.
pub fn pitch<T>(depth: usize) -> usize {
    let line = LINE / size_of::<T>();
    (depth.div_ceil(line) | 1) * line
}

/// Room for a packed panel of A and slack.
fn panel_len<T>(height: usize, depth: usize) -> usize {
    height * pitch::<T>(depth) + SLACK
}

/// Whether the elements at this stride compete for few lines of the first-level cache (64 sets).
pub fn conflicts<T>(stride: isize) -> bool {
    (stride * size_of::<T>() as isize) % 2048 == 0
}

impl<T: Float, A: Left<T>, B: Right<T>, C: Target<T>> Product<'_, T, A, B, C> {
    /// Computes the part `rows` × `cols`; `rows` starts at a panel, `cols` at a multiple of nr.
    ///
    /// # Safety
    /// The operands and the target hold `size`; no other thread works on this part of the target.
    pub unsafe fn run(&self, rows: Range<usize>, cols: Range<usize>) {
        let (height, nr) = (panel_height(self.size[0], self.kernels.mr()), self.kernels.nr());
        let depth = self.left.of_each().unwrap_or_else(|| block_depth(self.size[2]));
        let most = |bytes: usize| bytes / (depth * size_of::<T>());
        let cache = cache::second_level();
        // Panel by panel of A over all of B writes C row by row, but lets all of B in by the first panel. Where B
        // comes from further off and is used less often than A, that is slower than panel by panel of B.
        let b_bytes = self.size[2] * cols.len() * size_of::<T>();
        let by_rows = b_bytes <= cache || rows.len() >= cols.len();
        // Copied, panels of B are read faster, but B takes twice the room.
        let source = self.right.in_place(0, cols.clone());
        let copy = rows.len() > IN_PLACE_B * height
            || (rows.len() > height && source.is_some_and(|(_, step)| conflicts::<T>(step)));
        let mc = match by_rows {
            true if self.left.shares_lines() => TOGETHER * height,
            true => height,
            false => even(rows.len(), most(cache / A_SHARE), height),
        };
        // With all rows in one block, a copied panel of B is used up before the next is made: one place is enough.
        let single = source.is_some() && mc >= rows.len();
        let nc = match single {
            true => cols.len(),
            false => even(cols.len(), most((cache / B_SHARE).max(B_LEAST)), nr),
        };
        // Loop 4 goes inside of loop 3 where all its blocks of B find room together: C is then finished in one go. Once
        // even if k = 0, to write the zeros.
        let (downs, deeps) = (rows.len().div_ceil(mc), self.size[2].div_ceil(depth).max(1));
        let inside = by_rows && b_bytes <= cache / B_SHARE;
        let room = if inside { deeps } else { 1 };
        let b_len = if single { nr } else { nc.next_multiple_of(nr) } * depth;
        let a_len = mc / height * panel_len::<T>(height, depth);
        scratch::with(a_len + room * b_len + SLACK, |a_block: *mut T| {
            // Loop 5.
            for jc in cols.clone().step_by(nc) {
                let cols = jc..cols.end.min(jc + nc);
                let mut unfinished = rows.start;
                // Loops 3 and 4.
                for turn in 0..downs * deeps {
                    let (down, deep) =
                        if inside { (turn / deeps, turn % deeps) } else { (turn % downs, turn / downs) };
                    let (ic, pc) = (rows.start + down * mc, deep * depth);
                    let ks = pc..self.size[2].min(pc + depth);
                    let b_block = a_block.wrapping_add(a_len + if inside { deep * b_len } else { 0 });
                    if source.is_none() && down == 0 {
                        // SAFETY: ks and cols are inside B; the block holds nc columns of `depth` and the slack.
                        unsafe { self.right.pack(self.kernels, ks.clone(), cols.clone(), b_block) };
                    }
                    let rows = ic..rows.end.min(ic + mc);
                    let (first, last) = (down == 0, deep + 1 == deeps);
                    let by_cols = last && !by_rows;
                    let cols = cols.clone();
                    let block = Block {
                        rows: rows.clone(),
                        cols: cols.clone(),
                        ks,
                        height,
                        first,
                        copy,
                        single,
                        by_cols,
                    };
                    // SAFETY: as above for A and its block; the part of the target is this thread's.
                    unsafe { self.block(block, a_block, b_block) };
                    let elements = (rows.end - unfinished) * cols.len();
                    if last && by_rows && (elements * size_of::<T>() >= C_BLOCK || down + 1 == downs) {
                        self.target.finish(unfinished..rows.end, cols.clone());
                        unfinished = rows.end;
                    }
                }
            }
        });
    }

    /// Packs a block of A, then loops 2 and 1: the macro-kernel. A panel of B that lies in place is packed by its
    /// first tile.
    unsafe fn block(&self, block: Block, a_block: *mut T, b_block: *mut T) {
        let Block { rows, cols, ks, height, first, copy, single, by_cols } = block;
        let (nr, lanes, depth) = (self.kernels.nr(), self.kernels.lanes, ks.len());
        let source =
            |cols: &Range<usize>| self.right.in_place(ks.start, cols.clone()).filter(|_| first || !copy);
        let (mut across, mut unfinished) = (cols.start..cols.end.min(cols.start + nr), cols.start);
        let finish = C_BLOCK / (rows.len() * size_of::<T>());
        let tiles = rows.len().div_ceil(height);
        // Loop 2.
        while !across.is_empty() {
            let next = across.end..cols.end.min(across.end + nr);
            let panel = Panel {
                source: source(&across),
                packed: b_block.wrapping_add(if single { 0 } else { (across.start - cols.start) * depth }),
                next: (!next.is_empty()).then(|| source(&next)),
                // Without a copy, the tiles read whole vectors.
                copy: copy || (across.len() != lanes && across.len() != nr),
                tiles,
            };
            if across.start == cols.start {
                // SAFETY: the rows are inside A, and the block holds their panels.
                unsafe { self.pack_left(rows.clone(), &ks, height, a_block) };
            }
            // Loop 1.
            let (mut down, mut index) = (rows.start..rows.end.min(rows.start + height), 0);
            while !down.is_empty() {
                let a_panel = a_block.wrapping_add(index * panel_len::<T>(height, depth));
                let (a, a_strides) = self.left_panel(&down, &ks, a_panel);
                let mut step =
                    Step { a, a_strides, accumulate: ks.start > 0, ..panel.step(index, depth, nr) };
                if let Some((ahead, share)) =
                    self.left_ahead(&down, across.start - cols.start, &ks, cols.len())
                {
                    (step.ahead, step.ahead_step) = ((ahead, share), 2 * share);
                }
                // SAFETY: the panels are packed or in place; the tile is in this thread's part.
                unsafe { self.tile(step, down.clone(), across.clone()) };
                (down, index) = (down.end..rows.end.min(down.end + height), index + 1);
            }
            if by_cols && (across.end - unfinished >= finish || next.is_empty()) {
                self.target.finish(rows.clone(), unfinished..across.end);
                unfinished = across.end;
            }
            across = next;
        }
    }

    /// Where a panel of A is read and its strides along rows and k; `packed` if it is not in place.
    fn left_panel(&self, rows: &Range<usize>, ks: &Range<usize>, packed: *const T) -> (*const T, [isize; 2]) {
        match (self.left.in_place(rows.start, ks.start), self.left.along_k(rows.start, ks.start)) {
            (Some((a, step)), _) => (a, [1, step]),
            (_, Some((a, stride))) => (a, [stride, 1]),
            _ if self.left.keeps_rows() => (packed, [pitch::<T>(ks.len()) as isize, 1]),
            _ => (packed, [1, rows.len() as isize]),
        }
    }

    /// What a tile fetches ahead of a panel of A that is read in place, along k, where B is packed: its part of the next
    /// panel of A, and the elements per k of it. `col` is counted from the first of the `cols` columns of B.
    fn left_ahead(
        &self,
        rows: &Range<usize>,
        col: usize,
        ks: &Range<usize>,
        cols: usize,
    ) -> Option<(*const T, isize)> {
        let (next, stride) = self.left.along_k(rows.end, 0)?;
        let (nr, k) = (self.kernels.nr(), self.size[2]);
        if self.right.in_place(0, 0..cols).is_some() || stride != k as isize {
            return None;
        }
        let panels = cols.div_ceil(nr);
        let share = rows.len().div_ceil(panels);
        Some((next.wrapping_add((ks.start * panels + col / nr * ks.len()) * share), share as isize))
    }

    /// Packs the panels of a block of A that are not in place.
    unsafe fn pack_left(&self, rows: Range<usize>, ks: &Range<usize>, height: usize, out: *mut T) {
        if self.left.in_place(rows.start, ks.start).or(self.left.along_k(rows.start, ks.start)).is_some() {
            return;
        }
        let stripe = if self.left.shares_lines() { STRIPE } else { ks.len().max(1) };
        for k in ks.clone().step_by(stripe) {
            let ks_part = k..ks.end.min(k + stripe);
            for (index, row) in rows.clone().step_by(height).enumerate() {
                let rows = row..rows.end.min(row + height);
                let at = index * panel_len::<T>(height, ks.len()) + (k - ks.start) * rows.len();
                // SAFETY: handed on; what is written past a stripe is written again, or in the slack of its panel.
                unsafe { self.left.pack(self.kernels, rows, ks_part.clone(), out.wrapping_add(at)) };
            }
        }
    }

    /// The micro-kernel on one tile, straight into the target or by way of a copy. `step` lacks the target.
    unsafe fn tile(&self, mut step: Step<T>, rows: Range<usize>, cols: Range<usize>) {
        let kernel = self.kernels.tiles[rows.len() - 1][usize::from(cols.len() > self.kernels.lanes)];
        step.cols = cols.len();
        if let Some((c, stride)) = self.target.in_place(rows.start, cols.clone()) {
            (step.c, step.c_stride) = (c, stride);
            // SAFETY: the panels hold as many k as the step has, and the target vouches for the tile.
            return unsafe { kernel(&step) };
        }
        self.target.expect(rows.clone(), cols.clone());
        let accumulate = std::mem::take(&mut step.accumulate);
        let mut tile = MaybeUninit::<Buffer<T>>::uninit();
        (step.c, step.c_stride) = (tile.as_mut_ptr().cast(), MAX_NR as isize);
        // SAFETY: as above; the tile has room for MAX_MR rows of MAX_NR.
        unsafe {
            kernel(&step);
            self.target.scatter(rows, cols, tile.as_ptr().cast(), accumulate);
        }
    }
}

/// Room for a tile, on cache lines.
#[repr(align(64))]
struct Buffer<T>(#[allow(dead_code)] [T; MAX_MR * MAX_NR]);

/// A block of the loops: what loop 3 hands to the macro-kernel.
struct Block {
    rows: Range<usize>,
    cols: Range<usize>,
    ks: Range<usize>,
    /// Rows of a panel.
    height: usize,
    /// Whether no block was multiplied with these columns and k before.
    first: bool,
    /// Whether panels of B are to be copied if they lie in place.
    copy: bool,
    /// Whether all copies of panels of B go to the same place.
    single: bool,
    /// Whether columns are final, and are to be handed on, when all rows of the block have been multiplied.
    by_cols: bool,
}

/// A panel of B and what comes after it.
struct Panel<T> {
    /// Where it lies and its stride along k, if it has not been packed yet.
    source: Option<(*const T, isize)>,
    /// Its place in the packed block.
    packed: *mut T,
    /// The source of the panel after it, if there is one.
    next: Option<Option<(*const T, isize)>>,
    /// Whether the first tile makes a packed copy.
    copy: bool,
    /// Tiles that it is used by.
    tiles: usize,
}

impl<T: Float> Panel<T> {
    /// The right operand of the tile `index` counted from the top, and what the tile fetches ahead.
    fn step(&self, index: usize, depth: usize, nr: usize) -> Step<T> {
        let line = LINE / size_of::<T>();
        let (b, b_step, packed) = match self.source {
            Some((b, step)) if !self.copy => (b, step, ptr::null_mut()),
            Some((b, step)) if index == 0 => (b, step, self.packed),
            _ => (self.packed.cast_const(), nr as isize, ptr::null_mut()),
        };
        let (ahead, ahead_step) = match self.next {
            // A line of each row of one half of the rows in one tile, of the other half in another, and so on, the tiles
            // as far apart as can be: the third level delivers no faster.
            Some(Some((next, step))) if index > 0 => {
                let aligned = next.align_offset(LINE) == 0 && step % line as isize == 0;
                let (parts, index) = (2 * (nr.div_ceil(line) + usize::from(!aligned)), index - 1);
                let apart = ((self.tiles - 1) / parts).max(1);
                let part = index / apart;
                let first = next
                    .wrapping_add(part / 2 * line)
                    .wrapping_offset((part % 2 * depth / 2) as isize * step);
                ((first, 0), if index % apart == 0 && part < parts { step } else { 0 })
            }
            // An equal part in each tile.
            Some(None) => {
                let share = nr.div_ceil(self.tiles).min(line);
                let first = self.packed.wrapping_add((nr + index * share) * depth).cast_const();
                ((first, share as isize), 2 * share as isize)
            }
            _ => ((b, 0), 0),
        };
        let (a, c) = (ptr::null(), ptr::null_mut());
        Step {
            k: depth,
            a,
            a_strides: [1, 0],
            b,
            b_step,
            packed,
            ahead,
            ahead_step,
            c,
            c_stride: 0,
            cols: 0,
            accumulate: false,
        }
    }
}

/// The length of the blocks, at most about `most` each and multiples of `unit`, that `len` is cut into evenly.
fn even(len: usize, most: usize, unit: usize) -> usize {
    let units = len.div_ceil(unit);
    let blocks = units.div_ceil((most / unit).max(1)).max(1);
    units.div_ceil(blocks).max(1) * unit
}
