//! The inner loop of every instruction, compiled once per instruction-set level.
//!
//! A loop goes through its operands in blocks of [`LANES`] elements. A block is a plain `for` over a function of one
//! element; what makes it fast is that the whole is compiled inside a function with the level's
//! `#[target_feature]`, where the compiler turns it into full-width vector code. No multiply and add of two
//! instructions are ever contracted.
//!
//! Between two blocks memory has its turn: lines that a later tile will read are asked for, and a result that goes past
//! the caches is sent off. Done tile by tile instead, arithmetic and memory wait for each other. Loops without
//! [`InTurns`] do so between two chunks.

use super::ahead::{Ahead, LINE, Stream};
use super::{copy, moments};
#[cfg(target_arch = "x86_64")]
use crate::math::Avx2;
#[cfg(all(target_arch = "x86_64", feature = "avx512"))]
use crate::math::Avx512;
use crate::math::{Arch, Portable};
use crate::simd::Level;
use std::hint::select_unpredictable;
use std::mem::MaybeUninit;

/// Elements between two turns of memory.
pub(super) const CHUNK: usize = 128;

/// Elements that a loop computes at once, whatever the width of vectors: a divisor of [`CHUNK`]. An operand that is one
/// number is given that many times.
pub(super) const LANES: usize = 16;

/// Operands of the longest loop.
pub(super) const MOST_ARGS: usize = 11;

/// Results of a loop besides its first, where it has several.
pub(super) const MORE: usize = 2;

/// What a loop runs over.
pub(super) struct Call<'a> {
    /// Overlaps no operand, or is exactly one that has elements of the same size.
    pub dst: *mut u8,
    /// Where the further results go, for loops that have some; as `dst`.
    pub more: [*mut u8; MORE],
    pub args: [*const u8; MOST_ARGS],
    /// How many of `args` there are.
    pub arity: usize,
    /// What a block adds to the address of each operand: nothing for those that are one block for all and those that
    /// there are not. Others have `n` elements.
    pub steps: &'a [usize; MOST_ARGS],
    pub n: usize,
    /// Whether the result goes past the caches; `dst` is then a multiple of [`LINE`].
    pub stream: bool,
    pub ahead: &'a mut Ahead,
    pub level: Level,
}

/// The part of a loop that is compiled for its types and function: so many blocks, one after the other, the addresses of
/// operands moving by `steps` bytes from one to the next. Each is read before it is written.
type Blocks =
    unsafe fn(to: *mut u8, from: &[*const u8; MOST_ARGS], steps: &[usize; MOST_ARGS], blocks: usize);

/// [`Blocks`], each of which fetches what belongs to it and, if `stream`, goes past the caches.
type InTurns = unsafe fn(
    to: *mut u8,
    from: &[*const u8; MOST_ARGS],
    steps: &[usize; MOST_ARGS],
    blocks: usize,
    stream: bool,
    ahead: [Stream; 2],
);

/// A compiled loop: `dst[i] = f(args[0][i], args[1][i], …)` for `i < n`, on the types it was chosen for.
#[derive(Clone, Copy)]
pub(crate) enum Loop {
    /// Block by block; bytes of an element of each operand (0 for those that there are not) and of the result.
    Blocks { blocks: Blocks, in_turns: Option<InTurns>, sizes: [u8; MOST_ARGS], out: usize },
    /// In its own way.
    Whole(unsafe fn(&mut Call)),
}

/// Where the results of a block go.
pub(super) type Places<T> = [MaybeUninit<T>; LANES];

/// What a loop does with a block, where it has one result.
pub(super) trait Body {
    type Out: Copy + Default;
    /// Bytes of one element of each operand; 0 for those that there are not.
    const SIZES: [u8; MOST_ARGS];

    /// Writes all of the block.
    ///
    /// # Safety
    /// The operands have [`LANES`] elements each.
    unsafe fn block<A: Arch>(to: &mut Places<Self::Out>, from: [*const u8; MOST_ARGS]);
}

/// The sizes of these operands, and none of others.
pub(super) const fn sizes(of: &[usize]) -> [u8; MOST_ARGS] {
    let (mut sizes, mut k) = ([0; MOST_ARGS], 0);
    while k < of.len() {
        sizes[k] = of[k] as u8;
        k += 1;
    }
    sizes
}

/// A function of one element.
pub(super) trait Fn1<T: Copy> {
    type Out: Copy + Default;
    fn call<A: Arch>(x: T) -> Self::Out;
    /// Recomputes the elements for which `call` does not hold; there mostly are none.
    #[inline(always)]
    fn repair(_out: &mut [Self::Out], _x: &[T]) {}
}

/// A function of two elements.
pub(super) trait Fn2<T: Copy> {
    type Out: Copy + Default;
    fn call<A: Arch>(a: T, b: T) -> Self::Out;
}

struct Of1<T, F>(std::marker::PhantomData<(T, F)>);
struct Of2<T, F>(std::marker::PhantomData<(T, F)>);
struct Choice<T>(std::marker::PhantomData<T>);

impl<T: Copy, F: Fn1<T>> Body for Of1<T, F> {
    type Out = F::Out;
    const SIZES: [u8; MOST_ARGS] = sizes(&[size_of::<T>()]);

    #[inline(always)]
    unsafe fn block<A: Arch>(to: &mut Places<F::Out>, from: [*const u8; MOST_ARGS]) {
        // SAFETY: the caller's promise.
        let x = unsafe { &*from[0].cast::<[T; LANES]>() };
        for i in 0..LANES {
            to[i].write(F::call::<A>(x[i]));
        }
        // SAFETY: all was written.
        F::repair(unsafe { to.assume_init_mut() }, x);
    }
}

impl<T: Copy, F: Fn2<T>> Body for Of2<T, F> {
    type Out = F::Out;
    const SIZES: [u8; MOST_ARGS] = sizes(&[size_of::<T>(); 2]);

    #[inline(always)]
    unsafe fn block<A: Arch>(to: &mut Places<F::Out>, from: [*const u8; MOST_ARGS]) {
        // SAFETY: the caller's promise.
        let [a, b] = [0, 1].map(|k| unsafe { &*from[k].cast::<[T; LANES]>() });
        for i in 0..LANES {
            to[i].write(F::call::<A>(a[i], b[i]));
        }
    }
}

/// Operands: condition, then, else.
impl<T: Copy + Default> Body for Choice<T> {
    type Out = T;
    const SIZES: [u8; MOST_ARGS] = sizes(&[1, size_of::<T>(), size_of::<T>()]);

    #[inline(always)]
    unsafe fn block<A: Arch>(to: &mut Places<T>, from: [*const u8; MOST_ARGS]) {
        // SAFETY: the caller's promise.
        let c = unsafe { &*from[0].cast::<[u8; LANES]>() };
        // SAFETY: as above.
        let [a, b] = [1, 2].map(|k| unsafe { &*from[k].cast::<[T; LANES]>() });
        for i in 0..LANES {
            // A plain `if` would become a branch around the load of each element.
            to[i].write(select_unpredictable(c[i] != 0, a[i], b[i]));
        }
    }
}

/// Memory for `N` elements of any type, from a cache line on.
#[repr(align(64))]
struct Room<const N: usize>([MaybeUninit<u64>; N]);

impl<const N: usize> Room<N> {
    const NEW: Room<N> = Room([const { MaybeUninit::uninit() }; N]);

    #[inline(always)]
    fn at(&mut self) -> *mut u8 {
        self.0.as_mut_ptr().cast()
    }
}

impl Loop {
    /// What a block adds to the address of each operand, where these are one block for all.
    pub(super) fn steps(&self, scalar: &[bool]) -> [usize; MOST_ARGS] {
        let Loop::Blocks { sizes, .. } = self else {
            return std::array::from_fn(|k| usize::from(scalar.get(k) == Some(&false)));
        };
        std::array::from_fn(|k| if scalar.get(k) == Some(&false) { LANES * usize::from(sizes[k]) } else { 0 })
    }

    /// Runs the loop.
    ///
    /// # Safety
    /// As [`Call`] says, for operands of the types of the loop; `steps` are this loop's.
    #[inline(always)]
    pub(super) unsafe fn run(&self, call: &mut Call) {
        // SAFETY: the caller's promise.
        unsafe {
            match self {
                Loop::Blocks { blocks, out, .. } if !call.takes_turns() && call.n >= LANES => {
                    all_blocks(call, *blocks, *out, call.dst, call.n)
                }
                Loop::Blocks { blocks, out, sizes, in_turns } => {
                    if let Some(in_turns) = in_turns {
                        most_blocks(call, *in_turns, *out);
                    }
                    chunks(call, *blocks, *out, sizes)
                }
                Loop::Whole(run) => run(call),
            }
        }
    }
}

impl Call<'_> {
    /// Whether memory has its turn in the course of the loop.
    #[inline(always)]
    fn takes_turns(&self) -> bool {
        self.stream || !self.ahead.is_empty()
    }
}

/// Computes the next `n` elements, at least one block of them.
///
/// # Safety
/// As [`Loop::run`].
#[inline(always)]
unsafe fn all_blocks(call: &Call, blocks: Blocks, size: usize, to: *mut u8, n: usize) {
    let (count, back) = (n / LANES, n - LANES);
    // SAFETY: the operands have as many elements.
    unsafe {
        if n == count * LANES {
            return blocks(to, &call.args, call.steps, count);
        }
        // The last block overlaps the one before: what both have is computed twice, the second time before anything is
        // written, since the result may take the place of an operand.
        let mut apart = Room::<LANES>::NEW;
        let mut last = [std::ptr::null(); MOST_ARGS];
        for ((to, from), step) in last.iter_mut().zip(&call.args).zip(call.steps).take(call.arity) {
            *to = from.wrapping_add(step / LANES * back);
        }
        blocks(apart.at(), &last, call.steps, 1);
        blocks(to, &call.args, call.steps, count);
        let to = to.add(back * size);
        match size {
            1 => std::ptr::copy_nonoverlapping(apart.at(), to, LANES),
            4 => std::ptr::copy_nonoverlapping(apart.at(), to, 4 * LANES),
            _ => std::ptr::copy_nonoverlapping(apart.at(), to, 8 * LANES),
        }
    }
}

/// Computes whole blocks, memory having its turns with each, and leaves what is less than a block and the one before.
/// Many streams do better in the longer turns of [`chunks`].
///
/// # Safety
/// As [`Loop::run`].
unsafe fn most_blocks(call: &mut Call, in_turns: InTurns, size: usize) {
    let Some(ahead) = call.ahead.few() else { return };
    let blocks = (call.n / LANES).saturating_sub(usize::from(!call.n.is_multiple_of(LANES)));
    // SAFETY: the operands have as many elements.
    unsafe { in_turns(call.dst, &call.args, call.steps, blocks, call.stream, ahead) };
    call.ahead.skip(blocks);
    for (at, step) in call.args.iter_mut().zip(call.steps).take(call.arity) {
        *at = at.wrapping_add(step * blocks);
    }
    call.dst = call.dst.wrapping_add(blocks * LANES * size);
    call.n -= blocks * LANES;
}

/// A loop in the course of which memory has its turns, or one of less than a block.
///
/// # Safety
/// As [`Loop::run`].
#[inline(never)]
unsafe fn chunks(call: &mut Call, blocks: Blocks, size: usize, sizes: &[u8; MOST_ARGS]) {
    let mut apart = Room::<CHUNK>::NEW;
    let (steps, arity) = (call.steps, call.arity.min(MOST_ARGS));
    let (mut place, mut left) = (call.dst, call.n);
    while left > 0 {
        call.ahead.fetch(CHUNK / LANES);
        let streams = call.stream && left >= CHUNK;
        // What would be less than a block goes along with the last chunk.
        let len = if streams || left >= CHUNK + LANES { CHUNK } else { left };
        // SAFETY: the operands have as many elements, and the place of the result has room for them. What is streamed
        // are whole lines, from one on.
        unsafe {
            if streams {
                blocks(apart.at(), &call.args, steps, CHUNK / LANES);
                copy::lines(call.level, place, apart.at(), CHUNK * size / LINE);
            } else if len >= LANES {
                all_blocks(call, blocks, size, place, len);
            } else {
                let mut padded = [const { Room::<LANES>::NEW }; MOST_ARGS];
                for k in (0..arity).filter(|&k| steps[k] > 0) {
                    call.args[k] = pad(padded[k].at(), call.args[k], usize::from(sizes[k]), len);
                }
                blocks(apart.at(), &call.args, steps, 1);
                std::ptr::copy_nonoverlapping(apart.at(), place, len * size);
            }
        }
        (0..arity).for_each(|k| call.args[k] = call.args[k].wrapping_add(steps[k] / LANES * len));
        place = place.wrapping_add(len * size);
        left -= len;
    }
}

/// Copies the last `left` elements of an operand to a block, and repeats the first of them.
///
/// # Safety
/// `from` has as many elements of this size, `to` room for a block of them.
#[inline(never)]
unsafe fn pad(to: *mut u8, from: *const u8, size: usize, left: usize) -> *const u8 {
    // SAFETY: the caller's promise.
    unsafe {
        std::ptr::copy_nonoverlapping(from, to, left * size);
        for i in left..LANES {
            std::ptr::copy_nonoverlapping(from, to.add(i * size), size);
        }
    }
    to
}

macro_rules! level {
    ($module:ident, $arch:ty, $in_turns:expr $(, $features:literal)?) => {
        /// The loops of one level.
        pub(super) mod $module {
            use super::*;

            /// # Safety
            /// As [`Loop::run`]; the machine has the level's features.
            $(#[target_feature(enable = $features)])?
            unsafe fn blocks<B: Body>(
                to: *mut u8,
                from: &[*const u8; MOST_ARGS],
                steps: &[usize; MOST_ARGS],
                blocks: usize,
            ) {
                let (mut to, mut from) = (to.cast::<Places<B::Out>>(), *from);
                for _ in 0..blocks {
                    let mut block = [const { MaybeUninit::<B::Out>::uninit() }; LANES];
                    // SAFETY: the caller's promise.
                    unsafe {
                        B::block::<$arch>(&mut block, from);
                        to.write(block);
                    }
                    to = to.wrapping_add(1);
                    (0..MOST_ARGS).for_each(|k| from[k] = from[k].wrapping_add(steps[k]));
                }
            }

            pub fn of<B: Body>() -> Loop {
                let (sizes, out) = (B::SIZES, size_of::<B::Out>());
                Loop::Blocks { blocks: blocks::<B>, in_turns: $in_turns, sizes, out }
            }

            /// # Safety
            /// As [`Loop::run`]; the machine has the level's features.
            $(#[target_feature(enable = $features)])?
            pub unsafe fn moments(call: &mut Call) {
                // SAFETY: the caller's promise.
                unsafe { moments::run(call) }
            }
        }
    };
}

level!(portable, Portable, None);
#[cfg(target_arch = "x86_64")]
level!(avx2, Avx2, None, "avx2,fma");
#[cfg(all(target_arch = "x86_64", feature = "avx512"))]
level!(avx512, Avx512, Some(in_turns::<B>), "avx512f,avx512bw,avx512dq,avx512vl,fma");

/// [`InTurns`], which is worth its code where a block of f32 is a register and a line.
///
/// # Safety
/// As [`Loop::run`]; the machine has AVX-512. If `stream`, `to` is a multiple of [`LINE`].
#[cfg(all(target_arch = "x86_64", feature = "avx512"))]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
unsafe fn in_turns<B: Body>(
    to: *mut u8,
    from: &[*const u8; MOST_ARGS],
    steps: &[usize; MOST_ARGS],
    blocks: usize,
    stream: bool,
    mut ahead: [Stream; 2],
) {
    let (mut to, mut from) = (to.cast::<Places<B::Out>>(), *from);
    for _ in 0..blocks {
        ahead.iter_mut().for_each(Stream::fetch_block);
        let mut block = [const { MaybeUninit::<B::Out>::uninit() }; LANES];
        // SAFETY: the caller's promise.
        unsafe {
            B::block::<Avx512>(&mut block, from);
            match stream {
                true => copy::stream_block_512(to, &block),
                false => to.write(block),
            }
        }
        to = to.wrapping_add(1);
        (0..MOST_ARGS).for_each(|k| from[k] = from[k].wrapping_add(steps[k]));
    }
}

/// What a level's module has under this name.
macro_rules! at_level {
    ($level:expr, $($path:tt)*) => {
        match $level {
            Level::Portable => portable::$($path)*,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => avx2::$($path)*,
            #[cfg(all(target_arch = "x86_64", feature = "avx512"))]
            Level::Avx512 => avx512::$($path)*,
            #[cfg(not(all(target_arch = "x86_64", feature = "avx512")))]
            _ => portable::$($path)*,
        }
    };
}

/// The loop of a body.
pub(super) fn loop_of<B: Body>(level: Level) -> Loop {
    at_level!(level, of::<B>())
}

/// [`moments`].
pub(super) fn loop_moments(level: Level) -> Loop {
    Loop::Whole(at_level!(level, moments))
}

/// Element types, and whether their loops are worth compiling for every level. Integers and bools are labels and
/// masks: what the portable loops do with them is enough, and gives the same bits.
pub(crate) trait Lane: Copy + Default {
    const EVERY_LEVEL: bool;
}

macro_rules! lanes {
    ($($t:ty: $every:literal),*) => {$(
        impl Lane for $t {
            const EVERY_LEVEL: bool = $every;
        }
    )*};
}
lanes!(f32: true, f64: true, i32: false, u32: false, u8: false);

/// The loop of a function of one operand.
pub(super) fn loop1<T: Lane, F: Fn1<T>>(level: Level) -> Loop {
    if T::EVERY_LEVEL { loop_of::<Of1<T, F>>(level) } else { portable::of::<Of1<T, F>>() }
}

/// The loop of a function of two operands.
pub(super) fn loop2<T: Lane, F: Fn2<T>>(level: Level) -> Loop {
    if T::EVERY_LEVEL { loop_of::<Of2<T, F>>(level) } else { portable::of::<Of2<T, F>>() }
}

/// The loop that selects, operands in the order condition, then, else.
pub(super) fn loop_choose<T: Copy + Default>(level: Level) -> Loop {
    loop_of::<Choice<T>>(level)
}
