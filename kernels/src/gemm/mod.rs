//! Matrix multiplication: `C[b, m, n] = sum_k A[b, m, k] B[b, k, n]`, C contiguous, A and B of any strides.

mod float;

pub use float::Float;
use std::ops::Range;

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
    if g.m * g.n == 0 {
        return;
    }
    for batch in 0..g.batches() {
        let (a_batch, b_batch) = g.batch_offsets(batch);
        for i in 0..g.m {
            // SAFETY: row i of matrix `batch` of C is n elements that nothing else refers to; the caller vouches
            // for every element of A and B at an index inside the shape.
            unsafe {
                let row = std::slice::from_raw_parts_mut(c.add((batch * g.m + i) * g.n), g.n);
                row.fill(T::ZERO);
                for p in 0..g.k {
                    let x = *a.offset(a_batch + i as isize * g.a[0] + p as isize * g.a[1]);
                    let b = b.offset(b_batch + p as isize * g.b[0]);
                    for (j, c) in row.iter_mut().enumerate() {
                        *c = *c + x * *b.offset(j as isize * g.b[1]);
                    }
                }
            }
        }
        if let Some(epilogue) = epilogue {
            epilogue(Block { batch, rows: 0..g.m, cols: 0..g.n });
        }
    }
}
