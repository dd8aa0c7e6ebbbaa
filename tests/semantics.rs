//! What ops mean where it is easy to mean something else: ties, kinks, NaN, infinities, empty and scalar tensors,
//! integers and bools. The values of ordinary cases are checked against plain loops in `gradients.rs`.
//!
//! "As PyTorch" numbers were computed with PyTorch 2 (f64, CPU) and written down here.

use gradus::{ConvOptions, DType, Error, Tensor, build, grad, vjp};

const NAN: f64 = f64::NAN;
const INF: f64 = f64::INFINITY;

fn values(x: &Tensor) -> Vec<f64> {
    x.to(DType::F64).to_vec::<f64>().unwrap()
}

#[track_caller]
fn near(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{found:?} instead of {expected:?}");
    for (a, b) in found.iter().zip(expected) {
        let same = a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-12 * b.abs().max(1.0);
        assert!(same, "{found:?} instead of {expected:?}");
    }
}

/// The value of `f` and the gradient of its sum.
#[track_caller]
fn pointwise(f: impl Fn(&Tensor) -> Tensor, x: &[f64], value: &[f64], slope: &[f64]) {
    let x = Tensor::from(x.to_vec());
    let y = f(&x);
    near(&values(&y), value);
    near(&values(&grad(&y.sum(..), [&x])[0]), slope);
}

#[test]
fn kinks_have_the_slopes_of_pytorch() {
    let x = [-1.0, 0.0, 1.0];
    pointwise(Tensor::relu, &x, &[0.0, 0.0, 1.0], &[0.0, 0.0, 1.0]);
    pointwise(Tensor::abs, &x, &[1.0, 0.0, 1.0], &[-1.0, 0.0, 1.0]);
    pointwise(|x| x.leaky_relu(0.2), &x, &[-0.2, 0.0, 1.0], &[0.2, 0.2, 1.0]);
    let (e, slope) = (-0.9481808382428365, 0.5518191617571635);
    pointwise(|x| x.elu(1.5), &x, &[e, 0.0, 1.0], &[slope, 1.5, 1.0]);
    let wide = [-2.0, -1.0, 0.0, 1.0, 2.0];
    pointwise(|x| x.clamp(-1.0, 1.0), &wide, &[-1.0, -1.0, 0.0, 1.0, 1.0], &[0.0, 1.0, 1.0, 1.0, 0.0]);
    pointwise(Tensor::sign, &x, &x, &[0.0; 3]);
    pointwise(Tensor::sqrt, &[-1.0, 0.0, 1.0], &[NAN, 0.0, 1.0], &[NAN, INF, 0.5]);
    pointwise(Tensor::round, &[0.5, 1.5, 2.5, -0.5], &[0.0, 2.0, 2.0, 0.0], &[0.0; 4]);
    let g = [-0.08331547058768635, 0.5, 1.0833154705876864];
    pointwise(Tensor::gelu, &x, &[-0.15865525393145702, 0.0, 0.841344746068543], &g);
}

#[test]
fn ties_share_the_gradient_as_in_pytorch() {
    let (a, b) = (Tensor::from([1.0f64, 2.0, 0.0]), Tensor::from([1.0f64, 0.0, 2.0]));
    let slopes = |y: Tensor| grad(&y.sum(..), [&a, &b]).iter().map(values).collect::<Vec<_>>();
    assert_eq!(slopes(a.maximum(&b)), [[0.5, 1.0, 0.0], [0.5, 0.0, 1.0]]);
    assert_eq!(slopes(a.minimum(&b)), [[0.5, 0.0, 1.0], [0.5, 1.0, 0.0]]);
    let x = Tensor::from([[1.0f64, 3.0, 3.0], [2.0, 2.0, 2.0]]);
    let slope = |y: Tensor| values(&grad(&y.sum(..), [&x])[0]);
    let third = 1.0 / 3.0;
    near(&slope(x.max(1)), &[0.0, 0.5, 0.5, third, third, third]);
    near(&slope(x.min(1)), &[1.0, 0.0, 0.0, third, third, third]);
    // The first of equals.
    assert_eq!((values(&x.argmax(1)), values(&x.argmin(1))), (vec![1.0, 0.0], vec![0.0, 0.0]));
}

#[test]
fn powers_norms_and_products_at_zero_are_those_of_pytorch() {
    let (p, q) = (Tensor::from([0.0f64, 0.0, 0.0, 2.0, -2.0]), Tensor::from([0.0f64, 2.0, 1.0, 0.0, 3.0]));
    let y = p.pow(&q);
    near(&values(&y), &[1.0, 0.0, 0.0, 1.0, -8.0]);
    let slopes = grad(&y.sum(..), [&p, &q]);
    near(&values(&slopes[0]), &[0.0, 0.0, 1.0, 0.0, 12.0]);
    near(&values(&slopes[1]), &[0.0, 0.0, 0.0, 2f64.ln(), NAN]);
    let x = Tensor::from([[0.0f64, 0.0], [3.0, 4.0]]);
    let y = x.norm(1);
    near(&values(&y), &[0.0, 5.0]);
    near(&values(&grad(&y.sum(..), [&x])[0]), &[0.0, 0.0, 0.6, 0.8]);
    let product = |x: [f64; 3]| {
        let x = Tensor::from(x);
        let first = grad(&x.prod(..), [&x]).remove(0);
        [values(&first), values(&grad(&first.sum(..), [&x])[0])]
    };
    assert_eq!(product([0.0, 2.0, 3.0]), [[6.0, 0.0, 0.0], [5.0, 3.0, 2.0]]);
    assert_eq!(product([0.0, 0.0, 3.0]), [[0.0, 0.0, 0.0], [3.0, 3.0, 0.0]]);
}

#[test]
fn nan_is_passed_on() {
    let x = Tensor::from([1.0f64, NAN, 2.0]);
    let one = [
        Tensor::relu,
        Tensor::abs,
        Tensor::sign,
        Tensor::floor,
        Tensor::silu,
        Tensor::gelu,
        Tensor::softplus,
    ];
    for f in one {
        let y = values(&f(&x));
        assert!(y[1].is_nan() && !y[0].is_nan() && !y[2].is_nan(), "{y:?}");
    }
    for y in [
        x.clamp(0.0, 1.5),
        x.leaky_relu(0.1),
        x.elu(1.0),
        x.maximum(1.5),
        x.minimum(1.5),
        x.full_like(1.5).maximum(&x),
        x.full_like(1.5).minimum(&x),
    ] {
        let y = values(&y);
        assert!(y[1].is_nan() && !y[0].is_nan() && !y[2].is_nan(), "{y:?}");
    }
    for y in [x.max(0), x.min(0), x.sum(0), x.prod(0), x.mean(..), x.logsumexp(0), x.norm(0)] {
        assert!(y.item().unwrap().is_nan());
    }
    // It counts as an extreme, and its place is known.
    assert_eq!((x.argmax(0).item().unwrap(), x.argmin(0).item().unwrap()), (1.0, 1.0));
    assert_eq!(values(&x.argsort(0)), [0.0, 2.0, 1.0]);
    assert_eq!(values(&x.argsort_descending(0)), [1.0, 2.0, 0.0]);
    assert_eq!(values(&x.eq(&x)), [1.0, 0.0, 1.0]);
    assert_eq!(values(&x.ne(&x)), [0.0, 1.0, 0.0]);
    assert_eq!(values(&x.le(2.0)), [1.0, 0.0, 1.0]);
    assert_eq!(values(&x.isnan()), [0.0, 1.0, 0.0]);
    // A side that is not taken leaves no trace, neither of NaN nor of infinite slopes.
    let safe = x.isnan().select(&x.zeros_like(), &x);
    near(&values(&grad(&safe.square().sum(..), [&x])[0]), &[2.0, 0.0, 4.0]);
}

#[test]
fn exponentials_do_not_overflow() {
    let x = Tensor::from([[-INF, 0.0], [1000.0, 1000.0], [-INF, -INF], [INF, 0.0]]);
    near(&values(&x.logsumexp(1)), &[0.0, 1000.0 + 2f64.ln(), -INF, INF]);
    let two = x.slice(0, ..2);
    near(&values(&two.softmax(1)), &[0.0, 1.0, 0.5, 0.5]);
    near(&values(&two.log_softmax(1)), &[-INF, 0.0, -(2f64.ln()), -(2f64.ln())]);
    let y = Tensor::from([[0.0f64, 1.0], [1000.0, -1000.0]]);
    near(&values(&grad(&y.log_softmax(1).at(1, 0).sum(..), [&y])[0])[2..], &[0.0, 0.0]);
    pointwise(Tensor::sigmoid, &[-1e4, 1e4], &[0.0, 1.0], &[0.0, 0.0]);
    pointwise(Tensor::softplus, &[-1e4, 1e4], &[0.0, 1e4], &[0.0, 1.0]);
    pointwise(Tensor::log_sigmoid, &[-1e4, 1e4], &[-1e4, 0.0], &[1.0, 0.0]);
    pointwise(|x| x.elu(1.0), &[1e4], &[1e4], &[1.0]);
    pointwise(Tensor::tanh, &[-1e4, 1e4], &[-1.0, 1.0], &[0.0, 0.0]);
}

#[test]
fn padding_with_infinity_leaves_the_gradient_alone() {
    let x = Tensor::from([1.0f64, 2.0]);
    let y = x.pad_with(&[(1, 1)], -INF);
    assert_eq!(values(&y), [-INF, 1.0, 2.0, -INF]);
    assert_eq!(values(&grad(&y.max(..), [&x])[0]), [0.0, 1.0]);
}

#[test]
fn conversions_pass_gradients_between_floats() {
    let x = Tensor::from([0.5f64, -3.0]);
    let narrow = x.to(DType::F32);
    let slope = grad(&(&narrow * &narrow).sum(..), [&x]).remove(0);
    assert_eq!((slope.dtype(), values(&slope)), (DType::F64, vec![1.0, -6.0]));
    let second = grad(&slope.sum(..), [&x]).remove(0);
    assert_eq!(values(&second), [2.0, 2.0]);
    let wide = Tensor::from([0.5f32, -3.0]);
    let slope = grad(&wide.to(DType::F64).square().sum(..), [&wide]).remove(0);
    assert_eq!((slope.dtype(), values(&slope)), (DType::F32, vec![1.0, -6.0]));
}

#[test]
fn conversions_truncate_and_saturate() {
    let x = Tensor::from([2.9f64, -2.9, 1e12, -1e12, NAN, 0.0]);
    assert_eq!(x.to(DType::I32).to_vec::<i32>().unwrap(), [2, -2, i32::MAX, i32::MIN, 0, 0]);
    assert_eq!(x.to(DType::U32).to_vec::<u32>().unwrap(), [2, 0, u32::MAX, 0, 0, 0]);
    assert_eq!(x.to(DType::Bool).to_vec::<bool>().unwrap(), [true, true, true, true, true, false]);
    assert_eq!(Tensor::from([true, false]).to(DType::F32).to_vec::<f32>().unwrap(), [1.0, 0.0]);
    assert_eq!(Tensor::from([-1i32]).to(DType::U32).to_vec::<u32>().unwrap(), [u32::MAX]);
    assert_eq!(Tensor::from([16_777_217i32]).to(DType::F32).to_vec::<f32>().unwrap(), [16_777_216.0]);
}

#[test]
fn integers_wrap_and_divide_toward_zero() {
    let (a, b) = (Tensor::from([7i32, -7, i32::MAX, i32::MIN, 5]), Tensor::from([2i32, 2, 1, -1, 0]));
    let ints = |x: Tensor| x.to_vec::<i32>().unwrap();
    assert_eq!(ints(&a + &b), [9, -5, i32::MIN, i32::MAX, 5]);
    assert_eq!(ints(&a * &b), [14, -14, i32::MAX, i32::MIN, 0]);
    assert_eq!(ints(&a / &b), [3, -3, i32::MAX, i32::MIN, 0]);
    assert_eq!(ints(-&a), [-7, 7, -i32::MAX, i32::MIN, -5]);
    assert_eq!(ints(a.abs()), [7, 7, i32::MAX, i32::MIN, 5]);
    assert_eq!(ints(a.sign()), [1, -1, 1, -1, 1]);
    assert_eq!(ints(a.maximum(&b)), [7, 2, i32::MAX, -1, 5]);
    assert_eq!(ints(a.slice(0, 2..4).sum(..)), [-1]);
    assert_eq!(Tensor::from([u32::MAX, 2]).sum(..).to_vec::<u32>().unwrap(), [1]);
    assert_eq!(ints(a.cumsum(0)), [7, 0, i32::MAX, -1, 4]);
    assert_eq!((Tensor::from([1u32]) - Tensor::from([2u32])).to_vec::<u32>().unwrap(), [u32::MAX]);
    assert_eq!(ints(Tensor::from([3i32, -4]).prod(..)), [-12]);
}

#[test]
fn bools_add_as_or_and_multiply_as_and() {
    let (a, b) = (Tensor::from([true, true, false, false]), Tensor::from([true, false, true, false]));
    let bools = |x: Tensor| x.to_vec::<bool>().unwrap();
    assert_eq!(bools(&a + &b), [true, true, true, false]);
    assert_eq!(bools(&a * &b), [true, false, false, false]);
    assert_eq!(bools(a.logical_xor(&b)), [false, true, true, false]);
    assert_eq!(bools(a.maximum(&b)), [true, true, true, false]);
    assert_eq!(bools(a.lt(&b)), [false, false, true, false]);
    assert_eq!(bools(a.eq(&b)), [true, false, false, true]);
    assert_eq!((bools(a.any(..)), bools(a.all(..))), (vec![true], vec![false]));
    // Of nothing: no one is true, all are.
    let none = Tensor::zeros([0, 2]).to(DType::Bool);
    assert_eq!((bools(none.any(0)), bools(none.all(0))), (vec![false; 2], vec![true; 2]));
    assert_eq!(bools(Tensor::from([[true], [false]]).t()), [true, false]);
}

#[test]
fn matmul_follows_numpys_rules() {
    let product = |a: &[usize], b: &[usize]| {
        let (a, b) = (Tensor::ones(a), Tensor::ones(b));
        build(|| a.matmul(&b)).map(|y| (y.shape().to_vec(), y.to_vec::<f32>().unwrap()))
    };
    for (a, b, shape) in [
        (&[3][..], &[3][..], &[][..]),
        (&[3], &[3, 2], &[2]),
        (&[2, 3], &[3], &[2]),
        (&[3], &[4, 3, 2], &[4, 2]),
        (&[4, 2, 3], &[3], &[4, 2]),
        (&[5, 1, 2, 3], &[4, 3, 2], &[5, 4, 2, 2]),
        (&[1, 2, 3], &[7, 3, 1], &[7, 2, 1]),
    ] {
        assert_eq!(
            product(a, b).unwrap(),
            (shape.to_vec(), vec![3.0; shape.iter().product()]),
            "{a:?} {b:?}"
        );
    }
    // No terms: zeros. No rows, no batch: nothing.
    assert_eq!(product(&[2, 0], &[0, 3]).unwrap(), (vec![2, 3], vec![0.0; 6]));
    assert_eq!(product(&[0, 3], &[3, 2]).unwrap(), (vec![0, 2], vec![]));
    assert_eq!(product(&[0, 2, 3], &[1, 3, 2]).unwrap(), (vec![0, 2, 2], vec![]));
    assert!(product(&[2, 2, 3], &[3, 3, 2]).is_err());
}

#[test]
fn convolutions_are_those_of_pytorch() {
    let ramp = |n: usize, shape: [usize; 4]| {
        Tensor::from((0..n).map(|i| i as f64 / 10.0).collect::<Vec<_>>()).reshape(shape)
    };
    let steps = |n: usize, period: usize, scale: f64, shape: [usize; 4]| {
        Tensor::from((0..n).map(|i| (i % period) as f64 / scale - 0.5).collect::<Vec<_>>()).reshape(shape)
    };
    let o =
        ConvOptions { stride: [2, 1], padding: [1, 0], dilation: [1, 3], groups: 2, output_padding: [0, 0] };
    let y = ramp(60, [1, 4, 3, 5]).conv2d(&steps(24, 5, 4.0, [6, 2, 1, 2]), o);
    assert_eq!(y.shape().dims(), [1, 6, 3, 2]);
    let rows =
        [[0.125, 0.075], [-0.65, -0.675], [-1.05, -1.05], [0.8, 0.825], [3.025, 3.075], [-1.375, -1.425]];
    // Padding of the height leaves the first and last rows without a term.
    let expected: Vec<f64> = rows.iter().flat_map(|r| [0.0, 0.0, r[0], r[1], 0.0, 0.0]).collect();
    near(&values(&y), &expected);
    let o =
        ConvOptions { stride: [2, 3], padding: [1, 1], dilation: [2, 1], groups: 2, output_padding: [1, 1] };
    let y = ramp(24, [1, 4, 2, 3]).conv_transpose2d(&steps(48, 7, 5.0, [4, 2, 2, 3]), o);
    assert_eq!(y.shape().dims(), [1, 4, 4, 8]);
    let rows = [
        [0.48, -0.42, 0.1, 0.54, -0.42, 0.08, 0.6, -0.42],
        [0.0, 0.24, -0.26, 0.02, 0.3, -0.28, 0.04, 0.36],
        [0.12, 0.48, 0.22, 0.1, 0.54, 0.26, 0.08, 0.6],
        [-0.24, 0.0, -0.54, -0.26, 0.02, -0.6, -0.28, 0.04],
        [0.54, 1.86, 0.98, 0.56, 1.96, 1.06, 0.58, 2.06],
        [0.3, 1.02, 1.78, 0.3, 1.06, 1.88, 0.3, 1.1],
        [0.9, 0.54, -0.42, 0.98, 0.56, -0.42, 1.06, 0.58],
        [1.68, 0.3, 1.02, 1.78, 0.3, 1.08, 1.88, 0.3],
    ];
    let expected: Vec<f64> = rows.iter().flat_map(|r| [[0.0; 8], *r].concat()).collect();
    near(&values(&y), &expected);
}

#[test]
fn a_convolution_of_an_empty_batch_is_empty_and_its_weight_gradient_zero() {
    let (x, w) = (
        Tensor::from(Vec::<f64>::new()).reshape([0, 2, 4, 4]),
        Tensor::from(vec![1.0f64; 54]).reshape([3, 2, 3, 3]),
    );
    let y = x.conv2d(&w, ConvOptions::default());
    assert_eq!((y.shape().dims(), values(&y).len()), (&[0, 3, 2, 2][..], 0));
    let slopes = grad(&y.sum(..), [&x, &w]);
    assert_eq!((values(&slopes[0]).len(), values(&slopes[1])), (0, vec![0.0; 54]));
}

#[test]
fn slices_are_pythons() {
    let x = Tensor::from([0.0f64, 1.0, 2.0, 3.0, 4.0]);
    let taken = |y: Tensor| values(&y);
    assert_eq!(taken(x.slice(0, 1..3)), [1.0, 2.0]);
    assert_eq!(taken(x.slice(0, -2..)), [3.0, 4.0]);
    assert_eq!(taken(x.slice(0, ..-3)), [0.0, 1.0]);
    assert_eq!(taken(x.slice(0, ..=1)), [0.0, 1.0]);
    assert_eq!(taken(x.slice(0, 3..99)), [3.0, 4.0]);
    assert_eq!(
        taken(x.slice(0, (std::ops::Bound::Included(3), std::ops::Bound::Excluded(1)))),
        Vec::<f64>::new()
    );
    assert_eq!(taken(x.slice_step(0, .., 2)), [0.0, 2.0, 4.0]);
    assert_eq!(taken(x.slice_step(0, .., -2)), [4.0, 2.0, 0.0]);
    assert_eq!(taken(x.slice_step(0, 1..4, -2)), [3.0, 1.0]);
    assert_eq!(taken(x.at(0, -1)), [4.0]);
}

#[test]
fn what_windows_share_adds_up_in_the_gradient() {
    let x = Tensor::from([1.0f64, 2.0, 3.0, 4.0, 5.0]);
    let counts =
        |size, stride, dilation| values(&grad(&x.window(0, size, stride, dilation).sum(..), [&x])[0]);
    assert_eq!(counts(3, 1, 1), [1.0, 2.0, 3.0, 2.0, 1.0]);
    assert_eq!(counts(2, 2, 1), [1.0, 1.0, 1.0, 1.0, 0.0]);
    assert_eq!(counts(2, 1, 3), [1.0, 1.0, 0.0, 1.0, 1.0]);
    assert_eq!(x.window(0, 6, 1, 1).shape().dims(), [0, 6]);
}

#[test]
fn statistics_of_little_or_nothing_are_those_of_pytorch() {
    let (one, none) = (Tensor::from([3.0f64]), Tensor::from(Vec::<f64>::new()));
    near(&values(&one.var(.., 0)), &[0.0]);
    assert!(!one.var(.., 1).item().unwrap().is_finite());
    near(
        &[none.sum(..).item().unwrap(), none.prod(..).item().unwrap(), none.norm(..).item().unwrap()],
        &[0.0, 1.0, 0.0],
    );
    near(&[none.mean(..).item().unwrap(), none.logsumexp(..).item().unwrap()], &[NAN, -INF]);
    assert_eq!(Tensor::zeros([2, 0]).softmax(1).shape().dims(), [2, 0]);
    assert_eq!(Tensor::zeros([2, 0]).sum(1).to_vec::<f32>().unwrap(), [0.0, 0.0]);
    assert_eq!(Tensor::zeros([0, 2]).max(1).shape().dims(), [0]);
}

type Op = fn(&Tensor) -> Tensor;

/// One way to call every op that takes a single tensor of any shape.
const ANY_SHAPE: &[(&str, Op)] = &[
    ("neg", |x| -x),
    ("exp", Tensor::exp),
    ("relu", Tensor::relu),
    ("pow", |x| x.pow(2.5)),
    ("add", |x| x + x),
    ("mul", |x| x * 2.0),
    ("maximum", |x| x.maximum(0.5)),
    ("select", |x| x.gt(0.5).select(x, &x.square())),
    ("clamp", |x| x.clamp(0.0, 1.0)),
    ("to", |x| x.to(DType::F32).to(DType::F64)),
    ("gelu", Tensor::gelu),
    ("reshape", |x| x.reshape([x.numel()])),
    ("flatten", |x| x.flatten(0)),
    ("unsqueeze", |x| x.unsqueeze(0)),
    ("squeeze", |x| x.squeeze([0usize; 0])),
    ("permute", |x| x.permute((0..x.rank()).rev().collect::<Vec<_>>())),
    ("transpose", |x| x.transpose(0, -1)),
    ("t", |x| x.t()),
    ("expand", |x| x.expand([&[2], &x.shape()[..]].concat())),
    ("slice", |x| x.slice(0, ..1)),
    ("slice_step", |x| x.slice_step(-1, .., -2)),
    ("at", |x| x.at(0, 0)),
    ("flip", |x| x.flip(..)),
    ("window", |x| x.window(0, 2, 1, 1)),
    ("pad", |x| x.pad(&vec![(1, 2); x.rank()])),
    ("pad_with", |x| x.pad_with(&vec![(1, 2); x.rank()], 3.0)),
    ("cat", |x| Tensor::cat(&[x.clone(), x.clone()], 0)),
    ("stack", |x| Tensor::stack(&[x.clone(), x.clone()], -1)),
    ("split", |x| x.split(0, &[x.shape().first().copied().unwrap_or(0)]).remove(0)),
    ("tile", |x| x.tile(vec![2usize; x.rank()])),
    ("repeat_interleave", |x| x.repeat_interleave(0, 2)),
    ("sum", |x| x.sum(..)),
    ("sum_keepdim", |x| x.sum_keepdim(-1)),
    ("mean", |x| x.mean(..)),
    ("var", |x| x.var(.., 0)),
    ("std", |x| x.std(0, 1)),
    ("max", |x| x.max(..)),
    ("min", |x| x.min(0)),
    ("argmax", |x| x.argmax(0)),
    ("any", |x| x.any(..)),
    ("all", |x| x.all(..)),
    ("prod", |x| x.prod(..)),
    ("prod of none", |x| x.prod([0usize; 0])),
    ("logsumexp", |x| x.logsumexp(..)),
    ("norm", |x| x.norm(..)),
    ("softmax", |x| x.softmax(-1)),
    ("log_softmax", |x| x.log_softmax(0)),
    ("matmul", |x| x.matmul(x)),
    ("matmul with the transpose", |x| x.matmul(&x.transpose(-1, -2))),
    ("dot", |x| x.dot(x)),
    ("gather", |x| x.gather(0, &Tensor::zeros(x.shape()).to(DType::U32))),
    ("scatter_add", |x| x.scatter_add(0, &Tensor::zeros(x.shape()).to(DType::U32), x)),
    ("index_select", |x| x.index_select(0, &Tensor::from([0u32, 0]))),
    ("embedding", |x| x.embedding(&Tensor::arange(x.shape().first().copied().unwrap_or(0)))),
    ("cumsum", |x| x.cumsum(0)),
    ("sort", |x| x.sort(-1).0),
    ("topk", |x| x.topk(1, 0).0),
    ("one_hot", |x| x.to(DType::U32).one_hot(3)),
    ("stop_grad", Tensor::stop_grad),
];

#[test]
fn empty_and_scalar_tensors_have_a_value_or_a_clear_error() {
    let shapes: [&[usize]; 8] = [&[], &[0], &[1], &[2, 0], &[0, 2], &[0, 0], &[1, 1], &[3, 0, 2]];
    let mut refused = 0;
    for &(name, op) in ANY_SHAPE {
        for shape in shapes {
            let x = Tensor::from_vec(vec![0.75f64; shape.iter().product()], shape);
            match build(|| op(&x)) {
                Err(Error::Build(e)) => {
                    assert!(e.site.file() == file!() && !e.rule.is_empty(), "{name} of {shape:?}: {e}");
                    refused += 1;
                }
                Err(e) => panic!("{name} of {shape:?}: {e}"),
                Ok(y) => check_all(name, &x, &y),
            }
        }
    }
    assert!(refused > 20 && refused < 200, "{refused} refused");
}

/// Reads a value and its first and second gradients. An index into an empty axis is known only then.
fn check_all(name: &str, x: &Tensor, y: &Tensor) {
    match y.eval() {
        Err(Error::BadIndex { len: 0, .. }) => return,
        other => other.unwrap_or_else(|e| panic!("{name} of {}: {e}", x.shape())),
    }
    if !y.dtype().is_float() {
        return;
    }
    let Some(g) = vjp(y, &[x], &y.ones_like()).remove(0) else { return };
    assert_eq!(g.shape(), x.shape(), "gradient of {name}");
    g.eval().unwrap();
    if let Some(second) = vjp(&g, &[x], &g.ones_like()).remove(0) {
        assert_eq!(second.shape(), x.shape(), "second gradient of {name}");
        second.eval().unwrap();
    }
}

#[test]
fn ranges_reach_their_ends() {
    assert_eq!(Tensor::linspace(-1.0, 2.0, 4).to_vec::<f32>().unwrap(), [-1.0, 0.0, 1.0, 2.0]);
    assert_eq!(Tensor::linspace(5.0, 9.0, 1).to_vec::<f32>().unwrap(), [5.0]);
    assert_eq!(Tensor::linspace(0.0, 1.0, 0).numel(), 0);
    assert_eq!(Tensor::arange(0).numel(), 0);
    assert_eq!(Tensor::eye(2).to_vec::<f32>().unwrap(), [1.0, 0.0, 0.0, 1.0]);
}

#[test]
fn views_of_one_value_may_be_read_in_any_order() {
    let x = Tensor::from([[1.0f64, 2.0, 3.0], [4.0, 5.0, 6.0]]);
    let (t, row, back) = (x.t(), x.at(0, 1), x.flip(..));
    assert_eq!(values(&back), [6.0, 5.0, 4.0, 3.0, 2.0, 1.0]);
    assert_eq!(values(&row), [4.0, 5.0, 6.0]);
    assert_eq!(values(&t), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    assert_eq!(values(&t.reshape([6])), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    assert_eq!(values(&(&t + &t.flip(0)).at(1, 0)), [4.0, 4.0, 4.0]);
}

/// Functions of constants are computed where the expression is written, and give what a kernel would.
#[test]
fn constants_are_combined_to_the_bit() {
    type Function = fn(&Tensor, &Tensor) -> Tensor;
    let functions: [Function; 4] = [|a, b| a + b, |a, b| a - b, |a, b| a * b, |a, b| a / b];
    let bits = |x: Tensor| values(&x).into_iter().map(f64::to_bits).collect::<Vec<_>>();
    for (x, y) in [(0.1, 3.0), (-0.0, 0.0), (1.0, 0.0), (1e30, 1e30), (-7.3, 1e-42), (0.1, 1.0)] {
        for dtype in [DType::F32, DType::F64] {
            let constant = |x: f64| Tensor::zeros([2]).to(dtype).full_like(x);
            let data = |x: f64| Tensor::from([x, x]).to(dtype);
            for f in functions {
                if f(&data(x), &data(y)).isnan().to(DType::F32).sum(..).item().unwrap() > 0.0 {
                    continue;
                }
                let computed = bits(f(&data(x), &data(y)));
                assert_eq!(bits(f(&constant(x), &constant(y))), computed, "{x} and {y} in {dtype}");
            }
            assert_eq!(bits(-constant(x)), bits(-data(x)));
        }
    }
}

/// The same number stands beside tensors of several shapes and types, and in the gradients of all of them.
#[test]
fn a_number_has_the_shape_of_what_it_stands_beside() {
    let (x, y) = (Tensor::from([[0.25, 2.0, 3.0], [4.0, 5.0, 6.0]]), Tensor::from([0.25, 2.0]));
    let n = Tensor::from([1i32, 2, 3]);
    let f = |x: &Tensor| ((x.maximum(0.5) * 0.5).pow(2.5) / 0.5 + 0.5 / x - 0.5).minimum(40.5);
    let (u, v) = (f(&x), f(&y));
    assert_eq!((u.shape().to_vec(), v.shape().to_vec()), (vec![2, 3], vec![2]));
    assert_eq!(values(&(n * 2.0 - 5.0)), [-3.0, -1.0, 1.0]);
    let plain = |x: f64| (2.0 * (x.max(0.5) / 2.0).powf(2.5) + 0.5 / x - 0.5).min(40.5);
    near(&values(&u), &values(&x).into_iter().map(plain).collect::<Vec<_>>());
    let slope = |x: f64| if x > 0.5 { 2.5 * (x / 2.0).powf(1.5) } else { 0.0 } - 0.5 / (x * x);
    let curve = |x: f64| if x > 0.5 { 1.875 * (x / 2.0).powf(0.5) } else { 0.0 } + 1.0 / (x * x * x);
    for (x, u) in [(&x, &u), (&y, &v)] {
        let first = grad(&u.sum(..), [x]).remove(0);
        let second = grad(&first.sum(..), [x]).remove(0);
        near(&values(&first), &values(x).into_iter().map(slope).collect::<Vec<_>>());
        near(&values(&second), &values(x).into_iter().map(curve).collect::<Vec<_>>());
    }
}
