//! Random draws: the same for every level, start and length; right in distribution.

use gradus_kernels::pointwise::Kernel;
use gradus_kernels::program::{Instr, Program, Random};
use gradus_kernels::{DType, RawView, contiguous, random, simd};

const SEED: u64 = 0x0123_4567_89AB_CDEF;
const DRAW: u64 = 0xFEDC_BA98_7654_3210;

/// Draws for the elements `start .. start + size` of a row of `n`.
fn draw<T: Copy + Default>(kind: Random, dtype: DType, n: usize, start: usize, size: usize) -> Vec<T> {
    let code = vec![(Instr::Random { kind, seed: 0, draw: 1 }, dtype)];
    let kernel = Kernel::new(&Program { code, outputs: vec![0] });
    let mut out = vec![T::default(); n];
    let view = RawView { ptr: out.as_mut_ptr().cast(), strides: contiguous(&[n]) };
    // SAFETY: the output has n elements.
    unsafe { kernel.run_region(&[n], &[start], &[size], &[], &[view], &[SEED, DRAW]) };
    out[start..start + size].to_vec()
}

#[test]
fn draws_are_the_documented_functions_of_the_words() {
    for level in simd::available() {
        simd::force(level);
        let n = 3000;
        let bits = draw::<u32>(Random::Bits, DType::U32, n, 0, n);
        let single = draw::<f32>(Random::Uniform, DType::F32, n, 0, n);
        let double = draw::<f64>(Random::Uniform, DType::F64, n, 0, n);
        let normal = draw::<f32>(Random::Normal, DType::F32, n, 0, n);
        let wide_normal = draw::<f64>(Random::Normal, DType::F64, n, 0, n);
        for i in 0..n {
            let e = i as u64;
            assert_eq!(bits[i], random::bits(SEED, DRAW, e));
            assert_eq!(single[i], random::uniform_f32(SEED, DRAW, e));
            assert_eq!(double[i], random::uniform_f64(SEED, DRAW, e));
            assert!((double[i] - single[i] as f64).abs() < 1.0 / (1 << 24) as f64);
            let want = random::normal_f32(SEED, DRAW, e);
            // The radius is taken of a number rounded to 24 bits, which shows where it is near 1.
            let unit = (bits[i & !1] as f32 + 0.5) / (1u64 << 32) as f32;
            let radius = (-2.0 * unit.ln()).sqrt().max(1e-4);
            let limit = 1e-6 * want.abs() + 1e-7 / radius;
            assert!((normal[i] - want).abs() <= limit, "{} for {want}", normal[i]);
            let want = random::normal_f64(SEED, DRAW, e);
            // The oracle's own angle is rounded, to about 1e-15 radians.
            let limit = 2e-15 * (want.abs() + radius as f64) + 4e-16 / radius as f64;
            assert!((wide_normal[i] - want).abs() <= limit, "{} for {want}", wide_normal[i]);
        }
    }
    simd::force(simd::detected());
}

#[test]
fn draws_do_not_depend_on_where_a_run_starts() {
    for (kind, dtype) in [(Random::Normal, DType::F32), (Random::Uniform, DType::F32)] {
        let whole = draw::<f32>(kind, dtype, 5000, 0, 5000);
        for (start, size) in [(1, 1), (2, 70), (3, 1100), (1023, 3), (4093, 900)] {
            assert_eq!(draw::<f32>(kind, dtype, 5000, start, size), whole[start..start + size]);
        }
    }
}

#[test]
fn moments() {
    let n = 1 << 20;
    let moments = |x: &[f32]| {
        let mean = |p: i32| x.iter().map(|&x| (x as f64).powi(p)).sum::<f64>() / n as f64;
        [mean(1), mean(2), mean(3), mean(4)]
    };
    // Four standard errors of each mean.
    let close = |got: [f64; 4], want: [f64; 4], deviation: [f64; 4]| {
        for k in 0..4 {
            let limit = 4.0 * deviation[k] / (n as f64).sqrt();
            assert!((got[k] - want[k]).abs() < limit, "moment {} is {}", k + 1, got[k]);
        }
    };
    let uniform = draw::<f32>(Random::Uniform, DType::F32, n, 0, n);
    assert!(uniform.iter().all(|x| (0.0..1.0).contains(x)));
    close(moments(&uniform), [0.5, 1.0 / 3.0, 0.25, 0.2], [0.289, 0.298, 0.283, 0.267]);
    let normal = draw::<f32>(Random::Normal, DType::F32, n, 0, n);
    close(moments(&normal), [0.0, 1.0, 0.0, 3.0], [1.0, 1.415, 3.873, 9.798]);
    let pairs: f64 = normal.chunks_exact(2).map(|p| p[0] as f64 * p[1] as f64).sum::<f64>() * 2.0 / n as f64;
    assert!(pairs.abs() < 4.0 / (n as f64 / 2.0).sqrt(), "neighbours are correlated: {pairs}");
}
