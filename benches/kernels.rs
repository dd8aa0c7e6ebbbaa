//! Every kernel at a few sizes beside its plain loop, and the training steps: `cargo bench --bench kernels [FILTER]`.
//!
//! The plain loop does a part of the work where all of it would take too long; compare throughputs, not times. Groups
//! are gemm, conv, map, reduce and step. `gradus bench` measures more sizes, by instruction set and threads.

use criterion::{Criterion, Throughput};
use gradus::Rng;
use gradus_bench::cases::{KERNELS, Work, cases};
use gradus_bench::steps::WORKLOADS;
use std::time::Duration;

/// The work as criterion counts it: an element is one floating-point operation.
fn throughput(work: Work, part: f64) -> Throughput {
    match work {
        Work::Flops(n) => Throughput::Elements((n * part) as u64),
        Work::Bytes(n) => Throughput::Bytes((n * part) as u64),
    }
}

fn kernels(criterion: &mut Criterion) {
    for kernel in KERNELS {
        let mut group = criterion.benchmark_group(kernel);
        for case in cases(kernel).iter().filter(|c| c.quick) {
            group.throughput(throughput(case.work, 1.0));
            group.bench_function(&case.name, |bencher| {
                let mut run = case.fast();
                bencher.iter(&mut run);
            });
            group.bench_function(format!("{}, plain loop", case.name), |bencher| {
                let (mut run, _) = case.naive();
                bencher.iter(&mut run);
            });
        }
        group.finish();
    }
}

fn steps(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("step");
    for workload in &WORKLOADS {
        group.throughput(Throughput::Elements(workload.flops as u64));
        group.bench_function(workload.name, |bencher| {
            let mut step = (workload.build)(&mut Rng::seed(0));
            bencher.iter(|| step().expect("a step is possible"));
        });
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1))
        .without_plots()
        .configure_from_args();
    kernels(&mut criterion);
    steps(&mut criterion);
    criterion.final_summary();
}
