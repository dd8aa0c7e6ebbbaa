//! Plans made before, found again by the whole key of a graph: never by a hash alone.

use super::STATS;
use super::capture::Capture;
use super::plan::{Plan, plan};
use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// How many plans are kept; the one unused for longest goes first.
const CAPACITY: usize = 128;

struct Entry {
    plan: Arc<Plan>,
    used: u64,
}

#[derive(Default)]
struct Cache {
    plans: HashMap<Box<[u64]>, Entry>,
    clock: u64,
}

static CACHE: Mutex<Option<Cache>> = Mutex::new(None);

/// The plan for a captured graph.
pub(super) fn plan_for(capture: &Capture) -> Arc<Plan> {
    if let Some(plan) = lookup(capture) {
        STATS.plans_replayed.fetch_add(1, Relaxed);
        return plan;
    }
    let plan = Arc::new(plan(capture, fusing()));
    STATS.plans_made.fetch_add(1, Relaxed);
    let mut guard = CACHE.lock().unwrap_or_else(PoisonError::into_inner);
    let cache = guard.get_or_insert_default();
    if cache.plans.len() >= CAPACITY {
        let oldest = cache.plans.iter().min_by_key(|(_, e)| e.used).map(|(key, _)| key.clone());
        oldest.and_then(|key| cache.plans.remove(&key));
    }
    let used = cache.clock;
    cache.plans.insert(capture.key.clone().into_boxed_slice(), Entry { plan: Arc::clone(&plan), used });
    plan
}

fn lookup(capture: &Capture) -> Option<Arc<Plan>> {
    let mut guard = CACHE.lock().unwrap_or_else(PoisonError::into_inner);
    let cache = guard.get_or_insert_default();
    cache.clock += 1;
    let entry = cache.plans.get_mut(capture.key.as_slice())?;
    entry.used = cache.clock;
    Some(Arc::clone(&entry.plan))
}

/// Whether pointwise work is fused. `GRADUS_FUSE=0` runs one kernel a node: slower, equal bit for bit.
fn fusing() -> bool {
    static FUSE: OnceLock<bool> = OnceLock::new();
    *FUSE.get_or_init(|| std::env::var_os("GRADUS_FUSE").is_none_or(|v| v != "0"))
}
