//! The same bits, however they are computed: with one, two or four threads, node by node (`GRADUS_EAGER=1`), without
//! fusing (`GRADUS_FUSE=0`). Each setting is read once a process, so this binary runs itself again with it set and
//! compares what it prints.

use gradus::ops::cases;
use gradus::{ConvOptions, DType, Rng, Tensor, grad, vjp};
use std::process::Command;

/// FNV-1a (Fowler, Noll and Vo) of the bits of a tensor, NaNs all alike.
fn hash(x: &Tensor) -> u64 {
    let values = x.to(DType::F64).to_vec::<f64>().unwrap();
    let words = values.into_iter().map(|v| if v.is_nan() { u64::MAX } else { v.to_bits() });
    let shape = x.shape().iter().map(|&d| d as u64).collect::<Vec<_>>();
    shape
        .into_iter()
        .chain(words)
        .flat_map(u64::to_le_bytes)
        .fold(0xcbf2_9ce4_8422_2325, |h, byte| (h ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

/// A leaf with normal values.
fn leaf(rng: &mut Rng, shape: &[usize]) -> Tensor {
    Tensor::from_vec(rng.normal(shape).to_vec::<f32>().unwrap(), shape)
}

fn batch_norm(x: &Tensor) -> Tensor {
    let mean = x.mean_keepdim([0, 2, 3]);
    let centred = x - &mean;
    let variance = centred.square().mean_keepdim([0, 2, 3]);
    centred * (variance + 1e-5).rsqrt()
}

/// The losses of small networks and the gradients for their parameters.
fn networks() -> Vec<(String, Vec<Tensor>)> {
    let mut rng = Rng::seed(11);
    let (x, target) = (leaf(&mut rng, &[64, 100]), leaf(&mut rng, &[64, 10]));
    let mlp = [leaf(&mut rng, &[100, 70]), leaf(&mut rng, &[70]), leaf(&mut rng, &[70, 10])];
    let hidden = (x.matmul(&mlp[0]) * 0.1 + &mlp[1]).gelu();
    let logits = hidden.matmul(&mlp[2]) * 0.1;
    let mlp_loss = (logits.log_softmax(-1) * target.softmax(-1)).sum(..) * -1.0 / 64.0;
    let image = leaf(&mut rng, &[6, 3, 17, 19]);
    let conv = [leaf(&mut rng, &[8, 3, 3, 3]), leaf(&mut rng, &[8, 1, 1]), leaf(&mut rng, &[8, 4, 4, 4])];
    let down = ConvOptions::default().stride(2).padding(1);
    let features = batch_norm(&(image.conv2d(&conv[0], down) + &conv[1])).leaky_relu(0.2);
    let up = features.conv_transpose2d(&conv[2], down);
    let conv_loss = (up.tanh() + rng.normal(up.shape()) * 0.1).square().mean(..);
    // The slope of a slope, as a gradient penalty has it.
    let slope = grad(&conv_loss, [&image])[0].square().sum([1, 2, 3]).sqrt();
    let penalty = (slope - 1.0).square().mean(..);
    let with = |name: &str, loss: Tensor, parameters: &[Tensor]| {
        let mut all = grad(&loss, parameters);
        all.push(loss);
        (name.to_string(), all)
    };
    // The penalty does not see the bias, which the norm takes away again; its weights it sees.
    vec![
        with("mlp", mlp_loss, &mlp),
        with("conv net", conv_loss, &conv),
        with("gradient penalty", penalty, &[conv[0].clone(), conv[2].clone()]),
    ]
}

/// One line for each thing computed: its name and the hashes of its values and gradients.
fn lines() -> Vec<String> {
    let mut lines: Vec<String> = networks()
        .iter()
        .map(|(name, all)| format!("{name} {:x?}", all.iter().map(hash).collect::<Vec<_>>()))
        .collect();
    for row in cases::all() {
        for seed in 0..6 {
            let case = row.draw(seed);
            let y = case.apply(case.inputs());
            let mut all = vec![y.clone()];
            if y.dtype().is_float() {
                let inputs: Vec<&Tensor> = case.inputs().iter().collect();
                let found = vjp(&y, &inputs, &(&y * 0.5 + 1.0));
                all.extend(found.into_iter().flatten());
            }
            lines.push(format!("{} {seed} {:x?}", row.name(), all.iter().map(hash).collect::<Vec<_>>()));
        }
    }
    lines
}

const PRINT: &str = "GRADUS_TEST_PRINT_HASHES";

/// What a process of its own computes with a variable set.
fn elsewhere(variable: &str, value: &str) -> Vec<String> {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "print_hashes", "--nocapture", "--test-threads=1"])
        .env(PRINT, "1")
        .env(variable, value)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{variable}={value}: {text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text.lines().filter_map(|line| line.split_once("hash: ")).map(|(_, rest)| rest.to_string()).collect()
}

/// The child's side.
#[test]
fn print_hashes() {
    if std::env::var_os(PRINT).is_some() {
        lines().iter().for_each(|line| println!("\nhash: {line}"));
    }
}

fn same(name: &str, found: &[String], expected: &[String]) {
    let different: Vec<_> = found.iter().zip(expected).filter(|(a, b)| a != b).map(|(a, _)| a).collect();
    assert!(different.is_empty(), "{name}: {} of {} differ: {different:#?}", different.len(), expected.len());
    assert!(found.len() == expected.len() && found.len() > 500, "{name}: {} lines", found.len());
}

#[test]
fn results_do_not_depend_on_how_they_are_computed() {
    let expected = lines();
    for threads in [1, 2, 4] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        same(&format!("{threads} threads"), &pool.install(lines), &expected);
    }
    for (variable, value) in [("GRADUS_EAGER", "1"), ("GRADUS_FUSE", "0"), ("RAYON_NUM_THREADS", "3")] {
        same(&format!("{variable}={value}"), &elsewhere(variable, value), &expected);
    }
}
