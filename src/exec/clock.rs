//! The time that work takes, for statistics. A browser's WebAssembly has no clock of its own (`Instant::now` of the
//! standard library panics there): every span is zero then.

#[cfg(not(all(target_arch = "wasm32", target_os = "unknown")))]
pub(super) use std::time::Instant;

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
pub(super) use none::Instant;

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
mod none {
    use std::ops::Sub;
    use std::time::Duration;

    /// A point in time that is the same for all.
    #[derive(Clone, Copy)]
    pub struct Instant;

    impl Instant {
        pub fn now() -> Instant {
            Instant
        }

        pub fn elapsed(self) -> Duration {
            Duration::ZERO
        }
    }

    impl Sub for Instant {
        type Output = Duration;

        fn sub(self, _: Instant) -> Duration {
            Duration::ZERO
        }
    }
}
