//! An activator that is there and says nothing may hold requests that nobody else knows of: as long as it is silent nothing goes to
//! zero and no replica is taken away, and afterwards all of it happens.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use catnap_crds::Function;
use catnap_e2e::fixture::{Context, eventually, run_with};
use catnap_e2e::functions::{PATIENCE, body, catnap_pods, deploy, get, hello, pods, replicas, resting};
use kube::api::{Patch, PatchParams};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use tokio::time::sleep_until;

use crate::activators::{is_ready, process_of};
use crate::asked::asked_during;

/// More than the windows, the idle time and a round take together, and less than kubelet needs to restart a container that does not
/// answer (three times at 10 s, each for 5 s).
const SILENCE: Duration = Duration::from_secs(18);

/// A process that stands still until this is dropped, also when the test is given up.
struct Stopped(Pid);

impl Stopped {
    fn new(process: Pid) -> anyhow::Result<Self> {
        kill(process, Signal::SIGSTOP)?;
        Ok(Self(process))
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        if let Err(error) = kill(self.0, Signal::SIGCONT) {
            println!("{} does not go on: {error}", self.0);
        }
    }
}

async fn lower_minimum(test: &Context, name: &str, minimum: u32) -> anyhow::Result<()> {
    let patch = Patch::Merge(json!({"spec": {"scale": {"min": minimum}}}));
    test.api::<Function>().patch(name, &PatchParams::default(), &patch).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn while_an_activator_is_silent_nothing_is_taken_away() {
    run_with("silent_activator", &["activator.replicas=2"], async |test| {
        Box::pin(nothing_is_taken_away(test)).await
    })
    .await;
}

async fn nothing_is_taken_away(test: &Context) -> anyhow::Result<()> {
    deploy(test, &hello("last", json!({"scale": {"min": 1}}))).await?;
    deploy(test, &hello("many", json!({"scale": {"min": 3}}))).await?;
    eventually("three that are ready", PATIENCE, async || {
        let ready = pods(test, "many").await?.iter().filter(|pod| is_ready(pod)).count();
        Ok((ready == 3).then_some(()))
    })
    .await?;
    for name in ["last", "many"] {
        body(get(test, name, "/").await?).await?;
    }
    let silent = catnap_pods(test, "activator").await?.into_iter().next().context("no activator")?;
    let stopped = Stopped::new(process_of(&silent)?)?;
    lower_minimum(test, "last", 0).await?;
    lower_minimum(test, "many", 1).await?;
    let (generations, asked) = asked_during(test, async {
        // Time itself is what is tried.
        sleep_until((Instant::now() + SILENCE).into()).await;
        let functions = test.api::<Function>();
        let mut seen = Vec::new();
        for name in ["last", "many"] {
            let function = functions.get(name).await?;
            seen.push((
                function.metadata.generation,
                function.status.and_then(|one| one.observed_generation),
            ));
        }
        anyhow::Ok(seen)
    })
    .await?;
    drop(stopped);
    let generations = generations?;
    anyhow::ensure!(generations.iter().all(|(made, seen)| made == seen), "edits unseen: {generations:?}");
    let mut counts: Vec<_> = asked.iter().map(|asked| (asked.function.as_str(), asked.replicas)).collect();
    counts.sort_unstable();
    anyhow::ensure!(counts == [("last", 1), ("many", 3)], "while it was silent: {asked:?}");

    // It was for the silence alone.
    resting(test, "last").await?;
    eventually("one of many is left", PATIENCE, async || {
        Ok((replicas(test, "many").await? <= 1).then_some(()))
    })
    .await
}
