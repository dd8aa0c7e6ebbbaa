//! Where tensors live and kernels run: the CPU, or a GPU through Vulkan, Metal, DX12 or a browser's WebGPU.

#[cfg(not(feature = "gpu"))]
use crate::error::Error;
use crate::error::Result;
#[cfg(feature = "gpu")]
use crate::exec::gpu::{self, Tuned, Tuning};
use std::cell::RefCell;
use std::fmt;
#[cfg(feature = "gpu")]
use std::sync::Arc;
use std::time::Duration;

/// Where a tensor's value lies and its kernels run.
///
/// A tensor of data lies where it was made: on the CPU, or on the device whose [`scope`](Device::scope) it was made in.
/// Results lie where their operands do, and operands of two devices are a mistake that panics at your line; nothing
/// moves by itself. Constants, ranges and random draws have no device and follow whoever uses them.
/// [`Tensor::to_device`](crate::Tensor::to_device) moves.
///
/// ```no_run
/// use gradus::{Device, Tensor};
/// let gpu = Device::gpu()?;
/// println!("on {gpu}");
/// let y = gpu.scope(|| Tensor::from([1.0f32, 2.0]).exp());
/// assert_eq!(y.device(), Some(gpu));
/// println!("{y}");
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Device(Kind);

#[derive(Clone)]
enum Kind {
    Cpu,
    #[cfg(feature = "gpu")]
    Gpu(Arc<gpu::Context>),
}

impl PartialEq for Kind {
    fn eq(&self, other: &Kind) -> bool {
        match (self, other) {
            (Kind::Cpu, Kind::Cpu) => true,
            #[cfg(feature = "gpu")]
            (Kind::Gpu(a), Kind::Gpu(b)) => Arc::ptr_eq(a, b),
            #[cfg(feature = "gpu")]
            _ => false,
        }
    }
}

impl Eq for Kind {}

thread_local! {
    /// The devices of the scopes this thread is in, the innermost last.
    static SCOPES: RefCell<Vec<Device>> = const { RefCell::new(Vec::new()) };
}

impl Device {
    /// The CPU.
    pub fn cpu() -> Device {
        Device(Kind::Cpu)
    }

    /// The best GPU there is: discrete before integrated before virtual before software. The same device, while
    /// anything uses it, however often it is asked for; after a loss, a new one. `GRADUS_ADAPTER=NAME` takes the
    /// first adapter whose name contains `NAME` instead.
    ///
    /// # Errors
    /// [`Error::NoAdapter`](crate::Error::NoAdapter) saying what was looked for and what to install. In a browser
    /// [`Error::Unsupported`](crate::Error::Unsupported): there it is [`Device::request_gpu`].
    #[cfg(feature = "gpu")]
    pub fn gpu() -> Result<Device> {
        gpu::Context::shared_now().map(Device::of)
    }

    /// [`Device::gpu`] without waiting, which a browser does not allow.
    ///
    /// # Errors
    /// [`Error::NoAdapter`](crate::Error::NoAdapter), as there.
    #[cfg(feature = "gpu")]
    pub async fn request_gpu() -> Result<Device> {
        gpu::Context::shared().await.map(Device::of)
    }

    /// The best GPU there is; none in a build without the feature `gpu`.
    ///
    /// # Errors
    /// [`Error::NoAdapter`](crate::Error::NoAdapter) always.
    #[cfg(not(feature = "gpu"))]
    pub fn gpu() -> Result<Device> {
        Err(Error::NoAdapter { reason: String::from("this build of gradus is without the feature `gpu`") })
    }

    /// [`Device::gpu`] without waiting.
    ///
    /// # Errors
    /// [`Error::NoAdapter`](crate::Error::NoAdapter) always.
    #[cfg(not(feature = "gpu"))]
    pub async fn request_gpu() -> Result<Device> {
        Device::gpu()
    }

    /// The adapters that [`Device::gpu`] chooses from, the best first; none in a browser, which names its adapter only to
    /// those who can wait.
    pub fn adapters() -> Vec<Adapter> {
        #[cfg(feature = "gpu")]
        return gpu::adapters();
        #[cfg(not(feature = "gpu"))]
        return Vec::new();
    }

    /// Whether this is the CPU.
    pub fn is_cpu(&self) -> bool {
        matches!(self.0, Kind::Cpu)
    }

    /// Runs `f` with this as the device on which the calling thread's new tensors of data are made.
    ///
    /// Random draws made inside belong to the device too, so that parameters initialised there stay there.
    pub fn scope<T>(&self, f: impl FnOnce() -> T) -> T {
        struct Leave;
        impl Drop for Leave {
            fn drop(&mut self) {
                SCOPES.with_borrow_mut(|scopes| scopes.pop());
            }
        }
        SCOPES.with_borrow_mut(|scopes| scopes.push(self.clone()));
        let _leave = Leave;
        f()
    }

    /// The device of the innermost scope, if there is one.
    pub(crate) fn scoped() -> Option<Device> {
        SCOPES.with_borrow(|scopes| scopes.last().cloned())
    }

    /// What the device's memory and queue have done; `None` for the CPU, which has
    /// [`memory_stats`](crate::memory_stats).
    pub fn stats(&self) -> Option<DeviceStats> {
        match &self.0 {
            Kind::Cpu => None,
            #[cfg(feature = "gpu")]
            Kind::Gpu(context) => Some(context.stats()),
        }
    }

    /// Whether [`kernel_times`](crate::kernel_times) are read from a clock of the device. Where not, and that is for GPUs
    /// without timestamps, they are the host's from submitting a kernel to having waited for it.
    pub fn has_clock(&self) -> bool {
        match &self.0 {
            Kind::Cpu => true,
            #[cfg(feature = "gpu")]
            Kind::Gpu(context) => context.timestamps,
        }
    }

    /// Waits until the device has done all it was given. On the CPU there is nothing to wait for.
    ///
    /// # Errors
    /// [`Error::Lost`](crate::Error::Lost), and what kernels have found: [`Error::BadIndex`](crate::Error::BadIndex).
    pub fn synchronize(&self) -> Result<()> {
        match &self.0 {
            Kind::Cpu => Ok(()),
            #[cfg(feature = "gpu")]
            Kind::Gpu(context) => context.synchronize(),
        }
    }
}

#[cfg(feature = "gpu")]
impl Device {
    /// The adapter that was opened; `None` for the CPU.
    pub fn adapter(&self) -> Option<&Adapter> {
        self.context().map(|context| context.adapter())
    }

    /// The table of choices that kernels use; empty on the CPU, and before somebody sets or measures one.
    pub fn tuning(&self) -> Tuning {
        self.context().map_or_else(Tuning::default, |context| context.tuning())
    }

    /// Uses `tuning` from now on, for everybody who uses this device. Entries that it cannot run count as missing. On the
    /// CPU this does nothing.
    pub fn set_tuning(&self, tuning: Tuning) {
        self.context().into_iter().for_each(|context| context.set_tuning(tuning.clone()));
    }

    /// Measures what the kernels of `work` can choose from, and uses the best from now on: runs it without a table and
    /// then with each listed choice, `runs` times each and once before, and enters what saves at least a twentieth.
    /// Nothing else tunes; where that is kept for another process is up to the caller.
    ///
    /// ```no_run
    /// use gradus::{Device, Rng};
    /// let gpu = Device::gpu()?;
    /// let [a, b] = gpu.scope(|| [(); 2].map(|()| Rng::seed(0).normal([1024, 1024])));
    /// for tuned in gpu.tune(5, || a.matmul(&b).eval())? {
    ///     println!("{}: {:?}", tuned.class, tuned.chosen);
    /// }
    /// # Ok::<(), gradus::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of `work`; the table is then as it was.
    pub fn tune(&self, runs: usize, work: impl FnMut() -> Result<()>) -> Result<Vec<Tuned>> {
        match self.context() {
            Some(context) => gpu::tune(context, runs, work),
            None => Ok(Vec::new()),
        }
    }

    pub(crate) fn of(context: Arc<gpu::Context>) -> Device {
        Device(Kind::Gpu(context))
    }

    pub(crate) fn context(&self) -> Option<&Arc<gpu::Context>> {
        match &self.0 {
            Kind::Cpu => None,
            Kind::Gpu(context) => Some(context),
        }
    }
}

impl Device {
    /// A number that tells devices apart, 0 for the CPU.
    pub(crate) fn number(&self) -> u64 {
        match &self.0 {
            Kind::Cpu => 0,
            #[cfg(feature = "gpu")]
            Kind::Gpu(context) => context.number(),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Cpu => f.write_str("cpu"),
            #[cfg(feature = "gpu")]
            Kind::Gpu(context) => {
                write!(f, "gpu ({}, {})", context.adapter().name, context.adapter().backend)
            }
        }
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A graphics card, or software that stands for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adapter {
    /// What it calls itself.
    pub name: String,
    /// Discrete, integrated, virtual, software.
    pub kind: &'static str,
    /// Vulkan, Metal or DX12.
    pub backend: String,
    /// The driver and its version.
    pub driver: String,
    /// Bytes of the largest tensor.
    pub max_tensor: u64,
    /// Bytes of workgroup memory.
    pub workgroup_memory: u32,
    /// Invocations of one workgroup.
    pub workgroup_size: u32,
    /// Storage buffers of one kernel.
    pub buffers: u32,
}

/// What a GPU's memory and queue have done so far. See [`Device::stats`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceStats {
    /// Bytes that tensors hold now.
    pub live: u64,
    /// Bytes that the pool keeps for tensors to come.
    pub pooled: u64,
    /// The most that tensors and pool have held together.
    pub peak: u64,
    /// How often the driver was asked for memory. Constant from the second step of a training loop on.
    pub allocations: u64,
    /// Command buffers submitted.
    pub submissions: u64,
    /// Kernels dispatched.
    pub dispatches: u64,
    /// Bind groups made. Constant from the third step of a training loop on, as long as the same tensors are kept.
    pub bind_groups: u64,
    /// Pipelines compiled.
    pub pipelines: u64,
    /// Time the host has waited for the device.
    pub waited: Duration,
}
