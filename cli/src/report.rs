//! Figures of an evaluation, as a table and as JSON.

use crate::checkpoints::Loaded;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;

/// What was measured of a model.
pub struct Report {
    /// What it was, and on what.
    head: Map<String, Value>,
    sections: Vec<(&'static str, Vec<(&'static str, f64)>)>,
    /// Share of samples in each class.
    pub classes: Option<Vec<f64>>,
    /// How many pictures of each class (rows) were taken for each (columns).
    pub confusion: Option<Vec<Vec<u64>>>,
    notes: Vec<String>,
}

impl Report {
    pub fn new(saved: &Loaded, data: &str, pictures: usize) -> Report {
        let mut head = Map::new();
        head.insert("model".into(), saved.config.model.as_str().into());
        head.insert("checkpoint".into(), saved.path.display().to_string().into());
        head.insert("step".into(), saved.position.step.into());
        head.insert("data".into(), data.into());
        head.insert("test_pictures".into(), pictures.into());
        Report { head, sections: Vec::new(), classes: None, confusion: None, notes: Vec::new() }
    }

    pub fn section(&mut self, name: &'static str, figures: &[(&'static str, f64)]) {
        self.sections.push((name, figures.to_vec()));
    }

    /// A sentence to know about the figures; the same one is kept once.
    pub fn note(&mut self, text: String) {
        if !self.notes.contains(&text) {
            self.notes.push(text);
        }
    }

    /// One object, with another for each section.
    pub fn json(&self) -> String {
        let mut all = self.head.clone();
        for (name, figures) in &self.sections {
            let figures = figures.iter().map(|(name, v)| ((*name).to_string(), Value::from(*v)));
            all.insert(name.replace(' ', "_"), Value::Object(figures.collect()));
        }
        if let Some(classes) = &self.classes {
            all.insert("classes".into(), json!(classes));
        }
        if let Some(confusion) = &self.confusion {
            all.insert("confusion".into(), json!(confusion));
        }
        all.insert("notes".into(), json!(self.notes));
        Value::Object(all).to_string()
    }

    /// A table for people.
    pub fn text(&self) -> String {
        let word =
            |key: &str| self.head[key].as_str().map_or_else(|| self.head[key].to_string(), String::from);
        let mut text = format!(
            "{} after step {}, on {} test pictures of {}\n",
            word("model"),
            word("step"),
            word("test_pictures"),
            word("data")
        );
        let names = self.sections.iter().flat_map(|(_, figures)| figures.iter().map(|f| f.0.len()));
        let width = names.max().unwrap_or(0);
        for (section, figures) in &self.sections {
            let _ = writeln!(text, "\n{section}");
            for (name, value) in figures {
                let _ = writeln!(text, "  {name:width$}  {:>12}", number(*value));
            }
        }
        if let Some(classes) = &self.classes {
            let _ = writeln!(text, "\nclasses of the samples");
            for (class, share) in classes.iter().enumerate() {
                let bar = "#".repeat((share * 100.0).round() as usize);
                let line = format!("  {class:>3}  {:5.1} %  {bar}", 100.0 * share);
                let _ = writeln!(text, "{}", line.trim_end());
            }
        }
        if let Some(table) = &self.confusion {
            text += &confusion(table);
        }
        for note in &self.notes {
            let _ = write!(text, "\nnote: {note}");
        }
        text.trim_end().into()
    }
}

/// Rows are what pictures are, columns what they were taken for.
fn confusion(table: &[Vec<u64>]) -> String {
    let most = table.iter().flatten().max().copied().unwrap_or(0);
    let width = most.to_string().len().max(table.len().to_string().len()) + 1;
    let mut text =
        String::from("\nconfusions: rows are what pictures are, columns what they were taken for\n     ");
    for class in 0..table.len() {
        let _ = write!(text, "{class:>width$}");
    }
    for (class, row) in table.iter().enumerate() {
        let _ = write!(text, "\n  {class:>3}");
        for n in row {
            let _ = write!(text, "{n:>width$}");
        }
    }
    text + "\n"
}

/// Whole numbers as they are, others with four digits that matter or so.
fn number(value: f64) -> String {
    match value.abs() {
        v if v.fract() == 0.0 && v < 1e15 => format!("{value:.0}"),
        v if v >= 100.0 => format!("{value:.1}"),
        v if v >= 10.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_aligned() {
        assert_eq!(
            confusion(&[vec![10, 2], vec![0, 7]]),
            "\nconfusions: rows are what pictures are, columns what they were taken for\
             \n       0  1\n    0 10  2\n    1  0  7\n"
        );
        assert_eq!(
            [10.0, 123.45, 12.345, 0.12345].map(number),
            ["10", "123.5", "12.35", "0.1235"].map(String::from)
        );
    }
}
