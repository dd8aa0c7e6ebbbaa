//! Places for boxes in layers, after Sugiyama, Tagawa & Toda 1981: every box below what it uses, few crossings, short
//! arrows. Arrows that pass layers get a bend in each.

use std::collections::HashMap;

/// Where a box is: the middle of its upper edge.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Place {
    pub x: f64,
    pub y: f64,
}

/// Where everything is.
pub(super) struct Layout {
    pub boxes: Vec<Place>,
    /// For each arrow the points it goes through: the lower edge of one box, two for each layer in between (entering and
    /// leaving it), the upper edge of the other.
    pub routes: Vec<Vec<Place>>,
    pub width: f64,
    pub height: f64,
}

/// Space between neighbours, and between layers.
const GAP: f64 = 18.0;
const BETWEEN_LAYERS: f64 = 38.0;
/// Space that a passing arrow takes.
const LANE: f64 = 10.0;
/// Sweeps over the layers to find orders, and to find places.
const ORDER_SWEEPS: usize = 24;
const PLACE_SWEEPS: usize = 24;

/// Lays out boxes of the given widths and heights.
pub(super) fn layout(sizes: &[(f64, f64)], edges: &[(usize, usize)]) -> Layout {
    let mut graph = Layered::new(sizes, edges);
    graph.reduce_crossings();
    let x = graph.places();
    graph.finish(sizes, &x)
}

/// Boxes and bends, by layer.
struct Layered {
    /// Of boxes first, then of bends.
    layer: Vec<usize>,
    width: Vec<f64>,
    order: Vec<Vec<usize>>,
    above: Vec<Vec<usize>>,
    below: Vec<Vec<usize>>,
    /// The chain of each edge: box, bends, box.
    chains: Vec<Vec<usize>>,
    boxes: usize,
}

/// The layer of each box: below all it uses; what uses nothing just above its first user.
fn layers(n: usize, edges: &[(usize, usize)]) -> Vec<usize> {
    let mut above = vec![Vec::new(); n];
    let mut below = vec![Vec::new(); n];
    let mut waits = vec![0usize; n];
    for &(from, to) in edges {
        above[to].push(from);
        below[from].push(to);
        waits[to] += 1;
    }
    let mut layer = vec![0usize; n];
    let mut ready: Vec<usize> = (0..n).filter(|&i| waits[i] == 0).collect();
    while let Some(i) = ready.pop() {
        for &next in &below[i] {
            layer[next] = layer[next].max(layer[i] + 1);
            waits[next] -= 1;
            if waits[next] == 0 {
                ready.push(next);
            }
        }
    }
    for i in (0..n).filter(|&i| above[i].is_empty()) {
        if let Some(first) = below[i].iter().map(|&b| layer[b]).min() {
            layer[i] = first.saturating_sub(1);
        }
    }
    layer
}

impl Layered {
    fn new(sizes: &[(f64, f64)], edges: &[(usize, usize)]) -> Layered {
        let n = sizes.len();
        let mut graph = Layered {
            layer: layers(n, edges),
            width: sizes.iter().map(|s| s.0).collect(),
            order: Vec::new(),
            above: vec![Vec::new(); n],
            below: vec![Vec::new(); n],
            chains: Vec::new(),
            boxes: n,
        };
        // Arrows from one box share their bends as long as they run together.
        let mut bends: HashMap<(usize, usize), usize> = HashMap::new();
        for &(from, to) in edges {
            let mut chain = vec![from];
            for layer in graph.layer[from] + 1..graph.layer[to] {
                let last = chain[chain.len() - 1];
                let bend = *bends.entry((from, layer)).or_insert_with(|| {
                    graph.layer.push(layer);
                    graph.width.push(LANE);
                    graph.above.push(Vec::new());
                    graph.below.push(Vec::new());
                    graph.layer.len() - 1
                });
                graph.link(last, bend);
                chain.push(bend);
            }
            graph.link(chain[chain.len() - 1], to);
            chain.push(to);
            graph.chains.push(chain);
        }
        let depth = graph.layer.iter().max().map_or(0, |l| l + 1);
        graph.order = vec![Vec::new(); depth];
        for i in 0..graph.layer.len() {
            graph.order[graph.layer[i]].push(i);
        }
        graph
    }

    fn link(&mut self, from: usize, to: usize) {
        if !self.below[from].contains(&to) {
            self.below[from].push(to);
            self.above[to].push(from);
        }
    }

    /// Orders each layer by where its neighbours are, down and up, and keeps the order with the fewest crossings.
    fn reduce_crossings(&mut self) {
        let mut best = (self.crossings(), self.order.clone());
        for sweep in 0..ORDER_SWEEPS {
            let down = sweep % 2 == 0;
            let layers: Vec<usize> =
                if down { (0..self.order.len()).collect() } else { (0..self.order.len()).rev().collect() };
            for l in layers {
                let position = self.positions();
                let links = if down { &self.above } else { &self.below };
                let mut keyed: Vec<(f64, usize)> = self.order[l]
                    .iter()
                    .map(|&i| {
                        let near = &links[i];
                        let sum: f64 = near.iter().map(|&j| position[j]).sum();
                        (if near.is_empty() { position[i] } else { sum / near.len() as f64 }, i)
                    })
                    .collect();
                keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
                self.order[l] = keyed.into_iter().map(|(_, i)| i).collect();
            }
            let crossings = self.crossings();
            if crossings < best.0 {
                best = (crossings, self.order.clone());
            }
        }
        self.order = best.1;
    }

    /// The place of each box and bend in its layer, from 0 to 1.
    fn positions(&self) -> Vec<f64> {
        let mut position = vec![0.0; self.layer.len()];
        for order in &self.order {
            for (k, &i) in order.iter().enumerate() {
                position[i] = (k as f64 + 0.5) / order.len() as f64;
            }
        }
        position
    }

    fn crossings(&self) -> usize {
        let position = self.positions();
        let mut count = 0;
        for order in &self.order {
            let links: Vec<(f64, f64)> = order
                .iter()
                .flat_map(|&i| self.below[i].iter().map(move |&j| (i, j)))
                .map(|(i, j)| (position[i], position[j]))
                .collect();
            for (k, a) in links.iter().enumerate() {
                count += links[..k].iter().filter(|b| (a.0 - b.0) * (a.1 - b.1) < 0.0).count();
            }
        }
        count
    }

    /// How far apart the middles of two neighbours must be.
    fn distance(&self, a: usize, b: usize) -> f64 {
        (self.width[a] + self.width[b]) / 2.0 + GAP
    }

    /// The x of every middle: each layer in turn as near to its neighbours' mean as its order allows.
    fn places(&self) -> Vec<f64> {
        let mut x = vec![0.0; self.layer.len()];
        for order in &self.order {
            for pair in order.windows(2) {
                x[pair[1]] = x[pair[0]] + self.distance(pair[0], pair[1]);
            }
            let middle = order.last().map_or(0.0, |&i| x[i]) / 2.0;
            order.iter().for_each(|&i| x[i] -= middle);
        }
        for sweep in 0..PLACE_SWEEPS {
            let down = sweep % 2 == 0;
            let depth = self.order.len();
            for k in 0..depth {
                let order = &self.order[if down { k } else { depth - 1 - k }];
                self.settle(order, &mut x, sweep + 4 >= PLACE_SWEEPS, down);
            }
        }
        x
    }

    /// The least change of a layer's wishes that keeps order and distances (pool adjacent violators).
    fn settle(&self, order: &[usize], x: &mut [f64], both: bool, down: bool) {
        let mut offset = 0.0;
        // Blocks that move together: sum of weighted wishes, weight, number of members.
        let mut blocks: Vec<(f64, f64, usize)> = Vec::new();
        let mut offsets = Vec::with_capacity(order.len());
        for (k, &i) in order.iter().enumerate() {
            if k > 0 {
                offset += self.distance(order[k - 1], i);
            }
            offsets.push(offset);
            let near: Vec<usize> = match (both, down) {
                (true, _) => self.above[i].iter().chain(&self.below[i]).copied().collect(),
                (false, true) => self.above[i].clone(),
                (false, false) => self.below[i].clone(),
            };
            let wish = match near.is_empty() {
                true => x[i],
                false => near.iter().map(|&j| x[j]).sum::<f64>() / near.len() as f64,
            };
            // Bends weigh more: long arrows run straight. What has no wish follows.
            let weight = if near.is_empty() {
                0.05
            } else if i >= self.boxes {
                3.0
            } else {
                1.0
            };
            blocks.push((weight * (wish - offset), weight, 1));
            while let [.., a, b] = blocks[..]
                && a.0 / a.1 > b.0 / b.1
            {
                blocks.truncate(blocks.len() - 2);
                blocks.push((a.0 + b.0, a.1 + b.1, a.2 + b.2));
            }
        }
        let mut k = 0;
        for (sum, weight, members) in blocks {
            for _ in 0..members {
                x[order[k]] = sum / weight + offsets[k];
                k += 1;
            }
        }
    }

    fn finish(&self, sizes: &[(f64, f64)], x: &[f64]) -> Layout {
        let left = (0..x.len()).map(|i| x[i] - self.width[i] / 2.0).fold(f64::INFINITY, f64::min);
        let right = (0..x.len()).map(|i| x[i] + self.width[i] / 2.0).fold(f64::NEG_INFINITY, f64::max);
        let (mut top, mut tops, mut heights) = (0.0, Vec::new(), Vec::new());
        for order in &self.order {
            let tallest = order.iter().filter(|&&i| i < self.boxes).map(|&i| sizes[i].1).fold(0.0, f64::max);
            tops.push(top);
            heights.push(tallest);
            // Layers that many arrows leave have more room below them.
            let arrows: usize = order.iter().map(|&i| self.below[i].len()).sum();
            top += tallest + BETWEEN_LAYERS + (arrows as f64 * 1.5).min(60.0);
        }
        let boxes: Vec<Place> = (0..self.boxes)
            .map(|i| {
                let l = self.layer[i];
                Place { x: x[i] - left, y: tops[l] + (heights[l] - sizes[i].1) / 2.0 }
            })
            .collect();
        let route = |chain: &Vec<usize>| {
            let (from, to) = (chain[0], chain[chain.len() - 1]);
            let mut points = vec![Place { x: boxes[from].x, y: boxes[from].y + sizes[from].1 }];
            for &bend in &chain[1..chain.len() - 1] {
                let (l, x) = (self.layer[bend], x[bend] - left);
                points.push(Place { x, y: tops[l] });
                points.push(Place { x, y: tops[l] + heights[l] });
            }
            points.push(boxes[to]);
            points
        };
        let bottom = (0..self.boxes).map(|i| boxes[i].y + sizes[i].1).fold(0.0, f64::max);
        let width = if self.boxes == 0 { 0.0 } else { right - left };
        Layout { routes: self.chains.iter().map(route).collect(), boxes, width, height: bottom }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_lie_below_what_they_use_and_do_not_overlap() {
        // A diamond with a long arrow beside it, and a chain.
        let sizes = vec![(60.0, 20.0); 6];
        let edges = [(0, 1), (0, 2), (1, 3), (2, 3), (0, 3), (3, 4), (5, 4)];
        let places = layout(&sizes, &edges);
        for &(from, to) in &edges {
            assert!(places.boxes[from].y + 20.0 < places.boxes[to].y);
        }
        for i in 0..6 {
            assert!(places.boxes[i].x >= 30.0 - 1e-9 && places.boxes[i].x <= places.width - 30.0 + 1e-9);
            for j in 0..i {
                let (a, b) = (places.boxes[i], places.boxes[j]);
                assert!(a.y != b.y || (a.x - b.x).abs() >= 60.0, "{i} and {j} overlap");
            }
        }
        assert_eq!(places.routes[4].len(), 4, "the long arrow passes one layer");
    }

    #[test]
    fn an_obvious_crossing_is_removed() {
        let places = layout(&[(10.0, 10.0); 4], &[(0, 3), (1, 2)]);
        let b = &places.boxes;
        assert_eq!(b[0].x < b[1].x, b[3].x < b[2].x);
        assert_eq!(layout(&[], &[]).boxes, []);
    }
}
