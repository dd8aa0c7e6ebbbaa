//! The time that a recorded kernel takes: by the device's own clock where it has one that can be
//! read, else by the host's, which sees the submission too.

use super::context::Context;
use super::recorder::Recorder;
use crate::error::Result;
use crate::exec::clock::Instant;
use std::time::Duration;

/// Records with `record` and runs what it recorded alone; gives the time that took.
pub(super) fn time(
    context: &Context,
    recorder: &mut Recorder,
    record: impl FnOnce(&mut Recorder) -> Result<()>,
) -> Result<Duration> {
    recorder.submit(context)?;
    recorder.wait(context)?;
    if !context.timestamps {
        let start = Instant::now();
        record(recorder)?;
        recorder.submit(context)?;
        recorder.wait(context)?;
        return Ok(start.elapsed());
    }
    let queries = context.device.create_query_set(&wgpu::QuerySetDescriptor {
        label: None,
        ty: wgpu::QueryType::Timestamp,
        count: 2,
    });
    let buffer = |usage| {
        let descriptor = wgpu::BufferDescriptor { label: None, size: 16, usage, mapped_at_creation: false };
        context.device.create_buffer(&descriptor)
    };
    let resolved = buffer(wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC);
    let staging = buffer(wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST);
    recorder.begin_timed(context, &queries);
    record(recorder)?;
    let encoder = recorder.encoder(context);
    encoder.resolve_query_set(&queries, 0..2, &resolved, 0);
    encoder.copy_buffer_to_buffer(&resolved, 0, &staging, 0, 16);
    recorder.submit(context)?;
    staging.map_async(wgpu::MapMode::Read, .., |_| {});
    recorder.wait(context)?;
    let view = staging.get_mapped_range(..);
    let view = view.map_err(|e| context.lose(format!("reading a timestamp: {e}")))?;
    let ticks = |i: usize| u64::from_ne_bytes(std::array::from_fn(|b| view[8 * i + b]));
    let nanos = ticks(1).saturating_sub(ticks(0)) as f64 * f64::from(context.queue.get_timestamp_period());
    Ok(Duration::from_nanos(nanos as u64))
}
