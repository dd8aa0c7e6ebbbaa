//! `Map` on a device: one generated shader for each fused program and kind of operands. An invocation computes one
//! element, or four neighbours where the innermost axis has a multiple of four; operands that lie as the result does are
//! read at its position, others by their strides, and extents and strides are parameters, so that one shader serves every
//! size. Memory traffic: each operand once.

use super::dispatch::{Bind, Dispatch, Limits, Recipe, Source, Word, fold_grid};
use super::wgsl::{self, Axes, Bindings, Fields};
use crate::shape::{Layout, Shape};
use gradus_kernels::DType;
use gradus_kernels::program::{Instr, Program, Reg};
use std::collections::BTreeSet;

/// Invocations of a workgroup.
const WORKGROUP: usize = 256;
/// Elements that are loaded and stored at once.
const FOUR: usize = 4;
const COMPONENTS: [&str; FOUR] = ["x", "y", "z", "w"];

/// An operand of a program: which buffer, how it is seen, of which type.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    pub bind: Bind,
    pub layout: Layout,
    pub dtype: DType,
    /// Whether the value begins at a multiple of four elements in its buffer.
    pub aligned: bool,
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
        let live = self.program.live();
        let mut needs: Vec<BTreeSet<Bind>> = Vec::new();
        let mut best: Option<Reg> = None;
        for (i, &(instr, _)) in self.program.code.iter().enumerate() {
            let mut set: BTreeSet<Bind> = BTreeSet::new();
            match instr {
                Instr::Input(k) => {
                    set.insert(self.inputs[k as usize].bind);
                }
                _ => instr.reads().for_each(|r| set.extend(&needs[r as usize])),
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
        self.inputs.push(View { bind, layout: Layout::contiguous(shape), dtype, aligned: true });
    }
}

/// The inputs that a live instruction reads.
pub(super) fn used_inputs(program: &Program) -> impl Iterator<Item = usize> {
    let live = program.live();
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
    let used: BTreeSet<usize> = used_inputs(program).collect();
    let plain = Layout::contiguous(shape).strides;
    let strides: Vec<_> = inputs
        .iter()
        .enumerate()
        .map(|(k, view)| if used.contains(&k) { view.layout.strides } else { [0; 8] })
        .chain([plain])
        .collect();
    let axes = Axes::new(shape, &(0..shape.rank()).collect::<Vec<_>>(), &strides);
    let mut bindings = Bindings { reads: Vec::new(), writes: outputs.to_vec() };
    for &k in &used {
        bindings.name(inputs[k].bind, inputs[k].dtype);
    }
    let fours = axes.lengths.last().is_some_and(|len| len.is_multiple_of(FOUR));
    let mut map = Map { program, inputs, outputs, used, axes, bindings, fields: Fields::default() };
    let (text, each) = if fours { (map.fours(shape), FOUR) } else { (map.singles(shape), 1) };
    Dispatch {
        source: Source::Generated(text),
        constants: Vec::new(),
        params: map.fields.words,
        patches: map.fields.patches,
        reads: map.bindings.reads.iter().map(|(bind, _)| *bind).collect(),
        writes: outputs.iter().map(|(bind, _)| *bind).collect(),
        grid: fold_grid(shape.numel().div_ceil(WORKGROUP * each) as u64, limits),
    }
}

/// A shader in the making.
struct Map<'a> {
    program: &'a Program,
    inputs: &'a [View],
    outputs: &'a [(Bind, DType)],
    used: BTreeSet<usize>,
    /// With the strides of the inputs and, last, of the result.
    axes: Axes,
    bindings: Bindings,
    fields: Fields,
}

impl Map<'_> {
    /// An invocation for each element.
    fn singles(&mut self, shape: &Shape) -> String {
        let count = self.fields.number(shape.numel() as isize);
        let (places, coordinates) = self.places();
        let mut expressions = vec![String::new(); self.inputs.len()];
        for (&k, place) in self.used.iter().zip(&places) {
            let view = &self.inputs[k];
            expressions[k] = format!("{}[{place}]", self.bindings.name(view.bind, view.dtype));
        }
        let mut body = wgsl::body(self.program, &expressions, "i", &mut self.fields);
        for (k, (&reg, (_, dtype))) in self.program.outputs.iter().zip(self.outputs).enumerate() {
            body.push_str(&format!("    y{k}[i] = {};\n", wgsl::stored(*dtype, &format!("r{reg}"))));
        }
        self.shader(1, &count, &self.bindings.declarations(0), "", &format!("{coordinates}{body}"))
    }

    /// An invocation for four neighbours along the innermost axis, of which there is a multiple of four. What lies as
    /// they do, from a multiple of four on, is loaded and stored at once; the program runs for one after the other.
    fn fours(&mut self, shape: &Shape) -> String {
        let count = self.fields.number(shape.numel() as isize);
        let (places, coordinates) = self.places();
        let (mut program, mut loads) = (self.program.clone(), self.draws());
        let wide =
            |map: &Map, bind: Bind| map.used.iter().all(|&k| map.inputs[k].bind != bind || map.is_four(k));
        let mut body = coordinates;
        let mut expressions: Vec<[String; FOUR]> = vec![Default::default(); self.inputs.len()];
        for (&k, place) in self.used.clone().iter().zip(&places) {
            let view = &self.inputs[k];
            let name = self.bindings.name(view.bind, view.dtype);
            let step = *self.axes.strides[k].last().expect("an innermost axis");
            expressions[k] = if step == 0 {
                body.push_str(&format!("    let v{k} = {name}[{place}];\n"));
                [(); FOUR].map(|()| format!("v{k}"))
            } else if wide(self, view.bind) {
                body.push_str(&format!("    let v{k} = {name}[({place}) >> 2u];\n"));
                COMPONENTS.map(|c| format!("v{k}.{c}"))
            } else {
                let step = if step == 1 { String::from("1u") } else { self.fields.number(step) };
                body.push_str(&format!("    let v{k} = {place};\n"));
                [0, 1, 2, 3].map(|t| format!("{name}[v{k} + {t}u * {step}]"))
            };
        }
        // Draws come in fours, too, and are further inputs of the program for one element.
        for (n, (instr, text)) in std::mem::take(&mut loads).into_iter().enumerate() {
            body.push_str(&format!("    let d{n} = {text};\n"));
            program.code[instr].0 = Instr::Input(expressions.len() as u16);
            expressions.push(COMPONENTS.map(|c| format!("d{n}.{c}")));
        }
        let function = self.element(&program, &expressions, &mut body);
        for (k, (bind, dtype)) in self.outputs.iter().enumerate() {
            let element = wgsl::element_type(*dtype);
            match wide(self, *bind) {
                true => body.push_str(&format!(
                    "    y{k}[i >> 2u] = vec4<{element}>(e0.y{k}, e1.y{k}, e2.y{k}, e3.y{k});\n"
                )),
                false => (0..FOUR).for_each(|t| body.push_str(&format!("    y{k}[i + {t}u] = e{t}.y{k};\n"))),
            }
        }
        let declarations = self.bindings.declared(0, |bind| wide(self, bind));
        self.shader(FOUR, &count, &declarations, &function, &body)
    }

    /// The program as a function of one element, and its four calls.
    fn element(&mut self, program: &Program, expressions: &[[String; FOUR]], body: &mut String) -> String {
        let live: BTreeSet<usize> = used_inputs(program).collect();
        let dtype = |k: usize| {
            let reads = |(instr, _): &&(Instr, DType)| matches!(instr, Instr::Input(n) if *n as usize == k);
            let (_, dtype) = program.code.iter().find(reads).expect("an input that is read");
            wgsl::element_type(*dtype)
        };
        let names: Vec<String> = (0..expressions.len()).map(|k| format!("x{k}")).collect();
        let inner = wgsl::body(program, &names, "i", &mut self.fields);
        let arguments: String = live.iter().map(|&k| format!(", x{k}: {}", dtype(k))).collect();
        let fields = self.outputs.iter().enumerate();
        let fields: String =
            fields.map(|(k, (_, dtype))| format!("    y{k}: {},\n", wgsl::element_type(*dtype))).collect();
        let results = program.outputs.iter().zip(self.outputs);
        let results = results.map(|(reg, (_, dtype))| wgsl::stored(*dtype, &format!("r{reg}")));
        let results = results.collect::<Vec<_>>().join(", ");
        (0..FOUR).for_each(|t| {
            let given: String = live.iter().map(|&k| format!(", {}", expressions[k][t])).collect();
            body.push_str(&format!("    let e{t} = element(i + {t}u{given});\n"));
        });
        format!(
            "struct Element {{\n{fields}}}\nfn element(i: u32{arguments}) -> Element {{\n{inner}    \
             return Element({results});\n}}\n"
        )
    }

    /// Whether four neighbours of input `k` lie together from a multiple of four on.
    fn is_four(&self, k: usize) -> bool {
        let (view, strides) = (&self.inputs[k], &self.axes.strides[k]);
        let (innermost, outer) = strides.split_last().expect("an innermost axis");
        view.aligned
            && view.layout.offset.is_multiple_of(FOUR)
            && *innermost == 1
            && outer.iter().all(|stride| stride % FOUR as isize == 0)
    }

    /// Where element `i` of each used input lies, and the statements that this needs first.
    fn places(&mut self) -> (Vec<String>, String) {
        let row_major = self.axes.strides[self.inputs.len()].clone();
        let (mut places, mut split) = (Vec::new(), false);
        for &k in &self.used {
            let view = &self.inputs[k];
            let offset = self.fields.later("u32", view.layout.offset as u32, Word::Offset(view.bind));
            let steps = if self.axes.strides[k] == row_major {
                String::from(" + i")
            } else {
                split |= self.axes.strides[k].iter().any(|&s| s != 0);
                self.axes.steps(k, "c", &mut self.fields)
            };
            places.push(format!("{offset}{steps}"));
        }
        let coordinates =
            if split { self.axes.coordinates("i", "c", &mut self.fields) } else { String::new() };
        (places, coordinates)
    }

    /// The program's draws: which instruction, and the expression for four elements from `i` on.
    fn draws(&mut self) -> Vec<(usize, String)> {
        let live = self.program.live();
        let draws = self.program.code.iter().enumerate().filter(|(i, _)| live[*i]);
        let draws = draws.filter_map(|(i, &(instr, _))| match instr {
            Instr::Random { kind, seed, draw } => {
                Some((i, wgsl::draw(kind, [seed, draw], "_four", "i", &mut self.fields)))
            }
            _ => None,
        });
        draws.collect()
    }

    /// The whole text, for invocations that have `each` elements from `i` on.
    fn shader(&self, each: usize, count: &str, declarations: &str, function: &str, body: &str) -> String {
        let times = if each == 1 { String::new() } else { format!(" * {each}u") };
        format!(
            "{}{}{declarations}{function}@compute @workgroup_size({WORKGROUP})\n\
             fn main(@builtin(workgroup_id) place: vec3<u32>, @builtin(num_workgroups) size: vec3<u32>, \
             @builtin(local_invocation_index) local: u32) {{\n    \
             let i = (flat_workgroup(place, size) * {WORKGROUP}u + local){times};\n    \
             if i >= {count} {{\n        return;\n    }}\n{body}}}\n",
            wgsl::includes(&format!("{function}{body}")),
            self.fields.declaration(),
        )
    }
}
