//! Runs recipes on a device, with guard words around every buffer.

use crate::gpu::dispatch::{Bind, CARD_UNITS, Dispatch, Limits, Recipe, Source, Word, subgroup_size};
use crate::gpu::source::{expand, expand_text};
use std::collections::HashMap;
use std::sync::{Mutex, OnceLock};
use wgpu::BufferUsages as Usage;

/// An adapter with its device and the pipelines made so far.
pub struct Device {
    device: wgpu::Device,
    queue: wgpu::Queue,
    pub limits: Limits,
    pipelines: Mutex<HashMap<String, wgpu::ComputePipeline>>,
}

/// Where an operand's value begins in its buffer, in words; and how many words follow its end.
pub const START: usize = 8;
const AFTER: usize = 9;
/// What the words around a result hold before and after, and a result before it is written.
const GUARD: u32 = 0xDEAD_BEEF;

/// The device to test on, or nothing where there is none.
pub fn device() -> Option<&'static Device> {
    static DEVICE: OnceLock<Option<Device>> = OnceLock::new();
    let device = DEVICE.get_or_init(|| {
        let device = open();
        if device.is_none() {
            let required = std::env::var_os("GRADUS_REQUIRE_GPU").is_some_and(|v| v == "1");
            assert!(!required, "GRADUS_REQUIRE_GPU=1, and there is no adapter");
            println!("skipped: no adapter");
        }
        device
    });
    device.as_ref()
}

fn open() -> Option<Device> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapter =
        pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default())).ok()?;
    let has = adapter.limits();
    let info = adapter.get_info();
    let subgroups = adapter.features() & wgpu::Features::SUBGROUP;
    let descriptor = wgpu::DeviceDescriptor {
        required_features: subgroups,
        required_limits: has.clone(),
        ..Default::default()
    };
    let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).expect("a device");
    println!("on {}", info.name);
    let limits = Limits {
        workgroup_memory: has.max_compute_workgroup_storage_size,
        invocations: has.max_compute_invocations_per_workgroup,
        workgroups: has.max_compute_workgroups_per_dimension,
        buffers: has.max_storage_buffers_per_shader_stage,
        binding: has.max_storage_buffer_binding_size,
        units: CARD_UNITS,
        subgroup: match subgroups.is_empty() {
            true => 0,
            false => subgroup_size(info.subgroup_min_size, info.subgroup_max_size),
        },
    };
    Some(Device { device, queue, limits, pipelines: Mutex::new(HashMap::new()) })
}

/// What came of a recipe.
pub struct Outcome {
    pub outputs: Vec<Vec<u32>>,
    /// State, index, length and node: see `shaders/lib/fault.wgsl`.
    pub fault: [u32; 4],
}

/// Words as floats, and back.
pub fn floats(words: &[u32]) -> Vec<f32> {
    words.iter().map(|&w| f32::from_bits(w)).collect()
}

pub fn words(floats: &[f32]) -> Vec<u32> {
    floats.iter().map(|f| f.to_bits()).collect()
}

impl Device {
    /// Runs `recipe` twice, with the compiler's checks of bounds and loops and without; both must agree bit for bit and
    /// leave the words around the results alone. `outputs` are their lengths.
    pub fn run(&self, recipe: &Recipe, inputs: &[&[u32]], outputs: &[usize]) -> Outcome {
        let checked = self.run_once(recipe, inputs, outputs, true);
        let unchecked = self.run_once(recipe, inputs, outputs, false);
        assert_eq!(checked.outputs, unchecked.outputs, "with and without the compiler's checks");
        assert_eq!(checked.fault[0], unchecked.fault[0]);
        unchecked
    }

    /// As [`Device::run`], in one of the two ways.
    pub fn run_once(&self, recipe: &Recipe, inputs: &[&[u32]], outputs: &[usize], checked: bool) -> Outcome {
        let mut buffers = HashMap::new();
        for (i, input) in inputs.iter().enumerate() {
            let mut words = vec![GUARD; START];
            words.extend_from_slice(input);
            words.resize(words.len() + AFTER, GUARD);
            buffers.insert(Bind::Input(i), self.buffer(&words));
        }
        for (i, &length) in outputs.iter().enumerate() {
            buffers.insert(Bind::Output(i), self.buffer(&vec![GUARD; START + length + AFTER]));
        }
        for (i, &bytes) in recipe.scratch.iter().enumerate() {
            buffers.insert(Bind::Scratch(i), self.buffer(&vec![GUARD; bytes as usize / 4]));
        }
        buffers.insert(Bind::Fault, self.buffer(&[0; 4]));
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let mut encoder = self.device.create_command_encoder(&Default::default());
        for dispatch in &recipe.dispatches {
            self.record(&mut encoder, dispatch, &buffers, checked);
        }
        self.queue.submit([encoder.finish()]);
        if let Some(error) = pollster::block_on(scope.pop()) {
            panic!("{error}\nin {recipe:?}");
        }
        let outputs = outputs.iter().enumerate().map(|(i, &length)| {
            let words = self.read(&buffers[&Bind::Output(i)]);
            assert!(words[..START].iter().all(|&w| w == GUARD), "words before output {i} were written");
            assert!(
                words[START + length..][..AFTER].iter().all(|&w| w == GUARD),
                "words behind output {i} were written"
            );
            words[START..START + length].to_vec()
        });
        let outputs = outputs.collect();
        let fault = self.read(&buffers[&Bind::Fault]);
        Outcome { outputs, fault: std::array::from_fn(|i| fault[i]) }
    }

    fn buffer(&self, words: &[u32]) -> wgpu::Buffer {
        let descriptor = wgpu::BufferDescriptor {
            label: None,
            size: (words.len().next_multiple_of(4) * 4) as u64,
            usage: Usage::STORAGE | Usage::UNIFORM | Usage::COPY_SRC | Usage::COPY_DST,
            mapped_at_creation: false,
        };
        let buffer = self.device.create_buffer(&descriptor);
        self.queue.write_buffer(&buffer, 0, bytemuck::cast_slice(words));
        buffer
    }

    fn read(&self, buffer: &wgpu::Buffer) -> Vec<u32> {
        let descriptor = wgpu::BufferDescriptor {
            label: None,
            size: buffer.size(),
            usage: Usage::MAP_READ | Usage::COPY_DST,
            mapped_at_creation: false,
        };
        let staging = self.device.create_buffer(&descriptor);
        let mut encoder = self.device.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(buffer, 0, &staging, 0, buffer.size());
        self.queue.submit([encoder.finish()]);
        staging.slice(..).map_async(wgpu::MapMode::Read, |result| result.expect("a mapped buffer"));
        self.device.poll(wgpu::PollType::wait_indefinitely()).expect("a finished run");
        let words = bytemuck::cast_slice(&staging.slice(..).get_mapped_range().expect("mapped")).to_vec();
        staging.unmap();
        words
    }

    fn record(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        dispatch: &Dispatch,
        buffers: &HashMap<Bind, wgpu::Buffer>,
        checked: bool,
    ) {
        let pipeline = self.pipeline(dispatch, checked);
        let mut params = dispatch.params.clone();
        for &(at, word) in &dispatch.patches {
            match word {
                Word::Offset(Bind::Input(_) | Bind::Output(_)) => params[at] += START as u32,
                Word::Node => params[at] = 77,
                _ => {}
            }
        }
        let params = self.buffer(&params);
        let bound = dispatch.reads.iter().chain(&dispatch.writes).enumerate();
        let entries: Vec<_> = bound
            .map(|(i, bind)| wgpu::BindGroupEntry {
                binding: i as u32,
                resource: buffers[bind].as_entire_binding(),
            })
            .collect();
        let group = |index: u32, entries: &[wgpu::BindGroupEntry<'_>]| {
            let layout = &pipeline.get_bind_group_layout(index);
            self.device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout, entries })
        };
        let storage = group(0, &entries);
        let resource = params.as_entire_binding();
        let uniform = group(1, &[wgpu::BindGroupEntry { binding: 0, resource }]);
        let mut pass = encoder.begin_compute_pass(&Default::default());
        pass.set_pipeline(&pipeline);
        pass.set_bind_group(0, &storage, &[]);
        pass.set_bind_group(1, &uniform, &[]);
        let [x, y, z] = dispatch.grid;
        pass.dispatch_workgroups(x, y, z);
    }

    fn pipeline(&self, dispatch: &Dispatch, checked: bool) -> wgpu::ComputePipeline {
        let (reads, writes) = (dispatch.reads.len(), dispatch.writes.len());
        let key = format!("{:?} {:?} {reads} {writes} {checked}", dispatch.source, dispatch.constants);
        let mut pipelines = self.pipelines.lock().expect("no test panicked while it held this");
        if let Some(pipeline) = pipelines.get(&key) {
            return pipeline.clone();
        }
        let text = match &dispatch.source {
            Source::File { name, defines } => expand(name, defines),
            Source::Generated(text) => expand_text("generated", text, &[]),
        };
        let text = text.expect("a shader");
        let descriptor =
            wgpu::ShaderModuleDescriptor { label: None, source: wgpu::ShaderSource::Wgsl(text.into()) };
        let checks = match checked {
            true => wgpu::ShaderRuntimeChecks::checked(),
            false => wgpu::ShaderRuntimeChecks::unchecked(),
        };
        // SAFETY: each shader's header says why its indices are in bounds and its loops end.
        let module = unsafe { self.device.create_shader_module_trusted(descriptor, checks) };
        let pipeline = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: None,
            layout: Some(&self.layout(reads, writes)),
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &dispatch.constants,
                zero_initialize_workgroup_memory: checked,
            },
            cache: None,
        });
        pipelines.insert(key, pipeline.clone());
        pipeline
    }

    fn layout(&self, reads: usize, writes: usize) -> wgpu::PipelineLayout {
        let entry = |binding: usize, ty: wgpu::BufferBindingType| wgpu::BindGroupLayoutEntry {
            binding: binding as u32,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
            count: None,
        };
        let storage = |i| entry(i, wgpu::BufferBindingType::Storage { read_only: i < reads });
        let storage: Vec<_> = (0..reads + writes).map(storage).collect();
        let uniform = [entry(0, wgpu::BufferBindingType::Uniform)];
        let groups = [&storage[..], &uniform[..]].map(|entries| {
            self.device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: None, entries })
        });
        self.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: None,
            bind_group_layouts: &[Some(&groups[0]), Some(&groups[1])],
            immediate_size: 0,
        })
    }
}
