//! Penalties on the slope of a critic, which keep adversarial training in bounds. The slope is a gradient, an
//! expression like any other, so the critic's parameters learn through it: second derivatives.

use crate::{Rng, Tensor, grad};

/// The Euclidean length of the critic's gradient at each sample of x `[n, …]`: `[n]`. The critic's score of one sample
/// must not depend on the others, as batch normalization would make it.
///
/// # Panics
/// If the scores do not depend on x.
#[track_caller]
pub fn slopes(critic: impl Fn(&Tensor) -> Tensor, x: &Tensor) -> Tensor {
    grad(&critic(x).sum(..), [x])[0].flatten(1).norm(1)
}

/// The penalty of Wasserstein networks, `E (‖∇D(x̂)‖ - 1)²` at points x̂ drawn uniformly from the lines between real
/// samples and generated ones, both `[n, …]` (Gulrajani et al. 2017, "Improved training of Wasserstein GANs", eq. 3).
/// Their λ is 10. The generator does not learn through it.
///
/// # Panics
/// If the shapes differ or the critic's scores do not depend on its input.
#[track_caller]
pub fn gradient_penalty(
    critic: impl Fn(&Tensor) -> Tensor,
    real: &Tensor,
    fake: &Tensor,
    rng: &mut Rng,
) -> Tensor {
    let mut each = vec![1; real.rank()];
    each[0] = real.shape()[0];
    let along = rng.uniform_of(each, real.dtype());
    let between = real * &along + fake.stop_grad() * (1.0 - &along);
    (slopes(critic, &between) - 1.0).square().mean(..)
}

/// The penalty R₁, `E ‖∇D(x)‖²` at real samples x `[n, …]`, to be multiplied by γ/2 (Mescheder, Geiger & Nowozin 2018,
/// "Which training methods for GANs do actually converge?", eq. 9). Their γ is 10.
///
/// # Panics
/// If the critic's scores do not depend on its input.
#[track_caller]
pub fn r1(critic: impl Fn(&Tensor) -> Tensor, real: &Tensor) -> Tensor {
    let slope = grad(&critic(real).sum(..), [real]).remove(0);
    slope.square().flatten(1).sum(1).mean(..)
}
