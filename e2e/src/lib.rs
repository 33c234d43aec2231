//! A real Kubernetes cluster on one machine, the images that run on it, and what the end-to-end tests share.
//!
//! [`cluster`] starts API server, kubelets and the rest as plain processes; [`images`] writes OCI archives without a
//! registry; [`fixture`] gives each test a namespace, bounded waits and a record of what went wrong; [`book`] follows a page
//! of the documentation; [`lateness`] tells when the machine itself stood still.

pub mod book;
pub mod cluster;
pub mod fixture;
pub mod functions;
pub mod images;
pub mod lateness;
pub mod manifests;
pub mod oci;
