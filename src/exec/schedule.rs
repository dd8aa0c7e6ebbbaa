//! From groups to steps: the order of kernels, the buffers they use, and when each buffer's life ends.

use super::capture::Role;
use super::fuse::Groups;
use super::plan::{Class, ConvForm, Ir, Kernel, MapStep, Plan, Step};
use super::{Operand, Place};
use crate::ops::Op;
use crate::shape::Layout;
use gradus_kernels::program::{Instr, Program, Reg};
use gradus_kernels::reduce::Reduction;
use gradus_kernels::{DType, MAX_RANK};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};

struct Scheduler<'a, 'b> {
    ir: &'a Ir<'b>,
    groups: &'a Groups,
    /// The slot of each stored node.
    slot: Vec<Option<u32>>,
    slots: Vec<(usize, DType)>,
}

/// The plan for a grouped graph.
pub(super) fn schedule(ir: &Ir, groups: &Groups) -> Plan {
    let mut scheduler = Scheduler { ir, groups, slot: vec![None; ir.class.len()], slots: Vec::new() };
    for i in 0..ir.class.len() as u32 {
        if groups.stored[i as usize] {
            let slot = scheduler.new_slot(i);
            scheduler.slot[i as usize] = Some(slot);
        }
    }
    let order = scheduler.order();
    let steps = order.into_iter().map(|nodes| scheduler.step(&nodes)).collect();
    let outputs = scheduler.outputs();
    let mut plan = Plan { steps, slots: scheduler.slots, outputs };
    plan.find_lives();
    plan
}

impl Scheduler<'_, '_> {
    fn new_slot(&mut self, i: u32) -> u32 {
        self.slots.push((self.ir.capture.shape(i).numel(), self.ir.dtype(i)));
        self.slots.len() as u32 - 1
    }

    /// The groups, each after those it reads from; where that leaves a choice, in the order of the source.
    fn order(&self) -> Vec<Vec<u32>> {
        let ir = self.ir;
        let mut members: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for i in 0..ir.class.len() as u32 {
            let k = i as usize;
            let computed = ir.live[k] && ir.same[k] == i && !ir.recomputed[k];
            let kernel = matches!(ir.class[k], Class::Map | Class::Copy | Class::Heavy);
            if computed && (kernel || (ir.class[k] == Class::Full && self.groups.stored[k])) {
                members.entry(self.groups.of[k]).or_default().push(i);
            }
        }
        let mut waits: HashMap<u32, usize> = members.keys().map(|&g| (g, 0)).collect();
        let mut unlocks: HashMap<u32, Vec<u32>> = HashMap::new();
        for (&group, nodes) in &members {
            let mut before: Vec<u32> = nodes
                .iter()
                .flat_map(|&i| ir.edges(i))
                .map(|(base, _)| self.groups.of[base as usize])
                .filter(|g| *g != group && members.contains_key(g))
                .collect();
            before.sort_unstable();
            before.dedup();
            waits.insert(group, before.len());
            before.into_iter().for_each(|g| unlocks.entry(g).or_default().push(group));
        }
        let newest = |g: u32| members[&g].last().copied().unwrap_or(g);
        let mut ready: BinaryHeap<Reverse<(u32, u32)>> =
            waits.iter().filter(|(_, n)| **n == 0).map(|(&g, _)| Reverse((newest(g), g))).collect();
        let mut order = Vec::with_capacity(members.len());
        while let Some(Reverse((_, group))) = ready.pop() {
            order.push(self.with_recomputed(&members[&group]));
            for &next in unlocks.get(&group).into_iter().flatten() {
                let left = waits.get_mut(&next).expect("every group is counted");
                *left -= 1;
                if *left == 0 {
                    ready.push(Reverse((newest(next), next)));
                }
            }
        }
        assert_eq!(order.len(), members.len(), "groups form no cycle");
        order
    }

    /// The nodes of a group and those that it computes for itself, in the order of the source.
    fn with_recomputed(&self, group: &[u32]) -> Vec<u32> {
        let ir = self.ir;
        let (mut nodes, mut at) = (group.to_vec(), 0);
        while at < nodes.len() {
            let inputs = ir.capture.nodes[nodes[at] as usize].inputs.iter();
            nodes.extend(inputs.map(|&x| ir.same[x as usize]).filter(|&x| ir.recomputed[x as usize]));
            at += 1;
        }
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }

    /// Where the elements of a node that owns its buffer lie.
    fn place(&self, base: u32) -> Place {
        match self.ir.capture.nodes[base as usize].role {
            Role::Leaf(leaf) => Place::Leaf(leaf),
            Role::Pending => Place::Slot(self.slot[base as usize].expect("what is read is stored")),
        }
    }

    fn operand(&self, i: u32) -> Operand {
        let i = self.ir.same[i as usize];
        let (base, layout) = self.ir.source[i as usize];
        let place = self.place(base);
        if let Some((low, high)) = layout.span(self.ir.capture.shape(i)) {
            let len = self.ir.capture.shape(base).numel() as isize;
            assert!(low >= 0 && high < len, "a view stays inside its buffer");
        }
        Operand { place, layout }
    }

    /// The slot a kernel writes.
    fn out(&self, i: u32) -> u32 {
        self.slot[i as usize].expect("what a kernel of its own computes is stored")
    }

    fn step(&mut self, nodes: &[u32]) -> Step {
        let ir = self.ir;
        let heavy = |i: &u32| ir.class[*i as usize] == Class::Heavy && !ir.recomputed[*i as usize];
        let heavy = nodes.iter().copied().find(heavy);
        let pointwise: Vec<u32> =
            nodes.iter().copied().filter(|&i| ir.is_map(i) || ir.class[i as usize] == Class::Full).collect();
        let last = *nodes.last().expect("a group has nodes");
        let kernel = match heavy {
            None if ir.class[last as usize] == Class::Copy => self.copy(last),
            None => Kernel::Map(self.map(&pointwise, None)),
            Some(i) => match ir.capture.op(i) {
                Op::Reduce(r, axes) => self.reduce(i, *r, *axes, &pointwise),
                _ => self.heavy(i, &pointwise),
            },
        };
        let node = heavy.unwrap_or(last);
        let results = nodes
            .iter()
            .filter(|&&i| self.slot[i as usize].is_some() && ir.dtype(i).is_float())
            .map(|&i| (self.out(i), ir.capture.shape(i).numel(), ir.dtype(i)))
            .collect();
        Step { kernel, parts: vec![], node, nodes: nodes.to_vec(), begins: vec![], ends: vec![], results }
    }

    /// A strided copy of a view into a buffer of its own.
    fn copy(&self, i: u32) -> Kernel {
        let input = self.ir.same[self.ir.capture.nodes[i as usize].inputs[0] as usize];
        let shape = *self.ir.capture.shape(i);
        let (base, seen) = self.ir.source[input as usize];
        let from = self.ir.capture.shape(input);
        // A view is read as it is seen; a reshape that no strides express is read in its old shape.
        let view = crate::ops::layout(self.ir.capture.op(i), &seen, from, &shape);
        let (space, layout) = match view {
            Some(layout) => (shape, layout),
            None => (*from, seen),
        };
        let place = self.place(base);
        let part = (space, Operand { place, layout }, Layout::contiguous(&space));
        Kernel::Copies { zero: false, dtype: self.ir.dtype(i), out: self.out(i), parts: vec![part] }
    }

    /// The program of pointwise nodes over one shape. `host` is the product whose result is already in its slot.
    fn map(&mut self, nodes: &[u32], host: Option<(u32, u32)>) -> MapStep {
        let last = *nodes.last().expect("a program has nodes");
        let shape = *self.ir.capture.shape(last);
        let (mut program, mut inputs) = (Program::default(), Vec::new());
        let registers = self.program(nodes, host, &mut program, &mut inputs);
        let mut outputs = Vec::new();
        for &i in nodes {
            if let Some(slot) = self.slot[i as usize] {
                program.outputs.push(registers[&i]);
                let layout = Layout::contiguous(&shape);
                outputs.push((Operand { place: Place::Slot(slot), layout }, self.ir.dtype(i)));
            }
        }
        MapStep { program, shape, inputs, outputs }
    }

    /// Appends the instructions of `nodes`; gives the register of each.
    fn program(
        &self,
        nodes: &[u32],
        host: Option<(u32, u32)>,
        program: &mut Program,
        inputs: &mut Vec<(Operand, DType)>,
    ) -> HashMap<u32, Reg> {
        let ir = self.ir;
        let mut registers: HashMap<u32, Reg> = HashMap::new();
        let mut loaded: Vec<(Operand, Reg)> = Vec::new();
        for &i in nodes {
            let node = &ir.capture.nodes[i as usize];
            let mut args: [Reg; 3] = [0; 3];
            for (arg, &x) in args.iter_mut().zip(node.inputs.iter()) {
                let x = ir.same[x as usize];
                *arg = match registers.get(&x) {
                    Some(&r) => r,
                    None => self.load(x, host, program, inputs, &mut loaded),
                };
                if ir.class[x as usize] == Class::Full {
                    registers.insert(x, *arg);
                }
            }
            let instr = match ir.capture.op(i) {
                Op::Full(_) | Op::Number(_) => Instr::Param(ir.capture.nodes[i as usize].params[0]),
                Op::Index => Instr::Index,
                Op::Random { kind, .. } => {
                    let [seed, draw] = ir.capture.nodes[i as usize].params;
                    Instr::Random { kind: *kind, seed, draw }
                }
                Op::Unary(u) => Instr::Unary(*u, args[0]),
                Op::Binary(b) => Instr::Binary(*b, args[0], args[1]),
                Op::Select => Instr::Select(args[0], args[1], args[2]),
                Op::Cast => Instr::Cast(args[0]),
                op => unreachable!("{} is not pointwise", op.name()),
            };
            registers.insert(i, push(program, instr, ir.dtype(i)));
        }
        registers
    }

    fn load(
        &self,
        x: u32,
        host: Option<(u32, u32)>,
        program: &mut Program,
        inputs: &mut Vec<(Operand, DType)>,
        loaded: &mut Vec<(Operand, Reg)>,
    ) -> Reg {
        let ir = self.ir;
        let dtype = ir.dtype(x);
        if ir.class[x as usize] == Class::Full {
            return push(program, Instr::Param(ir.capture.nodes[x as usize].params[0]), dtype);
        }
        let operand = match host {
            Some((node, slot)) if node == x => {
                Operand { place: Place::Slot(slot), layout: Layout::contiguous(ir.capture.shape(x)) }
            }
            _ => self.operand(x),
        };
        if let Some((_, r)) = loaded.iter().find(|(o, _)| *o == operand) {
            return *r;
        }
        let r = push(program, Instr::Input(inputs.len() as u16), dtype);
        inputs.push((operand, dtype));
        loaded.push((operand, r));
        r
    }

    fn reduce(&mut self, i: u32, r: Reduction, axes: u32, prologue: &[u32]) -> Kernel {
        let ir = self.ir;
        let x = ir.same[ir.capture.nodes[i as usize].inputs[0] as usize];
        let (mut program, mut inputs) = (Program::default(), Vec::new());
        let registers = self.program(prologue, None, &mut program, &mut inputs);
        let result = match registers.get(&x) {
            Some(&r) => r,
            None => self.load(x, None, &mut program, &mut inputs, &mut Vec::new()),
        };
        program.outputs.push(result);
        let shape = *ir.capture.shape(x);
        Kernel::Reduce { program, reduction: r, shape, axes, inputs, out: self.out(i) }
    }

    /// A kernel of its own, with the group that runs on its result.
    fn heavy(&mut self, i: u32, group: &[u32]) -> Kernel {
        let ir = self.ir;
        let input = |k: usize| ir.capture.nodes[i as usize].inputs[k];
        let shape_in = |k: usize| *ir.capture.shape(input(k));
        let dtype_in = |k: usize| ir.dtype(ir.same[input(k) as usize]);
        match ir.capture.op(i) {
            Op::Matmul | Op::Conv(_) | Op::ConvInput(_) | Op::ConvWeight(_) => self.product(i, group),
            Op::Binary(_) => self.sum_of_products(i),
            Op::Pad(spec) => {
                let (from, to) = (shape_in(0), ir.capture.shape(i));
                let plain = Layout::contiguous(to);
                let mut layout = Layout { offset: 0, strides: [0; MAX_RANK] };
                for k in 0..to.rank() {
                    layout.offset += spec.before[k] * plain.strides[k] as usize;
                    layout.strides[k] = plain.strides[k] * (spec.between[k] as isize + 1);
                }
                let part = (from, self.operand(input(0)), layout);
                Kernel::Copies { zero: true, dtype: ir.dtype(i), out: self.out(i), parts: vec![part] }
            }
            Op::Cat(axis) => {
                let mut layout = Layout::contiguous(ir.capture.shape(i));
                let mut parts = Vec::new();
                for k in 0..ir.capture.nodes[i as usize].inputs.len() {
                    parts.push((shape_in(k), self.operand(input(k)), layout));
                    let step = layout.strides[*axis as usize] as usize;
                    layout.offset += shape_in(k)[*axis as usize] * step;
                }
                Kernel::Copies { zero: false, dtype: ir.dtype(i), out: self.out(i), parts }
            }
            Op::Gather(axis) => Kernel::Gather {
                axis: *axis as usize,
                len: shape_in(0)[*axis as usize],
                shape: *ir.capture.shape(i),
                x: self.operand(input(0)),
                index: self.operand(input(1)),
                types: [dtype_in(0), dtype_in(1)],
                out: self.out(i),
            },
            Op::ScatterAdd(axis, len) => Kernel::ScatterAdd {
                axis: *axis as usize,
                len: *len,
                shape: shape_in(0),
                src: self.operand(input(0)),
                index: self.operand(input(1)),
                types: [dtype_in(0), dtype_in(1)],
                out: self.out(i),
            },
            Op::Fold(spec, len) => Kernel::Fold {
                spec: *spec,
                len: *len,
                shape: shape_in(0),
                dtype: dtype_in(0),
                x: self.operand(input(0)),
                out: self.out(i),
            },
            Op::Cumsum(axis) => Kernel::Cumsum {
                axis: *axis as usize,
                shape: shape_in(0),
                dtype: dtype_in(0),
                x: self.operand(input(0)),
                out: self.out(i),
            },
            Op::Argsort { axis, descending } => Kernel::Argsort {
                axis: *axis as usize,
                descending: *descending,
                shape: shape_in(0),
                dtype: dtype_in(0),
                x: self.operand(input(0)),
                out: self.out(i),
            },
            op => unreachable!("{} has no kernel of its own", op.name()),
        }
    }

    fn product(&mut self, i: u32, group: &[u32]) -> Kernel {
        let ir = self.ir;
        let inputs = &ir.capture.nodes[i as usize].inputs;
        let (x, w) = (ir.same[inputs[0] as usize], ir.same[inputs[1] as usize]);
        let (a, b) = (self.operand(x), self.operand(w));
        let dtype = ir.dtype(i);
        // A result that only the group reads lives in one of the group's own buffers, rewritten in place.
        let out = match self.slot[i as usize] {
            Some(slot) => slot,
            None => {
                let fits = |&j: &u32| self.slot[j as usize].filter(|_| ir.dtype(j) == dtype);
                match group.iter().find_map(fits) {
                    Some(slot) => slot,
                    None => self.new_slot(i),
                }
            }
        };
        let epilogue = (!group.is_empty()).then(|| self.map(group, Some((i, out))));
        let conv = |form, conv: &gradus_kernels::conv::Conv, epilogue| Kernel::Conv {
            form,
            conv: *conv,
            dtype,
            a,
            b,
            out,
            epilogue,
        };
        match ir.capture.op(i) {
            Op::Conv(c) => conv(ConvForm::Forward, c, epilogue),
            Op::ConvInput(c) => conv(ConvForm::Input, c, epilogue),
            Op::ConvWeight(c) => conv(ConvForm::Weight, c, epilogue),
            _ => Kernel::Gemm { gemm: ir.gemm(i), dtype, a, b, more: vec![], out, row_sums: None, epilogue },
        }
    }

    /// Products that are computed as one, together with their sum.
    fn sum_of_products(&self, i: u32) -> Kernel {
        let ir = self.ir;
        let inputs = |i: u32| ir.capture.nodes[i as usize].inputs.iter().map(|&x| ir.same[x as usize]);
        let first = inputs(i).next().expect("a sum has summands");
        let mut operands = inputs(i).map(|product| {
            let mut sides = inputs(product).map(|x| self.operand(x));
            std::array::from_fn(|_| sides.next().expect("a product has two operands"))
        });
        let [a, b] = operands.next().expect("a sum has summands");
        let more = operands.collect();
        Kernel::Gemm {
            gemm: ir.gemm(first),
            dtype: ir.dtype(i),
            a,
            b,
            more,
            out: self.out(i),
            row_sums: None,
            epilogue: None,
        }
    }

    fn outputs(&self) -> Vec<(u32, Place, usize)> {
        let ir = self.ir;
        let mut outputs = Vec::new();
        for i in 0..ir.class.len() as u32 {
            let wanted = ir.capture.nodes[i as usize].wanted;
            let same = ir.same[i as usize];
            let (base, layout) = ir.source[same as usize];
            if wanted == 0 || matches!(ir.capture.nodes[i as usize].role, Role::Leaf(_)) {
                continue;
            }
            let place = match (ir.capture.nodes[base as usize].role, self.slot[base as usize]) {
                (Role::Leaf(leaf), _) => Place::Leaf(leaf),
                (Role::Pending, Some(slot)) => Place::Slot(slot),
                (Role::Pending, None) => continue,
            };
            if layout.is_contiguous(ir.capture.shape(i)) {
                outputs.push((i, place, layout.offset));
            }
        }
        outputs
    }
}

impl Plan {
    /// Finds when each slot begins and ends, and which take over the memory of one that ends.
    pub fn find_lives(&mut self) {
        const FOREVER: usize = usize::MAX;
        let mut first = vec![FOREVER; self.slots.len()];
        let mut last = vec![0usize; self.slots.len()];
        let mut last_read: HashMap<u32, usize> = HashMap::new();
        for (t, step) in self.steps.iter().enumerate() {
            step.slots(&mut |slot| {
                first[slot as usize] = first[slot as usize].min(t);
                last[slot as usize] = t;
            });
            step.kernel.operands(&mut |operand| {
                if let Place::Leaf(leaf) = operand.place {
                    last_read.insert(leaf, t);
                }
            });
        }
        for (_, place, _) in &self.outputs {
            match place {
                Place::Slot(slot) => last[*slot as usize] = FOREVER,
                Place::Leaf(leaf) => {
                    last_read.insert(*leaf, FOREVER);
                }
            }
        }
        for (t, step) in self.steps.iter_mut().enumerate() {
            let mut heirs: HashSet<Place> = HashSet::new();
            let mut slots = Vec::new();
            step.slots(&mut |slot| slots.push(slot));
            slots.sort_unstable();
            slots.dedup();
            step.begins.clear();
            for &slot in slots.iter().filter(|&&s| first[s as usize] == t) {
                let ends = |place| match place {
                    Place::Slot(s) => last[s as usize] == t && first[s as usize] < t,
                    Place::Leaf(leaf) => last_read.get(&leaf) == Some(&t),
                };
                let heir = step.kernel.heir(slot, &ends, &heirs);
                heirs.extend(heir);
                step.begins.push((slot, heir));
            }
            step.ends = slots.into_iter().filter(|&s| last[s as usize] == t).collect();
        }
    }
}

impl Step {
    /// Calls `f` with every slot that the kernel, or one whose work it does, touches.
    pub fn slots(&self, f: &mut impl FnMut(u32)) {
        [&self.kernel].into_iter().chain(&self.parts).for_each(|kernel| kernel.slots(f));
    }
}

fn push(program: &mut Program, instr: Instr, dtype: DType) -> Reg {
    program.code.push((instr, dtype));
    (program.code.len() - 1) as Reg
}

impl Kernel {
    /// Calls `visit` with every operand, but for the result of a kernel that is not a map.
    fn operands(&self, visit: &mut impl FnMut(&Operand)) {
        let map = |step: &MapStep, visit: &mut dyn FnMut(&Operand)| {
            step.inputs.iter().chain(&step.outputs).for_each(|(o, _)| visit(o));
        };
        match self {
            Kernel::Map(step) => map(step, visit),
            Kernel::Reduce { inputs, .. } => inputs.iter().for_each(|(o, _)| visit(o)),
            Kernel::Gemm { a, b, more, epilogue, .. } => {
                [a, b].into_iter().chain(more.iter().flatten()).for_each(&mut *visit);
                epilogue.iter().for_each(|step| map(step, visit));
            }
            Kernel::Conv { a, b, epilogue, .. } => {
                [a, b].into_iter().for_each(&mut *visit);
                epilogue.iter().for_each(|step| map(step, visit));
            }
            Kernel::Copies { parts, .. } => parts.iter().for_each(|(_, o, _)| visit(o)),
            Kernel::Gather { x: a, index: b, .. } | Kernel::ScatterAdd { src: a, index: b, .. } => {
                [a, b].into_iter().for_each(visit);
            }
            Kernel::Fold { x, .. } | Kernel::Cumsum { x, .. } | Kernel::Argsort { x, .. } => visit(x),
        }
    }

    /// Calls `f` with every slot the kernel touches.
    pub(super) fn slots(&self, f: &mut impl FnMut(u32)) {
        self.operands(&mut |operand| {
            if let Place::Slot(slot) = operand.place {
                f(slot);
            }
        });
        match self {
            Kernel::Map(_) => {}
            Kernel::Gemm { out, row_sums, .. } => [*out].into_iter().chain(*row_sums).for_each(f),
            Kernel::Reduce { out, .. }
            | Kernel::Conv { out, .. }
            | Kernel::Copies { out, .. }
            | Kernel::Gather { out, .. }
            | Kernel::ScatterAdd { out, .. }
            | Kernel::Fold { out, .. }
            | Kernel::Cumsum { out, .. }
            | Kernel::Argsort { out, .. } => f(*out),
        }
    }

    /// What ends here and whose memory `slot`, which begins here, can take over: each element of it is read only to
    /// compute the same element of `slot`.
    fn heir(&self, slot: u32, ends: &dyn Fn(Place) -> bool, taken: &HashSet<Place>) -> Option<Place> {
        let Kernel::Map(step) = self else { return None };
        let output = step.outputs.iter().position(|(o, _)| o.place == Place::Slot(slot))?;
        let (result, dtype) = (step.program.outputs[output], step.outputs[output].1);
        let plain = Layout::contiguous(&step.shape);
        let mut nearest = None;
        for (k, (o, d)) in step.inputs.iter().enumerate() {
            // The cheapest questions first: large groups ask them of every pair of an input and an output.
            let free = ends(o.place) && !taken.contains(&o.place);
            let fits = free
                && d.size() == dtype.size()
                && o.layout.offset == 0
                && o.layout.is_contiguous(&step.shape)
                && plain.is_contiguous(&step.shape);
            if !fits || step.inputs.iter().filter(|(p, _)| p.place == o.place).count() > 1 {
                continue;
            }
            // What is changed, a parameter say, has fewer instructions before the result than what changes it; and it may
            // be given up where the gradient is not.
            let far = step.program.distance(k as u16, result);
            if nearest.is_none_or(|(known, _)| far < known) {
                nearest = Some((far, o.place));
            }
        }
        nearest.map(|(_, place)| place)
    }
}
