//! Rows whose cells appear as they are measured. No cursor is moved and nothing is hidden, so wherever a table is
//! interrupted the terminal is as it was.

use crate::output::say_raw;
use console::{Style, style};
use std::io::IsTerminal;

/// Whether stdout takes colours.
pub fn colours() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

/// Width of a rate, and of a share.
const RATE: usize = 9;
const SHARE: usize = 6;

/// A table with a column of names and columns of figures.
pub struct Table {
    names: usize,
}

impl Table {
    /// Prints a title, and headings over the columns: (heading, whether a share follows).
    pub fn new(
        title: &str,
        unit: &str,
        names: impl IntoIterator<Item = usize>,
        headings: &[(String, bool)],
    ) -> Table {
        let names = names.into_iter().max().unwrap_or(0).max(title.chars().count());
        say_raw(&format!("\n{}{}", style(title).bold(), " ".repeat(names - title.chars().count())));
        for (heading, share) in headings {
            let width = RATE.max(heading.chars().count() + 2) + if *share { SHARE } else { 0 };
            say_raw(&style(format!("{heading:>width$}")).bold().to_string());
        }
        say_raw(&format!("  {}\n", style(unit).dim()));
        Table { names }
    }

    /// Begins a row.
    pub fn name(&self, name: &str) {
        say_raw(&format!("{name:names$}", names = self.names));
    }

    /// A figure under a heading.
    pub fn rate(&self, heading: &str, rate: f64) {
        let width = RATE.max(heading.chars().count() + 2);
        say_raw(&format!("{:>width$}", figure(rate)));
    }

    /// No figure under a heading.
    pub fn none(&self, heading: &str, share: bool) {
        let width = RATE.max(heading.chars().count() + 2);
        say_raw(&format!("{:>width$}{}", "-", if share { " ".repeat(SHARE) } else { String::new() }));
    }

    /// The share of the peak that the figure before it is.
    pub fn share(&self, share: f64) {
        let colour = match share {
            s if s >= 0.85 => Style::new().green(),
            s if s >= 0.5 => Style::new().yellow(),
            _ => Style::new().red(),
        };
        say_raw(&format!(" {}", colour.apply_to(format!("{:>3.0} %", 100.0 * share))));
    }

    /// Ends a row.
    pub fn end(&self) {
        say_raw("\n");
    }
}

/// Three or four digits that matter.
fn figure(x: f64) -> String {
    match x {
        x if x >= 1000.0 => format!("{x:.0}"),
        x if x >= 10.0 => format!("{x:.1}"),
        x => format!("{x:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::figure;

    #[test]
    fn figures_keep_what_matters() {
        assert_eq!([1234.56, 123.456, 9.876, 0.012].map(figure), ["1235", "123.5", "9.88", "0.01"]);
    }
}
