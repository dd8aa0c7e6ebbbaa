//! The gradient of x where few input channels meet: products first, then the sum over the taps.
//!
//! With n input channels a patch element would be packed for n multiply-adds only. The other way round costs no
//! packing at all: z [(in, tap), pixel] = weights [(in, tap), out] × dy [out, pixel], both as they lie, and then
//! every row of z is added to the plane it belongs to, shifted by its tap ("col2im").

use super::{Conv, ConvBlock, ConvEpilogue};
use crate::gemm::loops::AnyProduct;
use crate::gemm::strided::{Contiguous, Strided};
use crate::gemm::{Float, SharedMut, scratch};
use crate::{par, simd};

/// Most input channels of a group for which folding is faster than packing patches.
const FEW: usize = 8;
/// Multiply-adds of one task.
const GRAIN: usize = 1 << 20;

/// Whether [`run`] is the faster way.
pub fn applies(c: &Conv) -> bool {
    c.group_in() <= FEW
}

/// See [`super::input_grad()`]; dx is not empty.
///
/// # Safety
/// As [`super::input_grad()`].
pub unsafe fn run<T: Float>(c: &Conv, dy: *const T, w: *const T, dx: *mut T, epilogue: ConvEpilogue) {
    let (group_in, rows) = (c.group_in(), c.group_in() * c.taps());
    let (area, out_area) = (c.input[0] * c.input[1], c.output[0] * c.output[1]);
    // An item is one group of one image.
    let items = c.batch * c.groups;
    let per_task = (GRAIN / (rows * c.group_out() * out_area).max(1)).clamp(1, items);
    let (dy, w, dx) = (SharedMut(dy.cast_mut()), SharedMut(w.cast_mut()), SharedMut(dx));
    par::for_each(items.div_ceil(per_task), |task| {
        scratch::with(rows * out_area, |z: *mut T| {
            for item in task * per_task..items.min((task + 1) * per_task) {
                let (image, group) = (item / c.groups, item % c.groups);
                let channels = group * group_in..(group + 1) * group_in;
                // SAFETY: the caller vouches for dy, w and dx; `z` has room for the product; each item has channels
                // of dx of its own.
                unsafe {
                    multiply(
                        c,
                        dy.at(item * c.group_out() * out_area),
                        w.at(group * c.group_out() * rows),
                        z,
                    );
                    for i in 0..group_in {
                        let plane = dx.at((image * c.in_channels + channels.start + i) * area);
                        let plane = std::slice::from_raw_parts_mut(plane, area);
                        let z =
                            std::slice::from_raw_parts(z.add(i * c.taps() * out_area), c.taps() * out_area);
                        fold(c, z, plane);
                    }
                }
                if let Some(epilogue) = epilogue {
                    epilogue(ConvBlock { image, channels, pixels: 0..area });
                }
            }
        });
    });
}

/// z = weights × dy for one group of one image.
unsafe fn multiply<T: Float>(c: &Conv, dy: *const T, w: *const T, z: *mut T) {
    let (rows, out_area) = (c.group_in() * c.taps(), c.output[0] * c.output[1]);
    if out_area == 0 {
        return;
    }
    let kernels = T::kernels(simd::level());
    let product = AnyProduct {
        kernels,
        size: [rows, out_area, c.group_out()],
        left: &Strided { ptr: w, strides: [1, rows as isize], in_place: true },
        right: &Strided { ptr: dy, strides: [out_area as isize, 1], in_place: rows <= 8 * kernels.mr() },
        target: &Contiguous { ptr: SharedMut(z), cols: out_area, batch: 0, epilogue: None },
    };
    // SAFETY: handed on.
    unsafe { product.run(0..rows, 0..out_area) }
}

/// Adds the rows of z, one per tap in their order, to where they belong in the plane.
fn fold<T: Float>(c: &Conv, z: &[T], plane: &mut [T]) {
    plane.fill(T::ZERO);
    let [rows, columns] = c.output;
    for tap in 0..c.taps() {
        let (kh, kw) = (tap / c.kernel[1], tap % c.kernel[1]);
        let (down, across) = (c.inside(0, kh), c.inside(1, kw));
        if across.is_empty() {
            continue;
        }
        let left = across.start * c.stride[1] + kw * c.dilation[1] - c.padding[1];
        for o in down {
            let y = o * c.stride[0] + kh * c.dilation[0] - c.padding[0];
            let z = &z[(tap * rows + o) * columns..][across.clone()];
            let plane = &mut plane[y * c.input[1] + left..(y + 1) * c.input[1]];
            match c.stride[1] {
                1 => plane.iter_mut().zip(z).for_each(|(x, &z)| *x = *x + z),
                2 => plane.iter_mut().step_by(2).zip(z).for_each(|(x, &z)| *x = *x + z),
                step => plane.iter_mut().step_by(step).zip(z).for_each(|(x, &z)| *x = *x + z),
            }
        }
    }
}
