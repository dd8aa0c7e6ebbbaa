//! Bind groups, kept by layout and buffers: making one costs as much as the rest of a dispatch together.

use super::context::Context;
use super::pipelines::Layout;
use super::pool::Raw;
use crate::graph::IdHasher;
use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::num::NonZeroU64;
use std::sync::atomic::Ordering::Relaxed;

/// Bind groups kept.
const MOST: usize = 4096;

struct Group {
    /// The layout and the words of parameters, and what is bound: see [`word`].
    key: Box<[u64]>,
    raw: wgpu::BindGroup,
}

/// So many words of the buffer of parameters, from an offset that is given when the group is set.
#[derive(Clone, Copy)]
pub(super) struct Range<'a> {
    pub buffer: &'a wgpu::Buffer,
    pub words: usize,
}

/// A buffer and the byte from which it is bound, in one number: such bytes are multiples of 256 and small.
fn word((raw, start): (&Raw, u64)) -> u64 {
    raw.id << START_BITS | start >> 8
}

const START_BITS: u32 = 24;

/// The bind groups made so far.
#[derive(Default)]
pub(super) struct Groups {
    list: Vec<Option<Group>>,
    place: HashMap<Box<[u64]>, usize, BuildHasherDefault<IdHasher>>,
    /// Free places in the list.
    vacant: Vec<usize>,
    /// The key of the dispatch that is being recorded.
    key: Vec<u64>,
}

/// Where the bind groups that a dispatch of a plan had lie, most likely: a parameter goes back and forth between two
/// buffers. Only a guess, which is compared with what is asked for.
#[derive(Clone, Copy, Default)]
pub(super) struct Hint([usize; 2]);

impl Groups {
    /// The bind group of `buffers`, each from some byte on, and of a range of parameters.
    pub fn of<'a>(
        &mut self,
        context: &Context,
        layout: &Layout,
        buffers: impl Iterator<Item = (&'a Raw, u64)> + Clone,
        params: Range,
        hint: &mut Hint,
    ) -> &wgpu::BindGroup {
        self.key.clear();
        let [reads, writes] = layout.key.map(u64::from);
        self.key.push((params.words as u64) << 16 | reads << 8 | writes);
        self.key.extend(buffers.clone().map(word));
        let fits = |at: &usize| matches!(self.list.get(*at), Some(Some(group)) if *group.key == *self.key);
        let at = match hint.0.into_iter().find(fits) {
            Some(at) => at,
            None => {
                let known = self.place.get(self.key.as_slice()).copied();
                let at = known.unwrap_or_else(|| self.make(context, layout, buffers, params));
                *hint = Hint([at, hint.0[0]]);
                at
            }
        };
        let group = self.list[at].as_ref().expect("found or made above");
        &group.raw
    }

    /// Makes the bind group of `self.key`; gives its place.
    fn make<'a>(
        &mut self,
        context: &Context,
        layout: &Layout,
        buffers: impl Iterator<Item = (&'a Raw, u64)>,
        params: Range,
    ) -> usize {
        if self.place.len() >= MOST {
            let key = std::mem::take(&mut self.key);
            *self = Groups { key, ..Groups::default() };
        }
        let bound: Vec<(&Raw, u64)> = buffers.collect();
        // In a browser no ranges that are written may overlap: a part of a buffer ends where the next one begins.
        let end = |raw: &Raw, offset: u64| {
            let later = |(other, at): &&(&Raw, u64)| other.id == raw.id && *at > offset;
            bound.iter().filter(later).map(|(_, at)| *at).min()
        };
        let storage = bound.iter().map(|&(raw, offset)| {
            let size = end(raw, offset).and_then(|end| NonZeroU64::new(end - offset));
            (&raw.buffer, offset, size)
        });
        let bytes = NonZeroU64::new(4 * params.words as u64);
        let entry = |(i, (buffer, offset, size))| wgpu::BindGroupEntry {
            binding: i as u32,
            resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer, offset, size }),
        };
        let entries: Vec<_> = storage.chain([(params.buffer, 0, bytes)]).enumerate().map(entry).collect();
        let raw = context.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &layout.group,
            entries: &entries,
        });
        context.bind_groups.fetch_add(1, Relaxed);
        let key: Box<[u64]> = self.key.as_slice().into();
        let at = self.vacant.pop().unwrap_or_else(|| {
            self.list.push(None);
            self.list.len() - 1
        });
        self.list[at] = Some(Group { key: key.clone(), raw });
        self.place.insert(key, at);
        at
    }

    /// Drops the bind groups that keep the buffers `gone` alive.
    pub fn forget(&mut self, gone: &[u64]) {
        for (at, place) in self.list.iter_mut().enumerate() {
            if place
                .as_ref()
                .is_some_and(|group| group.key[1..].iter().any(|word| gone.contains(&(word >> START_BITS))))
            {
                place.take().and_then(|group| self.place.remove(&group.key));
                self.vacant.push(at);
            }
        }
    }
}
