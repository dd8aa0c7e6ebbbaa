//! Recomputing instead of storing: a cheap pointwise value made of one array that lies in memory anyway costs its users
//! no more to compute than to read. So each of them computes it for itself, and it is never written.
//!
//! The deviations of a normalization are the example: two expressions of its input and of one number per channel, which
//! two sums, the result and the gradient all need. Every use computes the same bits, so nothing else changes.

use super::capture::Role;
use super::plan::{Class, Ir};
use crate::ops::Op;
use gradus_kernels::program::{Binary, Unary};

/// How many instructions a value may take to be computed anew by each of its users.
const MOST_WORK: usize = 4;
/// An operand is small beside a result that has this many times its elements.
const SMALL: usize = 8;

/// For each node whether its users compute it for themselves, each in its own kernel.
pub(super) fn find(ir: &Ir) -> Vec<bool> {
    let n = ir.class.len();
    let mut finder = Finder {
        ir,
        users: vec![Users { able: true, ..Users::default() }; n],
        base: (0..n as u32).collect(),
        work: vec![0; n],
    };
    finder.count_users();
    for i in 0..n as u32 {
        if let Some((base, work)) = finder.made_of(i) {
            (finder.base[i as usize], finder.work[i as usize]) = (base, work);
        }
    }
    let mut chosen = vec![false; n];
    for i in (0..n).rev().filter(|&i| finder.work[i] > 0) {
        chosen[i] = match finder.users[i] {
            Users { count: 1, last, .. } => chosen[last as usize],
            Users { count, .. } => count > 1 && finder.costs_no_more(i as u32),
        };
    }
    chosen
}

/// Who reads a value.
#[derive(Clone, Copy, Default)]
struct Users {
    count: usize,
    last: u32,
    /// Whether all of them can compute it for themselves: maps, element for element, and reductions.
    able: bool,
    /// Whether one of them needs it to lie in memory, as far as it can be known here.
    anchored: bool,
}

struct Finder<'a, 'b> {
    ir: &'a Ir<'b>,
    users: Vec<Users>,
    /// The one array that a cheap value is made of, through other cheap ones; all others are made of themselves.
    base: Vec<u32>,
    /// Instructions of a cheap value; 0 for others.
    work: Vec<usize>,
}

impl Finder<'_, '_> {
    fn count_users(&mut self) {
        let ir = self.ir;
        for i in ir.computed() {
            for (base, direct) in ir.edges(i) {
                let users = &mut self.users[base as usize];
                users.count += 1;
                users.last = i;
                let reduced = matches!(ir.capture.op(i), Op::Reduce(..)) && ir.reads_itself(i, base);
                users.able &= (direct && ir.is_map(i)) || reduced;
                users.anchored |= !ir.is_map(i);
            }
        }
        for (i, &wanted) in ir.wanted().iter().enumerate() {
            self.users[i].able &= !wanted;
            self.users[i].anchored |= wanted;
        }
    }

    /// The array that node `i` is made of and how many instructions that takes, if its users could do it.
    fn made_of(&self, i: u32) -> Option<(u32, usize)> {
        let (ir, k) = (self.ir, i as usize);
        let fits = ir.live[k] && ir.same[k] == i && ir.is_map(i) && is_cheap(ir.capture.op(i));
        if !fits || !self.users[k].able {
            return None;
        }
        let shape = ir.capture.shape(i);
        let (mut base, mut work) = (None, 1);
        for &x in ir.capture.nodes[k].inputs.iter() {
            let x = ir.same[x as usize];
            let from = ir.source[x as usize].0;
            let large = ir.class[x as usize] != Class::View && ir.capture.shape(x) == shape;
            if ir.class[x as usize] == Class::Full {
                continue;
            }
            if large && base.is_none_or(|b| b == self.base[x as usize]) {
                base = Some(self.base[x as usize]);
                work += self.work[x as usize];
            } else if large || ir.capture.shape(from).numel() * SMALL > shape.numel() {
                return None;
            }
        }
        base.filter(|_| work <= MOST_WORK).map(|base| (base, work))
    }

    /// Whether what `i` is made of is stored whatever becomes of its other users, and is no longer to read.
    fn costs_no_more(&self, i: u32) -> bool {
        let (ir, base) = (self.ir, self.base[i as usize]);
        let leaf = matches!(ir.capture.nodes[base as usize].role, Role::Leaf(_));
        let stored = leaf || ir.class[base as usize] == Class::Copy || self.users[base as usize].anchored;
        stored && ir.dtype(base).size() <= ir.dtype(i).size()
    }
}

/// Whether an op costs about as much as reading its operand.
fn is_cheap(op: &Op) -> bool {
    match op {
        Op::Unary(op) => matches!(op, Unary::Neg | Unary::Abs | Unary::Relu),
        Op::Binary(op) => {
            matches!(
                op,
                Binary::Add | Binary::Sub | Binary::Mul | Binary::Max | Binary::Min | Binary::Lt | Binary::Le
            )
        }
        Op::Select => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use crate::tape::record;
    use crate::{Rng, Tensor, eval, vjp};

    fn drawn(shape: &[usize], seed: u64) -> Tensor {
        let x = Rng::seed(seed).normal(shape);
        eval([&x]).unwrap();
        x
    }

    /// What the maps over this shape say of themselves.
    fn maps(shape: &str, f: impl FnOnce() -> Vec<Tensor>) -> Vec<String> {
        let ((), tapes) = record(|| eval(&f()).unwrap());
        let kernels = tapes.iter().flat_map(|tape| tape.kernels());
        kernels.map(|k| k.text.clone()).filter(|text| text.contains("map") && text.contains(shape)).collect()
    }

    /// Besides the result and the gradient of x, one array is written: what two terms of that gradient give.
    #[test]
    fn deviations_of_a_normalization_are_never_stored() {
        let (x, g) = (drawn(&[6, 4, 5, 5], 1), drawn(&[6, 4, 5, 5], 2));
        let (w, b) = (drawn(&[4], 3), drawn(&[4], 4));
        let found = maps("[6, 4, 5, 5]", || {
            let (y, _) = x.batch_norm(Some(&w), Some(&b), 1e-5);
            let mut results: Vec<Tensor> = vjp(&y, &[&x, &w, &b], &g).into_iter().flatten().collect();
            results.push(y);
            results
        });
        assert_eq!(found.len(), 3, "{found:#?}");
        assert!(found.iter().all(|text| text.contains("1 out")), "{found:#?}");
    }

    /// Two arrays to read in place of one, or a function that costs more than a read: those are stored.
    #[test]
    fn what_costs_more_than_a_read_is_stored() {
        let (x, y) = (drawn(&[64, 32], 1), drawn(&[64, 32], 2));
        let twice = |f: &dyn Fn() -> Tensor| {
            let m = f();
            maps("[64, 32]", || vec![m.sum(0), m.sum(1)]).len()
        };
        assert_eq!(twice(&|| &x * 2.0 - 1.0), 0);
        assert_eq!(twice(&|| &x * &y), 1);
        assert_eq!(twice(&|| x.exp()), 1);
        assert_eq!(twice(&|| ((&x * 2.0 - 1.0) * 3.0 - 1.0) * 5.0), 1);
    }
}
