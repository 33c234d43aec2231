//! The protocols between activators and the leading autoscaler, among activators, and between that autoscaler and the operator.
//!
//! [`message`], [`peer`] and [`rates`] hold the plain types, [`limits`] how large frames may be. With the feature `transport`,
//! [`proto`] and its neighbours hold the generated gRPC services and [`codec`] the checked conversion between the two: what is malformed never reaches a core.

pub mod limits;
pub mod message;
pub mod peer;
pub mod rates;

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

/// Messages and service generated from `proto/rates.proto`.
#[cfg(feature = "transport")]
#[allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]
pub mod rates_proto {
    tonic::include_proto!("catnap.rates.v1");
}

pub use message::{
    ActivatorFrame, Bucket, Closed, GateId, Hello, LeaderFrame, Outcomes, PodReport, PodUid, Pressure,
    RevisionId, RevisionReport, Term, Verdict, WakeAnswer, Welcome,
};
