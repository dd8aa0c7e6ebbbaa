//! The suite `elem`: pointwise functions, reductions, softmax, one step of Adam, batch normalization.

use super::{Step, Workload};
use gradus::nn::Param;
use gradus::optim::Adam;
use gradus::{Result, Rng, Tensor, eval, vjp};

const N: usize = 1 << 24;
const MIB: f64 = (1 << 20) as f64;

/// All workloads of the suite.
pub fn suite() -> Vec<Workload> {
    let elem = |name, elements: usize, bytes, make| {
        let flops = elements as f64;
        Workload { suite: "elem", name, flops, bytes, make }
    };
    vec![
        elem("copy_16M", N, 128.0 * MIB, |_| Ok(copy())),
        elem("add_16M", N, 192.0 * MIB, |rng| {
            let y = drawn([N], rng)?;
            unary([N], rng, move |x| x + &y)
        }),
        elem("leaky_relu_16M", N, 128.0 * MIB, |rng| unary([N], rng, |x| x.leaky_relu(0.2))),
        elem("gelu_erf_16M", N, 128.0 * MIB, |rng| unary([N], rng, Tensor::gelu)),
        elem("gelu_tanh_16M", N, 128.0 * MIB, |rng| unary([N], rng, Tensor::gelu_tanh)),
        elem("tanh_16M", N, 128.0 * MIB, |rng| unary([N], rng, Tensor::tanh)),
        elem("sigmoid_16M", N, 128.0 * MIB, |rng| unary([N], rng, Tensor::sigmoid)),
        elem("exp_16M", N, 128.0 * MIB, |rng| unary([N], rng, Tensor::exp)),
        elem("sum_all_16M", N, 64.0 * MIB, |rng| unary([4096, 4096], rng, |x| x.sum(..))),
        elem("sum_axis0_4096x4096", N, 64.0 * MIB, |rng| unary([4096, 4096], rng, |x| x.sum(0))),
        elem("sum_axis1_4096x4096", N, 64.0 * MIB, |rng| unary([4096, 4096], rng, |x| x.sum(1))),
        elem("softmax_4096x1024", N / 4, 32.0 * MIB, |rng| unary([4096, 1024], rng, |x| x.softmax(1))),
        elem("adam_10M", 10_000_000, 28e7, adam),
        elem("bn_fwd_64x128x32x32", N / 2, 96.0 * MIB, |rng| batch_norm(rng, false)),
        elem("bn_fwdbwd_64x128x32x32", N / 2, 256.0 * MIB, |rng| batch_norm(rng, true)),
    ]
}

/// What the others are to be seen against: the copy of the standard library, on all threads.
fn copy() -> Step {
    let (from, mut to) = (vec![1f32; N], vec![0f32; N]);
    let piece = N / 64;
    Box::new(move || {
        let pieces: Vec<_> =
            to.chunks_mut(piece).zip(from.chunks(piece)).map(std::sync::Mutex::new).collect();
        gradus::kernels::par::for_each(pieces.len(), |k| {
            let mut piece = pieces[k].lock().unwrap_or_else(|e| e.into_inner());
            let (to, from) = &mut *piece;
            to.copy_from_slice(from);
        });
        Ok(())
    })
}

/// Numbers between -3 and 3.
fn drawn<const D: usize>(shape: [usize; D], rng: &mut Rng) -> Result<Tensor> {
    let x = rng.uniform(shape) * 6.0 - 3.0;
    x.eval()?;
    Ok(x)
}

fn unary<const D: usize>(
    shape: [usize; D],
    rng: &mut Rng,
    f: impl Fn(&Tensor) -> Tensor + 'static,
) -> Result<Step> {
    let x = drawn(shape, rng)?;
    Ok(Box::new(move || f(&x).eval()))
}

fn adam(rng: &mut Rng) -> Result<Step> {
    let param = Param::new(rng.uniform([10_000_000]));
    let gradient = rng.uniform([10_000_000]) * 1e-3;
    gradient.eval()?;
    let mut adam = Adam::new(vec![(String::from("p"), param)], 1e-3);
    Ok(Box::new(move || adam.step_with(std::slice::from_ref(&gradient))))
}

/// Training-mode batch normalization with affine parameters and running statistics, and the three gradients of it.
fn batch_norm(rng: &mut Rng, backward: bool) -> Result<Step> {
    let (x, dy) = (drawn([64, 128, 32, 32], rng)?, drawn([64, 128, 32, 32], rng)?);
    let [weight, bias] = [drawn([128], rng)?, drawn([128], rng)?];
    let [mean, var] = [Tensor::zeros([128]), Tensor::ones([128])];
    eval([&mean, &var])?;
    Ok(Box::new(move || {
        let (y, batch) = x.batch_norm(Some(&weight), Some(&bias), 1e-5);
        let blend = |old: &Tensor, new: Tensor| old * 0.9 + new * 0.1;
        let mut results = vec![blend(&mean, batch.mean), blend(&var, batch.unbiased_var)];
        if backward {
            results.extend(vjp(&y, &[&x, &weight, &bias], &dy).into_iter().flatten());
        }
        results.push(y);
        eval(&results)
    }))
}
