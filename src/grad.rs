//! Reverse-mode differentiation: the sweep that writes a gradient as further expressions.
//!
//! The graph is walked from the result backwards, newest node first. Each node's cotangent is complete when it is
//! reached, because everything that uses a node is younger than it; the node's rule turns it into cotangents of the
//! inputs, which are ordinary tensors. So the gradient of a gradient needs no extra code.

use crate::error::{BuildError, Error, Result, fail};
use crate::graph::{IdMap, Inputs, Places, as_part, next_id, on_behalf_of, reachable};
use crate::ops::Op;
use crate::tensor::Tensor;

/// The gradients of the scalar `y` with respect to each of `xs`, as tensors of their shapes.
///
/// ```
/// use gradus::{Tensor, grad};
/// let x = Tensor::from(3.0f64);
/// let y = &x * &x * &x;
/// let dy = grad(&y, [&x]).remove(0);          // 3 x²
/// let ddy = grad(&dy, [&x]).remove(0);        // 6 x
/// assert_eq!((dy.item()?, ddy.item()?), (27.0, 18.0));
/// # Ok::<(), gradus::Error>(())
/// ```
///
/// # Panics
/// If `y` does not have exactly one element, or does not depend on one of `xs`: see [`try_grad`] and [`vjp`] for
/// forms that say so otherwise.
#[track_caller]
pub fn grad<'a>(y: &Tensor, xs: impl IntoIterator<Item = &'a Tensor>) -> Vec<Tensor> {
    match try_grad(y, xs) {
        Ok(gradients) => gradients,
        Err(e) => fail(BuildError::new("grad", e.to_string().trim_start_matches("grad: "))),
    }
}

/// As [`grad`], with an error in place of a panic.
///
/// # Errors
/// [`Error::Unreached`] naming the tensors that `y` does not depend on, [`Error::Data`] when `y` is not a scalar.
pub fn try_grad<'a>(y: &Tensor, xs: impl IntoIterator<Item = &'a Tensor>) -> Result<Vec<Tensor>> {
    if y.numel() != 1 || !y.dtype().is_float() {
        return Err(Error::Data(format!(
            "grad: needs one float to differentiate, but the result is {} {} (made at {}); take its sum or mean, or use vjp",
            y.dtype(),
            y.shape(),
            y.node().site
        )));
    }
    let xs: Vec<&Tensor> = xs.into_iter().collect();
    let one = as_part(y.node().part.saturating_add(1), || y.ones_like());
    let found = vjp(y, &xs, &one);
    let missing: Vec<&Tensor> = xs.iter().zip(&found).filter(|(_, g)| g.is_none()).map(|(x, _)| *x).collect();
    if missing.is_empty() {
        return Ok(found.into_iter().flatten().collect());
    }
    let names = missing.iter().map(|x| format!("the {} made at {}", describe(x), x.node().site)).collect();
    Err(Error::Unreached { names, reason: why_unreached(y, &missing) })
}

/// The value of the scalar `y`, and its gradients as [`grad`]: evaluated together, so nothing is computed twice.
///
/// # Errors
/// As [`try_grad`], and whatever evaluation can fail with.
pub fn value_and_grad<'a>(
    y: &Tensor,
    xs: impl IntoIterator<Item = &'a Tensor>,
) -> Result<(f64, Vec<Tensor>)> {
    let gradients = try_grad(y, xs)?;
    let mut roots = vec![y.clone()];
    roots.extend(gradients.iter().cloned());
    crate::exec::eval_roots(&roots)?;
    Ok((y.item()?, gradients))
}

/// The product of the cotangent `g` (of `y`'s shape) with the Jacobian of `y` for each of `xs`: `None` where `y` does
/// not depend on it.
///
/// # Panics
/// If `g` does not have the shape and type of `y`.
#[track_caller]
pub fn vjp(y: &Tensor, xs: &[&Tensor], g: &Tensor) -> Vec<Option<Tensor>> {
    if g.shape() != y.shape() || g.dtype() != y.dtype() {
        let rule =
            format!("the cotangent is {} {}, the result {} {}", g.dtype(), g.shape(), y.dtype(), y.shape());
        fail(BuildError::new("vjp", rule));
    }
    let mut sweep = Sweep::new(y, xs);
    as_part(y.node().part.saturating_add(1), || sweep.run(y, g));
    xs.iter().map(|x| sweep.cotangents[sweep.place.get(x.id())?].clone()).collect()
}

/// The product of the Jacobian of `y` for `x` with the tangent `v` (of `x`'s shape), by differentiating the
/// transposed product (Townsend's double-vjp trick): forward mode without forward rules.
///
/// # Panics
/// If `v` does not have the shape and type of `x`.
#[track_caller]
pub fn jvp(y: &Tensor, x: &Tensor, v: &Tensor) -> Tensor {
    if v.shape() != x.shape() || v.dtype() != x.dtype() {
        let rule =
            format!("the tangent is {} {}, the input {} {}", v.dtype(), v.shape(), x.dtype(), x.shape());
        fail(BuildError::new("jvp", rule));
    }
    // The transposed product is linear in u, so any u will do.
    let zero = y.zeros_like();
    let u = Tensor::make(Op::After, Inputs::Two([zero.clone(), zero]), *y.shape(), y.dtype());
    match vjp(y, &[x], &u).remove(0) {
        Some(product) => vjp(&product, &[&u], v).remove(0).unwrap_or_else(|| y.zeros_like()),
        None => y.zeros_like(),
    }
}

/// The product of the Hessian of the scalar `y` for `x` with `v` (Pearlmutter 1994): the gradient of `grad(y) · v`.
///
/// # Panics
/// As [`grad`].
#[track_caller]
pub fn hvp(y: &Tensor, x: &Tensor, v: &Tensor) -> Tensor {
    let slope = grad(y, [x]).remove(0);
    vjp(&slope, &[x], v).remove(0).unwrap_or_else(|| x.zeros_like())
}

struct Sweep {
    /// The nodes between the result and the wanted tensors, and some beside the way; oldest first.
    nodes: Vec<Tensor>,
    /// Where each stands in `nodes`.
    place: Places,
    /// Whether each is a wanted tensor itself.
    wanted: Vec<bool>,
    /// Whether a wanted tensor lies at or below each.
    needed: Vec<bool>,
    cotangents: Vec<Option<Tensor>>,
}

/// Whether a gradient can go on below a node.
fn passes(x: &Tensor) -> bool {
    x.node().has_history() && !matches!(x.node().op, Op::StopGrad)
}

/// Shows `f` the inputs a gradient flows to. Below a checkpoint that is what its segment was given, not the segment.
fn flows_to<R>(x: &Tensor, f: impl FnOnce(&[Tensor]) -> R) -> R {
    x.node().with_inputs(|inputs| match (&x.node().op, inputs) {
        (Op::Checkpoint, [_, given @ ..]) => f(given),
        _ => f(inputs),
    })
}

impl Sweep {
    fn new(y: &Tensor, xs: &[&Tensor]) -> Sweep {
        let oldest = xs.iter().map(|x| x.id()).min().unwrap_or(0);
        let nodes = reachable([y], |x| passes(x) && x.id() > oldest);
        let mut place = Places::new(y.id());
        nodes.iter().enumerate().for_each(|(i, x)| place.insert(x.id(), i));
        let mut wanted = vec![false; nodes.len()];
        xs.iter().filter_map(|x| place.get(x.id())).for_each(|at| wanted[at] = true);
        let mut needed = wanted.clone();
        // Oldest first: whether a node is needed is known before its users ask.
        for (i, x) in nodes.iter().enumerate() {
            let leads_on = |x: &Tensor| place.get(x.id()).is_some_and(|at| needed[at]);
            needed[i] = needed[i] || passes(x) && flows_to(x, |inputs| inputs.iter().any(leads_on));
        }
        let cotangents = vec![None; nodes.len()];
        Sweep { nodes, place, wanted, needed, cotangents }
    }

    fn needs(&self, x: &Tensor) -> bool {
        self.place.get(x.id()).is_some_and(|at| self.needed[at])
    }

    fn run(&mut self, y: &Tensor, g: &Tensor) {
        self.add(y, g.clone());
        // Newest first: whatever adds to a node's cotangent is younger than it.
        for i in (0..self.nodes.len()).rev() {
            let g = if self.wanted[i] { self.cotangents[i].clone() } else { self.cotangents[i].take() };
            let Some(g) = g else { continue };
            if passes(&self.nodes[i]) {
                self.pass_on(i, &g);
            }
        }
    }

    /// Adds what the cotangent `g` of node `i` gives to those of its inputs.
    fn pass_on(&mut self, i: usize, g: &Tensor) {
        let y = &self.nodes[i];
        let inputs = y.node().inputs();
        let x = inputs.as_slice();
        if x.is_empty() {
            return;
        }
        if let Op::Checkpoint = y.node().op {
            self.recompute(y, g).into_iter().for_each(|(x, part)| self.add(&x, part));
            return;
        }
        let parts = on_behalf_of(y.node().site, || y.node().op.vjp(x, y, g, &|i| self.needs(&x[i])));
        for (x, part) in x.iter().zip(parts) {
            if let Some(part) = part {
                self.add(x, part);
            }
        }
    }

    /// Adds to the cotangent of `x`, if it is needed.
    fn add(&mut self, x: &Tensor, part: Tensor) {
        let Some(at) = self.place.get(x.id()).filter(|&at| self.needed[at]) else { return };
        debug_assert_eq!((x.shape(), x.dtype()), (part.shape(), part.dtype()), "cotangent of {x:?}");
        let total = match self.cotangents[at].take() {
            Some(sum) => on_behalf_of(x.node().site, || sum + part),
            None => part,
        };
        self.cotangents[at] = Some(total);
    }

    /// The rule of a checkpoint: the segment is written again, on inputs that wait for the cotangent, and
    /// differentiated there. The first copy's values need not be kept.
    fn recompute(&self, y: &Tensor, g: &Tensor) -> Vec<(Tensor, Tensor)> {
        let inputs = y.node().inputs();
        let (segment_end, given) = (&inputs.as_slice()[0], &inputs.as_slice()[1..]);
        let mut copies: IdMap<Tensor> = IdMap::default();
        for x in given {
            let late = Tensor::make(Op::After, Inputs::Two([x.clone(), g.clone()]), *x.shape(), x.dtype());
            copies.insert(x.id(), late);
        }
        for x in reachable([segment_end], |x| !copies.contains_key(&x.id())) {
            if copies.contains_key(&x.id()) {
                continue;
            }
            let old = x.node().inputs();
            if !old.as_slice().iter().any(|i| copies.get(&i.id()).is_some_and(|c| c.id() != i.id())) {
                copies.insert(x.id(), x);
                continue;
            }
            let renewed: Vec<Tensor> = old.as_slice().iter().map(|i| copies[&i.id()].clone()).collect();
            let copy = on_behalf_of(x.node().site, || {
                Tensor::make(x.node().op.clone(), Inputs::from(renewed), *x.shape(), x.dtype())
            });
            copies.insert(x.id(), copy);
        }
        let wanted: Vec<&Tensor> = given.iter().filter(|x| self.needs(x)).collect();
        let late: Vec<&Tensor> = wanted.iter().map(|x| &copies[&x.id()]).collect();
        let parts = vjp(&copies[&segment_end.id()], &late, g);
        wanted.into_iter().zip(parts).filter_map(|(x, part)| part.map(|p| (x.clone(), p))).collect()
    }
}

/// Computes `f()` such that what it computes on the way is not kept for the gradient but computed again when that
/// needs it: less memory for more work (Chen et al. 2016, "Training deep nets with sublinear memory cost").
///
/// Every tensor made before the call that `f` uses, parameters included, is an input of the segment and gets its
/// gradient as always.
///
/// ```
/// use gradus::{Tensor, checkpoint, grad};
/// let x = Tensor::from([0.5f64, 1.0]);
/// let y = checkpoint(|| x.exp().sin()).sum(..);
/// let plain = x.exp().sin().sum(..);
/// assert_eq!(grad(&y, [&x])[0].to_vec::<f64>()?, grad(&plain, [&x])[0].to_vec::<f64>()?);
/// # Ok::<(), gradus::Error>(())
/// ```
#[track_caller]
pub fn checkpoint(f: impl FnOnce() -> Tensor) -> Tensor {
    let before = next_id();
    let y = f();
    if y.id() < before {
        return y;
    }
    let mut list = vec![y.clone()];
    list.extend(
        reachable([&y], |x| x.id() >= before)
            .into_iter()
            .filter(|x| x.id() < before && x.node().has_history()),
    );
    Tensor::make(Op::Checkpoint, Inputs::from(list), *y.shape(), y.dtype())
}

fn describe(x: &Tensor) -> String {
    format!("{} {} {}", x.dtype(), x.shape(), x.node().op.name())
}

/// What stood in the way, as far as the graph tells.
fn why_unreached(y: &Tensor, missing: &[&Tensor]) -> String {
    let connected = reachable([y], |_| true);
    if let Some(gone) = connected.iter().find(|x| x.node().is_released()) {
        return format!(
            "; its history ends at the {} made at {}, which an optimizer's step let go: differentiate before the step",
            describe(gone),
            gone.node().site
        );
    }
    if let Some(constant) =
        missing.iter().find(|x| !x.node().has_history() && !x.node().is_released() && x.dtype().is_float())
    {
        return format!(
            "; the {} made at {} comes from constants alone, and no gradient is followed to those: give it values of \
             its own, with Tensor::from_vec or as a parameter",
            describe(constant),
            constant.node().site
        );
    }
    // Oldest first: whether a node depends on what is missing is known before its users ask.
    let mut dependent: IdMap<()> = missing.iter().map(|x| (x.id(), ())).collect();
    let mut on_the_way = Vec::new();
    for x in &connected {
        if x.node().inputs().as_slice().iter().any(|i| dependent.contains_key(&i.id())) {
            dependent.insert(x.id(), ());
            on_the_way.push(x);
        }
    }
    if !connected.iter().any(|x| missing.iter().any(|m| m.id() == x.id())) {
        return String::from("; it is not part of the expression");
    }
    match on_the_way.into_iter().rev().find_map(|x| blocked(x).map(|why| (x, why))) {
        Some((x, why)) => format!(
            "; the way goes through {} at {}, which passes no gradient: {why}",
            x.node().op.name(),
            x.node().site
        ),
        None => String::new(),
    }
}

/// Why no gradient passes a node.
fn blocked(x: &Tensor) -> Option<&'static str> {
    let floats = x.node().inputs().as_slice().iter().any(|x| x.dtype().is_float());
    let discrete = (floats && !x.dtype().is_float()).then_some(crate::ops::INTEGER_RESULT);
    x.node().op.blocks().or(discrete)
}
