//! A tape in the language of Graphviz.

use super::Tape;
use super::picture::{Detail, Picture, Style};

impl Tape {
    /// A graph for `dot -Tsvg`. With [`Detail::Kernels`] every kernel is one box.
    pub fn to_dot(&self, detail: Detail) -> String {
        let picture = Picture::new(self, detail);
        let mut text = String::from(
            "digraph tape {\n  node [shape=box, style=\"rounded,filled\", fontname=monospace, fontsize=11];\n",
        );
        for (i, b) in picture.boxes.iter().enumerate() {
            let label = [std::slice::from_ref(&b.title), &b.lines].concat().join("\n");
            let Style { fill, stroke } = b.style();
            let wide = if b.is_output { ", penwidth=2.5" } else { "" };
            text.push_str(&format!(
                "  n{i} [label=\"{}\", fillcolor=\"{fill}\", color=\"{stroke}\"{wide}];\n",
                label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
            ));
        }
        for (from, to) in &picture.edges {
            text.push_str(&format!("  n{from} -> n{to};\n"));
        }
        text + "}\n"
    }
}
