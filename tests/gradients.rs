//! Every op of the registry against numbers: its value against plain loops, its gradients against differences.
//!
//! First derivatives agree to 10⁻⁶, second ones to 10⁻⁵, relative to `max(1, |value|)`; smooth ops are followed along
//! random lines to order 4. Cases are drawn from a number by the registry itself; proptest chooses the numbers, the
//! same ones every time: a message names the number, and `row.draw(number)` is the case again.

use gradus::gradcheck::{GradcheckOptions, check_orders, gradcheck, gradgradcheck};
use gradus::ops::cases::{self, Case, Gradient, OpCase};
use gradus::{DType, Tensor};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// Draws of each case, and of those the ones followed to order 4.
const DRAWS: u32 = 64;
const LINES: u32 = 8;

/// Runs a check of every row on many draws; fails with the names of all rows that fail, and one failure of each.
fn sweep(draws: u32, rows: impl Fn(&OpCase) -> bool, check: impl Fn(&OpCase, &Case) -> Result<(), String>) {
    let mut failures = Vec::new();
    for row in cases::all().iter().filter(|row| rows(row)) {
        let config =
            Config { cases: draws, failure_persistence: None, max_shrink_iters: 0, ..Config::default() };
        let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
        let mut runner = TestRunner::new_with_rng(config, rng);
        let found = runner.run(&any::<u32>(), |seed| {
            let case = row.draw(u64::from(seed));
            check(row, &case).map_err(|e| TestCaseError::fail(format!("draw {seed}: {}\n{e}", case.note())))
        });
        if let Err(e) = found {
            failures.push(format!("{} [{}]: {e}", row.name(), row.family()));
        }
    }
    assert!(failures.is_empty(), "{} ops fail:\n{}", failures.len(), failures.join("\n\n"));
}

fn options(tolerance: f64, directions: usize) -> GradcheckOptions {
    GradcheckOptions { tolerance, directions, entries: 2048, ..GradcheckOptions::default() }
}

fn differentiable(row: &OpCase) -> bool {
    matches!(row.gradient(), Gradient::Smooth | Gradient::Pieces)
}

#[test]
fn values_are_those_of_plain_loops() {
    sweep(
        DRAWS,
        |_| true,
        |_, case| {
            let y = case.apply(case.inputs());
            let Some(expected) = case.expected() else { return Ok(()) };
            if y.shape().dims() != expected.shape {
                return Err(format!("shape {} instead of {:?}", y.shape(), expected.shape));
            }
            // Constants and draws are f32 whatever the inputs.
            let tolerance = if y.dtype() == DType::F32 { 1e-6 } else { 1e-12 };
            let found = y.to(DType::F64).to_vec::<f64>().map_err(|e| e.to_string())?;
            for (i, (&a, &b)) in found.iter().zip(&expected.data).enumerate() {
                let near =
                    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= tolerance * b.abs().max(1.0);
                if !near {
                    return Err(format!("element {i} is {a} instead of {b}"));
                }
            }
            Ok(())
        },
    );
}

#[test]
fn first_derivatives_are_those_of_differences() {
    sweep(DRAWS, differentiable, |_, case| {
        let checked = gradcheck(|x| case.apply(x), case.inputs(), options(1e-6, 4));
        checked.map(drop).map_err(|e| e.to_string())
    });
}

#[test]
fn second_derivatives_are_those_of_differences() {
    sweep(DRAWS, differentiable, |_, case| {
        let checked = gradgradcheck(|x| case.apply(x), case.inputs(), options(1e-5, 2));
        checked.map(drop).map_err(|e| e.to_string())
    });
}

#[test]
fn smooth_ops_are_right_to_order_four() {
    sweep(
        LINES,
        |row| row.gradient() == Gradient::Smooth,
        |_, case| {
            let checked = check_orders(|x| case.apply(x), case.inputs(), 4, options(1e-5, 1));
            checked.map(drop).map_err(|e| e.to_string())
        },
    );
}

#[test]
fn where_no_gradient_flows_asking_for_one_is_an_error() {
    sweep(
        8,
        |row| matches!(row.gradient(), Gradient::None(_)),
        |_, case| {
            let y = case.apply(case.inputs());
            let inputs: Vec<&Tensor> = case.inputs().iter().collect();
            if y.numel() == 0 || !y.dtype().is_float() || inputs.is_empty() {
                return Ok(());
            }
            match gradus::try_grad(&y.sum(..), inputs) {
                Err(gradus::Error::Unreached { .. }) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        },
    );
}
