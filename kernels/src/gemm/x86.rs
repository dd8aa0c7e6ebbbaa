//! The kernels of both widths of x86 vectors: one text, compiled for each width and type.
//!
//! `kernels!` is called in a module that names its vectors: `Vector`, `Mask`, `zero`, `splat`, `load`, `store`, `add`,
//! `multiply_add`, `first` (the mask of the first lanes), `load_first`, `store_first` and `square` (which transposes).

/// Its body once for each index, a constant in each, so that tiles stay in registers: compilers give up unrolling the
/// longer loops.
macro_rules! each {
    ($index:ident in rows $body:block) => { each!($index in [0 1 2 3 4 5 6 7 8 9 10 11 12 13] $body) };
    ($index:ident in [$($value:literal)*] $body:block) => { $({ let $index = $value; $body })* };
}
pub(super) use each;

macro_rules! kernels {
    ($features:literal, $t:ty, $lanes:literal) => {
        use crate::gemm::kernel::{self, MAX_NR, ROWS_AHEAD, Run, Step, pack_any};
        use crate::gemm::small;
        use crate::gemm::x86::each;

        const LANES: usize = $lanes;
        /// Steps of k in one turn of the loop: two where it fetches ahead at every second, but with narrow vectors, of which
        /// there are more loops, their code would be too large.
        const UNROLL: usize = if size_of::<Vector>() < 64 { 1 } else { 2 };

        /// See [`crate::gemm::kernel::Tile`].
        #[target_feature(enable = $features)]
        pub(super) unsafe fn tile<const ROWS: usize, const VECS: usize>(step: &Step<$t>) {
            let &Step { c_stride, cols, accumulate, .. } = step;
            // The usual tile copies B on the way; for the others, that would be code that is seldom run.
            let fused = VECS == 2 && size_of::<$t>() == 4;
            let mut now = Step { ..*step };
            // SAFETY: the caller vouches for the operands as `sweep` reads them, and for `cols` elements in ROWS
            // rows of C, for all tiles; the last vector of a row is masked to that.
            unsafe {
                for _ in 0..step.tiles_at_once() {
                    if accumulate {
                        for row in 0..ROWS {
                            let c = now.c.wrapping_offset(row as isize * c_stride);
                            _mm_prefetch::<_MM_HINT_T0>(c.cast());
                            _mm_prefetch::<_MM_HINT_T0>(c.wrapping_add(VECS * LANES - 1).cast());
                        }
                    }
                    let (mut apart, mut one) = (Step { ..now }, &now);
                    if !fused && !now.packed.is_null() {
                        copy(now.k, cols, 2 * LANES, now.b, now.b_step, now.packed);
                        (apart.b, apart.b_step) = (now.packed, 2 * LANES as isize);
                        one = &apart;
                    }
                    let mut sum = [[zero(); VECS]; ROWS];
                    match (now.a_strides[0] == 1, fused && !now.packed.is_null()) {
                        (true, false) => sweep::<ROWS, VECS, true, false>(one, &mut sum),
                        (false, false) => sweep::<ROWS, VECS, false, false>(one, &mut sum),
                        (true, true) => sweep::<ROWS, VECS, true, true>(one, &mut sum),
                        (false, true) => sweep::<ROWS, VECS, false, true>(one, &mut sum),
                    }
                    let mask = first(cols - (VECS - 1) * LANES);
                    for row in 0..ROWS {
                        let c = now.c.offset(row as isize * c_stride);
                        for v in 0..VECS {
                            // Masks cost time at 256 bits only, and code to avoid them.
                            let whole = v + 1 < VECS || (size_of::<Vector>() < 64 && cols == VECS * LANES);
                            let at = c.add(v * LANES);
                            let mut value = sum[row][v];
                            if accumulate {
                                value = add(if whole { load(at) } else { load_first(mask, at) }, value);
                            }
                            if whole { store(at, value) } else { store_first(mask, at, value) }
                        }
                    }
                    now.advance();
                }
            }
        }

        /// The multiply-adds of a tile. `ADJACENT`: whether the rows of A are; else its k are. `PACK`: whether B is
        /// also copied, in which case its last vector is masked; else whole vectors of it are read.
        // The assembly is empty: it reads and writes nothing that the addresses point to.
        #[allow(clippy::pointers_in_nomem_asm_block)]
        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn sweep<const ROWS: usize, const VECS: usize, const ADJACENT: bool, const PACK: bool>(
            step: &Step<$t>,
            sum: &mut [[Vector; VECS]; ROWS],
        ) {
            let &Step { a_strides: [a_row, a_step], mut b, b_step, mut packed, ahead: (mut ahead, apart), .. } = step;
            let last = first(step.cols - (VECS - 1) * LANES);
            // Every third row: the addressing modes reach the two after it without another register.
            let mut a = [step.a; 5];
            for (i, a) in a.iter_mut().enumerate() {
                *a = a.wrapping_offset(3 * i as isize * a_row);
            }
            let mut total = *sum;
            // SAFETY: the caller vouches for ROWS elements of A and VECS vectors of B at each of the k steps, and
            // for 2 vectors a step of the packed panel.
            unsafe {
                for p in (0..step.k).step_by(UNROLL) {
                    if p % 2 == 0 {
                        _mm_prefetch::<_MM_HINT_T0>(ahead.cast());
                        _mm_prefetch::<_MM_HINT_T0>(ahead.wrapping_offset(apart).cast());
                        ahead = ahead.wrapping_offset(step.ahead_step);
                    }
                    each!(half in [0 1] {
                        if half == 0 || (half < UNROLL && p + half < step.k) {
                            let mut x = [zero(); VECS];
                            for v in 0..VECS {
                                let at = b.add(v * LANES);
                                x[v] = if PACK && v + 1 == VECS { load_first(last, at) } else { load(at) };
                                _mm_prefetch::<_MM_HINT_T0>(at.wrapping_offset(ROWS_AHEAD * b_step).cast());
                                if PACK {
                                    store(packed.add(v * LANES), x[v]);
                                }
                            }
                            each!(row in rows {
                                if row < ROWS {
                                    let y = splat(if ADJACENT {
                                        *a[0].add(row)
                                    } else {
                                        *a[row / 3].offset((row % 3) as isize * a_row)
                                    });
                                    for v in 0..VECS {
                                        total[row][v] = multiply_add(y, x[v], total[row][v]);
                                    }
                                }
                            });
                            for a in &mut a[..if ADJACENT { 1 } else { ROWS.div_ceil(3) }] {
                                *a = a.wrapping_offset(if ADJACENT { a_step } else { 1 });
                                // Compilers that know how the addresses hang together keep one for each row, in memory.
                                std::arch::asm!("/* {0} */", inout(reg) *a, options(pure, nomem, nostack, preserves_flags));
                            }
                            b = b.wrapping_offset(b_step);
                            if PACK {
                                packed = packed.wrapping_add(2 * LANES);
                            }
                        }
                    });
                }
            }
            *sum = total;
        }

        /// See [`crate::gemm::kernel::Pack`].
        #[target_feature(enable = $features)]
        pub(super) unsafe fn copy(
            k: usize,
            count: usize,
            width: usize,
            mut src: *const $t,
            stride: isize,
            mut out: *mut $t,
        ) {
            let (low, high) = (first(count), first(count.saturating_sub(LANES)));
            // SAFETY: masks keep reads to the `count` elements per step that the caller vouches for. A store past the
            // end of a step lands in the next, which is written afterwards, or in the slack.
            unsafe {
                for _ in 0..k {
                    _mm_prefetch::<_MM_HINT_T0>(src.wrapping_offset(16 * stride).cast());
                    store(out, load_first(low, src));
                    if width > LANES {
                        store(out.add(LANES), load_first(high, src.wrapping_add(LANES)));
                    }
                    src = src.wrapping_offset(stride);
                    out = out.wrapping_add(width);
                }
            }
        }

        /// See [`crate::gemm::kernel::Pack`].
        #[target_feature(enable = $features)]
        pub(super) unsafe fn transpose(
            k: usize,
            count: usize,
            width: usize,
            src: *const $t,
            stride: isize,
            out: *mut $t,
        ) {
            if k < LANES {
                // SAFETY: handed on.
                return unsafe { pack_any(k, count, width, src, stride, 1, out) };
            }
            for left in (0..width).step_by(LANES).rev() {
                if left >= count {
                    continue;
                }
                let rows = (count - left).min(LANES);
                for p in (0..k).step_by(LANES) {
                    // The last square overlaps the one before it, so that all are whole.
                    let p = p.min(k - LANES);
                    // SAFETY: row left + j (< count) holds elements p .. p + LANES (<= k). A store past the end of a
                    // step lands in the next, which is written afterwards (further left, or later), or in the slack.
                    unsafe {
                        let corner = src.offset(left as isize * stride).add(p);
                        // Whole squares, the usual ones, are compiled apart.
                        let square = match rows {
                            LANES => square(corner, stride, LANES),
                            _ => square(corner, stride, rows),
                        };
                        for (q, column) in square.into_iter().enumerate() {
                            store(out.add((p + q) * width + left), column);
                        }
                    }
                }
            }
        }

        /// See [`crate::gemm::kernel::Untile`].
        #[target_feature(enable = $features)]
        pub(super) unsafe fn untile(
            rows: usize,
            cols: usize,
            tile: *const $t,
            c: *mut $t,
            c_stride: isize,
            accumulate: bool,
        ) {
            for left in (0..cols).step_by(LANES) {
                for top in (0..rows).step_by(LANES) {
                    let (count, mask) = ((rows - top).min(LANES), first(rows - top));
                    // SAFETY: the caller vouches for MAX_NR (a multiple of LANES) elements in the rows of the tile, and
                    // for `rows` elements, to which the mask keeps, in each of `cols` rows of C.
                    unsafe {
                        let square = square(tile.add(top * MAX_NR + left), MAX_NR as isize, count);
                        for (j, &column) in square.iter().enumerate().take(cols - left) {
                            let at = c.offset((left + j) as isize * c_stride).add(top);
                            let old = if accumulate { load_first(mask, at) } else { zero() };
                            store_first(mask, at, if accumulate { add(old, column) } else { column });
                        }
                    }
                }
            }
        }

        /// See [`kernel::gather`].
        #[target_feature(enable = $features)]
        pub(super) unsafe fn gather(
            src: *const $t,
            rows: &[usize],
            runs: &[Run],
            pitch: usize,
            out: *mut $t,
        ) {
            // SAFETY: handed on.
            unsafe { kernel::gather(src, rows, runs, pitch, out) }
        }

        /// See [`crate::gemm::kernel::RowsDot`].
        #[target_feature(enable = $features)]
        pub(super) unsafe fn rows_dot(matrix: small::Matrix<$t>, x: *const $t, y: *mut $t) {
            let (rows, [along, down]) = (matrix.size[0], matrix.strides);
            // SAFETY: handed on, for rows below the matrix's. The last group overlaps the one before it, so that all
            // are whole; it finds the same sums.
            unsafe {
                if down == 1 {
                    let group = [LANES, 4].into_iter().find(|&group| rows >= group).unwrap_or(1);
                    for row in (0..rows).step_by(group) {
                        let row = row.min(rows - group);
                        let (matrix, y) = (matrix.rows(row..row + group), y.add(row));
                        match group {
                            1 => along_k::<1>(matrix, x, y),
                            LANES => along_k::<LANES>(matrix, x, y),
                            _ => along_k::<4>(matrix, x, y),
                        }
                    }
                } else if along == 1 {
                    let mut row = 0;
                    while row < rows {
                        let vectors = [8, 4, 2].into_iter().find(|v| rows - row > (v - 1) * LANES).unwrap_or(1);
                        let end = rows.min(row + vectors * LANES);
                        let (part, y) = (matrix.rows(row..end), y.add(row));
                        match vectors {
                            8 => along_rows::<8>(part, x, y),
                            4 => along_rows::<4>(part, x, y),
                            2 => along_rows::<2>(part, x, y),
                            _ => along_rows::<1>(part, x, y),
                        }
                        row = end;
                    }
                } else {
                    small::rows_dot::<$t, LANES>(matrix, x, y, |a, b, c| a.mul_add(b, c));
                }
            }
        }

        /// The inner products of `GROUP` rows, a vector holding successive k of one row.
        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn along_k<const GROUP: usize>(matrix: small::Matrix<$t>, x: *const $t, y: *mut $t) {
            let (stride, k) = (matrix.strides[0], matrix.size[1]);
            let (whole, rest) = (k / LANES * LANES, first(k % LANES));
            let mut sum = [zero(); LANES];
            // SAFETY: GROUP rows of k elements are inside the matrix, p is inside x, y has room for the rows.
            unsafe {
                for p in (0..whole).step_by(LANES) {
                    let x = load(x.add(p));
                    for r in 0..GROUP {
                        sum[r] = multiply_add(load(matrix.ptr.offset(r as isize * stride).add(p)), x, sum[r]);
                    }
                }
                if whole < k {
                    let x = load_first(rest, x.add(whole));
                    for r in 0..GROUP {
                        let row = matrix.ptr.offset(r as isize * stride).add(whole);
                        sum[r] = multiply_add(load_first(rest, row), x, sum[r]);
                    }
                }
                let sum = square(sum.as_ptr().cast(), LANES as isize, LANES);
                store_first(first(GROUP), y, total(sum));
            }
        }

        /// The inner products of rows adjacent in memory, at most `VECS` vectors of which the last may have fewer
        /// than `LANES`, a vector holding one k of several rows.
        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn along_rows<const VECS: usize>(matrix: small::Matrix<$t>, x: *const $t, y: *mut $t) {
            let ([rows, k], stride) = (matrix.size, matrix.strides[1]);
            let (whole, last) = (k.next_multiple_of(LANES), first(rows - (VECS - 1) * LANES));
            let mut sum = [[zero(); LANES]; VECS];
            // SAFETY: the rows and all p < k are inside the matrix, p is inside x, y has room for the rows.
            unsafe {
                for lane in 0..LANES {
                    let mut chains = [zero(); VECS];
                    for p in (lane..whole).step_by(LANES) {
                        let at = matrix.ptr.wrapping_offset(p as isize * stride);
                        let x = if p < k { splat(*x.add(p)) } else { zero() };
                        // The hardware does not foresee such long steps, nor those from the end of a lane to the next.
                        let later = p + 4 * LANES;
                        let later = if later < whole { later } else { later - whole + 1 };
                        let ahead = matrix.ptr.wrapping_offset(later as isize * stride);
                        for v in 0..VECS {
                            let at = at.wrapping_add(v * LANES);
                            _mm_prefetch::<_MM_HINT_T0>(ahead.wrapping_add(v * LANES).cast());
                            let m = match p < k {
                                true if v + 1 < VECS => load(at),
                                true => load_first(last, at),
                                false => zero(),
                            };
                            chains[v] = multiply_add(m, x, chains[v]);
                        }
                    }
                    for v in 0..VECS {
                        sum[v][lane] = chains[v];
                    }
                }
                for v in 0..VECS {
                    let mask = if v + 1 < VECS { first(LANES) } else { last };
                    store_first(mask, y.add(v * LANES), total(sum[v]));
                }
            }
        }

        /// The sum of all by a tree: the order that [`small`] promises.
        #[inline]
        #[target_feature(enable = $features)]
        fn total(mut sum: [Vector; LANES]) -> Vector {
            let mut half = LANES / 2;
            while half > 0 {
                for i in 0..half {
                    sum[i] = add(sum[i], sum[i + half]);
                }
                half /= 2;
            }
            sum[0]
        }
    };
}
pub(super) use kernels;
