//! A plan made ready for a device, and run on it.

use super::context::Context;
use super::dispatch::{Bind, Dispatch, Source, Word, fold_grid};
use super::faults;
use super::groups::Hint;
use super::kernels::choice::Class;
use super::lower::{Lowered, lower};
use super::pack::{Joint, Packing, Part, pack};
use super::pipelines::Pipeline;
use super::pool::{DeviceBuffer, Origin, Raw, Recent};
use super::recorder::Recorder;
use super::sums::join_sums;
use super::timing;
use super::transfer::{Stored, WORD};
use crate::error::{Error, Result};
use crate::exec::cache::fusing;
use crate::exec::capture::Capture;
use crate::exec::plan::{Kernel, Plan, Step};
use crate::exec::{Place, STATS, Value, block_on, trace};
use gradus_kernels::DType;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};

/// A plan with its shaders compiled.
pub(crate) struct Program {
    context: Arc<Context>,
    plan: Plan,
    /// Which slots share buffers.
    packing: Packing,
    steps: Vec<Ready>,
    /// The guard's kernel.
    guard: Arc<Pipeline>,
    memory: Mutex<Memory>,
}

/// What a plan remembers of its last runs, so that the next has less to look for.
struct Memory {
    /// Which buffers the plan's slots had, after them those that slots share, and then the scratch of the steps.
    recent: Vec<Recent>,
    /// Which bind groups its dispatches had.
    hints: Vec<Hint>,
}

/// A kernel with everything known but the buffers and the numbers of a run.
struct Ready {
    /// Bytes of its scratch buffers.
    scratch: Vec<u64>,
    /// Where they stand in [`Memory::recent`].
    recent: usize,
    runs: Vec<Prepared>,
    class: Option<Class>,
    /// For a step that does the work of several where its operands lie together: the others' runs, where they do not.
    apart: Option<(usize, Vec<Prepared>)>,
}

struct Prepared {
    pipeline: Arc<Pipeline>,
    params: Vec<u32>,
    patches: Vec<(usize, Fill)>,
    /// What is read, then what is written.
    buffers: Vec<Bound>,
    grid: [u32; 3],
    /// Where it stands in [`Memory::hints`].
    hint: usize,
}

/// What is put in a word of parameters.
enum Fill {
    /// The start of a leaf's value in its buffer is added.
    Start(u32),
    Node,
    Float(u32),
    Low(u32),
    High(u32),
}

#[derive(Clone, Copy)]
enum Bound {
    /// With the first byte of the value in its buffer, for what is no leaf.
    Place(Place, u64),
    Scratch(usize),
    Fault,
}

impl Program {
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Compiles what `plan` needs.
    ///
    /// # Errors
    /// A lost device.
    pub fn new(context: &Arc<Context>, mut plan: Plan, capture: &Capture) -> Result<Program> {
        context.check()?;
        let tuning = context.shared_tuning();
        let mut packing = Packing::none(&plan);
        if fusing() {
            join_sums(&mut plan, &tuning, &context.limits);
            packing = pack(&mut plan, capture, &context.limits);
        }
        let (mut places, mut dispatches) = (plan.slots.len() + packing.sizes.len(), 0);
        let mut prepared = |kernel: &Kernel| -> Result<(Lowered, Vec<Prepared>)> {
            let lowered = lower(kernel, &plan.slots, capture, &tuning, &context.limits);
            let first = dispatches;
            dispatches += lowered.recipe.dispatches.len();
            let described = lowered.recipe.dispatches.iter().zip(first..);
            let runs = described.map(|(dispatch, hint)| prepare(context, &packing, dispatch, &lowered, hint));
            let runs = runs.collect::<Result<_>>()?;
            Ok((lowered, runs))
        };
        let mut steps = Vec::with_capacity(plan.steps.len());
        for (i, step) in plan.steps.iter().enumerate() {
            let (lowered, runs) = prepared(&step.kernel)?;
            let apart = match packing.joints.iter().position(|joint| joint.step == i) {
                Some(joint) => {
                    let maps = step.parts.iter().map(|map| Ok(prepared(map)?.1));
                    Some((joint, maps.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect()))
                }
                None => None,
            };
            let (scratch, recent) = (lowered.recipe.scratch, places);
            places += scratch.len();
            steps.push(Ready { scratch, recent, runs, class: lowered.class, apart });
        }
        let guard = Dispatch {
            source: Source::File { name: "nonfinite", defines: Vec::new() },
            constants: Vec::new(),
            params: Vec::new(),
            patches: Vec::new(),
            reads: vec![Bind::Input(0)],
            writes: vec![Bind::Output(0)],
            grid: [1; 3],
        };
        let guard = context.pipelines.of(context, &guard)?;
        let recent = (0..places).map(|_| Recent::default()).collect();
        let memory = Mutex::new(Memory { recent, hints: vec![Hint::default(); dispatches] });
        Ok(Program { context: Arc::clone(context), plan, packing, steps, guard, memory })
    }
}

fn prepare(
    context: &Context,
    packing: &Packing,
    dispatch: &Dispatch,
    lowered: &Lowered,
    hint: usize,
) -> Result<Prepared> {
    let place = |place: Place| Bound::Place(place, packing.start(place) as u64 * WORD);
    let bound = |bind: &Bind| match *bind {
        Bind::Input(k) => place(lowered.inputs[k]),
        Bind::Output(k) => place(lowered.outputs[k]),
        Bind::Scratch(k) => Bound::Scratch(k),
        Bind::Fault => Bound::Fault,
    };
    let fill = |word: &Word| match *word {
        Word::Offset(bind) => match bound(&bind) {
            Bound::Place(Place::Leaf(leaf), _) => Some(Fill::Start(leaf)),
            // Buffers of the plan are bound from where the value begins.
            _ => None,
        },
        Word::Node => Some(Fill::Node),
        Word::Float(k) => Some(Fill::Float(k)),
        Word::Low(k) => Some(Fill::Low(k)),
        Word::High(k) => Some(Fill::High(k)),
    };
    Ok(Prepared {
        pipeline: context.pipelines.of(context, dispatch)?,
        params: dispatch.params.clone(),
        patches: dispatch.patches.iter().filter_map(|(at, word)| Some((*at, fill(word)?))).collect(),
        buffers: dispatch.reads.iter().chain(&dispatch.writes).map(bound).collect(),
        grid: dispatch.grid,
        hint,
    })
}

/// Records a plan on the leaves and numbers of `capture`; gives the values to keep, which the device has yet to compute.
pub(crate) fn run(program: &Program, capture: &Capture, guard: bool) -> Result<Vec<(u32, Value)>> {
    let Program { context, plan, .. } = program;
    context.check()?;
    let mut recorder = context.recorder();
    // Names of buffers, which are no less true after a panic elsewhere. Locked after the recorder, by whoever holds it.
    let mut memory = program.memory.lock().unwrap_or_else(PoisonError::into_inner);
    let (slots, shared) = (vec![None; plan.slots.len()], vec![None; program.packing.sizes.len()]);
    let mut machine = Machine { program, capture, slots, shared };
    let flag = if guard { Some(machine.flag(&mut recorder)?) } else { None };
    for (step, ready) in plan.steps.iter().zip(&program.steps) {
        if trace::enabled() {
            let time = timing::time(context, &mut recorder, |recorder| {
                machine.step(step, ready, &mut memory, recorder)
            })?;
            let op = capture.nodes[step.node as usize].tensor.node().op.name();
            trace::note(step, op, time, ready.class.map(|class| class.to_string()));
        } else {
            machine.step(step, ready, &mut memory, &mut recorder)?;
        }
        if let Some(flag) = &flag {
            machine.check(step, flag, &mut recorder)?;
        }
        for &slot in &step.ends {
            machine.slots[slot as usize] = None;
        }
    }
    STATS.kernels_run.fetch_add(plan.steps.len() as u64, Relaxed);
    recorder.submit_if_full(context)?;
    drop(memory);
    drop(recorder);
    if let Some(flag) = flag {
        machine.report(flag)?;
    }
    let values = machine.values();
    context.recorder().await_scalars(scalars(&values, capture));
    Ok(values)
}

/// The single numbers among `values`: losses, most likely, which are soon read.
fn scalars<'a>(values: &'a [(u32, Value)], capture: &'a Capture) -> impl Iterator<Item = &'a Stored> {
    let scalar = |node: &u32| capture.nodes[*node as usize].wanted >= 2 && capture.shape(*node).rank() == 0;
    values.iter().filter(move |(node, _)| scalar(node)).filter_map(|(_, value)| match value {
        Value::Gpu(stored) => Some(stored),
        Value::Host(_) => None,
    })
}

struct Machine<'a> {
    program: &'a Program,
    capture: &'a Capture,
    slots: Vec<Option<Arc<DeviceBuffer>>>,
    /// The buffers that slots share, while some of those have not begun.
    shared: Vec<Option<Arc<DeviceBuffer>>>,
}

impl Machine<'_> {
    /// The values to keep.
    fn values(&self) -> Vec<(u32, Value)> {
        let value = |&(node, place, offset): &(u32, Place, usize)| {
            let stored = match place {
                Place::Leaf(leaf) => {
                    let leaf = self.leaf(leaf);
                    Stored { buffer: Arc::clone(&leaf.buffer), offset: leaf.offset + offset }
                }
                Place::Slot(slot) => {
                    let start = self.program.packing.start(place);
                    Stored { buffer: Arc::clone(self.slot(slot)), offset: start + offset }
                }
            };
            (node, Value::Gpu(stored))
        };
        self.program.plan.outputs.iter().map(value).collect()
    }

    fn leaf(&self, leaf: u32) -> &Stored {
        match &self.capture.leaves[leaf as usize] {
            Value::Gpu(stored) => stored,
            Value::Host(_) => unreachable!("a capture brings its leaves to its device"),
        }
    }

    fn slot(&self, slot: u32) -> &Arc<DeviceBuffer> {
        self.slots[slot as usize].as_ref().expect("the plan begins a slot before it is used")
    }

    fn origin(&self, node: u32) -> Origin {
        let node = self.capture.nodes[node as usize].tensor.node();
        Origin { op: node.op.name(), site: node.site }
    }

    /// Records a step's dispatches.
    fn step(
        &mut self,
        step: &Step,
        ready: &Ready,
        memory: &mut Memory,
        recorder: &mut Recorder,
    ) -> Result<()> {
        let context = &self.program.context;
        let origin = self.origin(step.node);
        for &(slot, _) in &step.begins {
            self.begin(slot, origin, memory, recorder)?;
        }
        let mut scratch = Vec::with_capacity(ready.scratch.len());
        for (&bytes, recent) in ready.scratch.iter().zip(&mut memory.recent[ready.recent..]) {
            let buffer = context.buffer(recorder, bytes, origin, recent)?;
            recent.note(&buffer);
            scratch.push(buffer);
        }
        let runs = match &ready.apart {
            Some((joint, apart)) if !self.lies_together(&self.program.packing.joints[*joint]) => apart,
            _ => &ready.runs,
        };
        for run in runs {
            self.record(run, &scratch, origin, &mut memory.hints[run.hint], recorder)?;
        }
        Ok(())
    }

    /// Gives a slot its memory.
    fn begin(
        &mut self,
        slot: u32,
        origin: Origin,
        memory: &mut Memory,
        recorder: &mut Recorder,
    ) -> Result<()> {
        let Program { context, plan, packing, .. } = self.program;
        let mut take = |elements: usize, place: usize| -> Result<Arc<DeviceBuffer>> {
            let recent = &mut memory.recent[place];
            let buffer = context.buffer(recorder, elements as u64 * WORD, origin, recent)?;
            recent.note(&buffer);
            Ok(buffer)
        };
        let buffer = match packing.parts[slot as usize] {
            None => take(plan.slots[slot as usize].0, slot as usize)?,
            Some(Part { buffer: shared, last, .. }) => {
                let shared = shared as usize;
                let buffer = match self.shared[shared].take() {
                    Some(buffer) => buffer,
                    None => take(packing.sizes[shared], plan.slots.len() + shared)?,
                };
                self.shared[shared] = (!last).then(|| Arc::clone(&buffer));
                buffer
            }
        };
        self.slots[slot as usize] = Some(buffer);
        Ok(())
    }

    /// Whether the operands from outside lie behind one another as a joint step reads them.
    fn lies_together(&self, joint: &Joint) -> bool {
        joint.leaves.iter().all(|leaves| {
            let first = self.leaf(leaves[0]);
            let at = |(&leaf, start): (&u32, &usize)| {
                let leaf = self.leaf(leaf);
                Arc::ptr_eq(&leaf.buffer, &first.buffer) && leaf.offset == first.offset + start
            };
            first.buffer.elements() >= first.offset + joint.total && leaves.iter().zip(&joint.starts).all(at)
        })
    }

    fn record(
        &self,
        run: &Prepared,
        scratch: &[Arc<DeviceBuffer>],
        origin: Origin,
        hint: &mut Hint,
        recorder: &mut Recorder,
    ) -> Result<()> {
        let context = &self.program.context;
        let params = recorder.params(context, &run.params)?;
        for (at, fill) in &run.patches {
            let word = recorder.word(params, *at);
            let number = |k: &u32| self.capture.params[*k as usize];
            match fill {
                Fill::Start(leaf) => *word += self.leaf(*leaf).offset as u32,
                Fill::Node => *word = faults::number(origin.op, origin.site),
                Fill::Float(k) => *word = (f64::from_bits(number(k)) as f32).to_bits(),
                Fill::Low(k) => *word = number(k) as u32,
                Fill::High(k) => *word = (number(k) >> 32) as u32,
            }
        }
        let buffer = |bound: &Bound| -> (&Raw, u64) {
            match bound {
                Bound::Place(Place::Leaf(leaf), _) => (self.leaf(*leaf).buffer.raw(), 0),
                Bound::Place(Place::Slot(slot), start) => (self.slot(*slot).raw(), *start),
                Bound::Scratch(k) => (scratch[*k].raw(), 0),
                Bound::Fault => (&context.fault, 0),
            }
        };
        recorder.dispatch(context, &run.pipeline, params, run.buffers.iter().map(buffer), run.grid, hint);
        Ok(())
    }

    /// The guard's flag, not set.
    fn flag(&self, recorder: &mut Recorder) -> Result<Stored> {
        let context = &self.program.context;
        let origin = Origin { op: "guard", site: std::panic::Location::caller() };
        let buffer = context.buffer(recorder, WORD, origin, &Recent::default())?;
        recorder.encoder(context).clear_buffer(&buffer.raw().buffer, 0, None);
        Ok(Stored { buffer, offset: 0 })
    }

    /// Records the guard's look at a step's results.
    fn check(&self, step: &Step, flag: &Stored, recorder: &mut Recorder) -> Result<()> {
        let context = &self.program.context;
        for &(slot, count, _) in &step.results {
            let params = recorder.params(context, &[count as u32])?;
            let start = self.program.packing.start(Place::Slot(slot)) as u64 * WORD;
            let buffers = [(self.slot(slot).raw(), start), (flag.buffer.raw(), 0)];
            let grid = fold_grid(count.div_ceil(256) as u64, &context.limits);
            let guard = &self.program.guard;
            recorder.dispatch(context, guard, params, buffers.into_iter(), grid, &mut Hint::default());
        }
        Ok(())
    }

    /// An error if the guard's flag is set. Which op it was, somebody finds out who runs them one by one.
    fn report(&self, flag: Stored) -> Result<()> {
        let set = block_on(flag.download(1, DType::Bool))?;
        match self.program.plan.steps.last() {
            Some(step) if set != [0] => {
                let Origin { op, site } = self.origin(step.node);
                let shape = self.capture.nodes[step.node as usize].tensor.shape().to_vec();
                Err(Error::NonFinite { op, site, count: 0, shape })
            }
            _ => Ok(()),
        }
    }
}
