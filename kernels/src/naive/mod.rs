//! The plain loop of every kernel: its definition, its oracle in the tests, and the baseline beside it in benchmarks.

pub mod conv;
pub mod fold;
pub mod gather;
pub mod gemm;
pub mod pointwise;
pub mod reduce;
pub mod scan;
pub mod sort;

/// Every index of `shape`, in row-major order.
fn positions(shape: &[usize]) -> impl Iterator<Item = Vec<usize>> {
    let size: usize = shape.iter().product();
    (0..size).map(move |mut flat| {
        let mut index = vec![0; shape.len()];
        for (i, &len) in index.iter_mut().zip(shape).rev() {
            (*i, flat) = (flat % len, flat / len);
        }
        index
    })
}
