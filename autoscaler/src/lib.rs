//! The autoscaler's process: streams of activators, watches and writes around the pure core, which decides everything.
//!
//! Of several processes one leads, by a Lease that also tells activators where it is. Nothing is kept that a restart would lose.

use std::sync::Arc;

use anyhow::Context;
use catnap_runtime::CancellationToken;
use catnap_runtime::admin::{self, Admin, Readiness};
use catnap_runtime::events::{self, Publisher};
use catnap_runtime::lease::{ADDRESS_ANNOTATION, Election, FINGERPRINT_ANNOTATION, LeaseSettings};
use catnap_runtime::listen::{every_address, listen};
use catnap_runtime::tls::SelfMade;
use catnap_runtime::{identity, kubernetes, shutdown, telemetry};
use futures::FutureExt;
use prometheus_client::registry::Registry;
use tokio::sync::mpsc;
use tokio::time::timeout;

mod args;
mod call;
mod cluster;
mod driver;
#[cfg(test)]
mod fixture;
mod marks;
mod metrics;
mod outcomes;
mod patterns;
mod pause;
mod scale;
mod stream;
mod watch;

pub use args::Args;
use driver::{Driver, INPUTS, Tools, describe};
use marks::MarkClient;
use metrics::Metrics;
use patterns::PatternClient;
use scale::ScaleClient;
use stream::authentication::{Authenticator, Expected, Role};
use stream::rates::Rates;
use stream::{Measurements, server};
use watch::Activators;

const COMPONENT: &str = "catnap-autoscaler";
const REPORTER: &str = "catnap.dev/autoscaler";
/// Events are written one after the other: the API server has Wakes to answer.
const EVENT_WRITERS: usize = 1;
const STREAM_PORT: u16 = 9443;

/// Runs the process until SIGTERM or SIGINT, then hands leadership over.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let Args {
        telemetry,
        admin,
        pod,
        stream_address,
        lease,
        activator_service_account,
        token_audience,
        operator_service_account,
        rates_audience,
        activator_selector,
        scale_writers,
        patterns_interval,
    } = args;
    let _log = telemetry::init(&telemetry)?;
    let stop = shutdown::on_signal()?;
    let admin_listener = admin::bind(&admin)?;
    let stream_address = stream_address.unwrap_or_else(|| every_address(STREAM_PORT));
    let stream_listener = listen(stream_address)
        .with_context(|| format!("cannot listen on {stream_address} for activators"))?;
    let client = kubernetes::client(COMPONENT).await?;
    let certificate = SelfMade::generate(COMPONENT)?;
    let boot = identity::new_boot();
    let activators = Activators { namespace: pod.namespace.clone(), selector: activator_selector };

    let mut registry = Registry::default();
    let metrics = Metrics::new(&mut registry);
    let (inputs, received) = mpsc::channel(INPUTS);

    let address = std::net::SocketAddr::new(pod.ip, stream_address.port());
    let settings = LeaseSettings {
        namespace: pod.namespace.clone(),
        name: lease,
        holder: identity::holder(&pod.name, boot),
        annotations: [
            (ADDRESS_ANNOTATION.to_owned(), address.to_string()),
            (FINGERPRINT_ANNOTATION.to_owned(), certificate.fingerprint().to_string()),
        ]
        .into(),
    };
    let (election, leadership) = Election::new(client.clone(), settings);
    let release = CancellationToken::new();
    let election = tokio::spawn(election.run(release.clone()));

    let readiness = Readiness::default();
    let last = CancellationToken::new();
    let debug_inputs = inputs.clone();
    let debug_state = Arc::new(move |query| describe(debug_inputs.clone(), query).boxed());
    let admin = Admin { registry, readiness: readiness.clone(), debug_state };
    tokio::spawn(admin::serve(admin_listener, admin, last.clone()));

    let authenticator = |role, audience, account| {
        let username = format!("system:serviceaccount:{}:{account}", pod.namespace);
        Authenticator::new(client.clone(), Expected { audience, username, role })
    };
    let activators_only = authenticator(Role::Activator, token_audience, activator_service_account);
    let operators_only = authenticator(Role::Operator, rates_audience, operator_service_account);
    let measurements = Measurements::new(activators_only, inputs.clone(), metrics.clone());
    let rates = Rates::new(operators_only, inputs.clone(), metrics.clone());
    let tls = certificate.server_config(&[b"h2"])?;
    tokio::spawn(server::serve(stream_listener, tls, measurements, rates, last.clone()));

    let patterns = PatternClient::new(client.clone(), &pod.namespace, patterns_interval.get());
    let marks = MarkClient::new(client.clone(), metrics.clone());
    let scale = ScaleClient::new(client.clone(), activators.clone(), scale_writers, metrics.clone());
    let publisher = Publisher {
        client: client.clone(),
        controller: REPORTER,
        instance: pod.name,
        writers: EVENT_WRITERS,
    };
    let told = metrics.clone();
    let (notices, all_told) = publisher.start(last.clone(), move |outcome| told.event(outcome));
    tokio::spawn(watch::run(client, activators, inputs.clone(), metrics.clone()));
    let driver = Driver::new(Tools { boot, scale, marks, patterns, notices, readiness, metrics }, inputs);
    // A task like others, because each tick would else wake this thread by way of another one.
    let deciding = tokio::spawn(driver.run(received, leadership, stop));
    let settled = deciding.await.context("the task that decides ended badly")?;

    // Only now that nothing acts any more may another process lead.
    if settled {
        release.cancel();
        election.await.context("the election ended badly")?;
    } else {
        tracing::warn!("a write of zero is not settled: the lease expires instead of being given back");
        election.abort();
    }
    last.cancel();
    // What is not written by then is lost, as any Event may be.
    let _ = timeout(events::LAST, all_told).await;
    Ok(())
}
