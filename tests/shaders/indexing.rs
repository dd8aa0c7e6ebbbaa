//! Gather, scatter-add, sorting, running sums, folds and copies against their plain loops.

use crate::device::{Device, device, floats, words};
use crate::gpu::kernels::lines::{self, Part, Windows, row_major};
use crate::gpu::kernels::{index, sort};
use crate::numbers::{Numbers, error};
use crate::variants::view;
use gradus_kernels::DType;
use gradus_kernels::naive;
use gradus_kernels::strided::{Element, Strided};

fn product(shape: &[usize]) -> usize {
    shape.iter().product()
}

#[test]
fn gather_along_each_axis() {
    let Some(device) = device() else { return };
    let mut numbers = Numbers::new(1);
    for axis in 0..3 {
        let (shape, len) = ([4usize, 5, 70], 6);
        let mut x_shape = shape;
        x_shape[axis] = len;
        let x: Vec<u32> = words(&numbers.floats(product(&x_shape)));
        let chosen: Vec<u32> = (0..product(&shape)).map(|_| numbers.below(len) as u32).collect();
        let recipe =
            index::gather(&shape, axis, len, &row_major(&x_shape), &row_major(&shape), &device.limits);
        let outcome = device.run(&recipe, &[&x, &chosen], &[chosen.len()]);
        let strided = (Strided::contiguous(&x, &x_shape), Strided::contiguous(&chosen, &shape));
        let wanted = naive::gather::gather(&shape, axis, len, strided.0, strided.1).unwrap();
        assert_eq!((&outcome.outputs[0], outcome.fault[0]), (&wanted, 0), "axis {axis}");
    }
}

#[test]
fn gather_of_rows_by_a_broadcast_index() {
    let Some(device) = device() else { return };
    let (shape, len) = ([9usize, 33], 5);
    let x: Vec<u32> = (0..len * 33).map(|i| i as u32).collect();
    let chosen: Vec<u32> = (0..9).map(|i| (i * 7) % 5).collect();
    let recipe = index::gather(&shape, 0, len, &row_major(&[len, 33]), &view(0, &[1, 0]), &device.limits);
    let found = device.run(&recipe, &[&x, &chosen], &[9 * 33]).outputs.remove(0);
    for (e, found) in found.into_iter().enumerate() {
        assert_eq!(found, chosen[e / 33] * 33 + e as u32 % 33);
    }
}

#[test]
fn a_bad_index_is_reported() {
    let Some(device) = device() else { return };
    let shape = [300usize];
    for bad in [5u32, -1i32 as u32] {
        let mut chosen: Vec<u32> = (0..300).map(|i| i % 5).collect();
        chosen[123] = bad;
        let x = words(&[1.0; 300]);
        let row = row_major(&shape);
        let reported = [1, bad, 5, 77];
        let recipe = index::gather(&shape, 0, 5, &row_major(&[5]), &row, &device.limits);
        assert_eq!(device.run(&recipe, &[&x[..5], &chosen], &[300]).fault, reported);
        for scatter in [index::searched, index::sorted] {
            let recipe = scatter(DType::F32, &shape, 0, 5, &row, &row, &device.limits);
            assert_eq!(device.run(&recipe, &[&x, &chosen], &[5]).fault, reported);
        }
    }
    // Even where there is nothing to add to.
    let row = row_major(&[2]);
    let recipe = index::scatter_add(DType::F32, &[2], 0, 0, &row, &row, &device.limits);
    assert_eq!(device.run(&recipe, &[&[0, 0], &[0, 0]], &[]).fault, [1, 0, 0, 77]);
}

/// Both ways must give the sums in order of the axis, bit for bit.
#[test]
fn scatter_add_equals_the_plain_loop_bit_for_bit() {
    let Some(device) = device() else { return };
    let mut numbers = Numbers::new(2);
    for (shape, axis, len) in
        [([3usize, 40, 7], 1, 6), ([1500, 2, 2], 0, 9), ([2, 3, 2500], 2, 700), ([2, 1, 5], 1, 3)]
    {
        let n = product(&shape);
        let src = numbers.floats(n);
        let chosen: Vec<u32> = (0..n).map(|_| numbers.below(len) as u32).collect();
        let row = row_major(&shape);
        let strided = (Strided::contiguous(&src, &shape), Strided::contiguous(&chosen, &shape));
        let wanted = naive::gather::scatter_add(&shape, axis, len, strided.0, strided.1).unwrap();
        let integers: Vec<u32> = (0..n).map(|_| numbers.next() as u32).collect();
        let strided = (Strided::contiguous(&integers, &shape), Strided::contiguous(&chosen, &shape));
        let wanted_integers = naive::gather::scatter_add(&shape, axis, len, strided.0, strided.1).unwrap();
        for scatter in [index::searched, index::sorted] {
            let recipe = scatter(DType::F32, &shape, axis, len, &row, &row, &device.limits);
            let outcome = device.run(&recipe, &[&words(&src), &chosen], &[wanted.len()]);
            assert_eq!((&outcome.outputs[0], outcome.fault[0]), (&words(&wanted), 0), "{shape:?}");
            let recipe = scatter(DType::I32, &shape, axis, len, &row, &row, &device.limits);
            let outcome = device.run(&recipe, &[&integers, &chosen], &[wanted.len()]);
            assert_eq!(outcome.outputs[0], wanted_integers, "{shape:?}");
        }
    }
}

#[test]
fn scatter_add_of_rows_by_a_broadcast_index() {
    let Some(device) = device() else { return };
    let mut numbers = Numbers::new(3);
    let (shape, len) = ([130usize, 9], 11);
    let src = numbers.floats(product(&shape));
    let chosen: Vec<u32> = (0..130).map(|_| numbers.below(len) as u32).collect();
    let strided = (Strided::contiguous(&src, &shape), Strided::new(&chosen, 0, &[1, 0]));
    let wanted = naive::gather::scatter_add(&shape, 0, len, strided.0, strided.1).unwrap();
    for scatter in [index::searched, index::sorted] {
        let recipe =
            scatter(DType::F32, &shape, 0, len, &row_major(&shape), &view(0, &[1, 0]), &device.limits);
        let outcome = device.run(&recipe, &[&words(&src), &chosen], &[wanted.len()]);
        assert_eq!(outcome.outputs[0], words(&wanted));
    }
}

fn check_argsort<T: Element + PartialOrd>(
    device: &Device,
    shape: &[usize],
    axis: usize,
    x: &[T],
    bits: &[u32],
) {
    for descending in [false, true] {
        let wanted = naive::sort::argsort(shape, axis, descending, Strided::contiguous(x, shape));
        let recipe = sort::argsort(T::DTYPE, shape, axis, descending, &row_major(shape), &device.limits);
        let outcome = device.run(&recipe, &[bits], &[wanted.len()]);
        assert_eq!(outcome.outputs[0], wanted, "{shape:?} along {axis}, descending: {descending}");
    }
}

#[test]
fn argsort_is_stable_and_knows_nan_and_both_zeros() {
    let Some(device) = device() else { return };
    let mut numbers = Numbers::new(4);
    let special = [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0, 1e-40, -1e-40];
    let shapes = [([1usize, 1, 1], 1), ([5, 3, 2], 1), ([7, 1, 33], 2), ([2, 1024, 3], 1), ([2, 1, 1025], 2)];
    for (shape, axis) in shapes.into_iter().chain([([5000, 1, 2], 0), ([1, 1, 2049], 2)]) {
        let n = product(&shape);
        // Few different values, so that many are equal.
        let x: Vec<f32> = (0..n)
            .map(|_| match numbers.below(4) {
                0 => special[numbers.below(special.len())],
                _ => numbers.below(50) as f32 - 25.0,
            })
            .collect();
        check_argsort(device, &shape, axis, &x, &words(&x));
    }
}

#[test]
fn argsort_of_integers_and_bools() {
    let Some(device) = device() else { return };
    let mut numbers = Numbers::new(6);
    let shape = [3usize, 90];
    let bits: Vec<u32> =
        (0..270).map(|_| numbers.next() as u32).chain([u32::MAX, 0, 1 << 31]).take(270).collect();
    check_argsort(device, &shape, 1, &bits, &bits);
    let signed: Vec<i32> = bits.iter().map(|&b| b as i32).collect();
    check_argsort(device, &shape, 1, &signed, &bits);
    let bools: Vec<bool> = bits.iter().map(|&b| b % 2 == 1).collect();
    let as_words: Vec<u32> = bools.iter().map(|&b| u32::from(b)).collect();
    check_argsort(device, &shape, 0, &bools, &as_words);
}

#[test]
fn running_sums() {
    let Some(device) = device() else { return };
    let mut numbers = Numbers::new(7);
    for (shape, axis) in
        [([3usize, 5, 4], 1), ([2, 64, 1], 1), ([3, 2500, 2], 1), ([1, 1, 1024], 2), ([2, 1, 1025], 2)]
    {
        let n = product(&shape);
        let x = numbers.floats(n);
        let wanted = naive::scan::cumsum(&shape, axis, Strided::contiguous(&x, &shape));
        let recipe = lines::cumsum(DType::F32, &shape, axis, &row_major(&shape), &device.limits);
        let found = floats(&device.run(&recipe, &[&words(&x)], &[n]).outputs[0]);
        // The plain loop's own rounding, of sums that grow like the square root, is most of this.
        assert!(error(&found, &wanted) < 1e-7 * n as f32 + 1e-6, "{shape:?}");
        if shape[axis] <= 64 {
            assert_eq!(found, wanted, "short lines are summed in the plain order");
        }
        let integers: Vec<u32> = (0..n).map(|_| numbers.next() as u32).collect();
        let wanted = naive::scan::cumsum(&shape, axis, Strided::contiguous(&integers, &shape));
        let recipe = lines::cumsum(DType::I32, &shape, axis, &row_major(&shape), &device.limits);
        assert_eq!(device.run(&recipe, &[&integers], &[n]).outputs[0], wanted, "{shape:?}");
    }
}

#[test]
fn folds_equal_the_plain_loop_bit_for_bit() {
    let Some(device) = device() else { return };
    let mut numbers = Numbers::new(8);
    for (stride, dilation, len) in [(1, 1, 7), (2, 1, 12), (1, 3, 11), (3, 2, 17), (4, 1, 21)] {
        let shape = [2usize, 5, 6, 3];
        let x = numbers.floats(product(&shape));
        let wanted = naive::fold::fold(&shape, 1, len, stride, dilation, Strided::contiguous(&x, &shape));
        let windows = Windows { axis: 1, len, stride, dilation };
        let recipe = lines::fold(DType::F32, &shape, &windows, &row_major(&shape), &device.limits);
        let found = device.run(&recipe, &[&words(&x)], &[wanted.len()]).outputs.remove(0);
        assert_eq!(found, words(&wanted), "stride {stride}, dilation {dilation}");
    }
}

#[test]
fn copies_of_views_into_a_zeroed_result() {
    let Some(device) = device() else { return };
    let (a, b): (Vec<u32>, Vec<u32>) = ((1..=3000).collect(), (1..=12).map(|i| i << 20).collect());
    // The transpose of [50, 60] into the left of [60, 60], and [3, 4] backwards into the lower right.
    let parts = [
        Part { shape: vec![60, 50], input: 0, x: view(0, &[1, 60]), out: view(0, &[60, 1]) },
        Part { shape: vec![3, 4], input: 1, x: view(11, &[-4, -1]), out: view(57 * 60 + 56, &[60, 1]) },
    ];
    let found =
        device.run(&lines::copies(true, 3600, &parts, &device.limits), &[&a, &b], &[3600]).outputs.remove(0);
    for (e, &found) in found.iter().enumerate() {
        let (row, column) = (e / 60, e % 60);
        let wanted = match (row, column) {
            (_, 0..50) => a[column * 60 + row],
            (57.., 56..) => b[11 - (row - 57) * 4 - (column - 56)],
            _ => 0,
        };
        assert_eq!(found, wanted, "row {row}, column {column}");
    }
}
