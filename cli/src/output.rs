//! Text for people and programs. A reader that has gone away is no reason to stop training or to panic.

use std::fmt::Write as _;
use std::io::Write as _;

/// One line on stdout: what was asked for.
pub fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{}", clean(line)).and_then(|()| out.flush());
}

/// Text on stdout as it is, escape sequences included.
pub fn say_raw(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// One line on stderr: what happens meanwhile.
pub fn note(line: &str) {
    let mut out = std::io::stderr().lock();
    let _ = writeln!(out, "{}", clean(line)).and_then(|()| out.flush());
}

/// Text whose control and direction characters are shown instead of obeyed: names of files and classes come from
/// outside.
pub fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c != '\n' && (c.is_control() || turns) {
            let _ = write!(out, "{}", c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// Seconds as `1:05` or `2:03:04`.
pub fn clock(seconds: f64) -> String {
    let s = seconds.max(0.0).round() as u64;
    let (h, m, s) = (s / 3600, s / 60 % 60, s % 60);
    if h > 0 { format!("{h}:{m:02}:{s:02}") } else { format!("{m}:{s:02}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown() {
        assert_eq!(clean("a\u{1b}[31mb\u{202e}c\r"), "a\\u{1b}[31mb\\u{202e}c\\r");
        assert_eq!(clean("two\nlines, grün"), "two\nlines, grün");
    }

    #[test]
    fn clocks() {
        assert_eq!(
            (clock(65.2), clock(7384.0), clock(-1.0)),
            ("1:05".into(), "2:03:04".into(), "0:00".into())
        );
    }
}
