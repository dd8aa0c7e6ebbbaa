//! Metrics against plain loops and hand-computed values, and, where MNIST and the feature net are present, against the
//! figures of the reference implementation (PyTorch and NumPy).
//!
//! The data are looked for in `$GRADUS_DATA`, else in `../shared/data`; without them those tests say so and pass. A set
//! `GRADUS_DATA` that does not hold them is a failure.

use gradus::linalg::{Covariance, row_products, symmetric_sqrt};
use gradus::metrics::{self, FeatureNet, KidOptions, LinearProbe, SampleReport};
use gradus::{Rng, Tensor, grad};
use gradus_kernels::DType;

#[track_caller]
fn close(what: &str, got: f64, want: f64, tolerance: f64) {
    println!("{what}: {got:.6} (reference {want})");
    assert!((got - want).abs() <= tolerance, "{what}: {got}, reference {want} +- {tolerance}");
}

fn normal(shape: &[usize], seed: u64) -> Tensor {
    Rng::seed(seed).normal_of(shape, DType::F64)
}

fn values(t: &Tensor) -> Vec<f64> {
    t.to_vec().unwrap()
}

fn refused<T: std::fmt::Debug>(r: gradus::Result<T>) -> String {
    r.unwrap_err().to_string()
}

#[test]
fn square_roots_of_matrices() {
    for (n, rank) in [(0, 0), (1, 1), (3, 3), (8, 8), (33, 33), (20, 5)] {
        let r = if n == 0 { vec![] } else { values(&normal(&[n, rank], n as u64)) };
        let a = if n == 0 { vec![] } else { row_products(&r, &r, rank) };
        let root = symmetric_sqrt(&a, n).unwrap();
        let norm = a.iter().fold(1e-300f64, |m, x| m.max(x.abs()));
        for k in 0..n * n {
            let (i, j) = (k / n, k % n);
            let square: f64 = (0..n).map(|l| root[i * n + l] * root[l * n + j]).sum();
            assert!((square - a[k]).abs() < 1e-13 * norm * (n + 8) as f64, "{n}, rank {rank}: ({i}, {j})");
            assert!((root[k] - root[j * n + i]).abs() < 1e-13 * norm.sqrt(), "{n}: not symmetric");
        }
        // Of both signs of a root it is the positive one.
        let trace: f64 = (0..n).map(|i| root[i * n + i]).sum();
        assert!(n == 0 || trace > 0.0);
    }
    let message = refused(symmetric_sqrt(&[f64::NAN], 1));
    assert!(message.contains("(0, 0)"), "{message}");
}

/// The distance of rows to themselves turned, scaled and moved is known.
#[test]
fn frechet_distances_in_closed_form() {
    let x = normal(&[400, 3], 1) * Tensor::from([3.0, 1.0, 0.5]);
    let x = &x - x.mean_keepdim(0);
    assert!(metrics::fid(&x, &x).unwrap() < 1e-10);
    let trace = values(&x.var(0, 1)).iter().sum::<f64>();
    let moved = &x * 1.5 + Tensor::from([1.0, -2.0, 4.0]);
    // (1.5 - 1)² of the trace, and 1 + 4 + 16.
    close("scaled and moved", metrics::fid(&x, &moved).unwrap(), 0.25 * trace + 21.0, 1e-9);
    close("the other way", metrics::fid(&moved, &x).unwrap(), 0.25 * trace + 21.0, 1e-9);

    // Two by two that do not commute: the trace of the root of M is sqrt(tr M + 2 sqrt(det M)).
    let a = normal(&[300, 2], 2).matmul(&Tensor::from([[1.0, 2.0], [0.0, 1.0]]));
    let b = normal(&[500, 2], 3).matmul(&Tensor::from([[0.3, -1.0], [1.0, 0.2]])) + 0.5;
    let moments = |t: &Tensor| {
        let mut c = Covariance::new(2);
        values(t).chunks(74).for_each(|rows| c.add(rows));
        c
    };
    let (ma, mb) = (moments(&a), moments(&b));
    let (ca, cb) = (ma.covariance(1), mb.covariance(1));
    let product = |i: usize, j: usize| ca[2 * i] * cb[j] + ca[2 * i + 1] * cb[2 + j];
    let det = product(0, 0) * product(1, 1) - product(0, 1) * product(1, 0);
    let overlap = (product(0, 0) + product(1, 1) + 2.0 * det.sqrt()).sqrt();
    let apart: f64 = ma.mean().iter().zip(mb.mean()).map(|(x, y)| (x - y).powi(2)).sum();
    let want = apart + ca[0] + ca[3] + cb[0] + cb[3] - 2.0 * overlap;
    close("two by two", metrics::fid(&a, &b).unwrap(), want, 1e-10);
    close("by moments", metrics::frechet_distance(&ma, &mb).unwrap(), want, 1e-10);

    // Fewer rows than columns: singular covariances.
    assert!(metrics::fid(&normal(&[3, 9], 4), &normal(&[4, 9], 5)).unwrap() > 0.0);
    assert!(refused(metrics::fid(&x, &normal(&[9, 2], 1))).contains("2"));
    assert!(refused(metrics::fid(&x, &normal(&[1, 3], 1))).contains("too few"));
    assert!(refused(metrics::fid(&x, &(&x * f64::NAN))).contains("NaN"));
    assert!(refused(metrics::fid(&x, &Tensor::arange(4))).contains("u32"));
    assert!(refused(metrics::frechet_distance(&ma, &Covariance::new(2))).contains("0 rows"));
}

fn rows(t: &Tensor) -> Vec<Vec<f64>> {
    values(t).chunks(t.shape()[1]).map(<[f64]>::to_vec).collect()
}

fn squared_distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| (x - y).powi(2)).sum()
}

#[test]
fn neighbours_as_in_plain_loops() {
    let radius = |set: &[Vec<f64>], i: usize, k: usize| {
        let others = (0..set.len()).filter(|&j| j != i);
        let mut d: Vec<f64> = others.map(|j| squared_distance(&set[i], &set[j])).collect();
        d.sort_by(f64::total_cmp);
        d[k - 1]
    };
    // Ragged sizes; the last pair are small whole numbers, with ties and equal rows in abundance.
    let whole = |n: usize, seed: u64| (normal(&[n, 2], seed) * 1.5).round();
    let cases = [
        (normal(&[203, 3], 1), normal(&[157, 3], 2) + 0.3, 1),
        (normal(&[203, 3], 1), normal(&[157, 3], 2) * 2.0, 5),
        (normal(&[101, 64], 3), normal(&[99, 64], 4), 3),
        (whole(120, 5), whole(150, 6), 4),
    ];
    for (case, (real, fake, k)) in cases.into_iter().enumerate() {
        let got = metrics::prdc(&real, &fake, k).unwrap();
        let (real, fake) = (rows(&real), rows(&fake));
        let real_balls: Vec<f64> = (0..real.len()).map(|i| radius(&real, i, k)).collect();
        let fake_balls: Vec<f64> = (0..fake.len()).map(|i| radius(&fake, i, k)).collect();
        let in_real = |i: usize, j: usize| squared_distance(&real[i], &fake[j]) < real_balls[i];
        let in_fake = |i: usize, j: usize| squared_distance(&real[i], &fake[j]) < fake_balls[j];
        let (all_real, all_fake) = (0..real.len(), 0..fake.len());
        let share = |n: usize, of: usize| n as f64 / of as f64;
        let precise = all_fake.clone().filter(|&j| all_real.clone().any(|i| in_real(i, j))).count();
        let recalled = all_real.clone().filter(|&i| all_fake.clone().any(|j| in_fake(i, j))).count();
        let covered = all_real.clone().filter(|&i| all_fake.clone().any(|j| in_real(i, j))).count();
        let held = all_real.clone().flat_map(|i| all_fake.clone().map(move |j| (i, j)));
        let density = held.filter(|&(i, j)| in_real(i, j)).count();
        assert_eq!(got.precision, share(precise, fake.len()), "case {case}");
        assert_eq!(got.recall, share(recalled, real.len()), "case {case}");
        assert_eq!(got.coverage, share(covered, real.len()), "case {case}");
        close("density", got.density, share(density, k * fake.len()), 1e-12);
        assert!(got.precision > 0.1 && got.coverage > 0.1, "case {case} shows nothing: {got:?}");
    }
    // More copies of a row than neighbours: its ball is a point, which holds nothing.
    let copies = Tensor::from([1.5f32; 64]).expand([9, 64]);
    let spread = normal(&[20, 64], 7).to(DType::F32);
    assert_eq!(metrics::prdc(&copies, &spread, 3).unwrap().coverage, 0.0);
    assert_eq!(metrics::prdc(&copies, &copies, 3).unwrap().precision, 0.0);
    assert!(refused(metrics::prdc(&copies, &spread, 9)).contains("number 9"));
}

#[test]
fn kernel_distances_as_in_plain_loops() {
    let (real, fake) = (normal(&[43, 5], 1) * 2.0, normal(&[43, 5], 2) * 3.0 + 0.5);
    for unit_variance in [false, true] {
        // Subsets of all rows: nothing is left to chance.
        let options = KidOptions { subsets: 3, size: 1000, unit_variance, seed: 4 };
        let got = metrics::kid(&real, &fake, &options).unwrap();
        let scale = if unit_variance { values(&real.var(0, 0).mean(..))[0] } else { 1.0 };
        let (x, y) = (rows(&real), rows(&fake));
        let kernel = |a: &[f64], b: &[f64]| {
            (a.iter().zip(b).map(|(x, y)| x * y / scale).sum::<f64>() / 5.0 + 1.0).powi(3)
        };
        let mut want = 0.0;
        for i in 0..43 {
            for j in 0..43 {
                if i != j {
                    want += (kernel(&x[i], &x[j]) + kernel(&y[i], &y[j])) / (43.0 * 42.0);
                }
                want -= 2.0 * kernel(&x[i], &y[j]) / (43.0 * 43.0);
            }
        }
        close("kernel distance", got.mean, want, 1e-9 * want.abs().max(1.0));
        assert!(got.error < 1e-9 * want.abs().max(1.0), "equal subsets differ by {}", got.error);
    }
    // Unbiased: about 0 for equal distributions, by its own standard error.
    let (a, b) = (normal(&[4000, 6], 5), normal(&[4000, 6], 6));
    let same = metrics::kid(&a, &b, &KidOptions { size: 200, ..KidOptions::default() }).unwrap();
    assert!(same.mean.abs() < 5.0 * same.error, "{same:?}");
    let other = metrics::kid(&a, &(b * 1.2), &KidOptions { size: 200, ..KidOptions::default() }).unwrap();
    assert!(other.mean > 10.0 * other.error, "{other:?}");
    let equal = Tensor::full([9, 2], 0.1);
    assert!(refused(metrics::kid(&equal, &a.slice(1, 0..2), &KidOptions::default())).contains("scale"));
}

#[test]
fn parzen_windows_as_in_plain_loops() {
    let (samples, valid, test) = (normal(&[70, 3], 1), normal(&[51, 3], 2), normal(&[103, 3], 3));
    let widths = [0.05, 0.3, 0.6, 3.0];
    let got = metrics::parzen(&samples, &valid, &test, &widths).unwrap();
    let log_density = |point: &[f64], width: f64| {
        let density = |s: &Vec<f64>| (-squared_distance(point, s) / (2.0 * width * width)).exp();
        let sum: f64 = rows(&samples).iter().map(density).sum();
        (sum / 70.0).ln() - 1.5 * (std::f64::consts::TAU * width * width).ln()
    };
    let mean = |points: &Tensor, width: f64| {
        let logs: Vec<f64> = rows(points).iter().map(|p| log_density(p, width)).collect();
        logs.iter().sum::<f64>() / logs.len() as f64
    };
    let best = widths.into_iter().max_by(|&a, &b| mean(&valid, a).total_cmp(&mean(&valid, b))).unwrap();
    assert_eq!(got.width, best);
    close("parzen", got.nats.mean, mean(&test, best), 1e-12);
    // Far from every sample nothing underflows.
    let far = metrics::parzen(&samples, &valid, &(&test + 1e4), &[0.1]).unwrap();
    assert!(far.nats.mean < -1e9 && far.nats.mean.is_finite());
    let widths = metrics::parzen_widths();
    close("fourth width", widths[3], 10f64.powf(-2.0 / 3.0), 1e-15);
    assert!(refused(metrics::parzen(&samples, &valid, &normal(&[4, 2], 1), &[0.1])).contains("[3, 3, 2]"));
}

#[test]
fn peak_signal_to_noise_ratios() {
    let a = Tensor::zeros([3, 1, 2, 2]).to(DType::F64);
    let b = Tensor::from([[0.1f64; 4], [0.5, 0.0, 0.0, 0.0], [0.0; 4]]).reshape([3, 1, 2, 2]);
    let got = values(&metrics::psnr(&a, &b, 1.0));
    // -10 log10 of .01, of .25/4, and the limit.
    [20.0, 12.041199826559248, 100.0].iter().zip(got).for_each(|(w, g)| close("psnr", g, *w, 1e-12));
    let got = values(&metrics::psnr(&(a * 255.0), &(b * 255.0), 255.0));
    close("psnr of bytes", got[0], 20.0, 1e-12);
    let bad = gradus::build(|| metrics::psnr(&Tensor::ones([2, 3]), &Tensor::ones([2, 4]), 1.0));
    assert!(refused(bad).contains("[2, 4]"));
}

/// Eq. 13 of the paper, window by window.
fn plain_ssim(a: &[f64], b: &[f64], [h, w]: [usize; 2], range: f64) -> f64 {
    let weight = |i: usize, j: usize| {
        let d = |i: usize| (i as f64 - 5.0).powi(2);
        (-(d(i) + d(j)) / 4.5).exp()
    };
    let total: f64 = (0..121).map(|k| weight(k / 11, k % 11)).sum();
    let mut sum = 0.0;
    for (top, left) in (0..h - 10).flat_map(|i| (0..w - 10).map(move |j| (i, j))) {
        let mean = |f: &dyn Fn(f64, f64) -> f64| {
            let term = |k: usize| {
                let at = (top + k / 11) * w + left + k % 11;
                weight(k / 11, k % 11) / total * f(a[at], b[at])
            };
            (0..121).map(term).sum::<f64>()
        };
        let (ma, mb) = (mean(&|a, _| a), mean(&|_, b| b));
        let (va, vb) = (mean(&|a, _| (a - ma).powi(2)), mean(&|_, b| (b - mb).powi(2)));
        let both = mean(&|a, b| (a - ma) * (b - mb));
        let (c1, c2) = ((0.01 * range).powi(2), (0.03 * range).powi(2));
        sum += (2.0 * ma * mb + c1) * (2.0 * both + c2) / ((ma * ma + mb * mb + c1) * (va + vb + c2));
    }
    sum / ((h - 10) * (w - 10)) as f64
}

#[test]
fn structural_similarity() {
    let a = Rng::seed(1).uniform_of([2, 3, 13, 12], DType::F64);
    let b = (&a + normal(&[2, 3, 13, 12], 2) * 0.2).clamp(0.0, 1.0);
    for range in [1.0, 2.0] {
        let got = values(&metrics::ssim(&a, &b, range));
        let (va, vb) = (values(&a), values(&b));
        for (i, got) in got.into_iter().enumerate() {
            let plane = |p: usize| (3 * i + p) * 156..(3 * i + p + 1) * 156;
            let want =
                (0..3).map(|p| plain_ssim(&va[plane(p)], &vb[plane(p)], [13, 12], range)).sum::<f64>() / 3.0;
            close("ssim", got, want, 1e-12);
        }
    }
    close("ssim of equals", values(&metrics::ssim(&a, &a, 1.0))[1], 1.0, 1e-12);
    // Of even grey only the means are left: (2 x 0.2 x 0.6 + 1e-4) / (0.04 + 0.36 + 1e-4).
    let grey = |v: f64| Tensor::from(v).expand([1, 1, 11, 11]);
    close(
        "ssim of greys",
        metrics::ssim(&grey(0.2), &grey(0.6), 1.0).item().unwrap(),
        0.60009997500625,
        1e-12,
    );
    // A loss, too: its slope along a direction.
    let direction = normal(&[2, 3, 13, 12], 3);
    let mean = |t: f64| metrics::ssim(&(&a + &direction * t), &b, 1.0).mean(..).item().unwrap();
    let x = &a + 0.0;
    let slope = &grad(&metrics::ssim(&x, &b, 1.0).mean(..), [&x])[0];
    let slope = (slope * &direction).sum(..).item().unwrap();
    close("slope of ssim", slope, (mean(1e-5) - mean(-1e-5)) / 2e-5, 1e-7);
    let bad =
        gradus::build(|| metrics::ssim(&Tensor::ones([1, 1, 10, 28]), &Tensor::ones([1, 1, 10, 28]), 1.0));
    assert!(refused(bad).contains("at least 11"));
}

/// The boundary of two classes on a line, against a descent on the same objective in plain numbers.
#[test]
fn the_probe_is_the_minimum_of_its_objective() {
    let x = [-2.0, -0.7, 0.1, 0.4, 1.3, 0.2, 2.5, 3.0f64];
    let labels = [0u32, 0, 0, 0, 0, 1, 1, 1];
    let features = Tensor::from_vec(x.to_vec(), [8, 1]);
    for c in [0.01, 0.5, 20.0] {
        let probe = LinearProbe::fit(&features, &labels, 2, c).unwrap();
        let (mut w, mut b) = (0.0, 0.0);
        for _ in 0..200_000 {
            let (mut gw, mut gb) = (w, b);
            for (x, label) in x.iter().zip(labels) {
                let y = if label == 1 { 1.0 } else { -1.0 };
                let miss = (1.0f64 - y * (w * x + b)).max(0.0);
                gw -= 2.0 * c * miss * y * x;
                gb -= 2.0 * c * miss * y;
            }
            let rate = 0.5 / (1.0 + 2.0 * c * 40.0);
            (w, b) = (w - rate * gw, b - rate * gb);
        }
        // With two classes the scores of both are opposite, and the boundary is where they are 0.
        let boundary = -b / w;
        let near = Tensor::from([[boundary - 1e-5], [boundary + 1e-5]]);
        let mut sides = [0, 1];
        if w < 0.0 {
            sides.reverse();
        }
        assert_eq!(probe.predict(&near).unwrap(), sides, "c = {c}: boundary {boundary}");
    }
    // Three far clouds are told apart, in f32 and with axes to flatten.
    let labels: Vec<u32> = (0..150).map(|i| i % 3).collect();
    let centres = Tensor::from(labels.clone()).one_hot(3).reshape([150, 3, 1, 1]) * 9.0;
    let clouds = centres + Rng::seed(5).normal([150, 3, 1, 1]);
    let probe = LinearProbe::fit(&clouds, &labels, 3, 1.0).unwrap();
    assert_eq!(probe.accuracy(&clouds, &labels).unwrap(), 1.0);
    assert!(refused(LinearProbe::fit(&clouds, &labels, 2, 1.0)).contains("label 2"));
    assert!(refused(LinearProbe::fit(&clouds, &labels[1..], 3, 1.0)).contains("149 labels"));
    assert!(refused(probe.predict(&Tensor::ones([2, 4]))).contains("knows 3"));
}

/// The file of a net whose every value is a function of its place.
fn net_file(value: impl Fn(usize, usize) -> f32) -> Vec<u8> {
    let shapes: [&[u32]; 8] =
        [&[16, 1, 3, 3], &[16], &[32, 16, 3, 3], &[32], &[64, 1568], &[64], &[10, 64], &[10]];
    let mut bytes = Vec::new();
    for (p, shape) in shapes.iter().enumerate() {
        bytes.extend((shape.len() as u32).to_le_bytes());
        shape.iter().for_each(|d| bytes.extend(d.to_le_bytes()));
        let count: u32 = shape.iter().product();
        (0..count as usize).for_each(|k| bytes.extend(value(p, k).to_le_bytes()));
    }
    bytes
}

#[test]
fn a_net_that_is_damaged_is_refused() {
    let good = net_file(|_, k| k as f32);
    assert_eq!(good.len(), 423_560);
    assert!(FeatureNet::from_bytes(&good).is_ok());
    let message = |bytes: &[u8]| refused(FeatureNet::from_bytes(bytes).map(|_| ()));
    for cut in [0, 3, 10, 700, 423_559] {
        assert!(message(&good[..cut]).contains("are left"), "cut at {cut}: {}", message(&good[..cut]));
    }
    assert!(message(&good[..700]).contains("c2.weight"));
    let with = |at: usize, word: [u8; 4]| {
        let mut bad = good.clone();
        bad[at..at + 4].copy_from_slice(&word);
        message(&bad)
    };
    assert!(with(0, 5u32.to_le_bytes()).contains("5 axes"));
    assert!(with(4, u32::MAX.to_le_bytes()).contains("[4294967295, 1, 3, 3]"));
    assert!(
        with(24, f32::NAN.to_le_bytes()).contains("c1.weight")
            && with(24, f32::NAN.to_le_bytes()).contains("NaN")
    );
    let mut long = good.clone();
    long.push(0);
    assert!(message(&long).contains("1 bytes follow"));
    let missing = FeatureNet::load(std::path::Path::new("/nowhere/fidnet.bin")).map(|_| ());
    assert!(refused(missing).contains("/nowhere/fidnet.bin"));
}

#[test]
fn a_report_of_samples() {
    // Weights that are small and scattered: the net says something, though nothing sensible.
    let scattered = |p: usize, k: usize| (((k * 2_654_435_761 + p * 977) % 1009) as f32 / 1009.0 - 0.5) * 0.3;
    let net = FeatureNet::from_bytes(&net_file(scattered)).unwrap();
    let pictures = Rng::seed(1).uniform([1207, 784]);
    let real = net.measure(&pictures.slice(0, 0..600)).unwrap();
    // In batches or at once, flat or not, the same.
    let at_once = net.features(&pictures.slice(0, 0..600).reshape([600, 1, 28, 28]));
    assert!((at_once - &real.features).abs().max(..).item().unwrap() < 1e-4);
    let samples = pictures.slice(0, 600..1207) * 0.9;
    let report = SampleReport::new(&net, &samples, &real.features).unwrap();
    let measured = net.measure(&samples).unwrap();
    assert_eq!(report, SampleReport::of_measured(&measured, &real.features).unwrap());
    assert_eq!(report.fid, metrics::fid(&real.features, &measured.features).unwrap());
    let near = metrics::prdc(&real.features, &measured.features, 5).unwrap();
    assert_eq!((report.precision, report.coverage), (near.precision, near.coverage));
    let names: Vec<&str> = report.pairs().iter().map(|p| p.0).collect();
    let want =
        ["fid", "kid", "precision", "recall", "density", "coverage", "classes", "entropy", "confident"];
    assert_eq!(names, want);
    let text = report.to_string();
    assert!(text.starts_with("fid ") && text.contains(&format!("classes {}", report.classes)), "{text}");
    assert!(refused(SampleReport::new(&net, &samples.slice(0, 0..3), &real.features)).contains("neighbour"));
}

#[cfg(feature = "files")]
mod with_data {
    use super::*;
    use gradus::data::{Digits, Images, Split, binarize, idx};
    use gradus::metrics::Measured;
    use std::path::PathBuf;
    use std::sync::OnceLock;

    struct Data {
        net: FeatureNet,
        mnist: Split,
        /// The 10,000 test images.
        test: Measured,
        /// The first 10,000 training images.
        train: Measured,
    }

    /// The pictures of a range, values 0 to 1.
    fn unit(images: &Images, range: std::ops::Range<usize>) -> Tensor {
        let n = range.len();
        let pixels: Vec<f32> = images.slice(range).pixels.iter().map(|&v| f32::from(v) / 255.0).collect();
        Tensor::from_vec(pixels, [n, 1, 28, 28])
    }

    fn data() -> Option<&'static Data> {
        static DATA: OnceLock<Option<Data>> = OnceLock::new();
        let load = || {
            let given = std::env::var_os("GRADUS_DATA").map(PathBuf::from);
            let shared = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
            let folder = given.clone().unwrap_or(shared);
            if given.is_none() && !folder.join("fidnet").exists() {
                println!(
                    "skipped: no feature net in {}; set GRADUS_DATA to the folder that holds mnist/ and fidnet/",
                    folder.display()
                );
                return None;
            }
            let net = FeatureNet::load(&folder.join("fidnet/fidnet.bin")).unwrap();
            let mnist = idx::mnist(&folder.join("mnist")).unwrap();
            let test = net.measure(&unit(&mnist.test, 0..10_000)).unwrap();
            let train = net.measure(&unit(&mnist.train, 0..10_000)).unwrap();
            Some(Data { net, mnist, test, train })
        };
        DATA.get_or_init(load).as_ref()
    }

    fn labels(images: &Images) -> &[u32] {
        images.labels.as_deref().unwrap()
    }

    #[test]
    fn the_feature_net_passes_its_self_test() {
        let Some(data) = data() else { return };
        let first = data.net.features(&unit(&data.mnist.test, 0..1));
        let features = first.to_vec::<f32>().unwrap();
        let want = [0.11731, 2.67572, -3.50975, -1.18527, 0.27195, -11.79006];
        want.iter().zip(features).for_each(|(w, f)| close("feature", f.into(), *w, 2e-5));
        let logits = data.net.logits(&first).to_vec::<f32>().unwrap();
        let want = [-8.4268, -3.5177, 0.0038, 1.685, -10.0853, -6.9594, -19.2079, 12.5607, -6.0833, -1.6313];
        want.iter().zip(logits).for_each(|(w, l)| close("logit", l.into(), *w, 1e-4));
        close("test accuracy", data.test.accuracy(labels(&data.mnist.test)).unwrap(), 0.9890, 1e-9);
    }

    #[test]
    fn real_images_have_the_reference_scores() {
        let Some(data) = data() else { return };
        let real = &data.test.features;
        let got = SampleReport::of_measured(&data.train, real).unwrap();
        println!("{got}");
        close("FID of train[0:10000]", got.fid, 3.50898, 0.002);
        close("precision", got.precision, 0.9368, 6e-4);
        close("recall", got.recall, 0.9416, 6e-4);
        close("density", got.density, 0.90176, 6e-4);
        close("coverage", got.coverage, 0.9126, 6e-4);
        assert_eq!(got.classes, 10);
        assert!(got.kid.abs() < 0.05, "scaled kernel distance {}", got.kid);
    }

    /// Memorised pictures: a low FID, which coverage and recall give away.
    #[test]
    fn repeated_images_have_the_reference_scores() {
        let Some(data) = data() else { return };
        let ten = |t: &Tensor| {
            let part = t.slice(0, 0..1000);
            Tensor::cat(&vec![part; 10], 0)
        };
        let repeated =
            Measured { features: ten(&data.train.features), probabilities: ten(&data.train.probabilities) };
        let got = SampleReport::of_measured(&repeated, &data.test.features).unwrap();
        println!("{got}");
        close("FID of 1,000 images ten times", got.fid, 15.73316, 0.005);
        close("precision", got.precision, 0.933, 6e-4);
        close("recall", got.recall, 0.592, 6e-4);
        close("density", got.density, 0.8694, 6e-4);
        close("coverage", got.coverage, 0.459, 6e-4);
        close("entropy", got.entropy, 2.29809, 1e-4);
        close("confident", got.confident, 0.958, 1e-9);
        assert_eq!(got.classes, 10);
    }

    /// The published kernel, without a scale, was measured over 20 random subsets: the tolerance is their spread.
    #[test]
    fn binarised_images_have_the_reference_scores() {
        let Some(data) = data() else { return };
        let black_or_white = binarize::sbin_images(&data.mnist.train.slice(0..10_000), 0);
        let got = data.net.measure(&unit(&black_or_white, 0..10_000)).unwrap();
        close(
            "FID of binarised images",
            metrics::fid(&data.test.features, &got.features).unwrap(),
            38.46296,
            0.01,
        );
        let options = KidOptions { subsets: 20, unit_variance: false, ..KidOptions::default() };
        let kid = metrics::kid(&data.test.features, &got.features, &options).unwrap();
        println!("kernel distance {kid:?}");
        close("kernel distance of binarised images", kid.mean, 8394.6, 5.0 * kid.error);
    }

    /// Pixels of 4x4 averages: the reference's row "nearest".
    #[test]
    fn enlarged_images_have_the_reference_similarity() {
        let Some(data) = data() else { return };
        let (mut psnr, mut ssim) = (0.0, 0.0);
        for start in (0..10_000).step_by(500) {
            let x = unit(&data.mnist.test, start..start + 500);
            let small = x.avg_pool2d(4, 4, 0);
            let large = small.repeat_interleave(2, 4).repeat_interleave(3, 4);
            psnr += metrics::psnr(&large, &x, 1.0).sum(..).item().unwrap() / 10_000.0;
            ssim += metrics::ssim(&large, &x, 1.0).sum(..).item().unwrap() / 10_000.0;
        }
        close("PSNR", psnr, 13.96805, 2e-4);
        close("SSIM", ssim, 0.42539, 2e-5);
    }

    /// scikit-learn's LinearSVC(C = .01) on the same 1,000 labels.
    #[test]
    fn a_probe_of_raw_pixels_has_the_reference_error() {
        let Some(data) = data() else { return };
        let x = unit(&data.mnist.train, 0..1000);
        let probe = LinearProbe::fit(&x, &labels(&data.mnist.train)[..1000], 10, 0.01).unwrap();
        let accuracy = probe.accuracy(&unit(&data.mnist.test, 0..10_000), labels(&data.mnist.test)).unwrap();
        close("test error of raw pixels", 1.0 - accuracy, 0.1387, 3e-4);
    }

    /// Drawn digits are digits to a net that has seen handwriting only: 91.65 % when their settings were chosen.
    #[test]
    fn drawn_digits_are_recognised() {
        let Some(data) = data() else { return };
        let digits = Digits::new(1, 10_000).images();
        let measured = data.net.measure(&unit(&digits, 0..10_000)).unwrap();
        let accuracy = measured.accuracy(labels(&digits)).unwrap();
        println!("drawn digits under the feature net: {accuracy:.4} (91.65 % measured before)");
        assert!(accuracy >= 0.90, "{accuracy}");
    }
}
