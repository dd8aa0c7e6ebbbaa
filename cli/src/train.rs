//! The loop: epochs of steps, and what is kept of them.

use crate::args::Train;
use crate::checkpoints::{self, Position, Shapes};
use crate::commands::reconstruct;
use crate::config::{Config, Draft, differences};
use crate::curves;
use crate::data::{self, Binarize, Data, Set, UntilSignal};
use crate::failure::Failure;
use crate::models::{self, Model};
use crate::output::{clock, note, say, say_raw};
use crate::picture::Pictures;
use crate::progress::{Progress, beside, epochs, list};
use crate::registry::{self, Kind, Setting};
use crate::run_dir::{Existing, Metrics, RunDir, default_path};
use crate::signals::Signals;
use anyhow::{Context, Result, anyhow, bail};
use gradus::data::{Batch, Loader, LoaderOptions, LoaderState};
use gradus::train::{Figures, Stepped, step_checked};
use gradus::{Rng, Tensor};
use serde::Serialize;
use serde_json::{Map, Value};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Pictures of a grid after each epoch.
const GRID: usize = 64;
/// Test pictures of a grid of reconstructions.
const RECONSTRUCTED: isize = 32;
/// Pictures judged at a time.
const TEST_BATCH: usize = 500;

/// Trains the model that the flags describe.
pub fn run(kind: &'static Kind, args: &Train, flags: &impl Serialize) -> Result<()> {
    let device = args.device.open()?;
    if !device.is_cpu() && !args.quiet {
        note(&format!("computing on {device}"));
    }
    device.scope(|| run_here(kind, args, flags))
}

/// As [`run`], on the device of the scope.
fn run_here(kind: &'static Kind, args: &Train, flags: &impl Serialize) -> Result<()> {
    // From here on, so that a signal while data are read is not lost.
    let signals = Signals::listen()?;
    let existing = match (args.resume, args.force) {
        (true, _) => Existing::Resume,
        (_, true) => Existing::Replace,
        _ => Existing::Refuse,
    };
    let path = args.out.clone().unwrap_or_else(|| default_path(kind.name, existing));
    let config = match existing {
        Existing::Resume => resumed_config(kind, &path, args, flags)?,
        _ => new_config(kind, args, flags)?,
    };
    let mut session = Session::open(config, args, signals, path, existing)?;
    let outcome = session.run();
    session.progress.finish();
    let drawn = session.draw_curves();
    outcome?;
    drawn?;
    session.report(args.json)
}

/// Defaults, then what suits the data, then preset, file and flags.
fn new_config(kind: &'static Kind, args: &Train, flags: &impl Serialize) -> Result<Config> {
    let put_together = |data: Option<&str>| -> Result<Config> {
        let mut draft = Draft::new(kind)?;
        if let Some(name) = data {
            draft = draft.for_data(name)?;
        }
        if let Some(name) = &args.preset {
            draft = draft.preset(name)?;
        }
        if let Some(file) = &args.config {
            draft = draft.file(file)?;
        }
        draft.flags(&args.run, flags)?.finish("flags")
    };
    // Which data they are is known only in the end.
    let data = put_together(None)?.run.data;
    put_together(Some(&data))
}

/// The configuration of the run in `folder` that goes on: that of its file, or where only a checkpoint lies there, of
/// that. Only what does not change its course may differ: how long it is.
fn resumed_config(
    kind: &'static Kind,
    folder: &Path,
    args: &Train,
    flags: &impl Serialize,
) -> Result<Config> {
    let (file, checkpoint) = (folder.join("config.toml"), folder.join("checkpoint.safetensors"));
    let draft = || match () {
        () if file.is_file() => Draft::new(kind)?.file(&file),
        () if checkpoint.is_file() => {
            let saved = checkpoints::open(&checkpoint)?;
            Draft::new(kind)?.text(&saved.config.to_toml()?, &checkpoint.display().to_string())
        }
        () => bail!("{}: is not there, so there is no run to resume; leave out --resume", file.display()),
    };
    let old = draft()?.finish("config")?;
    let new = draft()?.flags(&args.run, flags)?.finish("flags")?;
    let changed = changes(&old, &new)?;
    if !changed.is_empty() {
        bail!(
            "{}: a resumed run keeps its options, but {changed} was given; only --epochs can change",
            file.display()
        );
    }
    Ok(new)
}

/// The differences that would change the course of a run, in words.
fn changes(old: &Config, new: &Config) -> Result<String> {
    let changed = differences(old, new)?.into_iter().filter(|d| !d.starts_with("epochs: "));
    Ok(changed.collect::<Vec<_>>().join(", "))
}

/// Goes through the pictures that a model learns from, in the way that the options say.
fn for_training(train: Set, config: &Config, model: &dyn Model) -> Result<Loader> {
    let options = LoaderOptions {
        pixels: model.pixels(),
        augment: config.run.augment.parse()?,
        binarize: config.run.binarize == Binarize::Dynamic,
        ..LoaderOptions::new(config.run.batch, config.run.seed)
    };
    Loader::new(train, options).with_context(|| format!("data {:?}", config.run.data))
}

/// Goes through the pictures that a model is judged by, in their order, until a signal comes.
fn in_order(set: Set, config: &Config, model: &dyn Model, signals: &Signals) -> Result<Loader> {
    let options = LoaderOptions {
        batch: TEST_BATCH,
        shuffle: false,
        drop_last: false,
        pixels: model.test_pixels(),
        ..LoaderOptions::new(config.run.batch, config.run.seed)
    };
    Ok(Loader::new(Arc::new(UntilSignal { set, signals: signals.clone() }), options)?)
}

/// A run in progress.
struct Session {
    config: Config,
    /// Tells checkpoints of other data apart.
    data: u64,
    shapes: Shapes,
    model: Box<dyn Model>,
    loader: Loader,
    /// Go through the pictures to be judged by, in their order: those for each epoch, if there are any, and the others.
    valid: Option<Loader>,
    test: Option<Loader>,
    dir: RunDir,
    metrics: Metrics,
    progress: Progress,
    signals: Signals,
    step: u64,
    /// Whether the epoch that ends at this step, if one does, was looked at.
    judged: bool,
    /// Losses of the last step.
    losses: Figures,
    /// Figures of the last epoch's end.
    measured: Vec<(String, f64)>,
    /// The last epoch's pictures, and their file.
    grid: Option<(Pictures, PathBuf)>,
    /// The picture of all figures, when there is one.
    curves: Option<PathBuf>,
    /// Bytes that tensors take while a step is computed.
    memory: usize,
    /// Of earlier sessions.
    seconds: f64,
    start: Instant,
    quiet: bool,
}

impl Session {
    /// Reads data, builds the model, takes the folder and, where it holds a checkpoint, goes on from that.
    fn open(
        config: Config,
        args: &Train,
        signals: Signals,
        path: PathBuf,
        existing: Existing,
    ) -> Result<Session> {
        let Data { train, valid, test } = data::load(&config.run)?;
        let data = train.fingerprint();
        let (image, classes) = (train.shape(), train.classes().len());
        let (options, seed) = (&config.options, config.run.seed);
        let setting = Setting { options, image, classes, seed, train: Some(train.as_ref()) };
        let mut model = (registry::find(&config.model)?.build)(&setting)?;
        let judge =
            |set: Option<Set>| set.map(|set| in_order(set, &config, model.as_ref(), &signals)).transpose();
        let (valid, test) = (judge(valid)?, judge(test)?);
        let mut loader = for_training(train, &config, model.as_ref())?;
        let memory = rehearse(model.as_mut(), config.run.batch, image, classes)?;
        // Only now, when nothing about the data or the options can be wrong any more.
        let dir = RunDir::take(path, existing)?;
        let text = config.to_toml()?;
        gradus::files::write_atomic(&dir.config(), |w| w.write_all(text.as_bytes()))?;
        let (mut step, mut judged) = (0, true);
        if let Some(saved) = checkpoints::newest(&dir)? {
            let from = saved.path.display().to_string();
            if saved.position.data != data {
                let name = &config.run.data;
                bail!("{from}: was trained on other data than {name:?} holds now");
            }
            let changed = changes(&saved.config, &config)?;
            if !changed.is_empty() {
                bail!("{from}: was trained with other options than config.toml has now: {changed}");
            }
            saved.restore(model.as_mut())?;
            loader.resume(saved.position.loader).with_context(|| from)?;
            (step, judged) = (saved.position.step, saved.position.judged);
        }
        let (metrics, seconds) = Metrics::open(dir.metrics(), step)?;
        let steps = config.run.epochs * loader.batches_per_epoch() as u64;
        let progress = Progress::new(step, steps, config.run.epochs, args.quiet);
        let session = Session {
            config,
            data,
            shapes: Shapes { image, classes },
            model,
            loader,
            valid,
            test,
            dir,
            metrics,
            progress,
            signals,
            step,
            judged,
            losses: Figures::new(),
            measured: Vec::new(),
            grid: None,
            curves: None,
            memory,
            seconds,
            start: Instant::now(),
            quiet: args.quiet,
        };
        session.announce(steps);
        Ok(session)
    }

    fn announce(&self, steps: u64) {
        let run = &self.config.run;
        if self.step >= steps {
            let done = epochs(run.epochs);
            note(&format!("the run has done its {done}; --epochs {} goes on", run.epochs * 2));
        }
        if self.quiet || self.step >= steps {
            return;
        }
        let begun =
            if self.step > 0 { format!(", going on after step {}", self.step) } else { String::new() };
        note(&format!(
            "training {} on {}: {}, {steps} steps of {} pictures{begun}; tensors take {} MB\n\
             everything goes to {}; Ctrl-C saves and stops, --resume goes on",
            self.config.model,
            run.data,
            epochs(run.epochs),
            run.batch,
            self.memory.div_ceil(1_000_000),
            self.dir.path().display(),
        ));
    }

    fn run(&mut self) -> Result<()> {
        let per_epoch = self.loader.batches_per_epoch() as u64;
        let steps = self.config.run.epochs * per_epoch;
        if !self.judged {
            self.end_of_epoch(self.step.div_ceil(per_epoch))?;
        }
        while self.step < steps {
            if let Some(signal) = self.signals.received() {
                return self.stop(signal);
            }
            let batch = match self.loader.next_batch() {
                Ok(batch) => batch,
                Err(e) => return Err(self.unreadable(e.into())),
            };
            match step_checked(self.model.as_mut(), &batch)? {
                Stepped::Learned(figures) => self.losses = figures,
                Stepped::Diverged { figure, value, cause } => {
                    return Err(self.diverged(&format!("{figure} is {value}: {cause}")));
                }
            }
            self.step += 1;
            let epoch = self.step.div_ceil(per_epoch);
            self.progress.step(self.step, epoch, &self.losses);
            if self.step.is_multiple_of(self.config.run.log_every) {
                let figures = self.losses.clone();
                self.log(epoch, &figures)?;
            }
            if self.step.is_multiple_of(per_epoch) {
                self.judged = false;
                self.end_of_epoch(epoch)?;
            }
        }
        Ok(())
    }

    /// Looks at the model, and saves it.
    fn end_of_epoch(&mut self, epoch: u64) -> Result<()> {
        self.look(epoch)?;
        let before = self.model.state()?;
        if let Err(e) = self.judge(epoch) {
            // So that what is saved goes on with the whole evaluation.
            self.model.load(&before)?;
            return match self.signals.received() {
                Some(signal) => self.stop(signal),
                None => Err(self.unreadable(e)),
            };
        }
        self.judged = true;
        if !self.measured.is_empty() {
            let figures = self.measured.clone();
            self.log(epoch, &figures)?;
        }
        self.save()?;
        self.progress.epoch(self.step, epoch, &self.measured);
        Ok(())
    }

    /// New pictures, or of an autoencoder the first pictures to be judged by with what it makes of them.
    fn look(&mut self, epoch: u64) -> Result<()> {
        let (path, latest, seed) = (self.dir.sample(epoch), self.dir.latest(), self.config.run.seed);
        if let Some(pictures) = self.model.pictures(GRID, seed)? {
            let pictures = Pictures::new(&pictures)?;
            pictures.write_png(&latest)?;
            pictures.write_png(&path)?;
            self.grid = Some((pictures, path));
            return Ok(());
        }
        if self.model.encoder().is_none() {
            return Ok(());
        }
        let Some(seen) = self.valid.as_mut().or(self.test.as_mut()) else { return Ok(()) };
        seen.resume(LoaderState::default())?;
        let batch = seen.next_batch()?;
        let x = Tensor::try_from_vec(batch.pixels, batch.shape)?;
        let x = x.slice(0, 0..RECONSTRUCTED.min(batch.shape[0] as isize));
        if let Some(found) = models::reconstruct(self.model.as_mut(), &x, &mut Rng::seed(seed)) {
            reconstruct::write(&latest, &x, &found)?;
            reconstruct::write(&path, &x, &found)?;
            self.grid = Some((Pictures::new(&found.made)?, path));
        }
        Ok(())
    }

    /// Measures the model: on the pictures for each epoch, and on those for testing in the end or where there are no
    /// others.
    fn judge(&mut self, epoch: u64) -> Result<()> {
        self.measured.clear();
        if let Some(valid) = &mut self.valid {
            valid.resume(LoaderState::default())?;
            let figures = self.model.evaluate(valid)?.into_iter();
            let name = |name: &str| format!("valid_{}", name.strip_prefix("test_").unwrap_or(name));
            self.measured.extend(figures.map(|(n, v)| (name(n), v)));
            if epoch < self.config.run.epochs {
                return Ok(());
            }
        }
        if let Some(test) = &mut self.test {
            test.resume(LoaderState::default())?;
            let figures = self.model.evaluate(test)?.into_iter();
            self.measured.extend(figures.map(|(n, v)| (n.to_string(), v)));
        }
        Ok(())
    }

    fn draw_curves(&mut self) -> Result<()> {
        let path = self.dir.curves();
        self.curves = curves::draw(&self.dir.metrics(), &path)?.then_some(path);
        Ok(())
    }

    /// Training ends here because pictures cannot be read: what was learned so far is saved.
    fn unreadable(&mut self, why: anyhow::Error) -> anyhow::Error {
        match self.save() {
            Ok(()) => {
                let (step, path) = (self.step, self.dir.checkpoint());
                let why = crate::failure::chain(&why);
                anyhow!("{why}; step {step} is saved in {}; --resume goes on", path.display())
            }
            Err(e) => e.context(crate::failure::chain(&why)),
        }
    }

    fn seconds(&self) -> f64 {
        self.seconds + self.start.elapsed().as_secs_f64()
    }

    fn log(&mut self, epoch: u64, figures: &[(impl ToString, f64)]) -> Result<()> {
        let mut line = Map::new();
        line.insert("step".into(), self.step.into());
        line.insert("epoch".into(), epoch.into());
        line.extend(figures.iter().map(|(name, v)| (name.to_string(), Value::from(*v))));
        line.insert("seconds".into(), ((self.seconds() * 1e3).round() / 1e3).into());
        self.metrics.write(&line)
    }

    fn save(&mut self) -> Result<()> {
        let state = self.model.state()?;
        if let Some(what) = gradus::train::non_finite(&state)? {
            return Err(self.diverged(&what));
        }
        self.metrics.sync()?;
        let (step, judged) = (self.step, self.judged);
        let position = Position { step, judged, loader: self.loader.state(), data: self.data };
        checkpoints::save(&self.dir.checkpoint(), &self.config, &self.shapes, &position, state)
    }

    fn stop(&mut self, signal: i32) -> Result<()> {
        self.save()?;
        self.progress.finish();
        let saved =
            format!("step {} is saved in {}; --resume goes on", self.step, self.dir.checkpoint().display());
        Err(Failure::Stopped { signal, saved }.into())
    }

    /// Training ends here: `what` is not finite.
    fn diverged(&self, what: &str) -> anyhow::Error {
        let kept = if self.dir.checkpoint().exists() {
            format!("the last good state is kept in {}", self.dir.checkpoint().display())
        } else {
            "nothing was saved before it".into()
        };
        let why = format!(
            "training diverged after step {}: {what}; {kept}; a lower learning rate may help",
            self.step
        );
        Failure::Diverged(why).into()
    }

    /// The final figures, and where everything is.
    fn report(&mut self, json: bool) -> Result<()> {
        let generative = self.model.decoder().is_some_and(|d| d.is_generative());
        let (model, seconds) = (&self.config.model, self.seconds());
        let checkpoint = self.dir.checkpoint();
        if json {
            let mut line = Map::new();
            line.insert("model".into(), model.as_str().into());
            line.insert("steps".into(), self.step.into());
            line.insert("epochs".into(), self.config.run.epochs.into());
            line.insert("seconds".into(), seconds.into());
            line.extend(self.losses.iter().map(|(name, v)| ((*name).to_string(), Value::from(*v))));
            line.extend(self.measured.iter().map(|(name, v)| (name.clone(), Value::from(*v))));
            line.insert("checkpoint".into(), checkpoint.display().to_string().into());
            if let Some((_, grid)) = &self.grid {
                line.insert("pictures".into(), grid.display().to_string().into());
            }
            if let Some(curves) = &self.curves {
                line.insert("curves".into(), curves.display().to_string().into());
            }
            line.insert("tensor_bytes".into(), self.memory.into());
            say(&Value::Object(line).to_string());
            return Ok(());
        }
        if self.quiet {
            return Ok(());
        }
        if let Some((pictures, _)) = self.grid.as_ref().filter(|_| std::io::stdout().is_terminal()) {
            let columns = console::Term::stdout().size().1.into();
            say_raw(&format!("\n{}", pictures.preview(columns, std::env::var_os("NO_COLOR").is_none())));
        }
        let figures = beside(&list(&self.losses), &self.measured);
        say(&format!("{model}: {} steps in {}  {figures}", self.step, clock(seconds)));
        if let Some((_, grid)) = &self.grid {
            say(&format!("pictures    {}", grid.display()));
        }
        if let Some(curves) = &self.curves {
            say(&format!("curves      {}", curves.display()));
        }
        say(&format!("checkpoint  {}", checkpoint.display()));
        say(&format!("figures     gradus eval {}", self.dir.path().display()));
        if self.grid.is_some() {
            let verb = if generative { "sample" } else { "reconstruct" };
            say(&format!("more        gradus {verb} {}", self.dir.path().display()));
        }
        Ok(())
    }
}

/// Takes a step with made-up pictures, and takes it back, to know what it needs before anything is written: memory that
/// is not there is an error here. Gives the bytes that tensors took at most.
fn rehearse(model: &mut dyn Model, count: usize, image: [usize; 3], classes: usize) -> Result<usize> {
    let before = model.state()?;
    let [c, h, w] = image;
    let pixels = (0..count * c * h * w).map(|i| (i * 37 % 256) as f32 / 255.0).collect();
    let labels = (classes > 0).then(|| vec![0; count]);
    let batch = Batch { epoch: 0, indices: vec![0; count], shape: [count, c, h, w], pixels, labels };
    gradus::reset_peak();
    let stepped = model.step(&batch);
    let bytes = gradus::memory_stats().peak;
    model.load(&before)?;
    stepped?;
    Ok(bytes)
}
