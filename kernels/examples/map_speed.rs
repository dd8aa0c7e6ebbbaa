//! Pointwise programs and reductions beside the copy bandwidth of this machine.
//!
//! `cargo run --release -p gradus-kernels --example map_speed [name]`; `RAYON_NUM_THREADS=1` for one thread.
//! GB/s count every operand once: what is read plus what is written.

use std::time::Instant;

use gradus_kernels::program::{Binary, Instr, Program, Random, Unary};
use gradus_kernels::reduce::Reduction;
use gradus_kernels::{DType, MAX_RANK, RawView, contiguous, huge, par, pointwise, reduce, simd};

const F: DType = DType::F32;

/// The shortest of several runs, in seconds.
fn time(mut f: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    let begin = Instant::now();
    for _ in 0..200 {
        let start = Instant::now();
        f();
        best = best.min(start.elapsed().as_secs_f64());
        if begin.elapsed().as_secs_f64() > 0.4 {
            break;
        }
    }
    best
}

fn report(name: &str, bytes: usize, seconds: f64) {
    println!("{name:<44} {:>9.1} us {:>8.2} GB/s", seconds * 1e6, bytes as f64 / seconds / 1e9);
}

fn view(x: &mut [f32], shape: &[usize]) -> RawView {
    RawView { ptr: x.as_mut_ptr().cast(), strides: contiguous(shape) }
}

fn with_strides(x: &mut [f32], strides: &[isize]) -> RawView {
    let mut all = [0; MAX_RANK];
    all[..strides.len()].copy_from_slice(strides);
    RawView { ptr: x.as_mut_ptr().cast(), strides: all }
}

/// Numbers in huge pages, from the beginning of one on, as the buffers of the engine are.
struct Numbers {
    memory: Vec<f32>,
    first: usize,
}

impl std::ops::Deref for Numbers {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        &self.memory[self.first..]
    }
}

impl std::ops::DerefMut for Numbers {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.memory[self.first..]
    }
}

fn numbers(n: usize) -> Numbers {
    let mut memory: Vec<f32> = Vec::with_capacity(n + huge::PAGE / 4);
    let first = memory.as_ptr().align_offset(huge::PAGE);
    let start = std::ptr::NonNull::new(memory.as_mut_ptr().wrapping_add(first)).expect("what was allocated");
    // SAFETY: part of the allocation, from the beginning of a page on.
    unsafe { huge::prefer(start.cast(), 4 * n) };
    memory.resize(first, 0.0);
    memory.extend((0..n).map(|i| (i * 7919 % 10007) as f32 * 1e-3 - 5.0));
    Numbers { memory, first }
}

fn unary(op: Unary) -> Program {
    Program { code: vec![(Instr::Input(0), F), (Instr::Unary(op, 0), F)], outputs: vec![1] }
}

fn binary(op: Binary) -> Program {
    let code = vec![(Instr::Input(0), F), (Instr::Input(1), F), (Instr::Binary(op, 0, 1), F)];
    Program { code, outputs: vec![2] }
}

fn copies(wanted: &dyn Fn(&str) -> bool) {
    if !wanted("copy") {
        return;
    }
    let n = 1 << 24;
    let (a, mut b) = (numbers(n), numbers(n));
    let (pa, pb) = (a.as_ptr() as usize, b.as_mut_ptr() as usize);
    let piece = n / 64;
    let seconds = time(|| {
        par::for_each(64, |k| {
            // SAFETY: piece k lies within both, and is no other task's.
            unsafe {
                std::ptr::copy_nonoverlapping(
                    (pa as *const f32).add(k * piece),
                    (pb as *mut f32).add(k * piece),
                    piece,
                )
            }
        })
    });
    report("copy 16M (memcpy)", 8 * n, seconds);
}

fn maps(wanted: &dyn Fn(&str) -> bool) {
    let n = 1 << 24;
    let (mut x, mut y, mut z) = (numbers(n), numbers(n), numbers(n));
    let (x, y, z) = (view(&mut x, &[n]), view(&mut y, &[n]), view(&mut z, &[n]));
    use Unary::*;
    for op in
        [Neg, Relu, Recip, Sqrt, Rsqrt, Floor, Exp, Expm1, Log, Log1p, Sin, Cos, Tanh, Sigmoid, Softplus, Erf]
    {
        let name = format!("{op:?} 16M");
        if wanted(&name) {
            let kernel = pointwise::Kernel::new(&unary(op));
            // SAFETY: all operands have n elements.
            report(&name, 8 * n, time(|| unsafe { kernel.run(&[n], &[x], &[z], &[]) }));
        }
    }
    for op in [Binary::Add, Binary::Div, Binary::Pow] {
        let name = format!("{op:?} 16M");
        if wanted(&name) {
            let kernel = pointwise::Kernel::new(&binary(op));
            // SAFETY: as above.
            report(&name, 12 * n, time(|| unsafe { kernel.run(&[n], &[x, y], &[z], &[]) }));
        }
    }
    for kind in [Random::Uniform, Random::Normal] {
        let name = format!("{kind:?} 16M");
        if wanted(&name) {
            let code = vec![(Instr::Random { kind, seed: 0, draw: 1 }, F)];
            let kernel = pointwise::Kernel::new(&Program { code, outputs: vec![0] });
            // SAFETY: as above.
            report(&name, 4 * n, time(|| unsafe { kernel.run(&[n], &[], &[z], &[1, 2]) }));
        }
    }
    if wanted("gelu") {
        let kernel = pointwise::Kernel::new(&gelu());
        let params = [0.5f64.to_bits(), 0.5f64.sqrt().to_bits(), 1f64.to_bits()];
        // SAFETY: as above.
        report("gelu (erf) 16M", 8 * n, time(|| unsafe { kernel.run(&[n], &[x], &[z], &params) }));
    }
}

/// `x (erf(x / sqrt(2)) + 1) 0.5`.
fn gelu() -> Program {
    let code = vec![
        (Instr::Input(0), F),
        (Instr::Param(0), F),
        (Instr::Param(1), F),
        (Instr::Param(2), F),
        (Instr::Binary(Binary::Mul, 0, 2), F),
        (Instr::Unary(Unary::Erf, 4), F),
        (Instr::Binary(Binary::Add, 5, 3), F),
        (Instr::Binary(Binary::Mul, 0, 6), F),
        (Instr::Binary(Binary::Mul, 7, 1), F),
    ];
    Program { code, outputs: vec![8] }
}

/// `m = b1 m + c1 g; v = b2 v + g g c2; p = p - s m / (c sqrt(v) + eps)` with inputs m, v, p, g.
fn adam() -> Program {
    let mut code: Vec<_> = (0..4).map(|k| (Instr::Input(k), F)).collect();
    code.extend((0..7).map(|k| (Instr::Param(k), F)));
    let binary = [
        (Binary::Mul, 0, 4),
        (Binary::Mul, 3, 5),
        (Binary::Add, 11, 12), // m
        (Binary::Mul, 1, 6),
        (Binary::Mul, 3, 3),
        (Binary::Mul, 15, 7),
        (Binary::Add, 14, 16), // v
    ];
    code.extend(binary.map(|(op, a, b)| (Instr::Binary(op, a, b), F)));
    code.push((Instr::Unary(Unary::Sqrt, 17), F));
    let binary = [
        (Binary::Mul, 18, 10),
        (Binary::Add, 19, 9),
        (Binary::Mul, 13, 8),
        (Binary::Div, 21, 20),
        (Binary::Sub, 2, 22),
    ];
    code.extend(binary.map(|(op, a, b)| (Instr::Binary(op, a, b), F)));
    Program { code, outputs: vec![13, 17, 23] }
}

fn adams(wanted: &dyn Fn(&str) -> bool) {
    let hyper = [0.9f32, 0.1, 0.999, 0.001, 1e-3, 1e-8, 1.5];
    let params = hyper.map(|x| (x as f64).to_bits());
    for n in [10_000_000usize, 100_000] {
        if !wanted("adam") {
            return;
        }
        let mut state: Vec<Numbers> = (0..4).map(|_| numbers(n)).collect();
        state[1].iter_mut().for_each(|v| *v = v.abs());
        let views: Vec<RawView> = state.iter_mut().map(|x| view(x, &[n])).collect();
        let kernel = pointwise::Kernel::new(&adam());
        // SAFETY: all operands have n elements; outputs are exactly inputs.
        let seconds = time(|| unsafe { kernel.run(&[n], &views, &views[..3], &params) });
        report(&format!("adam {n}, fused program, in place"), 28 * n, seconds);
        let at: Vec<usize> = views.iter().map(|v| v.ptr as usize).collect();
        let pieces = n.div_ceil(1 << 16);
        let seconds = time(|| {
            par::for_each(pieces, |k| {
                let range = k << 16..((k + 1) << 16).min(n);
                let part = |i: usize| {
                    // SAFETY: the range lies within the state, and is no other task's.
                    unsafe {
                        std::slice::from_raw_parts_mut((at[i] as *mut f32).add(range.start), range.len())
                    }
                };
                adam_by_hand(part(0), part(1), part(2), part(3), hyper);
            })
        });
        report(&format!("adam {n}, loop by hand"), 28 * n, seconds);
    }
}

fn adam_by_hand(m: &mut [f32], v: &mut [f32], p: &mut [f32], g: &[f32], hyper: [f32; 7]) {
    let [b1, c1, b2, c2, s, eps, c] = hyper;
    for (((m, v), p), g) in m.iter_mut().zip(v).zip(p).zip(g) {
        *m = b1 * *m + c1 * g;
        *v = b2 * *v + c2 * (g * g);
        *p -= s * *m / (v.sqrt() * c + eps);
    }
}

fn shapes(wanted: &dyn Fn(&str) -> bool) {
    let cases: [(&str, &[usize], &[isize]); 7] = [
        ("bias 128x1024 row", &[128, 1024], &[0, 1]),
        ("bias 20000x10 row", &[20000, 10], &[0, 1]),
        ("channel 64x64x784", &[64, 64, 784], &[0, 1, 0]),
        ("channel 128x128x49", &[128, 128, 49], &[0, 1, 0]),
        ("rows 4096x28 column", &[4096, 28], &[1, 0]),
        ("channel 4096x32x7", &[4096, 32, 7], &[0, 1, 0]),
        ("transposed 2048x2048", &[2048, 2048], &[1, 2048]),
    ];
    for (name, shape, strides) in cases {
        if !wanted(name) {
            continue;
        }
        let n: usize = shape.iter().product();
        let (mut x, mut y, mut z) = (numbers(n), numbers(n), numbers(n));
        let (x, y, z) = (view(&mut x, shape), with_strides(&mut y, strides), view(&mut z, shape));
        let kernel = pointwise::Kernel::new(&binary(Binary::Add));
        let bytes = if name.starts_with('t') { 12 * n } else { 8 * n };
        // SAFETY: the operands have n elements, or fewer where broadcast.
        report(&format!("add {name}"), bytes, time(|| unsafe { kernel.run(shape, &[x, y], &[z], &[]) }));
    }
    if wanted("copy transposed") {
        let shape = [4096, 4096];
        let (mut x, mut z) = (numbers(1 << 24), numbers(1 << 24));
        let (x, z) = (with_strides(&mut x, &[1, 4096]), view(&mut z, &shape));
        let kernel = pointwise::Kernel::new(&Program { code: vec![(Instr::Input(0), F)], outputs: vec![0] });
        // SAFETY: both have 2^24 elements.
        report("copy transposed 4096x4096", 8 << 24, time(|| unsafe { kernel.run(&shape, &[x], &[z], &[]) }));
    }
}

/// `max((x - mean) scale w + b, 0)` with operands of channels, into another tensor and in place.
fn norms(wanted: &dyn Fn(&str) -> bool) {
    let mut code: Vec<_> = (0..5).map(|k| (Instr::Input(k), F)).collect();
    let rest = [
        Instr::Binary(Binary::Sub, 0, 1),
        Instr::Binary(Binary::Mul, 5, 2),
        Instr::Binary(Binary::Mul, 6, 3),
        Instr::Binary(Binary::Add, 7, 4),
        Instr::Unary(Unary::Relu, 8),
    ];
    code.extend(rest.map(|instr| (instr, F)));
    let kernel = pointwise::Kernel::new(&Program { code, outputs: vec![9] });
    for [rows, channels, plane] in [[1, 128, 1024], [2, 128, 784], [8, 64, 196], [16, 128, 49]] {
        let shape = [rows, channels, plane];
        let n: usize = shape.iter().product();
        let name = format!("norm {rows}x{channels}x{plane}");
        if !wanted(&name) {
            continue;
        }
        let (mut x, mut z) = (numbers(n), numbers(n));
        let mut of_channels: Vec<Numbers> = (0..4).map(|_| numbers(channels)).collect();
        let mut views = vec![view(&mut x, &shape)];
        views.extend(of_channels.iter_mut().map(|y| with_strides(y, &[0, 1, 0])));
        let z = view(&mut z, &shape);
        // SAFETY: the operands have n elements, or as many as there are channels.
        report(&name, 8 * n, time(|| unsafe { kernel.run(&shape, &views, &[z], &[]) }));
        let to = [views[0]];
        // SAFETY: as above; the result is exactly an operand.
        let seconds = time(|| unsafe { kernel.run(&shape, &views, &to, &[]) });
        report(&format!("{name} in place"), 8 * n, seconds);
    }
}

fn reductions(wanted: &dyn Fn(&str) -> bool) {
    let cases: [(&str, &[usize], u32); 9] = [
        ("all 16M", &[1 << 24], 1),
        ("rows 4096x4096", &[4096, 4096], 2),
        ("columns 4096x4096", &[4096, 4096], 1),
        ("columns 128x1024", &[128, 1024], 1),
        ("rows 128x1024", &[128, 1024], 2),
        ("rows 100000x10", &[100_000, 10], 2),
        ("columns 100000x10", &[100_000, 10], 1),
        ("batch norm 64x64x784", &[64, 64, 784], 0b101),
        ("batch norm 128x128x49", &[128, 128, 49], 0b101),
    ];
    for (name, shape, axes) in cases {
        let n: usize = shape.iter().product();
        let (mut x, mut out) = (numbers(n), numbers(n));
        let (x, out) = (view(&mut x, shape), out.as_mut_ptr().cast::<u8>());
        for reduction in [Reduction::Sum, Reduction::Max, Reduction::ArgMax] {
            let name = format!("{reduction:?} {name}");
            if wanted(&name) {
                let program = Program { code: vec![(Instr::Input(0), F)], outputs: vec![0] };
                let kernel = reduce::Kernel::new(&program, reduction);
                // SAFETY: the input has n elements, and the output no more.
                report(&name, 4 * n, time(|| unsafe { kernel.run(shape, axes, &[x], out, &[]) }));
            }
        }
    }
}

fn main() {
    let filter = std::env::args().nth(1).unwrap_or_default();
    let wanted = |name: &str| name.to_lowercase().contains(&filter.to_lowercase());
    println!("{:?}, {} threads", simd::level(), par::threads());
    copies(&wanted);
    maps(&wanted);
    adams(&wanted);
    shapes(&wanted);
    norms(&wanted);
    reductions(&wanted);
}
