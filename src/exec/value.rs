//! Values at rest, on the host or on a device.

#[cfg(feature = "gpu")]
use super::gpu;
use super::memory::{Buffer, memory_stats};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::shape::Shape;
use crate::tensor::Element;
use gradus_kernels::DType;
use std::panic::Location;
use std::sync::Arc;

/// Row-major elements in a buffer.
#[derive(Clone)]
pub(crate) enum Value {
    Host(HostValue),
    #[cfg(feature = "gpu")]
    Gpu(gpu::Stored),
}

/// Row-major elements in a buffer of the host, from `offset` on.
#[derive(Clone)]
pub(crate) struct HostValue {
    pub buffer: Arc<Buffer>,
    /// In elements.
    pub offset: usize,
}

impl Value {
    /// A copy of `data` on `device`.
    #[track_caller]
    pub fn from_slice<T: Element>(data: &[T], shape: &Shape, device: &Device) -> Result<Value> {
        debug_assert_eq!(data.len(), shape.numel());
        // SAFETY: elements are plain numbers without padding; the borrow keeps them alive.
        let bytes = unsafe { std::slice::from_raw_parts(data.as_ptr().cast::<u8>(), size_of_val(data)) };
        #[cfg(feature = "gpu")]
        if let Some(context) = device.context() {
            return Ok(Value::Gpu(gpu::upload(context, bytes, T::DTYPE)?));
        }
        debug_assert!(device.is_cpu());
        Ok(Value::Host(HostValue::from_bytes(bytes)?))
    }

    /// Where it lies.
    pub fn device(&self) -> Device {
        match self {
            Value::Host(_) => Device::cpu(),
            #[cfg(feature = "gpu")]
            Value::Gpu(stored) => Device::of(Arc::clone(stored.context())),
        }
    }

    /// Whether it lies on `device`.
    pub fn lies_on(&self, device: &Device) -> bool {
        match self {
            Value::Host(_) => device.is_cpu(),
            #[cfg(feature = "gpu")]
            Value::Gpu(stored) => device.number() == stored.context().number(),
        }
    }

    /// Whether `handles` are all there are on the memory it lies in, and a tensor of this shape and type fills that.
    pub fn fills_alone(&self, handles: usize, shape: &Shape, dtype: DType) -> bool {
        match self {
            Value::Host(HostValue { buffer, offset: 0 }) => {
                Arc::strong_count(buffer) == handles && buffer.suits(shape.numel() * dtype.size())
            }
            _ => false,
        }
    }

    /// Whether wide loads may start at the first element. Kernels of the CPU do not care.
    pub fn is_aligned(&self) -> bool {
        match self {
            Value::Host(_) => true,
            #[cfg(feature = "gpu")]
            Value::Gpu(stored) => stored.is_aligned(),
        }
    }

    /// The same elements on `device`, waiting for them where that is necessary.
    #[track_caller]
    pub fn on(&self, device: &Device, shape: &Shape, dtype: DType) -> Result<Value> {
        if self.lies_on(device) {
            return Ok(self.clone());
        }
        let host = super::block_on(self.to_host(shape, dtype))?;
        #[cfg(feature = "gpu")]
        if let Some(context) = device.context() {
            let bytes = host.bytes(shape.numel() * dtype.size(), dtype);
            return Ok(Value::Gpu(gpu::upload(context, bytes, dtype)?));
        }
        Ok(Value::Host(host))
    }

    /// The elements of a tensor of `shape` whose type is `T`.
    pub async fn read<T: Element>(&self, shape: &Shape) -> Result<Vec<T>> {
        self.to_host(shape, T::DTYPE).await?.to_vec(shape.numel())
    }

    /// The elements on the host.
    async fn to_host(&self, _shape: &Shape, _dtype: DType) -> Result<HostValue> {
        match self {
            Value::Host(host) => Ok(host.clone()),
            #[cfg(feature = "gpu")]
            Value::Gpu(stored) => HostValue::from_bytes(&stored.download(_shape.numel(), _dtype).await?),
        }
    }

    /// The host's buffer.
    ///
    /// # Panics
    /// If the value lies elsewhere: a capture brings what it reads to its device.
    pub fn host(&self) -> &HostValue {
        match self {
            Value::Host(host) => host,
            #[cfg(feature = "gpu")]
            Value::Gpu(_) => panic!("a value of a GPU in a plan of the CPU"),
        }
    }
}

impl HostValue {
    #[track_caller]
    fn from_bytes(bytes: &[u8]) -> Result<HostValue> {
        let site = Location::caller();
        let held = memory_stats().live as u64;
        let buffer = Buffer::new(bytes.len()).map_err(|bytes| Error::OutOfMemory {
            bytes,
            op: "from_vec",
            site,
            held,
        })?;
        // SAFETY: the buffer has room for the data and nobody else has its address yet.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), buffer.as_ptr(), bytes.len()) };
        Ok(HostValue { buffer: Arc::new(buffer), offset: 0 })
    }

    /// The first `len` bytes of the elements of type `dtype`.
    #[cfg(feature = "gpu")]
    fn bytes(&self, len: usize, dtype: DType) -> &[u8] {
        let start = self.offset * dtype.size();
        assert!(start + len <= self.buffer.len(), "a value lies inside its buffer");
        // SAFETY: inside the buffer (checked), and initialised by the kernel that made the value.
        unsafe { std::slice::from_raw_parts(self.buffer.as_ptr().add(start), len) }
    }

    /// The `n` elements, whose type is `T`.
    fn to_vec<T: Element>(&self, n: usize) -> Result<Vec<T>> {
        assert!((self.offset + n) * size_of::<T>() <= self.buffer.len(), "a value lies inside its buffer");
        let mut out: Vec<T> = Vec::new();
        out.try_reserve_exact(n).map_err(|_| Error::OutOfMemory {
            bytes: n * size_of::<T>(),
            op: "to_vec",
            site: Location::caller(),
            held: memory_stats().live as u64,
        })?;
        // SAFETY: the elements are inside the buffer (checked), initialised by the kernel that made the value, and of
        // type T (checked by the caller; kernels write bools as 0 or 1); `out` has room for n.
        unsafe {
            let first = self.buffer.as_ptr().cast::<T>().add(self.offset);
            std::ptr::copy_nonoverlapping(first, out.as_mut_ptr(), n);
            out.set_len(n);
        }
        Ok(out)
    }
}
