//! Reductions against plain loops: along either side, in one pass and in two, over nothing, with NaN and ties.

use crate::device::{Device, device, floats, words};
use crate::gpu::dispatch::{Bind, Limits, Word};
use crate::gpu::kernels::reduce::{Positions, Prologue, class, reduce};
use crate::numbers::{Numbers, error};
use gradus_kernels::DType;
use gradus_kernels::reduce::Reduction;

const ALL: [Reduction; 5] =
    [Reduction::Sum, Reduction::Max, Reduction::Min, Reduction::ArgMax, Reduction::ArgMin];

/// A program that reads its one input, `[kept, reduced]` or `[reduced, kept]`.
pub fn input(dtype: DType, kept_fast: bool) -> Prologue {
    let name = match dtype {
        DType::F32 => "f32",
        DType::I32 => "i32",
        _ => "u32",
    };
    let place = if kept_fast { "reduced * p.kept + kept" } else { "kept * p.reduced + reduced" };
    let text = format!(
        "@group(0) @binding(0) var<storage, read> x: array<{name}>;
fn element(kept: u32, reduced: u32) -> {name} {{
    return x[p.start.x + {place}];
}}"
    );
    Prologue {
        text,
        dtype,
        fields: String::from("start: vec4<u32>,"),
        params: vec![0; 4],
        patches: vec![(0, Word::Offset(Bind::Input(0)))],
        reads: vec![Bind::Input(0)],
    }
}

/// The elements of one kept position.
fn line<T: Copy>(x: &[T], at: &Positions, kept: usize) -> Vec<T> {
    let place = |r: usize| if at.kept_fast { r * at.kept + kept } else { kept * at.reduced + r };
    (0..at.reduced).map(|r| x[place(r)]).collect()
}

/// Where the first extreme is.
fn extreme<T: PartialOrd + Copy>(line: &[T], max: bool) -> usize {
    let nan = |x: T| x.partial_cmp(&x).is_none();
    let beats = |a: T, b: T| !nan(b) && (nan(a) || if max { a > b } else { a < b });
    (1..line.len()).fold(0, |best, i| if beats(line[i], line[best]) { i } else { best })
}

fn is_max(reduction: Reduction) -> bool {
    matches!(reduction, Reduction::Max | Reduction::ArgMax)
}

/// With subgroups, where there are some, and without: both give the same bits.
fn run(device: &Device, dtype: DType, reduction: Reduction, at: &Positions, x: &[u32]) -> Vec<u32> {
    let with = |limits: &Limits| {
        let recipe = reduce(&input(dtype, at.kept_fast), reduction, at, None, limits);
        device.run(&recipe, &[x], &[at.kept]).outputs.remove(0)
    };
    let found = with(&device.limits);
    if device.limits.subgroup > 0 {
        assert_eq!(found, with(&Limits { subgroup: 0, ..device.limits }), "{reduction:?} {at:?}");
    }
    found
}

fn positions() -> Vec<Positions> {
    let sizes = [(1, 1), (1, 20_000), (3, 255), (70, 257), (500, 3), (5, 9000)];
    let both = |(kept, reduced)| [true, false].map(|kept_fast| Positions { kept, reduced, kept_fast });
    sizes.into_iter().flat_map(both).collect()
}

#[test]
fn floats_are_reduced() {
    let Some(device) = device() else { return };
    let mut numbers = Numbers::new(21);
    for at in positions() {
        // Few different values, so that extremes are met more than once.
        let mut x: Vec<f32> =
            (0..at.kept * at.reduced).map(|_| numbers.below(64) as f32 / 8.0 - 4.0).collect();
        for reduction in ALL {
            let found = run(device, DType::F32, reduction, &at, &words(&x));
            for (kept, &found) in found.iter().enumerate() {
                let line = line(&x, &at, kept);
                let best = extreme(&line, is_max(reduction));
                match reduction {
                    // Multiples of 1/8: the sums are exact.
                    Reduction::Sum => assert_eq!(f32::from_bits(found), line.iter().sum::<f32>(), "{at:?}"),
                    Reduction::Max | Reduction::Min => {
                        assert_eq!(f32::from_bits(found), line[best], "{at:?}")
                    }
                    Reduction::ArgMax | Reduction::ArgMin => assert_eq!(found as usize, best, "{at:?}"),
                }
            }
        }
        let (nan, again) = (numbers.below(x.len()), numbers.below(x.len()));
        (x[nan], x[again]) = (f32::NAN, f32::NAN);
        for reduction in ALL {
            let found = run(device, DType::F32, reduction, &at, &words(&x));
            for (kept, &found) in found.iter().enumerate() {
                let line = line(&x, &at, kept);
                if line.iter().any(|v| v.is_nan()) {
                    match reduction.is_arg() {
                        true => assert_eq!(found as usize, extreme(&line, true), "{reduction:?} {at:?}"),
                        false => assert!(f32::from_bits(found).is_nan(), "{reduction:?} {at:?}"),
                    }
                }
            }
        }
    }
}

#[test]
fn integers_are_reduced() {
    let Some(device) = device() else { return };
    let mut numbers = Numbers::new(22);
    for at in [
        Positions { kept: 7, reduced: 600, kept_fast: true },
        Positions { kept: 1, reduced: 9000, kept_fast: false },
    ] {
        let bits: Vec<u32> = (0..at.kept * at.reduced).map(|_| numbers.next() as u32).collect();
        let signed: Vec<i32> = bits.iter().map(|&b| b as i32).collect();
        for reduction in ALL {
            let unsigned_found = run(device, DType::U32, reduction, &at, &bits);
            let signed_found = run(device, DType::I32, reduction, &at, &bits);
            for kept in 0..at.kept {
                let wanted = |best: usize, value: u32, sum: u32| match reduction {
                    Reduction::Sum => sum,
                    Reduction::Max | Reduction::Min => value,
                    Reduction::ArgMax | Reduction::ArgMin => best as u32,
                };
                let line_u = line(&bits, &at, kept);
                let sum = line_u.iter().fold(0u32, |a, &b| a.wrapping_add(b));
                let best = extreme(&line_u, is_max(reduction));
                assert_eq!(unsigned_found[kept], wanted(best, line_u[best], sum), "{reduction:?} {at:?}");
                let line_i = line(&signed, &at, kept);
                let best = extreme(&line_i, is_max(reduction));
                assert_eq!(
                    signed_found[kept],
                    wanted(best, line_i[best] as u32, sum),
                    "{reduction:?} {at:?}"
                );
            }
        }
    }
}

#[test]
fn bools_are_reduced_and_nothing_gives_the_identity() {
    let Some(device) = device() else { return };
    let at = Positions { kept: 3, reduced: 4, kept_fast: false };
    let x = [0, 0, 0, 0, 0, 1, 0, 0, 1, 1, 1, 1];
    assert_eq!(run(device, DType::Bool, Reduction::Max, &at, &x), [0, 1, 1]);
    assert_eq!(run(device, DType::Bool, Reduction::Sum, &at, &x), [0, 1, 1]);
    assert_eq!(run(device, DType::Bool, Reduction::Min, &at, &x), [0, 0, 1]);
    let empty = Positions { reduced: 0, ..at };
    assert_eq!(run(device, DType::F32, Reduction::Sum, &empty, &[]), [0; 3]);
    assert_eq!(floats(&run(device, DType::F32, Reduction::Max, &empty, &[])), [f32::NEG_INFINITY; 3]);
    assert_eq!(run(device, DType::Bool, Reduction::Min, &empty, &[]), [1; 3]);
    assert_eq!(run(device, DType::I32, Reduction::Max, &empty, &[]), [i32::MIN as u32; 3]);
}

#[test]
fn long_sums_stay_accurate() {
    let Some(device) = device() else { return };
    let x = Numbers::new(23).floats(300_000);
    let wanted = x.iter().map(|&v| f64::from(v)).sum::<f64>() as f32;
    let at = Positions { kept: 1, reduced: x.len(), kept_fast: false };
    let found = floats(&run(device, DType::F32, Reduction::Sum, &at, &words(&x)));
    assert!(error(&found, &[wanted]) < 1e-3, "{} for {wanted}", found[0]);
}

#[test]
fn every_choice_of_a_workgroup_is_right() {
    let Some(device) = device() else { return };
    let x = Numbers::new(24).floats(3 * 9000);
    for kept_fast in [false, true] {
        let at = Positions { kept: 3, reduced: 9000, kept_fast };
        let sums: Vec<f32> = (0..at.kept).map(|k| line(&x, &at, k).iter().sum()).collect();
        let largest: Vec<f32> =
            (0..at.kept).map(|k| line(&x, &at, k).into_iter().fold(f32::NEG_INFINITY, f32::max)).collect();
        let choices = class(&at).choices(&device.limits);
        assert!(choices.len() >= 3, "{choices:?}");
        for choice in choices {
            let run = |reduction| {
                let recipe =
                    reduce(&input(DType::F32, kept_fast), reduction, &at, Some(choice), &device.limits);
                floats(&device.run(&recipe, &[&words(&x)], &[at.kept]).outputs[0])
            };
            assert!(error(&run(Reduction::Sum), &sums) < 1e-3, "{choice}");
            assert_eq!(run(Reduction::Max), largest, "{choice}");
        }
    }
}
