// A fused program reduced over some axes of its space: sum, maximum, minimum, or where the first maximum or minimum is.
// The twin of gradus-kernels' `reduce::Kernel::run`; floats are added in another order, all else is equal bit for bit.
//
// The space is seen as kept x reduced positions, both row-major. PROGRAM brings the bindings of its inputs, from 0 on, and
//     fn element(kept: u32, reduced: u32) -> {{T}}
// FIELDS the parameters it needs, T the type (f32, i32 or u32, which bools are too), IDENTITY the result over nothing.
// SUM or MAX, else the minimum; ARG where the result is the position of the extreme; FLOAT where T is f32.
// Long reductions with few results are cut into parts of p.chunk positions (PARTS_OUT), whose results, p.kept apart, with
// their positions beside them where ARG, a second pass reduces (PARTS_IN, which needs no PROGRAM). FIRST_OUT and
// SECOND_OUT are the bindings after the inputs.
//
// Workgroup: ROWS x DEPTH invocations; each takes every DEPTH-th element of one kept position, and then halves of the
// lanes are combined with the other halves: the order depends on the shape alone. ROWS_FAST: neighbours are neighbours
// along the kept positions, else along the reduced. SUBGROUPS (not with ARG or ROWS_FAST): the last halvings, within a
// subgroup, are shuffles instead of steps through workgroup memory with a barrier each, in the same order to the bit.
// Traffic: every input read once for each element it stands for.
// NaN is told by its bits, counts as extreme, and is kept.
//
// In bounds: element is called for kept < p.kept and reduced < p.reduced, for which the caller has checked its strides.

//!include lib/grid.wgsl
//!include lib/philox.wgsl

override ROWS: u32 = 1u;
override DEPTH: u32 = 256u;         // a power of two
override ROWS_FAST: bool = false;
override THREADS: u32 = ROWS * DEPTH;
//!if SUBGROUPS
override SUBGROUP: u32 = 8u;        // invocations of every subgroup, a power of two that divides THREADS
//!endif

struct P {
    kept: u32,
    reduced: u32,
    chunk: u32,                     // reduced positions of one part
    row_tiles: u32,
    workgroups: u32,
    out_start: u32,
//!if !PARTS_IN
{{FIELDS}}
//!endif
}

//!if PARTS_IN
@group(0) @binding(0) var<storage, read> parts_in: array<{{T}}>;
//!if ARG
@group(0) @binding(1) var<storage, read> places_in: array<u32>;
//!endif
fn element(kept: u32, reduced: u32) -> {{T}} {
    return parts_in[reduced * p.kept + kept];
}
//!else
{{PROGRAM}}
//!endif

//!if PARTS_OUT
@group(0) @binding({{FIRST_OUT}}) var<storage, read_write> parts_out: array<{{T}}>;
//!if ARG
@group(0) @binding({{SECOND_OUT}}) var<storage, read_write> places_out: array<u32>;
//!endif
//!else
//!if ARG
@group(0) @binding({{FIRST_OUT}}) var<storage, read_write> out: array<u32>;
//!else
@group(0) @binding({{FIRST_OUT}}) var<storage, read_write> out: array<{{T}}>;
//!endif
//!endif
@group(1) @binding(0) var<uniform> p: P;

var<workgroup> values: array<{{T}}, THREADS>;
//!if ARG
var<workgroup> places: array<u32, THREADS>;
//!endif

//!if !SUM
// Whether a takes the place of b.
fn beats(a: {{T}}, b: {{T}}) -> bool {
//!if FLOAT
    if f_is_nan(a) || f_is_nan(b) {
        return !f_is_nan(b);
    }
//!endif
//!if MAX
    return a > b;
//!else
    return a < b;
//!endif
}
//!endif

//!if ARG
// The better of two, of equals the one that comes first.
fn takes_over(a: {{T}}, a_place: u32, b: {{T}}, b_place: u32) -> bool {
    return beats(a, b) || (!beats(b, a) && a_place < b_place);
}
//!else
fn combine(a: {{T}}, b: {{T}}) -> {{T}} {
//!if SUM
    return a + b;
//!else
    return select(a, b, beats(b, a));
//!endif
}
//!endif

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
//!if SUBGROUPS
    @builtin(subgroup_id) subgroup: u32,
    @builtin(subgroup_invocation_id) within: u32,
) {
    // Nothing says that invocations go to subgroups in the order of their index.
    let local = subgroup * SUBGROUP + within;
//!else
    @builtin(local_invocation_index) local: u32,
) {
//!endif
    let workgroup = flat_workgroup(group, groups);
    if workgroup >= p.workgroups {
        return;
    }
    let part = workgroup / p.row_tiles;
    var row = local / DEPTH;
    var lane = local % DEPTH;
    if ROWS_FAST {
        row = local % ROWS;
        lane = local / ROWS;
    }
    let kept = (workgroup % p.row_tiles) * ROWS + row;
    let end = min((part + 1u) * p.chunk, p.reduced);
    var value = {{IDENTITY}};
//!if ARG
    var place = 0xffffffffu;
//!endif
    if kept < p.kept {
        for (var i = part * p.chunk + lane; i < end; i += DEPTH) {
            let next = element(kept, i);
//!if ARG
//!if PARTS_IN
            let next_place = places_in[i * p.kept + kept];
//!else
            let next_place = i;
//!endif
            if place == 0xffffffffu || takes_over(next, next_place, value, place) {
                value = next;
                place = next_place;
            }
//!else
            value = combine(value, next);
//!endif
        }
    }
    let slot = row * DEPTH + lane;
//!if SUBGROUPS
    if DEPTH > SUBGROUP {
        values[slot] = value;
        workgroupBarrier();
        for (var half = DEPTH / 2u; half >= SUBGROUP; half = half / 2u) {
            if lane < half {
                values[slot] = combine(values[slot], values[slot + half]);
            }
            workgroupBarrier();
        }
        value = values[slot];
    }
    // What lanes beyond the half add up nobody reads.
    for (var half = min(DEPTH, SUBGROUP) / 2u; half > 0u; half = half / 2u) {
        value = combine(value, subgroupShuffleDown(value, half));
    }
//!else
    values[slot] = value;
//!if ARG
    places[slot] = place;
//!endif
    workgroupBarrier();
    for (var half = DEPTH / 2u; half > 0u; half = half / 2u) {
        if lane < half {
//!if ARG
            let other = places[slot + half];
            if other != 0xffffffffu && (places[slot] == 0xffffffffu || takes_over(values[slot + half], other, values[slot], places[slot])) {
                values[slot] = values[slot + half];
                places[slot] = other;
            }
//!else
            values[slot] = combine(values[slot], values[slot + half]);
//!endif
        }
        workgroupBarrier();
    }
    value = values[slot];
//!if ARG
    place = places[slot];
//!endif
//!endif
    if lane == 0u && kept < p.kept {
//!if PARTS_OUT
        parts_out[part * p.kept + kept] = value;
//!if ARG
        places_out[part * p.kept + kept] = place;
//!endif
//!else
//!if ARG
        out[p.out_start + kept] = select(place, 0u, place == 0xffffffffu);
//!else
        out[p.out_start + kept] = value;
//!endif
//!endif
    }
}
