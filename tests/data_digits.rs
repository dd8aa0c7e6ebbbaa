//! The drawn digits: their statistics, and that a picture depends on nothing but seed and number.

use gradus::data::{Digits, Images, Source, open};
use sha2::{Digest, Sha256};

fn hash(images: &Images) -> String {
    let mut h = Sha256::new();
    h.update(&images.pixels);
    images.labels.iter().flatten().for_each(|l| h.update(l.to_le_bytes()));
    h.finalize().iter().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn pixels_have_the_statistics_of_handwriting() {
    let images = Digits::new(5, 10_000).images();
    let (mean, std) = images.mean_std();
    assert!((0.12..0.135).contains(&mean), "mean {mean}");
    assert!((0.295..0.315).contains(&std), "standard deviation {std}");
    for (digit, count) in images.class_counts().into_iter().enumerate() {
        assert!((850..1150).contains(&count), "{count} of 10,000 are a {digit}"); // 1000 +- 5 deviations
    }
}

/// Ink lies in a box of 20x20 (and the blurred edge of the pen) whose centre of mass is in the middle.
#[test]
fn every_picture_is_normalised() {
    let images = Digits::new(11, 2000).images();
    for i in 0..images.count {
        let inked: Vec<_> = (0..784).filter(|&k| images.image(i)[k] > 0).collect();
        let extent = |of: fn(usize) -> usize| {
            let v = inked.iter().map(|&k| of(k));
            v.clone().max().unwrap() - v.min().unwrap() + 1
        };
        let (w, h) = (extent(|k| k % 28), extent(|k| k / 28));
        assert!((18..=22).contains(&w.max(h)), "image {i}: ink of {w}x{h}");
        let middle = |of: fn(usize) -> usize| {
            let mass: f64 = inked.iter().map(|&k| f64::from(images.image(i)[k])).sum();
            inked.iter().map(|&k| (of(k) as f64 + 0.5) * f64::from(images.image(i)[k])).sum::<f64>() / mass
        };
        // Half a pixel of rounding, and what the change of darkness after centring moves.
        assert!(
            (middle(|k| k % 28) - 14.0).abs() < 0.8 && (middle(|k| k / 28) - 14.0).abs() < 0.8,
            "image {i}"
        );
    }
}

#[test]
fn a_picture_is_a_function_of_seed_and_number() {
    let long = Digits::new(3, 700).images();
    assert_eq!(Digits::new(3, 300).images(), long.slice(0..300));
    let lazy = Digits::new(3, 700);
    let mut pixels = [0; 784];
    for i in [0, 255, 256, 699] {
        assert_eq!(lazy.read(i, &mut pixels).unwrap(), Some(long.labels.as_ref().unwrap()[i]));
        assert_eq!(pixels, long.image(i));
    }
    assert_ne!(long.image(0), long.image(1));
    assert_ne!(Digits::new(4, 700).images().pixels, long.pixels);
}

#[test]
fn the_digits_by_name() {
    let split = open("digits:90", 3).unwrap();
    assert_eq!(split.train, Digits::new(3, 90).images());
    assert_eq!(split.test.count, 15);
    assert!((0..15).all(|i| (0..90).all(|j| split.test.image(i) != split.train.image(j))));
    assert_eq!(Digits::new(3, 10).starting_at(20).images(), Digits::new(3, 30).images().slice(20..30));
    assert_eq!(open("digits:1", 3).unwrap().test.count, 1);
    for name in ["", "digits:", "digits:0", "digits:-1", "digits:1e9", "mnist", "mnist:", "svhn:x"] {
        let message = open(name, 3).unwrap_err().to_string();
        assert!(message.contains(name), "{name:?}: {message}");
    }
    for name in ["mnist:/no/such", "cifar:/no/such"] {
        let message = open(name, 3).unwrap_err().to_string();
        assert!(message.contains("/no/such"), "{name:?}: {message}");
    }
}

/// The pictures of a seed are part of the interface: figures measured on them must stay comparable.
#[test]
fn the_pictures_are_pinned() {
    assert_eq!(
        hash(&Digits::new(1, 1000).images()),
        "a8b7c284d26d7c4a55857898e33d973985ec2f081fd03e679af22348a3b0ee9a"
    );
}

#[cfg(feature = "parallel")]
#[test]
fn threads_change_nothing() {
    let one = Digits::new(9, 1000).images();
    for threads in [1, 2, 3, 7] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert_eq!(pool.install(|| Digits::new(9, 1000).images()), one, "{threads} threads");
    }
}
