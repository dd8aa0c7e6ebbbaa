//! Mistakes are reported at the line that makes them: every rule of every op is broken once, and the message has to
//! name the op, the shapes or arguments, and the rule, and point at the line here.

use gradus::{ConvOptions, DType, Error, Rng, Tensor, build, grad, jvp, set_guard, vjp};
use std::sync::{Mutex, PoisonError};

/// Zeros, f32.
fn z<const N: usize>(shape: [usize; N]) -> Tensor {
    Tensor::zeros(shape)
}

fn of<const N: usize>(dtype: DType, shape: [usize; N]) -> Tensor {
    z(shape).to(dtype)
}

#[track_caller]
fn check(result: Result<(), Error>, op: &str, parts: &[&str], line: u32) {
    let Err(Error::Build(error)) = result else { panic!("{op} accepted what breaks its rule: {result:?}") };
    assert_eq!(error.op, op, "{error}");
    let message = error.to_string();
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
    // The formatter may break the line on which the macro starts.
    let lines = line..line + 6;
    assert!(error.site.file() == file!() && lines.contains(&error.site.line()), "line {line}: {message}");
}

/// The expression must be refused by `op`, with these words, at this line.
macro_rules! refuses {
    ($op:literal, [$($part:literal),*], $($expression:tt)*) => {
        check(build(|| drop({ $($expression)* })), $op, &[$($part),*], line!())
    };
}

#[test]
fn constructors() {
    refuses!("full", ["-1", "negative"], Tensor::full([-1isize], 0.0));
    refuses!("zeros", ["9 axes", "at most 8"], Tensor::zeros([1usize; 9]));
    refuses!("ones", ["more elements"], Tensor::ones([1usize << 40, 1 << 40]));
    refuses!("from_vec", ["[2, 2]", "4 elements", "3"], Tensor::from_vec(vec![1.0f32; 3], [2, 2]));
    refuses!("one_hot", ["f32"], z([2]).one_hot(3));
    refuses!("normal", ["-2"], Rng::seed(1).normal([-2isize]));
    refuses!("normal", ["u32"], Rng::seed(1).normal_of([2], DType::U32));
    refuses!("uniform", ["bool"], Rng::seed(1).uniform_of([2], DType::Bool));
    refuses!("item", ["[2]", "one element"], z([2]).item());
    let message = Tensor::try_from_vec(vec![1.0f32; 3], [2, 2]).unwrap_err().to_string();
    assert!(message.contains("[2, 2]") && message.contains('3'), "{message}");
}

#[test]
fn functions_of_one() {
    refuses!("exp", ["i32", "[2]", ".to(dtype)"], of(DType::I32, [2]).exp());
    refuses!("sqrt", ["u32"], of(DType::U32, [2]).sqrt());
    refuses!("neg", ["bool"], -of(DType::Bool, [2]));
    refuses!("abs", ["bool"], of(DType::Bool, [2]).abs());
    refuses!("floor", ["i32"], of(DType::I32, [2]).floor());
    refuses!("relu", ["i32"], of(DType::I32, [2]).relu());
    refuses!("isnan", ["i32"], of(DType::I32, [2]).isnan());
    refuses!("logical_not", ["f32"], z([2]).logical_not());
    refuses!("sigmoid", ["i32"], of(DType::I32, [2]).silu());
}

#[test]
fn functions_of_two() {
    let (a, b) = (z([2, 3]), z([2, 4]));
    refuses!("add", ["[2, 3]", "[2, 4]", "do not broadcast", "equal or one of them 1"], &a + &b);
    refuses!("sub", ["[2, 3]", "[2, 4]"], &a - &b);
    refuses!("mul", ["[2, 3]", "[2, 4]"], a.mul(&b));
    refuses!("div", ["[2, 3]", "[2, 4]"], &a / &b);
    refuses!("pow", ["[2, 3]", "[2, 4]"], a.pow(&b));
    refuses!("maximum", ["[2, 3]", "[2, 4]"], a.maximum(&b));
    refuses!("minimum", ["[2, 3]", "[2, 4]"], a.minimum(&b));
    refuses!("eq", ["[2, 3]", "[2, 4]"], a.eq(&b));
    refuses!("ne", ["[2, 3]", "[2, 4]"], a.ne(&b));
    refuses!("lt", ["[2, 3]", "[2, 4]"], a.lt(&b));
    refuses!("le", ["[2, 3]", "[2, 4]"], a.le(&b));
    refuses!("gt", ["[2, 3]", "[2, 4]"], a.gt(&b));
    refuses!("ge", ["[2, 3]", "[2, 4]"], a.ge(&b));
    let (wide, int, truth) = (of(DType::F64, [2, 3]), of(DType::I32, [2, 3]), of(DType::Bool, [2, 3]));
    refuses!("add", ["f32", "f64", "[2, 3]", ".to(dtype)"], &a + &wide);
    refuses!("maximum", ["f32", "i32"], a.maximum(&int));
    refuses!("pow", ["i32"], int.pow(&int));
    refuses!("sub", ["bool"], &truth - &truth);
    refuses!("div", ["bool"], &truth / &truth);
    refuses!("logical_xor", ["f32"], a.logical_xor(&a));
}

#[test]
fn numbers_that_an_integer_cannot_be() {
    let (signed, unsigned) = (of(DType::I32, [2]), of(DType::U32, [2]));
    refuses!("mul", ["0.5", "i32"], &signed * 0.5);
    refuses!("add", ["-1", "u32"], &unsigned + -1.0);
    refuses!("sub", ["2.5", "i32"], 2.5 - &signed);
    refuses!("lt", ["1000000000000", "i32"], signed.lt(1e12));
    refuses!("add", ["2", "bool"], of(DType::Bool, [2]) + 2.0);
    assert_eq!((&signed + 3.0).to_vec::<i32>().unwrap(), [3, 3]);
    assert_eq!((&unsigned + 4294967295.0).to_vec::<u32>().unwrap(), [u32::MAX; 2]);
}

#[test]
fn choices() {
    let truth = of(DType::Bool, [2, 3]);
    refuses!("where", ["bool", "f32"], z([2, 3]).select(&z([2, 3]), &z([2, 3])));
    refuses!("where", ["f32", "f64"], truth.select(&z([2, 3]), &of(DType::F64, [2, 3])));
    refuses!("where", ["[2, 3]", "[2, 4]"], truth.select(&z([2, 3]), &z([2, 4])));
    refuses!("where", ["[2, 3]", "[5]"], truth.select(&z([5]), &z([5])));
    refuses!("where", ["bool", "f32"], z([2, 3]).masked_fill(&z([2, 3]), 1.0));
}

#[test]
fn views() {
    let x = z([2, 3]);
    refuses!("reshape", ["[2, 3]", "6", "[4, 2]", "8"], x.reshape([4, 2]));
    refuses!("reshape", ["[2, 3]", "[4, -1]"], x.reshape([4, -1]));
    refuses!("reshape", ["-1"], x.reshape([-1, -1]));
    refuses!("flatten", ["axis 2", "2 axes"], x.flatten(2));
    refuses!("unsqueeze", ["axis 3"], x.unsqueeze(3));
    refuses!("squeeze", ["axis 0", "[2, 3]", "extent 2"], x.squeeze(0));
    refuses!("permute", ["[0]", "2 axes"], x.permute([0]));
    refuses!("permute", ["axis 0", "repeated"], x.permute([0, 0]));
    refuses!("permute", ["axis 2"], x.permute([0, 2]));
    refuses!("transpose", ["axis -3", "2 axes"], x.transpose(-3, 0));
    refuses!("t", ["[2, 3, 4]", "matrix"], z([2, 3, 4]).t());
    refuses!("expand", ["[2, 3]", "[2, 6]", "extents of 1"], x.expand([2, 6]));
    refuses!("expand", ["[2, 3]", "[3]"], x.expand([3]));
    refuses!("slice", ["axis 2"], x.slice(2, ..));
    refuses!("slice", ["step"], x.slice_step(0, .., 0));
    refuses!("at", ["position 2", "[2, 3]", "axis 0"], x.at(0, 2));
    refuses!("at", ["position -4", "axis 1"], x.at(1, -4));
    refuses!("flip", ["axis 1", "repeated"], x.flip([1, 1]));
    refuses!("window", ["size 0"], x.window(0, 0, 1, 1));
    refuses!("window", ["stride 0"], x.window(0, 1, 0, 1));
}

#[test]
fn joining() {
    let x = z([2, 3]);
    refuses!("pad", ["1 pairs", "[2, 3]"], x.pad(&[(1, 1)]));
    refuses!("cat", ["at least one"], Tensor::cat(&[], 0));
    refuses!("cat", ["[2, 3]", "[2, 4]", "axis 0"], Tensor::cat(&[x.clone(), z([2, 4])], 0));
    refuses!("cat", ["f32", "f64"], Tensor::cat(&[x.clone(), of(DType::F64, [2, 3])], 0));
    refuses!("cat", ["axis 0"], Tensor::cat(&[z([])], 0));
    refuses!("stack", ["at least one"], Tensor::stack(&[], 0));
    refuses!("stack", ["[2, 3]", "[3, 2]"], Tensor::stack(&[x.clone(), z([3, 2])], 0));
    refuses!("split", ["[1, 1]", "3", "[2, 3]"], x.split(1, &[1, 1]));
    refuses!("chunk", ["at least one"], x.chunk(0, 0));
    refuses!("tile", ["[2]", "[2, 3]"], x.tile([2]));
    refuses!("repeat_interleave", ["axis 2"], x.repeat_interleave(2, 2));
}

#[test]
fn reductions() {
    let x = z([2, 3]);
    refuses!("sum", ["axis 2", "2 axes"], x.sum(2));
    refuses!("sum", ["axis 0", "repeated"], x.sum([0, 0]));
    refuses!("sum", ["bool", "any or all"], of(DType::Bool, [2]).sum(..));
    refuses!("sum", ["bool"], of(DType::Bool, [2]).sum_keepdim(..));
    refuses!("mean", ["i32"], of(DType::I32, [2]).mean(..));
    refuses!("var", ["i32"], of(DType::I32, [2]).var(.., 0));
    refuses!("std", ["axis 5"], x.std(5, 0));
    refuses!("max", ["[0, 3]", "no element"], z([0, 3]).max(0));
    refuses!("min", ["[0]", "no element"], z([0]).min(..));
    refuses!("argmax", ["[2, 0]", "no element"], z([2, 0]).argmax(1));
    refuses!("argmin", ["axis -3"], x.argmin(-3));
    refuses!("any", ["axis 2"], x.any(2));
    refuses!("all", ["axis 2"], x.all(2));
    refuses!("prod", ["axis 2"], x.prod(2));
    refuses!("logsumexp", ["axis 2"], x.logsumexp(2));
    refuses!("norm", ["axis 2"], x.norm(2));
    refuses!("softmax", ["axis 2"], x.softmax(2));
    refuses!("log_softmax", ["axis 0", "0 axes"], z([]).log_softmax(0));
}

#[test]
fn matrix_products() {
    refuses!("matmul", ["[2, 3]", "[4, 5]", "inner extents"], z([2, 3]).matmul(&z([4, 5])));
    refuses!("matmul", ["[2, 3, 4]", "[3, 4, 5]", "broadcast"], z([2, 3, 4]).matmul(&z([3, 4, 5])));
    refuses!("matmul", ["[]", "at least one axis"], z([]).matmul(&z([3])));
    refuses!("matmul", ["f32", "f64"], z([2, 2]).matmul(&of(DType::F64, [2, 2])));
    refuses!("matmul", ["i32"], of(DType::I32, [2, 2]).matmul(&of(DType::I32, [2, 2])));
    refuses!("mul", ["[2]", "[3]"], z([2]).dot(&z([3])));
}

#[test]
fn convolutions() {
    let (x, w) = (z([1, 4, 5, 5]), z([6, 4, 3, 3]));
    let o = ConvOptions::default();
    refuses!("conv2d", ["[4, 5, 5]", "[n, c, h, w]"], z([4, 5, 5]).conv2d(&w, o));
    refuses!("conv2d", ["f32", "f64"], x.conv2d(&of(DType::F64, [6, 4, 3, 3]), o));
    refuses!("conv2d", ["stride"], x.conv2d(&w, o.stride(0)));
    refuses!("conv2d", ["dilation"], x.conv2d(&w, o.dilation(0)));
    refuses!("conv2d", ["groups"], x.conv2d(&w, o.groups(0)));
    refuses!("conv2d", ["[1, 4, 5, 5]", "[6, 4, 3, 3]", "2 groups", "8"], x.conv2d(&w, o.groups(2)));
    refuses!("conv2d", ["divide"], x.conv2d(&z([5, 2, 3, 3]), o.groups(2)));
    refuses!("conv2d", ["empty", "[6, 4, 0, 3]"], x.conv2d(&z([6, 4, 0, 3]), o));
    refuses!("conv2d", ["9", "5", "[1, 4, 5, 5]"], x.conv2d(&w, o.dilation(4)));
    refuses!("conv1d", ["[n, c, l]", "[1, 4, 5, 5]"], x.conv1d(&w, o));
    refuses!("conv_transpose2d", ["[1, 4, 5, 5]", "[6, 4, 3, 3]", "channels"], x.conv_transpose2d(&w, o));
    let back = z([4, 2, 3, 3]);
    refuses!("conv_transpose2d", ["groups"], x.conv_transpose2d(&back, o.groups(3)));
    refuses!(
        "conv_transpose2d",
        ["output padding 2"],
        x.conv_transpose2d(&back, o.stride(2).output_padding(2))
    );
    refuses!("conv_transpose2d", ["empty"], x.conv_transpose2d(&back, o.padding(9)));
    refuses!("conv_transpose1d", ["[n, c, l]"], x.conv_transpose1d(&back, o));
}

#[test]
fn indexing() {
    let (x, i) = (z([2, 3]), of(DType::U32, [2, 3]));
    refuses!("gather", ["f32", "u32 or i32"], x.gather(0, &x));
    refuses!("gather", ["[2, 3]", "[2, 4]", "axis 0"], x.gather(0, &of(DType::U32, [2, 4])));
    refuses!("gather", ["[3]", "[2, 3]"], x.gather(0, &of(DType::U32, [3])));
    refuses!("scatter_add", ["bool", "u32 or i32"], x.scatter_add(0, &of(DType::Bool, [2, 3]), &x));
    refuses!("scatter_add", ["[2, 3]", "[2, 2]"], x.scatter_add(0, &i, &z([2, 2])));
    refuses!("scatter_add", ["f64"], x.scatter_add(0, &i, &of(DType::F64, [2, 3])));
    refuses!("index_select", ["[2, 3]", "one axis"], x.index_select(0, &i));
    refuses!("embedding", ["[2]", "matrix"], z([2]).embedding(&i));
    refuses!("cumsum", ["bool"], of(DType::Bool, [2]).cumsum(0));
    refuses!("argsort", ["axis 2"], x.argsort(2));
    refuses!("topk", ["4", "3", "[2, 3]"], x.topk(4, 1));
}

#[test]
fn gradients() {
    let x = Tensor::from([1.0f64, 2.0]);
    refuses!("grad", ["[2]", "sum"], grad(&x.exp(), [&x]));
    refuses!("grad", ["does not depend", "[2]"], grad(&Tensor::from(1.0f64), [&x]));
    refuses!("vjp", ["[3]", "[2]"], vjp(&x.exp(), &[&x], &Tensor::from([1.0f64, 1.0, 1.0])));
    refuses!("vjp", ["f32", "f64"], vjp(&x.exp(), &[&x], &z([2])));
    refuses!("jvp", ["[3]", "[2]"], jvp(&x.exp(), &x, &Tensor::from([1.0f64, 1.0, 1.0])));
}

#[test]
fn what_only_values_show_is_an_error_with_the_line() {
    let (index, line) = (Tensor::from([0i32, -1]), line!() + 1);
    let taken = Tensor::from([1.0f32, 2.0]).gather(0, &index);
    match taken.to_vec::<f32>() {
        Err(Error::BadIndex { value: -1, len: 2, op: "gather", site }) => assert_eq!(site.line(), line),
        other => panic!("{other:?}"),
    }
    let (far, line) = (Tensor::from([7u32]), line!() + 1);
    let sum = Tensor::from([1.0f32, 2.0]).scatter_add(0, &far, &Tensor::from([1.0f32]));
    match sum.to_vec::<f32>() {
        Err(Error::BadIndex { value: 7, len: 2, op: "scatter_add", site }) => assert_eq!(site.line(), line),
        other => panic!("{other:?}"),
    }
    let line = line!() + 1;
    let huge = Tensor::ones([1usize << 45]) + Tensor::arange(1 << 45).to(DType::F32);
    match huge.to_vec::<f32>() {
        Err(Error::OutOfMemory { bytes, op: "add", site, .. }) => {
            assert_eq!((bytes, site.line()), (1 << 47, line))
        }
        other => panic!("{:?}", other.map(|v| v.len())),
    }
    let message = Tensor::from([1.0f32]).to_vec::<f64>().unwrap_err().to_string();
    assert!(message.contains("f32") && message.contains("f64"), "{message}");
}

/// The guard is a switch of the whole process.
static GUARD: Mutex<()> = Mutex::new(());

#[test]
fn the_guard_names_the_first_op_that_makes_nan() {
    let x = Tensor::from([4.0f32, -1.0, 0.0]);
    let line = line!() + 1;
    let root = (&x * 2.0).sqrt();
    let y = (root.exp() + 1.0).sum(..);
    let _guard = GUARD.lock().unwrap_or_else(PoisonError::into_inner);
    set_guard(true);
    let result = y.item();
    set_guard(false);
    match result {
        Err(Error::NonFinite { op: "sqrt", site, count: 1, shape }) => {
            assert_eq!((site.line(), shape), (line, vec![3]));
        }
        other => panic!("{other:?}"),
    }
    assert!(y.item().unwrap().is_nan());
}

#[test]
fn nan_in_a_gradient_is_laid_to_the_op_it_is_the_gradient_of() {
    let x = Tensor::from([4.0f32, 0.0]);
    let line = line!() + 1;
    let root = x.sqrt();
    let slope = grad(&root.sum(..), [&x]).remove(0);
    let _guard = GUARD.lock().unwrap_or_else(PoisonError::into_inner);
    set_guard(true);
    let result = slope.to_vec::<f32>();
    set_guard(false);
    match result {
        Err(Error::NonFinite { op: "div", site, .. }) => {
            assert_eq!((site.file(), site.line()), (file!(), line));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn without_build_a_mistake_panics_and_other_panics_pass_through() {
    let caught = std::panic::catch_unwind(|| z([2]) + z([3])).unwrap_err();
    let message = caught.downcast_ref::<String>().unwrap();
    assert!(message.contains("add") && message.contains("[2]") && message.contains("[3]"), "{message}");
    let other = std::panic::catch_unwind(|| build(|| panic!("not a mistake in shapes")));
    assert_eq!(other.unwrap_err().downcast_ref::<&str>(), Some(&"not a mistake in shapes"));
    // A mistake inside nested calls reaches the innermost one.
    let outer = build(|| build(|| z([2]) + z([3])).is_err());
    assert!(outer.unwrap());
}
