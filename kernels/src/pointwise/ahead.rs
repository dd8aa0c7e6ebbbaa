//! Memory that is fetched into the cache while loops run over what is there already.
//!
//! The steps of a tile read one input after the other, and then none for a while. Memory gives a single stream only a
//! part of its bandwidth, and nothing to those who do not ask: so all inputs of the next tile are asked for side by
//! side, a little with every block of every loop.

use crate::simd::prefetch;

/// Bytes of a cache line.
pub(super) const LINE: usize = 64;

/// A piece of memory on its way into the cache.
#[derive(Clone, Copy)]
pub(super) struct Stream {
    /// What comes next.
    at: *const u8,
    /// Bytes of the whole; and from [`Ahead::spread`] on those of a block, at most a line.
    step: usize,
}

impl Stream {
    /// Fetches what belongs to one block.
    #[inline(always)]
    pub(super) fn fetch_block(&mut self) {
        prefetch(self.at);
        self.at = self.at.wrapping_add(self.step);
    }
}

/// What a tile fetches for the next one.
#[derive(Default)]
pub(super) struct Ahead {
    streams: Vec<Stream>,
}

impl Ahead {
    /// Adds `bytes` bytes from `at` on, more than none.
    pub(super) fn push(&mut self, at: *const u8, bytes: usize) {
        let before = at.addr() % LINE;
        self.streams.push(Stream { at: at.wrapping_sub(before), step: before + bytes });
    }

    /// Says that all is to be fetched in the course of so many blocks.
    pub(super) fn spread(&mut self, blocks: usize) {
        for k in 0..self.streams.len() {
            let Stream { at, step: bytes } = self.streams[k];
            // What is more than a line a block becomes several streams.
            let parts = bytes.div_ceil(LINE * blocks);
            let part = bytes.div_ceil(parts).next_multiple_of(LINE);
            let step = part.div_ceil(blocks);
            self.streams[k] = Stream { at, step };
            self.streams.extend((1..parts).map(|i| Stream { at: at.wrapping_add(i * part), step }));
        }
    }

    /// Fetches at once what was added.
    pub(super) fn fetch_all(&mut self) {
        for Stream { at, step: bytes } in self.streams.drain(..) {
            (0..bytes.div_ceil(LINE)).for_each(|line| prefetch(at.wrapping_add(line * LINE)));
        }
    }

    /// Whether there is nothing to fetch.
    pub(super) fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// The streams, where there are two at most; one alone counts twice.
    pub(super) fn few(&self) -> Option<[Stream; 2]> {
        match self.streams[..] {
            [stream] => Some([stream; 2]),
            [first, second] => Some([first, second]),
            _ => None,
        }
    }

    /// Says that what belongs to so many blocks was fetched from the streams themselves.
    pub(super) fn skip(&mut self, blocks: usize) {
        self.streams.iter_mut().for_each(|stream| stream.at = stream.at.wrapping_add(stream.step * blocks));
    }

    /// Forgets what was to be fetched.
    pub(super) fn clear(&mut self) {
        self.streams.clear();
    }

    /// Fetches what belongs to one block.
    #[inline(always)]
    pub(super) fn fetch_block(&mut self) {
        self.streams.iter_mut().for_each(Stream::fetch_block);
    }

    /// Fetches what belongs to so many blocks.
    #[inline(always)]
    pub(super) fn fetch(&mut self, blocks: usize) {
        for stream in &mut self.streams {
            let end = stream.at.wrapping_add(stream.step * blocks);
            let first = stream.at.wrapping_add(stream.at.addr().wrapping_neg() % LINE);
            let lines = end.addr().saturating_sub(first.addr()).div_ceil(LINE);
            (0..lines).for_each(|line| prefetch(first.wrapping_add(line * LINE)));
            stream.at = end;
        }
    }
}
