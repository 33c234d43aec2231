//! The protocols between activators and the leading autoscaler, and among activators.
//!
//! [`message`] and [`peer`] hold the plain types that the cores work with, [`limits`] how large frames may be. With the feature `transport`, [`proto`] holds the generated
//! gRPC service and [`codec`] the checked conversion between the two: what is malformed never reaches a core.

pub mod limits;
pub mod message;
pub mod peer;

#[cfg(feature = "transport")]
pub mod codec;

/// Messages and service generated from `proto/measurements.proto`.
#[cfg(feature = "transport")]
#[allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]
pub mod proto {
    tonic::include_proto!("catnap.measurements.v1");
}

/// Messages and service generated from `proto/peers.proto`.
#[cfg(feature = "transport")]
#[allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]
pub mod peers_proto {
    tonic::include_proto!("catnap.peers.v1");
}

pub use message::{
    ActivatorFrame, Bucket, Closed, GateId, Hello, LeaderFrame, PodReport, PodUid, Pressure, RevisionId,
    RevisionReport, Term, Verdict, WakeAnswer, Welcome,
};
