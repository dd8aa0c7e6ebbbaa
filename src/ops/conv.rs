//! Convolution and its two duals. Cross-correlation, as in every deep-learning library.

use super::Op;
use super::cases::{Array, Draw, Gradient, OpCase};
use crate::error::{BuildError, fail};
use crate::graph::Inputs;
use crate::shape::Shape;
use crate::tensor::Tensor;
use gradus_kernels::conv::Conv;

/// How a convolution walks its input. Defaults: stride 1, no padding, dilation 1, one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvOptions {
    /// Step between neighbouring outputs, per axis (height, width).
    pub stride: [usize; 2],
    /// Zeros around the input.
    pub padding: [usize; 2],
    /// Step between neighbouring kernel elements.
    pub dilation: [usize; 2],
    /// Independent groups of channels.
    pub groups: usize,
    /// For transposed convolution only: extent added to the output at the end, less than the stride or the dilation.
    pub output_padding: [usize; 2],
}

impl Default for ConvOptions {
    fn default() -> Self {
        ConvOptions { stride: [1; 2], padding: [0; 2], dilation: [1; 2], groups: 1, output_padding: [0; 2] }
    }
}

impl ConvOptions {
    /// The same stride along both axes.
    pub fn stride(self, stride: usize) -> Self {
        ConvOptions { stride: [stride; 2], ..self }
    }

    /// The same padding along both axes.
    pub fn padding(self, padding: usize) -> Self {
        ConvOptions { padding: [padding; 2], ..self }
    }

    /// The same dilation along both axes.
    pub fn dilation(self, dilation: usize) -> Self {
        ConvOptions { dilation: [dilation; 2], ..self }
    }

    /// Independent groups of channels.
    pub fn groups(self, groups: usize) -> Self {
        ConvOptions { groups, ..self }
    }

    /// Extent added to the output of a transposed convolution.
    pub fn output_padding(self, output_padding: usize) -> Self {
        ConvOptions { output_padding: [output_padding; 2], ..self }
    }

    /// The same options for a signal held as an image of height 1.
    fn flat(self) -> Self {
        ConvOptions {
            stride: [1, self.stride[1]],
            padding: [0, self.padding[1]],
            dilation: [1, self.dilation[1]],
            output_padding: [0, self.output_padding[1]],
            ..self
        }
    }

    #[track_caller]
    fn check(&self, op: &'static str, x: &Tensor, w: &Tensor) {
        let bad = |rule: String| -> ! { fail(BuildError::new(op, rule)) };
        if x.rank() != 4 || w.rank() != 4 {
            bad(format!("needs x [n, c, h, w] and a weight of 4 axes, not {} and {}", x.shape(), w.shape()));
        }
        if x.dtype() != w.dtype() || !x.dtype().is_float() {
            bad(format!("needs two tensors of one float type, not {} and {}", x.dtype(), w.dtype()));
        }
        if self.stride.contains(&0) || self.dilation.contains(&0) || self.groups == 0 {
            bad(format!("stride, dilation and groups must be at least 1: {self:?}"));
        }
        if w.shape()[2..].contains(&0) {
            bad(format!("the kernel is empty: weight {}", w.shape()));
        }
    }
}

pub(super) fn conv(x: &Tensor, w: &Tensor, c: &Conv) -> Tensor {
    let shape = Shape::of(&[c.batch, c.out_channels, c.output[0], c.output[1]]);
    Tensor::make(Op::Conv(Box::new(*c)), Inputs::Two([x.clone(), w.clone()]), shape, x.dtype())
}

pub(super) fn conv_input(dy: &Tensor, w: &Tensor, c: &Conv) -> Tensor {
    let shape = Shape::of(&[c.batch, c.in_channels, c.input[0], c.input[1]]);
    Tensor::make(Op::ConvInput(Box::new(*c)), Inputs::Two([dy.clone(), w.clone()]), shape, dy.dtype())
}

pub(super) fn conv_weight(x: &Tensor, dy: &Tensor, c: &Conv) -> Tensor {
    let shape = Shape::of(&[c.out_channels, c.in_channels / c.groups, c.kernel[0], c.kernel[1]]);
    Tensor::make(Op::ConvWeight(Box::new(*c)), Inputs::Two([x.clone(), dy.clone()]), shape, x.dtype())
}

/// The reach of a dilated kernel.
fn reach(kernel: usize, dilation: usize) -> usize {
    (kernel - 1).saturating_mul(dilation).saturating_add(1)
}

impl Tensor {
    /// 2-d convolution: x `[n, c, h, w]`, weight `[out, c / groups, kh, kw]` → `[n, out, oh, ow]` with
    /// `oh = (h + 2 padding - dilation (kh - 1) - 1) / stride + 1`.
    ///
    /// # Panics
    /// If shapes, channels and groups do not fit, or the kernel is larger than the padded input.
    #[track_caller]
    pub fn conv2d(&self, weight: &Tensor, options: ConvOptions) -> Tensor {
        let o = options;
        o.check("conv2d", self, weight);
        let (s, k) = (self.shape(), weight.shape());
        if s[1] != k[1] * o.groups || !k[0].is_multiple_of(o.groups) {
            let rule = format!(
                "x {s} has {} channels; weight {k} in {} groups takes {}, and its outputs must divide by the groups",
                s[1],
                o.groups,
                k[1] * o.groups
            );
            fail(BuildError::new("conv2d", rule));
        }
        let output = [0, 1].map(|i| {
            let padded = s[2 + i].saturating_add(2 * o.padding[i]);
            let reach = reach(k[2 + i], o.dilation[i]);
            if padded < reach {
                let rule = format!("the kernel reaches over {reach} but the padded input has only {padded}: x {s}, weight {k}");
                fail(BuildError::new("conv2d", rule));
            }
            (padded - reach) / o.stride[i] + 1
        });
        let c = Conv {
            batch: s[0],
            groups: o.groups,
            in_channels: s[1],
            out_channels: k[0],
            input: [s[2], s[3]],
            kernel: [k[2], k[3]],
            output,
            stride: o.stride,
            padding: o.padding,
            dilation: o.dilation,
        };
        conv(self, weight, &c)
    }

    /// Transposed 2-d convolution: x `[n, c, h, w]`, weight `[c, out / groups, kh, kw]` → `[n, out, oh, ow]` with
    /// `oh = (h - 1) stride - 2 padding + dilation (kh - 1) + output_padding + 1`: the gradient of
    /// [`conv2d`](Tensor::conv2d) for its input.
    ///
    /// # Panics
    /// If shapes, channels and groups do not fit, or the output would be empty.
    #[track_caller]
    pub fn conv_transpose2d(&self, weight: &Tensor, options: ConvOptions) -> Tensor {
        let o = options;
        o.check("conv_transpose2d", self, weight);
        let (s, k) = (self.shape(), weight.shape());
        if s[1] != k[0] || !k[0].is_multiple_of(o.groups) {
            let rule =
                format!("x {s} has {} channels; weight {k} takes {} in {} groups", s[1], k[0], o.groups);
            fail(BuildError::new("conv_transpose2d", rule));
        }
        let output = [0, 1].map(|i| {
            if o.output_padding[i] >= o.stride[i].max(o.dilation[i]) {
                let rule = format!(
                    "output padding {} must be less than the stride or the dilation",
                    o.output_padding[i]
                );
                fail(BuildError::new("conv_transpose2d", rule));
            }
            let full = s[2 + i].saturating_sub(1).saturating_mul(o.stride[i]);
            let full =
                full.saturating_add(reach(k[2 + i], o.dilation[i])).saturating_add(o.output_padding[i]);
            full.checked_sub(2 * o.padding[i]).filter(|&d| d > 0 && s[2 + i] > 0).unwrap_or_else(|| {
                fail(BuildError::new(
                    "conv_transpose2d",
                    format!("the output is empty: x {s}, weight {k}, {o:?}"),
                ))
            })
        });
        let c = Conv {
            batch: s[0],
            groups: o.groups,
            in_channels: k[1] * o.groups,
            out_channels: s[1],
            input: output,
            kernel: [k[2], k[3]],
            output: [s[2], s[3]],
            stride: o.stride,
            padding: o.padding,
            dilation: o.dilation,
        };
        conv_input(self, weight, &c)
    }

    /// 1-d convolution: x `[n, c, l]`, weight `[out, c / groups, k]` → `[n, out, ol]`. The options' second numbers
    /// count.
    ///
    /// # Panics
    /// As [`conv2d`](Tensor::conv2d).
    #[track_caller]
    pub fn conv1d(&self, weight: &Tensor, options: ConvOptions) -> Tensor {
        rank3("conv1d", self, weight);
        self.unsqueeze(2).conv2d(&weight.unsqueeze(2), options.flat()).squeeze(2)
    }

    /// Transposed 1-d convolution: x `[n, c, l]`, weight `[c, out / groups, k]` → `[n, out, ol]`.
    ///
    /// # Panics
    /// As [`conv_transpose2d`](Tensor::conv_transpose2d).
    #[track_caller]
    pub fn conv_transpose1d(&self, weight: &Tensor, options: ConvOptions) -> Tensor {
        rank3("conv_transpose1d", self, weight);
        self.unsqueeze(2).conv_transpose2d(&weight.unsqueeze(2), options.flat()).squeeze(2)
    }
}

#[track_caller]
fn rank3(op: &'static str, x: &Tensor, w: &Tensor) {
    if x.rank() != 3 || w.rank() != 3 {
        let rule = format!("needs x [n, c, l] and a weight of 3 axes, not {} and {}", x.shape(), w.shape());
        fail(BuildError::new(op, rule));
    }
}

/// The definition: every product of a weight with the input element it meets. Images `[n, c, h, w]`.
fn expected_conv(x: &Array, w: &Array, o: &ConvOptions) -> Array {
    let extent = |i: usize| {
        (x.shape[2 + i] + 2 * o.padding[i] - o.dilation[i] * (w.shape[2 + i] - 1) - 1) / o.stride[i] + 1
    };
    let (per_in, per_out) = (w.shape[1], w.shape[0] / o.groups);
    Array::from_fn(&[x.shape[0], w.shape[0], extent(0), extent(1)], |at| {
        let terms = Array::from_fn(&w.shape[1..], |k| {
            let place = [0, 1]
                .map(|i| (at[2 + i] * o.stride[i] + k[1 + i] * o.dilation[i]).checked_sub(o.padding[i]));
            match place {
                [Some(r), Some(c)] if r < x.shape[2] && c < x.shape[3] => {
                    x.at(&[at[0], at[1] / per_out * per_in + k[0], r, c]) * w.at(&[at[1], k[0], k[1], k[2]])
                }
                _ => 0.0,
            }
        });
        terms.data.iter().sum()
    })
}

/// The definition: every input element spreads its product with the weights over the output.
fn expected_transpose(x: &Array, w: &Array, o: &ConvOptions) -> Array {
    let extent = |i: usize| {
        (x.shape[2 + i] - 1) * o.stride[i] + o.dilation[i] * (w.shape[2 + i] - 1) + o.output_padding[i] + 1
            - 2 * o.padding[i]
    };
    let (per_in, per_out) = (x.shape[1] / o.groups, w.shape[1]);
    let mut y = Array::from_fn(&[x.shape[0], per_out * o.groups, extent(0), extent(1)], |_| 0.0);
    let mut spread = |from: &[usize], k: &[usize]| {
        let place =
            [0, 1].map(|i| (from[2 + i] * o.stride[i] + k[1 + i] * o.dilation[i]).checked_sub(o.padding[i]));
        if let [Some(r), Some(c)] = place
            && r < y.shape[2]
            && c < y.shape[3]
        {
            let channel = from[1] / per_in * per_out + k[0];
            let at = ((from[0] * y.shape[1] + channel) * y.shape[2] + r) * y.shape[3] + c;
            y.data[at] += x.at(from) * w.at(&[from[1], k[0], k[1], k[2]]);
        }
        0.0
    };
    Array::from_fn(&x.shape, |from| Array::from_fn(&w.shape[1..], |k| spread(from, k)).data.len() as f64);
    y
}

/// Options and the extents that go with them: image `[n, c, h, w]` and weight.
fn drawn(d: &mut Draw, transposed: bool, flat: bool) -> (ConvOptions, [Vec<usize>; 2]) {
    let pair = |d: &mut Draw, low: usize, high: usize| {
        [if flat { low } else { d.pick(low..=high) }, d.pick(low..=high)]
    };
    let (stride, dilation, padding) = (pair(d, 1, 2), pair(d, 1, 2), pair(d, 0, 1));
    let kernel = pair(d, 1, 3);
    let groups = d.pick(1..=2);
    let (inner, outer) = (d.pick(1..=2), d.pick(1..=2));
    let mut o = ConvOptions { stride, dilation, padding, groups, output_padding: [0; 2] };
    let image = [0, 1].map(|i| {
        let reach = reach(kernel[i], dilation[i]);
        let least = if transposed { 1 } else { reach.saturating_sub(2 * padding[i]).max(1) };
        if flat && i == 0 { 1 } else { least + d.below(3) }
    });
    if transposed {
        for i in if flat { 1..2 } else { 0..2 } {
            o.output_padding[i] = d.below(stride[i].max(dilation[i]));
            // The smallest images leave nothing once the padding is cut off.
            let full = (image[i] - 1) * stride[i] + reach(kernel[i], dilation[i]) + o.output_padding[i];
            o.padding[i] = if full > 2 * padding[i] { padding[i] } else { 0 };
        }
    }
    d.note(format!("{o:?}"));
    let x = vec![d.pick(1..=2), inner * groups, image[0], image[1]];
    let w = match transposed {
        true => vec![inner * groups, outer, kernel[0], kernel[1]],
        false => vec![outer * groups, inner, kernel[0], kernel[1]],
    };
    (o, [x, w])
}

type Convolve = fn(&Tensor, &Tensor, ConvOptions) -> Tensor;

fn row(op: &'static str, transposed: bool, flat: bool, f: Convolve) -> OpCase {
    let expected = if transposed { expected_transpose } else { expected_conv };
    OpCase::new(op, Gradient::Smooth, move |mut d| {
        let (o, shapes) = drawn(&mut d, transposed, flat);
        for mut shape in shapes {
            if flat {
                shape.remove(2);
            }
            d.input(&shape, -2.0, 2.0);
        }
        // A signal is an image of height 1.
        let image =
            |x: &Array| Array { shape: [&x.shape[..2], &[1], &x.shape[2..]].concat(), data: x.data.clone() };
        d.case(
            move |x| f(&x[0], &x[1], o),
            |x| match flat {
                false => expected(&x[0], &x[1], &o),
                true => {
                    let y = expected(&image(&x[0]), &image(&x[1]), &o.flat());
                    y.reshape(&[y.shape[0], y.shape[1], y.shape[3]])
                }
            },
        )
    })
}

pub(super) fn cases() -> Vec<OpCase> {
    vec![
        row("conv2d", false, false, Tensor::conv2d),
        row("conv_transpose2d", true, false, Tensor::conv_transpose2d),
        row("conv1d", false, true, Tensor::conv1d),
        row("conv_transpose1d", true, true, Tensor::conv_transpose1d),
    ]
}
