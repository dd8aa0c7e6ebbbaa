//! Decoded pictures of any size made into pictures of one size: grey or colour, cropped, resampled.

/// A picture as a decoder returns it: 8 bits a value, interleaved.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Values of a pixel: 1 for grey, 3 for red, green, blue.
    pub channels: usize,
    /// The values, `[height, width, channels]` row-major.
    pub pixels: Vec<u8>,
}

impl Decoded {
    /// What is wrong with it, if anything: no pixels, other channels than 1 or 3, a buffer of the wrong length.
    pub fn fault(&self) -> Option<String> {
        let Decoded { width, height, channels, pixels } = self;
        if !matches!(channels, 1 | 3) {
            return Some(format!("has {channels} channels instead of 1 or 3"));
        }
        let wanted = width.checked_mul(*height).and_then(|n| n.checked_mul(*channels)).filter(|&n| n > 0);
        (wanted != Some(pixels.len()))
            .then(|| format!("has {} bytes of pixels for {width}x{height}x{channels}", pixels.len()))
    }

    /// The picture with 1 or 3 channels. Grey is the luma of ITU-R BT.601, rounded.
    pub fn with_channels(self, channels: usize) -> Decoded {
        let pixels = match (self.channels, channels) {
            (3, 1) => self.pixels.as_chunks::<3>().0.iter().map(|&p| luma(p)).collect(),
            (1, 3) => self.pixels.iter().flat_map(|&v| [v; 3]).collect(),
            _ => return self,
        };
        Decoded { channels, pixels, ..self }
    }
}

fn luma([r, g, b]: [u8; 3]) -> u8 {
    // 0.299, 0.587 and 0.114 in units of 2^-16; they sum to exactly 1.
    ((u32::from(r) * 19595 + u32::from(g) * 38470 + u32::from(b) * 7471 + (1 << 15)) >> 16) as u8
}

/// How pixels are made of pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Filter {
    /// The mean over the area that an output pixel covers. Right for making smaller.
    Area,
    /// Interpolation between the two nearest pixel centres along each axis. Right for making larger.
    Bilinear,
    /// Along each axis [`Filter::Area`] if it gets shorter, otherwise [`Filter::Bilinear`].
    #[default]
    Auto,
}

/// What happens to a picture of another shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fit {
    /// The largest part of the wanted shape is cut out of its middle.
    #[default]
    Crop,
    /// It is distorted.
    Stretch,
}

/// Resamples to `[channels, height, width]`, written row-major to `out`.
///
/// # Panics
/// If the picture has a [`Decoded::fault`], or `out` is not channels x `height` x `width` long, or that is 0.
pub fn resize(picture: &Decoded, [height, width]: [usize; 2], filter: Filter, fit: Fit, out: &mut [u8]) {
    assert_eq!(picture.fault(), None);
    assert!(
        height > 0 && width > 0 && out.len() == picture.channels * height * width,
        "{height}x{width} in {}",
        out.len()
    );
    let (full_w, full_h) = (picture.width as f64, picture.height as f64);
    let (mut w, mut h) = (full_w, full_h);
    if fit == Fit::Crop {
        let scale = (full_w / width as f64).min(full_h / height as f64);
        (w, h) = (scale * width as f64, scale * height as f64);
    }
    let columns = Taps::new(picture.width, (full_w - w) / 2.0, w, width, filter);
    let rows = Taps::new(picture.height, (full_h - h) / 2.0, h, height, filter);
    let c = picture.channels;
    let first_row = rows.0.first().map_or(0, |t| t.first);
    let last_row = rows.0.iter().map(|t| t.first + t.weights.len()).max().unwrap_or(0);
    // Rows made narrow first, `[rows used, width, channels]`, then combined.
    let mut narrow = vec![0f32; (last_row - first_row) * width * c];
    for (y, line) in narrow.chunks_exact_mut(width * c).enumerate() {
        let start = (first_row + y) * picture.width * c;
        let source = &picture.pixels[start..start + picture.width * c];
        for (taps, pixel) in columns.0.iter().zip(line.chunks_exact_mut(c)) {
            for (weight, from) in taps.weights.iter().zip(source[taps.first * c..].chunks_exact(c)) {
                pixel.iter_mut().zip(from).for_each(|(p, &v)| *p += weight * f32::from(v));
            }
        }
    }
    let mut line = vec![0f32; width * c];
    for (y, taps) in rows.0.iter().enumerate() {
        line.fill(0.0);
        let lines = narrow.chunks_exact(width * c).skip(taps.first - first_row);
        for (weight, from) in taps.weights.iter().zip(lines) {
            line.iter_mut().zip(from).for_each(|(p, v)| *p += weight * v);
        }
        for (x, pixel) in line.chunks_exact(c).enumerate() {
            for (channel, v) in pixel.iter().enumerate() {
                out[(channel * height + y) * width + x] = v.round() as u8; // the cast saturates
            }
        }
    }
}

/// For each output position the input positions it is made of: consecutive ones, with weights that sum to 1.
struct Taps(Vec<Tap>);

struct Tap {
    first: usize,
    weights: Vec<f32>,
}

impl Taps {
    /// `count` outputs from the part of an axis of `len` pixels that begins at `start` and has the length `extent`.
    fn new(len: usize, start: f64, extent: f64, count: usize, filter: Filter) -> Taps {
        let step = extent / count as f64;
        let area = match filter {
            Filter::Area => true,
            Filter::Bilinear => false,
            Filter::Auto => step > 1.0,
        };
        Taps(
            (0..count)
                .map(
                    |i| {
                        if area { Tap::area(len, start, step, i) } else { Tap::bilinear(len, start, step, i) }
                    },
                )
                .collect(),
        )
    }
}

impl Tap {
    /// Weights are the overlaps of the output pixel with the input pixels.
    fn area(len: usize, start: f64, step: f64, i: usize) -> Tap {
        let (from, to) = ((start + step * i as f64).max(0.0), start + step * (i + 1) as f64);
        let first = (from as usize).min(len - 1);
        let last = (to.ceil() as usize).clamp(first + 1, len);
        let overlaps = (first..last).map(|p| (to.min((p + 1) as f64) - from.max(p as f64)).max(0.0));
        Tap::normalised(first, overlaps.collect())
    }

    /// Pixel centres lie at whole numbers and a half; beyond the outermost the edge value goes on.
    fn bilinear(len: usize, start: f64, step: f64, i: usize) -> Tap {
        let at = (start + step * (i as f64 + 0.5) - 0.5).clamp(0.0, (len - 1) as f64);
        let first = (at as usize).min(len.saturating_sub(2));
        let t = at - first as f64;
        Tap::normalised(first, if len == 1 { vec![1.0] } else { vec![1.0 - t, t] })
    }

    fn normalised(first: usize, weights: Vec<f64>) -> Tap {
        let sum: f64 = weights.iter().sum();
        Tap { first, weights: weights.iter().map(|w| (w / sum) as f32).collect() }
    }
}
