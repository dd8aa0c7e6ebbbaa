//! The planner against its definition: whatever is fused, shared, reordered or kept, the values are bit for bit those
//! of computing every node by itself when it is made.

use gradus::{ConvOptions, DType, Rng, Tensor, checkpoint, grad};
use rand::Rng as _;

/// Random decisions.
struct Dice(Rng);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        (self.0.next_u64() % n as u64) as usize
    }
}

/// One of many functions of tensors that were made before, most of them keeping to small square shapes.
fn step(dice: &mut Dice, pool: &[Tensor]) -> Tensor {
    let pick = |dice: &mut Dice| {
        let recent = pool.len().min(6);
        // Mostly the latest, so that chains form; now and then an old one, so that they cross.
        let i = if dice.below(4) == 0 { dice.below(pool.len()) } else { pool.len() - 1 - dice.below(recent) };
        pool[i].clone()
    };
    let (x, y) = (pick(dice), pick(dice));
    let fits = x.shape().broadcast(y.shape()).is_some_and(|s| s.rank() <= 4 && s.numel() <= 2000);
    let y = if fits { y } else { x.flip(..) };
    let axis = |dice: &mut Dice| if x.rank() == 0 { 0 } else { dice.below(x.rank()) as isize };
    match dice.below(31) {
        0 => x.sin(),
        1 => x.tanh(),
        2 => -&x,
        3 => x.relu(),
        4 => x.sigmoid() * 1.5,
        5 | 6 => &x + &y,
        7 | 8 => &x * &y,
        9 => &x - 0.5 * &y,
        10 => x.maximum(&y),
        11 => x.lt(&y).select(&x, &y.cos()),
        12 if x.rank() > 0 => x.sum_keepdim(axis(dice)),
        13 if x.rank() > 0 => x.max(axis(dice)),
        14 if x.rank() > 0 => x.mean(axis(dice)),
        15 if x.rank() > 1 => x.transpose(0, -1),
        16 if x.rank() > 0 => x.flip(axis(dice)),
        17 if x.rank() > 0 && x.rank() < 3 => x.unsqueeze(axis(dice)),
        18 if x.rank() > 0 => x.slice_step(axis(dice), .., -1),
        19 => x.reshape([x.numel()]),
        20 if x.rank() == 1 && x.numel() == 16 => x.reshape([4, 4]),
        21 if x.rank() == 2 && x.numel() < 200 => Tensor::cat(&[x.clone(), x.sin()], axis(dice)),
        22 if x.rank() == 2 => x.pad(&[(1, 0), (0, 1)]).slice(0, 1..).slice(1, ..-1),
        23 if x.rank() == 2 => {
            let bias = Tensor::ones([x.shape()[0]]).to(x.dtype()) * 0.25;
            (x.matmul(&x.t()) * 0.2 + bias).tanh()
        }
        24 if x.rank() == 2 => x.matmul(&x.t().tanh()).relu() * 0.1,
        25 if x.rank() > 0 => x.cumsum(axis(dice)),
        26 => checkpoint(|| (x.sin() * &y).tanh()),
        27 if x.rank() == 2 && x.shape()[0] >= 3 && x.shape()[1] >= 3 => {
            let image = x.unsqueeze(0).unsqueeze(0);
            let kernel = Tensor::ones([2, 1, 3, 3]).to(x.dtype()) * 0.1;
            image.conv2d(&kernel, ConvOptions::default().padding(1)).relu().sum([0, 1])
        }
        28 => x.stop_grad() * &y,
        30 if x.rank() == 2 => (x.t().matmul(&x.tanh()) + x.cos().t().matmul(&x)) * 0.1,
        29 if x.rank() > 0 => {
            let index = x.argsort(-1);
            x.gather(-1, &index)
        }
        _ => {
            let noise = dice.0.normal_of(x.shape(), x.dtype());
            &x + noise * 0.1
        }
    }
}

/// Builds one random expression. With `eager`, every node a step returns is computed at once.
fn build(seed: u64, dtype: DType, steps: usize, eager: bool) -> (Vec<Tensor>, Vec<Tensor>) {
    let mut dice = Dice(Rng::seed(seed));
    let leaves: Vec<Tensor> = [[4usize, 4], [4, 4], [1, 4]]
        .iter()
        .map(|&s| {
            let x = dice.0.normal_of(s, dtype);
            Tensor::from_vec(x.to(DType::F64).to_vec::<f64>().unwrap(), s).to(dtype)
        })
        .collect();
    let mut pool = leaves.clone();
    for _ in 0..steps {
        let x = step(&mut dice, &pool);
        if eager {
            x.eval().unwrap();
        }
        pool.push(x);
    }
    (pool, leaves)
}

fn bits(x: &Tensor) -> Vec<u64> {
    let canonical = |v: f64| if v.is_nan() { f64::NAN.to_bits() } else { v.to_bits() };
    x.to(DType::F64).to_vec::<f64>().unwrap().into_iter().map(canonical).collect()
}

fn agree(seed: u64, dtype: DType, steps: usize) {
    let (eager, eager_leaves) = build(seed, dtype, steps, true);
    let (lazy, leaves) = build(seed, dtype, steps, false);
    let loss =
        |pool: &[Tensor]| pool.iter().skip(3).fold(Tensor::from(0.0f64), |t, x| t + x.to(DType::F64).sum(..));
    let (a, b) = (loss(&eager), loss(&lazy));
    let slopes = [
        grad(&(&a + eager_leaves[0].to(DType::F64).sum(..)), [&eager_leaves[0]]),
        grad(&(&b + leaves[0].to(DType::F64).sum(..)), [&leaves[0]]),
    ];
    // The lazy one is read in an order of its own: gradients before values, late values before early ones.
    let slope = bits(&slopes[1][0]);
    for i in (0..lazy.len()).rev() {
        assert_eq!(lazy[i].shape(), eager[i].shape());
        assert_eq!(bits(&lazy[i]), bits(&eager[i]), "seed {seed}, {steps} steps: value {i} {:?}", lazy[i]);
    }
    assert_eq!(bits(&b), bits(&a), "seed {seed}: loss");
    assert_eq!(slope, bits(&slopes[0][0]), "seed {seed}: gradient");
}

#[test]
fn random_expressions_are_what_their_nodes_are() {
    for seed in 0..300 {
        agree(seed, if seed % 2 == 0 { DType::F32 } else { DType::F64 }, 5 + seed as usize % 30);
    }
}

fn close(x: &Tensor, expected: f64) {
    let found = x.item().unwrap();
    assert!((found - expected).abs() <= 1e-9 * expected.abs().max(1.0), "{found} instead of {expected}");
}

#[test]
fn a_value_and_its_transpose_enter_one_sum() {
    let x = Tensor::from([[1.0f64, 2.0], [3.0, 4.0]]).sqrt();
    let y = (&x + x.t()).sum(..);
    close(&y, 2.0 * (1.0 + 2f64.sqrt() + 3f64.sqrt() + 2.0));
}

#[test]
fn two_long_chains_that_cross_both_ways() {
    let mut p = Tensor::from([0.5f64, 0.25]);
    let mut q = Tensor::from([0.75f64, 0.1]);
    for _ in 0..400 {
        p = p.sin();
        q = q.cos();
    }
    for _ in 0..3 {
        (p, q) = (&p + q.sin(), &q * p.cos());
    }
    let (mut a, mut b) = ([0.5f64, 0.25], [0.75f64, 0.1]);
    for i in 0..2 {
        (0..400).for_each(|_| (a[i], b[i]) = (a[i].sin(), b[i].cos()));
        (0..3).for_each(|_| (a[i], b[i]) = (a[i] + b[i].sin(), b[i] * a[i].cos()));
    }
    // Read as a whole, not summed: a sum would take all of it as its own.
    let found = Tensor::cat(&[p, q], 0).to_vec::<f64>().unwrap();
    for (found, expected) in found.iter().zip(a.iter().chain(&b)) {
        assert!((found - expected).abs() < 1e-9, "{found} instead of {expected}");
    }
}

#[test]
fn a_sum_of_what_thousands_of_steps_make() {
    let mut x = Tensor::from([1.0f64, 2.0]);
    for _ in 0..3000 {
        x = x * 0.999 + 0.001;
    }
    let mut expected = [1.0f64, 2.0];
    (0..3000).for_each(|_| expected.iter_mut().for_each(|x| *x = *x * 0.999 + 0.001));
    close(&x.sum(..), expected.iter().sum());
}

#[test]
fn a_graph_with_more_constants_than_sixteen_bits_count() {
    // A balanced tree, so that the soft cap on depth does not split it.
    let mut terms: Vec<Tensor> = (0..70_000).map(|i| Tensor::from(1.0f64).full_like(i as f64)).collect();
    let x = Tensor::from(1.0f64);
    terms.iter_mut().for_each(|t| *t = &x * &*t);
    while terms.len() > 1 {
        terms = terms.chunks(2).map(|p| if p.len() == 2 { &p[0] + &p[1] } else { p[0].clone() }).collect();
    }
    close(&terms[0], 70_000.0 * 69_999.0 / 2.0);
}
