//! How much a frame may hold, for both ends of the stream, and how longer lists are cut into frames.
//!
//! Sizes are upper bounds from the fields of the messages, so that a core keeps to them without an encoder.

use crate::message::{Closed, HELLO_PART, RevisionId, RevisionReport};

/// Longest name, namespace or UID accepted, in bytes (RFC 1123 subdomain: 253).
pub const MAX_NAME_BYTES: usize = 253;
/// Most buckets of one revision in a frame: every second of the longest `scale.window` (1 h), and some for a leader that lags.
pub const MAX_BUCKETS: usize = 3_700;
/// Most pods of one revision in a frame: twice the API's largest `scale.max`, for those that come and go.
pub const MAX_PODS: usize = 20_000;
/// Most requests of one revision at once in one activator, and most that arrive there in one second: far more than a process
/// has sockets for.
pub const MAX_REQUESTS: u64 = 1_000_000;
/// Largest integral of one second, in request-microseconds.
pub const MAX_REQUEST_MICROSECONDS: u64 = MAX_REQUESTS * 1_000_000;
/// Most revisions whose requests are counted at once: two of each of 10,000 functions. With names of any length they fit a frame.
pub const MAX_COUNTED: usize = 20_000;
/// Longest time that a clock shows, in seconds: no process runs for 20 years.
pub const MAX_LIFE_SECONDS: u64 = 20 * 365 * 86_400;
/// Most requests of one revision that end in the life of a process, and the sum over as many processes as nobody has.
pub const MAX_ENDED: u64 = MAX_REQUESTS * MAX_LIFE_SECONDS * 1_000;
/// Most replicas that a Deployment can have.
pub const MAX_REPLICAS: u32 = i32::MAX.unsigned_abs();
/// Largest frame that either end takes, in bytes.
pub const MAX_FRAME_BYTES: usize = 16 << 20;

/// Largest frame between activators, in bytes: twice what [`MAX_PODS`] UIDs of any length come to.
pub const MAX_PEER_FRAME_BYTES: usize = 12 << 20;

/// Most bytes of one part. One revision with as much as it may have stays below it: 6 MB, nearly all for names of pods.
const PART_BYTES: usize = MAX_FRAME_BYTES / 2;

// Every field number is below 16, so a tag is one byte.
/// A number: its tag and the longest varint.
const NUMBER: usize = 1 + 10;
/// Before a string: its tag and a length of up to [`MAX_NAME_BYTES`].
const STRING: usize = 1 + 2;
/// Before a message of less than 256 MiB.
const MESSAGE: usize = 1 + 4;
const GATE: usize = MESSAGE + 3 * NUMBER;
const BUCKET: usize = MESSAGE + 3 * NUMBER;

/// Reports in the parts of a `Hello`, in order: each at most [`HELLO_PART`] long and smaller than a frame. There is always
/// one, if only an empty one.
pub fn hello_parts(reports: Vec<RevisionReport>) -> Vec<Vec<RevisionReport>> {
    parts(reports, report_bytes)
}

/// Closed revisions in the parts of a `Welcome`, in the same way.
pub fn welcome_parts(closed: Vec<Closed>) -> Vec<Vec<Closed>> {
    parts(closed, closed_bytes)
}

fn parts<T>(items: Vec<T>, bytes: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let (mut parts, mut part, mut filled) = (Vec::new(), Vec::new(), 0);
    for item in items {
        let size = bytes(&item);
        if !part.is_empty() && (part.len() == HELLO_PART || filled + size > PART_BYTES) {
            parts.push(std::mem::take(&mut part));
            filled = 0;
        }
        filled += size;
        part.push(item);
    }
    parts.push(part);
    parts
}

fn report_bytes(report: &RevisionReport) -> usize {
    let pods: usize = report.pods.iter().map(|pod| MESSAGE + STRING + pod.uid.len() + 2 * NUMBER).sum();
    MESSAGE + revision_bytes(&report.revision) + GATE + 3 * NUMBER + report.buckets.len() * BUCKET + pods
}

fn closed_bytes(closed: &Closed) -> usize {
    let verdict = &closed.verdict;
    let condemned: usize = verdict.condemned.iter().map(|uid| STRING + uid.len()).sum();
    2 * MESSAGE + revision_bytes(&verdict.revision) + GATE + condemned + NUMBER
}

fn revision_bytes(revision: &RevisionId) -> usize {
    MESSAGE + 3 * STRING + revision.namespace.len() + revision.name.len() + revision.function_uid.len()
}

#[cfg(all(test, feature = "transport"))]
mod tests;
