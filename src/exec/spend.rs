//! Leaves whose owner has given them up: values of a step that nobody can ask for again, so that results may be written
//! over them. A parameter and its moments are then read and written in one place, step after step.

use super::cache::Ready;
use super::capture::{Capture, Role};
use super::{Value, guarded};
use crate::ops::Op;

/// What is over with a step: nodes to lose their history, and leaves whose values were taken, which they get back unless
/// the step succeeds.
pub(super) struct Spent<'a> {
    capture: &'a Capture,
    /// For each leaf, whether it may be written over.
    pub leaves: Vec<bool>,
    taken: Vec<(usize, Value)>,
    past: Vec<usize>,
}

impl<'a> Spent<'a> {
    /// Takes the values of those spent leaves of a capture that nothing can need after the run of a plan.
    ///
    /// A leaf is needed where anyone has a handle on it besides its owner and those that are spent, or where a node above
    /// it belongs to an expression outside the capture. What is taken is gone for everyone: whoever should come upon the
    /// leaf all the same gets an error, never numbers that are half written over.
    pub fn take(capture: &'a Capture, ready: &Ready) -> Spent<'a> {
        let mut spent = Spent { capture, leaves: Vec::new(), taken: Vec::new(), past: Vec::new() };
        if !capture.nodes.iter().any(|node| node.depends) {
            return spent;
        }
        let needed = spent.look(ready);
        // The guard looks for what went wrong by going back to the leaves.
        if !matches!(ready, Ready::Cpu(_)) || guarded() {
            return spent;
        }
        spent.leaves = vec![false; capture.leaves.len()];
        for (i, captured) in capture.nodes.iter().enumerate().filter(|(i, node)| node.depends && !needed[*i])
        {
            let (Role::Leaf(leaf), Op::Leaf) = (captured.role, &captured.tensor.node().op) else { continue };
            // The owner has one more, the capture one, and each user in the graph.
            if captured.tensor.handles() != captured.spent + 2 + captured.uses {
                continue;
            }
            let Some(value) = captured.tensor.node().take_value() else { continue };
            // One handle on the memory is in `taken`, one in the capture.
            spent.leaves[leaf as usize] =
                value.fills_alone(2, captured.tensor.shape(), captured.tensor.dtype());
            spent.taken.push((i, value));
        }
        spent
    }

    /// Finds the nodes that others may still ask for, with all below them, and notes those that are only looked at.
    fn look(&mut self, ready: &Ready) -> Vec<bool> {
        let capture = self.capture;
        let mut valued = vec![false; capture.nodes.len()];
        ready.outputs().for_each(|i| valued[i as usize] = true);
        let mut needed = vec![false; capture.nodes.len()];
        // Users are younger than their inputs.
        for (i, captured) in capture.nodes.iter().enumerate().rev().filter(|(_, node)| node.depends) {
            let node = captured.tensor.node();
            if captured.role == Role::Pending {
                let elsewhere = node.uses() > captured.uses;
                let seen = captured.tensor.handles() > 1 + captured.uses;
                let forgets = valued[i] && (!node.has_history() || matches!(node.op, Op::StopGrad));
                needed[i] |= !forgets && (elsewhere || seen && !valued[i]);
                if seen && !needed[i] {
                    self.past.push(i);
                }
            }
            if needed[i] {
                captured.inputs.iter().for_each(|&x| needed[x as usize] = true);
            }
        }
        needed
    }

    /// The step has succeeded: what was taken is gone, and so is the history.
    pub fn settle(mut self) {
        self.taken.clear();
        self.past.iter().for_each(|&i| self.capture.nodes[i].tensor.node().release());
    }
}

impl Drop for Spent<'_> {
    fn drop(&mut self) {
        for (i, value) in self.taken.drain(..) {
            self.capture.nodes[i].tensor.node().set_value(value);
        }
    }
}
