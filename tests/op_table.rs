//! The table of ops in `docs/ops.md` says what the registry and the planner say.

mod golden;

use gradus::ops::cases::{Gradient, OpCase, all};
use gradus::tape::{Tape, record};
use gradus::{Tensor, eval};
use std::collections::{BTreeMap, BTreeSet};

/// Cases looked at for each row: some have views or broadcasting in them that say nothing about the op.
const DRAWS: u64 = 12;

/// What the value of a case is computed by, its inputs being known.
fn tape(row: &OpCase, seed: u64) -> Option<Tape> {
    let case = row.draw(seed);
    let inputs: Vec<&Tensor> = case.inputs().iter().collect();
    eval(inputs).unwrap();
    if case.inputs().iter().any(|x| x.numel() == 0) {
        return None;
    }
    let y = case.apply(case.inputs());
    let (result, tapes) = record(|| y.eval());
    result.unwrap();
    tapes.into_iter().next_back()
}

fn operations(tape: &Tape) -> Vec<&'static str> {
    tape.nodes().iter().filter(|n| !n.is_leaf() && n.constant.is_none()).map(|n| n.op).collect()
}

/// The plainest case of an op: the one with the fewest operations, if it has any.
fn plainest(rows: &[&OpCase]) -> Option<Tape> {
    let tapes = rows.iter().flat_map(|row| (0..DRAWS).filter_map(|seed| tape(row, seed)));
    tapes.filter(|t| !operations(t).is_empty()).min_by_key(|t| operations(t).len())
}

/// Words once each, in order.
fn once(words: impl IntoIterator<Item = String>) -> String {
    let mut seen = BTreeSet::new();
    words.into_iter().filter(|w| seen.insert(w.clone())).collect::<Vec<_>>().join(", ")
}

fn kind(tape: &Option<Tape>) -> String {
    match tape.as_ref().map(operations).unwrap_or_default()[..] {
        [] => String::from("a constant, or the tensor itself"),
        [_] => String::from("primitive"),
        ref several => format!("composite: {}", once(several.iter().map(|s| s.to_string()))),
    }
}

fn kernels(tape: &Option<Tape>) -> String {
    let kernels = tape.iter().flat_map(|t| t.kernels());
    let list = once(kernels.flat_map(|k| {
        let first = k.text.split(' ').next().unwrap_or("").to_string();
        let fused = k.text.contains("+ map").then(|| String::from("map"));
        std::iter::once(first).chain(fused)
    }));
    if list.is_empty() { String::from("none") } else { list }
}

fn gradient(rows: &[&OpCase]) -> String {
    once(rows.iter().map(|row| match row.gradient() {
        Gradient::Smooth => String::from("every order"),
        Gradient::Pieces => String::from("between kinks"),
        Gradient::ByHand(why) => format!("yes ({why})"),
        Gradient::None(why) => format!("none: {why}"),
    }))
}

fn source(family: &str) -> String {
    match family {
        "loss" => String::from("[loss.rs](../src/loss.rs)"),
        family => format!("[{family}.rs](../src/ops/{family}.rs)"),
    }
}

#[test]
fn the_table_of_ops_is_that_of_the_registry() {
    let rows = all();
    let mut ops: BTreeMap<(&str, &str), Vec<&OpCase>> = BTreeMap::new();
    for row in &rows {
        ops.entry((row.family(), row.op())).or_default().push(row);
    }
    let mut text = String::from(HEAD);
    for ((family, op), rows) in &ops {
        let tape = plainest(rows);
        text.push_str(&format!(
            "| `{op}` | {} | {} | {} | {} |\n",
            kind(&tape),
            gradient(rows),
            kernels(&tape),
            source(family)
        ));
    }
    assert!(ops.len() > 100, "the registry has the ops");
    golden::check("ops.md", &text);
}

const HEAD: &str = "\
# The ops

Written by `tests/op_table.rs` from the registry of cases and from what the planner makes of each op; the test fails when
this page is stale, and `GRADUS_WRITE_DOCS=1 cargo test --test op_table` writes it anew.

* **Kind.** A primitive has a derivative of its own, in `src/ops`; a composite is written with others, which are named as
  the graph has them, and has the derivative of its parts.
* **Gradient.** Checked against differences in f64: to the 4th order where every order exists, to the 2nd between kinks,
  jumps and ties. Where none flows, why.
* **Kernels.** What runs when the op alone is asked for. `map` is a fused pointwise program; a view (`reshape`, `t`,
  `slice`) costs a copy only where its own value is asked for, and none inside an expression.

| op | kind | gradient | kernels | source |
| --- | --- | --- | --- | --- |
";
