//! `gradus eval`.

use crate::checkpoints::{self, Loaded};
use crate::features::Features;
use crate::models::{Model, reconstruct};
use crate::output::say;
use crate::report::Report;
use crate::sets::{self, Sets};
use anyhow::{Context, Result, bail};
use gradus::data::{Images, LoaderState};
use gradus::metrics::{LinearProbe, SampleReport, parzen, parzen_widths, psnr, ssim};
use gradus::{Rng, Tensor};
use std::path::PathBuf;

pub const HELP: &str = "\
What is measured depends on the model:
  gan, dcgan, vae  samples against test pictures on the features of a
                   classifier: Fréchet (fid) and kernel (kid) distance,
                   precision, recall, density, coverage, classes;
                   the Parzen window, which misleads
  ae, vae          squared error, PSNR and SSIM of reconstructions;
                   a linear probe of the codes
  vae              the evidence lower bound, its terms, active units;
                   with --importance-samples a closer bound
  dcgan            a linear probe of what the discriminator found
  classifier       accuracy, cross-entropy, the table of confusions

The features are those of --features: a checkpoint of `gradus train classifier`, or the file of a feature net. \
Without it a classifier is trained on the model's own data, once, and kept beside the checkpoint. It depends on the \
data alone, so models of the same data can be compared, but not with figures measured on other features.

Examples:
  gradus eval runs/gan
  gradus eval runs/dcgan --features runs/classifier --json
  gradus eval runs/vae --importance-samples 500 --count 1000";

/// Pictures whose labels a probe learns from.
const PROBE_LABELS: usize = 1000;
/// Pictures that choose the width of a Parzen window.
const PARZEN_VALID: usize = 1000;
/// The shortest side that SSIM is defined for.
const SSIM_SIDE: usize = 11;
/// Fewer samples or pictures have no five neighbours.
const LEAST_SAMPLES: usize = 6;

#[derive(clap::Args)]
pub struct Eval {
    /// A checkpoint, or the folder of a run
    checkpoint: PathBuf,
    /// Whose test pictures [default: those of the run]
    #[arg(long, value_name = "DATA")]
    data: Option<String>,
    /// At most how many test pictures, and how many samples
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(10..=1_000_000))]
    count: u32,
    /// Classifier, or file of a feature net, on whose features samples are compared
    #[arg(long, value_name = "FILE")]
    features: Option<PathBuf>,
    /// Codes drawn for each picture for the importance-weighted bound (Burda et al. 2016); papers take 5000
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    importance_samples: Option<u32>,
    /// Which samples
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// The figures as JSON
    #[arg(long)]
    json: bool,
}

/// Measures a model by all that suits it.
pub fn run(args: &Eval) -> Result<()> {
    let saved = checkpoints::open(&args.checkpoint)?;
    let mut model = saved.model()?;
    if args.importance_samples.is_some() && model.vae().is_none() {
        let name = &saved.config.model;
        bail!("{}: is of the model {name}; --importance-samples is for vae", saved.path.display());
    }
    let generative = model.decoder().is_some_and(|d| d.is_generative());
    if args.features.is_some() && !generative {
        let name = &saved.config.model;
        bail!(
            "{}: is of the model {name}, whose samples are not compared; leave out --features",
            saved.path.display()
        );
    }
    let sets = Sets::of(&saved, args.data.as_deref())?;
    let test = sets::spread(sets.test.as_ref(), args.count as usize)?;
    let mut report = Report::new(&saved, &sets.name, test.count);
    let subject = Subject { args, saved: &saved, sets: &sets, test: &test, x: sets::tensor(&test)? };
    if model.classifier().is_some() {
        subject.classification(model.as_ref(), &mut report)?;
    }
    if model.vae().is_some() {
        subject.bound(model.as_ref(), &mut report)?;
    }
    if model.encoder().is_some() {
        subject.reconstructions(model.as_mut(), &mut report)?;
        subject.probe_codes(model.as_ref(), &mut report)?;
    }
    subject.probe_discriminator(model.as_ref(), &mut report)?;
    if generative {
        subject.samples(model.as_mut(), &mut report)?;
    }
    say(&if args.json { report.json() } else { report.text() });
    Ok(())
}

/// What is measured on what.
struct Subject<'a> {
    args: &'a Eval,
    saved: &'a Loaded,
    sets: &'a Sets,
    test: &'a Images,
    /// The test pictures from 0 to 1, `[n, c, h, w]`.
    x: Tensor,
}

impl Subject<'_> {
    fn labels(&self) -> Result<&[u32]> {
        let labels = self.test.labels.as_deref();
        labels.with_context(|| format!("data {:?} have no labels to compare with", self.sets.name))
    }

    fn classification(&self, model: &dyn Model, report: &mut Report) -> Result<()> {
        let labels = self.labels()?;
        let measured = model.classifier().context("no classifier")?.measure(&self.x)?;
        let classes = measured.probabilities.shape()[1];
        let mut table = vec![vec![0u64; classes]; classes];
        for (&label, found) in labels.iter().zip(measured.classes()?) {
            let row = table.get_mut(label as usize);
            row.with_context(|| format!("label {label}: the model knows {classes} classes"))?
                [found as usize] += 1;
        }
        let probabilities = measured.probabilities.to_vec::<f32>()?;
        let each = probabilities.chunks_exact(classes).zip(labels);
        let surprise: f64 =
            each.map(|(p, &label)| -f64::from(p[label as usize].max(f32::MIN_POSITIVE)).ln()).sum();
        let figures =
            [("accuracy", measured.accuracy(labels)?), ("cross_entropy", surprise / labels.len() as f64)];
        report.section("classification", &figures);
        report.confusion = Some(table);
        Ok(())
    }

    fn bound(&self, model: &dyn Model, report: &mut Report) -> Result<()> {
        let vae = model.vae().context("no likelihood")?;
        let mut loader = sets::judged(&self.sets.test, self.args.count as usize, model.test_pixels())?;
        let bound = vae.bound(&mut loader)?;
        let mut figures = vec![
            ("elbo", bound.elbo()),
            ("reconstruction", bound.reconstruction),
            ("kl", bound.kl),
            ("active_units", bound.active_units as f64),
        ];
        if let Some(k) = self.args.importance_samples {
            loader.resume(LoaderState::default())?;
            let each = vae.log_likelihoods(&mut loader, k as usize)?;
            let n = each.len() as f64;
            let mean = each.iter().sum::<f64>() / n;
            let variance = each.iter().map(|l| (l - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
            figures.extend([
                ("importance_samples", f64::from(k)),
                ("log_likelihood", mean),
                ("log_likelihood_error", (variance / n).sqrt()),
            ]);
        }
        report.section("bound", &figures);
        Ok(())
    }

    fn reconstructions(&self, model: &mut dyn Model, report: &mut Report) -> Result<()> {
        let (n, side) = (self.test.count, self.test.height.min(self.test.width));
        let mut noise = Rng::seed(self.args.seed);
        let (mut sums, mut noisy) = ([0.0; 3], None);
        for start in (0..n).step_by(sets::BATCH) {
            let x = self.x.slice(0, start as isize..n.min(start + sets::BATCH) as isize);
            let square = |y: &Tensor| (y - &x).square().sum(..).item();
            let codes = model.encoder().context("no encoder")?.encode(&x);
            let made = model.decoder().context("no decoder")?.decode(&codes);
            sums[0] += square(&made)?;
            sums[1] += psnr(&made, &x, 1.0).sum(..).item()?;
            if side >= SSIM_SIDE {
                sums[2] += ssim(&made, &x, 1.0).sum(..).item()?;
            }
            if let Some(found) = reconstruct(model, &x, &mut noise).filter(|found| found.noisy.is_some()) {
                *noisy.get_or_insert(0.0) += square(&found.made)?;
            }
        }
        let mean = sums.map(|sum| sum / n as f64);
        let mut figures = vec![("squared_error", mean[0]), ("psnr", mean[1])];
        if side >= SSIM_SIDE {
            figures.push(("ssim", mean[2]));
        }
        figures.extend(noisy.map(|sum| ("squared_error_of_noisy", sum / n as f64)));
        report.section("reconstructions", &figures);
        Ok(())
    }

    /// The share of test pictures that a linear classifier errs on, after it has learned from `features` of a thousand
    /// pictures with labels; `None` without labels.
    fn probe(&self, c: f64, features: impl Fn(&Tensor) -> Tensor) -> Result<Option<(f64, usize)>> {
        let known = sets::spread(self.sets.train.as_ref(), PROBE_LABELS)?;
        let (Some(labels), Some(test)) = (&known.labels, &self.test.labels) else { return Ok(None) };
        let classes = labels.iter().chain(test).max().map_or(0, |&l| l as usize + 1);
        let learned = sets::mapped(&sets::tensor(&known)?, &features)?;
        let probe = LinearProbe::fit(&learned, labels, classes, c)?;
        Ok(Some((1.0 - probe.accuracy(&sets::mapped(&self.x, features)?, test)?, known.count)))
    }

    fn probe_codes(&self, model: &dyn Model, report: &mut Report) -> Result<()> {
        let encoder = model.encoder().context("no encoder")?;
        match self.probe(1.0, |x| encoder.encode(x))? {
            Some((error, labels)) => self.report_probe("codes_error", error, labels, report),
            None => {
                report.note("the data have no labels, so there is no linear probe".into());
                Ok(())
            }
        }
    }

    fn probe_discriminator(&self, model: &dyn Model, report: &mut Report) -> Result<()> {
        if model.discriminator_features(&self.x.slice(0, 0..1)).is_none() {
            return Ok(());
        }
        let found = |x: &Tensor| model.discriminator_features(x).unwrap_or_else(|| x.clone());
        match self.probe(0.01, found)? {
            Some((error, labels)) => self.report_probe("discriminator_error", error, labels, report),
            None => {
                report.note("the data have no labels, so there is no linear probe".into());
                Ok(())
            }
        }
    }

    /// Beside the error of a probe of the pixels themselves.
    fn report_probe(&self, name: &'static str, error: f64, labels: usize, report: &mut Report) -> Result<()> {
        let pixels = self.probe(0.01, |x| x.flatten(1))?.map_or(f64::NAN, |(error, _)| error);
        report.section("linear probe", &[("labels", labels as f64), (name, error), ("pixels_error", pixels)]);
        Ok(())
    }

    fn samples(&self, model: &mut dyn Model, report: &mut Report) -> Result<()> {
        if self.test.count < LEAST_SAMPLES {
            bail!(
                "data {:?} have {} test pictures: too few to compare with",
                self.sets.name,
                self.test.count
            );
        }
        let features = match &self.args.features {
            Some(path) => Some(Features::load(path, self.saved.image)?),
            None => Features::of_data(self.saved, self.sets)?,
        };
        let decoder = model.decoder().context("no decoder")?;
        let mut rng = Rng::seed(self.args.seed).split("samples");
        let mut parts = Vec::new();
        let count = self.args.count as usize;
        for start in (0..count).step_by(sets::BATCH) {
            let codes = rng.normal([sets::BATCH.min(count - start), decoder.code()]);
            let some = decoder.decode(&codes);
            some.eval()?;
            parts.push(some.stop_grad());
        }
        let samples = Tensor::cat(&parts, 0);
        match features {
            Some(features) => {
                let (real, fake) = (features.measure(&self.x)?, features.measure(&samples)?);
                let figures = SampleReport::of_measured(&fake, &real.features)?;
                report.section("samples", &figures.pairs());
                let mut counts = vec![0usize; real.probabilities.shape()[1]];
                fake.classes()?.iter().for_each(|&class| counts[class as usize] += 1);
                report.classes = Some(counts.iter().map(|&c| c as f64 / count as f64).collect());
                if let Some(labels) = &self.test.labels {
                    report.section("features", &[("test_accuracy", real.accuracy(labels)?)]);
                }
            }
            None => report.note(
                "the data have no labels to train a classifier with: --features gives one, for the distances"
                    .into(),
            ),
        }
        self.parzen(&samples, report)
    }

    fn parzen(&self, samples: &Tensor, report: &mut Report) -> Result<()> {
        let valid = sets::tensor(&sets::spread(self.sets.train.as_ref(), PARZEN_VALID)?)?;
        let found = parzen(samples, &valid, &self.x, &parzen_widths())?;
        let figures = [("nats", found.nats.mean), ("error", found.nats.error), ("width", found.width)];
        report.section("parzen", &figures);
        report.note(
            "the Parzen window misleads: it ranks models wrongly and grows with the number of samples (Theis et al. \
             2016); take it for comparison with old papers only"
                .into(),
        );
        Ok(())
    }
}
