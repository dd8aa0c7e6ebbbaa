//! The fused program behind a product, as the epilogue of its shader: elements go from registers through the program to
//! its results, and the product itself is never stored.

use super::dispatch::{Bind, Limits, Word};
use super::kernels::tile::Epilogue;
use super::pointwise::{View, used_inputs};
use super::wgsl::{self, Axes, Bindings, Fields};
use crate::shape::{Layout, Shape};
use gradus_kernels::DType;
use gradus_kernels::program::Program;
use std::collections::BTreeSet;

/// Words of parameters that every product leaves to an epilogue, of the 64 that a dispatch has.
const MOST_WORDS: usize = 20;

/// `program` as the epilogue of the product that is output 0, over the product's `shape`; nothing where it must run by
/// itself: with more buffers or parameters than a dispatch has, or reading the product otherwise than element for element.
pub(super) fn epilogue(
    program: &Program,
    shape: &Shape,
    inputs: &[View],
    outputs: &[(Bind, DType)],
    limits: &Limits,
) -> Option<Epilogue> {
    let used: BTreeSet<usize> = used_inputs(program).collect();
    let plain = Layout::contiguous(shape);
    let is_value = |view: &View| view.bind == Bind::Output(0);
    let straight = |view: &View| view.layout.offset == 0 && view.layout.is_contiguous(shape);
    if used.iter().any(|&k| is_value(&inputs[k]) && !(straight(&inputs[k]) && inputs[k].dtype == DType::F32))
    {
        return None;
    }
    let mut bindings = Bindings { reads: Vec::new(), writes: outputs.to_vec() };
    let mut fields = Fields::default();
    let stride = |k: usize| if used.contains(&k) { inputs[k].layout.strides } else { [0; 8] };
    let strides: Vec<_> = (0..inputs.len()).map(stride).chain([plain.strides]).collect();
    let axes = Axes::new(shape, &(0..shape.rank()).collect::<Vec<_>>(), &strides);
    let mut split = false;
    let mut expressions = vec![String::new(); inputs.len()];
    for &k in &used {
        let view = &inputs[k];
        if is_value(view) {
            expressions[k] = String::from("value");
            continue;
        }
        let name = bindings.name(view.bind, view.dtype);
        let offset = fields.later("u32", view.layout.offset as u32, Word::Offset(view.bind));
        let steps = if axes.strides[k] == axes.strides[inputs.len()] {
            String::from(" + e")
        } else {
            split |= axes.strides[k].iter().any(|&s| s != 0);
            axes.steps(k, "c", &mut fields)
        };
        expressions[k] = format!("{name}[{offset}{steps}]");
    }
    let coordinates = if split { axes.coordinates("e", "c", &mut fields) } else { String::new() };
    let mut body = wgsl::body(program, &expressions, "e", &mut fields);
    for (k, (&reg, (_, dtype))) in program.outputs.iter().zip(outputs).enumerate() {
        body.push_str(&format!("    y{k}[e] = {};\n", wgsl::stored(*dtype, &format!("r{reg}"))));
    }
    // Beside the product's own two inputs.
    let buffers = 2 + bindings.reads.len() + bindings.writes.len();
    if buffers > limits.buffers as usize || fields.words.len() > MOST_WORDS {
        return None;
    }
    Some(Epilogue {
        function: format!("fn epilogue(e: u32, value: f32) {{\n{coordinates}{body}}}\n"),
        bindings,
        fields: fields.aligned(),
        params: fields.words,
        patches: fields.patches,
    })
}
