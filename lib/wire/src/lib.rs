//! The protocol between activators and the leading autoscaler.
//!
//! [`message`] holds the plain types that both cores work with, [`limits`] how large frames may be. With the feature `transport`, [`proto`] holds the generated
//! gRPC service and [`codec`] the checked conversion between the two: what is malformed never reaches a core.

pub mod limits;
pub mod message;

#[cfg(feature = "transport")]
pub mod codec;

/// Messages and service generated from `proto/measurements.proto`.
#[cfg(feature = "transport")]
#[allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]
pub mod proto {
    tonic::include_proto!("catnap.measurements.v1");
}

pub use message::{
    ActivatorFrame, Bucket, Closed, GateId, Hello, LeaderFrame, PodReport, PodUid, Pressure, RevisionId,
    RevisionReport, Term, Verdict, WakeAnswer, Welcome,
};
