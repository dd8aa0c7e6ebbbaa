//! The options of autoencoders' layers.

use clap::ValueEnum;
use gradus::models::coder::Layers;
use gradus::nn::Activation;
use serde::{Deserialize, Serialize};

/// The flags of layers that autoencoders have in common.
#[derive(clap::Args, Serialize)]
pub struct LayerFlags {
    /// Channels of convolutions that halve the picture, before the other layers
    #[arg(long, value_name = "N,N,…", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Option::is_none")]
    conv: Option<Vec<usize>>,
    /// Widths of the encoder's layers; the decoder has them in reverse
    #[arg(long, value_name = "N,N,…", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Option::is_none")]
    hidden: Option<Vec<usize>>,
    /// What follows them
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    activation: Option<Nonlinearity>,
}

/// What follows a layer.
#[derive(Clone, Copy, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Nonlinearity {
    None,
    Relu,
    Tanh,
    Sigmoid,
}

impl Nonlinearity {
    /// `None` is no activation.
    pub fn activation(self) -> Option<Activation> {
        match self {
            Nonlinearity::None => None,
            Nonlinearity::Relu => Some(Activation::Relu),
            Nonlinearity::Tanh => Some(Activation::Tanh),
            Nonlinearity::Sigmoid => Some(Activation::Sigmoid),
        }
    }

    /// The layers with these widths and this between them.
    pub fn layers(self, channels: Vec<usize>, hidden: Vec<usize>) -> anyhow::Result<Layers> {
        match self.activation() {
            Some(activation) => Ok(Layers { channels, hidden, activation }),
            None => anyhow::bail!(
                "activation = \"none\" would make all layers one; there are relu, tanh, sigmoid"
            ),
        }
    }
}
