// What the three convolutions share: their parameters, the order of their workgroups, and where a tile lies. With PHASES,
// each phase has lengths of its own. Channels count one group's.
// Output position o of a convolution reads the inputs o * stride - padding + k * dilation; outside there are zeros.

struct P {
    input: vec2<u32>,               // height and width, as in all pairs
    kernel: vec2<u32>,
    output: vec2<u32>,
    stride: vec2<u32>,
    padding: vec2<u32>,
    dilation: vec2<u32>,
    tap_step: vec2<u32>,            // stride / gcd(stride, dilation): from one weight of a phase to the next
    batch: u32,
    groups: u32,
    in_channels: u32,
    out_channels: u32,
    depth: u32,                     // k of one part, a multiple of 16
    tiles_m: u32,
    tiles_n: u32,
    splits: u32,
    workgroups: u32,
    a_start: u32,
    b_start: u32,
    c_start: u32,
    c_split: u32,                   // from one part's result to the next
//!if EPILOGUE
{{FIELDS}}
//!endif
}

@group(1) @binding(0) var<uniform> p: P;

// Which tile of which group, part of k and phase a workgroup has.
struct Job {
    row: u32,
    column: u32,
    part: u32,
    group: u32,
    phase: u32,
}

fn job_of(workgroup: u32) -> Job {
    // Tiles of the same columns follow one another: they read the same patches.
    var rest = workgroup;
    var job: Job;
    job.row = (rest % p.tiles_m) * BM;
    rest = rest / p.tiles_m;
    job.column = (rest % p.tiles_n) * B_FOURS * 4u;
    rest = rest / p.tiles_n;
    job.part = rest % p.splits;
    rest = rest / p.splits;
    job.group = rest % p.groups;
    job.phase = rest / p.groups;
    return job;
}

// Where a tile lies, and lengths that are the same for all of it.
struct Place {
    first_row: u32,
    first_column: u32,
    k_begin: u32,
    k_end: u32,
    group: u32,
    taps: u32,                      // weights of a pair of channels; of those, the phase's
    plane: u32,                     // pixels of a plane; of those, the phase's
    length: u32,                    // of a row of the weights
    c: u32,                         // where the result of the part begins
//!if PHASES
    rows: Phase,
    columns: Phase,
//!endif
}

// A job's place, where sums have `k` terms.
fn place_of(job: Job, taps: u32, plane: u32, k: u32) -> Place {
    var at: Place;
    at.first_row = job.row;
    at.first_column = job.column;
    at.group = job.group;
    at.taps = taps;
    at.plane = plane;
    at.length = p.in_channels * taps;
    at.k_begin = job.part * p.depth;
    at.k_end = min(at.k_begin + p.depth, k);
    at.c = p.c_start + job.part * p.c_split;
    return at;
}
