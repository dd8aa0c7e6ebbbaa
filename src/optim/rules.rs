//! The update rules, each as its paper (and PyTorch) writes it.

use super::{Optimizer, Rule, StepInfo};
use crate::nn::Param;
use crate::tensor::Tensor;

/// Stochastic gradient descent with momentum.
pub type Sgd = Optimizer<SgdRule>;

/// `v ← μ v + g`, `p ← p - lr v` (or `p - lr (g + μ v)` with Nesterov's form, Sutskever et al. 2013), after
/// `g ← g + λ p`.
#[derive(Clone, Copy, Debug, Default)]
pub struct SgdRule {
    momentum: f64,
    nesterov: bool,
    weight_decay: f64,
}

impl Sgd {
    /// Plain gradient descent.
    pub fn new(params: Vec<(String, Param)>, lr: f64) -> Sgd {
        Optimizer::with_rule(params, lr, SgdRule::default())
    }

    /// Keeps a velocity with coefficient μ.
    pub fn momentum(mut self, momentum: f64) -> Sgd {
        self.rule.momentum = momentum;
        self
    }

    /// Uses Nesterov's form of momentum.
    pub fn nesterov(mut self) -> Sgd {
        self.rule.nesterov = true;
        self
    }

    /// Adds `weight_decay * p` to each gradient.
    pub fn weight_decay(mut self, weight_decay: f64) -> Sgd {
        self.rule.weight_decay = weight_decay;
        self
    }
}

impl Rule for SgdRule {
    fn slots(&self) -> &'static [&'static str] {
        if self.momentum == 0.0 { &[] } else { &["momentum"] }
    }

    fn update(&self, info: StepInfo, p: &Tensor, g: &Tensor, slots: &[Tensor]) -> (Tensor, Vec<Tensor>) {
        let g = if self.weight_decay == 0.0 { g.clone() } else { g + p * self.weight_decay };
        let Some(velocity) = slots.first() else { return (p - g * info.lr, vec![]) };
        let velocity = velocity * self.momentum + &g;
        let direction = if self.nesterov { g + &velocity * self.momentum } else { velocity.clone() };
        (p - direction * info.lr, vec![velocity])
    }
}

/// Adam, and AdamW with decoupled weight decay.
pub type Adam = Optimizer<AdamRule>;

/// `m ← β₁ m + (1-β₁) g`, `v ← β₂ v + (1-β₂) g²`, `p ← p - lr m̂ / (√v̂ + ε)` with the bias-corrected `m̂ = m/(1-β₁ᵗ)`,
/// `v̂ = v/(1-β₂ᵗ)` (Kingma & Ba 2015, algorithm 1). Weight decay is added to the gradient, or applied to the
/// parameter as `p ← p - lr λ p` (AdamW, Loshchilov & Hutter 2019).
#[derive(Clone, Copy, Debug)]
pub struct AdamRule {
    betas: [f64; 2],
    eps: f64,
    weight_decay: f64,
    decoupled: bool,
}

impl Adam {
    /// Adam with β = (0.9, 0.999) and ε = 1e-8.
    pub fn new(params: Vec<(String, Param)>, lr: f64) -> Adam {
        let rule = AdamRule { betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0.0, decoupled: false };
        Optimizer::with_rule(params, lr, rule)
    }

    /// AdamW: Adam with decoupled weight decay.
    pub fn adamw(params: Vec<(String, Param)>, lr: f64, weight_decay: f64) -> Adam {
        let mut adam = Adam::new(params, lr);
        (adam.rule.weight_decay, adam.rule.decoupled) = (weight_decay, true);
        adam
    }

    /// Changes the decay rates of the two moments.
    pub fn betas(mut self, first: f64, second: f64) -> Adam {
        self.rule.betas = [first, second];
        self
    }

    /// Changes the number added to the denominator.
    pub fn eps(mut self, eps: f64) -> Adam {
        self.rule.eps = eps;
        self
    }

    /// Adds `weight_decay * p` to each gradient.
    pub fn weight_decay(mut self, weight_decay: f64) -> Adam {
        self.rule.weight_decay = weight_decay;
        self
    }
}

impl Rule for AdamRule {
    fn slots(&self) -> &'static [&'static str] {
        &["m", "v"]
    }

    fn update(&self, info: StepInfo, p: &Tensor, g: &Tensor, slots: &[Tensor]) -> (Tensor, Vec<Tensor>) {
        let [b1, b2] = self.betas;
        let decay = self.weight_decay;
        let g = if decay == 0.0 || self.decoupled { g.clone() } else { g + p * decay };
        let p = if decay == 0.0 || !self.decoupled { p.clone() } else { p * (1.0 - info.lr * decay) };
        let m = &slots[0] * b1 + &g * (1.0 - b1);
        let v = &slots[1] * b2 + &g * &g * (1.0 - b2);
        let t = info.step as f64;
        let rate = info.lr / (1.0 - b1.powf(t));
        let root = v.sqrt() * (1.0 / (1.0 - b2.powf(t)).sqrt()) + self.eps;
        (p - &m * rate / root, vec![m, v])
    }
}

/// RMSprop.
pub type RmsProp = Optimizer<RmsPropRule>;

/// `v ← α v + (1-α) g²`, `p ← p - lr g / (√v + ε)` (Tieleman & Hinton 2012), with momentum on the quotient as in
/// PyTorch.
#[derive(Clone, Copy, Debug)]
pub struct RmsPropRule {
    alpha: f64,
    eps: f64,
    momentum: f64,
    weight_decay: f64,
}

impl RmsProp {
    /// RMSprop with α = 0.99 and ε = 1e-8.
    pub fn new(params: Vec<(String, Param)>, lr: f64) -> RmsProp {
        let rule = RmsPropRule { alpha: 0.99, eps: 1e-8, momentum: 0.0, weight_decay: 0.0 };
        Optimizer::with_rule(params, lr, rule)
    }

    /// Changes the decay rate of the second moment.
    pub fn alpha(mut self, alpha: f64) -> RmsProp {
        self.rule.alpha = alpha;
        self
    }

    /// Changes the number added to the denominator.
    pub fn eps(mut self, eps: f64) -> RmsProp {
        self.rule.eps = eps;
        self
    }

    /// Keeps a velocity with this coefficient.
    pub fn momentum(mut self, momentum: f64) -> RmsProp {
        self.rule.momentum = momentum;
        self
    }

    /// Adds `weight_decay * p` to each gradient.
    pub fn weight_decay(mut self, weight_decay: f64) -> RmsProp {
        self.rule.weight_decay = weight_decay;
        self
    }
}

impl Rule for RmsPropRule {
    fn slots(&self) -> &'static [&'static str] {
        if self.momentum == 0.0 { &["v"] } else { &["v", "momentum"] }
    }

    fn update(&self, info: StepInfo, p: &Tensor, g: &Tensor, slots: &[Tensor]) -> (Tensor, Vec<Tensor>) {
        let g = if self.weight_decay == 0.0 { g.clone() } else { g + p * self.weight_decay };
        let v = &slots[0] * self.alpha + &g * &g * (1.0 - self.alpha);
        let quotient = g / (v.sqrt() + self.eps);
        match slots.get(1) {
            None => (p - quotient * info.lr, vec![v]),
            Some(velocity) => {
                let velocity = velocity * self.momentum + quotient;
                (p - &velocity * info.lr, vec![v, velocity])
            }
        }
    }
}

/// Adagrad.
pub type Adagrad = Optimizer<AdagradRule>;

/// `s ← s + g²`, `p ← p - lr g / (√s + ε)` (Duchi et al. 2011).
#[derive(Clone, Copy, Debug)]
pub struct AdagradRule {
    eps: f64,
    weight_decay: f64,
}

impl Adagrad {
    /// Adagrad with ε = 1e-10.
    pub fn new(params: Vec<(String, Param)>, lr: f64) -> Adagrad {
        Optimizer::with_rule(params, lr, AdagradRule { eps: 1e-10, weight_decay: 0.0 })
    }

    /// Changes the number added to the denominator.
    pub fn eps(mut self, eps: f64) -> Adagrad {
        self.rule.eps = eps;
        self
    }

    /// Adds `weight_decay * p` to each gradient.
    pub fn weight_decay(mut self, weight_decay: f64) -> Adagrad {
        self.rule.weight_decay = weight_decay;
        self
    }
}

impl Rule for AdagradRule {
    fn slots(&self) -> &'static [&'static str] {
        &["sum"]
    }

    fn update(&self, info: StepInfo, p: &Tensor, g: &Tensor, slots: &[Tensor]) -> (Tensor, Vec<Tensor>) {
        let g = if self.weight_decay == 0.0 { g.clone() } else { g + p * self.weight_decay };
        let sum = &slots[0] + &g * &g;
        let root = sum.sqrt() + self.eps;
        (p - g * info.lr / root, vec![sum])
    }
}
