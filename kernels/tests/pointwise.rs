//! `Map` against its plain loop: every instruction, type and instruction-set level, over shapes and layouts.

mod buffers;

use std::sync::Mutex;

use buffers::{ALL, Buffer, Layout, Words, assert_close};
use gradus_kernels::pointwise::{Kernel, Slice, SliceMut, Traffic};
use gradus_kernels::program::{Binary, Instr, Program, Random, Unary};
use gradus_kernels::simd::{self, Level};
use gradus_kernels::{DType, RawView, contiguous, naive};

const TYPES: [DType; 5] = [DType::F32, DType::F64, DType::I32, DType::U32, DType::Bool];
const FLOATS: [DType; 2] = [DType::F32, DType::F64];
const UNARY: [Unary; 21] = [
    Unary::Neg,
    Unary::Abs,
    Unary::Sign,
    Unary::Floor,
    Unary::Ceil,
    Unary::Round,
    Unary::Trunc,
    Unary::Recip,
    Unary::Sqrt,
    Unary::Rsqrt,
    Unary::Exp,
    Unary::Expm1,
    Unary::Log,
    Unary::Log1p,
    Unary::Sin,
    Unary::Cos,
    Unary::Tanh,
    Unary::Sigmoid,
    Unary::Softplus,
    Unary::Relu,
    Unary::Erf,
];
const BINARY: [Binary; 11] = [
    Binary::Add,
    Binary::Sub,
    Binary::Mul,
    Binary::Div,
    Binary::Pow,
    Binary::Max,
    Binary::Min,
    Binary::Eq,
    Binary::Ne,
    Binary::Lt,
    Binary::Le,
];

/// The layouts in which no two elements share a place.
const DENSE: [Layout; 5] =
    [Layout::Contiguous, Layout::Transposed, Layout::Spread, Layout::Reversed, Layout::Padded];

/// The level is one for the process; each test holds it while it runs.
static LEVEL: Mutex<()> = Mutex::new(());

fn at_levels(mut f: impl FnMut(Level)) {
    let _held = LEVEL.lock().unwrap_or_else(|e| e.into_inner());
    for level in simd::available() {
        simd::force(level);
        f(level);
    }
    simd::force(simd::detected());
}

fn program(code: &[(Instr, DType)], outputs: &[u16]) -> Program {
    Program { code: code.to_vec(), outputs: outputs.to_vec() }
}

/// The types of the inputs and outputs of a program.
fn types(program: &Program) -> (Vec<DType>, Vec<DType>) {
    let mut inputs = Vec::new();
    for &(instr, dtype) in &program.code {
        if let Instr::Input(k) = instr {
            inputs.resize(inputs.len().max(k as usize + 1), dtype);
            inputs[k as usize] = dtype;
        }
    }
    (inputs, program.outputs.iter().map(|&r| program.code[r as usize].1).collect())
}

/// Runs a program and its plain loop on the same operands, and compares whole buffers, guards included.
fn compare(p: &Program, shape: &[usize], ins: &[Layout], out: Layout, params: &[u64], ulp: f64, seed: u64) {
    let (in_types, out_types) = types(p);
    let mut words = Words(seed);
    let mut inputs: Vec<Buffer> = (in_types.iter().enumerate())
        .map(|(k, &t)| Buffer::random(t, shape, ins[k % ins.len()], &mut words))
        .collect();
    let inputs: Vec<RawView> = inputs.iter_mut().map(|b| b.view()).collect();
    let mut wanted: Vec<Buffer> = out_types.iter().map(|&t| Buffer::guarded(t, shape, out)).collect();
    let views: Vec<RawView> = wanted.iter_mut().map(|b| b.view()).collect();
    // SAFETY: the buffers were made for this shape.
    unsafe { naive::pointwise::run(p, shape, &inputs, &views, params) };
    let mut got: Vec<Buffer> = out_types.iter().map(|&t| Buffer::guarded(t, shape, out)).collect();
    let views: Vec<RawView> = got.iter_mut().map(|b| b.view()).collect();
    // SAFETY: as above.
    unsafe { Kernel::new(p).run(shape, &inputs, &views, params) };
    for ((got, want), &t) in got.iter().zip(&wanted).zip(&out_types) {
        let what = format!("{:?} {shape:?} {ins:?} -> {out:?} at {:?}", p.code.last(), simd::level());
        assert_close(&got.elements(t), &want.elements(t), t, ulp, &what);
    }
}

fn unary(op: Unary, t: DType) -> Program {
    let result = if op == Unary::IsNan { DType::Bool } else { t };
    program(&[(Instr::Input(0), t), (Instr::Unary(op, 0), result)], &[1])
}

fn binary(op: Binary, t: DType) -> Program {
    let result = if op.is_comparison() { DType::Bool } else { t };
    program(&[(Instr::Input(0), t), (Instr::Input(1), t), (Instr::Binary(op, 0, 1), result)], &[2])
}

fn tolerance(op: Unary) -> f64 {
    use Unary::*;
    match op {
        Exp | Expm1 | Log | Log1p | Sin | Cos | Tanh | Sigmoid | Softplus | Erf => 4.0,
        _ => 0.0,
    }
}

#[test]
fn unary_functions() {
    at_levels(|_| {
        for t in FLOATS {
            for op in UNARY.into_iter().chain([Unary::IsNan]) {
                for n in [0, 1, 5, 16, 63, 300, 2500] {
                    compare(
                        &unary(op, t),
                        &[n],
                        &[Layout::Contiguous],
                        Layout::Contiguous,
                        &[],
                        tolerance(op),
                        n as u64,
                    );
                }
            }
        }
        for op in [Unary::Neg, Unary::Abs, Unary::Sign, Unary::Relu] {
            for t in [DType::I32, DType::U32] {
                compare(&unary(op, t), &[1100], &[Layout::Contiguous], Layout::Contiguous, &[], 0.0, 3);
            }
        }
        compare(
            &unary(Unary::Not, DType::Bool),
            &[1100],
            &[Layout::Contiguous],
            Layout::Contiguous,
            &[],
            0.0,
            3,
        );
    });
}

#[test]
fn binary_functions_with_vectors_and_scalars() {
    let pairs = [
        [Layout::Contiguous, Layout::Contiguous],
        [Layout::Contiguous, Layout::Single],
        [Layout::Single, Layout::Contiguous],
        [Layout::Single, Layout::Single],
    ];
    at_levels(|_| {
        for layouts in pairs {
            for n in [1, 37, 1500] {
                for t in &TYPES[..4] {
                    for op in BINARY {
                        if op == Binary::Pow && !t.is_float() {
                            continue;
                        }
                        let ulp = if op == Binary::Pow { 4.0 } else { 0.0 };
                        compare(&binary(op, *t), &[n], &layouts, Layout::Contiguous, &[], ulp, n as u64);
                    }
                }
                use Binary::*;
                for op in [Add, Mul, Max, Min, Eq, Ne, Lt, Le, Xor] {
                    compare(&binary(op, DType::Bool), &[n], &layouts, Layout::Contiguous, &[], 0.0, n as u64);
                }
            }
        }
    });
}

#[test]
fn casts_between_all_types() {
    at_levels(|_| {
        for from in TYPES {
            for to in TYPES {
                let p = program(&[(Instr::Input(0), from), (Instr::Cast(0), to)], &[1]);
                compare(&p, &[777], &[Layout::Contiguous], Layout::Contiguous, &[], 0.0, 5);
            }
        }
    });
}

#[test]
fn selects_with_vectors_and_scalars() {
    at_levels(|_| {
        for t in TYPES {
            let inputs = [(Instr::Input(0), DType::Bool), (Instr::Input(1), t), (Instr::Input(2), t)];
            let code: Vec<_> = inputs.into_iter().chain([(Instr::Select(0, 1, 2), t)]).collect();
            for mask in 0..8 {
                let layout = |k: u32| if mask >> k & 1 == 1 { Layout::Single } else { Layout::Contiguous };
                let layouts = [layout(0), layout(1), layout(2)];
                compare(&program(&code, &[3]), &[3, 171], &layouts, Layout::Contiguous, &[], 0.0, mask);
            }
        }
    });
}

#[test]
fn layouts_and_shapes() {
    let shapes: [&[usize]; 15] = [
        &[],
        &[1],
        &[0, 3],
        &[7],
        &[1, 5, 1],
        &[33, 65],
        &[3, 1030],
        &[600, 5],
        &[4, 3, 49],
        &[2, 70, 20],
        &[3, 70, 49],
        &[2, 3, 300],
        &[2, 3, 4, 5, 6],
        &[2, 1, 3, 2, 1, 2, 2, 3],
        &[2, 2, 2, 2, 2, 2, 2, 2],
    ];
    at_levels(|_| {
        for shape in shapes {
            for (k, a) in ALL.into_iter().enumerate() {
                for b in ALL {
                    let out = DENSE[k % DENSE.len()];
                    compare(&binary(Binary::Sub, DType::F32), shape, &[a, b], out, &[], 0.0, k as u64);
                }
                compare(
                    &binary(Binary::Lt, DType::F64),
                    shape,
                    &[a, Layout::Contiguous],
                    Layout::Contiguous,
                    &[],
                    0.0,
                    1,
                );
                compare(
                    &binary(Binary::Xor, DType::Bool),
                    shape,
                    &[Layout::Contiguous, a],
                    Layout::Padded,
                    &[],
                    0.0,
                    1,
                );
            }
        }
    });
}

/// A program with most kinds of instruction, four inputs, dead code and outputs that are inputs and parameters.
fn mixed() -> Program {
    let t = DType::F32;
    program(
        &[
            (Instr::Input(0), t),
            (Instr::Input(1), t),
            (Instr::Param(0), t),
            (Instr::Binary(Binary::Mul, 0, 2), t),
            (Instr::Binary(Binary::Add, 3, 1), t),
            (Instr::Input(2), DType::Bool),
            (Instr::Unary(Unary::Tanh, 4), t),
            (Instr::Unary(Unary::Exp, 6), t),
            (Instr::Select(5, 4, 6), t),
            (Instr::Index, DType::U32),
            (Instr::Cast(9), t),
            (Instr::Binary(Binary::Sub, 10, 8), t),
            (Instr::Random { kind: Random::Uniform, seed: 1, draw: 2 }, t),
            (Instr::Binary(Binary::Mul, 11, 12), t),
            (Instr::Binary(Binary::Lt, 13, 4), DType::Bool),
            (Instr::Input(3), DType::I32),
            (Instr::Binary(Binary::Add, 15, 15), DType::I32),
            (Instr::Unary(Unary::Sqrt, 2), t),
        ],
        &[13, 14, 16, 0, 17, 4, 4],
    )
}

const PARAMS: [u64; 3] = [0x3FF8_0000_0000_0000, 1234, 0x1_0000_0007];

#[test]
fn mixed_program() {
    at_levels(|_| {
        for shape in [&[3000][..], &[37, 41], &[5, 3, 29], &[2, 3, 700]] {
            for a in ALL {
                for out in DENSE {
                    let ins = [a, Layout::Contiguous, Layout::Channel, Layout::Padded];
                    compare(&mixed(), shape, &ins, out, &PARAMS, 3e4, 9);
                }
            }
        }
    });
}

/// All pairs of f32 operations that run as one loop, with each operand a vector, a scalar or a parameter.
#[test]
fn pairs_of_operations() {
    use Binary::{Add, Div, Mul, Sub};
    let t = DType::F32;
    let pairs =
        [(Mul, Add), (Mul, Sub), (Mul, Mul), (Mul, Div), (Add, Mul), (Sub, Mul), (Sub, Add), (Add, Div)];
    at_levels(|_| {
        for (first, second) in pairs {
            for (left, swap) in [(true, false), (false, false), (true, true), (false, true)] {
                // Operand `swap` picks is the parameter, of the first operation or of the second.
                let last = if left { [4, 3] } else { [3, 4] };
                let code = [
                    (Instr::Input(0), t),
                    (Instr::Param(0), t),
                    (Instr::Input(1), t),
                    (if swap { Instr::Param(0) } else { Instr::Input(2) }, t),
                    (Instr::Binary(first, 0, if swap { 2 } else { 1 }), t),
                    (Instr::Binary(second, last[0], last[1]), t),
                    (Instr::Unary(Unary::Neg, 5), t),
                ];
                for outs in [&[5][..], &[6], &[4, 5]] {
                    for ins in
                        [[Layout::Contiguous; 3], [Layout::Channel, Layout::Single, Layout::Contiguous]]
                    {
                        let p = program(&code, outs);
                        compare(&p, &[3, 700], &ins, Layout::Contiguous, &PARAMS, 0.0, 5);
                        compare(&p, &[7, 5], &ins, Layout::Contiguous, &PARAMS, 0.0, 6);
                    }
                }
            }
        }
    });
}

/// Phrases of activations, whole and with some of their values needed elsewhere, too.
#[test]
fn phrases_of_activations() {
    let t = DType::F32;
    let b = DType::Bool;
    use Binary::{Add, Lt, Mul, Sub};
    let inputs = [(Instr::Input(0), t), (Instr::Input(1), t), (Instr::Param(0), t), (Instr::Param(1), t)];
    let gelu = [
        (Instr::Binary(Mul, 0, 2), t),
        (Instr::Unary(Unary::Erf, 4), t),
        (Instr::Binary(Add, 5, 3), t),
        (Instr::Binary(Mul, 0, 6), t),
        (Instr::Binary(Mul, 7, 2), t),
    ];
    let leaky = [
        (Instr::Binary(Lt, 3, 0), b),
        (Instr::Binary(Mul, 0, 2), t),
        (Instr::Select(4, 1, 5), t),
        (Instr::Select(4, 3, 1), t),
    ];
    let softmax = [(Instr::Binary(Sub, 0, 1), t), (Instr::Unary(Unary::Exp, 4), t)];
    // The ratio is part of a difference, which is part of a product.
    let step = [
        (Instr::Unary(Unary::Sqrt, 1), t),
        (Instr::Binary(Mul, 4, 2), t),
        (Instr::Binary(Add, 5, 3), t),
        (Instr::Binary(Mul, 0, 3), t),
        (Instr::Binary(Binary::Div, 7, 6), t),
        (Instr::Binary(Sub, 0, 8), t),
        (Instr::Binary(Mul, 9, 1), t),
    ];
    let params = [0.7f64.to_bits(), 1.1f64.to_bits()];
    let all: [(&[_], &[&[u16]]); 4] = [
        (&gelu, &[&[8], &[8, 7], &[6, 8], &[5, 8], &[8, 4]]),
        (&leaky, &[&[6], &[7], &[6, 7], &[6, 4], &[5, 6]]),
        (&softmax, &[&[5], &[4, 5]]),
        (&step, &[&[10], &[9, 10], &[8, 10]]),
    ];
    at_levels(|_| {
        for (code, outs) in all {
            let code = [&inputs[..], code].concat();
            for outs in outs {
                for shape in [&[3, 700][..], &[9]] {
                    for ins in [[Layout::Contiguous; 2], [Layout::Contiguous, Layout::Single]] {
                        bits_of_single_steps(&code, outs, shape, &ins, &params);
                    }
                }
            }
        }
    });
}

/// Asserts that these registers have the bits that they have where every register is an output, so that all instructions
/// run one by one.
fn bits_of_single_steps(
    code: &[(Instr, DType)],
    outs: &[u16],
    shape: &[usize],
    ins: &[Layout],
    params: &[u64],
) {
    let mut words = Words(5);
    let mut inputs: Vec<Buffer> =
        ins.iter().map(|&layout| Buffer::random(DType::F32, shape, layout, &mut words)).collect();
    let inputs: Vec<RawView> = inputs.iter_mut().map(|b| b.view()).collect();
    let results = |outs: &[u16]| {
        let p = program(code, outs);
        let types = types(&p).1;
        let mut got: Vec<Buffer> =
            types.iter().map(|&t| Buffer::guarded(t, shape, Layout::Contiguous)).collect();
        let views: Vec<RawView> = got.iter_mut().map(|b| b.view()).collect();
        // SAFETY: the buffers were made for this shape.
        unsafe { Kernel::new(&p).run(shape, &inputs, &views, params) };
        got.iter().zip(types).map(|(buffer, t)| (buffer.elements(t), t)).collect::<Vec<_>>()
    };
    let every: Vec<u16> = (0..code.len() as u16).collect();
    let want = results(&every);
    for ((got, t), &out) in results(outs).into_iter().zip(outs) {
        assert_close(&got, &want[out as usize].0, t, 0.0, &format!("register {out} of {outs:?}, {shape:?}"));
    }
}

/// A result that goes past the caches, at all offsets from a cache line, has the bits of one that does not.
#[test]
fn streamed_results() {
    let t = DType::F32;
    let code =
        [(Instr::Input(0), t), (Instr::Unary(Unary::Exp, 0), t), (Instr::Binary(Binary::Mul, 0, 1), t)];
    let n = 3000;
    let x: Vec<f32> = (0..n).map(|i| (i % 97) as f32 * 0.1 - 5.0).collect();
    let view = |ptr: *const f32| RawView { ptr: ptr.cast_mut().cast(), strides: contiguous(&[n]) };
    at_levels(|level| {
        for outs in [&[1][..], &[2], &[1, 2]] {
            let kernel = Kernel::new(&program(&code, outs));
            let run = |offset: usize, traffic: Traffic| {
                let mut to = vec![vec![-1f32; n + 64]; outs.len()];
                let starts: Vec<usize> = to.iter().map(|to| to.as_ptr().align_offset(64) + offset).collect();
                let views: Vec<RawView> =
                    to.iter_mut().zip(&starts).map(|(to, &start)| view(to[start..].as_ptr())).collect();
                // SAFETY: there are n elements of each.
                unsafe { kernel.run_part(&[n], &[0], &[n], &[view(x.as_ptr())], &views, &[], traffic) };
                let whole = to.iter().zip(starts).map(|(to, start)| {
                    assert!(to[..start].iter().chain(&to[start + n..]).all(|&x| x == -1.0));
                    to[start..start + n].iter().map(|x| x.to_bits()).collect::<Vec<_>>()
                });
                whole.collect::<Vec<_>>()
            };
            let want = run(0, Traffic::default());
            for (offset, far) in [(0, false), (1, true), (8, false), (8, true), (15, true)] {
                let got = run(offset, Traffic { far, stream: true });
                assert_eq!(got, want, "{outs:?} at {offset}, {level:?}");
            }
        }
    });
}

/// Results so large that they are written past the caches, from addresses that are no multiples of a cache line.
#[test]
fn large_results() {
    let t = DType::F32;
    let code = [
        (Instr::Input(0), t),
        (Instr::Unary(Unary::Abs, 0), t),
        (Instr::Binary(Binary::Add, 0, 1), t),
        (Instr::Binary(Binary::Lt, 0, 1), DType::Bool),
    ];
    for shape in [&[(1 << 20) + 77][..], &[1025, 1031]] {
        compare(&program(&code, &[2]), shape, &[Layout::Contiguous], Layout::Contiguous, &[], 0.0, 3);
        compare(&program(&code, &[1, 3, 2]), shape, &[Layout::Contiguous], Layout::Padded, &[], 0.0, 4);
    }
}

/// Runs a kernel on fresh outputs and returns their elements.
fn outputs(
    p: &Program,
    shape: &[usize],
    layout: Layout,
    run: impl Fn(&Kernel, &[RawView], &[RawView]),
) -> Vec<Vec<u64>> {
    let (in_types, out_types) = types(p);
    let mut words = Words(77);
    let mut inputs: Vec<Buffer> =
        in_types.iter().map(|&t| Buffer::random(t, shape, layout, &mut words)).collect();
    let mut outs: Vec<Buffer> =
        out_types.iter().map(|&t| Buffer::guarded(t, shape, Layout::Contiguous)).collect();
    let inputs: Vec<RawView> = inputs.iter_mut().map(|b| b.view()).collect();
    let views: Vec<RawView> = outs.iter_mut().map(|b| b.view()).collect();
    run(&Kernel::new(p), &inputs, &views);
    outs.iter()
        .zip(&out_types)
        .map(|(b, &t)| {
            b.elements(t).iter().map(|x| if x.is_nan() { u64::MAX } else { x.to_bits() }).collect()
        })
        .collect()
}

#[test]
fn regions_make_up_the_whole_bit_for_bit() {
    let shape = [6, 37, 53];
    at_levels(|level| {
        for layout in ALL {
            let whole = outputs(&mixed(), &shape, layout, |k, i, o| {
                // SAFETY: the buffers were made for this shape.
                unsafe { k.run(&shape, i, o, &PARAMS) }
            });
            let pieces = outputs(&mixed(), &shape, layout, |k, i, o| {
                for (s0, n0) in [(0, 1), (1, 5)] {
                    for (s1, n1) in [(0, 20), (20, 17), (37, 0)] {
                        for (s2, n2) in [(0, 7), (7, 46)] {
                            // SAFETY: as above.
                            unsafe { k.run_region(&shape, &[s0, s1, s2], &[n0, n1, n2], i, o, &PARAMS) };
                        }
                    }
                }
            });
            assert!(whole == pieces, "{layout:?} at {level:?}");
        }
    });
}

#[test]
fn threads_do_not_change_bits() {
    let shape = [301, 1003];
    at_levels(|level| {
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
            pool.install(|| {
                outputs(&mixed(), &shape, Layout::Contiguous, |k, i, o| {
                    // SAFETY: the buffers were made for this shape.
                    unsafe { k.run(&shape, i, o, &PARAMS) }
                })
            })
        };
        let one = run(1);
        assert!(one == run(2) && one == run(4), "at {level:?}");
    });
}

/// Every register of a program stored by a program of its own, fed with the stored registers before it.
fn one_at_a_time(p: &Program, shape: &[usize], inputs: &[RawView], params: &[u64]) -> Vec<Buffer> {
    let mut stored: Vec<Buffer> = Vec::new();
    for &(instr, dtype) in &p.code {
        let mut out = Buffer::guarded(dtype, shape, Layout::Contiguous);
        let mut views: Vec<RawView> = inputs.to_vec();
        let mut code = Vec::new();
        let mut read = |reg: u16, stored: &mut Vec<Buffer>| {
            views.push(stored[reg as usize].view());
            code.push((Instr::Input(views.len() as u16 - 1), p.code[reg as usize].1));
            code.len() as u16 - 1
        };
        let instr = match instr {
            Instr::Unary(op, a) => Instr::Unary(op, read(a, &mut stored)),
            Instr::Binary(op, a, b) => Instr::Binary(op, read(a, &mut stored), read(b, &mut stored)),
            Instr::Select(c, a, b) => {
                Instr::Select(read(c, &mut stored), read(a, &mut stored), read(b, &mut stored))
            }
            Instr::Cast(a) => Instr::Cast(read(a, &mut stored)),
            other => other,
        };
        code.push((instr, dtype));
        let last = code.len() as u16 - 1;
        // SAFETY: all buffers were made for this shape.
        unsafe { Kernel::new(&program(&code, &[last])).run(shape, &views, &[out.view()], params) };
        stored.push(out);
    }
    stored
}

#[test]
fn fused_equals_one_instruction_at_a_time_bit_for_bit() {
    let (p, shape) = (mixed(), [13, 119]);
    let (in_types, out_types) = types(&p);
    at_levels(|level| {
        let mut words = Words(5);
        let mut inputs: Vec<Buffer> =
            in_types.iter().map(|&t| Buffer::random(t, &shape, Layout::Contiguous, &mut words)).collect();
        let inputs: Vec<RawView> = inputs.iter_mut().map(|b| b.view()).collect();
        let stored = one_at_a_time(&p, &shape, &inputs, &PARAMS);
        let mut outs: Vec<Buffer> =
            out_types.iter().map(|&t| Buffer::guarded(t, &shape, Layout::Contiguous)).collect();
        let views: Vec<RawView> = outs.iter_mut().map(|b| b.view()).collect();
        // SAFETY: all buffers were made for this shape.
        unsafe { Kernel::new(&p).run(&shape, &inputs, &views, &PARAMS) };
        for ((out, &reg), &t) in outs.iter().zip(&p.outputs).zip(&out_types) {
            let want = stored[reg as usize].elements(t);
            assert_close(&out.elements(t), &want, t, 0.0, &format!("register {reg} at {level:?}"));
        }
    });
}

#[test]
fn in_place() {
    let t = DType::F32;
    // Outputs over inputs 0 and 1, both still read after (or while) the outputs are known.
    let code = [
        (Instr::Input(0), t),
        (Instr::Input(1), t),
        (Instr::Binary(Binary::Add, 0, 1), t),
        (Instr::Binary(Binary::Mul, 2, 0), t),
        (Instr::Binary(Binary::Sub, 3, 1), t),
        (Instr::Binary(Binary::Mul, 4, 4), t),
    ];
    // The last case swaps the two.
    let cases = [[2, 3], [2, 4], [5, 4], [3, 2], [1, 0]];
    at_levels(|level| {
        for shape in [&[1][..], &[2100], &[40, 50], &[3, 4, 5]] {
            for layout in DENSE {
                for outs in cases {
                    let p = program(&code, &outs);
                    let mut words = Words(8);
                    let a = Buffer::random(t, shape, layout, &mut words);
                    let b = Buffer::random(t, shape, layout, &mut words);
                    let run = |f: &dyn Fn(&[RawView])| {
                        let (mut a, mut b) = (a.clone(), b.clone());
                        f(&[a.view(), b.view()]);
                        [a.elements(t), b.elements(t)].concat()
                    };
                    let want = run(&|v| {
                        // SAFETY: the buffers were made for this shape, outputs are exactly inputs.
                        unsafe { naive::pointwise::run(&p, shape, v, v, &[]) }
                    });
                    let got = run(&|v| {
                        // SAFETY: as above.
                        unsafe { Kernel::new(&p).run(shape, v, v, &[]) }
                    });
                    assert_close(&got, &want, t, 0.0, &format!("{shape:?} {layout:?} {outs:?} {level:?}"));
                }
            }
        }
    });
}

/// A step of Adam, whose instructions run as three loops: into arrays of its own and in place, and with values asked for
/// that lie inside these loops.
#[test]
fn phrases_of_an_optimizer() {
    let t = DType::F32;
    let mut code: Vec<(Instr, DType)> = (0..4).map(|k| (Instr::Input(k), t)).collect();
    code.extend((0..2).map(|k| (Instr::Param(k), t)));
    let binary = |op, a, b| (Instr::Binary(op, a, b), t);
    use Binary::{Add, Div, Mul, Sub};
    // Registers 0 to 3 are m, v, p, g; 4 and 5 numbers.
    code.extend([binary(Mul, 0, 4), binary(Mul, 3, 5), binary(Add, 6, 7)]);
    code.extend([binary(Mul, 1, 5), binary(Mul, 3, 3), binary(Mul, 10, 4), binary(Add, 9, 11)]);
    code.extend([(Instr::Unary(Unary::Sqrt, 12), t), binary(Mul, 13, 4), binary(Add, 14, 5)]);
    code.extend([binary(Mul, 8, 5), binary(Div, 16, 15), binary(Sub, 2, 17)]);
    let params = [0.9f64.to_bits(), 1e-3f64.to_bits()];
    at_levels(|level| {
        for shape in [&[1][..], &[15], &[2100], &[40, 50], &[3, 4, 5]] {
            for outs in [&[8, 12, 18][..], &[18], &[13, 18], &[17, 11], &[7, 14, 16]] {
                let p = program(&code, outs);
                for ins in [
                    [Layout::Contiguous; 4],
                    [Layout::Channel, Layout::Contiguous, Layout::Padded, Layout::Single],
                ] {
                    compare(&p, shape, &ins, Layout::Contiguous, &params, 0.0, 5);
                }
            }
            let p = program(&code, &[8, 12, 18]);
            let mut words = Words(3);
            let state: Vec<Buffer> =
                (0..4).map(|_| Buffer::random(t, shape, Layout::Contiguous, &mut words)).collect();
            let run = |f: &dyn Fn(&[RawView])| {
                let mut state = state.clone();
                f(&state.iter_mut().map(|x| x.view()).collect::<Vec<_>>());
                state.iter().flat_map(|x| x.elements(t)).collect::<Vec<_>>()
            };
            // SAFETY: the buffers were made for this shape, outputs are exactly inputs.
            let want = run(&|v| unsafe { naive::pointwise::run(&p, shape, v, &v[..3], &params) });
            // SAFETY: as above.
            let got = run(&|v| unsafe { Kernel::new(&p).run(shape, v, &v[..3], &params) });
            assert_close(&got, &want, t, 0.0, &format!("in place, {shape:?} at {level:?}"));
        }
    });
}

#[test]
#[should_panic(expected = "ill-typed")]
fn ill_typed_programs_are_refused() {
    Kernel::new(&program(
        &[(Instr::Input(0), DType::Bool), (Instr::Unary(Unary::Neg, 0), DType::Bool)],
        &[1],
    ));
}

#[test]
fn slices() {
    let (x, row) = ([1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0], [10.0f32, 20.0, 30.0]);
    let mut out = [0f32; 6];
    let inputs: [(Slice, &[usize]); 2] = [(Slice::F32(&x), &[3, 1]), (Slice::F32(&row), &[0, 1])];
    let kernel = Kernel::new(&binary(Binary::Add, DType::F32));
    kernel.run_slices(&[2, 3], &inputs, &mut [SliceMut::F32(&mut out)], &[]);
    assert_eq!(out, [11.0, 22.0, 33.0, 14.0, 25.0, 36.0]);
}

#[test]
#[should_panic(expected = "of an operand of 6 elements")]
fn slices_are_not_left() {
    let x = [0f32; 6];
    let inputs: [(Slice, &[usize]); 2] = [(Slice::F32(&x), &[3, 1]), (Slice::F32(&x), &[4, 1])];
    let kernel = Kernel::new(&binary(Binary::Add, DType::F32));
    kernel.run_slices(&[2, 3], &inputs, &mut [SliceMut::F32(&mut [0f32; 6])], &[]);
}
