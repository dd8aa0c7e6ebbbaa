//! Parts of sets, binarised sets and augmentation.

use gradus::data::{
    Augment, Batch, Digits, Images, Loader, LoaderOptions, Pixels, Source, Subset, binarize, random_split,
};
use std::collections::HashSet;
use std::sync::Arc;

/// `count` pictures of 1x`height`x`width` of which picture `i` holds 1, 2, … plus `i`.
fn ramps(count: usize, height: usize, width: usize) -> Arc<Images> {
    let n = height * width;
    let pixels = (0..count * n).map(|k| (k % n + 1 + k / n) as u8).collect();
    Arc::new(Images::new([count, 1, height, width], pixels, None, vec![]).unwrap())
}

#[test]
fn parts_are_disjoint_whole_and_repeatable() {
    let digits: Arc<dyn Source> = Arc::new(Digits::new(3, 107));
    for shares in [&[0.8, 0.1, 0.1][..], &[0.5, 0.5], &[1.0], &[1.0 / 3.0; 3]] {
        let parts = random_split(digits.clone(), shares, 5).unwrap();
        let all: Vec<u32> = parts.iter().flat_map(|p| p.indices().to_vec()).collect();
        assert_eq!(all.len(), 107);
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), 107);
        for (part, share) in parts.iter().zip(shares) {
            assert!((part.len() as f64 - share * 107.0).abs() <= 1.0, "{} for {share}", part.len());
            assert!(part.indices().is_sorted());
        }
        let again = random_split(digits.clone(), shares, 5).unwrap();
        assert!(parts.iter().zip(&again).all(|(a, b)| a.indices() == b.indices()));
    }
    let first = |seed| random_split(digits.clone(), &[0.5, 0.5], seed).unwrap()[0].indices().to_vec();
    assert_ne!(first(5), first(6));
    // Every picture is as likely in a part as every other: 107 pictures, 400 seeds, half of them each, 6 deviations.
    let mut counts = [0; 107];
    (0..400).flat_map(first).for_each(|i| counts[i as usize] += 1);
    assert!(counts.iter().all(|c| (140..=260).contains(c)), "{counts:?}");
}

#[test]
fn impossible_parts_are_refused() {
    let refused =
        |shares: &[f64]| random_split(ramps(10, 1, 1), shares, 1).map(|_| ()).unwrap_err().to_string();
    for shares in [&[0.5][..], &[0.9, 0.2], &[1.5, -0.5], &[f64::NAN, 1.0], &[]] {
        assert!(refused(shares).contains("sum to 1"), "{shares:?}");
    }
    assert!(refused(&[0.999, 0.001]).contains("0.001 has none"));
    let missing = Subset::new(ramps(10, 1, 1), vec![3, 10]).map(|_| ()).unwrap_err().to_string();
    assert!(missing.contains("no image 10 in a set of 10"), "{missing}");
    let part = Subset::new(ramps(10, 1, 1), vec![3]).unwrap();
    assert!(part.read(1, &mut [0]).unwrap_err().to_string().contains("image 1"));
}

#[test]
fn a_part_reads_what_the_whole_has() {
    let digits = Arc::new(Digits::new(3, 50));
    let part = Subset::new(digits.clone(), vec![7, 49, 7]).unwrap();
    let images = Images::from_source(&part).unwrap();
    assert_eq!((images.count, images.classes.len()), (3, 10));
    let whole = digits.images();
    for (i, of) in [7, 49, 7].into_iter().enumerate() {
        assert_eq!(images.image(i), whole.image(of));
        assert_eq!(images.labels.as_ref().unwrap()[i], whole.labels.as_ref().unwrap()[of]);
    }
    // Fingerprints tell sets apart, and know one set in both forms of a part.
    let prints = [
        digits.fingerprint(),
        Digits::new(3, 51).fingerprint(),
        Digits::new(4, 50).fingerprint(),
        part.fingerprint(),
        Subset::new(digits.clone(), vec![7, 7, 49]).unwrap().fingerprint(),
        images.fingerprint(),
        binarize::Sbin::new(digits.clone(), 0).fingerprint(),
        binarize::Sbin::new(digits, 1).fingerprint(),
    ];
    assert_eq!(prints.iter().collect::<HashSet<_>>().len(), prints.len());
}

#[test]
fn a_binarised_set_is_the_fixed_draw() {
    let images = Arc::new(Digits::new(3, 20).images());
    let set = binarize::Sbin::new(images.clone(), 100);
    assert_eq!(Images::from_source(&set).unwrap().pixels, binarize::sbin_images(&images, 100).pixels);
    let mut one = vec![0; 784];
    assert_eq!(set.read(13, &mut one).unwrap(), Some(images.labels.as_ref().unwrap()[13]));
    assert_eq!(one, binarize::sbin_images(&images, 100).image(13));
}

fn epochs(source: Arc<dyn Source>, options: LoaderOptions, batches: usize) -> Vec<Batch> {
    let mut loader = Loader::new(source, options).unwrap();
    (0..batches).map(|_| loader.next_batch().unwrap()).collect()
}

#[test]
fn binarising_bytes_is_binarising_numbers() {
    let digits: Arc<dyn Source> = Arc::new(Digits::new(3, 20));
    let options = |binarize, pixels| LoaderOptions { binarize, pixels, ..LoaderOptions::new(10, 4) };
    let numbers = epochs(digits.clone(), options(false, Pixels::Binarised), 4);
    assert_eq!(numbers, epochs(digits.clone(), options(true, Pixels::Unit), 4));
    let signed = epochs(digits, options(true, Pixels::Signed), 4);
    for (a, b) in numbers.iter().zip(&signed) {
        assert!(a.pixels.iter().zip(&b.pixels).all(|(a, b)| *b == 2.0 * a - 1.0));
    }
}

/// A picture moved and mirrored by hand.
fn changed(picture: &[u8], [h, w]: [usize; 2], mirrored: bool, down: i64, right: i64) -> Vec<u8> {
    let at = |y: i64, x: i64| {
        let (y, x) = (y - down, x - right);
        if !(0..h as i64).contains(&y) || !(0..w as i64).contains(&x) {
            return 0;
        }
        let x = if mirrored { w as i64 - 1 - x } else { x };
        picture[y as usize * w + x as usize]
    };
    (0..h as i64).flat_map(|y| (0..w as i64).map(move |x| (y, x))).map(|(y, x)| at(y, x)).collect()
}

/// Every visit shows one of the pictures that flips and shifts can make, each as often as the others, and anew.
#[test]
fn augmentation_draws_among_all_possible_pictures() {
    let images = ramps(4, 4, 5);
    for (text, shifts, flips) in [("flip", 0i64, 2), ("shift=1", 1, 1), ("flip,shift=2", 2, 2)] {
        let augment: Augment = text.parse().unwrap();
        assert_eq!(augment.to_string(), text);
        let options = LoaderOptions { augment, pixels: Pixels::Unit, ..LoaderOptions::new(4, 9) };
        let visits = 4000;
        let mut seen = std::collections::HashMap::new();
        let mut repeats = 0;
        let mut last = [const { Vec::new() }; 4];
        for batch in epochs(images.clone(), options, visits) {
            for (&i, picture) in batch.indices.iter().zip(batch.pixels.chunks(20)) {
                let bytes: Vec<u8> = picture.iter().map(|v| (v * 255.0).round() as u8).collect();
                repeats += usize::from(last[i as usize] == bytes);
                last[i as usize].clone_from(&bytes);
                *seen.entry((i, bytes)).or_insert(0usize) += 1;
            }
        }
        let kinds = flips * (2 * shifts + 1).pow(2) as usize;
        let mut possible = HashSet::new();
        for i in 0..4u32 {
            for mirrored in [false, true].into_iter().take(flips) {
                for (down, right) in (-shifts..=shifts).flat_map(|y| (-shifts..=shifts).map(move |x| (y, x)))
                {
                    possible.insert((i, changed(images.image(i as usize), [4, 5], mirrored, down, right)));
                }
            }
        }
        assert_eq!(possible.len(), 4 * kinds, "the pictures of {text} are distinct");
        assert_eq!(seen.len(), possible.len(), "{text}");
        let mean = visits as f64 / kinds as f64;
        for (picture, &n) in &seen {
            assert!(possible.contains(picture), "{text} made {picture:?}");
            assert!((n as f64 - mean).abs() < 6.0 * mean.sqrt(), "{text}: {n} of {mean}");
        }
        let expected = 4.0 * visits as f64 / kinds as f64;
        assert!((repeats as f64 - expected).abs() < 6.0 * expected.sqrt(), "{text}: {repeats} of {expected}");
    }
}

#[test]
fn augmentation_resumes_and_does_not_depend_on_prefetching() {
    let digits: Arc<dyn Source> = Arc::new(Digits::new(2, 30));
    let options = |prefetch| LoaderOptions {
        augment: "flip,shift=3".parse().unwrap(),
        binarize: true,
        prefetch,
        ..LoaderOptions::new(7, 5)
    };
    let unbroken = epochs(digits.clone(), options(0), 12);
    assert_eq!(epochs(digits.clone(), options(3), 12), unbroken);
    for cut in 0..9 {
        let mut first = Loader::new(digits.clone(), options(2)).unwrap();
        (0..cut).for_each(|_| drop(first.next_batch().unwrap()));
        let mut second = Loader::new(digits.clone(), options(1)).unwrap();
        second.resume(first.state()).unwrap();
        let rest: Vec<Batch> = (0..3).map(|_| second.next_batch().unwrap()).collect();
        assert_eq!(rest, unbroken[cut..cut + 3], "cut after {cut}");
    }
    let plain = epochs(digits, LoaderOptions { augment: Augment::default(), ..options(0) }, 1);
    assert_ne!(plain[0].pixels, unbroken[0].pixels);
    assert_eq!(plain[0].indices, unbroken[0].indices, "augmentation changes no order");
}

/// Colour planes move together.
#[test]
fn colours_stay_together() {
    let pixels: Vec<u8> = (0..3).flat_map(|c| (1..=9).map(move |v| 20 * c + v)).collect();
    let images = Arc::new(Images::new([1, 3, 3, 3], pixels, None, vec![]).unwrap());
    let options = LoaderOptions { augment: "flip,shift=1".parse().unwrap(), ..LoaderOptions::new(1, 9) };
    for batch in epochs(images, options, 50) {
        let planes: Vec<Vec<i32>> = batch
            .pixels
            .chunks(9)
            .zip([0, 20, 40])
            .map(|(p, c)| p.iter().map(|v| ((v * 255.0).round() as i32 - c).max(0)).collect())
            .collect();
        assert!(planes[0] == planes[1] && planes[1] == planes[2], "{planes:?}");
        assert!(planes[0].iter().sum::<i32>() > 0);
    }
}

#[test]
fn augmentations_are_checked() {
    for (text, part) in [
        ("flipp", "\"flipp\" is not known; there are flip, shift=PIXELS"),
        ("shift", "\"shift\" is not known"),
        ("shift=0", "1 to 4096"),
        ("shift=-1", "1 to 4096"),
        ("shift=x", "1 to 4096"),
        ("flip;shift=2", "not known"),
    ] {
        let message = text.parse::<Augment>().unwrap_err().to_string();
        assert!(message.contains(part), "{text}: {message}");
    }
    assert_eq!("".parse::<Augment>().unwrap(), Augment::default());
    assert_eq!(" flip , shift=3 ".parse::<Augment>().unwrap(), Augment { flip: true, shift: 3 });
    let options = LoaderOptions { augment: "shift=4".parse().unwrap(), ..LoaderOptions::new(1, 1) };
    let message = Loader::new(ramps(3, 4, 5), options).map(|_| ()).unwrap_err().to_string();
    assert!(message.contains("4x5 cannot be shifted by 4"), "{message}");
}
