//! A reduction, one kept position at a time, adding in the order that [`crate::reduce`] defines.

use super::pointwise::{Value, next_index, registers};
use crate::RawView;
use crate::program::Program;
use crate::reduce::{BLOCK, LANES, Reduction};

/// A number that can be summed; what the order of additions is defined on.
trait Add: Copy {
    const ZERO: Self;
    fn add(self, other: Self) -> Self;
}

macro_rules! add {
    ($($t:ty, $zero:expr, |$a:ident, $b:ident| $sum:expr;)*) => {$(
        impl Add for $t {
            const ZERO: Self = $zero;
            fn add(self, other: Self) -> Self {
                let ($a, $b) = (self, other);
                $sum
            }
        }
    )*};
}
add! {
    f32, 0.0, |a, b| a + b;
    f64, 0.0, |a, b| a + b;
    i32, 0, |a, b| a.wrapping_add(b);
    u32, 0, |a, b| a.wrapping_add(b);
    bool, false, |a, b| a | b;
}

/// The sum of `values` in the documented order: blocks of [`BLOCK`], in each [`LANES`] interleaved lanes, both
/// combined pairwise.
fn ordered_sum<T: Add>(values: &[T]) -> T {
    let blocks = values.chunks(BLOCK).map(|block| {
        let mut lanes = [T::ZERO; LANES];
        for (r, &x) in block.iter().enumerate() {
            lanes[r % LANES] = lanes[r % LANES].add(x);
        }
        let mut half = LANES / 2;
        while half > 0 {
            for l in 0..half {
                lanes[l] = lanes[l].add(lanes[l + half]);
            }
            half /= 2;
        }
        lanes[0]
    });
    let mut sums: Vec<T> = blocks.collect();
    while sums.len() > 1 {
        sums =
            sums.chunks(2).map(|pair| if pair.len() == 2 { pair[0].add(pair[1]) } else { pair[0] }).collect();
    }
    sums.first().copied().unwrap_or(T::ZERO)
}

/// Whether `a` replaces the best so far `b`: larger (or smaller), or the first NaN.
fn beats(a: Value, b: Value, max: bool) -> bool {
    match (a, b) {
        (Value::F32(a), Value::F32(b)) => !b.is_nan() && (a.is_nan() || if max { a > b } else { a < b }),
        (Value::F64(a), Value::F64(b)) => !b.is_nan() && (a.is_nan() || if max { a > b } else { a < b }),
        (Value::I32(a), Value::I32(b)) => (max && a > b) || (!max && a < b),
        (Value::U32(a), Value::U32(b)) => (max && a > b) || (!max && a < b),
        (Value::Bool(a), Value::Bool(b)) => (max && a & !b) || (!max && !a & b),
        _ => panic!("values of different types"),
    }
}

fn sum(values: &[Value], like: Value) -> Value {
    macro_rules! sum {
        ($variant:ident) => {{
            let all = values.iter().map(|v| match v {
                Value::$variant(x) => *x,
                other => panic!("unexpected {other:?}"),
            });
            Value::$variant(ordered_sum(&all.collect::<Vec<_>>()))
        }};
    }
    match like {
        Value::F32(_) => sum!(F32),
        Value::F64(_) => sum!(F64),
        Value::I32(_) => sum!(I32),
        Value::U32(_) => sum!(U32),
        Value::Bool(_) => sum!(Bool),
    }
}

/// The maximum (or minimum) of nothing.
fn identity(like: Value, max: bool) -> Value {
    match like {
        Value::F32(_) => Value::F32(if max { f32::NEG_INFINITY } else { f32::INFINITY }),
        Value::F64(_) => Value::F64(if max { f64::NEG_INFINITY } else { f64::INFINITY }),
        Value::I32(_) => Value::I32(if max { i32::MIN } else { i32::MAX }),
        Value::U32(_) => Value::U32(if max { u32::MIN } else { u32::MAX }),
        Value::Bool(_) => Value::Bool(!max),
    }
}

fn reduce(values: &[Value], like: Value, reduction: Reduction) -> Value {
    let best = |max| {
        let mut best = 0;
        for k in 1..values.len() {
            if beats(values[k], values[best], max) {
                best = k;
            }
        }
        best
    };
    match reduction {
        Reduction::Sum => sum(values, like),
        Reduction::Max | Reduction::Min if values.is_empty() => identity(like, reduction == Reduction::Max),
        Reduction::Max => values[best(true)],
        Reduction::Min => values[best(false)],
        Reduction::ArgMax => Value::U32(best(true) as u32),
        Reduction::ArgMin => Value::U32(best(false) as u32),
    }
}

/// What [`crate::reduce::Kernel::run`] computes.
///
/// # Safety
/// As there.
pub unsafe fn run(
    program: &Program,
    reduction: Reduction,
    shape: &[usize],
    axes: u32,
    inputs: &[RawView],
    out: *mut u8,
    params: &[u64],
) {
    let reduced = |axis: usize| axes >> axis & 1 == 1;
    let masked = |of: fn(bool) -> bool| -> Vec<usize> {
        (0..shape.len()).map(|axis| if of(reduced(axis)) { shape[axis] } else { 1 }).collect()
    };
    let (kept_size, reduced_size) = (masked(|r| !r), masked(|r| r));
    if kept_size.contains(&0) {
        return;
    }
    let reg = program.outputs[0] as usize;
    let dtype = program.code[reg].1;
    let out_size = if reduction.is_arg() { 4 } else { dtype.size() };
    let mut kept = vec![0; shape.len()];
    let mut at = out;
    loop {
        let mut values = Vec::new();
        let mut index = kept.clone();
        while !reduced_size.contains(&0) {
            // SAFETY: `index` lies in the space, where the caller promises readable inputs.
            values.push(unsafe { registers(program, shape, &index, inputs, params)[reg] });
            if !next_index(&mut index, &kept, &reduced_size) {
                break;
            }
        }
        // SAFETY: one element for each kept position, in row-major order, is what the caller promises of `out`.
        unsafe {
            reduce(&values, Value::param(dtype, 0), reduction).write(at);
            at = at.add(out_size);
        }
        if !next_index(&mut kept, &vec![0; shape.len()], &kept_size) {
            return;
        }
    }
}
