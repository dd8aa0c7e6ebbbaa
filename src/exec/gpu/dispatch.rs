//! What a kernel asks of the device, in plain data: which shader, specialised how, on which buffers, how many
//! workgroups. Nothing here knows of wgpu, so descriptions can be made and checked without a device.
//!
//! # The convention every shader follows
//! * `@group(0)`: what is read at bindings `0..` as `var<storage, read>`, then what is written as
//!   `var<storage, read_write>`, in the order of [`Dispatch::reads`] and [`Dispatch::writes`]. No buffer is bound twice
//!   unless it is only read; what is updated in place is bound once, as written.
//! * `@group(1) @binding(0) var<uniform> p: P`: the parameters, a struct of `u32`, `i32`, `f32` and vectors of them. What
//!   compiles a shader moves them to the first group, behind the buffers.
//!   [`Dispatch::params`] are its words in the layout that WGSL gives the struct, padding included.
//! * Elements are 32 bits wide: f32, i32, u32, and bool as u32 (0 or 1).
//! * Offsets and strides are counted in elements and are parameters. A buffer may hold a value that starts anywhere:
//!   [`Dispatch::patches`] names the words to which that start is added when the dispatch is recorded.
//! * The entry point is `main`; the workgroup size comes from the file or from override constants.
//! * More than 65,535 workgroups along x go on along y: see [`fold_grid`] and `shaders/lib/grid.wgsl`.

/// A buffer, by its part in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Bind {
    /// Operand number `.0`, in the order of the kernel's description.
    Input(usize),
    /// Result number `.0`.
    Output(usize),
    /// Scratch number `.0` of [`Recipe::scratch`]. Its content is unspecified at first.
    Scratch(usize),
    /// Where a shader reports an index outside its axis: see `shaders/lib/fault.wgsl`.
    Fault,
}

/// A word that changes from one run of a plan to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Word {
    /// The start of the bound value in its buffer is added to the word.
    Offset(Bind),
    /// The number of the node whose kernel this is: what `report_fault` wants.
    Node,
    /// Number `.0` of the graph (a constant, a rate), as the f32 it stands for.
    Float(u32),
    /// Number `.0` of the graph, its lower word: integers, bools, half a seed.
    Low(u32),
    /// Number `.0` of the graph, its upper word.
    High(u32),
}

/// The text of a shader.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    /// The file `shaders/NAME.wgsl`, with its directives expanded: see [`super::source`].
    File {
        name: &'static str,
        /// Values of `{{NAME}}` and flags of `//!if NAME` (a flag's value is empty).
        defines: Vec<(&'static str, String)>,
    },
    /// Text made for one fused program.
    Generated(String),
}

/// One run of one shader.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Dispatch {
    pub source: Source,
    /// Override constants: numbers that set tile and workgroup sizes.
    pub constants: Vec<(&'static str, f64)>,
    /// The words of the uniform struct `P`.
    pub params: Vec<u32>,
    /// Words of `params` that are known only when the dispatch is recorded.
    pub patches: Vec<(usize, Word)>,
    pub reads: Vec<Bind>,
    pub writes: Vec<Bind>,
    /// Workgroups along x, y, z.
    pub grid: [u32; 3],
}

/// What a kernel does: its dispatches in order, and the buffers it needs meanwhile.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Recipe {
    /// Bytes of each scratch buffer.
    pub scratch: Vec<u64>,
    pub dispatches: Vec<Dispatch>,
}

/// What of an adapter's limits the choice of tiles and the cut of kernels depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Bytes of workgroup memory.
    pub workgroup_memory: u32,
    /// Invocations of one workgroup.
    pub invocations: u32,
    /// Workgroups along one axis of the grid.
    pub workgroups: u32,
    /// Storage buffers of one dispatch.
    pub buffers: u32,
    /// Bytes of one bound buffer.
    pub binding: u64,
    /// Invocations of each subgroup, a power of two; 0 where the device has none, or of several sizes.
    pub subgroup: u32,
    /// Workgroups that the choice of tiles takes to run side by side: see [`CARD_UNITS`] and [`SOFTWARE_UNITS`].
    pub units: u32,
}

/// As large cards have them: an estimate. The same for all of them, so that the order of sums is the same.
pub(crate) const CARD_UNITS: u32 = 132;
/// On a processor more and smaller workgroups gain nothing. Measured on llvmpipe and SwiftShader: see `docs/gpu.md`.
pub(crate) const SOFTWARE_UNITS: u32 = 1;

impl Limits {
    /// What WebGPU promises everywhere.
    #[allow(dead_code, reason = "what tests make descriptions for")]
    pub const LEAST: Limits = Limits {
        workgroup_memory: 16 << 10,
        invocations: 256,
        workgroups: 65_535,
        buffers: 8,
        binding: 128 << 20,
        subgroup: 0,
        units: CARD_UNITS,
    };
}

/// What [`Limits::subgroup`] is on an adapter whose subgroups have `least` to `most` invocations.
pub(crate) fn subgroup_size(least: u32, most: u32) -> u32 {
    if least == most && most.is_power_of_two() { most } else { 0 }
}

/// The grid of `workgroups` workgroups in a row, folded where one axis has too few: workgroup `(x, y)` is number
/// `y * (workgroups along x) + x`, and those from `workgroups` on have nothing to do.
///
/// # Panics
/// If not even two axes hold them; 2^32 workgroups are more than any buffer has elements.
pub(crate) fn fold_grid(workgroups: u64, limits: &Limits) -> [u32; 3] {
    let most = u64::from(limits.workgroups);
    let y = workgroups.div_ceil(most).max(1);
    assert!(y <= most, "{workgroups} workgroups do not fit two axes of {most}");
    [workgroups.div_ceil(y) as u32, y as u32, 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grids_fold() {
        assert_eq!(fold_grid(1, &Limits::LEAST), [1, 1, 1]);
        assert_eq!(fold_grid(65_535, &Limits::LEAST), [65_535, 1, 1]);
        let [x, y, z] = fold_grid(65_536, &Limits::LEAST);
        assert_eq!((y, z), (2, 1));
        assert!(x <= 65_535 && u64::from(x) * u64::from(y) >= 65_536);
        assert_eq!(fold_grid(0, &Limits::LEAST), [0, 1, 1]);
    }
}
