//! Whole training steps, timed by the protocol that the peers are timed by: at least three warm-up calls, then
//! samples of at least 2 ms each for the budget. One JSON line for each workload.
//!
//! `cargo bench --bench train -- [--threads N] [--budget SECONDS] [--only NAME] [--split]`
//!
//! `--split` adds where the time goes: building expressions, planning (replayed), and running kernels.

use gradus::nn::{Linear, Module};
use gradus::optim::Adam;
use gradus::{Result, Rng, Tensor, exec_stats, module};
use std::time::{Duration, Instant};

/// Linear layers with an activation between them.
struct Mlp {
    layers: Vec<Linear>,
}
module!(Mlp { layers });

impl Mlp {
    fn new(widths: &[usize], rng: &mut Rng) -> Mlp {
        Mlp { layers: widths.windows(2).map(|w| Linear::new(w[0], w[1], rng)).collect() }
    }

    fn forward(&self, x: &Tensor, activation: impl Fn(Tensor) -> Tensor) -> Tensor {
        let last = self.layers.len() - 1;
        let hidden = self.layers[..last].iter().fold(x.clone(), |x, layer| activation(layer.forward(&x)));
        self.layers[last].forward(&hidden)
    }
}

/// Binary cross-entropy on logits against a constant target, averaged.
fn bce(logits: &Tensor, target: f64) -> Tensor {
    (logits.softplus() - logits * target).mean(..)
}

type Step = Box<dyn FnMut() -> Result<()>>;

fn mlp_gan(rng: &mut Rng) -> Step {
    let leaky = |x: Tensor| x.leaky_relu(0.2);
    let g = Mlp::new(&[100, 256, 512, 1024, 784], rng);
    let d = Mlp::new(&[784, 1024, 512, 256, 1], rng);
    let mut opt_g = Adam::new(g.params(), 2e-4).betas(0.5, 0.999);
    let mut opt_d = Adam::new(d.params(), 2e-4).betas(0.5, 0.999);
    let real = rng.uniform([128, 784]) * 2.0 - 1.0;
    let mut noise = rng.split("noise");
    Box::new(move || {
        real.eval()?;
        let fake = g.forward(&noise.normal([128, 100]), leaky).tanh().stop_grad();
        let loss_d = bce(&d.forward(&real, leaky), 1.0) + bce(&d.forward(&fake, leaky), 0.0);
        opt_d.step(&loss_d)?;
        let fake = g.forward(&noise.normal([128, 100]), leaky).tanh();
        let loss_g = bce(&d.forward(&fake, leaky), 1.0);
        opt_g.step(&loss_g)?;
        assert!(loss_d.item()?.is_finite() && loss_g.item()?.is_finite());
        Ok(())
    })
}

fn autoencoder(rng: &mut Rng) -> Step {
    let net = Mlp::new(&[784, 512, 256, 32, 256, 512, 784], rng);
    let mut opt = Adam::new(net.params(), 1e-3);
    let x = rng.uniform([128, 784]);
    Box::new(move || {
        x.eval()?;
        let logits = net.forward(&x, |h| h.relu());
        let loss = (logits.softplus() - &logits * &x).mean(..);
        opt.step(&loss)?;
        assert!(loss.item()?.is_finite());
        Ok(())
    })
}

struct Vae {
    hidden: Linear,
    mu: Linear,
    logvar: Linear,
    decoder: Mlp,
}
module!(Vae { hidden, mu, logvar, decoder });

fn vae(rng: &mut Rng) -> Step {
    let net = Vae {
        hidden: Linear::new(784, 400, rng),
        mu: Linear::new(400, 20, rng),
        logvar: Linear::new(400, 20, rng),
        decoder: Mlp::new(&[20, 400, 784], rng),
    };
    let mut opt = Adam::new(net.params(), 1e-3);
    let x = rng.uniform([128, 784]);
    let mut noise = rng.split("noise");
    Box::new(move || {
        x.eval()?;
        let h = net.hidden.forward(&x).relu();
        let (mu, logvar) = (net.mu.forward(&h), net.logvar.forward(&h));
        let z = &mu + (&logvar * 0.5).exp() * noise.normal([128, 20]);
        let logits = net.decoder.forward(&z, |h| h.relu());
        let reconstruction = (logits.softplus() - &logits * &x).sum(..);
        let kl = (mu.square() + logvar.exp() - &logvar - 1.0).sum(..) * 0.5;
        let loss = (reconstruction + kl) / 128.0;
        opt.step(&loss)?;
        assert!(loss.item()?.is_finite());
        Ok(())
    })
}

struct Options {
    threads: usize,
    budget: f64,
    only: Option<String>,
    split: bool,
}

fn options() -> Options {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| args.iter().position(|a| a == name).and_then(|i| args.get(i + 1)).cloned();
    Options {
        threads: value("--threads").and_then(|v| v.parse().ok()).unwrap_or(0),
        budget: value("--budget").and_then(|v| v.parse().ok()).unwrap_or(2.0),
        only: value("--only"),
        split: args.iter().any(|a| a == "--split"),
    }
}

fn measure(step: &mut Step, budget: f64) -> Result<Vec<f64>> {
    let warm = Instant::now();
    let (mut calls, mut one) = (0, Duration::MAX);
    while calls < 3 || (warm.elapsed().as_secs_f64() < 0.1 && calls < 1000) {
        let start = Instant::now();
        step()?;
        one = one.min(start.elapsed());
        calls += 1;
    }
    let reps = (2e-3 / one.as_secs_f64()).ceil().max(1.0) as usize;
    let (begin, mut samples) = (Instant::now(), Vec::new());
    while samples.len() < 7 || (begin.elapsed().as_secs_f64() < budget && samples.len() < 400) {
        let start = Instant::now();
        for _ in 0..reps {
            step()?;
        }
        samples.push(start.elapsed().as_secs_f64() / reps as f64);
    }
    samples.sort_by(f64::total_cmp);
    Ok(samples)
}

fn report(name: &str, flops: f64, mut step: Step, o: &Options) -> Result<()> {
    if o.only.as_deref().is_some_and(|only| only != name) {
        return Ok(());
    }
    let samples = measure(&mut step, o.budget)?;
    let (before, start, n) = (exec_stats(), Instant::now(), 20);
    for _ in 0..n {
        step()?;
    }
    let (after, total) = (exec_stats(), start.elapsed());
    let quantile = |q: f64| samples[((samples.len() - 1) as f64 * q) as usize];
    let median = quantile(0.5);
    println!(
        "{{\"suite\": \"train\", \"name\": \"{name}\", \"impl\": \"gradus\", \"threads\": {}, \"median_s\": {median:.9}, \"min_s\": {:.9}, \"iqr\": {:.9}, \"n\": {}, \"flops\": {flops}, \"gflops\": {:.3}}}",
        gradus::kernels::par::threads(),
        samples[0],
        quantile(0.75) - quantile(0.25),
        samples.len(),
        flops / median / 1e9
    );
    if o.split {
        let planning = after.planning - before.planning;
        let running = after.running - before.running;
        let building = total.saturating_sub(planning + running);
        let share = |t: Duration| 100.0 * t.as_secs_f64() / total.as_secs_f64();
        println!(
            "# {name}: building {:.0} us ({:.2} %), planning {:.0} us ({:.2} %), running {:.0} us, {} kernels a step, {} plans made",
            building.as_secs_f64() * 1e6 / n as f64,
            share(building),
            planning.as_secs_f64() * 1e6 / n as f64,
            share(planning),
            running.as_secs_f64() * 1e6 / n as f64,
            (after.kernels_run - before.kernels_run) / n as u64,
            after.plans_made - before.plans_made,
        );
    }
    Ok(())
}

fn main() -> Result<()> {
    let o = options();
    if o.threads > 0 {
        rayon::ThreadPoolBuilder::new().num_threads(o.threads).build_global().expect("the pool is made once");
    }
    let mut rng = Rng::seed(0);
    report("mlpgan", 4_088_659_968.0, mlp_gan(&mut rng), &o)?;
    report("ae", 727_973_888.0, autoencoder(&mut rng), &o)?;
    report("vae", 418_611_200.0, vae(&mut rng), &o)?;
    Ok(())
}
