//! Nodes of the expression graph, and the walks over it. No walk recurses: a chain of a million nodes is fine.

use crate::device::Device;
use crate::error::{BuildError, Error, fail};
use crate::exec::{self, Value};
use crate::ops::Op;
use crate::shape::Shape;
use crate::tensor::Tensor;
use gradus_kernels::DType;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::panic::Location;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

/// Pending work deeper than this is evaluated by itself, so that `total = total + loss` in a loop stays bounded.
pub(crate) const SOFT_CAP: u32 = 1024;

/// One node: an operation on other nodes, and perhaps its value. Everything but the value is fixed at birth.
pub(crate) struct Node {
    /// Order of creation. Inputs are older than their users, so sorting by id is a topological order.
    pub id: u64,
    pub op: Op,
    pub shape: Shape,
    pub dtype: DType,
    /// Where it is computed; None for what is made of constants, ranges and draws alone, which follows its users.
    pub device: Option<Device>,
    /// The user's line that made this node.
    pub site: &'static Location<'static>,
    /// Which part of a computation the node belongs to: 0 for what the user wrote, n for a derivative of order n,
    /// [`UPDATE`] for what an optimizer wrote. For pictures alone.
    pub part: u8,
    /// Whether a gradient could flow on to something below this node. False for constants and what is made of
    /// them alone: those forget their inputs once evaluated.
    history: AtomicBool,
    /// Length of the longest unevaluated chain that ends here.
    depth: AtomicU32,
    /// How many inputs of other nodes are this one: of all handles on it, those that nobody wrote down in a variable.
    uses: AtomicUsize,
    state: Mutex<State>,
}

struct State {
    inputs: Inputs,
    value: Option<Value>,
    /// Set when a step let the inputs go.
    released: bool,
}

/// The inputs of a node, few of them without an allocation.
#[derive(Clone, Default)]
pub(crate) enum Inputs {
    #[default]
    None,
    One([Tensor; 1]),
    Two([Tensor; 2]),
    Three([Tensor; 3]),
    Many(Box<[Tensor]>),
}

impl Inputs {
    pub fn as_slice(&self) -> &[Tensor] {
        match self {
            Inputs::None => &[],
            Inputs::One(x) => x,
            Inputs::Two(x) => x,
            Inputs::Three(x) => x,
            Inputs::Many(x) => x,
        }
    }

    /// Drops the inputs of a node that was built with them.
    fn let_go(self) {
        for x in self.as_slice() {
            x.node().uses.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl From<Vec<Tensor>> for Inputs {
    fn from(inputs: Vec<Tensor>) -> Inputs {
        Inputs::Many(inputs.into_boxed_slice())
    }
}

static NEXT_ID: AtomicU64 = AtomicU64::new(0);

/// The id the next node will have, at the earliest.
pub(crate) fn next_id() -> u64 {
    NEXT_ID.load(Ordering::Relaxed)
}

/// Whether every node is evaluated as it is built (`GRADUS_EAGER=1`): the debugger's mode, and an oracle.
fn eager() -> bool {
    static EAGER: OnceLock<bool> = OnceLock::new();
    *EAGER.get_or_init(|| std::env::var_os("GRADUS_EAGER").is_some_and(|v| v == "1"))
}

impl Node {
    fn state(&self) -> MutexGuard<'_, State> {
        // A node's state is replaced whole under the lock, so a panic elsewhere cannot leave it half written.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The inputs as they are now: none for a leaf, or after a release.
    pub fn inputs(&self) -> Inputs {
        self.state().inputs.clone()
    }

    /// The value, where it has been computed and kept.
    pub fn value(&self) -> Option<Value> {
        self.state().value.clone()
    }

    /// Shows the inputs as they are now to `f`, which must not ask this node for anything.
    pub fn with_inputs<R>(&self, f: impl FnOnce(&[Tensor]) -> R) -> R {
        f(self.state().inputs.as_slice())
    }

    /// The value, or where there is none yet, the inputs that it is computed from: shown to `f`, which must not ask this
    /// node for anything.
    pub fn value_or_inputs(&self, f: impl FnOnce(&[Tensor])) -> Option<Value> {
        let state = self.state();
        if state.value.is_none() {
            f(state.inputs.as_slice());
        }
        state.value.clone()
    }

    pub fn is_evaluated(&self) -> bool {
        self.state().value.is_some()
    }

    /// Whether a gradient could flow on to something below this node.
    pub fn has_history(&self) -> bool {
        self.history.load(Ordering::Relaxed)
    }

    pub fn is_released(&self) -> bool {
        self.state().released
    }

    /// Takes the value away: the node is a leaf that nobody may read any more.
    pub fn take_value(&self) -> Option<Value> {
        self.state().value.take()
    }

    /// Keeps `value`. Without history the inputs have no further use and are let go.
    pub fn set_value(&self, value: Value) {
        let mut state = self.state();
        state.value = Some(value);
        self.depth.store(0, Ordering::Relaxed);
        if !self.has_history() || matches!(self.op, Op::StopGrad) {
            let inputs = std::mem::take(&mut state.inputs);
            drop(state);
            inputs.let_go();
        }
    }

    /// Lets the inputs go, silently: nobody has a handle that a gradient could be asked for with.
    fn forget(&self) {
        self.history.store(false, Ordering::Relaxed);
        let inputs = std::mem::take(&mut self.state().inputs);
        inputs.let_go();
    }

    /// Lets the inputs go: the node is a leaf from now on, and asking for gradients through it is an error.
    pub fn release(&self) {
        let mut state = self.state();
        if state.value.is_none() || matches!(state.inputs, Inputs::None) {
            return;
        }
        state.released = true;
        self.history.store(false, Ordering::Relaxed);
        let inputs = std::mem::take(&mut state.inputs);
        drop(state);
        inputs.let_go();
    }

    /// How many inputs of other nodes are this one.
    pub fn uses(&self) -> usize {
        self.uses.load(Ordering::Relaxed)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        let mut next = Some(std::mem::take(&mut state.inputs));
        let mut orphans: Vec<Inputs> = Vec::new();
        let adopt = |tensor: Tensor, orphans: &mut Vec<Inputs>| {
            tensor.node().uses.fetch_sub(1, Ordering::Relaxed);
            if let Some(mut node) = tensor.into_unique() {
                let state = node.state.get_mut().unwrap_or_else(PoisonError::into_inner);
                match std::mem::take(&mut state.inputs) {
                    Inputs::None => {}
                    inputs => orphans.push(inputs),
                }
            }
        };
        while let Some(inputs) = next {
            match inputs {
                Inputs::None => {}
                Inputs::One(x) => x.into_iter().for_each(|x| adopt(x, &mut orphans)),
                Inputs::Two(x) => x.into_iter().for_each(|x| adopt(x, &mut orphans)),
                Inputs::Three(x) => x.into_iter().for_each(|x| adopt(x, &mut orphans)),
                Inputs::Many(x) => x.into_vec().into_iter().for_each(|x| adopt(x, &mut orphans)),
            }
            next = orphans.pop();
        }
    }
}

/// How many spare nodes a thread keeps, at most.
const MOST_SPARE: usize = 1024;

thread_local! {
    /// Nodes of which nobody has a handle any more, empty: the memory of the next ones. A step makes about as many nodes as
    /// the one before let go, more than the free lists of an allocator hold.
    static SPARE: RefCell<Vec<Arc<Node>>> = const { RefCell::new(Vec::new()) };
}

/// `node` in the memory of a spare one, if there is one.
fn in_spare(node: Node) -> Arc<Node> {
    let mut spare = SPARE.try_with(|spare| spare.borrow_mut().pop()).ok().flatten();
    match spare.as_mut().and_then(Arc::get_mut) {
        // What was there is empty: there is nothing to drop.
        Some(place) => std::mem::forget(std::mem::replace(place, node)),
        None => return Arc::new(node),
    }
    spare.expect("it was filled")
}

/// Lets go of a handle. If it was the last one, the memory of the node is kept for another.
pub(crate) fn recycle(mut handle: Arc<Node>) {
    // The cheaper question first.
    if Arc::strong_count(&handle) > 1 {
        return;
    }
    let Some(node) = Arc::get_mut(&mut handle) else { return };
    let state = node.state.get_mut().unwrap_or_else(PoisonError::into_inner);
    (state.value, node.device, node.op) = (None, None, Op::Leaf);
    std::mem::take(&mut state.inputs).let_go();
    let _ = SPARE.try_with(|spare| {
        let mut spare = spare.borrow_mut();
        if spare.len() < MOST_SPARE {
            spare.push(handle);
        }
    });
}

thread_local! {
    /// The line that nodes belong to while a derivative is written.
    static SITE: Cell<Option<&'static Location<'static>>> = const { Cell::new(None) };
    /// The part that nodes belong to while the library writes them.
    static PART: Cell<Option<u8>> = const { Cell::new(None) };
}

/// The part of what an optimizer wrote.
pub(crate) const UPDATE: u8 = u8::MAX;

/// Puts a thread-local cell back when it goes out of scope.
struct Restore<T: 'static>(&'static std::thread::LocalKey<Cell<Option<T>>>, Option<T>);

impl<T> Drop for Restore<T> {
    fn drop(&mut self) {
        self.0.set(self.1.take());
    }
}

/// Runs `f`, whose nodes belong to `part`.
pub(crate) fn as_part<T>(part: u8, f: impl FnOnce() -> T) -> T {
    let _restore = Restore(&PART, PART.replace(Some(part)));
    f()
}

/// Runs `f`, whose nodes belong to the line `site`: a derivative is written by a rule in the library, but whoever looks
/// for a NaN in it wants the line with the op that it differentiates.
pub(crate) fn on_behalf_of<T>(site: &'static Location<'static>, f: impl FnOnce() -> T) -> T {
    let _restore = Restore(&SITE, SITE.replace(Some(site)));
    f()
}

/// The device that the inputs of a node lie on.
#[track_caller]
fn device_of(op: &Op, inputs: &[Tensor], dtype: DType) -> Option<Device> {
    let scoped = if let Op::Random { .. } = op { Device::scoped() } else { None };
    let mut found = scoped.as_ref();
    for x in inputs {
        match (&x.node().device, found) {
            (Some(device), Some(other)) if device != other => {
                let rule = format!(
                    "operands lie on {other} and on {device} (shapes {}); move one with .to_device(..)",
                    inputs.iter().map(|x| x.shape().to_string()).collect::<Vec<_>>().join(", ")
                );
                fail(BuildError::new(op.name(), rule));
            }
            (Some(device), _) => found = Some(device),
            (None, _) => {}
        }
    }
    if let Some(device) = found.filter(|device| dtype == DType::F64 && !device.is_cpu()) {
        let rule =
            format!("{device} computes in f32, not f64: convert with .to(DType::F32) on the CPU first");
        fail(BuildError::new(op.name(), rule));
    }
    found.cloned()
}

impl Tensor {
    /// Builds a node. Everything that can be wrong with it has been checked by the op.
    #[track_caller]
    pub(crate) fn make(op: Op, inputs: Inputs, shape: Shape, dtype: DType) -> Tensor {
        let device = device_of(&op, inputs.as_slice(), dtype);
        Tensor::make_on(device, op, inputs, shape, dtype)
    }

    #[track_caller]
    fn make_on(device: Option<Device>, op: Op, inputs: Inputs, shape: Shape, dtype: DType) -> Tensor {
        review();
        let (mut history, mut depth, mut part) = (false, 0, 0);
        for x in inputs.as_slice() {
            part = part.max(x.node().part);
            history |= x.node().has_history();
            depth = depth.max(x.node().depth.load(Ordering::Relaxed));
            x.node().uses.fetch_add(1, Ordering::Relaxed);
        }
        let history = match op {
            // What stop_grad gives is a leaf to those above it: a gradient for it can be asked, none goes on below.
            Op::Leaf | Op::Random { .. } | Op::After | Op::StopGrad => true,
            _ => history && dtype.is_float(),
        };
        let depth = if matches!(op, Op::Leaf) { 0 } else { depth + 1 };
        let tensor = Tensor::from_shared(in_spare(Node {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            op,
            shape,
            dtype,
            device,
            site: SITE.get().unwrap_or(Location::caller()),
            part: PART.get().unwrap_or(part),
            history: AtomicBool::new(history),
            depth: AtomicU32::new(depth),
            uses: AtomicUsize::new(0),
            state: Mutex::new(State { inputs, value: None, released: false }),
        }));
        if eager() && !matches!(tensor.node().op, Op::Leaf) {
            if let Err(e) = exec::eval_roots(std::slice::from_ref(&tensor)) {
                fail(BuildError::new(tensor.node().op.name(), format!("{e} (GRADUS_EAGER=1)")));
            }
        } else if depth >= SOFT_CAP {
            // An error is not lost: the work stays pending, and whoever reads the value meets it again.
            let done: Result<(), Error> = exec::eval_roots(std::slice::from_ref(&tensor));
            if done.is_ok() {
                TO_REVIEW.set(Some(tensor.downgrade()));
            }
        }
        tensor
    }

    /// A leaf with a value.
    #[track_caller]
    pub(crate) fn leaf(value: Value, shape: Shape, dtype: DType) -> Tensor {
        let tensor = Tensor::make_on(Some(value.device()), Op::Leaf, Inputs::None, shape, dtype);
        tensor.node().set_value(value);
        tensor
    }
}

thread_local! {
    /// A node evaluated by the soft cap, whose history may be of no use to anyone. Looked at when the next node is
    /// built: by then the operator that made it has let its operands go.
    static TO_REVIEW: Cell<Option<Weak<Node>>> = const { Cell::new(None) };
}

fn review() {
    if let Some(root) = TO_REVIEW.take().and_then(|weak| weak.upgrade()).map(Tensor::from_shared)
        && !someone_may_ask_below(&root)
    {
        root.node().forget();
    }
}

/// Whether anyone outside the graph has a handle on a node below `root` that a gradient could flow to. What was kept
/// when it was asked before is not walked again, so that long chains take linear time.
fn someone_may_ask_below(root: &Tensor) -> bool {
    let mut kept_before = false;
    let below = reachable([root], |x| {
        let node = x.node();
        let known = x.id() != root.id() && node.is_evaluated();
        kept_before |= known && node.has_history() && !matches!(node.inputs(), Inputs::None);
        !known && !kept_before
    });
    if kept_before {
        return true;
    }
    let mut uses: IdMap<usize> = IdMap::default();
    for x in &below {
        for input in x.node().inputs().as_slice() {
            *uses.entry(input.id()).or_default() += 1;
        }
    }
    let held = |x: &Tensor| x.handles() > 1 + uses.get(&x.id()).copied().unwrap_or(0);
    below.iter().any(|x| x.id() != root.id() && x.node().has_history() && held(x))
}

/// Hashes node ids, which are already distinct small numbers.
#[derive(Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        // The map looks at the lowest bits, to which a product carries nothing from the high bits of its factors; the
        // bits of floats are all high.
        self.0 ^ (self.0 >> 32)
    }
    fn write(&mut self, bytes: &[u8]) {
        for &b in bytes {
            self.write_u64(b as u64);
        }
    }
    fn write_u64(&mut self, id: u64) {
        self.0 = (self.0.rotate_left(29) ^ id).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// A map keyed by node id.
pub(crate) type IdMap<T> = HashMap<u64, T, BuildHasherDefault<IdHasher>>;

/// The place that each of some nodes has in a list, by id, for a walk down from a node. What was made shortly before the
/// start of the walk, which is nearly all of a step, stands in a table by age and needs no hashing.
pub(crate) struct Places {
    newest: u64,
    /// By age, [`Places::NONE`] where there is none.
    near: Vec<u32>,
    far: IdMap<u32>,
}

impl Places {
    const NONE: u32 = u32::MAX;
    /// Ages below this stand in the table.
    const NEAR: u64 = 4096;
    /// The shortest table, from which few doublings lead to a step.
    const FIRST: usize = 64;

    /// No places; `newest` is the id that the walk starts at.
    pub fn new(newest: u64) -> Places {
        Places { newest, near: Vec::new(), far: IdMap::default() }
    }

    /// Where a node stands in the table; nowhere if it is older, or newer than the walk's start.
    fn near(&self, id: u64) -> Option<usize> {
        self.newest.checked_sub(id).filter(|&age| age < Self::NEAR).map(|age| age as usize)
    }

    /// Gives a node that has none its place.
    pub fn insert(&mut self, id: u64, place: usize) {
        let place = place as u32;
        let Some(age) = self.near(id) else {
            self.far.insert(id, place);
            return;
        };
        if age >= self.near.len() {
            self.near.resize((age + 1).next_power_of_two().max(Self::FIRST), Self::NONE);
        }
        self.near[age] = place;
    }

    /// The place of a node, if it has one.
    pub fn get(&self, id: u64) -> Option<usize> {
        let place = match self.near(id) {
            Some(age) => *self.near.get(age)?,
            None => *self.far.get(&id)?,
        };
        (place != Self::NONE).then_some(place as usize)
    }

    /// All places, that of the oldest node first.
    pub fn oldest_first(&self) -> Vec<u32> {
        let mut far: Vec<(u64, u32)> = self.far.iter().map(|(&id, &place)| (id, place)).collect();
        far.sort_unstable();
        let near = self.near.iter().rev().copied().filter(|place| *place != Self::NONE);
        far.into_iter().map(|(_, place)| place).chain(near).collect()
    }
}

/// Nodes that a walk has room for from the start.
pub(crate) const ROOM: usize = 16;

/// The nodes reachable from `roots`, oldest first. `enter` says whether to go on below a node.
pub(crate) fn reachable<'a>(
    roots: impl IntoIterator<Item = &'a Tensor>,
    mut enter: impl FnMut(&Tensor) -> bool,
) -> Vec<Tensor> {
    let roots: Vec<&Tensor> = roots.into_iter().collect();
    let mut seen = Places::new(roots.iter().map(|x| x.id()).max().unwrap_or(0));
    let mut found: Vec<Tensor> = Vec::with_capacity(ROOM);
    let mut meet = |x: &Tensor, found: &mut Vec<Tensor>| {
        if seen.get(x.id()).is_none() {
            seen.insert(x.id(), found.len());
            found.push(x.clone());
        }
    };
    roots.into_iter().for_each(|x| meet(x, &mut found));
    let mut next = 0;
    while next < found.len() {
        let tensor = found[next].clone();
        if enter(&tensor) {
            tensor.node().with_inputs(|inputs| inputs.iter().for_each(|x| meet(x, &mut found)));
        }
        next += 1;
    }
    in_order(found, &seen.oldest_first())
}

/// `list` in the order of its places that `order` gives, each once.
pub(crate) fn in_order<T>(list: Vec<T>, order: &[u32]) -> Vec<T> {
    let mut list: Vec<Option<T>> = list.into_iter().map(Some).collect();
    order.iter().map(|&at| list[at as usize].take().expect("each once")).collect()
}
