//! Normalization layers.

use super::{Mode, Module, Param, Visitor};
use crate::error::{BuildError, fail};
use crate::module;
use crate::shape::{Shape, ToNumbers, shape_arg};
use crate::tensor::Tensor;

/// Batch normalization (Ioffe & Szegedy 2015): in training by the statistics of the batch, which also enter the
/// running ones; in evaluation by those. `D` is the number of axes of x behind the channels: up to one for
/// [`BatchNorm1d`], two for [`BatchNorm2d`].
pub struct BatchNorm<const D: usize> {
    /// `[c]`, ones at first.
    pub weight: Option<Param>,
    /// `[c]`, zeros at first.
    pub bias: Option<Param>,
    /// `[c]`: a running average of means.
    pub running_mean: Param,
    /// `[c]`: a running average of unbiased variances.
    pub running_var: Param,
    /// How many batches entered them. Nothing here needs it; PyTorch's files have it.
    pub num_batches_tracked: Param,
    /// Training or evaluation.
    pub mode: Mode,
    /// Added to variances; 1e-5 at first.
    pub eps: f64,
    /// The share of a new batch in the running statistics; 0.1 at first.
    pub momentum: f64,
}

/// Batch normalization of x `[n, c]` or `[n, c, l]`.
pub type BatchNorm1d = BatchNorm<1>;
/// Batch normalization of x `[n, c, h, w]`.
pub type BatchNorm2d = BatchNorm<2>;

impl<const D: usize> Module for BatchNorm<D> {
    fn visit(&self, visitor: &mut Visitor) {
        visitor.field("weight", &self.weight);
        visitor.field("bias", &self.bias);
        visitor.field("running_mean", &self.running_mean);
        visitor.field("running_var", &self.running_var);
        visitor.field("num_batches_tracked", &self.num_batches_tracked);
        visitor.field("mode", &self.mode);
    }
}

impl<const D: usize> BatchNorm<D> {
    /// For `channels` channels.
    #[track_caller]
    pub fn new(channels: usize) -> BatchNorm<D> {
        BatchNorm {
            weight: Some(Param::new(Tensor::ones([channels]))),
            bias: Some(Param::new(Tensor::zeros([channels]))),
            ..BatchNorm::without_affine(channels)
        }
    }

    /// The same without weight and bias.
    #[track_caller]
    pub fn without_affine(channels: usize) -> BatchNorm<D> {
        BatchNorm {
            weight: None,
            bias: None,
            running_mean: Param::buffer(Tensor::zeros([channels])),
            running_var: Param::buffer(Tensor::ones([channels])),
            num_batches_tracked: Param::buffer(Tensor::from(0i32)),
            mode: Mode::default(),
            eps: 1e-5,
            momentum: 0.1,
        }
    }

    /// x `[n, c, …]`, normalized by channel. In training the running statistics become expressions of this batch,
    /// which the next step of an optimizer evaluates.
    ///
    /// # Panics
    /// If x has another number of axes or channels, or in training one element per channel.
    #[track_caller]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        if x.rank() != D + 2 && !(D == 1 && x.rank() == 2) {
            let rule = format!("BatchNorm{D}d needs {} axes, not x {}", D + 2, x.shape());
            fail(BuildError::new("batch_norm", rule));
        }
        let (weight, bias) = (self.weight.as_ref().map(Param::get), self.bias.as_ref().map(Param::get));
        let (weight, bias) = (weight.as_ref(), bias.as_ref());
        let (mean, var) = (self.running_mean.get(), self.running_var.get());
        if !self.mode.is_training() {
            return x.batch_norm_eval(&mean, &var, weight, bias, self.eps);
        }
        let (y, batch) = x.batch_norm(weight, bias, self.eps);
        let blend = |old: Tensor, new: Tensor| old * (1.0 - self.momentum) + new * self.momentum;
        self.running_mean.assign(&blend(mean, batch.mean));
        self.running_var.assign(&blend(var, batch.unbiased_var));
        self.num_batches_tracked.assign(&(self.num_batches_tracked.get() + 1.0));
        y
    }
}

/// Layer normalization over the last axes (Ba, Kiros & Hinton 2016), see [`Tensor::layer_norm`].
pub struct LayerNorm {
    /// Of the shape normalized over, ones at first.
    pub weight: Option<Param>,
    /// Of the shape normalized over, zeros at first.
    pub bias: Option<Param>,
    /// The extents normalized over.
    pub shape: Shape,
    /// Added to variances; 1e-5 at first.
    pub eps: f64,
}
module!(LayerNorm { weight, bias });

impl LayerNorm {
    /// Over last axes of these extents.
    #[track_caller]
    pub fn new(shape: impl ToNumbers) -> LayerNorm {
        let shape = shape_arg("layer_norm", shape);
        let (weight, bias) = (Param::new(Tensor::ones(shape)), Param::new(Tensor::zeros(shape)));
        LayerNorm { weight: Some(weight), bias: Some(bias), shape, eps: 1e-5 }
    }

    /// The same without weight and bias.
    pub fn without_affine(self) -> LayerNorm {
        LayerNorm { weight: None, bias: None, ..self }
    }

    /// x `[…, shape]`, same shape.
    ///
    /// # Panics
    /// If the last extents of x are others.
    #[track_caller]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let (weight, bias) = (self.weight.as_ref().map(Param::get), self.bias.as_ref().map(Param::get));
        x.layer_norm(self.shape, weight.as_ref(), bias.as_ref(), self.eps)
    }
}

/// Group normalization (Wu & He 2018), see [`Tensor::group_norm`].
pub struct GroupNorm {
    /// `[c]`, ones at first.
    pub weight: Option<Param>,
    /// `[c]`, zeros at first.
    pub bias: Option<Param>,
    /// How many groups the channels form.
    pub groups: usize,
    /// Added to variances; 1e-5 at first.
    pub eps: f64,
}
module!(GroupNorm { weight, bias });

impl GroupNorm {
    /// For `channels` channels in `groups` groups.
    #[track_caller]
    pub fn new(groups: usize, channels: usize) -> GroupNorm {
        let (weight, bias) = (Param::new(Tensor::ones([channels])), Param::new(Tensor::zeros([channels])));
        GroupNorm { weight: Some(weight), bias: Some(bias), groups, eps: 1e-5 }
    }

    /// The same without weight and bias.
    pub fn without_affine(self) -> GroupNorm {
        GroupNorm { weight: None, bias: None, ..self }
    }

    /// x `[n, c, …]`, same shape.
    ///
    /// # Panics
    /// If the groups do not divide the channels, or the channels are others.
    #[track_caller]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let (weight, bias) = (self.weight.as_ref().map(Param::get), self.bias.as_ref().map(Param::get));
        x.group_norm(self.groups, weight.as_ref(), bias.as_ref(), self.eps)
    }
}

/// Instance normalization (Ulyanov, Vedaldi & Lempitsky 2016), see [`Tensor::instance_norm`]. As in PyTorch without
/// weight and bias unless they are asked for, and without running statistics.
pub struct InstanceNorm {
    /// `[c]`, ones at first.
    pub weight: Option<Param>,
    /// `[c]`, zeros at first.
    pub bias: Option<Param>,
    /// Added to variances; 1e-5 at first.
    pub eps: f64,
}
module!(InstanceNorm { weight, bias });

impl Default for InstanceNorm {
    fn default() -> InstanceNorm {
        InstanceNorm { weight: None, bias: None, eps: 1e-5 }
    }
}

impl InstanceNorm {
    /// Without weight and bias, for any number of channels.
    pub fn new() -> InstanceNorm {
        InstanceNorm::default()
    }

    /// With weight and bias for `channels` channels.
    #[track_caller]
    pub fn affine(channels: usize) -> InstanceNorm {
        let (weight, bias) = (Param::new(Tensor::ones([channels])), Param::new(Tensor::zeros([channels])));
        InstanceNorm { weight: Some(weight), bias: Some(bias), eps: 1e-5 }
    }

    /// x `[n, c, l]` or `[n, c, h, w]`, same shape.
    ///
    /// # Panics
    /// If x has fewer than three axes, or other channels than weight and bias.
    #[track_caller]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let (weight, bias) = (self.weight.as_ref().map(Param::get), self.bias.as_ref().map(Param::get));
        x.instance_norm(weight.as_ref(), bias.as_ref(), self.eps)
    }
}
