//! The loop: epochs of steps, and what is kept of them.

use crate::args::Train;
use crate::checkpoints::{self, Position, Shapes};
use crate::config::{Config, Draft, RunOptions, differences};
use crate::data::{self, Data};
use crate::failure::Failure;
use crate::output::{clock, note, say, say_raw};
use crate::picture::Pictures;
use crate::progress::{Progress, list};
use crate::registry::{self, Kind, Setting};
use crate::run_dir::{Existing, Metrics, RunDir, default_path};
use crate::signals::Signals;
use anyhow::{Context, Result, bail};
use gradus::data::{Images, Loader, LoaderOptions, LoaderState};
use gradus::train::{Figures, Stepped, Trainable, step_checked};
use serde::Serialize;
use serde_json::{Map, Value};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Pictures of a grid after each epoch.
const GRID: usize = 64;
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
        Existing::Resume => resumed_config(kind, &path.join("config.toml"), args, flags)?,
        _ => {
            let draft = Draft::new(kind)?;
            let draft = match &args.config {
                Some(file) => draft.file(file)?,
                None => draft,
            };
            draft.flags(&args.run, flags)?.finish("flags")?
        }
    };
    let mut session = Session::open(config, args, signals, path, existing)?;
    let outcome = session.run();
    session.progress.finish();
    outcome?;
    session.report(args.json)
}

/// The configuration of the run that goes on. Only what does not change its course may differ: how long it is.
fn resumed_config(kind: &'static Kind, file: &Path, args: &Train, flags: &impl Serialize) -> Result<Config> {
    if !file.is_file() {
        bail!("{}: is not there, so there is no run to resume; leave out --resume", file.display());
    }
    let old = Draft::new(kind)?.file(file)?.finish("config")?;
    let new = Draft::new(kind)?.file(file)?.flags(&args.run, flags)?.finish("flags")?;
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

/// A run in progress.
struct Session {
    config: Config,
    /// Tells checkpoints of other data apart.
    data: u64,
    shapes: Shapes,
    model: Box<dyn Trainable>,
    loader: Loader,
    /// Goes through the pictures to be judged by, in their order.
    test: Option<Loader>,
    dir: RunDir,
    metrics: Metrics,
    progress: Progress,
    signals: Signals,
    step: u64,
    /// Losses of the last step.
    losses: Figures,
    /// Figures of the last epoch's end.
    measured: Figures,
    /// The last epoch's pictures, and their file.
    grid: Option<(Pictures, PathBuf)>,
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
        let Data { train, test } = load_data(&config.run)?;
        let data = data::fingerprint(&train);
        let (image, classes) = ([train.channels, train.height, train.width], train.classes.len());
        let setting = Setting { options: &config.options, image, classes, seed: config.run.seed };
        let mut model = (registry::find(&config.model)?.build)(&setting)?;
        let mut options = LoaderOptions::new(config.run.batch, config.run.seed);
        options.pixels = model.pixels();
        let in_order = LoaderOptions {
            batch: TEST_BATCH,
            shuffle: false,
            drop_last: false,
            pixels: model.test_pixels(),
            ..options.clone()
        };
        let test = test.map(|images| Loader::new(Arc::new(images), in_order)).transpose()?;
        let name = config.run.data.clone();
        let mut loader = Loader::new(Arc::new(train), options).with_context(|| format!("data {name:?}"))?;
        // Only now, when nothing about the data or the options can be wrong any more.
        let dir = RunDir::take(path, existing)?;
        let text = config.to_toml()?;
        gradus::files::write_atomic(&dir.config(), |w| w.write_all(text.as_bytes()))?;
        let mut step = 0;
        if let Some(saved) = checkpoints::newest(&dir)? {
            let from = saved.path.display().to_string();
            if saved.position.data != data {
                bail!("{from}: was trained on other data than {name:?} holds now");
            }
            let changed = changes(&saved.config, &config)?;
            if !changed.is_empty() {
                bail!("{from}: was trained with other options than config.toml has now: {changed}");
            }
            saved.restore(model.as_mut())?;
            loader.resume(saved.position.loader).with_context(|| from)?;
            step = saved.position.step;
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
            test,
            dir,
            metrics,
            progress,
            signals,
            step,
            losses: Figures::new(),
            measured: Figures::new(),
            grid: None,
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
            note(&format!("the run has done its {} epochs; --epochs {} goes on", run.epochs, run.epochs * 2));
        }
        if self.quiet || self.step >= steps {
            return;
        }
        let begun =
            if self.step > 0 { format!(", going on after step {}", self.step) } else { String::new() };
        note(&format!(
            "training {} on {}: {} epochs, {steps} steps of {} pictures{begun}\n\
             everything goes to {}; Ctrl-C saves and stops, --resume goes on",
            self.config.model,
            run.data,
            run.epochs,
            run.batch,
            self.dir.path().display(),
        ));
    }

    fn run(&mut self) -> Result<()> {
        let per_epoch = self.loader.batches_per_epoch() as u64;
        let steps = self.config.run.epochs * per_epoch;
        while self.step < steps {
            if let Some(signal) = self.signals.received() {
                return self.stop(signal);
            }
            let batch = self.loader.next_batch()?;
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
                self.end_of_epoch(epoch)?;
            }
        }
        Ok(())
    }

    /// Looks at the model, and saves it.
    fn end_of_epoch(&mut self, epoch: u64) -> Result<()> {
        if let Some(pictures) = self.model.pictures(GRID, self.config.run.seed)? {
            let (pictures, path) = (Pictures::new(&pictures)?, self.dir.sample(epoch));
            pictures.write_png(&path)?;
            self.grid = Some((pictures, path));
        }
        if let Some(test) = &mut self.test {
            test.resume(LoaderState::default())?;
            self.measured = self.model.evaluate(test)?;
            let figures = self.measured.clone();
            if !figures.is_empty() {
                self.log(epoch, &figures)?;
            }
        }
        self.save()?;
        self.progress.epoch(self.step, epoch, &self.measured);
        Ok(())
    }

    fn seconds(&self) -> f64 {
        self.seconds + self.start.elapsed().as_secs_f64()
    }

    fn log(&mut self, epoch: u64, figures: &Figures) -> Result<()> {
        let mut line = Map::new();
        line.insert("step".into(), self.step.into());
        line.insert("epoch".into(), epoch.into());
        line.extend(figures.iter().map(|(name, v)| ((*name).to_string(), Value::from(*v))));
        line.insert("seconds".into(), ((self.seconds() * 1e3).round() / 1e3).into());
        self.metrics.write(&line)
    }

    fn save(&mut self) -> Result<()> {
        let state = self.model.state()?;
        if let Some(what) = gradus::train::non_finite(&state)? {
            return Err(self.diverged(&what));
        }
        self.metrics.sync()?;
        let position = Position { step: self.step, loader: self.loader.state(), data: self.data };
        checkpoints::save(&self.dir, &self.config, &self.shapes, &position, state)
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
    fn report(&self, json: bool) -> Result<()> {
        let (model, seconds) = (&self.config.model, self.seconds());
        let checkpoint = self.dir.checkpoint();
        if json {
            let mut line = Map::new();
            line.insert("model".into(), model.as_str().into());
            line.insert("steps".into(), self.step.into());
            line.insert("epochs".into(), self.config.run.epochs.into());
            line.insert("seconds".into(), seconds.into());
            let figures = self.losses.iter().chain(&self.measured);
            line.extend(figures.map(|(name, v)| ((*name).to_string(), Value::from(*v))));
            line.insert("checkpoint".into(), checkpoint.display().to_string().into());
            if let Some((_, grid)) = &self.grid {
                line.insert("pictures".into(), grid.display().to_string().into());
            }
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
        let figures = self.losses.iter().chain(&self.measured).copied().collect();
        say(&format!("{model}: {} steps in {}  {}", self.step, clock(seconds), list(&figures)));
        if let Some((_, grid)) = &self.grid {
            say(&format!("pictures    {}", grid.display()));
        }
        say(&format!("checkpoint  {}", checkpoint.display()));
        if self.grid.is_some() {
            say(&format!("more        gradus sample {}", checkpoint.display()));
        }
        Ok(())
    }
}

/// The sets that the options name, of pictures that fit together.
fn load_data(run: &RunOptions) -> Result<Data> {
    let load = |name: &str| data::load(name, run.seed, run.size, run.channels);
    let mut data = load(&run.data)?;
    if !run.test.is_empty() {
        let other = load(&run.test)?;
        let test = other.test.unwrap_or(other.train);
        let shape = |i: &Images| [i.channels, i.height, i.width];
        if shape(&test) != shape(&data.train) || test.classes.len() != data.train.classes.len() {
            bail!(
                "test {:?} has {:?} pictures of {} classes, data {:?} has {:?} of {}",
                run.test,
                shape(&test),
                test.classes.len(),
                run.data,
                shape(&data.train),
                data.train.classes.len()
            );
        }
        data.test = Some(test);
    }
    Ok(data)
}
