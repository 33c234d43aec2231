//! Descriptors that the data path leaves to the rest of the process: to watches, to the stream to the leader, and to kubelet's
//! probes, without which the process would be taken for one that hangs, and be restarted.

use std::os::fd::AsRawFd;

use rustix::process::{Resource, getrlimit};

/// So many, or a quarter of all where there are few.
pub(crate) const RESERVED: u64 = 256;

/// True for a descriptor that is one of the last ones. A new one gets the lowest number that is free (POSIX, `open`), so all
/// below it are taken.
pub(crate) fn is_reserved(descriptor: &impl AsRawFd) -> bool {
    left(descriptor).is_some_and(|(left, reserved)| left <= reserved)
}

/// True for one of the last half of those. Nobody gets it in place of a quiet connection either: an HTTP/2 client may take a second
/// to leave, and many may come in that time.
pub(crate) fn is_scarce(descriptor: &impl AsRawFd) -> bool {
    left(descriptor).is_some_and(|(left, reserved)| left <= reserved / 2)
}

/// How many descriptors there are from this one on, and how many are reserved; `None` where there is no limit.
fn left(descriptor: &impl AsRawFd) -> Option<(u64, u64)> {
    let limit = getrlimit(Resource::Nofile).current?;
    let number = u64::try_from(descriptor.as_raw_fd()).ok()?;
    Some((limit.saturating_sub(number), RESERVED.min(limit / 4)))
}
