//! Convolutions lose no precision for speed: against the exact result they are at most twice as far off as the plain
//! loops in f32.

mod layer;

use gradus_kernels::conv::{self, Conv};
use gradus_kernels::{naive, simd};
use layer::layer;

fn uniform(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let draw = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    std::iter::repeat_with(draw).take(len).collect()
}

fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| f64::from(x)).collect()
}

fn distance(x: &[f32], exact: &[f64]) -> f64 {
    x.iter().zip(exact).map(|(&x, y)| (f64::from(x) - y).powi(2)).sum::<f64>().sqrt()
}

/// A form of convolution: operands and result, by the slices' order.
type Form<T> = fn(&Conv, &[T], &[T], &mut [T]);

fn check(c: &Conv, [a, b]: [&[f32]; 2], len: usize, plain: Form<f32>, exact: Form<f64>, fast: Form<f32>) {
    let (mut by_loop, mut in_wide) = (vec![0f32; len], vec![0f64; len]);
    plain(c, a, b, &mut by_loop);
    exact(c, &wide(a), &wide(b), &mut in_wide);
    for level in simd::available() {
        simd::force(level);
        let mut out = vec![0f32; len];
        fast(c, a, b, &mut out);
        let (ours, plain) = (distance(&out, &in_wide), distance(&by_loop, &in_wide));
        assert!(ours <= 2.0 * plain, "{} {c:?}: {ours:e} against {plain:e}", level.name());
    }
    simd::force(simd::detected());
}

#[test]
fn no_less_precise_than_twice_the_plain_sum() {
    for c in [
        layer(16, [64, 64], [14; 2], 3, 1, 1),
        layer(32, [64, 32], [8; 2], 4, 2, 1),
        layer(16, [3, 64], [16; 2], 4, 2, 1),
        layer(16, [64, 3], [16; 2], 4, 2, 1),
        layer(2, [3, 64], [64; 2], 4, 2, 1),
        layer(2, [64, 32], [32; 2], 4, 2, 1),
        layer(2, [256, 32], [14; 2], 3, 1, 1),
        layer(32, [1, 32], [14; 2], 4, 2, 1),
        layer(8, [128, 64], [7; 2], 1, 1, 0),
    ] {
        let (x, w, dy) = (uniform(c.x_len(), 1), uniform(c.w_len(), 2), uniform(c.y_len(), 3));
        check(&c, [&x, &w], c.y_len(), naive::conv::forward, naive::conv::forward, conv::conv);
        check(&c, [&dy, &w], c.x_len(), naive::conv::input_grad, naive::conv::input_grad, conv::conv_input);
        check(
            &c,
            [&x, &dy],
            c.w_len(),
            naive::conv::weight_grad,
            naive::conv::weight_grad,
            conv::conv_weight,
        );
    }
}
