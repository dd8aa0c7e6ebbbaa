//! The tape: the worked examples of `docs/autodiff.md`, what is recorded, and pictures of it.

mod golden;

use gradus::nn::Param;
use gradus::optim::Adam;
use gradus::tape::{Detail, Part, Tape, record, svg};
use gradus::{Rng, Tensor, grad};

/// A tape as text without the source lines, which say little about this file.
fn text(tape: &Tape) -> String {
    let lines = tape.to_text();
    let kept = lines.lines().map(|l| l.split("  tests").next().unwrap_or(l).trim_end());
    kept.map(|l| format!("{l}\n")).collect()
}

#[test]
fn the_page_on_differentiation_shows_what_happens() {
    a_product_and_its_gradient();
    a_derivative_of_a_derivative();
    what_runs();
}

fn a_product_and_its_gradient() {
    let (a, b) = (Tensor::from(2.0f64), Tensor::from(3.0f64));
    let y = &a * &b;
    let named = |tape: Tape| tape.name(&a, "a").name(&b, "b");
    golden::check_block("autodiff.md", "product", &text(&named(Tape::of([&y]))));
    let gradients = grad(&y, [&a, &b]);
    let all = [&y, &gradients[0], &gradients[1]];
    golden::check_block("autodiff.md", "gradient of the product", &text(&named(Tape::of(all))));
}

fn a_derivative_of_a_derivative() {
    let x = Tensor::from(3.0f64);
    let y = &x * &x * &x;
    let dy = grad(&y, [&x]).remove(0);
    let ddy = grad(&dy, [&x]).remove(0);
    assert_eq!((dy.item().unwrap(), ddy.item().unwrap()), (27.0, 18.0));
    let tape = Tape::of([&y, &dy, &ddy]).name(&x, "x").name(&y, "y").name(&dy, "dy").name(&ddy, "ddy");
    golden::check_block("autodiff.md", "cube", &text(&tape));
    golden::check(
        "cube.svg",
        &tape.to_svg("x cubed, its derivative, and the derivative of that", Detail::Nodes),
    );
}

fn what_runs() {
    let mut rng = Rng::seed(1);
    let (x, w) = (rng.normal([8, 3]), rng.normal([3, 2]));
    gradus::eval([&x, &w]).unwrap();
    let y = x.matmul(&w).tanh().square().sum(..);
    let dw = grad(&y, [&w]).remove(0);
    let (result, tapes) = record(|| gradus::eval([&y, &dw]));
    result.unwrap();
    let tape = tapes[0].clone().name(&x, "x").name(&w, "w").name(&dw, "dw");
    golden::check_block("autodiff.md", "what runs", &text(&tape));
}

/// One step of Adam on a small loss.
fn recorded_step() -> Tape {
    let w = Param::new(Rng::seed(1).normal([3, 2]));
    let mut adam = Adam::new(vec![("w".into(), w.clone())], 0.1);
    let x = Tensor::from([[1.0f32, 2.0, 3.0], [4.0, 5.0, 6.0]]);
    let before = w.get();
    let (result, mut tapes) = record(|| adam.step(&x.matmul(&w.get()).tanh().square().mean(..)));
    result.unwrap();
    tapes.pop().unwrap().name(&before, "w").name(&x, "x")
}

#[test]
fn a_recorded_step_has_its_parts_and_every_node_a_kernel_or_a_reason() {
    let tape = recorded_step();
    for part in [Part::Expression, Part::Derivative(1), Part::Update] {
        assert!(tape.nodes().iter().any(|n| n.part == part && !n.is_leaf()), "{part:?}");
    }
    let named: Vec<&str> = tape.nodes().iter().filter_map(|n| n.name.as_deref()).collect();
    assert_eq!(named, ["w", "x"]);
    for (k, kernel) in tape.kernels().iter().enumerate() {
        assert!(kernel.nodes.iter().all(|&i| tape.nodes()[i].kernel == Some(k)), "{}", kernel.text);
    }
    let views = ["expand", "reshape", "permute", "slice", "window", "stop_grad"];
    for node in tape.nodes() {
        let idle = node.is_leaf() || node.constant.is_some() || views.contains(&node.op);
        assert!(node.kernel.is_some() || idle, "{} has no kernel", node.op);
    }
    // The loss, the new parameter, the two moments.
    assert_eq!(tape.nodes().iter().filter(|n| n.is_output).count(), 4);
}

#[test]
fn parts_can_be_left_out() {
    let tape = recorded_step();
    let forward = tape.only(|n| n.part == Part::Expression);
    assert!(forward.nodes().len() < tape.nodes().len());
    assert!(forward.nodes().iter().all(|n| n.is_leaf() || n.part == Part::Expression));
    assert!(forward.nodes().iter().any(|n| n.op == "matmul"));
    for (i, node) in forward.nodes().iter().enumerate() {
        assert!(node.inputs.iter().all(|&x| x < i));
    }
    assert!(forward.kernels().len() < tape.kernels().len());
}

#[test]
fn a_tape_can_begin_at_given_tensors() {
    let x = Tensor::from([1.0f32, 2.0]);
    let h = x.exp();
    let y = h.sin();
    let ops = |tape: &Tape| tape.nodes().iter().map(|n| n.op).collect::<Vec<_>>();
    assert_eq!(ops(&Tape::of([&y])), ["leaf", "exp", "sin"]);
    assert_eq!(ops(&Tape::between([&y], [&h])), ["leaf", "sin"]);
}

#[test]
fn recording_ends_with_its_closure_and_nests() {
    let one = || (Tensor::from(1.0f32) + 1.0).item().unwrap();
    one();
    let ((inner, _), outer) = record(|| {
        one();
        let (_, inner) = record(one);
        one();
        (inner.len(), ())
    });
    assert_eq!((inner, outer.len()), (1, 2));
}

#[test]
fn pictures_have_a_box_for_each_kernel_and_are_well_formed() {
    let tape = recorded_step();
    let boxes = |picture: &str| picture.matches("text-anchor=\"middle\" fill=\"#1d2127\"").count();
    let kernels = tape.to_svg("a < b & c", Detail::Kernels);
    assert!(boxes(&kernels) >= tape.kernels().len());
    assert!(kernels.contains("a &lt; b &amp; c"));
    let nodes = svg([("one", &tape), ("two", &tape)], Detail::Nodes);
    assert!(boxes(&nodes) > 2 * tape.kernels().len());
    for picture in [&kernels, &nodes] {
        assert!(!picture.contains("NaN") && !picture.contains("inf"));
        assert_eq!(picture.matches("<g ").count(), picture.matches("</g>").count());
    }
    let dot = tape.to_dot(Detail::Nodes);
    assert!(dot.starts_with("digraph") && dot.contains("matmul") && dot.matches("->").count() > 10);
    // Of nothing, too.
    assert!(Tape::default().to_svg("nothing", Detail::Nodes).ends_with("</svg>\n"));
}
