//! `gradus check`: every gradient against differences, as a table.

use crate::args::Check;
use crate::output::{clean, say};
use anyhow::{Result, bail};
use gradus::gradcheck::{GradcheckError, GradcheckOptions, Report, check_orders, gradcheck, gradgradcheck};
use gradus::ops::cases::{Gradient, OpCase, all};

/// Largest errors that pass, relative to max(1, |value|), for first derivatives and for higher ones.
const TOLERANCE: [f64; 2] = [1e-6, 1e-5];

/// The largest errors of a row: of first and second derivatives, and along lines to order 4.
#[derive(Default)]
struct Errors([Option<f64>; 3]);

/// Checks the rows that the flags name.
pub fn run(args: &Check) -> Result<()> {
    let matches = |text: &str| text.to_lowercase().contains(&args.filter.to_lowercase());
    let rows: Vec<OpCase> = all().into_iter().filter(|r| matches(&r.name()) || matches(r.family())).collect();
    if rows.is_empty() {
        bail!("--filter {:?}: no op has this in its name; `gradus check` lists them", args.filter);
    }
    let width = rows.iter().map(|r| r.name().chars().count()).max().unwrap_or(0);
    say(&format!("{:width$}  {:10}  {:>8}  {:>8}  {:>8}", "op", "family", "first", "second", "to 4th"));
    let (mut checked, mut faults) = (0, Vec::new());
    for row in &rows {
        let line = |rest: &str| say(&format!("{:width$}  {:10}  {rest}", row.name(), row.family()));
        match row.gradient() {
            Gradient::None(why) => line(&format!("no gradient: {why}")),
            Gradient::ByHand(why) => line(&format!("by a test of its own: {why}")),
            kind => {
                checked += 1;
                let (errors, fault) = check(row, kind == Gradient::Smooth, args);
                let cells = errors.0.map(|e| e.map_or(String::from("-"), |e| format!("{e:.1e}")));
                let verdict = if fault.is_some() { "WRONG" } else { "ok" };
                line(&format!("{:>8}  {:>8}  {:>8}  {verdict}", cells[0], cells[1], cells[2]));
                faults.extend(fault);
            }
        }
    }
    let draws = args.draws;
    say(&format!(
        "\n{} rows, {checked} with gradients, {draws} cases each, {} wrong",
        rows.len(),
        faults.len()
    ));
    if !faults.is_empty() {
        bail!("{}", clean(&faults.join("\n")));
    }
    Ok(())
}

/// Checks a row until something is wrong, and says what.
fn check(row: &OpCase, smooth: bool, args: &Check) -> (Errors, Option<String>) {
    let mut errors = Errors::default();
    for seed in (args.seed..).take(args.draws as usize) {
        let case = row.draw(seed);
        let options =
            |tolerance, directions| GradcheckOptions { tolerance, directions, seed, ..Default::default() };
        let f = |x: &[gradus::Tensor]| case.apply(x);
        let first = || gradcheck(f, case.inputs(), options(TOLERANCE[0], 4));
        let second = || gradgradcheck(f, case.inputs(), options(TOLERANCE[1], 2));
        let lines = || check_orders(f, case.inputs(), 4, options(TOLERANCE[1], 1));
        let mut checks: Vec<&dyn Fn() -> Result<Report, GradcheckError>> = vec![&first, &second];
        if smooth {
            checks.push(&lines);
        }
        for (worst, check) in errors.0.iter_mut().zip(checks) {
            match check() {
                Ok(report) => *worst = Some(worst.unwrap_or(0.0).max(report.relative())),
                Err(e) => {
                    if let GradcheckError::Wrong(report) = &e {
                        *worst = Some(report.relative());
                    }
                    let (name, note) = (row.name(), case.note());
                    return (errors, Some(format!("{name}, case {seed} {note}: {e}")));
                }
            }
        }
    }
    (errors, None)
}
