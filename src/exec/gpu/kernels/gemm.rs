//! Matrix multiplication: `shaders/sgemm.wgsl`, `sgemv.wgsl`, `sum_parts.wgsl`.

use super::super::dispatch::{Bind, Dispatch, Limits, Recipe, Source, Word, fold_grid};
use super::choice::{Choice, Class, Family, VECTORS, VECTORS_ACROSS};
use super::params::Params;
use super::tile::{Cut, Epilogue, Extent, TILES, Tile, cut};
use gradus_kernels::gemm::{BatchAxis, Gemm};

/// `C = A B` in f32: A is input 0, B input 1, C output 0; `offsets` of their first elements (of A, B) in their values.
///
/// `aligned` says that the values begin at multiples of 4 elements in their buffers; `choice` is one for its [`class`].
pub(crate) fn gemm(
    g: &Gemm,
    offsets: [usize; 2],
    aligned: bool,
    choice: Option<Choice>,
    epilogue: Option<&Epilogue>,
    limits: &Limits,
) -> Recipe {
    if g.m == 0 || g.n == 0 || g.batches() == 0 {
        return Recipe::default();
    }
    let g = stacked(g);
    match vector_sides(&g) {
        Some(sides) => Recipe {
            scratch: Vec::new(),
            dispatches: vec![vector(&g, &sides, offsets, choice, epilogue, limits)],
        },
        None => tiled(&g, offsets, aligned, cut(&extent(&g), choice, limits), epilogue, limits),
    }
}

/// The class of a product's choices.
pub(crate) fn class(g: &Gemm) -> Class {
    let g = stacked(g);
    match vector_sides(&g) {
        Some(sides) => {
            let family = if sides.along_k() { Family::Gemv } else { Family::GemvAcross };
            Class::new(family, &[sides.rows, g.k, g.batches()])
        }
        None => Class::new(Family::Gemm, &[g.m, g.n, g.k, g.batches()]),
    }
}

/// Whether the product of [`gemm`] with this choice and without an epilogue can give the sums of A's rows as well.
pub(crate) fn can_sum_rows(g: &Gemm, choice: Option<Choice>, limits: &Limits) -> bool {
    let whole = g.m > 0 && g.n > 0 && g.k > 0 && limits.buffers >= 4;
    let g = stacked(g);
    whole && g.batch.is_empty() && vector_sides(&g).is_none() && cut(&extent(&g), choice, limits).parts == 1
}

/// Lets such a product put the sums of A's rows into output 1.
pub(crate) fn sum_rows(recipe: &mut Recipe) {
    let [dispatch] = recipe.dispatches.as_mut_slice() else { unreachable!("k is in one part") };
    let Source::File { defines, .. } = &mut dispatch.source else { unreachable!("a file's shader") };
    defines.push(("ROW_SUMS", String::new()));
    dispatch.writes.push(Bind::Output(1));
    dispatch.patches.push((SUMS_START, Word::Offset(Bind::Output(1))));
}

/// The word of `sums_start` in the parameters of `shaders/sgemm.wgsl`, which is padding otherwise.
const SUMS_START: usize = 17;

fn extent(g: &Gemm) -> Extent {
    Extent { m: g.m, n: g.n, k: g.k, count: g.batches() }
}

/// The same product with fewer and taller matrices: inner batch axes along which B is the same and the rows of A go on
/// become rows; axes of length 1 are dropped.
fn stacked(g: &Gemm) -> Gemm {
    let mut g = g.clone();
    g.batch.retain(|axis| axis.len != 1);
    while let Some(&BatchAxis { len, a, b: 0 }) = g.batch.last()
        && a == g.m as isize * g.a[0]
    {
        g.m *= len;
        g.batch.pop();
    }
    g
}

/// The product with a given cut, for the choice's own tests and for tuning.
pub(crate) fn tiled(
    g: &Gemm,
    offsets: [usize; 2],
    aligned: bool,
    cut: Cut,
    epilogue: Option<&Epilogue>,
    limits: &Limits,
) -> Recipe {
    let elements = g.batches() * g.m * g.n;
    let partial = cut.parts > 1;
    let out = if partial { Bind::Scratch(0) } else { Bind::Output(0) };
    let mut params = Params::default();
    let tiles = [g.m.div_ceil(cut.tile.height() as usize), g.n.div_ceil(cut.tile.width() as usize)];
    let workgroups = tiles[0] * tiles[1] * g.batches() * cut.parts as usize;
    params
        .numbers([g.m, g.n, g.k, cut.depth as usize, tiles[0], tiles[1], cut.parts as usize, workgroups])
        .start(offsets[0], Bind::Input(0))
        .start(offsets[1], Bind::Input(1))
        .start(0, out)
        .numbers([elements])
        .signed([g.a[0], g.a[1], g.b[0], g.b[1]])
        .numbers([g.batch.len()]);
    batch_axes(&mut params, g, |axis| [axis.a, axis.b]);

    let fours = |offset: usize, extent: usize, [unit, other]: [isize; 2], batch: fn(&BatchAxis) -> isize| {
        let strides = std::iter::once(other).chain(g.batch.iter().map(batch));
        aligned
            && unit == 1
            && offset.is_multiple_of(4)
            && extent.is_multiple_of(4)
            && strides.into_iter().all(|s| s % 4 == 0)
    };
    let mut flags = Vec::new();
    let a_fours = fours(offsets[0], g.k, [g.a[1], g.a[0]], |axis| axis.a);
    let b_fours = fours(offsets[1], g.n, [g.b[1], g.b[0]], |axis| axis.b);
    flags.extend(a_fours.then_some("A_FOURS"));
    flags.extend(b_fours.then_some("B_FOURS_WIDE"));
    flags.extend((aligned && g.n.is_multiple_of(4) && (partial || epilogue.is_none())).then_some("C_FOURS"));
    let along_k = [
        g.a[1].unsigned_abs() <= g.a[0].unsigned_abs(),
        !b_fours && g.b[0].unsigned_abs() < g.b[1].unsigned_abs(),
    ];
    let first = Product {
        file: "sgemm",
        flags,
        params,
        reads: vec![Bind::Input(0), Bind::Input(1)],
        workgroups,
        along_k,
    };
    finish(first, cut, elements, epilogue, limits)
}

fn batch_axes(params: &mut Params, g: &Gemm, strides: fn(&BatchAxis) -> [isize; 2]) {
    let lengths: Vec<usize> = g.batch.iter().map(|axis| axis.len).collect();
    params.lengths(&lengths);
    for operand in 0..2 {
        let strides: Vec<isize> = g.batch.iter().map(|axis| strides(axis)[operand]).collect();
        params.strides(&strides);
    }
}

/// A product in tiles, but for what its cut decides.
pub(super) struct Product {
    pub file: &'static str,
    pub flags: Vec<&'static str>,
    pub params: Params,
    pub reads: Vec<Bind>,
    pub workgroups: usize,
    pub along_k: [bool; 2],
}

/// The defines and override constants of a shader.
type Specialised = (Vec<(&'static str, String)>, Vec<(&'static str, f64)>);

/// How `lib/tile.wgsl` is specialised.
pub(super) fn tile_source(tile: Tile, stages: u32, along_k: [bool; 2]) -> Specialised {
    let [rows, columns] = tile.invocations;
    let threads = rows * columns;
    let defines = vec![
        ("TM", tile.rows.to_string()),
        ("TN4", tile.fours.to_string()),
        ("LA", (tile.height() * 4 / threads).to_string()),
        ("LB", (tile.width() * 4 / threads).to_string()),
    ];
    let constants = vec![
        ("ROWS", f64::from(rows)),
        ("COLS", f64::from(columns)),
        ("STAGES", f64::from(stages)),
        ("A_ALONG_K", f64::from(u8::from(along_k[0]))),
        ("B_ALONG_K", f64::from(u8::from(along_k[1]))),
    ];
    (defines, constants)
}

/// The dispatches of a product: one, or one for the parts of k and one that adds them.
pub(super) fn finish(
    product: Product,
    cut: Cut,
    elements: usize,
    epilogue: Option<&Epilogue>,
    limits: &Limits,
) -> Recipe {
    let (mut defines, constants) = tile_source(cut.tile, cut.tile.stages(limits), product.along_k);
    defines.extend(product.flags.iter().map(|&flag| (flag, String::new())));
    let partial = cut.parts > 1;
    let out = if partial { Bind::Scratch(0) } else { Bind::Output(0) };
    let mut dispatch = Dispatch {
        source: Source::File { name: product.file, defines },
        constants,
        params: product.params.words,
        patches: product.params.patches,
        reads: product.reads,
        writes: vec![out],
        grid: fold_grid(product.workgroups as u64, limits),
    };
    if !partial {
        apply(&mut dispatch, epilogue);
        return Recipe { scratch: Vec::new(), dispatches: vec![dispatch] };
    }
    let scratch = vec![elements as u64 * u64::from(cut.parts) * 4];
    Recipe { scratch, dispatches: vec![dispatch, sum_parts(elements, cut.parts, epilogue, limits)] }
}

/// The second pass: adds the parts in order.
fn sum_parts(elements: usize, parts: u32, epilogue: Option<&Epilogue>, limits: &Limits) -> Dispatch {
    let mut params = Params::default();
    params.numbers([elements, parts as usize]).start(0, Bind::Output(0));
    let (reads, writes) = (vec![Bind::Scratch(0)], vec![Bind::Output(0)]);
    let mut dispatch =
        params.dispatch("sum_parts", Vec::new(), reads, writes, elements.div_ceil(256), limits);
    apply(&mut dispatch, epilogue);
    dispatch
}

/// Lets an epilogue take the elements of the result instead of storing them.
fn apply(dispatch: &mut Dispatch, epilogue: Option<&Epilogue>) {
    let Some(epilogue) = epilogue else { return };
    let Source::File { defines, .. } = &mut dispatch.source else { return };
    let declarations = epilogue.bindings.declarations(dispatch.reads.len());
    defines.push(("EPILOGUE", format!("{declarations}{}", epilogue.function)));
    defines.push(("FIELDS", epilogue.fields.clone()));
    // The element's number is counted from the start of the result, which has no buffer of its own here.
    dispatch.patches.retain(|(_, word)| *word != Word::Offset(Bind::Output(0)));
    let base = dispatch.params.len().next_multiple_of(4);
    dispatch.params.resize(base, 0);
    dispatch.params.extend(&epilogue.params);
    dispatch.patches.extend(epilogue.patches.iter().map(|(at, word)| (base + at, *word)));
    dispatch.reads.extend(epilogue.bindings.reads.iter().map(|(bind, _)| *bind));
    dispatch.writes = epilogue.bindings.writes.iter().map(|(bind, _)| *bind).collect();
}

/// A product of which one side is a vector.
struct Sides {
    /// Whether it is the left one: a row.
    row: bool,
    /// The inputs that matrix and vector are.
    matrix: usize,
    vector: usize,
    /// Rows of the matrix, or its columns beside a row.
    rows: usize,
    /// Strides of the matrix along them and along k, and of the vector.
    strides: [isize; 2],
    vector_stride: isize,
}

fn vector_sides(g: &Gemm) -> Option<Sides> {
    let column = Sides { row: false, matrix: 0, vector: 1, rows: g.m, strides: g.a, vector_stride: g.b[0] };
    let strides = [g.b[1], g.b[0]];
    let row = Sides { row: true, matrix: 1, vector: 0, rows: g.n, strides, vector_stride: g.a[1] };
    if g.n == 1 { Some(column) } else { (g.m == 1).then_some(row) }
}

impl Sides {
    fn along_k(&self) -> bool {
        self.strides[1].unsigned_abs() <= self.strides[0].unsigned_abs()
    }
}

/// A product with a vector.
fn vector(
    g: &Gemm,
    sides: &Sides,
    offsets: [usize; 2],
    choice: Option<Choice>,
    epilogue: Option<&Epilogue>,
    limits: &Limits,
) -> Dispatch {
    let &Sides { row, matrix, vector, rows: m, strides, vector_stride } = sides;
    let [rows, depth] = match choice {
        Some(Choice::Vector { rows, depth }) if rows * depth <= limits.invocations => [rows, depth],
        _ => {
            if sides.along_k() {
                VECTORS[0]
            } else {
                VECTORS_ACROSS[0]
            }
        }
    };
    let tiles = m.div_ceil(rows as usize);
    let mut params = Params::default();
    params
        .numbers([m, g.k, tiles, tiles * g.batches()])
        .start(offsets[matrix], Bind::Input(matrix))
        .start(offsets[vector], Bind::Input(vector))
        .start(0, Bind::Output(0))
        .signed([strides[0], strides[1], vector_stride])
        .numbers([g.batch.len()]);
    batch_axes(&mut params, g, if row { |axis| [axis.b, axis.a] } else { |axis| [axis.a, axis.b] });
    let mut dispatch = Dispatch {
        source: Source::File { name: "sgemv", defines: Vec::new() },
        constants: vec![("ROWS", f64::from(rows)), ("DEPTH", f64::from(depth))],
        params: params.words,
        patches: params.patches,
        reads: vec![Bind::Input(matrix), Bind::Input(vector)],
        writes: vec![Bind::Output(0)],
        grid: fold_grid((tiles * g.batches()) as u64, limits),
    };
    apply(&mut dispatch, epilogue);
    dispatch
}

/// Every tile an adapter can run.
#[allow(dead_code, reason = "what tests and tuning choose by hand")]
pub(crate) fn tiles(limits: &Limits) -> impl Iterator<Item = Tile> {
    TILES.into_iter().filter(move |tile| tile.fits(limits))
}
