//! Capturing what is pending: the nodes without a value, and a key that says everything about the graph except the
//! numbers in it. Equal keys mean equal plans; constants, seeds and leaves are inputs of the plan, never part of it.

use super::Value;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::graph::{IdMap, Places, ROOM, in_order};
use crate::ops::Op;
use crate::shape::Shape;
use crate::tensor::Tensor;
use gradus_kernels::DType;
use std::collections::HashSet;
use std::ops::{Deref, DerefMut, Range};

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
    /// Positions in [`Capture::params`] of the first and the second number that it has, if any.
    pub params: [u32; 2],
    /// Whether its value is to be kept: 3 asked for, 2 because it cannot be computed later, 1 if it is there anyway, 0
    /// no.
    pub wanted: u8,
    /// How often it is an input of another.
    pub uses: usize,
    /// How many of the spent handles are its own: none but of leaves.
    pub spent: usize,
    /// Whether it is spent, or depends on one that is.
    pub depends: bool,
    /// Where the words that say what it computes stand in the key.
    words: Range<usize>,
}

/// Positions of a node's inputs, few of them without an allocation.
pub(crate) enum Positions {
    Few(u8, [u32; 3]),
    Many(Box<[u32]>),
}

impl Positions {
    fn of(inputs: &[Tensor], at: impl FnMut(&Tensor) -> u32) -> Positions {
        if inputs.len() > 3 {
            return Positions::Many(inputs.iter().map(at).collect());
        }
        let mut few = [0; 3];
        few.iter_mut().zip(inputs.iter().map(at)).for_each(|(few, at)| *few = at);
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

impl DerefMut for Positions {
    fn deref_mut(&mut self) -> &mut [u32] {
        match self {
            Positions::Few(len, list) => &mut list[..usize::from(*len)],
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
    /// Inputs before users.
    pub nodes: Vec<Captured>,
    pub leaves: Vec<Value>,
    /// Distinct numbers of the graph: constants, seeds, draw numbers.
    pub params: Vec<u64>,
    pub key: Vec<u64>,
}

impl Capture {
    /// The pending graph below `roots`, which are all of one device or none; `None` if everything asked for is known.
    /// What depends on the leaves in `spent` and has a handle is asked for too, since it cannot be computed later.
    ///
    /// # Errors
    /// What moving a value to that device can give, and types that it does not have.
    pub fn new(roots: &[Tensor], spent: &[Tensor], keep: Keep) -> Result<Option<Capture>> {
        crate::ops::forget_numbers();
        let (nodes, mut leaves) = Few::below(roots).unwrap_or_else(|| Walk::below(roots));
        if nodes.is_empty() {
            return Ok(None);
        }
        let device = settle(&nodes, &mut leaves)?;
        let (params, key) = (Vec::new(), Vec::with_capacity(nodes.len() * 8));
        let mut capture = Capture { device, leaves, params, key, nodes };
        let mut given: IdMap<usize> = IdMap::default();
        spent.iter().for_each(|x| *given.entry(x.id()).or_default() += 1);
        let mut params: IdMap<u32> = IdMap::default();
        for i in 0..capture.nodes.len() {
            capture.look_at(i, &given);
            capture.encode(i, &mut params);
        }
        capture.want_held(keep);
        for nodes in capture.nodes.chunks(32) {
            capture.key.push(nodes.iter().fold(0, |bits, node| bits << 2 | u64::from(node.wanted)));
        }
        capture.key.push(capture.device.number());
        Ok(Some(capture))
    }

    /// Sees who uses what in node `i`, the ones before it done. `given` says how many of the spent handles are each leaf's.
    fn look_at(&mut self, i: usize, given: &IdMap<usize>) {
        let (before, rest) = self.nodes.split_at_mut(i);
        let node = &mut rest[0];
        if matches!(node.role, Role::Leaf(_)) && !given.is_empty() {
            node.spent = given.get(&node.tensor.id()).copied().unwrap_or(0);
            node.depends = node.spent > 0;
        }
        for &x in node.inputs.iter() {
            before[x as usize].uses += 1;
            node.depends |= before[x as usize].depends;
        }
    }

    /// Marks what `keep` says is to be kept besides the roots.
    fn want_held(&mut self, keep: Keep) {
        if keep == Keep::Roots {
            return;
        }
        let inside = self.inside_checkpoints();
        for (i, node) in self.nodes.iter_mut().enumerate() {
            // Besides those of the user there is one handle here, and one for each use in the graph.
            let held = node.tensor.handles() > 1 + node.uses;
            if node.wanted == 0 && inside.get(i) != Some(&true) && (keep == Keep::All || held) {
                node.wanted = if node.depends { 2 } else { 1 };
            }
        }
    }

    /// The nodes of checkpoints' segments, if there are any: their values are to be computed again, so they are not kept
    /// for later.
    fn inside_checkpoints(&self) -> Vec<bool> {
        let mut inside = Vec::new();
        // Newest first, so that the outermost of nested segments marks the others.
        for node in self.nodes.iter().rev() {
            let (Op::Checkpoint, Some((&end, given))) = (&node.tensor.node().op, node.inputs.split_first())
            else {
                continue;
            };
            inside.resize(self.nodes.len(), false);
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

    /// Adds to the key what node `i` is. `known` says where the numbers met before stand.
    fn encode(&mut self, i: usize, known: &mut IdMap<u32>) {
        let Capture { nodes, leaves, params, key, .. } = self;
        let Captured { tensor: x, inputs, role, params: own, words, .. } = &mut nodes[i];
        let (start, dtype) = (key.len(), x.dtype() as u64);
        if let Role::Leaf(leaf) = role {
            let aligned = u64::from(leaves[*leaf as usize].is_aligned());
            key.push(255 | dtype << 8 | (x.rank() as u64) << 16 | aligned << 32);
            key.extend(x.shape().iter().map(|&d| d as u64));
            *words = start..key.len();
            return;
        }
        let mut param = |bits: u64| {
            *known.entry(bits).or_insert_with(|| {
                params.push(bits);
                params.len() as u32 - 1
            })
        };
        let (code, attributes) = match &x.node().op {
            Op::Full(bits) | Op::Number(bits) => {
                own[0] = param(*bits);
                (1, Attributes::One(u64::from(own[0])))
            }
            Op::Random { kind, seed, draw } => {
                *own = [param(*seed), param(*draw)];
                let [seed, draw] = own.map(u64::from);
                (2, Attributes::One(*kind as u64 | seed << 8 | draw << 32))
            }
            op => attributes(op, x.rank()),
        };
        let head = code | dtype << 8 | (x.rank() as u64) << 16 | (inputs.len() as u64) << 32;
        key.push(head);
        key.extend(x.shape().iter().map(|&d| d as u64));
        match attributes {
            Attributes::None => {}
            Attributes::One(word) => key.push(word),
            Attributes::Many(list) => key.extend(list),
        }
        *words = start..key.len();
        key.extend(inputs.iter().map(|&x| u64::from(x)));
    }

    /// The words that say what node `i` computes, its inputs left out.
    pub fn words(&self, i: usize) -> &[u64] {
        &self.key[self.nodes[i].words.clone()]
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

impl Captured {
    fn new(tensor: &Tensor, role: Role) -> Captured {
        Captured {
            tensor: tensor.clone(),
            inputs: Positions::Few(0, [0; 3]),
            role,
            params: [0; 2],
            wanted: 0,
            uses: 0,
            spent: 0,
            depends: false,
            words: 0..0,
        }
    }
}

/// How many nodes a small graph has at most.
const FEW: usize = 8;

/// The nodes of a small graph, as one operation by itself is, found without a table of places or a sort: each after those
/// that it is computed from.
struct Few {
    nodes: Vec<Captured>,
    leaves: Vec<Value>,
    /// How many nodes were met, which bounds the recursion.
    met: usize,
}

impl Few {
    /// The nodes below those of `roots` whose values are not known, which are marked as wanted, and the values that are
    /// known; `None` where they are more than a few.
    fn below(roots: &[Tensor]) -> Option<(Vec<Captured>, Vec<Value>)> {
        let mut few = Few { nodes: Vec::with_capacity(FEW), leaves: Vec::with_capacity(FEW), met: 0 };
        for root in roots.iter().filter(|root| !root.node().is_evaluated()) {
            let at = few.place(root)?;
            few.nodes[at as usize].wanted = 3;
        }
        Some((few.nodes, few.leaves))
    }

    /// Where a node stands in the list.
    fn place(&mut self, x: &Tensor) -> Option<u32> {
        if let Some(at) = self.nodes.iter().position(|node| node.tensor.id() == x.id()) {
            return Some(at as u32);
        }
        self.met += 1;
        if self.met > FEW {
            return None;
        }
        let (mut node, mut fits) = (Captured::new(x, Role::Pending), true);
        let value = x.node().value_or_inputs(|inputs| {
            node.inputs = Positions::of(inputs, |input| {
                let at = self.place(input);
                fits &= at.is_some();
                at.unwrap_or(0)
            });
        });
        if let Some(value) = value {
            node.role = Role::Leaf(self.leaves.len() as u32);
            self.leaves.push(value);
        }
        self.nodes.push(node);
        fits.then_some(self.nodes.len() as u32 - 1)
    }
}

/// A walk over the nodes below some roots down to those with a value.
struct Walk {
    nodes: Vec<Captured>,
    leaves: Vec<Value>,
    /// Where each node stands in `nodes`.
    position: Places,
}

impl Walk {
    /// Walks down from those of `roots` whose values are not known, and marks them as wanted. Gives the nodes, oldest first,
    /// and the values that are known, in the same order.
    fn below(roots: &[Tensor]) -> (Vec<Captured>, Vec<Value>) {
        let mut walk = Walk {
            nodes: Vec::with_capacity(ROOM),
            leaves: Vec::with_capacity(ROOM),
            position: Places::new(roots.iter().map(Tensor::id).max().unwrap_or(0)),
        };
        for root in roots.iter().filter(|root| !root.node().is_evaluated()) {
            let at = walk.meet(root);
            walk.nodes[at as usize].wanted = 3;
        }
        let mut next = 0;
        while next < walk.nodes.len() {
            walk.look_below(next);
            next += 1;
        }
        walk.sorted()
    }

    /// Where a node stands in the list, at whose end it is put at the first meeting.
    fn meet(&mut self, x: &Tensor) -> u32 {
        if let Some(at) = self.position.get(x.id()) {
            return at as u32;
        }
        let at = self.nodes.len();
        self.position.insert(x.id(), at);
        self.nodes.push(Captured::new(x, Role::Pending));
        at as u32
    }

    /// Meets the inputs of a node unless its value is known.
    fn look_below(&mut self, at: usize) {
        let tensor = self.nodes[at].tensor.clone();
        let mut inputs = Positions::Few(0, [0; 3]);
        let value = tensor.node().value_or_inputs(|list| inputs = Positions::of(list, |x| self.meet(x)));
        self.nodes[at].inputs = inputs;
        if let Some(value) = value {
            self.nodes[at].role = Role::Leaf(self.leaves.len() as u32);
            self.leaves.push(value);
        }
    }

    /// Brings the nodes into the order of creation, and with them all that speaks of their positions.
    fn sorted(self) -> (Vec<Captured>, Vec<Value>) {
        let order = self.position.oldest_first();
        let mut rank = vec![0; order.len()];
        for (new, &old) in order.iter().enumerate() {
            rank[old as usize] = new as u32;
        }
        let mut nodes = in_order(self.nodes, &order);
        let mut known: Vec<Option<Value>> = self.leaves.into_iter().map(Some).collect();
        let mut leaves = Vec::with_capacity(known.len());
        for node in &mut nodes {
            node.inputs.iter_mut().for_each(|at| *at = rank[*at as usize]);
            if let Role::Leaf(leaf) = &mut node.role {
                let value = known[*leaf as usize].take();
                *leaf = leaves.len() as u32;
                leaves.extend(value);
            }
        }
        (nodes, leaves)
    }
}

/// Finds where a graph is computed, and brings there what lies elsewhere: values of nodes that belong to no device.
fn settle(nodes: &[Captured], leaves: &mut [Value]) -> Result<Device> {
    let owner = nodes.iter().filter(|node| node.wanted == 3).find_map(|node| node.tensor.device());
    let away = || leaves.iter().map(Value::device).find(|d| !d.is_cpu());
    let device = owner.or_else(away).or_else(Device::scoped).unwrap_or(Device::cpu());
    for Captured { tensor, role, .. } in nodes {
        if let Role::Leaf(leaf) = *role {
            let value = &mut leaves[leaf as usize];
            if !value.lies_on(&device) {
                *value = value.on(&device, tensor.shape(), tensor.dtype())?;
                tensor.node().set_value(value.clone());
            }
            continue;
        }
        let site = tensor.node().site;
        if matches!(tensor.node().op, Op::Leaf) {
            let reason =
                format!("the tensor made at {site} was read while a step of an optimizer changed it");
            return Err(Error::Released { reason });
        }
        if tensor.dtype() == DType::F64 && !device.is_cpu() {
            let op = tensor.node().op.name();
            let what = format!("{op}: {device} computes in f32, not f64 (written at {site})");
            return Err(Error::Unsupported { what });
        }
    }
    Ok(device)
}
