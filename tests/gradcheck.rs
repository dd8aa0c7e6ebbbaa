//! The gradient checks themselves: that they pass what is right, and find what is wrong, and where.

use gradus::gradcheck::{
    GradcheckError, GradcheckOptions, Report, check_orders, directional, gradcheck, gradgradcheck,
};
use gradus::{DType, Tensor};

fn ramp(shape: impl gradus::ToNumbers, low: f64, high: f64) -> Tensor {
    let x = Tensor::zeros(shape).to(DType::F64);
    let n = x.numel();
    let steps = (0..n).map(|i| low + (high - low) * i as f64 / n.max(2) as f64).collect::<Vec<_>>();
    Tensor::from_vec(steps, x.shape())
}

fn wrong(result: Result<Report, GradcheckError>) -> Report {
    match result {
        Err(GradcheckError::Wrong(report)) => *report,
        other => panic!("expected a wrong gradient, got {other:?}"),
    }
}

#[test]
fn the_worst_element_is_named() {
    let (x, y) = (ramp([2, 3], 0.5, 1.0), ramp([3], 0.5, 1.0));
    // The gradient of the second input is cut off at one element.
    let f = |z: &[Tensor]| {
        let cut = Tensor::from([1.0f64, 0.0, 1.0]);
        let leaky = &z[1] * &cut + z[1].stop_grad() * (1.0 - &cut);
        &z[0] * leaky
    };
    let report = wrong(gradcheck(f, &[x, y], GradcheckOptions::default()));
    assert!(report.rows[0].relative < 1e-9, "{report}");
    let worst = report.rows[1].worst.as_ref().unwrap();
    assert_eq!(worst.element, Some(vec![1]));
    assert_eq!(worst.output, Some(vec![1, 1]));
    assert_eq!((worst.analytic, worst.rough), (0.0, false));
    assert!((worst.numeric - (0.5 + 0.5 * 4.0 / 6.0)).abs() < 1e-9, "{report}");
    let text = report.to_string();
    assert!(
        text.contains("input 1  [3]") && text.contains("WRONG") && text.contains("element [1]"),
        "{text}"
    );
}

#[test]
fn large_functions_are_checked_along_directions_and_searched_when_wrong() {
    let x = ramp([40, 30], -1.0, 1.0);
    let report = gradcheck(|x| x[0].sin(), std::slice::from_ref(&x), GradcheckOptions::default()).unwrap();
    assert!(report.method.contains("random directions"), "{report}");
    let mask = Tensor::arange(1200).eq(Tensor::full([1200], 437.0).to(DType::U32)).reshape([40, 30]);
    let f = |z: &[Tensor]| mask.select(&z[0].stop_grad(), &z[0]).sin();
    let report = wrong(gradcheck(f, &[x], GradcheckOptions::default()));
    assert_eq!(report.rows[0].worst.as_ref().unwrap().element, Some(vec![14, 17]), "{report}");
}

#[test]
fn a_rule_right_at_first_and_wrong_at_second_order_is_found() {
    // Value and slope are those of the square; the slope has no slope.
    let f = |z: &[Tensor]| {
        let x = &z[0];
        let flat = x.stop_grad();
        &flat * &flat + (x - &flat) * &flat * 2.0
    };
    let x = ramp([4], 0.5, 2.0);
    gradcheck(f, std::slice::from_ref(&x), GradcheckOptions::default()).unwrap();
    let report = wrong(gradgradcheck(f, std::slice::from_ref(&x), GradcheckOptions::default()));
    assert!(report.rows[0].relative > 0.1 && report.rows[1].relative < 1e-9, "{report}");
    let report = wrong(check_orders(f, &[x], 3, GradcheckOptions::default()));
    assert!(report.rows[0].relative < 1e-9 && report.rows[1].relative > 0.1, "{report}");
}

#[test]
fn kinks_are_named_as_what_they_are() {
    let report =
        wrong(gradcheck(|x| x[0].abs(), &[Tensor::from([1.0f64, 0.0005])], GradcheckOptions::default()));
    let worst = report.rows[0].worst.as_ref().unwrap();
    assert!(worst.rough && worst.element == Some(vec![1]), "{report}");
    assert!(report.to_string().contains("kink"), "{report}");
}

#[test]
fn nan_never_passes() {
    let report = wrong(gradcheck(|x| x[0].sqrt(), &[Tensor::from([-1.0f64])], GradcheckOptions::default()));
    assert!(report.relative().is_infinite(), "{report}");
}

#[test]
fn only_f64_is_accepted() {
    let x = Tensor::from([1.0f32]);
    let message = gradcheck(|x| x[0].exp(), &[x], GradcheckOptions::default()).unwrap_err().to_string();
    assert!(message.contains("f32"), "{message}");
    let x = Tensor::from([1.0f64]);
    let message =
        gradcheck(|x| x[0].to(DType::F32), &[x], GradcheckOptions::default()).unwrap_err().to_string();
    assert!(message.contains("f32"), "{message}");
}

#[test]
fn empty_inputs_and_results_pass() {
    let (x, none) = (ramp([0, 3], 0.0, 1.0), Tensor::zeros([0]).to(DType::F64));
    gradcheck(|x| x[0].exp(), &[x], GradcheckOptions::default()).unwrap();
    gradgradcheck(|x| x[0].sum(..), &[none], GradcheckOptions::default()).unwrap();
    gradcheck(|_| Tensor::from(1.0f64), &[], GradcheckOptions::default()).unwrap();
}

#[test]
fn accuracy_is_what_the_documentation_says() {
    let x = ramp([12], -1.0, 1.0);
    for f in [Tensor::sin, Tensor::exp, Tensor::tanh, Tensor::sigmoid, Tensor::erf] {
        let report = gradcheck(|x| f(&x[0]), std::slice::from_ref(&x), GradcheckOptions::default()).unwrap();
        assert!(report.relative() < 1e-11, "{report}");
        let report =
            gradgradcheck(|x| f(&x[0]), std::slice::from_ref(&x), GradcheckOptions::default()).unwrap();
        assert!(report.relative() < 1e-11, "{report}");
    }
}

#[test]
fn derivatives_along_a_line_are_those_of_the_series() {
    // exp(2t) sin(1 + t) by Leibniz's rule.
    let (x, v) = (Tensor::from([0.0f64, 1.0]), Tensor::from([2.0f64, 1.0]));
    let f = |x: &[Tensor]| (x[0].at(0, 0).exp() * x[0].at(0, 1).sin()).sum(..);
    let found = directional(f, &[x], &[v], 5).unwrap();
    let choose = [
        [1.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        [1.0, 1.0, 0.0, 0.0, 0.0, 0.0],
        [1.0, 2.0, 1.0, 0.0, 0.0, 0.0],
        [1.0, 3.0, 3.0, 1.0, 0.0, 0.0],
        [1.0, 4.0, 6.0, 4.0, 1.0, 0.0],
        [1.0, 5.0, 10.0, 10.0, 5.0, 1.0],
    ];
    let (s, c) = 1f64.sin_cos();
    for (n, found) in found.iter().enumerate() {
        let term = |k: usize| choose[n][k] * 2f64.powi((n - k) as i32) * [s, c, -s, -c][k % 4];
        let expected: f64 = (0..=n).map(term).sum();
        assert!((found - expected).abs() < 1e-12 * expected.abs().max(1.0), "order {n}: {found} {expected}");
    }
}
