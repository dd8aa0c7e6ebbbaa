//! Sums that a product makes on its way: the gradient of a bias is the sum over the batch of what the gradient of the
//! weight multiplies, and that product has it in registers.

use super::dispatch::Limits;
use super::kernels::gemm;
use super::tuning::Tuning;
use super::wgsl::Axes;
use crate::exec::Place;
use crate::exec::plan::{Kernel, Plan, Step};
use gradus_kernels::DType;
use gradus_kernels::program::Instr;
use gradus_kernels::reduce::Reduction;
use std::collections::HashMap;

/// A matrix whose rows are summed: where it lies from which element on, its rows and columns, and their strides.
type Matrix = (Place, usize, [usize; 2], [isize; 2]);

/// Takes the reductions out of `plan` that sum the rows of a product's left matrix: the product makes those sums.
pub(super) fn join_sums(plan: &mut Plan, tuning: &Tuning, limits: &Limits) {
    let mut products: HashMap<Matrix, usize> = HashMap::new();
    for (t, step) in plan.steps.iter().enumerate() {
        if let Some(matrix) = multiplied(&step.kernel, tuning, limits) {
            products.entry(matrix).or_insert(t);
        }
    }
    for t in 0..plan.steps.len() {
        let Some((matrix, sum)) = summed(&plan.steps[t].kernel) else { continue };
        let Some(&product) = products.get(&matrix) else { continue };
        let early = |i: usize| i != t && touches(&plan.steps[i], sum);
        if (0..=product).any(early) {
            continue;
        }
        let Kernel::Gemm { row_sums: free @ None, .. } = &mut plan.steps[product].kernel else { continue };
        *free = Some(sum);
        let gone = &mut plan.steps[t];
        let (nodes, results) = (std::mem::take(&mut gone.nodes), std::mem::take(&mut gone.results));
        let step = &mut plan.steps[product];
        step.nodes.extend(nodes);
        step.results.extend(results);
    }
    plan.steps.retain(|step| !step.nodes.is_empty());
    plan.find_lives();
}

/// Whether a step that is still there reads or writes a slot.
fn touches(step: &Step, slot: u32) -> bool {
    let mut found = false;
    step.slots(&mut |s| found |= s == slot);
    found && !step.nodes.is_empty()
}

/// The left matrix of a product that can sum its rows.
fn multiplied(kernel: &Kernel, tuning: &Tuning, limits: &Limits) -> Option<Matrix> {
    let Kernel::Gemm { gemm: g, a, epilogue: None, .. } = kernel else { return None };
    let sums = gemm::can_sum_rows(g, tuning.of(&gemm::class(g)), limits);
    sums.then_some((a.place, a.layout.offset, [g.m, g.k], g.a))
}

/// The matrix whose rows a reduction sums, seen as product's left one, and the sums' slot.
fn summed(kernel: &Kernel) -> Option<(Matrix, u32)> {
    let Kernel::Reduce { program, reduction: Reduction::Sum, shape, axes, inputs, out } = kernel else {
        return None;
    };
    let [(operand, DType::F32)] = inputs.as_slice() else { return None };
    let plain = matches!(program.code.as_slice(), [(Instr::Input(0), _)]);
    let (reduced, kept): (Vec<usize>, Vec<usize>) = (0..shape.rank()).partition(|axis| axes >> axis & 1 == 1);
    let side = |axes: &[usize]| {
        let merged = Axes::new(shape, axes, &[operand.layout.strides]);
        match (merged.lengths.as_slice(), merged.strides[0].as_slice()) {
            (&[length], &[stride]) => Some((length, stride)),
            _ => None,
        }
    };
    let ((m, row), (k, column)) = (side(&kept)?, side(&reduced)?);
    plain.then_some(((operand.place, operand.layout.offset, [m, k], [row, column]), *out))
}
