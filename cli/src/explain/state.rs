//! What an autoscaler tells at `/debug/state`, and how a person reads it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Of the whole process.
#[derive(Debug, Deserialize)]
pub(super) struct State {
    pub(super) leading: bool,
    #[serde(default)]
    revisions: Vec<Explained>,
}

/// One revision. A field that is null is not known yet.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Explained {
    namespace: String,
    function: Option<String>,
    revision: String,
    replicas: u32,
    gate: String,
    stage: Option<String>,
    decision: Option<Decision>,
    inputs: Option<Inputs>,
    changes: Vec<Change>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Decision {
    desired: u32,
    panic: bool,
    at_max: bool,
    rule: Option<String>,
    reasons: Vec<String>,
    seconds_ago: f64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Inputs {
    metric: String,
    stable: f64,
    panic: f64,
    goal: f64,
    total: u32,
    ready: u32,
    arrivals: u64,
    held: u64,
    pressed: u64,
    busy: bool,
    idle: bool,
    incomplete: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Change {
    seconds_ago: f64,
    from: u32,
    to: u32,
    reasons: Vec<String>,
}

impl State {
    /// The revisions of one Function.
    pub(super) fn of(self, namespace: &str, function: &str) -> Vec<Explained> {
        let is_asked_for = |revision: &Explained| {
            revision.namespace == namespace && revision.function.as_deref() == Some(function)
        };
        self.revisions.into_iter().filter(is_asked_for).collect()
    }
}

impl fmt::Display for Explained {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { revision, replicas, gate, stage, decision, inputs, changes, .. } = self;
        let stage = stage.as_deref().unwrap_or("in no status");
        writeln!(formatter, "{revision}: {replicas} replicas, stage {stage}, gate {gate}")?;
        if let Some(Decision { desired, panic, rule, reasons, seconds_ago, .. }) = decision {
            let panic = if *panic { ", in panic" } else { "" };
            let rule = rule.as_deref().unwrap_or("none");
            writeln!(
                formatter,
                "  needs {desired}{panic}, bound by {rule}, decided {seconds_ago:.1} s ago:"
            )?;
            reasons.iter().try_for_each(|reason| writeln!(formatter, "    {reason}"))?;
        } else {
            writeln!(formatter, "  nothing is decided yet")?;
        }
        if let Some(inputs) = inputs {
            write!(formatter, "{inputs}")?;
        }
        if changes.is_empty() {
            return writeln!(formatter, "  no change since this autoscaler leads");
        }
        writeln!(formatter, "  changes, the latest first:")?;
        changes.iter().try_for_each(|Change { seconds_ago, from, to, reasons }| {
            let why =
                if reasons.is_empty() { "written by somebody else".to_owned() } else { reasons.join("; ") };
            writeln!(formatter, "    {seconds_ago:.1} s ago from {from} to {to}: {why}")
        })
    }
}

impl fmt::Display for Inputs {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            metric,
            stable,
            panic,
            goal,
            total,
            ready,
            arrivals,
            held,
            pressed,
            busy,
            idle,
            incomplete,
        } = self;
        writeln!(formatter, "  from:")?;
        writeln!(
            formatter,
            "    {metric} {stable:.2} (stable window), {panic:.2} (panic window); {goal:.2} a replica, of {total}"
        )?;
        writeln!(
            formatter,
            "    {ready} ready; {held} held without a pod, {pressed} without free capacity, {arrivals} arrived in the last second"
        )?;
        let said =
            [(*busy, "busy"), (*idle, "idle time has passed"), (*incomplete, "measurements incomplete")];
        let said: Vec<_> = said.iter().filter(|(holds, _)| *holds).map(|(_, said)| *said).collect();
        if said.is_empty() { Ok(()) } else { writeln!(formatter, "    {}", said.join("; ")) }
    }
}
