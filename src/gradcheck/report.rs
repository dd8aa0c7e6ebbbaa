//! What a check found, and how it reads.

use crate::error::Error;
use crate::shape::Shape;
use std::fmt;

/// Two numbers that should be one derivative.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The element of the input; `None` for a direction through all of them.
    pub element: Option<Vec<usize>>,
    /// The element of the result; `None` for a weighted sum of all of them.
    pub output: Option<Vec<usize>>,
    /// The derivative by the gradient.
    pub analytic: f64,
    /// The derivative by differences.
    pub numeric: f64,
    /// Whether differences of two widths disagree: the function is not smooth here, and they prove nothing.
    pub rough: bool,
}

impl Entry {
    /// The distance of the two; infinite if either is not a number.
    pub fn absolute(&self) -> f64 {
        let d = (self.analytic - self.numeric).abs();
        if d.is_nan() { f64::INFINITY } else { d }
    }

    /// The distance relative to `max(1, |value|)`.
    pub fn relative(&self) -> f64 {
        if self.absolute().is_infinite() {
            return f64::INFINITY;
        }
        self.absolute() / self.analytic.abs().max(self.numeric.abs()).max(1.0)
    }
}

/// What was found for one input (or one order).
#[derive(Clone, Debug)]
pub struct Row {
    /// Which.
    pub name: String,
    /// Its shape.
    pub shape: Shape,
    /// How many derivatives were compared.
    pub compared: usize,
    /// The largest absolute error.
    pub absolute: f64,
    /// The largest error relative to `max(1, |value|)`.
    pub relative: f64,
    /// Where that is.
    pub worst: Option<Entry>,
}

impl Row {
    pub(super) fn new(name: String, shape: Shape) -> Row {
        Row { name, shape, compared: 0, absolute: 0.0, relative: 0.0, worst: None }
    }

    pub(super) fn compare(&mut self, entry: Entry) {
        self.compared += 1;
        self.absolute = self.absolute.max(entry.absolute());
        if self.worst.is_none() || entry.relative() > self.relative {
            self.relative = entry.relative();
            self.worst = Some(entry);
        }
    }
}

/// The result of a check: a row for each input. Prints as a table.
#[derive(Clone, Debug)]
pub struct Report {
    /// The name of the check.
    pub title: &'static str,
    /// The shape of the function's result.
    pub output: Shape,
    /// What was compared, in words.
    pub method: String,
    /// The largest relative error that passes.
    pub tolerance: f64,
    /// One for each input, or each order.
    pub rows: Vec<Row>,
}

impl Report {
    /// The largest relative error of all.
    pub fn relative(&self) -> f64 {
        self.rows.iter().fold(0.0, |m, r| m.max(r.relative))
    }

    /// Whether every error is within the tolerance.
    pub fn passes(&self) -> bool {
        self.relative() <= self.tolerance
    }

    pub(super) fn judged(self) -> Result<Report, GradcheckError> {
        if self.passes() { Ok(self) } else { Err(GradcheckError::Wrong(Box::new(self))) }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}: result {}, {}, tolerance {:e}",
            self.title, self.output, self.method, self.tolerance
        )?;
        let shapes: Vec<String> = self.rows.iter().map(|r| r.shape.to_string()).collect();
        let wide = |cells: &mut dyn Iterator<Item = usize>, least: usize| cells.fold(least, usize::max);
        let name = wide(&mut self.rows.iter().map(|r| r.name.len()), 5);
        let shape = wide(&mut shapes.iter().map(String::len), 5);
        write!(f, "  {:name$}  {:shape$}  compared  absolute  relative", "", "shape")?;
        for (row, s) in self.rows.iter().zip(&shapes) {
            let verdict = if row.relative <= self.tolerance { "ok" } else { "WRONG" };
            write!(
                f,
                "\n  {:name$}  {s:shape$}  {:8}  {:8.1e}  {:8.1e}  {verdict}",
                row.name, row.compared, row.absolute, row.relative
            )?;
        }
        for row in self.rows.iter().filter(|r| r.relative > self.tolerance) {
            if let Some(worst) = &row.worst {
                write!(f, "\n  {}, {worst}", row.name)?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.element {
            Some(index) => write!(f, "element {index:?}")?,
            None => f.write_str("along a random direction")?,
        }
        // A scalar has one element, which needs no name.
        if let Some(index) = self.output.as_ref().filter(|i| !i.is_empty()) {
            write!(f, ", result element {index:?}")?;
        }
        write!(f, ": the gradient says {}, differences say {}", short(self.analytic), short(self.numeric))?;
        if self.rough {
            f.write_str(" (the function has a kink, jump or tie within two steps of here)")?;
        }
        Ok(())
    }
}

/// Nine significant digits, without zeros at the end.
fn short(x: f64) -> String {
    let rounded: f64 = format!("{x:.8e}").parse().unwrap_or(x);
    format!("{rounded}")
}

/// Why a check did not pass.
#[derive(Clone)]
pub enum GradcheckError {
    /// A derivative is wrong.
    Wrong(Box<Report>),
    /// Something could not be computed.
    Failed(Error),
}

impl From<Error> for GradcheckError {
    fn from(e: Error) -> Self {
        GradcheckError::Failed(e)
    }
}

impl fmt::Display for GradcheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GradcheckError::Wrong(report) => report.fmt(f),
            GradcheckError::Failed(e) => e.fmt(f),
        }
    }
}

/// As `Display`: this is what `unwrap` prints in a test.
impl fmt::Debug for GradcheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl std::error::Error for GradcheckError {}
