//! Cumsum against the plain loop.

mod operand;

use gradus_kernels::naive;
use gradus_kernels::scan::cumsum_slices;
use gradus_kernels::strided::{Number, Strided};
use operand::{Operand, Rng, Sample, bits, guarded};

fn check<T: Sample + Number>(shape: &[usize], axis: usize, x: &Operand<T>) {
    let want = naive::scan::cumsum(shape, axis, x.view());
    let ((), out) = guarded(want.len(), |out| cumsum_slices(shape, axis, x.view(), out));
    assert!(bits(&out) == bits(&want), "{shape:?} axis {axis} {:?}", x.view());
}

fn case<T: Sample + Number>(rng: &mut Rng) {
    let (shape, axis) = rng.shape();
    let x = Operand::random(rng, &shape, T::draw);
    check(&shape, axis, &x);
}

#[test]
fn equals_the_plain_loop() {
    let mut rng = Rng(1);
    for _ in 0..800 {
        case::<f32>(&mut rng);
        case::<f64>(&mut rng);
        case::<i32>(&mut rng);
        case::<u32>(&mut rng);
    }
}

#[test]
fn large_cases_equal_the_plain_loop() {
    let mut rng = Rng(2);
    for shape in [
        vec![100_003],
        vec![300, 411],
        vec![3, 700, 129],
        vec![2, 3, 20_000],
        vec![20_000, 3],
        vec![17, 1, 5000],
    ] {
        let x = Operand::dense(&mut rng, &shape, 0..0, |rng| rng.below(1 << 20) as f32 / 3.0);
        (0..shape.len()).for_each(|axis| check(&shape, axis, &x));
    }
}

#[test]
fn keeps_the_sign_of_a_leading_zero() {
    let mut out = [0.0f32; 3];
    cumsum_slices(&[3], 0, Strided::contiguous(&[-0.0f32, -0.0, 1.0], &[3]), &mut out);
    assert_eq!(bits(&out), bits(&[-0.0f32, -0.0, 1.0]));
}

#[test]
#[cfg(feature = "parallel")]
fn the_number_of_threads_changes_no_bit() {
    let mut rng = Rng(3);
    let shape = [60, 70, 50];
    let x = Operand::dense(&mut rng, &shape, 0..0, |rng| rng.below(1 << 20) as f32 / 3.0);
    for axis in 0..3 {
        operand::same_on_any_threads(|| {
            let mut out = vec![0.0; shape.iter().product()];
            cumsum_slices(&shape, axis, x.view(), &mut out);
            out
        });
    }
}
