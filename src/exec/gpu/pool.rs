//! Memory for tensor data on a device: buffers by size class, one tensor each but for those that [`super::pack`] puts
//! together, kept for the next tensor of the class.
//!
//! A buffer is free as soon as its last tensor is gone, although kernels that read it may not have run yet: whatever
//! is recorded later runs later. Only what the host writes past the recorder, an upload, needs a buffer that no kernel
//! still to be submitted uses.
//!
//! The pool keeps at most as many bytes as tensors have held at once (and never less than [`LEAST_KEPT`]), so tensors
//! and pool together stay below twice the most that was ever needed.

use super::context::Context;
use crate::device::DeviceStats;
use crate::error::{Error, Result};
use crate::graph::IdMap;
use std::panic::Location;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Bytes of the smallest class.
const LEAST: u64 = 256;
/// Bytes that the pool may always keep.
const LEAST_KEPT: u64 = 64 << 20;

/// A buffer that tensors share; back to the pool with the last of them.
pub(crate) struct DeviceBuffer {
    pub context: Arc<Context>,
    /// Until it goes back to the pool.
    raw: Option<Raw>,
    class: u64,
    /// A word of it that the host has read already, and where it stands.
    pub(super) known: OnceLock<(usize, [u8; 4])>,
}

/// A buffer and a number that no other has.
#[derive(Clone)]
pub(super) struct Raw {
    pub buffer: wgpu::Buffer,
    pub id: u64,
    /// How many places of plans have an interest in it.
    claims: Arc<AtomicU32>,
}

impl Raw {
    pub fn new(buffer: wgpu::Buffer, id: u64) -> Raw {
        Raw { buffer, id, claims: Arc::default() }
    }
}

struct Free {
    raw: Raw,
    /// The submission during whose recording it became free: what uses it is in that one or an earlier one.
    epoch: u64,
}

#[derive(Default)]
struct State {
    /// By class.
    free: IdMap<Vec<Free>>,
    live: u64,
    pooled: u64,
    most_live: u64,
    peak: u64,
    allocations: u64,
    /// Ids of buffers that were given back to the driver: bind groups that name them are of no use.
    gone: Vec<u64>,
}

/// The free buffers.
pub(super) struct Pool {
    state: Mutex<State>,
    /// Bytes of the largest buffer that can be bound.
    largest: u64,
    next_id: AtomicU64,
}

/// Whose result a buffer is for, for messages.
#[derive(Clone, Copy)]
pub(super) struct Origin {
    pub op: &'static str,
    pub site: &'static Location<'static>,
}

/// A place's interest in a buffer that it had: others leave it alone where they can.
struct Claim {
    id: u64,
    claims: Arc<AtomicU32>,
}

impl Claim {
    fn new(raw: &Raw) -> Claim {
        raw.claims.fetch_add(1, Relaxed);
        Claim { id: raw.id, claims: Arc::clone(&raw.claims) }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.claims.fetch_sub(1, Relaxed);
    }
}

/// The buffers that a place in a plan had when it was last run, the latest first. It gets one of them again where it can,
/// so that the bind groups made for them serve again: the one used longest ago, because what a step keeps for the next,
/// such as a parameter, goes back and forth between two.
#[derive(Default)]
pub(super) struct Recent([Option<Claim>; 2]);

impl Recent {
    pub fn note(&mut self, buffer: &DeviceBuffer) {
        let had = |claim: &Option<Claim>| claim.as_ref().is_some_and(|claim| claim.id == buffer.raw().id);
        match [had(&self.0[0]), had(&self.0[1])] {
            [true, _] => self.0[1] = None,
            [_, true] => self.0.swap(0, 1),
            _ => self.0 = [Some(Claim::new(buffer.raw())), self.0[0].take()],
        }
    }
}

/// Which of the free buffers of a class is taken.
#[derive(Clone, Copy)]
pub(super) enum Which<'a> {
    /// For kernels recorded from now on: one of these before others.
    Like(&'a Recent),
    /// One that nothing recorded for this submission or a later one uses.
    Before(u64),
}

impl Which<'_> {
    /// Where it is in the list, whose last was given back last: the memory of the last is warm. With `spare` there is
    /// memory for another buffer, which is better than one that several places have an interest in: those would take
    /// each other's for long.
    fn find(self, list: &[Free], spare: bool) -> Option<usize> {
        match self {
            Which::Like(Recent(claims)) => {
                let known = |claim: &Claim| list.iter().position(|free| free.raw.id == claim.id);
                let again = claims.iter().flatten().rev().find_map(known);
                let interest = |free: &Free| free.raw.claims.load(Relaxed);
                let other = || {
                    let least = list.iter().map(interest).min().filter(|&least| least <= 1 || !spare)?;
                    list.iter().rposition(|free| interest(free) == least)
                };
                again.or_else(other)
            }
            Which::Before(epoch) => list.iter().rposition(|free| free.epoch < epoch),
        }
    }
}

/// Rounds up to one of four sizes per power of two.
fn size_class(bytes: u64) -> u64 {
    let bytes = bytes.max(LEAST);
    bytes.next_multiple_of((bytes.next_power_of_two() / 8).max(LEAST))
}

impl Pool {
    pub fn new(largest: u64) -> Pool {
        Pool { state: Mutex::default(), largest, next_id: AtomicU64::new(1) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn stats(&self) -> DeviceStats {
        let state = self.state();
        DeviceStats {
            live: state.live,
            pooled: state.pooled,
            peak: state.peak,
            allocations: state.allocations,
            ..DeviceStats::default()
        }
    }

    /// The ids of buffers that went back to the driver since this was last asked.
    pub fn take_gone(&self) -> Vec<u64> {
        std::mem::take(&mut self.state().gone)
    }

    /// Gives all free buffers back to the driver.
    pub fn trim(&self) {
        let mut state = self.state();
        let held = std::mem::take(&mut state.free);
        state.pooled = 0;
        state.gone.extend(held.into_values().flatten().map(|free| free.raw.id));
    }

    /// A buffer of at least `bytes` bytes, with unspecified content.
    ///
    /// # Errors
    /// [`Error::Limit`] when no buffer can be that large, [`Error::OutOfMemory`].
    pub fn take(
        &self,
        context: &Arc<Context>,
        bytes: u64,
        origin: Origin,
        which: Which,
    ) -> Result<Arc<DeviceBuffer>> {
        let class = size_class(bytes);
        // The class may be past the limit where the tensor is not.
        let class = if class > self.largest { bytes.next_multiple_of(4) } else { class };
        if class > self.largest {
            let what = "bytes of one tensor";
            return Err(Error::Limit {
                what,
                need: bytes,
                have: self.largest,
                op: origin.op,
                site: origin.site,
            });
        }
        let mut state = self.state();
        let spare = state.pooled + class <= LEAST_KEPT;
        let free = state.free.get_mut(&class);
        let raw = match free.and_then(|list| which.find(list, spare).map(|at| list.remove(at))) {
            Some(free) => {
                state.pooled -= class;
                free.raw
            }
            None => {
                drop(state);
                let made = self.made_by_driver(context, class, bytes, origin)?;
                state = self.state();
                made
            }
        };
        state.live += class;
        state.most_live = state.most_live.max(state.live);
        state.peak = state.peak.max(state.live + state.pooled);
        drop(state);
        let context = Arc::clone(context);
        Ok(Arc::new(DeviceBuffer { context, raw: Some(raw), class, known: OnceLock::new() }))
    }

    fn made_by_driver(&self, context: &Context, class: u64, bytes: u64, origin: Origin) -> Result<Raw> {
        self.state().allocations += 1;
        let scope = context.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let buffer = context.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: class,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let missing = || Error::OutOfMemory {
            bytes: bytes as usize,
            op: origin.op,
            site: origin.site,
            held: self.state().live,
        };
        let refused = context.answer(scope, || missing().to_string());
        context.check()?;
        match refused {
            Some(_) => Err(missing()),
            None => Ok(Raw::new(buffer, self.next_id.fetch_add(1, Relaxed))),
        }
    }

    fn give_back(&self, raw: Raw, class: u64, epoch: u64) {
        let mut state = self.state();
        state.live -= class;
        if state.pooled + class > state.most_live.max(LEAST_KEPT) {
            state.gone.push(raw.id);
            return;
        }
        state.pooled += class;
        state.free.entry(class).or_default().push(Free { raw, epoch });
    }
}

impl DeviceBuffer {
    /// How many elements it has room for.
    pub fn elements(&self) -> usize {
        (self.class / 4) as usize
    }

    pub fn raw(&self) -> &Raw {
        self.raw.as_ref().expect("it is there until the buffer is dropped")
    }
}

impl Drop for DeviceBuffer {
    fn drop(&mut self) {
        let epoch = self.context.submissions.load(Relaxed);
        if let Some(raw) = self.raw.take() {
            self.context.pool.give_back(raw, self.class, epoch);
        }
    }
}
