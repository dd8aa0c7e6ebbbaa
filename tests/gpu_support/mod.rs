//! What the GPU's test programs share.

use gradus::Device;

/// The device to test, or `None` with a note where there is no adapter; with `GRADUS_REQUIRE_GPU=1` that is a failure.
pub fn gpu() -> Option<Device> {
    match Device::gpu() {
        Ok(device) => Some(device),
        Err(e) => {
            let required = std::env::var_os("GRADUS_REQUIRE_GPU").is_some_and(|v| v == "1");
            assert!(!required, "GRADUS_REQUIRE_GPU=1, but: {e}");
            eprintln!("skipped: no adapter ({e})");
            None
        }
    }
}
