//! Normalization: mean, centred variance, then one pointwise map.

use super::cases::{Array, Draw, Gradient, OpCase};
use crate::error::{BuildError, fail};
use crate::shape::{Shape, ToNumbers, shape_arg};
use crate::tensor::Tensor;

/// What [`Tensor::batch_norm`] measured of its batch, per channel: shape `[c]`.
///
/// These are expressions like any other; a layer that keeps running statistics of them cuts the history with
/// [`stop_grad`](Tensor::stop_grad).
#[derive(Clone, Debug)]
pub struct BatchStats {
    /// The mean.
    pub mean: Tensor,
    /// The variance, divided by the number of elements: what the batch was normalized by.
    pub var: Tensor,
    /// The variance divided by one less than that number: what running statistics are made of, in PyTorch too.
    pub unbiased_var: Tensor,
}

/// The scale and shift after normalization, shaped to broadcast.
struct Affine {
    weight: Option<Tensor>,
    bias: Option<Tensor>,
}

impl Affine {
    /// Checks that what is given has the shape `given`, and shapes it to `to`.
    #[track_caller]
    fn new(
        op: &'static str,
        x: &Tensor,
        [weight, bias]: [Option<&Tensor>; 2],
        given: &[usize],
        to: &[usize],
    ) -> Affine {
        let [weight, bias] =
            [("weight", weight), ("bias", bias)].map(|(name, t)| t.map(|t| fit(op, name, x, t, given, to)));
        Affine { weight, bias }
    }

    fn apply(&self, mut y: Tensor) -> Tensor {
        if let Some(weight) = &self.weight {
            y = y * weight;
        }
        match &self.bias {
            Some(bias) => y + bias,
            None => y,
        }
    }
}

/// Checks one vector that goes with x, and shapes it to broadcast.
#[track_caller]
fn fit(op: &'static str, name: &str, x: &Tensor, t: &Tensor, given: &[usize], to: &[usize]) -> Tensor {
    if t.shape().dims() != given || t.dtype() != x.dtype() {
        let rule = format!(
            "the {name} is {} {}, but x {} {} needs {given:?}",
            t.dtype(),
            t.shape(),
            x.dtype(),
            x.shape()
        );
        fail(BuildError::new(op, rule));
    }
    t.reshape(to)
}

#[track_caller]
fn check(op: &'static str, x: &Tensor, rank: usize) {
    if x.rank() < rank || !x.dtype().is_float() {
        let needs = if rank == 2 { "[n, c, …]" } else { "of at least one axis" };
        fail(BuildError::new(op, format!("needs floats {needs}, not {} {}", x.dtype(), x.shape())));
    }
}

/// The shape of one value per channel, broadcast against x `[n, c, …]`.
fn per_channel(x: &Tensor) -> Vec<usize> {
    let mut shape = vec![1; x.rank() - 1];
    shape[0] = x.shape()[1];
    shape
}

/// The mean over `axes`, and what is left of x without it; the mean keeps the axes with extent 1, and so does the
/// variance (divided by n).
fn centre(x: &Tensor, axes: &[usize]) -> (Tensor, Tensor, Tensor) {
    let mean = x.mean_keepdim(axes);
    // Expanded once, so that the gradients of both uses meet before they are summed.
    let level = mean.expand(x.shape());
    // Written in both directions, the deviations are two expressions: one fuses into the sum of squares, the other
    // into the last map, and neither is stored.
    let var = (&level - x).square().mean_keepdim(axes);
    (x - &level, mean, var)
}

impl Tensor {
    /// Batch normalization in training (Ioffe & Szegedy 2015): each channel of x `[n, c, …]` minus its mean over the
    /// batch, divided by `sqrt(variance + eps)`, times `weight` `[c]`, plus `bias` `[c]`. Gives the result and what
    /// running statistics are made of.
    ///
    /// # Panics
    /// If x has fewer than two axes or is not of floats, weight or bias do not fit, or a channel has one element
    /// only, of which there is no variance.
    #[track_caller]
    pub fn batch_norm(
        &self,
        weight: Option<&Tensor>,
        bias: Option<&Tensor>,
        eps: f64,
    ) -> (Tensor, BatchStats) {
        check("batch_norm", self, 2);
        let channels = self.shape()[1];
        let affine = Affine::new("batch_norm", self, [weight, bias], &[channels], &per_channel(self));
        let count = self.shape()[0] * self.shape()[2..].iter().product::<usize>();
        if count == 1 {
            let rule =
                format!("x {} has one element per channel, of which there is no variance", self.shape());
            fail(BuildError::new("batch_norm", rule));
        }
        let axes: Vec<usize> = (0..self.rank()).filter(|&axis| axis != 1).collect();
        let (centred, mean, var) = centre(self, &axes);
        let y = affine.apply(centred * (&var + eps).rsqrt());
        let unbiased_var = &var * (count as f64 / (count as f64 - 1.0));
        let [mean, var, unbiased_var] = [mean, var, unbiased_var].map(|t| t.reshape([channels]));
        (y, BatchStats { mean, var, unbiased_var })
    }

    /// Batch normalization in evaluation: as [`batch_norm`](Tensor::batch_norm), by a `mean` and a `var` `[c]` that
    /// are given.
    ///
    /// # Panics
    /// If x has fewer than two axes or is not of floats, or one of the others does not fit.
    #[track_caller]
    pub fn batch_norm_eval(
        &self,
        mean: &Tensor,
        var: &Tensor,
        weight: Option<&Tensor>,
        bias: Option<&Tensor>,
        eps: f64,
    ) -> Tensor {
        check("batch_norm_eval", self, 2);
        let (channels, shape) = (self.shape()[1], per_channel(self));
        let affine = Affine::new("batch_norm_eval", self, [weight, bias], &[channels], &shape);
        let mean = fit("batch_norm_eval", "mean", self, mean, &[channels], &shape);
        let var = fit("batch_norm_eval", "var", self, var, &[channels], &shape);
        affine.apply((self - mean) * (var + eps).rsqrt())
    }

    /// Layer normalization (Ba, Kiros & Hinton 2016): over the last axes, whose extents are `shape`; `weight` and
    /// `bias` have that shape.
    ///
    /// # Panics
    /// If the last extents of x are not `shape`, x is not of floats, or weight or bias do not fit.
    #[track_caller]
    pub fn layer_norm(
        &self,
        shape: impl ToNumbers,
        weight: Option<&Tensor>,
        bias: Option<&Tensor>,
        eps: f64,
    ) -> Tensor {
        check("layer_norm", self, 1);
        let shape: Shape = shape_arg("layer_norm", shape);
        if shape.rank() == 0 || !self.shape().ends_with(&shape) {
            fail(BuildError::new(
                "layer_norm",
                format!("the last extents of x {} are not {shape}", self.shape()),
            ));
        }
        let affine = Affine::new("layer_norm", self, [weight, bias], &shape, &shape);
        let axes: Vec<usize> = (self.rank() - shape.rank()..self.rank()).collect();
        let (centred, _, var) = centre(self, &axes);
        affine.apply(centred * (var + eps).rsqrt())
    }

    /// Group normalization (Wu & He 2018): of x `[n, c, …]`, each sample's channels in `groups` groups, each group by
    /// its own mean and variance; `weight` and `bias` are `[c]`.
    ///
    /// # Panics
    /// If the groups do not divide the channels, x has fewer than two axes or is not of floats, or weight or bias do
    /// not fit.
    #[track_caller]
    pub fn group_norm(
        &self,
        groups: usize,
        weight: Option<&Tensor>,
        bias: Option<&Tensor>,
        eps: f64,
    ) -> Tensor {
        check("group_norm", self, 2);
        let [n, c] = [self.shape()[0], self.shape()[1]];
        if groups == 0 || !c.is_multiple_of(groups) {
            fail(BuildError::new(
                "group_norm",
                format!("{groups} groups do not divide the channels of x {}", self.shape()),
            ));
        }
        let each = c / groups;
        let affine = Affine::new("group_norm", self, [weight, bias], &[c], &[groups, each, 1]);
        let pixels: usize = self.shape()[2..].iter().product();
        let (centred, _, var) = centre(&self.reshape([n, groups, each, pixels]), &[2, 3]);
        affine.apply(centred * (var + eps).rsqrt()).reshape(self.shape())
    }

    /// Instance normalization (Ulyanov, Vedaldi & Lempitsky 2016): [`group_norm`](Tensor::group_norm) with each
    /// channel a group of its own.
    ///
    /// # Panics
    /// If x has fewer than three axes or is not of floats, or weight or bias do not fit.
    #[track_caller]
    pub fn instance_norm(&self, weight: Option<&Tensor>, bias: Option<&Tensor>, eps: f64) -> Tensor {
        if self.rank() < 3 {
            fail(BuildError::new(
                "instance_norm",
                format!("needs x [n, c, …] of three or more axes, not {}", self.shape()),
            ));
        }
        self.group_norm(self.shape()[1].max(1), weight, bias, eps)
    }
}

/// In cases: large enough that high derivatives stay measurable where a variance is 0.
const EPS: f64 = 0.5;

/// The mean and the variance of numbers.
fn moments(x: &[f64]) -> (f64, f64) {
    let n = x.len() as f64;
    let mean = x.iter().sum::<f64>() / n;
    (mean, x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n)
}

/// The definition: each element minus the mean of its group, over the root of the group's variance plus [`EPS`].
fn standardized(x: &Array, group: impl Fn(&[usize]) -> usize) -> Array {
    let groups = Array::from_fn(&x.shape, |i| group(i) as f64);
    x.zip(&groups, |v, g| {
        let mates = groups.data.iter().zip(&x.data).filter(|(of, _)| **of == g);
        let (mean, var) = moments(&mates.map(|(_, v)| *v).collect::<Vec<_>>());
        (v - mean) / (var + EPS).sqrt()
    })
}

/// Each channel of y times its weight, plus its bias.
fn by_channel(y: &Array, weight: &Array, bias: &Array) -> Array {
    Array::from_fn(&y.shape, |i| y.at(i) * weight.at(&[i[1]]) + bias.at(&[i[1]]))
}

/// Draws x `[n, groups * each, …]`, a weight and a bias; gives groups and channels of each.
fn drawn(d: &mut Draw, least_batch: usize, least_rank: usize) -> [usize; 2] {
    let (groups, each) = (d.pick(1..=2), d.pick(1..=2));
    let mut shape = vec![d.pick(least_batch..=3), groups * each];
    shape.extend((2..d.pick(least_rank..=4)).map(|_| d.pick(1..=3)).collect::<Vec<_>>());
    d.note(format!("{groups} groups"));
    d.input(&shape, -2.0, 2.0);
    d.input(&shape[1..2], 0.5, 1.5);
    d.input(&shape[1..2], -1.0, 1.0);
    [groups, each]
}

pub(super) fn cases() -> Vec<OpCase> {
    vec![
        OpCase::new("batch_norm", Gradient::Smooth, |mut d| {
            drawn(&mut d, 2, 2);
            let f = |x: &[Tensor]| x[0].batch_norm(Some(&x[1]), Some(&x[2]), EPS).0;
            d.case(f, |x| by_channel(&standardized(&x[0], |i| i[1]), &x[1], &x[2]))
        }),
        OpCase::new("batch_norm", Gradient::Smooth, |mut d| {
            drawn(&mut d, 2, 2);
            let f = |x: &[Tensor]| {
                let stats = x[0].batch_norm(None, None, EPS).1;
                stats.mean * &x[1] + stats.unbiased_var * &x[2]
            };
            d.case(f, |x| {
                let axes: Vec<usize> = (0..x[0].shape.len()).filter(|&axis| axis != 1).collect();
                let mean = x[0].reduce(&axes, |line| moments(line).0);
                let var = x[0]
                    .reduce(&axes, |line| moments(line).1 * line.len() as f64 / (line.len() as f64 - 1.0));
                mean.zip(&x[1], |m, w| m * w).zip(&var.zip(&x[2], |v, w| v * w), |a, b| a + b)
            })
        })
        .variant("statistics"),
        OpCase::new("batch_norm_eval", Gradient::Smooth, |mut d| {
            drawn(&mut d, 1, 2);
            let f = |x: &[Tensor]| x[0].batch_norm_eval(&x[2], &x[1], Some(&x[1]), Some(&x[2]), EPS);
            d.case(f, |x| {
                let y = Array::from_fn(&x[0].shape, |i| {
                    (x[0].at(i) - x[2].at(&[i[1]])) / (x[1].at(&[i[1]]) + EPS).sqrt()
                });
                by_channel(&y, &x[1], &x[2])
            })
        }),
        OpCase::new("layer_norm", Gradient::Smooth, |mut d| {
            let shape = d.filled_shape(1..=4);
            let outer = d.below(shape.len());
            d.note(format!("last {} axes", shape.len() - outer));
            d.input(&shape, -2.0, 2.0);
            d.input(&shape[outer..], 0.5, 1.5);
            d.input(&shape[outer..], -1.0, 1.0);
            let inner = shape[outer..].to_vec();
            let f = move |x: &[Tensor]| x[0].layer_norm(&inner, Some(&x[1]), Some(&x[2]), EPS);
            d.case(f, |x| {
                let row = |i: &[usize]| i[..outer].iter().zip(&shape).fold(0, |row, (i, n)| row * n + i);
                standardized(&x[0], row).zip(&x[1], |y, w| y * w).zip(&x[2], |y, b| y + b)
            })
        }),
        OpCase::new("group_norm", Gradient::Smooth, |mut d| {
            let [groups, each] = drawn(&mut d, 1, 2);
            let f = move |x: &[Tensor]| x[0].group_norm(groups, Some(&x[1]), Some(&x[2]), EPS);
            d.case(f, |x| by_channel(&standardized(&x[0], |i| i[0] * groups + i[1] / each), &x[1], &x[2]))
        }),
        OpCase::new("instance_norm", Gradient::Smooth, |mut d| {
            let [groups, each] = drawn(&mut d, 1, 3);
            let f = |x: &[Tensor]| x[0].instance_norm(Some(&x[1]), Some(&x[2]), EPS);
            d.case(f, |x| by_channel(&standardized(&x[0], |i| i[0] * groups * each + i[1]), &x[1], &x[2]))
        }),
    ]
}
