//! Memory and submissions of a long training, by the device's counters: alone in its program, because they count everybody.
#![cfg(feature = "gpu")]

mod gpu_support;

use gpu_support::gpu;
use gradus::nn::{Linear, Module};
use gradus::optim::Adam;
use gradus::{Rng, Tensor, module};

struct Net {
    l1: Linear,
    l2: Linear,
}
module!(Net { l1, l2 });

#[test]
fn a_thousand_steps_take_no_more_memory_than_the_first() {
    let Some(gpu) = gpu() else { return };
    gpu.scope(|| {
        let mut rng = Rng::seed(1);
        let net = Net { l1: Linear::new(8, 16, &mut rng), l2: Linear::new(16, 1, &mut rng) };
        // At 1e-3 the corrected rate equals 1 - β₂ at one step, bit for bit, and equal numbers make a plan of their own.
        let mut adam = Adam::new(net.params(), 2e-3);
        let mut step = || {
            let x = Tensor::from_vec(vec![0.5f32; 32 * 8], [32, 8]);
            let y = net.l2.forward(&net.l1.forward(&(x + rng.normal([32, 8]))).tanh());
            let loss = (y - 1.0).square().mean(..);
            adam.step(&loss).unwrap();
            loss.item().unwrap()
        };
        (0..20).for_each(|_| {
            step();
        });
        let before = gpu.stats().unwrap();
        let mut last = f64::NAN;
        (0..1000).for_each(|_| last = step());
        let after = gpu.stats().unwrap();
        assert!(last < 0.5, "{last}");
        assert_eq!(
            (after.allocations, after.live),
            (before.allocations, before.live),
            "{before:?} {after:?}"
        );
        assert_eq!((after.peak, after.pipelines), (before.peak, before.pipelines));
        // One for each step and the value read after it.
        assert_eq!(after.submissions - before.submissions, 1000);
        drop((net, adam));
        let end = gpu.stats().unwrap();
        assert!(
            end.live < after.live && end.pooled > after.pooled,
            "what is freed goes back to the pool: {end:?}"
        );
    });
}
