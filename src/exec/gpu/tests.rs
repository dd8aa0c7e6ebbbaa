//! Pool, recorder and error paths on wgpu's `noop` backend: validation without a driver. Shaders compute nothing there.

use super::context::Context;
use super::pool::{DeviceBuffer, Origin, Recent, Which};
use super::transfer::{Stored, upload};
use crate::device::Adapter;
use crate::error::Error;
use crate::exec::block_on;
use gradus_kernels::DType;
use std::panic::Location;
use std::sync::Arc;

fn context(change: impl FnOnce(&mut wgpu::Limits)) -> Arc<Context> {
    let mut limits = wgpu::Limits::defaults();
    change(&mut limits);
    let descriptor = wgpu::DeviceDescriptor { required_limits: limits, ..Default::default() };
    let (device, queue) = wgpu::Device::noop(&descriptor);
    let adapter = Adapter {
        name: String::from("noop"),
        kind: "unknown",
        backend: String::new(),
        driver: String::new(),
        max_tensor: 0,
        workgroup_memory: 0,
        workgroup_size: 0,
        buffers: 0,
    };
    Arc::new(Context::new(adapter, device, queue, false))
}

const ANY: Which<'static> = Which::Before(u64::MAX);

#[track_caller]
fn origin() -> Origin {
    Origin { op: "test", site: Location::caller() }
}

#[test]
fn freed_buffers_serve_the_next_tensor_of_their_class() {
    let context = context(|_| {});
    let first = context.pool.take(&context, 1000, origin(), ANY).unwrap();
    let id = first.raw().id;
    assert_eq!(context.stats().live, 1024);
    drop(first);
    assert_eq!((context.stats().live, context.stats().pooled), (0, 1024));
    let second = context.pool.take(&context, 1024, origin(), ANY).unwrap();
    assert_eq!((second.raw().id, context.stats().allocations), (id, 1));
    assert_ne!(context.pool.take(&context, 1025, origin(), ANY).unwrap().raw().id, id);
    assert_eq!(context.stats().allocations, 2);
    context.pool.trim();
    assert_eq!(context.stats().pooled, 0);
}

#[test]
fn a_place_gets_one_of_its_last_two_buffers_again() {
    let context = context(|_| {});
    let mut recent = Recent::default();
    let mut take = || {
        let taken = context.pool.take(&context, 256, origin(), Which::Like(&recent)).unwrap();
        recent.note(&taken);
        taken
    };
    let id = |buffer: &Arc<DeviceBuffer>| buffer.raw().id;
    // As a parameter does: the old value goes when the new one is there.
    let first = take();
    let second = take();
    let ids = [id(&first), id(&second)];
    // Given back last, and yet not the one that is taken.
    let other = context.pool.take(&context, 256, origin(), ANY).unwrap();
    drop((first, other));
    let third = take();
    assert_eq!(id(&third), ids[0]);
    drop(second);
    assert_eq!(id(&take()), ids[1]);
}

#[test]
fn an_upload_keeps_off_buffers_that_recorded_kernels_still_read() {
    let context = context(|_| {});
    let numbers = [1u8; 1024];
    let first = upload(&context, &numbers, DType::F32).unwrap();
    let id = first.buffer.raw().id;
    drop(first);
    // Free, but whatever is recorded and not submitted may read it: the next upload takes another.
    let second = upload(&context, &numbers, DType::F32).unwrap();
    assert_ne!(second.buffer.raw().id, id);
    assert_eq!(block_on(second.download(256, DType::F32)).unwrap(), numbers);
    assert_eq!(upload(&context, &numbers, DType::F32).unwrap().buffer.raw().id, id);
}

#[test]
fn the_pool_keeps_no_more_than_was_ever_in_use() {
    let context = context(|_| {});
    let large = 40 << 20;
    let both = [(); 2].map(|()| context.pool.take(&context, large, origin(), ANY).unwrap());
    drop(both);
    assert_eq!(context.stats().pooled, 2 * large);
    let other = context.pool.take(&context, large + (8 << 20), origin(), ANY).unwrap();
    drop(other);
    // 80 MiB were in use at once: with 48 more the pool would hold 128.
    assert_eq!(context.stats().pooled, 2 * large);
    assert!(context.stats().peak <= 4 * large);
}

#[test]
fn a_tensor_past_the_limit_is_an_error_with_the_numbers() {
    let context = context(|limits| limits.max_storage_buffer_binding_size = 1 << 20);
    assert!(context.pool.take(&context, 1 << 20, origin(), ANY).is_ok());
    let error = context.pool.take(&context, (1 << 20) + 4, origin(), ANY).err().unwrap();
    assert!(matches!(error, Error::Limit { need: 1_048_580, have: 1_048_576, op: "test", .. }), "{error}");
    assert!(error.to_string().contains("1048580 needed, the device allows 1048576"), "{error}");
}

#[test]
fn a_lost_device_stays_lost() {
    let context = context(|_| {});
    let value = upload(&context, &[0; 64], DType::F32).unwrap();
    context.lose(String::from("unplugged"));
    let lost = |e: Error| matches!(&e, Error::Lost { reason } if reason == "unplugged");
    assert!(lost(upload(&context, &[0; 64], DType::F32).err().unwrap()));
    assert!(lost(block_on(value.download(16, DType::F32)).unwrap_err()));
    assert!(lost(context.synchronize().unwrap_err()));
    // A later reason does not replace the first.
    assert!(lost(context.lose(String::from("again"))));
}

#[test]
fn bools_are_words_there_and_bytes_here() {
    let context = context(|_| {});
    let value = upload(&context, &[1, 0, 1], DType::Bool).unwrap();
    assert_eq!(block_on(value.download(3, DType::U32)).unwrap(), [1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
    let part = Stored { buffer: value.buffer.clone(), offset: 1 };
    assert_eq!(block_on(part.download(2, DType::Bool)).unwrap(), [0, 1]);
}
