//! Where operands and results lie, and how the work is cut, changes no bit.

use super::*;
use gradus_kernels::contiguous;
use gradus_kernels::pointwise::Traffic;

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
            for (offset, far) in [(0, false), (0, true), (1, true), (8, false), (8, true), (15, true)] {
                let got = run(offset, Traffic { far, stream: true, ..Traffic::default() });
                assert_eq!(got, want, "{outs:?} at {offset}, {level:?}");
            }
        }
    });
}

/// Results of one, four and eight bytes an element that go past the caches while operands come from memory, and some
/// elements more than whole blocks.
#[test]
fn streamed_results_of_all_sizes() {
    let cases = [
        program(&[(Instr::Input(0), DType::F32), (Instr::Unary(Unary::IsNan, 0), DType::Bool)], &[1]),
        program(&[(Instr::Input(0), DType::F32), (Instr::Cast(0), DType::F64)], &[1]),
        unary(Unary::Erf, DType::F32),
        unary(Unary::Erf, DType::F64),
    ];
    at_levels(|level| {
        for (p, n) in cases.iter().flat_map(|p| [5, 16, 31, 5000, 6017].map(|n| (p, n))) {
            let run = |traffic: Traffic| {
                let mut x = Buffer::random(types(p).0[0], &[n], Layout::Contiguous, &mut Words(1));
                let mut to = vec![7u8; 8 * n + 64];
                let start = to.as_ptr().align_offset(64);
                let out = RawView { ptr: to[start..].as_mut_ptr(), strides: contiguous(&[n]) };
                // SAFETY: there are n elements of each.
                unsafe { Kernel::new(p).run_part(&[n], &[0], &[n], &[x.view()], &[out], &[], traffic) };
                to.split_off(start)
            };
            let all = Traffic { far: true, stream: true, next: [64, 10_000] };
            assert!(run(Traffic::default())[..8 * n] == run(all)[..8 * n], "{n} of {p:?} at {level:?}");
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
