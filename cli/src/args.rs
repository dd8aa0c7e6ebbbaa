//! The command line.

use crate::bench::{self, Bench};
use crate::commands::{check, devices, eval, info, interpolate, latent, reconstruct, sample};
use crate::data::Binarize;
use crate::graph::{self, Graph};
use crate::models::{ae, classifier, dcgan, gan, vae};
use clap::{Args as Group, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
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
  gradus sample runs/gan --count 100 --out digits.png
  gradus eval runs/gan

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
    #[command(after_help = sample::HELP)]
    Sample(sample::Sample),
    /// Show pictures beside what an autoencoder makes of them
    #[command(after_help = reconstruct::HELP)]
    Reconstruct(reconstruct::Reconstruct),
    /// Go from one picture to another through the codes between them
    #[command(after_help = interpolate::HELP)]
    Interpolate(interpolate::Interpolate),
    /// Draw a map of the codes of pictures
    #[command(after_help = latent::HELP)]
    Latent(latent::Latent),
    /// Measure a trained model
    #[command(after_help = eval::HELP)]
    Eval(eval::Eval),
    /// Say what is in a checkpoint
    #[command(after_help = info::HELP)]
    Info(info::Info),
    /// Compare the gradients of every op with differences of its values
    #[command(after_help = check::HELP)]
    Check(check::Check),
    /// Measure the machine, and how near the kernels come to what it can do
    #[command(after_help = bench::HELP)]
    Bench(Bench),
    /// Show the tape of a model's training step: as text, as a picture, by kernel
    #[command(after_help = graph::HELP)]
    Graph(Graph),
    /// Say what this machine has and what is used of it
    #[command(after_help = devices::HELP)]
    Devices(devices::Devices),
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
  gradus train gan --preset batch-norm --data mnist:data/mnist

Presets:
  batch-norm     batch normalization and plain ReLUs in G, hidden 256,512,
                 both rates 2e-4, batches of 100

Options that follow from the data: mnist 20 epochs; images, cifar 50.

The folder of the run (--out) gets config.toml, metrics.jsonl, samples/latest.png, samples/epoch-0001.png …, \
curves.png, checkpoint.safetensors and checkpoint.safetensors.previous.")]
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
  gradus train dcgan --preset wasserstein --data mnist:data/mnist

Presets:
  wasserstein    gradient penalty 10, layer normalization, 5 critic steps,
                 Adam 1e-4 (Gulrajani et al. 2017)
  spectral       hinge game, spectral normalization (Miyato et al. 2018)
  least-squares  squared errors for cross-entropies (Mao et al. 2017)

Options that follow from the data: mnist 6 epochs; images 64x64 in colour, 25 epochs, batches of 128; cifar the same \
at 32x32.

Pictures must be 4 or 7 times a power of two pixels square: 16, 28, 32, 64 …
The folder of the run (--out) gets config.toml, metrics.jsonl, samples/latest.png, samples/epoch-0001.png …, \
curves.png, checkpoint.safetensors and checkpoint.safetensors.previous.")]
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
  gradus train ae --preset denoising

Presets:
  deep           784-1000-500-250-30, squared error, 40 epochs, rate falling
                 to 0 (Hinton & Salakhutdinov 2006)
  convolutional  two convolutions of 32 and 64 channels, a linear code
  denoising      a quarter of the pixels erased (Vincent et al. 2008)
  plane          a code of two numbers, for `gradus latent`

Options that follow from the data: mnist 20 epochs; images, cifar convolutions 32,64,128 and a code of 128, in \
colour.

The folder of the run (--out) gets config.toml, metrics.jsonl, samples/latest.png, samples/epoch-0001.png … (rows \
of test pictures, what was made of them right below), curves.png, checkpoint.safetensors and \
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
  gradus train vae --preset burda --data mnist:data/mnist

Presets:
  burda          784-200-200-50 with tanh, batches of 20, 3,280 epochs
                 (Burda et al. 2016)
  convolutional  two convolutions of 32 and 64 channels, a layer of 256
  beta           the KL term four times, a code of 10 (Higgins et al. 2017)
  plane          a code of two numbers, for `gradus latent`

Options that follow from the data: mnist 23 epochs; images, cifar convolutions 32,64,128, normal pixels, a code of \
64.

The folder of the run (--out) gets config.toml, metrics.jsonl, samples/latest.png, samples/epoch-0001.png …, \
curves.png, checkpoint.safetensors and checkpoint.safetensors.previous.")]
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

Options that follow from the data: mnist 4 epochs; images 20, 32x32 in colour; cifar 10, with a larger network.

The folder of the run (--out) gets config.toml, metrics.jsonl, curves.png, checkpoint.safetensors and \
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
    /// Folder of the run [default: runs/MODEL, or runs/MODEL-2 … where that is taken]
    #[arg(long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
    /// A set of options that is known to work, see below; --config and flags come before it
    #[arg(long, value_name = "NAME", conflicts_with = "resume")]
    pub preset: Option<String>,
    /// File with options; flags come before it
    #[arg(long, value_name = "FILE", conflicts_with = "resume")]
    pub config: Option<PathBuf>,
    /// Go on with the run in the folder, bit for bit as if it had not been stopped
    #[arg(long)]
    pub resume: bool,
    /// Start over in a folder that has a run in it
    #[arg(long, conflicts_with = "resume")]
    pub force: bool,
    /// Where to compute; `gradus devices` says what there is
    #[arg(long, value_enum, default_value_t)]
    pub device: Device,
    /// Say nothing but errors while training
    #[arg(long, short)]
    pub quiet: bool,
    /// Print the final figures as JSON
    #[arg(long)]
    pub json: bool,
}

/// What computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Device {
    /// The processor
    #[default]
    Cpu,
    /// The best graphics card, or the one whose name contains GRADUS_ADAPTER
    Gpu,
}

impl Device {
    /// The device itself.
    pub fn open(self) -> gradus::Result<gradus::Device> {
        match self {
            Device::Cpu => Ok(gradus::Device::cpu()),
            #[cfg(feature = "gpu")]
            Device::Gpu => crate::tuning::open(),
            #[cfg(not(feature = "gpu"))]
            Device::Gpu => gradus::Device::gpu(),
        }
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
