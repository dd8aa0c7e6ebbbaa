//! The CPU backend: runs the steps of a plan on the kernels crate. The one file outside that crate with `unsafe`
//! around kernels: it hands out raw addresses, and says why they are good.

use super::capture::Capture;
use super::chain::{self, Chain, Local, Member};
use super::memory::{Buffer, memory_stats};
use super::plan::{ConvForm, Kernel, MapStep, Plan, Step};
use super::value::HostValue;
use super::{Operand, Place, STATS, Value, trace};
use crate::error::{Error, Result};
use crate::shape::{Layout, Shape};
use gradus_kernels::conv::{Conv, ConvBlock};
use gradus_kernels::gemm::{Block, Float, Gemm};
use gradus_kernels::pointwise::Traffic;
use gradus_kernels::program::{self, Instr};
use gradus_kernels::{
    DType, MAX_RANK, RawView, conv, fold, gather, gemm, par, pointwise, reduce, scan, sort,
};
use std::iter;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

/// A plan whose fused programs are made ready to run.
pub(super) struct Program {
    plan: Plan,
    /// For each step, the program it has, if any.
    fused: Vec<Fused>,
    /// Steps that run together, block by block.
    chains: Vec<Chain>,
    /// From this step on nothing can fail but a request for memory, and no chain follows: steps may write over leaves.
    sure_from: usize,
}

/// A step's fused program: a map, the prologue of a reduction, or the epilogue of a product.
enum Fused {
    None,
    Map(pointwise::Kernel),
    Reduce(reduce::Kernel),
}

impl Program {
    pub fn new(plan: Plan) -> Program {
        let map = |map: &MapStep| Fused::Map(pointwise::Kernel::new(&map.program));
        let fused = |step: &Step| match &step.kernel {
            Kernel::Map(step) => map(step),
            Kernel::Gemm { epilogue, .. } | Kernel::Conv { epilogue, .. } => {
                epilogue.as_ref().map_or(Fused::None, map)
            }
            Kernel::Reduce { program, reduction, .. } => {
                Fused::Reduce(reduce::Kernel::new(program, *reduction))
            }
            _ => Fused::None,
        };
        let fused = plan.steps.iter().map(fused).collect();
        let chains = chain::find(&plan);
        let indexed = |step: &Step| matches!(step.kernel, Kernel::Gather { .. } | Kernel::ScatterAdd { .. });
        let after_indexed = plan.steps.iter().rposition(indexed).map_or(0, |t| t + 1);
        let after_chains = chains.last().map_or(0, |chain| chain.steps.end);
        Program { fused, chains, sure_from: after_indexed.max(after_chains), plan }
    }

    /// Whether there are many loops that threads share.
    fn is_large(&self) -> bool {
        const STEPS: usize = 4;
        const ELEMENTS: usize = 1 << 17;
        self.plan.steps.len() >= STEPS && self.plan.slots.iter().map(|slot| slot.0).sum::<usize>() >= ELEMENTS
    }

    pub fn plan(&self) -> &Plan {
        &self.plan
    }
}

/// Runs a plan on the leaves and numbers of `capture`; gives the values to keep. Leaves in `spent` belong to nobody any
/// more, and their memory serves the results that take it over. On an error none of them has been touched.
pub(super) fn run(
    program: &Program,
    capture: &Capture,
    spent: &[bool],
    guard: bool,
) -> Result<Vec<(u32, Value)>> {
    match program.is_large() {
        true => par::inside(|| run_steps(program, capture, spent, guard)),
        false => run_steps(program, capture, spent, guard),
    }
}

fn run_steps(program: &Program, capture: &Capture, spent: &[bool], guard: bool) -> Result<Vec<(u32, Value)>> {
    let plan = &program.plan;
    let mut machine = Machine { capture, spent: &[], slots: vec![None; plan.slots.len()] };
    // The guard and the trace look at steps one by one.
    let whole = guard || trace::enabled();
    let mut chains = program.chains.iter().filter(|_| !whole).peekable();
    let mut next = 0;
    while next < plan.steps.len() {
        if let Some(chain) = chains.next_if(|chain| chain.steps.start == next) {
            machine.chain(chain, program)?;
            next = chain.steps.end;
            continue;
        }
        if next == program.sure_from && !guard {
            machine.spent = spent;
        }
        let (step, fused) = (&plan.steps[next], &program.fused[next]);
        match machine.updates(step) {
            // All memory is asked for before anything is written over.
            true => plan.steps[next..].iter().try_for_each(|step| machine.begin(step, plan, &[]))?,
            false => machine.begin(step, plan, &[])?,
        }
        next += 1;
        match trace::enabled() {
            false => machine.step(step, fused)?,
            true => {
                let start = super::clock::Instant::now();
                machine.step(step, fused)?;
                let op = capture.nodes[step.node as usize].tensor.node().op.name();
                trace::note(step, op, start.elapsed(), None);
            }
        }
        if guard {
            machine.check(step)?;
        }
        for &slot in &step.ends {
            machine.slots[slot as usize] = None;
        }
    }
    STATS.kernels_run.fetch_add(plan.steps.len() as u64, Relaxed);
    let value = |&(node, place, offset): &(u32, Place, usize)| {
        let value = match place {
            Place::Leaf(leaf) => {
                let leaf = capture.leaves[leaf as usize].host();
                HostValue { buffer: Arc::clone(&leaf.buffer), offset: leaf.offset + offset }
            }
            Place::Slot(slot) => HostValue { buffer: machine.buffer(slot), offset },
        };
        (node, Value::Host(value))
    };
    Ok(plan.outputs.iter().map(value).collect())
}

impl Fused {
    fn map(&self) -> &pointwise::Kernel {
        match self {
            Fused::Map(kernel) => kernel,
            _ => unreachable!("made with the step, which is a map or has an epilogue"),
        }
    }

    fn reduce(&self) -> &reduce::Kernel {
        match self {
            Fused::Reduce(kernel) => kernel,
            _ => unreachable!("made with the step, which is a reduction"),
        }
    }
}

struct Machine<'a> {
    capture: &'a Capture,
    /// Leaves that may be written over: none until nothing can fail any more.
    spent: &'a [bool],
    slots: Vec<Option<Arc<Buffer>>>,
}

impl Machine<'_> {
    /// Whether a step is about to write over leaves.
    fn updates(&self, step: &Step) -> bool {
        step.begins.iter().any(|&(slot, heir)| {
            let leaf =
                matches!(heir, Some(Place::Leaf(leaf)) if self.spent.get(leaf as usize) == Some(&true));
            leaf && self.slots[slot as usize].is_none()
        })
    }

    /// Makes the slots that begin at a step, but for those made already and those that a chain keeps in scratch memory.
    fn begin(&mut self, step: &Step, plan: &Plan, local: &[Local]) -> Result<()> {
        for &(slot, heir) in step.begins.iter().filter(|(slot, _)| local.iter().all(|l| l.slot != *slot)) {
            if self.slots[slot as usize].is_some() {
                continue;
            }
            let (len, dtype) = plan.slots[slot as usize];
            let inherited = match heir {
                Some(Place::Slot(old)) => self.slots[old as usize].clone(),
                Some(Place::Leaf(leaf)) if self.spent.get(leaf as usize) == Some(&true) => {
                    Some(Arc::clone(&self.capture.leaves[leaf as usize].host().buffer))
                }
                _ => None,
            };
            let buffer = match inherited {
                Some(buffer) => buffer,
                None => {
                    let made = Buffer::new(len * dtype.size()).map_err(|bytes| {
                        let node = self.capture.nodes[step.node as usize].tensor.node();
                        let held = memory_stats().live as u64;
                        Error::OutOfMemory { bytes, op: node.op.name(), site: node.site, held }
                    })?;
                    Arc::new(made)
                }
            };
            self.slots[slot as usize] = Some(buffer);
        }
        Ok(())
    }

    fn buffer(&self, slot: u32) -> Arc<Buffer> {
        Arc::clone(self.slots[slot as usize].as_ref().expect("the plan begins a slot before it is used"))
    }

    fn out(&self, slot: u32) -> *mut u8 {
        self.slots[slot as usize].as_ref().expect("the plan begins a slot before it is used").as_ptr()
    }

    fn address(&self, operand: &Operand, dtype: DType) -> *mut u8 {
        let (start, offset) = match operand.place {
            Place::Leaf(leaf) => {
                let leaf = self.capture.leaves[leaf as usize].host();
                (leaf.buffer.as_ptr(), leaf.offset)
            }
            Place::Slot(slot) => (self.out(slot), 0),
        };
        // Wrapping: the operand of an empty tensor may point past the end, and is never read.
        start.wrapping_add((offset + operand.layout.offset) * dtype.size())
    }

    fn view(&self, operand: &Operand, dtype: DType) -> RawView {
        RawView { ptr: self.address(operand, dtype), strides: operand.layout.strides }
    }

    fn views(&self, operands: &[(Operand, DType)]) -> Vec<RawView> {
        operands.iter().map(|(o, d)| self.view(o, *d)).collect()
    }

    // SAFETY of every unsafe block in this impl: the schedule has checked that the span of each operand's layout lies
    // inside the buffer of the node it belongs to, whose size is the slot's or the leaf's; slots are allocated before
    // the step that writes them, aligned for every element type, and typed by the node they hold. A slot that begins
    // at a step is written by that step alone and shares memory with another slot or a leaf only where `heir` has shown
    // that each element of the old one is read just to compute the same element of the new one; a leaf's memory is
    // written only where `Spent::take` has shown that nobody else has it.
    fn step(&self, step: &Step, fused: &Fused) -> Result<()> {
        match &step.kernel {
            Kernel::Map(map) => self.map(map, fused.map()),
            Kernel::Reduce { shape, axes, inputs, out, .. } => {
                let (inputs, params) = (self.views(inputs), &self.capture.params);
                // SAFETY: see above.
                unsafe { fused.reduce().run(shape, *axes, &inputs, self.out(*out), params) }
            }
            Kernel::Gemm { gemm, dtype, a, b, more, out, epilogue, .. } => {
                let epilogue = epilogue.as_ref().map(|map| (map, fused.map()));
                let operands = iter::once([a, b]).chain(more.iter().map(|[a, b]| [a, b]));
                match dtype {
                    DType::F64 => self.gemm::<f64>(gemm, *dtype, operands, *out, epilogue),
                    _ => self.gemm::<f32>(gemm, *dtype, operands, *out, epilogue),
                }
            }
            Kernel::Conv { form, conv, dtype, a, b, out, epilogue } => {
                let epilogue = epilogue.as_ref().map(|map| (map, fused.map()));
                match dtype {
                    DType::F64 => self.conv::<f64>(*form, conv, *dtype, [a, b], *out, epilogue),
                    _ => self.conv::<f32>(*form, conv, *dtype, [a, b], *out, epilogue),
                }
            }
            Kernel::Copies { zero, dtype, out, parts } => self.copies(*zero, *dtype, *out, parts),
            Kernel::Gather { axis, len, shape, x, index, types: [dtype, kind], out } => {
                let (x, index) = (self.view(x, *dtype), self.view(index, *kind));
                // SAFETY: see above.
                let result =
                    unsafe { gather::gather(*dtype, *kind, shape, *axis, *len, x, index, self.out(*out)) };
                result.map_err(|e| self.bad_index(step, e))?;
            }
            Kernel::ScatterAdd { axis, len, shape, src, index, types: [dtype, kind], out } => {
                let (src, index) = (self.view(src, *dtype), self.view(index, *kind));
                // SAFETY: see above.
                let result = unsafe {
                    gather::scatter_add(*dtype, *kind, shape, *axis, *len, src, index, self.out(*out))
                };
                result.map_err(|e| self.bad_index(step, e))?;
            }
            Kernel::Fold { spec, len, shape, dtype, x, out } => {
                let (axis, x) = (spec.axis as usize, self.view(x, *dtype));
                // SAFETY: see above.
                unsafe {
                    fold::fold(*dtype, shape, axis, *len, spec.stride, spec.dilation, x, self.out(*out))
                }
            }
            Kernel::Cumsum { axis, shape, dtype, x, out } => {
                // SAFETY: see above.
                unsafe { scan::cumsum(*dtype, shape, *axis, self.view(x, *dtype), self.out(*out)) }
            }
            Kernel::Argsort { axis, descending, shape, dtype, x, out } => {
                // SAFETY: see above.
                unsafe {
                    sort::argsort(*dtype, shape, *axis, *descending, self.view(x, *dtype), self.out(*out))
                }
            }
        }
        Ok(())
    }

    /// Runs the steps of a chain block by block of their common axis, then those that follow them.
    fn chain(&mut self, chain: &Chain, program: &Program) -> Result<()> {
        let plan = &program.plan;
        let steps = &plan.steps[chain.steps.clone()];
        steps.iter().try_for_each(|step| self.begin(step, plan, &chain.local))?;
        let parts: Vec<Part> = chain.members.iter().map(|member| self.part(member, chain, program)).collect();
        let (params, bytes, exhausted) = (&self.capture.params, chain.scratch(), AtomicBool::new(false));
        let rows = chain.rows.map_or([0; 2], |(o, dtype, bytes)| [self.address(&o, dtype).addr(), bytes]);
        par::for_each(chain.len.div_ceil(chain.block), |block| {
            let start = block * chain.block;
            let Ok(scratch) = Buffer::new(bytes) else { return exhausted.store(true, Relaxed) };
            let end = (start + chain.block).min(chain.len);
            let next = [rows[0] + end * rows[1], chain.block.min(chain.len - end) * rows[1]];
            for part in &parts {
                // SAFETY: see `step`. Blocks of all members touch disjoint elements of what the chain writes, as
                // `chain` has found out, within a block members run in the order of the plan, and the scratch
                // memory is this block's alone.
                unsafe { part.run(start..end, scratch.as_ptr(), params, next) };
            }
        });
        if exhausted.into_inner() {
            let node = self.capture.nodes[steps[0].node as usize].tensor.node();
            let held = memory_stats().live as u64;
            return Err(Error::OutOfMemory { bytes, op: node.op.name(), site: node.site, held });
        }
        chain.after.iter().try_for_each(|&step| self.step(&plan.steps[step], &program.fused[step]))?;
        for slot in steps.iter().flat_map(|step| &step.ends) {
            self.slots[*slot as usize] = None;
        }
        Ok(())
    }

    fn part<'p>(&self, member: &Member, chain: &Chain, program: &'p Program) -> Part<'p> {
        let axis = member.axis;
        let views = |operands: &[(Operand, DType)]| -> Vec<PartView> {
            operands.iter().map(|(o, dtype)| self.part_view(o, *dtype, axis, chain)).collect()
        };
        let fused = &program.fused[member.step];
        match &program.plan.steps[member.step].kernel {
            Kernel::Map(map) => {
                let kernel = PartKernel::Map(fused.map(), member.traffic, member.idle);
                Part {
                    kernel,
                    shape: &map.shape,
                    axis,
                    inputs: views(&map.inputs),
                    outputs: views(&map.outputs),
                }
            }
            Kernel::Reduce { shape, axes, inputs, out, .. } => {
                let layout = Layout { offset: 0, strides: [0; MAX_RANK] };
                let dtype = program.plan.slots[*out as usize].1;
                let outputs = views(&[(Operand { place: Place::Slot(*out), layout }, dtype)]);
                let kernel = PartKernel::Reduce(fused.reduce(), *axes, member.traffic.far);
                Part { kernel, shape, axis, inputs: views(inputs), outputs }
            }
            _ => unreachable!("a chain is of maps and reductions"),
        }
    }

    /// An operand of a chain. In scratch memory, a whole turn of the common axis is only a block long.
    fn part_view(&self, operand: &Operand, dtype: DType, axis: usize, chain: &Chain) -> PartView {
        let local = chain.local.iter().find(|local| operand.place == Place::Slot(local.slot));
        let Some(local) = local else { return PartView { view: self.view(operand, dtype), local: None } };
        let mut strides = operand.layout.strides;
        let turn = (local.stride * chain.len) as isize;
        for (_, stride) in strides.iter_mut().enumerate().filter(|(k, s)| *k != axis && **s % turn == 0) {
            *stride = *stride / chain.len as isize * chain.block as isize;
        }
        let view = RawView { ptr: std::ptr::null_mut(), strides };
        PartView { view, local: Some([local.at, local.stride * dtype.size()]) }
    }

    fn bad_index(&self, step: &Step, e: gather::BadIndex) -> Error {
        let node = self.capture.nodes[step.node as usize].tensor.node();
        Error::BadIndex { value: e.value, len: e.len, op: node.op.name(), site: node.site }
    }

    fn map(&self, map: &MapStep, kernel: &pointwise::Kernel) {
        let (inputs, outputs) = (self.views(&map.inputs), self.views(&map.outputs));
        // SAFETY: see `step`.
        unsafe { kernel.run(&map.shape, &inputs, &outputs, &self.capture.params) }
    }

    fn gemm<'o, T: Float>(
        &self,
        g: &Gemm,
        dtype: DType,
        operands: impl Iterator<Item = [&'o Operand; 2]>,
        out: u32,
        epilogue: Option<(&MapStep, &pointwise::Kernel)>,
    ) {
        let address = |operand| self.address(operand, dtype).cast::<T>().cast_const();
        let (operands, c) =
            (operands.map(|pair| pair.map(address)).collect::<Vec<_>>(), self.out(out).cast());
        let Some((map, kernel)) = epilogue else {
            // SAFETY: see `step`.
            unsafe { gemm::run_sum::<T>(g, &operands, c, None) };
            return;
        };
        let (inputs, outputs) = (self.views(&map.inputs), self.views(&map.outputs));
        let params = &self.capture.params;
        let rank = map.shape.rank();
        let finish = |block: Block| {
            let (mut start, mut size) = ([0; 8], [1; 8]);
            let mut batch = block.batch;
            for k in (0..rank - 2).rev() {
                start[k] = batch % map.shape[k];
                batch /= map.shape[k];
            }
            (start[rank - 2], size[rank - 2]) = (block.rows.start, block.rows.len());
            (start[rank - 1], size[rank - 1]) = (block.cols.start, block.cols.len());
            // SAFETY: see `step`; blocks do not overlap and each is final, so tasks touch disjoint elements.
            unsafe {
                kernel.run_region(&map.shape, &start[..rank], &size[..rank], &inputs, &outputs, params);
            }
        };
        // SAFETY: see `step`.
        unsafe { gemm::run_sum::<T>(g, &operands, c, Some(&finish)) };
    }

    fn conv<T: Float>(
        &self,
        form: ConvForm,
        c: &Conv,
        dtype: DType,
        [a, b]: [&Operand; 2],
        out: u32,
        epilogue: Option<(&MapStep, &pointwise::Kernel)>,
    ) {
        let (a, b, y) = (self.address(a, dtype).cast(), self.address(b, dtype).cast(), self.out(out).cast());
        let flat = epilogue.map(|(map, kernel)| (kernel, self.planes(map)));
        let params = &self.capture.params;
        let finish = |block: ConvBlock| {
            let Some((kernel, (shape, inputs, outputs))) = &flat else { return };
            let start = [block.image, block.channels.start, block.pixels.start];
            let size = [1, block.channels.len(), block.pixels.len()];
            // SAFETY: see `step`; blocks do not overlap and each is final, so tasks touch disjoint elements.
            unsafe { kernel.run_region(shape, &start, &size, inputs, outputs, params) };
        };
        let finish: conv::ConvEpilogue = if flat.is_some() { Some(&finish) } else { None };
        // SAFETY: see `step`; the planner has made both inputs contiguous.
        unsafe {
            match form {
                ConvForm::Forward => conv::forward::<T>(c, a, b, y, finish),
                ConvForm::Input => conv::input_grad::<T>(c, a, b, y, finish),
                ConvForm::Weight => conv::weight_grad::<T>(c, a, b, y),
            }
        }
    }

    /// An epilogue over `[n, c, h, w]` seen over `[n, c, h w]`: the fuser admits only operands that allow it.
    fn planes(&self, map: &MapStep) -> ([usize; 3], Vec<RawView>, Vec<RawView>) {
        let s = &map.shape;
        let flatten = |mut view: RawView| {
            view.strides[2] = if s[3] == 1 { view.strides[2] } else { view.strides[3] };
            view
        };
        let inputs = self.views(&map.inputs).into_iter().map(flatten).collect();
        let outputs = self.views(&map.outputs).into_iter().map(flatten).collect();
        ([s[0], s[1], s[2] * s[3]], inputs, outputs)
    }

    fn copies(&self, zero: bool, dtype: DType, out: u32, parts: &[(Shape, Operand, Layout)]) {
        let start = self.out(out);
        if zero {
            let len = self.slots[out as usize].as_ref().map_or(0, |b| b.len());
            // SAFETY: the buffer is that long, and all-zero bytes are the zero of every element type.
            unsafe { std::ptr::write_bytes(start, 0, len) };
        }
        for (shape, operand, layout) in parts {
            let to =
                RawView { ptr: start.wrapping_add(layout.offset * dtype.size()), strides: layout.strides };
            // SAFETY: see `step`; the places of the parts do not overlap and lie inside the result by construction.
            unsafe { identity(dtype).run(shape, &[self.view(operand, dtype)], &[to], &[]) };
        }
    }

    fn check(&self, step: &Step) -> Result<()> {
        for &(slot, n, dtype) in &step.results {
            let buffer = self.buffer(slot);
            let bad = match dtype {
                // SAFETY: the slot holds n initialised elements of this type.
                DType::F64 => unsafe {
                    not_finite(std::slice::from_raw_parts(buffer.as_ptr().cast::<f64>(), n))
                },
                // SAFETY: as above.
                _ => unsafe { not_finite(std::slice::from_raw_parts(buffer.as_ptr().cast::<f32>(), n)) },
            };
            if bad {
                let node = self.capture.nodes[step.node as usize].tensor.node();
                let shape = node.shape.to_vec();
                return Err(Error::NonFinite { op: node.op.name(), site: node.site, count: 0, shape });
            }
        }
        Ok(())
    }
}

/// A step of a chain with its operands.
struct Part<'a> {
    kernel: PartKernel<'a>,
    shape: &'a Shape,
    axis: usize,
    inputs: Vec<PartView>,
    outputs: Vec<PartView>,
}

enum PartKernel<'a> {
    /// With where its operands lie, and whether it leaves memory alone.
    Map(&'a pointwise::Kernel, Traffic, bool),
    Reduce(&'a reduce::Kernel, u32, bool),
}

/// An operand of a step of a chain: one in memory, or one in the scratch memory of a block, which has its place
/// there and the bytes from one index of the common axis to the next.
struct PartView {
    view: RawView,
    local: Option<[usize; 2]>,
}

impl PartView {
    /// The operand as the whole space would have it, for the block that begins at index `start`.
    fn of(&self, start: usize, scratch: *mut u8) -> RawView {
        match self.local {
            None => self.view,
            Some([at, step]) => RawView {
                ptr: scratch.wrapping_add(at).wrapping_sub(start * step),
                strides: self.view.strides,
            },
        }
    }
}

impl Part<'_> {
    /// Runs the step over a range of the common axis. `next` is memory for the next range to read.
    ///
    /// # Safety
    /// As the kernel's, for the elements of this range of the common axis.
    unsafe fn run(&self, range: Range<usize>, scratch: *mut u8, params: &[u64], next: [usize; 2]) {
        let (shape, rank) = (self.shape, self.shape.rank());
        let views = |of: &[PartView]| of.iter().map(|view| view.of(range.start, scratch)).collect::<Vec<_>>();
        let (inputs, outputs) = (views(&self.inputs), views(&self.outputs));
        match &self.kernel {
            PartKernel::Map(kernel, traffic, idle) => {
                let traffic = Traffic { next: if *idle { next } else { [0; 2] }, ..*traffic };
                let (mut start, mut size) = ([0; MAX_RANK], [1; MAX_RANK]);
                size[..rank].copy_from_slice(shape);
                (start[self.axis], size[self.axis]) = (range.start, range.len());
                let (start, size) = (&start[..rank], &size[..rank]);
                // SAFETY: the caller's promise.
                unsafe { kernel.run_part(shape, start, size, &inputs, &outputs, params, traffic) }
            }
            PartKernel::Reduce(kernel, axes, far) => {
                let part = (self.axis, range);
                // SAFETY: the caller's promise.
                unsafe { kernel.run_part(shape, *axes, part, &inputs, outputs[0].ptr, params, *far) }
            }
        }
    }
}

fn not_finite<T: Copy + Into<f64>>(values: &[T]) -> bool {
    values.iter().any(|&v| !v.into().is_finite())
}

/// The program that copies elements of a type.
fn identity(dtype: DType) -> &'static pointwise::Kernel {
    static KERNELS: [OnceLock<pointwise::Kernel>; 5] = [const { OnceLock::new() }; 5];
    KERNELS[dtype as usize].get_or_init(|| {
        pointwise::Kernel::new(&program::Program { code: vec![(Instr::Input(0), dtype)], outputs: vec![0] })
    })
}
