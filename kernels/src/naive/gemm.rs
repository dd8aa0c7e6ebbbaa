//! Matrix multiplication as the textbook writes it: one sum per element of C.

use crate::gemm::{Float, Gemm};

/// `C[b, m, n] = sum_k A[b, m, k] B[b, k, n]`, each sum in order of k, every product rounded before it is added.
///
/// Slices as in [`crate::gemm::gemm`].
///
/// # Panics
/// If a slice is shorter than the shapes and strides need.
pub fn gemm<T: Float>(g: &Gemm, a: &[T], b: &[T], c: &mut [T]) {
    let (a_origin, b_origin) = (g.a_span().0, g.b_span().0);
    for batch in 0..g.batches() {
        let (a_batch, b_batch) = g.batch_offsets(batch);
        for i in 0..g.m {
            for j in 0..g.n {
                let mut sum = T::ZERO;
                for p in 0..g.k {
                    let at = a_batch + i as isize * g.a[0] + p as isize * g.a[1] - a_origin;
                    let bt = b_batch + p as isize * g.b[0] + j as isize * g.b[1] - b_origin;
                    sum = sum + a[at as usize] * b[bt as usize];
                }
                c[(batch * g.m + i) * g.n + j] = sum;
            }
        }
    }
}
