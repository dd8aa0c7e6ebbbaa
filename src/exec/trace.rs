//! The time of each kernel: printed as it runs with `GRADUS_TRACE=1`, or given to who asks with [`kernel_times`].

use super::plan::{Kernel, Step};
use std::cell::RefCell;
use std::sync::OnceLock;
use std::time::Duration;

/// What a kernel took. See [`kernel_times`].
#[derive(Clone, Debug, PartialEq)]
pub struct KernelTime {
    /// The op whose value it computes.
    pub op: &'static str,
    /// What it is, with its sizes: `gemm NT 50x12x40 + map`.
    pub kernel: String,
    /// How long it ran.
    pub time: Duration,
    /// Its multiply-adds times two; 0 where memory is what counts.
    pub flops: f64,
    /// The bytes that it must move at least.
    pub bytes: f64,
    /// On a GPU, the class of kernels that share its tiles or workgroup, where it has a choice of them: see
    /// [`Device::tune`](crate::Device::tune).
    pub class: Option<String>,
}

thread_local! {
    /// What the kernels of this thread's evaluations took, while somebody wants to know.
    static TIMES: RefCell<Option<Vec<KernelTime>>> = const { RefCell::new(None) };
}

/// Runs `f`, and gives the time of each kernel that the calling thread's evaluations run meanwhile, in order.
///
/// Kernels then run one at a time: on the CPU each is timed by itself, where several would otherwise go through the cache
/// together; on a GPU each is submitted and waited for alone, and timed by the device's clock
/// (see [`Device::has_clock`](crate::Device::has_clock)). Values are the same to the bit.
///
/// ```
/// use gradus::{Tensor, kernel_times};
/// let x = Tensor::ones([64, 32]);
/// let (sum, kernels) = kernel_times(|| x.matmul(&x.t()).sum(..).item());
/// assert_eq!(sum?, 131072.0);
/// assert!(kernels.iter().any(|k| k.kernel.starts_with("gemm") && k.flops == 262144.0));
/// # Ok::<(), gradus::Error>(())
/// ```
pub fn kernel_times<T>(f: impl FnOnce() -> T) -> (T, Vec<KernelTime>) {
    /// Puts back what was there before, after a panic in `f` too.
    struct Outer(Option<Vec<KernelTime>>);
    impl Drop for Outer {
        fn drop(&mut self) {
            TIMES.set(self.0.take());
        }
    }
    let _outer = Outer(TIMES.replace(Some(Vec::new())));
    let result = f();
    (result, TIMES.take().unwrap_or_default())
}

/// Whether kernels are to be timed.
pub(super) fn enabled() -> bool {
    printing() || TIMES.with_borrow(Option::is_some)
}

fn printing() -> bool {
    static ASKED: OnceLock<bool> = OnceLock::new();
    *ASKED.get_or_init(|| std::env::var_os("GRADUS_TRACE").is_some_and(|v| v == "1"))
}

/// What a kernel is, its multiply-adds times two, and the bytes it must move.
pub(super) fn describe(kernel: &Kernel) -> (String, f64, usize) {
    let fused = |epilogue: bool| if epilogue { " + map" } else { "" };
    match kernel {
        Kernel::Map(map) => {
            let n = map.shape.numel();
            let bytes = map.inputs.iter().chain(&map.outputs).map(|(_, d)| d.size()).sum::<usize>() * n;
            (format!("map {} ({} in, {} out)", map.shape, map.inputs.len(), map.outputs.len()), 0.0, bytes)
        }
        Kernel::Reduce { shape, axes, inputs, .. } => {
            let bytes = inputs.iter().map(|(_, d)| d.size()).sum::<usize>() * shape.numel();
            let list: Vec<String> =
                (0..shape.rank()).filter(|a| axes >> a & 1 == 1).map(|a| a.to_string()).collect();
            (format!("reduce {shape} over axes {}", list.join(", ")), 0.0, bytes)
        }
        Kernel::Gemm { gemm: g, dtype, more, epilogue, .. } => {
            let (batch, summands) = (g.batches(), more.len() + 1);
            let flops = 2.0 * (batch * g.m * g.n * summands) as f64 * g.k as f64;
            let letter = |strides: [isize; 2]| if strides[1] == 1 || strides[0] == 0 { 'N' } else { 'T' };
            let bytes = dtype.size() * batch * ((g.m + g.n) * g.k * summands + g.m * g.n);
            let layout = format!("{}{}", letter(g.a), letter(g.b));
            let times = if batch == 1 { String::new() } else { format!(" x{batch}") };
            let k = if summands == 1 { g.k.to_string() } else { format!("({summands}*{})", g.k) };
            let text = format!("gemm {layout} {}x{k}x{}{times}{}", g.m, g.n, fused(epilogue.is_some()));
            (text, flops, bytes)
        }
        Kernel::Conv { form, conv: c, dtype, epilogue, .. } => {
            let taps = c.in_channels / c.groups * c.kernel[0] * c.kernel[1];
            let flops = 2.0 * (c.batch * c.out_channels * c.output[0] * c.output[1] * taps) as f64;
            let text = format!(
                "conv {form:?} {}x{}x{}x{} -> {}x{}x{} k{}x{} s{}{}",
                c.batch,
                c.in_channels,
                c.input[0],
                c.input[1],
                c.out_channels,
                c.output[0],
                c.output[1],
                c.kernel[0],
                c.kernel[1],
                c.stride[0],
                fused(epilogue.is_some())
            );
            (text, flops, dtype.size() * (c.x_len() + c.w_len() + c.y_len()))
        }
        Kernel::Copies { zero, dtype, parts, .. } => {
            let n: usize = parts.iter().map(|(shape, ..)| shape.numel()).sum();
            (format!("copy {n}{}", if *zero { " into zeros" } else { "" }), 0.0, 2 * n * dtype.size())
        }
        Kernel::Gather { shape, axis, types, .. } => {
            (format!("gather {shape} axis {axis}"), 0.0, 2 * shape.numel() * types[0].size())
        }
        Kernel::ScatterAdd { shape, axis, types, .. } => {
            (format!("scatter_add {shape} axis {axis}"), 0.0, 2 * shape.numel() * types[0].size())
        }
        Kernel::Fold { shape, dtype, .. } => (format!("fold {shape}"), 0.0, shape.numel() * dtype.size()),
        Kernel::Cumsum { shape, dtype, .. } => {
            (format!("cumsum {shape}"), 0.0, 2 * shape.numel() * dtype.size())
        }
        Kernel::Argsort { shape, dtype, .. } => {
            (format!("argsort {shape}"), 0.0, shape.numel() * dtype.size())
        }
    }
}

/// Notes what one kernel took, and prints it to stderr where that is asked for.
pub(super) fn note(step: &Step, op: &'static str, time: Duration, class: Option<String>) {
    let (kernel, flops, bytes) = describe(&step.kernel);
    if printing() {
        let seconds = time.as_secs_f64().max(1e-9);
        let rate = if flops > 0.0 {
            format!("{:8.1} GFLOP/s", flops / seconds / 1e9)
        } else {
            format!("{:8.1} GB/s", bytes as f64 / seconds / 1e9)
        };
        eprintln!("{:10.1} us {rate:>16}  {op:<12} {kernel}", seconds * 1e6);
    }
    TIMES.with_borrow_mut(|times| {
        if let Some(times) = times {
            times.push(KernelTime { op, kernel, time, flops, bytes: bytes as f64, class });
        }
    });
}
