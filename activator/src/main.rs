//! The process on the data path. Its workers, each on a thread of its own, move the requests; this thread does everything else:
//! watches, the stream to the autoscaler, waking, metrics.
//!
//! It needs neither the operator nor the autoscaler to serve or to wake, and the API server only to learn what is new.

mod arguments;
mod catalog;
mod commands;
mod control;
mod debug_state;
mod leader;
mod members;
mod metrics;
mod pods;
mod routes;
mod scale;
mod stream;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use catnap_activator_core::{Activator, Listener, Settings, SystemClock};
use catnap_activator_http::{Certificates, Config, Network, Server, Tls};
use catnap_crds::{Function, labels};
use catnap_runtime::admin::{Admin, Readiness};
use catnap_runtime::listen::every_address;
use catnap_runtime::prometheus_client::registry::Registry;
use catnap_runtime::{CancellationToken, admin, identity, kubernetes, shutdown, telemetry, tls, watch};
use clap::Parser;
use futures::{FutureExt, StreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::watcher::Config as WatchConfig;
use kube::{Api, Client};
use tokio::sync::{mpsc, oneshot, watch as latest};
use tracing::info;

use arguments::Arguments;
use control::{Control, Sources};
use metrics::Metrics;

/// Events of the stream that may wait for the control loop.
const STREAM_EVENTS: usize = 1_024;
/// Certificates are read again this often. kubelet itself takes up to a minute to bring a changed Secret.
const CERTIFICATES_INTERVAL: Duration = Duration::from_secs(5);

fn main() -> anyhow::Result<()> {
    tls::install_crypto_provider();
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start the control thread's runtime")?.block_on(run(arguments))
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let Arguments {
        listen,
        edge_listen,
        tls_listen,
        tls_certificates,
        workers,
        cluster_domain,
        max_held,
        max_held_bytes,
        max_connections,
        trusted_proxies,
        token_file,
        drain_delay,
        drain_timeout,
        admin,
        telemetry,
        pod,
    } = arguments;
    telemetry::init(&telemetry)?;
    let stop = shutdown::on_signal()?;
    let admin_listener = admin::bind(&admin)?;
    let addresses = [
        (Listener::InCluster, listen.unwrap_or_else(|| every_address(8080))),
        (Listener::Edge, edge_listen.unwrap_or_else(|| every_address(8081))),
    ];
    let mut config = server_config(addresses, workers, trusted_proxies);
    config.tls = tls_config(tls_listen, tls_certificates);
    config.max_connections = max_connections;
    let client = kubernetes::client("catnap-activator").await?;
    let settings = Settings {
        cluster_domain: cluster_domain.as_str().into(),
        max_held,
        max_held_bytes,
        ..Settings::new(identity::new_boot(), pod.uid.as_str())
    };
    let (activator, commands) = Activator::new(settings, Arc::new(SystemClock::start()));

    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry, &activator);
    let readiness = Readiness::default();
    let admin_stop = CancellationToken::new();
    let shown = Arc::clone(&activator);
    let admin = Admin {
        registry,
        readiness: readiness.clone(),
        debug_state: Arc::new(move || std::future::ready(debug_state::render(&shown.snapshot())).boxed()),
    };
    let admin = tokio::spawn(admin::serve(admin_listener, admin, admin_stop.clone()));

    let (synced, all_synced) = oneshot::channel();
    let sources = sources(&client, &pod.namespace, token_file, commands);
    let scale = scale::ScaleClient::new(client);
    let control = Control::new(Arc::clone(&activator), scale, Arc::clone(&metrics), synced);
    let mut control = tokio::spawn(control.run(sources));

    // Until everything is known, a request for a function would be answered with 404: nobody is let in.
    tokio::select! {
        known = all_synced => known.context("the control loop ended before it knew everything")?,
        () = stop.cancelled() => return Ok(()),
    }
    let server = Server::start(config, activator, metrics)?;
    info!(addresses = ?server.addresses(), failpoints = catnap_runtime::failpoint::ENABLED, "serving");
    readiness.set(true);

    tokio::select! {
        () = stop.cancelled() => {}
        // Without it nothing wakes any more: a restart is better.
        ended = &mut control => ended.context("the control loop ended")?,
    }
    readiness.set(false);
    let drained = server.drain(drain_delay, drain_timeout).await;
    info!(cut_off = drained.cut_off, "drained");
    // Only now: what was held needed the control loop until its end, and people may want to watch a drain.
    control.abort();
    admin_stop.cancel();
    admin.await.context("the admin server ended badly")
}

/// Starts the watches and the stream.
fn sources(
    client: &Client,
    namespace: &str,
    token_file: PathBuf,
    commands: mpsc::UnboundedReceiver<catnap_activator_core::Command>,
) -> Sources {
    let (publish_leader, leader_found) = latest::channel(None);
    let (lease_client, lease_namespace) = (client.clone(), namespace.to_owned());
    tokio::spawn(async move { leader::follow_leader(lease_client, &lease_namespace, publish_leader).await });
    let (tell, told) = mpsc::channel(STREAM_EVENTS);
    tokio::spawn(stream::keep_connected(leader_found, token_file, tell));
    Sources {
        commands,
        functions: watch::follow::<Function, _>(
            Api::all(client.clone()),
            WatchConfig::default(),
            routes::Seen::trim,
            || (),
        )
        .boxed(),
        pods: watch::follow::<Pod, _>(
            Api::all(client.clone()),
            WatchConfig::default().labels(labels::FUNCTION),
            pods::FunctionPod::trim,
            || (),
        )
        .boxed(),
        members: watch::follow::<Pod, _>(
            Api::namespaced(client.clone(), namespace),
            WatchConfig::default().labels(members::SELECTOR),
            members::Activator::trim,
            || (),
        )
        .boxed(),
        stream: told,
    }
}

/// The edge under TLS, when there are directories with certificates.
fn tls_config(listen: Option<SocketAddr>, directories: Vec<PathBuf>) -> Option<Tls> {
    if directories.is_empty() {
        return None;
    }
    let certificates = Arc::new(Certificates::load(directories));
    tokio::spawn(Arc::clone(&certificates).follow(CERTIFICATES_INTERVAL));
    Some(Tls {
        listeners: vec![(Listener::Edge, listen.unwrap_or_else(|| every_address(8443)))],
        certificates,
    })
}

/// `workers` 0 stands for all CPUs.
fn server_config(
    addresses: [(Listener, SocketAddr); 2],
    workers: usize,
    trusted_proxies: Vec<Network>,
) -> Config {
    let all_cpus = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let mut config = Config::new(addresses.into());
    config.workers = if workers == 0 { all_cpus() } else { workers };
    config.trusted_proxies = trusted_proxies;
    config
}
