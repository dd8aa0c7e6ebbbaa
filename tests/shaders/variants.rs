//! Recipes that together use every shader in every form that a kernel asks for.

use crate::gpu::dispatch::{Limits, Recipe, Source};
use crate::gpu::kernels::conv::{self, Form};
use crate::gpu::kernels::lines::{Part, Windows, row_major};
use crate::gpu::kernels::params::View;
use crate::gpu::kernels::reduce::{Positions, reduce};
use crate::gpu::kernels::tile::{Cut, TILES};
use crate::gpu::kernels::{gemm, index, lines, sort};
use crate::products::bias_and_halves;
use crate::reductions::input;
use gradus_kernels::DType;
use gradus_kernels::conv::Conv;
use gradus_kernels::gemm::{BatchAxis, Gemm};
use gradus_kernels::reduce::Reduction;

/// One shader, specialised.
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    pub name: &'static str,
    pub defines: Vec<(&'static str, String)>,
    pub constants: Vec<(&'static str, f64)>,
}

/// More workgroup memory than the least, so that tiles have two stages.
pub const ROOMY: Limits = Limits { workgroup_memory: 32 << 10, ..Limits::LEAST };

/// With subgroups, of the size that browsers' software device has.
const SUBGROUPS: Limits = Limits { subgroup: 4, ..Limits::LEAST };

/// Every variant that the recipes below use, once.
pub fn all() -> Vec<Variant> {
    let plain = |name| Variant { name, defines: Vec::new(), constants: Vec::new() };
    let mut variants: Vec<Variant> = vec![plain("nonfinite")];
    for recipe in recipes() {
        for dispatch in recipe.dispatches {
            let Source::File { name, defines } = dispatch.source else { continue };
            let variant = Variant { name, defines, constants: dispatch.constants };
            if !variants.contains(&variant) {
                variants.push(variant);
            }
        }
    }
    variants
}

fn recipes() -> Vec<Recipe> {
    let mut recipes = Vec::new();
    for limits in [Limits::LEAST, ROOMY] {
        products(&limits, &mut recipes);
    }
    let limits = &Limits::LEAST;
    let shape = [3, 2000];
    let x = row_major(&shape);
    for dtype in [DType::F32, DType::U32] {
        recipes.push(index::searched(dtype, &shape, 1, 5, &x, &x, limits));
        recipes.push(index::sorted(dtype, &shape, 1, 5, &x, &x, limits));
        recipes.push(lines::cumsum(dtype, &shape, 0, &x, limits));
        recipes.push(lines::cumsum(dtype, &shape, 1, &x, limits));
        let windows = Windows { axis: 0, len: 5, stride: 1, dilation: 1 };
        recipes.push(lines::fold(dtype, &[3, 3], &windows, &row_major(&[3, 3]), limits));
    }
    for dtype in [DType::F32, DType::I32, DType::U32, DType::Bool] {
        recipes.push(sort::argsort(dtype, &shape, 0, false, &x, limits));
        recipes.push(sort::argsort(dtype, &shape, 1, false, &x, limits));
    }
    for dtype in [DType::F32, DType::I32, DType::U32, DType::Bool] {
        for (kept, reduced) in [(1, 50_000), (100, 100)] {
            for reduction in
                [Reduction::Sum, Reduction::Max, Reduction::Min, Reduction::ArgMax, Reduction::ArgMin]
            {
                let at = Positions { kept, reduced, kept_fast: kept > 1 };
                for limits in [limits, &SUBGROUPS] {
                    recipes.push(reduce(&input(dtype, at.kept_fast), reduction, &at, None, limits));
                }
            }
        }
    }
    recipes.push(index::gather(&shape, 1, 5, &x, &x, limits));
    let part = Part { shape: shape.to_vec(), input: 0, x, out: x };
    recipes.push(lines::copies(true, 6000, &[part], limits));
    recipes
}

fn products(limits: &Limits, recipes: &mut Vec<Recipe>) {
    let n = 68isize;
    let transposes = [([n, 1], [n, 1]), ([n, 1], [1, n]), ([1, n], [n, 1]), ([1, n], [1, n])];
    for tile in TILES.into_iter().filter(|tile| tile.fits(limits)) {
        let g = Gemm { m: 68, n: 68, k: 48, a: [1, n], b: [n, 1], batch: Vec::new() };
        let mut summed = gemm::tiled(&g, [0, 0], true, Cut { tile, parts: 1, depth: 48 }, None, limits);
        gemm::sum_rows(&mut summed);
        recipes.push(summed);
        for parts in [1, 2] {
            let cut = Cut { tile, parts, depth: 48 };
            for (a, b) in transposes {
                for (extent, aligned) in [(68, true), (67, true), (68, false)] {
                    let batch = vec![BatchAxis { len: 3, a: 0, b: n * n }];
                    let g = Gemm { m: extent, n: extent, k: extent, a, b, batch };
                    recipes.push(gemm::tiled(&g, [0, 0], aligned, cut, None, limits));
                    let fused = bias_and_halves(extent);
                    recipes.push(gemm::tiled(&g, [0, 0], aligned, cut, Some(&fused), limits));
                }
            }
            for (form, output) in [Form::Forward, Form::Input, Form::Weight].into_iter().zip([4, 4, 4]) {
                for (output, aligned) in [(output, true), (output + 1, true), (output, false)] {
                    let c = Conv {
                        batch: 2,
                        groups: 1,
                        in_channels: 4,
                        out_channels: 4,
                        input: [9, 9],
                        kernel: [3, 3],
                        output: [output, output],
                        stride: [2, 2],
                        padding: [1, 1],
                        dilation: [1, 1],
                    };
                    recipes.push(conv::with_cut(form, &c, [0, 0], aligned, cut, None, limits));
                    if form != Form::Weight {
                        let fused = bias_and_halves(c.output[0]);
                        recipes.push(conv::with_cut(form, &c, [0, 0], aligned, cut, Some(&fused), limits));
                    }
                }
            }
        }
    }
    for (a, m, columns) in [([n, 1], 68, 1), ([1, n], 68, 1), ([n, 1], 1, 68)] {
        let g = Gemm { m, n: columns, k: 68, a, b: [n, 1], batch: Vec::new() };
        recipes.push(gemm::gemm(&g, [0, 0], true, None, None, limits));
        recipes.push(gemm::gemm(&g, [0, 0], true, None, Some(&bias_and_halves(columns)), limits));
    }
}

/// A view with the strides given first.
pub fn view(offset: usize, strides: &[isize]) -> View {
    let mut all = [0; gradus_kernels::MAX_RANK];
    all[..strides.len()].copy_from_slice(strides);
    View { offset, strides: all }
}
