//! The three forms of convolution against the plain loops.

mod layer;

use gradus_kernels::conv::{self, Conv, ConvBlock};
use gradus_kernels::gemm::Float;
use gradus_kernels::naive;
use gradus_kernels::simd::{self, Level};
use layer::layer;
use std::sync::{Mutex, MutexGuard};

/// The level is one for the whole process, so tests that force it take turns.
static LEVEL: Mutex<()> = Mutex::new(());

fn at_every_level(mut test: impl FnMut(Level)) {
    let _turn: MutexGuard<()> = LEVEL.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    for level in simd::available() {
        assert_eq!(simd::force(level), level);
        test(level);
    }
    simd::force(simd::detected());
}

/// Integers in -4..=4, so that every sum is exact in any order.
fn integers<T: Float + From<f32>>(len: usize, seed: u32) -> Vec<T> {
    let mut state = seed;
    let draw = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        T::from((state >> 16) as f32 % 9.0 - 4.0)
    };
    std::iter::repeat_with(draw).take(len).collect()
}

/// Geometries that reach every branch: strides that skip inputs, kernels longer than the input, padding past the
/// edge, dilation sharing a factor with the stride, groups, outputs shorter and longer than computed.
fn geometries() -> Vec<Conv> {
    let base = layer(2, [3, 5], [9, 11], 3, 1, 1);
    [
        base,
        layer(2, [1, 1], [1, 1], 1, 1, 0),
        layer(2, [4, 7], [8, 8], 4, 2, 1),
        layer(2, [20, 33], [8, 8], 4, 2, 1),
        layer(2, [40, 3], [4, 4], 4, 2, 1),
        layer(2, [20, 140], [8, 8], 4, 2, 1),
        layer(2, [3, 40], [10, 6], 5, 3, 2),
        layer(2, [17, 1], [4, 4], 4, 1, 0),
        layer(2, [6, 18], [5, 5], 1, 1, 0),
        layer(2, [6, 18], [7, 7], 1, 2, 0),
        layer(2, [6, 18], [17, 16], 1, 1, 0),
        Conv { groups: 3, ..layer(2, [12, 9], [17, 16], 1, 1, 0) },
        layer(2, [2, 3], [6, 40], 3, 1, 1),
        layer(5, [16, 16], [14, 14], 3, 1, 1),
        layer(40, [16, 24], [8, 8], 4, 2, 1),
        layer(1, [3, 8], [33, 35], 3, 2, 1),
        Conv { groups: 2, ..layer(2, [6, 4], [7, 8], 3, 1, 1) },
        Conv { groups: 3, ..layer(2, [6, 9], [7, 8], 3, 2, 1) },
        Conv { groups: 8, ..layer(2, [8, 8], [9, 9], 3, 1, 1) },
        Conv { groups: 4, ..layer(2, [4, 12], [9, 9], 3, 2, 1) },
        layer(2, [12, 20], [9, 11], 3, 2, 1),
        layer(2, [10, 20], [12, 9], 4, 3, 2),
        Conv { groups: 2, ..layer(2, [20, 12], [9, 9], 3, 2, 1) },
        Conv { dilation: [2, 3], output: [7, 7], ..layer(2, [9, 4], [9, 11], 3, 1, 1) },
        Conv { dilation: [2, 4], stride: [4, 6], output: [2, 2], ..layer(2, [9, 4], [9, 11], 3, 1, 1) },
        Conv { dilation: [3, 2], stride: [2, 2], output: [3, 5], ..layer(2, [11, 4], [9, 11], 3, 1, 1) },
        Conv {
            stride: [5, 5],
            kernel: [2, 2],
            padding: [0, 0],
            output: [2, 2],
            ..layer(2, [10, 4], [9, 11], 3, 1, 1)
        },
        Conv { padding: [5, 6], output: [17, 21], ..layer(2, [10, 4], [9, 11], 3, 1, 1) },
        Conv { output: [14, 16], ..layer(2, [10, 4], [9, 11], 3, 2, 1) },
        Conv { dilation: [2, 3], output: [7, 7], ..base },
        Conv { dilation: [2, 2], stride: [2, 2], output: [4, 5], ..base },
        Conv { dilation: [2, 4], stride: [4, 6], output: [2, 2], ..base },
        Conv { stride: [2, 3], padding: [0, 2], kernel: [2, 5], output: [4, 4], ..base },
        Conv { stride: [3, 1], kernel: [2, 3], output: [3, 11], ..base },
        Conv { padding: [5, 6], output: [17, 21], ..base },
        Conv { output: [4, 3], ..base },
        Conv { output: [14, 16], ..base },
        Conv { stride: [5, 5], kernel: [2, 2], padding: [0, 0], output: [2, 2], ..base },
        Conv { stride: [20, 20], kernel: [1, 1], padding: [0, 0], output: [1, 1], ..base },
        Conv { kernel: [3, 12], padding: [1, 4], output: [9, 8], ..base },
    ]
    .into_iter()
    .chain(whole_vectors_of_images())
    .chain(tiles_of_two_by_two())
    .chain(few_channels())
    .collect()
}

/// Batches that fill the lanes of every level, but not exactly: several bands of rows, chunks of channels and blocks of
/// images; taps and pixels that meet nothing; strides and dilations that visit rows out of order.
fn whole_vectors_of_images() -> Vec<Conv> {
    let base = layer(31, [17, 18], [8, 9], 4, 2, 1);
    vec![
        base,
        layer(26, [16, 40], [10, 34], 3, 1, 1),
        layer(3, [29, 9], [6, 7], 3, 2, 1),
        Conv { groups: 2, ..layer(5, [60, 32], [5, 9], 3, 1, 2) },
        layer(57, [70, 9], [3, 3], 3, 1, 1),
        layer(30, [33, 67], [4, 5], 3, 2, 1),
        Conv { groups: 2, ..layer(29, [18, 66], [5, 6], 3, 2, 1) },
        Conv { dilation: [2, 3], output: [4, 3], ..base },
        Conv { dilation: [2, 2], stride: [3, 5], padding: [0, 4], output: [3, 3], ..base },
        Conv { stride: [5, 3], kernel: [2, 2], padding: [0, 0], output: [2, 3], ..base },
        Conv { padding: [5, 6], output: [8, 9], ..base },
        Conv { output: [6, 2], ..base },
    ]
}

/// 3 × 3 kernels, and 4 × 4 with stride 2, with channels enough for Winograd's algorithm, mostly no whole vectors: odd planes, every padding, blocks
/// that end within an image and at the end of one, outputs shorter and longer than computed, groups.
fn tiles_of_two_by_two() -> Vec<Conv> {
    let base = layer(3, [47, 35], [13, 15], 3, 1, 1);
    vec![
        base,
        layer(2, [46, 63], [13, 14], 3, 1, 0),
        layer(1, [32, 32], [24, 25], 3, 1, 2),
        layer(1, [32, 33], [31, 34], 3, 1, 1),
        Conv { groups: 2, ..layer(2, [64, 96], [14, 13], 3, 1, 1) },
        Conv { output: [16, 14], ..base },
        Conv { padding: [0, 2], output: [10, 17], ..base },
        layer(3, [16, 32], [20, 22], 3, 1, 1),
        layer(2, [47, 48], [32, 36], 4, 2, 1),
        layer(1, [32, 35], [63, 66], 4, 2, 1),
        layer(1, [35, 32], [63, 64], 4, 2, 1),
        Conv { groups: 2, ..layer(1, [64, 64], [32, 36], 4, 2, 1) },
        Conv { output: [15, 18], ..layer(3, [32, 33], [32, 36], 4, 2, 1) },
    ]
}

/// Planes as wide as vectors for the weight gradient of few channels: several bands, taps that are cut in two, rows that
/// end within a vector, taps that meet nothing.
fn few_channels() -> Vec<Conv> {
    let base = layer(3, [3, 13], [34, 62], 4, 2, 1);
    vec![
        base,
        layer(2, [1, 8], [40, 32], 5, 1, 2),
        layer(2, [4, 20], [23, 31], 3, 1, 1),
        Conv { groups: 2, ..layer(5, [4, 22], [33, 30], 3, 1, 2) },
        Conv {
            dilation: [3, 2],
            stride: [2, 3],
            padding: [4, 1],
            output: [17, 32],
            ..layer(2, [3, 9], [35, 95], 4, 1, 0)
        },
        Conv { padding: [9, 5], output: [20, 32], ..base },
        Conv { kernel: [2, 7], padding: [0, 3], output: [33, 62], ..layer(2, [2, 9], [34, 62], 3, 1, 1) },
    ]
}

const GUARD: f32 = 77.0;
const MARGIN: usize = 40;

/// `run` writes the output inside guard values; the result must equal `want` bit for bit.
fn guarded<T: Float + From<f32>>(want: &[T], what: &str, run: impl FnOnce(*mut T)) {
    let mut memory = vec![T::from(GUARD); want.len() + 2 * MARGIN];
    run(memory.as_mut_ptr().wrapping_add(MARGIN));
    assert!(memory[MARGIN..MARGIN + want.len()] == *want, "{what}: differs from the plain loop");
    let mut guards = memory[..MARGIN].iter().chain(&memory[MARGIN + want.len()..]);
    assert!(guards.all(|&x| x == T::from(GUARD)), "{what}: wrote outside its output");
}

/// Counts how often each output element was handed to the epilogue.
struct Cover {
    seen: Mutex<Vec<u8>>,
    channels: usize,
    pixels: usize,
}

impl Cover {
    fn new(batch: usize, channels: usize, plane: [usize; 2]) -> Cover {
        let pixels = plane[0] * plane[1];
        Cover { seen: Mutex::new(vec![0; batch * channels * pixels]), channels, pixels }
    }

    fn add(&self, block: ConvBlock) {
        let mut seen = self.seen.lock().unwrap();
        for channel in block.channels {
            for pixel in block.pixels.clone() {
                seen[(block.image * self.channels + channel) * self.pixels + pixel] += 1;
            }
        }
    }

    fn exact(self) -> bool {
        self.seen.into_inner().unwrap().iter().all(|&n| n == 1)
    }
}

fn check<T: Float + From<f32>>(c: &Conv) {
    let (x, w) = (integers::<T>(c.x_len(), 1), integers::<T>(c.w_len(), 2));
    let dy = integers::<T>(c.y_len(), 3);
    let (mut y, mut dx, mut dw) = (vec![T::ZERO; dy.len()], vec![T::ZERO; x.len()], vec![T::ZERO; w.len()]);
    naive::conv::forward(c, &x, &w, &mut y);
    naive::conv::input_grad(c, &dy, &w, &mut dx);
    naive::conv::weight_grad(c, &x, &dy, &mut dw);
    at_every_level(|level| {
        let what = |form| format!("{} {form} {c:?}", level.name());
        let cover = Cover::new(c.batch, c.out_channels, c.output);
        // SAFETY: every slice has the length that `c` says, and the output lies MARGIN inside its memory.
        guarded(&y, &what("forward"), |y| unsafe {
            conv::forward(c, x.as_ptr(), w.as_ptr(), y, Some(&|block| cover.add(block)));
        });
        assert!(cover.exact(), "{}: blocks do not tile y", what("forward"));
        let cover = Cover::new(c.batch, c.in_channels, c.input);
        // SAFETY: as above.
        guarded(&dx, &what("input_grad"), |dx| unsafe {
            conv::input_grad(c, dy.as_ptr(), w.as_ptr(), dx, Some(&|block| cover.add(block)));
        });
        assert!(cover.exact(), "{}: blocks do not tile dx", what("input_grad"));
        // SAFETY: as above.
        guarded(&dw, &what("weight_grad"), |dw| unsafe {
            conv::weight_grad(c, x.as_ptr(), dy.as_ptr(), dw);
        });
    });
}

#[test]
fn all_forms_equal_the_plain_loops() {
    for c in geometries() {
        check::<f32>(&c);
        check::<f64>(&c);
    }
}

/// Enough work for the weight gradient to sum chunks of the batch apart.
#[test]
fn long_sums_of_the_weight_gradient() {
    let c = layer(9, [16, 16], [64, 60], 3, 1, 1);
    let (x, dy) = (integers::<f32>(c.x_len(), 1), integers::<f32>(c.y_len(), 3));
    let mut want = vec![0f32; c.w_len()];
    naive::conv::weight_grad(&c, &x, &dy, &mut want);
    at_every_level(|level| {
        // SAFETY: every slice has the length that `c` says, and the output lies MARGIN inside its memory.
        guarded(&want, level.name(), |dw| unsafe { conv::weight_grad(&c, x.as_ptr(), dy.as_ptr(), dw) });
    });
}

#[test]
fn the_epilogue_sees_final_values() {
    for c in geometries() {
        let (x, w) = (integers::<f32>(c.x_len(), 1), integers::<f32>(c.w_len(), 2));
        let (mut y, mut want) = (vec![0f32; c.y_len()], vec![0f32; c.y_len()]);
        naive::conv::forward(&c, &x, &w, &mut want);
        let pixels = c.output[0] * c.output[1];
        let address = y.as_mut_ptr() as usize;
        at_every_level(|level| {
            let epilogue = |block: ConvBlock| {
                for channel in block.channels {
                    for pixel in block.pixels.clone() {
                        let at = (block.image * c.out_channels + channel) * pixels + pixel;
                        // SAFETY: blocks tile y, and a finished block is touched by its epilogue only.
                        unsafe {
                            let y = (address as *mut f32).add(at);
                            assert!(*y == want[at], "{} {c:?} at {at}", level.name());
                            *y = -*y;
                        }
                    }
                }
            };
            // SAFETY: the slices have the lengths that `c` says.
            unsafe { conv::forward(&c, x.as_ptr(), w.as_ptr(), y.as_mut_ptr(), Some(&epilogue)) };
            assert!(y.iter().zip(&want).all(|(y, want)| *y == -want), "{} {c:?}", level.name());
        });
    }
}

/// Bits of all three results for inputs with rounding.
fn bits(c: &Conv) -> Vec<u32> {
    let thirds = |x: Vec<f32>| x.into_iter().map(|x| x / 3.0 + 0.1).collect::<Vec<_>>();
    let (x, w, dy) =
        (thirds(integers(c.x_len(), 1)), thirds(integers(c.w_len(), 2)), thirds(integers(c.y_len(), 3)));
    let (mut y, mut dx, mut dw) = (vec![0f32; dy.len()], vec![0f32; x.len()], vec![0f32; w.len()]);
    conv::conv(c, &x, &w, &mut y);
    conv::conv_input(c, &dy, &w, &mut dx);
    conv::conv_weight(c, &x, &dy, &mut dw);
    y.iter().chain(&dx).chain(&dw).map(|x| x.to_bits()).collect()
}

#[cfg(feature = "parallel")]
#[test]
fn threads_do_not_change_a_bit() {
    let on = |threads, c: &Conv| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| bits(c))
    };
    at_every_level(|level| {
        for c in geometries() {
            let want = on(1, &c);
            assert!(on(2, &c) == want && on(4, &c) == want, "{} {c:?}", level.name());
        }
    });
}

#[test]
fn callers_on_several_threads_do_not_disturb_each_other() {
    at_every_level(|level| {
        let all = geometries();
        let want: Vec<_> = all.iter().map(bits).collect();
        std::thread::scope(|scope| {
            for start in 0..3 {
                let (all, want) = (&all, &want);
                scope.spawn(move || {
                    for at in (0..all.len()).map(|i| (i + start * 7) % all.len()) {
                        assert!(bits(&all[at]) == want[at], "{} {:?}", level.name(), all[at]);
                    }
                });
            }
        });
    });
}

#[test]
fn empty_outputs_and_empty_sums() {
    let base = layer(2, [2, 3], [4, 4], 3, 1, 1);
    let mut none: [f32; 0] = [];
    conv::conv(&Conv { batch: 0, ..base }, &[], &[1.0; 54], &mut none);
    let mut dw = [5f32; 54];
    conv::conv_weight(&Conv { batch: 0, ..base }, &[], &[], &mut dw);
    assert_eq!(dw, [0.0; 54]);
    let mut dx = [5f32; 64];
    conv::conv_input(&Conv { output: [0, 4], ..base }, &[], &[1.0; 54], &mut dx);
    assert_eq!(dx, [0.0; 64]);
    let mut y = [5f32; 96];
    conv::conv(&Conv { in_channels: 0, ..base }, &[], &[], &mut y);
    assert_eq!(y, [0.0; 96]);
}

#[test]
#[should_panic(expected = "channels 3 → 4 are not multiples of groups 2")]
fn channels_that_groups_do_not_divide_are_refused() {
    let c = Conv { groups: 2, ..layer(2, [3, 4], [4, 4], 3, 1, 1) };
    conv::conv(&c, &[0f32; 96], &[0f32; 36], &mut [0f32; 128]);
}
