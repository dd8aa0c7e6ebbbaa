//! Every op of the registry on the GPU against the CPU, both in f32: values, gradients, and gradients of gradients.
//!
//! Tolerances, relative to the largest magnitude of the CPU's result (and never below 1): 2·10⁻⁵ for values, 10⁻⁴ for
//! first derivatives, 5·10⁻⁴ for second ones. Integers and bools are equal.
#![cfg(feature = "gpu")]

mod gpu_support;

use gpu_support::gpu;
use gradus::ops::cases::{self, Case, Gradient, OpCase};
use gradus::{DType, Device, Rng, Tensor, vjp};

/// Draws of each row.
const DRAWS: u64 = 3;

/// Rows that draw in f64, which the GPU refuses by name.
const F64: [&str; 2] = ["normal_of", "uniform_of"];

/// What a case gives on a device: its value and, where there are, first and second derivatives for its inputs.
struct Outcome {
    orders: [Vec<Tensor>; 3],
}

fn outcome(case: &Case, inputs: &[Tensor], orders: usize) -> Outcome {
    let y = case.apply(inputs);
    let weights = |seed: u64, like: &Tensor| Rng::seed(seed).normal(like.shape()) + 0.25;
    let mut first = Vec::new();
    let mut second = Vec::new();
    if orders > 0 && y.dtype().is_float() && !inputs.is_empty() {
        let of: Vec<&Tensor> = inputs.iter().collect();
        first = vjp(&y, &of, &weights(1, &y)).into_iter().flatten().collect();
        let parts = first.iter().enumerate().map(|(i, g)| (g * weights(2 + i as u64, g)).sum(..));
        if let Some(sum) = parts.reduce(|a, b| a + b).filter(|_| orders > 1) {
            second = vjp(&sum, &of, &sum.ones_like()).into_iter().flatten().collect();
        }
    }
    Outcome { orders: [vec![y], first, second] }
}

fn numbers(x: &Tensor) -> Result<Vec<f64>, String> {
    // A result of constants alone belongs to no device and is computed on the CPU.
    let values = match x.dtype() {
        DType::F32 => x.to_vec::<f32>().map(|v| v.into_iter().map(f64::from).collect()),
        DType::F64 => x.to_vec::<f64>(),
        DType::I32 => x.to_vec::<i32>().map(|v| v.into_iter().map(f64::from).collect()),
        DType::U32 => x.to_vec::<u32>().map(|v| v.into_iter().map(f64::from).collect()),
        DType::Bool => x.to_vec::<bool>().map(|v| v.into_iter().map(|b| f64::from(u8::from(b))).collect()),
    };
    values.map_err(|e| e.to_string())
}

fn compare(what: &str, here: &Tensor, there: &Tensor, tolerance: f64) -> Result<(), String> {
    if (here.shape(), here.dtype()) != (there.shape(), there.dtype()) {
        return Err(format!("{what}: {there:?} instead of {here:?}"));
    }
    let (a, b) = (numbers(here)?, numbers(there)?);
    let scale = a.iter().filter(|v| v.is_finite()).fold(1.0f64, |m, v| m.max(v.abs()));
    let tolerance = if here.dtype().is_float() { tolerance * scale } else { 0.0 };
    for (i, (&a, &b)) in a.iter().zip(&b).enumerate() {
        if !(a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= tolerance) {
            return Err(format!("{what}: element {i} of {} is {b}, on the CPU {a}", here.shape()));
        }
    }
    Ok(())
}

fn check(gpu: &Device, row: &OpCase, seed: u64) -> Result<(), String> {
    // What a case draws besides its inputs (indices, masks) lies where the scope says.
    let (case, other) = (row.draw(seed), gpu.scope(|| row.draw(seed)));
    let here: Vec<Tensor> = case.inputs().iter().map(|x| x.to(DType::F32)).collect();
    let there: Result<Vec<Tensor>, _> = here.iter().map(|x| x.to_device(gpu)).collect();
    let there = there.map_err(|e| e.to_string())?;
    let orders = match row.gradient() {
        Gradient::Smooth | Gradient::Pieces => 2,
        Gradient::ByHand(_) => 1,
        Gradient::None(_) => 0,
    };
    let built = gradus::build(|| (outcome(&case, &here, orders), outcome(&other, &there, orders)));
    let (here, there) = built.map_err(|e| e.to_string())?;
    let words = [("value", 2e-5), ("first derivative", 1e-4), ("second derivative", 5e-4)];
    for (order, (what, tolerance)) in words.into_iter().enumerate() {
        if here.orders[order].len() != there.orders[order].len() {
            return Err(format!("{what}: another number of gradients"));
        }
        for (a, b) in here.orders[order].iter().zip(&there.orders[order]) {
            compare(what, a, b, tolerance).map_err(|e| format!("draw {seed} ({}): {e}", case.note()))?;
        }
    }
    Ok(())
}

#[test]
fn every_op_agrees_with_the_cpu_to_second_order() {
    let Some(gpu) = gpu() else { return };
    let mut failures = Vec::new();
    let only = std::env::var("GRADUS_ROW").unwrap_or_default();
    for row in cases::all().iter().filter(|row| !F64.contains(&row.op()) && row.name().contains(&only)) {
        let failed = (0..DRAWS).find_map(|seed| {
            let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(&gpu, row, seed)));
            caught.unwrap_or_else(|_| Err(format!("draw {seed} panics"))).err()
        });
        failures.extend(failed.map(|e| format!("{} [{}]: {e}", row.name(), row.family())));
    }
    assert!(failures.is_empty(), "{} rows fail:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn rows_of_f64_are_refused() {
    let Some(gpu) = gpu() else { return };
    for row in cases::all().iter().filter(|row| F64.contains(&row.op())) {
        let case = row.draw(1);
        let refused = gradus::build(|| gpu.scope(|| case.apply(case.inputs())));
        assert!(refused.unwrap_err().to_string().contains("f64"), "{}", row.name());
    }
}
