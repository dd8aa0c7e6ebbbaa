//! Ops that are compositions: values against plain loops and against PyTorch, derivatives against differences.

use gradus::Interpolation::{Bilinear, Nearest};
use gradus::gradcheck::check_orders;
use gradus::{DType, Rng, Tensor, grad};

/// Checks first and second derivatives of `f` along random lines.
#[track_caller]
fn derivatives(xs: &[Tensor], f: impl Fn(&[Tensor]) -> Tensor) {
    if let Err(e) = check_orders(f, xs, 2, Default::default()) {
        panic!("{e}");
    }
}

/// `f(step * i)` for i = 0, 1, …, in f64.
fn wave(n: usize, f: fn(f64) -> f64, step: f64) -> Vec<f64> {
    (0..n).map(|i| f(step * i as f64)).collect()
}

fn image() -> Tensor {
    Tensor::from_vec(wave(180, f64::sin, 0.7), [2, 3, 5, 6])
}

fn weights(from: usize, shape: &[usize]) -> Tensor {
    let n: usize = shape.iter().product();
    Tensor::from_vec(wave(from + n, f64::cos, 1.3)[from..].to_vec(), shape)
}

fn normal(rng: &mut Rng, shape: &[usize]) -> Tensor {
    let x = rng.normal_of(shape, DType::F64);
    x.eval().unwrap();
    x
}

/// The result weighted with `cos(1.3 i)` and summed, and the gradient of that for the image, weighted and summed
/// likewise from i = 1000 on: two numbers that any wrong element changes.
fn sums(f: impl Fn(&Tensor) -> Tensor) -> (Vec<usize>, f64, f64) {
    let x = image();
    let y = f(&x);
    let value = (&y * weights(0, y.shape())).sum(..);
    let slope = &grad(&value, [&x])[0] * weights(1000, x.shape());
    (y.shape().to_vec(), value.item().unwrap(), slope.sum(..).item().unwrap())
}

#[track_caller]
fn agrees(name: &str, f: impl Fn(&Tensor) -> Tensor, shape: &[usize], value: f64, slope: f64) {
    let found = sums(f);
    assert_eq!(found.0, shape, "{name}");
    assert!((found.1 - value).abs() < 1e-11, "{name}: {} is not {value}", found.1);
    assert!(
        (found.2 - slope).abs() < 1e-10 * slope.abs().max(1.0),
        "{name}: slope {} is not {slope}",
        found.2
    );
}

/// The constants in the tests named `…_as_pytorch` are `sums` computed by PyTorch 2.15 in f64.
#[test]
fn pooling_as_pytorch() {
    agrees("max", |x| x.max_pool2d(2, 2, 0), &[2, 3, 2, 3], 1.09936825066748, 3.98265236517008);
    let uneven = |x: &Tensor| x.max_pool2d([3, 2], [2, 1], [1, 0]);
    agrees("max uneven", uneven, &[2, 3, 3, 5], -1.00056963710629, 1.15464428334984);
    agrees("max wide", |x| x.max_pool2d(5, 1, 2), &[2, 3, 5, 6], 1.10921105710593, 2.43559440786291);
    agrees("avg", |x| x.avg_pool2d(2, 2, 0), &[2, 3, 2, 3], -0.120495002713338, 1.79949694636391);
    agrees("avg padded", |x| x.avg_pool2d(3, 2, 1), &[2, 3, 3, 3], -0.105477688512842, -1.15684034410076);
}

#[test]
fn normalization_as_pytorch() {
    let g = Tensor::from([0.5, 1.0, 1.5]);
    let b = Tensor::from([0.1, -0.2, 0.3]);
    let (g, b) = (Some(&g), Some(&b));
    agrees("batch", |x| x.batch_norm(g, b, 1e-3).0, &[2, 3, 5, 6], 0.102969166961849, 104.272479957895);
    let eval = |x: &Tensor| x.batch_norm_eval(b.unwrap(), g.unwrap(), g, b, 1e-3);
    agrees("batch in evaluation", eval, &[2, 3, 5, 6], -0.0640949360525548, 71.942479436764);
    let (gl, bl) = (weights(0, &[5, 6]), weights(30, &[5, 6]));
    let layer = |x: &Tensor| x.layer_norm([5, 6], Some(&gl), Some(&bl), 1e-3);
    agrees("layer", layer, &[2, 3, 5, 6], 6.45012809343545, 1.9765783268012);
    let (gc, bc) = (weights(0, &[6]), weights(6, &[6]));
    let group = |x: &Tensor| x.reshape([2, 6, 15]).group_norm(3, Some(&gc), Some(&bc), 1e-3);
    agrees("group", group, &[2, 6, 15], -0.350283214613025, 20.8756058667118);
    agrees("instance", |x| x.instance_norm(g, b, 1e-3), &[2, 3, 5, 6], 0.105933299111947, 103.929169893322);
}

#[test]
fn interpolation_as_pytorch() {
    let border = Bilinear { align_corners: false };
    let corner = Bilinear { align_corners: true };
    let table = [
        ([7, 9], Nearest, -0.797859826065311, 5.1367096981821),
        ([7, 9], border, -0.324838707277183, 0.900138701528185),
        ([7, 9], corner, -0.356666003944383, 1.05645983115497),
        ([3, 4], Nearest, -0.887131765343409, 2.79347035963186),
        ([3, 4], border, 0.183069491761338, 0.427457508974532),
        ([3, 4], corner, -1.21671995228776, 0.133662943657893),
        ([10, 12], Nearest, 0.00772072015750136, -0.116430728312681),
        ([10, 12], border, -0.0568261713177212, -1.0352602179936),
        ([10, 12], corner, -0.0521866726799517, -1.08719861259314),
        ([1, 6], Nearest, 0.591994676324211, 7.12758476492348),
        ([1, 6], border, 3.94873000329593, -5.44343153713897),
        ([1, 6], corner, 0.591994676324211, 7.12758476492348),
        ([5, 1], Nearest, -0.676548903401, 0.824318730110571),
        ([5, 1], border, -0.122336636526955, -0.702709402116586),
        ([5, 1], corner, -0.676548903401, 0.824318730110571),
    ];
    for (size, mode, value, slope) in table {
        let name = format!("{mode:?} to {size:?}");
        agrees(&name, |x| x.interpolate(size, mode), &[2, 3, size[0], size[1]], value, slope);
    }
    let table = [
        (2.0, [10, 12], Nearest, 0.00772072015750136, -0.116430728312681),
        (2.0, [10, 12], border, -0.0568261713177212, -1.0352602179936),
        (2.0, [10, 12], corner, -0.0521866726799517, -1.08719861259314),
        (1.7, [8, 10], Nearest, -5.54351539998784, -0.546299333182648),
        (1.7, [8, 10], border, -1.26448020480989, 1.00437399047966),
        (1.7, [8, 10], corner, -0.325579581470626, 0.905353459602329),
        (0.6, [3, 3], Nearest, 1.20534083007181, 6.20824294334473),
        (0.6, [3, 3], border, -0.627479133407486, -0.732770660705493),
        (0.6, [3, 3], corner, -0.500639653261922, 2.25193103775986),
    ];
    for (scale, [h, w], mode, value, slope) in table {
        let name = format!("{mode:?} by {scale}");
        agrees(&name, |x| x.interpolate_scale(scale, mode), &[2, 3, h, w], value, slope);
    }
}

#[test]
fn pixel_shuffles_as_pytorch() {
    let shuffle = |x: &Tensor| x.reshape([1, 9, 4, 5]).pixel_shuffle(3);
    agrees("shuffle", shuffle, &[1, 1, 12, 15], 0.146120576538665, -0.0759765184071481);
    let unshuffle = |x: &Tensor| x.reshape([1, 5, 6, 6]).pixel_unshuffle(3);
    agrees("unshuffle", unshuffle, &[1, 45, 2, 2], 0.066002079015008, -8.39354351433407);
    let x = image().reshape([2, 9, 2, 5]);
    assert_eq!(x.pixel_shuffle(3).pixel_unshuffle(3).to_vec::<f64>().unwrap(), x.to_vec::<f64>().unwrap());
}

/// Max pooling of one plane by loops: values, and for ones as cotangents, the gradient.
fn max_pool_loops(
    x: &[f64],
    [h, w]: [usize; 2],
    k: [usize; 2],
    s: [usize; 2],
    p: [usize; 2],
) -> [Vec<f64>; 2] {
    let [oh, ow] = [(h + 2 * p[0] - k[0]) / s[0] + 1, (w + 2 * p[1] - k[1]) / s[1] + 1];
    let (mut y, mut dx) = (vec![], vec![0.0; h * w]);
    for (oy, ox) in (0..oh).flat_map(|oy| (0..ow).map(move |ox| (oy, ox))) {
        let mut best: Option<usize> = None;
        for (i, j) in (0..k[0]).flat_map(|i| (0..k[1]).map(move |j| (i, j))) {
            let (r, c) = ((oy * s[0] + i).wrapping_sub(p[0]), (ox * s[1] + j).wrapping_sub(p[1]));
            if r >= h || c >= w {
                continue;
            }
            let at = r * w + c;
            match best {
                Some(b) if x[at] > x[b] || (x[at].is_nan() && !x[b].is_nan()) => best = Some(at),
                None => best = Some(at),
                _ => {}
            }
        }
        let best = best.unwrap();
        y.push(x[best]);
        dx[best] += 1.0;
    }
    [y, dx]
}

#[test]
fn max_pooling_takes_the_first_of_equals() {
    let mut rng = Rng::seed(3);
    let windows: [([usize; 2], [usize; 2], [usize; 2]); 7] = [
        ([2, 2], [2, 2], [0, 0]),
        ([3, 3], [2, 2], [1, 1]),
        ([2, 3], [1, 2], [1, 1]),
        ([1, 1], [1, 1], [0, 0]),
        ([7, 6], [1, 3], [3, 3]),
        ([9, 8], [3, 1], [0, 2]),
        ([9, 8], [20, 20], [4, 4]),
    ];
    for (k, s, p) in windows {
        for special in [0.0, f64::NAN, f64::NEG_INFINITY, f64::INFINITY] {
            let (h, w) = (9, 11);
            let mut x: Vec<f64> = (rng.uniform_of([h * w], DType::F64) * 4.0).floor().to_vec().unwrap();
            for i in (0..h * w).filter(|i| i % 7 < 4 && special != 0.0) {
                x[i] = special;
            }
            let [y, dx] = max_pool_loops(&x, [h, w], k, s, p);
            let t = Tensor::from_vec(x, [1, 1, h, w]);
            let pooled = t.max_pool2d(k, s, p);
            assert_eq!(bits(&pooled), y.iter().map(|v| v.to_bits()).collect::<Vec<_>>(), "{k:?} {s:?} {p:?}");
            let slope = grad(&pooled.sum(..), [&t]).remove(0).to_vec::<f64>().unwrap();
            assert_eq!(slope, dx, "{k:?} {s:?} {p:?} {special}");
        }
    }
}

fn bits(x: &Tensor) -> Vec<u64> {
    x.to_vec::<f64>().unwrap().into_iter().map(f64::to_bits).collect()
}

#[test]
fn all_of_minus_infinity_pools_to_its_first_element() {
    let x = Tensor::full([1, 1, 3, 3], f64::NEG_INFINITY).to(DType::F64);
    let x = Tensor::from_vec(x.to_vec::<f64>().unwrap(), [1, 1, 3, 3]);
    let y = x.max_pool2d(3, 2, 1);
    assert_eq!(y.to_vec::<f64>().unwrap(), [f64::NEG_INFINITY; 4]);
    let slope = grad(&y.sum(..), [&x]).remove(0).to_vec::<f64>().unwrap();
    assert_eq!(slope, [1.0, 1.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
}

#[test]
fn signals_and_whole_planes_pool_like_images() {
    let x = image().reshape([2, 3, 30]);
    let tall = x.unsqueeze(2);
    assert_eq!(bits(&x.max_pool1d(3, 2, 1)), bits(&tall.max_pool2d([1, 3], [1, 2], [0, 1])));
    assert_eq!(bits(&x.avg_pool1d(4, 4, 2)), bits(&tall.avg_pool2d([1, 4], 4, [0, 2])));
    let mean = image().global_avg_pool();
    assert_eq!(*mean.shape(), [2, 3, 1, 1]);
    assert_eq!(bits(&mean), bits(&image().mean([2, 3])));
    assert_eq!(bits(&image().global_max_pool()), bits(&image().max([2, 3])));
    let ties = Tensor::from([[[1.0, 4.0, 4.0]]]);
    let slope = grad(&ties.global_max_pool().sum(..), [&ties]).remove(0);
    assert_eq!(slope.to_vec::<f64>().unwrap(), [0.0, 1.0, 0.0]);
}

#[test]
fn nothing_pools_to_nothing() {
    let none = Tensor::zeros([0, 3, 4, 4]);
    assert_eq!(*none.max_pool2d(2, 2, 0).shape(), [0, 3, 2, 2]);
    assert_eq!(*none.avg_pool2d(3, 1, 1).shape(), [0, 3, 4, 4]);
    assert!(none.max_pool2d(2, 2, 0).to_vec::<f32>().unwrap().is_empty());
    assert!(none.avg_pool2d(3, 1, 1).to_vec::<f32>().unwrap().is_empty());
    let one = Tensor::ones([1, 1, 1, 1]);
    assert_eq!(one.max_pool2d(1, 1, 0).item().unwrap(), 1.0);
    assert_eq!(one.avg_pool2d(2, 1, 1).to_vec::<f32>().unwrap(), [0.25; 4]);
}

#[test]
fn derivatives_of_pooling_and_resampling() {
    let mut rng = Rng::seed(5);
    let x = [normal(&mut rng, &[2, 2, 5, 6])];
    derivatives(&x, |x| x[0].square().max_pool2d(3, 2, 1).square());
    derivatives(&x, |x| x[0].square().max_pool2d([5, 6], 1, [2, 3]).square());
    derivatives(&x, |x| x[0].avg_pool2d(3, 2, 1).exp());
    derivatives(&x, |x| x[0].avg_pool2d(2, 2, 0).exp());
    derivatives(&x, |x| x[0].avg_pool2d(2, 3, 0).exp());
    derivatives(&x, |x| x[0].global_max_pool().exp());
    for mode in [Nearest, Bilinear { align_corners: false }, Bilinear { align_corners: true }] {
        derivatives(&x, |x| x[0].interpolate([10, 12], mode).exp());
        derivatives(&x, |x| x[0].interpolate_scale(0.7, mode).exp());
    }
    derivatives(&x, |x| x[0].reshape([1, 4, 5, 6]).pixel_shuffle(2).exp());
}

#[test]
fn derivatives_of_normalization() {
    let mut rng = Rng::seed(6);
    let x = normal(&mut rng, &[3, 4, 2, 3]);
    let (g, b) = (normal(&mut rng, &[4]), normal(&mut rng, &[4]));
    let var = normal(&mut rng, &[4]).square() + 0.3;
    let xs = [x.clone(), g.clone(), b.clone()];
    derivatives(&xs, |x| x[0].batch_norm(Some(&x[1]), Some(&x[2]), 1e-2).0);
    derivatives(&xs, |x| x[0].batch_norm(None, None, 1e-2).1.unbiased_var + &x[1] * &x[2]);
    derivatives(&xs, |x| x[0].group_norm(2, Some(&x[1]), Some(&x[2]), 1e-2));
    derivatives(&xs, |x| x[0].instance_norm(Some(&x[1]), Some(&x[2]), 1e-2));
    derivatives(&[x.clone(), g.clone(), var], |x| {
        x[0].batch_norm_eval(&x[1], &x[2], Some(&x[1]), None, 1e-2)
    });
    let (gl, bl) = (normal(&mut rng, &[2, 3]), normal(&mut rng, &[2, 3]));
    derivatives(&[x, gl, bl], |x| x[0].layer_norm([2, 3], Some(&x[1]), Some(&x[2]), 1e-2));
}

#[test]
fn batch_statistics_are_those_of_the_batch() {
    let x = image();
    let (y, stats) = x.batch_norm(None, None, 0.0);
    let close = |a: &Tensor, b: &Tensor| {
        let worst = (a - b).abs().max(..).item().unwrap();
        assert!(worst < 1e-14, "{worst}");
    };
    close(&stats.mean, &x.mean([0, 2, 3]));
    close(&stats.var, &x.var([0, 2, 3], 0));
    close(&stats.unbiased_var, &x.var([0, 2, 3], 1));
    close(&y.var([0, 2, 3], 0), &stats.var.ones_like());
    close(&x.batch_norm_eval(&stats.mean, &stats.var, None, None, 0.0), &y);
}

#[test]
fn normalization_far_from_zero_keeps_its_digits() {
    // A mean of 10⁸ and deviations of 1: with squares of raw values nothing would be left.
    let x = image();
    let far = (&x + 1e8) - 1e8;
    let error = ((&x + 1e8).batch_norm(None, None, 1e-5).0 - far.batch_norm(None, None, 1e-5).0).abs();
    assert!(error.max(..).item().unwrap() < 1e-7);
}

#[test]
fn nothing_normalizes_to_nothing() {
    let none = Tensor::zeros([0, 3, 4]);
    assert!(none.batch_norm(None, None, 1e-5).0.to_vec::<f32>().unwrap().is_empty());
    assert!(none.layer_norm(4, None, None, 1e-5).to_vec::<f32>().unwrap().is_empty());
    assert!(none.group_norm(3, None, None, 1e-5).to_vec::<f32>().unwrap().is_empty());
    let flat = Tensor::zeros([2, 3, 0]);
    assert!(flat.instance_norm(None, None, 1e-5).to_vec::<f32>().unwrap().is_empty());
    assert_eq!(*Tensor::zeros([2, 3]).batch_norm(None, None, 1e-5).0.shape(), [2, 3]);
}

#[test]
fn dropout_keeps_the_mean_and_drops_its_share() {
    let mut rng = Rng::seed(9);
    let x = Tensor::ones([200, 50, 4]);
    for p in [0.1, 0.5, 0.9] {
        let y = x.dropout(&mut rng, p, true).to_vec::<f32>().unwrap();
        let kept = y.iter().filter(|v| **v != 0.0).count() as f64 / y.len() as f64;
        assert!((kept - (1.0 - p)).abs() < 0.01, "{kept} of {p}");
        assert!(y.iter().all(|&v| v == 0.0 || (f64::from(v) - 1.0 / (1.0 - p)).abs() < 1e-5));
        let y = x.dropout2d(&mut rng, p, true).to_vec::<f32>().unwrap();
        assert!(y.chunks(4).all(|c| c.iter().all(|v| *v == c[0])), "a channel is dropped as a whole");
        let kept = y.iter().filter(|v| **v != 0.0).count() as f64 / y.len() as f64;
        assert!((kept - (1.0 - p)).abs() < 0.02, "{kept} of {p}");
    }
}

#[test]
fn alpha_dropout_keeps_mean_and_variance() {
    let mut rng = Rng::seed(10);
    let y = rng.normal([100_000]).alpha_dropout(&mut rng, 0.3, true);
    assert!(y.mean(..).item().unwrap().abs() < 0.02);
    assert!((y.var(.., 0).item().unwrap() - 1.0).abs() < 0.02);
}

#[test]
fn dropout_at_its_ends() {
    let mut rng = Rng::seed(9);
    let state = rng.state();
    let x = Tensor::from([1.0f64, f64::INFINITY, -2.0]);
    assert_eq!(bits(&x.dropout(&mut rng, 0.7, false)), bits(&x));
    assert_eq!(bits(&x.dropout(&mut rng, 0.0, true)), bits(&x));
    assert_eq!(rng.state(), state, "nothing was drawn");
    for f in [Tensor::dropout, Tensor::alpha_dropout] {
        let all = f(&x, &mut rng, 1.0, true);
        assert_eq!(all.to_vec::<f64>().unwrap(), [0.0; 3]);
        assert_eq!(grad(&all.sum(..), [&x])[0].to_vec::<f64>().unwrap(), [0.0; 3]);
    }
    let y = x.dropout(&mut rng, 0.5, true);
    let slope = grad(&y.sum(..), [&x]).remove(0).to_vec::<f64>().unwrap();
    for (y, slope) in y.to_vec::<f64>().unwrap().iter().zip(slope) {
        assert_eq!(slope, if *y == 0.0 { 0.0 } else { 2.0 });
    }
}

/// What is wrong with `f`, in the words of its error.
fn refused<T>(f: impl FnOnce() -> T) -> String {
    match gradus::build(f) {
        Ok(_) => panic!("should have been refused"),
        Err(e) => e.to_string(),
    }
}

#[test]
fn mistakes_are_named() {
    let x = Tensor::zeros([2, 6, 5, 5]);
    let c5 = Tensor::zeros([5]);
    let says = |text: String, part: &str| assert!(text.contains(part), "{text:?} lacks {part:?}");
    says(refused(|| x.max_pool2d(6, 1, 0)), "larger than the padded input");
    says(refused(|| x.max_pool2d(2, 0, 0)), "at least 1");
    says(refused(|| x.avg_pool2d(2, 1, 2)), "half the kernel");
    says(refused(|| x.avg_pool2d([2, 2, 2], 1, 0)), "one number or two");
    says(refused(|| x.flatten(2).avg_pool2d(2, 1, 0)), "[n, c, h, w]");
    says(refused(|| x.max_pool1d(2, 1, 0)), "[n, c, l]");
    says(refused(|| Tensor::zeros([1, 1, 0]).global_max_pool()), "no element");
    says(refused(|| x.batch_norm(Some(&c5), None, 0.1)), "weight");
    says(refused(|| x.batch_norm(None, Some(&Tensor::zeros([6]).to(DType::F64)), 0.1)), "bias");
    says(refused(|| Tensor::zeros([1, 6]).batch_norm(None, None, 0.1)), "one element per channel");
    says(refused(|| x.layer_norm([6, 5], None, None, 0.1)), "last extents");
    says(refused(|| x.group_norm(4, None, None, 0.1)), "do not divide");
    says(refused(|| x.interpolate(0, Nearest)), "may be 0");
    says(refused(|| x.interpolate_scale(-1.0, Nearest)), "positive");
    says(refused(|| x.pixel_shuffle(2)), "divide by 2²");
    says(refused(|| x.pixel_unshuffle(2)), "divide by 2");
    says(refused(|| x.dropout(&mut Rng::seed(0), 1.5, true)), "between 0 and 1");
    says(refused(|| x.dropout(&mut Rng::seed(0), f64::NAN, true)), "between 0 and 1");
}
