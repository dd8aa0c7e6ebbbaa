//! Between host and device: values uploaded, and read back through a future.

use super::context::Context;
use super::faults;
use super::pool::{DeviceBuffer, Origin, Which};
use crate::error::{Error, Result};
use crate::exec::{CAN_WAIT, may_block};
use gradus_kernels::DType;
use std::borrow::Cow;
use std::panic::Location;
use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

/// Row-major elements in a buffer of a device, from `offset` on; bools as words.
#[derive(Clone)]
pub(crate) struct Stored {
    pub(super) buffer: Arc<DeviceBuffer>,
    /// In elements.
    pub(super) offset: usize,
}

/// Bytes of an element on a device.
pub(super) const WORD: u64 = 4;

/// Bytes read before every value: the report of faults.
const FAULT: u64 = 16;

/// The elements `bytes` of type `dtype`, on the device.
///
/// # Errors
/// [`Error::Unsupported`] for f64, and what a buffer can give.
#[track_caller]
pub(crate) fn upload(context: &Arc<Context>, bytes: &[u8], dtype: DType) -> Result<Stored> {
    context.check()?;
    let words: Cow<[u8]> = match dtype {
        DType::F64 => {
            let what =
                format!("gpu ({}) has no f64: convert to f32 before moving there", context.adapter().name);
            return Err(Error::Unsupported { what });
        }
        DType::Bool => bytes.iter().flat_map(|&b| u32::from(b).to_ne_bytes()).collect(),
        _ => Cow::Borrowed(bytes),
    };
    let origin = Origin { op: "from_vec", site: Location::caller() };
    // The host's write comes before what is recorded and not yet submitted.
    let recording = context.submissions.load(Relaxed);
    let which = Which::Before(recording);
    let take = || context.pool.take(context, words.len() as u64, origin, which);
    let buffer = match take() {
        Err(Error::OutOfMemory { .. }) => {
            context.synchronize()?;
            context.pool.trim();
            take()?
        }
        result => result?,
    };
    // A large write would need as much memory again at once.
    for (i, chunk) in words.chunks(16 << 20).enumerate() {
        context.queue.write_buffer(&buffer.raw().buffer, (i as u64) << 24, chunk);
    }
    context.check()?;
    Ok(Stored { buffer, offset: 0 })
}

/// Bytes of the staging buffers that are kept.
const STAGED: u64 = 4096;
/// How many are kept.
const KEPT: usize = 4;

/// Buffers that small values are read through, kept for the next read.
#[derive(Default)]
pub(super) struct Staging(Mutex<Vec<wgpu::Buffer>>);

impl Staging {
    fn list(&self) -> MutexGuard<'_, Vec<wgpu::Buffer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A buffer of at least `bytes` bytes.
    fn take(&self, device: &wgpu::Device, bytes: u64) -> wgpu::Buffer {
        let kept = if bytes <= STAGED { self.list().pop() } else { None };
        kept.unwrap_or_else(|| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("read"),
                size: bytes.max(STAGED),
                usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        })
    }

    /// Takes back a mapped buffer that has been read.
    fn give_back(&self, buffer: wgpu::Buffer) {
        buffer.unmap();
        let mut list = self.list();
        if buffer.size() == STAGED && list.len() < KEPT {
            list.push(buffer);
        }
    }
}

/// What the driver says when a buffer can be read, and whom to tell.
#[derive(Default)]
struct Mapped {
    result: Option<std::result::Result<(), wgpu::BufferAsyncError>>,
    waker: Option<Waker>,
}

impl Stored {
    pub fn context(&self) -> &Arc<Context> {
        &self.buffer.context
    }

    /// Whether the first element is where four of them may be loaded at once.
    pub fn is_aligned(&self) -> bool {
        self.offset.is_multiple_of(4)
    }

    /// The bytes of the `n` elements, of type `dtype`.
    pub async fn download(&self, n: usize, dtype: DType) -> Result<Vec<u8>> {
        let known = self.buffer.known.get().filter(|(offset, _)| n == 1 && *offset == self.offset);
        let words = match known {
            Some((_, word)) => word.to_vec(),
            None => self.read(n).await?,
        };
        Ok(match dtype {
            DType::Bool => words.chunks_exact(4).map(|word| u8::from(word != [0; 4])).collect(),
            _ => words,
        })
    }

    /// The words of the `n` elements. Single numbers that somebody else waits for come along.
    async fn read(&self, n: usize) -> Result<Vec<u8>> {
        let context = self.context();
        let bytes = n as u64 * WORD;
        let (staging, submitted, others) = {
            let mut recorder = context.recorder();
            let mut others = recorder.take_scalars();
            others.retain(|other| !Arc::ptr_eq(&other.buffer, &self.buffer));
            let staging = context.staging.take(&context.device, FAULT + bytes + others.len() as u64 * WORD);
            let encoder = recorder.encoder(context);
            let mut copy = |from: &Stored, at: u64, bytes: u64| {
                let start = from.offset as u64 * WORD;
                encoder.copy_buffer_to_buffer(&from.buffer.raw().buffer, start, &staging, at, bytes);
            };
            if bytes > 0 {
                copy(self, FAULT, bytes);
            }
            for (i, other) in others.iter().enumerate() {
                copy(other, FAULT + bytes + i as u64 * WORD, WORD);
            }
            encoder.copy_buffer_to_buffer(&context.fault.buffer, 0, &staging, 0, FAULT);
            recorder.submit(context)?;
            (staging, recorder.last(), others)
        };
        let mapped: Arc<Mutex<Mapped>> = Arc::default();
        let told = Arc::clone(&mapped);
        staging.map_async(wgpu::MapMode::Read, .., move |result| {
            let mut mapped = told.lock().unwrap_or_else(PoisonError::into_inner);
            mapped.result = Some(result);
            mapped.waker.take().into_iter().for_each(Waker::wake);
        });
        context.answered().await?;
        let done = Reading { context, mapped, submitted }.await;
        done.map_err(|e| context.lose(format!("reading a value: {e}")))?;
        let view = staging.get_mapped_range(..);
        let view = view.map_err(|e| context.lose(format!("reading a value: {e}")))?;
        let (report, words) = view.split_at(FAULT as usize);
        let report: [u8; FAULT as usize] = std::array::from_fn(|i| report[i]);
        let (own, rest) = words.split_at(bytes as usize);
        let own = own.to_vec();
        let found: Vec<[u8; 4]> =
            rest.chunks_exact(4).take(others.len()).map(|word| std::array::from_fn(|i| word[i])).collect();
        drop(view);
        context.staging.give_back(staging);
        faults::check(context, &report)?;
        for (other, word) in others.iter().zip(found) {
            let _ = other.buffer.known.set((other.offset, word));
        }
        if let Ok(word) = own.as_slice().try_into() {
            let _ = self.buffer.known.set((self.offset, word));
        }
        Ok(own)
    }
}

/// Ready when a buffer is mapped.
struct Reading<'a> {
    context: &'a Context,
    mapped: Arc<Mutex<Mapped>>,
    submitted: Option<wgpu::SubmissionIndex>,
}

impl Future for Reading<'_> {
    type Output = std::result::Result<(), String>;

    fn poll(self: Pin<&mut Self>, task: &mut std::task::Context<'_>) -> Poll<Self::Output> {
        let wait = if may_block() { self.submitted.clone() } else { None };
        let polled = self.context.poll(wait);
        let mut mapped = self.mapped.lock().unwrap_or_else(PoisonError::into_inner);
        match (mapped.result.take(), polled) {
            (Some(result), _) => Poll::Ready(result.map_err(|e| e.to_string())),
            (None, Err(e)) => Poll::Ready(Err(e.to_string())),
            (None, Ok(())) => {
                mapped.waker = Some(task.waker().clone());
                // A native driver calls back only when it is polled, and nobody else does that. A browser calls by itself,
                // once this thread has nothing to do.
                if CAN_WAIT {
                    task.waker().wake_by_ref();
                }
                Poll::Pending
            }
        }
    }
}
