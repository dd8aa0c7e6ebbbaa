//! Layers: against PyTorch, against differences of their values, and by what their definitions promise.

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

// Computed by PyTorch 2.15 in f64; ten digits.
const LINEAR: [f64; 16] = [
    -0.1394139887,
    -0.4437618147,
    -0.1082230624,
    -0.4957466919,
    0.02741020794,
    -0.05765595463,
    -0.1427221172,
    -0.09451795841,
    0.0415879017,
    0.1776937618,
    0.01512287335,
    0.1049149338,
    -0.02268431002,
    0.0595463138,
    -0.3270321361,
    0.06899810964,
];
const CONV1D: [f64; 28] = [
    0.3695652174,
    -0.1767485822,
    -0.2372400756,
    -0.5850661626,
    -0.6663516068,
    -0.6890359168,
    0.09168241966,
    0.1578449905,
    -0.04064272212,
    -0.06332703214,
    0.04442344045,
    0.1899810964,
    0.1427221172,
    -0.1540642722,
    -0.1540642722,
    0.06710775047,
    -0.2126654064,
    0.07325141777,
    -0.01890359168,
    -0.1937618147,
    0.08364839319,
    -0.009451795841,
    -0.07655954631,
    0.01654064272,
    0.1172022684,
    -0.07277882798,
    0.004253308129,
    0.1115311909,
];
const CONV2D: [f64; 78] = [
    -0.06663516068,
    -0.1375236295,
    -0.1984877127,
    -0.2268431002,
    -0.1309073724,
    -0.08837429112,
    -0.177221172,
    -0.2575614367,
    -0.02835538752,
    -0.07561436673,
    -0.2414933837,
    -0.2084120983,
    0.04962192817,
    0.1554820416,
    -0.1153119093,
    0.01417769376,
    0.0534026465,
    0.09877126654,
    -0.001417769376,
    -0.3397920605,
    -0.0652173913,
    -0.3894139887,
    -0.2802457467,
    0.1034971645,
    -0.02551984877,
    0.09357277883,
    -0.2514177694,
    -0.1039697543,
    0.2126654064,
    0.01228733459,
    -0.140831758,
    0.04253308129,
    0.05671077505,
    -0.3100189036,
    0.02741020794,
    0.1465028355,
    -0.1833648393,
    -0.08884688091,
    0.2277882798,
    -0.08695652174,
    0.1200378072,
    -0.1540642722,
    -0.03308128544,
    0.1540642722,
    0.08790170132,
    -0.106805293,
    -0.1049149338,
    -0.0595463138,
    0.2930056711,
    -0.1398865784,
    0.06710775047,
    -0.145557656,
    0.05009451796,
    -0.1758034026,
    -0.08128544423,
    0.02079395085,
    -0.1379962193,
    0.002835538752,
    0.05387523629,
    -0.02551984877,
    -0.002835538752,
    0.252362949,
    -0.1446124764,
    0.04253308129,
    -0.1446124764,
    0.1465028355,
    0.004725897921,
    0.02173913043,
    -0.156899811,
    -0.05860113422,
    -0.09262759924,
    0.3081285444,
    -0.1417769376,
    0.02835538752,
    -0.04064272212,
    -0.04820415879,
    0.07088846881,
    -0.07088846881,
];
const CONV_TRANSPOSE1D: [f64; 30] = [
    0.05103969754,
    -0.2712665406,
    -0.1465028355,
    0.2901701323,
    0.003780718336,
    -0.07844990548,
    -0.2722117202,
    -0.5642722117,
    -0.5075614367,
    -0.07844990548,
    -0.3950850662,
    -0.47731569,
    -0.2296786389,
    0.2230623819,
    0.2381852552,
    -0.008506616257,
    0.1058601134,
    -0.202268431,
    -0.2466918715,
    0.03638941399,
    0.1233459357,
    -0.001890359168,
    0.1016068053,
    -0.2027410208,
    0.1587901701,
    0.04678638941,
    -0.22731569,
    0.002835538752,
    -0.2282608696,
    0.1063327032,
];
const CONV_TRANSPOSE2D: [f64; 36] = [
    -0.2570888469,
    -0.01890359168,
    -0.1512287335,
    0.08695652174,
    -0.1436672968,
    -0.07561436673,
    -0.1134215501,
    -0.04536862004,
    -0.5122873346,
    -0.2882797732,
    -0.5576559546,
    -0.3336483932,
    -0.2674858223,
    -0.6049149338,
    -0.2145557656,
    -0.5519848771,
    0.03497164461,
    -0.01606805293,
    -0.01701323251,
    0.2211720227,
    0.1578449905,
    0.1200378072,
    -0.2816635161,
    0.1001890359,
    0.03024574669,
    -0.1162570888,
    -0.06143667297,
    -0.1398865784,
    0.213610586,
    0.04725897921,
    0.03780718336,
    -0.2173913043,
    0.2211720227,
    0.05671077505,
    -0.1616257089,
    -0.1332703214,
];
const LAYER_NORM: [f64; 30] = [
    -0.05930462521,
    -0.5150069641,
    -0.04584029247,
    -0.4049456448,
    0.2431043352,
    -0.01940403051,
    -0.5647296596,
    -0.3576362814,
    0.3460431368,
    0.2502438389,
    0.3840206609,
    0.543622156,
    -0.259823653,
    0.1829908806,
    0.04989908432,
    -0.3158389362,
    -0.02318845842,
    0.3659610827,
    0.04700302459,
    -0.152981752,
    -0.1221176978,
    0.2731291261,
    -0.265909416,
    0.2208767152,
    -0.5268910314,
    -0.5903615466,
    0.1664904606,
    0.7195874747,
    0.3448432972,
    0.509361194,
];
const GROUP_NORM: [f64; 28] = [
    -0.05930462521,
    -0.7354835311,
    0.3163503225,
    -0.4613419715,
    -0.3110799925,
    -0.407676979,
    0.5835025519,
    -0.08138381035,
    0.3460431368,
    0.2502438389,
    -0.1201928487,
    -0.4906295362,
    -0.4077229517,
    0.42107578,
    0.09184039699,
    -0.2599907069,
    0.237214795,
    -0.08241731337,
    -0.1624127027,
    -0.16215767,
    0.5398797936,
    0.02405636418,
    -0.07176980694,
    -0.1675959781,
    -0.6135697479,
    0.6350357449,
    -0.3371923694,
    0.938756221,
];
const INSTANCE_NORM: [f64; 26] = [
    -0.05930462521,
    -0.7354835311,
    0.3163503225,
    -0.3598285834,
    0.6920052702,
    0.01582636434,
    -0.4906135539,
    -0.3576362814,
    -0.4431216708,
    -0.3101443984,
    -0.3956297878,
    -0.4811151773,
    -0.3250589065,
    0.7359318143,
    0.04550889278,
    -0.6215131459,
    0.4160766921,
    -0.2509453467,
    0.1305339881,
    0.0003882921514,
    -0.05638690022,
    0.03193006569,
    -0.02484512668,
    -0.08162031905,
    0.02146599701,
    0.6015638515,
];
const BATCH_NORM1D: [f64; 30] = [
    -0.5807730775,
    -0.4929054707,
    -0.02173913043,
    -0.4130434783,
    0.5372948166,
    -0.3331814858,
    -0.000177381074,
    0.06126046973,
    -3.567618705e-17,
    -0.1224550551,
    0.000177381074,
    0.06119458533,
    0.5324132829,
    -0.6921372678,
    -0.5808396072,
    -0.4929149749,
    -0.02173913043,
    -0.4130434783,
    0.5373613464,
    -0.3331719816,
    0.1315217391,
    0.01804347826,
    0.8331568998,
    0.8331568998,
    -0.1418825269,
    -0.4500572745,
    -0.03315547128,
    -0.434524838,
    0.07557158437,
    -0.4189924014,
];
const BATCH_NORM2D: [f64; 38] = [
    -0.05567014076,
    -0.6664283265,
    -0.3553275244,
    -0.4542691596,
    0.6229500657,
    0.01219187989,
    -0.4982432196,
    -0.3443340094,
    -0.4311667127,
    0.3923780695,
    0.009878183418,
    -0.1154204933,
    0.3880351679,
    -0.3492465247,
    0.0817420513,
    0.02380025861,
    -0.2423643594,
    -0.2748378754,
    -0.05567162821,
    -0.6664565881,
    -0.3553242708,
    -0.4542714836,
    0.6229783272,
    0.01219336734,
    -0.4982480226,
    -0.3443301361,
    0.0747826087,
    0.06532608696,
    0.8658853182,
    0.853457782,
    -0.1117538188,
    -0.3037282726,
    -0.4099818326,
    -0.4376057032,
    0.1015511299,
    -0.09042332392,
    -0.449882979,
    -0.4069125136,
];
const SPECTRAL_LINEAR: [f64; 15] = [
    -0.1717412809,
    -0.4522006661,
    0.01953062518,
    0.1252860585,
    -0.01835967414,
    -0.06517687274,
    -0.2626428072,
    0.06640483073,
    -0.6901084772,
    -0.7237059414,
    -0.6538775867,
    0.05051720202,
    0.7549119908,
    -0.1717412809,
    -0.4522006661,
];
const SPECTRAL_CONV_TRANSPOSE2D: [f64; 37] = [
    -0.06719640437,
    -0.3785787308,
    0.03508246199,
    -0.3278110896,
    -0.3732683636,
    -0.5607796186,
    0.1501949,
    0.5013523411,
    0.4445307487,
    -0.2275271721,
    -0.04085844009,
    -0.114239939,
    0.1629898647,
    -0.07204754006,
    0.04074587793,
    -0.1399146902,
    0.03871302087,
    -0.0275266789,
    0.05204012846,
    -0.1082170411,
    0.1634859325,
    -0.1446478982,
    -0.5675173874,
    0.8105559824,
    0.1258213946,
    -0.6884722705,
    -0.6835651153,
    0.2071560828,
    -0.06719640437,
    -0.3785787308,
    0.03508246199,
    -0.3278110896,
    -0.3732683636,
    -0.5607796186,
    0.1501949,
    0.5013523411,
    0.4445307487,
];
