//! Plans made before, found again by the whole key of a graph: never by a hash alone.

use super::capture::Capture;
use super::cpu;
#[cfg(feature = "gpu")]
use super::gpu;
use super::plan::plan;
use crate::error::Result;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
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

/// Hashes keys, which are thousands of words: four at a time, since a product waits only for the one before it in its
/// lane. Nobody but the program itself makes keys, and equal hashes are told apart by the whole key.
#[derive(Default)]
struct KeyHasher([u64; 4]);

impl KeyHasher {
    fn mix(&mut self, lane: usize, word: u64) {
        self.0[lane] = (self.0[lane].rotate_left(29) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        let mut all = KeyHasher::default();
        self.0.iter().for_each(|&lane| all.mix(0, lane ^ lane >> 32));
        all.0[0] ^ all.0[0] >> 32
    }

    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for four in words.chunks(4) {
            four.iter().enumerate().for_each(|(lane, &word)| self.mix(lane, u64::from_le_bytes(word)));
        }
        rest.iter().for_each(|&byte| self.mix(0, u64::from(byte)));
    }

    fn write_usize(&mut self, length: usize) {
        self.mix(0, length as u64);
    }
}

#[derive(Default)]
struct Cache {
    plans: HashMap<Box<[u64]>, Entry, BuildHasherDefault<KeyHasher>>,
    clock: u64,
    /// How many plans were made, and how many of the lookups found one.
    made: u64,
    found: u64,
}

static CACHE: Mutex<Option<Cache>> = Mutex::new(None);

/// How many plans were made so far, and how often one made before was found.
pub(super) fn counts() -> [u64; 2] {
    let guard = CACHE.lock().unwrap_or_else(PoisonError::into_inner);
    guard.as_ref().map_or([0; 2], |cache| [cache.made, cache.found])
}

/// The plan for a captured graph.
///
/// # Errors
/// What making kernels ready for a GPU can give: a limit, a lost device.
pub(super) fn plan_for(capture: &Capture) -> Result<Arc<Ready>> {
    if let Some(plan) = lookup(capture) {
        return Ok(plan);
    }
    let plan = Arc::new(make_ready(capture)?);
    let mut guard = CACHE.lock().unwrap_or_else(PoisonError::into_inner);
    let cache = guard.get_or_insert_default();
    cache.made += 1;
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
    cache.found += 1;
    Some(Arc::clone(&entry.plan))
}

/// Whether pointwise work is fused. `GRADUS_FUSE=0` runs one kernel a node: slower, equal bit for bit.
pub(super) fn fusing() -> bool {
    static FUSE: OnceLock<bool> = OnceLock::new();
    *FUSE.get_or_init(|| std::env::var_os("GRADUS_FUSE").is_none_or(|v| v != "0"))
}
