//! Two-dimensional cross-correlation in its three forms: forward, input gradient (which is transposed
//! convolution) and weight gradient. Activations are contiguous NCHW, weights `[out, in / groups, kh, kw]`.
//!
//! Which way a convolution goes, and with it the order of every sum, depends on its geometry (and on the width of the
//! level's vectors) alone:
//!
//! * `dense`: the kernel covers the input; one matrix product over the batch.
//! * `pixelwise`: 1 × 1 kernels; products on the planes as they lie.
//! * `winograd`: 3 × 3 kernels without stride, of 32 channels and more (for the weight gradient 16), and 4 × 4 with
//!   stride 2 over large planes; a vector holds one point of several channels.
//! * `planar`: rows about as wide as whole vectors; a vector holds a run of pixels.
//! * `planar_grad`: weight gradient of up to four input channels over large planes; a vector holds a run of pixels.
//! * `interleaved`: narrow planes of a batch that fills vectors; a vector holds one pixel of several images.
//! * `tap_grad`: weight gradient for channels that fill vectors; a vector holds one pixel's channels.
//! * `fold`: input gradient of few channels.
//! * `forward`, `input_grad`, `weight_grad`: everything else, in the five loops of [`crate::gemm`]; `patches` packs
//!   images straight into panels.
//!
//! `planar`, `interleaved` and `tap_grad` add up the taps in a micro-kernel of their own, `reduce`, and leave out taps
//! that meet padding where they can. Where it is not left out, padding is zeros that take part in the sums, so an
//! infinity that meets one gives NaN. In `winograd` one gives NaN in all pixels of its tiles. These three, `winograd` and
//! `planar_grad` need the feature `conv-more`; without it, what they would take goes through the five loops.

mod ahead;
mod dense;
pub(crate) mod dots;
mod fold;
mod forward;
mod input_grad;
mod interleave;
mod interleaved;
mod patches;
mod pixelwise;
mod planar;
mod planar_grad;
pub(crate) mod reduce;
pub(crate) mod rows;
mod tap_grad;
mod taps;
mod weight_grad;
pub(crate) mod winograd;

use crate::gemm::Float;
use std::ops::Range;
use taps::Form;

/// Whether there are ways that only speed is gained by: without the feature, programs are smaller.
const MORE: bool = cfg!(feature = "conv-more");

/// The geometry of one convolution.
///
/// `output` is given, not computed, so that the three forms agree for transposed convolution with output padding:
/// output position `o` reads the inputs `o * stride - padding + k * dilation`, and positions outside count as 0.
#[derive(Clone, Copy, Debug)]
pub struct Conv {
    /// Images.
    pub batch: usize,
    /// Groups: input and output channels are cut into as many equal parts, and each part sees only its own.
    pub groups: usize,
    /// Channels of x, a multiple of `groups`.
    pub in_channels: usize,
    /// Channels of y, a multiple of `groups`.
    pub out_channels: usize,
    /// Height and width of x.
    pub input: [usize; 2],
    /// Height and width of the kernel.
    pub kernel: [usize; 2],
    /// Height and width of y.
    pub output: [usize; 2],
    /// Input positions from one output position to the next.
    pub stride: [usize; 2],
    /// Zeros before the first row and column.
    pub padding: [usize; 2],
    /// Input positions from one weight to the next.
    pub dilation: [usize; 2],
}

/// A block of an output whose values are final: some channels and a run of pixels of one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConvBlock {
    /// The image.
    pub image: usize,
    /// Its channels.
    pub channels: Range<usize>,
    /// Pixels, row-major in the plane.
    pub pixels: Range<usize>,
}

/// What [`forward()`] and [`input_grad()`] call on each finished block.
pub type ConvEpilogue<'a> = Option<&'a (dyn Fn(ConvBlock) + Sync)>;

impl Conv {
    /// Elements of x: batch × in_channels × height × width.
    pub fn x_len(&self) -> usize {
        self.batch * self.in_channels * self.input[0] * self.input[1]
    }

    /// Elements of w: out_channels × in_channels / groups × kernel height × width.
    pub fn w_len(&self) -> usize {
        self.out_channels * (self.in_channels / self.groups) * self.kernel[0] * self.kernel[1]
    }

    /// Elements of y: batch × out_channels × height × width.
    pub fn y_len(&self) -> usize {
        self.batch * self.out_channels * self.output[0] * self.output[1]
    }

    /// Input channels of a group.
    fn group_in(&self) -> usize {
        self.in_channels / self.groups
    }

    /// Output channels of a group.
    fn group_out(&self) -> usize {
        self.out_channels / self.groups
    }

    /// Weights of one pair of channels.
    fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// The output positions along an axis whose tap k lies inside the input.
    fn inside(&self, axis: usize, k: usize) -> Range<usize> {
        let (shift, padding, stride) = (k * self.dilation[axis], self.padding[axis], self.stride[axis]);
        let first = padding.saturating_sub(shift).div_ceil(stride);
        let end = (self.input[axis] + padding).saturating_sub(shift).div_ceil(stride).min(self.output[axis]);
        first.min(end)..end
    }

    #[track_caller]
    fn check<T>(&self, x: &[T], w: &[T], y: &[T]) {
        assert!(
            self.groups > 0
                && self.in_channels.is_multiple_of(self.groups)
                && self.out_channels.is_multiple_of(self.groups),
            "channels {} → {} are not multiples of groups {}",
            self.in_channels,
            self.out_channels,
            self.groups
        );
        assert!(self.stride[0] > 0 && self.stride[1] > 0, "stride {:?} must be positive", self.stride);
        assert!(
            self.dilation[0] > 0 && self.dilation[1] > 0,
            "dilation {:?} must be positive",
            self.dilation
        );
        assert_eq!(x.len(), self.x_len(), "length of x");
        assert_eq!(w.len(), self.w_len(), "length of w");
        assert_eq!(y.len(), self.y_len(), "length of y");
    }
}

/// Safe form of [`forward()`]: `y = x ⋆ w`.
///
/// # Panics
/// If a slice has another length than its shape, channels are not multiples of `groups`, or a stride or dilation is 0.
#[track_caller]
pub fn conv<T: Float>(c: &Conv, x: &[T], w: &[T], y: &mut [T]) {
    c.check(x, w, y);
    // SAFETY: all lengths were checked, and `y` is borrowed uniquely.
    unsafe { forward(c, x.as_ptr(), w.as_ptr(), y.as_mut_ptr(), None) }
}

/// Safe form of [`input_grad()`]: the gradient of x from that of y.
///
/// # Panics
/// As [`conv`].
#[track_caller]
pub fn conv_input<T: Float>(c: &Conv, dy: &[T], w: &[T], dx: &mut [T]) {
    c.check(dx, w, dy);
    // SAFETY: all lengths were checked, and `dx` is borrowed uniquely.
    unsafe { input_grad(c, dy.as_ptr(), w.as_ptr(), dx.as_mut_ptr(), None) }
}

/// Safe form of [`weight_grad()`]: the gradient of w from that of y.
///
/// # Panics
/// As [`conv`].
#[track_caller]
pub fn conv_weight<T: Float>(c: &Conv, x: &[T], dy: &[T], dw: &mut [T]) {
    c.check(x, dw, dy);
    // SAFETY: all lengths were checked, and `dw` is borrowed uniquely.
    unsafe { weight_grad(c, x.as_ptr(), dy.as_ptr(), dw.as_mut_ptr()) }
}

/// `y[o] = sum_k x[o * stride - padding + k * dilation] w[k]`, summed over the input channels of the group.
///
/// # Safety
/// x, w and y point to as many live elements as the lengths of `c` say; y overlaps neither x nor w. Channels are
/// multiples of `groups`, strides and dilations positive.
pub unsafe fn forward<T: Float>(c: &Conv, x: *const T, w: *const T, y: *mut T, epilogue: ConvEpilogue) {
    if c.y_len() == 0 {
        return;
    }
    // SAFETY: handed on.
    unsafe {
        if dense::applies(c) {
            dense::forward(c, x, w, y, epilogue);
        } else if pixelwise::applies(c) {
            pixelwise::forward(c, x, w, y, epilogue);
        } else if MORE && winograd::applies::<T>(c, Form::Forward) {
            winograd::run(c, Form::Forward, x, w, y, epilogue);
        } else if MORE && planar::applies::<T>(c, Form::Forward) {
            planar::run(c, Form::Forward, x, w, y, epilogue);
        } else if MORE && interleaved::applies::<T>(c, Form::Forward) {
            interleaved::run(c, Form::Forward, x, w, y, epilogue);
        } else {
            forward::run(c, x, w, y, epilogue);
        }
    }
}

/// `dx[i] = sum dy[o] w[k]` over all o, k with `o * stride - padding + k * dilation = i`: transposed convolution.
///
/// # Safety
/// As [`forward()`], with dx in place of y.
pub unsafe fn input_grad<T: Float>(c: &Conv, dy: *const T, w: *const T, dx: *mut T, epilogue: ConvEpilogue) {
    if c.x_len() == 0 {
        return;
    }
    // SAFETY: handed on.
    unsafe {
        if dense::applies(c) {
            dense::input_grad(c, dy, w, dx, epilogue);
        } else if pixelwise::applies(c) {
            pixelwise::input_grad(c, dy, w, dx, epilogue);
        } else if MORE && winograd::applies::<T>(c, Form::InputGrad) {
            winograd::run(c, Form::InputGrad, dy, w, dx, epilogue);
        } else if MORE && planar::applies::<T>(c, Form::InputGrad) {
            planar::run(c, Form::InputGrad, dy, w, dx, epilogue);
        } else if MORE && interleaved::applies::<T>(c, Form::InputGrad) {
            interleaved::run(c, Form::InputGrad, dy, w, dx, epilogue);
        } else if fold::applies(c) {
            fold::run(c, dy, w, dx, epilogue);
        } else {
            input_grad::run(c, dy, w, dx, epilogue);
        }
    }
}

/// `dw[k] = sum_o x[o * stride - padding + k * dilation] dy[o]`, summed over the batch.
///
/// # Safety
/// As [`forward()`], with dw in place of y.
pub unsafe fn weight_grad<T: Float>(c: &Conv, x: *const T, dy: *const T, dw: *mut T) {
    if c.w_len() == 0 {
        return;
    }
    // SAFETY: handed on.
    unsafe {
        if dense::applies(c) {
            dense::weight_grad(c, x, dy, dw);
        } else if MORE && winograd::applies_to_weights::<T>(c) {
            winograd::weight_grad(c, x, dy, dw);
        } else if MORE && planar_grad::applies::<T>(c) {
            planar_grad::run(c, x, dy, dw);
        } else if MORE && tap_grad::applies::<T>(c) {
            tap_grad::run(c, x, dy, dw);
        } else {
            weight_grad::run(c, x, dy, dw);
        }
    }
}
