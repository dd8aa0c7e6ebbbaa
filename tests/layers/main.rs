//! Layers: against PyTorch, against differences of their values, and by what their definitions promise.

mod pytorch;

use gradus::gradcheck::{GradcheckOptions, gradcheck, gradgradcheck};
use gradus::init::{self, Fan, Nonlinearity};
use gradus::nn::Weighted;
use gradus::nn::{
    Activation, BatchNorm, BatchNorm1d, BatchNorm2d, Conv1d, Conv2d, ConvTranspose1d, ConvTranspose2d,
    Dropout, Embedding, GroupNorm, InstanceNorm, Layer, LayerNorm, Linear, Module, Param, Sequential,
    SpectralNorm,
};
use gradus::optim::Sgd;
use gradus::{ConvOptions, DType, Rng, Tensor, grad, module};
use pytorch::*;

/// Numbers from -1/2 to 1/2 that look irregular: what the PyTorch script fed its layers.
fn ramp(shape: &[usize], seed: usize) -> Tensor {
    let n = shape.iter().product();
    let data = (0..n).map(|i| ((i * 37 + seed * 11) % 23) as f64 / 23.0 - 0.5).collect();
    Tensor::from_vec(data, shape)
}

/// Makes a module f64 and fills its parameters, by name in order.
fn fill(module: &impl Module) {
    module.convert(DType::F64);
    let mut params = module.params();
    params.sort_by(|a, b| a.0.cmp(&b.0));
    for (i, (_, p)) in params.iter().enumerate() {
        p.set(ramp(p.get().shape(), i + 1));
    }
}

#[track_caller]
fn close(found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= tolerance, "number {i}: {a} instead of {b}");
    }
}

fn numbers(list: &[Tensor]) -> Vec<f64> {
    list.iter().flat_map(|t| t.to_vec::<f64>().unwrap()).collect()
}

/// The output of a layer on `ramp(shape, 5)`, and the gradients of a weighted sum of it for x and the weight. The
/// expected numbers are rounded to ten digits.
#[track_caller]
fn like_pytorch(expected: &[f64], layer: impl Layer, weight: &Param, shape: &[usize]) {
    let x = ramp(shape, 5);
    let y = layer.forward(&x);
    let loss = (&y * ramp(y.shape(), 9)).sum(..);
    let gradients = grad(&loss, [&x, &weight.get()]);
    close(&numbers(&[&[y], &gradients[..]].concat()), expected, 2e-9);
}

macro_rules! like_pytorch {
    ($expected:ident, $layer:expr, $shape:expr) => {
        let layer = $layer;
        fill(&layer);
        let weight = layer.params().into_iter().find(|(name, _)| name == "weight").unwrap().1;
        like_pytorch(&$expected, layer, &weight, &$shape);
    };
}

#[test]
fn linear_and_convolutions() {
    let rng = &mut Rng::seed(1);
    let o = ConvOptions::default();
    like_pytorch!(LINEAR, Linear::new(3, 2, rng), [2, 3]);
    like_pytorch!(CONV1D, Conv1d::new(2, 2, [3], o.stride(2).padding(1), rng), [1, 2, 5]);
    let walk = ConvOptions { stride: [1, 2], padding: [1, 0], dilation: [2, 1], groups: 2, ..o };
    like_pytorch!(CONV2D, Conv2d::new(2, 4, [2, 3], walk, rng), [1, 2, 3, 5]);
    let walk = o.stride(2).padding(1).output_padding(1);
    like_pytorch!(CONV_TRANSPOSE1D, ConvTranspose1d::new(2, 2, [3], walk, rng), [1, 2, 3]);
    let walk = ConvOptions { stride: [2, 1], padding: [0, 1], groups: 2, ..o };
    like_pytorch!(CONV_TRANSPOSE2D, ConvTranspose2d::new(2, 2, [2, 3], walk, rng), [1, 2, 2, 2]);
}

#[test]
fn normalizations() {
    like_pytorch!(LAYER_NORM, LayerNorm::new([2, 3]), [2, 2, 3]);
    like_pytorch!(GROUP_NORM, GroupNorm::new(2, 4), [1, 4, 3]);
    like_pytorch!(INSTANCE_NORM, InstanceNorm::affine(2), [1, 2, 2, 3]);
}

/// One batch, its gradients, a second batch, the running statistics, and the first batch in evaluation.
#[track_caller]
fn batch_norm_like_pytorch<const D: usize>(expected: &[f64], shape: &[usize]) {
    let bn = BatchNorm::<D>::new(2);
    fill(&bn);
    let x = ramp(shape, 5);
    let first = bn.forward(&x);
    let loss = (&first * ramp(shape, 9)).sum(..);
    let gradients = grad(&loss, [&x, &bn.weight.as_ref().unwrap().get()]);
    let second = bn.forward(&(&x * 2.0 + 1.0));
    bn.set_training(false);
    let last = bn.forward(&x);
    let stats = [bn.running_mean.get(), bn.running_var.get()];
    let all = [&[first], &gradients[..], &[second], &stats, &[last]].concat();
    close(&numbers(&all), expected, 2e-9);
    assert_eq!(bn.num_batches_tracked.get().to_vec::<i32>().unwrap(), [2]);
}

#[test]
fn batch_normalization() {
    batch_norm_like_pytorch::<1>(&BATCH_NORM1D, &[3, 2]);
    batch_norm_like_pytorch::<2>(&BATCH_NORM2D, &[2, 2, 1, 2]);
    let names: Vec<String> = BatchNorm1d::new(3).state().into_iter().map(|s| s.0).collect();
    assert_eq!(names, ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]);
    assert_eq!(BatchNorm2d::without_affine(3).params().len(), 0);
    for (x, fits) in [(vec![2, 3], true), (vec![2, 3, 4], true), (vec![2, 3, 4, 5], false)] {
        assert_eq!(gradus::build(|| BatchNorm1d::new(3).forward(&Tensor::zeros(&x[..]))).is_ok(), fits);
        assert_eq!(gradus::build(|| BatchNorm2d::new(3).forward(&Tensor::zeros(&x[..]))).is_ok(), !fits);
    }
}

/// A step evaluates the running statistics along with the rest, and they hold no graph afterwards.
#[test]
fn a_step_settles_running_statistics() {
    let bn = BatchNorm1d::new(2);
    let mut opt = Sgd::new(bn.params(), 0.1);
    let x = Tensor::from([[1.0f32, 4.0], [3.0, 0.0]]);
    for n in 1..=3 {
        opt.step(&bn.forward(&x).square().sum(..)).unwrap();
        let kept = 1.0 - 0.9f64.powi(n);
        let mean: Vec<f64> = [2.0, 2.0].map(|m| m * kept).to_vec();
        close(&numbers(&[bn.running_mean.get().to(DType::F64)]), &mean, 1e-6);
        assert!(format!("{:?}", bn.running_mean.get()).starts_with("Tensor(leaf"));
        assert_eq!(bn.num_batches_tracked.get().item().unwrap(), f64::from(n));
    }
}

#[track_caller]
fn spectral_like_pytorch<L: Weighted>(expected: &[f64], layer: L, shape: &[usize]) {
    let layer = SpectralNorm::new(layer, &mut Rng::seed(1));
    fill(&layer);
    layer.u.set(ramp(layer.u.get().shape(), 3));
    layer.v.set(ramp(layer.v.get().shape(), 4));
    let x = ramp(shape, 5);
    layer.forward(&x);
    let y = layer.forward(&x);
    let loss = (&y * ramp(y.shape(), 9)).sum(..);
    let slope = grad(&loss, [&layer.layer.weight().get()]).remove(0);
    layer.set_training(false);
    let (u, v) = (layer.u.get(), layer.v.get());
    let still = layer.forward(&x);
    close(&numbers(&[y, slope, u, v, still]), expected, 2e-9);
    let mut names: Vec<String> = layer.state().into_iter().map(|s| s.0).collect();
    names.sort();
    assert_eq!(names, ["bias", "weight_orig", "weight_u", "weight_v"]);
    assert_eq!(layer.params().len(), 2);
}

#[test]
fn spectral_normalization() {
    let rng = &mut Rng::seed(1);
    spectral_like_pytorch(&SPECTRAL_LINEAR, Linear::new(3, 2, rng), &[1, 3]);
    let transposed = ConvTranspose2d::new(2, 3, [1, 2], ConvOptions::default(), rng);
    spectral_like_pytorch(&SPECTRAL_CONV_TRANSPOSE2D, transposed, &[1, 2, 1, 2]);
}

/// After enough iterations the largest singular value of what the layer uses is 1: here those of a diagonal matrix.
#[test]
fn the_power_iteration_finds_the_largest_singular_value() {
    let rng = &mut Rng::seed(2);
    let mut layer = SpectralNorm::new(Linear::without_bias(3, 2, rng), rng);
    layer.iterations = 30;
    layer.layer.weight.set(Tensor::from([[0.0f32, 4.0, 0.0], [1.0, 0.0, 0.0]]));
    let used = layer.weight().to_vec::<f32>().unwrap();
    let used: Vec<f64> = used.into_iter().map(f64::from).collect();
    close(&used, &[0.0, 1.0, 0.0, 0.25, 0.0, 0.0], 1e-6);
}

/// First and second derivatives of a module's function for x and every parameter.
#[track_caller]
fn check<M: Layer>(module: M, shape: &[usize]) {
    fill(&module);
    let params = module.params();
    let mut inputs = vec![ramp(shape, 5)];
    inputs.extend(params.iter().map(|(_, p)| p.get()));
    let f = |x: &[Tensor]| {
        params.iter().zip(&x[1..]).for_each(|((_, p), value)| p.set(value.clone()));
        module.forward(&x[0])
    };
    gradcheck(f, &inputs, GradcheckOptions::default()).unwrap();
    gradgradcheck(f, &inputs, GradcheckOptions { tolerance: 1e-5, ..Default::default() }).unwrap();
}

/// Evaluation, so that repeated calls compute the same function.
fn still<M: Module>(module: M) -> M {
    module.set_training(false);
    module
}

#[test]
fn derivatives_of_layers() {
    let rng = &mut Rng::seed(1);
    let o = ConvOptions::default();
    check(Linear::new(3, 2, rng), &[2, 3]);
    check(Conv1d::new(2, 2, [3], o.padding(1), rng), &[1, 2, 4]);
    check(Conv2d::new(2, 2, [2, 2], o.stride(2).groups(2), rng), &[1, 2, 4, 4]);
    check(ConvTranspose1d::new(2, 1, [2], o.stride(2), rng), &[1, 2, 2]);
    check(ConvTranspose2d::new(1, 2, [2, 2], o.stride(2), rng), &[1, 1, 2, 2]);
}

#[test]
fn derivatives_of_normalizations() {
    check(BatchNorm1d::new(2), &[4, 2]);
    check(still(BatchNorm2d::new(2)), &[2, 2, 1, 2]);
    check(LayerNorm::new(4), &[2, 4]);
    check(GroupNorm::new(2, 4), &[1, 4, 2]);
    check(InstanceNorm::affine(2), &[1, 2, 2, 2]);
    let rng = &mut Rng::seed(1);
    check(still(SpectralNorm::new(Linear::new(3, 2, rng), rng)), &[2, 3]);
    check(
        still(SpectralNorm::new(Conv2d::new(1, 2, [2, 2], ConvOptions::default(), rng), rng)),
        &[1, 1, 3, 3],
    );
}

/// In training, too: u and v after the step of the power iteration are constants of that forward pass (Miyato et al.
/// 2018, section 2.1). So both derivatives are those of evaluation with these u and v, bit for bit; and those are
/// compared with differences.
#[track_caller]
fn check_in_training<L: Weighted>(layer: SpectralNorm<L>, shape: &[usize])
where
    SpectralNorm<L>: Layer,
{
    fill(&layer);
    for (vector, seed) in [(&layer.u, 3), (&layer.v, 4)] {
        vector.set(ramp(vector.get().shape(), seed));
    }
    let before = numbers(&[layer.u.get(), layer.v.get()]);
    let (x, weight) = (ramp(shape, 5), layer.layer.weight().get());
    let derivatives = || {
        let y = layer.forward(&x);
        let first = grad(&(&y * ramp(y.shape(), 9)).sum(..), [&x, &weight]);
        let sum = first.iter().enumerate().map(|(i, g)| (g * ramp(g.shape(), i)).sum(..));
        let second = grad(&sum.reduce(|a, b| a + b).unwrap(), [&x, &weight]);
        numbers(&[vec![y], first, second].concat())
    };
    let in_training = derivatives();
    let after = numbers(&[layer.u.get(), layer.v.get()]);
    assert!(before.iter().zip(&after).all(|(a, b)| a != b), "the forward pass took no step");
    layer.set_training(false);
    assert_eq!(derivatives(), in_training);
    assert_eq!(numbers(&[layer.u.get(), layer.v.get()]), after);
    let f = |inputs: &[Tensor]| {
        layer.layer.weight().set(inputs[1].clone());
        layer.forward(&inputs[0])
    };
    gradcheck(f, &[x.clone(), weight.clone()], GradcheckOptions::default()).unwrap();
    gradgradcheck(f, &[x, weight], GradcheckOptions { tolerance: 1e-5, ..Default::default() }).unwrap();
}

#[test]
fn derivatives_of_the_spectral_norm_in_training() {
    let rng = &mut Rng::seed(1);
    check_in_training(SpectralNorm::new(Linear::new(3, 2, rng), rng), &[2, 3]);
    let o = ConvOptions::default();
    check_in_training(SpectralNorm::new(Conv2d::new(1, 2, [2, 2], o, rng), rng), &[1, 1, 3, 3]);
    check_in_training(SpectralNorm::new(ConvTranspose2d::new(2, 3, [1, 2], o, rng), rng), &[1, 2, 2, 2]);
}

#[test]
fn derivatives_of_activations_in_a_row() {
    use Activation::*;
    for a in [Relu, LeakyRelu(0.2), Elu(1.5), Gelu, GeluTanh, Silu, Softplus, Tanh, Sigmoid] {
        let rng = &mut Rng::seed(1);
        let net = Sequential::new().push(Linear::new(2, 3, rng)).push(a).apply(|x| x * 2.0);
        check(net.push(Linear::new(3, 1, rng)), &[2, 2]);
    }
}

#[test]
fn embeddings_read_their_table() {
    let table = Embedding::new(5, 3, &mut Rng::seed(1));
    fill(&table);
    let index = Tensor::from([[4u32, 0], [4, 2]]);
    let y = table.forward(&index);
    assert_eq!(y.shape(), &[2, 2, 3]);
    let rows = numbers(&[table.weight.get()]);
    let expected: Vec<f64> = [4, 0, 4, 2].iter().flat_map(|&i| rows[3 * i..3 * i + 3].to_vec()).collect();
    assert_eq!(numbers(std::slice::from_ref(&y)), expected);
    let slope = numbers(&grad(&y.sum(..), [&table.weight.get()]));
    assert_eq!(slope, [1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 2.0, 2.0, 2.0]);
    let outside = gradus::build(|| table.forward(&Tensor::from([5u32]))).and_then(|y| y.eval());
    assert!(outside.unwrap_err().to_string().contains("index 5"));
}

#[test]
fn dropout_draws_in_training_only() {
    let rng = &mut Rng::seed(3);
    let (one, other) = (Dropout::new(0.25, rng), Dropout::new(0.25, rng));
    let x = Tensor::ones([4000]);
    let y = one.forward(&x).to_vec::<f32>().unwrap();
    assert!(y.iter().all(|&v| v == 0.0 || (v - 4.0 / 3.0).abs() < 1e-6));
    let zeros = y.iter().filter(|&&v| v == 0.0).count();
    // Five standard deviations of a binomial distribution around 1000.
    assert!((863..=1137).contains(&zeros), "{zeros}");
    assert_ne!(other.forward(&x).to_vec::<f32>().unwrap(), y, "layers draw differently");
    assert_ne!(one.forward(&x).to_vec::<f32>().unwrap(), y, "so do calls");
    one.set_training(false);
    assert_eq!(one.forward(&x).to_vec::<f32>().unwrap(), vec![1.0; 4000]);
    let planes = Dropout::of_channels(0.5, rng).forward(&Tensor::ones([8, 8, 3, 3])).to_vec::<f32>().unwrap();
    assert!(planes.chunks(9).all(|c| c.iter().all(|&v| v == c[0])));
    assert!(planes.contains(&0.0) && planes.contains(&2.0));
}

struct Net {
    features: Sequential,
    head: SpectralNorm<Linear>,
}
module!(Net { features, head });

#[test]
fn names_are_pytorchs() {
    let rng = &mut Rng::seed(1);
    let features = Sequential::new()
        .push(Conv2d::new(1, 2, [3, 3], ConvOptions::default(), rng).without_bias())
        .push(BatchNorm2d::new(2))
        .push(Activation::Relu)
        .push(Dropout::new(0.5, rng))
        .apply(|x| x.flatten(1))
        .push(Sequential::new().push(Linear::new(2, 2, rng)));
    let head = SpectralNorm::new(Linear::without_bias(2, 1, rng), rng);
    let net = Net { features, head };
    let params: Vec<String> = net.params().into_iter().map(|p| p.0).collect();
    let expected = [
        "features.0.weight",
        "features.1.weight",
        "features.1.bias",
        "features.5.0.weight",
        "features.5.0.bias",
        "head.weight_orig",
    ];
    assert_eq!(params, expected);
    assert_eq!(net.rngs()[0].0, "features.3.rng");
    assert_eq!(net.forward(&Tensor::zeros([4, 1, 3, 3])).shape(), &[4, 1]);
}

impl Net {
    fn forward(&self, x: &Tensor) -> Tensor {
        self.head.forward(&self.features.forward(x))
    }
}

/// Mean, standard deviation, smallest and largest.
fn moments(t: &Tensor) -> [f64; 4] {
    let v = numbers(&[t.to(DType::F64)]);
    let n = v.len() as f64;
    let mean = v.iter().sum::<f64>() / n;
    let std = (v.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n).sqrt();
    [mean, std, v.iter().copied().fold(f64::MAX, f64::min), v.iter().copied().fold(f64::MIN, f64::max)]
}

/// Zero mean, and this standard deviation, within five standard errors; nothing beyond `bound`.
#[track_caller]
fn spread(t: &Tensor, std: f64, bound: f64) {
    let [mean, found, low, high] = moments(t);
    let error = 5.0 * std / (t.numel() as f64).sqrt();
    assert!(mean.abs() < error && (found - std).abs() < error, "mean {mean}, deviation {found}, not {std}");
    assert!(-bound <= low && high <= bound, "{low} to {high}, not within {bound}");
}

#[test]
fn initial_values_have_their_variance() {
    let rng = &mut Rng::seed(5);
    let uniform = |bound: f64| (bound / 3f64.sqrt(), bound);
    // Fan in 20 · 9 = 180, fan out 30 · 9 = 270.
    let shape = [30, 20, 3, 3];
    let (std, bound) = uniform((6.0 / 450.0f64).sqrt());
    spread(&init::xavier_uniform(shape, 1.0, rng), std, bound * 1.000001);
    spread(&init::xavier_normal(shape, 2.0, rng), 2.0 * (2.0 / 450.0f64).sqrt(), f64::MAX);
    spread(&init::kaiming_normal(shape, Fan::In, Nonlinearity::Relu, rng), (2.0 / 180.0f64).sqrt(), f64::MAX);
    let leaky = Nonlinearity::LeakyRelu(0.2);
    let std = (2.0 / 1.04 / 270.0f64).sqrt();
    spread(&init::kaiming_uniform(shape, Fan::Out, leaky, rng), std, 3f64.sqrt() * std * 1.000001);
    assert!((Nonlinearity::Tanh.gain() - 1.6666666666666667).abs() < 1e-15);
    // PyTorch's defaults: ±1/√(fan in), the fan of a transposed weight being its own second extent's.
    let o = ConvOptions::default();
    let conv = Conv2d::new(20, 40, [3, 3], o.groups(2), rng);
    let (std, bound) = uniform(1.0 / 90f64.sqrt());
    spread(&conv.weight.get(), std, bound * 1.000001);
    let conv = ConvTranspose2d::new(20, 40, [3, 3], o.groups(2), rng);
    assert_eq!(conv.weight.get().shape(), &[20, 20, 3, 3]);
    let (std, bound) = uniform(1.0 / 180f64.sqrt());
    spread(&conv.weight.get(), std, bound * 1.000001);
    let (std, bound) = uniform(0.1);
    let linear = Linear::new(100, 2000, rng);
    spread(&linear.weight.get(), std, bound * 1.000001);
    spread(&linear.bias.as_ref().unwrap().get(), std, bound * 1.000001);
    spread(&Embedding::new(100, 100, rng).weight.get(), 1.0, f64::MAX);
}

/// Against the known moments of a normal distribution between -2 and 2 deviations: deviation 0.8796 of the whole.
#[test]
fn truncated_normals_stay_inside() {
    let rng = &mut Rng::seed(6);
    let t = init::truncated_normal([100_000], 0.0, 0.5, -1.0, 1.0, rng);
    spread(&t, 0.5 * 0.879_626, 1.0);
    // Without a cut, a normal distribution: the share within one deviation is 0.6827.
    let t = init::truncated_normal([100_000], 3.0, 2.0, f64::NEG_INFINITY, f64::INFINITY, rng);
    let inside = t.to_vec::<f32>().unwrap().iter().filter(|&&v| (1.0..5.0).contains(&v)).count();
    assert!((inside as f64 / 1e5 - 0.682_689).abs() < 0.008, "{inside}");
    // Far out on one side nothing is infinite or outside.
    let [_, _, low, high] = moments(&init::truncated_normal([1000], 0.0, 1.0, 3.0, 4.0, rng));
    assert!((3.0..3.1).contains(&low) && high <= 4.0);
    assert!(gradus::build(|| init::truncated_normal([1], 0.0, 1.0, 1.0, 1.0, &mut Rng::seed(1))).is_err());
}

#[test]
fn orthogonal_matrices_are_orthogonal() {
    let rng = &mut Rng::seed(7);
    for shape in [vec![6, 6], vec![4, 10], vec![10, 4], vec![3, 2, 2, 2], vec![1, 5], vec![5, 1], vec![0, 3]]
    {
        let q = init::orthogonal(&shape[..], 2.0, rng).unwrap();
        assert_eq!(q.shape().dims(), &shape[..]);
        let m = q.to(DType::F64).reshape([shape[0], shape[1..].iter().product()]);
        let gram = if m.shape()[0] <= m.shape()[1] { m.matmul(&m.t()) } else { m.t().matmul(&m) };
        let n = gram.shape()[0];
        let identity: Vec<f64> = (0..n * n).map(|i| if i % (n + 1) == 0 { 4.0 } else { 0.0 }).collect();
        close(&numbers(&[gram]), &identity, 1e-5);
    }
    // Distributed evenly: the signs of a first entry are not all one.
    let signs: Vec<bool> = (0..20)
        .map(|_| init::orthogonal([3, 3], 1.0, rng).unwrap().at(0, 0).at(0, 0).item().unwrap() > 0.0)
        .collect();
    assert!(signs.contains(&true) && signs.contains(&false));
}
