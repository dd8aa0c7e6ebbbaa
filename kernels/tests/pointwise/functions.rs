//! Every function, of all types, operand layouts and shapes, beside plain loops.

use super::*;

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
