//! Patches of images as operands of the five loops (implicit GEMM; Chetlur et al., "cuDNN" (2014), section 3): the
//! matrix of all patches is never built, its panels are packed straight from the images.
//!
//! Packing goes in two steps. First the part of the images that a block needs is *staged*: copied with its padding
//! and split by stride phase, so that successive positions of any one tap are adjacent. Then panels are put together
//! from plain runs, without a test for the border. Every input element is staged once and packed once for each tap.

use super::rows::Rows;
use crate::gemm::Float;
use crate::gemm::kernel::{Kernels, Run, SLACK};
use crate::gemm::loops::{KC, Right};
use crate::gemm::scratch;
use crate::simd;
use std::ops::Range;

/// One axis of a correlation: position q and tap t read source coordinate `q * step + t * tap_step + offset`.
#[derive(Clone, Copy, Debug)]
pub struct Axis {
    /// Extent of the source.
    pub len: usize,
    /// Positions.
    pub out: usize,
    /// Taps.
    pub taps: usize,
    /// Source coordinates from one position to the next.
    pub step: usize,
    /// Source coordinates from one tap to the next.
    pub tap_step: isize,
    /// Source coordinate of position 0, tap 0.
    pub offset: isize,
}

impl Axis {
    /// The source coordinate that is staged first: the lowest of position 0.
    fn origin(&self) -> isize {
        self.offset + (self.taps as isize - 1) * self.tap_step.min(0)
    }

    /// Staged coordinate of tap t, position 0.
    fn shift(&self, tap: usize) -> usize {
        (tap as isize * self.tap_step + self.offset - self.origin()) as usize
    }

    fn last_shift(&self) -> usize {
        (self.taps - 1) * self.tap_step.unsigned_abs()
    }

    /// How many of the `step` phases hold a tap's positions.
    fn phases(&self) -> usize {
        self.step.min(self.last_shift() + 1)
    }

    /// How `len` elements of one phase are staged.
    pub fn part(&self, phase: usize, len: usize) -> RowPart {
        let start = self.origin() + phase as isize;
        // Elements i with 0 <= start + i * step < self.len are inside the source.
        let first = ((-start).max(0) as usize).div_ceil(self.step).min(len);
        let end = ((self.len as isize - start).max(0) as usize).div_ceil(self.step).clamp(first, len);
        let start = (start + (first * self.step) as isize).max(0) as usize;
        RowPart { inside: first..end, start, step: self.step }
    }

    /// Staged elements per phase for `positions` positions.
    fn staged(&self, positions: usize) -> usize {
        positions + self.last_shift() / self.step
    }
}

/// The patches of a batch of images: k = (channel, tap), columns = (image, position).
#[derive(Clone, Copy)]
pub struct Patches<T> {
    /// First element of image 0, channel 0.
    pub src: *const T,
    /// Elements from one image to the next; channels are adjacent planes.
    pub image_stride: usize,
    /// Rows and columns of the planes.
    pub axes: [Axis; 2],
}

// SAFETY: an address and numbers; it is read only in unsafe functions whose callers vouch for it.
unsafe impl<T: Sync> Sync for Patches<T> {}

/// What is staged for a block: some channels of some images, of the first and last image only the rows needed.
struct Stage {
    channels: Range<usize>,
    images: Range<usize>,
    /// First position row that has a place.
    first_row: usize,
    /// Rows and columns of one phase plane.
    plane: [usize; 2],
    phases: [usize; 2],
}

impl Stage {
    fn channel_len(&self) -> usize {
        self.phases[0] * self.phases[1] * self.plane[0] * self.plane[1]
    }

    fn image_len(&self) -> usize {
        self.channels.len() * self.channel_len()
    }

    fn len(&self) -> usize {
        self.images.len() * self.image_len()
    }
}

impl<T: Float> Patches<T> {
    /// Taps of one channel.
    pub fn taps(&self) -> usize {
        self.axes[0].taps * self.axes[1].taps
    }

    /// Positions in one image.
    pub fn positions(&self) -> usize {
        self.axes[0].out * self.axes[1].out
    }

    /// The stage for the given ranges of k and of columns, none empty.
    fn stage(&self, ks: &Range<usize>, cols: &Range<usize>) -> Stage {
        let (taps, area, [rows, columns]) = (self.taps(), self.positions(), self.axes);
        let images = cols.start / area..(cols.end - 1) / area + 1;
        let (first_row, positions) = if images.len() == 1 {
            let first = cols.start % area / columns.out;
            (first, (cols.end - 1) % area / columns.out + 1 - first)
        } else {
            (0, rows.out)
        };
        Stage {
            channels: ks.start / taps..(ks.end - 1) / taps + 1,
            images,
            first_row,
            plane: [rows.staged(positions), columns.staged(columns.out)],
            phases: [rows.phases(), columns.phases()],
        }
    }

    /// Fills `out` with what `stage` says, as far as the columns `cols` need it.
    unsafe fn fill(&self, stage: &Stage, cols: &Range<usize>, out: *mut T) {
        let (area, [rows, columns]) = (self.positions(), self.axes);
        let (image_len, channel_len, staging) =
            (stage.image_len(), stage.channel_len(), T::rows(simd::level()));
        for phase in 0..stage.phases[0] * stage.phases[1] {
            let origin = rows.origin() + (phase / stage.phases[1] + stage.first_row * rows.step) as isize;
            let part = columns.part(phase % stage.phases[1], stage.plane[1]);
            let out = out.wrapping_add(phase * stage.plane[0] * stage.plane[1]);
            for (image_slot, image) in stage.images.clone().enumerate() {
                let first = cols.start.saturating_sub(image * area) / columns.out;
                let last = (cols.end - image * area).min(area).div_ceil(columns.out);
                let needed = first - stage.first_row..last - stage.first_row + rows.last_shift() / rows.step;
                for (slot, channel) in stage.channels.clone().enumerate() {
                    let plane = image * self.image_stride + channel * rows.len * columns.len;
                    let plane = self.src.wrapping_add(plane);
                    let out = out.wrapping_add(image_slot * image_len + slot * channel_len);
                    for row in needed.clone() {
                        let y = origin + (row * rows.step) as isize;
                        let inside = (0..rows.len as isize).contains(&y);
                        let source = inside.then(|| plane.wrapping_add(y as usize * columns.len));
                        // SAFETY: this is a row of the stage; the source row is inside the plane.
                        unsafe {
                            let out = out.add(row * stage.plane[1]);
                            part.fill(staging, source, out, stage.plane[1]);
                        }
                    }
                }
            }
        }
    }

    /// Staged offset of (channel, tap) k.
    fn k_offset(&self, stage: &Stage, k: usize) -> usize {
        let (taps, [rows, columns]) = (self.taps(), self.axes);
        let (channel, tap) = (k / taps - stage.channels.start, k % taps);
        let (y, x) = (rows.shift(tap / columns.taps), columns.shift(tap % columns.taps));
        let phase = y % rows.step * stage.phases[1] + x % columns.step;
        channel * stage.channel_len()
            + (phase * stage.plane[0] + y / rows.step) * stage.plane[1]
            + x / columns.step
    }

    /// The runs that the columns `cols` (at most [`KC`]) are staged in.
    fn runs<'a>(&self, stage: &Stage, cols: Range<usize>, runs: &'a mut [Run; KC]) -> &'a [Run] {
        let (area, columns) = (self.positions(), self.axes[1]);
        // Without a border between them, the rows of an image are one run.
        let whole = if stage.plane[1] == columns.out { area } else { columns.out };
        let (mut count, mut col) = (0, cols.start);
        while col < cols.end {
            let (image, position) = (col / area - stage.images.start, col % area);
            let (row, column) = (position / columns.out - stage.first_row, position % columns.out);
            let len = (whole - position % whole).min(cols.end - col);
            runs[count] = Run {
                from: (image * stage.image_len() + row * stage.plane[1] + column) as u32,
                to: (col - cols.start) as u32,
                len: len as u32,
            };
            count += 1;
            col += len;
        }
        &runs[..count]
    }
}

/// How one phase of a row is staged: elements `inside` come from the source, every `step`-th from `start` on; the
/// others are padding.
pub struct RowPart {
    inside: Range<usize>,
    start: usize,
    step: usize,
}

impl RowPart {
    /// Fills one staged row of `len` elements from a source row (or with zeros, if there is none).
    ///
    /// # Safety
    /// The source row is live, as long as the axis says, and `out` has room.
    #[inline]
    pub unsafe fn fill<T: Float>(&self, rows: &Rows<T>, source: Option<*const T>, out: *mut T, len: usize) {
        let Range { start, end } = if source.is_some() { self.inside.clone() } else { 0..0 };
        let source = source.unwrap_or(out.cast_const()).wrapping_add(self.start);
        // SAFETY: elements start, start + step, … are inside the source row, as many as `inside` has.
        unsafe { (rows.stage)(source, self.step, [start, end, len], out) }
    }
}

/// Copies every `STEP`-th element, in chunks of constant length of which the last two may overlap.
///
/// # Safety
/// As many elements of the source are live.
#[inline(always)]
pub unsafe fn copy_every<T: Float, const STEP: usize>(source: *const T, out: &mut [T]) {
    // SAFETY: handed on.
    unsafe {
        match out.len() {
            0..4 => out.iter_mut().enumerate().for_each(|(i, x)| *x = *source.add(i * STEP)),
            4..8 => copy_chunks::<T, STEP, 4>(source, out),
            8..16 => copy_chunks::<T, STEP, 8>(source, out),
            16.. => copy_chunks::<T, STEP, 16>(source, out),
        }
    }
}

#[inline(always)]
unsafe fn copy_chunks<T: Float, const STEP: usize, const CHUNK: usize>(source: *const T, out: &mut [T]) {
    let last = out.len() - CHUNK;
    let mut at = 0;
    loop {
        let mut chunk = [T::ZERO; CHUNK];
        for (i, x) in chunk.iter_mut().enumerate() {
            // SAFETY: at + i < out.len(), as many elements as the caller vouches for.
            *x = unsafe { *source.add((at + i) * STEP) };
        }
        out[at..at + CHUNK].copy_from_slice(&chunk);
        if at == last {
            return;
        }
        at = last.min(at + CHUNK);
    }
}

impl<T: Float> Right<T> for Patches<T> {
    fn in_place(&self, _: usize, _: Range<usize>) -> Option<(*const T, isize)> {
        None
    }

    unsafe fn pack(&self, kernels: &Kernels<T>, ks: Range<usize>, cols: Range<usize>, out: *mut T) {
        if ks.is_empty() {
            return;
        }
        let stage = self.stage(&ks, &cols);
        scratch::with(stage.len() + 2 * SLACK, |staged: *mut T| {
            let (mut rows, mut runs, nr) = ([0; KC], [Run::default(); KC], kernels.nr());
            for (row, k) in rows.iter_mut().zip(ks.clone()) {
                *row = self.k_offset(&stage, k);
            }
            // SAFETY: the scratch holds the stage and slack; `out` has room for whole panels and slack.
            unsafe {
                self.fill(&stage, &cols, staged);
                for col in cols.clone().step_by(nr) {
                    let runs = self.runs(&stage, col..cols.end.min(col + nr), &mut runs);
                    let out = out.add((col - cols.start) * ks.len());
                    (kernels.gather)(staged, &rows[..ks.len()], runs, nr, out);
                }
            }
        });
    }
}

/// The patches the other way round, for the weight gradient: k = (image, position), columns = (channel, tap).
pub struct Transposed<T>(pub Patches<T>);

impl<T: Float> Right<T> for Transposed<T> {
    fn in_place(&self, _: usize, _: Range<usize>) -> Option<(*const T, isize)> {
        None
    }

    unsafe fn pack(&self, kernels: &Kernels<T>, ks: Range<usize>, cols: Range<usize>, out: *mut T) {
        if ks.is_empty() {
            return;
        }
        let (patches, nr, depth) = (&self.0, kernels.nr(), ks.len());
        let stage = patches.stage(&cols, &ks);
        let strips = nr * depth + SLACK;
        scratch::with(strips + stage.len() + 2 * SLACK, |strip: *mut T| {
            let staged = strip.wrapping_add(strips);
            let (mut rows, mut runs) = ([0; KC], [Run::default(); KC]);
            let runs = patches.runs(&stage, ks.clone(), &mut runs);
            // SAFETY: the scratch holds nr strips, the stage, and slack after each; `out` has room for the panels.
            unsafe {
                patches.fill(&stage, &ks, staged);
                for col in cols.clone().step_by(nr) {
                    let count = nr.min(cols.end - col);
                    for (row, k) in rows.iter_mut().zip(col..col + count) {
                        *row = patches.k_offset(&stage, k);
                    }
                    (kernels.gather)(staged, &rows[..count], runs, depth, strip);
                    let out = out.add((col - cols.start) * depth);
                    (kernels.transpose)(depth, count, nr, strip, depth as isize, out);
                }
            }
        });
    }
}
