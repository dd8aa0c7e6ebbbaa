//! `gradus graph`: the tape of a model's training step as a picture.

use crate::checkpoints;
use crate::output::{say, say_raw};
use crate::registry::{self, Setting};
use anyhow::{Result, bail};
use clap::Args;
use gradus::data::Batch;
use gradus::tape::{Detail, Part, Tape, record, svg};
use gradus::train::Trainable;
use std::path::{Path, PathBuf};

/// What `gradus graph --help` ends with.
pub const HELP: &str = "\
Runs one training step on random pictures and shows what was evaluated: by default what the model computes up to its
losses, with --grad what the derivative adds, with --plan the kernels of the whole step, optimizer included. A model
with two players evaluates twice, so there are two tapes.

MODEL is gan, dcgan, ae, vae or classifier, as `gradus train` makes it without flags; or a checkpoint, or the folder of
a run.

Examples:
  gradus graph vae
  gradus graph vae --svg vae.svg
  gradus graph vae --grad --svg vae-grad.svg
  gradus graph gan --plan --svg gan-plan.svg
  gradus graph runs/gan --plan --dot | dot -Tpdf > gan.pdf";

/// The flags of `gradus graph`.
#[derive(Args)]
pub struct Graph {
    /// A model, a checkpoint, or the folder of a run
    #[arg(value_name = "MODEL|CHECKPOINT")]
    pub model: String,
    /// Write a picture to this file
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Write Graphviz's language to stdout
    #[arg(long, conflicts_with = "svg")]
    pub dot: bool,
    /// Write text to stdout: one line for each operation, as without other flags
    #[arg(long, conflicts_with_all = ["svg", "dot"])]
    pub text: bool,
    /// Show the derivative, too
    #[arg(long)]
    pub grad: bool,
    /// Show the kernels of the whole step
    #[arg(long)]
    pub plan: bool,
    /// Pictures in the step
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub batch: u32,
}

/// Shows the tape that the flags name.
pub fn run(args: &Graph) -> Result<()> {
    let (mut model, image, classes) = load(&args.model)?;
    let batch = random_batch(args.batch as usize, image, classes);
    // The first step makes what the optimizer keeps, which has names afterwards.
    model.step(&batch)?;
    let names = model.state()?.tensors;
    let (step, tapes) = record(|| model.step(&batch));
    step?;
    // Besides its steps a model may evaluate other things: figures, its data.
    let updates = |t: &Tape| t.nodes().iter().any(|n| n.part == Part::Update);
    let named = |tape: Tape| names.iter().fold(tape, |tape, (name, tensor)| tape.name(tensor, name));
    let tapes: Vec<Tape> = tapes.into_iter().filter(updates).map(named).collect();
    let players = tapes.len();
    let shown: Vec<(String, Tape)> =
        tapes.into_iter().map(|tape| title_and_part(tape, players > 1, args)).collect();
    if shown.is_empty() {
        bail!("{}: its step evaluates nothing that an optimizer wrote", args.model);
    }
    let count = shown.len();
    let titled: Vec<(String, &Tape)> = shown
        .iter()
        .enumerate()
        .map(|(i, (what, tape))| {
            let which = if count > 1 { format!(", {} of {count}", i + 1) } else { String::new() };
            (format!("{}{which}: {what}", short(&args.model)), tape)
        })
        .collect();
    let detail = if args.plan { Detail::Kernels } else { Detail::Nodes };
    if let Some(file) = &args.svg {
        let picture = svg(titled.iter().map(|(title, tape)| (title.as_str(), *tape)), detail);
        gradus::files::write_atomic(file, |out| out.write_all(picture.as_bytes()))?;
        say(&file.display().to_string());
        return Ok(());
    }
    for (title, tape) in titled {
        match args.dot {
            true => say_raw(&format!("// {title}\n{}", tape.to_dot(detail))),
            false => say_raw(&format!("# {title}\n{}", tape.to_text())),
        }
    }
    Ok(())
}

/// The last part of a path.
fn short(model: &str) -> &str {
    Path::new(model).file_name().and_then(|n| n.to_str()).unwrap_or(model)
}

/// What of a recorded step is wanted, and what it is; with `several` players, whose.
fn title_and_part(tape: Tape, several: bool, args: &Graph) -> (String, Tape) {
    let whose = if several { format!(" of the {}", updated(&tape)) } else { String::new() };
    match (args.plan, args.grad) {
        (true, _) => (format!("the {} kernels of a step{whose}", tape.kernels().len()), tape),
        (_, true) => {
            (format!("the losses{whose}, and their gradient"), tape.only(|n| n.part != Part::Update))
        }
        _ => (format!("the losses{whose}"), tape.only(|n| n.part == Part::Expression)),
    }
}

/// Whose parameters are updated: the part that their names begin with.
fn updated(tape: &Tape) -> String {
    let nodes = tape.nodes();
    let read = nodes.iter().filter(|n| n.part == Part::Update).flat_map(|n| &n.inputs);
    let mut firsts: Vec<&str> = read
        .filter_map(|&i| nodes[i].name.as_deref())
        .filter_map(|name| name.split('.').next())
        .filter(|first| !first.contains("adam"))
        .collect();
    firsts.sort_unstable();
    firsts.dedup();
    if firsts.is_empty() { String::from("the model") } else { firsts.join(", ") }
}

type Loaded = (Box<dyn Trainable>, [usize; 3], usize);

/// The model of that name as it is made by default for drawn digits, or the one saved at that path.
fn load(what: &str) -> Result<Loaded> {
    if Path::new(what).exists() {
        let saved = checkpoints::open(Path::new(what))?;
        return Ok((saved.model()?, saved.image, saved.classes));
    }
    let kind = registry::find(what).map_err(|e| e.context(format!("{what}: there is no such file, and")))?;
    let (run, options) = (kind.defaults)()?;
    let (image, classes) = ([1, 28, 28], 10);
    let setting = Setting { options: &options, image, classes, seed: run.seed, train: None };
    Ok(((kind.build)(&setting)?, image, classes))
}

/// Pictures of noise, for their shapes.
fn random_batch(count: usize, [c, h, w]: [usize; 3], classes: usize) -> Batch {
    let pixels = (0..count * c * h * w).map(|i| ((i * 7919) % 1009) as f32 / 1009.0).collect();
    let labels = (classes > 0).then(|| (0..count).map(|i| (i % classes) as u32).collect());
    Batch { epoch: 0, indices: (0..count as u32).collect(), shape: [count, c, h, w], pixels, labels }
}
