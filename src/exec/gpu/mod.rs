//! The GPU backend: the kernels of the waist as WGSL compute shaders, run through wgpu.

mod dispatch;
mod kernels;
mod source;
