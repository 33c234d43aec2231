//! Ways to scale to zero on a recorded trace: cold starts against memory that waits, in the simulator. Needs no cluster.
//!
//! Deterministic. Everything that was chosen for the learned keep-alive was chosen on the first four hours (`--part tuning`);
//! the rows of the report are about the other four, before which each scaler has seen the first.

mod standing;

use std::time::Duration;

use anyhow::Context;
use catnap_autoscaler_core::simulator::{
    KeepAlive, Knative, Outcome, Polling, Product, Workload, clairvoyant, simulate,
};
use catnap_autoscaler_core::{IdlePolicy, Policy};
use clap::ValueEnum;

use crate::recorded::{self, CAPACITY, Function, Placement};
use crate::report::{Report, Row};
use standing::{Standing, at_equal_colds};

/// Fixed times to keep a pod, in seconds.
const KEPT: [u64; 16] = [6, 10, 15, 30, 45, 60, 90, 120, 180, 240, 300, 360, 480, 600, 900, 1_800];
/// `scale.idle.after` of ours, in seconds; the first is the default.
const OURS: [u64; 5] = [30, 60, 120, 300, 600];
/// The default of `scale.idle.budget`.
const BUDGET: u32 = 50;
/// Most memory that waits, of the best fixed time with as many cold starts.
const BAR: f64 = 0.85;
const HALF: Duration = Duration::from_secs(4 * 3_600);

/// What to judge by.
#[derive(Debug, clap::Args)]
pub(crate) struct PolicyArgs {
    /// Which half of the trace counts.
    #[arg(long, value_enum, default_value = "judging")]
    part: Part,
    /// Placements of the invocations within their minutes.
    #[arg(long, default_value_t = 3)]
    seeds: u64,
    /// Percent of a replica's time that the learned keep-alive may wait in vain.
    #[arg(long, default_value_t = BUDGET)]
    budget: u32,
}

/// Half of the trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The first four hours.
    Tuning,
    /// The last four hours.
    Judging,
}

/// Runs the benchmark and returns its report.
pub(crate) fn run(arguments: &PolicyArgs) -> anyhow::Result<Report> {
    let functions = recorded::azure()?;
    let mut rows = Vec::new();
    for (placement, name) in
        [(Placement::Anywhere, "any second"), (Placement::TimersOnTime, "timers on time")]
    {
        let field = field(&functions, placement, arguments);
        println!("\nInvocations at {name} of their minute:\n{}", standing::table(&field));
        rows.extend(judged(&field, name)?);
    }
    println!();
    Report::new("policy", rows)
}

/// All ways to scale on one placement of the invocations.
fn field(functions: &[Function], placement: Placement, arguments: &PolicyArgs) -> Vec<Standing> {
    let (counted_from, until) = match arguments.part {
        Part::Tuning => (Duration::ZERO, HALF),
        Part::Judging => (HALF, HALF * 2),
    };
    let mut workloads = Vec::new();
    for seed in 0..arguments.seeds {
        for (index, function) in (0..).zip(functions) {
            let workload = function.workload(seed * 1_000 + index, placement, counted_from, until);
            workloads.push((function.megabytes, workload));
        }
    }
    let bound = |workload: &Workload| clairvoyant(workload).0;
    let mut field = vec![Standing::of("clairvoyant", &workloads, bound)];
    for seconds in KEPT {
        let keep = Duration::from_secs(seconds);
        let run = |workload: &Workload| simulate(workload, KeepAlive::new(keep, CAPACITY));
        field.push(Standing::of(standing::fixed(seconds), &workloads, run));
    }
    field.push(Standing::of("Knative's defaults", &workloads, |workload| {
        simulate(workload, Knative::default())
    }));
    // A metrics poller that looks every half minute for a quarter of an hour without requests.
    let (every, keep) = (Duration::from_secs(30), Duration::from_secs(900));
    let polling = |workload: &Workload| simulate(workload, Polling::new(every, keep, CAPACITY));
    field.push(Standing::of("polling, 15 min", &workloads, polling));
    for seconds in OURS {
        for (name, idle_policy) in
            [("Fixed", IdlePolicy::Fixed), ("Learned", IdlePolicy::Learned { budget: arguments.budget })]
        {
            let run = |workload: &Workload| ours(workload, seconds, idle_policy);
            field.push(Standing::of(standing::ours(name, seconds), &workloads, run));
        }
    }
    field
}

fn ours(workload: &Workload, seconds: u64, idle_policy: IdlePolicy) -> Outcome {
    let idle_after = Duration::from_secs(seconds);
    simulate(workload, Product::new(Policy { idle_after, idle_policy, ..Policy::default() }))
}

/// Two rows for each of our settings: waste against the best fixed time with as many cold starts, and whether anything else
/// has both fewer cold starts and less waste.
fn judged(field: &[Standing], placement: &str) -> anyhow::Result<Vec<Row>> {
    let find =
        |name: &str| field.iter().find(|standing| standing.name == name).context("a way to scale is missing");
    let kept: Vec<&Standing> =
        KEPT.iter().map(|seconds| find(&standing::fixed(*seconds))).collect::<anyhow::Result<_>>()?;
    let mut rows = Vec::new();
    for seconds in OURS {
        let name = standing::ours("Learned", seconds);
        let learned = find(&name)?;
        let what = format!("{name}, {placement}: waste");
        let mut row = Row::plain(what, "GB h", learned.waste);
        // More cold starts than with the shortest time, and nothing to be compared with: the bar is missed.
        (row.bar, row.holds) = (Some(BAR), Some(false));
        if let Some(equal) = at_equal_colds(&kept, learned.cold_rate()) {
            let ratio = learned.waste / equal;
            row.peers.insert("fixed at as many cold starts".into(), equal);
            (row.ratio, row.holds) = (Some(ratio), Some(ratio <= BAR));
        }
        rows.push(row);
        let what = format!("{name}, {placement}: cold starts");
        let mut row = Row::plain(what, "%", 100.0 * learned.cold_rate());
        for other in ["Knative's defaults", &standing::ours("Fixed", seconds)] {
            row.peers.insert(other.to_owned(), 100.0 * find(other)?.cold_rate());
        }
        rows.push(row);
        let better = field.iter().filter(|other| other.name != "clairvoyant" && other.beats(learned)).count();
        let mut row = Row::plain(format!("{name}, {placement}: beaten by"), "others", better as f64);
        (row.bar, row.holds) = (Some(0.0), Some(better == 0));
        rows.push(row);
    }
    Ok(rows)
}

#[cfg(test)]
mod tests;
