//! A tape as a picture: boxes in layers, what is used above what uses it, coloured by part.

use super::layout::layout;
use super::picture::{Detail, Picture, Shown, Style, style_of};
use super::{Part, Tape};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Width of a character, as a share of the font's size: that of monospaced fonts.
const CHARACTER: f64 = 0.602;
/// Font sizes of titles and of other lines, and the height of a line.
const TITLE: f64 = 12.5;
const SMALL: f64 = 10.5;
const LINE: f64 = 14.0;
/// Space around the picture.
const MARGIN: f64 = 24.0;

impl Tape {
    /// A picture. With [`Detail::Kernels`], every kernel of a recorded tape is one box.
    pub fn to_svg(&self, title: &str, detail: Detail) -> String {
        svg([(title, self)], detail)
    }
}

/// Several tapes in one picture, one below the other, each under its title.
///
/// ```
/// use gradus::{Tensor, tape::{Detail, Tape, svg}};
/// let x = Tensor::from(1.0f64);
/// let (a, b) = (Tape::of([&x.exp()]), Tape::of([&x.sin()]));
/// assert!(svg([("exp", &a), ("sin", &b)], Detail::Nodes).starts_with("<svg"));
/// ```
pub fn svg<'a>(tapes: impl IntoIterator<Item = (&'a str, &'a Tape)>, detail: Detail) -> String {
    let (mut body, mut width, mut y) = (String::new(), 0f64, MARGIN);
    for (title, tape) in tapes {
        let picture = Picture::new(tape, detail);
        let sizes: Vec<(f64, f64)> = picture.boxes.iter().map(size).collect();
        let places = layout(&sizes, &picture.edges);
        let legend = legend(&picture, title, MARGIN, y, &mut body);
        y += 2.0 * LINE + 16.0;
        width = width.max(places.width).max(legend);
        let _ = writeln!(body, "<g transform=\"translate({MARGIN} {y:.1})\">");
        for (route, &(from, _)) in places.routes.iter().zip(&picture.edges) {
            arrow(route, &picture.boxes[from], &mut body);
        }
        for ((shown, place), size) in picture.boxes.iter().zip(&places.boxes).zip(&sizes) {
            draw(shown, place.x - size.0 / 2.0, place.y, *size, &mut body);
        }
        body.push_str("</g>\n");
        y += places.height + 2.0 * MARGIN;
    }
    let (width, height) = (width + 2.0 * MARGIN, y - MARGIN);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {width:.0} {height:.0}\" \
         font-family=\"'DejaVu Sans Mono', Menlo, Consolas, monospace\" font-size=\"{SMALL}\">\n\
         <defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"6\" markerHeight=\"6\" \
         orient=\"auto\"><path d=\"M0 0.5 L8 4 L0 7.5 z\" fill=\"#8a9099\"/></marker></defs>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n{body}</svg>\n"
    )
}

fn text_width(text: &str, size: f64) -> f64 {
    text.chars().count() as f64 * size * CHARACTER
}

fn size(shown: &Shown) -> (f64, f64) {
    let lines = shown.lines.iter().map(|l| text_width(l, SMALL)).fold(0.0, f64::max);
    let width = text_width(&shown.title, TITLE).max(lines) + 20.0;
    (width, LINE * (1 + shown.lines.len()) as f64 + 10.0)
}

/// The title, and what the colours mean where there are several; gives its width.
fn legend(picture: &Picture, title: &str, x: f64, y: f64, out: &mut String) -> f64 {
    let baseline = y + LINE - 3.0;
    let _ = writeln!(
        out,
        "<text x=\"{x}\" y=\"{baseline:.1}\" font-size=\"14\" font-weight=\"bold\">{}</text>",
        escape(title)
    );
    let parts: BTreeSet<Part> = picture.boxes.iter().filter(|b| !b.is_leaf).map(|b| b.part).collect();
    let (mut at, baseline) = (x, baseline + LINE + 6.0);
    for part in parts {
        let Style { fill, stroke } = style_of(part);
        let name = part.name();
        let _ = writeln!(
            out,
            "<rect x=\"{at:.1}\" y=\"{:.1}\" width=\"12\" height=\"12\" rx=\"3\" fill=\"{fill}\" stroke=\"{stroke}\"/>\
             <text x=\"{:.1}\" y=\"{baseline:.1}\" fill=\"#4a4f57\">{name}</text>",
            baseline - 10.0,
            at + 18.0
        );
        at += 18.0 + text_width(&name, SMALL) + 22.0;
    }
    text_width(title, 14.0).max(at - x)
}

fn draw(shown: &Shown, x: f64, y: f64, (width, height): (f64, f64), out: &mut String) {
    let Style { fill, stroke } = shown.style();
    let radius = if shown.is_leaf { height / 2.0 } else { 6.0 };
    let line = if shown.is_output { 2.4 } else { 1.2 };
    let _ = writeln!(
        out,
        "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"{radius:.1}\" \
         fill=\"{fill}\" stroke=\"{stroke}\" stroke-width=\"{line}\"/>"
    );
    let middle = x + width / 2.0;
    let _ = writeln!(
        out,
        "<text x=\"{middle:.1}\" y=\"{:.1}\" font-size=\"{TITLE}\" font-weight=\"bold\" \
         text-anchor=\"middle\" fill=\"#1d2127\">{}</text>",
        y + LINE + 2.0,
        escape(&shown.title)
    );
    for (k, text) in shown.lines.iter().enumerate() {
        let _ = writeln!(
            out,
            "<text x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#4a4f57\">{}</text>",
            y + LINE * (k + 2) as f64 + 1.0,
            escape(text)
        );
    }
}

/// A smooth line through the points of a route.
fn arrow(route: &[super::layout::Place], from: &Shown, out: &mut String) {
    let mut path = format!("M{:.1} {:.1}", route[0].x, route[0].y);
    for pair in route.windows(2) {
        let (a, b) = (pair[0], pair[1]);
        if a.x == b.x {
            let _ = write!(path, " L{:.1} {:.1}", b.x, b.y);
        } else {
            let middle = (a.y + b.y) / 2.0;
            let _ = write!(path, " C{:.1} {middle:.1} {:.1} {middle:.1} {:.1} {:.1}", a.x, b.x, b.x, b.y);
        }
    }
    let colour = if from.is_leaf { "#b3b8bf" } else { from.style().stroke };
    // Values that travel far are drawn lightly: there are many of them between the passes.
    let opacity = if route.len() > 4 { 0.45 } else { 0.8 };
    let _ = writeln!(
        out,
        "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-opacity=\"{opacity}\" stroke-width=\"1.3\" \
         marker-end=\"url(#tip)\"/>"
    );
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
