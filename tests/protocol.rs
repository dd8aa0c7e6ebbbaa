//! Published figures of MNIST that need no training. Each pins part of the protocol that later figures rest on: the
//! scale of the data, the split, binarisation, dequantisation, the units, the kernel density estimate.
//!
//! The data are looked for in `$GRADUS_DATA/mnist`, else in `../shared/data/mnist`; without them these tests say so
//! and pass. A set `GRADUS_DATA` that does not hold them is a failure.
#![cfg(feature = "files")]

use gradus::data::{Images, Split, SplitMix64, binarize, idx};
use gradus::linalg::{Covariance, cholesky, solve_lower, symmetric_eigen};
use gradus_kernels::gemm::{Gemm, gemm};
use gradus_kernels::par;
use rand::Rng;
use sha2::{Digest, Sha256};
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock};

const D: usize = 784;

fn mnist() -> Option<&'static Split> {
    static MNIST: OnceLock<Option<Split>> = OnceLock::new();
    let load = || {
        let given = std::env::var_os("GRADUS_DATA").map(PathBuf::from);
        let folder =
            given.clone().unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data"));
        let folder = folder.join("mnist");
        if given.is_none() && !folder.exists() {
            println!(
                "skipped: no MNIST in {}; set GRADUS_DATA to the folder that holds mnist/",
                folder.display()
            );
            return None;
        }
        Some(idx::mnist(&folder).unwrap())
    };
    MNIST.get_or_init(load).as_ref()
}

/// Runs `f` on 0..n in pieces on all threads and returns the results in order, whatever the number of threads.
fn map_pieces<T: Send>(
    n: usize,
    piece: usize,
    f: impl Fn(std::ops::Range<usize>) -> T + Sync + Send,
) -> Vec<T> {
    let slots: Vec<Mutex<Option<T>>> = (0..n.div_ceil(piece)).map(|_| Mutex::new(None)).collect();
    par::for_each(slots.len(), |p| {
        let made = f(p * piece..n.min((p + 1) * piece));
        *slots[p].lock().unwrap() = Some(made);
    });
    slots.into_iter().map(|s| s.into_inner().unwrap().unwrap()).collect()
}

#[track_caller]
fn close(what: &str, got: f64, want: f64, tolerance: f64) {
    println!("{what}: {got:.5} (reference {want})");
    assert!((got - want).abs() <= tolerance, "{what}: {got}, reference {want} +- {tolerance}");
}

#[test]
fn mnist_is_mnist() {
    let Some(Split { train, test }) = mnist() else { return };
    assert_eq!((train.count, test.count, train.image_len()), (60_000, 10_000, D));
    assert_eq!(train.class_counts(), [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]);
    assert_eq!(test.class_counts(), [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]);
    assert_eq!(test.labels.as_ref().unwrap()[..10], [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]);
    close("train mean", train.mean_std().0, 0.130660, 1e-6);
    close("train standard deviation", train.mean_std().1, 0.308108, 1e-6);
}

/// Black or white, train then test: the pictures of the static binarisation.
fn sbin() -> Option<&'static (Images, Images)> {
    static SBIN: OnceLock<Option<(Images, Images)>> = OnceLock::new();
    let draw =
        || mnist().map(|s| (binarize::sbin_images(&s.train, 0), binarize::sbin_images(&s.test, 60_000)));
    SBIN.get_or_init(draw).as_ref()
}

#[test]
fn the_static_binarisation_has_its_hash() {
    let Some((train, test)) = sbin() else { return };
    let ones = |image: &[u8]| image.iter().filter(|&&v| v == 255).count();
    assert_eq!((ones(train.image(0)), ones(test.image(0))), (107, 69));
    close("mean of train", train.mean_std().0, 0.130668, 1e-6);
    close("mean of test", test.mean_std().0, 0.132450, 1e-6);
    let mut hash = Sha256::new();
    for set in [train, test] {
        // Eight pixels a byte, the first in the highest bit.
        let packed = set.pixels.chunks_exact(8).map(|c| c.iter().fold(0u8, |b, &v| b << 1 | v & 1));
        hash.update(packed.collect::<Vec<u8>>());
    }
    let hash: String = hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(hash, "c5f39b2b5ee485a45091b9a41b7cda4325799c2b4ee50061b4775da9451f4175");
}

/// Mean squared error, summed over the pixels of a test image, of a projection on the main directions of the
/// training images: 13.87 for 30 of them in Hinton & Salakhutdinov, Science 2006.
#[test]
fn principal_components() {
    let Some(Split { train, test }) = mnist() else { return };
    let unit = |bytes: &[u8]| bytes.iter().map(|&v| f64::from(v) / 255.0).collect::<Vec<_>>();
    let mut moments = Covariance::new(D);
    train.pixels.chunks(5000 * D).for_each(|bytes| moments.add(&unit(bytes)));
    let eigen = symmetric_eigen(&moments.covariance(0), D).unwrap();

    let mut errors = unit(&test.pixels);
    let mean = moments.mean();
    errors.chunks_exact_mut(D).for_each(|row| row.iter_mut().zip(&mean).for_each(|(x, m)| *x -= m));
    let directions = &eigen.vectors[(D - 30) * D..];
    let mut components = vec![0.0; test.count * 30];
    let product = Gemm { m: test.count, n: 30, k: D, a: [D as isize, 1], b: [1, D as isize], batch: vec![] };
    gemm(&product, &errors, directions, &mut components);
    // The directions are orthonormal: what a projection leaves is the whole less the components.
    let squares = |v: &[f64]| v.iter().map(|x| x * x).sum::<f64>();
    let left = |k: usize| {
        let kept: f64 = components.chunks_exact(30).map(|c| squares(&c[30 - k..])).sum();
        (squares(&errors) - kept) / test.count as f64
    };
    close("30 principal components", left(30), 13.866, 0.005);
    close("2 principal components", left(2), 43.645, 0.005);
}

/// A Gaussian of full covariance in logit space: -1366.9 +- 1.4 nats and 2.01 bits a pixel in Papamakarios et al.,
/// "Masked autoregressive flow", 2017, tables 2 and 3.
#[test]
fn gaussian_in_logit_space() {
    const ALPHA: f64 = 1e-6;
    let Some(Split { train, test }) = mnist() else { return };
    // (byte + u)/256, squeezed into [alpha, 1 - alpha]
    let squeezed = |images: &Images, range: std::ops::Range<usize>, set: u64| {
        let mut rng = SplitMix64::keyed(&[set, range.start as u64]);
        let mut uniform = move || (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        let bytes = &images.pixels[range.start * D..range.end * D];
        bytes
            .iter()
            .map(|&v| ALPHA + (1.0 - 2.0 * ALPHA) * (f64::from(v) + uniform()) / 256.0)
            .collect::<Vec<_>>()
    };
    let logit = |y: &f64| (y / (1.0 - y)).ln();
    let mut moments = Covariance::new(D);
    for start in (0..50_000).step_by(5000) {
        moments.add(&squeezed(train, start..start + 5000, 0).iter().map(logit).collect::<Vec<_>>());
    }
    let l = cholesky(&moments.covariance(1), D).unwrap();
    let mean = moments.mean();
    let log_volume: f64 = (0..D).map(|i| l[i * D + i].ln()).sum();
    let constant = -log_volume - D as f64 / 2.0 * std::f64::consts::TAU.ln();

    // Nats in logit space, and bits a pixel of the density over [0, 256) that it stands for.
    let pieces = map_pieces(test.count, 500, |range| {
        let squeezed = squeezed(test, range, 1);
        let mut z: Vec<f64> = squeezed.iter().map(logit).collect();
        z.chunks_exact_mut(D).for_each(|row| row.iter_mut().zip(&mean).for_each(|(x, m)| *x -= m));
        solve_lower(&l, D, &mut z);
        let row = |(z, y): (&[f64], &[f64])| {
            let nats = constant - 0.5 * z.iter().map(|x| x * x).sum::<f64>();
            let stretch: f64 = y.iter().map(|y| y.log2() + (1.0 - y).log2()).sum();
            let scale = ((1.0 - 2.0 * ALPHA) / 256.0).ln();
            (nats, -(nats / D as f64 + scale) / 2f64.ln() + stretch / D as f64)
        };
        let rows: Vec<(f64, f64)> = z.chunks_exact(D).zip(squeezed.chunks_exact(D)).map(row).collect();
        rows.iter().fold((0.0, 0.0), |s, r| (s.0 + r.0, s.1 + r.1))
    });
    let n = test.count as f64;
    close("Gaussian, nats", pieces.iter().map(|p| p.0).sum::<f64>() / n, -1366.56, 1.5);
    close("Gaussian, bits a pixel", pieces.iter().map(|p| p.1).sum::<f64>() / n, 2.013, 0.003);
}

/// log(sum(exp(x))).
fn log_sum_exp(x: impl Iterator<Item = f64> + Clone) -> f64 {
    let largest = x.clone().fold(f64::NEG_INFINITY, f64::max);
    largest + x.map(|v| (v - largest).exp()).sum::<f64>().ln()
}

/// A Parzen window on 10,000 training images, its width chosen on validation images (the protocol of Goodfellow et
/// al. 2014): 243 nats for "the true distribution" in Theis et al., "A note on the evaluation of generative
/// models", 2016.
#[test]
fn parzen_windows() {
    let Some(Split { train, test }) = mnist() else { return };
    let unit = |bytes: &[u8]| bytes.iter().map(|&v| f32::from(v) / 255.0).collect::<Vec<_>>();
    let squares = |row: &[f32]| row.iter().map(|x| f64::from(x * x)).sum::<f64>();
    let samples = unit(&train.pixels[..10_000 * D]);
    let sample_squares: Vec<f64> = samples.chunks_exact(D).map(squares).collect();
    // For each width the log density of each of the points, summed.
    let score = |points: &[u8], widths: &[f64]| {
        let mut sums = vec![0.0; widths.len()];
        for points in points.chunks(500 * D) {
            let points = unit(points);
            let count = points.len() / D;
            let mut products = vec![0f32; count * sample_squares.len()];
            let shape = Gemm {
                m: count,
                n: sample_squares.len(),
                k: D,
                a: [D as isize, 1],
                b: [1, D as isize],
                batch: vec![],
            };
            gemm(&shape, &points, &samples, &mut products);
            let each = map_pieces(count, 25, |range| {
                let mut sums = vec![0.0; widths.len()];
                for i in range {
                    let square = squares(&points[i * D..(i + 1) * D]);
                    let row = &products[i * sample_squares.len()..(i + 1) * sample_squares.len()];
                    let distances = row
                        .iter()
                        .zip(&sample_squares)
                        .map(|(p, s)| (square + s - 2.0 * f64::from(*p)).max(0.0));
                    for (sum, width) in sums.iter_mut().zip(widths) {
                        *sum += log_sum_exp(distances.clone().map(|d| -d / (2.0 * width * width)))
                            - (sample_squares.len() as f64).ln()
                            - D as f64 * (width * std::f64::consts::TAU.sqrt()).ln();
                    }
                }
                sums
            });
            each.iter().for_each(|e| sums.iter_mut().zip(e).for_each(|(s, e)| *s += e));
        }
        sums
    };
    let widths: Vec<f64> = (0..10).map(|i| 10f64.powf(-1.0 + f64::from(i) / 9.0)).collect();
    let valid = score(&train.pixels[50_000 * D..51_000 * D], &widths);
    let best = (0..10).max_by(|&a, &b| valid[a].total_cmp(&valid[b])).unwrap();
    close("width of the Parzen window", widths[best], 0.16681, 1e-5);
    close("Parzen, nats", score(&test.pixels, &widths[best..=best])[0] / test.count as f64, 241.2, 0.5);
}

/// The pixels that are white, image by image.
fn white(images: &Images) -> Vec<Vec<u16>> {
    let list = |image: &[u8]| (0..D as u16).filter(|&k| image[usize::from(k)] != 0).collect();
    images.pixels.chunks_exact(D).map(list).collect()
}

#[test]
fn independent_pixels() {
    let Some((train, test)) = sbin() else { return };
    let mut p = vec![0.0; D];
    white(train).iter().flatten().for_each(|&k| p[usize::from(k)] += 1.0 / train.count as f64);
    p.iter_mut().for_each(|p| *p = p.clamp(1e-4, 1.0 - 1e-4));
    let all_black: f64 = p.iter().map(|p| (1.0 - p).ln()).sum();
    let odds: f64 =
        white(test).iter().flatten().map(|&k| (p[usize::from(k)] / (1.0 - p[usize::from(k)])).ln()).sum();
    close("independent pixels, nats", -(all_black + odds / test.count as f64), 205.768, 0.001);
}

const K: usize = 10;

/// A mixture of Bernoulli distributions, pixel by pixel: p[k][j] of pixel k in component j.
struct Mixture {
    weights: [f64; K],
    p: Vec<[f64; K]>,
}

impl Mixture {
    /// For an image: the log of (weight times likelihood) of each component.
    fn scores(&self) -> impl Fn(&[u16]) -> [f64; K] + '_ {
        let mut black = self.weights.map(f64::ln);
        self.p.iter().for_each(|p| (0..K).for_each(|j| black[j] += (1.0 - p[j]).ln()));
        let odds: Vec<[f64; K]> = self.p.iter().map(|p| p.map(|p| (p / (1.0 - p)).ln())).collect();
        move |image| {
            let mut scores = black;
            for &k in image {
                let odds = &odds[usize::from(k)];
                (0..K).for_each(|j| scores[j] += odds[j]);
            }
            scores
        }
    }

    /// One step of expectation maximisation, with a tenth of a white and a tenth of a black pixel added.
    fn step(&self, images: &[Vec<u16>]) -> Mixture {
        let scores = self.scores();
        let parts = map_pieces(images.len(), 5000, |range| {
            let (mut counts, mut white) = ([0.0; K], vec![[0.0; K]; D]);
            for image in &images[range] {
                let scores = scores(image);
                let total = log_sum_exp(scores.iter().copied());
                let share = scores.map(|s| (s - total).exp());
                (0..K).for_each(|j| counts[j] += share[j]);
                for &k in image {
                    let white = &mut white[usize::from(k)];
                    (0..K).for_each(|j| white[j] += share[j]);
                }
            }
            (counts, white)
        });
        let (mut counts, mut white) = ([0.0; K], vec![[0.0; K]; D]);
        for (c, w) in &parts {
            (0..K).for_each(|j| counts[j] += c[j]);
            white.iter_mut().zip(w).for_each(|(a, b)| (0..K).for_each(|j| a[j] += b[j]));
        }
        let p = |white: [f64; K]| {
            std::array::from_fn(|j| ((white[j] + 0.1) / (counts[j] + 0.2)).clamp(1e-4, 1.0 - 1e-4))
        };
        Mixture { weights: counts.map(|c| c / images.len() as f64), p: white.into_iter().map(p).collect() }
    }
}

/// Ten components, 60 steps from ten training images: 168.95 nats on another binarisation in Germain et al.,
/// "MADE", 2015, table 6.
#[test]
fn mixture_of_bernoullis() {
    let Some((train, test)) = sbin() else { return };
    // The images that the reference run began with: where it ends depends on them by several nats.
    let start = [18709, 28387, 49374, 2090, 56917, 30705, 8649, 45304, 57022, 14953];
    let p = |k: usize| start.map(|i| if train.image(i)[k] != 0 { 0.7 } else { 0.3 });
    let mut mixture = Mixture { weights: [1.0 / K as f64; K], p: (0..D).map(p).collect() };
    let images = white(train);
    (0..60).for_each(|_| mixture = mixture.step(&images));
    let scores = mixture.scores();
    let nats: f64 = white(test).iter().map(|image| log_sum_exp(scores(image).into_iter())).sum();
    close("mixture of 10 Bernoullis, nats", -nats / test.count as f64, 166.79, 0.05);
}
