//! Parallel loops: rayon's pool with the feature `parallel`, the calling thread without it.

/// Runs `f(0) … f(tasks - 1)`, each exactly once, in any order and on any thread.
///
/// Callers cut work into tasks by shape alone, so results do not depend on the number of threads.
pub fn for_each(tasks: usize, f: impl Fn(usize) + Sync + Send) {
    #[cfg(feature = "parallel")]
    if tasks > 1 && rayon::current_num_threads() > 1 {
        use rayon::prelude::*;
        (0..tasks).into_par_iter().with_max_len(1).for_each(f);
        return;
    }
    (0..tasks).for_each(f);
}

/// Runs `f` on a thread of the pool, whose other threads stay awake meanwhile. For a row of short loops: to wake a
/// thread up takes longer than many of them.
pub fn inside<T: Send>(f: impl FnOnce() -> T + Send) -> T {
    #[cfg(feature = "parallel")]
    if rayon::current_num_threads() > 1 {
        return awake::inside(f);
    }
    f()
}

#[cfg(feature = "parallel")]
mod awake {
    use std::cell::Cell;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::{Duration, Instant};

    /// A thread that finds nothing to do for so long sleeps as usual.
    const PATIENCE: Duration = Duration::from_micros(300);
    /// Looks for work between two looks at the clock.
    const LOOKS: usize = 32;

    thread_local! {
        /// Whether this thread is the one that runs `f`, or already waits for work.
        static ENGAGED: Cell<bool> = const { Cell::new(false) };
    }

    struct Engaged(bool);

    impl Engaged {
        fn new() -> Engaged {
            Engaged(ENGAGED.replace(true))
        }
    }

    impl Drop for Engaged {
        fn drop(&mut self) {
            ENGAGED.set(self.0);
        }
    }

    /// Raises a flag when it goes, also in a panic.
    struct Raise<'a>(&'a AtomicBool);

    impl Drop for Raise<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Release);
        }
    }

    pub(super) fn inside<T: Send>(f: impl FnOnce() -> T + Send) -> T {
        if ENGAGED.get() {
            return f();
        }
        let done = AtomicBool::new(false);
        rayon::scope(|scope| {
            let _engaged = Engaged::new();
            for _ in 1..rayon::current_num_threads() {
                scope.spawn(|_| attend(&done));
            }
            let _raise = Raise(&done);
            f()
        })
    }

    /// Takes up work as soon as there is some, until `done` or out of patience.
    fn attend(done: &AtomicBool) {
        if ENGAGED.get() {
            return;
        }
        let _engaged = Engaged::new();
        let mut idle_since = Instant::now();
        while !done.load(Ordering::Acquire) {
            let mut worked = false;
            for _ in 0..LOOKS {
                worked |= rayon::yield_now() == Some(rayon::Yield::Executed);
                std::hint::spin_loop();
            }
            if worked {
                idle_since = Instant::now();
            } else if idle_since.elapsed() > PATIENCE {
                return;
            }
        }
    }
}

/// Whether the calling thread belongs to the pool. Such a thread must not wait for an evaluation, which may itself be
/// waiting for what this thread has begun.
pub fn is_worker() -> bool {
    #[cfg(feature = "parallel")]
    return rayon::current_thread_index().is_some();
    #[cfg(not(feature = "parallel"))]
    false
}

/// How many threads [`for_each`] may use. For choosing a grain only: no result may depend on it.
pub fn threads() -> usize {
    #[cfg(feature = "parallel")]
    return rayon::current_num_threads();
    #[cfg(not(feature = "parallel"))]
    1
}
