//! Random strided operands and guarded outputs, shared by the tests of the small kernels.

use gradus_kernels::strided::{Element, Strided};

/// SplitMix64 (Steele, Lea, Flood 2014): enough for test data.
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// A shape of up to five axes, often with axes of length 0 and 1, and one of its axes.
    pub fn shape(&mut self) -> (Vec<usize>, usize) {
        let rank = 1 + self.below(5);
        let shape = (0..rank).map(|_| match self.below(20) {
            0 => 0,
            1..5 => 1,
            _ => 2 + self.below(6),
        });
        let shape = shape.collect();
        (shape, self.below(rank))
    }
}

/// What tests draw and compare.
pub trait Sample: Element + std::fmt::Debug {
    /// A value to sit where nothing may write.
    const GUARD: Self;

    /// A draw, now and then a special one.
    fn draw(rng: &mut Rng) -> Self;

    /// The bits, with one NaN.
    fn bits(self) -> u64;
}

macro_rules! floats {
    ($($t:ty),*) => { $(impl Sample for $t {
        const GUARD: Self = -7777.5;

        fn draw(rng: &mut Rng) -> Self {
            match rng.below(40) {
                0 => <$t>::NAN,
                1 => <$t>::INFINITY,
                2 => <$t>::NEG_INFINITY,
                3 => -0.0,
                4 => 0.0,
                5 => -<$t>::NAN,
                6 => <$t>::MIN_POSITIVE / 4.0,
                // Few different values, so that there are equal ones.
                7..15 => rng.below(5) as $t - 2.0,
                _ => (rng.next() as i64 as $t) / (1u64 << 60) as $t,
            }
        }

        fn bits(self) -> u64 {
            if self.is_nan() { u64::MAX } else { self.to_bits().into() }
        }
    })* };
}
floats!(f32, f64);

macro_rules! integers {
    ($($t:ty),*) => { $(impl Sample for $t {
        const GUARD: Self = 0x5a5a_5a5a;

        fn draw(rng: &mut Rng) -> Self {
            if rng.below(2) == 0 { rng.below(5) as $t } else { rng.next() as $t }
        }

        fn bits(self) -> u64 {
            self as u64
        }
    })* };
}
integers!(i32, u32);

impl Sample for bool {
    const GUARD: Self = true;

    fn draw(rng: &mut Rng) -> Self {
        rng.below(2) == 0
    }

    fn bits(self) -> u64 {
        self.into()
    }
}

/// A buffer with strides that lie inside it.
#[derive(Debug)]
pub struct Operand<T> {
    data: Vec<T>,
    offset: usize,
    strides: Vec<isize>,
}

impl<T: Element> Operand<T> {
    /// Elements from `draw`, in a random layout: row-major, or axes in any order with gaps, reversed axes and
    /// broadcast (stride 0) axes.
    pub fn random(rng: &mut Rng, shape: &[usize], mut draw: impl FnMut(&mut Rng) -> T) -> Self {
        let plain = rng.below(3) == 0;
        let mut order: Vec<usize> = (0..shape.len()).rev().collect();
        if !plain && rng.below(2) == 0 {
            (1..order.len()).for_each(|i| order.swap(i, rng.below(i + 1)));
        }
        let mut strides = vec![0; shape.len()];
        let (mut step, mut offset) = (1, rng.below(4));
        for d in order {
            strides[d] = step as isize;
            if plain {
                step *= shape[d].max(1);
                continue;
            }
            match rng.below(6) {
                0 | 1 => strides[d] = 0,
                2 => {
                    strides[d] = -strides[d];
                    offset += step * shape[d].saturating_sub(1);
                    step *= shape[d].max(1);
                }
                3 => step *= shape[d].max(1) + rng.below(3),
                _ => step *= shape[d].max(1),
            }
        }
        let data = (0..offset + step + 3).map(|_| draw(rng)).collect();
        Operand { data, offset, strides }
    }

    /// Row-major, with the axes of `broadcast` at stride 0.
    pub fn dense(
        rng: &mut Rng,
        shape: &[usize],
        broadcast: std::ops::Range<usize>,
        mut draw: impl FnMut(&mut Rng) -> T,
    ) -> Self {
        let mut strides = vec![1; shape.len()];
        for d in (1..shape.len()).rev() {
            strides[d - 1] = strides[d] * shape[d] as isize;
        }
        strides[broadcast].fill(0);
        Operand { data: (0..shape.iter().product()).map(|_| draw(rng)).collect(), offset: 0, strides }
    }

    pub fn view(&self) -> Strided<'_, T> {
        Strided::new(&self.data, self.offset, &self.strides)
    }
}

/// An output of `n` elements given to `f`, with guards before and behind it that must stay.
pub fn guarded<T: Sample, R>(n: usize, f: impl FnOnce(&mut [T]) -> R) -> (R, Vec<T>) {
    const MARGIN: usize = 67;
    let mut buffer = vec![T::GUARD; n + 2 * MARGIN];
    let result = f(&mut buffer[MARGIN..MARGIN + n]);
    let guards = buffer[..MARGIN].iter().chain(&buffer[MARGIN + n..]);
    assert!(guards.into_iter().all(|g| g.bits() == T::GUARD.bits()), "written outside the output");
    (result, buffer[MARGIN..MARGIN + n].to_vec())
}

/// The bits of every element.
pub fn bits<T: Sample>(values: &[T]) -> Vec<u64> {
    values.iter().map(|v| v.bits()).collect()
}

/// `f` on pools of 1, 2 and 4 threads; all must give the same bits.
#[cfg(feature = "parallel")]
pub fn same_on_any_threads<T: Sample>(f: impl Fn() -> Vec<T> + Sync) {
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        bits(&pool.install(&f))
    };
    let one = run(1);
    for threads in [2, 4] {
        assert!(run(threads) == one, "{threads} threads give other bits than one");
    }
}
