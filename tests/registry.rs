//! The registry is complete: every public op and loss has a case, or a reason in the list below.

use gradus::Tensor;
use gradus::ops::cases::{self, Gradient};
use std::collections::BTreeSet;
use std::path::Path;

/// Public functions of `src/ops` and `src/loss` that need no case, and why.
const EXEMPT: [(&str, &str); 0] = [];

/// The public functions of a file: free ones, and those in the `impl` blocks of `types`, made by macros included.
fn public_functions(text: &str, types: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    let (mut inside, mut listed) = (false, false);
    let name = |rest: &str| rest.split(['(', '<']).next().map(str::to_string);
    for line in text.lines() {
        let code = line.trim();
        if code.is_empty() {
            continue;
        }
        if !line.starts_with(' ') {
            // Blocks open and close at the margin: rustfmt sees to that.
            inside = types.iter().any(|t| line.starts_with(&format!("impl {t} {{")));
            listed = line.starts_with("methods! {");
            found.extend(line.strip_prefix("pub fn ").and_then(name));
        } else if let Some(rest) = code.strip_prefix("pub fn ").filter(|_| inside) {
            found.extend(name(rest));
        } else if listed && !code.starts_with("//") {
            // A row `method Variant;` of a macro that makes methods.
            found.extend(code.split_whitespace().next().map(str::to_string));
        }
    }
    found
}

/// The files of ops below `dir`, with their text.
fn sources(dir: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else {
            found.push((path.display().to_string(), std::fs::read_to_string(&path).unwrap()));
        }
    }
    found.sort();
    found
}

fn ops() -> BTreeSet<(String, String)> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = sources(&source.join("ops"));
    files.extend(sources(&source.join("loss")));
    files.push((String::from("src/loss.rs"), std::fs::read_to_string(source.join("loss.rs")).unwrap()));
    let functions = |(file, text): (String, String)| {
        let file = file.rsplit("src/").next().unwrap_or("").replace("ops/", "");
        public_functions(&text, &["Tensor", "Rng", "Adversarial"]).into_iter().map(move |f| (f, file.clone()))
    };
    files.into_iter().flat_map(functions).collect()
}

#[test]
fn every_public_op_has_a_case() {
    let covered: BTreeSet<&str> = cases::all().iter().map(|row| row.op()).collect();
    let ops = ops();
    assert!(ops.len() > 100, "the scan finds the ops: {ops:?}");
    let missing: Vec<_> = ops
        .iter()
        .filter(|(op, _)| !covered.contains(op.as_str()) && !EXEMPT.iter().any(|(name, _)| name == op))
        .collect();
    assert!(missing.is_empty(), "public ops without a case in their family's `cases()`: {missing:?}");
}

#[test]
fn every_case_is_of_a_public_op_of_its_file() {
    let ops = ops();
    for row in cases::all() {
        let file =
            |f: &str| f == format!("{}.rs", row.family()) || f.starts_with(&format!("{}/", row.family()));
        assert!(
            ops.iter().any(|(op, f)| op == row.op() && file(f)),
            "{} is not a public function of {}.rs",
            row.op(),
            row.family()
        );
    }
    for (name, reason) in EXEMPT {
        assert!(ops.iter().any(|(op, _)| op == name), "{name} is exempt ({reason}) but does not exist");
        assert!(
            !cases::all().iter().any(|row| row.op() == name),
            "{name} is exempt ({reason}) but has a case"
        );
    }
}

#[test]
fn rows_have_names_of_their_own() {
    let mut seen = BTreeSet::new();
    for row in cases::all() {
        assert!(
            seen.insert(row.name()),
            "{} is there twice: tell the rows apart with .variant()",
            row.name()
        );
    }
}

#[test]
fn the_scan_sees_methods_however_they_are_made() {
    let text = "impl Tensor {\n    pub fn plain(&self) {\n\n    pub(crate) fn inner(&self) {\n    pub fn generic<T>(&self)\n}\n\
                methods! {\n    /// Words.\n    made Made;\n}\nimpl Other {\n    pub fn not_this(&self) {\n}\npub fn free(x: f64) {\n";
    assert_eq!(public_functions(text, &["Tensor"]), ["plain", "generic", "made", "free"]);
}

#[test]
fn a_number_draws_the_same_case_every_time() {
    for row in cases::all() {
        let (a, b) = (row.draw(5), row.draw(5));
        assert_eq!(a.note(), b.note(), "{}", row.name());
        let values = |x: &Tensor| x.to_vec::<f64>().unwrap();
        let bits = |x: &Tensor| values(x).into_iter().map(f64::to_bits).collect::<Vec<_>>();
        for (a, b) in a.inputs().iter().zip(b.inputs()) {
            assert_eq!((a.shape(), bits(a)), (b.shape(), bits(b)), "{}", row.name());
        }
    }
}

#[test]
fn draws_reach_the_corners() {
    // Over all rows: empty and scalar inputs, and every kind of view.
    let mut notes = String::new();
    let (mut empty, mut scalar) = (0, 0);
    for row in cases::all() {
        for seed in 0..20 {
            let case = row.draw(seed);
            notes.push_str(case.note());
            empty += case.inputs().iter().filter(|x| x.numel() == 0).count();
            scalar += case.inputs().iter().filter(|x| x.rank() == 0).count();
        }
    }
    for view in ["permuted", "flipped", "strided", "expanded"] {
        assert!(notes.matches(view).count() > 50, "few inputs are {view}");
    }
    assert!(empty > 50 && scalar > 50, "{empty} empty and {scalar} scalar inputs");
}

#[test]
fn reasons_are_given_in_words() {
    for row in cases::all() {
        if let Gradient::None(reason) | Gradient::ByHand(reason) = row.gradient() {
            assert!(reason.split(' ').count() >= 3, "{}: {reason:?} says too little", row.name());
        }
    }
}
