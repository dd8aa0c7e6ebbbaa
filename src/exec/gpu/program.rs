//! A plan made ready for a device, and run on it.

use super::context::Context;
use super::dispatch::{Bind, Dispatch, Source, Word, fold_grid};
use super::faults;
use super::lower::{Lowered, lower};
use super::pipelines::Pipeline;
use super::pool::{DeviceBuffer, Origin, Raw};
use super::recorder::{Recorder, Run};
use super::timing;
use super::transfer::{Stored, WORD};
use crate::error::{Error, Result};
use crate::exec::capture::Capture;
use crate::exec::plan::{Plan, Step};
use crate::exec::{Place, STATS, Value, block_on, trace};
use gradus_kernels::DType;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// A plan with its shaders compiled.
pub(crate) struct Program {
    context: Arc<Context>,
    plan: Plan,
    steps: Vec<Ready>,
    /// The guard's kernel.
    guard: Arc<Pipeline>,
}

/// A kernel with everything known but the buffers and the numbers of a run.
struct Ready {
    /// Bytes of its scratch buffers.
    scratch: Vec<u64>,
    runs: Vec<Prepared>,
}

struct Prepared {
    pipeline: Arc<Pipeline>,
    params: Vec<u32>,
    patches: Vec<(usize, Fill)>,
    /// What is read, then what is written.
    buffers: Vec<Bound>,
    grid: [u32; 3],
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
    Place(Place),
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
    pub fn new(context: &Arc<Context>, plan: Plan, capture: &Capture) -> Result<Program> {
        context.check()?;
        let ready = |step: &Step| -> Result<Ready> {
            let lowered = lower(&step.kernel, &plan.slots, capture, &context.limits);
            let runs = lowered.recipe.dispatches.iter().map(|d| prepare(context, d, &lowered));
            Ok(Ready { runs: runs.collect::<Result<_>>()?, scratch: lowered.recipe.scratch.clone() })
        };
        let steps = plan.steps.iter().map(ready).collect::<Result<_>>()?;
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
        Ok(Program { context: Arc::clone(context), plan, steps, guard })
    }
}

fn prepare(context: &Context, dispatch: &Dispatch, lowered: &Lowered) -> Result<Prepared> {
    let bound = |bind: &Bind| match *bind {
        Bind::Input(k) => Bound::Place(lowered.inputs[k]),
        Bind::Output(k) => Bound::Place(lowered.outputs[k]),
        Bind::Scratch(k) => Bound::Scratch(k),
        Bind::Fault => Bound::Fault,
    };
    let fill = |word: &Word| match *word {
        Word::Offset(bind) => match bound(&bind) {
            Bound::Place(Place::Leaf(leaf)) => Some(Fill::Start(leaf)),
            // Buffers of the plan hold one value each, from the start.
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
    })
}

/// Records a plan on the leaves and numbers of `capture`; gives the values to keep, which the device has yet to compute.
pub(crate) fn run(program: &Program, capture: &Capture, guard: bool) -> Result<Vec<(u32, Value)>> {
    let Program { context, plan, .. } = program;
    context.check()?;
    let mut recorder = context.recorder();
    let mut machine = Machine { program, capture, slots: vec![None; plan.slots.len()], words: Vec::new() };
    let flag = if guard { Some(machine.flag(&mut recorder)?) } else { None };
    for (step, ready) in plan.steps.iter().zip(&program.steps) {
        if trace::enabled() {
            let time = timing::time(context, &mut recorder, |recorder| machine.step(step, ready, recorder))?;
            trace::print(step, capture.nodes[step.node as usize].tensor.node().op.name(), time);
        } else {
            machine.step(step, ready, &mut recorder)?;
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
    drop(recorder);
    if let Some(flag) = flag {
        machine.report(flag)?;
    }
    let value = |&(node, place, offset): &(u32, Place, usize)| {
        let stored = match place {
            Place::Leaf(leaf) => {
                let leaf = machine.leaf(leaf);
                Stored { buffer: Arc::clone(&leaf.buffer), offset: leaf.offset + offset }
            }
            Place::Slot(slot) => Stored { buffer: Arc::clone(machine.slot(slot)), offset },
        };
        (node, Value::Gpu(stored))
    };
    Ok(plan.outputs.iter().map(value).collect())
}

struct Machine<'a> {
    program: &'a Program,
    capture: &'a Capture,
    slots: Vec<Option<Arc<DeviceBuffer>>>,
    /// The parameters of the dispatch that is being recorded.
    words: Vec<u32>,
}

impl Machine<'_> {
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
    fn step(&mut self, step: &Step, ready: &Ready, recorder: &mut Recorder) -> Result<()> {
        let context = &self.program.context;
        let origin = self.origin(step.node);
        for &(slot, _) in &step.begins {
            let bytes = self.program.plan.slots[slot as usize].0 as u64 * WORD;
            self.slots[slot as usize] = Some(context.buffer(recorder, bytes, origin)?);
        }
        let mut scratch = Vec::with_capacity(ready.scratch.len());
        for &bytes in &ready.scratch {
            scratch.push(context.buffer(recorder, bytes, origin)?);
        }
        for run in &ready.runs {
            self.record(run, &scratch, origin, recorder)?;
        }
        Ok(())
    }

    fn record(
        &mut self,
        run: &Prepared,
        scratch: &[Arc<DeviceBuffer>],
        origin: Origin,
        recorder: &mut Recorder,
    ) -> Result<()> {
        let mut words = std::mem::take(&mut self.words);
        words.clear();
        words.extend_from_slice(&run.params);
        for (at, fill) in &run.patches {
            let word = &mut words[*at];
            let number = |k: &u32| self.capture.params[*k as usize];
            match fill {
                Fill::Start(leaf) => *word += self.leaf(*leaf).offset as u32,
                Fill::Node => *word = faults::number(origin.op, origin.site),
                Fill::Float(k) => *word = (f64::from_bits(number(k)) as f32).to_bits(),
                Fill::Low(k) => *word = number(k) as u32,
                Fill::High(k) => *word = (number(k) >> 32) as u32,
            }
        }
        let fault = recorder.fault.clone();
        let buffer = |bound: &Bound| match bound {
            Bound::Place(Place::Leaf(leaf)) => self.leaf(*leaf).buffer.raw(),
            Bound::Place(Place::Slot(slot)) => self.slot(*slot).raw(),
            Bound::Scratch(k) => scratch[*k].raw(),
            Bound::Fault => &fault,
        };
        let buffers: Vec<&Raw> = run.buffers.iter().map(buffer).collect();
        let dispatch = Run { pipeline: &run.pipeline, params: &words, buffers: &buffers, grid: run.grid };
        let result = recorder.dispatch(&self.program.context, &dispatch);
        self.words = words;
        result
    }

    /// The guard's flag, not set.
    fn flag(&self, recorder: &mut Recorder) -> Result<Stored> {
        let context = &self.program.context;
        let origin = Origin { op: "guard", site: std::panic::Location::caller() };
        let buffer = context.buffer(recorder, WORD, origin)?;
        recorder.encoder(context).clear_buffer(&buffer.raw().buffer, 0, None);
        Ok(Stored { buffer, offset: 0 })
    }

    /// Records the guard's look at a step's results.
    fn check(&self, step: &Step, flag: &Stored, recorder: &mut Recorder) -> Result<()> {
        let context = &self.program.context;
        for &(slot, count, _) in &step.results {
            let run = Run {
                pipeline: &self.program.guard,
                params: &[count as u32],
                buffers: &[self.slot(slot).raw(), flag.buffer.raw()],
                grid: fold_grid(count.div_ceil(256) as u64, &context.limits),
            };
            recorder.dispatch(context, &run)?;
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
