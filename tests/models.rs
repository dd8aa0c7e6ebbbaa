//! Models learn, go on where they were stopped, and stop where NaN begins.

use gradus::checkpoint::Checkpoint;
use gradus::data::{Batch, Loader, LoaderOptions, LoaderState, Source, Split, idx, open};
use gradus::models::classifier::{Classifier, ClassifierConfig};
use gradus::models::gan::{Gan, GanConfig};
use gradus::train::{Stepped, Trainable, non_finite, step_checked};
use gradus::{Rng, Tensor};
use std::path::Path;
use std::sync::Arc;

fn loader(model: &dyn Trainable, source: impl Source + 'static, batch: usize, shuffle: bool) -> Loader {
    let options =
        LoaderOptions { pixels: model.pixels(), shuffle, drop_last: shuffle, ..LoaderOptions::new(batch, 1) };
    Loader::new(Arc::new(source), options).unwrap()
}

fn small_gan(average: f64) -> Gan {
    let config =
        GanConfig { latent: 8, hidden: vec![32, 64], g_lr: 1e-3, d_lr: 1e-3, average, ..Default::default() };
    Gan::new(config, 3).unwrap()
}

/// With batch normalization in the generator.
fn normalized_gan() -> Gan {
    let config = GanConfig { batch_norm: true, average: 0.9, ..small_gan(0.0).config().clone() };
    Gan::new(config, 3).unwrap()
}

fn digits(count: usize) -> Split {
    open(&format!("digits:{count}"), 1).unwrap()
}

#[test]
fn both_players_of_a_gan_learn() {
    let mut gan = small_gan(0.0);
    let mut batches = loader(&gan, digits(640).train, 64, true);
    let first = gan.step(&batches.next_batch().unwrap()).unwrap();
    // Before anything is learned D answers near 0: its loss is near 2 ln 2, G's near ln 2.
    let ln2 = std::f64::consts::LN_2;
    assert!((first[0].1 - 2.0 * ln2).abs() < 0.1 && (first[1].1 - ln2).abs() < 0.1, "{first:?}");
    let mut least = f64::MAX;
    for _ in 0..150 {
        least = least.min(gan.step(&batches.next_batch().unwrap()).unwrap()[0].1);
    }
    assert!(least < 1.0, "D never won: {least}");
    // G has found what all pictures share: black borders, ink in the middle.
    let pictures = gan.pictures(32, 1).unwrap().unwrap();
    assert_eq!(pictures.shape()[..], [32, 1, 28, 28]);
    let values = pictures.to_vec::<f32>().unwrap();
    let mean = |rows: std::ops::Range<usize>, columns: std::ops::Range<usize>| {
        let all = (0..32).flat_map(|i| rows.clone().map(move |y| (i * 28 + y) * 28));
        let all: Vec<f32> =
            all.flat_map(|at| columns.clone().map(move |x| at + x)).map(|i| values[i]).collect();
        all.iter().sum::<f32>() / all.len() as f32
    };
    let (border, middle) = (mean(0..3, 0..28), mean(10..18, 10..18));
    assert!(border < 0.15 && middle > border + 0.15, "border {border}, middle {middle}");
}

#[test]
fn pictures_belong_to_their_seed_and_leave_training_alone() {
    for make in [|| small_gan(0.0), || small_gan(0.9), normalized_gan] {
        let (mut a, mut b) = (make(), make());
        let mut batches = loader(&a, digits(128).train, 32, true);
        for _ in 0..3 {
            let batch = batches.next_batch().unwrap();
            let one = a.pictures(4, 7).unwrap().unwrap().to_vec::<f32>().unwrap();
            assert_eq!(one, a.pictures(4, 7).unwrap().unwrap().to_vec::<f32>().unwrap());
            assert_ne!(one, a.pictures(4, 8).unwrap().unwrap().to_vec::<f32>().unwrap());
            assert_eq!(a.step(&batch).unwrap(), b.step(&batch).unwrap());
        }
    }
}

/// Takes `steps`, through the bytes of a checkpoint at step `cut`.
fn trained(make: &dyn Fn() -> Box<dyn Trainable>, batches: &[Batch], cut: Option<usize>) -> Vec<u8> {
    let mut model = make();
    for (i, batch) in batches.iter().enumerate() {
        if cut == Some(i) {
            let bytes = model.state().unwrap().to_bytes().unwrap();
            model = make();
            model.load(&Checkpoint::from_bytes(&bytes).unwrap()).unwrap();
        }
        model.step(batch).unwrap();
    }
    model.state().unwrap().to_bytes().unwrap()
}

#[test]
fn a_model_resumed_at_any_step_is_the_unbroken_one_bit_for_bit() {
    let classifier = || {
        let config = ClassifierConfig { channels: [2, 4], hidden: 8, ..Default::default() };
        Box::new(Classifier::new(&config, 1).unwrap()) as Box<dyn Trainable>
    };
    let makers: [&dyn Fn() -> Box<dyn Trainable>; 4] = [
        &|| Box::new(small_gan(0.0)),
        &|| Box::new(small_gan(0.9)),
        &|| Box::new(normalized_gan()),
        &classifier,
    ];
    for make in makers {
        let mut loader = loader(make().as_ref(), digits(60).train, 12, true);
        let batches: Vec<Batch> = (0..5).map(|_| loader.next_batch().unwrap()).collect();
        let whole = trained(make, &batches, None);
        for cut in 0..5 {
            assert!(trained(make, &batches, Some(cut)) == whole, "cut at step {cut}");
        }
    }
}

#[test]
fn a_normalized_generator_uses_its_running_statistics_for_pictures() {
    let mut gan = normalized_gan();
    let mut batches = loader(&gan, digits(128).train, 32, true);
    for _ in 0..3 {
        gan.step(&batches.next_batch().unwrap()).unwrap();
    }
    // Each picture is a function of its own noise alone.
    let noise = Rng::seed(1).normal([6, 8]);
    let all = gan.decode(&noise).to_vec::<f32>().unwrap();
    let some = gan.decode(&noise.slice(0, 0..2)).to_vec::<f32>().unwrap();
    assert_eq!(all[..some.len()], some);
    let state = gan.state().unwrap();
    let tracked = &state.tensors["generator.norms.0.num_batches_tracked"];
    // The generator works for both players in each step.
    assert_eq!(tracked.to_vec::<i32>().unwrap(), [6]);
    assert!(!state.tensors.keys().any(|name| name.starts_with("discriminator.norms")));
    let mean = state.tensors["generator.norms.1.running_mean"].to_vec::<f32>().unwrap();
    assert!(mean.iter().any(|m| m.abs() > 1e-3), "{mean:?}");
}

#[test]
fn a_state_of_another_model_is_refused() {
    let state = small_gan(0.0).state().unwrap();
    let other = GanConfig { latent: 9, hidden: vec![32, 64], ..Default::default() };
    let error = Gan::new(other, 3).unwrap().load(&state).unwrap_err().to_string();
    assert!(
        error.contains("layers.0.weight") && error.contains("[32, 8]") && error.contains("[32, 9]"),
        "{error}"
    );
    let error = small_gan(0.9).load(&state).unwrap_err().to_string();
    assert!(error.contains("generator_average"), "{error}");
}

#[test]
fn senseless_configurations_are_named() {
    let gan = |change: fn(&mut GanConfig)| {
        let mut config = GanConfig::default();
        change(&mut config);
        Gan::new(config, 1).err().unwrap().to_string()
    };
    assert!(gan(|c| c.latent = 0).contains("latent = 0"));
    assert!(gan(|c| c.hidden = vec![0]).contains("hidden"));
    assert!(gan(|c| c.g_lr = f64::NAN).contains("g_lr = NaN"));
    assert!(gan(|c| c.betas[0] = 1.0).contains("betas[0] = 1"));
    let classifier = |change: fn(&mut ClassifierConfig)| {
        let mut config = ClassifierConfig::default();
        change(&mut config);
        Classifier::new(&config, 1).err().unwrap().to_string()
    };
    assert!(classifier(|c| c.image[1] = 3).contains("3x28"));
    assert!(classifier(|c| c.classes = 0).contains("labels"));
    assert!(classifier(|c| c.channels[1] = 0).contains("channels = 0"));
}

#[test]
fn a_step_that_diverges_is_undone_and_explained() {
    let mut gan = small_gan(0.0);
    let mut batches = loader(&gan, digits(64).train, 32, true);
    let good = batches.next_batch().unwrap();
    assert!(matches!(step_checked(&mut gan, &good).unwrap(), Stepped::Learned(_)));
    let before = gan.state().unwrap().to_bytes().unwrap();
    let mut bad = batches.next_batch().unwrap();
    bad.pixels[5] = f32::NAN;
    match step_checked(&mut gan, &bad).unwrap() {
        Stepped::Diverged { figure, value, cause } => {
            assert!(figure == "d_loss" && value.is_nan(), "{figure} {value}");
            assert!(cause.contains("NaN"), "{cause}");
        }
        other => panic!("{other:?}"),
    }
    assert!(gan.state().unwrap().to_bytes().unwrap() == before, "the state has changed");
    assert!(matches!(step_checked(&mut gan, &good).unwrap(), Stepped::Learned(_)));

    let mut state = gan.state().unwrap();
    let name = String::from("generator.layers.0.bias");
    let broken = Tensor::from_vec(vec![f32::INFINITY; 32], [32]);
    state.tensors.insert(name.clone(), broken);
    let found = non_finite(&state).unwrap().unwrap();
    assert!(found.contains(&name) && found.contains("32 NaN or infinite of 32"), "{found}");
    gan.load(&state).unwrap();
    match step_checked(&mut gan, &good).unwrap() {
        Stepped::Diverged { cause, .. } => assert!(cause.contains(&name), "{cause}"),
        other => panic!("{other:?}"),
    }
}

/// The share of `split.test` that the default classifier recognises after some epochs of `split.train`.
fn accuracy(split: Split, epochs: usize) -> f64 {
    let mut model = Classifier::new(&ClassifierConfig::default(), 1).unwrap();
    let mut batches = loader(&model, split.train, 100, true);
    for _ in 0..epochs * batches.batches_per_epoch() {
        model.step(&batches.next_batch().unwrap()).unwrap();
    }
    let mut test = loader(&model, split.test, 500, false);
    let figures = model.evaluate(&mut test).unwrap();
    test.resume(LoaderState::default()).unwrap();
    assert_eq!(model.evaluate(&mut test).unwrap(), figures);
    figures[1].1
}

/// The real digits, in `$GRADUS_DATA/mnist` or `../shared/data/mnist`, where this machine has them.
fn mnist() -> Option<Split> {
    let data = std::env::var_os("GRADUS_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"),
        std::path::PathBuf::from,
    );
    let folder = data.join("mnist");
    if !folder.is_dir() {
        eprintln!(
            "skipped: no MNIST in {}; set GRADUS_DATA to the folder that holds mnist/",
            folder.display()
        );
        return None;
    }
    Some(idx::mnist(&folder).unwrap())
}

#[test]
fn drawn_digits_are_learned() {
    let found = accuracy(digits(6000), 5);
    assert!(found >= 0.9, "{found}");
}

#[test]
#[ignore = "trains for a minute; run it with --release"]
fn drawn_digits_alone_teach_the_real_ones() {
    let Some(real) = mnist() else { return };
    let found = accuracy(Split { train: digits(60_000).train, test: real.test }, 3);
    assert!(found >= 0.91, "{found}");
}

#[test]
#[ignore = "trains for a minute; run it with --release"]
fn real_digits_are_learned() {
    let Some(real) = mnist() else { return };
    let found = accuracy(real, 4);
    assert!(found >= 0.985, "{found}");
}
