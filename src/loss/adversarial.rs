//! The losses of generative adversarial networks.

use crate::tensor::Tensor;

/// The game between a critic `D` (a discriminator, if its scores are logits) and a generator. Scores have any shape;
/// `E` is the mean over real samples or over generated ones.
///
/// ```
/// use gradus::{Tensor, loss::Adversarial};
/// let (real, fake) = (Tensor::from([2.0f64, -1.0]), Tensor::from([-3.0, 0.5]));
/// assert_eq!(Adversarial::Hinge.critic(&real, &fake).item()?, 1.0 + 0.75);
/// assert_eq!(Adversarial::Wasserstein.generator(&fake).item()?, 1.25);
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Adversarial {
    /// Goodfellow et al. 2014, §3, on logits, with the generator's loss that does not saturate. Critic
    /// `E softplus(-D(real)) + E softplus(D(fake))`, generator `E softplus(-D(fake))`.
    NonSaturating,
    /// Mao et al. 2017, eq. 9 ("Least squares generative adversarial networks"). Critic
    /// `E (D(real) - 1)² / 2 + E D(fake)² / 2`, generator `E (D(fake) - 1)² / 2`.
    LeastSquares,
    /// Lim & Ye 2017; Miyato et al. 2018, eqs. 16 and 17. Critic `E max(0, 1 - D(real)) + E max(0, 1 + D(fake))`,
    /// generator `-E D(fake)`.
    Hinge,
    /// Arjovsky, Chintala & Bottou 2017, algorithm 1; the critic must be kept Lipschitz by other means. Critic
    /// `E D(fake) - E D(real)`, generator `-E D(fake)`.
    Wasserstein,
}

impl Adversarial {
    /// What the critic makes small, from its scores of real and of generated samples (their numbers may differ).
    #[track_caller]
    pub fn critic(self, real: &Tensor, fake: &Tensor) -> Tensor {
        match self {
            Adversarial::NonSaturating => (-real).softplus().mean(..) + fake.softplus().mean(..),
            Adversarial::LeastSquares => ((real - 1.0).square().mean(..) + fake.square().mean(..)) * 0.5,
            Adversarial::Hinge => (1.0 - real).relu().mean(..) + (fake + 1.0).relu().mean(..),
            Adversarial::Wasserstein => fake.mean(..) - real.mean(..),
        }
    }

    /// What the generator makes small, from the critic's scores of its samples.
    #[track_caller]
    pub fn generator(self, fake: &Tensor) -> Tensor {
        match self {
            Adversarial::NonSaturating => (-fake).softplus().mean(..),
            Adversarial::LeastSquares => (fake - 1.0).square().mean(..) * 0.5,
            Adversarial::Hinge | Adversarial::Wasserstein => -fake.mean(..),
        }
    }
}
