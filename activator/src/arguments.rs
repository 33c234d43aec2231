//! Flags of the process; each has an environment variable and a default.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use catnap_activator_http::Network;
use catnap_runtime::admin::AdminArgs;
use catnap_runtime::identity::Pod;
use catnap_runtime::telemetry::TelemetryArgs;

use crate::access_log::AccessLogArgs;
use crate::traces::TraceArgs;

/// Carries every request to a function: routes it, holds it while the function wakes, and measures it.
#[derive(Debug, clap::Parser)]
#[command(name = "catnap-activator", version)]
pub(crate) struct Arguments {
    /// Address for clients in the cluster [default: port 8080 of every address, of both families where IPv6 is on].
    #[arg(long, env = "CATNAP_LISTEN")]
    pub(crate) listen: Option<SocketAddr>,
    /// Address for clients outside: accepted external hosts only [default: port 8081, as above].
    #[arg(long, env = "CATNAP_EDGE_LISTEN")]
    pub(crate) edge_listen: Option<SocketAddr>,
    /// Address for clients outside that speak TLS [default: port 8443, as above]. Nobody listens there without certificates.
    #[arg(long, env = "CATNAP_TLS_LISTEN")]
    pub(crate) tls_listen: Option<SocketAddr>,
    /// Directories that each hold `tls.crt` and `tls.key`, as a mounted Secret does; read again when they change. A client
    /// that asks for a name that no certificate is for gets the first one.
    #[arg(long, env = "CATNAP_TLS_CERTIFICATES", value_delimiter = ',')]
    pub(crate) tls_certificates: Vec<PathBuf>,
    /// Address for the other activators, which alone are let in [default: port 8444, as above].
    #[arg(long, env = "CATNAP_PEER_LISTEN")]
    pub(crate) peer_listen: Option<SocketAddr>,
    /// Threads that move bytes; 0 takes the CPU limit of the container, or all CPUs.
    #[arg(long, env = "CATNAP_WORKERS", default_value_t = 0)]
    pub(crate) workers: usize,
    /// DNS domain of the cluster.
    #[arg(long, env = "CATNAP_CLUSTER_DOMAIN", default_value = "cluster.local")]
    pub(crate) cluster_domain: String,
    /// Most requests held at once in this process.
    #[arg(long, env = "CATNAP_MAX_HELD", default_value_t = 100_000)]
    pub(crate) max_held: usize,
    /// Most bytes of requests held at once in this process.
    #[arg(long, env = "CATNAP_MAX_HELD_BYTES", default_value_t = 512 << 20)]
    pub(crate) max_held_bytes: usize,
    /// Most connections of clients; the one that is idle for longest makes room for a new one [default: what the limit of
    /// open files allows].
    #[arg(long, env = "CATNAP_MAX_CONNECTIONS")]
    pub(crate) max_connections: Option<usize>,
    /// Networks whose `Forwarded` and `X-Forwarded-*` headers are extended instead of replaced, such as 10.0.0.0/8.
    #[arg(long, env = "CATNAP_TRUSTED_PROXIES", value_delimiter = ',')]
    pub(crate) trusted_proxies: Vec<Network>,
    /// File with the ServiceAccount token, of audience `catnap`, that is shown to the autoscaler.
    #[arg(long, env = "CATNAP_TOKEN_FILE", default_value = "/var/run/secrets/catnap.dev/token")]
    pub(crate) token_file: PathBuf,
    /// Seconds after SIGTERM in which new connections are still accepted, until nobody sends any.
    #[arg(long, env = "CATNAP_DRAIN_DELAY", value_parser = seconds, default_value = "5")]
    pub(crate) drain_delay: Duration,
    /// Seconds that requests get to end after that.
    #[arg(long, env = "CATNAP_DRAIN_TIMEOUT", value_parser = seconds, default_value = "300")]
    pub(crate) drain_timeout: Duration,
    #[command(flatten)]
    pub(crate) access_log: AccessLogArgs,
    #[command(flatten)]
    pub(crate) traces: TraceArgs,
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
    #[command(flatten)]
    pub(crate) telemetry: TelemetryArgs,
    #[command(flatten)]
    pub(crate) pod: Pod,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.strip_suffix('s').unwrap_or(text);
    seconds.parse().map(Duration::from_secs).map_err(|_| format!("`{text}` is not a whole number of seconds"))
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    const POD: [&str; 9] = [
        "catnap-activator",
        "--pod-name",
        "a",
        "--pod-namespace",
        "b",
        "--pod-uid",
        "c",
        "--pod-ip",
        "10.0.0.1",
    ];

    #[test]
    fn every_flag_has_an_environment_variable_and_a_doc() {
        let undocumented = catnap_testkit::flags::undocumented(&Arguments::command());
        assert!(undocumented.is_empty(), "{undocumented:?}");
    }

    #[test]
    fn the_flags_page_is_fresh() {
        let table = catnap_runtime::flags::table(&Arguments::command());
        catnap_testkit::flags_page::check("catnap-activator", &table).unwrap();
    }

    #[test]
    fn what_nobody_sets_is_as_documented() {
        let arguments = Arguments::parse_from(POD);
        assert_eq!((arguments.max_held, arguments.max_held_bytes), (100_000, 536_870_912));
        assert_eq!((arguments.workers, arguments.max_connections), (0, None));
        assert_eq!(arguments.drain_delay, Duration::from_secs(5));
        assert_eq!(arguments.drain_timeout, Duration::from_secs(300));
        assert_eq!(arguments.cluster_domain, "cluster.local");
        let AccessLogArgs { access_log_sample, access_log_errors } = arguments.access_log;
        assert!(access_log_sample <= 0.0 && access_log_errors == 0);
        assert!((arguments.traces.trace_sample - 0.01).abs() < f64::EPSILON);
        assert_eq!((arguments.traces.sampling(), arguments.traces.trace_delay), (None, 5_000));
    }

    #[test]
    fn lists_and_times_are_read() {
        let flags =
            ["--trusted-proxies", "10.0.0.0/8,192.0.2.1", "--drain-delay", "2s", "--drain-timeout", "60"];
        let arguments = Arguments::parse_from(POD.into_iter().chain(flags));
        assert!(arguments.tls_certificates.is_empty());
        assert_eq!(arguments.trusted_proxies.len(), 2);
        assert_eq!(arguments.drain_delay, Duration::from_secs(2));
        assert_eq!(arguments.drain_timeout, Duration::from_secs(60));
        assert!(Arguments::try_parse_from(POD.into_iter().chain(["--drain-delay", "soon"])).is_err());
    }
}
