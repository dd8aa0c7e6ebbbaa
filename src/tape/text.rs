//! A tape as text: one line for each node, as a program would compute it.

use super::{Node, Tape};

impl Tape {
    /// One line for each node: its number, how it is computed from others, its type and shape, the name it was given,
    /// the kernel that computes it where that is known, and the source line. A heading stands where a new part begins.
    pub fn to_text(&self) -> String {
        let code: Vec<String> = (0..self.nodes().len()).map(|i| self.code(i)).collect();
        let types: Vec<String> = self.nodes().iter().map(|n| format!("{} {}", n.dtype, n.shape)).collect();
        let width = |texts: &[String]| texts.iter().map(|t| t.chars().count()).max().unwrap_or(0);
        let (code_width, type_width) = (width(&code), width(&types));
        let mut text = String::new();
        let mut part = None;
        for (i, node) in self.nodes().iter().enumerate() {
            // Leaves belong to no part.
            if !node.is_leaf() && part.is_some_and(|p| p != node.part) {
                text.push_str(&format!("{}:\n", node.part.name()));
            }
            if !node.is_leaf() {
                part = Some(node.part);
            }
            let kernel = node.kernel.map_or(String::new(), |k| format!("  kernel {k}"));
            let line = format!(
                "{:code_width$}  {:type_width$}  {}:{}{kernel}",
                code[i],
                types[i],
                node.site.file(),
                node.site.line()
            );
            text.push_str(line.trim_end());
            text.push('\n');
        }
        if !self.kernels().is_empty() {
            text.push_str("kernels:\n");
        }
        for (k, kernel) in self.kernels().iter().enumerate() {
            let nodes: Vec<String> = kernel.nodes.iter().map(|i| format!("%{i}")).collect();
            text.push_str(&format!("{k:>3}  {}: {}\n", kernel.text, nodes.join(" ")));
        }
        text
    }

    /// `%2 = mul %0 %1`.
    fn code(&self, i: usize) -> String {
        let Node { op, attributes, inputs, name, constant, is_output, .. } = &self.nodes()[i];
        let mut line = format!("%{i} = {op}");
        inputs.iter().for_each(|x| line.push_str(&format!(" %{x}")));
        if let Some(x) = constant.filter(|_| inputs.is_empty()) {
            line.push_str(&format!(" {x}"));
        }
        if !attributes.is_empty() {
            line.push_str(&format!(" [{attributes}]"));
        }
        if let Some(name) = name {
            line.push_str(&format!(" \"{name}\""));
        }
        if *is_output {
            line.push_str(" ->");
        }
        line
    }
}
