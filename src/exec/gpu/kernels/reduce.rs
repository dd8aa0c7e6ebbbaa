//! Reductions of fused programs: `shaders/reduce.wgsl`.

use super::super::dispatch::{Bind, Dispatch, Limits, Recipe, Source, Word, fold_grid};
use super::choice::{Choice, Class, Family, WORKGROUPS};
use super::params::{Params, flag};
use gradus_kernels::DType;
use gradus_kernels::reduce::Reduction;

/// The program that a reduction is fused with, as text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Prologue {
    /// `fn element(kept: u32, reduced: u32) -> T` and the bindings of its inputs, from 0 on. T is f32, i32 or u32.
    pub text: String,
    /// The type of its result.
    pub dtype: DType,
    /// Fields for the struct of parameters, the first of them aligned to 16 bytes (or none).
    pub fields: String,
    pub params: Vec<u32>,
    pub patches: Vec<(usize, Word)>,
    pub reads: Vec<Bind>,
}

/// The positions of a reduction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Positions {
    pub kept: usize,
    pub reduced: usize,
    /// Whether neighbours in memory are neighbours along a kept axis.
    pub kept_fast: bool,
}

/// Workgroups enough for a large card.
const ENOUGH: usize = 512;

/// How the positions are cut.
struct Cut {
    rows: usize,
    depth: usize,
    chunk: usize,
    parts: usize,
}

impl Cut {
    fn new(at: &Positions, workgroup: usize, once: bool) -> Cut {
        let rows = match at.kept_fast {
            true => at.kept.next_power_of_two().min(64),
            false => workgroup / at.reduced.next_power_of_two().clamp(8, workgroup),
        };
        let depth = workgroup / rows;
        let tiles = at.kept.div_ceil(rows);
        let most = at.reduced.div_ceil(depth * 16).max(1);
        let parts = if once { 1 } else { ENOUGH.div_ceil(tiles).min(most) };
        let chunk = at.reduced.div_ceil(parts).max(1);
        Cut { rows, depth, chunk, parts: at.reduced.div_ceil(chunk).max(1) }
    }
}

/// The class of a reduction's choices.
pub(crate) fn class(at: &Positions) -> Class {
    let family = if at.kept_fast { Family::ReduceAcross } else { Family::Reduce };
    Class::new(family, &[at.kept, at.reduced])
}

/// The reduction of `prologue` over the reduced positions: output 0 has an element for each kept one. `choice` is one for
/// its [`class`].
pub(crate) fn reduce(
    prologue: &Prologue,
    reduction: Reduction,
    at: &Positions,
    choice: Option<Choice>,
    limits: &Limits,
) -> Recipe {
    if at.kept == 0 {
        return Recipe::default();
    }
    let workgroup = match choice {
        Some(Choice::Workgroup(workgroup)) if workgroup <= limits.invocations => workgroup as usize,
        _ => WORKGROUPS[0] as usize,
    };
    let cut = Cut::new(at, workgroup, false);
    if cut.parts == 1 {
        return Recipe {
            scratch: Vec::new(),
            dispatches: vec![pass(Some(prologue), prologue.dtype, reduction, at, &cut, true, limits)],
        };
    }
    let second = Positions { kept: at.kept, reduced: cut.parts, kept_fast: true };
    let dispatches = vec![
        pass(Some(prologue), prologue.dtype, reduction, at, &cut, false, limits),
        pass(
            None,
            prologue.dtype,
            reduction,
            &second,
            &Cut::new(&second, WORKGROUPS[0] as usize, true),
            true,
            limits,
        ),
    ];
    let scratch = vec![(at.kept * cut.parts * 4) as u64; if reduction.is_arg() { 2 } else { 1 }];
    Recipe { scratch, dispatches }
}

/// The result over nothing, and the type's name in WGSL.
fn identity(dtype: DType, reduction: Reduction) -> (&'static str, &'static str) {
    let max = matches!(reduction, Reduction::Max | Reduction::ArgMax);
    match (dtype, reduction) {
        (DType::F32, Reduction::Sum) => ("0.0", "f32"),
        (DType::F32, _) => (if max { "from_bits(0xff800000u)" } else { "from_bits(0x7f800000u)" }, "f32"),
        (DType::I32, Reduction::Sum) => ("0i", "i32"),
        (DType::I32, _) => (if max { "i32(-2147483648)" } else { "2147483647i" }, "i32"),
        (_, Reduction::Sum) => ("0u", "u32"),
        (DType::Bool, _) => (if max { "0u" } else { "1u" }, "u32"),
        (_, _) => (if max { "0u" } else { "0xffffffffu" }, "u32"),
    }
}

/// The flags that say what is done with two elements.
fn operation(dtype: DType, reduction: Reduction) -> impl Iterator<Item = (&'static str, String)> {
    let name = match (reduction, dtype) {
        // The sum of bools is whether any is true.
        (Reduction::Sum, DType::Bool) | (Reduction::Max | Reduction::ArgMax, _) => Some("MAX"),
        (Reduction::Sum, _) => Some("SUM"),
        (Reduction::Min | Reduction::ArgMin, _) => None,
    };
    name.into_iter().chain((dtype == DType::F32).then_some("FLOAT")).map(flag)
}

/// One pass; without a prologue it reduces parts.
fn pass(
    prologue: Option<&Prologue>,
    dtype: DType,
    reduction: Reduction,
    at: &Positions,
    cut: &Cut,
    last: bool,
    limits: &Limits,
) -> Dispatch {
    let arg = reduction.is_arg();
    let (identity, name) = identity(dtype, reduction);
    let tiles = at.kept.div_ceil(cut.rows);
    let mut params = Params::default();
    params.numbers([at.kept, at.reduced, cut.chunk, tiles, tiles * cut.parts]);
    if last {
        params.start(0, Bind::Output(0))
    } else {
        params.numbers([0])
    };
    let scratch = || [Bind::Scratch(0), Bind::Scratch(1)].into_iter().take(if arg { 2 } else { 1 });
    let reads: Vec<Bind> = prologue.map_or_else(|| scratch().collect(), |p| p.reads.clone());
    let mut defines = vec![("T", String::from(name)), ("IDENTITY", String::from(identity))];
    defines.push(("FIRST_OUT", reads.len().to_string()));
    defines.extend(operation(dtype, reduction));
    if arg {
        defines.extend([flag("ARG"), ("SECOND_OUT", (reads.len() + 1).to_string())]);
    }
    if !last {
        defines.push(flag("PARTS_OUT"));
    }
    let rows_fast = at.kept_fast && cut.rows > 1;
    let mut constants = vec![
        ("ROWS", cut.rows as f64),
        ("DEPTH", cut.depth as f64),
        ("ROWS_FAST", f64::from(u8::from(rows_fast))),
    ];
    let whole = limits.subgroup > 0 && (cut.rows * cut.depth).is_multiple_of(limits.subgroup as usize);
    if whole && !arg && !rows_fast {
        defines.push(flag("SUBGROUPS"));
        constants.push(("SUBGROUP", f64::from(limits.subgroup)));
    }
    match prologue {
        Some(prologue) => {
            defines.push(("PROGRAM", prologue.text.clone()));
            defines.push(("FIELDS", prologue.fields.clone()));
            let base = params.align().words.len();
            params.words.extend(&prologue.params);
            params.patches.extend(prologue.patches.iter().map(|(at, word)| (base + at, *word)));
        }
        None => defines.push(flag("PARTS_IN")),
    }
    Dispatch {
        source: Source::File { name: "reduce", defines },
        constants,
        params: params.words,
        patches: params.patches,
        reads,
        writes: if last { vec![Bind::Output(0)] } else { scratch().collect() },
        grid: fold_grid((tiles * cut.parts) as u64, limits),
    }
}
