//! The command line.

use crate::data::Binarize;
use crate::models::{ae, classifier, dcgan, gan, vae};
use anyhow::Result;
use clap::{Args as Group, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use gradus::Device;
use serde::Serialize;
use std::path::PathBuf;

/// Trains and examines the models of gradus, a tensor engine written by hand
#[derive(Parser)]
#[command(
    name = "gradus",
    version,
    after_help = "\
Without a command, trains a GAN on drawn digits into runs/gan, which takes about a minute.

Examples:
  gradus
  gradus train gan --data mnist:data/mnist --epochs 20
  gradus train gan --resume
  gradus sample runs/gan/checkpoint.safetensors --count 100 --out digits.png

Exit codes:
  0    done
  1    an error, such as a file that cannot be read, or a gradient check that fails
  2    a wrong command line
  3    training met NaN or infinity; the last good checkpoint is kept
  129, 130, 143  stopped by a closed terminal, Ctrl-C, SIGTERM; the state is saved"
)]
pub struct Args {
    #[command(subcommand)]
    pub command: Option<Command>,
}

#[derive(Subcommand)]
pub enum Command {
    /// Train a model
    #[command(
        subcommand_required = true,
        arg_required_else_help = true,
        after_help = "\
Examples:
  gradus train gan
  gradus train classifier --data digits --test mnist:data/mnist"
    )]
    Train {
        #[command(subcommand)]
        model: Box<Model>,
    },
    /// Make pictures with a trained model
    #[command(after_help = "\
Examples:
  gradus sample runs/gan/checkpoint.safetensors
  gradus sample runs/gan/checkpoint.safetensors --count 100 --seed 7 --out digits.png")]
    Sample(Sample),
    /// Say what is in a checkpoint
    #[command(after_help = "\
Examples:
  gradus info runs/gan/checkpoint.safetensors
  gradus info runs/gan/checkpoint.safetensors --json")]
    Info(Info),
    /// Compare the gradients of every op with differences of its values
    #[command(after_help = "\
First derivatives to a relative error of 1e-6, second ones to 1e-5, in f64. An op is in one row or several, each checked
on --draws random cases. Ops without gradients are listed with the reason. The exit code is 1 if anything is wrong.

Examples:
  gradus check
  gradus check --filter conv --draws 20")]
    Check(Check),
    /// Say what this machine has and what is used of it
    #[command(after_help = "\
Examples:
  gradus devices
  GRADUS_SIMD=avx2 gradus devices")]
    Devices,
    /// Write completions for a shell to stdout
    #[command(after_help = "\
Examples:
  gradus completions bash > /etc/bash_completion.d/gradus
  gradus completions zsh > ~/.zfunc/_gradus")]
    Completions { shell: Shell },
}

#[derive(Subcommand)]
pub enum Model {
    /// A fully connected generative adversarial network (Goodfellow et al. 2014)
    #[command(after_help = "\
Examples:
  gradus train gan
  gradus train gan --data mnist:data/mnist --epochs 20 --out runs/mnist
  gradus train gan --data images:photos --size 32 --channels 3
  gradus train gan --resume --epochs 12 --out runs/gan
  gradus train gan --config runs/gan/config.toml --seed 2

The folder of the run (--out) gets config.toml, metrics.jsonl, samples/epoch-0001.png …,
checkpoint.safetensors and checkpoint.safetensors.previous.")]
    Gan {
        #[command(flatten)]
        train: Train,
        #[command(flatten)]
        flags: gan::Flags,
    },
    /// A deep convolutional generative adversarial network (Radford et al. 2016)
    #[command(after_help = "\
Examples:
  gradus train dcgan --data mnist:data/mnist
  gradus train dcgan --data images:photos --size 64 --channels 3
  gradus train dcgan --loss wasserstein --penalty gradient --normalization layer --critic-steps 5
  gradus train dcgan --loss hinge --normalization spectral

Pictures must be 4 or 7 times a power of two pixels square: 16, 28, 32, 64 …
The folder of the run (--out) gets config.toml, metrics.jsonl, samples/epoch-0001.png …,
checkpoint.safetensors and checkpoint.safetensors.previous.")]
    Dcgan {
        #[command(flatten)]
        train: Train,
        #[command(flatten)]
        flags: dcgan::Flags,
    },
    /// An autoencoder, plain (Hinton & Salakhutdinov 2006) or denoising (Vincent et al. 2008)
    #[command(after_help = "\
Examples:
  gradus train ae --data mnist:data/mnist
  gradus train ae --hidden 1000,500,250 --code 30 --code-activation none --objective squared-error
  gradus train ae --corruption masking --noise 0.5
  gradus train ae --conv 32,64 --hidden 128

The folder of the run (--out) gets config.toml, metrics.jsonl, checkpoint.safetensors and
checkpoint.safetensors.previous.")]
    Ae {
        #[command(flatten)]
        train: Train,
        #[command(flatten)]
        flags: ae::Flags,
    },
    /// A variational autoencoder (Kingma & Welling 2014)
    #[command(after_help = "\
Examples:
  gradus train vae --data mnist:data/mnist --epochs 23
  gradus train vae --latent 50 --hidden 200,200 --activation tanh --batch 20
  gradus train vae --conv 32,64 --hidden 256 --beta 4
  gradus train vae --observation gaussian --deviation 0.2

The folder of the run (--out) gets config.toml, metrics.jsonl, samples/epoch-0001.png …,
checkpoint.safetensors and checkpoint.safetensors.previous.")]
    Vae {
        #[command(flatten)]
        train: Train,
        #[command(flatten)]
        flags: vae::Flags,
    },
    /// A small convolutional classifier
    #[command(after_help = "\
Examples:
  gradus train classifier --data mnist:data/mnist
  gradus train classifier --data digits --test mnist:data/mnist --json

The folder of the run (--out) gets config.toml, metrics.jsonl, checkpoint.safetensors and
checkpoint.safetensors.previous.")]
    Classifier {
        #[command(flatten)]
        train: Train,
        #[command(flatten)]
        flags: classifier::Flags,
    },
}

/// What all models' training has in common.
#[derive(Group, Default)]
pub struct Train {
    #[command(flatten)]
    pub run: RunFlags,
    /// Where to compute; `gradus devices` says what there is
    #[arg(long, value_enum, value_name = "DEVICE", default_value = "cpu")]
    pub device: On,
    /// Folder of the run [default: runs/MODEL, or runs/MODEL-2 … where that is taken]
    #[arg(long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
    /// File with options; flags come before it
    #[arg(long, value_name = "FILE", conflicts_with = "resume")]
    pub config: Option<PathBuf>,
    /// Go on with the run in the folder, bit for bit as if it had not been stopped
    #[arg(long)]
    pub resume: bool,
    /// Start over in a folder that has a run in it
    #[arg(long, conflicts_with = "resume")]
    pub force: bool,
    /// Say nothing but errors while training
    #[arg(long, short)]
    pub quiet: bool,
    /// Print the final figures as JSON
    #[arg(long)]
    pub json: bool,
}

/// A device by its kind.
#[derive(Clone, Copy, Default, ValueEnum)]
pub enum On {
    /// The processor
    #[default]
    Cpu,
    /// The best graphics card, or the one whose name contains GRADUS_ADAPTER
    Gpu,
}

impl On {
    pub fn open(self) -> Result<Device> {
        Ok(match self {
            On::Cpu => Device::cpu(),
            On::Gpu => Device::gpu()?,
        })
    }
}

/// Flags that are options of the run, too.
#[derive(Group, Serialize, Default)]
pub struct RunFlags {
    /// What to learn from: digits, digits:COUNT, mnist:FOLDER, cifar:FOLDER, idx:FILE, idx:FILE,LABELS, images:FOLDER
    #[arg(long, value_name = "DATA")]
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<String>,
    /// What to be judged by: the test part of such a set, or a share of --data such as 0.1 [default: the test part of
    /// --data]
    #[arg(long, value_name = "DATA|SHARE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    test: Option<String>,
    /// What to be judged by after each epoch, so that the test part is looked at only in the end: a share of --data such
    /// as 0.1, or another set
    #[arg(long, value_name = "SHARE|DATA")]
    #[serde(skip_serializing_if = "Option::is_none")]
    valid: Option<String>,
    /// What is done to pictures at each visit, drawn anew: flip, shift=PIXELS, or both with a comma
    #[arg(long, value_name = "LIST")]
    #[serde(skip_serializing_if = "Option::is_none")]
    augment: Option<String>,
    /// Black and white of grey: each pixel white with the probability of its value
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    binarize: Option<Binarize>,
    /// Times the whole set is gone through
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    epochs: Option<u64>,
    /// Pictures of a step
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    batch: Option<usize>,
    /// Everything random follows from it
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    /// Height and width that pictures of a folder are brought to
    #[arg(long, value_name = "PIXELS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<usize>,
    /// 1 to make pictures of a folder grey, 3 for colour
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    channels: Option<usize>,
    /// Folders whose pictures, resized, take more memory are read anew at each visit [default: 1024]
    #[arg(long, value_name = "MIB")]
    #[serde(skip_serializing_if = "Option::is_none")]
    cache: Option<u64>,
    /// Steps between two lines of metrics.jsonl
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    log_every: Option<u64>,
}

#[derive(Group)]
pub struct Sample {
    /// A checkpoint, or the folder of a run
    pub checkpoint: PathBuf,
    /// How many pictures
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub count: u32,
    /// Which pictures: the same seed gives the same ones
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// The PNG to write
    #[arg(long, value_name = "FILE", default_value = "samples.png")]
    pub out: PathBuf,
}

#[derive(Group)]
pub struct Info {
    /// A checkpoint, or the folder of a run
    pub checkpoint: PathBuf,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Group)]
pub struct Check {
    /// Only ops whose name, variant or family contains this
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub filter: String,
    /// Random cases of each row
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub draws: u64,
    /// The first case
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
}
