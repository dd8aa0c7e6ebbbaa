//! Plain arrays, on which the expected values are computed by plain loops.

/// Row-major numbers and their extents. Integers and bools are held as f64 too.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// The extents.
    pub shape: Vec<usize>,
    /// The elements, row-major.
    pub data: Vec<f64>,
}

/// The extents of the broadcast of several shapes, by NumPy's rule, which they must obey.
fn broadcast(shapes: &[&[usize]]) -> Vec<usize> {
    let rank = shapes.iter().map(|s| s.len()).max().unwrap_or(0);
    let extent = |i: usize| {
        let aligned = shapes.iter().filter_map(|s| (i + s.len()).checked_sub(rank).map(|k| s[k]));
        aligned.fold(1, |all, d| if d == 1 { all } else { d })
    };
    (0..rank).map(extent).collect()
}

impl Array {
    /// The array whose element at each index is `f(index)`.
    pub fn from_fn(shape: &[usize], mut f: impl FnMut(&[usize]) -> f64) -> Array {
        let mut index = vec![0; shape.len()];
        let mut data = Vec::new();
        for _ in 0..shape.iter().product() {
            data.push(f(&index));
            for (i, &d) in index.iter_mut().zip(shape).rev() {
                *i += 1;
                if *i < d {
                    break;
                }
                *i = 0;
            }
        }
        Array { shape: shape.to_vec(), data }
    }

    /// The element at `index`. An index with more axes than the array is aligned at the right, and counts as 0 along
    /// axes of extent 1: the array as broadcasting sees it.
    pub fn at(&self, index: &[usize]) -> f64 {
        let lead = index.len() - self.shape.len();
        let place = |at: usize, (&i, &d): (&usize, &usize)| at * d + if d == 1 { 0 } else { i };
        self.data[index[lead..].iter().zip(&self.shape).fold(0, place)]
    }

    /// The array with `f` of each element.
    pub fn map(&self, f: impl Fn(f64) -> f64) -> Array {
        Array { shape: self.shape.clone(), data: self.data.iter().map(|&x| f(x)).collect() }
    }

    /// The array with `f` of each pair, broadcast.
    pub fn zip(&self, other: &Array, f: impl Fn(f64, f64) -> f64) -> Array {
        let shape = broadcast(&[&self.shape, &other.shape]);
        Array::from_fn(&shape, |i| f(self.at(i), other.at(i)))
    }

    /// The array with `f` of each triple, broadcast.
    pub fn zip3(&self, b: &Array, c: &Array, f: impl Fn(f64, f64, f64) -> f64) -> Array {
        let shape = broadcast(&[&self.shape, &b.shape, &c.shape]);
        Array::from_fn(&shape, |i| f(self.at(i), b.at(i), c.at(i)))
    }

    /// For each place along the other axes, `f` of the elements along `axes` in row-major order; those axes go away.
    pub fn reduce(&self, axes: &[usize], f: impl Fn(&[f64]) -> f64) -> Array {
        let kept: Vec<usize> = (0..self.shape.len()).filter(|i| !axes.contains(i)).collect();
        let pick = |axes: &[usize]| axes.iter().map(|&i| self.shape[i]).collect::<Vec<_>>();
        let mut sorted = axes.to_vec();
        sorted.sort_unstable();
        Array::from_fn(&pick(&kept), |outer| {
            let line = Array::from_fn(&pick(&sorted), |inner| {
                let mut index = vec![0; self.shape.len()];
                kept.iter().zip(outer).for_each(|(&k, &i)| index[k] = i);
                sorted.iter().zip(inner).for_each(|(&k, &i)| index[k] = i);
                self.at(&index)
            });
            f(&line.data)
        })
    }

    /// For each line along `axis`, `f` of it: as many numbers, in the same places.
    pub fn along(&self, axis: usize, f: impl Fn(&[f64]) -> Vec<f64>) -> Array {
        Array::from_fn(&self.shape, |index| {
            let mut at = index.to_vec();
            let line: Vec<f64> = (0..self.shape[axis])
                .map(|i| {
                    at[axis] = i;
                    self.at(&at)
                })
                .collect();
            f(&line)[index[axis]]
        })
    }

    /// The same elements under another shape.
    pub fn reshape(&self, shape: &[usize]) -> Array {
        assert_eq!(shape.iter().product::<usize>(), self.data.len(), "{:?} as {shape:?}", self.shape);
        Array { shape: shape.to_vec(), data: self.data.clone() }
    }
}
