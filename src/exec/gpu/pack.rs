//! Equal maps over small tensors as one: the update of an optimizer, which each parameter needs by itself.
//!
//! Such maps can share a dispatch where their operands lie behind one another in the same order: then the maps together are
//! the same program over one longer array. So their results, and the results of the plan that they read, become parts of
//! shared buffers, each part from a multiple of [`ROOM`] elements on; what lies between is computed, too, and read by
//! nobody. Operands that come from outside lie so where an earlier run of such a plan made them, as it does with parameters
//! and an optimizer's slots from the second step on. Until then each map has its dispatch.

use super::dispatch::Limits;
use crate::exec::capture::{Capture, Role};
use crate::exec::plan::{Kernel, MapStep, Plan, Step};
use crate::exec::{Operand, Place};
use crate::shape::{Layout, Shape};
use gradus_kernels::program::{Instr, Reg};
use gradus_kernels::{DType, MAX_RANK};
use std::collections::{BTreeMap, HashMap};

/// Elements that each part's start is a multiple of: the 256 bytes that every device can bind a buffer from.
const ROOM: usize = 64;
/// Elements of a tensor that shares a buffer, at most: those with more keep a device busy by themselves.
const PART: usize = 1 << 16;
/// Elements of a shared buffer, at most: it is kept for as long as any of its parts is.
const WHOLE: usize = 1 << 20;

/// Where a slot lies in a shared buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// Which of [`Packing::sizes`].
    pub buffer: u32,
    /// Its first element.
    pub start: usize,
    /// Whether all other parts of the buffer begin their lives before it, or with it.
    pub last: bool,
}

/// A step that does the work of several.
pub(super) struct Joint {
    pub step: usize,
    /// For each operand from outside, the leaf that each map reads: together they must lie as `starts` says.
    pub leaves: Vec<Vec<u32>>,
    /// The first element of each map's part.
    pub starts: Vec<usize>,
    /// Elements of all parts.
    pub total: usize,
}

/// What shares buffers in a plan.
#[derive(Default)]
pub(super) struct Packing {
    /// For each slot.
    pub parts: Vec<Option<Part>>,
    /// Elements of each shared buffer.
    pub sizes: Vec<usize>,
    pub joints: Vec<Joint>,
}

impl Packing {
    /// Nothing shares anything.
    pub fn none(plan: &Plan) -> Packing {
        Packing { parts: vec![None; plan.slots.len()], ..Packing::default() }
    }

    /// The element of its buffer at which the value of a slot begins.
    pub fn start(&self, place: Place) -> usize {
        match place {
            Place::Slot(slot) => self.parts[slot as usize].map_or(0, |part| part.start),
            Place::Leaf(_) => 0,
        }
    }
}

/// What maps have in common that can be one: program, results, types, and of each operand what [`Kind`] says.
type Class = (Vec<(Instr, DType)>, Vec<Reg>, Vec<Kind>, Vec<DType>);

/// An operand of a map that can share a dispatch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    /// A leaf that lies as the result does.
    Leaf(DType),
    /// A result of the plan that lies as the result does.
    Slot(DType),
    /// One number for all elements, the same for all maps.
    One(Place, usize, DType),
}

/// Joins what maps of `plan` can be one.
pub(super) fn pack(plan: &mut Plan, capture: &Capture, limits: &Limits) -> Packing {
    let mut packer = Packer { packing: Packing::none(plan), sizes: leaf_sizes(capture), limits };
    for steps in packer.candidates(plan) {
        packer.join(plan, &steps);
    }
    // Steps that went into others are gone.
    let mut left = Vec::with_capacity(plan.steps.len());
    let mut moved = vec![0; plan.steps.len()];
    for (i, step) in std::mem::take(&mut plan.steps).into_iter().enumerate() {
        moved[i] = left.len();
        if !step.nodes.is_empty() {
            left.push(step);
        }
    }
    plan.steps = left;
    plan.find_lives();
    let mut packing = packer.packing;
    packing.joints.iter_mut().for_each(|joint| joint.step = moved[joint.step]);
    packing.mark_last(plan);
    packing
}

/// The elements of each leaf.
fn leaf_sizes(capture: &Capture) -> Vec<usize> {
    let mut sizes = vec![0; capture.leaves.len()];
    for node in &capture.nodes {
        if let Role::Leaf(leaf) = node.role {
            sizes[leaf as usize] = node.tensor.numel();
        }
    }
    sizes
}

struct Packer<'a> {
    packing: Packing,
    /// The elements of each leaf.
    sizes: Vec<usize>,
    limits: &'a Limits,
}

impl Packer<'_> {
    /// Lists of steps that may become one each: equal maps, of which none needs another's results.
    fn candidates(&self, plan: &Plan) -> Vec<Vec<usize>> {
        let mut classes: HashMap<Class, usize> = HashMap::new();
        let mut lists: Vec<Vec<usize>> = Vec::new();
        for (i, step) in plan.steps.iter().enumerate() {
            let Kernel::Map(map) = &step.kernel else { continue };
            let Some(class) = self.class(map, plan) else { continue };
            let list = *classes.entry(class).or_insert_with(|| {
                lists.push(Vec::new());
                lists.len() - 1
            });
            lists[list].push(i);
        }
        lists.into_iter().flat_map(|list| chunks(plan, &list)).collect()
    }

    fn class(&self, map: &MapStep, plan: &Plan) -> Option<Class> {
        let n = map.shape.numel();
        let buffers = map.inputs.len() + map.outputs.len();
        let positional = |(instr, _): &(Instr, DType)| instr.reads_index();
        if !(1..=PART).contains(&n)
            || buffers > self.limits.buffers as usize
            || map.program.code.iter().any(positional)
        {
            return None;
        }
        let kind = |(operand, dtype): &(Operand, DType)| {
            let Operand { place, layout } = operand;
            let size = match place {
                Place::Leaf(leaf) => self.sizes[*leaf as usize],
                Place::Slot(slot) => plan.slots[*slot as usize].0,
            };
            if layout.offset == 0 && layout.is_contiguous(&map.shape) && size == n {
                return Some(match place {
                    Place::Leaf(_) => Kind::Leaf(*dtype),
                    Place::Slot(_) => Kind::Slot(*dtype),
                });
            }
            is_shared(operand, &map.shape).then_some(Kind::One(*place, layout.offset, *dtype))
        };
        let kinds: Option<Vec<Kind>> = map.inputs.iter().map(kind).collect();
        let results = map.outputs.iter().map(|(_, dtype)| *dtype).collect();
        Some((map.program.code.clone(), map.program.outputs.clone(), kinds?, results))
    }

    fn is_packed(&self, place: Place) -> bool {
        matches!(place, Place::Slot(slot) if self.packing.parts[slot as usize].is_some())
    }

    /// Makes the last of `steps` do the work of all, unless their buffers would clash.
    fn join(&mut self, plan: &mut Plan, steps: &[usize]) {
        let maps: Vec<&MapStep> = steps.iter().filter_map(|&i| map_of(&plan.steps[i])).collect();
        let (mut starts, mut total) = (Vec::new(), 0);
        for map in &maps {
            starts.push(total);
            total += map.shape.numel().next_multiple_of(ROOM);
        }
        let mut parts: BTreeMap<u32, Part> = BTreeMap::new();
        let mut leaves: Vec<Vec<u32>> = Vec::new();
        let mut buffers = self.packing.sizes.len() as u32;
        for k in 0..maps[0].inputs.len() + maps[0].outputs.len() {
            let operand = |map: &MapStep| map.inputs.iter().chain(&map.outputs).nth(k).map(|(o, _)| *o);
            let places: Vec<Operand> = maps.iter().filter_map(|map| operand(map)).collect();
            if k < maps[0].inputs.len() && is_shared(&places[0], &maps[0].shape) {
                continue;
            }
            let of_leaves =
                places.iter().filter_map(|o| if let Place::Leaf(l) = o.place { Some(l) } else { None });
            let of_leaves: Vec<u32> = of_leaves.collect();
            if !of_leaves.is_empty() {
                leaves.push(of_leaves);
                continue;
            }
            for (operand, &start) in places.iter().zip(&starts) {
                let Place::Slot(slot) = operand.place else { continue };
                // One that two of the maps read has no place in the order of both.
                if self.is_packed(operand.place)
                    || parts.insert(slot, Part { buffer: buffers, start, last: false }).is_some()
                {
                    return;
                }
            }
            buffers += 1;
        }
        if clashes(plan, &parts, steps) {
            return;
        }
        merge(plan, steps, total);
        let step = *steps.last().expect("several steps");
        self.packing.joints.push(Joint { step, leaves, starts, total });
        self.packing.sizes.resize(buffers as usize, total);
        parts.into_iter().for_each(|(slot, part)| self.packing.parts[slot as usize] = Some(part));
    }
}

/// Puts all of `steps` into the last, as a map over `total` elements.
fn merge(plan: &mut Plan, steps: &[usize], total: usize) {
    let shape = Shape::of(&[total]);
    let first = map_of(&plan.steps[steps[0]]).expect("a map");
    let over = |(operand, dtype): &(Operand, DType), shared: bool| {
        let layout = match shared {
            true => Layout { offset: operand.layout.offset, strides: [0; MAX_RANK] },
            false => Layout::contiguous(&shape),
        };
        (Operand { place: operand.place, layout }, *dtype)
    };
    let inputs = first.inputs.iter().map(|input| over(input, is_shared(&input.0, &first.shape))).collect();
    let outputs = first.outputs.iter().map(|output| over(output, false)).collect();
    let mut kernel = Kernel::Map(MapStep { program: first.program.clone(), shape, inputs, outputs });
    let (&last, others) = steps.split_last().expect("several steps");
    let (mut parts, mut nodes, mut results) = (vec![], vec![], vec![]);
    for &i in others {
        let step = &mut plan.steps[i];
        nodes.append(&mut step.nodes);
        results.append(&mut step.results);
        let empty = MapStep { program: Default::default(), shape, inputs: vec![], outputs: vec![] };
        parts.push(std::mem::replace(&mut step.kernel, Kernel::Map(empty)));
    }
    let step = &mut plan.steps[last];
    std::mem::swap(&mut step.kernel, &mut kernel);
    parts.push(kernel);
    step.parts = parts;
    nodes.append(&mut step.nodes);
    results.append(&mut step.results);
    (step.nodes, step.results) = (nodes, results);
}

impl Packing {
    /// Finds the part of each shared buffer that begins last.
    fn mark_last(&mut self, plan: &Plan) {
        let mut last: Vec<Option<u32>> = vec![None; self.sizes.len()];
        for (slot, _) in plan.steps.iter().flat_map(|step| &step.begins) {
            if let Some(part) = self.parts[*slot as usize] {
                last[part.buffer as usize] = Some(*slot);
            }
        }
        for slot in last.into_iter().flatten() {
            self.parts[slot as usize].iter_mut().for_each(|part| part.last = true);
        }
    }
}

fn map_of(step: &Step) -> Option<&MapStep> {
    if let Kernel::Map(map) = &step.kernel { Some(map) } else { None }
}

/// Whether an operand of a map over `shape` is one number for all elements.
fn is_shared(operand: &Operand, shape: &Shape) -> bool {
    shape.numel() > 1 && operand.layout.strides[..shape.rank()].iter().all(|&stride| stride == 0)
}

/// Cuts a list of equal maps into those that may be one each: all of them wait for the last, so none may have results
/// that somebody needs before.
fn chunks(plan: &Plan, list: &[usize]) -> Vec<Vec<usize>> {
    let mut needed: HashMap<u32, usize> = HashMap::new();
    for (t, step) in plan.steps.iter().enumerate().rev() {
        let begun = |slot: u32| step.begins.iter().any(|(begun, _)| *begun == slot);
        step.slots(&mut |slot| {
            if !begun(slot) {
                needed.insert(slot, t);
            }
        });
    }
    let deadline = |i: usize| {
        let first = plan.steps[i].begins.iter().filter_map(|(slot, _)| needed.get(slot)).min();
        first.copied().unwrap_or(usize::MAX)
    };
    let mut chunks: Vec<Vec<usize>> = Vec::new();
    let (mut current, mut size, mut until) = (Vec::new(), 0, usize::MAX);
    for &i in list {
        let n = map_of(&plan.steps[i]).map_or(0, |map| map.shape.numel().next_multiple_of(ROOM));
        if i >= until || size + n > WHOLE {
            chunks.push(std::mem::take(&mut current));
            (size, until) = (0, usize::MAX);
        }
        current.push(i);
        (size, until) = (size + n, until.min(deadline(i)));
    }
    chunks.push(current);
    chunks.retain(|chunk| chunk.len() > 1);
    chunks
}

/// Whether a step other than `joined` would write one part of a buffer and read another, which no device allows.
fn clashes(plan: &Plan, parts: &BTreeMap<u32, Part>, joined: &[usize]) -> bool {
    plan.steps.iter().enumerate().filter(|(t, _)| !joined.contains(t)).any(|(_, step)| {
        let begun = |slot: u32| step.begins.iter().any(|(begun, _)| *begun == slot);
        let of = |slot: u32| parts.get(&slot).map(|part| part.buffer);
        let written: Vec<u32> = step.begins.iter().filter_map(|(slot, _)| of(*slot)).collect();
        let mut clash = false;
        step.slots(&mut |slot| {
            clash |= !begun(slot) && of(slot).is_some_and(|buffer| written.contains(&buffer));
        });
        clash
    })
}
