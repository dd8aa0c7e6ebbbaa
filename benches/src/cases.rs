//! The kernels alone, on slices, each beside the loop that one would write first.
//!
//! The slow loops need not do all of the work: a case says which part of it its naive form does, and the rate is what
//! is compared.

use crate::suites::{CONVS, ConvShape, FORMS, GEMMS, LAYOUTS};
use gradus::kernels::conv::{self, Conv};
use gradus::kernels::gemm::{self, Gemm};
use gradus::kernels::pointwise::{self, Slice, SliceMut};
use gradus::kernels::program::{Binary, Instr, Program, Unary};
use gradus::kernels::reduce::{self, Reduction};
use gradus::kernels::{DType, naive};

/// One call.
pub type Run = Box<dyn FnMut() + Send>;

/// What a call costs at least.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Work {
    /// Multiplications and additions.
    Flops(f64),
    /// Bytes moved.
    Bytes(f64),
}

/// A kernel at one size.
pub struct Case {
    /// gemm, conv, map or reduce.
    pub kernel: &'static str,
    /// Its name within the kernel.
    pub name: String,
    /// What it costs.
    pub work: Work,
    /// Whether it belongs to the few that give a first impression.
    pub quick: bool,
    fast: Box<dyn Fn() -> Run + Send + Sync>,
    naive: Box<dyn Fn() -> (Run, f64) + Send + Sync>,
}

impl Case {
    /// The kernel, its operands at hand. It runs at the level and with the threads of the time when it is called.
    pub fn fast(&self) -> Run {
        (self.fast)()
    }

    /// The plain loop, and which part of the work it does.
    pub fn naive(&self) -> (Run, f64) {
        (self.naive)()
    }
}

/// The kernels' names.
pub const KERNELS: [&str; 4] = ["gemm", "conv", "map", "reduce"];

/// All cases of a kernel; none for a name that is not in [`KERNELS`].
pub fn cases(kernel: &str) -> Vec<Case> {
    match kernel {
        "gemm" => gemms(),
        "conv" => convs(),
        "map" => maps(),
        "reduce" => reductions(),
        _ => vec![],
    }
}

/// Floating-point operations that a naive product is given.
const NAIVE_FLOPS: f64 = 2e7;

/// Which of `n` equal parts of a work of `flops` the naive loop does.
fn part(n: usize, flops: f64) -> usize {
    ((NAIVE_FLOPS / flops * n as f64) as usize).clamp(1, n)
}

/// Ordinary numbers from -1 to 1.
fn numbers(n: usize) -> Vec<f32> {
    (0..n).map(|i| ((i * 7919) % 1009) as f32 / 504.5 - 0.999).collect()
}

fn gemms() -> Vec<Case> {
    let mut all = Vec::new();
    for (m, k, n) in GEMMS {
        for layout in LAYOUTS {
            let product = move |m: usize, all_m: usize| Gemm {
                m,
                n,
                k,
                a: if layout.starts_with('T') { [1, all_m as isize] } else { [k as isize, 1] },
                b: if layout.ends_with('T') { [1, k as isize] } else { [n as isize, 1] },
                batch: vec![],
            };
            let flops = 2.0 * (m * n * k) as f64;
            let fast = move || -> Run {
                let (g, a, b, mut c) = (product(m, m), numbers(m * k), numbers(k * n), vec![0f32; m * n]);
                Box::new(move || gemm::gemm(&g, &a, &b, &mut c))
            };
            let naive = move || -> (Run, f64) {
                let rows = part(m, flops);
                let (g, a, b, mut c) =
                    (product(rows, m), numbers(m * k), numbers(k * n), vec![0f32; rows * n]);
                (Box::new(move || naive::gemm::gemm(&g, &a, &b, &mut c)), rows as f64 / m as f64)
            };
            let quick = layout == "NN" && m == n && n == k && m >= 128;
            all.push(Case {
                kernel: "gemm",
                name: format!("{layout} {m}x{k}x{n}"),
                work: Work::Flops(flops),
                quick,
                fast: Box::new(fast),
                naive: Box::new(naive),
            });
        }
    }
    all
}

/// The geometry of a shape, and the form of a plain convolution that computes the given form of it: a transposed
/// convolution is the input gradient of a plain one.
fn geometry(shape: &ConvShape, form: &'static str, batch: usize) -> (Conv, &'static str) {
    let [k, s, p] = shape.walk;
    let ([i, o], [small, large]) = match shape.transposed {
        false => (shape.channels, [shape.output(), shape.size]),
        true => ([shape.channels[1], shape.channels[0]], [shape.size, shape.output()]),
    };
    let c = Conv {
        batch,
        groups: 1,
        in_channels: i,
        out_channels: o,
        input: [large; 2],
        kernel: [k; 2],
        output: [small; 2],
        stride: [s; 2],
        padding: [p; 2],
        dilation: [1; 2],
    };
    let form = match (shape.transposed, form) {
        (true, "fwd") => "bwd_data",
        (true, "bwd_data") => "fwd",
        _ => form,
    };
    (c, form)
}

fn convs() -> Vec<Case> {
    let mut all = Vec::new();
    for shape in CONVS {
        for name in FORMS {
            let flops = shape.flops();
            let fast = move || -> Run {
                let (c, form) = geometry(&shape, name, ConvShape::BATCH);
                let (mut x, mut w, mut y) = (numbers(c.x_len()), numbers(c.w_len()), numbers(c.y_len()));
                match form {
                    "fwd" => Box::new(move || conv::conv(&c, &x, &w, &mut y)),
                    "bwd_data" => Box::new(move || conv::conv_input(&c, &y, &w, &mut x)),
                    _ => Box::new(move || conv::conv_weight(&c, &x, &y, &mut w)),
                }
            };
            let naive = move || -> (Run, f64) {
                let images = part(ConvShape::BATCH, flops);
                let (c, form) = geometry(&shape, name, images);
                let (mut x, mut w, mut y) = (numbers(c.x_len()), numbers(c.w_len()), numbers(c.y_len()));
                let run: Run = match form {
                    "fwd" => Box::new(move || naive::conv::forward(&c, &x, &w, &mut y)),
                    "bwd_data" => Box::new(move || naive::conv::input_grad(&c, &y, &w, &mut x)),
                    _ => Box::new(move || naive::conv::weight_grad(&c, &x, &y, &mut w)),
                };
                (run, images as f64 / ConvShape::BATCH as f64)
            };
            let quick = name == "fwd" && ["d1", "d3", "g3", "c3"].contains(&&shape.name[..2]);
            all.push(Case {
                kernel: "conv",
                name: format!("{name} {}", shape.name.replace('_', " ")),
                work: Work::Flops(flops),
                quick,
                fast: Box::new(fast),
                naive: Box::new(naive),
            });
        }
    }
    all
}

const F: DType = DType::F32;

/// `f(x)` of one input.
fn unary(op: Unary) -> Program {
    Program { code: vec![(Instr::Input(0), F), (Instr::Unary(op, 0), F)], outputs: vec![1] }
}

/// `x + y`.
fn add() -> Program {
    let code = vec![(Instr::Input(0), F), (Instr::Input(1), F), (Instr::Binary(Binary::Add, 0, 1), F)];
    Program { code, outputs: vec![2] }
}

/// `x (1 + tanh(sqrt(2/π) (x + 0.044715 x³))) / 2`, with the four numbers as parameters.
fn gelu() -> Program {
    let mut code = vec![(Instr::Input(0), F)];
    code.extend((0..4).map(|k| (Instr::Param(k), F)));
    let mut push = |instr| code.push((instr, F));
    push(Instr::Binary(Binary::Mul, 0, 0));
    push(Instr::Binary(Binary::Mul, 5, 0));
    push(Instr::Binary(Binary::Mul, 6, 2));
    push(Instr::Binary(Binary::Add, 0, 7));
    push(Instr::Binary(Binary::Mul, 8, 3));
    push(Instr::Unary(Unary::Tanh, 9));
    push(Instr::Binary(Binary::Add, 10, 4));
    push(Instr::Binary(Binary::Mul, 0, 11));
    push(Instr::Binary(Binary::Mul, 12, 1));
    Program { code, outputs: vec![13] }
}

/// The numbers of [`gelu`].
const GELU: [f64; 4] = [0.5, 0.044715, 0.797_884_560_802_865_4, 1.0];

/// A pointwise function: its name, program, how many inputs, and what it does to one element with what Rust has.
type Pointwise = (&'static str, fn() -> Program, usize, fn(f32, f32) -> f32);

const POINTWISE: [Pointwise; 7] = [
    ("add", add, 2, |x, y| x + y),
    ("relu", || unary(Unary::Relu), 1, |x, _| x.max(0.0)),
    ("exp", || unary(Unary::Exp), 1, |x, _| x.exp()),
    ("log", || unary(Unary::Log), 1, |x, _| x.ln()),
    ("tanh", || unary(Unary::Tanh), 1, |x, _| x.tanh()),
    ("sigmoid", || unary(Unary::Sigmoid), 1, |x, _| 1.0 / (1.0 + (-x).exp())),
    ("gelu", gelu, 1, |x, _| 0.5 * x * (1.0 + (0.797_884_6 * (x + 0.044715 * x * x * x)).tanh())),
];

/// Elements: what fits in the first cache, in the second, and in none.
const SIZES: [(usize, &str); 3] = [(1 << 11, "2K"), (1 << 16, "64K"), (1 << 24, "16M")];

fn maps() -> Vec<Case> {
    let mut all = Vec::new();
    for (name, program, inputs, plain) in POINTWISE {
        for (n, size) in SIZES {
            let operands = move || (numbers(n), numbers(n), vec![0f32; n]);
            let fast = move || -> Run {
                let (kernel, (x, y, mut z)) = (pointwise::Kernel::new(&program()), operands());
                let params = GELU.map(f64::to_bits);
                Box::new(move || {
                    let all = [(Slice::F32(&x), &[1usize][..]), (Slice::F32(&y), &[1])];
                    kernel.run_slices(&[n], &all[..inputs], &mut [SliceMut::F32(&mut z)], &params);
                })
            };
            let naive = move || -> (Run, f64) {
                let (x, y, mut z) = operands();
                let run = move || {
                    for i in 0..n {
                        z[i] = plain(x[i], y[i]);
                    }
                    std::hint::black_box(&z);
                };
                (Box::new(run), 1.0)
            };
            all.push(Case {
                kernel: "map",
                name: format!("{name} {size}"),
                work: Work::Bytes(4.0 * ((inputs + 1) * n) as f64),
                quick: n == 1 << 24 && ["add", "tanh", "gelu"].contains(&name),
                fast: Box::new(fast),
                naive: Box::new(naive),
            });
        }
    }
    all
}

/// Shapes to reduce, and the axes, as a mask: everything, rows, columns, and the channels of pictures.
const REDUCED: [(&str, [usize; 3], u32); 5] = [
    ("all of 16M", [1, 1, 1 << 24], 0b111),
    ("rows of 4096x4096", [1, 4096, 4096], 0b100),
    ("columns of 4096x4096", [1, 4096, 4096], 0b010),
    ("rows of 128x784", [1, 128, 784], 0b100),
    ("channels of 64x128x1024", [64, 128, 1024], 0b101),
];

fn reductions() -> Vec<Case> {
    let mut all = Vec::new();
    for (place, shape, axes) in REDUCED {
        for (reduction, word) in [(Reduction::Sum, "sum"), (Reduction::Max, "max")] {
            let n: usize = shape.iter().product();
            let kept = move |axis: usize| if axes & (1 << axis) == 0 { shape[axis] } else { 1 };
            let out = kept(0) * kept(1) * kept(2);
            let fast = move || -> Run {
                let program = Program { code: vec![(Instr::Input(0), F)], outputs: vec![0] };
                let (kernel, x) = (reduce::Kernel::new(&program, reduction), numbers(n));
                let (strides, mut y) = ([shape[1] * shape[2], shape[2], 1], vec![0f32; out]);
                Box::new(move || {
                    let input = [(Slice::F32(&x), &strides[..])];
                    kernel.run_slices(&shape, axes, &input, &mut SliceMut::F32(&mut y), &[]);
                })
            };
            let naive = move || -> (Run, f64) {
                let (x, mut y) = (numbers(n), vec![0f32; out]);
                // How far the place of the result moves along each axis.
                let step = |axis: usize, by: usize| if axes & (1 << axis) == 0 { by } else { 0 };
                let steps = [step(0, kept(1) * kept(2)), step(1, kept(2)), step(2, 1)];
                let run = move || {
                    y.fill(if reduction == Reduction::Sum { 0.0 } else { f32::NEG_INFINITY });
                    plain_reduction(&x, shape, steps, &mut y, reduction);
                    std::hint::black_box(&y);
                };
                (Box::new(run), 1.0)
            };
            all.push(Case {
                kernel: "reduce",
                name: format!("{word} {place}"),
                work: Work::Bytes(4.0 * n as f64),
                quick: word == "sum" && n == 1 << 24,
                fast: Box::new(fast),
                naive: Box::new(naive),
            });
        }
    }
    all
}

/// Three loops over x `shape`, each element into the place in y that `steps` say.
fn plain_reduction(x: &[f32], shape: [usize; 3], steps: [usize; 3], y: &mut [f32], reduction: Reduction) {
    let mut values = x.iter();
    for i in 0..shape[0] {
        for j in 0..shape[1] {
            for k in 0..shape[2] {
                let Some(&x) = values.next() else { return };
                let y = &mut y[i * steps[0] + j * steps[1] + k * steps[2]];
                *y = if reduction == Reduction::Sum { *y + x } else { y.max(x) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_cases_apart_and_parts_are_parts() {
        for kernel in KERNELS {
            let all = cases(kernel);
            let names: std::collections::BTreeSet<&str> = all.iter().map(|c| c.name.as_str()).collect();
            assert_eq!(names.len(), all.len(), "{kernel}");
            assert!(all.iter().any(|c| c.quick) && all.iter().any(|c| !c.quick));
        }
        assert_eq!((part(64, 1e9), part(64, 1e6), part(1, 1e12)), (1, 64, 1));
    }

    #[test]
    fn plain_reductions_agree_with_the_kernel() {
        let x: Vec<f32> = (0..24).map(|i| i as f32).collect();
        let mut columns = [0.0; 4];
        plain_reduction(&x, [1, 6, 4], [0, 0, 1], &mut columns, Reduction::Sum);
        assert_eq!(columns, [60.0, 66.0, 72.0, 78.0]);
        let mut channels = [f32::NEG_INFINITY; 2];
        plain_reduction(&x, [3, 2, 4], [0, 1, 0], &mut channels, Reduction::Max);
        assert_eq!(channels, [19.0, 23.0]);
    }
}
