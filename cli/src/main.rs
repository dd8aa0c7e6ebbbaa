//! The `gradus` command: trains the models of the library and looks at what they learned.
//!
//! ```text
//! args      what can be asked for             registry  the models, each in a file of models/
//! config    defaults < file < flags           data      data sets by name, pictures from folders
//! run_dir   the folder of a run, its lock     train     the loop: steps, pictures, metrics, checkpoints
//! commands  a file for each other command     sets      the pictures they look at
//! picture   grids of pictures                 plot      curves and maps
//! tuning    tiles measured for a GPU, kept
//! ```

mod args;
mod bench;
mod checkpoints;
mod commands;
mod config;
mod curves;
mod data;
mod failure;
mod features;
mod graph;
mod models;
mod output;
mod picture;
mod plot;
mod progress;
mod registry;
mod report;
mod run_dir;
mod sets;
mod signals;
mod train;
#[cfg(feature = "gpu")]
mod tuning;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = args::Args::parse();
    match commands::run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::note(&format!("error: {}", failure::chain(&error)));
            ExitCode::from(failure::exit_code(&error))
        }
    }
}
