//! Bernoulli distributions: each element of a tensor is the probability of a 1, or its logit. Results have the shape
//! of the parameters; a vector of independent bits has the sum of theirs. In nats.

use super::{check_pair, log_mean_exp_with_0, p_log};
use crate::tensor::Tensor;

/// `f` of p, and of 1 - p.
fn both(p: &Tensor, f: impl Fn(&Tensor) -> Tensor) -> Tensor {
    f(p) + f(&(1.0 - p))
}

/// The entropy `-p log p - (1 - p) log(1 - p)`.
///
/// # Panics
/// If `p` is not of floats.
#[track_caller]
pub fn entropy(p: &Tensor) -> Tensor {
    -both(p, |p| p_log(p, p))
}

/// The divergence `D(p ‖ q) = p log(p / q) + (1 - p) log((1 - p) / (1 - q))`.
///
/// # Panics
/// If the shapes or types differ.
#[track_caller]
pub fn kl(p: &Tensor, q: &Tensor) -> Tensor {
    check_pair("bernoulli::kl", p, q);
    let term = |p: &Tensor, q: &Tensor| p_log(p, p) - p_log(p, q);
    term(p, q) + term(&(1.0 - p), &(1.0 - q))
}

/// The cross entropy `-p log q - (1 - p) log(1 - q)`.
///
/// # Panics
/// If the shapes or types differ.
#[track_caller]
pub fn cross_entropy(p: &Tensor, q: &Tensor) -> Tensor {
    check_pair("bernoulli::cross_entropy", p, q);
    let term = |p: &Tensor, q: &Tensor| {
        // The slope -log q in p is finite at p = 0: only what neither allows is left out.
        p * q.masked_fill(&(p.eq(0.0) * q.eq(0.0)), 1.0).log()
    };
    -(term(p, q) + term(&(1.0 - p), &(1.0 - q)))
}

/// The Jensen-Shannon divergence: half of `D(p ‖ m) + D(q ‖ m)` with `m = (p + q) / 2`.
///
/// # Panics
/// If the shapes or types differ.
#[track_caller]
pub fn js(p: &Tensor, q: &Tensor) -> Tensor {
    check_pair("bernoulli::js", p, q);
    let middle = (p + q) * 0.5;
    (kl(p, &middle) + kl(q, &middle)) * 0.5
}

/// [`entropy`] of `sigmoid(x)`: `σ(x) softplus(-x) + σ(-x) softplus(x)`, of positive terms, accurate for logits of any
/// size.
///
/// # Panics
/// If the logits are not of floats.
#[track_caller]
pub fn entropy_from_logits(x: &Tensor) -> Tensor {
    cross_entropy_from_logits(x, x)
}

/// [`cross_entropy`] of `sigmoid(p)` and `sigmoid(q)`: `σ(p) softplus(-q) + σ(-p) softplus(q)`.
///
/// # Panics
/// If the shapes or types differ.
#[track_caller]
pub fn cross_entropy_from_logits(p: &Tensor, q: &Tensor) -> Tensor {
    check_pair("bernoulli::cross_entropy_from_logits", p, q);
    p.sigmoid() * (-q).softplus() + (-p).sigmoid() * q.softplus()
}

/// [`kl`] of `sigmoid(p)` and `sigmoid(q)`.
///
/// # Panics
/// If the shapes or types differ.
#[track_caller]
pub fn kl_from_logits(p: &Tensor, q: &Tensor) -> Tensor {
    check_pair("bernoulli::kl_from_logits", p, q);
    p.sigmoid() * ((-q).softplus() - (-p).softplus()) + (-p).sigmoid() * (q.softplus() - p.softplus())
}

/// [`js`] of `sigmoid(p)` and `sigmoid(q)`.
///
/// # Panics
/// If the shapes or types differ.
#[track_caller]
pub fn js_from_logits(p: &Tensor, q: &Tensor) -> Tensor {
    check_pair("bernoulli::js_from_logits", p, q);
    // log σ(q) - log σ(p) for the ones, and the same of the zeros.
    let ones = (-p).softplus() - (-q).softplus();
    let zeros = p.softplus() - q.softplus();
    let half = |weight: Tensor, ratio: &Tensor| weight * log_mean_exp_with_0(ratio);
    let from_p = half(p.sigmoid(), &ones) + half((-p).sigmoid(), &zeros);
    let from_q = half(q.sigmoid(), &-ones) + half((-q).sigmoid(), &-zeros);
    (from_p + from_q) * -0.5
}
