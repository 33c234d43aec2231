//! What many cold starts at the same moment cost beyond what Kubernetes itself costs.
//!
//! Interleaves requests to several Functions, or to one with a limit of 1, with the floor: the same Deployments scaled by hand at
//! the same moment, each pod asked as soon as it takes a connection; and with as many Services of Knative where that is wanted.
//! Times end with the first byte at the client.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, bail};
use futures::future::try_join_all;
use kube::Client;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::cluster::floor::{self, Floor};
use crate::cluster::function::ColdFunction;
use crate::cluster::knative::{self, KnativeService, RESTS_SOON};
use crate::cluster::{ClusterArgs, PeerArgs, in_namespace};
use crate::report::{Report, Row};
use crate::rounds::Rounds;
use crate::statistics::quantile;

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct BurstArgs {
    /// Counted rounds.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Functions woken at once, as many as each of these numbers says.
    #[arg(long, value_delimiter = ',', default_values_t = [10, 20])]
    functions: Vec<usize>,
    /// Requests at once to one function that takes one request at a time.
    #[arg(long, default_value_t = 20)]
    requests: usize,
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(flatten)]
    peers: PeerArgs,
}

/// Largest ratio of the medians, and of the last ones.
const BAR: f64 = 1.10;
/// The same to Knative's.
const KNATIVE_BAR: f64 = 0.45;
/// At the function with a limit each request keeps its pod for longer than all pods need to come, so that each request needs
/// one of its own. The first byte comes at once.
const LIMITED: &str = "/stream?chunks=2&interval_ms=8000";

/// One kind of burst with its rounds.
struct Burst {
    what: String,
    functions: Vec<ColdFunction>,
    floors: Vec<Floor>,
    /// As many as functions, or none where Knative is left out.
    services: Vec<KnativeService>,
    /// Requests to each function; pods of each floor.
    requests: usize,
    path: &'static str,
    median: Rounds,
    last: Rounds,
}

/// Runs the benchmark and returns its report.
pub(crate) async fn run(client: Client, arguments: BurstArgs) -> anyhow::Result<Report> {
    if arguments.rounds == 0 {
        bail!("--rounds must be at least 1");
    }
    let namespace = &arguments.cluster.namespace;
    let bursts = in_namespace(&client, namespace, Box::pin(measure(&client, &arguments))).await?;
    let mut rows = Vec::new();
    for Burst { what, mut median, mut last, .. } in bursts {
        for (which, rounds) in [("p50", &mut median), ("last", &mut last)] {
            let thrown_away = rounds.keep_steady("floor")?;
            let (ours, floor) = (rounds.median("ours")?, rounds.median("floor")?);
            let ratio = rounds.ratio("ours", "floor")?;
            rows.push(Row::against(format!("{what} {which}"), "ms", ours, floor, ratio, BAR));
            if arguments.peers.knative.is_some() {
                let mut row = Row::plain(format!("{what} {which}, to Knative's"), "ms", ours);
                row.peers.insert(knative::NAME.into(), rounds.median(knative::NAME)?);
                row.hold(rounds.ratio("ours", knative::NAME)?, KNATIVE_BAR);
                rows.push(row);
            }
            if thrown_away > 0 {
                rows.push(Row::plain(format!("{what} {which}: rounds thrown away"), "", thrown_away as f64));
            }
        }
    }
    // A request without its 200 ends the run.
    rows.push(Row::plain("rounds", "", arguments.rounds as f64));
    Report::new("burst", rows)
}

async fn measure(client: &Client, arguments: &BurstArgs) -> anyhow::Result<Vec<Burst>> {
    let BurstArgs { rounds, functions, requests, .. } = arguments;
    let mut bursts = Vec::new();
    for count in functions {
        let names = (0..*count).map(|number| format!("of{count}-{number}")).collect();
        let what = format!("{count} functions");
        bursts.push(Burst::prepare(client, arguments, what, names, None).await?);
    }
    if *requests > 0 {
        let what = format!("{requests} requests, limit 1");
        bursts.push(Burst::prepare(client, arguments, what, vec!["limited".to_owned()], Some(1)).await?);
    }
    // The first round warms up the machine and is not counted.
    for round in 0..=*rounds {
        for burst in &mut bursts {
            burst.round(round).await?;
        }
    }
    Ok(bursts)
}

impl Burst {
    /// Of these functions; of one with a limit it takes as many requests as the arguments say, else one of each.
    async fn prepare(
        client: &Client,
        arguments: &BurstArgs,
        what: String,
        names: Vec<String>,
        limit: Option<u32>,
    ) -> anyhow::Result<Self> {
        let BurstArgs { cluster, peers, .. } = arguments;
        let special = limit.map_or(Value::Null, |limit| {
            json!({
                "concurrency": {"limit": limit},
                // It answers 500 when it meets more requests.
                "env": [{"name": "MAX_CONCURRENCY", "value": limit.to_string()}],
                "scale": {"window": "6s", "panic": {"window": "6s"}, "idle": {"after": "1s"}},
            })
        });
        let (requests, path) = limit.map_or((1, "/"), |_| (arguments.requests, LIMITED));
        let special = &special;
        let prepared = names.iter().map(async |name| {
            let function = ColdFunction::apply(client, cluster, name, special).await?;
            let original = function.deployment().await?;
            let floor_name = format!("floor-{name}");
            let floor = Floor::like(client, &cluster.namespace, &floor_name, &original).await?;
            anyhow::Ok((function, floor))
        });
        let (functions, floors) = try_join_all(prepared).await?.into_iter().unzip();
        let services = peers.knative.into_iter().flat_map(|activator| {
            names
                .iter()
                .map(move |name| KnativeService::apply(client, cluster, activator, name, limit, RESTS_SOON))
        });
        let services = try_join_all(services).await?;
        let (median, last) = Default::default();
        Ok(Self { what, functions, floors, services, requests, path, median, last })
    }

    async fn round(&mut self, round: usize) -> anyhow::Result<()> {
        self.rest().await?;
        let mut times = BTreeMap::from([("ours", self.ours().await?)]);
        self.rest().await?;
        let floors: Vec<&Floor> = self.floors.iter().collect();
        times.insert("floor", floor::wake(&floors, i32::try_from(self.requests)?, self.path).await?);
        self.rest().await?;
        if !self.services.is_empty() {
            times.insert(knative::NAME, self.knatives().await?);
            self.rest().await?;
        }
        let (mut medians, mut lasts, mut said) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        for (&name, times) in &times {
            let (median, last) = (of(times, 0.5)?, of(times, 1.0)?);
            said.push(format!("{name} p50 {median:.0} ms, last {last:.0} ms"));
            medians.insert(name, median);
            lasts.insert(name, last);
        }
        eprintln!("round {round}, {}: {}", self.what, said.join("; "));
        if round > 0 {
            self.median.push(medians);
            self.last.push(lasts);
        }
        Ok(())
    }

    /// All requests to the functions at once.
    async fn ours(&self) -> anyhow::Result<Vec<Duration>> {
        let requests =
            self.functions.iter().flat_map(|function| std::iter::repeat_n(function, self.requests));
        // Connected before, so that all requests go out within one millisecond.
        let connecting = requests.map(async |function| anyhow::Ok((function, function.connect().await?)));
        let connected = try_join_all(connecting).await?;
        let start = Instant::now();
        let asking = connected.into_iter().map(|(function, stream)| function.request_on(stream, self.path));
        let answers = try_join_all(asking).await?;
        Ok(answers.into_iter().map(|(answered, _)| answered - start).collect())
    }

    /// All requests to the Services of Knative at once.
    async fn knatives(&self) -> anyhow::Result<Vec<Duration>> {
        let requests = self.services.iter().flat_map(|service| std::iter::repeat_n(service, self.requests));
        let connecting = requests.map(async |service| anyhow::Ok((service, service.connect().await?)));
        let connected = try_join_all(connecting).await?;
        let start = Instant::now();
        let asking = connected.into_iter().map(|(service, stream)| service.request_on(stream, self.path));
        let answers = try_join_all(asking).await?;
        Ok(answers.into_iter().map(|answered| answered - start).collect())
    }

    /// Waits until nothing of it is there.
    async fn rest(&self) -> anyhow::Result<()> {
        for (function, floor) in self.functions.iter().zip(&self.floors) {
            floor.rest().await?;
            function.rest().await?;
        }
        for service in &self.services {
            service.rest().await?;
        }
        Ok(())
    }
}

/// Milliseconds that this share of the times does not exceed.
fn of(times: &[Duration], share: f64) -> anyhow::Result<f64> {
    let milliseconds: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1_000.0).collect();
    quantile(&milliseconds, share).context("nothing was measured")
}
