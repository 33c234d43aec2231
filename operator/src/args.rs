//! Flags of the process; each has an environment variable.

use catnap_runtime::{admin::AdminArgs, identity::Pod, telemetry::TelemetryArgs};

/// Turns each Function into Kubernetes objects and reports what became of it.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "catnap-operator", version)]
pub struct Args {
    /// Logs.
    #[command(flatten)]
    pub telemetry: TelemetryArgs,
    /// Metrics, health and debugging.
    #[command(flatten)]
    pub admin: AdminArgs,
    /// Who this process is.
    #[command(flatten)]
    pub pod: Pod,
    /// Name of the Lease that the acting operator holds.
    #[arg(long, env = "CATNAP_LEASE", default_value = "catnap-operator")]
    pub lease: String,
    /// Service in front of the activators, in the namespace of this process: where functions' names lead to.
    #[arg(long, env = "CATNAP_ACTIVATOR_SERVICE", default_value = catnap_crds::names::ACTIVATOR_SERVICE)]
    pub activator_service: String,
    /// Functions that are worked on at once.
    #[arg(long, env = "CATNAP_CONCURRENCY", default_value_t = 32)]
    pub concurrency: u16,
}
