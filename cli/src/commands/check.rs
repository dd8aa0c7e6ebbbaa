//! `gradus check`: every gradient against differences, as a table.

use crate::output::{clean, say};
use anyhow::{Result, bail};
use gradus::gradcheck::{GradcheckError, GradcheckOptions, Report, check_orders, gradcheck, gradgradcheck};
use gradus::ops::cases::{Gradient, OpCase, all};
use serde_json::{Value, json};

pub const HELP: &str = "\
First derivatives to a relative error of 1e-6, second ones to 1e-5, in f64. An op is in one row or several, each \
checked on --draws random cases. Ops without gradients are listed with the reason. The exit code is 1 if anything is wrong.

Examples:
  gradus check
  gradus check --filter conv --draws 20
  gradus check --json | jq '.rows[] | select(.wrong)'";

#[derive(clap::Args)]
pub struct Check {
    /// Only ops whose name, variant or family contains this
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    filter: String,
    /// Random cases of each row
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    draws: u64,
    /// The first case
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// The table as JSON
    #[arg(long)]
    json: bool,
}

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
    let line = |name: &str, family: &str, rest: &str| {
        if !args.json {
            say(&format!("{name:width$}  {family:10}  {rest}"));
        }
    };
    line("op", "family", "   first    second    to 4th");
    let (mut checked, mut faults, mut table) = (0, Vec::new(), Vec::new());
    for row in &rows {
        let mut entry = json!({ "op": row.name(), "family": row.family() });
        match row.gradient() {
            Gradient::None(why) => {
                line(&row.name(), row.family(), &format!("no gradient: {why}"));
                entry["no_gradient"] = why.into();
            }
            Gradient::ByHand(why) => {
                line(&row.name(), row.family(), &format!("by a test of its own: {why}"));
                entry["tested_elsewhere"] = why.into();
            }
            kind => {
                checked += 1;
                let (errors, fault) = check(row, kind == Gradient::Smooth, args);
                let cells = errors.0.map(|e| e.map_or(String::from("-"), |e| format!("{e:.1e}")));
                let verdict = if fault.is_some() { "WRONG" } else { "ok" };
                let rest = format!("{:>8}  {:>8}  {:>8}  {verdict}", cells[0], cells[1], cells[2]);
                line(&row.name(), row.family(), &rest);
                for (key, error) in ["first", "second", "to_fourth"].iter().zip(errors.0) {
                    entry[*key] = error.map_or(Value::Null, Value::from);
                }
                entry["wrong"] = fault.clone().map_or(Value::Null, Value::from);
                faults.extend(fault);
            }
        }
        table.push(entry);
    }
    if args.json {
        say(&json!({ "rows": table, "checked": checked, "wrong": faults.len() }).to_string());
    } else {
        let (rows, draws, wrong) = (rows.len(), args.draws, faults.len());
        say(&format!("\n{rows} rows, {checked} with gradients, {draws} cases each, {wrong} wrong"));
    }
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
