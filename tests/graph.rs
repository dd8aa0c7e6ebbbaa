//! The graph: long chains, loops, checkpoints, what errors say about gradients that cannot be.

use gradus::{
    DType, Error, Tensor, checkpoint, exec_stats, grad, hvp, jvp, memory_stats, reset_peak, try_grad,
    value_and_grad, vjp,
};
use std::sync::Mutex;

/// Tests that read counters of the process must not run beside others that move them.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> std::sync::MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Runs `f` on a thread whose stack would not survive recursion over a graph.
fn on_a_small_stack(f: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(512 << 10).spawn(f).unwrap().join().unwrap();
}

fn chain(x: &Tensor, length: usize) -> Tensor {
    (0..length).fold(x.clone(), |y, _| y * 0.999_999 + 1e-6)
}

#[test]
fn a_chain_of_a_million_nodes_is_built_differentiated_read_and_dropped() {
    let _alone = alone();
    on_a_small_stack(|| {
        let x = Tensor::from([0.5f64, 2.0]);
        let y = chain(&x, 500_000);
        let slope = grad(&y.sum(..), [&x]).remove(0);
        let expected = 0.999_999f64.powi(500_000);
        for d in slope.to_vec::<f64>().unwrap() {
            assert!((d - expected).abs() < 1e-9, "{d} instead of {expected}");
        }
        for (x, y) in [0.5, 2.0].iter().zip(y.to_vec::<f64>().unwrap()) {
            assert!((y - (1.0 + (x - 1.0) * expected)).abs() < 1e-9, "{y}");
        }
    });
}

#[test]
fn a_million_pending_nodes_are_dropped_unread() {
    let _alone = alone();
    on_a_small_stack(|| {
        // Wide, so that nothing evaluates it before.
        let x = Tensor::from(1.0f64);
        let terms: Vec<Tensor> = (0..500_000).map(|_| x.sin()).collect();
        drop(Tensor::stack(&terms[..1000], 0));
        drop(terms);
        drop(chain(&x, 500_000));
    });
}

#[test]
fn work_grows_in_proportion_to_the_chain() {
    let _alone = alone();
    let kernels = |length: usize| {
        let x = Tensor::from([0.5f64, 2.0]);
        let before = exec_stats().kernels_run;
        let y = chain(&x, length);
        grad(&y.sum(..), [&x])[0].eval().unwrap();
        y.eval().unwrap();
        exec_stats().kernels_run - before
    };
    let (short, long) = (kernels(20_000), kernels(80_000));
    assert!(long <= short * 5 + 10, "{short} kernels for a chain, {long} for one four times as long");
}

#[test]
fn a_running_total_stays_bounded() {
    let _alone = alone();
    let (x, mut total) = (Tensor::from(vec![1.0f32; 1024]), Tensor::from(0.0f32));
    let live = |n: usize, total: &mut Tensor| {
        (0..n).for_each(|i| *total = &*total + (&x * (i % 7) as f64).stop_grad().mean(..));
        memory_stats().live
    };
    let early = live(20_000, &mut total);
    let late = live(60_000, &mut total);
    assert!(late <= early + (64 << 10), "{early} bytes after 20 000 additions, {late} after 80 000");
    let expected: f64 = (0..20_000).chain(0..60_000).map(|i| (i % 7) as f64).sum();
    assert!((total.item().unwrap() - expected).abs() < 1e-3 * expected);
}

/// A parameter: a leaf with a matrix near the identity.
fn matrix(n: usize, scale: f64, dtype: DType) -> Tensor {
    let data = (0..n * n)
        .map(|i| scale * if i % (n + 1) == 0 { 1.0 } else { (i as f64).sin() / n as f64 })
        .collect();
    let x = Tensor::from_vec::<f64>(data, [n, n]).to(dtype);
    x.eval().unwrap();
    x
}

/// A layer with a parameter.
fn layer(x: &Tensor, w: &Tensor) -> Tensor {
    (x.matmul(w).tanh() + x).sin()
}

#[test]
fn checkpoints_do_not_change_gradients() {
    let x = Tensor::from([[0.1f64, -0.2, 0.3], [0.5, 0.7, -0.9]]);
    let w: Vec<Tensor> = (0..4).map(|k| matrix(3, 0.5 + 0.1 * k as f64, DType::F64)).collect();
    let plain = |x: &Tensor| w.iter().fold(x.clone(), |x, w| layer(&x, w));
    let each = |x: &Tensor| w.iter().fold(x.clone(), |x, w| checkpoint(|| layer(&x, w)));
    let nested = |x: &Tensor| {
        checkpoint(|| {
            let y = checkpoint(|| layer(&layer(x, &w[0]), &w[1]));
            checkpoint(|| layer(&checkpoint(|| layer(&y, &w[2])), &w[3]))
        })
    };
    let wanted: Vec<&Tensor> = w.iter().chain([&x]).collect();
    let all = |y: Tensor| {
        let first = grad(&y.square().sum(..), wanted.iter().copied());
        let total = first.iter().fold(Tensor::from(0.0f64), |t, g| t + g.square().sum(..));
        let second = grad(&total, wanted.iter().copied());
        let mut values = vec![y.to_vec::<f64>().unwrap()];
        values.extend(first.iter().chain(&second).map(|g| g.to_vec::<f64>().unwrap()));
        values
    };
    let expected = all(plain(&x));
    assert!(expected.iter().flatten().any(|g| g.abs() > 0.1));
    for (name, found) in [("each layer", all(each(&x))), ("nested", all(nested(&x)))] {
        for (k, (found, expected)) in found.iter().zip(&expected).enumerate() {
            for (a, b) in found.iter().zip(expected) {
                assert!((a - b).abs() < 1e-12 * b.abs().max(1.0), "{name}, result {k}: {a} instead of {b}");
            }
        }
    }
}

#[test]
fn a_checkpoint_of_nothing_new_is_the_tensor() {
    let x = Tensor::from([1.0f64, 2.0]);
    let same = checkpoint(|| x.clone());
    assert_eq!(grad(&same.square().sum(..), [&x])[0].to_vec::<f64>().unwrap(), [2.0, 4.0]);
    // What does not depend on anything differentiable passes through too.
    let constant = checkpoint(|| Tensor::ones([2]).to(DType::F64) * 3.0);
    assert_eq!((constant * &x).sum(..).item().unwrap(), 9.0);
}

#[test]
fn checkpoints_lower_the_peak() {
    let _alone = alone();
    let peak = |kept: bool, read_first: bool| {
        let w: Vec<Tensor> = (0..12).map(|_| matrix(64, 0.5, DType::F32)).collect();
        let x = Tensor::from(vec![0.1f32; 512 * 64]).reshape([512, 64]);
        x.eval().unwrap();
        reset_peak();
        let before = memory_stats().live;
        let block = |x: Tensor, w: &[Tensor]| w.iter().fold(x, |x, w| layer(&x, w));
        let y =
            w.chunks(3).fold(x.clone(), |x, w| if kept { block(x, w) } else { checkpoint(|| block(x, w)) });
        let loss = y.square().mean(..);
        if read_first {
            loss.item().unwrap();
        }
        let (_, slopes) = value_and_grad(&loss, &w).unwrap();
        let sum = |g: &Tensor| g.to_vec::<f32>().unwrap().into_iter().map(f64::from).sum::<f64>();
        (memory_stats().peak - before, slopes.iter().map(sum).sum::<f64>())
    };
    for read_first in [false, true] {
        let ((plain, a), (lean, b)) = (peak(true, read_first), peak(false, read_first));
        assert!((a - b).abs() <= 1e-5 * a.abs(), "{a} {b}");
        assert!(
            lean * 10 < plain * 8,
            "loss read first: {read_first}; {plain} bytes without checkpoints, {lean} with them"
        );
    }
}

fn unreached(y: &Tensor, x: &Tensor) -> (Vec<String>, String) {
    match try_grad(y, [x]) {
        Err(Error::Unreached { names, reason }) => (names, reason),
        other => panic!("expected an unreached tensor, got {other:?}"),
    }
}

#[test]
fn a_tensor_out_of_reach_is_named_with_the_reason() {
    let (x, line) = (Tensor::from([1.0f64, 2.0]), line!());
    let here = format!("{}:{line}", file!());
    let (names, reason) = unreached(&Tensor::from([1.0f64]).sum(..), &x);
    assert!(names.len() == 1 && names[0].contains(&here) && names[0].contains("[2]"), "{names:?}");
    assert!(reason.contains("not part"), "{reason}");
    let (names, reason) = unreached(&x.stop_grad().sum(..), &x);
    assert!(names[0].contains(&here) && reason.contains("stop_grad"), "{names:?} {reason}");
    let (_, reason) = unreached(&x.argmax(0).to(DType::F64), &x);
    assert!(reason.contains("argmax") && reason.contains("not a float"), "{reason}");
    let (_, reason) = unreached(&x.gt(1.5).to(DType::F64).sum(..), &x);
    assert!(reason.contains("lt") && reason.contains("not a float"), "{reason}");
    let (_, reason) = unreached(&x.to(DType::I32).to(DType::F64).sum(..), &x);
    assert!(reason.contains("to") && reason.contains("not a float"), "{reason}");
}

#[test]
fn what_is_made_of_constants_is_named_as_such() {
    let w = Tensor::zeros([2]);
    let message = try_grad(&(&w * 2.0).sum(..), [&w]).unwrap_err().to_string();
    assert!(message.contains("constants") && message.contains("from_vec"), "{message}");
}

#[test]
fn only_those_out_of_reach_are_named() {
    let (x, y) = (Tensor::from(1.0f64), Tensor::from([1.0f64]));
    match try_grad(&x.exp(), [&x, &y]) {
        Err(Error::Unreached { names, .. }) => {
            assert!(names.len() == 1 && names[0].contains("[1]"), "{names:?}")
        }
        other => panic!("{other:?}"),
    }
    let found = vjp(&x.exp(), &[&x, &y], &Tensor::from(1.0f64));
    assert!(found[0].is_some() && found[1].is_none());
}

#[test]
fn only_one_float_is_differentiated() {
    let x = Tensor::from([1.0f64, 2.0]);
    let message = try_grad(&x.exp(), [&x]).unwrap_err().to_string();
    assert!(message.contains("[2]") && message.contains("sum"), "{message}");
    let message = try_grad(&x.argmax(0), [&x]).unwrap_err().to_string();
    assert!(message.contains("u32"), "{message}");
}

#[test]
fn stop_grad_keeps_the_value_and_cuts_the_gradient() {
    let x = Tensor::from([1.0f64, 2.0]);
    let y = &x * x.stop_grad();
    assert_eq!(y.to_vec::<f64>().unwrap(), [1.0, 4.0]);
    assert_eq!(grad(&y.sum(..), [&x])[0].to_vec::<f64>().unwrap(), [1.0, 2.0]);
}

#[test]
fn gradients_of_inner_nodes_are_asked_for_like_those_of_leaves() {
    let x = Tensor::from([0.5f64, 1.0]);
    let h = x.exp();
    let y = (&h * &h).sum(..);
    let found = grad(&y, [&h, &x, &y]);
    let e = h.to_vec::<f64>().unwrap();
    let near = |a: &Tensor, b: Vec<f64>| {
        a.to_vec::<f64>().unwrap().iter().zip(b).for_each(|(a, b)| assert!((a - b).abs() < 1e-12, "{a} {b}"))
    };
    near(&found[0], e.iter().map(|e| 2.0 * e).collect());
    near(&found[1], e.iter().map(|e| 2.0 * e * e).collect());
    near(&found[2], vec![1.0]);
}

#[test]
fn differentiating_twice_and_twice_the_same() {
    let x = Tensor::from([0.3f64, 0.8]);
    let y = x.sin().prod(..);
    let (a, b) = (grad(&y, [&x]).remove(0), grad(&y, [&x]).remove(0));
    assert_eq!(a.to_vec::<f64>().unwrap(), b.to_vec::<f64>().unwrap());
    // Reading a value in between changes nothing.
    y.item().unwrap();
    let c = grad(&y, [&x]).remove(0);
    assert_eq!(a.to_vec::<f64>().unwrap(), c.to_vec::<f64>().unwrap());
    let hessian = grad(&a.sum(..), [&x]).remove(0).to_vec::<f64>().unwrap();
    let (s, t): (f64, f64) = (0.3, 0.8);
    for (found, expected) in
        hessian.iter().zip([-s.sin() * t.sin() + s.cos() * t.cos(), -s.sin() * t.sin() + s.cos() * t.cos()])
    {
        assert!((found - expected).abs() < 1e-12, "{found} {expected}");
    }
}

#[test]
fn products_with_jacobians_and_hessians_are_those_of_the_formulas() {
    let (x, v) = (Tensor::from([0.3f64, 0.8]), Tensor::from([2.0f64, -1.0]));
    let along = jvp(&x.square(), &x, &v).to_vec::<f64>().unwrap();
    assert!((along[0] - 1.2).abs() < 1e-15 && (along[1] + 1.6).abs() < 1e-15, "{along:?}");
    let curved = hvp(&x.pow(3.0).sum(..), &x, &v).to_vec::<f64>().unwrap();
    assert!(
        (curved[0] - 6.0 * 0.3 * 2.0).abs() < 1e-14 && (curved[1] + 6.0 * 0.8).abs() < 1e-14,
        "{curved:?}"
    );
    // Where nothing depends on anything, zeros.
    assert_eq!(jvp(&v.square(), &x, &v).to_vec::<f64>().unwrap(), [0.0, 0.0]);
    assert_eq!(jvp(&(&x * 2.0), &x, &v).to_vec::<f64>().unwrap(), [4.0, -2.0]);
    assert_eq!(hvp(&(&x * 2.0).sum(..), &x, &v).to_vec::<f64>().unwrap(), [0.0, 0.0]);
}
