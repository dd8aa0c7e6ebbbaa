//! The shaders' text: files embedded in the library, and the few directives that WGSL's own `override` constants
//! cannot replace (types, binding lists, the body of an epilogue).
//!
//! A directive is a line of its own, so that a plain reader sees WGSL with comments:
//! * `//!include lib/NAME.wgsl` puts that file here; a file included twice is put once.
//! * `//!if NAME`, `//!if !NAME`, `//!else`, `//!endif` keep or drop lines; they nest.
//! * `//!for NAME in COUNT`, `//!endfor` repeat lines with `{{NAME}}` from 0 up to COUNT, a number or a define; they nest.
//!   Registers of an unrolled loop need this: an array that is indexed by a variable does not stay in registers.
//! * `//!epilogue` puts the text of the define `EPILOGUE` here, where one is given.
//! * `{{NAME}}` anywhere stands for the value of a define.
//!
//! A name that is used but not defined, or defined but never used, is an error, as is an unknown directive.

use std::collections::BTreeSet;

/// The embedded files, by name without `.wgsl`.
pub(crate) const FILES: &[(&str, &str)] = &[
    ("conv_forward", include_str!("../../../shaders/conv_forward.wgsl")),
    ("conv_input", include_str!("../../../shaders/conv_input.wgsl")),
    ("conv_weight", include_str!("../../../shaders/conv_weight.wgsl")),
    ("copy", include_str!("../../../shaders/copy.wgsl")),
    ("cumsum", include_str!("../../../shaders/cumsum.wgsl")),
    ("fill", include_str!("../../../shaders/fill.wgsl")),
    ("fold", include_str!("../../../shaders/fold.wgsl")),
    ("gather", include_str!("../../../shaders/gather.wgsl")),
    ("lib/conv", include_str!("../../../shaders/lib/conv.wgsl")),
    ("lib/fault", include_str!("../../../shaders/lib/fault.wgsl")),
    ("lib/grid", include_str!("../../../shaders/lib/grid.wgsl")),
    ("lib/math", include_str!("../../../shaders/lib/math.wgsl")),
    ("lib/philox", include_str!("../../../shaders/lib/philox.wgsl")),
    ("lib/tile", include_str!("../../../shaders/lib/tile.wgsl")),
    ("lib/walk", include_str!("../../../shaders/lib/walk.wgsl")),
    ("nonfinite", include_str!("../../../shaders/nonfinite.wgsl")),
    ("reduce", include_str!("../../../shaders/reduce.wgsl")),
    ("scatter_add", include_str!("../../../shaders/scatter_add.wgsl")),
    ("scatter_sorted", include_str!("../../../shaders/scatter_sorted.wgsl")),
    ("sgemm", include_str!("../../../shaders/sgemm.wgsl")),
    ("sgemv", include_str!("../../../shaders/sgemv.wgsl")),
    ("sort_block", include_str!("../../../shaders/sort_block.wgsl")),
    ("sort_merge", include_str!("../../../shaders/sort_merge.wgsl")),
    ("sum_parts", include_str!("../../../shaders/sum_parts.wgsl")),
];

/// The WGSL of file `name` with its directives carried out.
///
/// # Errors
/// A sentence with file and line: an unknown file, directive or name, a define that no line uses.
pub(crate) fn expand(name: &str, defines: &[(&str, String)]) -> Result<String, String> {
    let text = file(name).ok_or_else(|| format!("there is no shader {name}"))?;
    expand_text(name, text, defines)
}

/// As [`expand`], for text that is not a file.
///
/// # Errors
/// As [`expand`].
pub(crate) fn expand_text(name: &str, text: &str, defines: &[(&str, String)]) -> Result<String, String> {
    let mut expansion = Expansion {
        defines,
        loops: Vec::new(),
        used: BTreeSet::new(),
        included: BTreeSet::new(),
        out: String::new(),
    };
    expansion.file(name, text)?;
    match defines.iter().find(|(define, _)| !expansion.used.contains(*define)) {
        Some((define, _)) => Err(format!("{name}: no line uses {define}")),
        None => Ok(expansion.out),
    }
}

fn file(name: &str) -> Option<&'static str> {
    FILES.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

struct Expansion<'a> {
    defines: &'a [(&'a str, String)],
    /// The names of open loops with their present values, the innermost last.
    loops: Vec<(String, usize)>,
    used: BTreeSet<String>,
    included: BTreeSet<String>,
    out: String,
}

impl Expansion<'_> {
    fn value(&mut self, name: &str) -> Option<String> {
        if let Some((_, value)) = self.loops.iter().rev().find(|(known, _)| known == name) {
            return Some(value.to_string());
        }
        self.used.insert(name.to_string());
        self.defines.iter().find(|(define, _)| *define == name).map(|(_, value)| value.clone())
    }

    fn file(&mut self, name: &str, text: &str) -> Result<(), String> {
        let lines: Vec<(usize, &str)> = text.lines().enumerate().collect();
        self.lines(name, &lines, true)
    }

    fn lines(&mut self, name: &str, lines: &[(usize, &str)], kept: bool) -> Result<(), String> {
        // For each open `if`: whether its lines are kept, and whether `else` has been seen.
        let mut open: Vec<(bool, bool)> = Vec::new();
        let mut next = 0;
        while let Some(&(number, line)) = lines.get(next) {
            next += 1;
            let at = |message: String| format!("shaders/{name}.wgsl:{}: {message}", number + 1);
            let keep = kept && open.iter().all(|(keep, _)| *keep);
            match line.trim().strip_prefix("//!") {
                Some(directive) => {
                    let (word, rest) = directive.split_once(' ').unwrap_or((directive, ""));
                    if word == "for" {
                        let body = loop_body(&lines[next..]).map_err(at)?;
                        next += body.len() + 1;
                        let (variable, count) = self.loop_head(rest).map_err(at)?;
                        self.repeat(name, body, variable, count, keep)?;
                    } else {
                        self.directive(word, rest.trim(), keep, &mut open).map_err(at)?;
                    }
                }
                None => {
                    // Names in dropped lines count as used: another set of flags keeps those lines.
                    let line = self.substitute(line, keep).map_err(at)?;
                    if keep {
                        self.out.push_str(&line);
                        self.out.push('\n');
                    }
                }
            }
        }
        if open.is_empty() { Ok(()) } else { Err(format!("shaders/{name}.wgsl: an if is not closed")) }
    }

    fn loop_head<'t>(&mut self, head: &'t str) -> Result<(&'t str, usize), String> {
        let (variable, count) = head.split_once(" in ").ok_or("a for is written `for NAME in COUNT`")?;
        let count = count.trim();
        let number = match count.parse::<usize>() {
            Ok(number) => number,
            Err(_) => match self.value(count) {
                Some(value) => value.parse().map_err(|_| format!("{count} is no count"))?,
                None => return Err(format!("{count} has no value")),
            },
        };
        Ok((variable.trim(), number))
    }

    fn repeat(
        &mut self,
        name: &str,
        body: &[(usize, &str)],
        variable: &str,
        count: usize,
        keep: bool,
    ) -> Result<(), String> {
        // Names in lines that are repeated no times count as used, as those in dropped lines do.
        let kept = keep && count > 0;
        for i in 0..if kept { count } else { 1 } {
            self.loops.push((variable.to_string(), i));
            let result = self.lines(name, body, kept);
            self.loops.pop();
            result?;
        }
        Ok(())
    }

    fn directive(
        &mut self,
        word: &str,
        rest: &str,
        keep: bool,
        open: &mut Vec<(bool, bool)>,
    ) -> Result<(), String> {
        match word {
            "include" => {
                let name = rest.strip_suffix(".wgsl").ok_or("include needs a .wgsl file")?;
                let text = file(name).ok_or_else(|| format!("there is no file {rest}"))?;
                if keep && self.included.insert(name.to_string()) {
                    self.file(name, text)?;
                }
            }
            "if" => {
                let (name, wanted) = rest.strip_prefix('!').map_or((rest, true), |name| (name, false));
                let given = self.value(name).is_some();
                open.push((given == wanted, false));
            }
            "else" => match open.last_mut() {
                Some((keep, seen @ false)) => (*keep, *seen) = (!*keep, true),
                _ => return Err(String::from("else without an if")),
            },
            "endif" => {
                open.pop().ok_or("endif without an if")?;
            }
            "endfor" => return Err(String::from("endfor without a for")),
            "epilogue" => {
                let text = self.value("EPILOGUE");
                if let Some(text) = text.filter(|_| keep) {
                    self.out.push_str(&text);
                    self.out.push('\n');
                }
            }
            _ => return Err(format!("there is no directive //!{word}")),
        }
        Ok(())
    }

    fn substitute(&mut self, line: &str, keep: bool) -> Result<String, String> {
        let (mut out, mut rest) = (String::new(), line);
        while let Some(start) = rest.find("{{") {
            let end = rest[start..].find("}}").ok_or("{{ without }}")? + start;
            let name = &rest[start + 2..end];
            out.push_str(&rest[..start]);
            match self.value(name) {
                Some(value) => out.push_str(&value),
                None if keep => return Err(format!("{{{{{name}}}}} has no value")),
                None => {}
            }
            rest = &rest[end + 2..];
        }
        out.push_str(rest);
        Ok(out)
    }
}

/// The lines up to the `endfor` of a loop whose body begins with `lines`.
fn loop_body<'l, 't>(lines: &'l [(usize, &'t str)]) -> Result<&'l [(usize, &'t str)], String> {
    let mut depth = 1;
    for (i, (_, line)) in lines.iter().enumerate() {
        match line.trim() {
            "//!endfor" => depth -= 1,
            line if line.starts_with("//!for ") => depth += 1,
            _ => {}
        }
        if depth == 0 {
            return Ok(&lines[..i]);
        }
    }
    Err(String::from("a for is not closed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str, defines: &[(&str, &str)]) -> Result<String, String> {
        let defines: Vec<(&str, String)> = defines.iter().map(|(n, v)| (*n, v.to_string())).collect();
        expand_text("test", text, &defines)
    }

    #[test]
    fn values_and_branches() {
        let source =
            "a {{T}}{{U}}\n//!if F\nyes\n  //!if !G\nnested\n//!endif\n//!else\nno {{T}}\n//!endif\nend";
        assert_eq!(text(source, &[("T", "x"), ("U", "y")]).unwrap(), "a xy\nno x\nend\n");
        assert_eq!(text(source, &[("T", "x"), ("U", "y"), ("F", "")]).unwrap(), "a xy\nyes\nnested\nend\n");
        let all = [("T", "x"), ("U", "y"), ("F", ""), ("G", "")];
        assert_eq!(text(source, &all).unwrap(), "a xy\nyes\nend\n");
    }

    #[test]
    fn loops_repeat_and_nest() {
        let source = "//!for i in N\na{{i}}\n//!for j in 2\nb{{i}}{{j}}{{T}}\n//!endfor\n//!endfor\nend";
        let expected = "a0\nb00x\nb01x\na1\nb10x\nb11x\nend\n";
        assert_eq!(text(source, &[("N", "2"), ("T", "x")]).unwrap(), expected);
        assert_eq!(text(source, &[("N", "0"), ("T", "x")]).unwrap(), "end\n");
    }

    #[test]
    fn an_epilogue_is_spliced_where_one_is_given() {
        assert_eq!(text("//!epilogue\nb", &[("EPILOGUE", "a")]).unwrap(), "a\nb\n");
        assert_eq!(text("//!epilogue\nb", &[]).unwrap(), "b\n");
    }

    #[test]
    fn mistakes_name_file_and_line() {
        let error = |source: &str, defines: &[(&str, &str)]| text(source, defines).unwrap_err();
        assert_eq!(error("x\n{{T}}", &[]), "shaders/test.wgsl:2: {{T}} has no value");
        assert_eq!(error("x", &[("T", "")]), "test: no line uses T");
        assert!(error("//!if A\n", &[]).contains("not closed"));
        assert!(error("//!else\n", &[]).contains("else without"));
        assert!(error("//!if A\n//!else\n//!else\n//!endif\n", &[]).contains("else without"));
        assert!(error("//!endif\n", &[]).contains("endif without"));
        assert!(error("//!for i in 2\n", &[]).contains("not closed"));
        assert!(error("//!endfor\n", &[]).contains("endfor without"));
        assert!(error("//!for i in N\n//!endfor\n", &[]).contains("N has no value"));
        assert!(error("//!for i\n//!endfor\n", &[]).contains("for NAME in COUNT"));
        assert!(error("//!pragma\n", &[]).contains("no directive"));
        assert!(error("//!include lib/none.wgsl\n", &[]).contains("no file"));
        assert!(error("{{T", &[("T", "")]).contains("{{ without }}"));
        assert!(expand("none", &[]).unwrap_err().contains("no shader"));
    }

    #[test]
    fn a_file_is_included_once() {
        let twice = text("//!include lib/grid.wgsl\n//!include lib/grid.wgsl\n", &[]).unwrap();
        assert_eq!(twice.matches("fn flat_workgroup").count(), 1);
    }
}
