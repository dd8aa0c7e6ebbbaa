//! The plan of a graph: which kernels to run, in which order, on which buffers.

use super::capture::{Capture, Role};
use super::fuse::Groups;
use super::{Operand, Place, recompute, sums};
use crate::ops::{Op, WindowSpec, layout};
use crate::shape::{Layout, Shape};
use gradus_kernels::DType;
use gradus_kernels::conv::Conv;
use gradus_kernels::gemm::{BatchAxis, Gemm};
use gradus_kernels::program::Program;
use gradus_kernels::reduce::Reduction;
use std::collections::HashMap;

/// A plan: replayed for every graph with the same key.
pub(crate) struct Plan {
    pub steps: Vec<Step>,
    /// Number and type of the elements of each slot.
    pub slots: Vec<(usize, DType)>,
    /// Values to keep: node, where it lies, and the offset of its first element.
    pub outputs: Vec<(u32, Place, usize)>,
}

/// One kernel with its operands.
pub(crate) struct Step {
    pub kernel: Kernel,
    /// The kernels whose work it does, where it does that of several: those that a GPU runs as one.
    pub parts: Vec<Kernel>,
    /// The node whose result this is, for messages.
    pub node: u32,
    /// All nodes that it computes, for pictures.
    pub nodes: Vec<u32>,
    /// Slots that begin here, and what each may take over the memory of: a slot that ends here, or a leaf that no later
    /// step reads, if whoever owns it has given it up.
    pub begins: Vec<(u32, Option<Place>)>,
    /// Slots that nothing needs afterwards.
    pub ends: Vec<u32>,
    /// Float results, for the guard: slot, elements, type.
    pub results: Vec<(u32, usize, DType)>,
}

/// A fused pointwise program over a space.
pub(crate) struct MapStep {
    pub program: Program,
    pub shape: Shape,
    pub inputs: Vec<(Operand, DType)>,
    pub outputs: Vec<(Operand, DType)>,
}

/// Which of the three convolutions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConvForm {
    Forward,
    Input,
    Weight,
}

/// The narrow waist: all that a backend has to know.
pub(crate) enum Kernel {
    Map(MapStep),
    Reduce {
        program: Program,
        reduction: Reduction,
        shape: Shape,
        axes: u32,
        inputs: Vec<(Operand, DType)>,
        out: u32,
    },
    Gemm {
        gemm: Gemm,
        dtype: DType,
        a: Operand,
        b: Operand,
        /// The operands of products of the same shape and strides that are added, in this order.
        more: Vec<[Operand; 2]>,
        out: u32,
        /// A slot for the sums of the rows of `a`, which a GPU makes on the way.
        row_sums: Option<u32>,
        epilogue: Option<MapStep>,
    },
    Conv {
        form: ConvForm,
        conv: Conv,
        dtype: DType,
        a: Operand,
        b: Operand,
        out: u32,
        epilogue: Option<MapStep>,
    },
    /// Strided copies into one buffer, zeroed first where they do not cover it.
    Copies {
        zero: bool,
        dtype: DType,
        out: u32,
        parts: Vec<(Shape, Operand, Layout)>,
    },
    Gather {
        axis: usize,
        len: usize,
        shape: Shape,
        x: Operand,
        index: Operand,
        types: [DType; 2],
        out: u32,
    },
    ScatterAdd {
        axis: usize,
        len: usize,
        shape: Shape,
        src: Operand,
        index: Operand,
        types: [DType; 2],
        out: u32,
    },
    Fold {
        spec: WindowSpec,
        len: usize,
        shape: Shape,
        dtype: DType,
        x: Operand,
        out: u32,
    },
    Cumsum {
        axis: usize,
        shape: Shape,
        dtype: DType,
        x: Operand,
        out: u32,
    },
    Argsort {
        axis: usize,
        descending: bool,
        shape: Shape,
        dtype: DType,
        x: Operand,
        out: u32,
    },
}

/// What a node is to the planner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// A known value.
    Leaf,
    /// One number for all elements.
    Full,
    /// Pointwise.
    Map,
    /// A view that only a copy can make, or that is wanted in its own right.
    Copy,
    /// The elements of another node, seen otherwise.
    View,
    /// Everything else: a kernel of its own.
    Heavy,
}

/// The graph with equal nodes merged and views resolved.
pub(super) struct Ir<'a> {
    pub capture: &'a Capture,
    /// The node that stands for each node: itself, an equal older one, or what it is an alias of.
    pub same: Vec<u32>,
    pub class: Vec<Class>,
    /// The node in whose buffer each node's elements lie, and how.
    pub source: Vec<(u32, Layout)>,
    /// Whether anything wanted depends on the node.
    pub live: Vec<bool>,
    /// Whether the users of a node compute it for themselves, and no kernel does it for them. Products are so, where their
    /// sum is: see [`super::sums`].
    pub recomputed: Vec<bool>,
}

fn class_of(op: &Op) -> Class {
    match op {
        Op::Leaf => Class::Leaf,
        Op::Full(_) | Op::Number(_) => Class::Full,
        Op::Index | Op::Random { .. } | Op::Unary(_) | Op::Binary(_) | Op::Select | Op::Cast => Class::Map,
        Op::Reshape | Op::Permute(_) | Op::Expand | Op::Slice(_) | Op::Window(_) => Class::View,
        Op::StopGrad | Op::Checkpoint | Op::After => Class::View,
        Op::Fold(..) | Op::Pad(_) | Op::Cat(_) | Op::Reduce(..) | Op::Matmul => Class::Heavy,
        Op::Conv(_) | Op::ConvInput(_) | Op::ConvWeight(_) => Class::Heavy,
        Op::Gather(_) | Op::ScatterAdd(..) | Op::Cumsum(_) | Op::Argsort { .. } => Class::Heavy,
    }
}

impl<'a> Ir<'a> {
    pub fn new(capture: &'a Capture) -> Ir<'a> {
        let n = capture.nodes.len();
        let mut ir = Ir {
            capture,
            same: Vec::with_capacity(n),
            class: Vec::with_capacity(n),
            source: Vec::with_capacity(n),
            live: vec![false; n],
            recomputed: vec![false; n],
        };
        let mut known: HashMap<Vec<u64>, u32> = HashMap::new();
        for i in 0..n as u32 {
            let same = ir.find_same(i, &mut known);
            ir.same.push(same);
        }
        let dense = ir.dense();
        for i in 0..n as u32 {
            let same = ir.same[i as usize];
            let (class, source) = match same == i {
                true => ir.resolve(i, dense[i as usize]),
                false => (ir.class[same as usize], ir.source[same as usize]),
            };
            ir.class.push(class);
            ir.source.push(source);
        }
        ir.mark_live();
        ir
    }

    /// Nodes whose elements must lie row-major: those asked for, and what convolutions read.
    fn dense(&self) -> Vec<bool> {
        let mut dense: Vec<bool> = self.capture.nodes.iter().map(|node| node.wanted >= 2).collect();
        for (i, node) in self.capture.nodes.iter().enumerate() {
            dense[self.same[i] as usize] |= dense[i];
            if matches!(self.capture.op(i as u32), Op::Conv(_) | Op::ConvInput(_) | Op::ConvWeight(_)) {
                node.inputs.iter().for_each(|&x| dense[self.same[x as usize] as usize] = true);
            }
        }
        dense
    }

    /// Common subexpressions: the oldest node that computes the same from the same.
    fn find_same(&self, i: u32, known: &mut HashMap<Vec<u64>, u32>) -> u32 {
        let node = &self.capture.nodes[i as usize];
        if let Role::Leaf(_) = node.role {
            return i;
        }
        match self.capture.op(i) {
            // Aliases: the same value under another name.
            Op::StopGrad | Op::Checkpoint => return self.same[node.inputs[0] as usize],
            // Exists to keep a second computation apart from the first.
            Op::After => return i,
            _ => {}
        }
        let mut words = self.capture.words(i as usize).to_vec();
        words.extend(node.inputs.iter().map(|&x| u64::from(self.same[x as usize])));
        *known.entry(words).or_insert(i)
    }

    fn resolve(&self, i: u32, dense: bool) -> (Class, (u32, Layout)) {
        let node = &self.capture.nodes[i as usize];
        let shape = self.capture.shape(i);
        let own = (i, Layout::contiguous(shape));
        if let Role::Leaf(_) = node.role {
            return (Class::Leaf, own);
        }
        let op = self.capture.op(i);
        let class = class_of(op);
        if class != Class::View {
            return (class, own);
        }
        let input = self.same[node.inputs[0] as usize];
        let (base, seen) = self.source[input as usize];
        match layout(op, &seen, self.capture.shape(input), shape) {
            Some(view) if !dense || view.is_contiguous(shape) => (Class::View, (base, view)),
            _ => (Class::Copy, own),
        }
    }

    fn mark_live(&mut self) {
        for i in (0..self.capture.nodes.len()).rev() {
            if self.capture.nodes[i].wanted >= 2 {
                self.live[self.same[i] as usize] = true;
            }
            if self.live[i] && self.class[i] != Class::Leaf {
                for &x in self.capture.nodes[i].inputs.iter() {
                    self.live[self.same[x as usize] as usize] = true;
                }
                self.live[self.source[i].0 as usize] = true;
            }
        }
    }

    /// The nodes that some kernel computes.
    pub fn computed(&self) -> Vec<u32> {
        let kernel = |i: &u32| {
            let k = *i as usize;
            let class = matches!(self.class[k], Class::Map | Class::Copy | Class::Heavy);
            self.live[k] && self.same[k] == *i && class && !self.recomputed[k]
        };
        (0..self.class.len() as u32).filter(kernel).collect()
    }

    /// The inputs of `i`, and in place of those that it computes for itself what they are made of.
    pub fn reads(&self, i: u32) -> Vec<u32> {
        let mut reads: Vec<u32> =
            self.capture.nodes[i as usize].inputs.iter().map(|&x| self.same[x as usize]).collect();
        let mut at = 0;
        while at < reads.len() {
            let x = reads[at] as usize;
            if !self.recomputed[x] {
                at += 1;
                continue;
            }
            let inside = self.capture.nodes[x].inputs.iter().map(|&y| self.same[y as usize]);
            let inside: Vec<u32> = inside.filter(|&y| self.class[y as usize] != Class::Full).collect();
            reads.splice(at..=at, inside);
        }
        reads
    }

    /// The nodes in whose buffers what `i` reads lies, and whether each is read itself, element for element.
    pub fn edges(&self, i: u32) -> impl Iterator<Item = (u32, bool)> {
        let shape = self.capture.shape(i);
        self.reads(i).into_iter().map(move |x| {
            let direct = match self.class[x as usize] {
                Class::View => false,
                // A number has no shape to speak of.
                Class::Full => true,
                _ => self.capture.shape(x) == shape,
            };
            (self.source[x as usize].0, direct)
        })
    }

    /// Whether `x` itself, not a view of it, is an input of `i`.
    pub fn reads_itself(&self, i: u32, x: u32) -> bool {
        self.capture.nodes[i as usize].inputs.iter().any(|&y| self.same[y as usize] == x)
    }

    /// Whether each node's value is asked for from outside.
    pub fn wanted(&self) -> Vec<bool> {
        let mut wanted = vec![false; self.same.len()];
        for (node, &same) in self.capture.nodes.iter().zip(&self.same) {
            // Wanting a view is wanting what it looks at.
            wanted[self.source[same as usize].0 as usize] |= node.wanted >= 2;
        }
        wanted
    }

    /// The shape and strides of the product that node `i` is.
    pub fn gemm(&self, i: u32) -> Gemm {
        let [a, b] = [0, 1].map(|k| self.same[self.capture.nodes[i as usize].inputs[k] as usize]);
        let ([x, y], [along, down]) =
            ([a, b].map(|i| self.capture.shape(i)), [a, b].map(|i| self.source[i as usize].1.strides));
        let r = x.rank();
        let batch = (0..r - 2).map(|k| BatchAxis { len: x[k], a: along[k], b: down[k] }).collect();
        Gemm {
            m: x[r - 2],
            n: y[r - 1],
            k: x[r - 1],
            a: [along[r - 2], along[r - 1]],
            b: [down[r - 2], down[r - 1]],
            batch,
        }
    }

    pub fn dtype(&self, i: u32) -> DType {
        self.capture.nodes[i as usize].tensor.dtype()
    }

    /// Whether a node is pointwise.
    pub fn is_map(&self, i: u32) -> bool {
        self.class[i as usize] == Class::Map
    }
}

/// Plans a captured graph. `fuse` off gives one kernel a node: the definition that fusing must not change.
pub(super) fn plan(capture: &Capture, fuse: bool) -> Plan {
    let mut ir = Ir::new(capture);
    if fuse {
        ir.recomputed = recompute::find(&ir);
        sums::find(&mut ir);
    }
    let groups = Groups::new(&ir, fuse);
    super::schedule::schedule(&ir, &groups)
}
