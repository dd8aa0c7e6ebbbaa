//! Optimizers, averages of weights and schedules against PyTorch 2.15, all in f64.
//!
//! The trajectories below are `torch.optim`'s on the problem of [`run`]: W[0, 0] after each of ten steps, then all of
//! W and b after the last.

use gradus::nn::{Module, Param};
use gradus::optim::{Adagrad, Adam, Ema, Optimizer, RmsProp, Rule, Sgd, StepInfo};
use gradus::schedule::Schedule;
use gradus::{Tensor, module};

struct Net {
    w: Param,
    b: Param,
}
module!(Net { w, b });

impl Net {
    fn new() -> Net {
        let w = Tensor::from([[0.5, -1.0], [2.0, 0.25]]);
        Net { w: Param::new(w), b: Param::new(Tensor::from([0.1, -0.3])) }
    }

    fn loss(&self) -> Tensor {
        let x = Tensor::from([[1.0, 2.0], [-0.5, 1.5], [3.0, -1.0]]);
        let target = Tensor::from([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]]);
        let y = (x.matmul(&self.w.get().t()) + self.b.get()).tanh();
        (y - target).square().sum(..)
    }

    fn values(&self) -> Vec<f64> {
        [&self.w, &self.b].iter().flat_map(|p| p.get().to_vec::<f64>().unwrap()).collect()
    }
}

type Trajectory = ([f64; 10], [f64; 6]);

#[track_caller]
fn close(found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= tolerance * b.abs().max(1.0), "element {i}: {a} instead of {b}");
    }
}

#[track_caller]
fn follows<R: Rule>(expected: Trajectory, make: impl FnOnce(Vec<(String, Param)>) -> Optimizer<R>) {
    let net = Net::new();
    let mut opt = make(net.params());
    let mut path = Vec::new();
    for _ in 0..10 {
        opt.step(&net.loss()).unwrap();
        path.push(net.values()[0]);
    }
    // Ten steps of different but equal formulas differ by rounding only.
    close(&path, &expected.0, 1e-12);
    close(&net.values(), &expected.1, 1e-12);
}

#[test]
fn sgd() {
    follows(SGD, |p| Sgd::new(p, 0.1));
    follows(SGD_DECAY, |p| Sgd::new(p, 0.1).weight_decay(0.1));
    follows(SGD_MOMENTUM, |p| Sgd::new(p, 0.05).momentum(0.9));
    follows(SGD_NESTEROV_DECAY, |p| Sgd::new(p, 0.05).momentum(0.9).nesterov().weight_decay(0.1));
}

#[test]
fn adam() {
    follows(ADAM, |p| Adam::new(p, 0.1));
    follows(ADAM_BETAS_DECAY, |p| Adam::new(p, 0.1).betas(0.5, 0.9).weight_decay(0.1).eps(1e-3));
    follows(ADAMW, |p| Adam::adamw(p, 0.1, 0.2));
}

#[test]
fn rmsprop_and_adagrad() {
    follows(RMSPROP, |p| RmsProp::new(p, 0.05));
    follows(RMSPROP_MOMENTUM_DECAY, |p| {
        RmsProp::new(p, 0.02).alpha(0.9).momentum(0.8).weight_decay(0.1).eps(1e-4)
    });
    follows(ADAGRAD, |p| Adagrad::new(p, 0.3));
    follows(ADAGRAD_DECAY, |p| Adagrad::new(p, 0.3).weight_decay(0.1).eps(1e-2));
}

#[test]
fn clipping() {
    follows(CLIP_NORM, |p| Sgd::new(p, 0.5).clip_norm(0.5));
    follows(CLIP_VALUE, |p| Sgd::new(p, 0.5).clip_value(0.25));
    // Far above every gradient, a limit changes nothing.
    follows(SGD, |p| Sgd::new(p, 0.1).clip_norm(1e9).clip_value(1e9));
}

/// One norm over parameters of different types: 3 and 4 make 5, which is cut to 1.
#[test]
fn clipping_counts_parameters_of_all_types() {
    let (single, double) = (Param::new(Tensor::from(0.0f32)), Param::new(Tensor::from(0.0f64)));
    let list = vec![("single".to_string(), single.clone()), ("double".to_string(), double.clone())];
    let loss = (single.get() * 3.0).to(gradus::DType::F64) + double.get() * 4.0;
    Sgd::new(list, 1.0).clip_norm(1.0).step(&loss).unwrap();
    close(&[single.get().item().unwrap(), double.get().item().unwrap()], &[-0.6, -0.8], 1e-6);
}

/// A rule of one's own: the sign of the gradient.
struct SignRule;

impl Rule for SignRule {
    fn slots(&self) -> &'static [&'static str] {
        &[]
    }

    fn update(&self, info: StepInfo, p: &Tensor, g: &Tensor, _: &[Tensor]) -> (Tensor, Vec<Tensor>) {
        (p - g.sign() * info.lr, vec![])
    }
}

#[test]
fn rules_can_be_written_outside() {
    let p = Param::new(Tensor::from([1.0, -2.0]));
    let mut opt = Optimizer::with_rule(vec![("p".to_string(), p.clone())], 0.25, SignRule);
    opt.step(&p.get().square().sum(..)).unwrap();
    assert_eq!(p.get().to_vec::<f64>().unwrap(), [0.75, -1.75]);
}

/// A state taken before the first step is one that can be loaded.
#[test]
fn the_state_before_the_first_step_is_complete() {
    let net = Net::new();
    let mut opt = Adam::new(net.params(), 0.1);
    let (step, slots) = opt.state();
    let names: Vec<&str> = slots.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!((step, names), (0, vec!["w.m", "w.v", "b.m", "b.v"]));
    opt.load_state(0, |name| slots.iter().find(|(n, _)| n == name).map(|(_, t)| t.clone())).unwrap();
    let path: Vec<f64> = (0..10)
        .map(|_| {
            opt.step(&net.loss()).unwrap();
            net.values()[0]
        })
        .collect();
    close(&path, &ADAM.0, 1e-12);
}

#[test]
fn a_state_that_does_not_fit_is_refused_by_name() {
    let net = Net::new();
    let mut opt = Sgd::new(net.params(), 0.1).momentum(0.9);
    let missing =
        opt.load_state(3, |name| (name == "w.momentum").then(|| net.w.get())).unwrap_err().to_string();
    assert!(missing.contains("b.momentum is missing"), "{missing}");
    let shape = opt.load_state(3, |_| Some(net.b.get())).unwrap_err().to_string();
    assert!(shape.contains("w.momentum is f64 [2], expected f64 [2, 2]"), "{shape}");
    assert_eq!(opt.steps(), 0);
}

#[test]
fn averages_follow_their_formula() {
    let p = Param::new(Tensor::from([1.0f64, 2.0]));
    let count = Param::buffer(Tensor::from(0i32));
    let list = vec![("p".to_string(), p.clone()), ("count".to_string(), count.clone())];
    let mut ema = Ema::new(list, 0.9).unwrap();
    let mut expected = [1.0, 2.0];
    for n in 1..=5 {
        p.set(Tensor::from([f64::from(n), -f64::from(n)]));
        count.set(Tensor::from(n));
        ema.update().unwrap();
        expected = [expected[0] * 0.9 + f64::from(n) * 0.1, expected[1] * 0.9 - f64::from(n) * 0.1];
    }
    let (_, average) = ema.values().next().unwrap();
    close(&average.to_vec::<f64>().unwrap(), &expected, 1e-15);
    ema.swap();
    close(&p.get().to_vec::<f64>().unwrap(), &expected, 1e-15);
    assert_eq!(count.get().item().unwrap(), 5.0);
    ema.swap();
    assert_eq!(p.get().to_vec::<f64>().unwrap(), [5.0, -5.0]);
    assert_eq!(ema.updates(), 5);
}

/// With a ramp the first update keeps 2/11 of the start.
#[test]
fn a_ramp_forgets_the_start() {
    let p = Param::new(Tensor::from(11.0f64));
    let mut ema = Ema::new(vec![("p".to_string(), p.clone())], 0.999).unwrap().ramp();
    p.set(Tensor::from(0.0f64));
    ema.update().unwrap();
    close(&[ema.values().next().unwrap().1.item().unwrap()], &[2.0], 1e-14);
    let error = ema.load_state(1, |_| None).unwrap_err().to_string();
    assert!(error.contains("average of p is missing"), "{error}");
}

/// StepLR(4, 0.5), ExponentialLR(0.9), CosineAnnealingLR(8, 0.1) and LinearLR(0.25, 1, 6) from 0.4.
#[test]
fn schedules_are_pytorchs() {
    let rates = |s: &Schedule, n: u64| (0..n).map(|i| s.at(i)).collect::<Vec<_>>();
    let step = Schedule::Step { from: 0.4, every: 4, factor: 0.5 };
    close(&rates(&step, 9), &[0.4, 0.4, 0.4, 0.4, 0.2, 0.2, 0.2, 0.2, 0.1], 1e-15);
    let exponential = Schedule::Exponential { from: 0.4, factor: 0.9 };
    close(&rates(&exponential, 5), &[0.4, 0.36, 0.324, 0.2916, 0.26244], 1e-15);
    let cosine = Schedule::Cosine { from: 0.4, to: 0.1, steps: 8 };
    let expected = [
        0.4,
        0.38858192987669304,
        0.35606601717798214,
        0.30740251485476355,
        0.25,
        0.19259748514523656,
        0.1439339828220179,
        0.111418070123307,
        0.1,
    ];
    close(&rates(&cosine, 9), &expected, 1e-15);
    let linear = Schedule::Linear { from: 0.1, to: 0.4, steps: 6 };
    close(&rates(&linear, 8), &[0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.4], 1e-15);
}

#[test]
fn schedules_compose() {
    let s = Schedule::Linear { from: 1.0, to: 0.0, steps: 4 }.warm_up(4);
    let rates: Vec<f64> = (0..9).map(|i| s.at(i)).collect();
    close(&rates, &[0.25, 0.5, 0.75, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0], 1e-15);
    let s = Schedule::Constant(1.0).then(2, Schedule::Constant(3.0)).scaled(0.5);
    assert_eq!([s.at(0), s.at(1), s.at(2), s.at(u64::MAX)], [0.5, 0.5, 1.5, 1.5]);
    // Degenerate lengths are defined: no steps, one step.
    assert_eq!(Schedule::Constant(2.0).warm_up(0).at(0), 2.0);
    assert_eq!(Schedule::Constant(2.0).warm_up(1).at(0), 2.0);
    assert_eq!(Schedule::Cosine { from: 1.0, to: 0.25, steps: 0 }.at(0), 0.25);
    assert_eq!(Schedule::Step { from: 1.0, every: 0, factor: 0.5 }.at(9), 1.0);
}

const SGD: Trajectory = (
    [
        0.5623548133523626,
        0.7150754918317622,
        0.7780557535357563,
        0.7959824791117962,
        0.8096286331901609,
        0.8217787617890019,
        0.833099844890811,
        0.8437691696080484,
        0.8538656141613414,
        0.863444147246978,
    ],
    [
        0.863444147246978,
        -0.06302604136148467,
        1.665632060599369,
        1.173004784883509,
        0.5660937761050548,
        0.31931617207973484,
    ],
);
const SGD_MOMENTUM: Trajectory = (
    [
        0.5311774066761813,
        0.6110896224520465,
        0.7825733595970802,
        0.9411419297336157,
        1.101347459107278,
        1.2531043294808446,
        1.3924234504778454,
        1.518851408811871,
        1.6330618134316748,
        1.7360366518267407,
    ],
    [
        1.7360366518267407,
        1.9783754566083394,
        0.9665930338690896,
        2.951426122512222,
        1.5909953563623922,
        1.492296965719801,
    ],
);
const SGD_NESTEROV_DECAY: Trajectory = (
    [
        0.5544870726847445,
        0.7145797212310382,
        0.8226494342696021,
        0.9320932812461062,
        1.0403292244317188,
        1.1428130620820556,
        1.2394772812614632,
        1.3317603397919706,
        1.4224369008590858,
        1.5156334357556518,
    ],
    [
        1.5156334357556518,
        0.5481517187998998,
        0.685852521186036,
        2.2521180185083343,
        0.5997223351248331,
        1.0809741360883498,
    ],
);
const SGD_DECAY: Trajectory = (
    [
        0.5573548133523626,
        0.7063053250019172,
        0.7544795383453459,
        0.7654587882648589,
        0.7724085230323415,
        0.7781091880960568,
        0.7831413610069774,
        0.7876402526112297,
        0.7916652366484851,
        0.7952593149793995,
    ],
    [
        0.7952593149793995,
        -0.04210675457909621,
        1.493201998989671,
        1.0907013381692547,
        0.5118465386572062,
        0.30825175711680847,
    ],
);
const ADAM: Trajectory = (
    [
        0.5999999983962746,
        0.6963493689467994,
        0.7919462722162188,
        0.889269907101672,
        0.9859496104941935,
        1.0740825601754815,
        1.1493460273360894,
        1.2130074590553725,
        1.2684518068485349,
        1.3189978488522605,
    ],
    [
        1.3189978488522605,
        -0.0944734268994129,
        1.1227951257437536,
        1.1251757975637333,
        1.0130994574613466,
        0.574350777516626,
    ],
);
const ADAM_BETAS_DECAY: Trajectory = (
    [
        0.5998259501786444,
        0.7033986407188572,
        0.8126089251795315,
        0.9229515193694181,
        1.0128942851948985,
        1.0642076999195627,
        1.0819303636566802,
        1.0795439785448107,
        1.0687782590159547,
        1.0570290818874644,
    ],
    [
        1.0570290818874644,
        -0.21949929468058305,
        1.2518478291056794,
        0.9377414851939609,
        0.8840983130941964,
        0.3914188047381645,
    ],
);
const ADAMW: Trajectory = (
    [
        0.5899999983962746,
        0.6742073361357508,
        0.7562425113850635,
        0.8385352507797267,
        0.917495145284227,
        0.9854058626727235,
        1.039790882618406,
        1.0831912059870927,
        1.119281224527952,
        1.1510227528442725,
    ],
    [
        1.1510227528442725,
        -0.009761947880932237,
        0.8343661017921243,
        0.993233350536605,
        0.8942133524157589,
        0.541325469730889,
    ],
);
const RMSPROP: Trajectory = (
    [
        0.999999919813741,
        1.199963451686981,
        1.3567327152058506,
        1.286757171748851,
        1.3382567695231424,
        1.3178679344852562,
        1.3404458319603458,
        1.3362892657627226,
        1.348456682681118,
        1.3500217006926267,
    ],
    [
        1.3500217006926267,
        -0.1678202119327126,
        1.0574918867295307,
        1.0901742533671324,
        0.9320638630758341,
        0.4981471175076933,
    ],
);
const RMSPROP_MOMENTUM_DECAY: Trajectory = (
    [
        0.5632107017622447,
        0.6686645655523653,
        0.8067566766127453,
        0.9623015288602178,
        1.0999356349736602,
        1.2034491406551524,
        1.2793845305158669,
        1.3383358111520869,
        1.3882179899134899,
        1.43344402609419,
    ],
    [
        1.43344402609419,
        0.024447857694404267,
        1.035632940123797,
        1.1774510045560413,
        1.118880095678094,
        0.6263912638912067,
    ],
);
const ADAGRAD: Trajectory = (
    [
        0.7999999999518883,
        1.086231885815701,
        1.070121486415843,
        1.050877002283169,
        1.0418244856559968,
        1.040621593004259,
        1.0436964932202377,
        1.0488539822909706,
        1.0549361403455628,
        1.0613561159628737,
    ],
    [
        1.0613561159628737,
        -0.23355116663659325,
        1.2650393661792003,
        0.9793202737682839,
        0.8922248862580745,
        0.4225503107236029,
    ],
);
const ADAGRAD_DECAY: Trajectory = (
    [
        0.794859035908683,
        1.080845740142734,
        1.049775675758931,
        1.0164612397072568,
        0.9947639720850517,
        0.9818446505870334,
        0.9737809366178277,
        0.9682454974406047,
        0.9640370098253913,
        0.9605511389517047,
    ],
    [
        0.9605511389517047,
        -0.22358540365993182,
        1.1219092091416232,
        0.9326236205362709,
        0.8356861586099216,
        0.3910688500819527,
    ],
);
const CLIP_NORM: Trajectory = (
    [
        0.5419051998141837,
        0.5936939846850983,
        0.6555819227109855,
        0.7148432945977872,
        0.7484543038130467,
        0.7653549760056529,
        0.8437646742348298,
        0.8497075001553656,
        0.9190480287299633,
        0.9054070046024342,
    ],
    [
        0.9054070046024342,
        0.08281736219965294,
        1.6332910224578692,
        1.2733632314793253,
        0.6347194550148609,
        0.3842788060773929,
    ],
);
const CLIP_VALUE: Trajectory = (
    [
        0.625,
        0.75,
        0.875,
        1.0,
        1.125,
        1.0333336623259575,
        1.0375371147085033,
        1.1381348747555,
        1.081126376221943,
        1.1712940654261068,
    ],
    [
        1.1712940654261068,
        -0.2595229000776537,
        1.2153075915553164,
        1.1379632223177139,
        0.7924574893724466,
        0.5100024330251256,
    ],
);

/// Gradients from elsewhere give the step that the loss gives.
#[test]
fn a_step_with_given_gradients_is_the_step_of_the_loss() {
    let (by_loss, by_hand) = (Net::new(), Net::new());
    let mut one = Adam::new(by_loss.params(), 0.1);
    let mut other = Adam::new(by_hand.params(), 0.1);
    for _ in 0..3 {
        one.step(&by_loss.loss()).unwrap();
        let params = [by_hand.w.get(), by_hand.b.get()];
        other.step_with(&gradus::grad(&by_hand.loss(), &params)).unwrap();
    }
    assert_eq!(by_loss.values(), by_hand.values());
    assert_eq!((one.steps(), other.steps()), (3, 3));
    let few = other.step_with(&[by_hand.w.get()]).unwrap_err().to_string();
    assert!(few.contains("1 gradients were given for 2 parameters"), "{few}");
    let wrong = other.step_with(&[by_hand.b.get(), by_hand.b.get()]).unwrap_err().to_string();
    assert!(wrong.contains("the gradient of w"), "{wrong}");
}
