//! Convolutions of single pixels (kernel 1 × 1, stride 1, no padding): one matrix product per image and group, on the
//! planes as they lie.

use super::{Conv, ConvBlock, ConvEpilogue};
use crate::gemm::{self, BatchAxis, Block, Epilogue, Float, Gemm};

/// Pixels from which on an image is enough for a product of its own; smaller ones are better taken together.
const ENOUGH: usize = 256;

/// Whether [`forward`] and [`input_grad`] apply and are the faster way.
pub fn applies(c: &Conv) -> bool {
    let plain =
        |i: usize| c.kernel[i] == 1 && c.stride[i] == 1 && c.padding[i] == 0 && c.output[i] == c.input[i];
    plain(0) && plain(1) && c.input[0] * c.input[1] >= ENOUGH
}

/// `y[image, out, pixel] = sum_in w[out, in] x[image, in, pixel]`.
///
/// # Safety
/// As [`super::forward()`]; [`applies`].
pub unsafe fn forward<T: Float>(c: &Conv, x: *const T, w: *const T, y: *mut T, epilogue: ConvEpilogue) {
    let (m, k) = (c.group_out(), c.group_in());
    // SAFETY: handed on.
    unsafe { products(c, [m, k], [k as isize, 1], w, x, y, epilogue) }
}

/// `dx[image, in, pixel] = sum_out w[out, in] dy[image, out, pixel]`.
///
/// # Safety
/// As [`super::input_grad()`]; [`applies`].
pub unsafe fn input_grad<T: Float>(c: &Conv, dy: *const T, w: *const T, dx: *mut T, epilogue: ConvEpilogue) {
    let (m, k) = (c.group_in(), c.group_out());
    // SAFETY: handed on.
    unsafe { products(c, [m, k], [1, m as isize], w, dy, dx, epilogue) }
}

/// The product of a group's weights (m × k at the given strides) with each image's k planes of that group.
unsafe fn products<T: Float>(
    c: &Conv,
    [m, k]: [usize; 2],
    strides: [isize; 2],
    w: *const T,
    from: *const T,
    to: *mut T,
    epilogue: ConvEpilogue,
) {
    let n = c.input[0] * c.input[1];
    let planes = (k * n) as isize;
    let images = BatchAxis { len: c.batch, a: 0, b: c.groups as isize * planes };
    let groups = BatchAxis { len: c.groups, a: (m * k) as isize, b: planes };
    let g = Gemm { m, n, k, a: strides, b: [n as isize, 1], batch: vec![images, groups] };
    let finish = epilogue.map(|epilogue| {
        move |block: Block| {
            let (image, first) = (block.batch / c.groups, block.batch % c.groups * m);
            let channels = first + block.rows.start..first + block.rows.end;
            epilogue(ConvBlock { image, channels, pixels: block.cols });
        }
    });
    let finish: Epilogue = finish.as_ref().map(|f| f as _);
    // SAFETY: handed on.
    unsafe { gemm::run(&g, w, from, to, finish) }
}
