//! Memory and submissions of a long training, by the device's counters: alone in its program, because they count everybody.
#![cfg(feature = "gpu")]

mod gpu_support;
#[path = "gpu_support/net.rs"]
mod net;

use gpu_support::gpu;
use gradus::nn::Module;
use gradus::optim::Adam;
use gradus::{Rng, Tensor};
use net::Net;

#[test]
fn a_thousand_steps_take_no_more_memory_than_the_first() {
    let Some(gpu) = gpu() else { return };
    gpu.scope(|| {
        let mut rng = Rng::seed(1);
        let net = Net::new([8, 16, 1], &mut rng);
        // At 1e-3 the corrected rate equals 1 - β₂ at one step, bit for bit, and equal numbers make a plan of their own.
        let mut adam = Adam::new(net.params(), 2e-3);
        let mut step = || {
            let x = Tensor::from_vec(vec![0.5f32; 32 * 8], [32, 8]);
            let y = net.forward(&(x + rng.normal([32, 8])));
            let loss = (&y - 1.0).square().mean(..);
            let distance = (y - 1.0).abs().mean(..);
            let bias = net.l2.bias.as_ref().unwrap().get().sum(..);
            distance.eval().unwrap();
            adam.step(&loss).unwrap();
            let after = (net.l2.bias.as_ref().unwrap().get().sum(..) - bias).item().unwrap();
            // The mean of squares is at least the square of the mean; these two come with the difference read first.
            let (loss, distance) = (loss.item().unwrap(), distance.item().unwrap());
            assert!(after.is_finite() && loss >= distance * distance * 0.999, "{loss} {distance}");
            loss
        };
        (0..100).for_each(|_| {
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
        assert_eq!(after.bind_groups, before.bind_groups, "buffers come back in the same places");
        // One for each step and the three values read after it.
        assert_eq!(after.submissions - before.submissions, 1000);
        drop((net, adam));
        let end = gpu.stats().unwrap();
        assert!(
            end.live < after.live && end.pooled > after.pooled,
            "what is freed goes back to the pool: {end:?}"
        );
    });
}
