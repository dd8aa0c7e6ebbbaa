//! The variational autoencoder: its formulas against numbers, what it learns, and that it goes on where it stopped.

mod training;

use gradus::data::{Images, Split, open};
use gradus::models::coder::Layers;
use gradus::models::vae::{Observation, Posterior, Vae, VaeConfig};
use gradus::nn::Activation;
use gradus::train::Trainable;
use gradus::{Rng, Tensor};
use training::{batches, resumes_exactly, test, train};

fn digits() -> Split {
    open("digits:1200", 1).unwrap()
}

fn small() -> VaeConfig {
    VaeConfig { latent: 8, layers: Layers::dense(&[100], Activation::Relu), ..VaeConfig::default() }
}

/// Pictures of two by two pixels, all sixteen of them.
fn all_of_four_pixels() -> Images {
    let pixels = (0..16u8).flat_map(|i| (0..4).map(move |bit| 255 * (i >> bit & 1))).collect();
    Images::new([16, 1, 2, 2], pixels, None, Vec::new()).unwrap()
}

#[test]
fn the_bound_on_drawn_digits_rises_above_minus_165_in_200_steps() {
    let data = digits();
    let mut vae = Vae::new(VaeConfig { lr: 3e-3, ..small() }, 1).unwrap();
    let before = vae.bound(&mut test(&vae, &data.test)).unwrap().elbo();
    assert!(before < -500.0, "untrained, about 784 ln 2 nats are missing: {before}");
    train(&mut vae, &data.train, 50, 200);
    let figures = vae.evaluate(&mut test(&vae, &data.test)).unwrap();
    let figure = |name| figures.iter().find(|f| f.0 == name).unwrap().1;
    assert!(figure("elbo") > -165.0, "{figures:?}");
    assert!((figure("elbo") + figure("reconstruction") + figure("kl")).abs() < 1e-9);
    assert!(figure("active_units") >= 6.0, "{figures:?}");
    assert_eq!(
        figures,
        vae.evaluate(&mut test(&vae, &data.test)).unwrap(),
        "evaluation draws the same every time"
    );
}

#[test]
fn a_convolutional_one_learns_too() {
    let data = digits();
    let layers = Layers::convolutional(&[8, 16], &[64], Activation::Relu);
    let mut vae = Vae::new(VaeConfig { layers, lr: 3e-3, ..small() }, 1).unwrap();
    train(&mut vae, &data.train, 32, 200);
    let bound = vae.bound(&mut test(&vae, &data.test)).unwrap();
    assert!(bound.elbo() > -190.0, "{bound:?}");
}

#[test]
fn gaussian_decoders_learn_densities_of_grey() {
    let data = digits();
    for (observation, least) in [
        (Observation::Gaussian { deviation: 0.2 }, 0.0),
        (Observation::LearnedGaussian { least: 0.05 }, 200.0),
    ] {
        let mut vae = Vae::new(VaeConfig { observation, lr: 2e-3, ..small() }, 1).unwrap();
        train(&mut vae, &data.train, 50, 150);
        let bound = vae.bound(&mut test(&vae, &data.test)).unwrap();
        assert!(bound.elbo() > least, "{observation:?}: {bound:?}");
    }
}

#[test]
fn the_divergence_is_the_mean_of_the_log_ratio() {
    let posterior =
        Posterior { mean: Tensor::from([[0.5f64, -1.0]]), log_var: Tensor::from([[-1.5f64, 0.4]]) };
    let noise = Rng::seed(3).normal_of([200_000, 2], gradus::DType::F64);
    let z = posterior.sample(&noise);
    // log q(z|x) - log p(z), whose constants cancel.
    let ratio = (z.square() - noise.square() - &posterior.log_var) * 0.5;
    let measured = ratio.mean(0).to_vec::<f64>().unwrap();
    let exact = posterior.kl().to_vec::<f64>().unwrap();
    for (m, e) in measured.iter().zip(&exact) {
        assert!((m - e).abs() < 0.01, "{measured:?} {exact:?}");
    }
    let standard = Posterior { mean: Tensor::zeros([1, 3]), log_var: Tensor::zeros([1, 3]) };
    assert_eq!(standard.kl().to_vec::<f32>().unwrap(), [0.0; 3]);
}

#[test]
fn observations_are_their_densities() {
    let x = Tensor::from([[0.0f64, 1.0]]);
    let logits = Tensor::from([[-2.0f64, 0.5]]);
    let p: Vec<f64> = logits.sigmoid().to_vec::<f64>().unwrap();
    let bernoulli = Observation::Bernoulli.log_p(&logits, &x).item().unwrap();
    assert!((bernoulli - ((1.0 - p[0]).ln() + p[1].ln())).abs() < 1e-12);

    let normal = |x: f64, m: f64, v: f64| -0.5 * ((x - m).powi(2) / v + (std::f64::consts::TAU * v).ln());
    let fixed = Observation::Gaussian { deviation: 0.3 }.log_p(&logits, &x).item().unwrap();
    assert!((fixed - normal(0.0, p[0], 0.09) - normal(1.0, p[1], 0.09)).abs() < 1e-12);

    let decoded = Tensor::from([[-2.0f64, 0.5, -3.0, 0.1]]);
    let learned = Observation::LearnedGaussian { least: 0.1 };
    let [v, w] = [-3.0f64, 0.1].map(|s| 0.01 + s.exp());
    let density = learned.log_p(&decoded, &x).item().unwrap();
    assert!((density - normal(0.0, p[0], v) - normal(1.0, p[1], w)).abs() < 1e-12);
    assert_eq!(learned.mean(&decoded).to_vec::<f64>().unwrap(), p);
}

/// With a code of one number, log p(x) = log ∫ p(x|z) N(z) dz can be had by the trapezoidal rule.
#[test]
fn the_importance_weighted_bound_tends_to_the_likelihood() {
    let images = all_of_four_pixels();
    let config = VaeConfig {
        image: [1, 2, 2],
        latent: 1,
        layers: Layers::dense(&[6], Activation::Tanh),
        lr: 0.02,
        ..VaeConfig::default()
    };
    let mut vae = Vae::new(config, 5).unwrap();
    train(&mut vae, &images, 8, 150);

    let grid: Vec<f32> = (0..=4000).map(|i| i as f32 / 250.0 - 8.0).collect();
    let p = vae.decode(&Tensor::from_vec(grid.clone(), [4001, 1])).to_vec::<f32>().unwrap();
    let exact: Vec<f64> = (0..16)
        .map(|i| {
            let likelihood = |probabilities: &[f32]| -> f64 {
                let each = probabilities.iter().enumerate();
                each.map(|(bit, &p)| f64::from(if i >> bit & 1 == 1 { p } else { 1.0 - p })).product()
            };
            let prior = |z: f32| (-0.5 * f64::from(z).powi(2)).exp() / std::f64::consts::TAU.sqrt();
            grid.iter().zip(p.chunks(4)).map(|(&z, p)| prior(z) * likelihood(p) / 250.0).sum::<f64>().ln()
        })
        .collect();
    let total: f64 = exact.iter().map(|l| l.exp()).sum();
    assert!((total - 1.0).abs() < 1e-4, "the sixteen pictures are all there are: {total}");

    let mean = |l: &[f64]| l.iter().sum::<f64>() / 16.0;
    let bounds = vae.log_likelihoods(&mut test(&vae, &images), 20_000).unwrap();
    for (bound, exact) in bounds.iter().zip(&exact) {
        assert!((bound - exact).abs() < 0.02, "{bounds:?} {exact:?}");
    }
    let few = mean(&vae.log_likelihoods(&mut test(&vae, &images), 2).unwrap());
    let elbo = vae.bound(&mut test(&vae, &images)).unwrap().elbo();
    assert!(elbo < mean(&exact) && few < mean(&exact) + 0.1, "{elbo} {few} {}", mean(&exact));
}

#[test]
fn training_by_importance_weights_tightens_the_bound() {
    let data = digits();
    let mut vae = Vae::new(VaeConfig { samples: 5, lr: 3e-3, ..small() }, 1).unwrap();
    train(&mut vae, &data.train, 50, 60);
    let some = data.test.slice(0..64);
    let likelihood = vae.log_likelihoods(&mut test(&vae, &some), 50).unwrap().iter().sum::<f64>() / 64.0;
    let elbo = vae.bound(&mut test(&vae, &some)).unwrap().elbo();
    assert!(likelihood > -190.0 && elbo < likelihood, "{likelihood} {elbo}");
}

#[test]
fn beta_and_free_bits_trade_code_for_pixels() {
    let data = digits();
    let kl = |beta, free_bits| {
        let mut vae = Vae::new(VaeConfig { beta, free_bits, lr: 3e-3, ..small() }, 1).unwrap();
        train(&mut vae, &data.train, 50, 80);
        vae.bound(&mut test(&vae, &data.test)).unwrap().kl
    };
    let (plain, strict, free) = (kl(1.0, 0.0), kl(20.0, 0.0), kl(20.0, 2.0));
    assert!(strict < 0.1 * plain && free > 5.0, "{plain} {strict} {free}");
}

#[test]
fn an_untrained_decoder_can_start_at_the_means() {
    let data = digits();
    let mut vae = Vae::new(VaeConfig { glorot: true, ..small() }, 1).unwrap();
    vae.set_means(&data.train).unwrap();
    let shown = vae.decode(&Tensor::zeros([1, 8])).to_vec::<f32>().unwrap();
    for pixel in [0, 14 * 28 + 14, 10 * 28 + 17] {
        let sum: f64 = (0..data.train.count).map(|i| f64::from(data.train.image(i)[pixel])).sum();
        let mean = (sum / 255.0 / data.train.count as f64).clamp(0.001, 0.999);
        assert!((f64::from(shown[pixel]) - mean).abs() < 1e-5, "pixel {pixel}: {} {mean}", shown[pixel]);
    }
    assert!(vae.set_means(&all_of_four_pixels()).unwrap_err().to_string().contains("[1, 2, 2]"));
}

#[test]
fn the_rate_falls_by_the_papers_epochs() {
    let data = digits();
    let mut vae = Vae::new(VaeConfig { anneal: true, ..small() }, 1).unwrap();
    let mut batch = batches(&vae, &data.train, 10, 1).remove(0);
    for (epoch, stage) in [(0, 0), (1, 1), (3, 1), (4, 2), (12, 2), (13, 3), (1092, 6), (1093, 7), (9999, 7)]
    {
        batch.epoch = epoch;
        vae.step(&batch).unwrap();
        let lr: f64 = vae.state().unwrap().get("lr:adam").unwrap();
        assert!((lr - 1e-3 * 10f64.powf(-f64::from(stage) / 7.0)).abs() < 1e-12, "epoch {epoch}: {lr}");
    }
}

#[test]
fn a_resumed_run_equals_an_unbroken_one() {
    resumes_exactly(|seed| Vae::new(small(), seed).unwrap(), &digits().train, 20);
}

#[test]
fn impossible_configurations_are_named() {
    let bad = |config: VaeConfig| Vae::new(config, 1).err().unwrap().to_string();
    assert!(bad(VaeConfig { latent: 0, ..small() }).contains("latent = 0"));
    assert!(bad(VaeConfig { beta: f64::NAN, ..small() }).contains("beta = NaN"));
    assert!(bad(VaeConfig { samples: 5, beta: 2.0, ..small() }).contains("samples = 1"));
    assert!(bad(VaeConfig { layers: Layers::dense(&[0], Activation::Relu), ..small() }).contains("hidden"));
    let deep = Layers::convolutional(&[4, 4, 4], &[], Activation::Relu);
    assert!(bad(VaeConfig { layers: deep, ..small() }).contains("28x28 cannot be halved 3 times"));
}
