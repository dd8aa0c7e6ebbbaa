//! Capturing what is pending: the nodes without a value, and a key that says everything about the graph except the
//! numbers in it. Equal keys mean equal plans; constants, seeds and leaves are inputs of the plan, never part of it.

use super::Value;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::graph::{IdMap, Places, ROOM};
use crate::ops::Op;
use crate::shape::Shape;
use crate::tensor::Tensor;
use gradus_kernels::DType;
use std::collections::HashSet;
use std::ops::{Deref, Range};

/// Which values to keep, besides those asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// None.
    Roots,
    /// Those of nodes the user has handles on, where they are computed anyway.
    Held,
    /// All that are written to memory anyway.
    All,
}

/// A captured node.
pub(crate) struct Captured {
    pub tensor: Tensor,
    /// Positions of the inputs in [`Capture::nodes`].
    pub inputs: Positions,
    pub role: Role,
}

/// Positions of a node's inputs, few of them without an allocation.
pub(crate) enum Positions {
    Few(u8, [u32; 3]),
    Many(Box<[u32]>),
}

impl Positions {
    fn of(inputs: &[u64], position: &Places) -> Positions {
        let at = |id: &u64| position.get(*id).expect("the walk has been at every input") as u32;
        if inputs.len() > 3 {
            return Positions::Many(inputs.iter().map(at).collect());
        }
        let mut few = [0; 3];
        few.iter_mut().zip(inputs).for_each(|(few, x)| *few = at(x));
        Positions::Few(inputs.len() as u8, few)
    }
}

impl Deref for Positions {
    type Target = [u32];

    fn deref(&self) -> &[u32] {
        match self {
            Positions::Few(len, list) => &list[..usize::from(*len)],
            Positions::Many(list) => list,
        }
    }
}

/// What a captured node is to the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// To be computed.
    Pending,
    /// Known: the leaf with this number.
    Leaf(u32),
}

/// The pending part of a graph.
pub(crate) struct Capture {
    /// Where it is computed.
    pub device: Device,
    /// In order of creation: inputs before users.
    pub nodes: Vec<Captured>,
    pub leaves: Vec<Value>,
    /// Distinct numbers of the graph: constants, seeds, draw numbers.
    pub params: Vec<u64>,
    /// For each node that has some: its first parameter's position, and its second's.
    pub param_of: Vec<[u32; 2]>,
    /// Whether each node's value is to be kept: 3 asked for, 2 because it cannot be computed later, 1 if it is there
    /// anyway, 0 no.
    pub wanted: Vec<u8>,
    /// How often each node is an input of another.
    pub uses: Vec<usize>,
    /// For each node, how many of the spent handles are its own: none but of leaves.
    pub spent: Vec<usize>,
    /// Whether each node is spent, or depends on one that is.
    pub depends: Vec<bool>,
    pub key: Vec<u64>,
    /// Where in `key` each node's words start; its inputs are the last of them.
    key_at: Vec<usize>,
}

impl Capture {
    /// The pending graph below `roots`, which are all of one device or none; `None` if everything asked for is known.
    /// What depends on the leaves in `spent` and has a handle is asked for too, since it cannot be computed later.
    ///
    /// # Errors
    /// What moving a value to that device can give, and types that it does not have.
    pub fn new(roots: &[Tensor], spent: &[Tensor], keep: Keep) -> Result<Option<Capture>> {
        let pending: Vec<&Tensor> = roots.iter().filter(|r| !r.node().is_evaluated()).collect();
        if pending.is_empty() {
            return Ok(None);
        }
        crate::ops::forget_numbers();
        let mut walk = Walk::new(&pending);
        let device = settle(&pending, &mut walk.found)?;
        let count = walk.found.len();
        let mut capture = Capture {
            device,
            nodes: Vec::with_capacity(count),
            leaves: Vec::new(),
            params: Vec::new(),
            param_of: vec![[0; 2]; count],
            wanted: vec![0; count],
            uses: vec![0; count],
            spent: vec![0; count],
            depends: vec![false; count],
            key: Vec::with_capacity(count * 8),
            key_at: Vec::with_capacity(count + 1),
        };
        let mut given: IdMap<usize> = IdMap::default();
        spent.iter().for_each(|x| *given.entry(x.id()).or_default() += 1);
        let mut params: IdMap<u32> = IdMap::default();
        for at in walk.order {
            let found = walk.found[at as usize].take().expect("each once");
            let inputs = Positions::of(&walk.inputs[found.inputs], &walk.position);
            capture.append(found.tensor, inputs, found.value, &given, &mut params);
        }
        capture.key_at.push(capture.key.len());
        for root in pending {
            let at = walk.position.get(root.id()).expect("the walk began there");
            capture.wanted[at] = 3;
        }
        capture.want_held(keep);
        for word in capture.wanted.chunks(32) {
            let bits = word.iter().fold(0u64, |bits, &w| bits << 2 | u64::from(w));
            capture.key.push(bits);
        }
        capture.key.push(capture.device.number());
        Ok(Some(capture))
    }

    /// Takes the next node in. `given` says how many of the spent handles are each leaf's.
    fn append(
        &mut self,
        tensor: Tensor,
        inputs: Positions,
        value: Option<Value>,
        given: &IdMap<usize>,
        params: &mut IdMap<u32>,
    ) {
        let i = self.nodes.len();
        if value.is_some() && !given.is_empty() {
            self.spent[i] = given.get(&tensor.id()).copied().unwrap_or(0);
            self.depends[i] = self.spent[i] > 0;
        }
        for &x in inputs.iter() {
            self.uses[x as usize] += 1;
            self.depends[i] |= self.depends[x as usize];
        }
        let role = match value {
            Some(value) => {
                self.leaves.push(value);
                Role::Leaf(self.leaves.len() as u32 - 1)
            }
            None => Role::Pending,
        };
        self.key_at.push(self.key.len());
        self.encode(i, &tensor, &inputs, role, params);
        self.nodes.push(Captured { tensor, inputs, role });
    }

    /// Marks what `keep` says is to be kept besides the roots.
    fn want_held(&mut self, keep: Keep) {
        if keep == Keep::Roots {
            return;
        }
        let inside = self.inside_checkpoints();
        for (i, captured) in self.nodes.iter().enumerate() {
            // Besides those of the user there is one handle in `nodes`, and one for each use in the graph.
            let held = || captured.tensor.handles() > 1 + self.uses[i];
            if self.wanted[i] == 0 && !inside[i] && (keep == Keep::All || held()) {
                self.wanted[i] = if self.depends[i] { 2 } else { 1 };
            }
        }
    }

    /// The nodes of checkpoints' segments: their values are to be computed again, so they are not kept for later.
    fn inside_checkpoints(&self) -> Vec<bool> {
        let mut inside = vec![false; self.nodes.len()];
        // Newest first, so that the outermost of nested segments marks the others.
        for node in self.nodes.iter().rev() {
            let (Op::Checkpoint, Some((&end, given))) = (&node.tensor.node().op, node.inputs.split_first())
            else {
                continue;
            };
            let given: HashSet<u32> = given.iter().copied().collect();
            let mut stack = vec![end];
            while let Some(i) = stack.pop() {
                if !inside[i as usize] && !given.contains(&i) {
                    inside[i as usize] = true;
                    stack.extend(self.nodes[i as usize].inputs.iter());
                }
            }
        }
        inside
    }

    fn param(&mut self, bits: u64, index: &mut IdMap<u32>) -> u32 {
        *index.entry(bits).or_insert_with(|| {
            self.params.push(bits);
            self.params.len() as u32 - 1
        })
    }

    fn encode(&mut self, i: usize, x: &Tensor, inputs: &[u32], role: Role, params: &mut IdMap<u32>) {
        let dtype = x.dtype() as u64;
        if let Role::Leaf(leaf) = role {
            let aligned = u64::from(self.leaves[leaf as usize].is_aligned());
            self.key.push(255 | dtype << 8 | (x.rank() as u64) << 16 | aligned << 32);
            self.key.extend(x.shape().iter().map(|&d| d as u64));
            return;
        }
        let (code, attributes) = match &x.node().op {
            Op::Full(bits) | Op::Number(bits) => {
                self.param_of[i][0] = self.param(*bits, params);
                (1, Attributes::One(u64::from(self.param_of[i][0])))
            }
            Op::Random { kind, seed, draw } => {
                self.param_of[i] = [self.param(*seed, params), self.param(*draw, params)];
                let [seed, draw] = self.param_of[i].map(u64::from);
                (2, Attributes::One(*kind as u64 | seed << 8 | draw << 32))
            }
            op => attributes(op, x.rank()),
        };
        let head = code | dtype << 8 | (x.rank() as u64) << 16 | (inputs.len() as u64) << 32;
        self.key.push(head);
        self.key.extend(x.shape().iter().map(|&d| d as u64));
        match attributes {
            Attributes::None => {}
            Attributes::One(word) => self.key.push(word),
            Attributes::Many(words) => self.key.extend(words),
        }
        self.key.extend(inputs.iter().map(|&x| u64::from(x)));
    }

    /// The words that say what node `i` computes, its inputs left out.
    pub fn words(&self, i: usize) -> &[u64] {
        &self.key[self.key_at[i]..self.key_at[i + 1] - self.nodes[i].inputs.len()]
    }

    pub fn shape(&self, i: u32) -> &Shape {
        self.nodes[i as usize].tensor.shape()
    }

    pub fn op(&self, i: u32) -> &Op {
        &self.nodes[i as usize].tensor.node().op
    }
}

impl Drop for Capture {
    /// The newest first: by then nobody uses a node, and one after the other is freed by itself.
    fn drop(&mut self) {
        while let Some(captured) = self.nodes.pop() {
            captured.tensor.recycle();
        }
    }
}

enum Attributes {
    None,
    One(u64),
    Many(Vec<u64>),
}

/// A number for the op and the words that tell its variants apart.
fn attributes(op: &Op, rank: usize) -> (u64, Attributes) {
    use Attributes::{Many, None, One};
    match op {
        Op::Leaf => (0, None),
        Op::Full(_) | Op::Number(_) | Op::Random { .. } => unreachable!("their numbers are parameters"),
        Op::Index => (3, None),
        Op::Unary(u) => (4, One(*u as u64)),
        Op::Binary(b) => (5, One(*b as u64)),
        Op::Select => (6, None),
        Op::Cast => (7, None),
        Op::Reshape => (8, None),
        Op::Permute(axes) => (9, One(u64::from_le_bytes(*axes))),
        Op::Expand => (10, None),
        Op::Slice(s) => {
            let start = s.start[..rank].iter().map(|&v| v as u64);
            (11, Many(start.chain(s.step[..rank].iter().map(|&v| v as u64)).collect()))
        }
        Op::Window(w) => (12, Many(vec![w.axis as u64, w.size as u64, w.stride as u64, w.dilation as u64])),
        Op::Fold(w, len) => {
            (13, Many(vec![w.axis as u64, w.size as u64, w.stride as u64, w.dilation as u64, *len as u64]))
        }
        Op::Pad(p) => {
            let all = p.before[..rank].iter().chain(&p.after[..rank]).chain(&p.between[..rank]);
            (14, Many(all.map(|&v| v as u64).collect()))
        }
        Op::Cat(axis) => (15, One(u64::from(*axis))),
        Op::Reduce(r, mask) => (16, One(*r as u64 | u64::from(*mask) << 8)),
        Op::Matmul => (17, None),
        Op::Conv(c) => (18, Many(conv_words(c))),
        Op::ConvInput(c) => (19, Many(conv_words(c))),
        Op::ConvWeight(c) => (20, Many(conv_words(c))),
        Op::Gather(axis) => (21, One(u64::from(*axis))),
        Op::ScatterAdd(axis, len) => (22, Many(vec![u64::from(*axis), *len as u64])),
        Op::Cumsum(axis) => (23, One(u64::from(*axis))),
        Op::Argsort { axis, descending } => (24, One(u64::from(*axis) << 1 | u64::from(*descending))),
        Op::StopGrad => (25, None),
        Op::Checkpoint => (26, None),
        Op::After => (27, None),
    }
}

fn conv_words(c: &gradus_kernels::conv::Conv) -> Vec<u64> {
    let lists = [c.input, c.kernel, c.output, c.stride, c.padding, c.dilation];
    let single = [c.batch, c.groups, c.in_channels, c.out_channels];
    single.into_iter().chain(lists.into_iter().flatten()).map(|v| v as u64).collect()
}

/// A node that the walk has found.
struct Found {
    tensor: Tensor,
    value: Option<Value>,
    /// Where the ids of its inputs stand in [`Walk::inputs`].
    inputs: Range<usize>,
}

/// The nodes below some roots down to those with a value.
struct Walk {
    /// As they were met.
    found: Vec<Option<Found>>,
    /// Where the nodes stand in `found`, the oldest first.
    order: Vec<u32>,
    /// Where each node stands in `order`.
    position: Places,
    inputs: Vec<u64>,
}

/// Finds where a graph is computed, and brings there what lies elsewhere: values of nodes that belong to no device.
fn settle(roots: &[&Tensor], all: &mut [Option<Found>]) -> Result<Device> {
    let owner = roots.iter().find_map(|x| x.node().device.clone());
    let away = || {
        let values = all.iter().flatten().filter_map(|found| found.value.as_ref());
        values.map(Value::device).find(|device| !device.is_cpu())
    };
    let device = owner.or_else(away).or_else(Device::scoped).unwrap_or(Device::cpu());
    for Found { tensor, value, .. } in all.iter_mut().flatten() {
        match value {
            Some(value) if !value.lies_on(&device) => {
                *value = value.on(&device, tensor.shape(), tensor.dtype())?;
                tensor.node().set_value(value.clone());
            }
            None if matches!(tensor.node().op, Op::Leaf) => {
                let site = tensor.node().site;
                let reason =
                    format!("the tensor made at {site} was read while a step of an optimizer changed it");
                return Err(Error::Released { reason });
            }
            None if tensor.dtype() == DType::F64 && !device.is_cpu() => {
                let (op, site) = (tensor.node().op.name(), tensor.node().site);
                let what = format!("{op}: {device} computes in f32, not f64 (written at {site})");
                return Err(Error::Unsupported { what });
            }
            _ => {}
        }
    }
    Ok(device)
}

impl Walk {
    fn new(roots: &[&Tensor]) -> Walk {
        let mut position = Places::new(roots.iter().map(|x| x.id()).max().unwrap_or(0));
        let mut found: Vec<Option<Found>> = Vec::with_capacity(ROOM);
        let mut ids: Vec<u64> = Vec::with_capacity(2 * ROOM);
        let mut stack: Vec<Tensor> = Vec::with_capacity(ROOM);
        let mut meet = |x: &Tensor, stack: &mut Vec<Tensor>| {
            if position.insert(x.id(), 0) {
                stack.push(x.clone());
            }
        };
        roots.iter().for_each(|root| meet(root, &mut stack));
        while let Some(tensor) = stack.pop() {
            let first = ids.len();
            let value = tensor.node().value_or_inputs(|inputs| {
                for x in inputs {
                    ids.push(x.id());
                    meet(x, &mut stack);
                }
            });
            found.push(Some(Found { tensor, value, inputs: first..ids.len() }));
        }
        for (i, found) in found.iter().flatten().enumerate() {
            position.insert(found.tensor.id(), i);
        }
        let order = position.renumber(found.len());
        Walk { found, order, position, inputs: ids }
    }
}
