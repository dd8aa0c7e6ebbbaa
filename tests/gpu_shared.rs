//! What concerns everybody who uses a device, one test at a time: tables of choices, and the report of a bad index, which
//! goes to whoever reads next.
#![cfg(feature = "gpu")]

mod gpu_support;

use gpu_support::gpu;
use gradus::{Error, Rng, Tensor, Tuning, eval};
use std::sync::{Mutex, PoisonError};

/// Held by each test, so that one does not see another's table or fault.
static TURN: Mutex<()> = Mutex::new(());

#[test]
fn a_table_changes_rounding_at_most_and_is_used_from_when_it_is_set() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(gpu) = gpu() else { return };
    let [a, b] = gpu.scope(|| {
        let mut rng = Rng::seed(1);
        [rng.normal([48, 600]), rng.normal([600, 40])]
    });
    let product = || a.matmul(&b).to_vec::<f32>().unwrap();
    let untuned = product();
    let with = |choice: &str| {
        let mut tuning = gpu.tuning();
        tuning.set("gemm 64x32x512x1", choice).unwrap();
        gpu.set_tuning(tuning);
        product()
    };
    let before = gpu.tuning();
    let [whole, in_parts] = ["64x64", "32x32 in 3"].map(with);
    gpu.set_tuning(before);
    assert_eq!(product(), untuned);
    assert_ne!(whole, in_parts, "other parts of k add in another order");
    for found in [whole, in_parts] {
        for (x, y) in found.iter().zip(&untuned) {
            assert!((x - y).abs() < 2e-5 * 100.0, "{x} instead of {y}");
        }
    }
}

#[test]
fn tuning_measures_every_class_of_the_work_and_leaves_no_trial_behind() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(gpu) = gpu() else { return };
    let [x, v] = gpu.scope(|| [[40, 300], [300, 1]].map(|shape| Rng::seed(1).normal(shape)));
    let before = gpu.tuning();
    let tuned = gpu.tune(1, || eval([&x.matmul(&v), &x.sum(0)])).unwrap();
    let table = gpu.tuning();
    gpu.set_tuning(before);
    let classes: Vec<&str> = tuned.iter().map(|t| t.class.as_str()).collect();
    assert_eq!(classes, ["gemv 32x256x1", "reduce_across 256x32"]);
    for t in &tuned {
        assert!(t.choices.len() >= 3, "{t:?}");
        let entry = table.entries().find(|(class, _)| *class == t.class).map(|(_, choice)| choice);
        assert_eq!(entry, t.chosen);
    }
    let failed = gpu.tune(1, || Err(Error::Data(String::from("no work"))));
    assert!(matches!(failed, Err(Error::Data(_))));
}

#[test]
fn a_table_is_what_was_set_and_refuses_what_is_not_listed() {
    let mut table = Tuning::default();
    assert!(table.is_empty());
    for (class, choice) in [
        ("reduce 1x65536", "512"),
        ("gemm 128x256x1024x1", "64x64 in 4"),
        ("conv_weight 64x64x4096x1", "32x32"),
        ("gemv 128x256x1", "16 by 16"),
    ] {
        table.set(class, choice).unwrap();
    }
    let mut again = Tuning::default();
    table.entries().for_each(|(class, choice)| again.set(&class, &choice).unwrap());
    assert_eq!((&again, again.len()), (&table, 4));
    table.set("reduce 1x65536", "64").unwrap();
    assert_ne!(again, table);
    for (class, choice) in [
        ("gemm 128x256", "64x64"),
        ("gemm 128x256x1024x1", "65x64"),
        ("reduce 1x65536", "64x64"),
        ("gemm 128x256x1024x1", "256"),
        ("map 65536", "256"),
        ("reduce 1x65536", "100"),
    ] {
        let error = table.set(class, choice).unwrap_err();
        assert!(matches!(error, Error::Data(_)), "{error}");
    }
    assert_eq!(table.len(), 4);
}

#[test]
fn an_index_outside_its_axis_is_an_error_when_a_value_is_read() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(gpu) = gpu() else { return };
    gpu.scope(|| {
        let x = Tensor::from([1.0f32, 2.0, 3.0]);
        let error = x.gather(0, &Tensor::from([0u32, 5])).to_vec::<f32>().unwrap_err();
        assert!(matches!(error, Error::BadIndex { value: 5, len: 3, op: "gather", .. }), "{error}");
        // It is reported once.
        assert_eq!(x.gather(0, &Tensor::from([2u32])).item().unwrap(), 3.0);
    });
}
