//! Instructions that run together in one loop have the bits of those run one by one.

use super::*;

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
    let gelu_tanh = [
        (Instr::Binary(Mul, 0, 0), t),
        (Instr::Binary(Mul, 4, 0), t),
        (Instr::Binary(Mul, 5, 2), t),
        (Instr::Binary(Add, 0, 6), t),
        (Instr::Binary(Mul, 7, 3), t),
        (Instr::Unary(Unary::Tanh, 8), t),
        (Instr::Binary(Add, 9, 3), t),
        (Instr::Binary(Mul, 0, 10), t),
        (Instr::Binary(Mul, 11, 2), t),
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
    let all: [(&[_], &[&[u16]]); 5] = [
        (&gelu, &[&[8], &[8, 7], &[6, 8], &[5, 8], &[8, 4]]),
        (&gelu_tanh, &[&[12], &[12, 10], &[9, 12], &[8, 12], &[12, 7], &[5, 12]]),
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
