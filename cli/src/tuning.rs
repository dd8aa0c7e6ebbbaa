//! What `gradus bench --tune` measured, kept for later runs: one file for each adapter in the user's cache folder.

use crate::output::note;
use anyhow::{Context, Result};
use gradus::{Adapter, Device, Tuning, files};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Bytes of such a file at most.
const LIMIT: u64 = 1 << 20;

/// The content of a file: whose it is, and the choices by class of kernels.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    gradus: String,
    adapter: String,
    driver: String,
    choices: BTreeMap<String, String>,
}

/// The best GPU, with the table that was measured on it if there is one. A file that cannot be used is said to be so, and
/// is otherwise as none.
pub fn open() -> gradus::Result<Device> {
    let gpu = Device::gpu()?;
    let Some((adapter, path)) = gpu.adapter().zip(gpu.adapter().and_then(path)) else { return Ok(gpu) };
    if path.exists() {
        match load(&path, adapter) {
            Ok(tuning) => gpu.set_tuning(tuning),
            Err(why) => note(&format!(
                "warning: {}: {why}; kernels go by their defaults. `gradus bench --tune --device gpu` measures anew and \
                 replaces the file",
                path.display()
            )),
        }
    }
    Ok(gpu)
}

/// Where the table of an adapter is kept; nothing where the user has no cache folder.
pub fn path(adapter: &Adapter) -> Option<PathBuf> {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let name: String = adapter.name.chars().map(plain).take(100).collect();
    Some(dirs::cache_dir()?.join("gradus").join(format!("tuning-{name}.toml")))
}

/// The table in a file, if it was measured by this version on this adapter with this driver.
fn load(path: &Path, adapter: &Adapter) -> std::result::Result<Tuning, String> {
    let bytes = files::read_bounded(path, LIMIT).map_err(|e| match e {
        // Whose path is said already.
        gradus::Error::File { reason, .. } => reason,
        other => other.to_string(),
    })?;
    let text = std::str::from_utf8(&bytes).map_err(|_| String::from("is no text"))?;
    let file: File =
        toml::from_str(text).map_err(|e| format!("is no table of choices ({})", first_line(&e)))?;
    let version = env!("CARGO_PKG_VERSION");
    for (what, found, here) in [
        ("for", &file.adapter, &adapter.name),
        ("with the driver", &file.driver, &adapter.driver),
        ("by gradus", &file.gradus, &String::from(version)),
    ] {
        if found != here {
            return Err(format!("was measured {what} {found:?}, and here is {here:?}"));
        }
    }
    let mut tuning = Tuning::default();
    for (class, choice) in &file.choices {
        tuning.set(class, choice).map_err(|e| e.to_string())?;
    }
    Ok(tuning)
}

fn first_line(error: &toml::de::Error) -> String {
    error.message().lines().next().unwrap_or_default().to_string()
}

/// Writes the device's table where [`open`] finds it.
pub fn save(gpu: &Device) -> Result<PathBuf> {
    let adapter = gpu.adapter().context("only a GPU has a table")?;
    let path = path(adapter).context("there is no cache folder for the table: set XDG_CACHE_HOME or HOME")?;
    let file = File {
        gradus: String::from(env!("CARGO_PKG_VERSION")),
        adapter: adapter.name.clone(),
        driver: adapter.driver.clone(),
        choices: gpu.tuning().entries().collect(),
    };
    let text = toml::to_string(&file)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).with_context(|| format!("{}: cannot be made", folder.display()))?;
    files::write_atomic(&path, |w| w.write_all(text.as_bytes()))?;
    Ok(path)
}
