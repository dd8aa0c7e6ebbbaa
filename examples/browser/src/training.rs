//! What the page trains: a variational autoencoder on drawn digits, on any device.

use gradus::data::{Digits, Loader, LoaderOptions};
use gradus::models::coder::Layers;
use gradus::models::vae::{Vae, VaeConfig};
use gradus::nn::Activation;
use gradus::train::Trainable;
use gradus::{Device, Result};
use std::sync::Arc;

const BATCH: usize = 64;
/// Digits to learn from.
const DIGITS: usize = 4096;

/// A model in training.
pub struct Training {
    device: Device,
    vae: Vae,
    loader: Loader,
}

impl Training {
    /// An untrained model on `device`.
    pub fn new(device: Device) -> Result<Training> {
        let layers = Layers::dense(&[256], Activation::Relu);
        let config = VaeConfig { latent: 16, layers, lr: 2e-3, ..VaeConfig::default() };
        let digits = Digits::new(1, DIGITS).images();
        let vae = device.scope(|| {
            let mut vae = Vae::new(config, 1)?;
            vae.set_means(&digits)?;
            Ok(vae)
        })?;
        // A page has no threads that could make batches ahead.
        let options = LoaderOptions { prefetch: 0, pixels: vae.pixels(), ..LoaderOptions::new(BATCH, 1) };
        Ok(Training { device, vae, loader: Loader::new(Arc::new(digits), options)? })
    }

    /// Where it trains.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// `count` steps; gives the loss of each, in nats per picture.
    pub async fn steps(&mut self, count: usize) -> Result<Vec<f32>> {
        let mut losses = Vec::with_capacity(count);
        for _ in 0..count {
            let batch = self.loader.next_batch()?;
            let named = self.device.scope(|| self.vae.learn(&batch))?;
            losses.extend(named.into_iter().take(1).map(|(_, loss)| loss));
        }
        // Only now, so that the device is waited for once.
        let mut values = Vec::with_capacity(count);
        for loss in losses {
            values.extend(loss.read::<f32>().await?);
        }
        Ok(values)
    }

    /// `count` digits that the model makes up, 28 x 28 pixels each from 0 (paper) to 255 (ink).
    pub async fn pictures(&mut self, count: usize) -> Result<Vec<u8>> {
        let pictures = self.device.scope(|| self.vae.pictures(count, 1))?;
        let values = match pictures {
            Some(pictures) => pictures.read::<f32>().await?,
            None => Vec::new(),
        };
        Ok(values.into_iter().map(|v| (v * 255.0).round() as u8).collect())
    }
}
