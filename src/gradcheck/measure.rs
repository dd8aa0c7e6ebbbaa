//! Measuring derivatives: differences on one side, reverse sweeps on the other.

use super::GradcheckOptions;
use super::report::{Entry, GradcheckError, Report, Row};
use crate::error::{Error, Result};
use crate::exec::eval_roots;
use crate::grad::vjp;
use crate::rng::Rng;
use crate::shape::Shape;
use crate::tensor::Tensor;
use gradus_kernels::DType;
use rand::Rng as _;

/// How many entries of a wrong product are looked at one by one.
const SEARCHED: usize = 2048;

/// The derivative by the values at -2h, -h, h and 2h, and whether the narrow and the wide difference disagree.
pub(super) fn difference([a, b, c, d]: [f64; 4], h: f64) -> (f64, bool) {
    let (narrow, wide) = ((c - b) / (2.0 * h), (d - a) / (4.0 * h));
    let best = (4.0 * narrow - wide) / 3.0;
    // For a smooth function they differ by h² f'''/2: a thousandth is a third derivative of 2000.
    (best, (narrow - wide).abs() > 1e-3 * best.abs().max(1.0))
}

/// Copies without a history, so that what is differentiated is the function and nothing before it.
pub(super) fn leaves(inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    inputs.iter().map(|x| Tensor::try_from_vec(x.to_vec::<f64>()?, x.shape())).collect()
}

/// Random signs of a shape.
pub(super) fn signs(rng: &mut Rng, shape: &Shape) -> Result<Tensor> {
    let data = (0..shape.numel()).map(|_| if rng.next_u64() >> 63 == 1 { 1.0 } else { -1.0 }).collect();
    Tensor::try_from_vec::<f64>(data, shape)
}

/// The index of element number `i`.
fn unravel(mut i: usize, shape: &Shape) -> Vec<usize> {
    let mut index = vec![0; shape.rank()];
    for (slot, &d) in index.iter_mut().zip(shape.dims()).rev() {
        *slot = i % d;
        i /= d;
    }
    index
}

/// One check under way.
pub(super) struct Check<F> {
    title: &'static str,
    f: F,
    inputs: Vec<Tensor>,
    values: Vec<Vec<f64>>,
    output: Shape,
    rows: Vec<Row>,
    options: GradcheckOptions,
}

impl<F: Fn(&[Tensor]) -> Tensor> Check<F> {
    pub fn new(
        title: &'static str,
        f: F,
        inputs: &[Tensor],
        names: Vec<String>,
        options: GradcheckOptions,
    ) -> Result<Check<F>> {
        let inputs = leaves(inputs)?;
        let values = inputs.iter().map(Tensor::to_vec::<f64>).collect::<Result<_>>()?;
        let y = f(&inputs);
        if y.dtype() != DType::F64 {
            return Err(Error::Data(format!(
                "{title}: the function returns {}, differences need f64",
                y.dtype()
            )));
        }
        let rows = names.into_iter().zip(&inputs).map(|(name, x)| Row::new(name, *x.shape())).collect();
        Ok(Check { title, output: *y.shape(), f, inputs, values, rows, options })
    }

    pub fn run(mut self) -> std::result::Result<Report, GradcheckError> {
        let outputs = self.output.numel();
        let total: usize = self.inputs.iter().map(|x| x.numel().saturating_mul(outputs)).sum();
        let method = if total <= self.options.entries {
            self.jacobian()?;
            String::from("full Jacobian")
        } else {
            self.directions()?;
            format!("{} random directions for each input", self.options.directions)
        };
        let (output, tolerance) = (self.output, self.options.tolerance);
        Report { title: self.title, output, method, tolerance, rows: self.rows }.judged()
    }

    /// The products of the cotangent `u` with the Jacobian of each input.
    fn products(&self, y: &Tensor, u: &Tensor) -> Result<Vec<Vec<f64>>> {
        let wanted: Vec<&Tensor> = self.inputs.iter().collect();
        let parts: Vec<Tensor> = vjp(y, &wanted, u)
            .into_iter()
            .zip(&wanted)
            .map(|(p, x)| p.unwrap_or_else(|| x.zeros_like()))
            .collect();
        eval_roots(&parts)?;
        parts.iter().map(Tensor::to_vec::<f64>).collect()
    }

    /// The values of the function with input `i` moved by `t` times `along`.
    fn moved(&self, i: usize, along: &dyn Fn(usize) -> f64, t: f64) -> Result<Vec<f64>> {
        let data = self.values[i].iter().enumerate().map(|(k, &x)| x + t * along(k)).collect();
        let mut inputs = self.inputs.clone();
        inputs[i] = Tensor::try_from_vec::<f64>(data, self.inputs[i].shape())?;
        (self.f)(&inputs).to_vec()
    }

    /// The derivative of every element of the result along a direction of input `i`.
    fn differences(&self, i: usize, along: &dyn Fn(usize) -> f64, h: f64) -> Result<Vec<(f64, bool)>> {
        let at = |t: f64| self.moved(i, along, t);
        let (a, b, c, d) = (at(-2.0 * h)?, at(-h)?, at(h)?, at(2.0 * h)?);
        Ok((0..a.len()).map(|k| difference([a[k], b[k], c[k], d[k]], h)).collect())
    }

    /// The step for elements as large as `x`: a power of two, so that it is added without rounding where it can be.
    fn step(&self, x: f64) -> f64 {
        let h = self.options.step * x.abs().max(1.0);
        h.log2().round().exp2()
    }

    fn jacobian(&mut self) -> Result<()> {
        let y = (self.f)(&self.inputs);
        let outputs = self.output.numel();
        let mut gradients = Vec::with_capacity(outputs);
        // A result without elements still has a gradient, of zeros, which must come about.
        for k in 0..outputs.max(1) {
            let unit = (0..outputs).map(|i| f64::from(i == k)).collect();
            gradients.push(self.products(&y, &Tensor::try_from_vec::<f64>(unit, self.output)?)?);
        }
        for i in 0..self.inputs.len() {
            let shape = *self.inputs[i].shape();
            for e in 0..shape.numel() {
                let h = self.step(self.values[i][e]);
                let columns = self.differences(i, &|k| f64::from(k == e), h)?;
                for (k, (numeric, rough)) in columns.into_iter().enumerate() {
                    let (element, output) = (Some(unravel(e, &shape)), Some(unravel(k, &self.output)));
                    let analytic = gradients[k][i][e];
                    self.rows[i].compare(Entry { element, output, analytic, numeric, rough });
                }
            }
        }
        Ok(())
    }

    fn directions(&mut self) -> Result<()> {
        let mut rng = Rng::seed(self.options.seed).split("directions");
        let y = (self.f)(&self.inputs);
        for _ in 0..self.options.directions {
            let u = signs(&mut rng, &self.output)?;
            let (products, weights) = (self.products(&y, &u)?, u.to_vec::<f64>()?);
            for i in 0..self.inputs.len() {
                let mut v = signs(&mut rng, self.inputs[i].shape())?.to_vec::<f64>()?;
                v.iter_mut().zip(&self.values[i]).for_each(|(v, x)| *v *= x.abs().max(1.0));
                let analytic = products[i].iter().zip(&v).map(|(g, v)| g * v).sum();
                let entry = self.weighted(i, &|k| v[k], &weights, analytic, self.step(1.0), None)?;
                let wrong = entry.relative() > self.options.tolerance;
                self.rows[i].compare(entry);
                if wrong {
                    self.search(i, &weights, &products[i])?;
                }
            }
        }
        Ok(())
    }

    /// The comparison of one derivative of the weighted sum of the result.
    fn weighted(
        &self,
        i: usize,
        along: &dyn Fn(usize) -> f64,
        weights: &[f64],
        analytic: f64,
        h: f64,
        element: Option<Vec<usize>>,
    ) -> Result<Entry> {
        let all = self.differences(i, along, h)?;
        let numeric = all.iter().zip(weights).map(|((d, _), w)| d * w).sum();
        Ok(Entry { element, output: None, analytic, numeric, rough: all.iter().any(|(_, rough)| *rough) })
    }

    /// Looks for the element whose derivative is most wrong.
    fn search(&mut self, i: usize, weights: &[f64], gradient: &[f64]) -> Result<()> {
        let shape = *self.inputs[i].shape();
        for e in 0..shape.numel().min(SEARCHED) {
            let (h, unit) = (self.step(self.values[i][e]), |k| f64::from(k == e));
            let entry = self.weighted(i, &unit, weights, gradient[e], h, Some(unravel(e, &shape)))?;
            if entry.relative() > self.options.tolerance {
                // An element says more than a direction, whichever is further off.
                let known = self.rows[i].worst.as_ref().is_some_and(|w| w.element.is_some());
                if !known {
                    self.rows[i].worst = None;
                }
                self.rows[i].compare(entry);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_exact_for_quartics_and_good_to_ten_digits_for_exp() {
        let at =
            |f: fn(f64) -> f64, x: f64, h: f64| difference([-2.0, -1.0, 1.0, 2.0].map(|k| f(x + k * h)), h);
        let (slope, rough) = at(|x| x.powi(4), 1.5, 0.25);
        assert!(
            (slope - 4.0 * 1.5f64.powi(3)).abs() < 1e-13 && !at(f64::exp, 0.0, 1e-3).1,
            "{slope} {rough}"
        );
        assert!((at(f64::exp, 1.0, 1e-3).0 - 1f64.exp()).abs() < 1e-10);
    }

    #[test]
    fn a_kink_is_rough() {
        assert!(difference([-2.0, -1.0, 1.0, 2.0].map(|k| (k * 1e-3 + 5e-4f64).abs()), 1e-3).1);
    }

    #[test]
    fn indices_unravel() {
        let shape = Shape::new(&[2, 3, 4]).unwrap();
        assert_eq!(unravel(23, &shape), [1, 2, 3]);
        assert_eq!(unravel(5, &shape), [0, 1, 1]);
    }
}
