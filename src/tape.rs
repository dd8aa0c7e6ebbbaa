//! The expression graph to look at: as text, as DOT for Graphviz, and as an SVG picture.
//!
//! ```
//! use gradus::{Tensor, grad, tape::Tape};
//! let (a, b) = (Tensor::from(2.0f64), Tensor::from(3.0f64));
//! let y = &a * &b;
//! let da = grad(&y, [&a]).remove(0);
//! let tape = Tape::of([&y, &da]).name(&a, "a").name(&b, "b");
//! println!("{}", tape.to_text());
//! # assert!(tape.to_text().contains("mul %0 %1"));
//! ```
//!
//! [`record`] shows what is evaluated, an optimizer's step say, with the kernels that compute it.

mod dot;
mod layout;
mod picture;
mod svg;
mod text;

pub use picture::Detail;
pub use svg::svg;

use crate::graph::{IdMap, UPDATE, reachable};
use crate::ops::Op;
use crate::shape::Shape;
use crate::tensor::Tensor;
use gradus_kernels::DType;
use std::cell::RefCell;
use std::panic::Location;

/// Which part of a computation a node belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// What the user wrote.
    Expression,
    /// What `grad` wrote: the order of the derivative. What is made of a derivative has its order.
    Derivative(u8),
    /// What an optimizer wrote.
    Update,
}

impl Part {
    /// In words.
    pub fn name(self) -> String {
        match self {
            Part::Expression => String::from("expression"),
            Part::Derivative(1) => String::from("first derivative"),
            Part::Derivative(2) => String::from("second derivative"),
            Part::Derivative(n) => format!("derivative of order {n}"),
            Part::Update => String::from("update"),
        }
    }
}

/// A node of the graph.
#[derive(Clone, Debug)]
pub struct Node {
    id: u64,
    /// The name of the operation; `leaf` for a value that is given.
    pub op: &'static str,
    /// What else belongs to the operation: a number, axes, strides. May be empty.
    pub attributes: String,
    /// The extents of the result.
    pub shape: Shape,
    /// The type of its elements.
    pub dtype: DType,
    /// Positions of the inputs in [`Tape::nodes`], all before this one.
    pub inputs: Vec<usize>,
    /// Which part it belongs to.
    pub part: Part,
    /// The source line that made it; for a derivative, the line that is differentiated.
    pub site: &'static Location<'static>,
    /// What it was called with [`Tape::name`].
    pub name: Option<String>,
    /// The number of its kernel in [`Tape::kernels`]: none for leaves, views and what was not planned.
    pub kernel: Option<usize>,
    /// Whether its value was asked for.
    pub is_output: bool,
    /// One number for all elements, where the node is that.
    pub constant: Option<f64>,
}

impl Node {
    /// Whether its value is given.
    pub fn is_leaf(&self) -> bool {
        self.op == "leaf"
    }
}

/// One kernel of a plan.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// What it is, with its sizes: `gemm NT 128x784x400 x1 + map`.
    pub text: String,
    /// Multiplications and additions of products and convolutions; 0 for others.
    pub flops: f64,
    /// Bytes of its operands.
    pub bytes: usize,
    /// Positions in [`Tape::nodes`] of what it computes.
    pub nodes: Vec<usize>,
}

/// A graph, oldest node first, and the kernels that compute it where it was recorded.
#[derive(Clone, Debug, Default)]
pub struct Tape {
    nodes: Vec<Node>,
    kernels: Vec<Kernel>,
}

impl Tape {
    /// Everything that `outputs` are made of.
    pub fn of<'a>(outputs: impl IntoIterator<Item = &'a Tensor>) -> Tape {
        Tape::between(outputs, [])
    }

    /// What `outputs` are made of, down to `inputs`, which are shown as leaves.
    pub fn between<'a>(
        outputs: impl IntoIterator<Item = &'a Tensor>,
        inputs: impl IntoIterator<Item = &'a Tensor>,
    ) -> Tape {
        let outputs: Vec<&Tensor> = outputs.into_iter().collect();
        let given: IdMap<()> = inputs.into_iter().map(|x| (x.id(), ())).collect();
        let mut tape = Tape::default();
        let mut position: IdMap<usize> = IdMap::default();
        for x in reachable(outputs.iter().copied(), |x| !given.contains_key(&x.id())) {
            let held = x.node().inputs();
            let known = given.contains_key(&x.id());
            let inputs = if known { &[][..] } else { held.as_slice() };
            let inputs: Vec<usize> = inputs.iter().map(|i| position[&i.id()]).collect();
            position.insert(x.id(), tape.push(&x, inputs, known));
        }
        outputs.iter().for_each(|y| tape.set_output(position[&y.id()]));
        tape
    }

    /// The nodes, oldest first.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The kernels in the order in which they run; none where the tape was not recorded.
    pub fn kernels(&self) -> &[Kernel] {
        &self.kernels
    }

    /// Calls the node of `x` by a name, if it is there.
    pub fn name(mut self, x: &Tensor, name: &str) -> Tape {
        if let Some(node) = self.nodes.iter_mut().find(|n| n.id == x.id()) {
            node.name = Some(name.to_string());
        }
        self
    }

    /// The tape without nodes that `wanted` denies: what they gave to others is shown as a leaf.
    pub fn only(&self, wanted: impl Fn(&Node) -> bool) -> Tape {
        let keep: Vec<bool> = self.nodes.iter().map(|n| !n.is_leaf() && wanted(n)).collect();
        let mut used = keep.clone();
        for (i, node) in self.nodes.iter().enumerate().filter(|&(i, _)| keep[i]) {
            node.inputs.iter().for_each(|&x| used[x] = true);
            // A leaf asked for is part of the answer.
            used[i] = true;
        }
        let mut new = vec![usize::MAX; self.nodes.len()];
        let mut tape = Tape::default();
        for (i, node) in self.nodes.iter().enumerate().filter(|&(i, _)| used[i]) {
            new[i] = tape.nodes.len();
            let mut node = node.clone();
            if !keep[i] && node.constant.is_none() {
                (node.op, node.attributes) = ("leaf", String::new());
            }
            node.inputs = if keep[i] { node.inputs.iter().map(|&x| new[x]).collect() } else { vec![] };
            node.kernel = None;
            tape.nodes.push(node);
        }
        for kernel in &self.kernels {
            let nodes: Vec<usize> = kernel.nodes.iter().filter(|&&i| keep[i]).map(|&i| new[i]).collect();
            if !nodes.is_empty() {
                tape.push_kernel(Kernel { nodes, ..kernel.clone() });
            }
        }
        tape
    }

    /// Appends a node; gives its position. `known`: its value is given, however it was made.
    pub(crate) fn push(&mut self, x: &Tensor, inputs: Vec<usize>, known: bool) -> usize {
        let node = x.node();
        let constant = match &node.op {
            Op::Full(bits) | Op::Number(bits) if node.dtype.is_float() => Some(f64::from_bits(*bits)),
            Op::Full(bits) | Op::Number(bits) => Some(*bits as i64 as f64),
            // The same number seen under another shape.
            Op::Expand | Op::Reshape => inputs.first().and_then(|&i| self.nodes[i].constant),
            _ => None,
        };
        self.nodes.push(Node {
            id: node.id,
            op: if known { "leaf" } else { node.op.name() },
            attributes: if known { String::new() } else { attributes(&node.op) },
            shape: node.shape,
            dtype: node.dtype,
            inputs,
            part: match node.part {
                0 => Part::Expression,
                UPDATE => Part::Update,
                n => Part::Derivative(n),
            },
            site: node.site,
            name: None,
            kernel: None,
            is_output: false,
            constant: constant.filter(|_| !known),
        });
        self.nodes.len() - 1
    }

    pub(crate) fn set_output(&mut self, at: usize) {
        self.nodes[at].is_output = true;
    }

    /// What several kernels compute, each for itself, is shown with the first.
    pub(crate) fn push_kernel(&mut self, mut kernel: Kernel) {
        let number = self.kernels.len();
        kernel.nodes.retain(|&i| self.nodes[i].kernel.is_none());
        kernel.nodes.iter().for_each(|&i| self.nodes[i].kernel = Some(number));
        self.kernels.push(kernel);
    }
}

/// What belongs to an operation besides its name and inputs, briefly.
fn attributes(op: &Op) -> String {
    let axes = |mask: u32| {
        let list: Vec<String> = (0..32).filter(|a| mask >> a & 1 == 1).map(|a| a.to_string()).collect();
        format!("axes {}", list.join(", "))
    };
    match op {
        Op::Reduce(_, mask) => axes(*mask),
        Op::Cat(axis) | Op::Gather(axis) | Op::ScatterAdd(axis, _) | Op::Cumsum(axis) => {
            format!("axis {axis}")
        }
        Op::Argsort { axis, .. } => format!("axis {axis}"),
        Op::Window(w) | Op::Fold(w, _) => format!("axis {}, size {}, stride {}", w.axis, w.size, w.stride),
        Op::Conv(c) | Op::ConvInput(c) | Op::ConvWeight(c) => {
            format!("stride {}, padding {}", c.stride[0], c.padding[0])
        }
        _ => String::new(),
    }
}

thread_local! {
    /// The tapes of evaluations on this thread, while they are recorded.
    static RECORDED: RefCell<Option<Vec<Tape>>> = const { RefCell::new(None) };
}

/// Runs `f` and returns, with its result, the tape of each evaluation in it on this thread, kernels included. Equal nodes
/// are one node there, and what nothing wanted depends on is left out.
///
/// ```
/// use gradus::{Tensor, tape::record};
/// let x = Tensor::from([1.0f32, 2.0]);
/// let (sum, tapes) = record(|| (x.exp() + 1.0).sum(..).item());
/// assert_eq!(tapes[0].kernels().len(), 1);        // exp and + run within the sum
/// # sum?;
/// # Ok::<(), gradus::Error>(())
/// ```
pub fn record<T>(f: impl FnOnce() -> T) -> (T, Vec<Tape>) {
    let outer = RECORDED.replace(Some(Vec::new()));
    let result = f();
    (result, RECORDED.replace(outer).unwrap_or_default())
}

/// Whether evaluations on this thread are recorded.
pub(crate) fn recording() -> bool {
    RECORDED.with_borrow(Option::is_some)
}

/// Adds the tape of an evaluation to what is recorded.
pub(crate) fn keep(tape: Tape) {
    RECORDED.with_borrow_mut(|tapes| tapes.iter_mut().for_each(|tapes| tapes.push(tape.clone())));
}
