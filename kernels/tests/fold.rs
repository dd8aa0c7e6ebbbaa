//! Fold against the plain loop.

mod operand;

use gradus_kernels::fold::fold_slices;
use gradus_kernels::naive;
use gradus_kernels::strided::{Number, Strided};
use operand::{Operand, Rng, Sample, bits, guarded};

fn check<T: Sample + Number>(
    shape: &[usize],
    axis: usize,
    [len, stride, dilation]: [usize; 3],
    x: &Operand<T>,
) {
    let want = naive::fold::fold(shape, axis, len, stride, dilation, x.view());
    let ((), out) = guarded(want.len(), |out| fold_slices(shape, axis, len, stride, dilation, x.view(), out));
    assert!(bits(&out) == bits(&want), "{shape:?} axis {axis} {len} {stride} {dilation} {:?}", x.view());
}

fn case<T: Sample + Number>(rng: &mut Rng) {
    let (mut shape, axis) = rng.shape();
    shape.push(rng.below(5));
    let (stride, dilation) = (1 + rng.below(4), rng.below(4));
    // Often just long enough, sometimes with a rest nothing falls on, sometimes too short.
    let reach =
        shape[axis].saturating_sub(1) * stride + shape[shape.len() - 1].saturating_sub(1) * dilation + 1;
    let len = (reach + rng.below(4)).saturating_sub(rng.below(4));
    let x = Operand::random(rng, &shape, T::draw);
    check(&shape, axis, [len, stride, dilation], &x);
}

#[test]
fn equals_the_plain_loop() {
    let mut rng = Rng(1);
    for _ in 0..600 {
        case::<f32>(&mut rng);
        case::<f64>(&mut rng);
        case::<i32>(&mut rng);
        case::<u32>(&mut rng);
    }
}

/// Several tasks along every axis, the folded one included.
#[test]
fn large_cases_equal_the_plain_loop() {
    let mut rng = Rng(2);
    for (shape, axis, geometry) in [
        (vec![2000, 33], 0, [4032, 2, 1]),
        (vec![9, 300, 17, 5], 1, [612, 2, 3]),
        (vec![2, 150, 400, 3], 1, [152, 1, 1]),
        (vec![500, 7, 30, 3], 2, [60, 2, 1]),
    ] {
        let x = Operand::dense(&mut rng, &shape, 0..0, |rng| rng.below(1 << 20) as f32 / 3.0);
        check(&shape, axis, geometry, &x);
    }
}

/// A long folded axis is cut into chunks; windows reach across the cuts.
#[test]
fn windows_reach_across_tasks() {
    let (windows, places, stride) = (40_000, 6, 3);
    let ones = Strided::new(&[1u32], 0, &[0, 0]);
    let len = (windows - 1) * stride + places;
    let ((), out) = guarded(len, |out| fold_slices(&[windows, places], 0, len, stride, 1, ones, out));
    // Six places at stride three: every inner position is in two windows.
    let want: Vec<u32> = (0..len).map(|i| if i < 3 || i >= len - 3 { 1 } else { 2 }).collect();
    assert!(out == want);
}

#[test]
fn adds_in_order_of_the_place() {
    // Position 2 is met by window 2 at place 0, window 1 at place 1, window 0 at place 2.
    let mut x = [0.0f32; 9];
    (x[6], x[4], x[2]) = (1e8, 1.0, -1e8);
    let mut out = [0.0f32; 5];
    fold_slices(&[3, 3], 0, 5, 1, 1, Strided::contiguous(&x, &[3, 3]), &mut out);
    assert_eq!(out, [0.0, 0.0, (1e8f32 + 1.0) - 1e8, 0.0, 0.0]);
    (x[6], x[4], x[2]) = (1e8, -1e8, 1.0);
    fold_slices(&[3, 3], 0, 5, 1, 1, Strided::contiguous(&x, &[3, 3]), &mut out);
    assert_eq!(out, [0.0, 0.0, 1.0, 0.0, 0.0]);
}

#[test]
fn a_dilation_past_every_length_is_only_left_out() {
    let mut out = [0.0f32; 4];
    let x = [1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0];
    fold_slices(&[2, 3], 0, 4, 1, usize::MAX, Strided::contiguous(&x, &[2, 3]), &mut out);
    assert_eq!(out, [1.0, 4.0, 0.0, 0.0]);
}

#[test]
#[cfg(feature = "parallel")]
fn the_number_of_threads_changes_no_bit() {
    let mut rng = Rng(3);
    let shape = [6, 90, 50, 7];
    let x = Operand::dense(&mut rng, &shape, 0..0, |rng| rng.below(1 << 20) as f32 / 3.0);
    for axis in 0..3 {
        let len = (shape[axis] - 1) * 2 + 7;
        let n = shape[..3].iter().product::<usize>() / shape[axis] * len;
        operand::same_on_any_threads(|| {
            let mut out = vec![0.0; n];
            fold_slices(&shape, axis, len, 2, 1, x.view(), &mut out);
            out
        });
    }
}
