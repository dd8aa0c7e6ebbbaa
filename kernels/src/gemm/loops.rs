//! The five loops around the micro-kernel.
//!
//! Goto & van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008); the numbering is that of Van Zee
//! & van de Geijn, "BLIS: A Framework for Rapidly Instantiating BLAS Functionality" (2015), figure 1. What the
//! operands are is left to three traits, so that convolution runs in the same loops with panels of its own.

use super::kernel::{Kernels, MAX_MR, MAX_NR, ROWS_OF_TILES, SLACK, Step, Tile};
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
/// The most bytes that the packed blocks of A for some k take together, to be used for all columns.
const A_KEPT: usize = 8 << 20;
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
/// Bytes of C handed to the epilogue at once: still in the second-level cache, and enough of it for whole rows of common
/// layers, which run as one.
const C_BLOCK: usize = 512 << 10;

/// The left operand, rows × k.
pub trait Left<T>: Sync {
    /// Address of element (row, k) and the step from one k to the next, if rows are adjacent there.
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
pub struct Product<'a, T: 'static, A: ?Sized, B: ?Sized, C: ?Sized> {
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

/// A product of any operands. What is large takes no longer by asking them at run time, and all of it shares its code.
pub type AnyProduct<'a, T> = Product<'a, T, dyn Left<T> + 'a, dyn Right<T> + 'a, dyn Target<T> + 'a>;

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

impl<T: Float, A: Left<T> + ?Sized, B: Right<T> + ?Sized, C: Target<T> + ?Sized> Product<'_, T, A, B, C> {
    /// Computes the part `rows` × `cols`; `rows` starts at a panel, `cols` at a multiple of nr.
    ///
    /// # Safety
    /// The operands and the target hold `size`; no other thread works on this part of the target.
    pub unsafe fn run(&self, rows: Range<usize>, cols: Range<usize>) {
        let cut = &self.cut(&rows, &cols);
        scratch::with(cut.a_len * cut.a_blocks + cut.b_len * cut.b_blocks + SLACK, |a_start: *mut T| {
            // Loops 5 to 3.
            for turn in 0..cut.turns.iter().product() {
                let [across, down, deep] = cut.turn(turn);
                let block = Block {
                    cut,
                    rows: part(&rows, down, cut.mc),
                    cols: part(&cols, across, cut.nc),
                    ks: part(&(0..self.size[2]), deep, cut.depth),
                    first: down == 0,
                    again: cut.kept && across > 0,
                    by_cols: deep + 1 == cut.turns[2] && !cut.by_rows,
                };
                let a_block = a_start.wrapping_add(if cut.kept { down * cut.a_len } else { 0 });
                let b_start = a_start.wrapping_add(cut.a_len * cut.a_blocks);
                let b_block = b_start.wrapping_add(if cut.inside { deep * cut.b_len } else { 0 });
                // SAFETY: ks, rows and cols are inside the operands, and the blocks hold as much of them as was packed;
                // the part of the target is this thread's.
                unsafe {
                    if !cut.b_in_place && block.first {
                        self.right.pack(self.kernels, block.ks.clone(), block.cols.clone(), b_block);
                    }
                    if !block.again {
                        self.pack_left(&block, a_block);
                    }
                    if ROWS_OF_TILES && cut.by_rows && !(cut.single && cut.copy) {
                        self.panels_of_a(&block, a_block, b_block);
                    } else {
                        self.panels_of_b(&block, a_block, b_block);
                    }
                }
                if cut.by_rows && deep + 1 == cut.turns[2] {
                    let group = (C_BLOCK / (cut.mc * block.cols.len() * size_of::<T>())).max(1);
                    if (down + 1) % group == 0 || down + 1 == cut.turns[1] {
                        let finished = part(&rows, down / group, group * cut.mc);
                        self.target.finish(finished, block.cols);
                    }
                }
            }
        });
    }

    /// How to cut what [`run`](Product::run) computes.
    fn cut(&self, rows: &Range<usize>, cols: &Range<usize>) -> Cut {
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
        let turns = [cols.len().div_ceil(nc), rows.len().div_ceil(mc), self.size[2].div_ceil(depth).max(1)];
        let inside = by_rows && b_bytes <= cache / B_SHARE;
        let a_len = mc / height * panel_len::<T>(height, depth);
        let kept = !inside
            && turns[0] > 1
            && !self.left_in_place(rows.start, 0)
            && turns[1] * a_len * size_of::<T>() <= A_KEPT;
        Cut {
            height,
            depth,
            mc,
            nc,
            turns,
            by_rows,
            inside,
            kept,
            single,
            copy,
            b_in_place: source.is_some(),
            a_len,
            a_blocks: if kept { turns[1] } else { 1 },
            b_len: if single { nr } else { nc.next_multiple_of(nr) } * depth,
            b_blocks: if inside { turns[2] } else { 1 },
        }
    }

    /// Loops 1 and 2, the macro-kernel, panel by panel of A: each meets all panels of B. Those that lie in place are
    /// packed by the first tiles.
    unsafe fn panels_of_a(&self, block: &Block, a_block: *const T, b_block: *mut T) {
        let Block { cut, rows, cols, ks, first, .. } = block;
        let (nr, lanes, depth) = (self.kernels.nr(), self.kernels.lanes, ks.len());
        let whole = cols.start..cols.end - cols.len() % nr;
        for (index, down) in rows.clone().step_by(cut.height).enumerate() {
            let down = down..rows.end.min(down + cut.height);
            let a_panel = a_block.wrapping_add(index * panel_len::<T>(cut.height, depth));
            let (a, a_strides) = self.left_panel(&down, ks, a_panel);
            for across in [whole.clone(), whole.end..cols.end].into_iter().filter(|across| !across.is_empty())
            {
                let from = if cut.single { 0 } else { across.start - cols.start };
                let packed = b_block.wrapping_add(from * depth);
                // Without a copy, the tiles read whole vectors.
                let copy = cut.copy || (across.len() != lanes && across.len() % nr != 0);
                let (b, b_step, b_next, packed) = match self.right.in_place(ks.start, across.clone()) {
                    Some((b, step)) if !copy => (b, step, nr, ptr::null_mut()),
                    Some((b, step)) if index == 0 && (*first || !cut.copy) => (b, step, nr, packed),
                    _ => (packed.cast_const(), nr as isize, nr * depth, ptr::null_mut()),
                };
                let (ahead, share) =
                    self.left_ahead(&down, across.start - cols.start, ks, cols.len()).unwrap_or((b, 0));
                let step = Step {
                    tiles: across.len().div_ceil(nr),
                    next: [0, b_next as isize, (nr * depth) as isize, nr as isize],
                    a,
                    a_strides,
                    ahead: (ahead, share),
                    ahead_step: 2 * share,
                    ..Step::new(depth, b, b_step, packed, ks.start > 0)
                };
                // SAFETY: the panels are packed or in place; the tiles are in this thread's part.
                unsafe { self.tiles(step, down.clone(), across) };
            }
        }
    }

    /// Loops 2 and 1, panel by panel of B: each meets all panels of A.
    unsafe fn panels_of_b(&self, block: &Block, a_block: *const T, b_block: *mut T) {
        let &Block { ref rows, ref cols, ref ks, first, by_cols, .. } = block;
        let &Cut { height, copy, single, .. } = block.cut;
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
            // Loop 1.
            let (mut down, mut index) = (rows.start..rows.end.min(rows.start + height), 0);
            while !down.is_empty() {
                let a_panel = a_block.wrapping_add(index * panel_len::<T>(height, depth));
                let (a, a_strides) = self.left_panel(&down, ks, a_panel);
                let mut step =
                    Step { a, a_strides, accumulate: ks.start > 0, ..panel.step(index, depth, nr) };
                let ahead = self.left_ahead(&down, across.start - cols.start, ks, cols.len());
                if let Some((ahead, share)) = ahead.filter(|_| panel.source.is_none()) {
                    (step.ahead, step.ahead_step) = ((ahead, share), 2 * share);
                }
                // SAFETY: the panels are packed or in place; the tile is in this thread's part.
                unsafe { self.tiles(step, down.clone(), across.clone()) };
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

    /// What a tile fetches ahead of a panel of A that is read in place, along k: its part of the next panel of A, and the
    /// elements per k of it. `col` is counted from the first of the `cols` columns of B.
    fn left_ahead(
        &self,
        rows: &Range<usize>,
        col: usize,
        ks: &Range<usize>,
        cols: usize,
    ) -> Option<(*const T, isize)> {
        let (next, stride) = self.left.along_k(rows.end, 0)?;
        let (nr, k) = (self.kernels.nr(), self.size[2]);
        if stride != k as isize {
            return None;
        }
        let panels = cols.div_ceil(nr);
        let share = rows.len().div_ceil(panels);
        Some((next.wrapping_add((ks.start * panels + col / nr * ks.len()) * share), share as isize))
    }

    /// Whether A need not be packed.
    fn left_in_place(&self, row: usize, k: usize) -> bool {
        self.left.in_place(row, k).or(self.left.along_k(row, k)).is_some()
    }

    /// Packs the panels of a block of A that are not in place.
    unsafe fn pack_left(&self, block: &Block, out: *mut T) {
        let (rows, ks, height) = (&block.rows, &block.ks, block.cut.height);
        if self.left_in_place(rows.start, ks.start) {
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

    /// The micro-kernel on a row of tiles that are as wide as can be, or on one tile. `step` lacks the target.
    unsafe fn tiles(&self, mut step: Step<T>, rows: Range<usize>, cols: Range<usize>) {
        let nr = self.kernels.nr();
        step.cols = cols.len().min(nr);
        let kernel = self.kernels.tiles[rows.len() - 1][usize::from(step.cols > self.kernels.lanes)];
        if let Some((c, stride)) = self.target.in_place(rows.start, cols.clone()) {
            (step.c, step.c_stride) = (c, stride);
            // SAFETY: the panels hold as many k as the step has, and the target vouches for the tiles.
            return unsafe { kernel(&step) };
        }
        if step.tiles_at_once() == 1 {
            // SAFETY: as above.
            return unsafe { self.tile_apart(&step, kernel, rows, cols) };
        }
        step.tiles = 1;
        for col in cols.clone().step_by(nr) {
            // SAFETY: as above.
            unsafe { self.tiles(Step { ..step }, rows.clone(), col..cols.end.min(col + nr)) };
            step.advance();
        }
    }

    /// The micro-kernel on one tile, by way of a copy.
    unsafe fn tile_apart(&self, step: &Step<T>, kernel: Tile<T>, rows: Range<usize>, cols: Range<usize>) {
        self.target.expect(rows.clone(), cols.clone());
        let mut tile = MaybeUninit::<Buffer<T>>::uninit();
        let c = tile.as_mut_ptr().cast();
        let apart = Step { accumulate: false, c, c_stride: MAX_NR as isize, ..*step };
        // SAFETY: the panels hold as many k as the step has; the tile has room for MAX_MR rows of MAX_NR.
        unsafe {
            kernel(&apart);
            self.target.scatter(rows, cols, tile.as_ptr().cast(), step.accumulate);
        }
    }
}

/// Room for a tile, on cache lines.
#[repr(align(64))]
struct Buffer<T>(#[allow(dead_code)] [T; MAX_MR * MAX_NR]);

/// How the loops cut a product, or what one task computes of it.
struct Cut {
    /// Rows of a panel of A.
    height: usize,
    /// k of a block.
    depth: usize,
    /// Rows of a block of A.
    mc: usize,
    /// Columns of a block of B.
    nc: usize,
    /// Blocks of columns, of rows and of k.
    turns: [usize; 3],
    /// Whether the macro-kernel goes panel by panel of A.
    by_rows: bool,
    /// Whether all blocks of B for some columns find room together: loop 4 then goes inside of loop 3, and C is finished
    /// in one go.
    inside: bool,
    /// Whether all blocks of A for some k are kept: loop 4 then goes outside of loop 5, and A is packed once.
    kept: bool,
    /// Whether all copies of panels of B go to the same place.
    single: bool,
    /// Whether panels of B are to be copied if they lie in place.
    copy: bool,
    /// Whether B need not be packed.
    b_in_place: bool,
    /// Elements of a packed block of A, and how many there is room for.
    a_len: usize,
    a_blocks: usize,
    /// The same of B.
    b_len: usize,
    b_blocks: usize,
}

impl Cut {
    /// Which blocks of columns, of rows and of k a turn of the loops is about.
    fn turn(&self, turn: usize) -> [usize; 3] {
        let [acrosses, downs, deeps] = self.turns;
        let split = |turn: usize, outer: usize, inner: usize| {
            (turn / (outer * inner), turn / inner % outer, turn % inner)
        };
        if self.kept {
            let (deep, across, down) = split(turn, acrosses, downs);
            [across, down, deep]
        } else if self.inside {
            let (across, down, deep) = split(turn, downs, deeps);
            [across, down, deep]
        } else {
            let (across, deep, down) = split(turn, deeps, downs);
            [across, down, deep]
        }
    }
}

/// The part `index` of a range that is cut into parts of length `len`.
fn part(range: &Range<usize>, index: usize, len: usize) -> Range<usize> {
    let start = range.start + index * len;
    start..range.end.min(start + len)
}

/// A block of the loops: what loop 3 hands to the macro-kernel.
struct Block<'a> {
    cut: &'a Cut,
    rows: Range<usize>,
    cols: Range<usize>,
    ks: Range<usize>,
    /// Whether no block was multiplied with these columns and k before.
    first: bool,
    /// Whether the panels of A were packed for other columns before.
    again: bool,
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
        Step { ahead, ahead_step, ..Step::new(depth, b, b_step, packed, false) }
    }
}

/// The length of the blocks, at most about `most` each and multiples of `unit`, that `len` is cut into evenly.
fn even(len: usize, most: usize, unit: usize) -> usize {
    let units = len.div_ceil(unit);
    let blocks = units.div_ceil((most / unit).max(1)).max(1);
    units.div_ceil(blocks).max(1) * unit
}
