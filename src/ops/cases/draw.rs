//! Drawing cases: numbers, shapes, and inputs that are views.

use super::Array;
use crate::device::Device;
use crate::rng::Rng;
use crate::tensor::Tensor;
use rand::Rng as _;
use std::ops::RangeInclusive;

/// What is drawn for one case. Everything follows from a seed and the row's name.
pub struct Draw {
    rng: Rng,
    inputs: Vec<Tensor>,
    views: Vec<View>,
    values: Vec<Array>,
    notes: Vec<String>,
}

type Apply = Box<dyn Fn(&[Tensor]) -> Tensor + Send + Sync>;

/// One case of an op: inputs, the op applied to them with its options, and the value it should have.
pub struct Case {
    inputs: Vec<Tensor>,
    apply: Apply,
    expected: Option<Array>,
    note: String,
}

impl Case {
    /// The differentiable inputs: f64 leaves. Those the op sees are views of them.
    pub fn inputs(&self) -> &[Tensor] {
        &self.inputs
    }

    /// The op of `inputs`, which have the shapes of [`inputs`](Case::inputs) and one float type, f64 or f32.
    pub fn apply(&self, inputs: &[Tensor]) -> Tensor {
        (self.apply)(inputs)
    }

    /// The value by plain loops, where the row has them.
    pub fn expected(&self) -> Option<&Array> {
        self.expected.as_ref()
    }

    /// Shapes, views and options in words, for messages.
    pub fn note(&self) -> &str {
        &self.note
    }
}

/// How the op sees an input.
enum View {
    Plain,
    Permuted(Vec<usize>),
    Flipped(isize),
    /// Every `step`-th from the second on, along an axis that is longer than what is seen.
    Stepped {
        axis: isize,
        step: isize,
    },
    /// Repeated along axes of extent 1.
    Expanded(Vec<usize>),
}

impl View {
    fn apply(&self, x: &Tensor) -> Tensor {
        match self {
            View::Plain => x.clone(),
            View::Permuted(axes) => x.permute(axes),
            View::Flipped(axis) => x.flip(*axis),
            View::Stepped { axis, step } => x.slice_step(*axis, 1.., *step),
            View::Expanded(shape) => x.expand(shape),
        }
    }

    fn word(&self) -> &'static str {
        match self {
            View::Plain => "",
            View::Permuted(_) => " permuted",
            View::Flipped(_) => " flipped",
            View::Stepped { .. } => " strided",
            View::Expanded(_) => " expanded",
        }
    }
}

impl Draw {
    pub(super) fn new(seed: u64, name: &str) -> Draw {
        let rng = Rng::seed(seed).split(name);
        Draw { rng, inputs: vec![], views: vec![], values: vec![], notes: vec![] }
    }

    /// A whole number from 0 to `n - 1`.
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.rng.next_u64()) * n as u128) >> 64) as usize
    }

    /// A whole number of a range.
    pub fn pick(&mut self, range: RangeInclusive<usize>) -> usize {
        range.start() + self.below(range.end() - range.start() + 1)
    }

    /// A number between two others.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * ((self.rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64)
    }

    /// True one time in two.
    pub fn coin(&mut self) -> bool {
        self.below(2) == 1
    }

    /// An extent: mostly small, sometimes 1, rarely 0.
    pub fn extent(&mut self) -> usize {
        [0, 1, 1, 2, 2, 2, 3, 3, 3, 4, 5, 6][self.below(12)]
    }

    /// Extents of at most 36 elements; one time in a while some extent is 0.
    pub fn shape(&mut self, ranks: RangeInclusive<usize>) -> Vec<usize> {
        let rank = self.pick(ranks);
        let mut shape: Vec<usize> = (0..rank).map(|_| self.extent()).collect();
        while shape.iter().product::<usize>() > 36 {
            let i = self.below(rank);
            shape[i] = shape[i].div_ceil(2);
        }
        shape
    }

    /// As [`shape`](Draw::shape), without an extent of 0.
    pub fn filled_shape(&mut self, ranks: RangeInclusive<usize>) -> Vec<usize> {
        self.shape(ranks).into_iter().map(|d| d.max(1)).collect()
    }

    /// A shape that broadcasts to `shape`: some extents 1, some leading axes gone.
    pub fn narrowed(&mut self, shape: &[usize]) -> Vec<usize> {
        let lead = if shape.is_empty() || self.coin() { 0 } else { self.below(shape.len() + 1) };
        shape[lead..].iter().map(|&d| if self.below(3) == 0 { 1 } else { d }).collect()
    }

    /// Two shapes that broadcast, either or neither of them narrower.
    pub fn pair(&mut self, ranks: RangeInclusive<usize>) -> [Vec<usize>; 2] {
        let shape = self.shape(ranks);
        match self.below(4) {
            0 => [shape.clone(), shape],
            1 => [self.narrowed(&shape), shape],
            2 => [shape.clone(), self.narrowed(&shape)],
            _ => [self.narrowed(&shape), self.narrowed(&shape)],
        }
    }

    /// An axis, and the number to write for it: from the front or from the end.
    pub fn axis(&mut self, rank: usize) -> (usize, isize) {
        let axis = self.below(rank);
        let written = if self.coin() { axis as isize } else { axis as isize - rank as isize };
        self.note(format!("axis {written}"));
        (axis, written)
    }

    /// Some of the axes, in any order: none, one, several or all.
    pub fn axes(&mut self, rank: usize) -> Vec<usize> {
        let mut axes = self.permutation(rank);
        axes.truncate(self.pick(0..=rank));
        self.note(format!("axes {axes:?}"));
        axes
    }

    /// The numbers 0 to n - 1 in random order.
    pub fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        for i in (1..n).rev() {
            let j = self.below(i + 1);
            order.swap(i, j);
        }
        order
    }

    /// Words for the messages of this case.
    pub fn note(&mut self, words: impl Into<String>) {
        self.notes.push(words.into());
    }

    /// The next input, of values between two numbers.
    pub fn input(&mut self, shape: &[usize], low: f64, high: f64) {
        self.input_with(shape, |d| d.between(low, high));
    }

    /// The next input, of values that `value` draws, possibly repeated along some axes.
    pub fn input_with(&mut self, shape: &[usize], mut value: impl FnMut(&mut Draw) -> f64) {
        let values = Array::from_fn(shape, |_| value(self));
        let wide = shape.iter().any(|&d| d > 1);
        if wide && self.below(6) == 0 {
            self.expanded(values);
        } else {
            self.seen(values);
        }
    }

    /// The next input, of values that differ from each other by at least 0.1: no ties within reach.
    pub fn distinct(&mut self, shape: &[usize]) {
        let n = shape.iter().product::<usize>();
        let order = self.permutation(n);
        let mut ranks = order.into_iter();
        let values = Array::from_fn(shape, |_| {
            let rank = ranks.next().unwrap_or(0);
            (rank as f64 - n as f64 / 2.0) * 0.2 + self.between(0.0, 0.1)
        });
        self.seen(values);
    }

    /// The values drawn for input `i`, as the op sees them.
    pub fn values(&self, i: usize) -> &Array {
        &self.values[i]
    }

    /// Positions in an axis of `len`, as an index tensor (u32 or i32) and as numbers.
    pub fn index(&mut self, shape: &[usize], len: usize) -> (Tensor, Array) {
        let values = Array::from_fn(shape, |_| self.below(len.max(1)) as f64);
        let numbers = values.data.iter();
        let index = match self.coin() {
            true => Tensor::from_vec(numbers.map(|&v| v as u32).collect(), shape),
            false => Tensor::from_vec(numbers.map(|&v| v as i32).collect(), shape),
        };
        (index, values)
    }

    /// A bool tensor, and its elements as numbers.
    pub fn mask(&mut self, shape: &[usize]) -> (Tensor, Array) {
        let values = Array::from_fn(shape, |_| self.below(2) as f64);
        (Tensor::from_vec(values.data.iter().map(|&v| v != 0.0).collect(), shape), values)
    }

    /// The case: the op of the inputs drawn, and its value by plain loops.
    pub fn case(
        self,
        apply: impl Fn(&[Tensor]) -> Tensor + Send + Sync + 'static,
        expected: impl FnOnce(&[Array]) -> Array,
    ) -> Case {
        let expected = expected(&self.values);
        Case { expected: Some(expected), ..self.case_by_gradient(apply) }
    }

    /// The case of an op whose value is not checked here: the row's documentation says why.
    pub fn case_by_gradient(self, apply: impl Fn(&[Tensor]) -> Tensor + Send + Sync + 'static) -> Case {
        let views = self.views;
        let seen = move |x: &[Tensor]| {
            let x: Vec<Tensor> = views.iter().zip(x).map(|(view, x)| view.apply(x)).collect();
            apply(&x)
        };
        Case { inputs: self.inputs, apply: Box::new(seen), expected: None, note: self.notes.join(", ") }
    }

    /// Adds an input that the op sees as `values` through some view.
    fn seen(&mut self, values: Array) {
        let rank = values.shape.len();
        let kind = if rank == 0 { 0 } else { self.below(5) };
        match kind {
            1 => {
                let axes = self.permutation(rank);
                let mut shape = vec![0; rank];
                axes.iter().zip(&values.shape).for_each(|(&a, &d)| shape[a] = d);
                let base =
                    Array::from_fn(&shape, |i| values.at(&axes.iter().map(|&a| i[a]).collect::<Vec<_>>()));
                self.push(View::Permuted(axes), base, values);
            }
            2 => {
                let axis = self.below(rank);
                let base = Array::from_fn(&values.shape, |i| {
                    let mut i = i.to_vec();
                    i[axis] = values.shape[axis] - 1 - i[axis];
                    values.at(&i)
                });
                self.push(View::Flipped(axis as isize), base, values);
            }
            3 => {
                let (axis, step) = (self.below(rank), self.pick(1..=2));
                let mut shape = values.shape.clone();
                shape[axis] = 1 + shape[axis] * step;
                let base = Array::from_fn(&shape, |i| {
                    let mut i = i.to_vec();
                    let hidden = i[axis] == 0 || (i[axis] - 1) % step != 0;
                    i[axis] = i[axis].saturating_sub(1) / step;
                    // What is not seen must not matter, so it would show.
                    if hidden { 1e3 } else { values.at(&i) }
                });
                self.push(View::Stepped { axis: axis as isize, step: step as isize }, base, values);
            }
            _ => self.push(View::Plain, values.clone(), values),
        }
    }

    /// Adds an input that is `values` repeated along some axes from its first elements there.
    fn expanded(&mut self, values: Array) {
        let shape = values.shape.clone();
        let narrow: Vec<usize> = shape.iter().map(|&d| if d > 0 && self.coin() { 1 } else { d }).collect();
        let base = Array::from_fn(&narrow, |i| values.at(i));
        let values = Array::from_fn(&shape, |i| base.at(i));
        self.push(View::Expanded(shape), base, values);
    }

    fn push(&mut self, view: View, base: Array, values: Array) {
        self.notes.push(format!("{:?}{}", values.shape, view.word()));
        // In f64, which only the CPU has: whoever checks a device moves them there.
        self.inputs.push(Device::cpu().scope(|| Tensor::from_vec(base.data, base.shape)));
        self.views.push(view);
        self.values.push(values);
    }
}
