//! The curves of a run: what its lines of metrics say, drawn.

use crate::plot::{self, Curve, Panel};
use anyhow::{Context, Result};
use gradus::files::open_regular;
use serde_json::{Map, Value};
use std::io::{BufRead, BufReader};
use std::path::Path;

/// Largest file of metrics that is drawn.
const LIMIT: u64 = 1 << 30;
/// What the lines hold besides figures.
const NOT_FIGURES: [&str; 3] = ["step", "epoch", "seconds"];

/// Draws the figures in `metrics` into `picture`: the losses of steps in one panel, each figure of epochs in one of its
/// own. Nothing is written where there is nothing to draw; says whether there was.
pub fn draw(metrics: &Path, picture: &Path) -> Result<bool> {
    let (file, _) = open_regular(metrics, LIMIT)?;
    let mut lines = Vec::new();
    for line in BufReader::new(file).lines() {
        let line = line.with_context(|| metrics.display().to_string())?;
        // What a killed run has left unfinished is no figure.
        lines.extend(serde_json::from_str::<Map<String, Value>>(&line));
    }
    let panels = panels(&lines);
    if panels.is_empty() {
        return Ok(false);
    }
    plot::curves(picture, &panels)?;
    Ok(true)
}

/// The lines that begin with the figure that most lines begin with are those of steps, the others those of epochs: a
/// model can call a figure of both by one name.
fn panels(lines: &[Map<String, Value>]) -> Vec<Panel> {
    let mut kinds: Vec<(&str, usize, Vec<Curve>)> = Vec::new();
    for line in lines {
        let Some(step) = line.get("step").and_then(Value::as_f64) else { continue };
        let figures = line.iter().filter(|(name, _)| !NOT_FIGURES.contains(&name.as_str()));
        let figures: Vec<_> = figures.filter_map(|(name, v)| Some((name.as_str(), v.as_f64()?))).collect();
        let Some(&(first, _)) = figures.first() else { continue };
        let known = kinds.iter().position(|k| k.0 == first).unwrap_or(kinds.len());
        if known == kinds.len() {
            kinds.push((first, 0, Vec::new()));
        }
        let (_, count, curves) = &mut kinds[known];
        *count += 1;
        for (name, value) in figures {
            match curves.iter_mut().find(|c| c.name == name) {
                Some(curve) => curve.points.push((step, value)),
                None => curves.push(Curve { name: name.into(), points: vec![(step, value)] }),
            }
        }
    }
    let most = kinds.iter().map(|k| k.1).max().unwrap_or(0);
    let (steps, epochs): (Vec<_>, Vec<_>) = kinds.into_iter().partition(|k| k.1 == most);
    // One point is no curve.
    let [steps, epochs] = [steps, epochs]
        .map(|kinds| kinds.into_iter().flat_map(|k| k.2).filter(|c| c.points.len() > 1).collect::<Vec<_>>());
    let mut panels = Vec::new();
    if !steps.is_empty() {
        let names: Vec<&str> = steps.iter().map(|c| c.name.as_str()).collect();
        panels.push(Panel { title: format!("training: {}", names.join(", ")), curves: steps, noisy: true });
    }
    for curve in epochs {
        let (on, name) = match curve.name.split_once('_') {
            Some(("valid", name)) => ("validation", name),
            Some(("test", name)) => ("test", name),
            _ => ("test", curve.name.as_str()),
        };
        panels.push(Panel { title: format!("{on}: {name}"), curves: vec![curve], noisy: false });
    }
    panels
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn figures_of_steps_share_a_panel_and_those_of_epochs_have_their_own() {
        let mut lines = Vec::new();
        for step in 1..=12 {
            lines.push(json!({"step": step, "epoch": 1, "loss": 1.5, "kl": 0.5, "seconds": 3}));
            if step % 4 == 0 {
                lines.push(json!({"step": step, "epoch": 1, "elbo": -100.0, "kl": 0.4, "seconds": 3}));
            }
        }
        let lines: Vec<_> = lines.into_iter().map(|l| l.as_object().unwrap().clone()).collect();
        let panels = panels(&lines);
        let found: Vec<_> = panels
            .iter()
            .map(|p| p.curves.iter().map(|c| (c.name.as_str(), c.points.len())).collect::<Vec<_>>())
            .collect();
        assert_eq!(found, [vec![("loss", 12), ("kl", 12)], vec![("elbo", 3)], vec![("kl", 3)]]);
        assert_eq!(panels[1].title, "test: elbo");
        let named = |name: &str| {
            let line = |step: u64| json!({"step": step, name: 0.5}).as_object().unwrap().clone();
            let losses =
                [1, 2, 3].map(|step| json!({"step": step, "loss": 1.5}).as_object().unwrap().clone());
            super::panels(&[&losses[..], &[line(2), line(3)]].concat()).pop().unwrap().title
        };
        assert_eq!(named("valid_accuracy"), "validation: accuracy");
        assert_eq!(named("test_loss"), "test: loss");
        assert!(super::panels(&[]).is_empty());
    }
}
