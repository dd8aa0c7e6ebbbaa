//! Fusing: which pointwise nodes share a kernel, which become the prologue of a reduction, and which the epilogue of
//! a matrix product or convolution.
//!
//! Every node gets a level such that following an input either stays in the same level, when both nodes are
//! pointwise over one shape and linked element for element, or goes to a lower one. Nodes of one level that are so
//! linked form a group. A path that leaves a group ends in higher levels and never returns, so groups do not form
//! cycles. Levels are as late as users allow: a mask made for the backward pass is computed there, from what is
//! kept anyway, instead of being stored by the forward pass.

use super::plan::{Class, Ir};
use crate::ops::Op;
use std::collections::{HashMap, HashSet};

/// Larger programs gain nothing and would outgrow their registers.
const MAX_GROUP: usize = 512;
/// A group that walks through more arrays than this runs faster over whole rows, on its own, than as an epilogue over
/// the blocks of a product: an optimizer's update, say.
const MAX_STREAMS: usize = 4;

/// The groups: nodes with the same number share a kernel.
pub(super) struct Groups {
    /// For each node that a kernel computes, its group; the group's number is the index of one of its nodes.
    pub of: Vec<u32>,
    /// Whether each node's value is stored.
    pub stored: Vec<bool>,
}

struct Fuser<'a, 'b> {
    ir: &'a Ir<'b>,
    /// Who reads each node's buffer, and whether element for element.
    users: Vec<Vec<(u32, bool)>>,
    level: Vec<i32>,
    /// The reduction whose prologue a node belongs to.
    prologue: Vec<Option<u32>>,
    /// Whether the value is asked for from outside.
    wanted: Vec<bool>,
}

impl Groups {
    pub fn new(ir: &Ir, fuse: bool) -> Groups {
        let n = ir.class.len();
        let mut fuser = Fuser {
            ir,
            users: vec![Vec::new(); n],
            level: vec![0; n],
            prologue: vec![None; n],
            wanted: wanted_nodes(ir),
        };
        for i in fuser.computed() {
            for (base, direct) in ir.edges(i) {
                fuser.users[base as usize].push((i, direct));
            }
        }
        let mut of: Vec<u32> = (0..n as u32).collect();
        if fuse {
            fuser.find_prologues();
            fuser.find_levels();
            fuser.join(&mut of);
            fuser.find_epilogues(&mut of);
        }
        let stored = (0..n as u32).map(|i| fuser.is_stored(i, &of)).collect();
        Groups { of, stored }
    }
}

fn root(of: &mut [u32], mut i: u32) -> u32 {
    while of[i as usize] != i {
        of[i as usize] = of[of[i as usize] as usize];
        i = of[i as usize];
    }
    i
}

impl Fuser<'_, '_> {
    /// The nodes that some kernel computes.
    fn computed(&self) -> Vec<u32> {
        (0..self.ir.class.len() as u32)
            .filter(|&i| {
                let k = i as usize;
                self.ir.live[k]
                    && self.ir.same[k] == i
                    && matches!(self.ir.class[k], Class::Map | Class::Copy | Class::Heavy)
            })
            .collect()
    }

    /// Pointwise nodes that only one reduction needs, through nodes that only it needs.
    fn find_prologues(&mut self) {
        let ir = self.ir;
        let mut size = vec![0usize; self.prologue.len()];
        for i in self.computed().into_iter().rev() {
            let host = match ir.capture.op(i) {
                Op::Reduce(..) => Some(i),
                _ => self.prologue[i as usize],
            };
            let Some(host) = host else { continue };
            for &x in ir.capture.nodes[i as usize].inputs.iter() {
                let x = ir.same[x as usize];
                let alone = ir.is_map(x)
                    && !self.wanted[x as usize]
                    && size[host as usize] < MAX_GROUP
                    // Element for element: what is read through a view must lie in memory.
                    && self.users[x as usize]
                        .iter()
                        .all(|&(u, direct)| u == host || (direct && self.prologue[u as usize] == Some(host)))
                    && ir.capture.shape(x) == ir.capture.shape(reduced(ir, host));
                if alone && self.prologue[x as usize].is_none() {
                    size[host as usize] += 1;
                    self.prologue[x as usize] = Some(host);
                }
            }
        }
    }

    fn find_levels(&mut self) {
        let ir = self.ir;
        let computed = self.computed();
        for &i in &computed {
            let mut level = 0;
            for (base, direct) in ir.edges(i) {
                if matches!(ir.class[base as usize], Class::Leaf | Class::Full) {
                    continue;
                }
                let host = self.prologue[base as usize];
                let inside = match self.prologue[i as usize] {
                    Some(h) => host == Some(h),
                    None => (direct && ir.is_map(i) && ir.is_map(base)) || host == Some(i),
                };
                level = level.max(self.level[base as usize] + i32::from(!inside));
            }
            self.level[i as usize] = level;
        }
        for &i in computed.iter().rev() {
            if !ir.is_map(i) || self.wanted[i as usize] || self.prologue[i as usize].is_some() {
                continue;
            }
            let latest = self.users[i as usize].iter().map(|&(u, direct)| match self.prologue[u as usize] {
                Some(host) => self.level[host as usize] - 1,
                None if direct && ir.is_map(u) => self.level[u as usize],
                None => self.level[u as usize] - 1,
            });
            if let Some(latest) = latest.min() {
                self.level[i as usize] = latest;
            }
        }
    }

    /// Joins linked nodes of one level. What grows too large is cut in the order of creation, in which nothing
    /// depends on anything later: pieces made otherwise could each need values of the other.
    fn join(&self, of: &mut [u32]) {
        let ir = self.ir;
        let computed = self.computed();
        for &i in &computed {
            if let Some(host) = self.prologue[i as usize] {
                of[i as usize] = host;
                continue;
            }
            if !ir.is_map(i) {
                continue;
            }
            for (base, direct) in ir.edges(i) {
                let linked = direct
                    && ir.is_map(base)
                    && self.prologue[base as usize].is_none()
                    && self.level[base as usize] == self.level[i as usize];
                if linked {
                    let (a, b) = (root(of, i), root(of, base));
                    of[a as usize] = b;
                }
            }
        }
        for i in 0..of.len() as u32 {
            of[i as usize] = root(of, i);
        }
        self.cut(of, &computed);
    }

    /// Cuts groups into runs of at most [`MAX_GROUP`] nodes.
    fn cut(&self, of: &mut [u32], computed: &[u32]) {
        // For each group, the piece that is filling up, and how full it is.
        let mut filling: HashMap<u32, (u32, usize)> = HashMap::new();
        for &i in computed.iter().filter(|&&i| self.ir.is_map(i) && self.prologue[i as usize].is_none()) {
            let (piece, size) = filling.entry(of[i as usize]).or_insert((i, 0));
            if *size == MAX_GROUP {
                (*piece, *size) = (i, 0);
            }
            *size += 1;
            of[i as usize] = *piece;
        }
    }

    /// Gives a group to the product or convolution that it alone uses: it runs while the result is in cache.
    fn find_epilogues(&self, of: &mut [u32]) {
        let ir = self.ir;
        let mut taken = vec![false; of.len()];
        let mut unfit = vec![false; of.len()];
        for i in self.computed() {
            let positional = matches!(ir.capture.op(i), Op::Index | Op::Random { .. });
            let flat = ir.capture.shape(i).rank() != 4 || self.planes_are_flat(i);
            if ir.is_map(i) && (positional || !flat) {
                unfit[of[i as usize] as usize] = true;
            }
        }
        let streams = self.streams(of);
        for h in self.computed().into_iter().rev() {
            if !matches!(ir.capture.op(h), Op::Matmul | Op::Conv(_) | Op::ConvInput(_))
                || self.wanted[h as usize]
            {
                continue;
            }
            let Some(&(first, _)) = self.users[h as usize].first() else { continue };
            let group = of[first as usize];
            let all_inside = self.users[h as usize].iter().all(|&(u, direct)| {
                direct && ir.is_map(u) && self.prologue[u as usize].is_none() && of[u as usize] == group
            });
            let light = streams.get(&group).is_none_or(|n| *n <= MAX_STREAMS);
            if all_inside && light && !taken[group as usize] && !unfit[group as usize] {
                taken[group as usize] = true;
                of[h as usize] = group;
            }
        }
    }

    /// How many arrays as large as its results each group walks through besides a product's: distinct inputs, and
    /// results asked for from outside.
    fn streams(&self, of: &[u32]) -> HashMap<u32, usize> {
        let ir = self.ir;
        let mut read: HashSet<(u32, u32)> = HashSet::new();
        let mut streams: HashMap<u32, usize> = HashMap::new();
        for i in self.computed().into_iter().filter(|&i| ir.is_map(i)) {
            let group = of[i as usize];
            *streams.entry(group).or_default() += usize::from(self.wanted[i as usize]);
            for (base, _) in ir.edges(i) {
                let outside = of[base as usize] != group && ir.class[base as usize] != Class::Full;
                let large = ir.capture.shape(base).numel() >= ir.capture.shape(i).numel();
                if outside && large && read.insert((group, base)) {
                    *streams.entry(group).or_default() += 1;
                }
            }
        }
        streams
    }

    /// Whether every operand of a node of four axes walks its last two as one: then a range of pixels is a box.
    fn planes_are_flat(&self, i: u32) -> bool {
        let shape = self.ir.capture.shape(i);
        self.ir.capture.nodes[i as usize].inputs.iter().all(|&x| {
            let x = self.ir.same[x as usize];
            let strides = self.ir.source[x as usize].1.strides;
            self.ir.class[x as usize] == Class::Full
                || shape[2] == 1
                || shape[3] == 1
                || strides[2] == strides[3] * shape[3] as isize
        })
    }

    fn is_stored(&self, i: u32, of: &[u32]) -> bool {
        let k = i as usize;
        let computed = self.ir.live[k] && self.ir.same[k] == i;
        match self.ir.class[k] {
            Class::Copy => computed,
            // A product inside a group is stored only as scratch of that group.
            Class::Heavy => computed && (of[k] == i || !self.is_host(i, of)),
            Class::Map => {
                computed
                    && self.prologue[k].is_none()
                    && (self.wanted[k]
                        || self.users[k]
                            .iter()
                            .any(|&(u, direct)| !direct || of[u as usize] != of[k] || !self.ir.is_map(u)))
            }
            Class::Full => {
                computed
                    && (self.wanted[k]
                        || self.users[k].iter().any(|&(u, direct)| !direct || !self.ir.is_map(u)))
            }
            Class::Leaf | Class::View => false,
        }
    }

    /// Whether a product runs together with a group.
    fn is_host(&self, i: u32, of: &[u32]) -> bool {
        of[i as usize] != i && self.ir.is_map(of[i as usize])
    }
}

/// The node over whose elements a reduction's prologue runs.
fn reduced(ir: &Ir, reduction: u32) -> u32 {
    ir.capture.nodes[reduction as usize].inputs[0]
}

fn wanted_nodes(ir: &Ir) -> Vec<bool> {
    let mut wanted = vec![false; ir.same.len()];
    for (&w, &same) in ir.capture.wanted.iter().zip(&ir.same) {
        // Wanting a view is wanting what it looks at.
        wanted[ir.source[same as usize].0 as usize] |= w >= 2;
    }
    wanted
}
