//! GFLOP/s of GEMM and convolution on the shapes that matter, and the share of the machine's peak.
//!
//! Rounds over all cases, 1 and 2 threads in turn: the best time of all, and the first quartile of shares of the peak, that of the
//! instruction set in use, which is measured before every sample: a shared machine is slower at times, for both alike.
//! "cold" takes turns among operands that the second-level cache cannot hold, as the layers of a network do.
//! `[GRADUS_SIMD=avx2] cargo run --release -p gradus-kernels --example gemm_speed [filter [rounds]]`

use gradus_kernels::conv::{self, Conv};
use gradus_kernels::gemm::{self, Float, Gemm};
use gradus_kernels::simd::{self, Level};
use std::time::{Duration, Instant};

/// Something to time: its name, its floating-point operations, and how to make it ready.
struct Case {
    name: String,
    flops: f64,
    /// Bytes of an element: the peak of f64 is half that of f32.
    width: usize,
    prepare: Box<dyn Fn() -> Run>,
}

type Run = Box<dyn FnMut() + Send>;

/// Ordinary values. With 64 spare elements at the end, of which [`aligned`] takes some.
fn values<T: Float + From<f32>>(len: usize) -> Vec<T> {
    (0..len + 64).map(|i| T::from(((i * 7919) % 1000) as f32 / 500.0 - 0.999)).collect()
}

/// The part of `values` that begins on a cache line, as tensors do.
fn aligned<T>(values: &mut [T]) -> &mut [T] {
    let (start, len) = (values.as_ptr().align_offset(64), values.len() - 64);
    &mut values[start..start + len]
}

/// Bytes of operands that a cold case takes turns among.
const COLD: usize = 16 << 20;

fn gemm_case<T: Float + From<f32>>(layout: &str, [m, k, n]: [usize; 3], cold: bool) -> Case {
    let (mi, ni, ki) = (m as isize, n as isize, k as isize);
    let a = if layout.starts_with('N') { [ki, 1] } else { [1, mi] };
    let b = if layout.ends_with('N') { [ni, 1] } else { [1, ki] };
    let g = Gemm { m, n, k, a, b, batch: vec![] };
    let prepare = move || -> Run {
        let bytes = (m * k + k * n + m * n) * size_of::<T>();
        let count = if cold { COLD.div_ceil(bytes) } else { 1 };
        let operands = || [m * k, k * n, m * n].map(values::<T>);
        let (g, mut sets, mut turn) = (g.clone(), (0..count).map(|_| operands()).collect::<Vec<_>>(), 0);
        Box::new(move || {
            let [a, b, c] = &mut sets[turn % count];
            gemm::gemm(&g, aligned(a), aligned(b), aligned(c));
            turn += 1;
        })
    };
    Case {
        name: format!("f{} {layout} {m}x{k}x{n}{}", 8 * size_of::<T>(), if cold { " cold" } else { "" }),
        flops: 2.0 * (m * n * k) as f64,
        width: size_of::<T>(),
        prepare: Box::new(prepare),
    }
}

/// The shapes of DCGAN, batch 64: (in, out, input size, kernel, stride, padding).
const CONVS: [(usize, usize, usize, usize, usize, usize); 10] = [
    (3, 64, 64, 4, 2, 1),
    (64, 128, 32, 4, 2, 1),
    (128, 256, 16, 4, 2, 1),
    (256, 512, 8, 4, 2, 1),
    (512, 1, 4, 4, 1, 0),
    (512, 100, 4, 4, 1, 0),
    (64, 64, 28, 3, 1, 1),
    (64, 64, 56, 3, 1, 1),
    (1, 64, 28, 4, 2, 1),
    (64, 128, 14, 4, 2, 1),
];

fn conv_cases() -> Vec<Case> {
    let mut cases: Vec<Case> = vec![];
    for (i, o, size, kernel, stride, padding) in CONVS {
        let out = (size + 2 * padding - kernel) / stride + 1;
        let c = Conv {
            batch: 64,
            groups: 1,
            in_channels: i,
            out_channels: o,
            input: [size; 2],
            kernel: [kernel; 2],
            output: [out; 2],
            stride: [stride; 2],
            padding: [padding; 2],
            dilation: [1; 2],
        };
        let flops = 2.0 * (64 * i * o * kernel * kernel * out * out) as f64;
        for form in ["fwd", "bwd_data", "bwd_weight"] {
            let prepare = move || -> Run {
                let (mut x, mut w, mut y) = (values::<f32>(c.x_len()), values(c.w_len()), values(c.y_len()));
                Box::new(move || {
                    let (x, w, y) = (aligned(&mut x), aligned(&mut w), aligned(&mut y));
                    match form {
                        "fwd" => conv::conv(&c, x, w, y),
                        "bwd_data" => conv::conv_input(&c, y, w, x),
                        _ => conv::conv_weight(&c, x, y, w),
                    }
                })
            };
            let name = format!("{form} {i}→{o} {size}² k{kernel}s{stride}");
            cases.push(Case { name, flops, width: 4, prepare: Box::new(prepare) });
        }
    }
    cases
}

/// m, k and n.
const GEMMS: [(usize, usize, usize); 15] = [
    (64, 64, 64),
    (128, 128, 128),
    (256, 256, 256),
    (512, 512, 512),
    (1024, 1024, 1024),
    (2048, 2048, 2048),
    (128, 784, 256),
    (128, 256, 784),
    (784, 128, 256),
    (64, 100, 1024),
    (128, 1024, 784),
    (1024, 128, 784),
    (128, 256, 1),
    (128, 1, 256),
    (1, 784, 1024),
];

/// Layers of an MLP in training, batch 128: inputs and outputs.
const LAYERS: [(usize, usize); 12] = [
    (1024, 784),
    (784, 1024),
    (512, 1024),
    (1024, 512),
    (512, 256),
    (256, 512),
    (100, 256),
    (784, 400),
    (400, 20),
    (20, 400),
    (400, 784),
    (256, 32),
];

fn cases() -> Vec<Case> {
    let layouts = ["NN", "NT", "TN"];
    let single = GEMMS
        .into_iter()
        .flat_map(|(m, k, n)| layouts.map(|layout| gemm_case::<f32>(layout, [m, k, n], false)));
    let double = [64, 512, 1024]
        .into_iter()
        .flat_map(|size| layouts.map(|layout| gemm_case::<f64>(layout, [size; 3], false)));
    let layers = LAYERS.into_iter().flat_map(|(i, o)| {
        [("NT", [128, i, o]), ("NN", [128, o, i]), ("TN", [o, 128, i])]
            .map(|(layout, size)| gemm_case::<f32>(layout, size, true))
    });
    single.chain(double).chain(layers).chain(conv_cases()).collect()
}

/// f32 multiply-adds of one core from registers alone, at the level in use, in FLOP/s.
fn peak() -> f64 {
    #[cfg(target_arch = "x86_64")]
    macro_rules! chains {
        ($features:literal, $set1:ident, $fma:ident, $store:ident) => {{
            #[target_feature(enable = $features)]
            fn chains(steps: usize) -> f32 {
                use std::arch::x86_64::*;
                let mut sum = [$set1(0.5); 12];
                let (x, y) = ($set1(std::hint::black_box(0.999)), $set1(0.001));
                for _ in 0..steps {
                    // By index: an iterator would keep the sums in memory.
                    #[allow(clippy::needless_range_loop)]
                    for i in 0..12 {
                        sum[i] = $fma(sum[i], x, y);
                    }
                }
                let mut total = 0.0;
                for sum in sum {
                    let mut lanes = [0.0; 16];
                    // SAFETY: no vector has more than 16 elements.
                    unsafe { $store(lanes.as_mut_ptr(), sum) };
                    total += lanes.iter().sum::<f32>();
                }
                total
            }
            // SAFETY: the level in use has these features.
            |steps| std::hint::black_box(unsafe { chains(std::hint::black_box(steps)) })
        }};
    }
    #[cfg(target_arch = "x86_64")]
    {
        let (lanes, chains): (f64, fn(usize) -> f32) = match simd::level() {
            Level::Avx512 => (16.0, chains!("avx512f", _mm512_set1_ps, _mm512_fmadd_ps, _mm512_storeu_ps)),
            Level::Avx2 => (8.0, chains!("avx2,fma", _mm256_set1_ps, _mm256_fmadd_ps, _mm256_storeu_ps)),
            Level::Portable => return f64::NAN,
        };
        let start = Instant::now();
        chains(100_000);
        12.0 * 2.0 * lanes * 1e5 / start.elapsed().as_secs_f64()
    }
    #[cfg(not(target_arch = "x86_64"))]
    f64::NAN
}

/// What was measured of a case on some number of threads.
#[derive(Clone, Default)]
struct Measured {
    /// Seconds of one call in each sample.
    seconds: Vec<f64>,
    /// The same in multiples of the time at the peak of one core, measured just before.
    slowness: Vec<f64>,
}

/// Samples of at least 2 ms, for 50 ms; a call at the peak does `flops`.
fn time(run: &mut (dyn FnMut() + Send), flops: f64, measured: &mut Measured) {
    run();
    let start = Instant::now();
    run();
    let calls = (0.002 / start.elapsed().as_secs_f64().max(1e-9)).ceil().clamp(1.0, 1e5) as u32;
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(50) {
        let peak = peak();
        let start = Instant::now();
        (0..calls).for_each(|_| run());
        let seconds = start.elapsed().as_secs_f64() / calls as f64;
        measured.seconds.push(seconds);
        measured.slowness.push(seconds * peak / flops);
    }
}

/// The value below which `part` of the samples are.
fn quantile(samples: &[f64], part: f64) -> f64 {
    let mut samples = samples.to_vec();
    samples.sort_by(f64::total_cmp);
    samples[((samples.len() - 1) as f64 * part) as usize]
}

/// Calls `f` once for each number of threads, 1 and 2, that the build can run on.
fn for_threads(mut f: impl FnMut(usize) + Send) {
    #[cfg(feature = "parallel")]
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool of threads");
        pool.install(|| f(threads));
    }
    #[cfg(not(feature = "parallel"))]
    f(1);
}

fn main() {
    let filter = std::env::args().nth(1).unwrap_or_default();
    let rounds = std::env::args().nth(2).and_then(|x| x.parse().ok()).unwrap_or(3);
    let cases: Vec<_> = cases().into_iter().filter(|case| case.name.contains(&filter)).collect();
    let mut measured = vec![[Measured::default(), Measured::default()]; cases.len()];
    for _ in 0..rounds {
        for (case, measured) in cases.iter().zip(&mut measured) {
            let mut run = (case.prepare)();
            let flops = case.flops * case.width as f64 / 4.0;
            for_threads(|threads| time(&mut *run, flops, &mut measured[threads - 1]));
        }
    }
    let top = (0..100).map(|_| peak()).fold(0.0, f64::max);
    println!("{} at most {:.0} GFLOP/s (f32, one core)", simd::level().name(), top / 1e9);
    println!(
        "{:<28} {:>10} {:>7} {:>6} {:>10} {:>7} {:>6}",
        "", "1 thread", "GF/s", "%", "2 threads", "GF/s", "%"
    );
    for (Case { name, flops, .. }, measured) in cases.iter().zip(&measured) {
        print!("{name:<28}");
        for (threads, Measured { seconds, slowness }) in [1.0, 2.0].into_iter().zip(measured) {
            if !seconds.is_empty() {
                let (seconds, share) = (quantile(seconds, 0.0), 100.0 / threads / quantile(slowness, 0.25));
                print!(" {:>7.1} µs {:>7.1} {share:>6.1}", seconds * 1e6, flops / seconds / 1e9);
            }
        }
        println!();
    }
}
