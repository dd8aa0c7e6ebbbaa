//! A pointwise program one element and one instruction at a time, on the standard library's functions.

use crate::program::{Binary, Instr, Program, Random, Unary};
use crate::{DType, RawView, random};

/// One value of any element type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// An f32.
    F32(f32),
    /// An f64.
    F64(f64),
    /// An i32.
    I32(i32),
    /// A u32.
    U32(u32),
    /// A bool.
    Bool(bool),
}

impl Value {
    /// Reads the value of type `dtype` at `ptr`.
    ///
    /// # Safety
    /// `ptr` is readable and aligned for `dtype`.
    pub unsafe fn read(dtype: DType, ptr: *const u8) -> Value {
        // SAFETY: the caller's promise.
        unsafe {
            match dtype {
                DType::F32 => Value::F32(ptr.cast::<f32>().read()),
                DType::F64 => Value::F64(ptr.cast::<f64>().read()),
                DType::I32 => Value::I32(ptr.cast::<i32>().read()),
                DType::U32 => Value::U32(ptr.cast::<u32>().read()),
                DType::Bool => Value::Bool(ptr.read() != 0),
            }
        }
    }

    /// Writes the value to `ptr`.
    ///
    /// # Safety
    /// `ptr` is writable and aligned for the value's type.
    pub unsafe fn write(self, ptr: *mut u8) {
        // SAFETY: the caller's promise.
        unsafe {
            match self {
                Value::F32(x) => ptr.cast::<f32>().write(x),
                Value::F64(x) => ptr.cast::<f64>().write(x),
                Value::I32(x) => ptr.cast::<i32>().write(x),
                Value::U32(x) => ptr.cast::<u32>().write(x),
                Value::Bool(x) => ptr.write(x as u8),
            }
        }
    }

    /// The value of a run-time parameter.
    pub fn param(dtype: DType, bits: u64) -> Value {
        match dtype {
            DType::F32 => Value::F32(f64::from_bits(bits) as f32),
            DType::F64 => Value::F64(f64::from_bits(bits)),
            DType::I32 => Value::I32(bits as i32),
            DType::U32 => Value::U32(bits as u32),
            DType::Bool => Value::Bool(bits != 0),
        }
    }

    fn bool(self) -> bool {
        match self {
            Value::Bool(x) => x,
            other => panic!("expected a bool, found {other:?}"),
        }
    }

    fn cast(self, to: DType) -> Value {
        macro_rules! number {
            ($x:expr) => {
                match to {
                    DType::F32 => Value::F32($x as f32),
                    DType::F64 => Value::F64($x as f64),
                    DType::I32 => Value::I32($x as i32),
                    DType::U32 => Value::U32($x as u32),
                    DType::Bool => Value::Bool($x as f64 != 0.0),
                }
            };
        }
        match self {
            Value::F32(x) => number!(x),
            Value::F64(x) => number!(x),
            Value::I32(x) => number!(x),
            Value::U32(x) => number!(x),
            Value::Bool(x) if to == DType::Bool => Value::Bool(x),
            Value::Bool(x) => Value::U32(x as u32).cast(to),
        }
    }
}

/// The error function, by its series below 1 (Abramowitz and Stegun 7.1.5) and by the continued fraction of its
/// complement (7.1.14) above.
pub fn erf(x: f64) -> f64 {
    let a = x.abs();
    if a.is_nan() {
        return x;
    }
    let y = if a < 1.0 {
        // Nested from the smallest term: 1 - z (1/3 - z/2 (1/5 - z/3 (1/7 - ...))).
        let nested = (1..30).rev().fold(0.0, |tail, n| a * a / n as f64 * (1.0 / (2 * n + 1) as f64 - tail));
        (1.0 - nested) * a * std::f64::consts::FRAC_2_SQRT_PI
    } else {
        1.0 - erfc_tail(a)
    };
    y.copysign(x)
}

/// The complement of [`erf`] for `a >= 1`.
fn erfc_tail(a: f64) -> f64 {
    if a > 7.0 {
        return 0.0;
    }
    let mut fraction = a;
    for k in (1..250).rev() {
        fraction = a + k as f64 / 2.0 / fraction;
    }
    (-a * a).exp() / fraction * (std::f64::consts::FRAC_2_SQRT_PI / 2.0)
}

fn unary_f64(op: Unary, x: f64) -> f64 {
    match op {
        Unary::Neg => -x,
        Unary::Abs => x.abs(),
        Unary::Sign if x.is_nan() => x,
        Unary::Sign => ((x > 0.0) as i8 - (x < 0.0) as i8) as f64,
        Unary::Floor => x.floor(),
        Unary::Ceil => x.ceil(),
        Unary::Round => x.round_ties_even(),
        Unary::Trunc => x.trunc(),
        Unary::Recip => 1.0 / x,
        Unary::Sqrt => x.sqrt(),
        Unary::Rsqrt => 1.0 / x.sqrt(),
        Unary::Exp => x.exp(),
        Unary::Expm1 => x.exp_m1(),
        Unary::Log => x.ln(),
        Unary::Log1p => x.ln_1p(),
        Unary::Sin => x.sin(),
        Unary::Cos => x.cos(),
        Unary::Tanh => x.tanh(),
        Unary::Sigmoid if x < 0.0 => x.exp() / (1.0 + x.exp()),
        Unary::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Unary::Softplus if x.is_nan() => x,
        Unary::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
        Unary::Relu if x <= 0.0 => 0.0,
        Unary::Relu => x,
        Unary::Erf => erf(x),
        Unary::Not | Unary::IsNan => panic!("{op:?} is no function of floats to floats"),
    }
}

fn unary(op: Unary, x: Value) -> Value {
    match (op, x) {
        (Unary::IsNan, Value::F32(x)) => Value::Bool(x.is_nan()),
        (Unary::IsNan, Value::F64(x)) => Value::Bool(x.is_nan()),
        (Unary::Not, Value::Bool(x)) => Value::Bool(!x),
        // Rounded once per operation, as the program says.
        (Unary::Rsqrt, Value::F32(x)) => Value::F32(1.0 / x.sqrt()),
        (_, Value::F32(x)) => Value::F32(unary_f64(op, x as f64) as f32),
        (_, Value::F64(x)) => Value::F64(unary_f64(op, x)),
        (Unary::Neg, Value::I32(x)) => Value::I32(x.wrapping_neg()),
        (Unary::Abs, Value::I32(x)) => Value::I32(x.wrapping_abs()),
        (Unary::Sign, Value::I32(x)) => Value::I32(x.signum()),
        (Unary::Relu, Value::I32(x)) => Value::I32(x.max(0)),
        (Unary::Neg, Value::U32(x)) => Value::U32(x.wrapping_neg()),
        (Unary::Abs | Unary::Relu, Value::U32(x)) => Value::U32(x),
        (Unary::Sign, Value::U32(x)) => Value::U32(x.min(1)),
        _ => panic!("{op:?} of {x:?}"),
    }
}

fn binary(op: Binary, a: Value, b: Value) -> Value {
    macro_rules! float {
        ($wrap:expr, $a:expr, $b:expr, $pow:expr) => {
            match op {
                Binary::Add => $wrap($a + $b),
                Binary::Sub => $wrap($a - $b),
                Binary::Mul => $wrap($a * $b),
                Binary::Div => $wrap($a / $b),
                Binary::Pow => $wrap($pow),
                Binary::Max => $wrap(if $a > $b || $a.is_nan() { $a } else { $b }),
                Binary::Min => $wrap(if $a < $b || $a.is_nan() { $a } else { $b }),
                _ => compare!($a, $b),
            }
        };
    }
    macro_rules! integer {
        ($wrap:expr, $a:expr, $b:expr) => {
            match op {
                Binary::Add => $wrap($a.wrapping_add($b)),
                Binary::Sub => $wrap($a.wrapping_sub($b)),
                Binary::Mul => $wrap($a.wrapping_mul($b)),
                Binary::Div => $wrap(if $b == 0 { 0 } else { $a.wrapping_div($b) }),
                Binary::Max => $wrap($a.max($b)),
                Binary::Min => $wrap($a.min($b)),
                _ => compare!($a, $b),
            }
        };
    }
    macro_rules! compare {
        ($a:expr, $b:expr) => {
            Value::Bool(match op {
                Binary::Eq => $a == $b,
                Binary::Ne => $a != $b,
                Binary::Lt => $a < $b,
                Binary::Le => $a <= $b,
                _ => panic!("{op:?} of {a:?} and {b:?}"),
            })
        };
    }
    match (a, b) {
        (Value::F32(x), Value::F32(y)) => float!(Value::F32, x, y, (x as f64).powf(y as f64) as f32),
        (Value::F64(x), Value::F64(y)) => float!(Value::F64, x, y, x.powf(y)),
        (Value::I32(x), Value::I32(y)) => integer!(Value::I32, x, y),
        (Value::U32(x), Value::U32(y)) => integer!(Value::U32, x, y),
        (Value::Bool(x), Value::Bool(y)) => match op {
            Binary::Add | Binary::Max => Value::Bool(x | y),
            Binary::Mul | Binary::Min => Value::Bool(x & y),
            Binary::Xor => Value::Bool(x ^ y),
            _ => compare!(x, y),
        },
        _ => panic!("{op:?} of {a:?} and {b:?}"),
    }
}

fn draw(kind: Random, dtype: DType, seed: u64, draw: u64, e: u64) -> Value {
    match (kind, dtype) {
        (Random::Uniform, DType::F32) => Value::F32(random::uniform_f32(seed, draw, e)),
        (Random::Uniform, DType::F64) => Value::F64(random::uniform_f64(seed, draw, e)),
        (Random::Normal, DType::F32) => Value::F32(random::normal_f32(seed, draw, e)),
        (Random::Normal, DType::F64) => Value::F64(random::normal_f64(seed, draw, e)),
        (Random::Bits, DType::U32) => Value::U32(random::bits(seed, draw, e)),
        _ => panic!("{kind:?} of type {dtype}"),
    }
}

/// All registers of `program` at the element `index` of the space `shape`.
///
/// # Safety
/// The inputs are readable at `index`.
pub unsafe fn registers(
    program: &Program,
    shape: &[usize],
    index: &[usize],
    inputs: &[RawView],
    params: &[u64],
) -> Vec<Value> {
    let flat = index.iter().zip(shape).fold(0u64, |flat, (&i, &len)| flat * len as u64 + i as u64);
    let mut regs: Vec<Value> = Vec::with_capacity(program.code.len());
    for &(instr, dtype) in &program.code {
        let value = match instr {
            // SAFETY: the caller's promise.
            Instr::Input(k) => unsafe { Value::read(dtype, address(&inputs[k as usize], index, dtype)) },
            Instr::Param(k) => Value::param(dtype, params[k as usize]),
            Instr::Unary(op, a) => unary(op, regs[a as usize]),
            Instr::Binary(op, a, b) => binary(op, regs[a as usize], regs[b as usize]),
            Instr::Select(c, a, b) => regs[if regs[c as usize].bool() { a } else { b } as usize],
            Instr::Cast(a) => regs[a as usize].cast(dtype),
            Instr::Index => match dtype {
                DType::F32 => Value::F32(flat as f32),
                DType::F64 => Value::F64(flat as f64),
                DType::I32 => Value::I32(flat as i32),
                DType::U32 => Value::U32(flat as u32),
                DType::Bool => Value::Bool(flat != 0),
            },
            Instr::Random { kind, seed, draw: n } => {
                draw(kind, dtype, params[seed as usize], params[n as usize], flat)
            }
        };
        regs.push(value);
    }
    regs
}

fn address(view: &RawView, index: &[usize], dtype: DType) -> *mut u8 {
    let offset: isize = index.iter().zip(view.strides).map(|(&i, stride)| i as isize * stride).sum();
    view.ptr.wrapping_offset(offset * dtype.size() as isize)
}

/// Steps `index` to the next element of the box `start .. start + size`, row-major; false after the last.
pub fn next_index(index: &mut [usize], start: &[usize], size: &[usize]) -> bool {
    for axis in (0..index.len()).rev() {
        index[axis] += 1;
        if index[axis] < start[axis] + size[axis] {
            return true;
        }
        index[axis] = start[axis];
    }
    false
}

/// What [`crate::pointwise::Kernel::run_region`] computes.
///
/// # Safety
/// As there.
pub unsafe fn run_region(
    program: &Program,
    shape: &[usize],
    start: &[usize],
    size: &[usize],
    inputs: &[RawView],
    outputs: &[RawView],
    params: &[u64],
) {
    if size.contains(&0) {
        return;
    }
    let mut index = start.to_vec();
    loop {
        // SAFETY: `index` lies in the region, where the caller promises readable inputs and writable outputs.
        unsafe {
            let regs = registers(program, shape, &index, inputs, params);
            for (view, &reg) in outputs.iter().zip(&program.outputs) {
                let dtype = program.code[reg as usize].1;
                regs[reg as usize].write(address(view, &index, dtype));
            }
        }
        if !next_index(&mut index, start, size) {
            return;
        }
    }
}

/// What [`crate::pointwise::Kernel::run`] computes.
///
/// # Safety
/// As there.
pub unsafe fn run(
    program: &Program,
    shape: &[usize],
    inputs: &[RawView],
    outputs: &[RawView],
    params: &[u64],
) {
    // SAFETY: the region is the whole space, of which the caller promises the same.
    unsafe { run_region(program, shape, &vec![0; shape.len()], shape, inputs, outputs, params) }
}
