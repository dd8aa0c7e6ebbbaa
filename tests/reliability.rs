//! The table of promises names tests that exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The tests of a file, by name.
fn tests_of(file: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let mut names = BTreeSet::new();
    let mut after_attribute = false;
    for line in text.lines().map(str::trim) {
        match line.strip_prefix("fn ") {
            Some(rest) if after_attribute => {
                names.insert(rest.split('(').next().unwrap_or_default().to_string());
                after_attribute = false;
            }
            _ => after_attribute = line == "#[test]" || after_attribute && line.starts_with("#["),
        }
    }
    names
}

#[test]
fn every_promise_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("docs/reliability.md")).unwrap();
    let rows: Vec<&str> = text.lines().filter(|l| l.starts_with("| ") && !l.starts_with("| fault")).collect();
    let rows: Vec<&str> = rows.into_iter().filter(|l| !l.starts_with("| ---")).collect();
    assert!(rows.len() > 20, "{} promises", rows.len());
    let mut named = 0;
    for row in rows {
        let shown = row.trim_end_matches('|').rsplit('|').next().unwrap();
        let mut in_row = 0;
        // `file.rs` one_test, another; and words, which end where a `file.rs` begins.
        let pieces: Vec<&str> = shown.split('`').collect();
        for pair in pieces[1..].chunks(2).filter(|pair| pair[0].ends_with(".rs")) {
            let known = tests_of(&root.join(pair[0]));
            let list = pair[1].split(';').next().unwrap_or_default();
            for name in list.split(',').map(str::trim).filter(|name| !name.is_empty()) {
                assert!(known.contains(name), "{} has no test {name:?}", pair[0]);
                in_row += 1;
            }
        }
        assert!(in_row > 0, "no test shows: {row}");
        named += in_row;
    }
    assert!(named > 50, "{named} tests");
}
