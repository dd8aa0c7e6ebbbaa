//! Einstein summation against the sum over every combination of indices.

use gradus::gradcheck::check_orders;
use gradus::{DType, Rng, Tensor};
use std::collections::BTreeMap;

/// Checks first and second derivatives of `f` along random lines.
#[track_caller]
fn derivatives(xs: &[Tensor], f: impl Fn(&[Tensor]) -> Tensor) {
    if let Err(e) = check_orders(f, xs, 2, Default::default()) {
        panic!("{e}");
    }
}

fn normal(rng: &mut Rng, shape: &[usize]) -> Tensor {
    let x = rng.normal_of(shape, DType::F64);
    x.eval().unwrap();
    x
}

/// The definition: for letters only, and an explicit result.
fn loops(spec: &str, xs: &[&Tensor]) -> Vec<f64> {
    let (inputs, output) = spec.split_once("->").unwrap();
    let terms: Vec<&[u8]> = inputs.split(',').map(str::as_bytes).collect();
    let mut extent: BTreeMap<u8, usize> = BTreeMap::new();
    for (x, term) in xs.iter().zip(&terms) {
        for (&d, &l) in x.shape().iter().zip(*term) {
            let known = extent.entry(l).or_insert(1);
            *known = (*known).max(d);
        }
    }
    let data: Vec<Vec<f64>> = xs.iter().map(|x| x.to_vec().unwrap()).collect();
    let mut result = vec![0.0; output.bytes().map(|l| extent[&l]).product()];
    for flat in 0..extent.values().product() {
        let mut rest: usize = flat;
        let mut at: BTreeMap<u8, usize> = BTreeMap::new();
        for (&l, &d) in extent.iter().rev() {
            at.insert(l, rest % d);
            rest /= d;
        }
        let mut term_value = 1.0;
        for ((x, term), data) in xs.iter().zip(&terms).zip(&data) {
            let position =
                x.shape().iter().zip(*term).fold(0, |p, (&d, l)| p * d + if d == 1 { 0 } else { at[l] });
            term_value *= data[position];
        }
        result[output.bytes().fold(0, |p, l| p * extent[&l] + at[&l])] += term_value;
    }
    result
}

const SPECS: [(&str, &[&[usize]]); 26] = [
    ("i->i", &[&[4]]),
    ("i->", &[&[4]]),
    ("ij->ji", &[&[3, 4]]),
    ("ij->j", &[&[3, 4]]),
    ("ii->i", &[&[4, 4]]),
    ("ii->", &[&[4, 4]]),
    ("iji->j", &[&[3, 2, 3]]),
    ("ijij->ji", &[&[3, 2, 3, 2]]),
    ("iii->i", &[&[3, 3, 3]]),
    ("ij,jk->ik", &[&[3, 4], &[4, 5]]),
    ("ij,jk->ki", &[&[3, 4], &[4, 5]]),
    ("ji,kj->ik", &[&[4, 3], &[5, 4]]),
    ("i,i->", &[&[5], &[5]]),
    ("i,j->ij", &[&[3], &[4]]),
    ("ij,ij->ij", &[&[3, 4], &[3, 4]]),
    ("ij,ij->i", &[&[3, 4], &[3, 4]]),
    ("bij,bjk->bik", &[&[2, 3, 4], &[2, 4, 5]]),
    ("bhqd,bkhd->bhqk", &[&[2, 3, 4, 5], &[2, 6, 3, 5]]),
    ("ij,kl->jl", &[&[3, 4], &[2, 5]]),
    ("ij,j->", &[&[3, 4], &[4]]),
    ("iij,jk->ki", &[&[3, 3, 4], &[4, 2]]),
    ("ij,jk,kl->il", &[&[3, 4], &[4, 5], &[5, 2]]),
    ("i,ij,j->", &[&[3], &[3, 4], &[4]]),
    ("ab,bc,ca,a->bc", &[&[2, 3], &[3, 4], &[4, 2], &[2]]),
    ("ij,jk->ik", &[&[3, 1], &[4, 5]]),
    (",ij->ji", &[&[], &[3, 4]]),
];

#[test]
fn einsum_is_the_sum_over_all_indices() {
    let mut rng = Rng::seed(1);
    for (spec, shapes) in SPECS {
        let xs: Vec<Tensor> = shapes.iter().map(|s| normal(&mut rng, s)).collect();
        let xs: Vec<&Tensor> = xs.iter().collect();
        let found = Tensor::einsum(spec, &xs).to_vec::<f64>().unwrap();
        let expected = loops(spec, &xs);
        assert_eq!(found.len(), expected.len(), "{spec}");
        for (f, e) in found.iter().zip(&expected) {
            assert!((f - e).abs() < 1e-12, "{spec}: {f} is not {e}");
        }
    }
}

#[test]
fn einsum_derivatives() {
    let mut rng = Rng::seed(2);
    for (spec, shapes) in SPECS {
        let xs: Vec<Tensor> = shapes.iter().map(|s| normal(&mut rng, s)).collect();
        derivatives(&xs, |xs| Tensor::einsum(spec, &xs.iter().collect::<Vec<_>>()).exp());
    }
}

#[track_caller]
fn same(spec: &str, xs: &[&Tensor], expected: &Tensor) {
    let found = Tensor::einsum(spec, xs);
    assert_eq!(found.shape(), expected.shape(), "{spec}");
    let worst = (found - expected).abs().sum(..).item().unwrap();
    assert!(worst < 1e-12, "{spec}: off by {worst}");
}

#[test]
fn implicit_results_and_dots_are_numpys() {
    let mut rng = Rng::seed(3);
    let a = normal(&mut rng, &[3, 4]);
    let b = normal(&mut rng, &[4, 5]);
    same("ij,jk", &[&a, &b], &a.matmul(&b));
    same("kj, ji", &[&a, &b], &a.matmul(&b).t());
    same("ba", &[&a], &a.t());
    same("bA", &[&a], &a.t());
    same("i i", &[&a.matmul(&a.t())], &a.square().sum(..));
    let deep = normal(&mut rng, &[2, 6, 3, 4]);
    same("...ij,jk->...ik", &[&deep, &b], &deep.matmul(&b));
    same("...ij,jk", &[&deep, &b], &deep.matmul(&b));
    same("ij...->ji...", &[&deep], &deep.transpose(0, 1));
    same("i...j->j...i", &[&deep], &deep.transpose(0, 3));
    same("...->...", &[&deep], &deep);
    same("...,...", &[&deep, &a], &(&deep * &a));
    same(
        "...ij,...jk->...ik",
        &[&deep, &normal(&mut Rng::seed(4), &[6, 4, 2])],
        &deep.matmul(&normal(&mut Rng::seed(4), &[6, 4, 2])),
    );
    let row = normal(&mut rng, &[1, 4]);
    same("ij,ij->ij", &[&a, &row], &(&a * &row));
    same("...j,...j->...", &[&a, &row], &(&a * &row).sum(-1));
}

#[test]
fn einsum_of_nothing() {
    let none = Tensor::zeros([0, 4]);
    let b = Tensor::ones([4, 5]);
    assert_eq!(*Tensor::einsum("ij,jk->ik", &[&none, &b]).shape(), [0, 5]);
    assert_eq!(Tensor::einsum("ij,ik->jk", &[&none, &none]).to_vec::<f32>().unwrap(), [0.0; 16]);
    assert_eq!(Tensor::einsum("ij->", &[&none]).item().unwrap(), 0.0);
    assert!(Tensor::einsum("ii->i", &[&Tensor::zeros([0, 0])]).to_vec::<f32>().unwrap().is_empty());
}

#[test]
fn one_operand_may_hold_integers() {
    let x = Tensor::from([[1i32, 2], [3, 4]]);
    assert_eq!(Tensor::einsum("ii->i", &[&x]).to_vec::<i32>().unwrap(), [1, 4]);
    assert_eq!(Tensor::einsum("ij->j", &[&x]).to_vec::<i32>().unwrap(), [4, 6]);
}

#[test]
fn wrong_notation_is_named() {
    let a = Tensor::zeros([3, 4]);
    let cases: [(&str, usize, &str); 12] = [
        ("ij,jk->ik", 1, "1 operands, but 2 terms"),
        ("ijk->i", 1, "names 3 axes"),
        ("i->i", 1, "names 1 axes"),
        ("i1->i", 1, "'1'"),
        ("i.j->i", 1, "'.'"),
        ("...i...->i", 1, "'.'"),
        ("ij->k", 1, "is in no operand"),
        ("ij->ii", 1, "twice"),
        ("ij->i->j", 1, "'-'"),
        ("i...->i", 1, "must name too"),
        ("ij,ji->i", 2, "extents 4 and 3"),
        ("ijk...->i", 1, "names 3 axes"),
    ];
    for (spec, count, words) in cases {
        let xs = vec![&a; count];
        let text = gradus::build(|| Tensor::einsum(spec, &xs)).unwrap_err().to_string();
        assert!(text.contains(words) && text.contains(spec), "{spec}: {text}");
    }
    let mixed = gradus::build(|| Tensor::einsum("ij,ij->", &[&a, &a.to(DType::F64)])).unwrap_err();
    assert!(mixed.to_string().contains("one float type"));
    let wide = Tensor::zeros([1; 5]);
    let text = gradus::build(|| Tensor::einsum("abcde,fghij->abcdefghij", &[&wide, &wide])).unwrap_err();
    assert!(text.to_string().contains("10 axes"));
}
