//! Einstein summation in NumPy's notation, reduced to diagonals, sums and matrix products.

use super::cases::{Draw, Gradient, OpCase};
use crate::error::{BuildError, fail};
use crate::tensor::Tensor;
use gradus_kernels::MAX_RANK;

/// The name of an axis: a letter, or [`DOTS`] plus the place, from the right, of an axis under `...`.
type Label = u8;

const DOTS: Label = 128;

/// A tensor whose axes have names, each once.
struct Term {
    x: Tensor,
    labels: Vec<Label>,
}

#[track_caller]
fn wrong(spec: &str, rule: impl std::fmt::Display) -> ! {
    fail(BuildError::new("einsum", format!("{rule}, in {spec:?}")))
}

/// The letters of one term, and where among them `...` stands.
#[track_caller]
fn letters(spec: &str, term: &str) -> (Vec<Label>, Option<usize>) {
    let (before, after) = match term.split_once("...") {
        Some((before, after)) => (before, Some(after)),
        None => (term, None),
    };
    let all = before.bytes().chain(after.unwrap_or("").bytes());
    let labels: Vec<Label> = all.filter(|b| *b != b' ').collect();
    if let Some(&odd) = labels.iter().find(|b| !b.is_ascii_alphabetic()) {
        wrong(spec, format!("{:?} is neither a letter nor part of one \"...\"", odd as char));
    }
    let dots = after.map(|_| before.bytes().filter(|b| *b != b' ').count());
    (labels, dots)
}

/// A name for each of the `rank` axes of an operand.
#[track_caller]
fn axis_labels(spec: &str, term: &str, rank: usize) -> Vec<Label> {
    let (mut labels, dots) = letters(spec, term);
    match dots {
        Some(place) if labels.len() <= rank => {
            let hidden = (rank - labels.len()) as u8;
            labels.splice(place..place, (0..hidden).rev().map(|k| DOTS + k));
        }
        None if labels.len() == rank => {}
        _ => wrong(spec, format!("{term:?} names {} axes, but its tensor has {rank}", labels.len())),
    }
    labels
}

/// The axes under `...` of all operands, the leftmost first.
fn dotted(operands: &[Vec<Label>]) -> Vec<Label> {
    let mut dots: Vec<Label> = operands.iter().flatten().copied().filter(|&l| l >= DOTS).collect();
    dots.sort_unstable_by(|a, b| b.cmp(a));
    dots.dedup();
    dots
}

/// The axes of the result: as written after the arrow, else all of `...` and then, in alphabetical order, the letters
/// that occur once.
#[track_caller]
fn output_labels(spec: &str, output: Option<&str>, operands: &[Vec<Label>]) -> Vec<Label> {
    let dots = dotted(operands);
    let times = |l: Label| operands.iter().flatten().filter(|&&other| other == l).count();
    let Some(term) = output else {
        let mut once: Vec<Label> =
            operands.iter().flatten().copied().filter(|&l| l < DOTS && times(l) == 1).collect();
        once.sort_unstable();
        return dots.into_iter().chain(once).collect();
    };
    let (mut labels, place) = letters(spec, term);
    for (i, &l) in labels.iter().enumerate() {
        if times(l) == 0 {
            wrong(spec, format!("the result's {:?} is in no operand", l as char));
        }
        if labels[..i].contains(&l) {
            wrong(spec, format!("the result names {:?} twice", l as char));
        }
    }
    match place {
        Some(place) => drop(labels.splice(place..place, dots)),
        None if dots.is_empty() => {}
        None => wrong(spec, "the operands have axes under \"...\", which the result must name too"),
    }
    labels
}

/// The extent each name stands for: equal wherever it occurs, but 1 repeats.
#[track_caller]
fn extents(spec: &str, operands: &[&Tensor], labels: &[Vec<Label>]) -> [usize; 256] {
    let mut extents = [1usize; 256];
    for (x, labels) in operands.iter().zip(labels) {
        for (&d, &l) in x.shape().iter().zip(labels) {
            let known = &mut extents[l as usize];
            if *known != d && *known != 1 && d != 1 {
                let name = if l < DOTS { (l as char).to_string() } else { String::from("...") };
                let shapes: Vec<_> = operands.iter().map(|x| x.shape()).collect();
                wrong(spec, format!("{name:?} has extents {known} and {d} in shapes {shapes:?}"));
            }
            if d != 1 {
                *known = d;
            }
        }
    }
    extents
}

impl Term {
    /// An operand with repeated names turned into diagonals, and without the axes that repeat by broadcasting: it
    /// does not depend on them.
    fn new(x: &Tensor, labels: &[Label], extents: &[usize; 256]) -> Term {
        let mut term = Term { x: x.clone(), labels: labels.to_vec() };
        for axis in (0..term.labels.len()).rev() {
            let l = term.labels[axis];
            if term.x.shape()[axis] == 1 && extents[l as usize] != 1 {
                term.x = term.x.squeeze(axis);
                term.labels.remove(axis);
            }
        }
        while let Some((first, second)) = repeated(&term.labels) {
            term.diagonal(first, second);
        }
        term
    }

    /// Replaces two axes of one name by their diagonal, which becomes the last axis.
    fn diagonal(&mut self, first: usize, second: usize) {
        let mut order: Vec<usize> = (0..self.x.rank()).filter(|&i| i != first && i != second).collect();
        let label = self.labels[first];
        self.labels = order.iter().map(|&i| self.labels[i]).chain([label]).collect();
        order.extend([first, second]);
        let n = self.x.shape()[first] as isize;
        // Row-major, the diagonal is every (n + 1)-th element.
        self.x = self.x.permute(order).flatten(-2).slice_step(-1, .., n + 1);
    }

    /// Sums over the axes that `keep` does not want.
    fn reduce(&mut self, keep: impl Fn(Label) -> bool) {
        let axes: Vec<usize> = (0..self.labels.len()).filter(|&i| !keep(self.labels[i])).collect();
        if !axes.is_empty() {
            self.x = self.x.sum(axes);
            self.labels.retain(|&l| keep(l));
        }
    }

    /// The tensor with its axes in the order of `groups`, each group joined to one axis.
    fn arrange(&self, groups: [&[Label]; 3]) -> Tensor {
        let place =
            |l: &Label| self.labels.iter().position(|other| other == l).expect("a label of this term");
        let order: Vec<usize> = groups.iter().flat_map(|g| g.iter().map(place)).collect();
        let joined = groups.map(|g| g.iter().map(|l| self.x.shape()[place(l)]).product::<usize>());
        self.x.permute(order).reshape(joined)
    }
}

fn repeated(labels: &[Label]) -> Option<(usize, usize)> {
    (0..labels.len()).find_map(|j| labels[..j].iter().position(|l| *l == labels[j]).map(|i| (i, j)))
}

/// The product of two terms, summed over the axes that `keep` does not want.
#[track_caller]
fn contract(
    spec: &str,
    mut a: Term,
    mut b: Term,
    extents: &[usize; 256],
    keep: impl Fn(Label) -> bool,
) -> Term {
    a.reduce(|l| keep(l) || b.labels.contains(&l));
    b.reduce(|l| keep(l) || a.labels.contains(&l));
    let shared = |l: &&Label| b.labels.contains(l);
    let batch: Vec<Label> = a.labels.iter().filter(shared).copied().filter(|&l| keep(l)).collect();
    let inner: Vec<Label> = a.labels.iter().filter(shared).copied().filter(|&l| !keep(l)).collect();
    let rows: Vec<Label> = a.labels.iter().filter(|l| !shared(l)).copied().collect();
    let columns: Vec<Label> = b.labels.iter().filter(|l| !a.labels.contains(l)).copied().collect();
    let labels: Vec<Label> = [batch.as_slice(), &rows, &columns].concat();
    if labels.len() > MAX_RANK {
        wrong(
            spec,
            format!("a product of two operands has {} axes; at most {MAX_RANK} are supported", labels.len()),
        );
    }
    let x = if inner.is_empty() {
        // [batch, rows, 1] * [batch, 1, columns]
        a.arrange([&batch, &rows, &[]]) * b.arrange([&batch, &[], &columns])
    } else if rows.is_empty() && columns.is_empty() {
        // One reduction of a product, rather than many products of a row and a column.
        (a.arrange([&batch, &[], &inner]) * b.arrange([&batch, &[], &inner])).sum(-1)
    } else if batch.is_empty() {
        // [rows, inner] × [inner, columns]
        a.arrange([&[], &rows, &inner]).squeeze(0).matmul(&b.arrange([&[], &inner, &columns]).squeeze(0))
    } else {
        a.arrange([&batch, &rows, &inner]).matmul(&b.arrange([&batch, &inner, &columns]))
    };
    let shape: Vec<usize> = labels.iter().map(|&l| extents[l as usize]).collect();
    Term { x: x.reshape(shape), labels }
}

impl Tensor {
    /// Einstein summation in NumPy's notation: `"ij,jk->ik"` is a matrix product, `"ii->i"` a diagonal, `"bij->b"` a
    /// sum. Without `->` the result has the letters that occur once, in alphabetical order; `...` stands for axes
    /// without names, which broadcast. An axis of extent 1 repeats against a longer one of its name.
    ///
    /// Two operands meet in one (batched) matrix product; more are joined from left to right, so an order whose
    /// first products are small is the fast one.
    ///
    /// # Panics
    /// If the notation is wrong or does not fit the operands, or there are several and they are not of one float type.
    ///
    /// ```
    /// use gradus::Tensor;
    /// let a = Tensor::from([[1.0f32, 2.0], [3.0, 4.0]]);
    /// assert_eq!(Tensor::einsum("ii", &[&a]).item()?, 5.0);
    /// assert_eq!(Tensor::einsum("ij,kj->ik", &[&a, &a]).to_vec::<f32>()?, [5.0, 11.0, 11.0, 25.0]);
    /// # Ok::<(), gradus::Error>(())
    /// ```
    #[track_caller]
    pub fn einsum(spec: &str, operands: &[&Tensor]) -> Tensor {
        let (inputs, output) = match spec.split_once("->") {
            Some((inputs, output)) => (inputs, Some(output)),
            None => (spec, None),
        };
        let terms: Vec<&str> = inputs.split(',').collect();
        if terms.len() != operands.len() {
            wrong(spec, format!("there are {} operands, but {} terms", operands.len(), terms.len()));
        }
        let one_type = operands.iter().all(|x| x.dtype().is_float() && x.dtype() == operands[0].dtype());
        if operands.len() > 1 && !one_type {
            let types: Vec<_> = operands.iter().map(|x| x.dtype()).collect();
            wrong(spec, format!("several operands must be of one float type, not {types:?}"));
        }
        let labels: Vec<Vec<Label>> =
            terms.iter().zip(operands).map(|(t, x)| axis_labels(spec, t, x.rank())).collect();
        let result = output_labels(spec, output, &labels);
        let extents = extents(spec, operands, &labels);
        let mut waiting: Vec<Term> =
            operands.iter().zip(&labels).map(|(x, l)| Term::new(x, l, &extents)).collect();
        let mut product = waiting.remove(0);
        while !waiting.is_empty() {
            let next = waiting.remove(0);
            let keep = |l: Label| result.contains(&l) || waiting.iter().any(|t| t.labels.contains(&l));
            product = contract(spec, product, next, &extents, keep);
        }
        product.reduce(|l| result.contains(&l));
        let place =
            |l: &Label| product.labels.iter().position(|other| other == l).expect("labels of the result");
        product.x.permute(result.iter().map(place).collect::<Vec<usize>>())
    }
}

/// Notations that between them take every way through this file.
const SPECS: [&str; 12] = [
    "ij->ji",
    "iij->ij",
    "i,i->",
    "i,j->ji",
    "ij,jk->ik",
    "bij,bjk->ikb",
    "ij,ij->i",
    "ij,kl->jl",
    "iij,kj->ki",
    "ij,jk,kl->li",
    "...i,ij->...j",
    "ab,bc,ca,a->bc",
];

/// An input for one term: each letter has its extent, `...` hides two axes.
fn operand(d: &mut Draw, term: &str, extent: &[usize]) {
    let letters = term.trim_start_matches('.');
    let hidden = if letters.len() < term.len() { 2 } else { 0 };
    let named = letters.bytes().map(|l| extent[usize::from(l - b'a')]);
    let shape: Vec<usize> = std::iter::repeat_n(2, hidden).chain(named).collect();
    d.input(&shape, -1.5, 1.5);
}

/// The value is compared with its definition in `tests/einsum.rs`, for more notations than these.
pub(super) fn cases() -> Vec<OpCase> {
    vec![OpCase::new("einsum", Gradient::Smooth, |mut d| {
        let spec = SPECS[d.below(SPECS.len())];
        d.note(spec);
        let extent: Vec<usize> = (0..26).map(|_| d.below(4)).collect();
        let inputs = spec.split("->").next().unwrap_or("");
        inputs.split(',').for_each(|term| operand(&mut d, term, &extent));
        d.case_by_gradient(|x| Tensor::einsum(spec, &x.iter().collect::<Vec<_>>()))
    })]
}
