//! What a picture of a tape shows: boxes and arrows, without a place yet.

use super::{Kernel, Node, Part, Tape};
use std::collections::{BTreeSet, HashMap};

/// What a box of a picture is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// A node: one operation.
    Nodes,
    /// A kernel: the operations that run as one. For recorded tapes.
    Kernels,
}

/// A box.
pub(super) struct Shown {
    pub title: String,
    pub lines: Vec<String>,
    pub part: Part,
    /// A value that is given.
    pub is_leaf: bool,
    /// Asked for.
    pub is_output: bool,
}

/// Colours.
pub(super) struct Style {
    pub fill: &'static str,
    pub stroke: &'static str,
}

/// The colours of a part.
pub(super) fn style_of(part: Part) -> Style {
    match part {
        Part::Expression => Style { fill: "#e3eefc", stroke: "#2f6fc4" },
        Part::Derivative(1) => Style { fill: "#fdeed6", stroke: "#c77f12" },
        Part::Derivative(_) => Style { fill: "#f0e4fa", stroke: "#8145b5" },
        Part::Update => Style { fill: "#e1f3e3", stroke: "#3c8d4a" },
    }
}

impl Shown {
    pub fn style(&self) -> Style {
        if self.is_leaf { Style { fill: "#ffffff", stroke: "#7a7f87" } } else { style_of(self.part) }
    }
}

/// Boxes and arrows.
pub(super) struct Picture {
    pub boxes: Vec<Shown>,
    /// Arrows from what is used to what uses it.
    pub edges: Vec<(usize, usize)>,
}

/// With more nodes than this, leaves are written into the boxes that use them, rather than drawn with long arrows.
const CROWDED: usize = 24;

/// Operations that only look at their input in another way.
const VIEWS: [&str; 6] = ["permute", "expand", "reshape", "slice", "window", "stop_grad"];

impl Picture {
    pub fn new(tape: &Tape, detail: Detail) -> Picture {
        let mut maker = Maker { tape, boxes: Vec::new(), edges: BTreeSet::new(), of: HashMap::new() };
        match detail {
            Detail::Kernels if !tape.kernels().is_empty() => maker.kernels(),
            _ => maker.nodes(),
        }
        Picture { boxes: maker.boxes, edges: maker.edges.into_iter().collect() }
    }
}

struct Maker<'a> {
    tape: &'a Tape,
    boxes: Vec<Shown>,
    edges: BTreeSet<(usize, usize)>,
    /// The box of each node that has one.
    of: HashMap<usize, usize>,
}

impl Maker<'_> {
    fn node(&self, i: usize) -> &Node {
        &self.tape.nodes()[i]
    }

    fn push(&mut self, shown: Shown) -> usize {
        self.boxes.push(shown);
        self.boxes.len() - 1
    }

    /// A box for each operation. Constants are written into the boxes that use them.
    fn nodes(&mut self) {
        let crowded = self.tape.nodes().iter().filter(|n| n.constant.is_none()).count() > CROWDED;
        for i in 0..self.tape.nodes().len() {
            let node = self.node(i);
            let hidden = node.constant.is_some() || (crowded && self.shows_leaf(i));
            if node.is_leaf() || (hidden && !node.is_output) {
                continue;
            }
            let lines = vec![self.shape(i)];
            let (part, is_output) = (node.part, node.is_output);
            let inputs = node.inputs.clone();
            let b = self.push(Shown { title: self.title(i), lines, part, is_leaf: false, is_output });
            self.of.insert(i, b);
            self.connect(&inputs, b, crowded);
        }
    }

    /// A box for each kernel.
    fn kernels(&mut self) {
        for kernel in self.tape.kernels() {
            let is_output = kernel.nodes.iter().any(|&i| self.node(i).is_output);
            let part = self.main_part(kernel);
            let title = kernel.text.clone();
            let b =
                self.push(Shown { title, lines: self.operations(kernel), part, is_leaf: false, is_output });
            kernel.nodes.iter().for_each(|&i| {
                self.of.insert(i, b);
            });
        }
        for kernel in self.tape.kernels() {
            for &i in &kernel.nodes {
                let (b, inputs) = (self.of[&i], self.node(i).inputs.clone());
                self.connect(&inputs, b, true);
            }
        }
    }

    /// Arrows to the box `to` from what it reads; when `crowded`, leaves are lines of the box.
    fn connect(&mut self, inputs: &[usize], to: usize, crowded: bool) {
        for &x in inputs {
            let x = self.seen_through(x, crowded);
            if self.node(x).constant.is_some() && !self.of.contains_key(&x) {
                continue;
            }
            if let Some(&from) = self.of.get(&x) {
                if from != to {
                    self.edges.insert((from, to));
                }
                continue;
            }
            let node = self.node(x);
            let title = node.name.clone().unwrap_or_else(|| String::from(node.op));
            if crowded {
                let line = format!("\u{2190} {title} {}", node.shape);
                if !self.boxes[to].lines.contains(&line) {
                    self.boxes[to].lines.push(line);
                }
                continue;
            }
            let (part, is_output, is_leaf) = (node.part, node.is_output, true);
            let from = self.push(Shown { title, lines: vec![self.shape(x)], part, is_leaf, is_output });
            self.of.insert(x, from);
            self.edges.insert((from, to));
        }
    }

    /// What a view that has no box of its own shows: it is no work.
    fn seen_through(&self, mut i: usize, crowded: bool) -> usize {
        while crowded && !self.of.contains_key(&i) && VIEWS.contains(&self.node(i).op) {
            match self.node(i).inputs.first() {
                Some(&x) => i = x,
                None => break,
            }
        }
        i
    }

    /// Whether a node is a leaf, or a view of one.
    fn shows_leaf(&self, i: usize) -> bool {
        self.node(self.seen_through(i, true)).is_leaf()
    }

    fn main_part(&self, kernel: &Kernel) -> Part {
        let mut count: HashMap<Part, usize> = HashMap::new();
        kernel.nodes.iter().for_each(|&i| *count.entry(self.node(i).part).or_default() += 1);
        count.into_iter().max_by_key(|&(part, n)| (n, part)).map_or(Part::Expression, |(part, _)| part)
    }

    /// The operations of a kernel in order, runs of equal ones counted, a few to a line.
    fn operations(&self, kernel: &Kernel) -> Vec<String> {
        let mut words: Vec<(&str, usize)> = Vec::new();
        for &i in kernel.nodes.iter().filter(|&&i| self.node(i).constant.is_none()) {
            match words.last_mut() {
                Some((op, n)) if *op == self.node(i).op => *n += 1,
                _ => words.push((self.node(i).op, 1)),
            }
        }
        let mut lines = vec![String::new()];
        let more = words.len().saturating_sub(MOST_WORDS);
        for (op, n) in words.into_iter().take(MOST_WORDS) {
            let word = if n > 1 { format!("{op} x{n}") } else { op.to_string() };
            let last = lines.last_mut().expect("there is a line");
            if last.is_empty() {
                *last = word;
            } else if last.len() + word.len() > 34 {
                lines.push(word);
            } else {
                last.push_str(&format!(", {word}"));
            }
        }
        if more > 0 {
            lines.push(format!("and {more} more"));
        }
        lines
    }

    /// The operation, with the numbers it uses.
    fn title(&self, i: usize) -> String {
        let node = self.node(i);
        let mut title = match &node.name {
            Some(name) => format!("{name} = {}", node.op),
            None => node.op.to_string(),
        };
        if node.inputs.iter().any(|&x| self.node(x).constant.is_some()) {
            let words = node.inputs.iter().map(|&x| match self.node(x).constant {
                Some(number) => brief(number),
                None => String::from("\u{b7}"),
            });
            title.push_str(&format!(" {}", words.collect::<Vec<_>>().join(", ")));
        } else if let Some(number) = node.constant {
            title.push_str(&format!(" {}", brief(number)));
        }
        if !node.attributes.is_empty() {
            title.push_str(&format!(", {}", node.attributes));
        }
        title
    }

    fn shape(&self, i: usize) -> String {
        format!("{} {}", self.node(i).dtype, self.node(i).shape)
    }
}

/// Operations that a kernel's box lists.
const MOST_WORDS: usize = 18;

/// A number in few characters.
fn brief(x: f64) -> String {
    let plain = x.to_string();
    match x.abs() {
        _ if plain.len() <= 8 => plain,
        1e-2..1e6 => format!("{x:.4}"),
        _ => format!("{x:.3e}"),
    }
}
