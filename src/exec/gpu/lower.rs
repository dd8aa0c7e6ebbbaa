//! From a plan's kernels to recipes: which operand is which buffer, and which description makes the dispatches.

use super::dispatch::{Bind, Limits, Recipe};
use super::epilogue::epilogue;
use super::kernels::choice::Class;
use super::kernels::conv::{self, Form};
use super::kernels::lines::{self, Part, Windows};
use super::kernels::params::View as KernelView;
use super::kernels::tile::Epilogue;
use super::kernels::{gemm, index, sort};
use super::pointwise::{self, View};
use super::reduce::{self, Fold};
use super::tuning::Tuning;
use crate::exec::capture::Capture;
use crate::exec::plan::{ConvForm, Kernel, MapStep};
use crate::exec::{Operand, Place};
use crate::shape::Layout;
use gradus_kernels::DType;

/// The dispatches of a kernel, and the buffers that its recipe calls inputs and outputs.
pub(super) struct Lowered {
    pub recipe: Recipe,
    pub inputs: Vec<Place>,
    pub outputs: Vec<Place>,
    /// Of the choices that were made.
    pub class: Option<Class>,
}

/// Makes dispatches of a kernel, with the choices of `tuning`.
pub(super) fn lower(
    kernel: &Kernel,
    slots: &[(usize, DType)],
    capture: &Capture,
    tuning: &Tuning,
    limits: &Limits,
) -> Lowered {
    let lower = Lower { capture, slots, tuning, limits };
    match kernel {
        Kernel::Map(map) => {
            let mut lowered = Lowered::new(Vec::new(), Vec::new());
            lower.map(map, &mut lowered);
            lowered
        }
        Kernel::Gemm { gemm, a, b, out, epilogue: map, row_sums, .. } => {
            let offsets = [a.layout.offset, b.layout.offset];
            let aligned = lower.aligned(&[a, b]);
            let class = gemm::class(gemm);
            let choice = tuning.of(&class);
            let recipe = |fused: Option<&Epilogue>| gemm::gemm(gemm, offsets, aligned, choice, fused, limits);
            let mut lowered = lower.product(recipe, [a, b], *out, map.as_ref());
            if let Some(sums) = row_sums {
                lowered.outputs.push(Place::Slot(*sums));
                gemm::sum_rows(&mut lowered.recipe);
            }
            Lowered { class: Some(class), ..lowered }
        }
        Kernel::Conv { form, conv, a, b, out, epilogue: map, .. } => {
            let form = match form {
                ConvForm::Forward => Form::Forward,
                ConvForm::Input => Form::Input,
                ConvForm::Weight => Form::Weight,
            };
            let offsets = [a.layout.offset, b.layout.offset];
            let aligned = lower.aligned(&[a, b]);
            let class = conv::class(form, conv);
            let choice = tuning.of(&class);
            let recipe =
                |fused: Option<&Epilogue>| conv::conv(form, conv, offsets, aligned, choice, fused, limits);
            Lowered { class: Some(class), ..lower.product(recipe, [a, b], *out, map.as_ref()) }
        }
        _ => lower.other(kernel),
    }
}

struct Lower<'a> {
    capture: &'a Capture,
    /// Number and type of the elements of each slot.
    slots: &'a [(usize, DType)],
    tuning: &'a Tuning,
    limits: &'a Limits,
}

impl Lower<'_> {
    fn aligned(&self, operands: &[&Operand]) -> bool {
        operands.iter().all(|operand| match operand.place {
            Place::Leaf(leaf) => self.capture.leaves[leaf as usize].is_aligned(),
            Place::Slot(_) => true,
        })
    }

    /// A product with the program that runs on its result: in its shader where that can be, else after it.
    fn product(
        &self,
        recipe: impl Fn(Option<&Epilogue>) -> Recipe,
        operands: [&Operand; 2],
        out: u32,
        map: Option<&MapStep>,
    ) -> Lowered {
        let inputs = operands.map(|operand| operand.place).to_vec();
        let mut lowered = Lowered::new(inputs, vec![Place::Slot(out)]);
        let Some(map) = map else {
            lowered.recipe = recipe(None);
            return lowered;
        };
        let (views, outputs) = self.operands(map, &mut lowered);
        match epilogue(&map.program, &map.shape, &views, &outputs, self.limits) {
            Some(fused) => lowered.recipe = recipe(Some(&fused)),
            None => {
                lowered.recipe = recipe(None);
                self.map(map, &mut lowered);
            }
        }
        lowered
    }

    /// Appends the dispatches of a map.
    fn map(&self, map: &MapStep, lowered: &mut Lowered) {
        let (inputs, outputs) = self.operands(map, lowered);
        pointwise::map(&map.program, &map.shape, &inputs, &outputs, &mut lowered.recipe, self.limits);
    }

    /// The operands of a fused program.
    fn operands(&self, map: &MapStep, lowered: &mut Lowered) -> (Vec<View>, Vec<(Bind, DType)>) {
        let outputs =
            map.outputs.iter().map(|(operand, dtype)| (lowered.output(operand.place), *dtype)).collect();
        (map.inputs.iter().map(|(operand, dtype)| self.view(operand, *dtype, lowered)).collect(), outputs)
    }

    fn view(&self, operand: &Operand, dtype: DType, lowered: &mut Lowered) -> View {
        let (bind, aligned) = (lowered.bind(operand.place), self.aligned(&[operand]));
        View { bind, layout: operand.layout, dtype, aligned }
    }

    /// The kernels with one result and no program, and reductions.
    fn other(&self, kernel: &Kernel) -> Lowered {
        let limits = self.limits;
        let single = |recipe: Recipe, operands: &[&Operand], out: u32| {
            let inputs = operands.iter().map(|operand| operand.place).collect();
            Lowered { recipe, ..Lowered::new(inputs, vec![Place::Slot(out)]) }
        };
        match kernel {
            Kernel::Reduce { program, reduction, shape, axes, inputs, out } => {
                let mut lowered = Lowered::new(Vec::new(), vec![Place::Slot(*out)]);
                let views: Vec<View> =
                    inputs.iter().map(|(operand, dtype)| self.view(operand, *dtype, &mut lowered)).collect();
                let fold = Fold { program, reduction: *reduction, shape, axes: *axes, inputs: &views };
                lowered.class = Some(reduce::class(&fold));
                lowered.recipe = reduce::reduce(&fold, self.tuning, limits);
                lowered
            }
            Kernel::Copies { zero, out, parts, .. } => {
                let part = |(input, (shape, x, out)): (usize, &(crate::Shape, Operand, Layout))| Part {
                    shape: shape.to_vec(),
                    input,
                    x: seen(&x.layout),
                    out: seen(out),
                };
                let described: Vec<Part> = parts.iter().enumerate().map(part).collect();
                let count = self.slots[*out as usize].0;
                let operands: Vec<&Operand> = parts.iter().map(|(_, x, _)| x).collect();
                single(lines::copies(*zero, count, &described, limits), &operands, *out)
            }
            Kernel::Gather { axis, len, shape, x, index, out, .. } => {
                let recipe =
                    index::gather(shape, *axis, *len, &seen(&x.layout), &seen(&index.layout), limits);
                single(recipe, &[x, index], *out)
            }
            Kernel::ScatterAdd { axis, len, shape, src, index, types, out } => {
                let views = [seen(&src.layout), seen(&index.layout)];
                let recipe = index::scatter_add(types[0], shape, *axis, *len, &views[0], &views[1], limits);
                single(recipe, &[src, index], *out)
            }
            Kernel::Fold { spec, len, shape, dtype, x, out } => {
                let windows = Windows {
                    axis: spec.axis as usize,
                    len: *len,
                    stride: spec.stride,
                    dilation: spec.dilation,
                };
                single(lines::fold(*dtype, shape, &windows, &seen(&x.layout), limits), &[x], *out)
            }
            Kernel::Cumsum { axis, shape, dtype, x, out } => {
                single(lines::cumsum(*dtype, shape, *axis, &seen(&x.layout), limits), &[x], *out)
            }
            Kernel::Argsort { axis, descending, shape, dtype, x, out } => {
                let recipe = sort::argsort(*dtype, shape, *axis, *descending, &seen(&x.layout), limits);
                single(recipe, &[x], *out)
            }
            Kernel::Map(_) | Kernel::Gemm { .. } | Kernel::Conv { .. } => unreachable!("lowered before"),
        }
    }
}

impl Lowered {
    fn new(inputs: Vec<Place>, outputs: Vec<Place>) -> Lowered {
        Lowered { recipe: Recipe::default(), inputs, outputs, class: None }
    }

    fn output(&mut self, place: Place) -> Bind {
        let known = self.outputs.iter().position(|known| *known == place);
        Bind::Output(known.unwrap_or_else(|| {
            self.outputs.push(place);
            self.outputs.len() - 1
        }))
    }

    /// The buffer of an operand of a fused program: a result of the same kernel where it is one.
    fn bind(&mut self, place: Place) -> Bind {
        let at = |list: &[Place]| list.iter().position(|known| *known == place);
        match (at(&self.outputs), at(&self.inputs)) {
            (Some(k), _) => Bind::Output(k),
            (None, Some(k)) => Bind::Input(k),
            (None, None) => {
                self.inputs.push(place);
                Bind::Input(self.inputs.len() - 1)
            }
        }
    }
}

fn seen(layout: &Layout) -> KernelView {
    KernelView { offset: layout.offset, strides: layout.strides }
}
