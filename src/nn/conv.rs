//! Convolutional layers.

use super::{Param, Weighted};
use crate::init;
use crate::module;
use crate::ops::ConvOptions;
use crate::rng::Rng;
use crate::tensor::Tensor;

/// PyTorch's default for convolutions: weight and bias uniform within ±1/√(fan in), which is what Kaiming's rule with
/// slope √5 comes to.
#[track_caller]
fn fresh(weight: &[usize], outputs: usize, rng: &mut Rng) -> (Param, Option<Param>) {
    let fan_in: usize = weight[1..].iter().product();
    let bound = 1.0 / (fan_in.max(1) as f64).sqrt();
    let made = Param::new(init::uniform(weight, -bound, bound, rng));
    (made, Some(Param::new(init::uniform([outputs], -bound, bound, rng))))
}

/// Adds one number per channel.
fn add_bias(y: Tensor, bias: Option<&Param>) -> Tensor {
    match bias {
        Some(bias) => {
            let mut shape = vec![1; y.rank() - 1];
            shape[0] = bias.get().numel();
            y + bias.get().reshape(shape)
        }
        None => y,
    }
}

macro_rules! convolution {
    ($(#[$doc:meta])* $name:ident, $axes:literal, $op:ident, $output_axis:literal, $weight:literal, $x:literal) => {
        $(#[$doc])*
        pub struct $name {
            #[doc = concat!("`", $weight, "`.")]
            pub weight: Param,
            /// `[out]`.
            pub bias: Option<Param>,
            /// How the kernel walks.
            pub options: ConvOptions,
        }
        module!($name { weight, bias });

        impl $name {
            /// From `inputs` to `outputs` channels with a kernel of the given extents, initialised as in PyTorch.
            ///
            /// # Panics
            /// If the groups of `options` do not divide the channels.
            #[track_caller]
            pub fn new(
                inputs: usize,
                outputs: usize,
                kernel: [usize; $axes],
                options: ConvOptions,
                rng: &mut Rng,
            ) -> $name {
                let groups = options.groups.max(1);
                assert!(
                    inputs.is_multiple_of(groups) && outputs.is_multiple_of(groups),
                    concat!(stringify!($name), ": {} groups do not divide {} and {} channels"),
                    groups,
                    inputs,
                    outputs
                );
                // The axis of inputs in a plain weight, that of outputs in a transposed one, counts one group only.
                let mut shape = if $output_axis == 0 { vec![outputs, inputs / groups] } else { vec![inputs, outputs / groups] };
                shape.extend(kernel);
                let (weight, bias) = fresh(&shape, outputs, rng);
                $name { weight, bias, options }
            }

            /// The same layer without its bias, for use before a normalization.
            pub fn without_bias(self) -> $name {
                $name { bias: None, ..self }
            }

            #[doc = concat!("x ", $x, ".")]
            ///
            /// # Panics
            /// If x and the weight do not fit.
            #[track_caller]
            pub fn forward(&self, x: &Tensor) -> Tensor {
                self.forward_with(x, &self.weight.get())
            }
        }

        impl Weighted for $name {
            const OUTPUT_AXIS: usize = $output_axis;

            fn weight(&self) -> &Param {
                &self.weight
            }

            fn bias(&self) -> Option<&Param> {
                self.bias.as_ref()
            }

            #[track_caller]
            fn forward_with(&self, x: &Tensor, weight: &Tensor) -> Tensor {
                add_bias(x.$op(weight, self.options), self.bias.as_ref())
            }
        }
    };
}

convolution!(
    /// 1-d convolution of x `[n, in, l]`, see [`Tensor::conv1d`]. The second numbers of the options count.
    Conv1d, 1, conv1d, 0, "[out, in / groups, k]", "`[n, in, l]` → `[n, out, ol]`"
);
convolution!(
    /// 2-d convolution of x `[n, in, h, w]`, see [`Tensor::conv2d`].
    Conv2d, 2, conv2d, 0, "[out, in / groups, kh, kw]", "`[n, in, h, w]` → `[n, out, oh, ow]`"
);
convolution!(
    /// Transposed 1-d convolution of x `[n, in, l]`, see [`Tensor::conv_transpose1d`]. The second numbers of the
    /// options count.
    ConvTranspose1d, 1, conv_transpose1d, 1, "[in, out / groups, k]", "`[n, in, l]` → `[n, out, ol]`"
);
convolution!(
    /// Transposed 2-d convolution of x `[n, in, h, w]`, see [`Tensor::conv_transpose2d`].
    ConvTranspose2d, 2, conv_transpose2d, 1, "[in, out / groups, kh, kw]", "`[n, in, h, w]` → `[n, out, oh, ow]`"
);
