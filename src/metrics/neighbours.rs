//! Precision and recall, density and coverage: measures by nearest neighbours among features.

use super::{Cloud, Rows};
use crate::error::{Error, Result};
use crate::linalg::map_pieces;
use crate::tensor::Tensor;

/// What [`prdc`] measures. All are shares but the density, which may exceed 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prdc {
    /// Share of samples inside the ball of some real row: are samples realistic? One outlier's ball can hold many.
    pub precision: f64,
    /// Share of real rows inside the ball of some sample: is everything real among the samples?
    pub recall: f64,
    /// Mean number of real balls a sample is in, divided by k: precision that outliers do not dominate.
    pub density: f64,
    /// Share of real rows whose ball holds a sample: recall that depends on real balls alone.
    pub coverage: f64,
}

/// Precision and recall (Kynkäänniemi et al., "Improved precision and recall metric for assessing generative models",
/// 2019), density and coverage (Naeem et al., "Reliable fidelity and diversity metrics for generative models", 2020) of
/// features `[n, d]`. The ball of a row reaches to its k-th nearest neighbour of the same set, that one excluded.
///
/// All pairs are compared, in memory for a few hundred rows at a time. Values depend on the number of rows: the usual
/// choice here is k = 5 with 5,000 rows of each.
///
/// # Errors
/// When these are not finite floats `[n, d]` of one d, or there are no k neighbours.
///
/// # Panics
/// If k is 0.
#[track_caller]
pub fn prdc(real: &Tensor, fake: &Tensor, k: usize) -> Result<Prdc> {
    assert!(k > 0, "prdc: k must be at least 1");
    if real.shape().first().is_some_and(|&n| n <= k) || fake.shape().first().is_some_and(|&n| n <= k) {
        let (a, b) = (real.shape(), fake.shape());
        return Err(Error::Data(format!("features {a} and {b} have no neighbour number {k} each")));
    }
    let [real, fake] = Rows::pair(real, fake, 1)?.map(Cloud::new);
    let (real_balls, fake_balls) = (radii(&real, k), radii(&fake, k));
    let pieces = map_pieces(real.rows.n, PIECE, |piece| {
        let distances = real.distances(piece.clone(), &fake);
        let mut seen = Seen { holders: vec![0; fake.rows.n], covered: 0, recalled: 0 };
        for (row, real_ball) in distances.chunks_exact(fake.rows.n).zip(&real_balls[piece]) {
            let (mut covered, mut recalled) = (false, false);
            for ((d, fake_ball), holders) in row.iter().zip(&fake_balls).zip(&mut seen.holders) {
                let held = d < real_ball;
                *holders += u32::from(held);
                covered |= held;
                recalled |= d < fake_ball;
            }
            seen.covered += usize::from(covered);
            seen.recalled += usize::from(recalled);
        }
        seen
    });
    let mut holders = vec![0u32; fake.rows.n];
    pieces.iter().for_each(|p| holders.iter_mut().zip(&p.holders).for_each(|(a, b)| *a += b));
    let (n_real, n_fake) = (real.rows.n as f64, fake.rows.n as f64);
    let share = |f: fn(&Seen) -> usize| pieces.iter().map(f).sum::<usize>() as f64 / n_real;
    Ok(Prdc {
        precision: holders.iter().filter(|&&h| h > 0).count() as f64 / n_fake,
        recall: share(|p| p.recalled),
        density: holders.iter().map(|&h| f64::from(h)).sum::<f64>() / (k as f64 * n_fake),
        coverage: share(|p| p.covered),
    })
}

/// Rows whose distances to all others are in memory at once, on each thread.
const PIECE: usize = 100;

/// What some of the real rows see of the samples.
struct Seen {
    /// For each sample, in how many of their balls it is.
    holders: Vec<u32>,
    /// Of how many the ball holds a sample.
    covered: usize,
    /// How many are in the ball of a sample.
    recalled: usize,
}

/// The squared distance of each row to its k-th nearest other row.
fn radii(cloud: &Cloud, k: usize) -> Vec<f64> {
    let n = cloud.rows.n;
    map_pieces(n, PIECE, |piece| {
        let mut distances = cloud.distances(piece.clone(), cloud);
        let nearest = |(i, row): (usize, &mut [f64])| {
            row[i] = f64::INFINITY;
            *row.select_nth_unstable_by(k - 1, f64::total_cmp).1
        };
        piece.zip(distances.chunks_exact_mut(n)).map(nearest).collect::<Vec<f64>>()
    })
    .concat()
}
