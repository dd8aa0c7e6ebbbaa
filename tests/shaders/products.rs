//! GEMM and the convolutions against their plain loops: every tile, one and several parts, sizes at and around the
//! tiles' edges, all transposes, batches, groups, dilation.

use crate::device::{Device, device, floats, words};
use crate::gpu::dispatch::{Bind, Limits, Recipe, Word};
use crate::gpu::kernels::choice::Choice;
use crate::gpu::kernels::conv::{self, Form};
use crate::gpu::kernels::gemm;
use crate::gpu::kernels::tile::{Cut, Epilogue, Tile};
use crate::gpu::wgsl::Bindings;
use crate::numbers::{Numbers, error};
use gradus_kernels::DType;
use gradus_kernels::conv::Conv;
use gradus_kernels::gemm::{BatchAxis, Gemm};
use gradus_kernels::naive;

/// Sums of k products of numbers between -1 and 1: partial sums grow like sqrt(k) / 3, so rounding them adds up to about
/// 1.4e-8 k, of which this is seven times. The plain loops run in f64.
fn tolerance(k: usize) -> f32 {
    1e-7 * k as f32 + 5e-7
}

fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| f64::from(x)).collect()
}

fn narrow(x: &[f64]) -> Vec<f32> {
    x.iter().map(|&x| x as f32).collect()
}

fn check_gemm(device: &Device, g: &Gemm, recipe: &Recipe) {
    let mut numbers = Numbers::new((g.m * 31 + g.n * 7 + g.k) as u64);
    let (a_span, b_span) = (g.a_span(), g.b_span());
    let a = numbers.floats((a_span.1 - a_span.0 + 1) as usize);
    let b = numbers.floats((b_span.1 - b_span.0 + 1) as usize);
    let mut wanted = vec![0.0; g.batches() * g.m * g.n];
    naive::gemm::gemm(g, &wide(&a), &wide(&b), &mut wanted);
    let mut results = vec![wanted];
    if recipe.dispatches[0].writes.len() == 2 {
        let start = -a_span.0;
        let at = |row: usize, k: usize| a[(start + row as isize * g.a[0] + k as isize * g.a[1]) as usize];
        results.push((0..g.m).map(|row| (0..g.k).map(|k| f64::from(at(row, k))).sum()).collect());
    }
    let lengths: Vec<usize> = results.iter().map(Vec::len).collect();
    let outcome = device.run(recipe, &[&words(&a), &words(&b)], &lengths);
    for (found, wanted) in outcome.outputs.iter().zip(&results) {
        let e = error(&floats(found), &narrow(wanted));
        assert!(e <= tolerance(g.k), "off by {e}: {g:?}");
    }
}

fn offsets(g: &Gemm) -> [usize; 2] {
    [-g.a_span().0 as usize, -g.b_span().0 as usize]
}

/// Row-major or transposed operands.
fn layouts(m: usize, n: usize, k: usize) -> [([isize; 2], [isize; 2]); 4] {
    let (m, n, k) = (m as isize, n as isize, k as isize);
    [([k, 1], [n, 1]), ([k, 1], [1, k]), ([1, m], [n, 1]), ([1, m], [1, k])]
}

fn tiles() -> Vec<Tile> {
    device().map_or(Vec::new(), |device| gemm::tiles(&device.limits).collect())
}

#[test]
fn gemm_at_the_edges_of_every_tile() {
    let Some(device) = device() else { return };
    for tile in tiles() {
        let (height, width) = (tile.height() as usize, tile.width() as usize);
        let sizes =
            [(height, width, 16), (height + 1, width - 1, 17), (height - 1, width + 4, 20), (5, 3, 1)];
        for (i, (m, n, k)) in sizes.into_iter().enumerate() {
            let (a, b) = layouts(m, n, k)[i];
            for (a, b) in [(a, b), layouts(m, n, k)[(i + 1) % 4]] {
                let g = Gemm { m, n, k, a, b, batch: Vec::new() };
                let cut = Cut { tile, parts: 1, depth: k.next_multiple_of(16) as u32 };
                let mut recipe = gemm::tiled(&g, offsets(&g), true, cut, None, &device.limits);
                check_gemm(device, &g, &recipe);
                gemm::sum_rows(&mut recipe);
                check_gemm(device, &g, &recipe);
            }
        }
    }
}

#[test]
fn gemm_with_fours_and_with_single_loads_agree_to_the_bit() {
    let Some(device) = device() else { return };
    let (m, n, k) = (40, 36, 52);
    let mut numbers = Numbers::new(5);
    let (a, b) = (words(&numbers.floats(m * k)), words(&numbers.floats(k * n)));
    for (a_strides, b_strides) in layouts(m, n, k) {
        let g = Gemm { m, n, k, a: a_strides, b: b_strides, batch: Vec::new() };
        let cut = Cut { tile: tiles()[0], parts: 1, depth: 64 };
        let run = |aligned| {
            let recipe = gemm::tiled(&g, [0, 0], aligned, cut, None, &device.limits);
            device.run(&recipe, &[&a, &b], &[m * n]).outputs
        };
        assert_eq!(run(true), run(false));
    }
}

#[test]
fn every_choice_of_a_product_is_right_and_tiles_alone_change_no_bit() {
    let Some(device) = device() else { return };
    let plain = |m, n, k| Gemm { m, n, k, a: [k as isize, 1], b: [n as isize, 1], batch: Vec::new() };
    for g in [plain(70, 65, 300), plain(65, 1, 300), plain(1, 65, 300)] {
        let choices = gemm::class(&g).choices(&device.limits);
        assert!(choices.len() >= 3, "{choices:?}");
        let mut numbers = Numbers::new(8);
        let (a, b) = (words(&numbers.floats(g.m * g.k)), words(&numbers.floats(g.k * g.n)));
        let mut whole: Vec<Vec<u32>> = Vec::new();
        for choice in choices {
            let recipe = gemm::gemm(&g, [0, 0], true, Some(choice), None, &device.limits);
            check_gemm(device, &g, &recipe);
            if matches!(choice, Choice::Tile { parts: 1, .. }) {
                whole.push(device.run(&recipe, &[&a, &b], &[g.m * g.n]).outputs.remove(0));
            }
        }
        assert!(whole.windows(2).all(|pair| pair[0] == pair[1]), "{g:?}");
    }
}

#[test]
fn every_choice_of_a_convolution_is_right() {
    let Some(device) = device() else { return };
    let c = square(3, [17, 20], 8, 3, 8, 1);
    for form in [Form::Forward, Form::Input, Form::Weight] {
        for choice in conv::class(form, &c).choices(&device.limits) {
            check_conv(
                device,
                &c,
                form,
                &conv::conv(form, &c, [0, 0], true, Some(choice), None, &device.limits),
            );
        }
    }
}

#[test]
fn gemm_in_parts() {
    let Some(device) = device() else { return };
    for tile in tiles() {
        let (m, n, k) = (33, 34, 130);
        let (a, b) = layouts(m, n, k)[2];
        let g = Gemm { m, n, k, a, b, batch: Vec::new() };
        for (parts, depth) in [(3, 48), (2, 80)] {
            let cut = Cut { tile, parts, depth };
            check_gemm(device, &g, &gemm::tiled(&g, offsets(&g), true, cut, None, &device.limits));
        }
    }
}

#[test]
fn gemm_of_batches_broadcast_and_reversed() {
    let Some(device) = device() else { return };
    let batch = vec![
        BatchAxis { len: 2, a: 0, b: 7 * 9 * 3 },
        BatchAxis { len: 3, a: 5 * 7, b: 7 * 9 },
        BatchAxis { len: 1, a: 999, b: 999 },
    ];
    let g = Gemm { m: 5, n: 9, k: 7, a: [7, 1], b: [9, 1], batch };
    check_gemm(device, &g, &gemm::gemm(&g, offsets(&g), true, None, None, &device.limits));
    let reversed = Gemm { m: 6, n: 5, k: 8, a: [-8, -1], b: [-5, 1], batch: Vec::new() };
    check_gemm(
        device,
        &reversed,
        &gemm::gemm(&reversed, offsets(&reversed), true, None, None, &device.limits),
    );
    // The batch becomes rows.
    let stacked = Gemm { batch: vec![BatchAxis { len: 4, a: 5 * 7, b: 0 }], ..g };
    check_gemm(device, &stacked, &gemm::gemm(&stacked, offsets(&stacked), true, None, None, &device.limits));
}

#[test]
fn products_with_a_vector() {
    let Some(device) = device() else { return };
    for (m, n) in [(1, 70), (70, 1), (1, 1), (3, 1), (1, 33)] {
        for k in [1, 63, 200] {
            for (a, b) in layouts(m, n, k) {
                let (skip_a, skip_b) = ((m * k) as isize, (k * n) as isize);
                let batch =
                    vec![BatchAxis { len: 2, a: skip_a, b: skip_b }, BatchAxis { len: 2, a: 0, b: 0 }];
                let g = Gemm { m, n, k, a, b, batch };
                check_gemm(device, &g, &gemm::gemm(&g, offsets(&g), true, None, None, &device.limits));
            }
        }
    }
}

#[test]
fn a_product_over_nothing_is_zero_and_one_of_nothing_does_nothing() {
    let Some(device) = device() else { return };
    for (m, n) in [(3, 5), (1, 5), (3, 1)] {
        let g = Gemm { m, n, k: 0, a: [0, 1], b: [n as isize, 1], batch: Vec::new() };
        let outcome =
            device.run(&gemm::gemm(&g, [0, 0], true, None, None, &device.limits), &[&[], &[]], &[m * n]);
        assert_eq!(outcome.outputs[0], vec![0; m * n]);
    }
    let none = Gemm { m: 0, n: 5, k: 3, a: [3, 1], b: [5, 1], batch: Vec::new() };
    assert!(gemm::gemm(&none, [0, 0], true, None, None, &Limits::LEAST).dispatches.is_empty());
}

fn check_conv(device: &Device, c: &Conv, form: Form, recipe: &Recipe) {
    let mut numbers = Numbers::new((c.x_len() + c.w_len()) as u64);
    let (x, w, y) = (numbers.floats(c.x_len()), numbers.floats(c.w_len()), numbers.floats(c.y_len()));
    let mut wanted = match form {
        Form::Forward => vec![0.0; c.y_len()],
        Form::Input => vec![0.0; c.x_len()],
        Form::Weight => vec![0.0; c.w_len()],
    };
    let (inputs, k) = match form {
        Form::Forward => {
            naive::conv::forward(c, &wide(&x), &wide(&w), &mut wanted);
            ([words(&x), words(&w)], c.in_channels / c.groups * c.kernel[0] * c.kernel[1])
        }
        Form::Input => {
            naive::conv::input_grad(c, &wide(&y), &wide(&w), &mut wanted);
            ([words(&y), words(&w)], c.out_channels / c.groups * c.kernel[0] * c.kernel[1])
        }
        Form::Weight => {
            naive::conv::weight_grad(c, &wide(&x), &wide(&y), &mut wanted);
            ([words(&x), words(&y)], c.batch * c.output[0] * c.output[1])
        }
    };
    let outcome = device.run(recipe, &[&inputs[0], &inputs[1]], &[wanted.len()]);
    let e = error(&floats(&outcome.outputs[0]), &narrow(&wanted));
    assert!(e <= tolerance(k), "{form:?} off by {e}: {c:?}");
}

fn square(
    batch: usize,
    channels: [usize; 2],
    input: usize,
    kernel: usize,
    output: usize,
    stride: usize,
) -> Conv {
    Conv {
        batch,
        groups: 1,
        in_channels: channels[0],
        out_channels: channels[1],
        input: [input; 2],
        kernel: [kernel; 2],
        output: [output; 2],
        stride: [stride; 2],
        padding: [1; 2],
        dilation: [1; 2],
    }
}

fn geometries() -> Vec<Conv> {
    vec![
        // As in DCGAN: kernel 4, stride 2, padding 1.
        square(2, [5, 7], 8, 4, 4, 2),
        square(3, [4, 8], 8, 3, 8, 1),
        // Output padding: an output more or less than the input asks for.
        square(2, [3, 4], 7, 3, 5, 2),
        square(1, [2, 3], 8, 3, 3, 3),
        // Stride beyond the kernel, so that phases have no weights.
        square(2, [3, 2], 9, 1, 4, 3),
        Conv { groups: 3, ..square(2, [6, 9], 6, 3, 6, 1) },
        // Depthwise.
        Conv { groups: 4, ..square(2, [4, 4], 7, 3, 4, 2) },
        Conv { dilation: [2, 3], padding: [2, 0], output: [5, 4], ..square(2, [3, 5], 10, 3, 5, 2) },
        Conv {
            stride: [2, 1],
            dilation: [4, 1],
            kernel: [2, 5],
            input: [9, 6],
            output: [3, 4],
            ..square(2, [3, 5], 9, 3, 4, 2)
        },
        Conv { padding: [0, 0], ..square(3, [40, 33], 1, 1, 1, 1) },
    ]
}

#[test]
fn convolutions_of_every_geometry() {
    let Some(device) = device() else { return };
    for c in geometries() {
        for form in [Form::Forward, Form::Input, Form::Weight] {
            check_conv(device, &c, form, &conv::conv(form, &c, [0, 0], true, None, None, &device.limits));
        }
    }
}

#[test]
fn convolutions_with_every_tile_and_in_parts() {
    let Some(device) = device() else { return };
    for (i, tile) in tiles().into_iter().enumerate() {
        let c = square(3, [17, 33 + i], 6, 3, 6, 1);
        for form in [Form::Forward, Form::Input, Form::Weight] {
            for (parts, depth) in [(1, 320), (2, 160), (3, 112)] {
                let cut = Cut { tile, parts, depth };
                let aligned = parts != 2;
                check_conv(
                    device,
                    &c,
                    form,
                    &conv::with_cut(form, &c, [0, 0], aligned, cut, None, &device.limits),
                );
            }
        }
    }
}

#[test]
fn a_convolution_of_no_images() {
    let Some(device) = device() else { return };
    let c = square(0, [3, 4], 5, 3, 5, 1);
    let recipe = |form| conv::conv(form, &c, [0, 0], true, None, None, &device.limits);
    assert!(recipe(Form::Forward).dispatches.is_empty() && recipe(Form::Input).dispatches.is_empty());
    let outcome = device.run(&recipe(Form::Weight), &[&[], &[]], &[c.w_len()]);
    assert_eq!(outcome.outputs[0], vec![0; c.w_len()]);
}

/// `max(value + bias[column], 0)` and the same halved, of a product with `columns` columns.
pub fn bias_and_halves(columns: usize) -> Epilogue {
    let (bias, results) = (Bind::Input(2), [Bind::Output(0), Bind::Output(1)]);
    Epilogue {
        function: String::from(
            "fn epilogue(e: u32, value: f32) {
    let r = f_relu(value + a0[p.f0 + e % p.f1]);
    y0[p.f2 + e] = r;
    y1[p.f3 + e] = 0.5 * r;
}
",
        ),
        bindings: Bindings {
            reads: vec![(bias, DType::F32)],
            writes: results.map(|r| (r, DType::F32)).to_vec(),
        },
        fields: String::from("@align(16) f0: u32, f1: u32, f2: u32, f3: u32,"),
        params: vec![0, columns as u32, 0, 0],
        patches: vec![(0, Word::Offset(bias)), (2, Word::Offset(results[0])), (3, Word::Offset(results[1]))],
    }
}

fn check_epilogue(device: &Device, columns: usize, recipes: [Recipe; 2], inputs: [&[u32]; 2], count: usize) {
    let bias = Numbers::new(31).floats(columns);
    let [plain, fused] = recipes;
    let plain = floats(&device.run(&plain, &inputs, &[count]).outputs[0]);
    let found = device.run(&fused, &[inputs[0], inputs[1], &words(&bias)], &[count, count]);
    let (found, halves) = (floats(&found.outputs[0]), floats(&found.outputs[1]));
    for e in 0..count {
        assert_eq!(found[e], (plain[e] + bias[e % columns]).max(0.0), "element {e}");
        assert_eq!(halves[e], 0.5 * found[e], "element {e}");
    }
}

#[test]
fn an_epilogue_takes_the_elements_of_a_product() {
    let Some(device) = device() else { return };
    let mut numbers = Numbers::new(30);
    for (m, n, k) in [(37, 36, 40), (37, 33, 40), (1, 33, 40), (33, 1, 40)] {
        let (a, b) = (words(&numbers.floats(2 * m * k)), words(&numbers.floats(2 * k * n)));
        let batch = vec![BatchAxis { len: 2, a: (m * k) as isize, b: (k * n) as isize }];
        let g = Gemm { m, n, k, a: [k as isize, 1], b: [n as isize, 1], batch };
        let fused = bias_and_halves(n);
        let recipe = |epilogue| gemm::gemm(&g, [0, 0], true, None, epilogue, &device.limits);
        check_epilogue(device, n, [recipe(None), recipe(Some(&fused))], [&a, &b], 2 * m * n);
        for (tile, parts) in tiles().into_iter().flat_map(|tile| [(tile, 1), (tile, 2)]) {
            let cut = Cut { tile, parts, depth: if parts == 1 { 48 } else { 32 } };
            let recipe = |epilogue| gemm::tiled(&g, [0, 0], true, cut, epilogue, &device.limits);
            check_epilogue(device, n, [recipe(None), recipe(Some(&fused))], [&a, &b], 2 * m * n);
        }
    }
}

#[test]
fn an_epilogue_takes_the_elements_of_a_convolution() {
    let Some(device) = device() else { return };
    let mut numbers = Numbers::new(32);
    for (input, output) in [(6, 6), (7, 7)] {
        let c = square(2, [5, 3], input, 3, output, 1);
        let (x, w, y) = (numbers.floats(c.x_len()), numbers.floats(c.w_len()), numbers.floats(c.y_len()));
        let columns = output * output;
        let fused = bias_and_halves(columns);
        for (form, operand, count) in [(Form::Forward, &x, c.y_len()), (Form::Input, &y, c.x_len())] {
            for parts in [1, 2] {
                let cut = Cut { tile: tiles()[0], parts, depth: if parts == 1 { 48 } else { 32 } };
                let recipe = |epilogue| conv::with_cut(form, &c, [0, 0], true, cut, epilogue, &device.limits);
                let recipes = [recipe(None), recipe(Some(&fused))];
                check_epilogue(device, columns, recipes, [&words(operand), &words(&w)], count);
            }
        }
    }
}
