//! `Reduce` on a device: the fused program as the prologue of `shaders/reduce.wgsl`.

use super::dispatch::{Bind, Limits, Recipe, Word};
use super::kernels::choice::Class;
use super::kernels::reduce::{self as kernels, Positions, Prologue};
use super::pointwise::{self, Loads, View, used_inputs};
use super::tuning::Tuning;
use super::wgsl::{self, Axes, Fields};
use crate::shape::{Layout, Shape};
use gradus_kernels::program::{Instr, Program};
use gradus_kernels::reduce::Reduction;
use std::collections::BTreeSet;

/// A reduction: what is folded, over which axes of `shape`, into output 0.
pub(super) struct Fold<'a> {
    pub program: &'a Program,
    pub reduction: Reduction,
    pub shape: &'a Shape,
    /// The reduced axes, as a bit mask.
    pub axes: u32,
    pub inputs: &'a [View],
}

/// The class of a reduction's choices.
pub(super) fn class(fold: &Fold) -> Class {
    kernels::class(&fold.positions())
}

/// The dispatches of a reduction, with what `tuning` has for it.
pub(super) fn reduce(fold: &Fold, tuning: &Tuning, limits: &Limits) -> Recipe {
    let kernel = |fold: &Fold| {
        let at = fold.positions();
        kernels::reduce(&fold.prologue(), fold.reduction, &at, tuning.of(&kernels::class(&at)), limits)
    };
    let distinct: BTreeSet<Bind> = used_inputs(fold.program).map(|k| fold.inputs[k].bind).collect();
    // Beside its inputs a pass writes two buffers at most: values, and where they were.
    if distinct.len() + 2 <= limits.buffers as usize {
        return kernel(fold);
    }
    // The program's results are stored first, after the scratch of the reduction itself.
    let dtype = fold.program.code[fold.program.outputs[0] as usize].1;
    let program = Program { code: vec![(Instr::Input(0), dtype)], outputs: vec![0] };
    let stored = |bind| View { bind, layout: Layout::contiguous(fold.shape), dtype, aligned: true };
    let rest = |view: &View| kernel(&Fold { program: &program, inputs: std::slice::from_ref(view), ..*fold });
    let scratch = rest(&stored(Bind::Scratch(0))).scratch;
    let bind = Bind::Scratch(scratch.len());
    let mut recipe = Recipe { scratch, dispatches: Vec::new() };
    recipe.scratch.push(4 * fold.shape.numel() as u64);
    pointwise::map(fold.program, fold.shape, fold.inputs, &[(bind, dtype)], &mut recipe, limits);
    recipe.dispatches.extend(rest(&stored(bind)).dispatches);
    recipe
}

impl Fold<'_> {
    /// The axes that are kept, and those that are reduced.
    fn axes(&self) -> [Vec<usize>; 2] {
        let (reduced, kept) = (0..self.shape.rank()).partition(|&axis| self.axes >> axis & 1 == 1);
        [kept, reduced]
    }

    fn positions(&self) -> Positions {
        let [kept, reduced] = self.axes();
        let length = |axes: &[usize]| axes.iter().map(|&axis| self.shape[axis]).product::<usize>();
        let innermost = |axes: &[usize]| axes.iter().rev().copied().find(|&axis| self.shape[axis] != 1);
        let kept_fast = match (innermost(&kept), innermost(&reduced)) {
            (Some(k), Some(r)) => {
                let along = |axis: usize| {
                    let used = used_inputs(self.program);
                    used.filter(|&i| self.inputs[i].layout.strides[axis].unsigned_abs() == 1).count()
                };
                along(k) > along(r) || (along(k) == along(r) && k > r)
            }
            (k, _) => k.is_some(),
        };
        Positions { kept: length(&kept), reduced: length(&reduced), kept_fast }
    }

    /// The program as the function that gives the element at a kept and a reduced position.
    fn prologue(&self) -> Prologue {
        let [kept, reduced] = self.axes();
        let mut fields = Fields::default();
        let loads = Loads::new(self.program, self.inputs, &[]);
        let used: BTreeSet<usize> = used_inputs(self.program).collect();
        let positional = |(instr, _): &(Instr, _)| matches!(instr, Instr::Index | Instr::Random { .. });
        let positional = self.program.code.iter().any(positional);
        let row_major = if positional { Layout::contiguous(self.shape).strides } else { [0; 8] };
        let strides: Vec<_> = (self.inputs.iter().enumerate())
            .map(|(k, view)| if used.contains(&k) { view.layout.strides } else { [0; 8] })
            .chain([row_major])
            .collect();
        let outer = Axes::new(self.shape, &kept, &strides);
        let inner = Axes::new(self.shape, &reduced, &strides);
        let mut text = outer.coordinates("kept", "k", &mut fields);
        text.push_str(&inner.coordinates("reduced", "e", &mut fields));
        let place = |operand: usize, fields: &mut Fields| {
            format!("{}{}", outer.steps(operand, "k", fields), inner.steps(operand, "e", fields))
        };
        let mut expressions = loads.names.clone();
        for &k in &used {
            let start = self.inputs[k].layout.offset as u32;
            let offset = fields.later("u32", start, Word::Offset(self.inputs[k].bind));
            expressions[k] = format!("{}[{offset}{}]", loads.names[k], place(k, &mut fields));
        }
        if positional {
            text.push_str(&format!("    let i = 0u{};\n", place(self.inputs.len(), &mut fields)));
        }
        let body = wgsl::body(self.program, &expressions, "i", &mut fields);
        let reg = self.program.outputs[0];
        let dtype = self.program.code[reg as usize].1;
        let (ty, result) = (wgsl::element_type(dtype), wgsl::stored(dtype, &format!("r{reg}")));
        let text = format!(
            "{}fn element(kept: u32, reduced: u32) -> {ty} {{\n{text}{body}    return {result};\n}}",
            loads.bindings.declarations(0)
        );
        Prologue {
            text,
            dtype,
            fields: fields.aligned(),
            params: fields.words,
            patches: fields.patches,
            reads: loads.bindings.reads.iter().map(|(bind, _)| *bind).collect(),
        }
    }
}
