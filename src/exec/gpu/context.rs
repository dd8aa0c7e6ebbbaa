//! An adapter opened: device, queue, limits, and whether it is still to be trusted.

use super::answers::Answers;
use super::dispatch::{CARD_UNITS, Limits, SOFTWARE_UNITS, subgroup_size};
use super::pipelines::Pipelines;
use super::pool::{DeviceBuffer, Origin, Pool, Raw, Recent, Which};
use super::recorder::Recorder;
use super::transfer::Staging;
use super::tuning::Tuning;
use crate::device::{Adapter, DeviceStats};
use crate::error::{Error, Result};
use crate::exec::clock::Instant;
use crate::exec::{CAN_WAIT, block_on, cannot_wait};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

/// A kernel that runs longer has hung.
const TIMEOUT: Duration = Duration::from_secs(300);

/// An open device.
pub(crate) struct Context {
    /// Tells contexts apart, and one before and after its table changed.
    number: AtomicU64,
    adapter: Adapter,
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    pub(super) limits: Limits,
    /// Whether a pass can be timed.
    pub(crate) timestamps: bool,
    pub(super) pool: Pool,
    pub(super) staging: Staging,
    pub(super) pipelines: Pipelines,
    pub(super) answers: Answers,
    tuning: Mutex<Arc<Tuning>>,
    recorder: Mutex<Recorder>,
    /// Where kernels report an index outside its axis: see `shaders/lib/fault.wgsl`.
    pub(super) fault: Raw,
    /// What first went wrong in a way that leaves the device's state unknown.
    lost: Arc<OnceLock<String>>,
    /// Command buffers submitted; the one being recorded has this number.
    pub(super) submissions: AtomicU64,
    pub(super) dispatches: AtomicU64,
    pub(super) bind_groups: AtomicU64,
    waited_nanos: AtomicU64,
}

/// What to do where there is no adapter.
#[cfg(not(target_arch = "wasm32"))]
const NONE: &str = "no Vulkan, Metal or DX12 adapter was found; install the card's driver, or for a software one \
    Mesa's (Debian: apt-get install mesa-vulkan-drivers)";
#[cfg(target_arch = "wasm32")]
const NONE: &str = "the browser gives no WebGPU adapter; pages get one over https or from this machine (localhost), \
    and some browsers have to be told to";

/// The context that [`Context::shared`] gives, while somebody uses it.
static SHARED: Mutex<Weak<Context>> = Mutex::new(Weak::new());
static NUMBERS: AtomicU64 = AtomicU64::new(1);

impl Context {
    /// The best adapter's context: one that is open already, unless it is lost.
    pub async fn shared() -> Result<Arc<Context>> {
        let shared = || SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        let sound = |context: &Weak<Context>| context.upgrade().filter(|c| c.lost.get().is_none());
        if let Some(context) = sound(&shared()) {
            return Ok(context);
        }
        let opened = Arc::new(Context::open().await?);
        let mut shared = shared();
        // Somebody else may have opened one meanwhile.
        Ok(sound(&shared).unwrap_or_else(|| {
            *shared = Arc::downgrade(&opened);
            opened
        }))
    }

    /// [`Context::shared`], waiting for it, one thread after another.
    pub fn shared_now() -> Result<Arc<Context>> {
        static TURN: Mutex<()> = Mutex::new(());
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        block_on(Context::shared())
    }

    async fn open() -> Result<Context> {
        let adapters = ranked().await;
        let wanted = std::env::var("GRADUS_ADAPTER").unwrap_or_default().to_lowercase();
        let names: Vec<String> = adapters.iter().map(|a| a.get_info().name).collect();
        let found = adapters.into_iter().find(|a| a.get_info().name.to_lowercase().contains(&wanted));
        let Some(adapter) = found else {
            let reason = match names.is_empty() {
                true => String::from(NONE),
                false => format!("GRADUS_ADAPTER={wanted} matches none of {}", names.join(", ")),
            };
            return Err(Error::NoAdapter { reason });
        };
        let about = describe(&adapter);
        let timestamps = adapter.features() & wgpu::Features::TIMESTAMP_QUERY;
        let subgroup = subgroup(&adapter);
        let software = adapter.get_info().device_type == wgpu::DeviceType::Cpu;
        let subgroups = if subgroup > 0 { wgpu::Features::SUBGROUP } else { wgpu::Features::empty() };
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("gradus"),
            required_features: timestamps | subgroups,
            required_limits: adapter.limits(),
            memory_hints: wgpu::MemoryHints::MemoryUsage,
            ..Default::default()
        };
        let opened = adapter.request_device(&descriptor).await;
        let (device, queue) =
            opened.map_err(|e| Error::NoAdapter { reason: format!("{}: {e}", about.name) })?;
        let mut context = Context::new(about, device, queue, !timestamps.is_empty());
        context.limits.subgroup = subgroup;
        if software {
            context.limits.units = SOFTWARE_UNITS;
        }
        Ok(context)
    }

    /// A context around an open device.
    pub(super) fn new(
        adapter: Adapter,
        device: wgpu::Device,
        queue: wgpu::Queue,
        timestamps: bool,
    ) -> Context {
        let lost: Arc<OnceLock<String>> = Arc::default();
        let flag = Arc::clone(&lost);
        device.on_uncaptured_error(Arc::new(move |e: wgpu::Error| {
            let _ = flag.set(e.to_string());
        }));
        let flag = Arc::clone(&lost);
        device.set_device_lost_callback(move |reason, message| {
            let _ = flag.set(format!("{reason:?} {message}"));
        });
        let limits = limits(&device.limits());
        let recorder = Mutex::new(Recorder::new(&device));
        let fault = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("fault"),
            size: 16,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        Context {
            number: AtomicU64::new(NUMBERS.fetch_add(1, Relaxed)),
            adapter,
            pipelines: Pipelines::new(),
            answers: Answers::default(),
            pool: Pool::new(limits.binding.min(device.limits().max_buffer_size)),
            staging: Staging::default(),
            tuning: Mutex::default(),
            recorder,
            // Ids of the pool's buffers start at 1.
            fault: Raw::new(fault, 0),
            device,
            queue,
            limits,
            timestamps,
            lost,
            submissions: AtomicU64::new(0),
            dispatches: AtomicU64::new(0),
            bind_groups: AtomicU64::new(0),
            waited_nanos: AtomicU64::new(0),
        }
    }

    /// Tells contexts with their tables apart for as long as the process runs.
    pub fn number(&self) -> u64 {
        self.number.load(Relaxed)
    }

    /// What was opened.
    pub fn adapter(&self) -> &Adapter {
        &self.adapter
    }

    /// The table of choices in use.
    pub fn tuning(&self) -> Tuning {
        Tuning::clone(&self.shared_tuning())
    }

    pub(super) fn shared_tuning(&self) -> Arc<Tuning> {
        Arc::clone(&self.tuning.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Uses another table from now on.
    pub fn set_tuning(&self, tuning: Tuning) {
        let mut current = self.tuning.lock().unwrap_or_else(PoisonError::into_inner);
        if **current != tuning {
            *current = Arc::new(tuning);
            // Plans made with the old table are not found any more.
            self.number.store(NUMBERS.fetch_add(1, Relaxed), Relaxed);
        }
    }

    pub fn stats(&self) -> DeviceStats {
        DeviceStats {
            submissions: self.submissions.load(Relaxed),
            dispatches: self.dispatches.load(Relaxed),
            bind_groups: self.bind_groups.load(Relaxed),
            pipelines: self.pipelines.count(),
            waited: Duration::from_nanos(self.waited_nanos.load(Relaxed)),
            ..self.pool.stats()
        }
    }

    pub(super) fn recorder(&self) -> MutexGuard<'_, Recorder> {
        // A recorder that a panic left in the middle of a step holds commands that nobody reads the results of.
        self.recorder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An error if the device is lost.
    pub(super) fn check(&self) -> Result<()> {
        match self.lost.get() {
            Some(reason) => Err(Error::Lost { reason: reason.clone() }),
            None => Ok(()),
        }
    }

    /// Declares the device lost.
    pub(super) fn lose(&self, reason: String) -> Error {
        let _ = self.lost.set(reason);
        Error::Lost { reason: self.lost.get().cloned().unwrap_or_default() }
    }

    /// Lets the driver see to what is done, and with `index` waits until that submission is: an error in a browser.
    pub(super) fn poll(&self, index: Option<wgpu::SubmissionIndex>) -> Result<()> {
        let how = match index {
            Some(_) if !CAN_WAIT => return Err(cannot_wait()),
            Some(index) => wgpu::PollType::Wait { submission_index: Some(index), timeout: Some(TIMEOUT) },
            None => wgpu::PollType::Poll,
        };
        // Where the wait itself meets the loss, wgpu panics.
        let start = Instant::now();
        let polled = catch_unwind(AssertUnwindSafe(|| self.device.poll(how)));
        self.waited_nanos.fetch_add(start.elapsed().as_nanos() as u64, Relaxed);
        match polled {
            Ok(Ok(_)) => self.check(),
            Ok(Err(e)) => Err(self.lose(format!("waiting for a kernel: {e}"))),
            Err(_) => Err(self.lose(String::from("the driver gave up while it was waited for"))),
        }
    }

    /// Submits what is recorded and waits for all of it.
    pub fn synchronize(&self) -> Result<()> {
        let mut recorder = self.recorder();
        recorder.submit(self)?;
        recorder.wait(self)
    }

    /// A buffer for a result, one of `recent` if that can be; out of memory, one more try once everything recorded is done and the pool is empty.
    pub(super) fn buffer(
        self: &Arc<Self>,
        recorder: &mut Recorder,
        bytes: u64,
        origin: Origin,
        recent: &Recent,
    ) -> Result<Arc<DeviceBuffer>> {
        let which = Which::Like(recent);
        match self.pool.take(self, bytes, origin, which) {
            Err(Error::OutOfMemory { .. }) => {
                recorder.submit(self)?;
                recorder.wait(self)?;
                self.pool.trim();
                recorder.forget_gone(self);
                self.poll(None)?;
                self.pool.take(self, bytes, origin, which)
            }
            result => result,
        }
    }
}

/// What of wgpu's limits matters here.
fn limits(limits: &wgpu::Limits) -> Limits {
    Limits {
        workgroup_memory: limits.max_compute_workgroup_storage_size,
        invocations: limits.max_compute_invocations_per_workgroup.min(limits.max_compute_workgroup_size_x),
        workgroups: limits.max_compute_workgroups_per_dimension,
        buffers: limits.max_storage_buffers_per_shader_stage,
        binding: limits.max_storage_buffer_binding_size,
        subgroup: 0,
        units: CARD_UNITS,
    }
}

/// The size that all subgroups of an adapter have, or 0; `GRADUS_SUBGROUPS=0` says that there are none.
fn subgroup(adapter: &wgpu::Adapter) -> u32 {
    let info = adapter.get_info();
    let there = adapter.features().contains(wgpu::Features::SUBGROUP);
    let wanted = std::env::var_os("GRADUS_SUBGROUPS").is_none_or(|v| v != "0");
    if there && wanted { subgroup_size(info.subgroup_min_size, info.subgroup_max_size) } else { 0 }
}

/// All adapters, the best first.
async fn ranked() -> Vec<wgpu::Adapter> {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = wgpu::Backends::PRIMARY;
    // In hundredths of what the driver says there is: an error in time instead of a device lost, or swapping.
    descriptor.memory_budget_thresholds =
        wgpu::MemoryBudgetThresholds { for_resource_creation: Some(90), for_device_loss: Some(98) };
    let instance = wgpu::Instance::new(descriptor);
    #[cfg(not(target_arch = "wasm32"))]
    let mut adapters = instance.enumerate_adapters(wgpu::Backends::all()).await;
    // A browser offers one, of the kind that it is asked for.
    #[cfg(target_arch = "wasm32")]
    let mut adapters: Vec<wgpu::Adapter> = {
        let power_preference = wgpu::PowerPreference::HighPerformance;
        let options = wgpu::RequestAdapterOptions { power_preference, ..Default::default() };
        instance.request_adapter(&options).await.into_iter().collect()
    };
    adapters.sort_by_key(|adapter| match adapter.get_info().device_type {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    });
    adapters
}

/// The adapters with their limits, the best first; none in a browser, which cannot be waited for.
pub(crate) fn adapters() -> Vec<Adapter> {
    let found = block_on(async { Ok(ranked().await) });
    found.unwrap_or_default().iter().map(describe).collect()
}

fn describe(adapter: &wgpu::Adapter) -> Adapter {
    let (info, limits) = (adapter.get_info(), limits(&adapter.limits()));
    Adapter {
        // Browsers may keep it to themselves.
        name: if info.name.is_empty() { String::from("unnamed") } else { info.name },
        kind: match info.device_type {
            wgpu::DeviceType::DiscreteGpu => "discrete",
            wgpu::DeviceType::IntegratedGpu => "integrated",
            wgpu::DeviceType::VirtualGpu => "virtual",
            wgpu::DeviceType::Cpu => "software",
            wgpu::DeviceType::Other => "unknown",
        },
        backend: info.backend.to_string(),
        driver: format!("{} {}", info.driver, info.driver_info).trim().to_string(),
        max_tensor: limits.binding.min(adapter.limits().max_buffer_size),
        workgroup_memory: limits.workgroup_memory,
        workgroup_size: limits.invocations,
        buffers: limits.buffers,
    }
}
