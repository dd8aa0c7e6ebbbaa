//! The linear probe: what features know about classes.

use super::Rows;
use crate::error::{Error, Result};
use crate::linalg::row_products;
use crate::tensor::Tensor;
use gradus_kernels::gemm::{Gemm, gemm};

/// A linear classifier of features, one against the rest for each class: the L2-regularised support vector machine with
/// squared hinge loss that DCGAN is judged by (Radford et al. 2016, section 5.1), which is LIBLINEAR's default.
///
/// For each class, with `y = 1` for its rows and -1 for the others, the unique minimum over w of
/// `½ |w|² + c Σ max(0, 1 - y w·[x, 1])²` is found by Newton's method: Keerthi & DeCoste, "A modified finite Newton
/// method for fast solution of large scale linear SVMs", 2005.
///
/// ```
/// use gradus::{Tensor, metrics::LinearProbe};
/// let x = Tensor::from([[0.0f32, 1.0], [0.2, 0.9], [1.0, 0.0], [0.8, 0.1]]);
/// let probe = LinearProbe::fit(&x, &[0, 0, 1, 1], 2, 10.0)?;
/// assert_eq!(probe.accuracy(&x, &[0, 0, 1, 0])?, 0.75);
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct LinearProbe {
    /// `[classes, features + 1]`, the intercept last.
    weights: Vec<f64>,
    features: usize,
}

impl LinearProbe {
    /// Learns from features `[n, …]` and as many labels below `classes`; `c` is the weight of the loss against the
    /// regulariser, 0.01 where features are pixels from 0 to 1 or like them.
    ///
    /// # Errors
    /// When features are not finite floats `[n, …]`, labels do not fit, or the minimum is not found.
    ///
    /// # Panics
    /// If `c` is not positive.
    #[track_caller]
    pub fn fit(features: &Tensor, labels: &[u32], classes: usize, c: f64) -> Result<LinearProbe> {
        assert!(c > 0.0 && c.is_finite(), "the weight of the loss must be positive, not {c}");
        let rows = Rows::new("features", features, 1)?;
        check_labels(labels, rows.n)?;
        if let Some(label) = labels.iter().find(|&&l| l as usize >= classes) {
            return Err(Error::Data(format!("label {label} is outside the {classes} classes")));
        }
        let signs = |k: usize| if labels[k / classes] as usize == k % classes { 1.0 } else { -1.0 };
        let problem = Problem {
            n: rows.n,
            d: rows.d + 1,
            classes,
            c,
            signs: (0..rows.n * classes).map(signs).collect(),
            x: with_ones(&rows),
        };
        Ok(LinearProbe { weights: problem.minimum()?, features: rows.d })
    }

    /// The class of each row of features `[n, …]`: the one with the highest score.
    ///
    /// # Errors
    /// When features are not finite floats `[n, …]` of as many numbers as those learned from.
    pub fn predict(&self, features: &Tensor) -> Result<Vec<u32>> {
        let rows = Rows::new("features", features, 0)?;
        if rows.d != self.features {
            return Err(Error::Data(format!(
                "rows of {} features; the probe knows {}",
                rows.d, self.features
            )));
        }
        let width = self.features + 1;
        let scores = row_products(&with_ones(&rows), &self.weights, width);
        let highest = |row: &[f64]| {
            let better = |best: usize, k: usize| if row[k] > row[best] { k } else { best };
            (0..row.len()).fold(0, better) as u32
        };
        Ok(scores.chunks_exact(self.weights.len() / width).map(highest).collect())
    }

    /// The share of rows whose class is predicted.
    ///
    /// # Errors
    /// As [`predict`](LinearProbe::predict), and when there is not one label for each row.
    pub fn accuracy(&self, features: &Tensor, labels: &[u32]) -> Result<f64> {
        share_equal(&self.predict(features)?, labels)
    }
}

fn check_labels(labels: &[u32], n: usize) -> Result<()> {
    if labels.len() != n {
        return Err(Error::Data(format!("{n} rows, but {} labels", labels.len())));
    }
    Ok(())
}

/// The share of predictions that are right.
pub(super) fn share_equal(predicted: &[u32], labels: &[u32]) -> Result<f64> {
    check_labels(labels, predicted.len())?;
    let right = predicted.iter().zip(labels).filter(|(a, b)| a == b).count();
    Ok(right as f64 / labels.len() as f64)
}

/// Rows with a 1 behind each, for the intercept.
fn with_ones(rows: &Rows) -> Vec<f64> {
    rows.values.chunks_exact(rows.d).flat_map(|r| r.iter().copied().chain([1.0])).collect()
}

/// One problem for each class, solved side by side so that they share their matrix products.
struct Problem {
    n: usize,
    /// Features and the 1 for the intercept.
    d: usize,
    classes: usize,
    c: f64,
    /// `[n, classes]`, 1 or -1.
    signs: Vec<f64>,
    /// `[n, d]`.
    x: Vec<f64>,
}

impl Problem {
    /// The products of the rows with weights `[classes, d]`: `[n, classes]`.
    fn scores(&self, weights: &[f64]) -> Vec<f64> {
        row_products(&self.x, weights, self.d)
    }

    /// The sums of the rows, weighted by `r` `[n, classes]`: `[classes, d]`.
    fn sums(&self, r: &[f64]) -> Vec<f64> {
        let mut sums = vec![0.0; self.classes * self.d];
        let transposed = [1, self.classes as isize];
        let shape = Gemm {
            m: self.classes,
            n: self.d,
            k: self.n,
            a: transposed,
            b: [self.d as isize, 1],
            batch: vec![],
        };
        gemm(&shape, r, &self.x, &mut sums);
        sums
    }

    /// For each class the product of two `[classes, d]`.
    fn dots(&self, a: &[f64], b: &[f64]) -> Vec<f64> {
        let dot = |(a, b): (&[f64], &[f64])| a.iter().zip(b).map(|(x, y)| x * y).sum();
        a.chunks_exact(self.d).zip(b.chunks_exact(self.d)).map(dot).collect()
    }

    /// `to += factors * what`, by class.
    fn add(&self, to: &mut [f64], factors: &[f64], what: &[f64]) {
        for ((to, f), what) in to.chunks_exact_mut(self.d).zip(factors).zip(what.chunks_exact(self.d)) {
            to.iter_mut().zip(what).for_each(|(t, w)| *t += f * w);
        }
    }

    /// By how much each row misses its margin, `[n, classes]`.
    fn misses(&self, scores: &[f64]) -> Vec<f64> {
        scores.iter().zip(&self.signs).map(|(s, y)| (1.0 - y * s).max(0.0)).collect()
    }

    /// The gradient `w - 2 c Σ y miss x`.
    fn gradient(&self, w: &[f64], misses: &[f64]) -> Vec<f64> {
        let weights: Vec<f64> = misses.iter().zip(&self.signs).map(|(m, y)| -2.0 * self.c * m * y).collect();
        let mut gradient = self.sums(&weights);
        gradient.iter_mut().zip(w).for_each(|(g, w)| *g += w);
        gradient
    }

    /// The weights `[classes, d]`.
    fn minimum(&self) -> Result<Vec<f64>> {
        const STEPS: usize = 200;
        const TOLERANCE: f64 = 1e-7;
        let mut w = vec![0.0; self.classes * self.d];
        let mut scores = vec![0.0; self.n * self.classes];
        let mut first: Option<Vec<f64>> = None;
        for _ in 0..STEPS {
            let misses = self.misses(&scores);
            let gradient = self.gradient(&w, &misses);
            let squares = self.dots(&gradient, &gradient);
            let first = first.get_or_insert_with(|| squares.clone());
            let small = |(now, then): (&f64, &f64)| *now <= TOLERANCE * TOLERANCE * then;
            if squares.iter().zip(&*first).all(small) {
                return Ok(w);
            }
            let direction = self.newton_direction(&gradient, &misses);
            let moved = self.scores(&direction);
            let lengths = self.lengths(&w, &direction, &scores, &moved);
            self.add(&mut w, &lengths, &direction);
            for (s, m) in scores.chunks_exact_mut(self.classes).zip(moved.chunks_exact(self.classes)) {
                (0..self.classes).for_each(|k| s[k] += lengths[k] * m[k]);
            }
        }
        Err(Error::Data(format!("the linear probe was not found in {STEPS} steps")))
    }

    /// Solves `(1 + 2 c XᵀX) direction = -gradient`, X being the rows that miss their margin, by conjugate gradients.
    fn newton_direction(&self, gradient: &[f64], misses: &[f64]) -> Vec<f64> {
        const STEPS: usize = 200;
        const TOLERANCE: f64 = 0.05;
        let mut direction = vec![0.0; gradient.len()];
        let mut residual: Vec<f64> = gradient.iter().map(|g| -g).collect();
        let mut p = residual.clone();
        let mut squares = self.dots(&residual, &residual);
        let goals: Vec<f64> = squares.iter().map(|s| s * TOLERANCE * TOLERANCE).collect();
        for _ in 0..STEPS {
            if squares.iter().zip(&goals).all(|(s, goal)| s <= goal) {
                break;
            }
            let mut inner = self.scores(&p);
            inner.iter_mut().zip(misses).for_each(|(s, &m)| *s *= if m > 0.0 { 2.0 * self.c } else { 0.0 });
            let mut product = self.sums(&inner);
            product.iter_mut().zip(&p).for_each(|(a, p)| *a += p);
            let curvature = self.dots(&p, &product);
            // A class that is done stays where it is.
            let step = |k: usize| if squares[k] > goals[k] { squares[k] / curvature[k] } else { 0.0 };
            let steps: Vec<f64> = (0..self.classes).map(step).collect();
            self.add(&mut direction, &steps, &p);
            self.add(&mut residual, &steps.iter().map(|s| -s).collect::<Vec<_>>(), &product);
            let next = self.dots(&residual, &residual);
            for (k, p) in p.chunks_exact_mut(self.d).enumerate().filter(|(k, _)| steps[*k] > 0.0) {
                let keep = next[k] / squares[k];
                let residual = &residual[k * self.d..(k + 1) * self.d];
                p.iter_mut().zip(residual).for_each(|(p, r)| *p = r + keep * *p);
            }
            squares = next;
        }
        direction
    }

    /// How far each class goes along its direction: to the minimum there, where the slope, which only rises, is 0.
    fn lengths(&self, w: &[f64], direction: &[f64], scores: &[f64], moved: &[f64]) -> Vec<f64> {
        let (across, along) = (self.dots(w, direction), self.dots(direction, direction));
        let class = |k: usize| {
            // Slope and curvature of the objective at t.
            let at = |t: f64| {
                let (mut slope, mut curvature) = (across[k] + t * along[k], along[k]);
                for i in (k..self.signs.len()).step_by(self.classes) {
                    let miss = 1.0 - self.signs[i] * (scores[i] + t * moved[i]);
                    if miss > 0.0 {
                        slope -= 2.0 * self.c * miss * self.signs[i] * moved[i];
                        curvature += 2.0 * self.c * moved[i] * moved[i];
                    }
                }
                (slope, curvature)
            };
            if along[k] == 0.0 { 0.0 } else { root(at) }
        };
        (0..self.classes).map(class).collect()
    }
}

/// The t > 0 at which a slope that rises from below 0, given with its own slope, is 0: Newton's steps, kept within the
/// bracket that is known.
fn root(at: impl Fn(f64) -> (f64, f64)) -> f64 {
    let (mut low, mut high, mut t) = (0.0, f64::INFINITY, 1.0);
    let scale = at(0.0).0.abs();
    for _ in 0..100 {
        let (slope, curvature) = at(t);
        if slope.abs() <= 1e-10 * scale {
            break;
        }
        if slope < 0.0 {
            low = t;
        } else {
            high = t;
        }
        let next = t - slope / curvature;
        t = match next > low && next < high {
            true => next,
            false if high.is_finite() => (low + high) / 2.0,
            false => 2.0 * t,
        };
    }
    t
}
