//! System calls a request, counted by strace while callers are at it.

use std::path::Path;
use std::time::Duration;

use anyhow::bail;

use super::shape::Shape;
use super::{call, warmed};
use crate::subject::Subject;
use crate::subject::tracer::Tracer;

/// Calls for each request of a slot.
pub(super) async fn calls_each(
    shape: Shape,
    subject: &Subject,
    slot: Duration,
    directory: &Path,
) -> anyhow::Result<f64> {
    let [process] = subject.processes.as_slice() else { bail!("calls are counted of one process only") };
    let load = warmed(shape, subject).await?;
    let tracer = Tracer::attach(process.id(), directory)?;
    let (answered, _) = call(load, subject, slot).await?;
    Ok(tracer.detach()? as f64 / answered as f64)
}
