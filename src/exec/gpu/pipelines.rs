//! Shaders compiled, each once: by text and constants.

use super::context::Context;
use super::dispatch::{Dispatch, Source};
use super::source;
use crate::error::Result;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// A compiled shader with the layout of what it reads and writes.
pub(super) struct Pipeline {
    pub raw: wgpu::ComputePipeline,
    pub layout: Arc<Layout>,
}

/// How many buffers a shader reads, and how many it writes.
pub(super) struct Layout {
    pub group: wgpu::BindGroupLayout,
    pipeline: wgpu::PipelineLayout,
    /// Tells layouts apart: reads and writes.
    pub key: [u8; 2],
}

type Key = (Source, Vec<(&'static str, u64)>);

/// The pipelines of a device.
pub(super) struct Pipelines {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    made: HashMap<Key, Arc<Pipeline>>,
    layouts: HashMap<[u8; 2], Arc<Layout>>,
}

/// Whether shaders keep naga's runtime checks: in debug builds, unless `GRADUS_GPU_CHECKS` says otherwise (1 or 0).
fn checked() -> bool {
    static CHECKED: OnceLock<bool> = OnceLock::new();
    *CHECKED.get_or_init(|| match std::env::var("GRADUS_GPU_CHECKS").as_deref() {
        Ok("1") => true,
        Ok("0") => false,
        _ => cfg!(debug_assertions),
    })
}

impl Pipelines {
    pub fn new() -> Pipelines {
        Pipelines { state: Mutex::default() }
    }

    pub fn count(&self) -> u64 {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).made.len() as u64
    }

    /// The pipeline of a dispatch.
    ///
    /// # Errors
    /// A lost device; so is one whose driver refuses a shader.
    pub fn of(&self, context: &Context, dispatch: &Dispatch) -> Result<Arc<Pipeline>> {
        let constants = dispatch.constants.iter().map(|&(name, value)| (name, value.to_bits())).collect();
        let key = (dispatch.source.clone(), constants);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pipeline) = state.made.get(&key) {
            return Ok(Arc::clone(pipeline));
        }
        let counts = [dispatch.reads.len() as u8, dispatch.writes.len() as u8];
        let layout = Arc::clone(
            state.layouts.entry(counts).or_insert_with(|| Arc::new(Layout::new(&context.device, counts))),
        );
        let pipeline = Arc::new(compile(context, dispatch, layout)?);
        state.made.insert(key, Arc::clone(&pipeline));
        Ok(pipeline)
    }
}

impl Layout {
    fn new(device: &wgpu::Device, key: [u8; 2]) -> Layout {
        let entry = |binding: u32, ty: wgpu::BufferBindingType, has_dynamic_offset: bool| {
            let ty = wgpu::BindingType::Buffer { ty, has_dynamic_offset, min_binding_size: None };
            wgpu::BindGroupLayoutEntry { binding, visibility: wgpu::ShaderStages::COMPUTE, ty, count: None }
        };
        let storage = |binding: u32| {
            let ty = wgpu::BufferBindingType::Storage { read_only: binding < u32::from(key[0]) };
            entry(binding, ty, false)
        };
        let params = params_binding(key);
        let params = entry(params, wgpu::BufferBindingType::Uniform, true);
        let entries: Vec<_> = (0..params.binding).map(storage).chain([params]).collect();
        let group = device
            .create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: None, entries: &entries });
        let pipeline = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: None,
            bind_group_layouts: &[Some(&group)],
            immediate_size: 0,
        });
        Layout { group, pipeline, key }
    }
}

/// Where a shader's parameters are bound: behind the buffers that it reads and writes.
fn params_binding([reads, writes]: [u8; 2]) -> u32 {
    u32::from(reads) + u32::from(writes)
}

fn compile(context: &Context, dispatch: &Dispatch, layout: Arc<Layout>) -> Result<Pipeline> {
    let (name, text) = match &dispatch.source {
        Source::File { name, defines } => (*name, source::expand(name, defines)),
        Source::Generated(text) => ("fused", source::expand_text("fused", text, &[])),
    };
    let text = text.unwrap_or_else(|mistake| panic!("{mistake}"));
    // A group of its own for the parameters would have to be set for every dispatch besides the buffers'.
    let bound = format!("@group(0) @binding({}) var<uniform>", params_binding(layout.key));
    let text = text.replace("@group(1) @binding(0) var<uniform>", &bound);
    let device = &context.device;
    let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
    let module = wgpu::ShaderModuleDescriptor {
        label: Some(name),
        source: wgpu::ShaderSource::Wgsl(text.as_str().into()),
    };
    let module = if checked() {
        device.create_shader_module(module)
    } else {
        // SAFETY: every shader here reads and writes storage only at places that its kernel's description has shown to
        // be inside the bound buffers (operands by their layouts' spans, results by their extents, with a test before
        // the work of whatever lies past the end of the grid), indexes arrays of its own below their lengths, and
        // ends its loops; the tests run all of them with the checks on and compare with the CPU.
        unsafe { device.create_shader_module_trusted(module, wgpu::ShaderRuntimeChecks::unchecked()) }
    };
    let raw = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some(name),
        layout: Some(&layout.pipeline),
        module: &module,
        entry_point: Some("main"),
        compilation_options: wgpu::PipelineCompilationOptions {
            constants: &dispatch.constants,
            zero_initialize_workgroup_memory: false,
        },
        cache: None,
    });
    let blame = || format!("the driver refuses the shader {name}\n{text}");
    match context.answer(scope, blame) {
        Some(e) => Err(context.lose(format!("{}: {e}", blame()))),
        None => Ok(Pipeline { raw, layout }),
    }
}
