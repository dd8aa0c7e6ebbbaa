//! From pending expressions to values: capture the graph, plan it (or find the plan made before), run the plan.

mod cache;
mod capture;
mod chain;
mod clock;
mod cpu;
mod fuse;
#[cfg(feature = "gpu")]
pub(crate) mod gpu;
pub(crate) mod memory;
mod plan;
mod recompute;
mod record;
mod schedule;
mod spend;
mod sums;
mod trace;
mod value;

use crate::error::{Error, Result};
use crate::shape::Layout;
use crate::tensor::Tensor;
use cache::Ready;
use capture::{Capture, Keep};
use clock::Instant;
use spend::Spent;
use std::cell::Cell;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};
pub use trace::{KernelTime, kernel_times};
pub(crate) use value::Value;

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
    eval_keeping(roots, &[], Keep::Roots)
}

/// Evaluates `roots` together; besides their values, keeps those that the user still has handles on.
///
/// The caller has no further use for the leaves in `spent`, of which it holds these handles and one more each. Where nobody
/// else needs a leaf, its memory is written over with results, and it is empty afterwards. All that depends on one, has
/// a handle and is not part of another expression has its value afterwards and no history. On an error nothing has
/// changed.
pub(crate) fn eval_step(roots: &[Tensor], spent: &[Tensor]) -> Result<()> {
    eval_keeping(roots, spent, Keep::Held)
}

/// The value of a tensor that is about to be read. A scalar is often a loss whose gradient comes next, so the
/// values on the way to it are kept, and the step after it does not compute them again.
pub(crate) fn value_of(x: &Tensor) -> Result<Value> {
    if let Some(value) = x.node().value() {
        return Ok(value);
    }
    eval_keeping(std::slice::from_ref(x), &[], if x.numel() == 1 { Keep::All } else { Keep::Roots })?;
    x.node().value().ok_or_else(|| Error::Data(String::from("a value was not kept")))
}

fn eval_keeping(roots: &[Tensor], spent: &[Tensor], keep: Keep) -> Result<()> {
    let first = roots.iter().find_map(|x| x.node().device.as_ref());
    let elsewhere = |x: &&Tensor| x.node().device.as_ref().is_some_and(|d| Some(d) != first);
    if !roots.iter().any(|x| elsewhere(&x)) {
        return eval_together(roots, spent, keep);
    }
    // What belongs to one device is one piece of work; what belongs to none goes with the first.
    let (there, here): (Vec<&Tensor>, Vec<&Tensor>) = roots.iter().partition(elsewhere);
    let owned = |roots: Vec<&Tensor>| roots.into_iter().cloned().collect::<Vec<_>>();
    eval_together(&owned(here), &[], keep)?;
    eval_keeping(&owned(there), &[], keep)
}

fn eval_together(roots: &[Tensor], spent: &[Tensor], keep: Keep) -> Result<()> {
    let start = Instant::now();
    let Some(capture) = Capture::new(roots, spent, keep)? else { return Ok(()) };
    let ready = cache::plan_for(&capture)?;
    record::record(&capture);
    let begin = Instant::now();
    STATS.planning_nanos.fetch_add((begin - start).as_nanos() as u64, Relaxed);
    let spent = Spent::take(&capture, &ready);
    let result = run(&ready, &capture, &spent.leaves, guarded());
    STATS.running_nanos.fetch_add(begin.elapsed().as_nanos() as u64, Relaxed);
    match result {
        Err(Error::NonFinite { .. }) if guarded() => Err(locate_non_finite(&capture)?),
        Err(e) => Err(e),
        Ok(values) => {
            for (node, value) in values {
                capture.nodes[node as usize].tensor.node().set_value(value);
            }
            spent.settle();
            Ok(())
        }
    }
}

/// Runs a plan on the leaves and numbers of `capture`; gives the values to keep. With `guard`, results that are not
/// finite are an error.
fn run(ready: &Ready, capture: &Capture, spent: &[bool], guard: bool) -> Result<Vec<(u32, Value)>> {
    match ready {
        Ready::Cpu(program) => cpu::run(program, capture, spent, guard),
        #[cfg(feature = "gpu")]
        Ready::Gpu(program) => gpu::run(program, capture, guard),
    }
}

/// Runs the captured nodes one at a time until one gives NaN or infinity though its inputs are finite.
fn locate_non_finite(capture: &Capture) -> Result<Error> {
    for captured in &capture.nodes {
        let x = &captured.tensor;
        if x.node().is_evaluated() {
            continue;
        }
        let Some(one) = Capture::new(std::slice::from_ref(x), &[], Keep::Roots)? else { continue };
        let values = run(&*cache::plan_for(&one)?, &one, &[], false)?;
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
    kernels_run: AtomicU64,
    planning_nanos: AtomicU64,
    running_nanos: AtomicU64,
}

static STATS: Counters = Counters {
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
    let [plans_made, plans_replayed] = cache::counts();
    ExecStats {
        plans_made,
        plans_replayed,
        kernels_run: STATS.kernels_run.load(Relaxed),
        planning: std::time::Duration::from_nanos(STATS.planning_nanos.load(Relaxed)),
        running: std::time::Duration::from_nanos(STATS.running_nanos.load(Relaxed)),
    }
}

thread_local! {
    /// Whether this thread may wait for a device: it is inside [`block_on`], not under somebody's executor.
    static BLOCKING: Cell<bool> = const { Cell::new(false) };
}

/// Whether a thread can wait for a device. A browser's device answers only when the thread has gone back to the browser.
pub(crate) const CAN_WAIT: bool = !cfg!(target_arch = "wasm32");

/// What a call that would have to wait answers in a browser.
pub(crate) fn cannot_wait() -> Error {
    let what = "a browser cannot wait for a device: open it with Device::request_gpu().await and read values with \
                read().await; the guard and kernel times are for the CPU there";
    Error::Unsupported { what: String::from(what) }
}

/// Whether a future may wait for a device instead of asking to be polled again.
#[cfg(feature = "gpu")]
pub(crate) fn may_block() -> bool {
    CAN_WAIT && BLOCKING.get()
}

/// Waits for a future. On the CPU every value is there when it is asked for; a device is waited for inside.
///
/// # Errors
/// Those of the future; in a browser, that it would have to wait.
pub(crate) fn block_on<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            BLOCKING.set(self.0);
        }
    }
    let _restore = Restore(BLOCKING.replace(true));
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
        if !CAN_WAIT {
            return Err(cannot_wait());
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
