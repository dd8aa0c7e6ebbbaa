//! Convolutions whose kernel covers the whole input once: plain matrix products over images.

use super::{Conv, ConvBlock, ConvEpilogue};
use crate::gemm::{self, Block, Float, Gemm};

/// Whether y is one pixel that sees every pixel of x exactly once.
pub fn applies(c: &Conv) -> bool {
    let whole = |i: usize| {
        c.output[i] == 1
            && c.padding[i] == 0
            && c.kernel[i] == c.input[i]
            && (c.dilation[i] == 1 || c.kernel[i] == 1)
    };
    c.groups == 1 && whole(0) && whole(1)
}

/// Elements of one image of x.
fn volume(c: &Conv) -> usize {
    c.in_channels * c.input[0] * c.input[1]
}

/// `y[image, out] = sum_v x[image, v] w[out, v]`.
///
/// # Safety
/// As [`super::forward()`]; [`applies`].
pub unsafe fn forward<T: Float>(c: &Conv, x: *const T, w: *const T, y: *mut T, epilogue: ConvEpilogue) {
    let k = volume(c);
    let g = Gemm { m: c.batch, n: c.out_channels, k, a: [k as isize, 1], b: [1, k as isize], batch: vec![] };
    let finish = epilogue.map(|epilogue| {
        move |block: Block| {
            for image in block.rows {
                epilogue(ConvBlock { image, channels: block.cols.clone(), pixels: 0..1 });
            }
        }
    });
    // SAFETY: handed on.
    unsafe { gemm::run(&g, x, w, y, finish.as_ref().map(|f| f as _)) }
}

/// `dx[image, v] = sum_out dy[image, out] w[out, v]`.
///
/// # Safety
/// As [`super::input_grad()`]; [`applies`].
pub unsafe fn input_grad<T: Float>(c: &Conv, dy: *const T, w: *const T, dx: *mut T, epilogue: ConvEpilogue) {
    let (n, k) = (volume(c), c.out_channels);
    let g = Gemm { m: c.batch, n, k, a: [k as isize, 1], b: [n as isize, 1], batch: vec![] };
    let area = c.input[0] * c.input[1];
    let finish = epilogue.map(|epilogue| {
        move |block: Block| {
            for image in block.rows {
                // Columns run over whole channels, but may begin and end within one.
                let mut at = block.cols.start;
                while at < block.cols.end {
                    let (channel, pixel) = (at / area, at % area);
                    let whole = if pixel == 0 { (block.cols.end - at) / area } else { 0 };
                    let pixels =
                        if whole > 0 { 0..area } else { pixel..area.min(pixel + block.cols.end - at) };
                    at += if whole > 0 { whole * area } else { pixels.len() };
                    epilogue(ConvBlock { image, channels: channel..channel + whole.max(1), pixels });
                }
            }
        }
    });
    // SAFETY: handed on.
    unsafe { gemm::run(&g, dy, w, dx, finish.as_ref().map(|f| f as _)) }
}

/// `dw[out, v] = sum_image dy[image, out] x[image, v]`.
///
/// # Safety
/// As [`super::weight_grad()`]; [`applies`].
pub unsafe fn weight_grad<T: Float>(c: &Conv, x: *const T, dy: *const T, dw: *mut T) {
    let (m, n) = (c.out_channels, volume(c));
    let g = Gemm { m, n, k: c.batch, a: [1, m as isize], b: [n as isize, 1], batch: vec![] };
    // SAFETY: handed on.
    unsafe { gemm::run(&g, dy, x, dw, None) }
}
