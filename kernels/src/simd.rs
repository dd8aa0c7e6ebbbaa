//! Which instruction set the kernels use: detected at run time, so one portable binary runs at full speed.

use std::sync::atomic::{AtomicU8, Ordering};

/// An instruction-set level. Every kernel has a path for each; levels are ordered by width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// Plain Rust, whatever the compiler was told it may use.
    Portable = 1,
    /// AVX2 and FMA: 256-bit vectors.
    Avx2 = 2,
    /// AVX-512 F, BW, DQ and VL: 512-bit vectors. Without the feature `avx512` the kernels lack it, and it is never used.
    Avx512 = 3,
}

impl Level {
    /// The name that `GRADUS_SIMD` takes.
    pub const fn name(self) -> &'static str {
        match self {
            Level::Portable => "portable",
            Level::Avx2 => "avx2",
            Level::Avx512 => "avx512",
        }
    }
}

/// All levels this machine can run, narrowest first.
pub fn available() -> Vec<Level> {
    [Level::Portable, Level::Avx2, Level::Avx512].into_iter().filter(|&l| l <= detected()).collect()
}

/// The widest level this machine can run.
pub fn detected() -> Level {
    #[cfg(target_arch = "x86_64")]
    {
        let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        #[cfg(feature = "avx512")]
        let avx512 = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        #[cfg(feature = "avx512")]
        if avx2 && avx512 {
            return Level::Avx512;
        }
        if avx2 {
            return Level::Avx2;
        }
    }
    Level::Portable
}

static CURRENT: AtomicU8 = AtomicU8::new(0);

/// The level kernels run at: the widest available, or a narrower one asked for by the environment variable
/// `GRADUS_SIMD` (`portable`, `avx2`, `avx512`; anything else, or more than the machine has, is ignored) or by
/// [`force`].
pub fn level() -> Level {
    match CURRENT.load(Ordering::Relaxed) {
        1 => Level::Portable,
        2 => Level::Avx2,
        3 => Level::Avx512,
        _ => {
            let asked = match std::env::var("GRADUS_SIMD").as_deref() {
                Ok("portable") => Level::Portable,
                Ok("avx2") => Level::Avx2,
                _ => Level::Avx512,
            };
            force(asked)
        }
    }
}

/// Uses at most `level` from now on, in the whole process, and returns what is really used. For tests and
/// benchmarks; results of different levels agree within rounding, not bit for bit.
pub fn force(level: Level) -> Level {
    let level = level.min(detected());
    CURRENT.store(level as u8, Ordering::Relaxed);
    level
}

/// Asks for the cache line at `at`, which need not be readable.
#[inline(always)]
pub(crate) fn prefetch<T>(at: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch reads nothing that the program could see, and every x86-64 has it.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}
