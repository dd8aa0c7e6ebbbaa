//! What forward pass and input gradient have in common: which taps a position sees, and the weights in their order.

use super::Conv;
use super::patches::copy_every;
use crate::gemm::kernel::SLACK;
use crate::gemm::loops::panel_height;
use crate::gemm::{Float, SharedMut, scratch};
use crate::{par, simd};
use std::ops::Range;

/// Which of the two passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// From x to y.
    Forward,
    /// From the gradient of y to that of x.
    InputGrad,
}

/// Channels of a group: of the source and of the target.
pub fn channels(c: &Conv, form: Form) -> [usize; 2] {
    match form {
        Form::Forward => [c.group_in(), c.group_out()],
        Form::InputGrad => [c.group_out(), c.group_in()],
    }
}

/// Longest sum over the taps and a chunk of the channels, where a tap has more than one channel: panels of B for two
/// vectors take 64 KiB of f32, one of A 28.
const KC: usize = 512;

/// Source channels of a chunk, if a pixel sees up to `taps` taps.
pub fn depth(channels: usize, taps: usize) -> usize {
    let most = (KC / taps.max(1)).max(1);
    channels.div_ceil(channels.div_ceil(most).max(1)).max(1)
}

/// One axis: which taps and source coordinates a target coordinate adds.
pub struct Axis {
    /// For each target coordinate.
    pub sources: Vec<Vec<(usize, usize)>>,
    /// For each target coordinate, the lowest source coordinate that it or one after it sees, and the end of those
    /// that it and the ones before it see: neither ever falls.
    spans: Vec<(usize, usize)>,
    /// For each target coordinate, the first that sees the same taps.
    pub classes: Vec<usize>,
}

impl Axis {
    pub fn new(c: &Conv, form: Form, i: usize) -> Axis {
        let (stride, dilation, padding) = (c.stride[i], c.dilation[i], c.padding[i]);
        let targets = match form {
            Form::Forward => c.output[i],
            Form::InputGrad => c.input[i],
        };
        let source = |target: usize, tap: usize| match form {
            Form::Forward => {
                (target * stride + tap * dilation).checked_sub(padding).filter(|&at| at < c.input[i])
            }
            Form::InputGrad => (target + padding)
                .checked_sub(tap * dilation)
                .filter(|at| at % stride == 0 && at / stride < c.output[i])
                .map(|at| at / stride),
        };
        let sources: Vec<Vec<_>> = (0..targets)
            .map(|target| (0..c.kernel[i]).filter_map(|tap| Some((tap, source(target, tap)?))).collect())
            .collect();
        let (mut low, mut high) = (usize::MAX, 0);
        let mut spans = vec![(0, 0); targets];
        for (seen, span) in sources.iter().zip(&mut spans).rev() {
            low = seen.iter().map(|&(_, at)| at).fold(low, usize::min);
            span.0 = low;
        }
        for (seen, span) in sources.iter().zip(&mut spans) {
            high = seen.iter().map(|&(_, at)| at + 1).fold(high, usize::max);
            *span = (span.0.min(high), high);
        }
        let same = |x: &Vec<(usize, usize)>, y: &Vec<(usize, usize)>| {
            x.len() == y.len() && x.iter().zip(y).all(|(x, y)| x.0 == y.0)
        };
        let first = |seen| sources.iter().position(|other| same(other, seen)).unwrap_or(0);
        let classes = sources.iter().map(first).collect();
        Axis { sources, spans, classes }
    }

    /// Target coordinates.
    pub fn len(&self) -> usize {
        self.sources.len()
    }

    /// Most taps of any.
    pub fn most(&self) -> usize {
        self.sources.iter().map(Vec::len).max().unwrap_or(0)
    }

    /// The source coordinates that `targets` (not empty) need, and maybe some more.
    pub fn span(&self, targets: &Range<usize>) -> Range<usize> {
        self.spans[targets.start].0..self.spans[targets.end - 1].1
    }

    /// The classes of some coordinates, each once.
    pub fn classes_of(&self, targets: &Range<usize>) -> Vec<usize> {
        let mut classes = self.classes[targets.clone()].to_vec();
        classes.sort_unstable();
        classes.dedup();
        classes
    }

    /// Most source coordinates that any `height` targets, counted from 0, see together.
    pub fn widest(&self, height: usize) -> usize {
        let bands = (0..self.len()).step_by(height).map(|first| first..self.len().min(first + height));
        bands.map(|band| self.span(&band).len()).max().unwrap_or(0)
    }
}

/// Brings the weights into the order in which they are read: group, chunk of `depth` source channels, panel, tap,
/// source channel, row.
///
/// # Safety
/// `w` is live for the lengths of `c`, and `out` has room for as many elements.
pub unsafe fn pack_weights<T: Float>(c: &Conv, form: Form, depth: usize, w: *const T, out: &SharedMut<T>) {
    let (level, taps, [source, target]) = (simd::level(), c.taps(), channels(c, form));
    let (transpose, height) = (T::kernels(level).transpose, panel_height(target, T::reduce(level).len()));
    let panels = target.div_ceil(height);
    let w = SharedMut(w.cast_mut());
    par::for_each(c.groups * panels, |task| {
        let (group, first) = (task / panels, task % panels * height);
        let rows = height.min(target - first);
        scratch::with(depth * taps * rows + SLACK, |room: *mut T| {
            for chunk in (0..source).step_by(depth) {
                let len = depth.min(source - chunk);
                let out = out.at((group * source + chunk) * target * taps + first * taps * len);
                // SAFETY: rows and channels are inside w; the panel has its place in `out`.
                unsafe {
                    match form {
                        Form::Forward => {
                            let row = source * taps;
                            let w = w.at((group * target + first) * row + chunk * taps);
                            transpose(len * taps, rows, rows, w, row as isize, room);
                            for channel in 0..len {
                                let from = room.add(channel * taps * rows);
                                spread(from, taps, rows, out.add(channel * rows), len);
                            }
                        }
                        Form::InputGrad => {
                            for channel in 0..len {
                                let w = w.at(((group * source + chunk + channel) * target + first) * taps);
                                transpose(taps, rows, rows, w, taps as isize, room);
                                spread(room, taps, rows, out.add(channel * rows), len);
                            }
                        }
                    }
                }
            }
        });
    });
}

/// Copies `taps` rows of `rows` adjacent elements, each `len` rows after the last.
unsafe fn spread<T: Float>(from: *const T, taps: usize, rows: usize, to: *mut T, len: usize) {
    for tap in 0..taps {
        // SAFETY: the caller vouches for both.
        unsafe {
            let to = std::slice::from_raw_parts_mut(to.add(tap * len * rows), rows);
            copy_every::<T, 1>(from.add(tap * rows), to);
        }
    }
}
