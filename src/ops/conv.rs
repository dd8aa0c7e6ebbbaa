//! Convolution and its two duals. Cross-correlation, as in every deep-learning library.

use super::Op;
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
