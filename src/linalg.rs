//! Dense linear algebra in f64 for evaluation: covariances, symmetric eigenproblems, Cholesky factors. Matrices are
//! row-major slices. Nothing here is differentiable; it measures models, it does not train them.

use crate::{Error, Result};
use gradus_kernels::gemm::{Gemm, gemm};
use gradus_kernels::par;
use std::ops::Range;
use std::sync::Mutex;

/// Mean and covariance of rows that come in pieces.
///
/// ```
/// use gradus::linalg::Covariance;
/// let mut c = Covariance::new(2);
/// c.add(&[1.0, 2.0, 3.0, 2.0]);
/// c.add(&[5.0, 8.0]);
/// assert_eq!(c.mean(), [3.0, 4.0]);
/// assert_eq!(c.covariance(1), [4.0, 6.0, 6.0, 12.0]);
/// ```
#[derive(Debug, Clone)]
pub struct Covariance {
    count: usize,
    /// The first piece's mean, taken from every row: sums of squares of what is left do not cancel.
    shift: Vec<f64>,
    sum: Vec<f64>,
    products: Vec<f64>,
}

impl Covariance {
    /// Of rows of `columns` numbers.
    pub fn new(columns: usize) -> Covariance {
        Covariance {
            count: 0,
            shift: vec![0.0; columns],
            sum: vec![0.0; columns],
            products: vec![0.0; columns * columns],
        }
    }

    /// Adds rows, `[n, columns]`.
    ///
    /// # Panics
    /// If `rows` is not a whole number of rows.
    #[track_caller]
    pub fn add(&mut self, rows: &[f64]) {
        let n = self.shift.len();
        assert!(n > 0 && rows.len().is_multiple_of(n), "{} numbers are no rows of {n}", rows.len());
        let count = rows.len() / n;
        if count == 0 {
            return;
        }
        if self.count == 0 {
            rows.chunks_exact(n).for_each(|row| add(&mut self.shift, row));
            self.shift.iter_mut().for_each(|s| *s /= count as f64);
        }
        let mut shifted = rows.to_vec();
        for row in shifted.chunks_exact_mut(n) {
            row.iter_mut().zip(&self.shift).for_each(|(x, s)| *x -= s);
            add(&mut self.sum, row);
        }
        let mut products = vec![0.0; n * n];
        let transposed = [1, n as isize];
        gemm(
            &Gemm { m: n, n, k: count, a: transposed, b: [n as isize, 1], batch: vec![] },
            &shifted,
            &shifted,
            &mut products,
        );
        add(&mut self.products, &products);
        self.count += count;
    }

    /// Rows added so far.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The mean of the rows. Not a number without rows.
    pub fn mean(&self) -> Vec<f64> {
        self.shift.iter().zip(&self.sum).map(|(shift, sum)| shift + sum / self.count as f64).collect()
    }

    /// The covariance, `[columns, columns]`, divided by the count less `ddof`: 0 for the covariance of these rows,
    /// 1 for an unbiased estimate from them. Not a number with no more than `ddof` rows.
    pub fn covariance(&self, ddof: usize) -> Vec<f64> {
        let n = self.shift.len();
        let count = self.count as f64;
        let divisor = if self.count > ddof { count - ddof as f64 } else { f64::NAN };
        let entry = |(k, p): (usize, &f64)| (p - self.sum[k / n] * self.sum[k % n] / count) / divisor;
        self.products.iter().enumerate().map(entry).collect()
    }
}

fn add(to: &mut [f64], from: &[f64]) {
    to.iter_mut().zip(from).for_each(|(a, b)| *a += b);
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    // Four sums: one would wait for itself at each addition.
    let (a4, a_rest) = a.as_chunks::<4>();
    let (b4, b_rest) = b.as_chunks::<4>();
    let mut s = [0.0; 4];
    for (x, y) in a4.iter().zip(b4) {
        (0..4).for_each(|i| s[i] += x[i] * y[i]);
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(x, y)| x * y).sum();
    (s[0] + s[1]) + (s[2] + s[3]) + rest
}

/// `y += factor * x`.
fn axpy(factor: f64, x: &[f64], y: &mut [f64]) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y += factor * x);
}

/// `f` of 0..n in pieces, on all threads; the results come in order, whatever the number of threads.
pub(crate) fn map_pieces<T: Send>(
    n: usize,
    piece: usize,
    f: impl Fn(Range<usize>) -> T + Sync + Send,
) -> Vec<T> {
    let slots: Vec<Mutex<Option<T>>> = (0..n.div_ceil(piece)).map(|_| Mutex::new(None)).collect();
    par::for_each(slots.len(), |p| {
        let made = f(p * piece..n.min((p + 1) * piece));
        *slots[p].lock().unwrap_or_else(|e| e.into_inner()) = Some(made);
    });
    // Every task ran: a panic in one would have come out of the loop above.
    slots.into_iter().filter_map(|s| s.into_inner().unwrap_or_else(|e| e.into_inner())).collect()
}

/// The product `a bᵀ` of `[m, k]` and `[n, k]`: `[m, n]`, of the products of their rows.
///
/// # Panics
/// If the slices are not whole rows of `k` numbers.
#[track_caller]
pub fn row_products(a: &[f64], b: &[f64], k: usize) -> Vec<f64> {
    assert!(
        k > 0 && a.len().is_multiple_of(k) && b.len().is_multiple_of(k),
        "{} and {} numbers are no rows of {k}",
        a.len(),
        b.len()
    );
    let (m, n) = (a.len() / k, b.len() / k);
    let mut c = vec![0.0; m * n];
    gemm(&Gemm { m, n, k, a: [k as isize, 1], b: [1, k as isize], batch: vec![] }, a, b, &mut c);
    c
}

/// Eigenvalues, ascending, and orthonormal eigenvectors of a symmetric matrix.
#[derive(Debug, Clone)]
pub struct Eigen {
    /// The eigenvalues, ascending.
    pub values: Vec<f64>,
    /// The eigenvectors, `[n, n]`; row i belongs to value i.
    pub vectors: Vec<f64>,
}

/// The eigenvalues and eigenvectors of the symmetric `n` x `n` matrix `a`, of which the upper triangle is read.
///
/// Householder reduction to tridiagonal form (Golub & Van Loan, "Matrix Computations", section 8.3.1), then
/// implicit QL steps (Dubrulle, Martin & Wilkinson, "The implicit QL algorithm", 1968). About 3 n^3 multiplications
/// and additions. Values are right to about n times 2^-52 of the largest, also the small ones.
///
/// # Errors
/// When an entry is not finite, or the QL steps do not converge.
///
/// # Panics
/// If `a` does not have `n * n` entries.
#[track_caller]
pub fn symmetric_eigen(a: &[f64], n: usize) -> Result<Eigen> {
    assert_eq!(a.len(), n * n, "a matrix of {n}x{n}");
    if let Some(k) = a.iter().position(|v| !v.is_finite()) {
        return Err(Error::Data(format!("entry ({}, {}) of the matrix is {}", k / n, k % n, a[k])));
    }
    let mut a = a.to_vec();
    for i in 0..n {
        (0..i).for_each(|j| a[i * n + j] = a[j * n + i]);
    }
    let (mut d, mut e, scales) = tridiagonalise(&mut a, n);
    let mut vectors = transformation(&a, n, &scales);
    ql(&mut d, &mut e, &mut vectors)?;
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&i, &j| d[i].total_cmp(&d[j]));
    let vectors = order.iter().flat_map(|&i| vectors[i * n..(i + 1) * n].to_vec()).collect();
    Ok(Eigen { values: order.iter().map(|&i| d[i]).collect(), vectors })
}

/// The symmetric, positive semidefinite S with S S = `a`, by the eigenvectors of the symmetric `n` x `n` matrix `a`, of
/// which the upper triangle is read. Eigenvalues below 0, which rounding makes of zeros, count as 0.
///
/// # Errors
/// As [`symmetric_eigen`].
///
/// # Panics
/// If `a` does not have `n * n` entries.
#[track_caller]
pub fn symmetric_sqrt(a: &[f64], n: usize) -> Result<Vec<f64>> {
    let Eigen { values, mut vectors } = symmetric_eigen(a, n)?;
    if n == 0 {
        return Ok(vec![]);
    }
    // The sum of sqrt(value) v vᵀ is that of w wᵀ with w = v times the fourth root.
    for (v, value) in vectors.chunks_exact_mut(n).zip(values) {
        let root = value.max(0.0).sqrt().sqrt();
        v.iter_mut().for_each(|x| *x *= root);
    }
    let columns: Vec<f64> = (0..n * n).map(|k| vectors[k % n * n + k / n]).collect();
    Ok(row_products(&columns, &columns, n))
}

/// Reduces the full symmetric `a` to a diagonal and an off-diagonal by reflections I - scale v v^T. Vector k, which
/// has zeros up to k, is left in row k behind the diagonal.
fn tridiagonalise(a: &mut [f64], n: usize) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let (mut d, mut e, mut scales) = (vec![0.0; n], vec![0.0; n.saturating_sub(1)], vec![0.0; n]);
    for k in 0..n {
        d[k] = a[k * n + k];
        let (head, below) = a.split_at_mut((k + 1) * n);
        let v = &mut head[k * n + k + 1..];
        if v.len() < 2 {
            e.iter_mut().skip(k).zip(&*v).for_each(|(e, v)| *e = *v);
            continue;
        }
        let largest = v.iter().fold(0.0f64, |m, x| m.max(x.abs()));
        if v[1..].iter().all(|&x| x == 0.0) {
            e[k] = v[0]; // nothing to do; the scale 0 makes the reflection the identity
            continue;
        }
        // Divided by the largest, so that squares neither overflow nor vanish; the reflection is the same.
        v.iter_mut().for_each(|x| *x /= largest);
        let norm = dot(v, v).sqrt().copysign(v[0]);
        e[k] = -norm * largest;
        v[0] += norm;
        let scale = 1.0 / (norm * v[0]);
        scales[k] = scale;

        // B <- H B H = B - v w^T - w v^T for the block B below, with w = p - (scale/2) (p.v) v and p = scale B v.
        let mut w: Vec<f64> = below.chunks_exact(n).map(|row| scale * dot(&row[k + 1..], v)).collect();
        let half = -0.5 * scale * dot(&w, v);
        axpy(half, v, &mut w);
        for (i, row) in below.chunks_exact_mut(n).enumerate() {
            let (vi, wi) = (v[i], w[i]);
            let pairs = v.iter().zip(&w);
            row[k + 1..].iter_mut().zip(pairs).for_each(|(x, (v, w))| *x -= vi * w + wi * v);
        }
    }
    (d, e, scales)
}

/// The product of the reflections, transposed: its rows are what the QL steps turn into eigenvectors.
fn transformation(a: &[f64], n: usize, scales: &[f64]) -> Vec<f64> {
    let mut q = vec![0.0; n * n];
    (0..n).for_each(|i| q[i * n + i] = 1.0);
    for k in (0..n).rev().filter(|&k| scales[k] != 0.0) {
        let v = &a[k * n + k + 1..(k + 1) * n];
        for row in q[(k + 1) * n..].chunks_exact_mut(n) {
            let row = &mut row[k + 1..];
            let s = scales[k] * dot(row, v);
            axpy(-s, v, row);
        }
    }
    q
}

/// Diagonalises the tridiagonal matrix of diagonal `d` and off-diagonal `e`, applying each rotation to `rows` too.
fn ql(d: &mut [f64], e: &mut [f64], rows: &mut [f64]) -> Result<()> {
    const STEPS: usize = 60;
    let n = d.len();
    let norm = d.iter().chain(e.iter()).fold(0.0f64, |m, x| m.max(x.abs()));
    // What the reductions have left in an entry is wrong by this much anyway; without the limit, steps on a block
    // that is nothing but such errors would not end.
    let noise = f64::EPSILON * norm;
    for l in 0..n {
        let mut steps = 0;
        loop {
            let negligible = |m: usize| e[m].abs() <= noise;
            let m = (l..n - 1).find(|&m| negligible(m)).unwrap_or(n - 1);
            if m == l {
                break;
            }
            if steps == STEPS {
                return Err(Error::Data(format!("eigenvalue {l} of {n} was not found in {STEPS} steps")));
            }
            steps += 1;
            ql_step(d, e, rows, l, m);
        }
    }
    Ok(())
}

/// One implicit QL step on the unreduced block `l..=m`, with Wilkinson's shift.
fn ql_step(d: &mut [f64], e: &mut [f64], rows: &mut [f64], l: usize, m: usize) {
    let n = d.len();
    let half = (d[l + 1] - d[l]) / (2.0 * e[l]);
    let shift = d[l] - e[l] / (half + half.hypot(1.0).copysign(half));
    let (mut sin, mut cos, mut moved) = (1.0, 1.0, 0.0);
    let mut bulge = d[m] - shift;
    for i in (l..m).rev() {
        let (f, b) = (sin * e[i], cos * e[i]);
        let r = f.hypot(bulge);
        if i + 1 < m {
            e[i + 1] = r;
        }
        if r == 0.0 {
            // The block falls apart here: what is left is done by later steps.
            d[i + 1] -= moved;
            return;
        }
        (sin, cos) = (f / r, bulge / r);
        let g = d[i + 1] - moved;
        let t = (d[i] - g) * sin + 2.0 * cos * b;
        moved = sin * t;
        d[i + 1] = g + moved;
        bulge = cos * t - b;
        let (upper, lower) = rows[i * n..(i + 2) * n].split_at_mut(n);
        for (x, y) in upper.iter_mut().zip(lower) {
            (*x, *y) = (cos * *x - sin * *y, sin * *x + cos * *y);
        }
    }
    d[l] -= moved;
    e[l] = bulge;
}

/// The lower triangular L with L L^T = `a`, zeros above; the lower triangle of the `n` x `n` matrix `a` is read.
///
/// # Errors
/// When `a` is not positive definite (or not finite).
///
/// # Panics
/// If `a` does not have `n * n` entries.
#[track_caller]
pub fn cholesky(a: &[f64], n: usize) -> Result<Vec<f64>> {
    assert_eq!(a.len(), n * n, "a matrix of {n}x{n}");
    let mut l = vec![0.0; n * n];
    for i in 0..n {
        let (done, row) = l.split_at_mut(i * n);
        for (j, other) in done.chunks_exact(n).enumerate() {
            row[j] = (a[i * n + j] - dot(&row[..j], &other[..j])) / other[j];
        }
        let square = a[i * n + i] - dot(&row[..i], &row[..i]);
        if square.is_nan() || square <= 0.0 || square.is_infinite() {
            return Err(Error::Data(format!(
                "the matrix is not positive definite: pivot {i} of {n} is {square}"
            )));
        }
        row[i] = square.sqrt();
    }
    Ok(l)
}

/// Solves L x = b for each row b of `rhs` (`[count, n]`), in place, with the lower triangular `n` x `n` matrix `l`.
///
/// # Panics
/// If `l` does not have `n * n` entries, or `rhs` is not a whole number of rows.
#[track_caller]
pub fn solve_lower(l: &[f64], n: usize, rhs: &mut [f64]) {
    /// Rows solved together: each entry of `l` is used for all of them.
    const GROUP: usize = 8;
    assert_eq!(l.len(), n * n, "a matrix of {n}x{n}");
    assert!(n > 0 && rhs.len().is_multiple_of(n), "{} numbers are no rows of {n}", rhs.len());
    let groups: Vec<_> = rhs.chunks_mut(GROUP * n).map(Mutex::new).collect();
    par::for_each(groups.len(), |g| {
        // Each task locks its own group, once: the lock is only how the slices reach the threads.
        let mut rows = groups[g].lock().unwrap_or_else(|e| e.into_inner());
        let mut x = vec![[0.0; GROUP]; n];
        for i in 0..n {
            let mut sum = [0.0; GROUP];
            rows.chunks_exact(n).zip(&mut sum).for_each(|(row, s)| *s = row[i]);
            for (&c, x) in l[i * n..i * n + i].iter().zip(&x) {
                (0..GROUP).for_each(|r| sum[r] -= c * x[r]);
            }
            x[i] = sum.map(|s| s / l[i * n + i]);
        }
        for (r, row) in rows.chunks_exact_mut(n).enumerate() {
            row.iter_mut().zip(&x).for_each(|(out, x)| *out = x[r]);
        }
    });
}
