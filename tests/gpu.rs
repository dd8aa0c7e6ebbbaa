//! The device itself: where tensors lie, what moves, what is refused, and what its memory and queue do.
#![cfg(feature = "gpu")]

mod gpu_support;
#[path = "gpu_support/net.rs"]
mod net;

use gpu_support::gpu;
use gradus::nn::Module;
use gradus::optim::Adam;
use gradus::{DType, Device, Error, Rng, Tensor, eval, grad, kernel_times};
use net::Net;

#[test]
fn a_chain_of_pointwise_ops_is_computed() {
    let Some(gpu) = gpu() else { return };
    let data: Vec<f32> = (0..1000).map(|i| i as f32 * 0.01 - 5.0).collect();
    let compute = |x: &Tensor| ((x * 2.0).tanh() + x.square().sqrt() * 0.5 + 1.0) / (x.exp() + 1.0);
    let y = gpu.scope(|| compute(&Tensor::from_vec(data.clone(), [10, 100])));
    assert_eq!(y.device(), Some(gpu));
    let expected = compute(&Tensor::from_vec(data, [10, 100])).to_vec::<f32>().unwrap();
    for (a, b) in y.to_vec::<f32>().unwrap().into_iter().zip(expected) {
        assert!((a - b).abs() <= 2e-6, "{a} instead of {b}");
    }
}

#[test]
fn a_small_network_has_the_gradients_of_the_cpu() {
    let Some(gpu) = gpu() else { return };
    let compute = || {
        let mut rng = Rng::seed(3);
        let x = rng.normal([32, 20]);
        let w = rng.normal([20, 30]) * 0.2;
        let b = rng.normal([30]);
        let loss = ((x.matmul(&w) + &b).tanh().sum(1).square()).mean(..);
        let mut all = grad(&loss, [&w, &b]);
        all.push(loss);
        all.iter().map(|x| x.to_vec::<f32>().unwrap()).collect::<Vec<_>>().concat()
    };
    for (a, b) in gpu.scope(compute).into_iter().zip(compute()) {
        assert!((a - b).abs() <= 1e-4 * b.abs().max(1.0), "{a} instead of {b}");
    }
}

#[test]
fn every_type_goes_there_and_back() {
    let Some(gpu) = gpu() else { return };
    let there = |x: &Tensor| x.to_device(&gpu).unwrap();
    let floats = [1.5f32, -0.0, f32::INFINITY, f32::MIN_POSITIVE];
    assert_eq!(there(&Tensor::from(floats)).to_vec::<f32>().unwrap(), floats);
    assert_eq!(there(&Tensor::from([i32::MIN, 7])).to_vec::<i32>().unwrap(), [i32::MIN, 7]);
    assert_eq!(there(&Tensor::from([u32::MAX, 7])).to_vec::<u32>().unwrap(), [u32::MAX, 7]);
    let bools = [true, false, true, true, false];
    let x = there(&Tensor::from(bools));
    assert_eq!(x.to_vec::<bool>().unwrap(), bools);
    assert_eq!(x.to_device(&Device::cpu()).unwrap().to_vec::<bool>().unwrap(), bools);
    assert_eq!(x.slice(0, 2..).logical_not().to_vec::<bool>().unwrap(), [false, false, true]);
    assert!(there(&Tensor::zeros([0, 3])).to_vec::<f32>().unwrap().is_empty());
}

#[test]
fn what_follows_no_device_follows_its_user() {
    let Some(gpu) = gpu() else { return };
    let noise = Rng::seed(1).uniform([100]);
    let bits = |x: Vec<f32>| x.into_iter().map(f32::to_bits).collect::<Vec<_>>();
    assert_eq!(noise.device(), None);
    // Read on the CPU first, used on the GPU afterwards.
    let here = noise.to_vec::<f32>().unwrap();
    let x = Tensor::from([0.0f32]).to_device(&gpu).unwrap();
    let sum = &x + &noise;
    assert_eq!(sum.device(), Some(gpu.clone()));
    assert_eq!(bits(sum.to_vec().unwrap()), bits(here.clone()));
    let there = (&x + Rng::seed(1).uniform([100])).to_vec::<f32>().unwrap();
    assert_eq!(bits(there), bits(here));
    assert_eq!((x + Tensor::arange(3).to(DType::F32)).to_vec::<f32>().unwrap(), [0.0, 1.0, 2.0]);
}

#[test]
fn draws_have_the_bits_of_the_cpu() {
    let Some(gpu) = gpu() else { return };
    let draw = || {
        let mut rng = Rng::seed(0x1234_5678_9abc_def0);
        rng.next_seed();
        let all = [rng.bits([1003]).to_vec::<u32>().unwrap()];
        let uniform = rng.uniform([7, 11]).to_vec::<f32>().unwrap();
        (
            all,
            uniform.into_iter().map(f32::to_bits).collect::<Vec<_>>(),
            rng.normal([999]).to_vec::<f32>().unwrap(),
        )
    };
    let (here, there) = (draw(), gpu.scope(draw));
    assert_eq!((&here.0, &here.1), (&there.0, &there.1));
    for (a, b) in there.2.iter().zip(&here.2) {
        assert!((a - b).abs() <= 4e-6 * b.abs().max(1.0), "{a} instead of {b}");
    }
}

#[test]
fn operands_of_two_devices_are_a_mistake_at_the_callers_line() {
    let Some(gpu) = gpu() else { return };
    let x = Tensor::from([1.0f32, 2.0]);
    let y = x.to_device(&gpu).unwrap();
    let error = gradus::build(|| &x + &y).unwrap_err();
    let Error::Build(error) = error else { panic!("{error}") };
    assert!(error.rule.contains("cpu") && error.rule.contains(&gpu.to_string()), "{}", error.rule);
    assert!(error.site.file().ends_with("gpu.rs"), "{}", error.site);
}

#[test]
fn f64_is_refused_where_it_is_written() {
    let Some(gpu) = gpu() else { return };
    let x = Tensor::from([1.0f64]);
    assert!(x.to_device(&gpu).unwrap_err().to_string().contains("f64"));
    let y = Tensor::from([1.0f32]).to_device(&gpu).unwrap();
    let error = gradus::build(|| y.to(DType::F64)).unwrap_err();
    assert!(error.to_string().contains("f64"), "{error}");
}

#[test]
fn more_workgroups_than_an_axis_has_are_folded() {
    let Some(gpu) = gpu() else { return };
    // 65,536 workgroups of 256, and some.
    let n = (1 << 24) + 77;
    let sum = gpu.scope(|| {
        let ones = Tensor::from([1.0f32]).expand([n]);
        let index = Tensor::arange(n);
        let odd = (ones.to(DType::U32) + index).slice(0, n as isize - 3..);
        odd.to_vec::<u32>().unwrap()
    });
    assert_eq!(sum, [n as u32 - 2, n as u32 - 1, n as u32]);
}

#[test]
fn programs_with_more_operands_than_can_be_bound_are_cut() {
    let Some(gpu) = gpu() else { return };
    let count = 70;
    let inputs =
        |_: &()| (0..count).map(|i| Tensor::from([i as f32, 1.0, 0.5 * i as f32])).collect::<Vec<_>>();
    let compute = |x: Vec<Tensor>| {
        let sum = x.iter().cloned().reduce(|a, b| a * 0.5 + b).unwrap();
        let max = x.into_iter().reduce(|a, b| a.maximum(b)).unwrap();
        let total = (&sum + &max).sum(..);
        [sum, max, total].map(|x| x.to_vec::<f32>().unwrap()).concat()
    };
    let there = gpu.scope(|| compute(inputs(&())));
    assert_eq!(there, compute(inputs(&())));
}

#[test]
fn the_kernels_of_an_evaluation_are_timed_one_by_one() {
    let Some(gpu) = gpu() else { return };
    let x = gpu.scope(|| Tensor::from_vec((0..600).map(|i| i as f32 * 0.01).collect::<Vec<_>>(), [20, 30]));
    let compute = || (x.matmul(&x.t()).exp() * 1e-3).sum(0).to_vec::<f32>().unwrap();
    let (timed, kernels) = kernel_times(compute);
    assert_eq!(timed, compute(), "timing changes no bit");
    let product = kernels.iter().find(|k| k.kernel.starts_with("gemm NT 20x30x20")).unwrap();
    assert_eq!((product.flops, product.class.as_deref()), (24_000.0, Some("gemm 16x16x32x1")));
    assert!(kernels.iter().any(|k| k.kernel.starts_with("reduce") && k.class.is_some()));
    assert!(kernels.iter().all(|k| !k.time.is_zero()), "{kernels:?}");
}

/// Elements go by fours where the innermost axis has a multiple of four of them, and one by one where it has not.
#[test]
fn elements_by_fours_have_the_bits_of_elements_one_by_one() {
    let Some(gpu) = gpu() else { return };
    let n = 1001;
    let numbers = |seed| gpu.scope(|| Rng::seed(seed).normal([n]) * 3.0);
    let (x, y) = (numbers(1), numbers(2));
    eval([&x, &y]).unwrap();
    let functions: [fn(&Tensor, &Tensor) -> Tensor; 6] = [
        |x, y| (x.tanh() * y + x.exp()) / (y.square() + 1.0),
        |x, y| x.abs().pow(y) - y.sin() * x.gelu(),
        |x, y| x.lt(y).select(&x.sigmoid(), &y.relu()),
        |x, y| x.lt(y),
        |x, y| (x * 100.0).to(DType::I32).maximum(y.to(DType::I32)),
        |x, y| x.softplus() + &y.slice(0, ..1),
    ];
    let bits = |x: &Tensor| x.to(DType::F32).to_vec::<f32>().unwrap().into_iter().map(f32::to_bits).collect();
    for (which, f) in functions.iter().enumerate() {
        let singles: Vec<u32> = bits(&f(&x, &y));
        // From a multiple of four on, and from one more.
        for from in [0usize, 1] {
            let part = |x: &Tensor| x.slice(0, from as isize..from as isize + 1000);
            let found: Vec<u32> = bits(&f(&part(&x), &y.slice(0, ..1)));
            let again: Vec<u32> = bits(&f(&x, &y.slice(0, ..1)));
            assert_eq!(found, again[from..from + 1000], "function {which} of one number, from {from}");
            let found: Vec<u32> = bits(&f(&part(&x), &part(&y)));
            if which < 5 {
                assert_eq!(found, singles[from..from + 1000], "function {which} from {from}");
            }
        }
    }
}

#[test]
fn draws_by_fours_have_the_bits_of_draws_one_by_one() {
    let Some(gpu) = gpu() else { return };
    let draws: [fn(&mut Rng, usize) -> Tensor; 3] = [
        |rng, n| rng.uniform([n]),
        |rng, n| rng.normal([n]) * 2.0 + 1.0,
        |rng, n| rng.normal([n]) * rng.uniform([n]),
    ];
    for draw in draws {
        let of = |n: usize| gpu.scope(|| draw(&mut Rng::seed(7), n)).to_vec::<f32>().unwrap();
        assert_eq!(of(400), of(401)[..400]);
    }
}

#[test]
fn broadcast_operands_meet_elements_by_fours() {
    let Some(gpu) = gpu() else { return };
    let numbers = |n: usize, shape: &[usize]| {
        Tensor::from_vec((0..n).map(|i| i as f32 * 0.25).collect::<Vec<_>>(), shape)
    };
    let compute = || {
        let x = numbers(5 * 8 * 12, &[5, 8, 12]);
        let row = numbers(12, &[12]);
        let column = numbers(8, &[8, 1]);
        let across = numbers(5 * 12 * 8, &[5, 12, 8]).permute([0, 2, 1]);
        let every_other = numbers(5 * 8 * 24, &[5, 8, 24]).slice_step(2, .., 2);
        let back = x.flip(2);
        let sum = &x + &row + &column + &across + &back;
        [sum.to_vec::<f32>().unwrap(), (&sum + &every_other).to_vec::<f32>().unwrap()].concat()
    };
    assert_eq!(gpu.scope(compute), compute());
}

/// Parameters of many shapes through several steps, one of them put in from outside between two steps: beside the others
/// it lies where it was made, and not where the update before would have left it.
#[test]
fn small_parameters_are_updated_together_wherever_they_lie() {
    let Some(gpu) = gpu() else { return };
    let train = |device: &Device| {
        device.scope(|| {
            let mut rng = Rng::seed(5);
            let net = Net::new([5, 19, 3], &mut rng);
            let mut adam = Adam::new(net.params(), 0.05);
            let x = rng.normal([6, 5]);
            let mut kernels = Vec::new();
            for step in 0..6 {
                let loss = (net.forward(&x) - 1.0).square().mean(..);
                let (done, times) = kernel_times(|| adam.step(&loss));
                done.unwrap();
                kernels = times.into_iter().map(|k| k.kernel).collect();
                if step == 2 {
                    let bias = net.l1.bias.as_ref().unwrap();
                    bias.set(Tensor::from_vec(vec![0.125f32; 19], [19]));
                }
            }
            let (_, slots) = adam.state();
            let all = net.params().into_iter().map(|(name, p)| (name, p.get())).chain(slots);
            let all: Vec<_> = all.map(|(name, x)| (name, x.to_vec::<f32>().unwrap())).collect();
            (all, kernels)
        })
    };
    let ((found, kernels), (expected, _)) = (train(&gpu), train(&Device::cpu()));
    assert_eq!(found.len(), 12);
    for ((name, found), (_, expected)) in found.into_iter().zip(expected) {
        for (a, b) in found.into_iter().zip(expected) {
            assert!((a - b).abs() <= 1e-4 * b.abs().max(1.0), "{name}: {a} instead of {b}");
        }
    }
    // 19 x 5, 19, 3 x 19 and 3 elements, each from a multiple of 64 on.
    let updates: Vec<&String> = kernels.iter().filter(|k| k.contains("3 out")).collect();
    assert_eq!(updates, ["map [320] (4 in, 3 out)"], "{kernels:#?}");
    // The gradients of the biases come with those of the weights.
    assert!(!kernels.iter().any(|k| k.contains("over axes 0") && !k.contains(", 1")), "{kernels:#?}");
}
