//! Time, GFLOP/s and share of the FMA peak of convolution: the layers of DCGAN and two of a residual network, each
//! forward, for the gradient of its input and for that of its weights.
//!
//! `cargo run --release -p gradus-kernels --example conv_speed -- [--threads 1,2] [--only NAME,..] [--budget S] [--cpu] [--json]`
//!
//! Samples of at least 2 ms are taken for the budget (seconds, 0.1 unless told) after a warm-up; the table shows the
//! best, `--json` prints the median as well, one line for each case. The peak is measured between the cases, on one
//! core; two threads are compared with twice that. On a machine that others use too, `--cpu` counts the processor
//! time of the process, divided by the threads, instead of the time that passes.

#[path = "../tests/layer/mod.rs"]
mod layer;

use gradus_kernels::conv::{self, Conv};
use layer::layer;
use std::time::{Duration, Instant};

/// A layer: name, whether transposed, images, channels from and to, input size, kernel, stride, padding.
type Layer = (&'static str, bool, usize, [usize; 2], usize, usize, usize, usize);

const LAYERS: [Layer; 16] = [
    ("d1_3-64_k4s2_64", false, 64, [3, 64], 64, 4, 2, 1),
    ("d2_64-128_k4s2_32", false, 64, [64, 128], 32, 4, 2, 1),
    ("d3_128-256_k4s2_16", false, 64, [128, 256], 16, 4, 2, 1),
    ("d4_256-512_k4s2_8", false, 64, [256, 512], 8, 4, 2, 1),
    ("d5_512-1_k4s1_4", false, 64, [512, 1], 4, 4, 1, 0),
    ("g1_t100-512_k4s1_1", true, 64, [100, 512], 1, 4, 1, 0),
    ("g2_t512-256_k4s2_4", true, 64, [512, 256], 4, 4, 2, 1),
    ("g3_t256-128_k4s2_8", true, 64, [256, 128], 8, 4, 2, 1),
    ("g4_t128-64_k4s2_16", true, 64, [128, 64], 16, 4, 2, 1),
    ("g5_t64-3_k4s2_32", true, 64, [64, 3], 32, 4, 2, 1),
    ("c3_64-64_k3s1_28", false, 64, [64, 64], 28, 3, 1, 1),
    ("c3_64-64_k3s1_56", false, 64, [64, 64], 56, 3, 1, 1),
    ("m1_1-64_k4s2_28", false, 128, [1, 64], 28, 4, 2, 1),
    ("m2_64-128_k4s2_14", false, 128, [64, 128], 14, 4, 2, 1),
    ("m3_t128-64_k4s2_7", true, 128, [128, 64], 7, 4, 2, 1),
    ("m4_t64-1_k4s2_14", true, 128, [64, 1], 14, 4, 2, 1),
];

/// One form of one layer; a transposed layer's forward pass is the input gradient of `conv`, and the other way round.
struct Case {
    name: String,
    conv: Conv,
    form: Form,
}

#[derive(Clone, Copy)]
enum Form {
    Forward,
    InputGrad,
    WeightGrad,
}

fn cases() -> Vec<Case> {
    let mut cases = vec![];
    for (name, transposed, batch, channels, size, kernel, stride, padding) in LAYERS {
        let input = if transposed { (size - 1) * stride + kernel - 2 * padding } else { size };
        let [in_channels, out_channels] = if transposed { [channels[1], channels[0]] } else { channels };
        let conv = layer(batch, [in_channels, out_channels], [input; 2], kernel, stride, padding);
        let [fwd, bwd_data] =
            if transposed { [Form::InputGrad, Form::Forward] } else { [Form::Forward, Form::InputGrad] };
        for (prefix, form) in [("fwd", fwd), ("bwd_data", bwd_data), ("bwd_weight", Form::WeightGrad)] {
            cases.push(Case { name: format!("{prefix}_{name}"), conv, form });
        }
    }
    cases
}

impl Case {
    /// Multiply-adds of the direct algorithm, times two.
    fn flops(&self) -> f64 {
        2.0 * (self.conv.batch * self.conv.output[0] * self.conv.output[1] * self.conv.w_len()) as f64
    }

    fn prepare(&self) -> Box<dyn FnMut() + Send> {
        let (c, form) = (self.conv, self.form);
        let (mut x, mut w, mut y) = (values(c.x_len()), values(c.w_len()), values(c.y_len()));
        Box::new(move || {
            let (x, w, y) = (aligned(&mut x), aligned(&mut w), aligned(&mut y));
            match form {
                Form::Forward => conv::conv(&c, x, w, y),
                Form::InputGrad => conv::conv_input(&c, y, w, x),
                Form::WeightGrad => conv::conv_weight(&c, x, y, w),
            }
        })
    }
}

/// Elements of a cache line.
const LINE: usize = 16;

/// As many values, and room to begin them on a cache line.
fn values(len: usize) -> Vec<f32> {
    (0..len + LINE).map(|i| ((i * 7919) % 1000) as f32 / 500.0 - 0.999).collect()
}

/// The values from a cache line on: where the library's buffers begin.
fn aligned(values: &mut [f32]) -> &mut [f32] {
    let (first, len) = (values.as_ptr().align_offset(4 * LINE), values.len() - LINE);
    &mut values[first..first + len]
}

/// Time since some fixed moment: that of the clock on the wall, or the processor time of this process.
#[derive(Clone, Copy)]
struct Clock {
    start: Instant,
    cpu: bool,
}

impl Clock {
    fn now(self) -> f64 {
        #[cfg(target_os = "linux")]
        if self.cpu {
            unsafe extern "C" {
                fn clock_gettime(clock: i32, time: *mut [i64; 2]) -> i32;
            }
            const PROCESS_CPUTIME: i32 = 2;
            let mut time = [0; 2];
            // SAFETY: the C library's function; on 64-bit Linux a timespec is two 64-bit numbers.
            assert_eq!(unsafe { clock_gettime(PROCESS_CPUTIME, &mut time) }, 0);
            return time[0] as f64 + time[1] as f64 * 1e-9;
        }
        self.start.elapsed().as_secs_f64()
    }
}

/// f32 multiply-adds of one core from registers alone, in FLOP/s: the best of some short runs.
fn peak(clock: Clock) -> f64 {
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
        let seconds = (0..10).map(|_| {
            let start = clock.now();
            // SAFETY: the feature was detected.
            std::hint::black_box(unsafe { chains(std::hint::black_box(100_000)) });
            clock.now() - start
        });
        return 12.0 * 32.0 * 1e5 / seconds.fold(f64::MAX, f64::min);
    }
    f64::NAN
}

/// Seconds of one call: best and median of samples of at least 2 ms.
fn time(run: &mut (dyn FnMut() + Send), budget: f64, clock: Clock) -> (f64, f64) {
    let seconds = |calls: usize, run: &mut (dyn FnMut() + Send)| {
        let start = clock.now();
        (0..calls).for_each(|_| run());
        (clock.now() - start) / calls as f64
    };
    (0..2).for_each(|_| run());
    let calls = (0.002 / seconds(1, run).max(1e-9)).ceil().clamp(1.0, 1e5) as usize;
    let (begin, mut samples) = (Instant::now(), vec![]);
    while samples.len() < 7 || begin.elapsed() < Duration::from_secs_f64(budget) {
        samples.push(seconds(calls, run));
    }
    samples.sort_by(f64::total_cmp);
    (samples[0], samples[samples.len() / 2])
}

/// Calls `f` on a pool of as many threads.
fn on_threads<R: Send>(threads: usize, f: impl FnOnce() -> R + Send) -> R {
    #[cfg(feature = "parallel")]
    return rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .expect("a pool of threads")
        .install(f);
    #[cfg(not(feature = "parallel"))]
    {
        assert_eq!(threads, 1, "built without the feature `parallel`");
        f()
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str, default: &str| {
        let at = args.iter().position(|arg| arg == name);
        at.and_then(|at| args.get(at + 1)).map_or(default.to_owned(), String::clone)
    };
    let threads: Vec<usize> =
        option("--threads", "1,2").split(',').map(|x| x.parse().expect("--threads: numbers")).collect();
    let (only, json) = (option("--only", ""), args.iter().any(|arg| arg == "--json"));
    let budget: f64 = option("--budget", "0.1").parse().expect("--budget: seconds");
    let clock = Clock { start: Instant::now(), cpu: args.iter().any(|arg| arg == "--cpu") };
    let cases = cases().into_iter().filter(|case| only.split(',').any(|part| case.name.contains(part)));
    let (mut rows, mut top) = (vec![], 0f64);
    for case in cases {
        top = top.max(peak(clock));
        let mut run = case.prepare();
        let times: Vec<_> =
            threads.iter().map(|&threads| on_threads(threads, || time(&mut *run, budget, clock))).collect();
        rows.push((case, times));
    }
    if !json {
        println!("peak of one core: {:.1} GFLOP/s", top / 1e9);
    }
    for (case, times) in rows {
        if !json {
            print!("{:<29}", case.name);
        }
        for (&threads, &(best, median)) in threads.iter().zip(&times) {
            let share = if clock.cpu { threads as f64 } else { 1.0 };
            let (best, median) = (best / share, median / share);
            let (speed, share) =
                (case.flops() / best / 1e9, 100.0 * case.flops() / best / (top * threads as f64));
            if json {
                println!(
                    "{{\"suite\":\"conv\",\"name\":\"{}\",\"impl\":\"gradus\",\"threads\":{threads},\
                     \"median_s\":{median:.9},\"min_s\":{best:.9},\"gflops\":{speed:.3},\"share\":{share:.2}}}",
                    case.name
                );
            } else {
                print!(" | {threads} thr {:>8.1} µs {speed:>6.1} GF/s {share:>5.1} %", best * 1e6);
            }
        }
        if !json {
            println!();
        }
    }
}
