//! The folder of a run: who may write to it, and what lies in it.
//!
//! ```text
//! config.toml                      the complete configuration
//! metrics.jsonl                    a line of figures every few steps, and one after each epoch
//! samples/epoch-0001.png …         pictures made after each epoch
//! samples/latest.png               the newest of them
//! curves.png                       the figures of metrics.jsonl, drawn at the end
//! checkpoint.safetensors           the newest complete state
//! checkpoint.safetensors.previous  the one before it
//! lock                             exists while a process trains here
//! ```

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Map, Value};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Longest line of metrics that is read back.
const LINE_LIMIT: u64 = 1 << 20;

/// A folder that this process alone writes to.
pub struct RunDir {
    path: PathBuf,
    _lock: Lock,
}

/// What is done with a folder that has a run in it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    Refuse,
    Replace,
    Resume,
}

impl RunDir {
    /// Takes the folder `path`, making it where needed.
    pub fn take(path: PathBuf, existing: Existing) -> Result<RunDir> {
        fs::create_dir_all(&path).with_context(|| format!("{}: cannot make the folder", path.display()))?;
        let lock = Lock::take(path.join("lock"))?;
        let dir = RunDir { path, _lock: lock };
        let used = dir.config().exists() || dir.metrics().exists() || dir.checkpoint().exists();
        match existing {
            Existing::Refuse if used => bail!(
                "{}: holds a run already; --resume goes on with it, --force starts over in its place, --out FOLDER \
                 puts the new one elsewhere",
                dir.path.display()
            ),
            Existing::Replace => dir.clear()?,
            _ => {}
        }
        let samples = dir.path.join("samples");
        fs::create_dir_all(&samples)
            .with_context(|| format!("{}: cannot make the folder", samples.display()))?;
        Ok(dir)
    }

    /// Removes what a run leaves, and nothing else.
    fn clear(&self) -> Result<()> {
        let mut files = vec![
            self.config(),
            self.metrics(),
            self.curves(),
            self.latest(),
            self.checkpoint(),
            gradus::checkpoint::previous(&self.checkpoint()),
        ];
        if let Ok(entries) = fs::read_dir(self.path.join("samples")) {
            let names = entries.flatten().filter_map(|e| e.file_name().into_string().ok());
            let ours = names.filter(|n| n.starts_with("epoch-") && n.ends_with(".png"));
            files.extend(ours.map(|n| self.path.join("samples").join(n)));
        }
        for file in files {
            match fs::remove_file(&file) {
                Err(e) if e.kind() != ErrorKind::NotFound => {
                    return Err(anyhow!("{}: cannot be removed: {e}", file.display()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn config(&self) -> PathBuf {
        self.path.join("config.toml")
    }

    pub fn metrics(&self) -> PathBuf {
        self.path.join("metrics.jsonl")
    }

    pub fn checkpoint(&self) -> PathBuf {
        self.path.join("checkpoint.safetensors")
    }

    pub fn curves(&self) -> PathBuf {
        self.path.join("curves.png")
    }

    pub fn latest(&self) -> PathBuf {
        self.path.join("samples").join("latest.png")
    }

    pub fn sample(&self, epoch: u64) -> PathBuf {
        self.path.join("samples").join(format!("epoch-{epoch:04}.png"))
    }
}

/// The folder for a run that was not given one: the first of `runs/NAME`, `runs/NAME-2`, … that is free, or for
/// `--resume` the last that is not.
pub fn default_path(model: &str, existing: Existing) -> PathBuf {
    let nth = |n: u32| match n {
        1 => Path::new("runs").join(model),
        n => Path::new("runs").join(format!("{model}-{n}")),
    };
    let free = (1..).find(|&n| !nth(n).exists()).unwrap_or(1);
    match existing {
        Existing::Refuse => nth(free),
        Existing::Replace | Existing::Resume => nth(free.saturating_sub(1).max(1)),
    }
}

/// A file that says which process trains here, held by a lock of the operating system, which a killed process loses.
struct Lock {
    path: PathBuf,
    file: File,
}

impl Lock {
    fn take(path: PathBuf) -> Result<Lock> {
        let fail = |e: std::io::Error| anyhow!("{}: cannot be locked: {e}", path.display());
        loop {
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
                .map_err(fail)?;
            let mut owner = String::new();
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let _ = (&mut file).take(100).read_to_string(&mut owner);
                    bail!(
                        "{}: process {} is training here; wait for it, stop it, or give another folder with --out",
                        path.display(),
                        owner.trim()
                    );
                }
                Err(TryLockError::Error(e)) => return Err(fail(e)),
            }
            // Whoever held it may have removed the name between opening and locking.
            if !is_same(&file, &path) {
                continue;
            }
            let _ = (&mut file).take(100).read_to_string(&mut owner);
            if !owner.trim().is_empty() {
                crate::output::note(&format!(
                    "{}: left by process {}, which is gone without having removed it (killed?); going on",
                    path.display(),
                    owner.trim()
                ));
            }
            let write = |file: &mut File| {
                file.set_len(0)?;
                file.seek(SeekFrom::Start(0))?;
                writeln!(file, "{}", std::process::id())
            };
            write(&mut file).map_err(fail)?;
            return Ok(Lock { path, file });
        }
    }
}

#[cfg(unix)]
fn is_same(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), fs::metadata(path)) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}

/// Elsewhere an open file cannot be removed.
#[cfg(not(unix))]
fn is_same(_: &File, _: &Path) -> bool {
    true
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
        let _ = self.file.unlock();
    }
}

/// The lines of `metrics.jsonl`, each complete on disk or absent.
pub struct Metrics {
    path: PathBuf,
    file: File,
}

impl Metrics {
    /// Opens the file and keeps its lines up to `step`, the first that is later or broken and all after it cut off.
    /// Also the `seconds` of the last line kept.
    pub fn open(path: PathBuf, step: u64) -> Result<(Metrics, f64)> {
        let fail = |e: std::io::Error| anyhow!("{}: {e}", path.display());
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(fail)?;
        if !file.metadata().map_err(fail)?.is_file() {
            bail!("{}: is not a regular file", path.display());
        }
        let (mut end, mut seconds) = (0, 0.0);
        let mut reader = BufReader::new(&file);
        let mut line = Vec::new();
        loop {
            line.clear();
            let length = (&mut reader).take(LINE_LIMIT).read_until(b'\n', &mut line).map_err(fail)?;
            let parsed =
                line.ends_with(b"\n").then(|| serde_json::from_slice::<Map<String, Value>>(&line).ok());
            let Some(Some(values)) = parsed else { break };
            if values.get("step").and_then(Value::as_u64).is_none_or(|s| s > step) {
                break;
            }
            end += length as u64;
            seconds = values.get("seconds").and_then(Value::as_f64).unwrap_or(seconds);
        }
        file.set_len(end).map_err(fail)?;
        let mut file = file;
        file.seek(SeekFrom::Start(end)).map_err(fail)?;
        Ok((Metrics { path, file }, seconds))
    }

    /// Appends a line.
    pub fn write(&mut self, values: &Map<String, Value>) -> Result<()> {
        let line = format!("{}\n", Value::Object(values.clone()));
        self.file.write_all(line.as_bytes()).with_context(|| self.path.display().to_string())
    }

    /// Brings the lines to the disk: a checkpoint that follows must not be ahead of them.
    pub fn sync(&mut self) -> Result<()> {
        self.file.sync_data().with_context(|| self.path.display().to_string())
    }
}
