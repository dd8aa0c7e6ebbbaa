//! The error of every elementary function, at every instruction-set level, and its special values.
//!
//! `cargo test -p gradus-kernels --test math -- --nocapture` prints the largest errors, which the documentation of
//! the functions states.

use gradus_kernels::pointwise::Kernel;
use gradus_kernels::program::{Binary, Instr, Program, Unary};
use gradus_kernels::simd;
use gradus_kernels::{DType, MAX_RANK, RawView, naive};

const FUNCTIONS: [Unary; 10] = [
    Unary::Exp,
    Unary::Expm1,
    Unary::Log,
    Unary::Log1p,
    Unary::Sin,
    Unary::Cos,
    Unary::Tanh,
    Unary::Sigmoid,
    Unary::Softplus,
    Unary::Erf,
];

trait Float: Copy + Default + std::fmt::Debug {
    const DTYPE: DType;
    fn of(x: f64) -> Self;
    fn wide(self) -> f64;
    /// The distance from the magnitude of `x`, rounded to this type, to the next.
    fn ulp(x: f64) -> f64;
}

impl Float for f32 {
    const DTYPE: DType = DType::F32;
    fn of(x: f64) -> f32 {
        x as f32
    }
    fn wide(self) -> f64 {
        self as f64
    }
    fn ulp(x: f64) -> f64 {
        let x = (x.abs() as f32).min(f32::MAX);
        if x == f32::MAX { (x - x.next_down()) as f64 } else { (x.next_up() - x) as f64 }
    }
}

impl Float for f64 {
    const DTYPE: DType = DType::F64;
    fn of(x: f64) -> f64 {
        x
    }
    fn wide(self) -> f64 {
        self
    }
    fn ulp(x: f64) -> f64 {
        let x = x.abs().min(f64::MAX);
        if x == f64::MAX { x - x.next_down() } else { x.next_up() - x }
    }
}

fn view<T>(x: &[T]) -> RawView {
    let mut strides = [0; MAX_RANK];
    strides[0] = 1;
    RawView { ptr: x.as_ptr().cast_mut().cast(), strides }
}

fn run<T: Float>(program: &Program, inputs: &[&[T]]) -> Vec<T> {
    let mut out = vec![T::default(); inputs[0].len()];
    let views: Vec<RawView> = inputs.iter().map(|x| view(x)).collect();
    let target = RawView { ptr: out.as_mut_ptr().cast(), ..view(&out) };
    // SAFETY: all slices have the length that the shape says.
    unsafe { Kernel::new(program).run(&[out.len()], &views, &[target], &[]) };
    out
}

fn unary<T: Float>(op: Unary, x: &[T]) -> Vec<T> {
    let code = vec![(Instr::Input(0), T::DTYPE), (Instr::Unary(op, 0), T::DTYPE)];
    run(&Program { code, outputs: vec![1] }, &[x])
}

fn pow<T: Float>(x: &[T], y: &[T]) -> Vec<T> {
    let code = vec![
        (Instr::Input(0), T::DTYPE),
        (Instr::Input(1), T::DTYPE),
        (Instr::Binary(Binary::Pow, 0, 1), T::DTYPE),
    ];
    run(&Program { code, outputs: vec![2] }, &[x, y])
}

fn reference(op: Unary, x: f64) -> f64 {
    match op {
        Unary::Exp => x.exp(),
        Unary::Expm1 => x.exp_m1(),
        Unary::Log => x.ln(),
        Unary::Log1p => x.ln_1p(),
        Unary::Sin => x.sin(),
        Unary::Cos => x.cos(),
        Unary::Tanh => x.tanh(),
        Unary::Sigmoid if x < -40.0 => x.exp(),
        Unary::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Unary::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
        Unary::Erf => naive::pointwise::erf(x),
        _ => unreachable!("not measured"),
    }
}

/// Points over all exponents with both signs, and densely where functions bend.
fn points<T: Float>(count: usize) -> Vec<T> {
    let mut state = 1u64;
    let mut word = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        state >> 11
    };
    let unit = |w: u64| w as f64 / (1u64 << 53) as f64;
    let mut all = Vec::with_capacity(count);
    for i in 0..count {
        let (u, v) = (unit(word()), unit(word()));
        let sign = if word() & 512 == 0 { 1.0 } else { -1.0 };
        all.push(T::of(match i % 4 {
            0 => sign * u * 4.0,
            1 => sign * u * 120.0,
            2 => sign * (1.0 + u) * (v * 40.0 - 30.0).exp2(),
            _ => sign * (1.0 + u) * (v * 300.0 - 150.0).exp2(),
        }));
    }
    all
}

fn error<T: Float>(got: T, want: f64) -> f64 {
    let exact = T::of(want).wide();
    if got.wide() == exact || (got.wide().is_nan() && want.is_nan()) {
        return if exact.is_finite() { (got.wide() - want).abs() / T::ulp(want) } else { 0.0 };
    }
    if exact.is_infinite() || !got.wide().is_finite() {
        return f64::INFINITY;
    }
    (got.wide() - want).abs() / T::ulp(want)
}

fn measure<T: Float>(count: usize, limit: f64) {
    let x = points::<T>(count);
    for op in FUNCTIONS {
        let want: Vec<f64> = x.iter().map(|x| reference(op, x.wide())).collect();
        for level in simd::available() {
            simd::force(level);
            let got = unary(op, &x);
            let errors = got.iter().zip(&want).map(|(&g, &w)| error(g, w));
            let (worst, at) =
                errors.zip(&x).fold((0.0, x[0]), |worst, (e, &x)| if e > worst.0 { (e, x) } else { worst });
            println!("{op:?} {} {level:?}: {worst:.2} ulp at {at:?}", T::DTYPE);
            assert!(worst <= limit, "{op:?} {} at {level:?}: {worst} ulp at {at:?}", T::DTYPE);
        }
    }
    let y: Vec<T> = points::<T>(count).into_iter().rev().collect();
    let base: Vec<T> = x.iter().map(|x| T::of(x.wide().abs())).collect();
    let want: Vec<f64> = base.iter().zip(&y).map(|(x, y)| x.wide().powf(y.wide())).collect();
    for level in simd::available() {
        simd::force(level);
        let errors = pow(&base, &y).into_iter().zip(&want).map(|(g, &w)| error(g, w));
        let worst = errors.fold(0.0, f64::max);
        println!("Pow {} {level:?}: {worst:.2} ulp", T::DTYPE);
        assert!(worst <= limit, "Pow {} at {level:?}: {worst} ulp", T::DTYPE);
    }
    simd::force(simd::detected());
}

#[test]
fn errors_are_within_the_stated_ones() {
    measure::<f32>(1 << 21, 4.0);
    // The references in f64 are themselves good to about one ulp (erf, sigmoid and softplus to three).
    measure::<f64>(1 << 20, 4.0);
}

/// The same over ten million points for each function: `cargo test --release -p gradus-kernels --test math -- --ignored`.
#[test]
#[ignore = "takes minutes"]
fn errors_over_ten_million_points() {
    measure::<f32>(10_000_000, 4.0);
}

/// The error function to 20 digits, where the plain loop's series are good to a few ulp only.
#[test]
fn erf_at_known_points() {
    let table = [
        (0.001, 1.128_378_790_969_236_5e-3),
        (0.1, 1.124_629_160_182_849e-1),
        (0.5, 5.204_998_778_130_465e-1),
        (0.75, 7.111_556_336_535_151e-1),
        (0.9990234375, 8.422_950_185_281_028e-1),
        (1.0, 8.427_007_929_497_149e-1),
        (1.5, 9.661_051_464_753_108e-1),
        (2.0, 9.953_222_650_189_527e-1),
        (3.0, 9.999_779_095_030_014e-1),
        (4.5, 9.999_999_998_033_839e-1),
        (5.9, 9.999_999_999_999_999e-1),
    ];
    let x: Vec<f64> = table.iter().map(|t| t.0).collect();
    for (y, &(x, want)) in unary(Unary::Erf, &x).into_iter().zip(&table) {
        assert!((y - want).abs() <= 2.0 * f64::EPSILON * want, "erf({x}) = {y:e}, should be {want:e}");
        assert!((naive::pointwise::erf(x) - want).abs() <= 4.0 * f64::EPSILON * want, "naive erf({x})");
    }
}

/// `op(x)` equals `want` in both types, the sign of zero included.
fn special(op: Unary, x: f64, want: f64) {
    let single = unary(op, &[x as f32; 21])[20] as f64;
    let double = unary(op, &[x; 21])[20];
    for got in [single, double] {
        let same = if want.is_nan() { got.is_nan() } else { got.to_bits() == want.to_bits() };
        assert!(same, "{op:?}({x:?}) = {got:?}, should be {want:?}");
    }
}

#[test]
fn special_values() {
    use Unary::*;
    let (inf, nan) = (f64::INFINITY, f64::NAN);
    for level in simd::available() {
        simd::force(level);
        for op in FUNCTIONS {
            special(op, nan, nan);
        }
        for op in [Expm1, Log1p, Sin, Tanh, Erf] {
            special(op, 0.0, 0.0);
            special(op, -0.0, -0.0);
        }
        let cases = [
            (Exp, [0.0, inf, -inf, 1e4, -1e4], [1.0, inf, 0.0, inf, 0.0]),
            (Expm1, [-1e4, inf, -inf, 1e4, -60.0], [-1.0, inf, -1.0, inf, -1.0]),
            (Log, [0.0, -0.0, 1.0, inf, -1.0], [-inf, -inf, 0.0, inf, nan]),
            (Log1p, [-1.0, inf, -2.0, -inf, -1.5], [-inf, inf, nan, nan, nan]),
            (Sin, [inf, -inf, nan, 0.0, 0.0], [nan, nan, nan, 0.0, 0.0]),
            (Cos, [inf, -inf, nan, 0.0, -0.0], [nan, nan, nan, 1.0, 1.0]),
            (Tanh, [inf, -inf, 1e4, -1e4, 0.0], [1.0, -1.0, 1.0, -1.0, 0.0]),
            (Sigmoid, [inf, -inf, 0.0, 1e4, -1e4], [1.0, 0.0, 0.5, 1.0, 0.0]),
            (Softplus, [inf, -inf, 1e4, -1e4, -2e4], [inf, 0.0, 1e4, 0.0, 0.0]),
            (Erf, [inf, -inf, 10.0, -10.0, 0.0], [1.0, -1.0, 1.0, -1.0, 0.0]),
        ];
        for (op, x, want) in cases {
            x.into_iter().zip(want).for_each(|(x, want)| special(op, x, want));
        }
    }
    simd::force(simd::detected());
}

#[test]
fn powers_of_special_values() {
    let values = [0.0, 0.5, 1.0, 2.0, 2.5, 3.0, 16777215.0, 16777217.0, 1e30, f64::INFINITY, f64::NAN];
    let values: Vec<f64> = values.iter().flat_map(|&v| [v, -v]).collect();
    let pairs: Vec<(f64, f64)> = values.iter().flat_map(|&x| values.iter().map(move |&y| (x, y))).collect();
    let (x, y): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
    let same =
        |a: f64, b: f64| a == b && a.is_sign_negative() == b.is_sign_negative() || a.is_nan() && b.is_nan();
    for level in simd::available() {
        simd::force(level);
        for ((x, y), got) in pairs.iter().zip(pow(&x, &y)) {
            let want = x.powf(*y);
            let near = (got - want).abs() <= 2.0 * f64::EPSILON * want.abs() && want.is_finite();
            assert!(near || same(got, want), "{x:?} to the {y:?} is {got:?}, should be {want:?}");
        }
        let narrow = |v: &[f64]| v.iter().map(|&v| v as f32).collect::<Vec<_>>();
        for ((x, y), got) in pairs.iter().zip(pow(&narrow(&x), &narrow(&y))) {
            let want = (*x as f32).powf(*y as f32);
            let near = (got - want).abs() <= 2.0 * f32::EPSILON * want.abs() && want.is_finite();
            assert!(
                near || same(got as f64, want as f64),
                "{x:?} to the {y:?} is {got:?}, should be {want:?}"
            );
        }
    }
    simd::force(simd::detected());
}
