//! The inner loops of reductions, compiled once per instruction-set level.

use super::{LANES, Reduction};
use crate::DType;
use crate::pointwise::Lane;
use crate::simd::{Level, prefetch};

/// How far ahead of a fold memory is asked for, in bytes.
const AHEAD: usize = 2048;

/// The loops of one reduction of one type. Positions that beat all before are kept beside the values for ArgMax and
/// ArgMin.
#[derive(Clone, Copy)]
pub(super) struct Folds {
    /// `flat(acc, x, n)`: folds `x[i]` into `acc[i]` for `i < n`.
    pub flat: unsafe fn(*mut u8, *const u8, usize),
    /// `lanes(acc, x, n)`: folds `x[i]` into `acc[i % LANES]` for `i < n`.
    pub lanes: unsafe fn(*mut u8, *const u8, usize),
    /// `rows(out, x, rows, len)`: one result for each row of `len` elements, in the documented order.
    pub rows: unsafe fn(*mut u8, *const u8, usize, usize),
    /// `planes(acc, x, count, [step, n, lane])`: for each of `count` planes, `step` apart in `x`, folds its first `n`
    /// elements into [`LANES`] lanes of its own, element `i` into lane `(lane + i) % LANES`.
    pub planes: unsafe fn(*mut u8, *const u8, usize, [usize; 3]),
    /// `best(value, x, n)`: the first extreme of `n > 0` elements to `value`; returns its position.
    pub best: unsafe fn(*mut u8, *const u8, usize) -> usize,
    /// `flat_best(values, positions, x, n, r)`: where `x[i]` beats `values[i]`, takes it and the position `r`.
    pub flat_best: unsafe fn(*mut u8, *mut u32, *const u8, usize, u32),
    /// Whether the first value beats the second.
    pub beats: unsafe fn(*const u8, *const u8) -> bool,
    /// The bytes of the result for nothing, in the first of which an element lies.
    pub identity: [u8; 8],
}

/// An associative operation with an identity.
trait Fold<T: Copy> {
    const IDENTITY: T;
    fn fold(a: T, b: T) -> T;
    /// Whether `a` replaces `b`, the extreme so far.
    fn beats(a: T, b: T) -> bool;
}

struct Sum;
struct Max;
struct Min;

macro_rules! folds {
    ($t:ty, $zero:expr, $least:expr, $greatest:expr, |$a:ident, $b:ident| $sum:expr, $max:expr, $min:expr, $above:expr, $below:expr) => {
        folds!(@one $t, Sum, $zero, |$a, $b| $sum, false);
        folds!(@one $t, Max, $least, |$a, $b| $max, $above);
        folds!(@one $t, Min, $greatest, |$a, $b| $min, $below);
    };
    (@one $t:ty, $name:ident, $identity:expr, |$a:ident, $b:ident| $fold:expr, $beats:expr) => {
        impl Fold<$t> for $name {
            const IDENTITY: $t = $identity;
            #[inline(always)]
            fn fold($a: $t, $b: $t) -> $t {
                $fold
            }
            #[inline(always)]
            fn beats(_a: $t, _b: $t) -> bool {
                let ($a, $b) = (_a, _b);
                let _ = ($a, $b);
                $beats
            }
        }
    };
}
macro_rules! float {
    ($t:ty) => {
        folds!(
            $t,
            0.0,
            <$t>::NEG_INFINITY,
            <$t>::INFINITY,
            |a, b| a + b,
            if (b > a) | b.is_nan() { b } else { a },
            if (b < a) | b.is_nan() { b } else { a },
            ((a > b) | a.is_nan()) & !b.is_nan(),
            ((a < b) | a.is_nan()) & !b.is_nan()
        );
    };
}
float!(f32);
float!(f64);
folds!(
    i32,
    0,
    i32::MIN,
    i32::MAX,
    |a, b| a.wrapping_add(b),
    if b > a { b } else { a },
    if b < a { b } else { a },
    a > b,
    a < b
);
folds!(
    u32,
    0,
    u32::MIN,
    u32::MAX,
    |a, b| a.wrapping_add(b),
    if b > a { b } else { a },
    if b < a { b } else { a },
    a > b,
    a < b
);
folds!(u8, 0, 0, 1, |a, b| a | b, a | b, a & b, a > b, a < b);

/// # Safety
/// As [`Folds::flat`]: `acc` and `x` have `n` elements and do not overlap.
#[inline(always)]
unsafe fn flat<T: Copy, F: Fold<T>>(acc: *mut u8, x: *const u8, n: usize) {
    // SAFETY: the caller's promise.
    let (acc, x) = unsafe {
        (std::slice::from_raw_parts_mut(acc.cast::<T>(), n), std::slice::from_raw_parts(x.cast::<T>(), n))
    };
    for (a, &x) in acc.iter_mut().zip(x) {
        *a = F::fold(*a, x);
    }
}

#[inline(always)]
fn fold_lanes<T: Copy, F: Fold<T>>(lanes: &mut [T; LANES], x: &[T]) {
    let (chunks, rest) = x.as_chunks::<LANES>();
    let mut sum = *lanes;
    for chunk in chunks {
        prefetch(chunk.as_ptr().wrapping_byte_add(AHEAD));
        for l in 0..LANES {
            sum[l] = F::fold(sum[l], chunk[l]);
        }
    }
    for (a, &x) in sum.iter_mut().zip(rest) {
        *a = F::fold(*a, x);
    }
    *lanes = sum;
}

/// # Safety
/// As [`Folds::lanes`]: `acc` has [`LANES`] elements, `x` has `n`.
#[inline(always)]
unsafe fn lanes<T: Copy, F: Fold<T>>(acc: *mut u8, x: *const u8, n: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let x = std::slice::from_raw_parts(x.cast::<T>(), n);
        fold_lanes::<T, F>(&mut *acc.cast::<[T; LANES]>(), x);
    }
}

/// # Safety
/// As [`Folds::rows`]: `out` has `rows` elements, `x` has `rows * len`.
#[inline(always)]
unsafe fn rows<T: Copy, F: Fold<T>>(out: *mut u8, x: *const u8, rows: usize, len: usize) {
    // SAFETY: the caller's promise.
    let (out, x) = unsafe {
        (
            std::slice::from_raw_parts_mut(out.cast::<T>(), rows),
            std::slice::from_raw_parts(x.cast::<T>(), rows * len),
        )
    };
    match len {
        2 => return tiny_rows::<T, F, 2>(out, x),
        3 => return tiny_rows::<T, F, 3>(out, x),
        4 => return tiny_rows::<T, F, 4>(out, x),
        _ => {}
    }
    // Several rows at once: each fold waits for the one before it, but not for those of other rows.
    let (fours, few) = out.as_chunks_mut::<4>();
    let (x, rest) = x.split_at(4 * len * fours.len());
    for (out, rows) in fours.iter_mut().zip(x.chunks_exact(4 * len)) {
        *out = fold_rows::<T, F, 4>(rows, len);
    }
    let (pair, last) = few.as_chunks_mut::<2>();
    for out in pair {
        *out = fold_rows::<T, F, 2>(&rest[..2 * len], len);
    }
    for out in last {
        [*out] = fold_rows::<T, F, 1>(&rest[rest.len() - len..], len);
    }
}

/// One result for each of `N` rows of `len` elements.
#[inline(always)]
fn fold_rows<T: Copy, F: Fold<T>, const N: usize>(x: &[T], len: usize) -> [T; N] {
    let mut lanes = [[F::IDENTITY; LANES]; N];
    let whole = len / LANES * LANES;
    for at in (0..whole).step_by(LANES) {
        for (k, lanes) in lanes.iter_mut().enumerate() {
            let chunk = &x[k * len + at..][..LANES];
            prefetch(chunk.as_ptr().wrapping_byte_add(AHEAD));
            for l in 0..LANES {
                lanes[l] = F::fold(lanes[l], chunk[l]);
            }
        }
    }
    for (k, lanes) in lanes.iter_mut().enumerate() {
        for (a, &x) in lanes.iter_mut().zip(&x[k * len + whole..(k + 1) * len]) {
            *a = F::fold(*a, x);
        }
    }
    lanes.map(|mut lanes| {
        let mut half = LANES / 2;
        while half > 0 {
            for l in 0..half {
                lanes[l] = F::fold(lanes[l], lanes[l + half]);
            }
            half /= 2;
        }
        lanes[0]
    })
}

/// Rows so short that most lanes would stay empty: the same folds without those, which change nothing.
#[inline(always)]
fn tiny_rows<T: Copy, F: Fold<T>, const LEN: usize>(out: &mut [T], x: &[T]) {
    for (out, row) in out.iter_mut().zip(x.as_chunks::<LEN>().0) {
        let mut lanes = row.map(|x| F::fold(F::IDENTITY, x));
        let mut half = LEN.next_power_of_two() / 2;
        while half > 0 {
            for l in half..LEN.min(2 * half) {
                lanes[l - half] = F::fold(lanes[l - half], lanes[l]);
            }
            half /= 2;
        }
        *out = lanes[0];
    }
}

/// # Safety
/// As [`Folds::planes`]: `acc` has [`LANES`] elements for each of `count` planes, `x` has `n` for each, `lane < LANES`.
#[inline(always)]
unsafe fn planes<T: Copy, F: Fold<T>>(acc: *mut u8, x: *const u8, count: usize, [step, n, lane]: [usize; 3]) {
    let head = n.min(LANES - lane);
    for k in 0..count {
        // SAFETY: the caller's promise.
        let (lanes, x) = unsafe {
            let lanes = &mut *acc.cast::<[T; LANES]>().add(k);
            (lanes, std::slice::from_raw_parts(x.cast::<T>().add(k * step), n))
        };
        for (a, &x) in lanes[lane..].iter_mut().zip(&x[..head]) {
            *a = F::fold(*a, x);
        }
        fold_lanes::<T, F>(lanes, &x[head..]);
    }
}

/// [`planes`] for sums of f32 with masks in place of shorter loops.
///
/// # Safety
/// As [`Folds::planes`]; the machine has AVX-512.
#[cfg(all(target_arch = "x86_64", feature = "avx512"))]
#[target_feature(enable = "avx512f")]
unsafe fn masked_planes(acc: *mut u8, x: *const u8, count: usize, [step, n, lane]: [usize; 3]) {
    use std::arch::x86_64::*;
    let (acc, x) = (acc.cast::<f32>(), x.cast::<f32>());
    // Vectors begin where lane 0 would be; those of the first and the last that are not of the plane are not read.
    let vectors = (lane + n).div_ceil(LANES);
    let first = u16::MAX << lane;
    let last = u16::MAX >> ((LANES - (lane + n) % LANES) % LANES);
    let first = if vectors == 1 { first & last } else { first };
    for k in 0..count {
        let from = x.wrapping_add(k * step).wrapping_sub(lane);
        let at = |v: usize| from.wrapping_add(v * LANES);
        // SAFETY: the caller's promise; masks keep all reads within the `n` elements of the plane.
        unsafe {
            let lanes = acc.add(k * LANES);
            let sum = _mm512_loadu_ps(lanes);
            let mut sum = _mm512_mask_add_ps(sum, first, sum, _mm512_maskz_loadu_ps(first, at(0)));
            for v in 1..vectors.saturating_sub(1) {
                sum = _mm512_add_ps(sum, _mm512_loadu_ps(at(v)));
            }
            if vectors > 1 {
                sum = _mm512_mask_add_ps(sum, last, sum, _mm512_maskz_loadu_ps(last, at(vectors - 1)));
            }
            _mm512_storeu_ps(lanes, sum);
        }
    }
}

/// # Safety
/// As [`Folds::best`]: `x` has `n > 0` elements, `value` one.
#[inline(always)]
unsafe fn best<T: Copy, F: Fold<T>>(value: *mut u8, x: *const u8, n: usize) -> usize {
    // SAFETY: the caller's promise.
    let x = unsafe { std::slice::from_raw_parts(x.cast::<T>(), n) };
    let (mut top, mut at) = ([x[0]; LANES], [0u32; LANES]);
    let (chunks, rest) = x.as_chunks::<LANES>();
    for (k, chunk) in chunks.iter().enumerate() {
        for l in 0..LANES {
            let beats = F::beats(chunk[l], top[l]);
            top[l] = if beats { chunk[l] } else { top[l] };
            at[l] = if beats { (k * LANES + l) as u32 } else { at[l] };
        }
    }
    let (mut extreme, mut position) = (top[0], at[0]);
    // Short of one chunk all lanes still hold the first element.
    let used = if chunks.is_empty() { 1 } else { LANES };
    for l in 1..used {
        let tied = !F::beats(extreme, top[l]) && at[l] < position;
        if F::beats(top[l], extreme) || tied {
            (extreme, position) = (top[l], at[l]);
        }
    }
    for (i, &x) in rest.iter().enumerate() {
        if F::beats(x, extreme) {
            (extreme, position) = (x, (n - rest.len() + i) as u32);
        }
    }
    // SAFETY: the caller's promise.
    unsafe { value.cast::<T>().write(extreme) };
    position as usize
}

/// # Safety
/// As [`Folds::flat_best`]: all have `n` elements and do not overlap.
#[inline(always)]
unsafe fn flat_best<T: Copy, F: Fold<T>>(values: *mut u8, at: *mut u32, x: *const u8, n: usize, r: u32) {
    // SAFETY: the caller's promise.
    let (values, at, x) = unsafe {
        (
            std::slice::from_raw_parts_mut(values.cast::<T>(), n),
            std::slice::from_raw_parts_mut(at, n),
            std::slice::from_raw_parts(x.cast::<T>(), n),
        )
    };
    for ((value, at), &x) in values.iter_mut().zip(at).zip(x) {
        let beats = F::beats(x, *value);
        *value = if beats { x } else { *value };
        *at = if beats { r } else { *at };
    }
}

/// # Safety
/// Both have an element of type `T`.
unsafe fn beats<T: Copy, F: Fold<T>>(a: *const u8, b: *const u8) -> bool {
    // SAFETY: the caller's promise.
    unsafe { F::beats(*a.cast::<T>(), *b.cast::<T>()) }
}

macro_rules! level {
    ($module:ident $(, $features:literal)?) => {
        mod $module {
            use super::*;

            level!(@fn flat($($features)?) (acc: *mut u8, x: *const u8, n: usize));
            level!(@fn lanes($($features)?) (acc: *mut u8, x: *const u8, n: usize));
            level!(@fn rows($($features)?) (out: *mut u8, x: *const u8, count: usize, len: usize));
            level!(@fn planes($($features)?) (acc: *mut u8, x: *const u8, count: usize, form: [usize; 3]));
            level!(@fn best($($features)?) (value: *mut u8, x: *const u8, n: usize) -> usize);
            level!(@fn flat_best($($features)?) (values: *mut u8, at: *mut u32, x: *const u8, n: usize, r: u32));

            pub(super) fn folds<T: Copy, F: Fold<T>>(identity: [u8; 8]) -> Folds {
                Folds {
                    flat: flat::<T, F>,
                    lanes: lanes::<T, F>,
                    rows: rows::<T, F>,
                    planes: planes::<T, F>,
                    best: best::<T, F>,
                    flat_best: flat_best::<T, F>,
                    beats: beats::<T, F>,
                    identity,
                }
            }
        }
    };
    (@fn $name:ident($($features:literal)?) ($($arg:ident: $t:ty),*) $(-> $result:ty)?) => {
        /// # Safety
        /// As the loop of this name; the machine has the level's features.
        $(#[target_feature(enable = $features)])?
        unsafe fn $name<T: Copy, F: Fold<T>>($($arg: $t),*) $(-> $result)? {
            // SAFETY: the caller's promise.
            unsafe { super::$name::<T, F>($($arg),*) }
        }
    };
}

level!(portable);
#[cfg(target_arch = "x86_64")]
level!(avx2, "avx2,fma");
#[cfg(all(target_arch = "x86_64", feature = "avx512"))]
level!(avx512, "avx512f,avx512bw,avx512dq,avx512vl,fma");

/// The loops of a reduction of elements of type `T`. Those of integers and bools, which are labels and masks, are portable
/// at every level, as in `pointwise`.
fn of<T: Lane, F: Fold<T>>(level: Level) -> Folds {
    let mut identity = [0; 8];
    assert!(size_of::<T>() <= identity.len());
    // SAFETY: the array has room for one element; the write is unaligned.
    unsafe { identity.as_mut_ptr().cast::<T>().write_unaligned(F::IDENTITY) };
    let level = if T::EVERY_LEVEL { level } else { Level::Portable };
    match level {
        Level::Portable => portable::folds::<T, F>(identity),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => avx2::folds::<T, F>(identity),
        #[cfg(all(target_arch = "x86_64", feature = "avx512"))]
        Level::Avx512 => avx512::folds::<T, F>(identity),
        #[cfg(not(all(target_arch = "x86_64", feature = "avx512")))]
        _ => portable::folds::<T, F>(identity),
    }
}

/// The loops that reduce elements of type `dtype`.
pub(super) fn folds(reduction: Reduction, dtype: DType, level: Level) -> Folds {
    macro_rules! typed {
        ($fold:ty) => {
            match dtype {
                DType::F32 => of::<f32, $fold>(level),
                DType::F64 => of::<f64, $fold>(level),
                DType::I32 => of::<i32, $fold>(level),
                DType::U32 => of::<u32, $fold>(level),
                DType::Bool => of::<u8, $fold>(level),
            }
        };
    }
    #[cfg(all(target_arch = "x86_64", feature = "avx512"))]
    if (reduction, dtype, level) == (Reduction::Sum, DType::F32, Level::Avx512) {
        return Folds { planes: masked_planes, ..typed!(Sum) };
    }
    match reduction {
        Reduction::Sum => typed!(Sum),
        Reduction::Max | Reduction::ArgMax => typed!(Max),
        Reduction::Min | Reduction::ArgMin => typed!(Min),
    }
}
