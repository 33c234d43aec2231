//! Flags of the process; each has an environment variable.

use std::net::SocketAddr;

use catnap_crds::Duration;
use catnap_runtime::admin::AdminArgs;
use catnap_runtime::identity::Pod;
use catnap_runtime::telemetry::TelemetryArgs;

/// Decides how many replicas every function has, from what the activators measured.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "catnap-autoscaler", version)]
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
    /// Address that activators connect to (gRPC over TLS) [default: port 9443 of every address, of both families where IPv6 is
    /// on].
    #[arg(long, env = "CATNAP_STREAM_ADDRESS")]
    pub stream_address: Option<SocketAddr>,
    /// Name of the Lease that the leading autoscaler holds and advertises itself in.
    #[arg(long, env = "CATNAP_LEASE", default_value = "catnap-autoscaler")]
    pub lease: String,
    /// Service account, in the namespace of this process, that activators prove to be.
    #[arg(long, env = "CATNAP_ACTIVATOR_SERVICE_ACCOUNT", default_value = "catnap-activator")]
    pub activator_service_account: String,
    /// Audience that the activators' tokens must be for.
    #[arg(long, env = "CATNAP_TOKEN_AUDIENCE", default_value = "catnap")]
    pub token_audience: String,
    /// Service account, in the namespace of this process, that operators prove to be when they ask how requests end.
    #[arg(long, env = "CATNAP_OPERATOR_SERVICE_ACCOUNT", default_value = "catnap-operator")]
    pub operator_service_account: String,
    /// Audience that the operators' tokens must be for: another one than the activators'.
    #[arg(long, env = "CATNAP_RATES_AUDIENCE", default_value = "catnap-rates")]
    pub rates_audience: String,
    /// Label selector of the activators' pods.
    #[arg(
        long,
        env = "CATNAP_ACTIVATOR_SELECTOR",
        default_value = "app.kubernetes.io/name=catnap,app.kubernetes.io/component=activator"
    )]
    pub activator_selector: String,
    /// Writes of `/scale` under way at once.
    #[arg(long, env = "CATNAP_SCALE_WRITERS", default_value_t = 32)]
    pub scale_writers: usize,
    /// What was learned of functions is written at most this often.
    #[arg(long, env = "CATNAP_PATTERNS_INTERVAL", default_value = "5m")]
    pub patterns_interval: Duration,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_flag_has_an_environment_variable_and_a_doc() {
        let undocumented = catnap_testkit::flags::undocumented(&Args::command());
        assert!(undocumented.is_empty(), "{undocumented:?}");
    }

    #[test]
    fn the_flags_page_is_fresh() {
        let table = catnap_runtime::flags::table(&Args::command());
        catnap_testkit::flags_page::check("catnap-autoscaler", &table).unwrap();
    }
}
