// A matrix times a vector: out[batch, row] = sum over k of A[batch, row, k] v[batch, k]. The twin of gradus-kernels'
// `gemm::run` where a side of the product is 1 (a product with a row vector is one with A transposed).
//
// Workgroup: ROWS x DEPTH invocations; each sums every DEPTH-th k of one row, and the row's sums are added by halves.
// DEPTH is large where A has unit stride along k (neighbours read neighbours), ROWS where it has it along the rows.
// Traffic: A once, v once for every ROWS rows, mostly from the cache.
//
// EPILOGUE: as in sgemm.wgsl, over the elements of out.
//
// In bounds: A and v are read at row < m, k < p.k and batch < the product of the lengths, where the caller has checked
// the span of the strides; out is written at row < m.

//!include lib/grid.wgsl

override ROWS: u32 = 4u;
override DEPTH: u32 = 64u;          // a power of two
override THREADS: u32 = ROWS * DEPTH;

struct P {
    m: u32,
    k: u32,
    row_tiles: u32,
    workgroups: u32,
    a_start: u32,
    v_start: u32,
    out_start: u32,
    a_row: i32,
    a_k: i32,
    v_k: i32,
    rank: u32,                      // batch axes, outermost first
    lengths: array<vec4<u32>, 2>,
    a_batch: array<vec4<i32>, 2>,
    v_batch: array<vec4<i32>, 2>,
//!if EPILOGUE
{{FIELDS}}
//!endif
}

@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> v: array<f32>;
//!if EPILOGUE
//!include lib/philox.wgsl
//!epilogue
//!else
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
//!endif
@group(1) @binding(0) var<uniform> p: P;

var<workgroup> sums: array<f32, THREADS>;

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
    var batch = workgroup / p.row_tiles;
    let first = (workgroup % p.row_tiles) * ROWS;
    let e = p.out_start + batch * p.m;
    var a_from = i32(p.a_start);
    var v_from = i32(p.v_start);
    for (var left = p.rank; left > 0u; left--) {
        let axis = left - 1u;
        let length = p.lengths[axis >> 2u][axis & 3u];
        let index = i32(batch % length);
        batch = batch / length;
        a_from += index * p.a_batch[axis >> 2u][axis & 3u];
        v_from += index * p.v_batch[axis >> 2u][axis & 3u];
    }
    // Neighbours along the side with the unit stride: k where DEPTH is the longer, rows where ROWS is.
    var row = local / DEPTH;
    var lane = local % DEPTH;
    if ROWS > DEPTH {
        row = local % ROWS;
        lane = local / ROWS;
    }
    var sum = 0.0;
    if first + row < p.m {
        a_from += i32(first + row) * p.a_row;
        for (var k = lane; k < p.k; k += DEPTH) {
            sum = fma(a[a_from + i32(k) * p.a_k], v[v_from + i32(k) * p.v_k], sum);
        }
    }
    sums[row * DEPTH + lane] = sum;
    workgroupBarrier();
    for (var half = DEPTH / 2u; half > 0u; half = half / 2u) {
        if lane < half {
            sums[row * DEPTH + lane] += sums[row * DEPTH + lane + half];
        }
        workgroupBarrier();
    }
    if lane == 0u && first + row < p.m {
//!if EPILOGUE
        epilogue(e + first + row, sums[row * DEPTH]);
//!else
        out[e + first + row] = sums[row * DEPTH];
//!endif
    }
}
