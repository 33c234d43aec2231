//! From one request at once to many, on a running function that takes one at a time: how long until none waits, and at what cost.
//!
//! Interleaves a Function with the floor, a Deployment with the same pods scaled by hand to as many as there are requests, and
//! with a Service of Knative where that is wanted. Windows and utilization are the defaults of each.

mod load;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, bail};
use k8s_openapi::api::apps::v1::Deployment;
use kube::Client;
use kube::api::Api;
use serde_json::json;
use tokio::time::Instant;

use self::load::{Load, Schedule, settled};
use crate::cluster::figures::{Figures, Round};
use crate::cluster::floor::{self, Floor};
use crate::cluster::function::ColdFunction;
use crate::cluster::knative::{self, KnativeService};
use crate::cluster::{ClusterArgs, PeerArgs, Target, in_namespace, pods};
use crate::report::{Report, Row};

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct StepArgs {
    /// Counted rounds.
    #[arg(long, default_value_t = 4)]
    rounds: usize,
    /// Requests at once after the step.
    #[arg(long, default_value_t = 100)]
    requests: usize,
    /// Seconds from the step to the end of the load.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(flatten)]
    peers: PeerArgs,
}

/// One request at once for as long as a panic window, so that each autoscaler knows it.
const BEFORE: Duration = Duration::from_secs(6);

/// What is measured of each subject in a round, as rows of the report.
const FIGURES: [(&str, &str); 5] = [
    ("until no request waits", "s"),
    ("until a pod for each request is ready", "s"),
    ("most replicas", ""),
    ("pod-seconds of the load", ""),
    ("requests answered", ""),
];

/// All rounds.
struct Measured {
    figures: Figures<{ FIGURES.len() }>,
    /// Requests without a 200, and loads that ended while requests waited or had none, by subject.
    failed: BTreeMap<&'static str, usize>,
    unsettled: BTreeMap<&'static str, usize>,
}

/// Runs the benchmark and returns its report.
pub(crate) async fn run(client: Client, arguments: StepArgs) -> anyhow::Result<Report> {
    if arguments.rounds == 0 || arguments.requests < 2 || arguments.seconds == 0 {
        bail!("--rounds and --seconds must be at least 1, --requests at least 2");
    }
    let namespace = &arguments.cluster.namespace;
    let measured = in_namespace(&client, namespace, Box::pin(measure(&client, &arguments))).await?;
    Report::new("step", measured.rows(&arguments)?)
}

async fn measure(client: &Client, arguments: &StepArgs) -> anyhow::Result<Measured> {
    let StepArgs { rounds, requests, cluster, peers, .. } = arguments;
    let special = json!({"concurrency": {"limit": 1}, "env": [{"name": "MAX_CONCURRENCY", "value": "1"}]});
    let function = ColdFunction::apply(client, cluster, "step", &special).await?;
    let original = function.deployment().await?;
    let floor = Floor::like(client, &cluster.namespace, "floor-step", &original).await?;
    let knative = match peers.knative {
        Some(activator) => {
            Some(KnativeService::apply(client, cluster, activator, "step", Some(1), &[]).await?)
        }
        None => None,
    };
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), &cluster.namespace);
    let ours = Target { address: cluster.activator, host: function.host() };
    let our_deployment = original.metadata.name.context("the Function's Deployment has no name")?;
    let mut measured = Measured::new();
    // The first round warms up the machine and is not counted.
    for round in 0..=*rounds {
        if let Some(service) = &knative {
            service.rest().await?;
        }
        function.rest().await?;
        let mut figures = BTreeMap::new();
        let followed = follow(&deployments, &our_deployment, &ours, arguments).await?;
        measured.take("ours", followed, arguments, round, &mut figures);
        function.rest().await?;
        let bare = floor::wake(&[&floor], i32::try_from(*requests)?, "/").await?;
        let last = bare.into_iter().max().unwrap_or_default().as_secs_f64();
        figures.insert("floor", [Some(last), Some(last), Some(*requests as f64), None, None]);
        eprintln!("round {round}, floor: a pod for each request after {last:.1} s");
        floor.rest().await?;
        if let Some((service, address)) = knative.as_ref().zip(peers.knative) {
            let target = Target { address, host: service.host() };
            let followed = follow(&deployments, &service.deployment(), &target, arguments).await?;
            measured.take(knative::NAME, followed, arguments, round, &mut figures);
        }
        if round > 0 {
            measured.figures.push(&figures, Some(last));
        }
    }
    Ok(measured)
}

/// What became of one subject's step.
struct Followed {
    load: Load,
    /// Since the step, until there was a ready pod for each request.
    ready: Option<Duration>,
    most: i32,
    pod_seconds: f64,
}

/// The load on one subject, and what its Deployment does meanwhile.
async fn follow(
    deployments: &Api<Deployment>,
    deployment: &str,
    target: &Target,
    arguments: &StepArgs,
) -> anyhow::Result<Followed> {
    // The first one, which waits for a pod.
    load::wake(target).await?;
    let start = Instant::now();
    let step = start + BEFORE;
    let schedule = Schedule { start, step, end: step + Duration::from_secs(arguments.seconds) };
    let wanted = i32::try_from(arguments.requests)?;
    let watching = pods::watch(deployments, deployment, schedule.step, schedule.end);
    let (load, looks) = tokio::join!(load::run(target, arguments.requests, schedule), watching);
    let looks = looks?;
    Ok(Followed { load, ready: looks.ready(wanted), most: looks.most(), pod_seconds: looks.pod_seconds() })
}

impl Measured {
    fn new() -> Self {
        Self { figures: Figures::new(FIGURES), failed: BTreeMap::new(), unsettled: BTreeMap::new() }
    }

    /// Takes the figures of one subject in one round; that of what did not happen is the length of the load.
    fn take(
        &mut self,
        subject: &'static str,
        followed: Followed,
        arguments: &StepArgs,
        round: usize,
        figures: &mut Round<{ FIGURES.len() }>,
    ) {
        let Followed { load, ready, most, pod_seconds } = followed;
        let length = Duration::from_secs(arguments.seconds);
        let settled = settled(&load, length);
        let ready = ready.unwrap_or(length).as_secs_f64();
        let waits = settled.unwrap_or(length).as_secs_f64();
        eprintln!(
            "round {round}, {subject}: none waits after {waits:.1} s, a pod for each request after {ready:.1} s, at most \
             {most} replicas, {pod_seconds:.0} pod-seconds, {} answered, {} failed",
            load.answered.len(),
            load.failed
        );
        let answered = load.answered.len() as f64;
        figures.insert(subject, [waits, ready, f64::from(most), pod_seconds, answered].map(Some));
        if round > 0 {
            *self.failed.entry(subject).or_default() += load.failed;
            *self.unsettled.entry(subject).or_default() += usize::from(settled.is_none());
        }
    }

    fn rows(mut self, arguments: &StepArgs) -> anyhow::Result<Vec<Row>> {
        let beside_knative = arguments.peers.knative.is_some();
        let (mut rows, thrown_away) = self.figures.rows("", beside_knative)?;
        let of =
            |counts: &BTreeMap<&str, usize>, subject: &str| counts.get(subject).copied().unwrap_or_default();
        let failed = Row::none("failed requests", of(&self.failed, "ours"));
        let unsettled = "rounds in which requests waited to the end";
        let unsettled = Row::plain(unsettled, "", of(&self.unsettled, "ours") as f64);
        for (mut row, counts) in [(failed, &self.failed), (unsettled, &self.unsettled)] {
            if beside_knative {
                row.peers.insert(knative::NAME.into(), of(counts, knative::NAME) as f64);
            }
            rows.push(row);
        }
        rows.push(Row::plain("rounds", "", arguments.rounds as f64));
        rows.push(Row::plain("rounds thrown away", "", thrown_away as f64));
        Ok(rows)
    }
}
