//! Argsort against sorting by comparison.

mod operand;

use gradus_kernels::naive;
use gradus_kernels::sort::argsort_slices;
use gradus_kernels::strided::Strided;
use operand::{Operand, Rng, Sample, bits, guarded};

fn check<T: Sample + PartialOrd>(shape: &[usize], axis: usize, x: &Operand<T>) {
    for descending in [false, true] {
        let want = naive::sort::argsort(shape, axis, descending, x.view());
        let ((), out) = guarded(want.len(), |out| argsort_slices(shape, axis, descending, x.view(), out));
        assert!(bits(&out) == bits(&want), "{shape:?} axis {axis} descending {descending} {:?}", x.view());
    }
}

fn case<T: Sample + PartialOrd>(rng: &mut Rng) {
    let (shape, axis) = rng.shape();
    let x = Operand::random(rng, &shape, T::draw);
    check(&shape, axis, &x);
}

#[test]
fn equals_sorting_by_comparison() {
    let mut rng = Rng(1);
    for _ in 0..500 {
        case::<f32>(&mut rng);
        case::<f64>(&mut rng);
        case::<i32>(&mut rng);
        case::<u32>(&mut rng);
        case::<bool>(&mut rng);
    }
}

fn large<T: Sample + PartialOrd>() {
    let mut rng = Rng(2);
    for shape in [vec![150_001], vec![3, 2000, 2], vec![2, 9000]] {
        let x = Operand::dense(&mut rng, &shape, 0..0, T::draw);
        (0..shape.len()).for_each(|axis| check(&shape, axis, &x));
    }
}

#[test]
fn large_cases_equal_sorting_by_comparison() {
    large::<f32>();
    large::<f64>();
    large::<i32>();
    large::<u32>();
    large::<bool>();
}

fn order<T: Sample>(x: &[T], descending: bool) -> Vec<u32> {
    let mut out = vec![0; x.len()];
    argsort_slices(&[x.len()], 0, descending, Strided::contiguous(x, &[x.len()]), &mut out);
    out
}

#[test]
fn nan_stands_after_everything_or_before_everything() {
    let x = [f32::NAN, 1.0, f32::INFINITY, -f32::NAN, f32::NEG_INFINITY, f32::from_bits(0x7f80_0001)];
    assert_eq!(order(&x, false), [4, 1, 2, 0, 3, 5]);
    assert_eq!(order(&x, true), [0, 3, 5, 2, 1, 4]);
    let x = x.map(f64::from);
    assert_eq!(order(&x, false), [4, 1, 2, 0, 3, 5]);
    assert_eq!(order(&x, true), [0, 3, 5, 2, 1, 4]);
}

#[test]
fn equal_elements_keep_their_order() {
    // The two zeros are equal.
    let x = [0.0f32, -0.0, -1.0, 0.0, -0.0, -1.0];
    assert_eq!(order(&x, false), [2, 5, 0, 1, 3, 4]);
    assert_eq!(order(&x, true), [0, 1, 3, 4, 2, 5]);
    assert_eq!(order(&x.map(f64::from), true), [0, 1, 3, 4, 2, 5]);
    assert_eq!(order(&[true, false, true, false], true), [0, 2, 1, 3]);
    assert_eq!(order(&[7i32; 5], true), [0, 1, 2, 3, 4]);
}

#[test]
fn the_extremes_of_every_type_are_in_order() {
    assert_eq!(order(&[0, i32::MAX, i32::MIN, -1], false), [2, 3, 0, 1]);
    assert_eq!(order(&[0, u32::MAX, 1 << 31], false), [0, 2, 1]);
    let x = [f32::MIN_POSITIVE, f32::MAX, f32::from_bits(1), f32::MIN, 0.0, -f32::from_bits(1)];
    assert_eq!(order(&x, false), [3, 5, 4, 2, 0, 1]);
}

#[test]
#[cfg(feature = "parallel")]
fn the_number_of_threads_changes_no_bit() {
    let mut rng = Rng(3);
    for shape in [vec![300_000], vec![300, 700]] {
        let x = Operand::dense(&mut rng, &shape, 0..0, |rng| rng.below(999) as f32);
        for axis in 0..shape.len() {
            operand::same_on_any_threads(|| {
                let mut out = vec![0; shape.iter().product()];
                argsort_slices(&shape, axis, false, x.view(), &mut out);
                out
            });
        }
    }
}
