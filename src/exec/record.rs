//! What is evaluated, for who asked to see it: the captured graph with equal nodes merged, and its kernels.

use super::cache::fusing;
use super::capture::{Capture, Role};
use super::plan::{Ir, plan};
use super::trace::describe;
use crate::tape::{self, Kernel, Tape};
use std::collections::HashMap;

/// Keeps the tape of an evaluation if someone on this thread is recording.
pub(super) fn record(capture: &Capture) {
    if !tape::recording() {
        return;
    }
    // Made anew: what the cache holds belongs to a device already.
    let plan = plan(capture, fusing());
    let ir = Ir::new(capture);
    let mut position: HashMap<u32, usize> = HashMap::new();
    let mut tape = Tape::default();
    for (i, captured) in capture.nodes.iter().enumerate() {
        let known = matches!(captured.role, Role::Leaf(_));
        // An equal older node stands for this one, or nothing wanted depends on it.
        if ir.same[i] != i as u32 || !(ir.live[i] || known) {
            continue;
        }
        let inputs = if known { &[][..] } else { &captured.inputs };
        let inputs = inputs.iter().map(|&x| position[&ir.same[x as usize]]).collect();
        position.insert(i as u32, tape.push(&captured.tensor, inputs, known));
    }
    for (i, node) in capture.nodes.iter().enumerate() {
        if let Some(&at) = position.get(&ir.same[i]).filter(|_| node.wanted == 3) {
            tape.set_output(at);
        }
    }
    for step in &plan.steps {
        let nodes = step.nodes.iter().filter_map(|i| position.get(i).copied()).collect();
        let (text, flops, bytes) = describe(&step.kernel);
        tape.push_kernel(Kernel { text, flops, bytes, nodes });
    }
    tape::keep(tape);
}
