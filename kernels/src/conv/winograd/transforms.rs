//! The transforms of F(2 × 2, 3 × 3) and F(2 × 2, 2 × 2), a vector at a time: lanes are channels, which never meet.
//!
//! With the points 0, 1, -1 and infinity they are sums and halves: exact but for the rounding of sums.
//!
//! ```text
//!       ⎡1  0 -1  0⎤       ⎡ 1   0   0 ⎤
//! Bᵀ =  ⎢0  1  1  0⎥   G = ⎢1/2 1/2 1/2⎥   Aᵀ = ⎡1  1  1  0⎤   y = Aᵀ [ (G w Gᵀ) ∘ (Bᵀ x B) ] A
//!       ⎢0 -1  1  0⎥       ⎢1/2-1/2 1/2⎥        ⎣0  1 -1 -1⎦
//!       ⎣0  1  0 -1⎦       ⎣ 0   0   1 ⎦                        dw = Gᵀ [ (A dy Aᵀ) ∘ (Bᵀ x B) ] G
//!
//!       ⎡1 -1  0⎤          ⎡1  0⎤
//! Bᵀ =  ⎢0  1  0⎥      G = ⎢1  1⎥              Aᵀ = ⎡1  1  0⎤
//!       ⎣0  1 -1⎦          ⎣0  1⎦                   ⎣0  1 -1⎦
//! ```

use crate::simd::Level;

/// Elements of a transformed tile of F(2 × 2, 3 × 3).
pub const POINTS: usize = 16;
/// The same of F(2 × 2, 2 × 2).
pub const FEWER: usize = 9;

/// A row of tiles in the plane: `[y, x, lane]`, x adjacent vectors.
pub type Row<T> = unsafe fn(&Tiles<T>);

/// What the transform of a row of tiles reads and writes.
pub struct Tiles<T> {
    /// The first vector of the first tile, in the plane.
    pub plane: *mut T,
    /// Elements from one row of the plane to the next, and from one column to the next.
    pub pitch: [usize; 2],
    /// Point 0 of the first tile.
    pub points: *mut T,
    /// Elements from one point to the next, and from one tile to the next.
    pub step: [usize; 2],
    /// Elements from the points of one stride phase to those of the next.
    pub apart: usize,
    /// Tiles.
    pub count: usize,
    /// Rows and columns of the plane from the first vector on; a tile may reach past them where it is written.
    pub size: [usize; 2],
}

/// Kernels between the taps of weights and points. Arguments: taps, elements from one to the next, points, elements from
/// one to the next.
pub type Weights<T> = unsafe fn(*mut T, isize, *mut T, usize);

/// Kernels from the taps of weights to the points of every stride phase. Arguments: taps, elements from one to the next,
/// points, elements from one to the next, and from one phase to the next.
pub type Phases<T> = unsafe fn(*mut T, isize, *mut T, usize, usize);

/// The transforms of one level for one type.
pub struct Transforms<T: 'static> {
    /// `points = Bᵀ plane B`, of tiles of 4 × 4 that are 2 apart.
    pub source: Row<T>,
    /// `plane = Aᵀ points A`, of tiles of 2 × 2.
    pub target: Row<T>,
    /// `points = A plane Aᵀ`, of tiles of 2 × 2: the adjoint of `target`.
    pub gradient: Row<T>,
    /// `points = G taps Gᵀ`.
    pub weights: Weights<T>,
    /// `taps = Gᵀ points G`: the adjoint of `weights`.
    pub weight_grad: Weights<T>,
    /// The same as `source` for stride 2: tiles of 6 × 6 that are 4 apart, four phases of 3 × 3.
    pub phases: Row<T>,
    /// The same for the gradient of stride 2: tiles of 4 × 4 that are 2 apart, four windows of 3 × 3.
    pub windows: Row<T>,
    /// `plane = Aᵀ points A` of one phase.
    pub phase: Row<T>,
    /// `points = G taps Gᵀ` of four phases of 2 × 2 taps.
    pub weight_phases: Phases<T>,
}

/// The types that have transforms.
pub trait HasTransforms: Sized + 'static {
    /// Those of `level`.
    #[doc(hidden)]
    fn transforms(level: Level) -> &'static Transforms<Self>;
}

macro_rules! has_transforms {
    ($t:ty, $module:ident) => {
        impl HasTransforms for $t {
            fn transforms(level: Level) -> &'static Transforms<$t> {
                match level {
                    #[cfg(all(target_arch = "x86_64", feature = "avx512"))]
                    Level::Avx512 => &avx512::$module::ALL,
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx2 => &avx2::$module::ALL,
                    _ => &portable::$module::ALL,
                }
            }
        }
    };
}

has_transforms!(f32, single);
has_transforms!(f64, double);

/// The transforms in a module that names its vectors: `Vector`, `load`, `store`, `add`, `sub`, `mul`, `splat`.
macro_rules! transforms {
    ($t:ty, $lanes:literal $(, $features:literal)?) => {
        use super::super::{Tiles, Transforms};

        pub static ALL: Transforms<$t> = Transforms {
            source,
            target,
            gradient,
            weights,
            weight_grad,
            phases: apart::<6, 2>,
            windows: apart::<4, 1>,
            phase,
            weight_phases,
        };

        /// Bᵀ.
        #[inline]
        $(#[target_feature(enable = $features)])?
        fn analysed([a, b, c, d]: [Vector; 4]) -> [Vector; 4] {
            [sub(a, c), add(b, c), sub(c, b), sub(b, d)]
        }

        /// Aᵀ.
        #[inline]
        $(#[target_feature(enable = $features)])?
        fn composed([a, b, c, d]: [Vector; 4]) -> [Vector; 2] {
            [add(add(a, b), c), sub(sub(b, c), d)]
        }

        /// A.
        #[inline]
        $(#[target_feature(enable = $features)])?
        fn spread([a, b]: [Vector; 2]) -> [Vector; 4] {
            [a, add(a, b), sub(a, b), sub(splat(0.0), b)]
        }

        /// G.
        #[inline]
        $(#[target_feature(enable = $features)])?
        fn widened([a, b, c]: [Vector; 3]) -> [Vector; 4] {
            let (outer, half) = (add(a, c), splat(0.5));
            [a, mul(half, add(outer, b)), mul(half, sub(outer, b)), c]
        }

        /// Gᵀ.
        #[inline]
        $(#[target_feature(enable = $features)])?
        fn narrowed([a, b, c, d]: [Vector; 4]) -> [Vector; 3] {
            let half = splat(0.5);
            let sum = mul(half, add(b, c));
            [add(a, sum), mul(half, sub(b, c)), add(sum, d)]
        }

        /// The transposed matrix.
        #[inline(always)]
        fn turned<const M: usize, const N: usize>(x: [[Vector; N]; M]) -> [[Vector; M]; N] {
            std::array::from_fn(|i| std::array::from_fn(|j| x[j][i]))
        }

        /// See [`Transforms::source`].
        $(#[target_feature(enable = $features)])?
        unsafe fn source(tiles: &Tiles<$t>) {
            let (mut from, mut to) = (tiles.plane.cast_const(), tiles.points);
            for _ in 0..tiles.count {
                // SAFETY: the caller vouches for 4 × 4 vectors of each tile and for its points.
                unsafe {
                    let mut x = [[splat(0.0); 4]; 4];
                    for (i, row) in x.iter_mut().enumerate() {
                        for (j, x) in row.iter_mut().enumerate() {
                            *x = load(from.add(i * tiles.pitch[0] + j * $lanes));
                        }
                    }
                    let [a, b, c, d] = turned(x);
                    let [a, b, c, d] = turned([analysed(a), analysed(b), analysed(c), analysed(d)]);
                    for (i, row) in [analysed(a), analysed(b), analysed(c), analysed(d)].into_iter().enumerate() {
                        for (j, x) in row.into_iter().enumerate() {
                            store(to.add((4 * i + j) * tiles.step[0]), x);
                        }
                    }
                }
                from = from.wrapping_add(2 * $lanes);
                to = to.wrapping_add(tiles.step[1]);
            }
        }

        /// Bᵀ, Aᵀ and G of F(2, 2).
        #[inline]
        $(#[target_feature(enable = $features)])?
        fn analysed2([a, b, c]: [Vector; 3]) -> [Vector; 3] {
            [sub(a, b), b, sub(b, c)]
        }

        #[inline]
        $(#[target_feature(enable = $features)])?
        fn composed2([a, b, c]: [Vector; 3]) -> [Vector; 2] {
            [add(a, b), sub(b, c)]
        }

        #[inline]
        $(#[target_feature(enable = $features)])?
        fn widened2([a, b]: [Vector; 2]) -> [Vector; 3] {
            [a, add(a, b), b]
        }

        /// See [`Transforms::phases`] and [`Transforms::windows`]: of tiles of SIZE × SIZE, four parts of 3 × 3 pixels that
        /// are EVERY pixels from each other and begin one pixel apart.
        $(#[target_feature(enable = $features)])?
        unsafe fn apart<const SIZE: usize, const EVERY: usize>(tiles: &Tiles<$t>) {
            let (mut from, mut to) = (tiles.plane.cast_const(), tiles.points);
            for _ in 0..tiles.count {
                for part in 0..4 {
                    // SAFETY: the caller vouches for SIZE × SIZE vectors of each tile and for its points.
                    unsafe {
                        let from = from.add(part / 2 * tiles.pitch[0] + part % 2 * $lanes);
                        let to = to.add(part * tiles.apart);
                        let mut x = [[splat(0.0); 3]; 3];
                        for (i, row) in x.iter_mut().enumerate() {
                            for (j, x) in row.iter_mut().enumerate() {
                                *x = load(from.add(EVERY * (i * tiles.pitch[0] + j * $lanes)));
                            }
                        }
                        let [a, b, c] = turned(x);
                        let [a, b, c] = turned([analysed2(a), analysed2(b), analysed2(c)]);
                        for (i, row) in [analysed2(a), analysed2(b), analysed2(c)].into_iter().enumerate() {
                            for (j, x) in row.into_iter().enumerate() {
                                store(to.add((3 * i + j) * tiles.step[0]), x);
                            }
                        }
                    }
                }
                from = from.wrapping_add((SIZE - 2) * $lanes);
                to = to.wrapping_add(tiles.step[1]);
            }
        }

        /// See [`Transforms::phase`].
        $(#[target_feature(enable = $features)])?
        unsafe fn phase(tiles: &Tiles<$t>) {
            let mut from = tiles.points.cast_const();
            for tile in 0..tiles.count {
                // SAFETY: the caller vouches for the points of each tile, and for `size` vectors of the plane.
                unsafe {
                    let mut x = [[splat(0.0); 3]; 3];
                    for (i, row) in x.iter_mut().enumerate() {
                        for (j, x) in row.iter_mut().enumerate() {
                            *x = load(from.add((3 * i + j) * tiles.step[0]));
                        }
                    }
                    let [a, b, c] = turned(x);
                    let [a, b] = turned([composed2(a), composed2(b), composed2(c)]);
                    for (i, row) in [composed2(a), composed2(b)].into_iter().enumerate() {
                        for (j, y) in row.into_iter().enumerate() {
                            if i < tiles.size[0] && 2 * tile + j < tiles.size[1] {
                                store(tiles.plane.add(i * tiles.pitch[0] + (2 * tile + j) * tiles.pitch[1]), y);
                            }
                        }
                    }
                }
                from = from.wrapping_add(tiles.step[1]);
            }
        }

        /// See [`Transforms::weight_phases`].
        $(#[target_feature(enable = $features)])?
        unsafe fn weight_phases(taps: *mut $t, apart: isize, points: *mut $t, step: usize, next: usize) {
            for part in 0..4 {
                // SAFETY: the caller vouches for 4 × 4 taps and the points.
                unsafe {
                    let tap = |i: usize, j: usize| (2 * i + part / 2) * 4 + 2 * j + part % 2;
                    let mut w = [[splat(0.0); 2]; 2];
                    for (i, row) in w.iter_mut().enumerate() {
                        for (j, w) in row.iter_mut().enumerate() {
                            *w = load(taps.offset(tap(i, j) as isize * apart));
                        }
                    }
                    let [a, b] = turned(w);
                    let [a, b, c] = turned([widened2(a), widened2(b)]);
                    for (i, row) in [widened2(a), widened2(b), widened2(c)].into_iter().enumerate() {
                        for (j, x) in row.into_iter().enumerate() {
                            store(points.add(part * next + (3 * i + j) * step), x);
                        }
                    }
                }
            }
        }

        /// See [`Transforms::target`].
        $(#[target_feature(enable = $features)])?
        unsafe fn target(tiles: &Tiles<$t>) {
            let mut from = tiles.points.cast_const();
            for tile in 0..tiles.count {
                // SAFETY: the caller vouches for the points of each tile, and for `size` vectors of the plane.
                unsafe {
                    let mut x = [[splat(0.0); 4]; 4];
                    for (i, row) in x.iter_mut().enumerate() {
                        for (j, x) in row.iter_mut().enumerate() {
                            *x = load(from.add((4 * i + j) * tiles.step[0]));
                        }
                    }
                    let [a, b, c, d] = turned(x);
                    let [a, b] = turned([composed(a), composed(b), composed(c), composed(d)]);
                    for (i, row) in [composed(a), composed(b)].into_iter().enumerate() {
                        for (j, y) in row.into_iter().enumerate() {
                            if i < tiles.size[0] && 2 * tile + j < tiles.size[1] {
                                store(tiles.plane.add(i * tiles.pitch[0] + (2 * tile + j) * tiles.pitch[1]), y);
                            }
                        }
                    }
                }
                from = from.wrapping_add(tiles.step[1]);
            }
        }

        /// See [`Transforms::gradient`].
        $(#[target_feature(enable = $features)])?
        unsafe fn gradient(tiles: &Tiles<$t>) {
            let (mut from, mut to) = (tiles.plane.cast_const(), tiles.points);
            for _ in 0..tiles.count {
                // SAFETY: the caller vouches for 2 × 2 vectors of each tile and for its points.
                unsafe {
                    let below = from.add(tiles.pitch[0]);
                    let left = spread([load(from), load(below)]);
                    let right = spread([load(from.add($lanes)), load(below.add($lanes))]);
                    for (i, row) in turned([left, right]).into_iter().enumerate() {
                        for (j, x) in spread(row).into_iter().enumerate() {
                            store(to.add((4 * i + j) * tiles.step[0]), x);
                        }
                    }
                }
                from = from.wrapping_add(2 * $lanes);
                to = to.wrapping_add(tiles.step[1]);
            }
        }

        /// See [`Transforms::weights`].
        $(#[target_feature(enable = $features)])?
        unsafe fn weights(taps: *mut $t, apart: isize, points: *mut $t, step: usize) {
            // SAFETY: the caller vouches for 3 × 3 taps and the points.
            unsafe {
                let mut w = [[splat(0.0); 3]; 3];
                for (i, row) in w.iter_mut().enumerate() {
                    for (j, w) in row.iter_mut().enumerate() {
                        *w = load(taps.offset((3 * i + j) as isize * apart));
                    }
                }
                let [a, b, c] = turned(w);
                let [a, b, c, d] = turned([widened(a), widened(b), widened(c)]);
                for (i, row) in [widened(a), widened(b), widened(c), widened(d)].into_iter().enumerate() {
                    for (j, x) in row.into_iter().enumerate() {
                        store(points.add((4 * i + j) * step), x);
                    }
                }
            }
        }

        /// See [`Transforms::weight_grad`].
        $(#[target_feature(enable = $features)])?
        unsafe fn weight_grad(taps: *mut $t, apart: isize, points: *mut $t, step: usize) {
            // SAFETY: the caller vouches for 3 × 3 taps and the points.
            unsafe {
                let mut x = [[splat(0.0); 4]; 4];
                for (i, row) in x.iter_mut().enumerate() {
                    for (j, x) in row.iter_mut().enumerate() {
                        *x = load(points.add((4 * i + j) * step));
                    }
                }
                let [a, b, c, d] = turned(x);
                let [a, b, c] = turned([narrowed(a), narrowed(b), narrowed(c), narrowed(d)]);
                for (i, row) in [narrowed(a), narrowed(b), narrowed(c)].into_iter().enumerate() {
                    for (j, w) in row.into_iter().enumerate() {
                        store(taps.offset((3 * i + j) as isize * apart), w);
                    }
                }
            }
        }
    };
}

#[cfg(all(target_arch = "x86_64", feature = "avx512"))]
mod avx512 {
    pub mod single {
        use std::arch::x86_64::{
            __m512 as Vector, _mm512_add_ps as add, _mm512_loadu_ps as load, _mm512_mul_ps as mul,
            _mm512_set1_ps as splat, _mm512_storeu_ps as store, _mm512_sub_ps as sub,
        };
        transforms!(f32, 16, "avx512f");
    }

    pub mod double {
        use std::arch::x86_64::{
            __m512d as Vector, _mm512_add_pd as add, _mm512_loadu_pd as load, _mm512_mul_pd as mul,
            _mm512_set1_pd as splat, _mm512_storeu_pd as store, _mm512_sub_pd as sub,
        };
        transforms!(f64, 8, "avx512f");
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    pub mod single {
        use std::arch::x86_64::{
            __m256 as Vector, _mm256_add_ps as add, _mm256_loadu_ps as load, _mm256_mul_ps as mul,
            _mm256_set1_ps as splat, _mm256_storeu_ps as store, _mm256_sub_ps as sub,
        };
        transforms!(f32, 8, "avx2");
    }

    pub mod double {
        use std::arch::x86_64::{
            __m256d as Vector, _mm256_add_pd as add, _mm256_loadu_pd as load, _mm256_mul_pd as mul,
            _mm256_set1_pd as splat, _mm256_storeu_pd as store, _mm256_sub_pd as sub,
        };
        transforms!(f64, 4, "avx2");
    }
}

mod portable {
    macro_rules! vectors {
        ($t:ty, $lanes:literal) => {
            type Vector = [$t; $lanes];

            fn splat(x: $t) -> Vector {
                [x; $lanes]
            }

            fn add(x: Vector, y: Vector) -> Vector {
                std::array::from_fn(|lane| x[lane] + y[lane])
            }

            fn sub(x: Vector, y: Vector) -> Vector {
                std::array::from_fn(|lane| x[lane] - y[lane])
            }

            fn mul(x: Vector, y: Vector) -> Vector {
                std::array::from_fn(|lane| x[lane] * y[lane])
            }

            unsafe fn load(from: *const $t) -> Vector {
                // SAFETY: the caller vouches for a vector.
                unsafe { from.cast::<Vector>().read() }
            }

            unsafe fn store(to: *mut $t, x: Vector) {
                // SAFETY: as above.
                unsafe { to.cast::<Vector>().write(x) }
            }

            transforms!($t, $lanes);
        };
    }

    pub mod single {
        vectors!(f32, 4);
    }

    pub mod double {
        vectors!(f64, 2);
    }
}
