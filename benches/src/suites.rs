//! The work that other libraries are timed on, too, written with tensors: what a user of the library gets.

use crate::steps::WORKLOADS;
use crate::timing::{Protocol, Timing, on_threads, time};
use gradus::nn::{BatchNorm2d, Param};
use gradus::optim::Adam;
use gradus::{ConvOptions, Result, Rng, Tensor, eval, vjp};

/// The suites' names.
pub const SUITES: [&str; 4] = ["gemm", "conv", "elem", "train"];

/// One call, repeated while it is timed.
pub type Call = Box<dyn FnMut() -> Result<()>>;

/// Something to be timed.
pub struct Work {
    /// Its suite.
    pub suite: &'static str,
    /// Its name within the suite.
    pub name: String,
    /// Multiplications and additions of the definition; 0 where memory is what counts.
    pub flops: f64,
    /// Bytes that must be moved at least; 0 where arithmetic is what counts.
    pub bytes: f64,
    build: Box<dyn Fn() -> Call + Send + Sync>,
}

impl Work {
    /// The call, its operands made on the device of the scope it is asked for in.
    pub fn call(&self) -> Call {
        (self.build)()
    }

    /// Times it on `threads` threads; `None` if it was stopped.
    ///
    /// # Errors
    /// Whatever evaluation can fail with.
    pub fn measure(&self, threads: usize, protocol: &Protocol) -> Result<Option<Timing>> {
        on_threads(threads, || time(protocol, self.call()))
    }

    /// One line of JSON about a measurement.
    pub fn json(&self, implementation: &str, threads: usize, t: &Timing) -> String {
        let Work { suite, name, flops, .. } = self;
        let mut line = format!(
            "{{\"suite\":\"{suite}\",\"name\":\"{name}\",\"impl\":\"{implementation}\",\"threads\":{threads},{},\
             \"flops\":{flops:.6e},\"gflops\":{:.3}",
            t.fields(),
            flops / t.median / 1e9
        );
        if self.bytes > 0.0 {
            line.push_str(&format!(",\"gbps\":{:.3}", self.bytes / t.median / 1e9));
        }
        line + "}"
    }
}

/// The work of a suite; none for a name that is not in [`SUITES`].
pub fn suite(name: &str) -> Vec<Work> {
    match name {
        "gemm" => gemms(),
        "conv" => convs(),
        "elem" => elementwise(),
        "train" => steps(),
        _ => vec![],
    }
}

/// Products C `[m, n]` = A `[m, k]` B `[k, n]`, as (m, k, n): squares, and the shapes of small networks.
pub const GEMMS: [(usize, usize, usize); 13] = [
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
];

/// How A and B are stored: as they are (N) or transposed (T). The forward pass of a layer with a weight
/// `[out, in]` is NT, the gradient of its weight TN.
pub const LAYOUTS: [&str; 3] = ["NN", "NT", "TN"];

/// A convolution over a batch of 64 square images.
#[derive(Clone, Copy)]
pub struct ConvShape {
    /// d: of a discriminator, g: of a generator, c: of a classifier.
    pub name: &'static str,
    /// Whether it is a transposed convolution.
    pub transposed: bool,
    /// Channels of the input and the output.
    pub channels: [usize; 2],
    /// Height and width of the input.
    pub size: usize,
    /// Height and width of the kernel, stride, padding.
    pub walk: [usize; 3],
}

const fn shape(
    name: &'static str,
    transposed: bool,
    channels: [usize; 2],
    size: usize,
    walk: [usize; 3],
) -> ConvShape {
    ConvShape { name, transposed, channels, size, walk }
}

/// The layers of the convolutional GAN for 64x64 pictures, and two of a classifier.
pub const CONVS: [ConvShape; 12] = [
    shape("d1_3-64_k4s2_64", false, [3, 64], 64, [4, 2, 1]),
    shape("d2_64-128_k4s2_32", false, [64, 128], 32, [4, 2, 1]),
    shape("d3_128-256_k4s2_16", false, [128, 256], 16, [4, 2, 1]),
    shape("d4_256-512_k4s2_8", false, [256, 512], 8, [4, 2, 1]),
    shape("d5_512-1_k4s1_4", false, [512, 1], 4, [4, 1, 0]),
    shape("g1_t100-512_k4s1_1", true, [100, 512], 1, [4, 1, 0]),
    shape("g2_t512-256_k4s2_4", true, [512, 256], 4, [4, 2, 1]),
    shape("g3_t256-128_k4s2_8", true, [256, 128], 8, [4, 2, 1]),
    shape("g4_t128-64_k4s2_16", true, [128, 64], 16, [4, 2, 1]),
    shape("g5_t64-3_k4s2_32", true, [64, 3], 32, [4, 2, 1]),
    shape("c3_64-64_k3s1_28", false, [64, 64], 28, [3, 1, 1]),
    shape("c3_64-64_k3s1_56", false, [64, 64], 56, [3, 1, 1]),
];

/// The three products of a convolution.
pub const FORMS: [&str; 3] = ["fwd", "bwd_data", "bwd_weight"];

impl ConvShape {
    /// Images at once.
    pub const BATCH: usize = 64;

    /// Height and width of the output.
    pub fn output(&self) -> usize {
        let [k, s, p] = self.walk;
        if self.transposed { (self.size - 1) * s + k - 2 * p } else { (self.size + 2 * p - k) / s + 1 }
    }

    /// Multiplications and additions of the direct algorithm, the same for all three forms.
    pub fn flops(&self) -> f64 {
        let side = if self.transposed { self.size } else { self.output() };
        let [i, o] = self.channels;
        2.0 * (ConvShape::BATCH * i * o * self.walk[0].pow(2) * side * side) as f64
    }
}

/// Uniform between -0.5 and 0.5.
fn random(seed: u64, shape: &[usize]) -> Tensor {
    Rng::seed(seed).uniform(shape) - 0.5
}

/// Leaves with values, for use by a call.
fn leaves<const N: usize>(tensors: [Tensor; N]) -> [Tensor; N] {
    // An error would come again, and be reported, in the call.
    let _ = eval(&tensors);
    tensors
}

fn gemms() -> Vec<Work> {
    let mut all = Vec::new();
    for (m, k, n) in GEMMS {
        for layout in LAYOUTS {
            let build = move || -> Call {
                let (ta, tb) = (layout.starts_with('T'), layout.ends_with('T'));
                let stored = |seed, transposed, [rows, cols]: [usize; 2]| {
                    random(seed, &if transposed { [cols, rows] } else { [rows, cols] })
                };
                let [a, b] = leaves([stored(1, ta, [m, k]), stored(2, tb, [k, n])]);
                let seen = |x: &Tensor, transposed| if transposed { x.t() } else { x.clone() };
                Box::new(move || seen(&a, ta).matmul(&seen(&b, tb)).eval())
            };
            let name = format!("{layout}_{m}x{k}x{n}");
            let flops = 2.0 * (m * k * n) as f64;
            all.push(Work { suite: "gemm", name, flops, bytes: 0.0, build: Box::new(build) });
        }
    }
    all
}

fn convs() -> Vec<Work> {
    let mut all = Vec::new();
    for c in CONVS {
        for form in FORMS {
            let build = move || -> Call {
                let [i, o] = c.channels;
                let [k, s, p] = c.walk;
                let (n, out) = (ConvShape::BATCH, c.output());
                let weight = if c.transposed { [i, o, k, k] } else { [o, i, k, k] };
                let [x, w, dy] = leaves([
                    random(1, &[n, i, c.size, c.size]),
                    random(2, &weight) * 0.1,
                    random(3, &[n, o, out, out]),
                ]);
                let options = ConvOptions::default().stride(s).padding(p);
                let y = move |x: &Tensor, w: &Tensor| match c.transposed {
                    true => x.conv_transpose2d(w, options),
                    false => x.conv2d(w, options),
                };
                let gradient = move |x: &Tensor, w: &Tensor, of: &Tensor| {
                    vjp(&y(x, w), &[of], &dy).into_iter().flatten().try_for_each(|g| g.eval())
                };
                match form {
                    "fwd" => Box::new(move || y(&x, &w).eval()),
                    "bwd_data" => Box::new(move || gradient(&x, &w, &x)),
                    _ => Box::new(move || gradient(&x, &w, &w)),
                }
            };
            let name = format!("{form}_{}", c.name);
            all.push(Work { suite: "conv", name, flops: c.flops(), bytes: 0.0, build: Box::new(build) });
        }
    }
    all
}

/// Elements of the large operands.
const LARGE: usize = 1 << 24;

fn elementwise() -> Vec<Work> {
    let work = |name: &str, bytes: f64, build: Box<dyn Fn() -> Call + Send + Sync>| Work {
        suite: "elem",
        name: name.into(),
        flops: 0.0,
        bytes,
        build,
    };
    let mib = |n: f64| n * 1024.0 * 1024.0;
    let of_one = |name, operands: f64, f: fn(&Tensor) -> Tensor, shape: &'static [usize]| {
        let build = move || -> Call {
            let [x] = leaves([random(1, shape) * 6.0]);
            Box::new(move || f(&x).eval())
        };
        work(name, operands * 4.0 * shape.iter().product::<usize>() as f64, Box::new(build))
    };
    let add = || -> Call {
        let [x, y] = leaves([random(1, &[LARGE]) * 6.0, random(2, &[LARGE]) * 6.0]);
        Box::new(move || (&x + &y).eval())
    };
    vec![
        work("add_16M", 3.0 * mib(64.0), Box::new(add)),
        of_one("leaky_relu_16M", 2.0, |x| x.leaky_relu(0.2), &[LARGE]),
        of_one("gelu_erf_16M", 2.0, Tensor::gelu, &[LARGE]),
        of_one("gelu_tanh_16M", 2.0, Tensor::gelu_tanh, &[LARGE]),
        of_one("tanh_16M", 2.0, Tensor::tanh, &[LARGE]),
        of_one("sigmoid_16M", 2.0, Tensor::sigmoid, &[LARGE]),
        of_one("exp_16M", 2.0, Tensor::exp, &[LARGE]),
        of_one("sum_all_16M", 1.0, |x| x.sum(..), &[4096, 4096]),
        of_one("sum_axis0_4096x4096", 1.0, |x| x.sum(0), &[4096, 4096]),
        of_one("sum_axis1_4096x4096", 1.0, |x| x.sum(1), &[4096, 4096]),
        of_one("softmax_4096x1024", 2.0, |x| x.softmax(1), &[4096, 1024]),
        work("adam_10M", 7.0 * 4e7, Box::new(adam)),
        work("bn_fwd_64x128x32x32", 3.0 * mib(32.0), Box::new(|| batch_norm(false))),
        work("bn_fwdbwd_64x128x32x32", 8.0 * mib(32.0), Box::new(|| batch_norm(true))),
    ]
}

fn adam() -> Call {
    let [p, g] = leaves([random(1, &[10_000_000]), random(2, &[10_000_000]) * 1e-3]);
    let mut opt = Adam::new(vec![("p".into(), Param::new(p))], 1e-3);
    Box::new(move || opt.step_with(std::slice::from_ref(&g)))
}

/// Batch normalization in training with its running statistics; with the gradients of x, weight and bias, too.
fn batch_norm(backward: bool) -> Call {
    let [x, dy] = leaves([random(1, &[64, 128, 32, 32]), random(2, &[64, 128, 32, 32])]);
    let layer = BatchNorm2d::new(128);
    Box::new(move || {
        let y = layer.forward(&x);
        let running = [&layer.running_mean, &layer.running_var, &layer.num_batches_tracked].map(Param::get);
        let mut all = vec![y.clone()];
        all.extend(running);
        if backward {
            let params: Vec<Tensor> =
                [&layer.weight, &layer.bias].into_iter().flatten().map(Param::get).collect();
            all.extend(vjp(&y, &[&x, &params[0], &params[1]], &dy).into_iter().flatten());
        }
        eval(&all)
    })
}

fn steps() -> Vec<Work> {
    WORKLOADS
        .iter()
        .map(|w| Work {
            suite: "train",
            name: w.name.into(),
            flops: w.flops,
            bytes: 0.0,
            build: Box::new(|| (w.build)(&mut Rng::seed(0))),
        })
        .collect()
}
