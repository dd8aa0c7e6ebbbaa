//! The three forms of cross-correlation as plain loops over every output position and every weight.

use crate::conv::Conv;
use crate::gemm::Float;

/// Calls `visit(x index, w index, y index)` for every product of the convolution.
///
/// The order is: image, output channel, output pixel, input channel of the group, kernel row, kernel column.
fn products(c: &Conv, mut visit: impl FnMut(usize, usize, usize)) {
    let (group_in, group_out) = (c.in_channels / c.groups, c.out_channels / c.groups);
    let inside = |o: usize, k: usize, axis: usize| -> Option<usize> {
        let at = (o * c.stride[axis] + k * c.dilation[axis]).checked_sub(c.padding[axis])?;
        (at < c.input[axis]).then_some(at)
    };
    for image in 0..c.batch {
        for oc in 0..c.out_channels {
            for oh in 0..c.output[0] {
                for ow in 0..c.output[1] {
                    let y = ((image * c.out_channels + oc) * c.output[0] + oh) * c.output[1] + ow;
                    for icg in 0..group_in {
                        let ic = oc / group_out * group_in + icg;
                        for kh in 0..c.kernel[0] {
                            let Some(ih) = inside(oh, kh, 0) else { continue };
                            for kw in 0..c.kernel[1] {
                                let Some(iw) = inside(ow, kw, 1) else { continue };
                                let x = ((image * c.in_channels + ic) * c.input[0] + ih) * c.input[1] + iw;
                                let w = ((oc * group_in + icg) * c.kernel[0] + kh) * c.kernel[1] + kw;
                                visit(x, w, y);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// `y[o] = sum_k x[o * stride - padding + k * dilation] w[k]`; slices as in [`crate::conv::conv`].
///
/// # Panics
/// If a slice is shorter than its shape.
pub fn forward<T: Float>(c: &Conv, x: &[T], w: &[T], y: &mut [T]) {
    y[..c.y_len()].fill(T::ZERO);
    products(c, |xi, wi, yi| y[yi] = y[yi] + x[xi] * w[wi]);
}

/// The gradient of [`forward`] with respect to x, given that of y.
///
/// # Panics
/// If a slice is shorter than its shape.
pub fn input_grad<T: Float>(c: &Conv, dy: &[T], w: &[T], dx: &mut [T]) {
    dx[..c.x_len()].fill(T::ZERO);
    products(c, |xi, wi, yi| dx[xi] = dx[xi] + dy[yi] * w[wi]);
}

/// The gradient of [`forward`] with respect to w, given that of y.
///
/// # Panics
/// If a slice is shorter than its shape.
pub fn weight_grad<T: Float>(c: &Conv, x: &[T], dy: &[T], dw: &mut [T]) {
    dw[..c.w_len()].fill(T::ZERO);
    products(c, |xi, wi, yi| dw[wi] = dw[wi] + x[xi] * dy[yi]);
}
