//! Weights trained by PyTorch give the same outputs here. `fixtures/pytorch_layers.py` made the file.

use gradus::checkpoint::Checkpoint;
use gradus::nn::{BatchNorm2d, Conv2d, ConvTranspose2d, Linear, Module};
use gradus::{ConvOptions, Rng, Tensor, module};

const FILE: &[u8] = include_bytes!("fixtures/pytorch_layers.safetensors");

struct Net {
    conv: Conv2d,
    grouped: Conv2d,
    bn: BatchNorm2d,
    up: ConvTranspose2d,
    fc: Linear,
}
module!(Net { conv, grouped, bn, up, fc });

impl Net {
    fn new(rng: &mut Rng) -> Net {
        let halve = ConvOptions::default().stride(2).padding(1);
        let wide = ConvOptions::default().padding(2).dilation(2).groups(2);
        Net {
            conv: Conv2d::new(2, 4, [3; 2], halve, rng),
            grouped: Conv2d::new(4, 4, [3; 2], wide, rng).without_bias(),
            bn: BatchNorm2d::new(4),
            up: ConvTranspose2d::new(4, 3, [4; 2], halve, rng),
            fc: Linear::new(3 * 6 * 8, 5, rng),
        }
    }

    fn forward(&self, x: &Tensor) -> [Tensor; 2] {
        let h = self.bn.forward(&self.grouped.forward(&self.conv.forward(x).relu()));
        let up = self.up.forward(&h.leaky_relu(0.2));
        [up.clone(), self.fc.forward(&up.tanh().flatten(1))]
    }
}

/// The largest difference, relative to the largest value.
fn difference(got: &Tensor, want: &Tensor) -> f64 {
    assert_eq!(got.shape(), want.shape());
    let scale = want.abs().max(..).item().unwrap();
    assert!(scale > 0.01, "the expected values are all about 0");
    (got - want).abs().max(..).item().unwrap() / scale
}

#[test]
fn layers_of_pytorch_give_the_same_outputs() {
    let file = Checkpoint::from_bytes(FILE).unwrap();
    let net = Net::new(&mut Rng::seed(1));
    let x = &file.tensors["x"];
    let before = difference(&net.forward(x)[1], &file.tensors["train.out"]);
    assert!(before > 0.1, "an untrained network cannot have these outputs");
    // Every name of the state_dict and no other.
    file.load_module("net", &net).unwrap();
    assert_eq!(net.bn.num_batches_tracked.get().item().unwrap(), 2.0);

    for (phase, training) in [("eval", false), ("train", true)] {
        net.set_training(training);
        let outputs = net.forward(x);
        for (name, got) in ["up", "out"].into_iter().zip(&outputs) {
            let error = difference(got, &file.tensors[&format!("{phase}.{name}")]);
            assert!(error < 1e-6, "{phase}.{name} differs by {error:e}");
        }
    }
    // The forward pass in training also moved the running statistics, as there.
    for (name, got) in [("running_mean", &net.bn.running_mean), ("running_var", &net.bn.running_var)] {
        let error = difference(&got.get(), &file.tensors[&format!("train.{name}")]);
        assert!(error < 1e-6, "{name} differs by {error:e}");
    }
    assert_eq!(net.bn.num_batches_tracked.get().item().unwrap(), 3.0);

    // And back: what is saved under PyTorch's names is the file's state, bit for bit.
    file.load_module("net", &net).unwrap();
    let mut saved = Checkpoint::new();
    saved.put_module("net", &net).unwrap();
    for (name, tensor) in &saved.tensors {
        let difference = (tensor - &file.tensors[name]).abs().max(..).item().unwrap();
        assert_eq!(difference, 0.0, "{name}");
    }
    assert_eq!(saved.tensors.len(), file.tensors.keys().filter(|k| k.starts_with("net.")).count());
}
