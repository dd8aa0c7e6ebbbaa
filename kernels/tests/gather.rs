//! Gather and scatter_add against the plain loops.

mod operand;

use gradus_kernels::gather::{BadIndex, gather_slices, scatter_add_slices};
use gradus_kernels::naive;
use gradus_kernels::strided::{IndexElement, Number, Strided};
use operand::{Operand, Rng, Sample, bits, guarded};

trait Index: Sample + IndexElement + TryFrom<usize, Error: std::fmt::Debug> {}
impl<I: Sample + IndexElement + TryFrom<usize, Error: std::fmt::Debug>> Index for I {}

/// Indices below `len`; with `faults`, now and then one that is not. An axis of length 0 admits none: what is drawn
/// then must be refused or never read.
fn index_below<I: Index>(len: usize, faults: bool) -> impl FnMut(&mut Rng) -> I {
    move |rng| {
        let bad = faults && rng.below(20) == 0;
        let value = if bad { len + rng.below(9) } else { rng.below(len.max(1)) };
        I::try_from(value).expect("a small number")
    }
}

fn replaced(shape: &[usize], axis: usize, len: usize) -> Vec<usize> {
    let mut shape = shape.to_vec();
    shape[axis] = len;
    shape
}

fn gather_case<T: Sample, I: Index>(rng: &mut Rng) {
    let (shape, axis) = rng.shape();
    let (len, faults) = (rng.below(12), rng.below(4) == 0);
    let x = Operand::random(rng, &replaced(&shape, axis, len), T::draw);
    let index = Operand::random(rng, &shape, index_below::<I>(len, faults));
    let want = naive::gather::gather(&shape, axis, len, x.view(), index.view());
    let n = shape.iter().product();
    let (got, out) = guarded(n, |out| gather_slices(&shape, axis, len, x.view(), index.view(), out));
    match want {
        Ok(want) => {
            assert_eq!(got, Ok(()));
            assert_eq!(bits(&out), bits(&want), "{shape:?} axis {axis} len {len} {x:?} {index:?}");
        }
        Err(bad) => {
            assert_eq!(got, Err(bad));
            assert_eq!(bits(&out), bits(&vec![T::GUARD; n]), "written in spite of a bad index");
        }
    }
}

fn scatter_case<T: Sample + Number, I: Index>(rng: &mut Rng) {
    let (shape, axis) = rng.shape();
    let (len, faults) = (rng.below(12), rng.below(4) == 0);
    let src = Operand::random(rng, &shape, T::draw);
    let index = Operand::random(rng, &shape, index_below::<I>(len, faults));
    let want = naive::gather::scatter_add(&shape, axis, len, src.view(), index.view());
    let n = replaced(&shape, axis, len).iter().product();
    let (got, out) = guarded(n, |out| scatter_add_slices(&shape, axis, len, src.view(), index.view(), out));
    match want {
        Ok(want) => {
            assert_eq!(got, Ok(()));
            assert_eq!(bits(&out), bits(&want), "{shape:?} axis {axis} len {len} {src:?} {index:?}");
        }
        Err(bad) => {
            assert_eq!(got, Err(bad));
            assert_eq!(bits(&out), bits(&vec![T::GUARD; n]), "written in spite of a bad index");
        }
    }
}

#[test]
fn gather_equals_the_plain_loop() {
    let mut rng = Rng(1);
    for _ in 0..600 {
        gather_case::<f32, u32>(&mut rng);
        gather_case::<f64, i32>(&mut rng);
        gather_case::<i32, u32>(&mut rng);
        gather_case::<u32, i32>(&mut rng);
        gather_case::<bool, u32>(&mut rng);
    }
}

#[test]
fn scatter_add_equals_the_plain_loop() {
    let mut rng = Rng(2);
    for _ in 0..600 {
        scatter_case::<f32, i32>(&mut rng);
        scatter_case::<f64, u32>(&mut rng);
        scatter_case::<i32, i32>(&mut rng);
        scatter_case::<u32, u32>(&mut rng);
    }
}

/// Large enough for many tasks, in the layouts that have their own loops: whole rows, single elements, both ends.
#[test]
fn large_cases_equal_the_plain_loop() {
    let mut rng = Rng(3);
    for (shape, axis, len, broadcast) in [
        (vec![3000, 65], 0, 100, 1..2),
        (vec![7, 301, 33], 1, 50, 2..3),
        (vec![5, 200, 9, 11], 1, 17, 2..4),
        (vec![90_001], 0, 5, 0..0),
        (vec![40, 2500], 1, 1000, 0..1),
        (vec![2000, 70], 0, 300, 0..0),
        (vec![3, 2, 20_000], 1, 4, 0..0),
    ] {
        let index = Operand::dense(&mut rng, &shape, broadcast, index_below::<u32>(len, false));
        let x = Operand::dense(&mut rng, &replaced(&shape, axis, len), 0..0, f32::draw);
        let want = naive::gather::gather(&shape, axis, len, x.view(), index.view()).expect("good indices");
        let (got, out) =
            guarded(want.len(), |out| gather_slices(&shape, axis, len, x.view(), index.view(), out));
        assert_eq!(got, Ok(()));
        assert!(bits(&out) == bits(&want), "gather {shape:?} axis {axis}");

        let src = Operand::dense(&mut rng, &shape, 0..0, f32::draw);
        let want = naive::gather::scatter_add(&shape, axis, len, src.view(), index.view()).expect("good");
        let (got, out) =
            guarded(want.len(), |out| scatter_add_slices(&shape, axis, len, src.view(), index.view(), out));
        assert_eq!(got, Ok(()));
        assert!(bits(&out) == bits(&want), "scatter_add {shape:?} axis {axis}");
    }
}

#[test]
fn the_first_bad_index_is_reported() {
    let n = 200_000;
    let x = [1.0f32, 2.0, 3.0];
    let refuse = |index: &[i32], want: BadIndex| {
        let view = Strided::contiguous(index, &[n]);
        let mut out = vec![f32::GUARD; n];
        assert_eq!(gather_slices(&[n], 0, 3, Strided::contiguous(&x, &[3]), view, &mut out), Err(want));
        assert!(out.iter().all(|&o| o == f32::GUARD));
        let mut sums = [f32::GUARD; 3];
        let src = Strided::new(&x, 0, &[0]);
        assert_eq!(scatter_add_slices(&[n], 0, 3, src, view, &mut sums), Err(want));
        assert_eq!(sums, [f32::GUARD; 3]);
    };
    let mut index = vec![2; n];
    index[n - 1] = 3;
    refuse(&index, BadIndex { value: 3, len: 3 });
    index[150_001] = -1;
    refuse(&index, BadIndex { value: -1, len: 3 });
    index[7] = i32::MIN;
    refuse(&index, BadIndex { value: i64::from(i32::MIN), len: 3 });
    assert_eq!(
        BadIndex { value: -1, len: 3 }.to_string(),
        "index -1 is out of range for an axis of length 3"
    );
}

#[test]
fn an_unsigned_index_is_not_a_negative_one() {
    let mut out = [0.0f64];
    let index = [u32::MAX];
    let got = gather_slices(
        &[1],
        0,
        2,
        Strided::contiguous(&[1.0, 2.0], &[2]),
        Strided::contiguous(&index, &[1]),
        &mut out,
    );
    assert_eq!(got, Err(BadIndex { value: i64::from(u32::MAX), len: 2 }));
}

/// On an axis longer than 2^31 the bits of a negative index are those of a valid unsigned one.
#[test]
#[cfg(target_pointer_width = "64")]
fn a_negative_index_is_bad_however_long_the_axis() {
    let x = Strided::new(&[5.0f32], 0, &[0]);
    let (len, mut out) = (1 << 32, [0.0]);
    let got = gather_slices(&[1], 0, len, x, Strided::contiguous(&[-1i32], &[1]), &mut out);
    assert_eq!(got, Err(BadIndex { value: -1, len }));
    assert_eq!(gather_slices(&[1], 0, len, x, Strided::contiguous(&[u32::MAX], &[1]), &mut out), Ok(()));
    assert_eq!(out, [5.0]);
}

/// Each output adds its terms in order of `i`, whatever else the sums could be rounded to.
#[test]
fn scatter_add_adds_in_order() {
    let src = [1.0f32, 1e8, -1e8, 1.0];
    let mut out = [0.0f32];
    let index = Strided::new(&[0u32], 0, &[0]);
    scatter_add_slices(&[4], 0, 1, Strided::contiguous(&src, &[4]), index, &mut out).expect("good indices");
    assert_eq!(out, [((1.0f32 + 1e8) - 1e8) + 1.0]);
    assert_ne!(out, [2.0]);
}

#[test]
#[should_panic(expected = "reaches")]
fn an_operand_outside_its_slice_is_refused() {
    let index = Strided::new(&[0u32; 4], 3, &[1]);
    let _ = gather_slices(&[2], 0, 1, Strided::contiguous(&[1.0f32], &[1]), index, &mut [0.0; 2]);
}

#[test]
#[cfg(feature = "parallel")]
fn the_number_of_threads_changes_no_bit() {
    let mut rng = Rng(4);
    let finite = |rng: &mut Rng| rng.below(1 << 20) as f32 / 3.0;
    for (shape, axis, len, broadcast) in [
        (vec![5000, 130], 0, 40, 1..2),
        (vec![4, 70_000], 1, 60, 0..0),
        (vec![300_000], 0, 1000, 0..0),
        (vec![50_000, 3], 0, 77, 1..2),
    ] {
        let index = Operand::dense(&mut rng, &shape, broadcast, index_below::<i32>(len, false));
        let src = Operand::dense(&mut rng, &shape, 0..0, finite);
        let x = Operand::dense(&mut rng, &replaced(&shape, axis, len), 0..0, finite);
        operand::same_on_any_threads(|| {
            let mut out = vec![0.0; replaced(&shape, axis, len).iter().product()];
            scatter_add_slices(&shape, axis, len, src.view(), index.view(), &mut out).expect("good indices");
            out
        });
        operand::same_on_any_threads(|| {
            let mut out = vec![0.0; shape.iter().product()];
            gather_slices(&shape, axis, len, x.view(), index.view(), &mut out).expect("good indices");
            out
        });
    }
}
