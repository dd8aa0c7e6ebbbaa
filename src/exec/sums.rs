//! Sums of matrix products, as of the gradients of a layer that a step uses twice, `x₁ᵀ g₁ + x₂ᵀ g₂`: one product whose sums
//! go on from one pair of operands to the next. None of the products is written by itself, and nobody reads them to add
//! them up. Products that are one chain of multiply-adds each give the same bits either way.

use super::plan::{Class, Ir};
use crate::ops::Op;
use gradus_kernels::gemm::{self, Gemm};
use gradus_kernels::program::Binary;

/// Makes kernels of their own of sums of two products that nothing else reads.
pub(super) fn find(ir: &mut Ir) {
    // On a GPU, a product of more operands would need more bindings.
    if !ir.capture.device.is_cpu() {
        return;
    }
    let mut users = vec![0usize; ir.class.len()];
    for i in ir.computed() {
        ir.edges(i).for_each(|(base, _)| users[base as usize] += 1);
    }
    let wanted = ir.wanted();
    for i in ir.computed() {
        if !matches!(ir.capture.op(i), Op::Binary(Binary::Add)) {
            continue;
        }
        let summands: Vec<u32> =
            ir.capture.nodes[i as usize].inputs.iter().map(|&x| ir.same[x as usize]).collect();
        let only_here = |&x: &u32| {
            let k = x as usize;
            let product = matches!(ir.capture.op(x), Op::Matmul) && ir.class[k] == Class::Heavy;
            product && users[k] == 1 && !wanted[k] && ir.dtype(x).is_float()
        };
        if summands.iter().all(only_here) && alike(&ir.gemm(summands[0]), &ir.gemm(summands[1])) {
            ir.class[i as usize] = Class::Heavy;
            summands.into_iter().for_each(|x| ir.recomputed[x as usize] = true);
        }
    }
}

/// Whether the sum of both products can be computed in one go.
fn alike(x: &Gemm, y: &Gemm) -> bool {
    let numbers = |g: &Gemm| ([g.m, g.n, g.k], g.a, g.b);
    gemm::adds_up(x) && gemm::adds_up(y) && numbers(x) == numbers(y)
}

#[cfg(test)]
mod tests {
    use crate::tape::record;
    use crate::{Rng, Tensor, eval, grad};

    /// The products that computing the tensors takes.
    fn products(tensors: &[&Tensor]) -> Vec<String> {
        let ((), tapes) = record(|| eval(tensors.iter().copied()).unwrap());
        let kernels = tapes.iter().flat_map(|tape| tape.kernels());
        kernels.map(|k| k.text.clone()).filter(|text| text.contains("gemm")).collect()
    }

    #[test]
    fn weights_used_twice_have_one_product_as_gradient() {
        let mut rng = Rng::seed(1);
        let (w, x, y) = (rng.normal([6, 5]), rng.normal([8, 6]), rng.normal([8, 6]));
        let loss = x.matmul(&w).tanh().sum(..) + y.matmul(&w).tanh().sum(..);
        let gradient = grad(&loss, [&w]).swap_remove(0);
        let found = products(&[&gradient]);
        assert_eq!(found.len(), 3, "{found:#?}");
        assert!(found.iter().any(|text| text.contains("6x(2*8)x5")), "{found:#?}");
    }

    /// What is wanted by itself, has another shape, or is a sum of many terms already.
    #[test]
    fn other_products_stay_by_themselves() {
        let mut rng = Rng::seed(2);
        let (x, y) = (rng.normal([6, 8]), rng.normal([8, 7]));
        let (p, q) = (x.matmul(&y), x.tanh().matmul(&y));
        assert_eq!(products(&[&p, &(&p + &q)]).len(), 2);
        assert_eq!(products(&[&(x.slice(1, ..3).matmul(&y.slice(0, ..3)) + x.matmul(&y))]).len(), 2);
        let (x, y) = (rng.normal([3, 513]), rng.normal([513, 4]));
        assert_eq!(products(&[&(x.matmul(&y) + x.tanh().matmul(&y))]).len(), 2);
    }
}
