//! What the tests of models share.

use gradus::checkpoint::Checkpoint;
use gradus::data::{Batch, Images, Loader, LoaderOptions};
use gradus::train::Trainable;
use std::sync::Arc;

/// The first batches a model would learn from.
pub fn batches(model: &impl Trainable, images: &Images, size: usize, count: usize) -> Vec<Batch> {
    let options = LoaderOptions { pixels: model.pixels(), ..LoaderOptions::new(size, 1) };
    let mut loader = Loader::new(Arc::new(images.clone()), options).unwrap();
    (0..count).map(|_| loader.next_batch().unwrap()).collect()
}

/// Trains on batches of `size`, and gives the figures of every step by name.
pub fn train(
    model: &mut impl Trainable,
    images: &Images,
    size: usize,
    steps: usize,
) -> Vec<Vec<(&'static str, f64)>> {
    batches(model, images, size, steps).iter().map(|batch| model.step(batch).unwrap()).collect()
}

/// The pictures a model is tested on.
pub fn test(model: &impl Trainable, images: &Images) -> Loader {
    let pixels = model.test_pixels();
    let options = LoaderOptions { pixels, shuffle: false, drop_last: false, ..LoaderOptions::new(500, 1) };
    Loader::new(Arc::new(images.clone()), options).unwrap()
}

/// Three steps, a state written and read into a model of another seed, and three more steps are six steps.
pub fn resumes_exactly<M: Trainable>(new: impl Fn(u64) -> M, images: &Images, size: usize) {
    let (mut unbroken, mut first, mut second) = (new(1), new(1), new(2));
    let batches = batches(&unbroken, images, size, 6);
    for batch in &batches[..3] {
        unbroken.step(batch).unwrap();
        first.step(batch).unwrap();
    }
    let bytes = first.state().unwrap().to_bytes().unwrap();
    second.load(&Checkpoint::from_bytes(&bytes).unwrap()).unwrap();
    for batch in &batches[3..] {
        assert_eq!(unbroken.step(batch).unwrap(), second.step(batch).unwrap());
    }
    let [a, b] = [&unbroken, &second].map(|m| m.state().unwrap().to_bytes().unwrap());
    assert!(a == b, "the states after six steps differ");
}
