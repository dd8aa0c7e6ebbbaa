//! GEMM against the plain loop: every instruction set, ragged sizes, any strides, any number of threads.

use gradus_kernels::gemm::{self, BatchAxis, Block, Float, Gemm};
use gradus_kernels::naive;
use gradus_kernels::simd::{self, Level};
use std::sync::{Mutex, MutexGuard};

/// The level is one for the whole process, so tests that force it take turns.
static LEVEL: Mutex<()> = Mutex::new(());

fn at_every_level(mut test: impl FnMut(Level)) {
    let _turn: MutexGuard<()> = LEVEL.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    for level in simd::available() {
        assert_eq!(simd::force(level), level);
        test(level);
    }
    simd::force(simd::detected());
}

/// A small generator (SplitMix64): the tests need variety, not quality.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// Small integers: every sum of products is exact, in any order.
    fn integer<T: Real>(&mut self) -> T {
        T::of(self.below(9) as f64 - 4.0)
    }

    fn uniform<T: Real>(&mut self) -> T {
        T::of(self.next() as f64 / 2f64.powi(63) - 1.0)
    }
}

trait Real: Float {
    fn of(x: f64) -> Self;
    fn f64(self) -> f64;
}

impl Real for f32 {
    fn of(x: f64) -> f32 {
        x as f32
    }
    fn f64(self) -> f64 {
        self as f64
    }
}

impl Real for f64 {
    fn of(x: f64) -> f64 {
        x
    }
    fn f64(self) -> f64 {
        self
    }
}

/// How one operand is stored: strides along (row, column), in elements, given its extents.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Storage {
    Rows,
    Columns,
    /// Rows with a gap after each.
    Padded,
    /// No unit stride at all.
    Sparse,
    /// Both axes backwards.
    Reversed,
    /// Every row the same.
    OneRow,
    /// Every column the same.
    OneColumn,
}

const STORAGES: [Storage; 7] = [
    Storage::Rows,
    Storage::Columns,
    Storage::Padded,
    Storage::Sparse,
    Storage::Reversed,
    Storage::OneRow,
    Storage::OneColumn,
];

fn strides(storage: Storage, rows: usize, cols: usize) -> [isize; 2] {
    let (rows, cols) = (rows as isize, cols as isize);
    match storage {
        Storage::Rows => [cols, 1],
        Storage::Columns => [1, rows],
        Storage::Padded => [cols + 3, 1],
        Storage::Sparse => [2, 2 * rows + 5],
        Storage::Reversed => [-cols, -1],
        Storage::OneRow => [0, 1],
        Storage::OneColumn => [1, 0],
    }
}

/// Memory for the offsets `span`, NaN where no index leads (whatever reads there is found out).
fn fill<T: Real>(span: (isize, isize), axes: &[(usize, isize)], mut value: impl FnMut() -> T) -> Vec<T> {
    let mut memory = vec![T::of(f64::NAN); (span.1 - span.0 + 1) as usize];
    let total: usize = axes.iter().map(|axis| axis.0).product();
    for flat in 0..total {
        let (mut rest, mut at) = (flat, -span.0);
        for &(len, stride) in axes.iter().rev() {
            at += (rest % len) as isize * stride;
            rest /= len;
        }
        memory[at as usize] = value();
    }
    memory
}

fn operands<T: Real>(g: &Gemm, mut value: impl FnMut() -> T) -> (Vec<T>, Vec<T>) {
    let mut axes: Vec<_> = g.batch.iter().map(|x| (x.len, x.a)).collect();
    axes.extend([(g.m, g.a[0]), (g.k, g.a[1])]);
    let a = fill(g.a_span(), &axes, &mut value);
    let mut axes: Vec<_> = g.batch.iter().map(|x| (x.len, x.b)).collect();
    axes.extend([(g.k, g.b[0]), (g.n, g.b[1])]);
    (a, fill(g.b_span(), &axes, value))
}

fn simple(m: usize, n: usize, k: usize, a: Storage, b: Storage) -> Gemm {
    Gemm { m, n, k, a: strides(a, m, k), b: strides(b, k, n), batch: vec![] }
}

const GUARD: f64 = 77.0;
const MARGIN: usize = 40;

/// Runs on exact integers inside guard values, checks every bit against the plain loop and that the blocks given
/// to the epilogue tile C exactly and were final.
fn check_exact<T: Real>(g: &Gemm, draw: &mut Draw, what: &str) {
    let (a, b) = operands::<T>(g, || draw.integer());
    let len = g.batches() * g.m * g.n;
    let mut want = vec![T::ZERO; len];
    naive::gemm::gemm(g, &a, &b, &mut want);
    let mut memory = vec![T::of(GUARD); len + 2 * MARGIN];
    let c = memory.as_mut_ptr().wrapping_add(MARGIN);
    let (ao, bo) = (g.a_span().0, g.b_span().0);
    let finished = Mutex::new(vec![0u8; len]);
    let address = c as usize;
    let epilogue = |block: Block| {
        let mut finished = finished.lock().unwrap();
        for i in block.rows {
            for j in block.cols.clone() {
                let at = (block.batch * g.m + i) * g.n + j;
                finished[at] += 1;
                // SAFETY: `at` is inside C, and this block is no longer written to.
                let value = unsafe { *(address as *const T).add(at) };
                assert!(
                    value == want[at],
                    "{what} {g:?}: at {at} the epilogue saw {value:?}, not {:?}",
                    want[at]
                );
            }
        }
    };
    // SAFETY: the operands cover the spans, C lies MARGIN inside `memory`.
    unsafe {
        let (a, b) = (a.as_ptr().offset(-ao), b.as_ptr().offset(-bo));
        gemm::run(g, a, b, c, Some(&epilogue));
    }
    assert!(finished.into_inner().unwrap().iter().all(|&n| n == 1), "{what} {g:?}: blocks do not tile C");
    assert!(memory[MARGIN..MARGIN + len] == want[..], "{what} {g:?}: differs from the plain loop");
    let guards = memory[..MARGIN].iter().chain(&memory[MARGIN + len..]);
    assert!(guards.into_iter().all(|&x| x == T::of(GUARD)), "{what} {g:?}: wrote outside C");
}

#[test]
fn ragged_sizes_at_every_level() {
    const M: [usize; 16] = [1, 2, 3, 4, 5, 6, 7, 11, 13, 14, 15, 16, 27, 29, 43, 57];
    const N: [usize; 18] = [1, 2, 3, 7, 8, 9, 15, 16, 17, 24, 31, 32, 33, 47, 48, 49, 65, 97];
    const K: [usize; 10] = [0, 1, 2, 3, 7, 16, 17, 33, 64, 65];
    let mut draw = Draw(1);
    at_every_level(|level| {
        for m in M {
            for n in N {
                let k = K[draw.below(K.len())];
                let (a, b) = (STORAGES[draw.below(7)], STORAGES[draw.below(7)]);
                check_exact::<f32>(&simple(m, n, k, a, b), &mut draw, level.name());
                check_exact::<f64>(&simple(m, n, k, a, b), &mut draw, level.name());
            }
        }
    });
}

#[test]
fn every_pair_of_storages() {
    let mut draw = Draw(2);
    at_every_level(|level| {
        for a in STORAGES {
            for b in STORAGES {
                for (m, n, k) in [(1, 37, 50), (37, 1, 50), (1, 1, 70), (30, 70, 40), (97, 131, 61)] {
                    check_exact::<f32>(&simple(m, n, k, a, b), &mut draw, level.name());
                    check_exact::<f64>(&simple(m, n, k, a, b), &mut draw, level.name());
                }
            }
        }
    });
}

#[test]
fn sizes_around_the_cache_blocks() {
    let mut draw = Draw(3);
    at_every_level(|level| {
        for (m, n, k) in [(130, 260, 511), (129, 257, 513), (310, 90, 1030), (67, 1100, 513), (1500, 33, 100)]
        {
            check_exact::<f32>(&simple(m, n, k, Storage::Rows, Storage::Rows), &mut draw, level.name());
            check_exact::<f32>(&simple(m, n, k, Storage::Rows, Storage::Columns), &mut draw, level.name());
            check_exact::<f64>(&simple(m, n, k, Storage::Columns, Storage::Rows), &mut draw, level.name());
        }
    });
}

/// A is packed once where several blocks of columns are multiplied with it, and k has several blocks too.
#[test]
fn a_is_kept_for_all_blocks_of_columns() {
    let mut draw = Draw(12);
    at_every_level(|level| {
        // Panel by panel of B, then of A, with A packed either way.
        let b = Storage::Columns;
        check_exact::<f32>(&simple(60, 900, 600, Storage::Columns, b), &mut draw, level.name());
        check_exact::<f64>(&simple(262, 260, 1024, Storage::Columns, b), &mut draw, level.name());
        check_exact::<f64>(&simple(262, 260, 1024, Storage::Rows, Storage::Rows), &mut draw, level.name());
    });
}

/// x Wᵀ of few rows is computed transposed.
#[test]
fn few_rows_times_a_transposed_matrix() {
    let mut draw = Draw(8);
    at_every_level(|level| {
        for m in [4, 7, 8, 15, 16, 17, 31, 33, 63, 100, 128, 130] {
            for k in [128, 131, 513, 1030] {
                let n = m + 1 + draw.below(150);
                let a = STORAGES[draw.below(7)];
                check_exact::<f32>(&simple(m, n, k, a, Storage::Columns), &mut draw, level.name());
                check_exact::<f64>(&simple(m, n, k, a, Storage::Columns), &mut draw, level.name());
            }
        }
        let g = simple(20, 70, 140, Storage::Rows, Storage::Columns);
        let batch = vec![BatchAxis { len: 2, a: 0, b: 9800 }, BatchAxis { len: 3, a: 5600, b: 0 }];
        check_exact::<f32>(&Gemm { batch, ..g }, &mut draw, level.name());
    });
}

#[test]
fn batches_with_broadcast() {
    let mut draw = Draw(4);
    at_every_level(|level| {
        for (m, n, k) in [(3, 5, 4), (20, 33, 17), (1, 19, 30), (64, 64, 64), (300, 40, 100)] {
            let (mk, kn) = ((m * k) as isize, (k * n) as isize);
            let batches = [
                vec![BatchAxis { len: 3, a: mk, b: kn }],
                vec![BatchAxis { len: 5, a: mk, b: 0 }],
                vec![BatchAxis { len: 4, a: 0, b: kn }],
                vec![BatchAxis { len: 2, a: 0, b: 3 * kn }, BatchAxis { len: 3, a: -mk, b: kn }],
                vec![BatchAxis { len: 2, a: 4 * mk, b: 0 }, BatchAxis { len: 4, a: mk, b: 0 }],
            ];
            for batch in batches {
                let g = Gemm { batch, ..simple(m, n, k, Storage::Rows, Storage::Rows) };
                check_exact::<f32>(&g, &mut draw, level.name());
                check_exact::<f64>(&g, &mut draw, level.name());
            }
        }
    });
}

#[test]
fn nothing_to_do() {
    let calls = Mutex::new(0);
    let epilogue = |_: Block| *calls.lock().unwrap() += 1;
    let none = vec![BatchAxis { len: 0, a: 1, b: 1 }];
    for (m, n, batch) in [(0, 3, vec![]), (3, 0, vec![]), (2, 2, none)] {
        let g = Gemm { m, n, k: 4, a: [4, 1], b: [3, 1], batch };
        let dangling = std::ptr::NonNull::<f32>::dangling().as_ptr();
        // SAFETY: C is empty, so nothing is read or written.
        unsafe { gemm::run(&g, dangling, dangling, dangling, Some(&epilogue)) };
    }
    assert_eq!(*calls.lock().unwrap(), 0);
}

#[test]
fn a_product_with_nan_or_infinity_is_not_lost() {
    at_every_level(|level| {
        let g = simple(20, 40, 30, Storage::Rows, Storage::Rows);
        let (mut a, mut b) = (vec![0f32; 600], vec![1f32; 1200]);
        (a[3 * 30 + 4], b[5 * 40 + 6]) = (f32::NAN, f32::INFINITY);
        let mut c = vec![0f32; 800];
        gemm::gemm(&g, &a, &b, &mut c);
        for (at, value) in c.iter().enumerate() {
            assert_eq!(value.is_nan(), at / 40 == 3 || at % 40 == 6, "{} at {at}: {value}", level.name());
        }
    });
}

/// Bits of C for uniform inputs of the given storage; the logical matrices are the same for every storage.
fn bits(m: usize, n: usize, k: usize, a: Storage, b: Storage) -> Vec<u32> {
    let g = simple(m, n, k, a, b);
    let mut draw = Draw(5);
    let (a, b) = operands::<f32>(&g, || draw.uniform());
    let mut c = vec![0f32; m * n];
    gemm::gemm(&g, &a, &b, &mut c);
    c.iter().map(|x| x.to_bits()).collect()
}

const AWKWARD: [(usize, usize, usize); 8] = [
    (64, 64, 64),
    (1, 100, 333),
    (100, 1, 333),
    (1, 1, 999),
    (33, 57, 700),
    (128, 300, 257),
    (5, 2, 40),
    (260, 130, 90),
];

#[test]
fn strides_do_not_change_a_bit() {
    at_every_level(|level| {
        for (m, n, k) in AWKWARD {
            let want = bits(m, n, k, Storage::Rows, Storage::Rows);
            for a in [Storage::Rows, Storage::Columns, Storage::Padded, Storage::Sparse, Storage::Reversed] {
                for b in [Storage::Rows, Storage::Columns, Storage::Padded, Storage::Sparse] {
                    let got = bits(m, n, k, a, b);
                    assert!(got == want, "{} {m}x{n}x{k} {a:?} {b:?}", level.name());
                }
            }
        }
    });
}

#[cfg(feature = "parallel")]
#[test]
fn threads_do_not_change_a_bit() {
    at_every_level(|level| {
        for (m, n, k) in AWKWARD.into_iter().chain([(500, 300, 200), (37, 2000, 100), (2000, 16, 100)]) {
            let on = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| bits(m, n, k, Storage::Rows, Storage::Columns))
            };
            let want = on(1);
            assert!(on(2) == want && on(4) == want, "{} {m}x{n}x{k}", level.name());
        }
    });
}

#[test]
fn a_sum_of_products_is_what_adding_them_up_gives() {
    let mut draw = Draw(9);
    at_every_level(|level| {
        for [m, n, k] in [[2, 2, 1], [29, 67, 40], [130, 96, 128], [300, 140, 512], [64, 1100, 131]] {
            for (a, b) in [
                (Storage::Columns, Storage::Rows),
                (Storage::Rows, Storage::Columns),
                (Storage::Reversed, Storage::Padded),
            ] {
                let g = simple(m, n, k, a, b);
                assert!(gemm::adds_up(&g));
                let pairs: Vec<_> = (0..3).map(|_| operands(&g, || draw.uniform::<f32>())).collect();
                let mut expected = vec![0f32; m * n];
                for (at, (a, b)) in pairs.iter().enumerate() {
                    let mut c = vec![0f32; m * n];
                    gemm::gemm(&g, a, b, &mut c);
                    expected.iter_mut().zip(c).for_each(|(sum, x)| *sum = if at == 0 { x } else { *sum + x });
                }
                let first = |x: &[f32], span: (isize, isize)| x.as_ptr().wrapping_offset(-span.0);
                let addresses: Vec<_> =
                    pairs.iter().map(|(a, b)| [first(a, g.a_span()), first(b, g.b_span())]).collect();
                let mut c = vec![f32::NAN; m * n];
                // SAFETY: the operands hold what the spans reach, c what the shape says.
                unsafe { gemm::run_sum(&g, &addresses, c.as_mut_ptr(), None) };
                let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                assert!(bits(&c) == bits(&expected), "{level:?} {a:?} {b:?} {m}x{n}x{k}");
            }
        }
    });
    for g in [simple(1, 4, 3, Storage::Rows, Storage::Rows), simple(4, 4, 513, Storage::Rows, Storage::Rows)]
    {
        assert!(!gemm::adds_up(&g), "{g:?}");
    }
}

#[test]
fn callers_on_several_threads_do_not_disturb_each_other() {
    at_every_level(|level| {
        let want: Vec<_> =
            AWKWARD.iter().map(|&(m, n, k)| bits(m, n, k, Storage::Rows, Storage::Rows)).collect();
        std::thread::scope(|scope| {
            for start in 0..4 {
                let want = &want;
                scope.spawn(move || {
                    for at in (0..AWKWARD.len()).map(|i| (i + start) % AWKWARD.len()) {
                        let (m, n, k) = AWKWARD[at];
                        let got = bits(m, n, k, Storage::Rows, Storage::Rows);
                        assert!(got == want[at], "{} {m}x{n}x{k}", level.name());
                    }
                });
            }
        });
    });
}

#[test]
fn an_epilogue_may_multiply_itself() {
    at_every_level(|_| {
        let g = simple(300, 300, 40, Storage::Rows, Storage::Rows);
        let mut draw = Draw(6);
        let (a, b) = operands::<f32>(&g, || draw.integer());
        let (mut c, mut want) = (vec![0f32; 90_000], vec![0f32; 90_000]);
        naive::gemm::gemm(&g, &a, &b, &mut want);
        let epilogue = |_: Block| {
            let mut inner = vec![0f32; 90_000];
            gemm::gemm(&g, &a, &b, &mut inner);
            assert!(inner == want);
        };
        // SAFETY: the slices have the lengths of the shape.
        unsafe { gemm::run(&g, a.as_ptr(), b.as_ptr(), c.as_mut_ptr(), Some(&epilogue)) };
        assert!(c == want);
    });
}

#[test]
fn no_less_precise_than_twice_the_plain_sum() {
    at_every_level(|level| {
        for (m, n, k) in [(64, 64, 1000), (40, 1, 5000), (128, 100, 784)] {
            let g = simple(m, n, k, Storage::Rows, Storage::Rows);
            let mut draw = Draw(7);
            let (a, b) = operands::<f32>(&g, || draw.uniform());
            let wide = |x: &[f32]| x.iter().map(|x| x.f64()).collect::<Vec<_>>();
            let (mut exact, mut plain, mut fast) = (vec![0f64; m * n], vec![0f32; m * n], vec![0f32; m * n]);
            naive::gemm::gemm(&g, &wide(&a), &wide(&b), &mut exact);
            naive::gemm::gemm(&g, &a, &b, &mut plain);
            gemm::gemm(&g, &a, &b, &mut fast);
            let error =
                |c: &[f32]| c.iter().zip(&exact).map(|(x, y)| (x.f64() - y).powi(2)).sum::<f64>().sqrt();
            let (fast, plain) = (error(&fast), error(&plain));
            assert!(fast <= 2.0 * plain, "{} {m}x{n}x{k}: {fast:e} against {plain:e}", level.name());
        }
    });
}

#[test]
#[should_panic(expected = "A reaches 20 elements, the slice has 19")]
fn a_short_slice_is_refused() {
    let g = simple(4, 3, 5, Storage::Rows, Storage::Rows);
    gemm::gemm(&g, &[0f32; 19], &[0f32; 15], &mut [0f32; 12]);
}
