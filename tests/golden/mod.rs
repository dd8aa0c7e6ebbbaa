//! Files under `docs/` that the library itself writes: a test compares them, and says how to write them anew.

use std::path::Path;

/// Whether the documents are to be written rather than compared.
fn writing() -> bool {
    std::env::var_os("GRADUS_WRITE_DOCS").is_some_and(|v| v == "1")
}

/// Compares the file `docs/NAME` with what it should hold.
#[track_caller]
pub fn check(name: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name);
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    if found == expected {
        return;
    }
    if writing() {
        std::fs::write(&path, expected).unwrap();
        return;
    }
    let differs = found.lines().zip(expected.lines()).find(|(a, b)| a != b);
    let (found, expected) = differs.unwrap_or(("(the end)", "(something else)"));
    panic!(
        "docs/{name} is stale: it says\n  {found}\nand should say\n  {expected}\n\
         Look at what changed; if it should, GRADUS_WRITE_DOCS=1 cargo test writes it anew."
    );
}

/// Compares the fenced block after the line `<!-- NAME -->` in `docs/FILE` with what it should hold.
#[allow(dead_code)]
#[track_caller]
pub fn check_block(file: &str, name: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    let marker = format!("<!-- {name} -->\n```text\n");
    let start = text.find(&marker).unwrap_or_else(|| panic!("docs/{file} has no {marker:?}")) + marker.len();
    let end = start + text[start..].find("```").unwrap_or_else(|| panic!("the block {name} has no end"));
    check(file, &format!("{}{expected}{}", &text[..start], &text[end..]));
}
