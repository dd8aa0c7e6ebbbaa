//! What each command does: a file for each, with its flags.

pub mod check;
pub mod devices;
pub mod eval;
pub mod info;
pub mod interpolate;
pub mod latent;
pub mod reconstruct;
pub mod sample;

use crate::args::{Args, Command, Model, Train};
use crate::output::say_raw;
use crate::registry::find;
use crate::{bench, graph, models, train};
use anyhow::Result;
use clap::CommandFactory;

/// Runs the command line.
pub fn run(args: Args) -> Result<()> {
    match args.command {
        None => train::run(find("gan")?, &Train::default(), &models::gan::Flags::default()),
        Some(Command::Train { model }) => match *model {
            Model::Gan { train: args, flags } => train::run(find("gan")?, &args, &flags),
            Model::Dcgan { train: args, flags } => train::run(find("dcgan")?, &args, &flags),
            Model::Ae { train: args, flags } => train::run(find("ae")?, &args, &flags),
            Model::Vae { train: args, flags } => train::run(find("vae")?, &args, &flags),
            Model::Classifier { train: args, flags } => train::run(find("classifier")?, &args, &flags),
        },
        Some(Command::Sample(args)) => sample::run(&args),
        Some(Command::Reconstruct(args)) => reconstruct::run(&args),
        Some(Command::Interpolate(args)) => interpolate::run(&args),
        Some(Command::Latent(args)) => latent::run(&args),
        Some(Command::Eval(args)) => eval::run(&args),
        Some(Command::Info(args)) => info::run(&args),
        Some(Command::Check(args)) => check::run(&args),
        Some(Command::Bench(args)) => bench::run(&args),
        Some(Command::Graph(args)) => graph::run(&args),
        Some(Command::Devices(args)) => {
            devices::run(&args);
            Ok(())
        }
        Some(Command::Completions { shell }) => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "gradus", &mut script);
            say_raw(&String::from_utf8_lossy(&script));
            Ok(())
        }
    }
}
