//! Steps that become one: pairs of instructions, and the phrases that are made of them.

use super::compile::{Code, Op, Source, Step, ValueId};
use super::loops::MOST_ARGS;
use super::pairs::Pair;
use crate::DType;
use crate::program::{Binary, Unary};

/// A phrase found: what it computes, of what, and the steps that become part of it.
struct Found {
    phrase: Pair,
    args: Vec<ValueId>,
    from: Vec<usize>,
}

impl Step {
    /// These instructions in place of the step's, with the same result.
    fn with(self, pair: Pair, operands: &[ValueId]) -> Step {
        let mut args = [0; MOST_ARGS];
        args[..operands.len()].copy_from_slice(operands);
        Step { op: Op::Pair(pair), args, arity: operands.len(), ..self }
    }

    fn operands(&self) -> &[ValueId] {
        &self.args[..self.arity]
    }
}

impl Code {
    /// Makes one step of two where the only use of a product, sum, difference or comparison is another operation on it,
    /// and one of such steps where they make up a longer phrase.
    pub(super) fn join(&mut self) {
        let mut uses = vec![0usize; self.values.len()];
        let all = self.steps.iter().flat_map(Step::operands).chain(&self.outputs);
        all.for_each(|&value| uses[value] += 1);
        let mut joined = vec![false; self.steps.len()];
        for find in [Code::pair, Code::phrase, Code::longer, Code::gelu] {
            for at in (0..self.steps.len()).filter(|&at| !joined[at]).collect::<Vec<_>>() {
                if let Some(Found { phrase, args, from }) = find(self, at, &uses) {
                    self.steps[at] = self.steps[at].with(phrase, &args);
                    from.into_iter().for_each(|from| joined[from] = true);
                }
            }
        }
        self.join_moments(&mut joined);
        let mut joined = joined.into_iter();
        self.steps.retain(|_| joined.next() == Some(false));
        for (at, step) in self.steps.iter().enumerate() {
            step.results().for_each(|value| self.values[value].source = Source::Step(at));
        }
    }

    /// The step that computes a value, if that has one use only.
    fn only_for(&self, value: ValueId, uses: &[usize]) -> Option<usize> {
        match self.values[value].source {
            Source::Step(from) if uses[value] == 1 => Some(from),
            _ => None,
        }
    }

    /// Whether a step depends on more than parameters: what does not is computed once, not for each element.
    fn varies(&self, step: &Step) -> bool {
        let is_param = |&value: &ValueId| matches!(self.values[value].source, Source::Param(_));
        !step.operands().iter().all(is_param)
    }

    /// The pair that ends with step `at`.
    fn pair(&self, at: usize, uses: &[usize]) -> Option<Found> {
        let second = &self.steps[at];
        [0, 1].into_iter().find_map(|side| {
            let from = self.only_for(second.args[side], uses)?;
            let first = &self.steps[from];
            let Op::Binary(f) = first.op else { return None };
            let floats = first.operand == DType::F32 && second.operand == DType::F32;
            let pair = match second.op {
                Op::Binary(s) => Pair::of(f, s, side == 0)?,
                Op::Select if f == Binary::Lt && side == 0 => Pair::Less,
                Op::Unary(Unary::Exp) if f == Binary::Sub && side == 0 => Pair::ExpSub,
                _ => return None,
            };
            let rest = second.operands().iter().enumerate().filter(|&(k, _)| k != side).map(|(_, &arg)| arg);
            let args = first.operands().iter().copied().chain(rest).collect();
            (floats && self.varies(first)).then_some(Found { phrase: pair, args, from: vec![from] })
        })
    }

    /// The phrase that ends with step `at` and begins with pairs.
    fn phrase(&self, at: usize, uses: &[usize]) -> Option<Found> {
        let step = &self.steps[at];
        if step.operand != DType::F32 {
            return None;
        }
        let (phrase, side) = match step.op {
            Op::Pair(Pair::MulAdd) => {
                let added = &self.steps[self.only_for(step.args[2], uses)?];
                let phrase = match added.op {
                    Op::Binary(Binary::Mul) if self.varies(added) => Pair::Blend,
                    Op::Pair(Pair::MulMul) => Pair::BlendProduct,
                    _ => return None,
                };
                (phrase, 2)
            }
            Op::Pair(Pair::Less) => {
                let product = &self.steps[self.only_for(step.args[3], uses)?];
                let is_product = matches!(product.op, Op::Binary(Binary::Mul)) && self.varies(product);
                (is_product.then_some(Pair::LessMul)?, 3)
            }
            Op::Binary(Binary::Sub) => return self.sub_ratio(step, uses),
            _ => return None,
        };
        let from = self.only_for(step.args[side], uses)?;
        let args = [&step.args[..side], self.steps[from].operands()].concat();
        Some(Found { phrase, args, from: vec![from] })
    }

    /// The phrase of a pair and one more instruction.
    fn longer(&self, at: usize, uses: &[usize]) -> Option<Found> {
        let step = &self.steps[at];
        if step.operand != DType::F32 || !matches!(step.op, Op::Binary(Binary::Mul)) {
            return None;
        }
        [0, 1].into_iter().find_map(|side| {
            let from = self.only_for(step.args[side], uses)?;
            let phrase = matches!(self.steps[from].op, Op::Pair(Pair::AddMul)).then_some(Pair::AddMulMul)?;
            let args = [self.steps[from].operands(), &[step.args[1 - side]]].concat();
            Some(Found { phrase, args, from: vec![from] })
        })
    }

    /// The phrases of a distribution function, exact or approximate, and what it is multiplied with.
    fn gelu(&self, at: usize, uses: &[usize]) -> Option<Found> {
        if !matches!(self.steps[at].op, Op::Pair(Pair::AddMulMul)) {
            return None;
        }
        let product = Op::Binary(Binary::Mul);
        let erf = [Op::Unary(Unary::Erf), product];
        let tanh = [Op::Unary(Unary::Tanh), product, Op::Pair(Pair::MulAdd), Op::Pair(Pair::MulMul)];
        let exact = self.begun_by(at, &erf, uses).map(|found| (Pair::ErfMul, found));
        let (phrase, from) =
            exact.or_else(|| self.begun_by(at, &tanh, uses).map(|found| (Pair::TanhMul, found)))?;
        let (&first, later) = from.split_last()?;
        let mut args = self.steps[first].operands().to_vec();
        later.iter().rev().chain([&at]).for_each(|&step| args.extend(&self.steps[step].operands()[1..]));
        Some(Found { phrase, args, from })
    }

    /// The steps with these operations of which each computes the first operand of the one before, and nothing else; step
    /// `at` is before all.
    fn begun_by(&self, at: usize, ops: &[Op], uses: &[usize]) -> Option<Vec<usize>> {
        let mut found = Vec::with_capacity(ops.len());
        let mut last = at;
        for op in ops {
            last =
                self.only_for(self.steps[last].args[0], uses).filter(|&from| self.steps[from].op == *op)?;
            found.push(last);
        }
        Some(found)
    }

    /// `a - b c / (sqrt(d) e + f)`, the difference being this step.
    fn sub_ratio(&self, step: &Step, uses: &[usize]) -> Option<Found> {
        let ratio = self.only_for(step.args[1], uses)?;
        let [b, c, below, ..] = self.steps[ratio].args;
        let sum = self.only_for(below, uses)?;
        let [root, e, f, ..] = self.steps[sum].args;
        let sqrt = self.only_for(root, uses)?;
        let ops = [ratio, sum, sqrt].map(|from| self.steps[from].op);
        let [Op::Pair(Pair::MulDiv), Op::Pair(Pair::MulAdd), Op::Unary(Unary::Sqrt)] = ops else {
            return None;
        };
        let args = vec![step.args[0], b, c, self.steps[sqrt].args[0], e, f];
        Some(Found { phrase: Pair::SubRatio, args, from: vec![ratio, sum, sqrt] })
    }

    /// Makes one step of [`Pair::SubRatio`] and of the averages that it reads and nothing else does, where all factors are
    /// parameters.
    fn join_moments(&mut self, joined: &mut [bool]) {
        for at in 0..self.steps.len() {
            let Some((args, from)) = self.moments(at, joined) else { continue };
            let more = from.map(|step| self.steps[step].dst);
            self.steps[at] = Step { more: Some(more), ..self.steps[at].with(Pair::Moments, &args) };
            from.into_iter().for_each(|from| joined[from] = true);
        }
    }

    /// The operands of [`Pair::Moments`], and the steps of its two averages, if step `at` is the last of its three.
    fn moments(&self, at: usize, joined: &[bool]) -> Option<(Vec<ValueId>, [usize; 2])> {
        let step = &self.steps[at];
        if !matches!(step.op, Op::Pair(Pair::SubRatio)) {
            return None;
        }
        let computes = |value: ValueId, pair: Pair| match self.values[value].source {
            Source::Step(from) if matches!(self.steps[from].op, Op::Pair(p) if p == pair) => Some(from),
            _ => None,
        };
        let [p, b, c, v, e, f, ..] = step.args;
        let (first, factor) = match computes(b, Pair::Blend) {
            Some(first) => (first, c),
            None => (computes(c, Pair::Blend)?, b),
        };
        let second = computes(v, Pair::BlendProduct)?;
        let [v, b2, g, same, c2, ..] = self.steps[second].args;
        let [m, b1, x, y, ..] = self.steps[first].args;
        let (m, b1, c1) = match [m, b1, x, y] {
            [m, b1, x, c1] if x == g => (m, b1, c1),
            [m, b1, c1, x] if x == g => (m, b1, c1),
            [x, c1, m, b1] if x == g => (m, b1, c1),
            [c1, x, m, b1] if x == g => (m, b1, c1),
            _ => return None,
        };
        let alone = |of: usize| {
            let read = |step: &Step| step.operands().contains(&self.steps[of].dst);
            (0..self.steps.len()).all(|k| k == at || joined[k] || !read(&self.steps[k]))
        };
        let args = vec![m, b1, g, c1, v, b2, c2, p, factor, e, f];
        let from = [first, second];
        let numbers = [b1, c1, b2, c2, factor, e, f];
        let numbers = numbers.iter().all(|&value| matches!(self.values[value].source, Source::Param(_)));
        let before = from.iter().all(|&step| self.steps[step].dst != p);
        (same == g && numbers && before && from.into_iter().all(alone)).then_some((args, from))
    }
}
