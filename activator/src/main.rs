//! The process on the data path. Its workers, each on a thread of its own, move the requests; this thread does everything else:
//! watches, the stream to the autoscaler, waking, metrics.
//!
//! It needs neither the operator nor the autoscaler to serve or to wake, and the API server only to learn what is new.

mod access_log;
mod arguments;
mod catalog;
mod commands;
mod control;
mod debug_state;
mod members;
mod metrics;
mod observers;
mod outcomes;
mod peers;
mod pods;
mod routes;
mod scale;
mod stream;
mod traces;

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
use catnap_runtime::listen::{every_address, listen};
use catnap_runtime::prometheus_client::registry::Registry;
use catnap_runtime::{CancellationToken, admin, identity, kubernetes, shutdown, telemetry, tls, watch};
use catnap_wire::PodUid;
use clap::Parser;
use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::watcher::Config as WatchConfig;
use kube::{Api, Client};
use tokio::sync::{mpsc, oneshot, watch as latest};
use tracing::info;

use access_log::AccessLog;
use arguments::Arguments;
use control::{Control, Sources};
use metrics::Metrics;
use observers::Observers;
use peers::PeerEvent;
use peers::directory::Directory;
use peers::stream::Streams;

/// Events of the stream that may wait for the control loop.
const STREAM_EVENTS: usize = 1_024;
/// Events of the streams to other activators that may wait for the control loop.
const PEER_EVENTS: usize = 4_096;
const PEER_PORT: u16 = 8444;
/// Other activators get this long to hear that this one ends.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(1);
/// Spans of the last requests get this long to be sent.
const LAST_TRACES: Duration = Duration::from_secs(2);
/// The last lines of the access log get this long to be read.
const LAST_LINES: Duration = Duration::from_secs(1);
/// What blocks a thread at the end, such as a name that is looked up, is not waited for any longer.
const LAST_BLOCKED: Duration = Duration::from_secs(1);
/// Certificates are read again this often. kubelet itself takes up to a minute to bring a changed Secret.
const CERTIFICATES_INTERVAL: Duration = Duration::from_secs(5);

fn main() -> anyhow::Result<()> {
    tls::install_crypto_provider();
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start the control thread's runtime")?;
    let ended = runtime.block_on(run(arguments));
    runtime.shutdown_timeout(LAST_BLOCKED);
    ended
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let Arguments {
        listen: in_cluster_listen,
        edge_listen,
        tls_listen,
        tls_certificates,
        peer_listen,
        workers,
        cluster_domain,
        max_held,
        max_held_bytes,
        max_connections,
        trusted_proxies,
        token_file,
        drain_delay,
        drain_timeout,
        access_log,
        traces,
        admin,
        telemetry,
        pod,
    } = arguments;
    let log = telemetry::init(&telemetry)?;
    let stop = shutdown::on_signal()?;
    let admin_listener = admin::bind(&admin)?;
    let addresses = [
        (Listener::InCluster, in_cluster_listen.unwrap_or_else(|| every_address(8080))),
        (Listener::Edge, edge_listen.unwrap_or_else(|| every_address(8081))),
    ];
    let mut config = server_config(addresses, workers, trusted_proxies);
    config.tls = tls_config(tls_listen, tls_certificates);
    config.max_connections = max_connections;
    config.sampling = traces.sampling();
    let client = kubernetes::client("catnap-activator").await?;
    let boot = identity::new_boot();
    let settings = Settings {
        cluster_domain: cluster_domain.as_str().into(),
        max_held,
        max_held_bytes,
        ..Settings::new(boot, pod.uid.as_str())
    };
    let (activator, commands) = Activator::new(settings, Arc::new(SystemClock::start()));

    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry, &activator);
    metrics.losses.log.get_or_init(|| log.dropped());
    let access_log = AccessLog::start(&access_log, telemetry.log_format, Arc::clone(&metrics.losses));
    let (access_log, writing) = access_log.context("cannot start the access log's thread")?.unzip();
    let (traces, export) = traces::start(&traces, &pod, &metrics.losses)?.unzip();
    let export = export.map(|export| tokio::spawn(export.run()));
    let outcomes = outcomes::Outcomes::new(Arc::clone(&metrics));
    let debug_state = debug_state::of(&activator, &metrics.cold_starts);
    let observers = Observers { metrics, access_log, traces };
    let readiness = Readiness::default();
    let admin_stop = CancellationToken::new();
    let admin = Admin { registry, readiness: readiness.clone(), debug_state };
    let admin = tokio::spawn(admin::serve(admin_listener, admin, admin_stop.clone()));

    let (synced, all_synced) = oneshot::channel();
    let peer_listen = peer_listen.unwrap_or_else(|| every_address(PEER_PORT));
    let (directory, peers) = tokio::select! {
        started = start_peers(&client, &pod, boot, peer_listen, admin_stop.clone()) => started?,
        () = stop.cancelled() => return Ok(()),
    };
    let sources = sources(&client, &pod.namespace, token_file, commands, peers);
    let scale = scale::ScaleClient::new(client);
    let control = Control::new(Arc::clone(&activator), scale, directory, outcomes, synced);
    let end = CancellationToken::new();
    let mut control = tokio::spawn(control.run(sources, end.clone()));

    // Until everything is known, a request for a function would be answered with 404: nobody is let in.
    tokio::select! {
        known = all_synced => known.context("the control loop ended before it knew everything")?,
        () = stop.cancelled() => return Ok(()),
    }
    let server = Server::start(config, activator, Arc::new(observers))?;
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
    end.cancel();
    if tokio::time::timeout(GOODBYE_TIMEOUT, &mut control).await.is_err() {
        control.abort();
    }
    if let Some(writing) = writing {
        writing.ended(LAST_LINES).await;
    }
    if let Some(export) = export {
        // The workers are gone, and with them whoever makes spans.
        let _ = tokio::time::timeout(LAST_TRACES, export).await;
    }
    admin_stop.cancel();
    admin.await.context("the admin server ended badly")
}

/// Serves the peer port, tells the other activators of it, and connects to them.
///
/// In this order, and before any watch starts: of two activators that start at the same time at least one then knows the other.
async fn start_peers(
    client: &Client,
    pod: &identity::Pod,
    boot: u64,
    address: SocketAddr,
    stop: CancellationToken,
) -> anyhow::Result<(Directory, mpsc::Receiver<PeerEvent>)> {
    let listener = listen(address).with_context(|| format!("cannot listen on {address} for activators"))?;
    let port = listener.local_addr().context("the peer port is not known")?.port();
    let certificate = Arc::new(tls::SelfMade::generate("catnap-activator")?);
    let own = PodUid::from(pod.uid.as_str());
    let (directory, known) = Directory::new(own.clone());
    let (tell, told) = mpsc::channel(PEER_EVENTS);
    let streams = Streams::new(tell);
    let server = peers::server::Server::new(&certificate, known.clone(), streams.clone())?;
    tokio::spawn(server.serve(listener, stop));
    let lease = peers::lease::OwnLease::new(client.clone(), pod, boot, port, certificate.fingerprint());
    lease.publish().await;
    tokio::spawn(lease.keep(directory.own_gone()));
    tokio::spawn(peers::dial::keep_connected(own, certificate, known, streams));
    Ok((directory, told))
}

/// Starts the watches and the stream.
fn sources(
    client: &Client,
    namespace: &str,
    token_file: PathBuf,
    commands: mpsc::UnboundedReceiver<catnap_activator_core::Command>,
    peers: mpsc::Receiver<PeerEvent>,
) -> Sources {
    let (publish_leader, leader_found) = latest::channel(None);
    let (lease_client, lease_namespace) = (client.clone(), namespace.to_owned());
    tokio::spawn(async move {
        catnap_runtime::leader::follow_leader(lease_client, &lease_namespace, publish_leader).await;
    });
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
        leases: peers::lease::follow(client.clone(), namespace).boxed(),
        peers,
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
