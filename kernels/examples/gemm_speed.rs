//! GFLOP/s of GEMM and convolution on the shapes that matter, and the share of the machine's peak.
//!
//! Rounds over all cases, 1 and 2 threads in turn, best time of all rounds. The peak is measured in the same run.
//! `cargo run --release -p gradus-kernels --example gemm_speed [filter]`

use gradus_kernels::conv::{self, Conv};
use gradus_kernels::gemm::{self, Gemm};
use std::time::{Duration, Instant};

/// Something to time: its name, its floating-point operations, and how to make it ready.
struct Case {
    name: String,
    flops: f64,
    prepare: Box<dyn Fn() -> Run>,
}

type Run = Box<dyn FnMut() + Send>;

fn values(len: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 7919) % 1000) as f32 / 500.0 - 0.999).collect()
}

fn gemm_case(layout: &str, m: usize, n: usize, k: usize) -> Case {
    let (mi, ni, ki) = (m as isize, n as isize, k as isize);
    let a = if layout.starts_with('N') { [ki, 1] } else { [1, mi] };
    let b = if layout.ends_with('N') { [ni, 1] } else { [1, ki] };
    let g = Gemm { m, n, k, a, b, batch: vec![] };
    let prepare = move || -> Run {
        let (g, a, b, mut c) = (g.clone(), values(m * k), values(k * n), vec![0f32; m * n]);
        Box::new(move || gemm::gemm(&g, &a, &b, &mut c))
    };
    Case {
        name: format!("{layout} {m}x{k}x{n}"),
        flops: 2.0 * (m * n * k) as f64,
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
                let (mut x, mut w, mut y) = (values(c.x_len()), values(c.w_len()), values(c.y_len()));
                Box::new(move || match form {
                    "fwd" => conv::conv(&c, &x, &w, &mut y),
                    "bwd_data" => conv::conv_input(&c, &y, &w, &mut x),
                    _ => conv::conv_weight(&c, &x, &y, &mut w),
                })
            };
            let name = format!("{form} {i}→{o} {size}² k{kernel}s{stride}");
            cases.push(Case { name, flops, prepare: Box::new(prepare) });
        }
    }
    cases
}

fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = vec![];
    for size in [64, 128, 256, 512, 1024, 2048] {
        cases.extend(["NN", "NT", "TN"].map(|layout| gemm_case(layout, size, size, size)));
    }
    let mlp = [
        (128, 784, 256),
        (128, 256, 784),
        (128, 1024, 784),
        (1024, 128, 784),
        (784, 128, 256),
        (64, 100, 1024),
    ];
    for (m, k, n) in mlp.into_iter().chain([(128, 256, 1), (128, 1, 256), (1, 784, 1024)]) {
        cases.extend(["NN", "NT", "TN"].map(|layout| gemm_case(layout, m, n, k)));
    }
    cases.extend(conv_cases());
    cases
}

/// f32 multiply-adds of one core from registers alone, in FLOP/s.
fn peak() -> f64 {
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f")]
    fn chains(steps: usize) -> f32 {
        use std::arch::x86_64::*;
        let mut sum = [_mm512_set1_ps(0.5); 12];
        let (x, y) = (_mm512_set1_ps(std::hint::black_box(0.999)), _mm512_set1_ps(0.001));
        for _ in 0..steps {
            // By index: an iterator would keep the sums in memory.
            #[allow(clippy::needless_range_loop)]
            for i in 0..12 {
                sum[i] = _mm512_fmadd_ps(sum[i], x, y);
            }
        }
        sum.into_iter().fold(0.0, |total, v| total + _mm512_reduce_add_ps(v))
    }
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") {
        let seconds = (0..20).map(|_| {
            let start = Instant::now();
            // SAFETY: the feature was detected.
            std::hint::black_box(unsafe { chains(std::hint::black_box(500_000)) });
            start.elapsed().as_secs_f64()
        });
        return 12.0 * 32.0 * 5e5 / seconds.fold(f64::MAX, f64::min);
    }
    f64::NAN
}

/// Seconds of one call: the best of samples of at least 2 ms, for 50 ms.
fn time(run: &mut (dyn FnMut() + Send)) -> f64 {
    run();
    let start = Instant::now();
    run();
    let calls = (0.002 / start.elapsed().as_secs_f64().max(1e-9)).ceil().clamp(1.0, 1e5) as u32;
    let (begin, mut best) = (Instant::now(), Duration::MAX);
    while begin.elapsed() < Duration::from_millis(50) {
        let start = Instant::now();
        (0..calls).for_each(|_| run());
        best = best.min(start.elapsed() / calls);
    }
    best.as_secs_f64()
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
    let mut best = vec![[f64::MAX; 2]; cases.len()];
    let mut top = 0f64;
    for _ in 0..rounds {
        top = top.max(peak());
        for (case, best) in cases.iter().zip(&mut best) {
            let mut run = (case.prepare)();
            for_threads(|threads| best[threads - 1] = best[threads - 1].min(time(&mut *run)));
        }
    }
    println!("peak of one core: {:.0} GFLOP/s", top / 1e9);
    println!(
        "{:<28} {:>10} {:>7} {:>6} {:>10} {:>7} {:>6}",
        "", "1 thread", "GF/s", "%", "2 threads", "GF/s", "%"
    );
    for (Case { name, flops, .. }, best) in cases.iter().zip(best) {
        print!("{name:<28}");
        for (threads, seconds) in [1.0, 2.0].into_iter().zip(best) {
            let speed = flops / seconds;
            let share = 100.0 * speed / (top * threads);
            print!(" {:>7.1} µs {:>7.1} {share:>6.1}", seconds * 1e6, speed / 1e9);
        }
        println!();
    }
}
