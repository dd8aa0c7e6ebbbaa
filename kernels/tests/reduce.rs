//! `Reduce` against its plain loop, bit for bit: all reductions, types and levels, over shapes, axes and layouts.

mod buffers;

use buffers::{ALL, Buffer, Layout, Words, assert_close, at_levels};
use gradus_kernels::pointwise::{Slice, SliceMut};
use gradus_kernels::program::{Binary, Instr, Program, Unary};
use gradus_kernels::reduce::{Kernel, Reduction};
use gradus_kernels::simd;
use gradus_kernels::{DType, RawView, naive};

const REDUCTIONS: [Reduction; 5] =
    [Reduction::Sum, Reduction::Max, Reduction::Min, Reduction::ArgMax, Reduction::ArgMin];
const TYPES: [DType; 5] = [DType::F32, DType::F64, DType::I32, DType::U32, DType::Bool];

fn identity(t: DType) -> Program {
    Program { code: vec![(Instr::Input(0), t)], outputs: vec![0] }
}

/// `select(index < 1000, x - y, y)`, which rounds the same at all levels.
fn prologue() -> Program {
    let code = vec![
        (Instr::Input(0), DType::F32),
        (Instr::Input(1), DType::F32),
        (Instr::Binary(Binary::Sub, 0, 1), DType::F32),
        (Instr::Index, DType::I32),
        (Instr::Param(0), DType::I32),
        (Instr::Binary(Binary::Lt, 3, 4), DType::Bool),
        (Instr::Select(5, 2, 1), DType::F32),
    ];
    Program { code, outputs: vec![6] }
}

/// `x - y`.
fn difference() -> Program {
    let sub = (Instr::Binary(Binary::Sub, 0, 1), DType::F32);
    Program {
        code: vec![(Instr::Input(0), DType::F32), (Instr::Input(1), DType::F32), sub],
        outputs: vec![2],
    }
}

fn kept(shape: &[usize], axes: u32) -> Vec<usize> {
    (0..shape.len()).filter(|&axis| axes >> axis & 1 == 0).map(|axis| shape[axis]).collect()
}

fn compare(p: &Program, reduction: Reduction, shape: &[usize], axes: u32, ins: &[Layout], seed: u64) {
    let mut words = Words(seed);
    let mut inputs = Vec::new();
    for &(instr, t) in &p.code {
        if let Instr::Input(k) = instr {
            inputs.push(Buffer::random(t, shape, ins[k as usize % ins.len()], &mut words));
        }
    }
    let inputs: Vec<RawView> = inputs.iter_mut().map(|b| b.view()).collect();
    let t = reduction.result(p.code[p.outputs[0] as usize].1);
    let shape_out = kept(shape, axes);
    let mut want = Buffer::guarded(t, &shape_out, Layout::Contiguous);
    let mut got = want.clone();
    let params = [1000];
    // SAFETY: the buffers were made for this shape.
    unsafe { naive::reduce::run(p, reduction, shape, axes, &inputs, want.view().ptr, &params) };
    // SAFETY: as above.
    unsafe { Kernel::new(p, reduction).run(shape, axes, &inputs, got.view().ptr, &params) };
    let what = format!("{reduction:?} {t} {shape:?} axes {axes:b} {ins:?} at {:?}", simd::level());
    assert_close(&got.elements(t), &want.elements(t), t, 0.0, &what);
}

#[test]
fn all_types_and_reductions() {
    at_levels(|_| {
        for reduction in REDUCTIONS {
            for t in TYPES {
                for (shape, axes) in [
                    (&[1][..], 1),
                    (&[1], 0),
                    (&[9], 1),
                    (&[9000], 1),
                    (&[40, 10], 2),
                    (&[40, 10], 1),
                    (&[300, 70], 1),
                    (&[5, 1500], 2),
                    (&[4200, 3], 1),
                    (&[20, 600], 1),
                ] {
                    compare(&identity(t), reduction, shape, axes, &[Layout::Contiguous], 3);
                }
            }
        }
    });
}

#[test]
fn nothing_to_reduce() {
    at_levels(|_| {
        for reduction in REDUCTIONS {
            for t in TYPES {
                compare(&identity(t), reduction, &[3, 0], 2, &[Layout::Contiguous], 1);
                compare(&identity(t), reduction, &[0, 3], 2, &[Layout::Contiguous], 1);
                compare(&identity(t), reduction, &[], 0, &[Layout::Contiguous], 1);
                compare(&identity(t), reduction, &[3, 5], 0, &[Layout::Contiguous], 1);
            }
        }
    });
}

#[test]
fn axes_and_layouts() {
    let shapes: [&[usize]; 7] = [
        &[33, 65],
        &[5, 4, 49],
        &[6, 3, 800],
        &[2, 130, 31],
        &[3, 1, 4, 1, 5],
        &[2, 3, 2, 2, 3, 2, 2, 3],
        &[70, 2, 61],
    ];
    at_levels(|_| {
        for shape in shapes {
            let masks = 1u32 << shape.len();
            for axes in (0..masks).step_by(if masks > 8 { 5 } else { 1 }) {
                for layout in ALL {
                    compare(&prologue(), Reduction::Sum, shape, axes, &[layout, Layout::Channel], 4);
                    compare(&identity(DType::F64), Reduction::ArgMax, shape, axes, &[layout], 5);
                }
                compare(&prologue(), Reduction::Max, shape, axes, &[Layout::Padded, Layout::Contiguous], 4);
            }
        }
    });
}

#[test]
fn rows_of_a_few_elements() {
    at_levels(|_| {
        for len in 1..=9 {
            for t in TYPES {
                for reduction in REDUCTIONS {
                    let shape = [13, 7, len];
                    compare(&identity(t), reduction, &shape, 4, &[Layout::Contiguous], len as u64);
                    compare(&identity(t), reduction, &shape, 5, &[Layout::Padded], len as u64);
                }
            }
        }
    });
}

#[test]
fn many_blocks() {
    at_levels(|_| {
        for (shape, axes) in [
            (&[100_003][..], 1),
            (&[3, 41_000], 2),
            (&[41_000, 3], 1),
            (&[9000, 40], 1),
            (&[70, 3, 300], 0b101),
            (&[150_000], 1),
        ] {
            for reduction in REDUCTIONS {
                compare(&identity(DType::F32), reduction, shape, axes, &[Layout::Contiguous], 6);
            }
        }
    });
}

/// Planes that are no multiple of the lanes, of more channels than a tile holds, cut by blocks within a plane.
#[test]
fn channels_between_the_reduced_axes() {
    let padded = [Layout::Padded, Layout::Channel];
    at_levels(|_| {
        for shape in [[90, 45, 49], [300, 9, 33], [3, 60, 16], [70, 300, 5], [20, 2, 255], [1100, 130, 1]] {
            for layout in [Layout::Contiguous, Layout::Padded] {
                compare(&identity(DType::F32), Reduction::Sum, &shape, 0b101, &[layout], 7);
            }
            compare(&identity(DType::F64), Reduction::Sum, &shape, 0b101, &[Layout::Contiguous], 8);
        }
        let shape = [40, 21, 3, 17];
        for reduction in REDUCTIONS {
            for t in TYPES {
                compare(&identity(t), reduction, &shape, 0b1101, &[Layout::Contiguous], 9);
            }
            compare(&prologue(), reduction, &shape, 0b1101, &[Layout::Contiguous, Layout::Channel], 10);
            compare(&difference(), reduction, &shape, 0b1101, &[Layout::Contiguous, Layout::Channel], 11);
        }
        compare(&difference(), Reduction::Sum, &shape, 0b1101, &padded, 12);
    });
}

/// Finite values, so that the order of additions shows in the bits.
#[test]
fn order_does_not_depend_on_layout_threads_or_fusion() {
    let shape = [37, 5, 173];
    let mut x = vec![0f32; 37 * 5 * 173];
    let mut words = Words(1);
    x.iter_mut().for_each(|x| *x = (words.next() % 100_000) as f32 * 1e-3 - 47.3);
    let mut transposed = x.clone();
    for i in 0..37 {
        for j in 0..5 {
            for k in 0..173 {
                transposed[(k * 5 + j) * 37 + i] = x[(i * 5 + j) * 173 + k];
            }
        }
    }
    let view = |x: &mut [f32], s: [isize; 3]| {
        let mut strides = [0; gradus_kernels::MAX_RANK];
        strides[..3].copy_from_slice(&s);
        RawView { ptr: x.as_mut_ptr().cast(), strides }
    };
    let fused = Program {
        code: vec![(Instr::Input(0), DType::F32), (Instr::Unary(Unary::Abs, 0), DType::F32)],
        outputs: vec![1],
    };
    let sum = |p: &Program, axes: u32, input: RawView, threads: usize| {
        let mut out = vec![0f32; kept(&shape, axes).iter().product()];
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        // SAFETY: input and output have the sizes that the shape says.
        pool.install(|| unsafe {
            Kernel::new(p, Reduction::Sum).run(&shape, axes, &[input], out.as_mut_ptr().cast(), &[])
        });
        out.iter().map(|x| x.to_bits()).collect::<Vec<_>>()
    };
    let mut absolute: Vec<f32> = x.iter().map(|x| x.abs()).collect();
    at_levels(|level| {
        for axes in 1..8 {
            let here = view(&mut x, [865, 173, 1]);
            let want = sum(&identity(DType::F32), axes, here, 1);
            let mut plain = vec![0f32; want.len()];
            let (p, to) = (identity(DType::F32), plain.as_mut_ptr().cast());
            // SAFETY: as in `sum`.
            unsafe { naive::reduce::run(&p, Reduction::Sum, &shape, axes, &[here], to, &[]) };
            assert!(plain.iter().map(|x| x.to_bits()).eq(want.iter().copied()), "{axes:b} at {level:?}");
            for threads in [2, 4] {
                assert_eq!(want, sum(&identity(DType::F32), axes, here, threads), "{axes:b} at {level:?}");
            }
            let there = view(&mut transposed, [1, 37, 185]);
            assert_eq!(want, sum(&identity(DType::F32), axes, there, 1), "{axes:b} at {level:?}");
            let stored = sum(&identity(DType::F32), axes, view(&mut absolute, [865, 173, 1]), 1);
            assert_eq!(stored, sum(&fused, axes, here, 2), "{axes:b} at {level:?}");
        }
    });
}

/// The sum of a million f32 is as good as pairwise summation promises.
#[test]
fn accuracy() {
    let n = 1 << 20;
    let x: Vec<f32> = (0..n).map(|i| 0.1 + (i % 7) as f32 * 1e-3).collect();
    let exact: f64 = x.iter().map(|&x| x as f64).sum();
    let mut out = [0f32];
    let kernel = Kernel::new(&identity(DType::F32), Reduction::Sum);
    kernel.run_slices(&[n], 1, &[(Slice::F32(&x), &[1])], &mut SliceMut::F32(&mut out), &[]);
    let [out] = out;
    // About 256 additions on a lane and a tree of 12.
    assert!((out as f64 - exact).abs() <= 3e-6 * exact, "{out} for {exact}");
}
