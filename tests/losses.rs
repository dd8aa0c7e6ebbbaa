//! Losses: values and gradients against PyTorch on ordinary numbers, against many-digit arithmetic on hostile ones.

use gradus::gradcheck::check_orders;
use gradus::loss::{self, Adversarial};
use gradus::{DType, Rng, Tensor, grad};

/// Checks first and second derivatives of `f` along random lines.
#[track_caller]
fn derivatives(xs: &[Tensor], f: impl Fn(&[Tensor]) -> Tensor) {
    if let Err(e) = check_orders(f, xs, 2, Default::default()) {
        panic!("{e}");
    }
}

fn wave(n: usize, f: fn(f64) -> f64, step: f64) -> Vec<f64> {
    (0..n).map(|i| f(step * i as f64)).collect()
}

/// Predictions and targets [2, 4, 3].
fn pair() -> (Tensor, Tensor) {
    let x = Tensor::from_vec(wave(24, f64::sin, 0.7), [2, 4, 3]) * 2.0;
    x.eval().unwrap();
    (x, Tensor::from_vec(wave(24, f64::cos, 1.3), [2, 4, 3]))
}

fn labels() -> Tensor {
    Tensor::from([[0u32, 3, 1], [2, 2, 0]])
}

/// Checks a loss, and its gradient weighted with `sin(0.9 i)` and summed.
#[track_caller]
fn agrees(f: impl Fn(&Tensor) -> Tensor, value: f64, slope: f64) {
    let (x, _) = pair();
    let y = f(&x);
    assert_eq!(y.rank(), 0, "a scalar");
    let weights = Tensor::from_vec(wave(24, f64::sin, 0.9), [2, 4, 3]);
    let found = (&grad(&y, [&x])[0] * weights).sum(..).item().unwrap();
    let y = y.item().unwrap();
    assert!((y - value).abs() < 1e-13 * value.abs().max(1.0), "{y} is not {value}");
    assert!((found - slope).abs() < 1e-13, "slope {found} is not {slope}");
}

/// The constants are from PyTorch 2.15 in f64.
#[test]
fn losses_as_pytorch() {
    let (_, t) = pair();
    let p01 = t.sigmoid();
    agrees(|x| loss::mse(x, &t), 2.447211499587051, -0.2114039271946297);
    agrees(|x| loss::l1(x, &t), 1.337552474493634, -0.1908631906635236);
    agrees(|x| loss::huber(x, &t, 0.7), 0.7089153665836708, -0.09810867745356915);
    agrees(|x| loss::smooth_l1(x, &t, 0.7), 1.012736237976673, -0.1401552535050988);
    agrees(|x| loss::bce(&x.sigmoid(), &p01), 0.9120149399144744, -0.01856895261065834);
    agrees(|x| loss::bce_with_logits(x, &p01), 0.9120149399144742, -0.01856895261065834);
    let weight = Tensor::from([0.5, 1.0, 3.0]);
    let weighted = |x: &Tensor| loss::bce_with_logits_weighted(x, &p01, &weight);
    agrees(weighted, 1.109812714616784, -0.02308683324911906);
    agrees(|x| loss::gaussian_nll(x, &t, &p01, 1e-3), 2.754070045417109, -0.1510442865268879);
    let variance = |x: &Tensor| x * x + 0.1;
    agrees(|x| loss::gaussian_nll(&t, &p01, &variance(x), 1e-3), 0.3790718814399796, -0.09246831907518348);
    agrees(|x| loss::hinge(x, &t.sign()), 1.307651340994358, -0.04096619659739127);
}

#[test]
fn class_losses_as_pytorch() {
    let (_, t) = pair();
    let p = (&t * 2.0).softmax(1);
    let log_p = |x: &Tensor| x.log_softmax(1);
    for labels in [labels(), labels().to(DType::I32)] {
        agrees(|x| loss::cross_entropy(x, &labels), 2.069238385094615, 0.2523035043094817);
        agrees(|x| loss::cross_entropy_smoothed(x, &labels, 0.2), 2.071356906971712, 0.1710163645875715);
        agrees(|x| loss::nll(&log_p(x), &labels), 2.069238385094615, 0.2523035043094817);
    }
    agrees(|x| loss::cross_entropy(x, &p), 2.182415317012449, 0.04010654313852891);
    agrees(|x| loss::cross_entropy_smoothed(x, &p, 0.2), 2.161898452505978, 0.001258795650809275);
    agrees(|x| loss::kl_div(&log_p(x), &p), 4.146163386898754, 0.1203196294155867);
    let one = |x: &Tensor| loss::cross_entropy(&x.at(0, 0).at(1, 0), &Tensor::from(2u32));
    agrees(one, 3.801070256837058, 1.190398945298563);
}

#[track_caller]
fn close(found: f64, expected: f64, what: &str) {
    let fits = found == expected || (found - expected).abs() <= 1e-10 * expected.abs();
    assert!(fits, "{what}: {found:e} is not {expected:e}");
}

/// Loss and derivative of one prediction.
fn at(x: f64, f: impl Fn(&Tensor) -> Tensor) -> (f64, f64) {
    let x = Tensor::from([x]);
    let y = f(&x);
    (y.item().unwrap(), grad(&y, [&x])[0].item().unwrap())
}

/// Logit, target, loss, derivative: with 9000 digits, rounded. Below the smallest f64 they are 0.
const LOGITS: [(f64, f64, f64, f64); 27] = [
    (1e4, 0.0, 10000.0, 1.0),
    (1e4, 1.0, 0.0, 0.0),
    (1e4, 0.25, 7500.0, 0.75),
    (-1e4, 0.0, 0.0, 0.0),
    (-1e4, 1.0, 10000.0, -1.0),
    (-1e4, 0.25, 2500.0, -0.25),
    (50.0, 0.0, 50.0, 1.0),
    (50.0, 1.0, 1.9287498479639178e-22, -1.9287498479639178e-22),
    (50.0, 0.25, 37.5, 0.75),
    (-50.0, 0.0, 1.9287498479639178e-22, 1.9287498479639178e-22),
    (-50.0, 1.0, 50.0, -1.0),
    (-50.0, 0.25, 12.5, -0.25),
    (30.0, 0.0, 30.000000000000092, 0.9999999999999064),
    (30.0, 1.0, 9.357622968839737e-14, -9.357622968839299e-14),
    (30.0, 0.25, 22.500000000000092, 0.7499999999999064),
    (-30.0, 0.0, 9.357622968839737e-14, 9.357622968839299e-14),
    (-30.0, 1.0, 30.000000000000092, -0.9999999999999064),
    (-30.0, 0.25, 7.500000000000093, -0.24999999999990644),
    (0.0, 0.0, std::f64::consts::LN_2, 0.5),
    (0.0, 1.0, std::f64::consts::LN_2, -0.5),
    (0.0, 0.25, std::f64::consts::LN_2, 0.25),
    (1e-3, 0.0, 0.6936473055599401, 0.5002499999791666),
    (1e-3, 1.0, 0.6926473055599401, -0.4997500000208333),
    (1e-3, 0.25, 0.6933973055599401, 0.2502499999791667),
    (-2.5, 0.0, 0.07888973429254963, 0.07585818002124355),
    (-2.5, 1.0, 2.5788897342925496, -0.9241418199787564),
    (-2.5, 0.25, 0.7038897342925496, -0.17414181997875644),
];

#[test]
fn logits_of_any_size() {
    for (x, t, value, slope) in LOGITS {
        let target = Tensor::from([t]);
        let (y, dy) = at(x, |x| loss::bce_with_logits(x, &target));
        close(y, value, &format!("loss of {x} for {t}"));
        close(dy, slope, &format!("slope of {x} for {t}"));
        let weighted = at(x, |x| loss::bce_with_logits_weighted(x, &target, &Tensor::from(1.0)));
        assert_eq!(weighted, (y, dy));
    }
}

/// Probability, target, loss, derivative: with 400 digits, rounded; logarithms at least -100.
const PROBABILITIES: [(f64, f64, f64, f64); 21] = [
    (0.0, 0.0, 0.0, 1.0),
    (0.0, 1.0, 100.0, 0.0),
    (0.0, 0.25, 25.0, 0.75),
    (1.0, 0.0, 100.0, 0.0),
    (1.0, 1.0, 0.0, -1.0),
    (1.0, 0.25, 75.0, -0.25),
    (1e-300, 0.0, 1e-300, 1.0),
    (1e-300, 1.0, 100.0, 0.0),
    (1e-300, 0.25, 25.0, 0.75),
    (1e-20, 0.0, 1e-20, 1.0),
    (1e-20, 1.0, 46.051701859880914, -1e20),
    (1e-20, 0.25, 11.512925464970229, -2.5e19),
    (0.5, 0.0, std::f64::consts::LN_2, 2.0),
    (0.5, 1.0, std::f64::consts::LN_2, -2.0),
    (0.5, 0.25, std::f64::consts::LN_2, 1.0),
    (0.9999999999999999, 0.0, 36.7368005696771, 9007199254740992.0),
    (0.9999999999999999, 1.0, 1.1102230246251565e-16, -1.0000000000000002),
    (0.9999999999999999, 0.25, 27.552600427257826, 6755399441055744.0),
    (0.3, 0.0, 0.35667494393873234, 1.4285714285714286),
    (0.3, 1.0, 1.2039728043259361, -3.3333333333333335),
    (0.3, 0.25, 0.5684994090355333, 0.23809523809523805),
];

#[test]
fn probabilities_of_zero_and_one() {
    for (p, t, value, slope) in PROBABILITIES {
        let (y, dy) = at(p, |p| loss::bce(p, &Tensor::from([t])));
        close(y, value, &format!("loss of {p} for {t}"));
        close(dy, slope, &format!("slope of {p} for {t}"));
    }
}

/// Logits, class, loss, gradient: with 9000 digits, rounded.
const CLASSES: [([f64; 3], u32, f64, [f64; 3]); 9] = [
    ([1e4, -1e4, 0.0], 0, 0.0, [0.0, 0.0, 0.0]),
    ([1e4, -1e4, 0.0], 1, 20000.0, [1.0, -1.0, 0.0]),
    ([1e4, -1e4, 0.0], 2, 10000.0, [1.0, 0.0, -1.0]),
    (
        [30.0, 0.0, -5.0],
        0,
        9.420674136441201e-14,
        [-9.420674136440756e-14, 9.357622968839293e-14, 6.305116760146396e-16],
    ),
    (
        [30.0, 0.0, -5.0],
        1,
        30.000000000000096,
        [0.9999999999999057, -0.9999999999999064, 6.305116760146396e-16],
    ),
    (
        [500.0, 460.0, 459.0],
        0,
        5.811236444626578e-18,
        [-5.811236444626578e-18, 4.248354255291589e-18, 1.5628821893349888e-18],
    ),
    ([1e4; 3], 2, 1.0986122886681098, [0.3333333333333333, 0.3333333333333333, -0.6666666666666666]),
    ([0.5, -0.25, 0.1], 1, 1.512060461642103, [0.4667038103336905, -0.7795447299615782, 0.31284091962788774]),
    (
        [-1e4, -1e4 - 20.0, -1e4 - 700.0],
        0,
        2.061153620314381e-9,
        [-2.0611536181902037e-9, 2.0611536181902037e-9, 9.859676523437462e-305],
    ),
];

#[test]
fn classes_however_sure() {
    for (logits, class, value, slopes) in CLASSES {
        let x = Tensor::from([logits]);
        let y = loss::cross_entropy(&x, &Tensor::from([class]));
        close(y.item().unwrap(), value, &format!("loss of {logits:?} for {class}"));
        let found = grad(&y, [&x])[0].to_vec::<f64>().unwrap();
        for (f, e) in found.iter().zip(slopes) {
            close(*f, e, &format!("slope of {logits:?} for {class}"));
        }
    }
}

#[test]
fn losses_stay_finite_in_f32() {
    let x = Tensor::from([[1e4f32, -1e4, 0.0], [-1e4, 1e4, 3.0]]);
    let binary = Tensor::from([[0.0f32, 1.0, 0.5], [1.0, 0.0, 0.0]]);
    let p = Tensor::from([[0.0f32, 1.0, 1e-45], [1.0, 0.0, 0.99999994]]);
    let labels = Tensor::from([1u32, 0]);
    let all = [
        (&x, loss::bce_with_logits(&x, &binary)),
        (&x, loss::cross_entropy(&x, &labels)),
        (&x, loss::cross_entropy_smoothed(&x, &labels, 0.1)),
        (&x, loss::cross_entropy(&x, &x.softmax(1).stop_grad())),
        (&x, loss::kl_div(&x.log_softmax(1), &p)),
        (&p, loss::bce(&p, &binary)),
        (&p, loss::kl_div(&x.log_softmax(1), &p)),
        (&p, loss::gaussian_nll(&x, &binary, &p, 1e-6)),
        (&x, Adversarial::NonSaturating.critic(&x, &x)),
        (&x, Adversarial::NonSaturating.generator(&x)),
    ];
    for (i, (x, y)) in all.iter().enumerate() {
        assert!(y.item().unwrap().is_finite(), "loss {i}");
        let slopes = grad(y, [*x])[0].to_vec::<f32>().unwrap();
        assert!(slopes.iter().all(|s| s.is_finite()), "slopes of loss {i}: {slopes:?}");
    }
}

#[test]
fn classes_ruled_out_by_minus_infinity() {
    let x = Tensor::from([[0.5f64, f64::NEG_INFINITY, 1.0], [2.0, f64::NEG_INFINITY, f64::NEG_INFINITY]]);
    let y = loss::cross_entropy(&x, &Tensor::from([0u32, 0]));
    close(y.item().unwrap(), 0.5f64.exp().ln_1p() / 2.0, "loss");
    let slopes = grad(&y, [&x])[0].to_vec::<f64>().unwrap();
    let p = 1.0 / (1.0 + 0.5f64.exp());
    for (f, e) in slopes.iter().zip([(p - 1.0) / 2.0, 0.0, (1.0 - p) / 2.0, 0.0, 0.0, 0.0]) {
        assert!((f - e).abs() < 1e-15, "{slopes:?}");
    }
    let one = Tensor::from([[3.0f64]]);
    let y = loss::cross_entropy(&one, &Tensor::from([0u32]));
    assert_eq!((y.item().unwrap(), grad(&y, [&one])[0].item().unwrap()), (0.0, 0.0));
}

#[test]
fn derivatives_of_losses() {
    let mut rng = Rng::seed(4);
    let mut normal = || {
        let x = rng.normal_of([2, 4, 3], DType::F64);
        x.eval().unwrap();
        x
    };
    let xs = [normal(), normal(), normal()];
    derivatives(&xs[..2], |x| loss::mse_elementwise(&x[0], &x[1]));
    derivatives(&xs[..2], |x| loss::huber_elementwise(&x[0], &x[1], 0.8));
    derivatives(&xs[..2], |x| loss::smooth_l1_elementwise(&x[0], &x[1], 0.8));
    derivatives(&xs[..2], |x| loss::bce_elementwise(&x[0].sigmoid(), &x[1].sigmoid()));
    derivatives(&xs[..2], |x| loss::bce_with_logits_elementwise(&x[0], &x[1]));
    derivatives(&xs, |x| loss::bce_with_logits_weighted(&x[0], &x[1], &x[2]));
    derivatives(&xs[..1], |x| loss::cross_entropy_elementwise(&x[0], &labels()));
    derivatives(&xs[..2], |x| loss::cross_entropy_elementwise(&x[0], &x[1].softmax(1)));
    derivatives(&xs[..1], |x| loss::cross_entropy_smoothed_elementwise(&x[0], &labels(), 0.3));
    derivatives(&xs[..1], |x| loss::nll_elementwise(&x[0], &labels()).exp());
    derivatives(&xs[..2], |x| loss::kl_div(&x[0], &x[1].exp()));
    derivatives(&xs, |x| loss::gaussian_nll_elementwise(&x[0], &x[1], &x[2].exp(), 0.1));
    for game in [Adversarial::NonSaturating, Adversarial::LeastSquares, Adversarial::Hinge] {
        derivatives(&xs[..2], |x| game.critic(&x[0].sin(), &x[1].sin()) + game.generator(&x[1].sin()));
    }
}

#[test]
fn huber_is_a_parabola_at_its_bottom() {
    // Written with |x| its second derivative would be lost exactly at 0.
    let x = Tensor::from([0.0f64]);
    let y = loss::huber(&x, &x.zeros_like(), 1.0);
    let dy = grad(&y, [&x]).remove(0);
    assert_eq!(grad(&dy.sum(..), [&x])[0].item().unwrap(), 1.0);
}

#[test]
fn divergence_ignores_what_cannot_happen() {
    let p = Tensor::from([[0.0f64, 1.0]]);
    let q = Tensor::from([[f64::NEG_INFINITY, 0.5f64.ln()]]);
    let y = loss::kl_div(&q, &p);
    close(y.item().unwrap(), 2.0f64.ln(), "divergence");
    assert_eq!(grad(&y, [&q])[0].to_vec::<f64>().unwrap(), [0.0, -1.0]);
}

#[test]
fn games_by_hand() {
    let (real, fake) = (Tensor::from([2.0f64, -1.0, 0.5]), Tensor::from([-3.0, 0.5]));
    let softplus = |x: f64| x.exp().ln_1p();
    let expected = [
        (
            Adversarial::NonSaturating,
            (softplus(-2.0) + softplus(1.0) + softplus(-0.5)) / 3.0 + (softplus(-3.0) + softplus(0.5)) / 2.0,
            (softplus(3.0) + softplus(-0.5)) / 2.0,
        ),
        (Adversarial::LeastSquares, (1.0 + 4.0 + 0.25) / 6.0 + (9.0 + 0.25) / 4.0, (16.0 + 0.25) / 4.0),
        (Adversarial::Hinge, (0.0 + 2.0 + 0.5) / 3.0 + (0.0 + 1.5) / 2.0, 1.25),
        (Adversarial::Wasserstein, -1.25 - 0.5, 1.25),
    ];
    for (game, critic, generator) in expected {
        close(game.critic(&real, &fake).item().unwrap(), critic, &format!("critic of {game:?}"));
        close(game.generator(&fake).item().unwrap(), generator, &format!("generator of {game:?}"));
    }
}

#[test]
fn losses_of_nothing() {
    let none = Tensor::zeros([0, 3]);
    assert!(loss::mse_elementwise(&none, &none).to_vec::<f32>().unwrap().is_empty());
    assert!(loss::mse(&none, &none).item().unwrap().is_nan());
    let labels = Tensor::zeros([0]).to(DType::U32);
    assert!(loss::cross_entropy_elementwise(&none, &labels).to_vec::<f32>().unwrap().is_empty());
}

#[test]
fn mistakes_are_named() {
    let x = Tensor::zeros([4, 3]);
    let refused = |f: &dyn Fn() -> Tensor, words: &str| {
        let text = gradus::build(f).unwrap_err().to_string();
        assert!(text.contains(words), "{text:?} lacks {words:?}");
    };
    refused(&|| loss::mse(&x, &Tensor::zeros([4, 1])), "[4, 1]");
    refused(&|| loss::mse(&x, &x.to(DType::F64)), "f64");
    refused(&|| loss::huber(&x, &x, 0.0), "positive");
    refused(&|| loss::cross_entropy(&x, &Tensor::zeros([3]).to(DType::U32)), "class indices");
    refused(&|| loss::cross_entropy(&x, &Tensor::zeros([4])), "probabilities");
    refused(&|| loss::cross_entropy(&Tensor::zeros([4, 0]), &Tensor::zeros([4]).to(DType::U32)), "no class");
    refused(&|| loss::cross_entropy_smoothed(&x, &x, 1.5), "between 0 and 1");
    refused(&|| loss::nll(&x, &x), "class indices");
    let outside = loss::cross_entropy(&x, &Tensor::from([0u32, 1, 2, 3]));
    assert!(outside.item().unwrap_err().to_string().contains("index 3"));
}
