//! A Wasserstein GAN with gradient penalty (Gulrajani et al. 2017, algorithm 1) on eight points around a circle: the
//! critic's loss contains a gradient, and training differentiates it again.
//!
//! `cargo run --release --example wgan_gp`

use gradus::nn::{Linear, Module};
use gradus::optim::Adam;
use gradus::{Result, Rng, Tensor, grad, module};

/// Two hidden layers.
struct Mlp {
    l1: Linear,
    l2: Linear,
    l3: Linear,
}
module!(Mlp { l1, l2, l3 });

impl Mlp {
    fn new(inputs: usize, outputs: usize, rng: &mut Rng) -> Mlp {
        let (l1, l2) = (Linear::new(inputs, 128, rng), Linear::new(128, 128, rng));
        Mlp { l1, l2, l3: Linear::new(128, outputs, rng) }
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        let h = self.l1.forward(x).leaky_relu(0.2);
        self.l3.forward(&self.l2.forward(&h).leaky_relu(0.2))
    }
}

/// Points near the eight places, `[n, 2]`.
fn ring(n: usize, rng: &mut Rng) -> Tensor {
    let angle = (rng.uniform([n, 1]) * 8.0).floor() * (std::f64::consts::TAU / 8.0);
    Tensor::cat(&[angle.cos(), angle.sin()], 1) + rng.normal([n, 2]) * 0.02
}

fn main() -> Result<()> {
    let (n, mut rng) = (256, Rng::seed(1));
    let (g, d) = (Mlp::new(2, 2, &mut rng), Mlp::new(2, 1, &mut rng));
    let mut og = Adam::new(g.params(), 5e-4).betas(0.5, 0.9);
    let mut od = Adam::new(d.params(), 5e-4).betas(0.5, 0.9);
    for step in 1..=2000 {
        let mut distance = 0.0;
        for _ in 0..5 {
            let (real, fake) = (ring(n, &mut rng), g.forward(&rng.normal([n, 2])).stop_grad());
            let e = rng.uniform([n, 1]);
            let mix = &e * &real + (1.0 - &e) * &fake;
            // The slope of the critic, which is to be 1: an ordinary tensor. Its weight is the paper's for toy data.
            let slope = grad(&d.forward(&mix).sum(..), [&mix])[0].square().sum(1).sqrt();
            let gap = d.forward(&real).mean(..) - d.forward(&fake).mean(..);
            od.step(&(0.1 * (slope - 1.0).square().mean(..) - &gap))?;
            distance = gap.item()?;
        }
        og.step(&-d.forward(&g.forward(&rng.normal([n, 2]))).mean(..))?;
        if step % 250 == 0 {
            println!("step {step}  distance {distance:.4}");
        }
    }
    plot(&g.forward(&rng.normal([2000, 2])).to_vec::<f32>()?);
    Ok(())
}

/// Points of the square from -1.5 to 1.5 as characters.
fn plot(points: &[f32]) {
    let mut grid = [[b' '; 60]; 30];
    for [x, y] in points.as_chunks::<2>().0 {
        let cell = |v: f32, cells: usize| (((v + 1.5) / 3.0) * cells as f32) as usize;
        if let Some(place) = grid.get_mut(cell(-y, 30)).and_then(|row| row.get_mut(cell(*x, 60))) {
            *place = b'*';
        }
    }
    grid.iter().for_each(|row| println!("{}", String::from_utf8_lossy(row)));
}
