//! Parallel loops: rayon's pool with the feature `parallel`, the calling thread without it.

/// Runs `f(0) … f(tasks - 1)`, each exactly once, in any order and on any thread.
///
/// Callers cut work into tasks by shape alone, so results do not depend on the number of threads.
pub fn for_each(tasks: usize, f: impl Fn(usize) + Sync + Send) {
    #[cfg(feature = "parallel")]
    if tasks > 1 && rayon::current_num_threads() > 1 {
        use rayon::prelude::*;
        if !team::for_each(tasks, &f) {
            (0..tasks).into_par_iter().with_max_len(1).for_each(f);
        }
        return;
    }
    (0..tasks).for_each(f);
}

/// Runs `f` on a thread of the pool, whose other threads stay awake meanwhile and for a short while after. For a row of
/// short loops: to wake a thread up takes longer than many of them.
pub fn inside<T: Send>(f: impl FnOnce() -> T + Send) -> T {
    #[cfg(feature = "parallel")]
    if rayon::current_num_threads() > 1 {
        return team::inside(f);
    }
    f()
}

#[cfg(feature = "parallel")]
mod team;

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
