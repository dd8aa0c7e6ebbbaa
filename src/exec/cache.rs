//! Plans made before, found again by the whole key of a graph: never by a hash alone.

use super::STATS;
use super::capture::Capture;
use super::cpu;
#[cfg(feature = "gpu")]
use super::gpu;
use super::plan::plan;
use crate::error::Result;
use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// How many plans are kept; the one unused for longest goes first.
const CAPACITY: usize = 128;

/// A plan made ready for its device.
pub(super) enum Ready {
    Cpu(cpu::Program),
    #[cfg(feature = "gpu")]
    Gpu(gpu::Program),
}

impl Ready {
    /// The nodes whose values a run gives.
    pub fn outputs(&self) -> impl Iterator<Item = u32> {
        let plan = match self {
            Ready::Cpu(program) => program.plan(),
            #[cfg(feature = "gpu")]
            Ready::Gpu(program) => program.plan(),
        };
        plan.outputs.iter().map(|output| output.0)
    }
}

struct Entry {
    plan: Arc<Ready>,
    used: u64,
}

#[derive(Default)]
struct Cache {
    plans: HashMap<Box<[u64]>, Entry>,
    clock: u64,
}

static CACHE: Mutex<Option<Cache>> = Mutex::new(None);

/// The plan for a captured graph.
///
/// # Errors
/// What making kernels ready for a GPU can give: a limit, a lost device.
pub(super) fn plan_for(capture: &Capture) -> Result<Arc<Ready>> {
    if let Some(plan) = lookup(capture) {
        STATS.plans_replayed.fetch_add(1, Relaxed);
        return Ok(plan);
    }
    let plan = Arc::new(make_ready(capture)?);
    STATS.plans_made.fetch_add(1, Relaxed);
    let mut guard = CACHE.lock().unwrap_or_else(PoisonError::into_inner);
    let cache = guard.get_or_insert_default();
    if cache.plans.len() >= CAPACITY {
        let oldest = cache.plans.iter().min_by_key(|(_, e)| e.used).map(|(key, _)| key.clone());
        oldest.and_then(|key| cache.plans.remove(&key));
    }
    let used = cache.clock;
    cache.plans.insert(capture.key.clone().into_boxed_slice(), Entry { plan: Arc::clone(&plan), used });
    Ok(plan)
}

fn make_ready(capture: &Capture) -> Result<Ready> {
    let plan = plan(capture, fusing());
    #[cfg(feature = "gpu")]
    if let Some(context) = capture.device.context() {
        return Ok(Ready::Gpu(gpu::Program::new(context, plan, capture)?));
    }
    Ok(Ready::Cpu(cpu::Program::new(plan)))
}

fn lookup(capture: &Capture) -> Option<Arc<Ready>> {
    let mut guard = CACHE.lock().unwrap_or_else(PoisonError::into_inner);
    let cache = guard.get_or_insert_default();
    cache.clock += 1;
    let entry = cache.plans.get_mut(capture.key.as_slice())?;
    entry.used = cache.clock;
    Some(Arc::clone(&entry.plan))
}

/// Whether pointwise work is fused. `GRADUS_FUSE=0` runs one kernel a node: slower, equal bit for bit.
pub(super) fn fusing() -> bool {
    static FUSE: OnceLock<bool> = OnceLock::new();
    *FUSE.get_or_init(|| std::env::var_os("GRADUS_FUSE").is_none_or(|v| v != "0"))
}
