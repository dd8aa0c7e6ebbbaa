//! Ten thousand training steps: memory stays flat, and after the first steps the system is asked for none. One test
//! to a process, because the counters are the process's.

use gradus::nn::{Linear, Module};
use gradus::optim::Adam;
use gradus::{Result, Rng, Tensor, exec_stats, memory_stats, module};

struct Net {
    l1: Linear,
    l2: Linear,
}
module!(Net { l1, l2 });

impl Net {
    fn new(widths: [usize; 3], rng: &mut Rng) -> Net {
        Net { l1: Linear::new(widths[0], widths[1], rng), l2: Linear::new(widths[1], widths[2], rng) }
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        self.l2.forward(&self.l1.forward(x).leaky_relu(0.2))
    }
}

/// Resident bytes of this process; `None` where the system does not say.
fn resident() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find(|l| l.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse::<usize>().ok().map(|kib| kib * 1024)
}

#[test]
fn ten_thousand_gan_steps_in_flat_memory() -> Result<()> {
    let mut rng = Rng::seed(3);
    let (g, d) = (Net::new([64, 256, 128], &mut rng), Net::new([128, 256, 1], &mut rng));
    let mut opt_g = Adam::new(g.params(), 1e-3).betas(0.5, 0.999);
    let mut opt_d = Adam::new(d.params(), 1e-3).betas(0.5, 0.999);
    let mut total = Tensor::from(0.0f32);
    let mut early = None;
    for step in 1..=10_000 {
        let real = rng.normal([32, 128]);
        let fake = g.forward(&rng.normal([32, 64])).stop_grad();
        let loss_d = (-d.forward(&real)).softplus().mean(..) + d.forward(&fake).softplus().mean(..);
        opt_d.step(&loss_d)?;
        let loss_g = (-d.forward(&g.forward(&rng.normal([32, 64])))).softplus().mean(..);
        opt_g.step(&loss_g)?;
        // The classic leak: a running total that holds every step's graph.
        total = total + loss_d + loss_g;
        if step == 1000 {
            early = Some((memory_stats(), exec_stats().plans_made, resident()));
        }
    }
    let (memory, plans, rss) = early.expect("step 1000 was passed");
    assert_eq!(
        memory_stats().system_allocations,
        memory.system_allocations,
        "tensor memory asked of the system"
    );
    assert_eq!(exec_stats().plans_made, plans, "plans made after step 1000");
    if let (Some(before), Some(after)) = (rss, resident()) {
        assert!(after < before + before / 50, "resident memory grew from {before} to {after} bytes");
    }
    assert!(total.item()?.is_finite());
    Ok(())
}
