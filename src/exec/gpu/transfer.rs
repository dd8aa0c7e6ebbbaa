//! Between host and device: values uploaded, and read back through a future.

use super::context::Context;
use super::faults;
use super::pool::{DeviceBuffer, Origin};
use crate::error::{Error, Result};
use crate::exec::may_block;
use gradus_kernels::DType;
use std::borrow::Cow;
use std::panic::Location;
use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
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
            let what = format!("gpu ({}) has no f64: convert to f32 before moving there", context.name());
            return Err(Error::Unsupported { what });
        }
        DType::Bool => bytes.iter().flat_map(|&b| u32::from(b).to_ne_bytes()).collect(),
        _ => Cow::Borrowed(bytes),
    };
    let origin = Origin { op: "from_vec", site: Location::caller() };
    // The host's write comes before what is recorded and not yet submitted.
    let recording = context.submissions.load(Relaxed);
    let take = || context.pool.take_before(context, words.len() as u64, origin, recording);
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
        let context = self.context();
        let bytes = n as u64 * WORD;
        let staging = context.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("read"),
            size: bytes + FAULT,
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let submitted = {
            let mut recorder = context.recorder();
            let fault = recorder.fault.buffer.clone();
            let encoder = recorder.encoder(context);
            let start = self.offset as u64 * WORD;
            if bytes > 0 {
                encoder.copy_buffer_to_buffer(&self.buffer.raw().buffer, start, &staging, FAULT, bytes);
            }
            encoder.copy_buffer_to_buffer(&fault, 0, &staging, 0, FAULT);
            recorder.submit(context)?;
            recorder.last()
        };
        let mapped: Arc<Mutex<Mapped>> = Arc::default();
        let told = Arc::clone(&mapped);
        staging.map_async(wgpu::MapMode::Read, .., move |result| {
            let mut mapped = told.lock().unwrap_or_else(PoisonError::into_inner);
            mapped.result = Some(result);
            mapped.waker.take().into_iter().for_each(Waker::wake);
        });
        let done = Reading { context, mapped, submitted }.await;
        done.map_err(|e| context.lose(format!("reading a value: {e}")))?;
        let view = staging.get_mapped_range(..);
        let view = view.map_err(|e| context.lose(format!("reading a value: {e}")))?;
        let (report, words) = view.split_at(FAULT as usize);
        faults::check(context, report)?;
        Ok(match dtype {
            DType::Bool => words.chunks_exact(4).map(|word| u8::from(word != [0; 4])).collect(),
            _ => words.to_vec(),
        })
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
                // A native driver calls back only when it is polled, and nobody else does that.
                task.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }
}
