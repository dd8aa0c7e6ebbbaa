//! Plots: curves of figures over steps, and points of a plane by class.

use crate::picture::Canvas;
use anyhow::{Result, anyhow};
use epaint_default_fonts::HACK_REGULAR;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::register_font;
use std::fmt::Display;
use std::ops::Range;
use std::path::Path;

/// Points at most drawn of a curve; more would only cost time.
const POINTS: usize = 4000;
/// How much of a smoothed curve is the newest point.
const FRESH: f64 = 0.03;
const FONT: &str = "sans-serif";
/// Size of a panel of curves.
const PANEL: [usize; 2] = [900, 420];

/// Ten colours that are told apart, dark enough on white.
const COLOURS: [RGBColor; 10] = [
    RGBColor(31, 119, 180),
    RGBColor(240, 120, 10),
    RGBColor(44, 150, 44),
    RGBColor(214, 39, 40),
    RGBColor(148, 103, 189),
    RGBColor(120, 70, 58),
    RGBColor(233, 110, 190),
    RGBColor(110, 110, 110),
    RGBColor(170, 170, 20),
    RGBColor(23, 190, 207),
];

fn colour(i: usize) -> RGBColor {
    COLOURS[i % COLOURS.len()]
}

/// A figure over steps.
pub struct Curve {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

/// Curves that share axes.
pub struct Panel {
    pub title: String,
    pub curves: Vec<Curve>,
    /// Whether single points are noisy: a smoothed curve is drawn over a pale one.
    pub noisy: bool,
}

/// Draws panels one under the other, or side by side where there are more than two.
pub fn curves(path: &Path, panels: &[Panel]) -> Result<()> {
    let columns = if panels.len() > 2 { 2 } else { 1 };
    let rows = panels.len().div_ceil(columns).max(1);
    let size = [PANEL[0] * columns, PANEL[1] * rows];
    draw(path, size, |root| {
        for (area, panel) in root.split_evenly((rows, columns)).iter().zip(panels) {
            draw_panel(area, panel)?;
        }
        Ok(())
    })
}

type Area<'a> = DrawingArea<BitMapBackend<'a>, Shift>;

/// Gives `paint` a white page, and writes what it made of it.
fn draw(path: &Path, size: [usize; 2], paint: impl FnOnce(&Area) -> Result<()>) -> Result<()> {
    register_font(FONT, FontStyle::Normal, HACK_REGULAR)
        .map_err(|_| anyhow!("the font of plots is broken"))?;
    let mut pixels = vec![u8::MAX; size[0] * size[1] * 3];
    {
        let root =
            BitMapBackend::with_buffer(&mut pixels, (size[0] as u32, size[1] as u32)).into_drawing_area();
        root.fill(&WHITE).map_err(fault)?;
        paint(&root)?;
        root.present().map_err(fault)?;
    }
    Canvas::rgb(size, pixels).write_png(path)
}

fn fault(error: impl Display) -> anyhow::Error {
    anyhow!("cannot draw: {error}")
}

fn draw_panel(area: &Area, panel: &Panel) -> Result<()> {
    let all = || panel.curves.iter().flat_map(|c| &c.points);
    let x = span(all().map(|p| p.0), 0.0);
    // The first steps of a run can be far from all others: of noisy figures what is rare is cut off.
    let mut y = if panel.noisy { central(all().map(|p| p.1)) } else { span(all().map(|p| p.1), 0.08) };
    if panel.curves.len() > 1 {
        // Room for the legend.
        y.end += (0.05 + 0.07 * panel.curves.len() as f64) * (y.end - y.start);
    }
    let mut chart = ChartBuilder::on(area)
        .caption(&panel.title, (FONT, 20))
        .margin(16)
        .x_label_area_size(42)
        .y_label_area_size(74)
        .build_cartesian_2d(x, y.clone())
        .map_err(fault)?;
    chart
        .configure_mesh()
        .x_desc("step")
        .x_labels(8)
        .y_labels(7)
        .x_label_formatter(&|v| format!("{v:.0}"))
        .y_label_formatter(&|v| number(*v, y.end - y.start))
        .label_style((FONT, 16))
        .axis_desc_style((FONT, 16))
        .light_line_style(WHITE)
        .draw()
        .map_err(fault)?;
    for (i, curve) in panel.curves.iter().enumerate() {
        let points = thinned(&curve.points);
        let strong = colour(i).stroke_width(2);
        if panel.noisy && points.len() > 100 {
            let pale = colour(i).mix(0.25);
            chart.draw_series(LineSeries::new(points.iter().copied(), pale)).map_err(fault)?;
        }
        let line = if panel.noisy && points.len() > 100 { smoothed(&points) } else { points };
        chart
            .draw_series(LineSeries::new(line, strong))
            .map_err(fault)?
            .label(curve.name.as_str())
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 22, y)], strong));
    }
    if panel.curves.len() > 1 {
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .background_style(WHITE.mix(0.85))
            .border_style(BLACK.mix(0.3))
            .label_font((FONT, 16))
            .draw()
            .map_err(fault)?;
    }
    Ok(())
}

/// A plane with a point for each code.
pub struct Map<'a> {
    pub title: String,
    pub axes: [String; 2],
    pub points: &'a [[f64; 2]],
    /// The class of each point, and what the classes are called.
    pub labels: Option<&'a [u32]>,
    pub classes: &'a [String],
}

/// Draws points coloured by class.
pub fn map(path: &Path, map: &Map) -> Result<()> {
    draw(path, [1100, 1000], |root| {
        let [mut x, y] = [0, 1].map(|axis| span(map.points.iter().map(|p| p[axis]), 0.04));
        if map.labels.is_some() {
            // Room for the legend.
            x.end += 0.13 * (x.end - x.start);
        }
        let widths = [&x, &y].map(|r| r.end - r.start);
        let mut chart = ChartBuilder::on(root)
            .caption(&map.title, (FONT, 22))
            .margin(16)
            .x_label_area_size(46)
            .y_label_area_size(74)
            .build_cartesian_2d(x, y)
            .map_err(fault)?;
        chart
            .configure_mesh()
            .x_desc(map.axes[0].as_str())
            .y_desc(map.axes[1].as_str())
            .x_label_formatter(&|v| number(*v, widths[0]))
            .y_label_formatter(&|v| number(*v, widths[1]))
            .label_style((FONT, 16))
            .axis_desc_style((FONT, 18))
            .light_line_style(WHITE)
            .draw()
            .map_err(fault)?;
        let classes = if map.labels.is_some() { map.classes.len() } else { 1 };
        for class in 0..classes {
            let of_class = map.points.iter().enumerate().filter(|(i, _)| {
                map.labels.is_none_or(|labels| labels.get(*i).is_some_and(|&l| l as usize == class))
            });
            let style = colour(class).mix(0.65).filled();
            let points = of_class.map(|(_, p)| Circle::new((p[0], p[1]), 3, style));
            let series = chart.draw_series(points).map_err(fault)?;
            if map.labels.is_some() {
                let solid = colour(class).filled();
                series
                    .label(map.classes[class].as_str())
                    .legend(move |(x, y)| Circle::new((x + 10, y), 6, solid));
            }
        }
        if map.labels.is_some() {
            chart
                .configure_series_labels()
                .position(SeriesLabelPosition::UpperRight)
                .background_style(WHITE.mix(0.85))
                .border_style(BLACK.mix(0.3))
                .label_font((FONT, 18))
                .draw()
                .map_err(fault)?;
        }
        Ok(())
    })
}

/// From the least to the greatest value, with this share of room on both sides.
fn span(values: impl Iterator<Item = f64>, room: f64) -> Range<f64> {
    let (low, high) = values.fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(v), high.max(v)));
    widened(low, high, room)
}

/// Where all but two in a hundred of the values are.
fn central(values: impl Iterator<Item = f64>) -> Range<f64> {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    let at = |share: f64| sorted[((sorted.len() - 1) as f64 * share).round() as usize];
    if sorted.is_empty() { 0.0..1.0 } else { widened(at(0.01), at(0.99), 0.15) }
}

fn widened(low: f64, high: f64, room: f64) -> Range<f64> {
    match high - low {
        // Nothing, or a single value.
        d if d < 0.0 => 0.0..1.0,
        d if d <= 1e-12 * high.abs() => low - 0.5..high + 0.5,
        // What is nowhere negative has no room below 0.
        d if low >= 0.0 => (low - room * d).max(0.0)..high + room * d,
        d => low - room * d..high + room * d,
    }
}

/// With as many digits as the width of an axis asks for.
fn number(value: f64, width: f64) -> String {
    let digits = (1.0 - (width / 4.0).max(1e-9).log10().floor()).clamp(0.0, 6.0) as usize;
    format!("{value:.digits$}")
}

fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    points.iter().copied().step_by(points.len().div_ceil(POINTS).max(1)).collect()
}

/// The running average, which begins as the average of what there is so far.
fn smoothed(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let (mut sum, mut weight) = (0.0, 0.0);
    let average = |&(x, y): &(f64, f64)| {
        sum += FRESH * (y - sum);
        weight += FRESH * (1.0 - weight);
        (x, sum / weight)
    };
    points.iter().map(average).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_span_their_values() {
        assert_eq!(span([1.0, 3.0, 2.0].into_iter(), 0.5), 0.0..4.0);
        assert_eq!(span([2.0].into_iter(), 0.5), 1.5..2.5);
        assert_eq!(span([].into_iter(), 0.5), 0.0..1.0);
        let mut values = vec![1.0; 500];
        values.extend([2.0; 500]);
        values.push(1e9);
        assert_eq!(central(values.into_iter()), 0.85..2.15);
        assert_eq!((number(0.25, 1.0), number(1234.0, 800.0)), ("0.25".into(), "1234".into()));
    }

    #[test]
    fn a_smoothed_constant_is_the_constant() {
        let line = smoothed(&[(0.0, 3.0), (1.0, 3.0), (2.0, 3.0)]);
        assert!(line.iter().all(|p| (p.1 - 3.0).abs() < 1e-12), "{line:?}");
        assert_eq!(thinned(&vec![(0.0, 0.0); 9000]).len(), 3000);
    }
}
