//! Recording kernels: one command encoder and one open compute pass for as many steps as fit, submitted when somebody
//! reads a value, or when enough is recorded to keep the device busy.

use super::context::Context;
use super::groups::{Groups, Hint, Range};
use super::pipelines::Pipeline;
use super::pool::{DeviceBuffer, Raw};
use super::transfer::Stored;
use crate::error::Result;
use crate::exec::CAN_WAIT;
use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};

/// Dispatches after which what is recorded is submitted without being asked for.
const BATCH: u32 = 512;
/// Submissions that may be under way before the host waits.
const IN_FLIGHT: usize = 2;
/// Words of the buffer of parameters: what one submission may use.
const PARAM_WORDS: usize = 1 << 18;
/// Words that dynamic offsets are multiples of, on every device.
const SLOT: usize = 64;
/// Words that a bound range of parameters may have.
const RANGES: [usize; 4] = [64, 256, 1024, 4096];
/// Single numbers that a read of another value brings along, at most.
const SCALARS: usize = 16;

/// What is recorded and not yet submitted, and what is under way.
pub(super) struct Recorder {
    // Before the encoder, which it must not outlive.
    pass: Option<wgpu::ComputePass<'static>>,
    encoder: Option<wgpu::CommandEncoder>,
    /// The address of the pipeline that is set in the pass: pipelines live as long as their device.
    pipeline: usize,
    /// Parameters of what is recorded: written to the buffer when it is submitted, before it runs and after whatever
    /// was submitted earlier has run.
    words: Vec<u32>,
    params: wgpu::Buffer,
    dispatches: u32,
    in_flight: VecDeque<wgpu::SubmissionIndex>,
    groups: Groups,
    /// Single numbers computed and not read yet: where the host reads one value, it reads these too, and need not
    /// wait a second time.
    scalars: VecDeque<(Weak<DeviceBuffer>, usize)>,
}

/// Where the parameters of a dispatch lie.
#[derive(Clone, Copy)]
pub(super) struct Params {
    /// In words.
    offset: usize,
    /// Which of [`RANGES`] covers them.
    range: usize,
}

impl Recorder {
    pub fn new(device: &wgpu::Device) -> Recorder {
        let params = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("params"),
            // The last range starts in the last slot.
            size: 4 * (PARAM_WORDS + RANGES[RANGES.len() - 1]) as u64,
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        Recorder {
            pass: None,
            encoder: None,
            pipeline: 0,
            words: Vec::new(),
            params,
            dispatches: 0,
            in_flight: VecDeque::new(),
            groups: Groups::default(),
            scalars: VecDeque::new(),
        }
    }

    /// Takes the parameters of the next dispatch, which may still be changed: see [`Recorder::word`].
    pub fn params(&mut self, context: &Context, params: &[u32]) -> Result<Params> {
        let range = RANGES.iter().position(|&words| params.len() <= words);
        let range = range.unwrap_or_else(|| panic!("a kernel of {} words of parameters", params.len()));
        if self.words.len() + RANGES[range] > PARAM_WORDS {
            self.submit(context)?;
        }
        let offset = self.words.len();
        self.words.extend_from_slice(params);
        self.words.resize((offset + params.len().max(1)).next_multiple_of(SLOT), 0);
        Ok(Params { offset, range })
    }

    /// Word `at` of parameters that were taken last.
    pub fn word(&mut self, params: Params, at: usize) -> &mut u32 {
        &mut self.words[params.offset + at]
    }

    /// Records a dispatch with the parameters that were taken last and `buffers`, each from some byte on: what is read, then
    /// what is written.
    pub fn dispatch<'a>(
        &mut self,
        context: &Context,
        pipeline: &Pipeline,
        params: Params,
        buffers: impl Iterator<Item = (&'a Raw, u64)> + Clone,
        grid: [u32; 3],
        hint: &mut Hint,
    ) {
        if grid.contains(&0) {
            return;
        }
        if self.pass.is_none() {
            let pass = self
                .encoder(context)
                .begin_compute_pass(&wgpu::ComputePassDescriptor { label: None, timestamp_writes: None });
            self.pass = Some(pass.forget_lifetime());
        }
        let range = Range { buffer: &self.params, words: RANGES[params.range] };
        let group = self.groups.of(context, &pipeline.layout, buffers, range, hint);
        let pass = self.pass.as_mut().expect("opened above");
        let address = std::ptr::from_ref(pipeline).addr();
        if self.pipeline != address {
            pass.set_pipeline(&pipeline.raw);
            self.pipeline = address;
        }
        pass.set_bind_group(0, group, &[4 * params.offset as u32]);
        let [x, y, z] = grid;
        pass.dispatch_workgroups(x, y, z);
        self.dispatches += 1;
        context.dispatches.fetch_add(1, Relaxed);
    }

    /// Remembers single numbers that somebody will read.
    pub fn await_scalars<'a>(&mut self, scalars: impl Iterator<Item = &'a Stored>) {
        self.scalars.extend(scalars.map(|scalar| (Arc::downgrade(&scalar.buffer), scalar.offset)));
        self.scalars.drain(..self.scalars.len().saturating_sub(SCALARS));
    }

    /// The numbers that [`Recorder::await_scalars`] was told of since, as far as there is somebody left to read them.
    pub fn take_scalars(&mut self) -> Vec<Stored> {
        let there = |(buffer, offset): (Weak<DeviceBuffer>, usize)| {
            Some(Stored { buffer: buffer.upgrade()?, offset })
        };
        self.scalars.drain(..).filter_map(there).collect()
    }

    /// The encoder, with no pass open.
    pub fn encoder(&mut self, context: &Context) -> &mut wgpu::CommandEncoder {
        self.end_pass();
        self.encoder.get_or_insert_with(|| context.device.create_command_encoder(&Default::default()))
    }

    fn end_pass(&mut self) {
        self.pass = None;
        self.pipeline = 0;
    }

    /// Opens a pass of its own, whose begin and end are timed.
    pub fn begin_timed(&mut self, context: &Context, queries: &wgpu::QuerySet) {
        let writes = wgpu::ComputePassTimestampWrites {
            query_set: queries,
            beginning_of_pass_write_index: Some(0),
            end_of_pass_write_index: Some(1),
        };
        let descriptor = wgpu::ComputePassDescriptor { label: None, timestamp_writes: Some(writes) };
        let pass = self.encoder(context).begin_compute_pass(&descriptor).forget_lifetime();
        self.pass = Some(pass);
    }

    /// Submits if enough is recorded.
    pub fn submit_if_full(&mut self, context: &Context) -> Result<()> {
        if self.dispatches >= BATCH { self.submit(context) } else { Ok(()) }
    }

    /// Submits what is recorded, if anything is.
    pub fn submit(&mut self, context: &Context) -> Result<()> {
        self.end_pass();
        let Some(encoder) = self.encoder.take() else { return context.check() };
        context.check()?;
        if !self.words.is_empty() {
            context.queue.write_buffer(&self.params, 0, bytemuck::cast_slice(&self.words));
        }
        let index = context.queue.submit([encoder.finish()]);
        context.submissions.fetch_add(1, Relaxed);
        self.words.clear();
        self.dispatches = 0;
        self.forget_gone(context);
        self.in_flight.push_back(index);
        while self.in_flight.len() > IN_FLIGHT {
            let oldest = self.in_flight.pop_front();
            // In a browser whoever reads a value waits for it.
            if CAN_WAIT {
                context.poll(oldest)?;
            }
        }
        context.check()
    }

    /// The last submission.
    pub fn last(&self) -> Option<wgpu::SubmissionIndex> {
        self.in_flight.back().cloned()
    }

    /// Waits for all that is submitted.
    pub fn wait(&mut self, context: &Context) -> Result<()> {
        match self.in_flight.drain(..).next_back() {
            Some(last) => context.poll(Some(last)),
            None => context.check(),
        }
    }

    /// Drops the bind groups that keep buffers alive which the pool has given back.
    pub fn forget_gone(&mut self, context: &Context) {
        let gone = context.pool.take_gone();
        if !gone.is_empty() {
            self.groups.forget(&gone);
        }
    }
}
