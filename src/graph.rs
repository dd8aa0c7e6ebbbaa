//! Nodes of the expression graph, and the walks over it. No walk recurses: a chain of a million nodes is fine.

use crate::error::{BuildError, Error, fail};
use crate::exec::{self, Value};
use crate::ops::Op;
use crate::shape::Shape;
use crate::tensor::Tensor;
use gradus_kernels::DType;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::panic::Location;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// Pending work deeper than this is evaluated by itself, so that `total = total + loss` in a loop stays bounded.
pub(crate) const SOFT_CAP: u32 = 4096;

/// One node: an operation on other nodes, and perhaps its value. Everything but the value is fixed at birth.
pub(crate) struct Node {
    /// Order of creation. Inputs are older than their users, so sorting by id is a topological order.
    pub id: u64,
    pub op: Op,
    pub shape: Shape,
    pub dtype: DType,
    /// The user's line that made this node.
    pub site: &'static Location<'static>,
    /// Whether a gradient could flow on to something below this node. False for constants and what is made of
    /// them alone: those forget their inputs once evaluated.
    pub history: bool,
    /// Length of the longest unevaluated chain that ends here.
    depth: AtomicU32,
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

    pub fn is_evaluated(&self) -> bool {
        self.state().value.is_some()
    }

    pub fn is_released(&self) -> bool {
        self.state().released
    }

    /// Keeps `value`. Without history the inputs have no further use and are let go.
    pub fn set_value(&self, value: Value) {
        let mut state = self.state();
        state.value = Some(value);
        self.depth.store(0, Ordering::Relaxed);
        if !self.history {
            let inputs = std::mem::take(&mut state.inputs);
            drop(state);
            drop(inputs);
        }
    }

    /// Lets the inputs go: the node is a leaf from now on, and asking for gradients through it is an error.
    pub fn release(&self) {
        let mut state = self.state();
        if state.value.is_none() || matches!(state.inputs, Inputs::None) {
            return;
        }
        state.released = true;
        let inputs = std::mem::take(&mut state.inputs);
        drop(state);
        drop(inputs);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        let mut orphans: Vec<Inputs> = vec![std::mem::take(&mut state.inputs)];
        while let Some(inputs) = orphans.pop() {
            let mut adopt = |tensor: Tensor| {
                if let Some(mut node) = tensor.into_unique() {
                    let state = node.state.get_mut().unwrap_or_else(PoisonError::into_inner);
                    orphans.push(std::mem::take(&mut state.inputs));
                }
            };
            match inputs {
                Inputs::None => {}
                Inputs::One(x) => x.into_iter().for_each(&mut adopt),
                Inputs::Two(x) => x.into_iter().for_each(&mut adopt),
                Inputs::Three(x) => x.into_iter().for_each(&mut adopt),
                Inputs::Many(x) => x.into_vec().into_iter().for_each(&mut adopt),
            }
        }
    }
}

impl Tensor {
    /// Builds a node. Everything that can be wrong with it has been checked by the op.
    #[track_caller]
    pub(crate) fn make(op: Op, inputs: Inputs, shape: Shape, dtype: DType) -> Tensor {
        let (mut history, mut depth) = (false, 0);
        for x in inputs.as_slice() {
            history |= x.node().history;
            depth = depth.max(x.node().depth.load(Ordering::Relaxed));
        }
        let history = match op {
            Op::Leaf | Op::Random { .. } | Op::After => true,
            Op::StopGrad => false,
            _ => history && dtype.is_float(),
        };
        let depth = if matches!(op, Op::Leaf) { 0 } else { depth + 1 };
        let tensor = Tensor::from_node(Node {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            op,
            shape,
            dtype,
            site: Location::caller(),
            history,
            depth: AtomicU32::new(depth),
            state: Mutex::new(State { inputs, value: None, released: false }),
        });
        if eager() && !matches!(tensor.node().op, Op::Leaf) {
            if let Err(e) = exec::eval_roots(std::slice::from_ref(&tensor)) {
                fail(BuildError::new(tensor.node().op.name(), format!("{e} (GRADUS_EAGER=1)")));
            }
        } else if depth >= SOFT_CAP {
            // An error is not lost: the work stays pending, and whoever reads the value meets it again.
            let _: Result<(), Error> = exec::eval_roots(std::slice::from_ref(&tensor));
        }
        tensor
    }

    /// A leaf with a value.
    #[track_caller]
    pub(crate) fn leaf(value: Value, shape: Shape, dtype: DType) -> Tensor {
        let tensor = Tensor::make(Op::Leaf, Inputs::None, shape, dtype);
        tensor.node().set_value(value);
        tensor
    }
}

/// Hashes node ids, which are already distinct small numbers.
#[derive(Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
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

/// The nodes reachable from `roots`, oldest first. `enter` says whether to go on below a node.
pub(crate) fn reachable<'a>(
    roots: impl IntoIterator<Item = &'a Tensor>,
    mut enter: impl FnMut(&Tensor) -> bool,
) -> Vec<Tensor> {
    let mut seen: IdMap<()> = IdMap::default();
    let mut found = Vec::new();
    let mut stack: Vec<Tensor> = roots.into_iter().cloned().collect();
    while let Some(tensor) = stack.pop() {
        if seen.insert(tensor.id(), ()).is_some() {
            continue;
        }
        if enter(&tensor) {
            for x in tensor.node().inputs().as_slice() {
                if !seen.contains_key(&x.id()) {
                    stack.push(x.clone());
                }
            }
        }
        found.push(tensor);
    }
    found.sort_unstable_by_key(Tensor::id);
    found
}
