//! Grids of pictures: as PNG, as animated GIF, and as characters for a terminal.

use anyhow::{Context, Result, bail};
use gradus::Tensor;
use image::codecs::gif::{GifEncoder, Repeat};
use image::codecs::png::PngEncoder;
use image::{Delay, ExtendedColorType, Frame, ImageEncoder, RgbaImage};
use std::fmt::Write as _;
use std::path::Path;

/// Pixels between pictures, before scaling.
const GAP: usize = 2;
/// How bright the gaps are.
const GAP_GREY: u8 = 48;
/// Pictures are shown at least this large, enlarged by whole factors.
const LEGIBLE: usize = 72;

/// Pictures on the host, 8 bits a value.
pub struct Pictures {
    count: usize,
    channels: usize,
    height: usize,
    width: usize,
    /// `[count, channels, height, width]` row-major.
    pixels: Vec<u8>,
}

impl Pictures {
    /// Takes `[count, channels, height, width]` with values from 0 to 1; what lies outside is cut.
    pub fn new(pictures: &Tensor) -> Result<Pictures> {
        let &[count, channels, height, width] = &pictures.shape()[..] else {
            bail!("pictures of shape {} cannot be shown", pictures.shape())
        };
        if !matches!(channels, 1 | 3) {
            bail!("pictures of {channels} channels cannot be shown: 1 or 3 can");
        }
        let values = pictures.to_vec::<f32>()?;
        let pixels = values.iter().map(|v| (v.clamp(0.0, 1.0) * 255.0).round() as u8).collect();
        Ok(Pictures { count, channels, height, width, pixels })
    }

    fn at(&self, picture: usize, channel: usize, y: usize, x: usize) -> u8 {
        self.pixels[((picture * self.channels + channel) * self.height + y) * self.width + x]
    }

    /// How many times each pixel is repeated in each direction.
    fn scale(&self) -> usize {
        (LEGIBLE / self.height.max(self.width).max(1)).max(1)
    }

    /// Writes them row by row into a grid that is about as high as wide.
    pub fn write_png(&self, path: &Path) -> Result<()> {
        let columns = (self.count as f64).sqrt().ceil().max(1.0) as usize;
        let all: Vec<_> = (0..self.count).map(Some).collect();
        self.canvas(columns, &all).write_png(path)
    }

    /// A grid with this picture in each cell, row by row.
    ///
    /// # Panics
    /// If there is no such picture.
    pub fn canvas(&self, columns: usize, cells: &[Option<usize>]) -> Canvas {
        let (columns, scale) = (columns.max(1), self.scale());
        let rows = cells.len().div_ceil(columns);
        let (cell_w, cell_h) = (self.width * scale + GAP, self.height * scale + GAP);
        let (width, height) = (columns * cell_w + GAP, rows * cell_h + GAP);
        let mut pixels = vec![GAP_GREY; width * height * self.channels];
        for (cell, picture) in cells.iter().enumerate().filter_map(|(i, p)| Some((i, (*p)?))) {
            let (left, top) = (GAP + cell % columns * cell_w, GAP + cell / columns * cell_h);
            for y in 0..self.height * scale {
                for x in 0..self.width * scale {
                    let to = ((top + y) * width + left + x) * self.channels;
                    for c in 0..self.channels {
                        pixels[to + c] = self.at(picture, c, y / scale, x / scale);
                    }
                }
            }
        }
        Canvas { width, height, channels: self.channels, pixels }
    }

    /// The first pictures in rows of characters, two pixels in one; at most `columns` characters wide.
    pub fn preview(&self, columns: usize, color: bool) -> String {
        // A character is half as wide as high, and shows two rows: its halves are square.
        let (w, h) = (self.width.min(16), self.height.min(16).next_multiple_of(2));
        let across = (columns / (w + 1)).clamp(1, 10).min(self.count.max(1));
        let mut text = String::new();
        for row in 0..(self.count / across).min(2) {
            for line in 0..h / 2 {
                for picture in row * across..(row + 1) * across {
                    for x in 0..w {
                        let [a, b] = [2 * line, 2 * line + 1].map(|y| self.mean(picture, [x, y], [w, h]));
                        write_cell(&mut text, a, b, color);
                    }
                    text.push_str(if color { "\x1b[0m " } else { " " });
                }
                text.push('\n');
            }
            text.push('\n');
        }
        text
    }

    /// The mean grey of the part of a picture that cell (x, y) of a w by h division covers.
    fn mean(&self, picture: usize, [x, y]: [usize; 2], [w, h]: [usize; 2]) -> u8 {
        let span =
            |i: usize, n: usize, len: usize| i * len / n..((i + 1) * len).div_ceil(n).max(i * len / n + 1);
        let (mut sum, mut count) = (0, 0);
        for py in span(y, h, self.height) {
            for px in span(x, w, self.width) {
                for c in 0..self.channels {
                    sum += usize::from(self.at(picture, c, py.min(self.height - 1), px.min(self.width - 1)));
                    count += 1;
                }
            }
        }
        (sum / count.max(1)) as u8
    }
}

/// Pixels of a whole picture, ready to be written.
pub struct Canvas {
    width: usize,
    height: usize,
    /// 1 or 3.
    channels: usize,
    /// `[height, width, channels]` row-major.
    pixels: Vec<u8>,
}

impl Canvas {
    /// Of pixels `[height, width, 3]`.
    pub fn rgb([width, height]: [usize; 2], pixels: Vec<u8>) -> Canvas {
        Canvas { width, height, channels: 3, pixels }
    }

    fn size(&self) -> Result<[u32; 2]> {
        let side = |n: usize| u32::try_from(n).context("a grid of so many pictures is too large for a file");
        Ok([side(self.width)?, side(self.height)?])
    }

    /// Writes it as PNG.
    pub fn write_png(&self, path: &Path) -> Result<()> {
        let color = if self.channels == 1 { ExtendedColorType::L8 } else { ExtendedColorType::Rgb8 };
        let [width, height] = self.size()?;
        let mut png = Vec::new();
        PngEncoder::new(&mut png).write_image(&self.pixels, width, height, color)?;
        gradus::files::write_atomic(path, |w| w.write_all(&png))?;
        Ok(())
    }
}

/// Writes pictures of one size as a GIF that is shown over and over, each for `milliseconds`.
pub fn write_gif(path: &Path, frames: &[Canvas], milliseconds: u32) -> Result<()> {
    let mut gif = Vec::new();
    let mut encoder = GifEncoder::new_with_speed(&mut gif, 10);
    encoder.set_repeat(Repeat::Infinite)?;
    for frame in frames {
        let [width, height] = frame.size()?;
        let opaque = |p: &[u8]| [p[0], p[p.len() / 2], p[p.len() - 1], u8::MAX];
        let rgba = frame.pixels.chunks_exact(frame.channels).flat_map(opaque).collect();
        let rgba = RgbaImage::from_raw(width, height, rgba).context("a frame is incomplete")?;
        encoder.encode_frame(Frame::from_parts(rgba, 0, 0, Delay::from_numer_denom_ms(milliseconds, 1)))?;
    }
    drop(encoder);
    gradus::files::write_atomic(path, |w| w.write_all(&gif))?;
    Ok(())
}

/// One character for two pixels, the upper one `a`.
fn write_cell(text: &mut String, a: u8, b: u8, color: bool) {
    if color {
        // The 24 greys of the 256-colour palette start at 232.
        let [a, b] = [a, b].map(|v| 232 + usize::from(v) * 23 / 255);
        let _ = write!(text, "\x1b[38;5;{a};48;5;{b}m▀");
    } else {
        text.push(match (a > 96, b > 96) {
            (true, true) => '█',
            (true, false) => '▀',
            (false, true) => '▄',
            (false, false) => ' ',
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preview_shows_what_is_bright() {
        let mut left = vec![0f32; 2 * 64];
        (0..2 * 64).filter(|i| i % 8 < 4).for_each(|i| left[i] = 1.0);
        let pictures = Pictures::new(&Tensor::from_vec(left, [2, 1, 8, 8])).unwrap();
        let line = format!("{0} {0} \n", "████    ");
        assert_eq!(pictures.preview(40, false), format!("{}\n", line.repeat(4)));
    }

    #[test]
    fn a_grid_has_the_pictures_where_they_belong() {
        let folder = std::env::temp_dir().join(format!("gradus-grid-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("grid.png");
        let values: Vec<f32> = (0..3 * 3 * 40 * 80).map(|i| (i / (40 * 80)) as f32 / 8.0).collect();
        Pictures::new(&Tensor::from_vec(values, [3, 3, 40, 80])).unwrap().write_png(&path).unwrap();
        let grid = image::open(&path).unwrap().to_rgb8();
        std::fs::remove_dir_all(folder).unwrap();
        assert_eq!(grid.dimensions(), (2 * 82 + 2, 2 * 42 + 2));
        let at = |x, y| grid.get_pixel(x, y).0;
        assert_eq!(at(0, 0), [GAP_GREY; 3]);
        assert_eq!(at(2, 2), [0, 32, 64]);
        assert_eq!(at(84 + 79, 2 + 39), [96, 128, 159]);
        assert_eq!(at(2, 44), [191, 223, 255]);
        assert_eq!(at(84, 44), [GAP_GREY; 3]);
    }
}
