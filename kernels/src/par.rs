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

/// Runs `f` on a thread of the pool, whose loops then need nobody to wake them up and wake nobody when they are done.
/// Worth it for a row of loops: the way in costs one switch of threads, and so does the way out.
pub fn inside<T: Send>(f: impl FnOnce() -> T + Send) -> T {
    #[cfg(feature = "parallel")]
    if rayon::current_num_threads() > 1 && rayon::current_thread_index().is_none() {
        return rayon::scope(|_| f());
    }
    f()
}

/// How many threads [`for_each`] may use. For choosing a grain only: no result may depend on it.
pub fn threads() -> usize {
    #[cfg(feature = "parallel")]
    return rayon::current_num_threads();
    #[cfg(not(feature = "parallel"))]
    1
}
