//! Rows of the registry for losses: each elementwise form against its formula as printed, each mean against the mean
//! of that.

use super::*;
use crate::ops::cases::{Array, Draw, Gradient, OpCase};

type Loss = fn(&[Tensor]) -> Tensor;

/// A loss in its two forms, of inputs of one shape.
struct Pair {
    ops: [&'static str; 2],
    /// The mean and the elementwise form.
    forms: [Loss; 2],
    gradient: Gradient,
    /// How an element of each input is drawn.
    draw: &'static [fn(&mut Draw) -> f64],
    /// The formula, of an element of each input.
    formula: fn(&[f64]) -> f64,
}

impl Pair {
    fn rows(self) -> impl Iterator<Item = OpCase> {
        let Pair { ops, forms, gradient, draw, formula } = self;
        [true, false].into_iter().zip(ops).zip(forms).map(move |((mean, op), form)| {
            OpCase::new(op, gradient, move |mut d| {
                let shape = d.filled_shape(0..=4);
                draw.iter().for_each(|element| d.input_with(&shape, element));
                d.case(form, |x| {
                    let each =
                        Array::from_fn(&shape, |i| formula(&x.iter().map(|x| x.at(i)).collect::<Vec<_>>()));
                    if mean { average(&each) } else { each }
                })
            })
        })
    }
}

fn average(x: &Array) -> Array {
    Array { shape: vec![], data: vec![x.data.iter().sum::<f64>() / x.data.len() as f64] }
}

fn sign(d: &mut Draw) -> f64 {
    if d.coin() { 1.0 } else { -1.0 }
}

/// A number in (-0.1, 0.1).
fn small(d: &mut Draw) -> f64 {
    d.between(-0.1, 0.1)
}

/// A number that differs from every [`small`] one by something, but not by nearly 1.
fn apart(d: &mut Draw) -> f64 {
    sign(d) * if d.coin() { d.between(0.2, 0.8) } else { d.between(1.2, 2.0) }
}

fn wide(d: &mut Draw) -> f64 {
    d.between(-3.0, 3.0)
}

fn share(d: &mut Draw) -> f64 {
    d.between(0.1, 0.9)
}

fn about_one(d: &mut Draw) -> f64 {
    sign(d) * d.between(0.97, 1.03)
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

fn parabola_then_line(d: f64, delta: f64) -> f64 {
    if d.abs() <= delta { d * d / 2.0 } else { delta * (d.abs() - delta / 2.0) }
}

/// Losses of two tensors of one shape.
fn pairs() -> Vec<Pair> {
    vec![
        Pair {
            ops: ["mse", "mse_elementwise"],
            forms: [|x| mse(&x[0], &x[1]), |x| mse_elementwise(&x[0], &x[1])],
            gradient: Gradient::Smooth,
            draw: &[wide, wide],
            formula: |x| (x[0] - x[1]).powi(2),
        },
        Pair {
            ops: ["l1", "l1_elementwise"],
            forms: [|x| l1(&x[0], &x[1]), |x| l1_elementwise(&x[0], &x[1])],
            gradient: Gradient::Pieces,
            draw: &[apart, small],
            formula: |x| (x[0] - x[1]).abs(),
        },
        Pair {
            ops: ["huber", "huber_elementwise"],
            forms: [|x| huber(&x[0], &x[1], 1.0), |x| huber_elementwise(&x[0], &x[1], 1.0)],
            gradient: Gradient::Pieces,
            draw: &[apart, small],
            formula: |x| parabola_then_line(x[0] - x[1], 1.0),
        },
        Pair {
            ops: ["smooth_l1", "smooth_l1_elementwise"],
            forms: [|x| smooth_l1(&x[0], &x[1], 0.5), |x| smooth_l1_elementwise(&x[0], &x[1], 0.5)],
            gradient: Gradient::Pieces,
            draw: &[|d| apart(d) / 2.0, |d| small(d) / 2.0],
            formula: |x| parabola_then_line(x[0] - x[1], 0.5) / 0.5,
        },
        Pair {
            ops: ["bce", "bce_elementwise"],
            forms: [|x| bce(&x[0], &x[1]), |x| bce_elementwise(&x[0], &x[1])],
            gradient: Gradient::Smooth,
            draw: &[share, share],
            formula: |x| -(x[1] * x[0].ln() + (1.0 - x[1]) * (1.0 - x[0]).ln()),
        },
        Pair {
            ops: ["bce_with_logits", "bce_with_logits_elementwise"],
            forms: [|x| bce_with_logits(&x[0], &x[1]), |x| bce_with_logits_elementwise(&x[0], &x[1])],
            gradient: Gradient::Smooth,
            draw: &[wide, share],
            formula: |x| softplus(x[0]) - x[0] * x[1],
        },
        Pair {
            ops: ["gaussian_nll", "gaussian_nll_elementwise"],
            forms: [
                |x| gaussian_nll(&x[0], &x[1], &x[2], 0.1),
                |x| gaussian_nll_elementwise(&x[0], &x[1], &x[2], 0.1),
            ],
            gradient: Gradient::Smooth,
            draw: &[wide, wide, |d| d.between(0.4, 2.0)],
            formula: |x| 0.5 * (x[2].ln() + (x[1] - x[0]).powi(2) / x[2]),
        },
        Pair {
            ops: ["hinge", "hinge_elementwise"],
            forms: [|x| hinge(&x[0], &x[1]), |x| hinge_elementwise(&x[0], &x[1])],
            gradient: Gradient::Pieces,
            draw: &[apart, about_one],
            formula: |x| (1.0 - x[0] * x[1]).max(0.0),
        },
    ]
}

/// Losses that are not a mean of one formula.
fn others() -> Vec<OpCase> {
    let terms = |x: &[Array]| x[0].zip(&x[1], |y, t| t * (t.ln() - y));
    vec![
        OpCase::new("bce_with_logits_weighted", Gradient::Smooth, |mut d| {
            let shape = d.filled_shape(1..=3);
            d.input_with(&shape, wide);
            d.input_with(&shape, share);
            d.input(&shape[shape.len() - 1..], 0.5, 2.0);
            d.case(
                |x| bce_with_logits_weighted(&x[0], &x[1], &x[2]),
                |x| {
                    average(
                        &x[0].zip3(&x[1], &x[2], |x, t, w| w * t * softplus(-x) + (1.0 - t) * softplus(x)),
                    )
                },
            )
        }),
        OpCase::new("kl_div", Gradient::Smooth, move |mut d| {
            let shape = d.filled_shape(1..=3);
            d.input_with(&shape, wide);
            d.input_with(&shape, share);
            d.case(
                |x| kl_div(&x[0], &x[1]),
                |x| Array { shape: vec![], data: vec![terms(x).data.iter().sum::<f64>() / shape[0] as f64] },
            )
        }),
        OpCase::new("kl_div_elementwise", Gradient::Smooth, move |mut d| {
            let shape = d.shape(0..=3);
            d.input_with(&shape, wide);
            d.input_with(&shape, share);
            d.case(|x| kl_div_elementwise(&x[0], &x[1]), terms)
        }),
    ]
}

/// The formula of a loss over classes, of the predictions of one sample and its target probabilities.
type OverClasses = fn(&[f64], &[f64]) -> f64;

fn cross(x: &[f64], p: &[f64]) -> f64 {
    let total = x.iter().map(|v| v.exp()).sum::<f64>().ln();
    x.iter().zip(p).map(|(v, p)| p * (total - v)).sum()
}

fn smoothed(x: &[f64], p: &[f64]) -> f64 {
    let mixed: Vec<f64> = p.iter().map(|p| 0.7 * p + 0.3 / x.len() as f64).collect();
    cross(x, &mixed)
}

fn chosen(x: &[f64], p: &[f64]) -> f64 {
    -x.iter().zip(p).map(|(v, p)| p * v).sum::<f64>()
}

/// A row for a loss over classes, of logits and targets that are indices, or probabilities if `soft`.
fn over_classes(
    op: &'static str,
    mean: bool,
    soft: bool,
    f: fn(&Tensor, &Tensor) -> Tensor,
    formula: OverClasses,
) -> OpCase {
    OpCase::new(op, Gradient::Smooth, move |mut d| {
        let shape = d.filled_shape(1..=3);
        let axis = usize::from(shape.len() > 1);
        let samples: Vec<usize> = (0..shape.len()).filter(|&i| i != axis).map(|i| shape[i]).collect();
        let (index, classes) = d.index(&samples, shape[axis]);
        d.input_with(&shape, wide);
        if soft {
            d.input_with(&shape, share);
        }
        let expected = |x: &[Array]| {
            let each = Array::from_fn(&samples, |at| {
                let place = |j: usize| {
                    let mut place = at.to_vec();
                    place.insert(axis, j);
                    place
                };
                let line: Vec<f64> = (0..shape[axis]).map(|j| x[0].at(&place(j))).collect();
                let hard = |j: usize| f64::from(j as f64 == classes.at(at));
                let p = (0..shape[axis]).map(|j| if soft { x[1].at(&place(j)) } else { hard(j) });
                formula(&line, &p.collect::<Vec<_>>())
            });
            if mean { average(&each) } else { each }
        };
        d.case(move |x| f(&x[0], x.get(1).unwrap_or(&index)), expected)
    })
    .variant(if soft { "probabilities" } else { "indices" })
}

/// A row for one side of a game, of scores that keep away from where the hinge bends.
fn game(op: &'static str, variant: &'static str, kind: Adversarial, formula: fn(&[f64]) -> f64) -> OpCase {
    let gradient = if kind == Adversarial::Hinge { Gradient::Pieces } else { Gradient::Smooth };
    let critic = op == "critic";
    OpCase::new(op, gradient, move |mut d| {
        let shape = d.filled_shape(0..=2);
        d.input_with(&shape, apart);
        if critic {
            d.input_with(&shape, apart);
        }
        let f = move |x: &[Tensor]| if critic { kind.critic(&x[0], &x[1]) } else { kind.generator(&x[0]) };
        d.case(f, |x| {
            let each = Array::from_fn(&shape, |i| formula(&x.iter().map(|x| x.at(i)).collect::<Vec<_>>()));
            average(&each)
        })
    })
    .variant(variant)
}

fn games() -> Vec<OpCase> {
    use Adversarial::{Hinge, LeastSquares, NonSaturating, Wasserstein};
    vec![
        game("critic", "non-saturating", NonSaturating, |x| softplus(-x[0]) + softplus(x[1])),
        game("critic", "least squares", LeastSquares, |x| ((x[0] - 1.0).powi(2) + x[1].powi(2)) / 2.0),
        game("critic", "hinge", Hinge, |x| (1.0 - x[0]).max(0.0) + (1.0 + x[1]).max(0.0)),
        game("critic", "wasserstein", Wasserstein, |x| x[1] - x[0]),
        game("generator", "non-saturating", NonSaturating, |x| softplus(-x[0])),
        game("generator", "least squares", LeastSquares, |x| (x[0] - 1.0).powi(2) / 2.0),
        game("generator", "hinge", Hinge, |x| -x[0]),
        game("generator", "wasserstein", Wasserstein, |x| -x[0]),
    ]
}

pub(crate) fn cases() -> Vec<OpCase> {
    let mut rows: Vec<OpCase> = pairs().into_iter().flat_map(Pair::rows).collect();
    rows.extend(others());
    for soft in [false, true] {
        rows.push(over_classes("cross_entropy", true, soft, cross_entropy, cross));
        rows.push(over_classes("cross_entropy_elementwise", false, soft, cross_entropy_elementwise, cross));
        let smooth: fn(&Tensor, &Tensor) -> Tensor = |x, t| cross_entropy_smoothed(x, t, 0.3);
        rows.push(over_classes("cross_entropy_smoothed", true, soft, smooth, smoothed));
        let smooth: fn(&Tensor, &Tensor) -> Tensor = |x, t| cross_entropy_smoothed_elementwise(x, t, 0.3);
        rows.push(over_classes("cross_entropy_smoothed_elementwise", false, soft, smooth, smoothed));
    }
    rows.push(over_classes("nll", true, false, nll, chosen));
    rows.push(over_classes("nll_elementwise", false, false, nll_elementwise, chosen));
    rows.extend(games());
    rows
}
