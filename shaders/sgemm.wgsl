// Matrix multiplication: C[batch, row, column] = sum over k of A[batch, row, k] B[batch, k, column].
// The twin of gradus-kernels' `gemm::run` in f32; sums run in another order (16 k at a time, the parts of a split last).
//
// A and B have any strides, so transposes are free, and 0 broadcasts; C is contiguous. Workgroups, tiles and memory
// traffic: see lib/tile.wgsl. With p.splits > 1 each part of k goes to a matrix of its own, p.c_split elements apart,
// and sum_parts.wgsl adds them in order.
//
// A_FOURS: A has unit stride along k, and k, the offset and the other strides are multiples of 4: read as fours.
// B_FOURS_WIDE: the same of B along the columns. C_FOURS: n and the offset of C are multiples of 4.
// EPILOGUE: text with `fn epilogue(e: u32, value: f32)`, which takes element e (row-major) of C and stores what is
// wanted of it, and with the bindings it needs, from 2 on; FIELDS are its parameters.
//
// ROW_SUMS: the sums of A's rows go to sums, from p.sums_start on; for one matrix with its k in one part, without EPILOGUE.
//
// In bounds: A and B are read only at row < m, column < n, k < p.k and batch < the product of the lengths, where the
// caller has checked the span of the strides; C is written only there, and sums at row < m.

//!include lib/grid.wgsl
//!include lib/tile.wgsl

struct P {
    m: u32,
    n: u32,
    k: u32,
    depth: u32,                     // k of one part, a multiple of 16
    tiles_m: u32,
    tiles_n: u32,
    splits: u32,
    workgroups: u32,
    a_start: u32,
    b_start: u32,
    c_start: u32,
    c_split: u32,
    a_row: i32,
    a_k: i32,
    b_k: i32,
    b_column: i32,
    rank: u32,                      // batch axes, outermost first
    sums_start: u32,
    lengths: array<vec4<u32>, 2>,
    a_batch: array<vec4<i32>, 2>,
    b_batch: array<vec4<i32>, 2>,
//!if EPILOGUE
{{FIELDS}}
//!endif
}

//!if A_FOURS
@group(0) @binding(0) var<storage, read> a: array<vec4<f32>>;
//!else
@group(0) @binding(0) var<storage, read> a: array<f32>;
//!endif
//!if B_FOURS_WIDE
@group(0) @binding(1) var<storage, read> b: array<vec4<f32>>;
//!else
@group(0) @binding(1) var<storage, read> b: array<f32>;
//!endif
//!if EPILOGUE
//!include lib/philox.wgsl
//!epilogue
//!else
//!if C_FOURS
@group(0) @binding(2) var<storage, read_write> c: array<vec4<f32>>;
//!else
@group(0) @binding(2) var<storage, read_write> c: array<f32>;
//!endif
//!endif
//!if ROW_SUMS
@group(0) @binding(3) var<storage, read_write> sums: array<f32>;
//!endif
@group(1) @binding(0) var<uniform> p: P;

struct Place {
    first_row: u32,
    first_column: u32,
    k_begin: u32,
    k_end: u32,
    a: i32,                         // of element (0, 0) of the matrices
    b: i32,
    c: u32,
}

fn place(workgroup: u32) -> Place {
    let tiles = p.tiles_m * p.tiles_n;
    let tile = workgroup % tiles;
    let part = (workgroup / tiles) % p.splits;
    var batch = workgroup / (tiles * p.splits);
    // Eight rows of tiles together, so that workgroups that run at the same time share slices of both matrices.
    let band = tile / (8u * p.tiles_n);
    let height = min(8u, p.tiles_m - band * 8u);
    let within = tile % (8u * p.tiles_n);
    var at: Place;
    at.first_row = (band * 8u + within % height) * BM;
    at.first_column = (within / height) * B_FOURS * 4u;
    at.k_begin = part * p.depth;
    at.k_end = min(at.k_begin + p.depth, p.k);
    at.a = i32(p.a_start);
    at.b = i32(p.b_start);
    at.c = p.c_start + part * p.c_split + batch * p.m * p.n;
    for (var axis = p.rank; axis > 0u; axis--) {
        let i = axis - 1u;
        let length = p.lengths[i >> 2u][i & 3u];
        let index = i32(batch % length);
        batch = batch / length;
        at.a += index * p.a_batch[i >> 2u][i & 3u];
        at.b += index * p.b_batch[i >> 2u][i & 3u];
    }
    return at;
}

struct Row {
    start: i32,
    inside: bool,
}

fn a_row(at: Place, row: u32) -> Row {
    return Row(at.a + i32(row) * p.a_row, row < p.m);
}

fn load_a(at: Place, row: Row, k: u32) -> vec4<f32> {
    var value = vec4<f32>();
    if row.inside {
//!if A_FOURS
        if k < at.k_end {
            value = a[u32(row.start + i32(k)) >> 2u];
        }
//!else
//!for t in 4
        if k + {{t}}u < at.k_end {
            value[{{t}}] = a[u32(row.start + i32(k + {{t}}u) * p.a_k)];
        }
//!endfor
//!endif
    }
    return value;
}

struct Columns {
    start: i32,
    count: u32,                     // of the four, how many are columns of B
}

fn b_columns(at: Place, column: u32) -> Columns {
    return Columns(at.b + i32(column) * p.b_column, p.n - min(p.n, column));
}

fn load_b(at: Place, columns: Columns, k: u32) -> vec4<f32> {
    var value = vec4<f32>();
    if k < at.k_end {
        let start = columns.start + i32(k) * p.b_k;
//!if B_FOURS_WIDE
        if columns.count > 0u {
            value = b[u32(start) >> 2u];
        }
//!else
//!for t in 4
        if {{t}}u < columns.count {
            value[{{t}}] = b[u32(start + {{t}} * p.b_column)];
        }
//!endfor
//!endif
    }
    return value;
}

//!if ROW_SUMS
fn store_sum(at: Place, row: u32, value: f32) {
    if row < p.m {
        sums[p.sums_start + row] = value;
    }
}
//!endif

fn store(at: Place, row: u32, column: u32, value: vec4<f32>) {
    if row >= p.m || column >= p.n {
        return;
    }
    let e = at.c + row * p.n + column;
//!if EPILOGUE
    for (var t = 0u; t < min(4u, p.n - column); t++) {
        epilogue(e + t, value[t]);
    }
//!else
//!if C_FOURS
    c[e >> 2u] = value;
//!else
//!for t in 4
    if column + {{t}}u < p.n {
        c[e + {{t}}u] = value[{{t}}];
    }
//!endfor
//!endif
//!endif
}
