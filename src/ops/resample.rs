//! Images at other resolutions: interpolation, and pixels moved between channels and planes.

use super::cases::{Array, Draw, Gradient, OpCase};
use super::pool::pair;
use crate::error::{BuildError, fail};
use crate::shape::ToNumbers;
use crate::tensor::Tensor;

/// How values between pixels are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interpolation {
    /// The pixel at `floor(i · old / new)`, PyTorch's `nearest`.
    Nearest,
    /// Linear along both axes.
    Bilinear {
        /// Whether the centres of the corner pixels stay where they are, else the borders of the image do. PyTorch's
        /// default is false.
        align_corners: bool,
    },
}

/// One axis of an interpolation: `from` pixels become `to`, `step` old pixels apart.
#[derive(Clone, Copy)]
struct Line {
    from: usize,
    to: usize,
    /// Old pixels per new pixel, as a quotient: dividing once keeps whole numbers whole.
    step: (f64, f64),
}

impl Line {
    fn nearest(&self) -> Vec<u32> {
        let at = |i: usize| (i as f64 * self.step.0 / self.step.1) as usize;
        (0..self.to).map(|i| at(i).min(self.from - 1) as u32).collect()
    }

    /// For each new pixel the old one at or before it, the next, and how far it is on the way between.
    fn linear(&self, align_corners: bool) -> (Vec<u32>, Vec<u32>, Vec<f64>) {
        let last = self.from - 1;
        let at = |i: usize| match align_corners {
            true if self.to == 1 => 0.0,
            true => (i * last) as f64 / (self.to - 1) as f64,
            false => ((i as f64 + 0.5) * self.step.0 / self.step.1 - 0.5).max(0.0),
        };
        let (mut low, mut high, mut way) = (Vec::new(), Vec::new(), Vec::new());
        for i in 0..self.to {
            let x = at(i).min(last as f64);
            let first = x as usize;
            low.push(first as u32);
            high.push((first + 1).min(last) as u32);
            way.push(x - first as f64);
        }
        (low, high, way)
    }

    /// How many times each pixel repeats, where that is all there is to it.
    fn repeats(&self) -> Option<usize> {
        let whole = self.to / self.from;
        let plain = self.from as f64 * self.step.1 == self.to as f64 * self.step.0;
        (plain && self.to == whole * self.from).then_some(whole)
    }
}

#[track_caller]
fn images(op: &'static str, x: &Tensor) {
    if x.rank() != 4 || !x.dtype().is_float() {
        fail(BuildError::new(op, format!("needs floats [n, c, h, w], not {} {}", x.dtype(), x.shape())));
    }
}

#[track_caller]
fn interpolate(op: &'static str, x: &Tensor, lines: [Line; 2], mode: Interpolation) -> Tensor {
    if lines.iter().any(|line| line.from == 0 || line.to == 0) {
        let [h, w] = lines.map(|line| line.to);
        fail(BuildError::new(op, format!("no extent may be 0: x {} to {h} by {w}", x.shape())));
    }
    match mode {
        Interpolation::Nearest => match lines.map(|line| line.repeats()) {
            [Some(down), Some(across)] => repeat(x, down, across),
            _ => in_order(lines)
                .into_iter()
                .fold(x.clone(), |x, (axis, line)| x.index_select(axis, &x.beside(line.nearest()))),
        },
        Interpolation::Bilinear { align_corners } => {
            in_order(lines).into_iter().fold(x.clone(), |x, (axis, line)| lerp(&x, axis, line, align_corners))
        }
    }
}

/// The axes to go along, the one that shrinks most first.
fn in_order([h, w]: [Line; 2]) -> Vec<(isize, Line)> {
    let first_h = h.to * w.from <= w.to * h.from;
    let order = if first_h { [(2, h), (3, w)] } else { [(3, w), (2, h)] };
    order.into_iter().filter(|(_, line)| line.from != line.to || line.step.0 != line.step.1).collect()
}

fn lerp(x: &Tensor, axis: isize, line: Line, align_corners: bool) -> Tensor {
    let (low, high, way) = line.linear(align_corners);
    let shape = if axis == 2 { [line.to, 1] } else { [1, line.to] };
    let way = x.numbers_like(way).reshape(shape);
    let low = x.index_select(axis, &x.beside(low));
    let high = x.index_select(axis, &x.beside(high));
    low * (1.0 - &way) + high * way
}

/// Each pixel `down` by `across` times. One axis after the other, so that the gradient is two sums of neighbours.
fn repeat(x: &Tensor, down: usize, across: usize) -> Tensor {
    x.repeat_interleave(3, across).repeat_interleave(2, down)
}

impl Tensor {
    /// Images x `[n, c, h, w]` at another size, one number or (height, width). Values as in PyTorch's `interpolate`
    /// with `size`.
    ///
    /// # Panics
    /// If x is not of floats or has not four axes, or an extent is 0 before or after.
    #[track_caller]
    pub fn interpolate(&self, size: impl ToNumbers, mode: Interpolation) -> Tensor {
        images("interpolate", self);
        let to = pair("interpolate", "size", size);
        let lines = [0, 1].map(|i| {
            let from = self.shape()[2 + i];
            Line { from, to: to[i], step: (from as f64, to[i] as f64) }
        });
        interpolate("interpolate", self, lines, mode)
    }

    /// Images x `[n, c, h, w]` at `floor(scale · h)` by `floor(scale · w)`. Positions follow `scale`, not the rounded
    /// extents, as in PyTorch's `interpolate` with `scale_factor` (except with aligned corners, where they follow the
    /// extents).
    ///
    /// # Panics
    /// As [`interpolate`](Tensor::interpolate), and if `scale` is not a positive number.
    #[track_caller]
    pub fn interpolate_scale(&self, scale: f64, mode: Interpolation) -> Tensor {
        images("interpolate_scale", self);
        if !(scale > 0.0 && scale.is_finite()) {
            fail(BuildError::new("interpolate_scale", format!("the scale must be positive, not {scale}")));
        }
        let lines = [2, 3].map(|axis| {
            let from = self.shape()[axis];
            Line { from, to: (from as f64 * scale) as usize, step: (1.0, scale) }
        });
        interpolate("interpolate_scale", self, lines, mode)
    }

    /// Channels spread over finer planes: x `[n, c r², h, w]` → `[n, c, h r, w r]` (Shi et al. 2016, "sub-pixel
    /// convolution"), in PyTorch's order.
    ///
    /// # Panics
    /// If x has not four axes, or `factor²` does not divide the channels.
    #[track_caller]
    pub fn pixel_shuffle(&self, factor: usize) -> Tensor {
        let area = factor.saturating_mul(factor);
        if self.rank() != 4 || area == 0 || !self.shape()[1].is_multiple_of(area) {
            let rule =
                format!("needs x [n, c, h, w] whose channels divide by {factor}², not {}", self.shape());
            fail(BuildError::new("pixel_shuffle", rule));
        }
        let [n, c, h, w] = [0, 1, 2, 3].map(|i| self.shape()[i]);
        let split = self.reshape([n, c / area, factor, factor, h, w]);
        split.permute([0, 1, 4, 2, 5, 3]).reshape([n, c / area, h * factor, w * factor])
    }

    /// The reverse of [`pixel_shuffle`](Tensor::pixel_shuffle): x `[n, c, h r, w r]` → `[n, c r², h, w]`.
    ///
    /// # Panics
    /// If x has not four axes, or `factor` does not divide height and width.
    #[track_caller]
    pub fn pixel_unshuffle(&self, factor: usize) -> Tensor {
        if self.rank() != 4 || factor == 0 || !self.shape()[2..].iter().all(|d| d.is_multiple_of(factor)) {
            let rule = format!(
                "needs x [n, c, h, w] whose height and width divide by {factor}, not {}",
                self.shape()
            );
            fail(BuildError::new("pixel_unshuffle", rule));
        }
        let [n, c, h, w] = [0, 1, 2, 3].map(|i| self.shape()[i]);
        let (h, w) = (h / factor, w / factor);
        let split = self.reshape([n, c, h, factor, w, factor]);
        split.permute([0, 1, 3, 5, 2, 4]).reshape([n, c * factor * factor, h, w])
    }
}

const MODES: [Interpolation; 3] = [
    Interpolation::Nearest,
    Interpolation::Bilinear { align_corners: false },
    Interpolation::Bilinear { align_corners: true },
];

/// How much of old pixel `j` there is in new pixel `i` of `to`, for `from` old pixels `step` apart.
fn share(mode: Interpolation, [i, j]: [usize; 2], [from, to]: [usize; 2], step: f64) -> f64 {
    let last = (from - 1) as f64;
    let at = match mode {
        Interpolation::Nearest => (i as f64 * step + 1e-9).floor().min(last),
        Interpolation::Bilinear { align_corners: false } => ((i as f64 + 0.5) * step - 0.5).clamp(0.0, last),
        Interpolation::Bilinear { align_corners: true } => i as f64 * last / (to as f64 - 1.0).max(1.0),
    };
    (1.0 - (at - j as f64).abs()).max(0.0)
}

/// The definition: each new pixel is the sum of all old ones, weighted by distance along either axis.
fn expected(x: &Array, mode: Interpolation, to: [usize; 2], step: [f64; 2]) -> Array {
    let from = [x.shape[2], x.shape[3]];
    Array::from_fn(&[x.shape[0], x.shape[1], to[0], to[1]], |at| {
        let terms = Array::from_fn(&from, |old| {
            let [a, b] = [0, 1].map(|k| share(mode, [at[2 + k], old[k]], [from[k], to[k]], step[k]));
            a * b * x.at(&[at[0], at[1], old[0], old[1]])
        });
        terms.data.iter().sum()
    })
}

fn image(d: &mut Draw) -> ([usize; 2], Interpolation) {
    let mode = MODES[d.below(3)];
    let size = [d.pick(1..=4), d.pick(1..=4)];
    d.note(format!("{mode:?}"));
    let shape = [d.pick(1..=2), d.pick(1..=2), size[0], size[1]];
    d.input(&shape, -2.0, 2.0);
    (size, mode)
}

pub(super) fn cases() -> Vec<OpCase> {
    let shuffled = |i: &[usize], r: usize| [i[0], (i[1] * r + i[2] % r) * r + i[3] % r, i[2] / r, i[3] / r];
    vec![
        OpCase::new("interpolate", Gradient::Smooth, |mut d| {
            let (from, mode) = image(&mut d);
            let to = from.map(|n| if d.coin() { n * d.pick(1..=2) } else { d.pick(1..=7) });
            d.note(format!("to {to:?}"));
            let step = [0, 1].map(|k| from[k] as f64 / to[k] as f64);
            d.case(move |x| x[0].interpolate(to, mode), |x| expected(&x[0], mode, to, step))
        }),
        OpCase::new("interpolate_scale", Gradient::Smooth, |mut d| {
            let (from, mode) = image(&mut d);
            let scale = [1.0, 1.3, 1.6, 2.0, 2.4][d.below(5)];
            d.note(format!("by {scale}"));
            let to = from.map(|n| (n as f64 * scale) as usize);
            d.case(
                move |x| x[0].interpolate_scale(scale, mode),
                |x| expected(&x[0], mode, to, [1.0 / scale; 2]),
            )
        }),
        OpCase::new("pixel_shuffle", Gradient::Smooth, move |mut d| {
            let (r, c) = (d.pick(1..=3), d.pick(1..=2));
            let [n, h, w] = [d.below(3), d.pick(1..=3), d.pick(1..=3)];
            d.input(&[n, c * r * r, h, w], -2.0, 2.0);
            let f = move |x: &[Tensor]| x[0].pixel_shuffle(r);
            d.case(f, |x| Array::from_fn(&[n, c, h * r, w * r], |i| x[0].at(&shuffled(i, r))))
        }),
        OpCase::new("pixel_unshuffle", Gradient::Smooth, |mut d| {
            let (r, c) = (d.pick(1..=3), d.pick(1..=2));
            let [n, h, w] = [d.below(3), d.pick(1..=3), d.pick(1..=3)];
            d.input(&[n, c, h * r, w * r], -2.0, 2.0);
            let from = |i: &[usize]| [i[0], i[1] / (r * r), i[2] * r + i[1] / r % r, i[3] * r + i[1] % r];
            let expected = |x: &[Array]| Array::from_fn(&[n, c * r * r, h, w], |i| x[0].at(&from(i)));
            d.case(move |x| x[0].pixel_unshuffle(r), expected)
        }),
    ]
}
