//! The ten digits as pen strokes: the whole data set of [`super::digits`], before it is varied.
//!
//! Drawn for this crate: no font and no scanned hand stands behind them. A glyph lies in the unit box, x to the
//! right, y down, the height of a digit from 0 to 1. Each digit has a few ways of writing it, with weights.

/// Points of a resampled glyph.
pub(super) const POINTS: usize = 44;

/// One way of writing a digit.
pub(super) struct Glyph {
    /// How often this way is chosen, relative to the others of the digit.
    pub weight: f64,
    /// Strokes, each without lifting the pen.
    pub strokes: &'static [&'static [Piece]],
}

/// A piece of a stroke and the number of points taken on it.
pub(super) enum Piece {
    /// Centre, radii, first and last angle in degrees (clockwise from the right, as y points down).
    Arc([f64; 2], [f64; 2], f64, f64, usize),
    /// Control points of a cubic Bézier curve.
    Bezier([[f64; 2]; 4], usize),
    /// Corners of a polyline; the points are for each edge.
    Lines(&'static [[f64; 2]], usize),
}

/// A glyph made ready: [`POINTS`] points, and for each of the steps between them whether the pen is down.
pub(super) struct Path {
    pub points: [[f64; 2]; POINTS],
    pub pen: [bool; POINTS - 1],
}

impl Piece {
    fn append_to(&self, out: &mut Vec<[f64; 2]>) {
        let along = |i: usize, n: usize| i as f64 / (n - 1) as f64;
        match *self {
            Piece::Arc(c, r, from, to, n) => out.extend((0..n).map(|i| {
                let angle = (from + (to - from) * along(i, n)).to_radians();
                [c[0] + r[0] * angle.cos(), c[1] + r[1] * angle.sin()]
            })),
            Piece::Bezier(p, n) => out.extend((0..n).map(|i| {
                let (t, s) = (along(i, n), 1.0 - along(i, n));
                let w = [s * s * s, 3.0 * s * s * t, 3.0 * s * t * t, t * t * t];
                [0, 1].map(|d| (0..4).map(|k| w[k] * p[k][d]).sum())
            })),
            Piece::Lines(p, n) => {
                for e in p.windows(2) {
                    out.extend(
                        (0..n).map(|i| [0, 1].map(|d| e[0][d] + (e[1][d] - e[0][d]) * i as f64 / n as f64)),
                    );
                }
                out.extend(p.last());
            }
        }
    }
}

impl Glyph {
    /// Spreads [`POINTS`] points evenly by arc length over the strokes, at least 3 on each.
    pub(super) fn path(&self) -> Path {
        let strokes: Vec<Vec<[f64; 2]>> = self.strokes.iter().map(|pieces| stroke(pieces)).collect();
        let lengths: Vec<f64> = strokes.iter().map(|s| *distances(s).last().unwrap_or(&0.0)).collect();
        let counts = share(&lengths);
        let mut path = Path { points: [[0.0; 2]; POINTS], pen: [true; POINTS - 1] };
        let mut next = 0;
        for (stroke, &count) in strokes.iter().zip(&counts) {
            let d = distances(stroke);
            for i in 0..count {
                let at = d[d.len() - 1] * i as f64 / (count - 1) as f64;
                path.points[next + i] = point_at(stroke, &d, at);
            }
            next += count;
            if next < POINTS {
                path.pen[next - 1] = false;
            }
        }
        path
    }
}

fn stroke(pieces: &[Piece]) -> Vec<[f64; 2]> {
    let mut points = Vec::new();
    pieces.iter().for_each(|p| p.append_to(&mut points));
    points
}

/// Length along the polyline from its start to each of its points.
fn distances(stroke: &[[f64; 2]]) -> Vec<f64> {
    let mut total = 0.0;
    let steps = stroke.windows(2).map(|e| (e[1][0] - e[0][0]).hypot(e[1][1] - e[0][1]));
    std::iter::once(0.0)
        .chain(steps.map(|step| {
            total += step;
            total
        }))
        .collect()
}

/// Divides the points among strokes in proportion to their lengths.
fn share(lengths: &[f64]) -> Vec<usize> {
    let total: f64 = lengths.iter().sum();
    let mut counts: Vec<usize> =
        lengths.iter().map(|l| ((POINTS as f64 * l / total).round() as usize).max(3)).collect();
    while counts.iter().sum::<usize>() != POINTS {
        let excess = counts.iter().sum::<usize>() > POINTS;
        let longest = (0..counts.len()).rev().max_by_key(|&i| counts[i]).unwrap_or(0);
        if excess { counts[longest] -= 1 } else { counts[longest] += 1 }
    }
    counts
}

/// The point at distance `at` along the polyline whose points lie at the distances `d`.
fn point_at(stroke: &[[f64; 2]], d: &[f64], at: f64) -> [f64; 2] {
    let i = d.partition_point(|&x| x <= at).clamp(1, d.len() - 1);
    let (a, b) = (stroke[i - 1], stroke[i]);
    let t = if d[i] > d[i - 1] { ((at - d[i - 1]) / (d[i] - d[i - 1])).min(1.0) } else { 0.0 };
    [0, 1].map(|k| a[k] + (b[k] - a[k]) * t)
}

const fn glyph(weight: f64, strokes: &'static [&'static [Piece]]) -> Glyph {
    Glyph { weight, strokes }
}

const fn arc(centre: [f64; 2], radii: [f64; 2], from: f64, to: f64, n: usize) -> Piece {
    Piece::Arc(centre, radii, from, to, n)
}

const fn bezier(p: [[f64; 2]; 4], n: usize) -> Piece {
    Piece::Bezier(p, n)
}

const fn lines(p: &'static [[f64; 2]], n: usize) -> Piece {
    Piece::Lines(p, n)
}

/// The ways of writing 0, 1, …, 9.
#[rustfmt::skip] // a table: one way of writing a line
pub(super) static GLYPHS: [&[Glyph]; 10] = [
    // 0
    &[
        glyph(0.5, &[&[arc([0.5, 0.5], [0.42, 0.46], -50.0, 330.0, 26)]]),
        glyph(0.4, &[&[arc([0.5, 0.52], [0.3, 0.46], -130.0, 260.0, 24), bezier([[0.45, 0.07], [0.55, 0.0], [0.65, 0.02], [0.75, 0.1]], 5)]]),
        glyph(0.3, &[&[arc([0.5, 0.5], [0.46, 0.36], -90.0, 290.0, 26)]]),
        glyph(1.0, &[&[arc([0.5, 0.5], [0.36, 0.5], -80.0, 275.0, 26)]]),
        glyph(0.5, &[&[arc([0.5, 0.5], [0.28, 0.5], -100.0, 262.0, 26)]]),
        glyph(0.3, &[&[arc([0.5, 0.5], [0.45, 0.47], -60.0, 310.0, 26)]]),
    ],
    // 1
    &[
        glyph(1.0, &[&[lines(&[[0.5, 0.0], [0.5, 1.0]], 8)]]),
        glyph(0.35, &[&[lines(&[[0.32, 0.2], [0.52, 0.0], [0.5, 1.0]], 6)]]),
        glyph(0.12, &[&[lines(&[[0.3, 0.22], [0.52, 0.0], [0.52, 1.0]], 6)], &[lines(&[[0.28, 1.0], [0.75, 1.0]], 4)]]),
    ],
    // 2
    &[
        glyph(0.5, &[&[arc([0.45, 0.27], [0.33, 0.27], -170.0, 40.0, 12), bezier([[0.7, 0.45], [0.5, 0.75], [0.25, 1.02], [0.12, 0.86]], 8), bezier([[0.12, 0.86], [0.2, 0.7], [0.45, 0.95], [0.95, 0.98]], 8)]]),
        glyph(0.3, &[&[arc([0.5, 0.25], [0.3, 0.25], -150.0, 40.0, 10), bezier([[0.73, 0.4], [0.6, 0.7], [0.3, 1.0], [0.2, 0.95]], 7), bezier([[0.2, 0.95], [0.02, 0.8], [0.3, 0.7], [0.5, 0.85]], 6), bezier([[0.5, 0.85], [0.65, 0.97], [0.8, 0.98], [0.95, 0.85]], 6)]]),
        glyph(1.0, &[&[arc([0.48, 0.28], [0.34, 0.28], -165.0, 30.0, 12), bezier([[0.77, 0.42], [0.66, 0.62], [0.4, 0.8], [0.14, 0.98]], 8), lines(&[[0.14, 0.98], [0.9, 0.96]], 4)]]),
        glyph(0.8, &[&[arc([0.46, 0.3], [0.34, 0.3], -160.0, 35.0, 12), bezier([[0.74, 0.47], [0.62, 0.7], [0.42, 0.86], [0.25, 0.95]], 8), arc([0.24, 0.87], [0.14, 0.1], 90.0, 330.0, 9), bezier([[0.36, 0.82], [0.5, 0.9], [0.7, 1.02], [0.95, 0.9]], 7)]]),
        glyph(0.3, &[&[lines(&[[0.15, 0.1], [0.5, 0.02]], 4), arc([0.5, 0.27], [0.3, 0.25], -80.0, 30.0, 9), lines(&[[0.74, 0.42], [0.15, 0.97]], 4), lines(&[[0.15, 0.97], [0.85, 0.97]], 4)]]),
    ],
    // 3
    &[
        glyph(1.0, &[&[arc([0.44, 0.26], [0.32, 0.26], -150.0, 85.0, 13), arc([0.44, 0.74], [0.38, 0.26], -85.0, 150.0, 13)]]),
        glyph(0.3, &[&[lines(&[[0.15, 0.04], [0.8, 0.04], [0.42, 0.4]], 4), arc([0.44, 0.7], [0.37, 0.3], -90.0, 145.0, 13)]]),
        glyph(0.4, &[&[arc([0.42, 0.24], [0.3, 0.22], -160.0, 70.0, 12), lines(&[[0.4, 0.48]], 1), arc([0.42, 0.75], [0.42, 0.25], -70.0, 165.0, 13)]]),
    ],
    // 4
    &[
        glyph(1.0, &[&[bezier([[0.22, 0.0], [0.16, 0.3], [0.1, 0.5], [0.14, 0.55]], 6), lines(&[[0.14, 0.55], [0.82, 0.5]], 4)], &[bezier([[0.78, 0.0], [0.74, 0.3], [0.7, 0.6], [0.68, 1.0]], 8)]]),
        glyph(0.6, &[&[lines(&[[0.62, 0.0], [0.08, 0.62], [0.92, 0.6]], 6)], &[lines(&[[0.64, 0.0], [0.62, 1.0]], 7)]]),
        glyph(0.5, &[&[bezier([[0.2, 0.02], [0.12, 0.35], [0.2, 0.6], [0.5, 0.52]], 8), lines(&[[0.5, 0.52], [0.78, 0.4]], 4)], &[lines(&[[0.82, 0.03], [0.72, 1.0]], 7)]]),
    ],
    // 5
    &[
        glyph(1.0, &[&[lines(&[[0.85, 0.02], [0.3, 0.04], [0.24, 0.42]], 5), arc([0.44, 0.68], [0.36, 0.31], -125.0, 145.0, 15)]]),
        glyph(0.6, &[&[lines(&[[0.3, 0.08], [0.24, 0.46]], 4), arc([0.44, 0.7], [0.34, 0.29], -125.0, 150.0, 14)], &[lines(&[[0.28, 0.06], [0.92, 0.0]], 4)]]),
        glyph(0.3, &[&[lines(&[[0.78, 0.0], [0.4, 0.04], [0.3, 0.4]], 5), bezier([[0.3, 0.4], [0.75, 0.45], [0.85, 0.95], [0.35, 0.97]], 12), lines(&[[0.35, 0.97], [0.1, 0.92]], 4)]]),
    ],
    // 6
    &[
        glyph(0.4, &[&[bezier([[0.45, 0.0], [0.2, 0.35], [0.12, 0.7], [0.3, 0.92]], 10), arc([0.45, 0.78], [0.27, 0.2], 125.0, -190.0, 15)]]),
        glyph(0.3, &[&[bezier([[0.75, 0.08], [0.45, 0.0], [0.1, 0.5], [0.22, 0.8]], 10), arc([0.5, 0.72], [0.3, 0.27], 160.0, -150.0, 15)]]),
        glyph(1.0, &[&[bezier([[0.68, 0.0], [0.4, 0.14], [0.16, 0.45], [0.16, 0.7]], 9), arc([0.46, 0.71], [0.3, 0.28], 180.0, -175.0, 20)]]),
        glyph(0.6, &[&[bezier([[0.58, 0.0], [0.3, 0.25], [0.15, 0.55], [0.2, 0.78]], 9), arc([0.47, 0.75], [0.28, 0.23], 160.0, -170.0, 18)]]),
        glyph(0.3, &[&[bezier([[0.85, 0.03], [0.5, 0.03], [0.12, 0.4], [0.14, 0.72]], 9), arc([0.46, 0.73], [0.32, 0.27], 175.0, -165.0, 18)]]),
    ],
    // 7
    &[
        glyph(0.3, &[&[bezier([[0.05, 0.2], [0.2, 0.02], [0.5, 0.15], [0.9, 0.05]], 8), lines(&[[0.9, 0.05], [0.3, 1.0]], 8)]]),
        glyph(0.25, &[&[lines(&[[0.12, 0.08], [0.8, 0.03]], 5), bezier([[0.8, 0.03], [0.75, 0.4], [0.6, 0.5], [0.55, 1.0]], 9)], &[lines(&[[0.3, 0.5], [0.8, 0.45]], 4)]]),
        glyph(1.0, &[&[lines(&[[0.1, 0.06], [0.85, 0.04]], 5), bezier([[0.85, 0.04], [0.7, 0.35], [0.5, 0.65], [0.42, 1.0]], 9)]]),
        glyph(0.3, &[&[lines(&[[0.1, 0.06], [0.86, 0.04]], 5), lines(&[[0.86, 0.04], [0.4, 1.0]], 7)], &[lines(&[[0.35, 0.52], [0.82, 0.5]], 4)]]),
        glyph(0.5, &[&[bezier([[0.08, 0.18], [0.1, 0.0], [0.3, 0.1], [0.82, 0.05]], 8), bezier([[0.82, 0.05], [0.82, 0.3], [0.6, 0.6], [0.52, 1.0]], 9)]]),
    ],
    // 8
    &[
        glyph(0.5, &[&[bezier([[0.62, 0.05], [0.3, -0.05], [0.2, 0.25], [0.4, 0.42]], 8), bezier([[0.4, 0.42], [0.75, 0.65], [0.75, 1.0], [0.45, 0.99]], 9), bezier([[0.45, 0.99], [0.15, 0.97], [0.3, 0.6], [0.5, 0.45]], 8), bezier([[0.5, 0.45], [0.75, 0.25], [0.8, 0.1], [0.62, 0.05]], 7)]]),
        glyph(0.4, &[&[bezier([[0.8, 0.08], [0.6, -0.05], [0.2, 0.0], [0.3, 0.25]], 8), bezier([[0.3, 0.25], [0.4, 0.5], [0.75, 0.6], [0.62, 0.85]], 8), bezier([[0.62, 0.85], [0.5, 1.05], [0.15, 1.0], [0.25, 0.78]], 8), bezier([[0.25, 0.78], [0.35, 0.55], [0.7, 0.4], [0.85, 0.12]], 8)]]),
        glyph(1.0, &[&[bezier([[0.75, 0.12], [0.5, -0.1], [0.1, 0.08], [0.24, 0.3]], 9), bezier([[0.24, 0.3], [0.4, 0.5], [0.8, 0.55], [0.78, 0.8]], 9), bezier([[0.78, 0.8], [0.7, 1.08], [0.2, 1.04], [0.2, 0.8]], 9), bezier([[0.2, 0.8], [0.25, 0.55], [0.72, 0.4], [0.76, 0.14]], 9)]]),
        glyph(0.8, &[&[arc([0.5, 0.25], [0.28, 0.25], -60.0, 300.0, 20)], &[arc([0.5, 0.74], [0.34, 0.26], -100.0, 260.0, 20)]]),
        glyph(0.5, &[&[arc([0.5, 0.23], [0.22, 0.23], 30.0, 390.0, 18)], &[arc([0.48, 0.73], [0.3, 0.27], -90.0, 270.0, 18)]]),
    ],
    // 9
    &[
        glyph(1.0, &[&[arc([0.46, 0.28], [0.32, 0.28], -20.0, -375.0, 20), bezier([[0.78, 0.24], [0.78, 0.5], [0.72, 0.8], [0.66, 1.0]], 8)]]),
        glyph(0.6, &[&[arc([0.44, 0.27], [0.3, 0.25], -30.0, -350.0, 18), lines(&[[0.74, 0.2], [0.7, 1.0]], 7)]]),
        glyph(0.4, &[&[arc([0.46, 0.28], [0.3, 0.28], -10.0, -370.0, 18), bezier([[0.76, 0.26], [0.8, 0.7], [0.7, 1.0], [0.25, 0.98]], 10)]]),
    ],
];
