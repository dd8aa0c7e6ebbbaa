// The tiled product that GEMM and the three convolutions share: each workgroup computes a BM x BN tile of
// C[row, column] = sum over k of A[row, k] B[k, column].
//
// The file that includes this one says what A, B and C are:
//     struct Place { first_row, first_column, k_begin, k_end: u32, … }   where a tile lies; the same for all invocations
//     fn place(workgroup: u32) -> Place
//     fn a_row(at: Place, row: u32) -> Row;       fn load_a(at: Place, row: Row, k: u32) -> vec4<f32>      A[row, k .. k + 4]
//     fn b_columns(at: Place, column: u32) -> Columns; fn load_b(at: Place, columns: Columns, k: u32) -> vec4<f32>
//                                                                                        B[k, column .. column + 4]
//     fn store(at: Place, row: u32, column: u32, value: vec4<f32>)                       C[row, column .. column + 4]
// With ROW_SUMS also
//     fn store_sum(at: Place, row: u32, value: f32)                                      sum over k of A[row, k]
// which one invocation of each row calls, in the first column of tiles.
// The loads give zeros for what lies outside the matrices, and store leaves it out; here every index is into workgroup
// memory and below its size by construction: rows < BM, columns < BN, k < 16.
//
// Workgroup: ROWS x COLS invocations; each has TM rows (ROWS apart) and TN columns (in fours, 4 COLS apart) of the tile
// in registers. k advances by 16. A slice of A lies in workgroup memory as fours along k, a slice of B as fours along
// the columns, 64 (BM + BN) bytes for each stage; with STAGES = 2 the next slice is written while this one is read, with
// one barrier a step instead of two. Both are permuted by exclusive or so that neither reads nor writes collide in a
// bank. The next slice travels from global memory to registers (LA and LB fours each) while this one is multiplied.
// Global traffic: every element of A is read (n / BN) times, of B (m / BM) times; 2 / (1 / BM + 1 / BN) products an element.

override ROWS: u32 = 16u;
override COLS: u32 = 16u;
override STAGES: u32 = 1u;
// Neighbouring invocations load neighbours along k (true), or along the rows of A and the columns of B (false).
override A_ALONG_K: bool = true;
override B_ALONG_K: bool = false;

override THREADS: u32 = ROWS * COLS;
override BM: u32 = ROWS * {{TM}}u;
override B_FOURS: u32 = COLS * {{TN4}}u;      // BN / 4
override A_STAGE: u32 = BM * 4u;
override B_STAGE: u32 = B_FOURS * 16u;
override A_SIZE: u32 = A_STAGE * STAGES;
override B_SIZE: u32 = B_STAGE * STAGES;

var<workgroup> a_tile: array<vec4<f32>, A_SIZE>;
var<workgroup> b_tile: array<vec4<f32>, B_SIZE>;

// Slot numbers are given out to the invocations in turn; each is one four of a slice.
struct Slot {
    across: u32,        // row of A, four of columns of B
    k: u32,             // four along k of A, k of B
}

fn a_slot(i: u32) -> Slot {
    if A_ALONG_K {
        return Slot(i / 4u, i % 4u);
    }
    return Slot(i % BM, i / BM);
}

fn b_slot(i: u32) -> Slot {
    if B_ALONG_K {
        return Slot(i / 16u, i % 16u);
    }
    return Slot(i % B_FOURS, i / B_FOURS);
}

fn a_address(slot: Slot) -> u32 {
    return slot.across * 4u + (slot.k ^ ((slot.across >> 1u) & 3u));
}

fn b_address(four: u32, k: u32) -> u32 {
    if B_ALONG_K {
        return k * B_FOURS + (four ^ (k & 7u));
    }
    return k * B_FOURS + four;
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let workgroup = flat_workgroup(group, groups);
    if workgroup >= p.workgroups {
        return;
    }
    let at = place(workgroup);
    let tx = local % COLS;
    let ty = local / COLS;

    // What this invocation loads of every slice.
//!for s in LA
    let a_slot_{{s}} = a_slot(local + {{s}}u * THREADS);
    let a_to_{{s}} = a_address(a_slot_{{s}});
    let a_row_{{s}} = a_row(at, at.first_row + a_slot_{{s}}.across);
    var a_next_{{s}} = load_a(at, a_row_{{s}}, at.k_begin + a_slot_{{s}}.k * 4u);
//!endfor
//!for s in LB
    let b_slot_{{s}} = b_slot(local + {{s}}u * THREADS);
    let b_to_{{s}} = b_address(b_slot_{{s}}.across, b_slot_{{s}}.k);
    let b_columns_{{s}} = b_columns(at, at.first_column + b_slot_{{s}}.across * 4u);
    var b_next_{{s}} = load_b(at, b_columns_{{s}}, at.k_begin + b_slot_{{s}}.k);
//!endfor

//!for i in TM
//!for j in TN4
    var c_{{i}}_{{j}} = vec4<f32>();
//!endfor
//!endfor

//!if ROW_SUMS
//!for i in TM
    var sum_{{i}} = 0.0;
//!endfor
//!endif

    var stage = 0u;
    for (var k = at.k_begin; k < at.k_end; k += 16u) {
        let a_stage = stage * A_STAGE;
        let b_stage = stage * B_STAGE;
//!for s in LA
        a_tile[a_stage + a_to_{{s}}] = a_next_{{s}};
//!endfor
//!for s in LB
        b_tile[b_stage + b_to_{{s}}] = b_next_{{s}};
//!endfor
        workgroupBarrier();
        if k + 16u < at.k_end {
//!for s in LA
            a_next_{{s}} = load_a(at, a_row_{{s}}, k + 16u + a_slot_{{s}}.k * 4u);
//!endfor
//!for s in LB
            b_next_{{s}} = load_b(at, b_columns_{{s}}, k + 16u + b_slot_{{s}}.k);
//!endfor
        }
        for (var q = 0u; q < 4u; q++) {
            // Rows are ROWS apart, a multiple of 8, so they share the permutation.
            let a_at = a_stage + ty * 4u + (q ^ ((ty >> 1u) & 3u));
//!for i in TM
            let a_{{i}} = a_tile[a_at + {{i}}u * ROWS * 4u];
//!endfor
//!if ROW_SUMS
            if at.first_column == 0u {
//!for i in TM
                sum_{{i}} += (a_{{i}}.x + a_{{i}}.y) + (a_{{i}}.z + a_{{i}}.w);
//!endfor
            }
//!endif
//!for t in 4
//!for j in TN4
            let b_{{t}}_{{j}} = b_tile[b_stage + b_address(tx + {{j}}u * COLS, q * 4u + {{t}}u)];
//!endfor
//!for i in TM
//!for j in TN4
            c_{{i}}_{{j}} = fma(vec4(a_{{i}}[{{t}}]), b_{{t}}_{{j}}, c_{{i}}_{{j}});
//!endfor
//!endfor
//!endfor
        }
        if STAGES == 1u {
            workgroupBarrier();
        } else {
            // Whoever is still reading this stage is met by the barrier of the next step before it is written again.
            stage = 1u - stage;
        }
    }

//!if ROW_SUMS
    if at.first_column == 0u && tx == 0u {
//!for i in TM
        store_sum(at, at.first_row + ty + {{i}}u * ROWS, sum_{{i}});
//!endfor
    }
//!endif
//!if EPILOGUE
    // From an array in a loop, so that a long epilogue stands in the code once; everything else is done by now.
    var results: array<vec4<f32>, {{TM}}u * {{TN4}}u>;
//!for i in TM
//!for j in TN4
    results[{{i}}u * {{TN4}}u + {{j}}u] = c_{{i}}_{{j}};
//!endfor
//!endfor
    for (var i = 0u; i < {{TM}}u * {{TN4}}u; i++) {
        let row = at.first_row + ty + i / {{TN4}}u * ROWS;
        store(at, row, at.first_column + (tx + i % {{TN4}}u * COLS) * 4u, results[i]);
    }
//!else
//!for i in TM
//!for j in TN4
    store(at, at.first_row + ty + {{i}}u * ROWS, at.first_column + (tx + {{j}}u * COLS) * 4u, c_{{i}}_{{j}});
//!endfor
//!endfor
//!endif
}
