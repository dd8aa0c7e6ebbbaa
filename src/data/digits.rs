//! Digits drawn by a program: a data set of any size that needs no file.
//!
//! A picture is made like a handwritten one of MNIST: a way of writing the digit is chosen, its strokes are bent,
//! slanted and shaken, the result is scaled into a box of 20x20 pixels with its centre of mass in the middle of
//! 28x28, and drawn with a round pen of random width. Mean and spread of the pixels are those of MNIST. It stands
//! in for MNIST in tests, demonstrations and comparisons of one model with another; no likelihood measured on it
//! may be compared with one measured on MNIST.
//!
//! Picture `i` of a seed is a function of (seed, i) alone: a set of 100 pictures begins one of 1,000.

use super::glyphs::{GLYPHS, POINTS, Path};
use super::source::mix;
use super::{Images, Source, SplitMix64};
use crate::Result;
use gradus_kernels::par;
use std::sync::{Mutex, OnceLock};

/// Height and width of a picture.
const SIDE: usize = 28;
const PIXELS: usize = SIDE * SIDE;
/// The middle of a picture, in pixels.
const MIDDLE: f64 = SIDE as f64 / 2.0;
/// Side of the square that the ink fills, in pixels, as in MNIST.
const BOX: f64 = 20.0;

/// Smooth waves that bend the plane, and the deviation of each component of their amplitude.
const WAVES: usize = 4;
const WARP: f64 = 0.055;
/// Deviation of the pen's drift along the stroke.
const DRIFT: f64 = 0.03;
/// Points of the window that smooths the drift, its two zero ends left out.
const WINDOW: usize = 15;
/// Most points cut off an end of a digit; their mean number is 1 before that limit.
const MAX_TRIM: usize = 4;

type Points = [[f64; 2]; POINTS];

/// The data set: `count` pictures of 28x28 grey pixels (0 background, 255 ink), labels 0 to 9, drawn when asked for.
///
/// ```
/// let digits = gradus::data::Digits::new(7, 1000);
/// let images = digits.images();
/// assert_eq!((images.count, images.channels, images.height, images.width), (1000, 1, 28, 28));
/// let mut one = [0; 784];
/// let label = digits.draw(999, &mut one);
/// assert_eq!(images.image(999), one);
/// assert_eq!(images.labels.unwrap()[999], label);
/// ```
#[derive(Debug, Clone)]
pub struct Digits {
    seed: u64,
    first: u64,
    count: usize,
}

impl Digits {
    /// The first `count` pictures of the seed.
    pub fn new(seed: u64, count: usize) -> Digits {
        Digits { seed, first: 0, count }
    }

    /// As many pictures of the same seed, from number `first` on.
    pub fn starting_at(self, first: u64) -> Digits {
        Digits { first, ..self }
    }

    /// Draws picture `index` of the set, row by row, and returns its label.
    pub fn draw(&self, index: u64, pixels: &mut [u8; PIXELS]) -> u32 {
        let mut rng = SplitMix64::keyed(&[self.seed, self.first.wrapping_add(index)]);
        let digit = rng.below(10) as usize;
        let path = choose(digit, &mut rng);
        let (points, radius) = write(digit, path, &mut rng);
        let darkness = rng.normal(0.0, 0.25).exp();
        let ink = Canvas::draw(&points, path, radius).ink(radius);
        place(&ink, darkness, pixels);
        digit as u32
    }

    /// All pictures in memory, drawn on all threads.
    pub fn images(&self) -> Images {
        const TASK: usize = 256;
        let mut pixels = vec![0; self.count * PIXELS];
        let mut labels = vec![0; self.count];
        let tasks: Vec<_> =
            pixels.chunks_mut(TASK * PIXELS).zip(labels.chunks_mut(TASK)).map(Mutex::new).collect();
        par::for_each(tasks.len(), |t| {
            // Each task locks its own slot, once: the lock is only how the slices reach the threads.
            let mut slot = tasks[t].lock().unwrap_or_else(|e| e.into_inner());
            let (pixels, labels) = &mut *slot;
            let (pictures, _) = pixels.as_chunks_mut::<PIXELS>();
            for (i, (picture, label)) in pictures.iter_mut().zip(labels.iter_mut()).enumerate() {
                *label = self.draw((t * TASK + i) as u64, picture);
            }
        });
        drop(tasks);
        Images {
            count: self.count,
            channels: 1,
            height: SIDE,
            width: SIDE,
            pixels,
            labels: Some(labels),
            classes: self.classes(),
        }
    }
}

impl Source for Digits {
    fn len(&self) -> usize {
        self.count
    }

    fn shape(&self) -> [usize; 3] {
        [1, SIDE, SIDE]
    }

    fn read(&self, index: usize, pixels: &mut [u8]) -> Result<Option<u32>> {
        let mut picture = [0; PIXELS];
        let label = self.draw(index as u64, &mut picture);
        pixels.copy_from_slice(&picture);
        Ok(Some(label))
    }

    fn is_labelled(&self) -> bool {
        true
    }

    fn classes(&self) -> Vec<String> {
        (0..10).map(|d| d.to_string()).collect()
    }

    fn fingerprint(&self) -> u64 {
        [self.first, self.count as u64].into_iter().fold(self.seed, mix)
    }
}

/// A way of writing the digit, by weight.
fn choose(digit: usize, rng: &mut SplitMix64) -> &'static Path {
    static PATHS: OnceLock<Vec<Vec<(f64, Path)>>> = OnceLock::new();
    let paths = PATHS.get_or_init(|| {
        GLYPHS.iter().map(|ways| ways.iter().map(|g| (g.weight, g.path())).collect()).collect()
    });
    let ways = &paths[digit];
    let total: f64 = ways.iter().map(|w| w.0).sum();
    let mut left = rng.unit() * total;
    for (weight, path) in ways {
        if left < *weight {
            return path;
        }
        left -= weight;
    }
    &ways[ways.len() - 1].1
}

/// Varies the strokes of a digit and scales them into the picture. Returns points in pixels and the pen's radius.
fn write(digit: usize, path: &Path, rng: &mut SplitMix64) -> (Points, f64) {
    let mut p = path.points.map(|[x, y]| [x - 0.5, y - 0.5]);
    warp(&mut p, rng);
    drift(&mut p, rng);
    trim(digit, &mut p, rng);
    slant(digit, &mut p, rng);
    let radius = rng.normal(1.15f64.ln(), 0.28).exp().clamp(0.6, 2.4);
    normalise(&mut p, radius);
    (p, radius)
}

/// Bends the plane by a few long waves.
fn warp(p: &mut Points, rng: &mut SplitMix64) {
    for _ in 0..WAVES {
        let f = rng.normal_pair().map(|z| 2.2 * 1.6 * z);
        let a = rng.normal_pair().map(|z| WARP * z);
        let phase = std::f64::consts::TAU * rng.unit();
        for [x, y] in p.iter_mut() {
            let wave = (*x * f[0] + *y * f[1] + phase).sin();
            *x += a[0] * wave;
            *y += a[1] * wave;
        }
    }
}

/// Lets the pen stray: white noise along the stroke, smoothed by a Hann window whose squares sum to 1.
fn drift(p: &mut Points, rng: &mut SplitMix64) {
    static HANN: OnceLock<[f64; WINDOW]> = OnceLock::new();
    let window = HANN.get_or_init(|| {
        let step = std::f64::consts::TAU / (WINDOW + 1) as f64;
        let hann: [f64; WINDOW] = std::array::from_fn(|i| 0.5 - 0.5 * (step * (i + 1) as f64).cos());
        let norm = hann.iter().map(|w| w * w).sum::<f64>().sqrt();
        hann.map(|w| w / norm)
    });
    let noise: [[f64; 2]; POINTS + WINDOW - 1] = std::array::from_fn(|_| rng.normal_pair());
    for (point, near) in p.iter_mut().zip(noise.windows(WINDOW)) {
        for (w, z) in window.iter().zip(near) {
            point[0] += DRIFT * w * z[0];
            point[1] += DRIFT * w * z[1];
        }
    }
}

/// Shortens both ends, so that loops stay open and tails differ. A 1 is nothing but its ends and keeps them.
fn trim(digit: usize, p: &mut Points, rng: &mut SplitMix64) {
    // The number of tails before the first head: geometric with mean 1.
    let mut cut = || (rng.draw().trailing_ones() as usize).min(MAX_TRIM);
    let (first, last) = (cut(), cut());
    if digit != 1 {
        let (start, end) = (p[first], p[POINTS - 1 - last]);
        p[..first].fill(start);
        p[POINTS - last..].fill(end);
    }
}

/// Width, slant and rotation.
fn slant(digit: usize, p: &mut Points, rng: &mut SplitMix64) {
    let width = rng.normal(-0.12, 0.2).exp();
    let shear = if digit == 1 { rng.normal(0.2, 0.28) } else { rng.normal(0.12, 0.22) };
    let (sin, cos) = rng.normal(0.0, 7.0).to_radians().sin_cos();
    for [x, y] in p.iter_mut() {
        let slanted = *x * width - shear * *y;
        (*x, *y) = (slanted * cos - *y * sin, slanted * sin + *y * cos);
    }
}

/// Scales so that the longer side of the inked box, pen included, is [`BOX`], and centres that box.
fn normalise(p: &mut Points, radius: f64) {
    let bounds = [0, 1].map(|d| {
        p.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(lo, hi), q| (lo.min(q[d]), hi.max(q[d])))
    });
    let longer = bounds.iter().map(|(lo, hi)| hi - lo).fold(1e-3, f64::max);
    let scale = (BOX - 2.0 * radius) / longer;
    for q in p.iter_mut() {
        for d in 0..2 {
            q[d] = (q[d] - (bounds[d].0 + bounds[d].1) / 2.0) * scale + MIDDLE;
        }
    }
}

/// For each pixel the square of the distance from its centre to the nearest stroke, as far as the pen reaches.
struct Canvas([f32; PIXELS]);

impl Canvas {
    fn draw(points: &Points, path: &Path, radius: f64) -> Canvas {
        let mut canvas = Canvas([f32::INFINITY; PIXELS]);
        let reach = radius as f32 + 0.5;
        let p = points.map(|q| q.map(|v| v as f32));
        for (ends, _) in p.windows(2).zip(&path.pen).filter(|(_, down)| **down) {
            canvas.segment(ends[0], ends[1], reach);
        }
        canvas
    }

    fn segment(&mut self, a: [f32; 2], b: [f32; 2], reach: f32) {
        let d = [b[0] - a[0], b[1] - a[1]];
        let per_square = 1.0 / (d[0] * d[0] + d[1] * d[1]).max(1e-6);
        // Pixels whose centres lie within reach of the segment's box; the cast clamps at 0.
        let range = |k: usize| {
            let (lo, hi) = (a[k].min(b[k]) - reach, a[k].max(b[k]) + reach);
            ((lo - 0.5).ceil() as usize).min(SIDE)..((hi + 0.5).floor() as usize).min(SIDE)
        };
        let columns = range(0);
        for y in range(1) {
            let uy = y as f32 + 0.5 - a[1];
            for x in columns.clone() {
                let ux = x as f32 + 0.5 - a[0];
                let t = ((ux * d[0] + uy * d[1]) * per_square).clamp(0.0, 1.0);
                let (ex, ey) = (ux - t * d[0], uy - t * d[1]);
                let square = &mut self.0[y * SIDE + x];
                *square = square.min(ex * ex + ey * ey);
            }
        }
    }

    /// Ink from 0 to 1: full inside the pen, with an edge one pixel wide.
    fn ink(&self, radius: f64) -> [f32; PIXELS] {
        self.0.map(|square| (radius as f32 + 0.5 - square.sqrt()).clamp(0.0, 1.0))
    }
}

/// Moves the centre of mass to the middle by whole pixels, and stores ink^darkness.
fn place(ink: &[f32; PIXELS], darkness: f64, pixels: &mut [u8; PIXELS]) {
    let (mut mass, mut mx, mut my) = (0.0, 0.0, 0.0);
    for (i, &v) in ink.iter().enumerate() {
        let v = f64::from(v);
        mass += v;
        mx += v * ((i % SIDE) as f64 + 0.5);
        my += v * ((i / SIDE) as f64 + 0.5);
    }
    let shift = [mx, my].map(|m| (m / mass.max(1e-3) - MIDDLE).round() as isize);
    for (i, pixel) in pixels.iter_mut().enumerate() {
        let (x, y) = ((i % SIDE) as isize + shift[0], (i / SIDE) as isize + shift[1]);
        let inside = (0..SIDE as isize).contains(&x) && (0..SIDE as isize).contains(&y);
        let v = if inside { ink[y as usize * SIDE + x as usize] } else { 0.0 };
        *pixel = match v {
            0.0 => 0,
            1.0 => 255,
            v => (255.0 * f64::from(v).powf(darkness)).round() as u8,
        };
    }
}
