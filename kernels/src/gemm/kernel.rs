//! What a level of SIMD offers to the five loops: micro-kernels and two ways to pack a panel.

use super::Float;
use crate::simd::Level;
use std::ptr;

/// Whether kernels are called for rows of tiles. Without wide vectors a tile takes long compared to a call, and code is
/// better kept small.
pub const ROWS_OF_TILES: bool = cfg!(feature = "avx512");

/// What a micro-kernel does: `C[rows, cols] (+)= A[rows, k] B[k, cols]` for a row of register tiles.
pub struct Step<T> {
    /// Tiles: the first is described here.
    pub tiles: usize,
    /// Elements from one tile to the next in A, in B, in the copy of B, and in C.
    pub next: [isize; 4],
    /// Length of the sums.
    pub k: usize,
    /// Element (0, 0) of A.
    pub a: *const T,
    /// Strides of A along rows and k, one of which is 1.
    pub a_strides: [isize; 2],
    /// Element (0, 0) of B, whose columns are adjacent.
    pub b: *const T,
    /// Stride of B along k.
    pub b_step: isize,
    /// Where to copy B on the way, at two vectors a step; or null, and then whole vectors of B are readable.
    pub packed: *mut T,
    /// What will be needed next, any addresses: two cache lines, the same or this many elements apart, are fetched at
    /// every second k, tile after tile. A core can wait for about a dozen lines of the third level at once, and what else
    /// misses the first level meanwhile waits too: so not more of them.
    pub ahead: (*const T, isize),
    /// Elements from one `ahead` to the next.
    pub ahead_step: isize,
    /// Element (0, 0) of C, whose columns are adjacent.
    pub c: *mut T,
    /// Stride of C along rows.
    pub c_stride: isize,
    /// Columns of C; more than all vectors across but the last have.
    pub cols: usize,
    /// Whether to add to C or to overwrite it.
    pub accumulate: bool,
}

impl<T> Step<T> {
    /// One tile with the right operand given, and nothing of the left and of C; nothing is fetched ahead.
    pub fn new(k: usize, b: *const T, b_step: isize, packed: *mut T, accumulate: bool) -> Step<T> {
        let (a, c) = (ptr::null(), ptr::null_mut());
        Step {
            tiles: 1,
            next: [0; 4],
            k,
            a,
            a_strides: [1, 0],
            b,
            b_step,
            packed,
            ahead: (b, 0),
            ahead_step: 0,
            c,
            c_stride: 0,
            cols: 0,
            accumulate,
        }
    }

    /// How many tiles: a constant where [`ROWS_OF_TILES`] says that there is one.
    #[inline(always)]
    pub fn tiles_at_once(&self) -> usize {
        if ROWS_OF_TILES { self.tiles } else { 1 }
    }

    /// Goes on to the next tile.
    #[inline(always)]
    pub fn advance(&mut self) {
        let [a, b, packed, c] = self.next;
        (self.a, self.b, self.c) =
            (self.a.wrapping_offset(a), self.b.wrapping_offset(b), self.c.wrapping_offset(c));
        if !self.packed.is_null() {
            self.packed = self.packed.wrapping_offset(packed);
        }
        self.ahead.0 = self.ahead.0.wrapping_offset(self.k.div_ceil(2) as isize * self.ahead_step);
    }
}

/// Does a [`Step`]; the rows and the number of vectors across are fixed by the position in [`Kernels::tiles`].
///
/// Every element is one chain of multiply-adds, k ascending, from zero: tiles of all sizes give the same bits.
pub type Tile<T> = unsafe fn(&Step<T>);

/// `out[p * width + j] = src(j, p)` for j < count and p < k, and anything for count <= j < width. Arguments: k, count, width, src, stride, out. The stride is that of p for [`Kernels::copy`] (j
/// adjacent) and that of j for [`Kernels::transpose`] (p adjacent). At most [`Kernels::nr`] wide. `SLACK`
/// elements after the panel may be overwritten.
pub type Pack<T> = unsafe fn(usize, usize, usize, *const T, isize, *mut T);

/// Stores a tile transposed: `c[j * c_stride + i] (+)= tile[i * MAX_NR + j]` for i < rows and j < cols. Arguments: rows,
/// cols, tile, c, c_stride, whether to add. [`MAX_NR`] elements of each of the rows of the tile are readable.
pub type Untile<T> = unsafe fn(usize, usize, *const T, *mut T, isize, bool);

/// Inner products of the rows of a matrix with a vector; see [`super::small`].
pub type RowsDot<T> = unsafe fn(super::small::Matrix<T>, *const T, *mut T);

/// One run of adjacent elements to copy: where from, where to, how many.
#[derive(Clone, Copy, Default)]
pub struct Run {
    /// Offset in the source, from that of the row.
    pub from: u32,
    /// Offset in the row of the output.
    pub to: u32,
    /// Elements.
    pub len: u32,
}

/// Rows put together from runs: `out[r * pitch + run.to + i] = src[rows[r] + run.from + i]`. Arguments: src, rows,
/// runs in ascending order of `to`, pitch, out. Up to [`SLACK`] elements are read past the end of a run and written
/// past the end of a row.
pub type Gather<T> = unsafe fn(*const T, &[usize], &[Run], usize, *mut T);

/// Rows of B that kernels fetch ahead: the latency of the third level, about 300 cycles, over
/// the 14 of a row.
#[cfg(target_arch = "x86_64")]
pub const ROWS_AHEAD: isize = 24;

/// Elements that packing may write past the end of a panel.
pub const SLACK: usize = 16;

/// The most columns a tile of any level has.
pub const MAX_NR: usize = 32;
/// The most rows a tile of any level has.
pub const MAX_MR: usize = 14;

/// The kernels of one level for one type.
pub struct Kernels<T: 'static> {
    /// `tiles[rows - 1][vectors - 1]`: one for each number of rows up to the largest, one or two vectors across.
    pub tiles: &'static [[Tile<T>; 2]],
    /// Elements of a vector.
    pub lanes: usize,
    /// Packs a panel whose columns (of B; rows of A) are adjacent in memory.
    pub copy: Pack<T>,
    /// Packs a panel whose k are adjacent in memory.
    pub transpose: Pack<T>,
    /// Stores a tile transposed.
    pub untile: Untile<T>,
    /// Puts rows together from runs.
    pub gather: Gather<T>,
    /// Matrix times vector.
    pub rows_dot: RowsDot<T>,
}

impl<T: Float> Kernels<T> {
    /// Rows of the largest tile.
    pub fn mr(&self) -> usize {
        self.tiles.len()
    }

    /// Columns of a tile of two vectors: the width of a packed panel of B.
    pub fn nr(&self) -> usize {
        2 * self.lanes
    }

    /// Packs one panel from any strides: `out[p * width + j] = src[j * along + p * down]`.
    ///
    /// # Safety
    /// As [`Pack`], for the given strides.
    #[allow(clippy::too_many_arguments)]
    pub unsafe fn pack(
        &self,
        k: usize,
        count: usize,
        width: usize,
        src: *const T,
        along: isize,
        down: isize,
        out: *mut T,
    ) {
        // SAFETY: the caller's promise, handed on; the general case reads exactly the elements (j, p).
        unsafe {
            if along == 1 {
                (self.copy)(k, count, width, src, down, out);
            } else if down == 1 {
                (self.transpose)(k, count, width, src, along, out);
            } else {
                pack_any(k, count, width, src, along, down, out);
            }
        }
    }
}

/// [`Kernels::pack`] in plain Rust.
///
/// # Safety
/// As [`Pack`].
#[allow(clippy::too_many_arguments)]
#[inline(always)]
pub unsafe fn pack_any<T: Float>(
    k: usize,
    count: usize,
    width: usize,
    src: *const T,
    along: isize,
    down: isize,
    out: *mut T,
) {
    for p in 0..k {
        // SAFETY: p < k and j < count are inside what the caller vouches for; so is `width` per p in `out`.
        unsafe {
            let (src, out) = (src.offset(p as isize * down), out.add(p * width));
            for j in 0..count {
                *out.add(j) = *src.offset(j as isize * along);
            }
            for j in count..width {
                *out.add(j) = T::ZERO;
            }
        }
    }
}

/// [`Gather`]: the body that every level compiles for itself. Runs are copied in whole chunks, the excess being
/// overwritten by the next run, so that the copies have constant lengths.
///
/// # Safety
/// As [`Gather`].
#[inline(always)]
pub unsafe fn gather<T: Float>(src: *const T, rows: &[usize], runs: &[Run], pitch: usize, out: *mut T) {
    let longest = runs.iter().map(|run| run.len).max().unwrap_or(0);
    // SAFETY: handed on.
    unsafe {
        match longest {
            0..=4 => gather_chunks::<T, 4>(src, rows, runs, pitch, out),
            5..=8 => gather_chunks::<T, 8>(src, rows, runs, pitch, out),
            _ => gather_chunks::<T, SLACK>(src, rows, runs, pitch, out),
        }
    }
}

#[inline(always)]
unsafe fn gather_chunks<T: Float, const CHUNK: usize>(
    src: *const T,
    rows: &[usize],
    runs: &[Run],
    pitch: usize,
    out: *mut T,
) {
    for (r, &row) in rows.iter().enumerate() {
        for run in runs {
            let (src, out) =
                (src.wrapping_add(row + run.from as usize), out.wrapping_add(r * pitch + run.to as usize));
            for at in (0..run.len as usize).step_by(CHUNK) {
                // SAFETY: the caller vouches for the run and SLACK (>= CHUNK) elements on either side.
                unsafe { out.add(at).cast::<[T; CHUNK]>().write(src.add(at).cast::<[T; CHUNK]>().read()) };
            }
        }
    }
}

/// The kernels of `level` for f32.
pub fn for_f32(level: Level) -> &'static Kernels<f32> {
    match level {
        #[cfg(all(target_arch = "x86_64", feature = "avx512"))]
        Level::Avx512 => &super::avx512::F32,
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => &super::avx2::F32,
        _ => &super::portable::F32,
    }
}

/// The kernels of `level` for f64.
pub fn for_f64(level: Level) -> &'static Kernels<f64> {
    match level {
        #[cfg(all(target_arch = "x86_64", feature = "avx512"))]
        Level::Avx512 => &super::avx512::F64,
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => &super::avx2::F64,
        _ => &super::portable::F64,
    }
}

/// The table [`Kernels::tiles`] for a generic function `tile::<rows, vectors>`.
macro_rules! tiles {
    ($tile:path; $($rows:literal)*) => {{
        use $tile as tile;
        &[$([tile::<$rows, 1>, tile::<$rows, 2>]),*]
    }};
}
pub(crate) use tiles;
