//! A small convolutional classifier in the manner of LeNet-5 (LeCun et al. 1998): two convolutions, each followed by a
//! pooling, and two fully connected layers. Learns by cross-entropy.

use crate::checkpoint::Checkpoint;
use crate::data::{Batch, Loader, Pixels};
use crate::loss::cross_entropy;
use crate::metrics::Measured;
use crate::nn::{Conv2d, Linear, Module};
use crate::optim::Adam;
use crate::train::{Figures, Losses, Trainable};
use crate::{ConvOptions, Error, Result, Rng, Tensor, module};

/// Sizes and rates of a [`Classifier`].
#[derive(Clone, Debug, PartialEq)]
pub struct ClassifierConfig {
    /// Channels, height and width of a picture.
    pub image: [usize; 3],
    /// How many classes there are.
    pub classes: usize,
    /// Channels of the two convolutions.
    pub channels: [usize; 2],
    /// Width of the fully connected layer.
    pub hidden: usize,
    /// Adam's learning rate.
    pub lr: f64,
}

impl Default for ClassifierConfig {
    fn default() -> Self {
        ClassifierConfig { image: [1, 28, 28], classes: 10, channels: [16, 32], hidden: 128, lr: 1e-3 }
    }
}

/// Mean and standard deviation of MNIST's pixels: all pictures are standardised as those are.
const MEAN: f64 = 0.1307;
const DEVIATION: f64 = 0.3081;

/// Pictures `[n, c, h, w]` → logits `[n, classes]`.
pub struct Network {
    conv1: Conv2d,
    conv2: Conv2d,
    hidden: Linear,
    out: Linear,
}
module!(Network { conv1, conv2, hidden, out });

impl Network {
    /// The network of a configuration.
    pub fn new(config: &ClassifierConfig, rng: &mut Rng) -> Network {
        let ([c, h, w], [c1, c2]) = (config.image, config.channels);
        let same = ConvOptions::default().padding(1);
        Network {
            conv1: Conv2d::new(c, c1, [3, 3], same, rng),
            conv2: Conv2d::new(c1, c2, [3, 3], same, rng),
            hidden: Linear::new(c2 * (h / 4) * (w / 4), config.hidden, rng),
            out: Linear::new(config.hidden, config.classes, rng),
        }
    }

    /// What the fully connected layer makes of x `[n, c, h, w]`, before its ReLU: `[n, hidden]`.
    pub fn features(&self, x: &Tensor) -> Tensor {
        let h = self.conv1.forward(x).max_pool2d(2, 2, 0).relu();
        let h = self.conv2.forward(&h).max_pool2d(2, 2, 0).relu();
        self.hidden.forward(&h.flatten(1))
    }

    /// Logits `[n, classes]` of features `[n, hidden]`.
    pub fn logits(&self, features: &Tensor) -> Tensor {
        self.out.forward(&features.relu())
    }

    /// x `[n, c, h, w]` → `[n, classes]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        self.logits(&self.features(x))
    }
}

/// The network and its optimizer.
pub struct Classifier {
    network: Network,
    opt: Adam,
}

impl Classifier {
    /// An untrained one: its parameters are a function of `seed`.
    ///
    /// # Errors
    /// When a figure of the configuration makes no sense; it is named.
    pub fn new(config: &ClassifierConfig, seed: u64) -> Result<Classifier> {
        let fail = |what: String| Err(Error::Data(format!("classifier: {what}")));
        let [_, h, w] = config.image;
        if h < 4 || w < 4 {
            return fail(format!("pictures of {h}x{w} are too small to be pooled twice"));
        }
        if config.classes < 2 {
            return fail(format!("{} classes: the data need labels of at least 2", config.classes));
        }
        let widths =
            [("channels", config.channels[0]), ("channels", config.channels[1]), ("hidden", config.hidden)];
        if let Some((name, n)) = widths.into_iter().find(|(_, n)| !(1..=65_536).contains(n)) {
            return fail(format!("{name} = {n} is not between 1 and 65536"));
        }
        if !(0.0..=f64::MAX).contains(&config.lr) {
            return fail(format!("lr = {} is not a rate", config.lr));
        }
        let network = Network::new(config, &mut Rng::seed(seed).split("classifier"));
        let opt = Adam::new(network.params(), config.lr);
        Ok(Classifier { network, opt })
    }

    /// Features and class probabilities of pictures from 0 to 1 `[n, c, h, w]`, computed some hundred at a time: what
    /// distances of samples are measured on.
    ///
    /// # Errors
    /// Those of computing, such as out of memory.
    ///
    /// # Panics
    /// If the pictures are of another size.
    #[track_caller]
    pub fn measure(&self, x: &Tensor) -> Result<Measured> {
        const ROWS: usize = 500;
        let n = x.shape()[0];
        let mut parts = Vec::new();
        for start in (0..n.max(1)).step_by(ROWS) {
            let some = x.slice(0, start as isize..n.min(start + ROWS) as isize);
            let features = self.network.features(&((some - MEAN) / DEVIATION));
            features.eval()?;
            parts.push(features.stop_grad());
        }
        let features = Tensor::cat(&parts, 0);
        let probabilities = self.network.logits(&features).softmax(1).stop_grad();
        features.eval()?;
        probabilities.eval()?;
        Ok(Measured { features, probabilities })
    }

    /// Logits and classes of a batch.
    fn judge(&self, batch: &Batch) -> Result<(Tensor, Tensor)> {
        let Some(labels) = &batch.labels else {
            return Err(Error::Data(String::from("classifier: the data have no labels")));
        };
        let x = Tensor::try_from_vec(batch.pixels.clone(), batch.shape)?;
        Ok((self.network.forward(&x), Tensor::try_from_vec(labels.clone(), [labels.len()])?))
    }
}

impl Trainable for Classifier {
    fn pixels(&self) -> Pixels {
        Pixels::Standardised { mean: MEAN as f32, deviation: DEVIATION as f32 }
    }

    fn learn(&mut self, batch: &Batch) -> Result<Losses> {
        let (logits, classes) = self.judge(batch)?;
        let loss = cross_entropy(&logits, &classes);
        self.opt.step(&loss)?;
        Ok(vec![("loss", loss)])
    }

    fn pictures(&mut self, _: usize, _: u64) -> Result<Option<Tensor>> {
        Ok(None)
    }

    /// Cross-entropy and the share of pictures recognised.
    fn evaluate(&mut self, test: &mut Loader) -> Result<Figures> {
        let (mut loss, mut right, mut count) = (0.0, 0.0, 0.0);
        for batch in test.epoch() {
            let (logits, classes) = self.judge(&batch?)?;
            let n = classes.numel() as f64;
            let hits = logits.argmax(1).eq(&classes).to(crate::DType::F32).sum(..);
            loss += cross_entropy(&logits, &classes).item()? * n;
            right += hits.item()?;
            count += n;
        }
        Ok(vec![("test_loss", loss / count), ("test_accuracy", right / count)])
    }

    fn state(&self) -> Result<Checkpoint> {
        let mut state = Checkpoint::new();
        state.put_module("classifier", &self.network)?;
        state.put_optimizer("classifier_adam", &self.opt)?;
        Ok(state)
    }

    fn load(&mut self, state: &Checkpoint) -> Result<()> {
        state.load_module("classifier", &self.network)?;
        state.load_optimizer("classifier_adam", &mut self.opt)
    }
}
