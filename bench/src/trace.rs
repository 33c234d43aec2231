//! Parts of a recorded trace with real pods, a day's rise and fall and bursts: how much longer requests take than they need, and
//! how many pods that costs.
//!
//! Interleaves a Function with the floor, the same pods at their peak all the time, and with a Service of Knative where that is
//! wanted. All get the same requests. Time is shorter than it was, and so are the windows, which are the same for all.

mod play;
mod shape;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, bail};
use catnap_autoscaler_core::simulator::Request;
use k8s_openapi::api::apps::v1::Deployment;
use kube::Client;
use kube::api::Api;
use serde_json::json;
use tokio::time::Instant;

use self::play::{Outcome, WarmPods, Way, play};
use self::shape::{SHAPES, Shape, peak};
use crate::cluster::figures::{Figures, Round};
use crate::cluster::floor::{self, Floor};
use crate::cluster::function::ColdFunction;
use crate::cluster::knative::{self, KnativeService, RESTS_SOON};
use crate::cluster::{ClusterArgs, PeerArgs, Target, in_namespace, pods};
use crate::recorded;
use crate::report::{Report, Row};

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct TraceArgs {
    /// Rounds; all of them count.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,
    /// Seconds that each part of the trace takes; what comes before it, so that each has its pods, is not among them.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(10..=180))]
    seconds: u64,
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(flatten)]
    peers: PeerArgs,
}

/// Requests at once in one pod.
const LIMIT: usize = 2;

/// What is measured of each subject in a round, as rows of the report.
const FIGURES: [(&str, &str); 4] =
    [("slowdown p50", "x"), ("slowdown p99", "x"), ("pod-seconds", ""), ("cold requests", "")];

/// All rounds of one shape.
struct Measured {
    figures: Figures<{ FIGURES.len() }>,
    /// Requests to each subject, and by subject those without a 200.
    requests: usize,
    failed: BTreeMap<&'static str, usize>,
}

/// Runs the benchmark and returns its report.
pub(crate) async fn run(client: Client, arguments: TraceArgs) -> anyhow::Result<Report> {
    let namespace = &arguments.cluster.namespace;
    let measured = in_namespace(&client, namespace, Box::pin(measure(&client, &arguments))).await?;
    let mut rows = Vec::new();
    for (shape, measured) in SHAPES.iter().zip(measured) {
        rows.extend(measured.rows(shape.name, arguments.peers.knative.is_some())?);
    }
    rows.push(Row::plain("rounds", "", arguments.rounds as f64));
    Report::new("trace", rows)
}

async fn measure(client: &Client, arguments: &TraceArgs) -> anyhow::Result<Vec<Measured>> {
    let functions = recorded::azure()?;
    let subjects = Subjects::prepare(client, arguments).await?;
    let mut all: Vec<Measured> = SHAPES.iter().map(|_| Measured::new()).collect();
    for round in 1..=arguments.rounds {
        for (shape, measured) in SHAPES.iter().zip(&mut all) {
            let replay = Replay {
                requests: shape.requests(&functions, arguments.seconds, round)?,
                shape,
                length: Duration::from_secs(arguments.seconds),
            };
            let mut figures = BTreeMap::new();
            let ours = subjects.ours(&replay).await?;
            measured.take("ours", ours, round, shape, &mut figures);
            let floor = subjects.floor(&replay).await?;
            let yardstick = floor.outcome.tail_slowdown;
            measured.take("floor", floor, round, shape, &mut figures);
            if let Some(knative) = subjects.knative(&replay).await? {
                measured.take(knative::NAME, knative, round, shape, &mut figures);
            }
            measured.figures.push(&figures, Some(yardstick));
        }
    }
    Ok(all)
}

/// What every subject gets in one round.
struct Replay<'shape> {
    shape: &'shape Shape,
    requests: Vec<Request>,
    /// Of the part that counts.
    length: Duration,
}

/// What came of one replay.
struct Followed {
    outcome: Outcome,
    pod_seconds: f64,
    most: i32,
}

/// All that is measured.
struct Subjects {
    deployments: Api<Deployment>,
    function: ColdFunction,
    /// Name of the Function's Deployment.
    deployment: String,
    door: Target,
    floor: Floor,
    knative: Option<(KnativeService, Target)>,
}

impl Subjects {
    async fn prepare(client: &Client, arguments: &TraceArgs) -> anyhow::Result<Self> {
        let TraceArgs { cluster, peers, .. } = arguments;
        let special = json!({
            "concurrency": {"limit": LIMIT},
            // It answers 500 when it meets more requests.
            "env": [{"name": "MAX_CONCURRENCY", "value": LIMIT.to_string()}],
            // Knative cannot rest sooner.
            "scale": {"window": "6s", "panic": {"window": "6s"}, "idle": {"after": "6s"}},
        });
        let function = ColdFunction::apply(client, cluster, "trace", &special).await?;
        let original = function.deployment().await?;
        let floor = Floor::like(client, &cluster.namespace, "floor-trace", &original).await?;
        let knative = match peers.knative {
            Some(address) => {
                let limit = Some(u32::try_from(LIMIT)?);
                let service = KnativeService::apply(client, cluster, address, "trace", limit, RESTS_SOON);
                let service = service.await?;
                let door = Target { address, host: service.host() };
                Some((service, door))
            }
            None => None,
        };
        Ok(Self {
            deployments: Api::namespaced(client.clone(), &cluster.namespace),
            deployment: original.metadata.name.context("the Function's Deployment has no name")?,
            door: Target { address: cluster.activator, host: function.host() },
            function,
            floor,
            knative,
        })
    }

    async fn ours(&self, replay: &Replay<'_>) -> anyhow::Result<Followed> {
        self.rest().await?;
        self.follow(&self.deployment, &Way::Door(&self.door), replay).await
    }

    /// With as many pods as the requests need when none waits, by a client that knows which of them has a place.
    async fn floor(&self, replay: &Replay<'_>) -> anyhow::Result<Followed> {
        self.rest().await?;
        let replicas = peak(&replay.requests).div_ceil(LIMIT).max(1);
        floor::wake(&[&self.floor], i32::try_from(replicas)?, "/").await?;
        let pods = self.floor.addresses().await?;
        if pods.len() != replicas {
            bail!("the floor has {} pods instead of {replicas}", pods.len());
        }
        let pods = WarmPods::new(&pods, LIMIT);
        self.follow(self.floor.name(), &Way::Pods(&pods), replay).await
    }

    async fn knative(&self, replay: &Replay<'_>) -> anyhow::Result<Option<Followed>> {
        let Some((service, door)) = &self.knative else { return Ok(None) };
        self.rest().await?;
        Ok(Some(self.follow(&service.deployment(), &Way::Door(door), replay).await?))
    }

    /// Waits until nothing of any is there.
    async fn rest(&self) -> anyhow::Result<()> {
        self.floor.rest().await?;
        self.function.rest().await?;
        if let Some((service, _)) = &self.knative {
            service.rest().await?;
        }
        Ok(())
    }

    /// The requests on one subject, and what its Deployment does meanwhile.
    async fn follow(&self, deployment: &str, way: &Way<'_>, replay: &Replay<'_>) -> anyhow::Result<Followed> {
        let Replay { shape, requests, length } = replay;
        let start = Instant::now();
        let from = start + shape.lead;
        let watching = pods::watch(&self.deployments, deployment, from, from + *length);
        let (played, looks) = tokio::join!(play(way, requests, start), watching);
        let looks = looks?;
        Ok(Followed {
            outcome: Outcome::of(&played, &looks, shape.lead)?,
            pod_seconds: looks.pod_seconds(),
            most: looks.most(),
        })
    }
}

impl Measured {
    fn new() -> Self {
        Self { figures: Figures::new(FIGURES), requests: 0, failed: BTreeMap::new() }
    }

    /// Takes the figures of one subject in one round.
    fn take(
        &mut self,
        subject: &'static str,
        followed: Followed,
        round: u64,
        shape: &Shape,
        figures: &mut Round<{ FIGURES.len() }>,
    ) {
        let Followed { outcome, pod_seconds, most } = followed;
        let Outcome { median_slowdown, tail_slowdown, cold, failed, failure, requests } = outcome;
        let why = failure.map_or(String::new(), |failure| format!(": {failure}"));
        eprintln!(
            "round {round}, {}, {subject}: slowdown p50 {median_slowdown:.2}, p99 {tail_slowdown:.2}, {pod_seconds:.0} \
             pod-seconds, at most {most} replicas, {cold} of {requests} requests cold, {failed} failed{why}",
            shape.name
        );
        figures.insert(subject, [median_slowdown, tail_slowdown, pod_seconds, cold as f64].map(Some));
        *self.failed.entry(subject).or_default() += failed;
        if subject == "ours" {
            self.requests += requests;
        }
    }

    fn rows(mut self, shape: &str, beside_knative: bool) -> anyhow::Result<Vec<Row>> {
        let (mut rows, thrown_away) = self.figures.rows(&format!("{shape}: "), beside_knative)?;
        let failed = |subject: &str| self.failed.get(subject).copied().unwrap_or_default();
        let mut row = Row::none(format!("{shape}: failed requests"), failed("ours"));
        row.floor = Some(failed("floor") as f64);
        if beside_knative {
            row.peers.insert(knative::NAME.into(), failed(knative::NAME) as f64);
        }
        rows.push(row);
        rows.push(Row::plain(format!("{shape}: requests to each"), "", self.requests as f64));
        rows.push(Row::plain(format!("{shape}: rounds thrown away"), "", thrown_away as f64));
        Ok(rows)
    }
}
