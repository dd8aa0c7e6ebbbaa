//! Pictures changed a little at each visit, so that a model learns what does not matter.

use super::SplitMix64;
use crate::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// What is done to the bytes of a picture before they become numbers. What is drawn is a function of seed, epoch and
/// picture, so it is new at each visit and the same in a run that was stopped and resumed.
///
/// As text, such as `flip,shift=2`, it is a list of what is done; nothing is the empty text.
///
/// ```
/// use gradus::data::Augment;
/// let augment: Augment = "flip,shift=2".parse()?;
/// assert_eq!(augment, Augment { flip: true, shift: 2 });
/// assert_eq!(augment.to_string(), "flip,shift=2");
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Augment {
    /// Half of the pictures are mirrored, left to right.
    pub flip: bool,
    /// Pictures are moved by up to this many pixels along each axis, every distance equally likely. What moves in is 0,
    /// as in a crop of a picture with so much padding.
    pub shift: usize,
}

impl Augment {
    /// What may be in a list.
    const NAMES: &str = "flip, shift=PIXELS";

    /// Changes a picture of channels, height and width `shape`. The key is seed, epoch and number of the picture.
    pub(super) fn apply(&self, picture: &mut [u8], shape: [usize; 3], key: [u64; 3]) {
        // In the place where other draws for a picture have nothing.
        const AUGMENT: u64 = 0x4155_474d;
        if *self == Augment::default() {
            return;
        }
        let [seed, epoch, index] = key;
        let mut rng = SplitMix64::keyed(&[seed, epoch, index, AUGMENT]);
        let mirrored = rng.below(2) == 1 && self.flip;
        let reach = 2 * self.shift as u64 + 1;
        let by = [(); 2].map(|()| rng.below(reach) as isize - self.shift as isize);
        if mirrored {
            picture.chunks_exact_mut(shape[2]).for_each(<[u8]>::reverse);
        }
        if by != [0, 0] {
            move_by(picture, shape, by);
        }
    }
}

/// Moves a picture down and to the right by `[down, right]` pixels.
fn move_by(picture: &mut [u8], [_, height, width]: [usize; 3], [down, right]: [isize; 2]) {
    let old = picture.to_vec();
    picture.fill(0);
    let (from, to) = ((-right).max(0) as usize, right.max(0) as usize);
    let kept = width.saturating_sub(from.max(to));
    for (new, old) in picture.chunks_exact_mut(height * width).zip(old.chunks_exact(height * width)) {
        for y in 0..height {
            if let Some(source) = y.checked_add_signed(-down).filter(|&s| s < height) {
                new[y * width + to..][..kept].copy_from_slice(&old[source * width + from..][..kept]);
            }
        }
    }
}

impl FromStr for Augment {
    type Err = Error;

    fn from_str(text: &str) -> Result<Augment> {
        let mut augment = Augment::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            match part.split_once('=') {
                None if part == "flip" => augment.flip = true,
                Some(("shift", pixels)) => match pixels.parse() {
                    Ok(pixels @ 1..=4096) => augment.shift = pixels,
                    _ => {
                        let what = "the pixels of a shift are a number from 1 to 4096";
                        return Err(Error::Data(format!("augmentation {part:?}: {what}")));
                    }
                },
                _ => {
                    let names = Augment::NAMES;
                    return Err(Error::Data(format!(
                        "augmentation {part:?} is not known; there are {names}"
                    )));
                }
            }
        }
        Ok(augment)
    }
}

impl fmt::Display for Augment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            self.flip.then(|| "flip".to_string()),
            (self.shift > 0).then(|| format!("shift={}", self.shift)),
        ];
        f.write_str(&parts.into_iter().flatten().collect::<Vec<_>>().join(","))
    }
}
