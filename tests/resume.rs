//! A resumed run is the run: N steps, saved, loaded into new objects, and N more are 2N steps, bit for bit. And a
//! checkpoint that does not fit is refused by name, without changing anything.

use gradus::checkpoint::Checkpoint;
use gradus::data::LoaderState;
use gradus::nn::{Activation, BatchNorm1d, Dropout, Linear, Module, Param, Sequential, SpectralNorm};
use gradus::optim::{Adagrad, Adam, Ema, Optimizer, RmsProp, Rule, Sgd};
use gradus::schedule::Schedule;
use gradus::{DType, Rng, Tensor, module};

/// A small network with everything that has a state.
struct Net {
    body: Sequential,
    head: SpectralNorm<Linear>,
}
module!(Net { body, head });

impl Net {
    fn new(seed: u64) -> Net {
        let rng = &mut Rng::seed(seed);
        let body = Sequential::new()
            .push(Linear::new(3, 8, rng))
            .push(BatchNorm1d::new(8))
            .push(Activation::LeakyRelu(0.2))
            .push(Dropout::new(0.3, rng));
        Net { body, head: SpectralNorm::new(Linear::new(8, 2, rng), rng) }
    }
}

type Optimizers<R> = fn(Vec<(String, Param)>) -> Optimizer<R>;

/// All of a training run.
struct Run<R> {
    net: Net,
    opt: Optimizer<R>,
    ema: Ema,
    rng: Rng,
    schedule: Schedule,
}

impl<R: Rule> Run<R> {
    fn new(seed: u64, dtype: DType, make: Optimizers<R>) -> Run<R> {
        let net = Net::new(seed);
        net.convert(dtype);
        let opt = make(net.params());
        let ema = Ema::new(net.state(), 0.9).unwrap().ramp();
        let schedule = Schedule::Cosine { from: opt.lr(), to: 0.0, steps: 20 }.warm_up(3);
        Run { net, opt, ema, rng: Rng::seed(seed).split("data"), schedule }
    }

    fn step(&mut self) {
        let dtype = self.net.params()[0].1.get().dtype();
        let x = self.rng.normal_of([6, 3], dtype);
        let target = Tensor::stack(&[x.sum(1).sin(), x.square().mean(1)], 1);
        let y = self.net.head.forward(&self.net.body.forward(&x));
        let loss = (y - target).square().mean(..);
        self.opt.set_lr(self.schedule.at(self.opt.steps()));
        self.opt.step(&loss).unwrap();
        self.ema.update().unwrap();
    }

    fn save(&self) -> Vec<u8> {
        let mut c = Checkpoint::new();
        c.put_module("model", &self.net).unwrap();
        c.put_rngs("model", &self.net);
        c.put_optimizer("opt", &self.opt).unwrap();
        c.put_ema("ema", &self.ema).unwrap();
        c.put_rng("data", &self.rng);
        c.to_bytes().unwrap()
    }

    fn load(&mut self, bytes: &[u8]) {
        let c = Checkpoint::from_bytes(bytes).unwrap();
        c.load_module("model", &self.net).unwrap();
        c.load_rngs("model", &self.net).unwrap();
        c.load_optimizer("opt", &mut self.opt).unwrap();
        c.load_ema("ema", &mut self.ema).unwrap();
        self.rng = c.rng("data").unwrap();
    }
}

/// Cut at every step of ten; the file at the end, which holds all there is, is that of the unbroken run.
#[track_caller]
fn resumes<R: Rule>(dtype: DType, make: Optimizers<R>) {
    let mut whole = Run::new(1, dtype, make);
    let mut cuts = vec![whole.save()];
    for _ in 0..10 {
        whole.step();
        cuts.push(whole.save());
    }
    let moved = cuts.windows(2).all(|pair| pair[0] != pair[1]);
    assert!(moved, "a step that changes nothing tests nothing");
    for (n, bytes) in cuts.iter().enumerate() {
        // Other weights and draws, so that nothing can be right by not being loaded.
        let mut resumed = Run::new(2, dtype, make);
        resumed.step();
        resumed.load(bytes);
        assert!(resumed.save() == *bytes, "what was loaded is what was saved, cut {n}");
        (n..10).for_each(|_| resumed.step());
        assert!(resumed.save() == cuts[10], "cut at step {n}");
    }
}

#[test]
fn sgd_resumes() {
    resumes(DType::F32, |p| Sgd::new(p, 0.1));
    resumes(DType::F64, |p| Sgd::new(p, 0.1).momentum(0.9).nesterov().weight_decay(0.01));
}

#[test]
fn adam_resumes() {
    resumes(DType::F32, |p| Adam::new(p, 0.01).betas(0.5, 0.999).clip_norm(1.0));
    resumes(DType::F64, |p| Adam::adamw(p, 0.01, 0.1));
}

#[test]
fn rmsprop_and_adagrad_resume() {
    resumes(DType::F32, |p| RmsProp::new(p, 0.01).momentum(0.5).clip_value(0.5));
    resumes(DType::F64, |p| RmsProp::new(p, 0.01));
    resumes(DType::F32, |p| Adagrad::new(p, 0.1));
}

fn fault<T>(result: gradus::Result<T>) -> String {
    match result {
        Ok(_) => panic!("was accepted"),
        Err(e) => e.to_string(),
    }
}

#[test]
fn a_module_that_does_not_fit_is_refused_by_name() {
    let rng = &mut Rng::seed(1);
    let net = Linear::new(2, 3, rng);
    let before = net.weight.get().to_vec::<f32>().unwrap();
    let mut c = Checkpoint::new();
    c.put_module("d", &Linear::new(2, 4, rng)).unwrap();
    let message = fault(c.load_module("d", &net));
    assert!(message.contains("\"d.weight\" is f32 [4, 2], expected f32 [3, 2]"), "{message}");
    assert!(message.contains("\"d.bias\" is f32 [4], expected f32 [3]"), "{message}");
    let message = fault(c.load_module("g", &net));
    assert!(message.contains("\"g.weight\" is missing; \"g.bias\" is missing"), "{message}");
    assert!(fault(c.put_module("d", &net)).contains("\"d.weight\" already"));

    let mut c = Checkpoint::new();
    c.put_module("", &net).unwrap();
    c.tensors.insert("extra".into(), Tensor::zeros([1]));
    let message = fault(c.load_module("", &net));
    assert!(message.contains("\"extra\" is unexpected") && !message.contains("weight"), "{message}");
    c.tensors.remove("extra");
    c.tensors.insert("bias".into(), Tensor::zeros([3]).to(DType::F64));
    c.tensors.insert("weight".into(), Tensor::zeros([3, 2]));
    assert!(fault(c.load_module("", &net)).contains("\"bias\" is f64 [3], expected f32 [3]"));
    assert_eq!(net.weight.get().to_vec::<f32>().unwrap(), before, "nothing has changed");
    c.tensors.insert("bias".into(), Tensor::zeros([3]));
    c.load_module("", &net).unwrap();
    assert_eq!(net.weight.get().to_vec::<f32>().unwrap(), vec![0.0; 6]);

    let many = Sequential::new().push(net).push(BatchNorm1d::new(3)).push(BatchNorm1d::new(3));
    let message = fault(Checkpoint::new().load_module("m", &many));
    assert!(message.ends_with("and 4 more"), "{message}");
}

/// A file of PyTorch goes into the layer it came from, the count of batches included.
#[test]
fn a_layer_takes_pytorchs_file() {
    let bn = BatchNorm1d::new(3);
    let mut c = Checkpoint::load("tests/data/pytorch.safetensors").unwrap();
    c.tensors.retain(|name, _| name.starts_with("bn."));
    c.load_module("bn", &bn).unwrap();
    assert_eq!(bn.num_batches_tracked.get().item().unwrap(), 2.0);
    assert_eq!(bn.running_var.get().to_vec::<f32>().unwrap(), [0.989_282_7, 1.026_341_2, 0.966_443_2]);
}

#[test]
fn an_optimizer_that_does_not_fit_is_refused() {
    let net = Linear::new(2, 3, &mut Rng::seed(1));
    let (mut adam, mut sgd) = (Adam::new(net.params(), 0.1), Sgd::new(net.params(), 0.1).momentum(0.9));
    let mut c = Checkpoint::new();
    c.put_optimizer("opt", &adam).unwrap();
    let message = fault(c.load_optimizer("opt", &mut sgd));
    assert!(message.contains("\"opt.weight.momentum\" is missing"), "{message}");
    assert!(message.contains("\"opt.weight.m\" is unexpected"), "{message}");
    assert!(fault(c.load_optimizer("other", &mut adam)).contains("has no \"step:other\""));
    c.put("step:opt", -1);
    assert!(fault(c.load_optimizer("opt", &mut adam)).contains("\"step:opt\" is \"-1\", not a u64"));
    let mut ema = Ema::new(net.params(), 0.9).unwrap();
    c.put("updates:ema", 3);
    assert!(fault(c.load_ema("ema", &mut ema)).contains("\"ema.weight\" is missing"));
    assert_eq!((adam.steps(), sgd.steps(), ema.updates()), (0, 0, 0));
}

#[test]
fn positions_come_back() {
    let mut c = Checkpoint::new();
    c.put_loader("train", LoaderState { epoch: 3, position: 512 });
    let mut rng = Rng::seed(u64::MAX);
    rng.next_seed();
    c.put_rng("noise", &rng);
    c.put("loss", format_args!("{:?}", 0.1f64 + 0.2));
    let c = Checkpoint::from_bytes(&c.to_bytes().unwrap()).unwrap();
    assert_eq!(c.loader("train").unwrap(), LoaderState { epoch: 3, position: 512 });
    assert_eq!(c.rng("noise").unwrap(), rng);
    assert_eq!(c.get::<f64>("loss").unwrap(), 0.1 + 0.2);
    assert!(fault(c.rng("other")).contains("has no \"rng:other\""));
    let mut c = c;
    c.put("rng:noise", "7");
    assert!(fault(c.rng("noise")).contains("not two numbers"));
    let drop = Dropout::new(0.5, &mut rng);
    assert!(fault(c.load_rngs("net", &drop)).contains("\"rng:net.rng\""));
}
