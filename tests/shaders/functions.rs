//! Elementary functions and random draws of the shaders' library against the CPU's.

use crate::device::{Device, device, floats, words};
use crate::gpu::dispatch::{Bind, Dispatch, Recipe, Source};
use crate::numbers::Numbers;
use gradus_kernels::math::{self, Portable};
use gradus_kernels::random;

/// Runs `expression`, in x, y (floats) and e (the element's number), over the elements; it gives a word.
fn evaluate(device: &Device, expression: &str, x: &[f32], y: &[f32]) -> Vec<u32> {
    let text = format!(
        "//!include lib/grid.wgsl
//!include lib/math.wgsl
//!include lib/philox.wgsl
struct P {{ count: u32, x: u32, y: u32, out: u32 }}
@group(0) @binding(0) var<storage, read> xs: array<f32>;
@group(0) @binding(1) var<storage, read> ys: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<u32>;
@group(1) @binding(0) var<uniform> p: P;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {{
    let e = id.x;
    if e < p.count {{
        let x = xs[p.x + e];
        let y = ys[p.y + e];
        out[p.out + e] = {expression};
    }}
}}
"
    );
    let start = crate::device::START as u32;
    let dispatch = Dispatch {
        source: Source::Generated(text),
        constants: Vec::new(),
        params: vec![x.len() as u32, start, start, start],
        patches: Vec::new(),
        reads: vec![Bind::Input(0), Bind::Input(1)],
        writes: vec![Bind::Output(0)],
        grid: [x.len().div_ceil(64) as u32, 1, 1],
    };
    let recipe = Recipe { scratch: Vec::new(), dispatches: vec![dispatch] };
    device.run(&recipe, &[&words(x), &words(y)], &[x.len()]).outputs.remove(0)
}

/// The distance of `found` from the exact result in units of f32's last place there.
fn ulps(found: f32, exact: f64) -> f64 {
    let nearest = exact as f32;
    if found.to_bits() == nearest.to_bits() || (found.is_nan() && nearest.is_nan()) || found == nearest {
        return 0.0;
    }
    if !found.is_finite() || !nearest.is_finite() {
        return f64::INFINITY;
    }
    let next = f32::from_bits((nearest.abs().to_bits() + 1).max(0x0080_0001));
    let unit = f64::from(next) - f64::from(f32::from_bits(next.to_bits() - 1));
    (f64::from(found) - exact).abs() / unit
}

/// Arguments of every magnitude, and the special ones.
fn arguments() -> Vec<f32> {
    let mut numbers = Numbers::new(11);
    let mut x = vec![0.0, -0.0, 1.0, -1.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::MAX, f32::MIN];
    x.extend([
        88.7, 88.8, -87.3, -103.0, 100.0, -100.0, 1e-6, -1e-6, 0.5, 10.0, 2047.9, 2048.0, 1e6, 1e10, 3e38,
    ]);
    for _ in 0..2000 {
        let exponent = numbers.below(60) as i32 - 40;
        x.push(numbers.float() * 2f32.powi(exponent));
        x.push(numbers.float() * 20.0);
    }
    x
}

type Exact = fn(f64) -> f64;

/// The functions with their twins in f64, and the units they may be off by.
fn functions() -> Vec<(&'static str, Exact, f64)> {
    vec![
        ("f_exp", |x| math::exp::<Portable, f64>(x), 2.0),
        ("f_expm1", |x| math::expm1::<Portable, f64>(x), 3.0),
        ("f_log", |x| math::log::<Portable, f64>(x), 2.5),
        ("f_log1p", |x| math::log1p::<Portable, f64>(x), 2.5),
        ("f_tanh", |x| math::tanh::<Portable, f64>(x), 4.0),
        ("f_sigmoid", |x| math::sigmoid::<Portable, f64>(x), 4.0),
        ("f_softplus", |x| math::softplus::<Portable, f64>(x), 3.0),
        ("f_erf", |x| math::erf::<Portable, f64>(x), 3.0),
        ("f_sin", f64::sin, 3.0),
        ("f_cos", f64::cos, 3.0),
    ]
}

/// Within a few units in the last place of f64's, NaN and infinities included. Where the result is subnormal, drivers may
/// flush it.
#[test]
fn elementary_functions_are_accurate() {
    let Some(device) = device() else { return };
    let x = arguments();
    for (name, exact, allowed) in functions() {
        let found = floats(&evaluate(device, &format!("bitcast<u32>({name}(x))"), &x, &x));
        let mut worst = (0.0, String::new());
        for (&x, found) in x.iter().zip(found) {
            let exact = exact(f64::from(x));
            let off =
                if exact.abs() < 1.2e-38 { f64::from(found).abs() / 1.2e-38 } else { ulps(found, exact) };
            if off > worst.0 {
                worst = (off, format!("{name}({x:e}) = {found:e}, not {exact:e}: off by {off:.2} units"));
            }
        }
        assert!(worst.0 <= allowed, "{}", worst.1);
    }
}

#[test]
fn powers_are_accurate() {
    let Some(device) = device() else { return };
    let special =
        [0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 0.5, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 3.0, 1e20];
    let mut pairs: Vec<(f32, f32)> = special.iter().flat_map(|&x| special.map(|y| (x, y))).collect();
    let mut numbers = Numbers::new(12);
    for _ in 0..2000 {
        pairs
            .push((numbers.float().abs() * 2f32.powi(numbers.below(20) as i32 - 10), numbers.float() * 12.0));
        pairs.push((-numbers.float() * 8.0, numbers.below(20) as f32 - 10.0));
    }
    let (x, y): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
    let found = floats(&evaluate(device, "bitcast<u32>(f_pow(x, y))", &x, &y));
    let mut worst = (0.0, String::new());
    for ((&x, &y), found) in x.iter().zip(&y).zip(found) {
        let exact = f64::from(x).powf(f64::from(y));
        let off = if exact.abs() < 1.2e-38 { f64::from(found).abs() / 1.2e-38 } else { ulps(found, exact) };
        if off > worst.0 {
            worst = (off, format!("f_pow({x:e}, {y:e}) = {found:e}, not {exact:e}: off by {off:.2} units"));
        }
    }
    println!("{}", worst.1);
    assert!(worst.0 <= 3.0, "{}", worst.1);
}

#[test]
fn nan_and_order_are_told_by_bits() {
    let Some(device) = device() else { return };
    let values = [f32::NAN, -f32::NAN, 0.0, -0.0, 1.5, -2.5, f32::INFINITY, f32::NEG_INFINITY];
    let (x, y): (Vec<f32>, Vec<f32>) = values.iter().flat_map(|&x| values.map(|y| (x, y))).unzip();
    let nan = evaluate(device, "u32(f_is_nan(x))", &x, &y);
    let larger = floats(&evaluate(device, "bitcast<u32>(f_max(x, y))", &x, &y));
    let smaller = floats(&evaluate(device, "bitcast<u32>(f_min(x, y))", &x, &y));
    let relu = floats(&evaluate(device, "bitcast<u32>(f_relu(x))", &x, &y));
    let sign = floats(&evaluate(device, "bitcast<u32>(f_sign(x))", &x, &y));
    let same = |a: f32, b: f32| a == b || (a.is_nan() && b.is_nan());
    for (i, (&x, &y)) in x.iter().zip(&y).enumerate() {
        assert_eq!(nan[i] == 1, x.is_nan());
        let either = x.is_nan() || y.is_nan();
        assert!(
            same(larger[i], if either { f32::NAN } else { x.max(y) }),
            "max of {x}, {y} is {}",
            larger[i]
        );
        assert!(
            same(smaller[i], if either { f32::NAN } else { x.min(y) }),
            "min of {x}, {y} is {}",
            smaller[i]
        );
        assert!(same(relu[i], if x.is_nan() { x } else { x.max(0.0) }), "relu of {x} is {}", relu[i]);
        let wanted = if x.is_nan() { x } else { f32::from(i8::from(x > 0.0) - i8::from(x < 0.0)) };
        assert!(same(sign[i], wanted), "sign of {x} is {}", sign[i]);
    }
}

#[test]
fn conversions_saturate() {
    let Some(device) = device() else { return };
    let x = [
        0.0f32,
        -0.9,
        1.9,
        -1.9,
        2147483648.0,
        -2147483648.0,
        2147483520.0,
        4294967040.0,
        4294967296.0,
        1e20,
    ];
    let x: Vec<f32> = x.into_iter().chain([-1e20, f32::NAN, f32::INFINITY, f32::NEG_INFINITY]).collect();
    let signed: Vec<u32> = x.iter().map(|&x| x as i32 as u32).collect();
    assert_eq!(evaluate(device, "bitcast<u32>(f_to_i32(x))", &x, &x), signed);
    let unsigned: Vec<u32> = x.iter().map(|&x| x as u32).collect();
    assert_eq!(evaluate(device, "f_to_u32(x)", &x, &x), unsigned);
}

/// Bits and uniform draws are the CPU's, normal draws within the errors of the functions they are made of.
#[test]
fn draws_are_the_cpus() {
    let Some(device) = device() else { return };
    let (seed, draw) = (0x0123_4567_89AB_CDEF_u64, 0xFEDC_0000_0000_0042_u64);
    let n = 1000;
    let x = vec![0.0; n];
    let key = "vec2(0x89ABCDEFu, 0x01234567u), vec2(0x00000042u, 0xFEDC0000u), e";
    let bits = evaluate(device, &format!("random_bits({key})"), &x, &x);
    let uniform = evaluate(device, &format!("bitcast<u32>(random_uniform({key}))"), &x, &x);
    let normal = floats(&evaluate(device, &format!("bitcast<u32>(random_normal({key}))"), &x, &x));
    for e in 0..n {
        assert_eq!(bits[e], random::bits(seed, draw, e as u64));
        assert_eq!(uniform[e], random::uniform_f32(seed, draw, e as u64).to_bits());
        let wanted = random::normal_f32(seed, draw, e as u64);
        assert!((normal[e] - wanted).abs() <= 1e-6, "draw {e} is {}, not {wanted}", normal[e]);
    }
}
