//! The three convolutions: `shaders/conv_forward.wgsl`, `conv_input.wgsl`, `conv_weight.wgsl`.

use super::super::dispatch::{Bind, Limits, Recipe};
use super::choice::{Choice, Class, Family};
use super::gemm::{Product, finish};
use super::params::Params;
use super::tile::{Cut, Epilogue, Extent, cut};
use gradus_kernels::conv::Conv;

/// Which of the three convolutions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Inputs x, w; output y.
    Forward,
    /// Inputs dy, w; output dx.
    Input,
    /// Inputs x, dy; output dw.
    Weight,
}

/// A convolution in f32; `offsets` of the inputs' first elements in their values, `choice` one for its [`class`].
///
/// `aligned` says that the values begin at multiples of 4 elements in their buffers.
pub(crate) fn conv(
    form: Form,
    c: &Conv,
    offsets: [usize; 2],
    aligned: bool,
    choice: Option<Choice>,
    epilogue: Option<&Epilogue>,
    limits: &Limits,
) -> Recipe {
    let geometry = Geometry::new(form, c);
    if geometry.elements == 0 {
        return Recipe::default();
    }
    geometry.with_cut(c, offsets, aligned, cut(&geometry.extent, choice, limits), epilogue, limits)
}

/// The class of a convolution's choices.
pub(crate) fn class(form: Form, c: &Conv) -> Class {
    let family = match form {
        Form::Forward => Family::ConvForward,
        Form::Input => Family::ConvInput,
        Form::Weight => Family::ConvWeight,
    };
    let Extent { m, n, k, count } = Geometry::new(form, c).extent;
    Class::new(family, &[m, n, k, count])
}

/// The convolution with a given cut, for the choice's own tests and for tuning.
#[allow(dead_code, reason = "what tests and tuning choose by hand")]
pub(crate) fn with_cut(
    form: Form,
    c: &Conv,
    offsets: [usize; 2],
    aligned: bool,
    cut: Cut,
    epilogue: Option<&Epilogue>,
    limits: &Limits,
) -> Recipe {
    Geometry::new(form, c).with_cut(c, offsets, aligned, cut, epilogue, limits)
}

/// A convolution as a product of matrices.
struct Geometry {
    form: Form,
    extent: Extent,
    elements: usize,
    /// From one weight of a phase to the next.
    tap_step: [usize; 2],
    phases: usize,
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

impl Geometry {
    fn new(form: Form, c: &Conv) -> Geometry {
        let (group_in, group_out) = (c.in_channels / c.groups, c.out_channels / c.groups);
        let taps = c.kernel[0] * c.kernel[1];
        let pixels = c.batch * c.output[0] * c.output[1];
        let tap_step = [0, 1].map(|i| c.stride[i] / gcd(c.stride[i], c.dilation[i]));
        let phases = if form == Form::Input { c.stride[0] * c.stride[1] } else { 1 };
        let (m, n, k, elements) = match form {
            Form::Forward => (group_out, pixels, group_in * taps, c.y_len()),
            Form::Input => {
                let per = |lengths: [usize; 2], steps: [usize; 2]| {
                    lengths[0].div_ceil(steps[0]) * lengths[1].div_ceil(steps[1])
                };
                let pixels = c.batch * per(c.input, c.stride);
                (group_in, pixels, group_out * per(c.kernel, tap_step), c.x_len())
            }
            Form::Weight => (group_out, group_in * taps, pixels, c.w_len()),
        };
        let extent = Extent { m, n, k, count: c.groups * phases };
        Geometry { form, extent, elements, tap_step, phases }
    }

    fn with_cut(
        &self,
        c: &Conv,
        offsets: [usize; 2],
        aligned: bool,
        cut: Cut,
        epilogue: Option<&Epilogue>,
        limits: &Limits,
    ) -> Recipe {
        let e = &self.extent;
        let tiles = [e.m.div_ceil(cut.tile.height() as usize), e.n.div_ceil(cut.tile.width() as usize)];
        let workgroups = tiles[0] * tiles[1] * cut.parts as usize * c.groups * self.phases;
        // A is input 1, the weights or their gradient's dy, and B input 0.
        let [a, b] = [1, 0];
        let partial = cut.parts > 1;
        let out = if partial { Bind::Scratch(0) } else { Bind::Output(0) };
        let pairs = [c.input, c.kernel, c.output, c.stride, c.padding, c.dilation, self.tap_step];
        let mut params = Params::default();
        params
            .numbers(pairs.into_iter().flatten())
            .numbers([c.batch, c.groups, c.in_channels / c.groups, c.out_channels / c.groups])
            .numbers([cut.depth as usize, tiles[0], tiles[1], cut.parts as usize, workgroups])
            .start(offsets[a], Bind::Input(a))
            .start(offsets[b], Bind::Input(b))
            .start(0, out)
            .numbers([self.elements]);

        let mut flags = Vec::new();
        let plane = c.output[0] * c.output[1];
        let rows_of_a = if self.form == Form::Weight { plane } else { e.k };
        if self.form != Form::Input && aligned && offsets[a].is_multiple_of(4) && rows_of_a.is_multiple_of(4)
        {
            flags.push("A_FOURS");
        }
        if self.form == Form::Input {
            flags.push("PHASES");
        }
        if self.form == Form::Forward && aligned && plane.is_multiple_of(4) {
            flags.push("C_FOURS");
        }
        let (file, b_along_k) = match self.form {
            Form::Forward => ("conv_forward", false),
            Form::Input => ("conv_input", false),
            Form::Weight => ("conv_weight", true),
        };
        let reads = vec![Bind::Input(a), Bind::Input(b)];
        let product = Product { file, flags, params, reads, workgroups, along_k: [true, b_along_k] };
        finish(product, cut, self.elements, epilogue, limits)
    }
}
