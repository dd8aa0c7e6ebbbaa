//! DCGAN and its relatives: penalties against differences, networks by their sizes, what a short training reaches, and
//! that it goes on where it stopped.

mod training;

use gradus::data::{Images, open};
use gradus::gradcheck::{GradcheckOptions, gradcheck, gradgradcheck};
use gradus::loss::Adversarial;
use gradus::models::dcgan::{Dcgan, DcganConfig, Normalization, Penalty};
use gradus::models::penalty::{gradient_penalty, r1, slopes};
use gradus::nn::Module;
use gradus::train::Trainable;
use gradus::{DType, Rng, Tensor};
use training::{resumes_exactly, test, train};

fn digits() -> Images {
    open("digits:640", 1).unwrap().train
}

fn small() -> DcganConfig {
    DcganConfig { latent: 16, features: 4, ..DcganConfig::default() }
}

/// A critic of two layers: `tanh(x a + b) c`.
fn critic<'a>(w: &'a [Tensor]) -> impl Fn(&Tensor) -> Tensor + 'a {
    |x| (x.flatten(1).matmul(&w[0]) + &w[1]).tanh().matmul(&w[2])
}

fn draws(shapes: &[&[usize]]) -> Vec<Tensor> {
    let mut rng = Rng::seed(3);
    shapes.iter().map(|s| rng.normal_of(*s, DType::F64)).collect()
}

#[test]
fn penalties_have_right_first_and_second_derivatives() {
    let weights = draws(&[&[6, 5], &[5], &[5, 1]]);
    let x = draws(&[&[4, 1, 2, 3], &[4, 1, 2, 3]]);
    let options = || GradcheckOptions { tolerance: 1e-5, ..GradcheckOptions::default() };
    let wgan = |w: &[Tensor]| gradient_penalty(critic(w), &x[0], &x[1], &mut Rng::seed(8));
    gradcheck(wgan, &weights, options()).unwrap();
    gradgradcheck(wgan, &weights, options()).unwrap();
    let r1 = |w: &[Tensor]| r1(critic(w), &x[0]);
    gradcheck(r1, &weights, options()).unwrap();
    gradgradcheck(r1, &weights, options()).unwrap();
}

#[test]
fn the_slope_of_a_linear_critic_is_its_weight() {
    let w = Tensor::from([[3.0f64], [0.0], [-4.0]]);
    let linear = |x: &Tensor| x.matmul(&w);
    let x = draws(&[&[7, 3], &[7, 3]]);
    assert!(slopes(linear, &x[0]).to_vec::<f64>().unwrap().iter().all(|s| (s - 5.0).abs() < 1e-12));
    let penalty = gradient_penalty(linear, &x[0], &x[1], &mut Rng::seed(1)).item().unwrap();
    assert!((penalty - 16.0).abs() < 1e-9, "(5 - 1)²: {penalty}");
    assert!((r1(linear, &x[0]).item().unwrap() - 25.0).abs() < 1e-9);
}

#[test]
fn networks_are_those_of_the_papers() {
    let model = |image, normalization| {
        Dcgan::new(DcganConfig { image, normalization, ..DcganConfig::default() }, 1).unwrap()
    };
    // Those of 28x28 by count as the same networks in PyTorch.
    let grey = model([1, 28, 28], Normalization::Batch);
    assert_eq!(grey.generator().num_params(), 771_969);
    assert_eq!(grey.discriminator().num_params(), 138_689);
    // 64x64: 100-512-256-128-64-3 with 4x4 kernels, a scale and a shift for each normalized channel.
    let large = model([3, 64, 64], Normalization::Batch);
    let kernels = 16 * (512 * 256 + 256 * 128 + 128 * 64 + 64 * 3);
    assert_eq!(large.generator().num_params(), kernels + 16 * 100 * 512 + 2 * (512 + 256 + 128 + 64));
    assert_eq!(large.discriminator().num_params(), kernels + 16 * 512 + 2 * (512 + 256 + 128));
    for image in [[1, 28, 28], [3, 32, 32], [3, 64, 64]] {
        for normalization in
            [Normalization::Batch, Normalization::Layer, Normalization::Spectral, Normalization::None]
        {
            let model = Dcgan::new(DcganConfig { image, normalization, ..small() }, 1).unwrap();
            let x = model.generator().forward(&Tensor::zeros([2, 16]));
            assert_eq!(x.shape().dims(), [2, image[0], image[1], image[2]]);
            assert_eq!(model.discriminator().forward(&x).shape(), &[2, 1]);
        }
    }
    // As the reference's probe: 64 channels of 4x4 and 128 of 3x3.
    assert_eq!(grey.discriminator().features(&Tensor::zeros([2, 1, 28, 28])).shape(), &[2, 2176]);
}

#[test]
fn weights_start_normal_with_deviation_a_fiftieth() {
    let model = Dcgan::new(DcganConfig::default(), 1).unwrap();
    let params = [model.generator().params(), model.discriminator().params()].concat();
    for (name, param) in params {
        let values: Vec<f64> = param.get().to_vec::<f32>().unwrap().into_iter().map(f64::from).collect();
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let deviation = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt();
        if name.ends_with("bias") {
            assert!(values.iter().all(|&v| v == 0.0), "{name}");
            continue;
        }
        let centre = if param.get().rank() == 1 { 1.0 } else { 0.0 };
        // Four standard errors of each.
        assert!((mean - centre).abs() < 4.0 * 0.02 / n.sqrt(), "{name}: mean {mean}");
        assert!((deviation - 0.02).abs() < 4.0 * 0.02 / (2.0 * n).sqrt(), "{name}: deviation {deviation}");
    }
}

#[test]
fn sixty_steps_bring_pictures_to_the_darkness_of_digits() {
    let images = digits();
    let mut model = Dcgan::new(DcganConfig { features: 8, g_lr: 2e-3, d_lr: 1e-3, ..small() }, 1).unwrap();
    let ink = |model: &mut Dcgan| model.pictures(64, 1).unwrap().unwrap().mean(..).item().unwrap();
    let before = ink(&mut model);
    let figures = train(&mut model, &images, 64, 60);
    let after = ink(&mut model);
    assert!(model.evaluate(&mut test(&model, &images)).unwrap().is_empty());
    assert!((before - 0.5).abs() < 0.02, "untrained pictures are grey: {before}");
    let real = images.mean_std().0;
    assert!((after - real).abs() < 0.12, "real ink {real}, generated {after}");
    assert!(figures.iter().flatten().all(|f| f.1.is_finite()));
}

#[test]
fn every_game_stays_finite_and_its_critic_learns() {
    let images = digits();
    for loss in [Adversarial::NonSaturating, Adversarial::LeastSquares, Adversarial::Hinge] {
        let mut model = Dcgan::new(DcganConfig { loss, d_lr: 1e-3, ..small() }, 1).unwrap();
        let figures = train(&mut model, &images, 32, 20);
        let (first, last) = (figures[0][0].1, figures[19][0].1);
        assert!(last < 0.5 * first, "{loss:?}: {figures:?}");
    }
    let smoothed = DcganConfig { real_label: 0.9, d_lr: 1e-3, ..small() };
    let figures = train(&mut Dcgan::new(smoothed, 1).unwrap(), &images, 32, 20);
    let least = -(0.9f64.ln() * 0.9 + 0.1f64.ln() * 0.1);
    assert!(figures[19][0].1 > least && figures[19][0].1 < 1.0, "at least {least}: {figures:?}");
}

#[test]
fn the_wasserstein_critics_slope_comes_to_one() {
    let images = digits();
    let config = DcganConfig { latent: 16, features: 4, d_lr: 3e-4, ..DcganConfig::wasserstein() };
    let mut model = Dcgan::new(config, 1).unwrap();
    let figures = train(&mut model, &images, 32, 60);
    let generator_steps = figures.iter().filter(|f| f.iter().any(|g| g.0 == "g_loss")).count();
    assert_eq!(generator_steps, 12, "one in five");
    let penalties: Vec<f64> = figures.iter().map(|f| f[1].1).collect();
    // λ (‖∇‖ - 1)² with λ = 10: the slope is off by more than 0.4 at first, then by less than 0.3.
    let late = penalties[30..].iter().sum::<f64>() / 30.0;
    assert!(penalties[..3].iter().all(|&p| p > 1.6) && late < 0.9, "{late} {penalties:?}");
    // The critic's estimate of the distance, without the penalty.
    assert!(figures[59][1].1 - figures[59][0].1 > 1.0, "{:?}", figures[59]);
}

#[test]
fn spectral_normalization_takes_scale_away() {
    let model = Dcgan::new(DcganConfig { latent: 16, features: 4, ..DcganConfig::spectral() }, 1).unwrap();
    let d = model.discriminator();
    let x = Rng::seed(2).uniform([3, 1, 28, 28]);
    // Towards the singular vectors first; then they are the same for any multiple of the weights.
    (0..30).for_each(|_| d.forward(&x).eval().unwrap());
    d.set_training(false);
    let before = d.forward(&x).to_vec::<f32>().unwrap();
    for (name, param) in d.params() {
        if name.ends_with("weight_orig") {
            param.set(param.get() * 50.0);
        }
    }
    let after = d.forward(&x).to_vec::<f32>().unwrap();
    assert!(
        before.iter().zip(&after).all(|(a, b)| (a - b).abs() < 1e-4 * a.abs().max(1e-3)),
        "{before:?} {after:?}"
    );
    assert!(before.iter().any(|v| v.abs() > 1e-3), "not all is zero: {before:?}");
}

#[test]
fn resumed_runs_equal_unbroken_ones() {
    let images = digits();
    let of = |config: DcganConfig| move |seed| Dcgan::new(config.clone(), seed).unwrap();
    resumes_exactly(of(DcganConfig { average: 0.9, ..small() }), &images, 8);
    let wasserstein = DcganConfig { latent: 16, features: 4, critic_steps: 2, ..DcganConfig::wasserstein() };
    resumes_exactly(of(wasserstein), &images, 8);
    let spectral = DcganConfig { latent: 16, features: 4, ..DcganConfig::spectral() };
    resumes_exactly(of(DcganConfig { penalty: Penalty::R1(10.0), ..spectral }), &images, 8);
}

#[test]
fn impossible_configurations_are_named() {
    let bad = |config: DcganConfig| Dcgan::new(config, 1).err().unwrap().to_string();
    assert!(bad(DcganConfig { image: [1, 28, 32], ..small() }).contains("28x32"));
    assert!(bad(DcganConfig { image: [3, 48, 48], ..small() }).contains("48x48"));
    assert!(bad(DcganConfig { penalty: Penalty::Gradient(10.0), ..small() }).contains("layer"));
    assert!(bad(DcganConfig { real_label: 0.9, loss: Adversarial::Hinge, ..small() }).contains("real_label"));
    assert!(bad(DcganConfig { critic_steps: 0, ..small() }).contains("critic_steps = 0"));
}
