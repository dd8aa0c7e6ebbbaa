//! The loader: its order, its draws, resuming, and what happens when a source fails.

use gradus::data::{
    Batch, Digits, Images, Loader, LoaderOptions, LoaderState, Pixels, Source, SplitMix64, binarize,
};
use gradus::{Error, Result};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Pictures of 2x3 whose bytes tell which picture they are of.
fn numbered(count: usize) -> Arc<Images> {
    let pixels = (0..count * 6).map(|k| (k / 6) as u8).collect();
    let labels = (0..count).map(|i| i as u32 % 10).collect();
    let classes = (0..10).map(|c| c.to_string()).collect();
    Arc::new(Images::new([count, 1, 2, 3], pixels, Some(labels), classes).unwrap())
}

fn loader(source: Arc<dyn Source>, options: LoaderOptions) -> Loader {
    Loader::new(source, options).unwrap()
}

fn batches(loader: &mut Loader, n: usize) -> Vec<Batch> {
    (0..n).map(|_| loader.next_batch().unwrap()).collect()
}

#[test]
fn an_epoch_has_every_picture_once_with_its_label() {
    for (shuffle, drop_last, prefetch) in
        [(true, false, 0), (true, true, 3), (false, false, 1), (false, true, 0)]
    {
        let options = LoaderOptions { shuffle, drop_last, prefetch, ..LoaderOptions::new(8, 3) };
        let mut loader = loader(numbered(43), options);
        assert_eq!(loader.batches_per_epoch(), if drop_last { 5 } else { 6 });
        for epoch in 0..3 {
            let batches: Vec<Batch> = loader.epoch().map(|b| b.unwrap()).collect();
            assert_eq!(batches.len(), loader.batches_per_epoch());
            let seen: Vec<u32> = batches.iter().flat_map(|b| b.indices.clone()).collect();
            assert_eq!(seen.len(), if drop_last { 40 } else { 43 });
            assert_eq!(seen.iter().collect::<HashSet<_>>().len(), seen.len());
            assert_eq!(seen.is_sorted(), !shuffle);
            for b in &batches {
                assert_eq!((b.epoch, b.shape), (epoch, [b.indices.len(), 1, 2, 3]));
                let want: Vec<f32> = b.indices.iter().flat_map(|&i| [i as f32 / 255.0; 6]).collect();
                assert_eq!(b.pixels, want);
                assert_eq!(b.labels, Some(b.indices.iter().map(|i| i % 10).collect()));
            }
        }
        assert_eq!(loader.state(), LoaderState { epoch: 3, position: 0 });
    }
}

#[test]
fn order_depends_on_seed_and_epoch_and_nothing_else() {
    let order = |seed, epoch, batch| {
        let mut l = loader(numbered(100), LoaderOptions { prefetch: 0, ..LoaderOptions::new(batch, seed) });
        l.resume(LoaderState { epoch, position: 0 }).unwrap();
        l.epoch().flat_map(|b| b.unwrap().indices).collect::<Vec<u32>>()
    };
    assert_eq!(order(1, 0, 10), order(1, 0, 50));
    assert_ne!(order(1, 0, 10), order(2, 0, 10));
    assert_ne!(order(1, 0, 10), order(1, 1, 10));
    assert_eq!(
        order(1, 7, 10)[..6],
        [74, 4, 61, 48, 98, 15],
        "part of the interface: runs must stay repeatable"
    );
}

/// Each of the 24 orders of 4 pictures is as likely as the others.
#[test]
fn orders_are_uniform() {
    let mut counts = std::collections::HashMap::new();
    let mut loader = loader(numbered(4), LoaderOptions { prefetch: 0, ..LoaderOptions::new(4, 9) });
    batches(&mut loader, 24_000).into_iter().for_each(|b| *counts.entry(b.indices).or_insert(0u32) += 1);
    assert_eq!(counts.len(), 24);
    let chi2: f64 = counts.values().map(|&c| (f64::from(c) - 1000.0).powi(2) / 1000.0).sum();
    assert!(chi2 < 49.7, "chi-squared {chi2}, 0.1 % point of 23 degrees 49.7");
}

#[test]
fn stopping_anywhere_and_resuming_changes_nothing() {
    for pixels in [Pixels::Unit, Pixels::Binarised, Pixels::Dequantised] {
        for drop_last in [false, true] {
            let options =
                |prefetch| LoaderOptions { pixels, drop_last, prefetch, ..LoaderOptions::new(7, 5) };
            let digits = Arc::new(Digits::new(2, 30));
            let unbroken = batches(&mut loader(digits.clone(), options(0)), 14);
            assert_eq!(batches(&mut loader(digits.clone(), options(4)), 14), unbroken);
            for cut in 0..10 {
                let mut first = loader(digits.clone(), options(cut % 4));
                batches(&mut first, cut);
                let state = first.state();
                drop(first);
                let mut second = loader(digits.clone(), options((cut + 1) % 4));
                second.resume(state).unwrap();
                assert_eq!(batches(&mut second, 4), unbroken[cut..cut + 4], "cut after {cut}");
            }
        }
    }
}

#[test]
fn bytes_become_the_numbers_asked_for() {
    let bytes: Vec<u8> = (0..=255).cycle().take(256 * 20).collect();
    let images = Arc::new(Images::new([20, 1, 16, 16], bytes, None, vec![]).unwrap());
    let epoch = |pixels| {
        let options = LoaderOptions { pixels, shuffle: false, ..LoaderOptions::new(20, 1) };
        let mut l = loader(images.clone(), options);
        (l.next_batch().unwrap().pixels, l.next_batch().unwrap().pixels)
    };
    let (unit, again) = epoch(Pixels::Unit);
    assert_eq!((unit[0], unit[51], unit[255]), (0.0, 0.2, 1.0));
    assert_eq!(unit, again);
    let signed = epoch(Pixels::Signed).0;
    assert_eq!((signed[0], signed[255]), (-1.0, 1.0));
    let standard = epoch(Pixels::Standardised { mean: 0.2, deviation: 0.5 }).0;
    assert_eq!((standard[51], standard[255]), (0.0, 1.6));

    let (a, b) = epoch(Pixels::Dequantised);
    assert_ne!(a, b, "drawn anew in the next epoch");
    for (k, &x) in a.iter().enumerate() {
        let v = (k % 256) as f32;
        assert!((v / 256.0..(v + 1.0) / 256.0).contains(&x), "{x} of byte {v}");
    }
    let noise =
        a.iter().enumerate().map(|(k, x)| f64::from(x * 256.0) - (k % 256) as f64).sum::<f64>() / 5120.0;
    assert!((noise - 0.5).abs() < 0.02, "mean {noise}");

    let (a, b) = epoch(Pixels::Binarised);
    assert_ne!(a, b);
    assert!(a.chunks(256).all(|image| image[0] == 0.0 && image[255] == 1.0));
    let ones = a.iter().filter(|&&x| x == 1.0).count();
    assert_eq!(ones, a.iter().filter(|&&x| x != 0.0).count());
    assert!((2400..2720).contains(&ones), "{ones} of 5120"); // half, +- 5 deviations

    let (a, b) = epoch(Pixels::Sbin { first_image: 3 });
    assert_eq!(a, b);
    let whole = binarize::sbin_images(&images, 3);
    assert_eq!(a, whole.pixels.iter().map(|&v| f32::from(v / 255)).collect::<Vec<_>>());
}

/// The chance of a 1 is v/255, for v near both ends and between.
#[test]
fn binarisation_is_unbiased() {
    for v in [1u8, 13, 128, 250, 254] {
        let n = 400_000;
        let pixels = vec![v; n];
        let p = f64::from(v) / 255.0;
        let tolerance = 5.0 * (p * (1.0 - p) / n as f64).sqrt();
        let mean = |bits: &mut dyn Iterator<Item = bool>| bits.filter(|&b| b).count() as f64 / n as f64;
        for m in [mean(&mut binarize::sbin(&pixels, 0)), mean(&mut binarize::redrawn(&pixels, &[1, 2]))] {
            assert!((m - p).abs() < tolerance, "{m} for {p}");
        }
    }
    assert!(!binarize::bit(0, 0) && binarize::bit(u64::MAX, 255));
    assert_eq!(SplitMix64::output(binarize::SBIN_SEED, 0), 0x293c_c02a_ea25_e48a);
}

/// A set that panics, fails or works, by the number of the call.
struct Faulty {
    calls: AtomicUsize,
    panics_at: usize,
    fails_at: usize,
}

impl Source for Faulty {
    fn len(&self) -> usize {
        100
    }
    fn shape(&self) -> [usize; 3] {
        [1, 1, 1]
    }
    fn is_labelled(&self) -> bool {
        false
    }
    fn classes(&self) -> Vec<String> {
        Vec::new()
    }
    fn fingerprint(&self) -> u64 {
        0
    }
    fn read(&self, index: usize, pixels: &mut [u8]) -> Result<Option<u32>> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        assert!(call != self.panics_at, "cosmic ray in image {index}");
        if call == self.fails_at {
            return Err(Error::Data(format!("image {index} is unreadable")));
        }
        pixels[0] = index as u8;
        Ok(None)
    }
}

#[test]
fn faults_surface_once_and_the_loader_goes_on() {
    for prefetch in [0, 1, 3] {
        let options = LoaderOptions { shuffle: false, prefetch, ..LoaderOptions::new(10, 1) };
        let faulty = Faulty { calls: AtomicUsize::new(0), panics_at: 25, fails_at: 57 };
        let mut loader = loader(Arc::new(faulty), options);
        let (mut indices, mut errors) = (Vec::new(), Vec::new());
        while indices.len() < 100 {
            match loader.next_batch() {
                Ok(b) => indices.extend(b.indices),
                Err(e) => errors.push(e.to_string()),
            }
        }
        assert_eq!(indices, (0..100).collect::<Vec<u32>>());
        assert_eq!(errors.len(), 2, "{errors:?}");
        assert!(errors[0].contains("panicked: cosmic ray in image 25"), "{errors:?}");
        assert!(errors[1].contains("is unreadable"), "{errors:?}");
    }
}

#[test]
fn an_epoch_ends_after_an_error() {
    let faulty = Faulty { calls: AtomicUsize::new(0), panics_at: usize::MAX, fails_at: 25 };
    let options = LoaderOptions { shuffle: false, ..LoaderOptions::new(10, 1) };
    let kinds: Vec<bool> = loader(Arc::new(faulty), options).epoch().map(|b| b.is_ok()).collect();
    assert_eq!(kinds, [true, true, false]);
}

/// A dropped loader has stopped its thread: nobody holds the set any more.
#[test]
fn dropping_ends_the_thread() {
    for taken in [0, 1, 5] {
        let source = numbered(50);
        let mut loader = loader(source.clone(), LoaderOptions { prefetch: 4, ..LoaderOptions::new(10, 1) });
        batches(&mut loader, taken);
        drop(loader);
        assert_eq!(Arc::strong_count(&source), 1);
    }
}

#[test]
fn impossible_loaders_are_refused() {
    let refused = |count, options: LoaderOptions| {
        Loader::new(numbered(count), options).map(|_| ()).unwrap_err().to_string()
    };
    assert!(refused(0, LoaderOptions::new(1, 1)).contains("0 images"));
    assert!(refused(5, LoaderOptions::new(0, 1)).contains("batch of 0"));
    assert!(refused(5, LoaderOptions::new(6, 1)).contains("5 images do not make a batch of 6"));
    let mut short = loader(numbered(5), LoaderOptions { drop_last: false, ..LoaderOptions::new(6, 1) });
    assert_eq!(short.next_batch().unwrap().shape[0], 5);
    let message = short.resume(LoaderState { epoch: 0, position: 6 }).unwrap_err().to_string();
    assert!(message.contains("after image 6 of an epoch of 5"), "{message}");
    // The end of an epoch and the beginning of the next are the same place.
    short.resume(LoaderState { epoch: 0, position: 5 }).unwrap();
    assert_eq!(short.epoch().count(), 1);
    assert_eq!(short.state(), LoaderState { epoch: 2, position: 0 });
}
