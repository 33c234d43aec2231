//! Descriptors that the data path leaves to the rest of the process: to watches, to the stream to the leader, and to kubelet's
//! probes, without which the process would be taken for one that hangs, and be restarted.

use std::os::fd::AsRawFd;

use rustix::process::{Resource, getrlimit};

/// So many, or a quarter of all where there are few.
pub(crate) const RESERVED: u64 = 256;

/// True for a descriptor that is one of the last ones. A new one gets the lowest number that is free (POSIX, `open`), so all
/// below it are taken.
pub(crate) fn is_reserved(descriptor: &impl AsRawFd) -> bool {
    let Some(limit) = getrlimit(Resource::Nofile).current else { return false };
    let first = limit - RESERVED.min(limit / 4);
    u64::try_from(descriptor.as_raw_fd()).is_ok_and(|number| number >= first)
}
