//! Information measures: entropy, cross entropy, Kullback-Leibler and Jensen-Shannon divergence, mutual information.
//!
//! * Here: of categorical distributions, which are probabilities (or logits) along an axis of a tensor.
//! * [`bernoulli`], [`gaussian`]: closed forms by parameters.
//! * [`estimate`]: from samples of a distribution that is not known.
//!
//! Everything is in nats, [`to_bits`] converts. Measures of tensors are ordinary tensor expressions, with derivatives
//! of every order. Formulas without another source are those of Cover & Thomas, "Elements of Information Theory",
//! 2nd ed. 2006, chapters 2 and 8.
//!
//! # Nothing times infinity
//! What never happens adds nothing: `0 log 0 = 0`. Such a term is left out together with its derivative (the slope of
//! `p log p` at 0 is infinite, yet what comes to a network through a softmax is that slope times `p`, which is 0). A
//! divergence from a distribution that excludes what does happen is infinite, and so is its derivative.
//!
//! ```
//! use gradus::{Tensor, info};
//! let p = Tensor::from([[0.5f64, 0.5, 0.0], [0.25, 0.25, 0.5]]);
//! let bits = info::to_bits(&info::entropy(&p, -1));
//! assert!((bits - Tensor::from([1.0f64, 1.5])).abs().max(..).item()? < 1e-15);
//! # Ok::<(), gradus::Error>(())
//! ```

pub mod bernoulli;
pub mod estimate;
pub mod gaussian;

use crate::error::{BuildError, fail};
use crate::shape::axis_arg;
use crate::tensor::Tensor;
use std::f64::consts::LOG2_E;

/// How many bits a nat is: log2 e.
pub const BITS_PER_NAT: f64 = LOG2_E;

/// From nats to bits.
#[track_caller]
pub fn to_bits(nats: &Tensor) -> Tensor {
    nats * BITS_PER_NAT
}

/// Refuses what is not two tensors of one shape and float type.
#[track_caller]
fn check_pair(op: &'static str, p: &Tensor, q: &Tensor) {
    if p.shape() != q.shape() || p.dtype() != q.dtype() || !p.dtype().is_float() {
        let rule = format!(
            "needs two distributions of one shape and float type, not {} {} and {} {}",
            p.dtype(),
            p.shape(),
            q.dtype(),
            q.shape()
        );
        fail(BuildError::new(op, rule));
    }
}

/// Checks a distribution along an axis, and gives the axis.
#[track_caller]
fn axis_of(op: &'static str, p: &Tensor, axis: isize) -> usize {
    if !p.dtype().is_float() {
        fail(BuildError::new(op, format!("needs a distribution of floats, not {}", p.dtype())));
    }
    axis_arg(op, axis, p.rank())
}

/// `p log q`, left out where `p = 0`.
fn p_log(p: &Tensor, q: &Tensor) -> Tensor {
    p * q.masked_fill(&p.eq(0.0), 1.0).log()
}

/// The entropy `-Σ p log p` of the probabilities along `axis`, which goes away.
///
/// # Panics
/// If there is no such axis or `p` is not of floats.
#[track_caller]
pub fn entropy(p: &Tensor, axis: isize) -> Tensor {
    let axis = axis_of("entropy", p, axis);
    -p_log(p, p).sum(axis)
}

/// The cross entropy `-Σ p log q` of probabilities along `axis`, which goes away: the mean length of a message about
/// `p` in the code for `q`.
///
/// # Panics
/// If the shapes or types differ, are not of floats, or there is no such axis.
#[track_caller]
pub fn cross_entropy(p: &Tensor, q: &Tensor, axis: isize) -> Tensor {
    check_pair("cross_entropy", p, q);
    let axis = axis_of("cross_entropy", p, axis);
    // The slope -log q in p is finite at p = 0: only what neither allows is left out.
    let never = p.eq(0.0) * q.eq(0.0);
    -(p * q.masked_fill(&never, 1.0).log()).sum(axis)
}

/// The Kullback-Leibler divergence (relative entropy) `D(p ‖ q) = Σ p (log p - log q)` of probabilities along `axis`,
/// which goes away. Kullback & Leibler 1951.
///
/// # Panics
/// If the shapes or types differ, are not of floats, or there is no such axis.
#[track_caller]
pub fn kl(p: &Tensor, q: &Tensor, axis: isize) -> Tensor {
    check_pair("kl", p, q);
    let axis = axis_of("kl", p, axis);
    (p_log(p, p) - p_log(p, q)).sum(axis)
}

/// The Jensen-Shannon divergence `(D(p ‖ m) + D(q ‖ m)) / 2` with `m = (p + q) / 2`, of probabilities along `axis`,
/// which goes away: 0 to log 2. Lin, "Divergence measures based on the Shannon entropy", 1991.
///
/// # Panics
/// If the shapes or types differ, are not of floats, or there is no such axis.
#[track_caller]
pub fn js(p: &Tensor, q: &Tensor, axis: isize) -> Tensor {
    check_pair("js", p, q);
    let middle = (p + q) * 0.5;
    (kl(p, &middle, axis) + kl(q, &middle, axis)) * 0.5
}

/// The entropy `H(y | x) = -Σ p(x, y) log p(y | x)` of the second of two variables whose joint probabilities are
/// `[…, x, y]`; both axes go away.
///
/// # Panics
/// If there are fewer than two axes or `joint` is not of floats.
#[track_caller]
pub fn conditional_entropy(joint: &Tensor) -> Tensor {
    let [x, y] = joint_axes("conditional_entropy", joint);
    let given = joint.sum_keepdim(y).expand(joint.shape());
    (p_log(joint, &given) - p_log(joint, joint)).sum([x, y])
}

/// The mutual information `I(x; y) = Σ p(x, y) log (p(x, y) / (p(x) p(y)))` of two variables whose joint
/// probabilities are `[…, x, y]`; both axes go away.
///
/// # Panics
/// If there are fewer than two axes or `joint` is not of floats.
#[track_caller]
pub fn mutual_information(joint: &Tensor) -> Tensor {
    let [x, y] = joint_axes("mutual_information", joint);
    let marginal = |gone: usize| joint.sum_keepdim(gone).expand(joint.shape());
    // The logarithms one by one: the product of two small marginals may underflow.
    (p_log(joint, joint) - p_log(joint, &marginal(y)) - p_log(joint, &marginal(x))).sum([x, y])
}

#[track_caller]
fn joint_axes(op: &'static str, joint: &Tensor) -> [usize; 2] {
    [axis_of(op, joint, -2), axis_of(op, joint, -1)]
}

/// Probabilities and their logarithms.
struct Logs {
    p: Tensor,
    log: Tensor,
}

impl Logs {
    /// Of logits along an axis. Unlike `x - logsumexp(x)` this has the digits of a logarithm near 0, too, which is
    /// where a distribution is that is nearly sure: it is `-log(1 + Σ e^(x - max))` over what is not the largest.
    #[track_caller]
    fn new(op: &'static str, logits: &Tensor, axis: isize) -> (Logs, usize) {
        let axis = axis_of(op, logits, axis);
        let mut column = vec![1; logits.rank()];
        column[axis] = logits.shape()[axis];
        let largest = logits.stop_grad().argmax(axis as isize).unsqueeze(axis as isize);
        // Gathered, not the maximum: the derivative must go one way where several are equal.
        let behind = logits - logits.gather(axis as isize, &largest);
        let is_largest = Tensor::arange(logits.shape()[axis]).reshape(column).eq(&largest);
        let rest = behind.exp().masked_fill(&is_largest, 0.0).sum_keepdim(axis);
        let log = behind - rest.log1p();
        (Logs { p: log.exp(), log }, axis)
    }

    /// `p` times `values`, left out where `p = 0`.
    fn weigh(&self, values: &Tensor) -> Tensor {
        &self.p * values.masked_fill(&self.p.eq(0.0), 0.0)
    }
}

/// [`entropy`] of `softmax(logits)`, accurate also where it is tiny. Logits may be -∞ as long as one is not.
///
/// # Panics
/// If there is no such axis, it is empty, or the logits are not of floats.
#[track_caller]
pub fn entropy_from_logits(logits: &Tensor, axis: isize) -> Tensor {
    let (p, axis) = Logs::new("entropy_from_logits", logits, axis);
    -p.weigh(&p.log).sum(axis)
}

/// [`cross_entropy`] of `softmax(p)` and `softmax(q)`.
///
/// # Panics
/// As [`entropy_from_logits`], and if the shapes or types differ.
#[track_caller]
pub fn cross_entropy_from_logits(p: &Tensor, q: &Tensor, axis: isize) -> Tensor {
    check_pair("cross_entropy_from_logits", p, q);
    let (q, _) = Logs::new("cross_entropy_from_logits", q, axis);
    let (p, axis) = Logs::new("cross_entropy_from_logits", p, axis);
    -p.weigh(&q.log).sum(axis)
}

/// [`kl`] of `softmax(p)` and `softmax(q)`.
///
/// # Panics
/// As [`entropy_from_logits`], and if the shapes or types differ.
#[track_caller]
pub fn kl_from_logits(p: &Tensor, q: &Tensor, axis: isize) -> Tensor {
    check_pair("kl_from_logits", p, q);
    let (q, _) = Logs::new("kl_from_logits", q, axis);
    let (p, axis) = Logs::new("kl_from_logits", p, axis);
    p.weigh(&(&p.log - q.log)).sum(axis)
}

/// [`js`] of `softmax(p)` and `softmax(q)`.
///
/// # Panics
/// As [`entropy_from_logits`], and if the shapes or types differ.
#[track_caller]
pub fn js_from_logits(p: &Tensor, q: &Tensor, axis: isize) -> Tensor {
    check_pair("js_from_logits", p, q);
    let (q, _) = Logs::new("js_from_logits", q, axis);
    let (p, axis) = Logs::new("js_from_logits", p, axis);
    // log p - log m = -log((1 + q / p) / 2), a function of the log of the ratio.
    let half = |a: &Logs, b: &Logs| -a.weigh(&log_mean_exp_with_0(&(&b.log - &a.log))).sum(axis);
    (half(&p, &q) + half(&q, &p)) * 0.5
}

/// `log((1 + e^d) / 2)`, accurate near d = 0 and without overflow.
fn log_mean_exp_with_0(d: &Tensor) -> Tensor {
    let positive = d.gt(0.0);
    // Each side of 0 is a formula that is smooth there, so derivatives of every order agree.
    let negative = positive.select(&-d, d);
    let bounded = (negative.expm1() * 0.5).log1p();
    positive.select(&(d + &bounded), &bounded)
}
