//! `Map` on a device: one generated shader for each fused program and kind of operands. An invocation computes one
//! element; operands that lie as the result does are read at its position, others by their strides, and extents and
//! strides are parameters, so that one shader serves every size. Memory traffic: each operand once.

use super::dispatch::{Bind, Dispatch, Limits, Recipe, Source, Word, fold_grid};
use super::wgsl::{self, Axes, Bindings, Fields};
use crate::shape::{Layout, Shape};
use gradus_kernels::DType;
use gradus_kernels::program::{Instr, Program, Reg};
use std::collections::BTreeSet;

/// Invocations of a workgroup.
const WORKGROUP: usize = 256;

/// An operand of a program: which buffer, how it is seen, of which type.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    pub bind: Bind,
    pub layout: Layout,
    pub dtype: DType,
}

/// The dispatches that evaluate `program` over `shape`. Operands with the same [`Bind`] share one binding; an input
/// whose buffer is also a result's is read and rewritten in place, element by element. `scratch` are buffers in use
/// already. Programs with more operands than the device binds at once are cut.
pub(super) fn map(
    program: &Program,
    shape: &Shape,
    inputs: &[View],
    outputs: &[(Bind, DType)],
    recipe: &mut Recipe,
    limits: &Limits,
) {
    if shape.numel() == 0 || outputs.is_empty() {
        return;
    }
    let most = limits.buffers as usize;
    let needs = |program: &Program, inputs: &[View], outputs: &[(Bind, DType)]| {
        let used: BTreeSet<Bind> = used_inputs(program).map(|k| inputs[k].bind).collect();
        used.into_iter().filter(|b| !outputs.iter().any(|(out, _)| out == b)).count() + outputs.len()
    };
    if needs(program, inputs, outputs) <= most {
        recipe.dispatches.push(dispatch(program, shape, inputs, outputs, limits));
        return;
    }
    // One result at a time; what is rewritten in place last, when nobody reads it any more.
    let rewritten = |k: usize| inputs.iter().any(|view| view.bind == outputs[k].0);
    let mut order: Vec<usize> = (0..outputs.len()).collect();
    order.sort_by_key(|&k| rewritten(k));
    for k in order {
        let part = Program { code: program.code.clone(), outputs: vec![program.outputs[k]] };
        let mut one = Piece { program: part, inputs: inputs.to_vec() };
        while needs(&one.program, &one.inputs, &outputs[k..=k]) > most {
            one.materialise(shape, recipe, most, limits);
        }
        recipe.dispatches.push(dispatch(&one.program, shape, &one.inputs, &outputs[k..=k], limits));
    }
}

/// A program on its way to being small enough.
struct Piece {
    program: Program,
    inputs: Vec<View>,
}

impl Piece {
    /// Computes into a scratch buffer the register that depends on the most operands that can be bound at once.
    fn materialise(&mut self, shape: &Shape, recipe: &mut Recipe, most: usize, limits: &Limits) {
        let live = wgsl::live(&self.program);
        let mut needs: Vec<BTreeSet<Bind>> = Vec::new();
        let mut best: Option<Reg> = None;
        for (i, &(instr, _)) in self.program.code.iter().enumerate() {
            let mut set: BTreeSet<Bind> = BTreeSet::new();
            match instr {
                Instr::Input(k) => {
                    set.insert(self.inputs[k as usize].bind);
                }
                _ => wgsl::reads(instr).for_each(|r| set.extend(&needs[r as usize])),
            }
            let better = best.is_none_or(|b: Reg| needs[b as usize].len() < set.len());
            if live[i] && set.len() > 1 && set.len() < most && better {
                best = Some(i as Reg);
            }
            needs.push(set);
        }
        let reg = best.expect("an instruction of two operands fits every device");
        let dtype = self.program.code[reg as usize].1;
        let bind = Bind::Scratch(recipe.scratch.len());
        recipe.scratch.push(4 * shape.numel() as u64);
        let part = Program { code: self.program.code.clone(), outputs: vec![reg] };
        recipe.dispatches.push(dispatch(&part, shape, &self.inputs, &[(bind, dtype)], limits));
        self.program.code[reg as usize].0 = Instr::Input(self.inputs.len() as u16);
        self.inputs.push(View { bind, layout: Layout::contiguous(shape), dtype });
    }
}

/// The inputs that a live instruction reads.
pub(super) fn used_inputs(program: &Program) -> impl Iterator<Item = usize> {
    let live = wgsl::live(program);
    program.code.iter().zip(live).filter_map(|(&(instr, _), live)| match instr {
        Instr::Input(k) if live => Some(k as usize),
        _ => None,
    })
}

/// The expression that reads each input, given its place.
pub(super) struct Loads {
    pub bindings: Bindings,
    pub names: Vec<String>,
}

impl Loads {
    /// Binds what `program` reads, besides what `outputs` bind already.
    pub fn new(program: &Program, inputs: &[View], outputs: &[(Bind, DType)]) -> Loads {
        let mut bindings = Bindings { reads: Vec::new(), writes: outputs.to_vec() };
        let mut names = vec![String::new(); inputs.len()];
        for k in used_inputs(program) {
            names[k] = bindings.name(inputs[k].bind, inputs[k].dtype);
        }
        Loads { bindings, names }
    }
}

/// One generated shader.
fn dispatch(
    program: &Program,
    shape: &Shape,
    inputs: &[View],
    outputs: &[(Bind, DType)],
    limits: &Limits,
) -> Dispatch {
    let mut fields = Fields::default();
    let count = fields.number(shape.numel() as isize);
    let used: BTreeSet<usize> = used_inputs(program).collect();
    let plain = Layout::contiguous(shape).strides;
    let strides: Vec<_> = inputs
        .iter()
        .enumerate()
        .map(|(k, view)| if used.contains(&k) { view.layout.strides } else { [0; 8] })
        .chain([plain])
        .collect();
    let axes = Axes::new(shape, &(0..shape.rank()).collect::<Vec<_>>(), &strides);
    let row_major = &axes.strides[inputs.len()];
    let loads = Loads::new(program, inputs, outputs);
    let mut split = false;
    let mut expressions = loads.names.clone();
    for &k in &used {
        let start = inputs[k].layout.offset as u32;
        let offset = fields.later("u32", start, Word::Offset(inputs[k].bind));
        let steps = if axes.strides[k] == *row_major {
            String::from(" + i")
        } else {
            split |= axes.strides[k].iter().any(|&s| s != 0);
            axes.steps(k, "c", &mut fields)
        };
        expressions[k] = format!("{}[{offset}{steps}]", loads.names[k]);
    }
    let coordinates = if split { axes.coordinates("i", "c", &mut fields) } else { String::new() };
    let mut body = wgsl::body(program, &expressions, "i", &mut fields);
    for (k, (&reg, (_, dtype))) in program.outputs.iter().zip(outputs).enumerate() {
        body.push_str(&format!("    y{k}[i] = {};\n", wgsl::stored(*dtype, &format!("r{reg}"))));
    }
    let text = format!(
        "{}{}{}@compute @workgroup_size({WORKGROUP})\n\
         fn main(@builtin(workgroup_id) place: vec3<u32>, @builtin(num_workgroups) size: vec3<u32>, \
         @builtin(local_invocation_index) local: u32) {{\n    \
         let i = flat_workgroup(place, size) * {WORKGROUP}u + local;\n    \
         if i >= {count} {{\n        return;\n    }}\n{coordinates}{body}}}\n",
        wgsl::includes(&body),
        fields.declaration(),
        loads.bindings.declarations(0),
    );
    Dispatch {
        source: Source::Generated(text),
        constants: Vec::new(),
        params: fields.words,
        patches: fields.patches,
        reads: loads.bindings.reads.iter().map(|(bind, _)| *bind).collect(),
        writes: outputs.iter().map(|(bind, _)| *bind).collect(),
        grid: fold_grid(shape.numel().div_ceil(WORKGROUP) as u64, limits),
    }
}
