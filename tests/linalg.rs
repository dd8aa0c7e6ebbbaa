//! Factorisations against what they promise: the product gives the matrix back, the vectors are orthonormal.

use gradus::data::SplitMix64;
use gradus::linalg::{Covariance, cholesky, solve_lower, symmetric_eigen};
use rand::Rng;

fn random(n: usize, seed: u64) -> Vec<f64> {
    let mut rng = SplitMix64::new(seed);
    (0..n).map(|_| (rng.next_u64() >> 11) as f64 / (1u64 << 52) as f64 - 1.0).collect()
}

fn symmetric(n: usize, seed: u64) -> Vec<f64> {
    let r = random(n * n, seed);
    (0..n * n).map(|k| r[(k / n).min(k % n) * n + (k / n).max(k % n)]).collect()
}

/// A V = V diag(values) and V V^T = 1, relative to the largest entry.
#[track_caller]
fn check_eigen(a: &[f64], n: usize) -> Vec<f64> {
    let e = symmetric_eigen(a, n).unwrap();
    assert!(e.values.is_sorted());
    let norm = a.iter().fold(f64::MIN_POSITIVE, |m, x| m.max(x.abs()));
    let tolerance = 1e-14 * (n as f64 + 8.0);
    for i in 0..n {
        let v = &e.vectors[i * n..(i + 1) * n];
        for j in 0..n {
            let av: f64 = (0..n).map(|k| a[j * n + k] / norm * v[k]).sum();
            let error = av - e.values[i] / norm * v[j];
            assert!(error.abs() < tolerance, "n {n}, vector {i}, entry {j}: {error:e}");
            let product: f64 = (0..n).map(|k| v[k] * e.vectors[j * n + k]).sum();
            assert!(
                (product - f64::from(u8::from(i == j))).abs() < tolerance,
                "n {n}: rows {i}, {j}: {product}"
            );
        }
    }
    e.values
}

#[test]
fn eigenvectors_of_random_matrices() {
    for n in [0, 1, 2, 3, 4, 5, 7, 10, 33, 64, 101] {
        check_eigen(&symmetric(n, n as u64), n);
    }
    for scale in [1e-200, 1e-160, 1e150, 1e300] {
        check_eigen(&symmetric(9, 1).iter().map(|x| x * scale).collect::<Vec<_>>(), 9);
    }
}

#[test]
fn eigenvalues_that_are_known() {
    assert_eq!(check_eigen(&[0.0; 16], 4), [0.0; 4]);
    let identity: Vec<f64> = (0..25).map(|k| f64::from(u8::from(k % 6 == 0))).collect();
    assert_eq!(check_eigen(&identity, 5), [1.0; 5]);
    let diagonal: Vec<f64> = (0..9).map(|k| if k % 4 == 0 { 3.0 - k as f64 } else { 0.0 }).collect();
    assert_eq!(check_eigen(&diagonal, 3), [-5.0, -1.0, 3.0]);
    // The second difference: 2 - 2 cos(pi k / (n + 1)).
    let n = 50usize;
    let difference: Vec<f64> = (0..n * n)
        .map(|k| match (k / n).abs_diff(k % n) {
            0 => 2.0,
            1 => -1.0,
            _ => 0.0,
        })
        .collect();
    for (k, v) in check_eigen(&difference, n).into_iter().enumerate() {
        let want = 2.0 - 2.0 * (std::f64::consts::PI * (k + 1) as f64 / (n + 1) as f64).cos();
        assert!((v - want).abs() < 1e-13, "{v} for {want}");
    }
    // Rank 2 of 30, with empty rows as pixels at the border have them.
    let (x, y) = (random(30, 5), random(30, 6));
    let kept = |i: usize| if i < 7 { 0.0 } else { 1.0 };
    let low: Vec<f64> = (0..900)
        .map(|k| kept(k / 30) * kept(k % 30) * (x[k / 30] * x[k % 30] + y[k / 30] * y[k % 30]))
        .collect();
    let values = check_eigen(&low, 30);
    assert!(values[27].abs() < 1e-13 && values[28] > 0.1, "{values:?}");
}

#[test]
fn what_is_not_finite_is_refused() {
    let message = symmetric_eigen(&[1.0, f64::NAN, f64::NAN, 1.0], 2).unwrap_err().to_string();
    assert!(message.contains("(0, 1)"), "{message}");
}

#[test]
fn cholesky_and_solving_undo_each_other() {
    for n in [1, 2, 3, 8, 37] {
        let r = random(n * n, 3);
        let entry = |i: usize, j: usize| {
            (0..n).map(|k| r[i * n + k] * r[j * n + k]).sum::<f64>() + if i == j { 0.1 } else { 0.0 }
        };
        let a: Vec<f64> = (0..n * n).map(|k| entry(k / n, k % n)).collect();
        let l = cholesky(&a, n).unwrap();
        for k in 0..n * n {
            let (i, j) = (k / n, k % n);
            let product: f64 = (0..n).map(|k| l[i * n + k] * l[j * n + k]).sum();
            assert!((product - a[k]).abs() < 1e-12 && (j <= i || l[k] == 0.0), "n {n}: ({i}, {j})");
        }
        for count in [0, 1, 7, 8, 9, 17] {
            let x = random(count * n, 4);
            let row = |c: usize, i: usize| (0..=i).map(|j| l[i * n + j] * x[c * n + j]).sum::<f64>();
            let mut b: Vec<f64> = (0..count * n).map(|k| row(k / n, k % n)).collect();
            solve_lower(&l, n, &mut b);
            assert!(b.iter().zip(&x).all(|(b, x)| (b - x).abs() < 1e-9), "n {n}, {count} rows");
        }
    }
    let message = cholesky(&[1.0, 0.0, 2.0, 4.0], 2).unwrap_err().to_string();
    assert!(message.contains("pivot 1 of 2 is 0"), "{message}");
    assert!(cholesky(&[f64::NAN], 1).is_err() && cholesky(&[-1.0], 1).is_err());
}

/// In one piece or in many, and far from zero, where sums of squares alone would lose every digit.
#[test]
fn covariance_does_not_depend_on_the_pieces() {
    let (rows, n) = (103, 5);
    let x: Vec<f64> = random(rows * n, 8).iter().enumerate().map(|(k, v)| v + 1e8 * (k % n) as f64).collect();
    let mean: Vec<f64> = (0..n).map(|j| (0..rows).map(|i| x[i * n + j]).sum::<f64>() / rows as f64).collect();
    for piece in [1, 7, 50, 103] {
        let mut c = Covariance::new(n);
        x.chunks(piece * n).for_each(|p| c.add(p));
        c.add(&[]);
        assert_eq!(c.count(), rows);
        assert!(c.mean().iter().zip(&mean).all(|(a, b)| (a - b).abs() < 1e-6));
        for (ddof, divisor) in [(0, 103.0), (1, 102.0)] {
            for (k, got) in c.covariance(ddof).into_iter().enumerate() {
                let (i, j) = (k / n, k % n);
                let want =
                    (0..rows).map(|r| (x[r * n + i] - mean[i]) * (x[r * n + j] - mean[j])).sum::<f64>()
                        / divisor;
                assert!((got - want).abs() < 1e-6, "({i}, {j}): {got} for {want}");
            }
        }
    }
    assert!(Covariance::new(1).covariance(1)[0].is_nan());
}
