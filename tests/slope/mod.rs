//! Derivatives along a direction, against differences of values.

use gradus::{Rng, Tensor, grad, hvp};

fn dot(a: &Tensor, b: &Tensor) -> f64 {
    (a * b).sum(..).item().unwrap()
}

/// Checks first and second derivatives of `f` (f64, any shape of result) at each of `xs`, along random directions.
#[track_caller]
pub fn check(xs: &[Tensor], f: impl Fn(&[Tensor]) -> Tensor) {
    let mut rng = Rng::seed(11);
    let y = f(xs);
    let weight = rng.normal_of(y.shape(), y.dtype());
    weight.eval().unwrap();
    let value = |xs: &[Tensor]| (f(xs) * &weight).sum(..);
    for i in 0..xs.len() {
        let at = |step: f64, v: &Tensor| {
            let mut moved = xs.to_vec();
            moved[i] = &xs[i] + v * step;
            moved[i].eval().unwrap();
            moved
        };
        let [u, v] = [0, 1].map(|_| rng.normal_of(xs[i].shape(), xs[i].dtype()));
        u.eval().unwrap();
        v.eval().unwrap();
        let slope = |xs: &[Tensor]| dot(&grad(&value(xs), [&xs[i]])[0], &v);
        let h = 1e-5;
        let first = (value(&at(h, &v)).item().unwrap() - value(&at(-h, &v)).item().unwrap()) / (2.0 * h);
        near(slope(xs), first, &format!("input {i}, first derivative"));
        let second = (slope(&at(h, &u)) - slope(&at(-h, &u))) / (2.0 * h);
        near(dot(&hvp(&value(xs), &xs[i], &v), &u), second, &format!("input {i}, second derivative"));
    }
}

#[track_caller]
fn near(got: f64, expected: f64, what: &str) {
    let error = (got - expected).abs() / expected.abs().max(1.0);
    assert!(error < 1e-6, "{what}: {got}, by differences {expected}");
}
