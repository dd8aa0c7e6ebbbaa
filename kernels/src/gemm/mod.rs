//! Matrix multiplication: `C[b, m, n] = sum_k A[b, m, k] B[b, k, n]`, C contiguous, A and B of any strides.
//!
//! Where to read on: `loops` holds the five loops and the sizes of their blocks, `kernel` what a level of SIMD offers
//! them (with `x86`, at the widths of `avx512` and `avx2`, and `portable`), `strided` the operands, `tasks` the cut into
//! parallel tasks, `cache` the sizes that blocks are fitted to, `small` the products of a matrix and a vector.
//!
//! # Order of the sums
//! For m, n > 1, k is cut into equal blocks, as few as have at most 512 each; each block is one chain of fused
//! multiply-adds, k ascending, and the blocks are added in order; so are the products of a [sum](run_sum). For m = 1 or n = 1 the sum runs in as many lanes as
//! a vector has (see `small`). Nothing else has an influence: not strides, not packing, not tiles, not threads. The
//! portable level rounds products before it adds them, unless the target has a fused instruction.

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(all(target_arch = "x86_64", feature = "avx512"))]
pub(crate) mod avx512;
mod cache;
mod float;
pub(crate) mod kernel;
pub(crate) mod loops;
pub(crate) mod portable;
pub(crate) mod scratch;
mod small;
pub(crate) mod strided;
pub(crate) mod tasks;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use float::Float;
use loops::Product;
use std::ops::Range;
use strided::{Contiguous, Summands, Transposed};
use tasks::Grid;

use crate::{par, simd};

/// One batch axis: its length and the strides (elements) of A and B along it. Stride 0 broadcasts.
#[derive(Clone, Copy, Debug)]
pub struct BatchAxis {
    /// Extent of the axis.
    pub len: usize,
    /// Stride of A.
    pub a: isize,
    /// Stride of B.
    pub b: isize,
}

/// The shape and the strides of one multiplication. C is contiguous, `[batch…, m, n]`.
#[derive(Clone, Debug)]
pub struct Gemm {
    /// Rows of A and C.
    pub m: usize,
    /// Columns of B and C.
    pub n: usize,
    /// Columns of A, rows of B.
    pub k: usize,
    /// Strides of A along m and k, in elements; negative and zero are fine.
    pub a: [isize; 2],
    /// Strides of B along k and n.
    pub b: [isize; 2],
    /// Batch axes, outermost first.
    pub batch: Vec<BatchAxis>,
}

/// A block of C whose values are final.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Row-major index over the batch axes.
    pub batch: usize,
    /// Rows of the block.
    pub rows: Range<usize>,
    /// Columns of the block.
    pub cols: Range<usize>,
}

/// What [`run`] calls on each finished block.
pub type Epilogue<'a> = Option<&'a (dyn Fn(Block) + Sync)>;

impl Gemm {
    /// Number of matrices: the product of the batch axes.
    pub fn batches(&self) -> usize {
        self.batch.iter().map(|axis| axis.len).product()
    }

    /// Offsets (elements) of matrix `batch`, a row-major index over the batch axes, in A and in B.
    pub fn batch_offsets(&self, mut batch: usize) -> (isize, isize) {
        let (mut a, mut b) = (0, 0);
        for axis in self.batch.iter().rev() {
            let index = (batch % axis.len) as isize;
            batch /= axis.len;
            a += index * axis.a;
            b += index * axis.b;
        }
        (a, b)
    }

    /// The same product with fewer and taller matrices: inner batch axes along which B is the same and the rows of
    /// A go on become rows.
    fn stacked(&self) -> Gemm {
        let mut g = self.clone();
        while let Some(&BatchAxis { len, a, b: 0 }) = g.batch.last()
            && a == g.m as isize * g.a[0]
        {
            g.m *= len;
            g.batch.pop();
        }
        g
    }

    /// Lowest and highest offset (elements, relative to element (0, 0, 0)) that A reaches.
    pub fn a_span(&self) -> (isize, isize) {
        let axes = self.batch.iter().map(|axis| (axis.len, axis.a));
        span(axes.chain([(self.m, self.a[0]), (self.k, self.a[1])]))
    }

    /// Lowest and highest offset that B reaches.
    pub fn b_span(&self) -> (isize, isize) {
        let axes = self.batch.iter().map(|axis| (axis.len, axis.b));
        span(axes.chain([(self.k, self.b[0]), (self.n, self.b[1])]))
    }
}

/// Lowest and highest offset reached over axes of (length, stride).
fn span(axes: impl Iterator<Item = (usize, isize)>) -> (isize, isize) {
    axes.fold((0, 0), |(low, high), (len, stride)| {
        let reach = len.saturating_sub(1) as isize * stride;
        (low + reach.min(0), high + reach.max(0))
    })
}

/// The safe form of [`run`]. `a` and `b` begin at the lowest address that the strides reach (with no negative
/// stride: at element (0, 0, 0)); `c` holds exactly `[batch…, m, n]`.
///
/// # Panics
/// If `a` or `b` is shorter than the strides reach, or `c` has another length than the product of its shape.
#[track_caller]
pub fn gemm<T: Float>(g: &Gemm, a: &[T], b: &[T], c: &mut [T]) {
    assert_eq!(c.len(), g.batches() * g.m * g.n, "C is [batch {}, m {}, n {}]", g.batches(), g.m, g.n);
    let (a_span, b_span) = (g.a_span(), g.b_span());
    if !c.is_empty() && g.k > 0 {
        let (need_a, need_b) = (a_span.1 - a_span.0 + 1, b_span.1 - b_span.0 + 1);
        assert!(a.len() as isize >= need_a, "A reaches {need_a} elements, the slice has {}", a.len());
        assert!(b.len() as isize >= need_b, "B reaches {need_b} elements, the slice has {}", b.len());
    }
    let (a, b) = (a.as_ptr().wrapping_offset(-a_span.0), b.as_ptr().wrapping_offset(-b_span.0));
    // SAFETY: the spans were checked against the slices (if anything is read at all), C's length against its
    // shape, and `c` is borrowed uniquely.
    unsafe { run(g, a, b, c.as_mut_ptr(), None) }
}

/// `C[b, m, n] = sum_k A[b, m, k] B[b, k, n]`.
///
/// `a` and `b` are the addresses of element (0, 0, 0). The epilogue is called once for each block of C when its
/// values are final, on the thread that computed it; the blocks tile C exactly. `k = 0` gives zeros.
///
/// # Safety
/// Every element reached through shape and strides lies in a live allocation; C overlaps neither A nor B.
pub unsafe fn run<T: Float>(g: &Gemm, a: *const T, b: *const T, c: *mut T, epilogue: Epilogue) {
    if g.batches() * g.m * g.n == 0 {
        return;
    }
    // Decided by the shape alone: the two ways add in different orders.
    if g.m == 1 || g.n == 1 {
        // SAFETY: handed on.
        return unsafe { small::run(g, a, b, c, epilogue) };
    }
    let tall = g.stacked();
    let apart = epilogue.map(|epilogue| {
        move |block: Block| {
            let matrices = block.rows.start / g.m..block.rows.end.div_ceil(g.m);
            for matrix in matrices {
                let first = matrix * g.m;
                let rows = block.rows.start.max(first) - first..block.rows.end.min(first + g.m) - first;
                let batch = block.batch * (tall.m / g.m) + matrix;
                epilogue(Block { batch, rows, cols: block.cols.clone() });
            }
        }
    });
    // SAFETY: handed on; the same product in other words.
    unsafe { multiply(&tall, &[[a, b]], c, apart.as_ref().map(|f| f as _)) }
}

/// The sum of several products of one shape, `operands` holding a and b of each, in one go: bit for bit what
/// [`run`] for each and adding them up in order would give.
///
/// # Safety
/// As [`run`], for each pair of operands.
///
/// # Panics
/// If there are several products and [`adds_up`] does not hold.
pub unsafe fn run_sum<T: Float>(g: &Gemm, operands: &[[*const T; 2]], c: *mut T, epilogue: Epilogue) {
    match operands {
        // SAFETY: handed on.
        &[[a, b]] => unsafe { run(g, a, b, c, epilogue) },
        _ => {
            assert!(adds_up(g), "{g:?} is one of a kind that is summed up one by one");
            // SAFETY: handed on.
            unsafe { multiply(g, operands, c, epilogue) }
        }
    }
}

/// Whether [`run_sum`] can do several such products in one go: each is a single chain of multiply-adds.
pub fn adds_up(g: &Gemm) -> bool {
    g.batch.is_empty() && g.m > 1 && g.n > 1 && (1..=loops::KC).contains(&g.k)
}

/// [`run_sum`] in the five loops.
unsafe fn multiply<T: Float>(g: &Gemm, operands: &[[*const T; 2]], c: *mut T, epilogue: Epilogue) {
    let (batches, k) = (g.batches(), g.k * operands.len());
    let kernels = T::kernels(simd::level());
    // Of two matrices whose k are adjacent the smaller is better packed and the larger read in place, on the left.
    let swapped = g.b[0] == 1
        && g.k >= SWAPPED_K
        && g.m >= kernels.lanes
        && g.m <= SWAPPED_ROWS * kernels.nr()
        && g.m < g.n;
    let (size, [left, right]) =
        if swapped { ([g.n, g.m, k], [g.b, g.a].map(|[x, y]| [y, x])) } else { ([g.m, g.n, k], [g.a, g.b]) };
    let grid = Grid::new(batches, size, kernels.mr(), kernels.nr());
    let c = SharedMut(c);
    let in_place = match left {
        [1, _] => grid.part()[1] <= IN_PLACE_A * kernels.nr(),
        [stride, _] => swapped || g.k <= IN_PLACE_K || !loops::conflicts::<T>(stride),
    };
    let side = |side, strides, in_place| Summands { operands, side, offset: 0, strides, in_place, k: g.k };
    let (left, right) =
        (side(usize::from(swapped), left, in_place), side(usize::from(!swapped), right, true));
    par::for_each(grid.tasks(), |task| {
        let (batches, rows, cols) = grid.task(task);
        for batch in batches {
            let offset = <[isize; 2]>::from(g.batch_offsets(batch));
            let (left, right) = (&left.at(offset), &right.at(offset));
            let product = Contiguous { ptr: SharedMut(c.at(batch * g.m * g.n)), cols: g.n, batch, epilogue };
            let (rows, cols) = (rows.clone(), cols.clone());
            // SAFETY: the caller vouches for the operands and for C; tasks have disjoint parts of it.
            unsafe {
                if swapped {
                    let target = &Transposed { product, kernels };
                    Product { kernels, size, left, right, target }.run(rows, cols);
                } else {
                    Product { kernels, size, left, right, target: &product }.run(rows, cols);
                }
            }
        }
    });
}

/// Panels of B that a panel of A whose rows are adjacent must serve before packing it pays.
const IN_PLACE_A: usize = 4;
/// The most k that are read in place even if they compete for the cache.
const IN_PLACE_K: usize = 32;

/// The most rows, in panels, with which a transposed product pays: W is read once for each.
const SWAPPED_ROWS: usize = 8;
/// The fewest k with which a transposed product pays: below, storing tiles transposed costs more than packing.
const SWAPPED_K: usize = 192;

/// An address that tasks on several threads share.
pub(crate) struct SharedMut<T>(pub *mut T);

impl<T> SharedMut<T> {
    /// The address `index` elements on.
    pub fn at(&self, index: usize) -> *mut T {
        self.0.wrapping_add(index)
    }
}

// SAFETY: an address; whoever dereferences it vouches for what lies there, data races included.
unsafe impl<T> Send for SharedMut<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for SharedMut<T> {}
