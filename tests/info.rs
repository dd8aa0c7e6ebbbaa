//! Information measures against sums, integrals and each other; their derivatives against differences.

use gradus::gradcheck::{GradcheckOptions, gradcheck, gradgradcheck};
use gradus::info::{self, bernoulli, estimate, gaussian};
use gradus::{Rng, Tensor, grad};
use gradus_kernels::DType;
use proptest::prelude::*;
use std::f64::consts::{LN_2, TAU};

#[track_caller]
fn close(got: f64, want: f64, tolerance: f64) {
    assert!((got - want).abs() <= tolerance * want.abs().max(1.0), "{got:e} for {want:e}");
}

fn normal(shape: &[usize], seed: u64) -> Tensor {
    Rng::seed(seed).normal_of(shape, DType::F64)
}

fn number(x: f64) -> Tensor {
    Tensor::from(x)
}

fn row(values: &[f64]) -> Tensor {
    Tensor::from_vec(values.to_vec(), [values.len()])
}

/// Gradients of first and second order against differences.
#[track_caller]
fn check_derivatives(f: impl Fn(&[Tensor]) -> Tensor, inputs: &[Tensor]) {
    let options = GradcheckOptions { tolerance: 1e-7, ..Default::default() };
    if let Err(e) = gradcheck(&f, inputs, options.clone()).and_then(|_| gradgradcheck(&f, inputs, options)) {
        panic!("{e}");
    }
}

#[test]
fn categorical_measures_are_their_sums() {
    let (p, q) = ([0.5, 0.25, 0.125, 0.125], [0.1, 0.2, 0.3, 0.4]);
    let sum = |f: &dyn Fn(f64, f64) -> f64| p.iter().zip(&q).map(|(&p, &q)| f(p, q)).sum::<f64>();
    let (tp, tq) = (row(&p), row(&q));
    close(info::to_bits(&info::entropy(&tp, 0)).item().unwrap(), 1.75, 1e-15);
    close(info::cross_entropy(&tp, &tq, 0).item().unwrap(), sum(&|p, q| -p * q.ln()), 1e-15);
    close(info::kl(&tp, &tq, 0).item().unwrap(), sum(&|p, q| p * (p / q).ln()), 1e-15);
    let js = sum(&|p, q| {
        let m = (p + q) / 2.0;
        (p * (p / m).ln() + q * (q / m).ln()) / 2.0
    });
    close(info::js(&tp, &tq, 0).item().unwrap(), js, 1e-14);
    // Along either axis, in f32 and f64.
    let both = Tensor::stack(&[tp.clone(), tq.clone()], 1);
    let h = info::entropy(&both.to(DType::F32), 0).to_vec::<f32>().unwrap();
    close(h[0].into(), 1.75 * LN_2, 1e-6);
    assert_eq!(info::entropy(&both.t(), -1).shape().dims(), [2]);
    // From logits: any shift is the same distribution.
    let (lp, lq) = (tp.log() + 700.0, tq.log() - 3.0);
    close(info::entropy_from_logits(&lp, 0).item().unwrap(), 1.75 * LN_2, 1e-13);
    close(info::kl_from_logits(&lp, &lq, 0).item().unwrap(), sum(&|p, q| p * (p / q).ln()), 1e-13);
    close(info::cross_entropy_from_logits(&lp, &lq, 0).item().unwrap(), sum(&|p, q| -p * q.ln()), 1e-13);
    close(info::js_from_logits(&lp, &lq, 0).item().unwrap(), js, 1e-13);
}

#[test]
fn what_never_happens_adds_nothing() {
    let (p, q) = (row(&[0.5, 0.5, 0.0, 0.0]), row(&[0.25, 0.25, 0.5, 0.0]));
    assert_eq!(info::entropy(&p, 0).item().unwrap(), LN_2);
    assert_eq!(info::cross_entropy(&p, &q, 0).item().unwrap(), 2.0 * LN_2);
    assert_eq!(info::kl(&p, &q, 0).item().unwrap(), LN_2);
    assert_eq!(info::kl(&q, &p, 0).item().unwrap(), f64::INFINITY);
    assert_eq!(info::js(&row(&[1.0, 0.0]), &row(&[0.0, 1.0]), 0).item().unwrap(), LN_2);
    let slopes =
        |y: Tensor| grad(&y, [&p, &q]).iter().map(|g| g.to_vec::<f64>().unwrap()).collect::<Vec<_>>();
    let minus_log_q = [4f64.ln(), 4f64.ln(), 2f64.ln(), 0.0];
    let got = slopes(info::cross_entropy(&p, &q, 0));
    got[0].iter().zip(minus_log_q).for_each(|(a, b)| close(*a, b, 1e-15));
    assert_eq!(got[1], [-2.0, -2.0, 0.0, 0.0]);
    let got = slopes(info::kl(&p, &q, 0));
    close(got[0][0], 1.0 + LN_2, 1e-15);
    assert_eq!((got[0][2], got[0][3]), (0.0, 0.0));
    assert_eq!(got[1], [-2.0, -2.0, 0.0, 0.0]);
    let got = grad(&info::entropy(&p, 0), [&p])[0].to_vec::<f64>().unwrap();
    assert_eq!(got, [LN_2 - 1.0, LN_2 - 1.0, 0.0, 0.0]);
    // Through a softmax, a class that cannot occur has the derivative 0, at second order too.
    let x = row(&[1.0, 0.0, f64::NEG_INFINITY]);
    for f in [info::entropy_from_logits, |x: &Tensor, a: isize| info::entropy(&x.softmax(a), a)] {
        let first = &grad(&f(&x, 0), [&x])[0];
        assert!(first.to_vec::<f64>().unwrap().iter().all(|v| v.is_finite()), "{first}");
        let second = &grad(&first.square().sum(..), [&x])[0];
        assert!(second.to_vec::<f64>().unwrap().iter().all(|v| v.is_finite()), "{second}");
    }
    for p in [0.0, 1.0] {
        let p = number(p);
        assert_eq!(bernoulli::entropy(&p).item().unwrap(), 0.0);
        assert_eq!(bernoulli::kl(&p, &p).item().unwrap(), 0.0);
        assert_eq!(bernoulli::cross_entropy(&p, &p).item().unwrap(), 0.0);
        assert!(grad(&bernoulli::entropy(&p), [&p])[0].item().unwrap().is_finite());
    }
    let joint = Tensor::from([[0.5f64, 0.0], [0.0, 0.5]]);
    assert_eq!(info::mutual_information(&joint).item().unwrap(), LN_2);
    assert_eq!(info::conditional_entropy(&joint).item().unwrap(), 0.0);
}

/// Where a distribution is nearly sure, its entropy is as small as it should be, to the last digits, and nothing
/// overflows, in f32.
#[test]
fn extreme_logits_keep_their_digits() {
    for gap in [20.0f64, 60.0, 80.0] {
        let rest = (-gap).exp();
        let want = rest.ln_1p() + gap * rest / (1.0 + rest);
        let x = row(&[0.0, gap]).to(DType::F32);
        let got = info::entropy_from_logits(&x, 0).item().unwrap();
        assert!((got / want - 1.0).abs() < 1e-5, "gap {gap}: {got:e} for {want:e}");
        let got = bernoulli::entropy_from_logits(&number(gap).to(DType::F32)).item().unwrap();
        assert!((got / want - 1.0).abs() < 1e-5, "gap {gap}: {got:e} for {want:e}");
    }
    let (p, q) = (Tensor::from([1e30f32, -1e30, 0.0]), Tensor::from([-1e30f32, 1e30, 0.0]));
    assert_eq!(info::js_from_logits(&p, &q, 0).item().unwrap() as f32, LN_2 as f32);
    assert_eq!(info::kl_from_logits(&p, &p, 0).item().unwrap(), 0.0);
    assert!(info::kl_from_logits(&p, &q, 0).item().unwrap() > 1e30);
    let (p, q) = (Tensor::from(300f32), Tensor::from(-300f32));
    assert_eq!(bernoulli::kl_from_logits(&p, &q).item().unwrap(), 300.0);
    assert_eq!(bernoulli::js_from_logits(&p, &q).item().unwrap() as f32, LN_2 as f32);
    // Two nearly sure distributions differ by little; 1 - e^-30 is 1 in f32.
    let (p, q) = (Tensor::from([0f32, 30.0]), Tensor::from([0f32, 31.0]));
    let (a, b) = ((-30f64).exp(), (-31f64).exp());
    let term = |x: f64, y: f64| x * (2.0 * x / (x + y)).ln();
    let want = (term(a, b) + term(b, a) + term(1.0 - a, 1.0 - b) + term(1.0 - b, 1.0 - a)) / 2.0;
    let got = info::js_from_logits(&p, &q, 0).item().unwrap();
    assert!((got / want - 1.0).abs() < 1e-2, "{got:e} for {want:e}");
}

#[test]
fn bernoulli_is_categorical_of_two() {
    let (x, y) = (normal(&[7], 1) * 3.0, normal(&[7], 2) * 3.0);
    let two = |x: &Tensor| Tensor::stack(&[x.zeros_like(), x.clone()], 1);
    let probabilities = |x: &Tensor| Tensor::stack(&[1.0 - x.sigmoid(), x.sigmoid()], 1);
    let (p, q) = (x.sigmoid(), y.sigmoid());
    let (p2, q2) = (probabilities(&x), probabilities(&y));
    let cases = [
        (info::entropy(&p2, 1), bernoulli::entropy(&p)),
        (info::cross_entropy(&p2, &q2, 1), bernoulli::cross_entropy(&p, &q)),
        (info::kl(&p2, &q2, 1), bernoulli::kl(&p, &q)),
        (info::js(&p2, &q2, 1), bernoulli::js(&p, &q)),
        (info::entropy_from_logits(&two(&x), 1), bernoulli::entropy_from_logits(&x)),
        (
            info::cross_entropy_from_logits(&two(&x), &two(&y), 1),
            bernoulli::cross_entropy_from_logits(&x, &y),
        ),
        (info::kl_from_logits(&two(&x), &two(&y), 1), bernoulli::kl_from_logits(&x, &y)),
        (info::js_from_logits(&two(&x), &two(&y), 1), bernoulli::js_from_logits(&x, &y)),
    ];
    for (k, (a, b)) in cases.iter().enumerate() {
        let (a, b) = (a.to_vec::<f64>().unwrap(), b.to_vec::<f64>().unwrap());
        assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-12), "{k}: {a:?} {b:?}");
        // Probabilities and logits measure the same.
        let c = cases[(k + 4) % 8].0.to_vec::<f64>().unwrap();
        assert!(a.iter().zip(&c).all(|(a, c)| (a - c).abs() < 1e-12), "{k}: {a:?} {c:?}");
    }
}

/// The integral of `f` against the density of N(mean, var), by the trapezoid rule, which is exact to rounding for
/// what decays so fast.
fn expect(mean: f64, var: f64, f: impl Fn(f64) -> f64) -> f64 {
    let step = 0.05;
    let density = |z: f64| (-z * z / 2.0).exp() / TAU.sqrt();
    (-300..=300).map(|i| f64::from(i) * step).map(|z| density(z) * f(mean + var.sqrt() * z) * step).sum()
}

fn log_normal(x: f64, mean: f64, var: f64) -> f64 {
    -(x - mean).powi(2) / (2.0 * var) - (TAU * var).ln() / 2.0
}

#[test]
fn gaussian_measures_are_their_integrals() {
    let (m, v, m2, v2) = ([0.3, -2.0], [0.5, 3.0], [1.0, 0.1], [2.0, 0.7]);
    let log = |v: &[f64]| row(v).log();
    let sum = |f: &dyn Fn(usize) -> f64| f(0) + f(1);
    let h = sum(&|i| -expect(m[i], v[i], |x| log_normal(x, m[i], v[i])));
    let ce = sum(&|i| -expect(m[i], v[i], |x| log_normal(x, m2[i], v2[i])));
    let standard = sum(&|i| -expect(m[i], v[i], |x| log_normal(x, 0.0, 1.0))) - h;
    let (p, q) = ([row(&m), log(&v)], [row(&m2), log(&v2)]);
    let (p, q) = ([&p[0], &p[1]], [&q[0], &q[1]]);
    close(gaussian::entropy(p[1]).item().unwrap(), h, 1e-12);
    close(gaussian::cross_entropy(p, q).item().unwrap(), ce, 1e-12);
    close(gaussian::kl(p, q).item().unwrap(), ce - h, 1e-12);
    close(gaussian::kl_from_standard(p[0], p[1]).item().unwrap(), standard, 1e-12);
    // A diagonal covariance is a special case of a full one, in a batch too.
    let diagonal = |v: &[f64]| Tensor::from([[v[0], 0.0], [0.0, v[1]]]);
    let (c, c2) = (diagonal(&v), diagonal(&v2));
    let twice = |t: &Tensor| Tensor::stack(&[t.clone(), t.clone()], 0);
    for (got, want) in [
        (gaussian::full::entropy(&twice(&c)), h),
        (gaussian::full::cross_entropy([&twice(p[0]), &twice(&c)], [&twice(q[0]), &twice(&c2)]), ce),
        (gaussian::full::kl([&twice(p[0]), &twice(&c)], [&twice(q[0]), &twice(&c2)]), ce - h),
    ] {
        got.to_vec::<f64>().unwrap().into_iter().for_each(|x| close(x, want, 1e-12));
    }
}

/// A correlated pair, integrated over the plane.
#[test]
fn full_covariances_against_integrals_over_the_plane() {
    let (var_x, slope, noise) = (1.7, -0.6, 0.4);
    let covariance = Tensor::from([[var_x, 0.0], [slope * var_x, slope * slope * var_x + noise]]);
    let log_p = |x: f64, y: f64| log_normal(x, 0.5, var_x) + log_normal(y, slope * (x - 0.5), noise);
    let log_q = |x: f64, y: f64| log_normal(x, 0.0, 2.0) + log_normal(y, 1.0 + 0.3 * x, 1.5);
    let mean =
        |f: &dyn Fn(f64, f64) -> f64| expect(0.5, var_x, |x| expect(slope * (x - 0.5), noise, |y| f(x, y)));
    let q = Tensor::from([[2.0, 0.0], [0.6, 1.5 + 0.09 * 2.0]]);
    let (mean_p, mean_q) = (row(&[0.5, 0.0]), row(&[0.0, 1.0]));
    let h = -mean(&log_p);
    close(gaussian::full::entropy(&covariance).item().unwrap(), h, 1e-11);
    let kl = mean(&|x, y| log_p(x, y) - log_q(x, y));
    close(gaussian::full::kl([&mean_p, &covariance], [&mean_q, &q]).item().unwrap(), kl, 1e-11);
    let rho2 = slope * slope * var_x / (slope * slope * var_x + noise);
    let mutual = gaussian::full::mutual_information(&covariance, 1).item().unwrap();
    close(mutual, -0.5 * (1.0 - rho2).ln(), 1e-13);
    // The factor gives the matrix back; what is not positive definite has none.
    let r = normal(&[3, 5, 5], 4);
    let matrix = r.matmul(&r.transpose(-1, -2)) + Tensor::eye(5).to(DType::F64);
    let l = gaussian::full::cholesky(&matrix);
    let error = (l.matmul(&l.transpose(-1, -2)) - &matrix).abs().max(..).item().unwrap();
    assert!(error < 1e-13, "{error:e}");
    assert!(gaussian::full::entropy(&Tensor::from([[1.0f64, 2.0], [2.0, 1.0]])).item().unwrap().is_nan());
}

#[test]
fn derivatives_of_both_orders_agree_with_differences() {
    let x = normal(&[3, 4], 10);
    let y = normal(&[3, 4], 11);
    let inputs = [x.clone(), y.clone()];
    let p = |t: &Tensor| t.softmax(1);
    check_derivatives(|x| info::entropy(&p(&x[0]), 1), &inputs[..1]);
    check_derivatives(|x| info::entropy_from_logits(&x[0], 1), &inputs[..1]);
    check_derivatives(|x| info::cross_entropy(&p(&x[0]), &p(&x[1]), 1), &inputs);
    check_derivatives(|x| info::cross_entropy_from_logits(&x[0], &x[1], 1), &inputs);
    check_derivatives(|x| info::kl(&p(&x[0]), &p(&x[1]), 1), &inputs);
    check_derivatives(|x| info::kl_from_logits(&x[0], &x[1], 1), &inputs);
    check_derivatives(|x| info::js(&p(&x[0]), &p(&x[1]), 1), &inputs);
    check_derivatives(|x| info::js_from_logits(&x[0], &x[1], 1), &inputs);
    // Where the largest logits tie, and where both distributions are equal.
    let level = x.zeros_like();
    check_derivatives(|x| info::entropy_from_logits(&x[0], 1), std::slice::from_ref(&level));
    check_derivatives(|x| info::js_from_logits(&x[0], &x[1], 1), &[x.clone(), x.clone()]);
    check_derivatives(|x| bernoulli::js_from_logits(&x[0], &x[1]), &[x.clone(), x.clone()]);
    let joint = |x: &Tensor| x.exp() / x.exp().sum(..);
    check_derivatives(|x| info::mutual_information(&joint(&x[0])), &inputs[..1]);
    check_derivatives(|x| info::conditional_entropy(&joint(&x[0])), &inputs[..1]);

    let p = |t: &Tensor| t.sigmoid();
    check_derivatives(|x| bernoulli::entropy(&p(&x[0])), &inputs[..1]);
    check_derivatives(|x| bernoulli::entropy_from_logits(&x[0]), &inputs[..1]);
    check_derivatives(|x| bernoulli::cross_entropy(&p(&x[0]), &p(&x[1])), &inputs);
    check_derivatives(|x| bernoulli::cross_entropy_from_logits(&x[0], &x[1]), &inputs);
    check_derivatives(|x| bernoulli::kl(&p(&x[0]), &p(&x[1])), &inputs);
    check_derivatives(|x| bernoulli::kl_from_logits(&x[0], &x[1]), &inputs);
    check_derivatives(|x| bernoulli::js(&p(&x[0]), &p(&x[1])), &inputs);
    check_derivatives(|x| bernoulli::js_from_logits(&x[0], &x[1]), &inputs);
}

#[test]
fn derivatives_of_gaussian_measures_agree_with_differences() {
    let four: Vec<Tensor> = (0..4).map(|k| normal(&[2, 3], 20 + k)).collect();
    check_derivatives(|x| gaussian::entropy(&x[0]), &four[..1]);
    check_derivatives(|x| gaussian::cross_entropy([&x[0], &x[1]], [&x[2], &x[3]]), &four);
    check_derivatives(|x| gaussian::kl([&x[0], &x[1]], [&x[2], &x[3]]), &four);
    check_derivatives(|x| gaussian::kl_from_standard(&x[0], &x[1]), &four[..2]);
    let covariance = |r: &Tensor| r.matmul(&r.transpose(-1, -2)) + Tensor::eye(3).to(DType::F64);
    let full = [normal(&[3], 30), normal(&[3, 3], 31), normal(&[3], 32), normal(&[3, 3], 33)];
    let pair = |x: &[Tensor], f: fn([&Tensor; 2], [&Tensor; 2]) -> Tensor| {
        f([&x[0], &covariance(&x[1])], [&x[2], &covariance(&x[3])])
    };
    check_derivatives(|x| pair(x, gaussian::full::kl), &full);
    check_derivatives(|x| pair(x, gaussian::full::cross_entropy), &full);
    check_derivatives(|x| gaussian::full::entropy(&covariance(&x[0])), &full[1..2]);
    check_derivatives(|x| gaussian::full::mutual_information(&covariance(&x[0]), 2), &full[1..2]);
}

#[test]
fn wrong_shapes_are_refused() {
    let refused = |f: fn() -> Tensor| gradus::build(f).unwrap_err().to_string();
    let message = refused(|| info::kl(&Tensor::ones([2]), &Tensor::ones([3]), 0));
    assert!(message.contains("kl") && message.contains("[2]") && message.contains("[3]"), "{message}");
    assert!(refused(|| info::entropy(&Tensor::arange(3), 0)).contains("floats"));
    assert!(refused(|| info::entropy(&Tensor::ones([3]), 1)).contains("entropy"));
    assert!(refused(|| gaussian::kl_from_standard(&Tensor::ones([2]), &Tensor::ones([3]))).contains("[3]"));
    assert!(refused(|| gaussian::full::entropy(&Tensor::ones([2, 3]))).contains("[2, 3]"));
    assert!(refused(|| gaussian::full::mutual_information(&Tensor::eye(3), 3)).contains("empty"));
}

/// A distribution from unnormalised weights, some of them 0.
fn distribution(weights: &[f64]) -> Tensor {
    let total: f64 = weights.iter().sum();
    row(&weights.iter().map(|w| w / total).collect::<Vec<_>>())
}

fn weights(n: usize) -> impl Strategy<Value = Vec<f64>> {
    let weight = prop_oneof![4 => 1e-6..1.0f64, 1 => Just(0.0)];
    proptest::collection::vec(weight, n).prop_filter("all zero", |w| w.iter().sum::<f64>() > 0.0)
}

const ROUNDING: f64 = 1e-12;

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// Gibbs' inequality, 0 <= H <= log n, and the bounds of the Jensen-Shannon divergence.
    #[test]
    fn divergences_have_their_bounds(a in weights(5), b in weights(5)) {
        let (p, q) = (distribution(&a), distribution(&b));
        let value = |t: Tensor| t.item().unwrap();
        let h = value(info::entropy(&p, 0));
        prop_assert!((-ROUNDING..=5f64.ln() + ROUNDING).contains(&h));
        let kl = value(info::kl(&p, &q, 0));
        prop_assert!(kl >= -ROUNDING);
        let ce = value(info::cross_entropy(&p, &q, 0));
        prop_assert!(ce == kl || (ce - h - kl).abs() < ROUNDING * ce.abs().max(1.0));
        let js = value(info::js(&p, &q, 0));
        prop_assert!((-ROUNDING..=LN_2 + ROUNDING).contains(&js));
        prop_assert!((js - value(info::js(&q, &p, 0))).abs() < ROUNDING);
        prop_assert!(value(info::kl(&p, &p, 0)).abs() < ROUNDING);
        let mixture = value(info::entropy(&((&p + &q) * 0.5), 0));
        prop_assert!((mixture - (h + value(info::entropy(&q, 0))) / 2.0 - js).abs() < ROUNDING);
    }

    /// No channel makes two distributions easier to tell apart, or tells more about x than y does.
    #[test]
    fn processing_loses_information(a in weights(4), b in weights(4), c in weights(12), j in weights(12)) {
        let rows: Vec<Tensor> = c.chunks(3).map(|w| {
            distribution(&w.iter().map(|w| w + 1e-9).collect::<Vec<_>>())
        }).collect();
        let channel = Tensor::stack(&rows, 0);
        let (p, q) = (distribution(&a), distribution(&b));
        let value = |t: Tensor| t.item().unwrap();
        let before = value(info::kl(&p, &q, 0));
        let after = value(info::kl(&p.matmul(&channel), &q.matmul(&channel), 0));
        prop_assert!(after <= before + ROUNDING);
        prop_assert!(value(info::js(&p.matmul(&channel), &q.matmul(&channel), 0)) <= value(info::js(&p, &q, 0)) + ROUNDING);
        // x - y - z, with x and y joint: I(x; z) <= I(x; y), and I = H(y) - H(y | x).
        let joint = distribution(&j).reshape([3, 4]);
        let mutual = value(info::mutual_information(&joint));
        prop_assert!(mutual >= -ROUNDING);
        prop_assert!(value(info::mutual_information(&joint.matmul(&channel))) <= mutual + ROUNDING);
        let chain = value(info::entropy(&joint.sum(0), 0)) - value(info::conditional_entropy(&joint));
        prop_assert!((chain - mutual).abs() < ROUNDING);
        prop_assert!((value(info::mutual_information(&joint.t())) - mutual).abs() < ROUNDING);
    }

    #[test]
    fn gaussian_divergences_are_not_negative(seed in 0u64..1000) {
        let four: Vec<Tensor> = (0..4).map(|k| normal(&[3], 4 * seed + k)).collect();
        let value = |t: Tensor| t.item().unwrap();
        let (p, q) = ([&four[0], &four[1]], [&four[2], &four[3]]);
        prop_assert!(value(gaussian::kl(p, q)) >= 0.0);
        prop_assert!(value(gaussian::kl(p, p)).abs() < ROUNDING);
        let sum = value(gaussian::entropy(p[1])) + value(gaussian::kl(p, q));
        prop_assert!((sum - value(gaussian::cross_entropy(p, q))).abs() < 1e-10 * sum.abs().max(1.0));
    }
}

#[test]
fn counts_estimate_entropies() {
    close(estimate::entropy(&[1, 1, 2]), 1.5 * LN_2, 1e-15);
    assert_eq!(estimate::entropy(&[]), 0.0);
    assert_eq!(estimate::miller_madow(&[0, 0]), 0.0);
    // Known dependence: y = x, and y independent of x.
    close(estimate::mutual_information(&[5, 0, 0, 5], 2, false), LN_2, 1e-14);
    close(estimate::mutual_information(&[2, 4, 6, 12], 2, false), 0.0, 1e-14);
    // Over many draws of 50 of 10 classes the plug-in estimate lacks about (m - 1) / 2n, the corrected one less.
    let truth = 10f64.ln();
    let (mut plain, mut corrected) = (0.0, 0.0);
    let draws = (Rng::seed(3).uniform_of([400, 50], DType::F64) * 10.0).to_vec::<f64>().unwrap();
    for draw in draws.chunks(50) {
        let mut counts = [0; 10];
        draw.iter().for_each(|&x| counts[x as usize] += 1);
        plain += (estimate::entropy(&counts) - truth) / 400.0;
        corrected += (estimate::miller_madow(&counts) - truth) / 400.0;
    }
    assert!((-0.12..-0.08).contains(&plain), "bias {plain}");
    assert!(corrected.abs() < 0.02, "bias {corrected}");
}

#[test]
fn samples_estimate_differential_entropies() {
    let one = normal(&[4000, 1], 5);
    let want = 0.5 * (TAU.ln() + 1.0);
    let histogram = estimate::histogram(&one.to_vec::<f64>().unwrap(), 60).unwrap();
    assert!((histogram - want).abs() < 0.03, "{histogram} for {want}");
    // A correlated triple: entropy is that of independent entries plus the log of the determinant's root.
    let mix = Tensor::from([[2.0, 0.0, 0.0], [0.5, 1.0, 0.0], [-1.0, 0.3, 0.25]]);
    let three = normal(&[3000, 3], 6).matmul(&mix.t());
    let got = estimate::kozachenko_leonenko(&three, 4).unwrap();
    let want = 3.0 * want + (2.0 * 1.0 * 0.25f64).ln();
    assert!((got - want).abs() < 0.08, "{got} for {want}");
    let uniform = Rng::seed(7).uniform([2000, 1]);
    let got = estimate::kozachenko_leonenko(&uniform, 3).unwrap();
    assert!(got.abs() < 0.06, "{got} for 0");
}

#[test]
fn samples_estimate_mutual_information() {
    for rho in [0.0f64, 0.6, 0.95] {
        let x = normal(&[2500, 1], 8);
        let y = &x * rho + normal(&[2500, 1], 9) * (1.0 - rho * rho).sqrt();
        let got = estimate::kraskov(&x, &y, 4).unwrap();
        let want = -0.5 * (1.0 - rho * rho).ln();
        assert!((got - want).abs() < 0.05, "rho {rho}: {got} for {want}");
        // Mutual information does not change with the scale of one variable.
        let scaled = estimate::kraskov(&x, &(y * 3.0), 4).unwrap();
        assert!((scaled - want).abs() < 0.07, "rho {rho}: {scaled} for {want}");
    }
}

#[test]
fn samples_that_tell_nothing_are_refused() {
    let message = |r: gradus::Result<f64>| r.unwrap_err().to_string();
    assert!(message(estimate::histogram(&[1.0, 1.0], 4)).contains("histogram"));
    assert!(message(estimate::histogram(&[], 4)).contains("0 numbers"));
    assert!(message(estimate::histogram(&[0.0, f64::NAN], 4)).contains("finite"));
    assert!(message(estimate::kozachenko_leonenko(&Tensor::ones([9, 2]), 3)).contains("equal"));
    assert!(message(estimate::kozachenko_leonenko(&Tensor::ones([3, 2]), 3)).contains("number 3"));
    assert!(message(estimate::kozachenko_leonenko(&Tensor::ones([3]), 1)).contains("[n, d]"));
    assert!(
        message(estimate::kraskov(&Tensor::ones([3, 1]), &Tensor::ones([4, 1]), 1))
            .contains("4 of the other")
    );
}
