//! The operator's process: watches, writes and leadership around the pure core, which decides everything.
//!
//! A reconciliation has five stages, one module each: dereference (reads), validate and build (the core), apply
//! and update status (writes). All processes watch; only the one that holds the Lease reconciles.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::Context as _;
use catnap_runtime::{
    CancellationToken,
    admin::{self, Admin, Readiness, Rendering},
    events::{self, Publisher},
    identity, kubernetes,
    leader::follow_leader,
    lease::{Election, LeaseSettings},
    shutdown, telemetry,
};
use futures::FutureExt;
use prometheus_client::registry::Registry;

mod apply;
mod args;
mod backoff;
mod cache;
mod claims;
mod contests;
mod context;
mod controller;
mod dereference;
mod metrics;
mod proofs;
mod rates;
mod reconcile;
mod refusal;
mod scalers;
mod settled;
#[cfg(test)]
mod tests;
mod touches;
mod update_status;
mod watch;
mod write;

pub use args::{Args, HostArgs};

const COMPONENT: &str = "catnap-operator";

/// Runs the process until SIGTERM or SIGINT, then hands leadership over.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let Args { telemetry, admin, pod, lease, activator_service, token_file, concurrency, max_proofs, hosts } =
        args;
    let hosts = hosts.settings().context("the flags on hosts")?;
    let _log = telemetry::init(&telemetry)?;
    let stop = shutdown::on_signal()?;
    let admin_listener = admin::bind(&admin)?;
    let client = kubernetes::client(COMPONENT).await?;
    let mut registry = Registry::default();
    let metrics = metrics::Metrics::new(&mut registry);

    let holder = identity::holder(&pod.name, identity::new_boot());
    let settings =
        LeaseSettings { namespace: pod.namespace.clone(), name: lease, holder, annotations: BTreeMap::new() };
    let (election, leadership) = Election::new(client.clone(), settings);
    let release = CancellationToken::new();
    let election = tokio::spawn(election.run(release.clone()));

    let watched = watch::start(&client, &pod.namespace, &activator_service, hosts, max_proofs, &metrics);
    metrics::count_functions(&mut registry, watched.functions.clone());
    let rates = Arc::new(rates::RateBook::default());
    let (publish_leader, leader) = tokio::sync::watch::channel(None);
    let (lease_client, namespace) = (client.clone(), pod.namespace.clone());
    tokio::spawn(async move { follow_leader(lease_client, &namespace, publish_leader).await });
    tokio::spawn(rates::keep_asking(rates.clone(), leader, token_file));
    let last = CancellationToken::new();
    let publisher = Publisher {
        client: client.clone(),
        controller: COMPONENT,
        instance: pod.name,
        writers: concurrency.into(),
    };
    let told = metrics.clone();
    let (notices, all_told) = publisher.start(last.clone(), move |outcome| told.event(outcome));
    let context = context::Context::new(client, &watched, leadership.clone(), rates, notices, metrics);
    let readiness = Readiness::default();
    let debugged = context.clone();
    let debug_state = Arc::new(move |_| {
        let debugged = debugged.clone();
        std::future::ready(Box::new(move || debugged.describe()) as Rendering).boxed()
    });
    let admin = Admin { registry, readiness: readiness.clone(), debug_state };
    tokio::spawn(admin::serve(admin_listener, admin, last.clone()));

    controller::run(context, watched, leadership, readiness, concurrency, stop).await;

    // Only now that nothing acts any more may another process lead.
    release.cancel();
    election.await.context("the election ended badly")?;
    last.cancel();
    // What is not written by then is lost, as any Event may be.
    let _ = tokio::time::timeout(events::LAST, all_told).await;
    Ok(())
}
