//! From pending expressions to values: capture the graph, plan it (or find the plan made before), run the plan.

mod cache;
mod capture;
mod cpu;
mod fuse;
#[cfg(feature = "gpu")]
mod gpu;
pub(crate) mod memory;
mod plan;
mod record;
mod schedule;
mod trace;

use crate::error::{Error, Result};
use crate::shape::{Layout, Shape};
use crate::tensor::{Element, Tensor};
use capture::{Capture, Keep};
use memory::Buffer;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

/// A value at rest: row-major elements in a buffer, from `offset` on.
#[derive(Clone)]
pub(crate) struct Value {
    pub buffer: Arc<Buffer>,
    /// In elements.
    pub offset: usize,
}

impl Value {
    /// A copy of `data`.
    pub fn from_slice<T: Element>(data: &[T], shape: &Shape) -> Result<Value> {
        debug_assert_eq!(data.len(), shape.numel());
        let buffer = Buffer::new(size_of_val(data)).map_err(|bytes| Error::OutOfMemory {
            bytes,
            op: "from_vec",
            site: std::panic::Location::caller(),
        })?;
        // SAFETY: the buffer has room for the data and nobody else has its address yet.
        unsafe { std::ptr::copy_nonoverlapping(data.as_ptr(), buffer.as_ptr().cast::<T>(), data.len()) };
        Ok(Value { buffer: Arc::new(buffer), offset: 0 })
    }

    /// The elements of a tensor of `shape` whose type is `T`.
    pub fn to_vec<T: Element>(&self, shape: &Shape) -> Result<Vec<T>> {
        let n = shape.numel();
        assert!((self.offset + n) * size_of::<T>() <= self.buffer.len(), "a value lies inside its buffer");
        let mut out: Vec<T> = Vec::new();
        out.try_reserve_exact(n).map_err(|_| Error::OutOfMemory {
            bytes: n * size_of::<T>(),
            op: "to_vec",
            site: std::panic::Location::caller(),
        })?;
        // SAFETY: the elements are inside the buffer (checked), initialised by the kernel that made the value, and of
        // type T (checked by the caller; kernels write bools as 0 or 1); `out` has room for n.
        unsafe {
            let first = self.buffer.as_ptr().cast::<T>().add(self.offset);
            std::ptr::copy_nonoverlapping(first, out.as_mut_ptr(), n);
            out.set_len(n);
        }
        Ok(out)
    }
}

/// Computes several tensors in one plan, so that what they have in common is computed once, and keeps their values.
///
/// ```
/// use gradus::{Tensor, eval};
/// let x = Tensor::from([1.0f32, 2.0, 3.0]);
/// let (mean, square) = (x.mean(..), x.square());
/// eval([&mean, &square])?;
/// # Ok::<(), gradus::Error>(())
/// ```
///
/// # Errors
/// As [`Tensor::eval`].
pub fn eval<'a>(tensors: impl IntoIterator<Item = &'a Tensor>) -> Result<()> {
    eval_roots(&tensors.into_iter().cloned().collect::<Vec<_>>())
}

/// Evaluates `roots` together and keeps their values.
pub(crate) fn eval_roots(roots: &[Tensor]) -> Result<()> {
    run(roots, Keep::Roots)
}

/// Evaluates `roots` together; besides their values, keeps those that the user still has handles on.
pub(crate) fn eval_step(roots: &[Tensor]) -> Result<()> {
    run(roots, Keep::Held)
}

/// The value of a tensor that is about to be read. A scalar is often a loss whose gradient comes next, so the
/// values on the way to it are kept, and the step after it does not compute them again.
pub(crate) fn value_of(x: &Tensor) -> Result<Value> {
    if let Some(value) = x.node().value() {
        return Ok(value);
    }
    run(std::slice::from_ref(x), if x.numel() == 1 { Keep::All } else { Keep::Roots })?;
    x.node().value().ok_or_else(|| Error::Data(String::from("a value was not kept")))
}

fn run(roots: &[Tensor], keep: Keep) -> Result<()> {
    let start = Instant::now();
    let Some(capture) = Capture::new(roots, keep) else { return Ok(()) };
    let plan = cache::plan_for(&capture);
    record::record(&capture, &plan);
    STATS.planning_nanos.fetch_add(start.elapsed().as_nanos() as u64, Relaxed);
    let run = Instant::now();
    let result = cpu::run(&plan, &capture);
    STATS.running_nanos.fetch_add(run.elapsed().as_nanos() as u64, Relaxed);
    match result {
        Err(Error::NonFinite { .. }) if guarded() => Err(locate_non_finite(&capture)?),
        Err(e) => Err(e),
        Ok(values) => {
            for (node, value) in values {
                capture.nodes[node as usize].tensor.node().set_value(value);
            }
            Ok(())
        }
    }
}

/// Runs the captured nodes one at a time until one gives NaN or infinity though its inputs are finite.
fn locate_non_finite(capture: &Capture) -> Result<Error> {
    for captured in &capture.nodes {
        let x = &captured.tensor;
        if x.node().is_evaluated() {
            continue;
        }
        let Some(one) = Capture::new(std::slice::from_ref(x), Keep::Roots) else { continue };
        let values = cpu::run_unguarded(&cache::plan_for(&one), &one)?;
        for (node, value) in values {
            one.nodes[node as usize].tensor.node().set_value(value);
        }
        if x.dtype().is_float() {
            let count = x.to_f64_vec()?.iter().filter(|v| !v.is_finite()).count();
            if count > 0 {
                let shape = x.shape().to_vec();
                return Ok(Error::NonFinite { op: x.node().op.name(), site: x.node().site, count, shape });
            }
        }
    }
    Err(Error::Data(String::from("the guard saw NaN or infinity in a fused kernel but not in its parts")))
}

static GUARD: AtomicBool = AtomicBool::new(false);

/// Turns the guard on or off: with it, every evaluation checks its results and fails with [`Error::NonFinite`] at
/// the first op that makes NaN or infinity, naming its source line. Costs one more pass over every result.
/// `GRADUS_GUARD=1` in the environment turns it on too.
pub fn set_guard(on: bool) {
    GUARD.store(on, Relaxed);
}

fn guarded() -> bool {
    static ASKED: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    GUARD.load(Relaxed) || *ASKED.get_or_init(|| std::env::var_os("GRADUS_GUARD").is_some_and(|v| v == "1"))
}

struct Counters {
    plans_made: AtomicU64,
    plans_replayed: AtomicU64,
    kernels_run: AtomicU64,
    planning_nanos: AtomicU64,
    running_nanos: AtomicU64,
}

static STATS: Counters = Counters {
    plans_made: AtomicU64::new(0),
    plans_replayed: AtomicU64::new(0),
    kernels_run: AtomicU64::new(0),
    planning_nanos: AtomicU64::new(0),
    running_nanos: AtomicU64::new(0),
};

/// What evaluation has done in this process so far. See [`exec_stats`].
#[derive(Clone, Copy, Debug)]
pub struct ExecStats {
    /// Plans made for graphs not seen before.
    pub plans_made: u64,
    /// Evaluations that used a plan made before.
    pub plans_replayed: u64,
    /// Kernels run.
    pub kernels_run: u64,
    /// Time spent on walking graphs, and finding or making plans.
    pub planning: std::time::Duration,
    /// Time spent in kernels, memory handling included.
    pub running: std::time::Duration,
}

/// How many plans were made and replayed, how many kernels ran, and how the time was split.
pub fn exec_stats() -> ExecStats {
    ExecStats {
        plans_made: STATS.plans_made.load(Relaxed),
        plans_replayed: STATS.plans_replayed.load(Relaxed),
        kernels_run: STATS.kernels_run.load(Relaxed),
        planning: std::time::Duration::from_nanos(STATS.planning_nanos.load(Relaxed)),
        running: std::time::Duration::from_nanos(STATS.running_nanos.load(Relaxed)),
    }
}

/// Waits for a future that never really waits: on the CPU every value is there when it is asked for.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
        std::thread::yield_now();
    }
}

/// Where an operand of a kernel lies: in a leaf of the captured graph or in a buffer of the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    Leaf(u32),
    Slot(u32),
}

/// A strided operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Operand {
    pub place: Place,
    pub layout: Layout,
}

#[cfg(test)]
mod tests {
    use crate::{DType, Tensor};

    /// The planner sees through an alias of a leaf, and must still give it its value.
    #[test]
    fn an_alias_of_a_leaf_can_be_read() {
        let x = Tensor::from([1.0f32, 2.0, 3.0]);
        assert_eq!(x.stop_grad().to_vec::<f32>().unwrap(), [1.0, 2.0, 3.0]);
        assert_eq!(x.stop_grad().reshape([3, 1]).stop_grad().to_vec::<f32>().unwrap(), [1.0, 2.0, 3.0]);
        assert_eq!(x.slice(0, 1..2).stop_grad().item().unwrap(), 2.0);
        assert_eq!(Tensor::from(7i32).stop_grad().to(DType::I32).item().unwrap(), 7.0);
    }
}
