//! Parallel loops: every task runs once, whoever calls, however they are nested, and a panic comes back to its caller.

use gradus_kernels::par;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// A pool that has threads to share with on any machine.
fn on_threads<T: Send>(threads: usize, f: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(f)
}

fn every_task_once(tasks: usize) {
    let runs: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
    par::for_each(tasks, |task| {
        runs[task].fetch_add(1, Relaxed);
    });
    assert!(runs.iter().all(|n| n.load(Relaxed) == 1), "{tasks} tasks");
}

#[test]
fn each_task_runs_once() {
    for threads in [1, 2, 3, 20] {
        on_threads(threads, || {
            for tasks in [0, 1, 2, 3, 7, 64, 1000] {
                every_task_once(tasks);
                par::inside(|| every_task_once(tasks));
            }
        });
    }
}

#[test]
fn loops_may_be_nested() {
    on_threads(3, || {
        par::inside(|| {
            par::for_each(5, |_| {
                every_task_once(7);
                par::inside(|| every_task_once(9));
            });
            par::inside(|| every_task_once(11));
        });
    });
}

#[test]
fn several_callers_at_once() {
    on_threads(2, || {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for tasks in 0..200 {
                        par::inside(|| every_task_once(tasks));
                    }
                });
            }
            for tasks in 0..200 {
                par::inside(|| every_task_once(tasks));
            }
        });
    });
}

#[test]
fn a_panic_comes_back_and_the_next_loop_runs() {
    on_threads(2, || {
        for broken in [0, 5, 9] {
            let run = || par::inside(|| par::for_each(10, |task| assert!(task != broken, "task {broken}")));
            let panic = catch_unwind(AssertUnwindSafe(run)).unwrap_err();
            assert!(
                panic.downcast_ref::<String>().is_some_and(|text| text.contains(&format!("task {broken}")))
            );
            par::inside(|| every_task_once(10));
        }
    });
}

#[test]
fn other_work_of_the_pool_goes_on_meanwhile() {
    on_threads(2, || {
        par::inside(|| {
            let (sender, receiver) = std::sync::mpsc::channel();
            for number in 0..100 {
                let sender = sender.clone();
                rayon::spawn(move || sender.send(number).unwrap());
                every_task_once(10);
            }
            drop(sender);
            let mut got: Vec<i32> = receiver.iter().collect();
            got.sort_unstable();
            assert!(got.into_iter().eq(0..100));
        });
    });
}
