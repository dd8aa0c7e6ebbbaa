//! Indexing along an axis and its dual: `shaders/gather.wgsl`, `scatter_add.wgsl`, `scatter_sorted.wgsl`.

use super::super::dispatch::{Bind, Limits, Recipe};
use super::params::{Params, Space, View, cleared, flag};
use super::sort::{self, Keys, Lines};
use gradus_kernels::{DType, MAX_RANK, contiguous};

/// `out[.., i, ..] = x[.., index[.., i, ..], ..]`: inputs x and index, output out, `shape` that of index and out; x has
/// length `len` along `axis`. Any type of 32 bits.
pub(crate) fn gather(
    shape: &[usize],
    axis: usize,
    len: usize,
    x: &View,
    index: &View,
    limits: &Limits,
) -> Recipe {
    let count: usize = shape.iter().product();
    if count == 0 {
        return Recipe::default();
    }
    let space = Space::new(shape, [&cleared(&x.strides, axis), &index.strides]);
    let mut params = Params::default();
    params
        .numbers([count, space.rank()])
        .start(x.offset, Bind::Input(0))
        .start(index.offset, Bind::Input(1))
        .start(0, Bind::Output(0))
        .numbers([len])
        .signed([x.strides[axis]])
        .node()
        .lengths(&space.lengths)
        .strides(&space.strides[0])
        .strides(&space.strides[1]);
    let (reads, writes) = (vec![Bind::Input(0), Bind::Input(1)], vec![Bind::Output(0), Bind::Fault]);
    let dispatch = params.dispatch("gather", vec![flag("TWO")], reads, writes, count.div_ceil(256), limits);
    Recipe { scratch: Vec::new(), dispatches: vec![dispatch] }
}

/// Up to here an axis is searched from end to end for every result; longer ones are sorted first.
const SEARCHED: usize = 64;

/// `out[.., index[.., i, ..], ..] += src[.., i, ..]` from zeros, in order of i: inputs src and index, output out, `shape`
/// that of src and index; out has length `len` along `axis`.
pub(crate) fn scatter_add(
    dtype: DType,
    shape: &[usize],
    axis: usize,
    len: usize,
    src: &View,
    index: &View,
    limits: &Limits,
) -> Recipe {
    if shape[axis] <= SEARCHED && len > 0 {
        searched(dtype, shape, axis, len, src, index, limits)
    } else {
        sorted(dtype, shape, axis, len, src, index, limits)
    }
}

/// The shape of the result.
fn result_shape(shape: &[usize], axis: usize, len: usize) -> Vec<usize> {
    let mut out = shape.to_vec();
    out[axis] = len;
    out
}

/// How the shaders call the type of numbers; sums of i32 have the bits of those of u32.
pub(super) fn number_type(dtype: DType) -> String {
    String::from(if dtype == DType::F32 { "f32" } else { "u32" })
}

/// The defines of a shader that adds along an axis, with two operands to follow.
fn along(dtype: DType) -> Vec<(&'static str, String)> {
    vec![("T", number_type(dtype)), flag("AXIS"), flag("TWO")]
}

/// [`scatter_add`] where every result looks through the axis.
pub(crate) fn searched(
    dtype: DType,
    shape: &[usize],
    axis: usize,
    len: usize,
    src: &View,
    index: &View,
    limits: &Limits,
) -> Recipe {
    let out = result_shape(shape, axis, len);
    let count: usize = out.iter().product();
    if count == 0 {
        return Recipe::default();
    }
    let (s, i) = (cleared(&src.strides, axis), cleared(&index.strides, axis));
    let mut params = Params::default();
    params
        .numbers([count, out.len()])
        .start(src.offset, Bind::Input(0))
        .start(index.offset, Bind::Input(1))
        .start(0, Bind::Output(0))
        .numbers([shape[axis]])
        .signed([src.strides[axis], index.strides[axis]])
        .numbers([axis, len])
        .node()
        .lengths(&out)
        .strides(&s[..out.len()])
        .strides(&i[..out.len()]);
    let (reads, writes) = (vec![Bind::Input(0), Bind::Input(1)], vec![Bind::Output(0), Bind::Fault]);
    let dispatch = params.dispatch("scatter_add", along(dtype), reads, writes, count.div_ceil(256), limits);
    Recipe { scratch: Vec::new(), dispatches: vec![dispatch] }
}

/// [`scatter_add`] where the indices of each line are sorted first.
pub(crate) fn sorted(
    dtype: DType,
    shape: &[usize],
    axis: usize,
    len: usize,
    src: &View,
    index: &View,
    limits: &Limits,
) -> Recipe {
    // Along axes where the index is broadcast, one sorted line serves all.
    let mut distinct = shape.to_vec();
    for (other, length) in distinct.iter_mut().enumerate() {
        if other != axis && index.strides[other] == 0 {
            *length = 1;
        }
    }
    let lines = Lines::new(&distinct, axis, index, Bind::Input(1));
    let mut recipe = sort::sort(&lines, Keys::Indices { len }, limits);
    let out = result_shape(shape, axis, len);
    let count: usize = out.iter().product();
    if count == 0 {
        return recipe;
    }
    let [keys, positions] = sort::result(&lines);
    let line_strides = line_strides(&distinct, axis);
    let s = cleared(&src.strides, axis);
    let mut params = Params::default();
    params
        .numbers([count, out.len()])
        .start(src.offset, Bind::Input(0))
        .start(0, Bind::Output(0))
        .numbers([shape[axis]])
        .signed([src.strides[axis]])
        .numbers([axis])
        .lengths(&out)
        .strides(&s[..out.len()])
        .strides(&line_strides[..out.len()]);
    let (reads, writes) = (vec![Bind::Input(0), keys, positions], vec![Bind::Output(0)]);
    let workgroups = count.div_ceil(256);
    let dispatch = params.dispatch("scatter_sorted", along(dtype), reads, writes, workgroups, limits);
    recipe.dispatches.push(dispatch);
    recipe
}

/// From one position of an axis to the next, how many lines of `shape` along `axis` lie between.
fn line_strides(shape: &[usize], axis: usize) -> [isize; MAX_RANK] {
    let strides = contiguous(&result_shape(shape, axis, 1));
    std::array::from_fn(|i| if i < shape.len() && i != axis && shape[i] > 1 { strides[i] } else { 0 })
}
