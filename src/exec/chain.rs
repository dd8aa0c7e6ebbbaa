//! Chains: consecutive maps and reductions that go through large tensors index by index of one axis, run together in
//! blocks of that axis. A block stays in the second-level cache from its first kernel to its last, so that
//! a softmax or a batch normalization reads memory once, not once for each of its kernels.
//!
//! Nothing else changes: every element is computed by the same program from the same numbers, and the order of every
//! sum is that of its reduced axes, none of which is cut.

use super::plan::{Kernel, Plan, Step};
use super::{Operand, Place};
use crate::shape::{Layout, Shape};
use gradus_kernels::DType;
use gradus_kernels::pointwise::Traffic;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

/// Bytes that one block should touch: a part of a second-level cache.
const BLOCK_BYTES: usize = 512 << 10;
/// A single index of the axis may touch as much as this.
const MOST_BYTES: usize = 3 << 19;
/// Elements that make up for the jump from one row to the next.
const LONG: usize = 512;
/// What touches less than this in all stays in the cache anyway. Tests chain whatever can be.
const LEAST_BYTES: usize = if cfg!(test) { 1 } else { 2 << 20 };
/// Results of more bytes than this that no later kernel of a chain reads are written past the caches.
const STREAM_BYTES: usize = 4 << 20;
/// What has more bytes than this lies in memory when a chain comes to it.
const FAR_BYTES: usize = 1 << 20;
/// Scratch memory of each slot begins on a cache line.
const LINE: usize = 64;
/// How many steps are looked at.
const WINDOW: usize = 64;

/// Steps of a plan that run together.
pub(crate) struct Chain {
    /// All of them, those of `after` included.
    pub steps: Range<usize>,
    pub members: Vec<Member>,
    /// Steps among them that run when all blocks are done.
    pub after: Vec<usize>,
    /// The length of the common axis, and how much of it is one block.
    pub len: usize,
    pub block: usize,
    /// What only the members see: it never leaves the cache.
    pub local: Vec<Local>,
    /// The first operand that the first member reads, if it lies in memory index by index of the common axis, and the
    /// bytes of an index.
    pub rows: Option<(Operand, DType, usize)>,
}

/// A slot whose blocks lie, one after the other in time, in the same scratch memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Local {
    pub slot: u32,
    /// The stride of the common axis in the whole slot, in elements.
    pub stride: usize,
    /// Where it begins in the scratch memory, and how much of it a block needs, in bytes.
    pub at: usize,
    pub bytes: usize,
}

impl Chain {
    /// Bytes of scratch memory that a block needs.
    pub fn scratch(&self) -> usize {
        self.local.iter().map(|local| local.at + local.bytes).max().unwrap_or(0)
    }
}

/// A step of a chain.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member {
    pub step: usize,
    /// Which of its axes is the common one.
    pub axis: usize,
    /// Whether it is the first to read something large, and whether its results are better written past the caches.
    pub traffic: Traffic,
    /// Whether it leaves memory alone, so that what the next block reads first can be fetched meanwhile.
    pub idle: bool,
}

/// The chains of a plan, in order.
pub(super) fn find(plan: &Plan) -> Vec<Chain> {
    let steps = &plan.steps;
    let mut chains: Vec<Chain> = Vec::new();
    let mut at = 0;
    while at < steps.len() {
        let candidates = space(&steps[at].kernel).map_or(0, |(shape, _)| shape.rank());
        let longest = (0..candidates)
            .filter_map(|axis| Search::new(steps, at, axis)?.grow())
            .max_by_key(|chain| (chain.members.len(), chain.len));
        at = longest.as_ref().map_or(at + 1, |chain| chain.steps.end);
        chains.extend(longest.map(|chain| with_local(chain, plan)));
    }
    chains
}

/// Finds what only the members of a chain see.
fn with_local(mut chain: Chain, plan: &Plan) -> Chain {
    let steps = &plan.steps;
    let kept = |slot| plan.outputs.iter().any(|(_, place, _)| *place == Place::Slot(slot));
    let within = &steps[chain.steps.clone()];
    let has = |of: &dyn Fn(&Step) -> bool| within.iter().any(of);
    let late: HashSet<u32> = (chain.after.iter())
        .flat_map(|&t| inputs(&steps[t].kernel))
        .filter_map(|(o, _)| if let Place::Slot(slot) = o.place { Some(slot) } else { None })
        .collect();
    // Where each slot's memory comes from, if it is an older slot's.
    let heir_of = |slot: u32| match within.iter().flat_map(|step| &step.begins).find(|b| b.0 == slot)?.1? {
        Place::Slot(old) => Some(old),
        Place::Leaf(_) => None,
    };
    let mut at = 0;
    for member in &chain.members {
        for (slot, stride) in results(&steps[member.step].kernel, member.axis).into_iter().flatten() {
            let ends = has(&|step| step.ends.contains(&slot));
            // Memory taken over inside the chain ends with its last owner.
            let passed_on = has(&|step| step.begins.iter().any(|b| b.1 == Some(Place::Slot(slot))));
            if kept(slot) || late.contains(&slot) || !(ends || passed_on) {
                continue;
            }
            let older = heir_of(slot).map(|old| chain.local.iter().find(|local| local.slot == old).copied());
            match older {
                // What takes over memory from before the chain stays there.
                Some(None) => {}
                Some(Some(old)) if old.stride == stride => chain.local.push(Local { slot, ..old }),
                _ => {
                    let (len, dtype) = plan.slots[slot as usize];
                    let bytes = (len / chain.len * chain.block * dtype.size()).next_multiple_of(LINE);
                    chain.local.push(Local { slot, stride, at, bytes });
                    at += bytes;
                }
            }
        }
    }
    chain
}

/// The space a map or a reduction runs over, and the axes it reduces. None where there is nothing to go through.
fn space(kernel: &Kernel) -> Option<(&Shape, u32)> {
    let space = match kernel {
        Kernel::Map(map) => (&map.shape, 0),
        Kernel::Reduce { shape, axes, .. } => (shape, *axes),
        _ => return None,
    };
    (space.0.numel() > 0).then_some(space)
}

fn inputs(kernel: &Kernel) -> &[(Operand, DType)] {
    match kernel {
        Kernel::Map(map) => &map.inputs,
        Kernel::Reduce { inputs, .. } => inputs,
        _ => &[],
    }
}

/// The slots a map or a reduction writes, and the stride of the common axis in each; none where the results of a block
/// would not lie as its elements do.
fn results(kernel: &Kernel, axis: usize) -> Option<Vec<(u32, usize)>> {
    match kernel {
        Kernel::Map(map) => {
            let stride = |(o, _): &(Operand, DType)| match o.place {
                Place::Slot(slot) => Some((slot, o.layout.strides[axis] as usize)),
                Place::Leaf(_) => None,
            };
            map.outputs.iter().map(stride).collect()
        }
        Kernel::Reduce { program, shape, axes, out, .. } => {
            let kept = |k: &usize| axes >> k & 1 == 0;
            let outermost = (0..axis).filter(kept).all(|k| shape[k] == 1);
            let stride = (axis + 1..shape.rank()).filter(kept).map(|k| shape[k]).product();
            // The index of an element says nothing in a part of the space.
            let indexed = program.code.iter().any(|(instr, _)| instr.reads_index());
            (outermost && !indexed).then(|| vec![(*out, stride)])
        }
        _ => None,
    }
}

/// What a map or a reduction reads and writes, and how many bytes of it.
fn touches(kernel: &Kernel) -> Vec<(Place, usize)> {
    let Some((shape, reduced)) = space(kernel) else { return Vec::new() };
    let read = |(o, dtype): &(Operand, DType)| {
        let seen = (0..shape.rank()).filter(|&k| o.layout.strides[k] != 0).map(|k| shape[k]);
        (o.place, seen.product::<usize>() * dtype.size())
    };
    let kept = (0..shape.rank()).filter(|k| reduced >> k & 1 == 0).map(|k| shape[k]);
    // Results count as four bytes an element, which most are.
    let size = kept.product::<usize>() * 4;
    let mut touched: Vec<(Place, usize)> = inputs(kernel).iter().map(read).collect();
    match kernel {
        Kernel::Map(map) => touched.extend(map.outputs.iter().map(|(o, _)| (o.place, size))),
        Kernel::Reduce { out, .. } => touched.push((Place::Slot(*out), size)),
        _ => {}
    }
    touched
}

/// Whether index `i` of `axis` reads only elements whose offset `e` has `e / stride % len = i`.
fn aligned(layout: &Layout, shape: &Shape, axis: usize, stride: usize) -> bool {
    let (stride, period) = (stride as isize, (stride * shape[axis]) as isize);
    let mut inner = 0;
    for k in (0..shape.rank()).filter(|&k| k != axis && shape[k] > 1) {
        let step = layout.strides[k];
        if step < 0 {
            return false;
        }
        if step % period != 0 {
            inner += step * (shape[k] as isize - 1);
        }
    }
    layout.offset == 0 && layout.strides[axis] == stride && inner < stride
}

/// A read of memory that was there before the chain.
type Read = (Place, Layout, Shape, usize);

struct Search<'a> {
    steps: &'a [Step],
    first: usize,
    len: usize,
    members: Vec<Member>,
    after: Vec<usize>,
    /// Slots that members write: the stride of the common axis.
    written: HashMap<u32, usize>,
    read: Vec<Read>,
    /// Slots that the steps of `after` write, and read.
    late: [HashSet<u32>; 2],
    /// Bytes of each operand.
    bytes: HashMap<Place, usize>,
    /// Bytes that go through the members' operands.
    traffic: usize,
}

impl<'a> Search<'a> {
    fn new(steps: &'a [Step], first: usize, axis: usize) -> Option<Search<'a>> {
        let (shape, reduced) = space(&steps[first].kernel)?;
        let cuts = shape[axis] > 1 && reduced >> axis & 1 == 0;
        let mut search = Search {
            steps,
            first,
            len: shape[axis],
            members: Vec::new(),
            after: Vec::new(),
            written: HashMap::new(),
            read: Vec::new(),
            late: [HashSet::new(), HashSet::new()],
            bytes: HashMap::new(),
            traffic: 0,
        };
        (cuts && search.fits(first, axis)).then(|| {
            search.join(first, axis);
            search
        })
    }

    fn grow(mut self) -> Option<Chain> {
        let window = self.steps.len().min(self.first + WINDOW);
        for t in self.first + 1..window {
            let Some((shape, reduced)) = space(&self.steps[t].kernel) else { break };
            let fitting = (0..shape.rank())
                .filter(|&k| shape[k] == self.len && reduced >> k & 1 == 0)
                .find(|&k| self.related(t) && self.fits(t, k));
            match fitting {
                // The next chain may begin here.
                Some(_) if self.touched_with(t) / self.len > MOST_BYTES => break,
                Some(axis) => self.join(t, axis),
                None => self.defer(t),
            }
        }
        self.finish()
    }

    /// Whether a step reads anything that a member reads or writes.
    fn related(&self, t: usize) -> bool {
        inputs(&self.steps[t].kernel).iter().any(|(o, _)| self.bytes.contains_key(&o.place))
    }

    /// Whether a step may run block by block after the members so far.
    fn fits(&self, t: usize, axis: usize) -> bool {
        let kernel = &self.steps[t].kernel;
        let Some((shape, _)) = space(kernel) else { return false };
        let Some(results) = results(kernel, axis) else { return false };
        let reads = inputs(kernel).iter().all(|(o, _)| match o.place {
            Place::Slot(slot) if self.late[0].contains(&slot) => false,
            Place::Slot(slot) => {
                self.written.get(&slot).is_none_or(|&stride| aligned(&o.layout, shape, axis, stride))
            }
            Place::Leaf(_) => true,
        });
        // Where a result takes over memory, no other block may still have to read what was there.
        let heirs = self.steps[t].begins.iter().all(|&(slot, heir)| {
            let (Some(Place::Slot(old)), Some(&(_, stride))) = (heir, results.iter().find(|r| r.0 == slot))
            else {
                return true;
            };
            let of_old = |o: &Place| *o == Place::Slot(old);
            self.written.get(&old).is_none_or(|&s| s == stride)
                && !self.late[1].contains(&old)
                && self.read.iter().filter(|r| of_old(&r.0)).all(|(_, l, s, k)| aligned(l, s, *k, stride))
                && inputs(kernel)
                    .iter()
                    .filter(|(o, _)| of_old(&o.place))
                    .all(|(o, _)| aligned(&o.layout, shape, axis, stride))
        });
        reads && heirs
    }

    /// Bytes of all operands, with those of another step.
    fn touched_with(&self, t: usize) -> usize {
        let mut bytes = self.bytes.clone();
        for (place, more) in touches(&self.steps[t].kernel) {
            let known = bytes.entry(place).or_default();
            *known = more.max(*known);
        }
        bytes.values().sum()
    }

    fn join(&mut self, t: usize, axis: usize) {
        let kernel = &self.steps[t].kernel;
        let Some((shape, _)) = space(kernel) else { return };
        self.read.extend(inputs(kernel).iter().map(|(o, _)| (o.place, o.layout, *shape, axis)));
        self.written.extend(results(kernel, axis).into_iter().flatten());
        for (place, bytes) in touches(kernel) {
            self.traffic += bytes;
            let known = self.bytes.entry(place).or_default();
            *known = bytes.max(*known);
        }
        self.members.push(Member { step: t, axis, traffic: Traffic::default(), idle: false });
    }

    fn defer(&mut self, t: usize) {
        self.after.push(t);
        let kernel = &self.steps[t].kernel;
        let slot = |(o, _): &(Operand, DType)| match o.place {
            Place::Slot(slot) => Some(slot),
            Place::Leaf(_) => None,
        };
        self.late[1].extend(inputs(kernel).iter().filter_map(slot));
        match kernel {
            Kernel::Map(map) => self.late[0].extend(map.outputs.iter().filter_map(slot)),
            Kernel::Reduce { out, .. } => self.late[0].extend([*out]),
            _ => {}
        }
    }

    /// Whether each member reads something large that no member before it has touched.
    fn first_readers(&self) -> Vec<bool> {
        let mut before: HashSet<Place> = HashSet::new();
        let reads_first = |member: &Member| {
            let kernel = &self.steps[member.step].kernel;
            let new = inputs(kernel).iter().filter(|(o, _)| !before.contains(&o.place));
            let far = new.map(|(o, _)| self.bytes[&o.place]).sum::<usize>() > FAR_BYTES;
            before.extend(touches(kernel).into_iter().map(|(place, _)| place));
            far
        };
        self.members.iter().map(reads_first).collect()
    }

    /// As [`Chain::rows`].
    fn rows(&self) -> Option<(Operand, DType, usize)> {
        let first = self.members.first().filter(|first| first.traffic.far)?;
        let kernel = &self.steps[first.step].kernel;
        let (shape, _) = space(kernel)?;
        let &(operand, dtype) = inputs(kernel).first()?;
        let strides = &operand.layout.strides;
        let others = (0..shape.rank()).filter(|&k| k != first.axis && shape[k] > 1);
        let last: isize = others.map(|k| strides[k] * (shape[k] as isize - 1)).sum();
        (strides[first.axis] == last + 1).then_some((operand, dtype, (last as usize + 1) * dtype.size()))
    }

    /// The chain, if running it in blocks is worth it.
    fn finish(mut self) -> Option<Chain> {
        let end = self.members.last()?.step + 1;
        self.after.retain(|&t| t < end);
        let touched: usize = self.bytes.values().sum();
        let each = touched / self.len;
        if self.members.len() < 2
            || touched < LEAST_BYTES
            || each > MOST_BYTES
            || self.traffic < touched * 5 / 4
        {
            return None;
        }
        let first_readers = self.first_readers();
        for (m, far) in first_readers.into_iter().enumerate() {
            let outputs = results(&self.steps[self.members[m].step].kernel, self.members[m].axis)?;
            let large =
                outputs.iter().map(|(slot, _)| self.bytes[&Place::Slot(*slot)]).sum::<usize>() > STREAM_BYTES;
            let read_later = self.members[m + 1..].iter().any(|later| {
                inputs(&self.steps[later.step].kernel)
                    .iter()
                    .any(|(o, _)| outputs.iter().any(|(slot, _)| o.place == Place::Slot(*slot)))
            });
            let stream = large && !read_later;
            self.members[m].traffic = Traffic { far, stream, ..Traffic::default() };
        }
        let at_rest = |member: &&mut Member| {
            let map = matches!(self.steps[member.step].kernel, Kernel::Map(_));
            map && !member.traffic.far && !member.traffic.stream
        };
        if let Some(member) = self.members.iter_mut().find(at_rest) {
            member.idle = true;
        }
        // Rows of a block that lie together should not be short.
        let row = self.written.values().copied().max().unwrap_or(1).max(1);
        let longer = LONG.div_ceil(row).min(MOST_BYTES / each.max(1));
        let block = (BLOCK_BYTES / each.max(1)).max(longer).clamp(1, self.len.div_ceil(8));
        let (steps, local, rows) = (self.first..end, Vec::new(), self.rows());
        Some(Chain { steps, members: self.members, after: self.after, len: self.len, block, local, rows })
    }
}

#[cfg(test)]
mod tests {
    use crate::{Rng, Tensor, eval, set_guard, vjp};
    use std::sync::{Mutex, PoisonError};

    /// The bits of what `f` gives, its results computed together.
    fn bits(f: &dyn Fn() -> Vec<Tensor>) -> Vec<Vec<u32>> {
        let results = f();
        eval(&results).unwrap();
        results.iter().map(|x| x.to_vec::<f32>().unwrap().iter().map(|v| v.to_bits()).collect()).collect()
    }

    /// The guard runs steps one by one. It is one for the whole process: tests take turns.
    fn same(f: impl Fn() -> Vec<Tensor>) {
        static TURN: Mutex<()> = Mutex::new(());
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let together = bits(&f);
        set_guard(true);
        let alone = bits(&f);
        set_guard(false);
        assert_eq!(together, alone);
    }

    fn drawn(shape: &[usize], seed: u64) -> Tensor {
        let x = Rng::seed(seed).normal(shape);
        x.eval().unwrap();
        x
    }

    #[test]
    fn softmax_over_any_axis() {
        for shape in [&[33, 50][..], &[4, 9, 17], &[16, 3, 5, 7], &[700, 3]] {
            let (x, g) = (drawn(shape, 1), drawn(shape, 2));
            for axis in 0..shape.len() as isize {
                same(|| {
                    let y = x.softmax(axis);
                    let dx = vjp(&y, &[&x], &g).remove(0).unwrap();
                    vec![y, dx, x.log_softmax(axis), x.sum(axis)]
                });
            }
        }
    }

    #[test]
    fn batch_norm_with_its_gradients_and_statistics() {
        for shape in [&[8, 16, 5, 5][..], &[300, 24], &[2, 9, 33]] {
            let (x, g) = (drawn(shape, 3), drawn(shape, 4));
            let (w, b) = (drawn(&shape[1..2], 5), drawn(&shape[1..2], 6));
            same(|| {
                let (y, stats) = x.batch_norm(Some(&w), Some(&b), 1e-5);
                let y = y.relu();
                let mut results: Vec<Tensor> = vjp(&y, &[&x, &w, &b], &g).into_iter().flatten().collect();
                results.extend([y, stats.mean * 0.9 + &b, stats.unbiased_var * 0.1]);
                results
            });
        }
    }

    #[test]
    fn empty_tensors() {
        let x = Tensor::zeros([3, 0]);
        same(|| vec![x.sum(1), x.softmax(0), x.sum(0) * 2.0]);
    }

    /// Views that cross the blocks, and results that others read at other indices.
    #[test]
    fn what_does_not_line_up_is_left_out() {
        let x = drawn(&[24, 24], 7);
        same(|| {
            let rows = (&x * 2.0).sum_keepdim(1);
            let both = &x - &rows + rows.t();
            let flipped = (x.exp() + 1.0).flip(0) * &x;
            vec![both.sum(0), both, flipped.sum(1), (&x * x.t()).sum(1), flipped]
        });
    }
}
