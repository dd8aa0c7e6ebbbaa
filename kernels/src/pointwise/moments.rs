//! What Adam does, in one loop: `m = m b + g c`, `v = v d + g g e` and `p - s m / (sqrt(v) t + f)`.
//!
//! The operands are m, b, g, c, v, d, e, p, s, t, f, where all but m, g, v and p are numbers. The last is the result, the
//! others come besides.

use super::loops::{Call, LANES};

/// The numbers among the operands.
const NUMBERS: [usize; 7] = [1, 3, 5, 6, 8, 9, 10];

/// Rounded as the single instructions are.
#[inline(always)]
fn update([m, g, v, p]: [f32; 4], [b, c, d, e, s, t, f]: [f32; 7]) -> [f32; 3] {
    let m = m * b + g * c;
    let v = v * d + g * g * e;
    [m, v, p - s * m / (v.sqrt() * t + f)]
}

/// Results apart from operands, which the compiler must know to use vectors.
#[inline(always)]
fn block(to: &mut [[f32; LANES]; 3], m: &[f32], g: &[f32], v: &[f32], p: &[f32], numbers: [f32; 7]) {
    for i in 0..LANES {
        [to[0][i], to[1][i], to[2][i]] = update([m[i], g[i], v[i], p[i]], numbers);
    }
}

/// The loop.
///
/// # Safety
/// As [`Call`] says, for operands of f32.
#[inline(always)]
pub(super) unsafe fn run(call: &mut Call) {
    let args = call.args.map(|at| at.cast::<f32>());
    // What one element adds to an address: an operand may be one number after all.
    let step = |k: usize| call.steps[k];
    let varying = [0, 2, 4, 7].map(|k| (args[k], step(k)));
    let [to_m, to_v] = call.more.map(|at| at.cast::<f32>());
    let to_p = call.dst.cast::<f32>();
    // SAFETY: a scalar is a readable block.
    let numbers = NUMBERS.map(|k| unsafe { *args[k] });
    let whole = call.n / LANES * LANES;
    for at in (0..whole).step_by(LANES) {
        call.ahead.fetch_block();
        // SAFETY: operands and results have LANES elements from here on; the results of a block are written after
        // its operands were read.
        unsafe {
            let [m, g, v, p] = varying.map(|(from, step)| &*from.add(at * step).cast::<[f32; LANES]>());
            let mut to = [[0.0; LANES]; 3];
            block(&mut to, m, g, v, p, numbers);
            for (to, from) in [to_m, to_v, to_p].into_iter().zip(to) {
                to.add(at).cast::<[f32; LANES]>().write(from);
            }
        }
    }
    for at in whole..call.n {
        // SAFETY: operands and results have an element here.
        unsafe {
            let all = update(varying.map(|(from, step)| *from.add(at * step)), numbers);
            for (to, from) in [to_m, to_v, to_p].into_iter().zip(all) {
                to.add(at).write(from);
            }
        }
    }
}
