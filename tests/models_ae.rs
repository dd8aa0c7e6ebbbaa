//! Autoencoders: what they reach, what corruption does, and that they go on where they stopped.

mod training;

use gradus::Rng;
use gradus::Tensor;
use gradus::data::{Split, open};
use gradus::models::ae::{AeConfig, Autoencoder, Corruption, Objective};
use gradus::models::coder::Layers;
use gradus::nn::{Activation, Module};
use gradus::train::Trainable;
use training::{resumes_exactly, test, train};

fn digits() -> Split {
    open("digits:1200", 1).unwrap()
}

fn small() -> AeConfig {
    AeConfig {
        code: 16,
        layers: Layers::dense(&[128], Activation::Relu),
        code_activation: None,
        lr: 4e-3,
        ..AeConfig::default()
    }
}

fn figure(figures: &[(&'static str, f64)], name: &str) -> f64 {
    figures.iter().find(|f| f.0 == name).unwrap().1
}

#[test]
fn squared_errors_fall_below_those_of_the_mean_by_far() {
    let data = digits();
    for objective in [Objective::SquaredError, Objective::CrossEntropy] {
        let mut ae = Autoencoder::new(AeConfig { objective, ..small() }, 1).unwrap();
        train(&mut ae, &data.train, 50, 300);
        let figures = ae.evaluate(&mut test(&ae, &data.test)).unwrap();
        // The mean picture is 50 away on average.
        assert!(figure(&figures, "squared_error") < 25.0, "{objective:?}: {figures:?}");
    }
}

#[test]
fn a_convolutional_one_learns_too() {
    let data = digits();
    let layers = Layers::convolutional(&[8, 16], &[], Activation::Relu);
    let mut ae = Autoencoder::new(AeConfig { layers, ..small() }, 1).unwrap();
    train(&mut ae, &data.train, 32, 300);
    let figures = ae.evaluate(&mut test(&ae, &data.test)).unwrap();
    assert!(figure(&figures, "squared_error") < 30.0, "{figures:?}");
}

#[test]
fn a_denoising_one_takes_noise_away() {
    let data = digits();
    for corruption in [Corruption::Masking(0.5), Corruption::Gaussian(0.4), Corruption::SaltAndPepper(0.4)] {
        let mut ae = Autoencoder::new(AeConfig { corruption, ..small() }, 1).unwrap();
        train(&mut ae, &data.train, 50, 300);
        let figures = ae.evaluate(&mut test(&ae, &data.test)).unwrap();
        let x =
            Tensor::from_vec(data.test.pixels.iter().map(|&v| f32::from(v) / 255.0).collect(), [200, 784]);
        let noisy = corruption.apply(&x, &mut Rng::seed(9));
        let before = ((noisy - &x).square().sum(..) / 200.0).item().unwrap();
        let after = figure(&figures, "denoised");
        assert!(after < 0.75 * before && after < 40.0, "{corruption:?}: {before} before, {figures:?} after");
    }
}

#[test]
fn corruption_has_the_strength_asked_for() {
    let x = Tensor::full([400, 500], 0.25);
    let corrupt = |c: Corruption| c.apply(&x, &mut Rng::seed(4)).to_vec::<f32>().unwrap();
    let share = |values: &[f32], v: f32| values.iter().filter(|&&w| w == v).count() as f64 / 200_000.0;
    let masked = corrupt(Corruption::Masking(0.3));
    assert!((share(&masked, 0.0) - 0.3).abs() < 0.005 && (share(&masked, 0.25) - 0.7).abs() < 0.005);
    let salted = corrupt(Corruption::SaltAndPepper(0.4));
    let shares = [0.0, 1.0, 0.25].map(|v| share(&salted, v));
    assert!(shares.iter().zip([0.2, 0.2, 0.6]).all(|(s, e)| (s - e).abs() < 0.005), "{shares:?}");
    let noisy: Vec<f64> = corrupt(Corruption::Gaussian(0.5)).iter().map(|&v| f64::from(v) - 0.25).collect();
    let variance = noisy.iter().map(|d| d * d).sum::<f64>() / 200_000.0;
    assert!((variance - 0.25).abs() < 0.005, "{variance}");
    for c in [Corruption::None, Corruption::Masking(0.0), Corruption::SaltAndPepper(0.0)] {
        assert!(corrupt(c).iter().all(|&v| v == 0.25), "{c:?}");
    }
}

#[test]
fn the_presets_are_the_papers_networks() {
    let sizes = |widths: &[usize]| widths.windows(2).map(|w| w[0] * w[1] + w[1]).sum::<usize>();
    for (config, widths) in [
        (AeConfig::default(), &[784, 512, 256, 32, 256, 512, 784][..]),
        (AeConfig::deep(), &[784, 1000, 500, 250, 30, 250, 500, 1000, 784]),
    ] {
        assert_eq!(Autoencoder::new(config, 1).unwrap().network().num_params(), sizes(widths));
    }
    let ae = Autoencoder::new(AeConfig::convolutional(), 1).unwrap();
    let x = Tensor::zeros([3, 784]);
    assert_eq!(ae.encode(&x).shape(), &[3, 32]);
    assert_eq!(ae.reconstruct(&x).shape(), &[3, 784]);
}

#[test]
fn the_rate_falls_to_nothing_along_a_cosine() {
    let data = digits();
    let mut ae = Autoencoder::new(AeConfig { steps: 4, ..small() }, 1).unwrap();
    train(&mut ae, &data.train, 10, 5);
    let parameters =
        |ae: &Autoencoder| ae.state().unwrap().tensors["network.code.bias"].to_vec::<f32>().unwrap();
    let before = parameters(&ae);
    train(&mut ae, &data.train, 10, 1);
    assert_eq!(before, parameters(&ae), "the rate is 0 from step 4 on");
}

#[test]
fn a_resumed_run_equals_an_unbroken_one() {
    let config = AeConfig { corruption: Corruption::SaltAndPepper(0.3), steps: 100, ..small() };
    resumes_exactly(|seed| Autoencoder::new(config.clone(), seed).unwrap(), &digits().train, 20);
}

#[test]
fn impossible_configurations_are_named() {
    let bad = |config: AeConfig| Autoencoder::new(config, 1).err().unwrap().to_string();
    assert!(bad(AeConfig { code: 0, ..small() }).contains("code = 0"));
    let masking = AeConfig { corruption: Corruption::Masking(1.5), ..small() };
    assert!(bad(masking).contains("masking = 1.5"));
}
