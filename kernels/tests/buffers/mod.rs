//! Operands for the tests: strided views into buffers with guards around them, and values that hurt.

use std::sync::Mutex;

use gradus_kernels::simd::{self, Level};
use gradus_kernels::{DType, MAX_RANK, RawView, contiguous};

/// The level is one for the process; each test holds it while it runs.
static LEVEL: Mutex<()> = Mutex::new(());

/// Runs `f` at every level of SIMD that the machine has.
pub fn at_levels(mut f: impl FnMut(Level)) {
    let _held = LEVEL.lock().unwrap_or_else(|e| e.into_inner());
    for level in simd::available() {
        simd::force(level);
        f(level);
    }
    simd::force(simd::detected());
}

/// A small generator of pseudo-random words (splitmix64), so that failures repeat.
pub struct Words(pub u64);

impl Words {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// A float: mostly of moderate size, sometimes special.
    pub fn float(&mut self) -> f64 {
        let unit = (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        match self.below(24) {
            0 => [0.0, -0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1.0, -1.0, 0.5][self.below(8)],
            1 => (unit - 0.5) * 1e-30,
            2 => (unit - 0.5) * 200.0,
            3 => (self.below(21) as f64 - 10.0) / 2.0,
            _ => (unit - 0.5) * 8.0,
        }
    }

    fn bits(&mut self, dtype: DType) -> u64 {
        match dtype {
            DType::F32 => (self.float() as f32).to_bits() as u64,
            DType::F64 => self.float().to_bits(),
            DType::I32 | DType::U32 => match self.below(8) {
                0 => [0, 1, u32::MAX as u64, i32::MIN as u32 as u64, i32::MAX as u64][self.below(5)],
                _ => (self.below(2001) as i32 - 1000) as u32 as u64,
            },
            DType::Bool => self.next() & 1,
        }
    }
}

/// How an operand lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    Contiguous,
    /// Axes in reversed order.
    Transposed,
    /// Every axis twice as far apart.
    Spread,
    /// The last axis backwards.
    Reversed,
    /// Rows contiguous, but with gaps between them.
    Padded,
    /// The first axis broadcast.
    FirstBroadcast,
    /// The last axis broadcast.
    LastBroadcast,
    /// All axes but the second broadcast.
    Channel,
    /// One element for all.
    Single,
}

pub const ALL: [Layout; 9] = [
    Layout::Contiguous,
    Layout::Transposed,
    Layout::Spread,
    Layout::Reversed,
    Layout::Padded,
    Layout::FirstBroadcast,
    Layout::LastBroadcast,
    Layout::Channel,
    Layout::Single,
];

/// A buffer, and a view of it with guard bytes on both sides.
#[derive(Clone)]
pub struct Buffer {
    words: Vec<u64>,
    offset: usize,
    strides: [isize; MAX_RANK],
}

const GUARD: usize = 64;
const GUARD_WORD: u64 = 0xA5A5_A5A5_A5A5_A5A5;

impl Buffer {
    /// A buffer full of guard values, with room for `shape` in `layout`.
    pub fn guarded(dtype: DType, shape: &[usize], layout: Layout) -> Buffer {
        let rank = shape.len();
        let mut strides = contiguous(shape);
        let keep = |strides: &mut [isize; MAX_RANK], lens: &[usize], kept: &dyn Fn(usize) -> bool| {
            let mut step = 1;
            for axis in (0..rank).rev() {
                strides[axis] = if kept(axis) { step } else { 0 };
                step *= if kept(axis) { lens[axis] as isize } else { 1 };
            }
        };
        match layout {
            Layout::Contiguous | Layout::Reversed => {}
            Layout::Transposed => {
                let mut step = 1;
                for axis in 0..rank {
                    strides[axis] = step;
                    step *= shape[axis] as isize;
                }
            }
            Layout::Spread => strides.iter_mut().for_each(|s| *s *= 2),
            Layout::Padded => {
                let padded: Vec<usize> = (0..rank).map(|a| shape[a] + 3 * (a + 1 == rank) as usize).collect();
                strides = contiguous(&padded);
            }
            Layout::FirstBroadcast => keep(&mut strides, shape, &|axis| axis != 0),
            Layout::LastBroadcast => keep(&mut strides, shape, &|axis| axis + 1 != rank),
            Layout::Channel => keep(&mut strides, shape, &|axis| axis == 1),
            Layout::Single => keep(&mut strides, shape, &|_| false),
        }
        let mut offset = 0;
        if layout == Layout::Reversed && rank > 0 && shape[rank - 1] > 0 {
            offset = shape[rank - 1] - 1;
            strides[rank - 1] = -1;
        }
        let reach: usize =
            (0..rank).map(|a| shape[a].saturating_sub(1) * strides[a].max(0) as usize).sum::<usize>()
                + offset
                + 1;
        let bytes = reach * dtype.size() + 2 * GUARD;
        Buffer { words: vec![GUARD_WORD; bytes.div_ceil(8)], offset: GUARD + offset * dtype.size(), strides }
    }

    /// A buffer with random values (in the gaps too).
    pub fn random(dtype: DType, shape: &[usize], layout: Layout, words: &mut Words) -> Buffer {
        let mut buffer = Buffer::guarded(dtype, shape, layout);
        let size = dtype.size();
        let count = buffer.words.len() * 8 / size;
        let at = buffer.words.as_mut_ptr().cast::<u8>();
        for i in 0..count {
            let bytes = words.bits(dtype).to_le_bytes();
            // SAFETY: element i of `count` lies within the buffer.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), at.add(i * size), size) };
        }
        buffer
    }

    pub fn view(&mut self) -> RawView {
        RawView { ptr: self.words.as_mut_ptr().cast::<u8>().wrapping_add(self.offset), strides: self.strides }
    }

    /// All elements as floats (bytes for bool), guards and gaps included.
    pub fn elements(&self, dtype: DType) -> Vec<f64> {
        let bytes: Vec<u8> = self.words.iter().flat_map(|w| w.to_ne_bytes()).collect();
        let chunk = |size: usize| bytes.chunks_exact(size);
        match dtype {
            DType::F32 => {
                chunk(4).map(|b| f32::from_ne_bytes(b.try_into().expect("4 bytes")) as f64).collect()
            }
            DType::F64 => chunk(8).map(|b| f64::from_ne_bytes(b.try_into().expect("8 bytes"))).collect(),
            DType::I32 => {
                chunk(4).map(|b| i32::from_ne_bytes(b.try_into().expect("4 bytes")) as f64).collect()
            }
            DType::U32 => {
                chunk(4).map(|b| u32::from_ne_bytes(b.try_into().expect("4 bytes")) as f64).collect()
            }
            DType::Bool => bytes.iter().map(|&b| b as f64).collect(),
        }
    }
}

/// Whether two results are the same number, all NaNs being one.
pub fn same(a: f64, b: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan())
}

/// Asserts that two results agree: exactly, or within `ulp` units in the last place of `dtype`.
pub fn assert_close(got: &[f64], want: &[f64], dtype: DType, ulp: f64, what: &str) {
    let (epsilon, least) = match dtype {
        DType::F32 => (f32::EPSILON as f64, f32::from_bits(1) as f64),
        _ => (f64::EPSILON, f64::from_bits(1)),
    };
    assert_eq!(got.len(), want.len());
    for (i, (&g, &w)) in got.iter().zip(want).enumerate() {
        let near = ulp > 0.0 && (g - w).abs() <= ulp * (w.abs() * epsilon).max(least);
        assert!(same(g, w) || near, "{what}: element {i} is {g:e}, should be {w:e}");
    }
}
