//! What the leading autoscaler tells about itself in its Lease, for those who want to connect.

use std::net::SocketAddr;

use k8s_openapi::api::coordination::v1::Lease;

use super::object;
use crate::tls::Fingerprint;

/// Annotation with the leader's address, `<ip>:<port>`.
pub const ADDRESS_ANNOTATION: &str = "catnap.dev/address";
/// Annotation with the SHA-256 of the leader's certificate.
pub const FINGERPRINT_ANNOTATION: &str = "catnap.dev/fingerprint";

/// Where the leader is and how to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertised {
    /// Who holds the Lease; another start of the process is another holder.
    pub holder: String,
    /// Transitions of the Lease: the first half of the leader's term.
    pub transitions: u64,
    /// Where its measurement stream listens.
    pub address: SocketAddr,
    /// Which certificate it must show.
    pub fingerprint: Fingerprint,
}

/// Reads it; `None` when nobody leads or an annotation is missing or malformed.
///
/// Says nothing about expiry: a dead leader is found out by trying.
pub fn advertised(lease: &Lease) -> Option<Advertised> {
    let annotations = lease.metadata.annotations.as_ref()?;
    Some(Advertised {
        holder: object::holder(lease)?.clone(),
        transitions: object::transitions(lease).unsigned_abs().into(),
        address: annotations.get(ADDRESS_ANNOTATION)?.parse().ok()?,
        fingerprint: annotations.get(FINGERPRINT_ANNOTATION)?.parse().ok()?,
    })
}
