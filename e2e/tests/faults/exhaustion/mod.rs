//! An activator that runs out of connections, descriptors or ports: whoever is sent away is told why, everybody else is served,
//! and the same process is as before once there is room again. Alone, for the one activator is everybody's.

mod target;
mod victim;

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use anyhow::Context as _;
use catnap_e2e::fixture::{Context, Http, Needs, Resolver, eventually, run, run_with};
use catnap_e2e::functions::{PATIENCE, deploy, hello, url};
use futures::future::{join_all, try_join_all};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::sync::watch;

use target::{Came, OVERLOADED, Sent, Target, path};
use victim::Victim;

/// Connections that are opened and say nothing.
const STORM: usize = 3_000;
/// Good callers of each kind.
const CALLERS: usize = 4;
/// Requests of theirs that are served before trouble begins, and while it lasts.
const SOME: usize = 200;
/// How long the function takes: for a good caller, and for those that keep all there is for as long as it takes to look around.
const MOMENT: Duration = Duration::from_millis(5);
const LONG: Duration = Duration::from_secs(8);
/// Descriptors of an activator that has no callers are fewer than this.
const AT_REST: usize = 300;

/// What good callers met: nothing but these.
#[derive(Default)]
struct Met {
    served: AtomicUsize,
    /// By Catnap, with the reason for it.
    shed: AtomicUsize,
}

impl Met {
    fn note(&self, came: Came) -> anyhow::Result<()> {
        match came {
            Came::Served => self.served.fetch_add(1, Relaxed),
            Came::Shed(reason) if reason == OVERLOADED => self.shed.fetch_add(1, Relaxed),
            other => anyhow::bail!("a good caller met {other:?}"),
        };
        Ok(())
    }

    /// Waits until some more are served.
    async fn goes_on(&self) -> anyhow::Result<()> {
        let goal = self.served.load(Relaxed) + SOME;
        eventually("good callers are served", PATIENCE, async || {
            Ok((self.served.load(Relaxed) >= goal).then_some(()))
        })
        .await
    }
}

/// Asks over a new connection each time.
async fn call_anew(target: &Target, met: &Met, stop: watch::Receiver<bool>) -> anyhow::Result<()> {
    while !*stop.borrow() {
        met.note(target.send(MOMENT).await?.came().await)?;
    }
    Ok(())
}

/// Asks over one connection that is kept.
async fn call_again(test: &Context, met: &Met, stop: watch::Receiver<bool>) -> anyhow::Result<()> {
    let http = Http::new(&Resolver::new(test.client.clone()))?;
    while !*stop.borrow() {
        let answer = http.http1.get(url(test, "hello", &path(MOMENT))).send().await;
        let answer = answer.context("over a connection that is kept")?;
        let reason = answer.headers().get("catnap-reason").and_then(|reason| reason.to_str().ok());
        let came = match (answer.status().as_u16(), reason) {
            (200, None) => Came::Served,
            (503, Some(reason)) => Came::Shed(reason.to_owned()),
            (status, reason) => Came::Wrong(format!("{status} {reason:?}")),
        };
        answer.bytes().await.context("the rest of an answer")?;
        met.note(came)?;
    }
    Ok(())
}

/// Has good callers beside the trouble, and what they met.
async fn beside_good_callers(
    test: &Context,
    target: &Target,
    trouble: impl AsyncFnOnce(&Met) -> anyhow::Result<()>,
) -> anyhow::Result<Met> {
    let met = Met::default();
    let (stop, stopped) = watch::channel(false);
    let anew = try_join_all((0..CALLERS).map(|_| call_anew(target, &met, stopped.clone())));
    let again = try_join_all((0..CALLERS).map(|_| call_again(test, &met, stopped.clone())));
    let troubled = async {
        met.goes_on().await?;
        trouble(&met).await?;
        stop.send_replace(true);
        anyhow::Ok(())
    };
    Box::pin(async { tokio::try_join!(anew, again, troubled) }).await?;
    Ok(met)
}

/// A function of one pod that takes any number of requests, and whom they all go through.
async fn prepared(test: &Context) -> anyhow::Result<(Victim, Target)> {
    deploy(test, &hello("hello", json!({"scale": {"min": 1, "max": 1}}))).await?;
    let victim = Victim::find(test).await?;
    let (soft, hard) = victim.descriptor_limits()?;
    anyhow::ensure!(soft == hard, "it may have {hard} descriptors, and takes {soft}");
    Ok((victim, Target::of(test).await?))
}

/// Served, and sent away with the reason. Anything else is an error.
async fn counted(sent: Vec<Sent>) -> anyhow::Result<(usize, usize)> {
    let met = Met::default();
    for came in join_all(sent.into_iter().map(Sent::came)).await {
        met.note(came)?;
    }
    let counts = (met.served.into_inner(), met.shed.into_inner());
    println!("{} served, {} sent away", counts.0, counts.1);
    Ok(counts)
}

/// The same process serves everybody again.
async fn is_as_before(test: &Context, victim: &Victim, target: &Target) -> anyhow::Result<()> {
    eventually("somebody is served again", PATIENCE, async || {
        Ok((target.send(MOMENT).await?.came().await == Came::Served).then_some(()))
    })
    .await?;
    let (served, shed) = counted(target.send_many(CALLERS * CALLERS, MOMENT).await?).await?;
    anyhow::ensure!(shed == 0, "{served} are served again, and {shed} are not");
    eventually("what was used up is free", PATIENCE, async || {
        Ok((victim.descriptors()? < AT_REST).then_some(()))
    })
    .await?;
    let now = Victim::find(test).await?;
    anyhow::ensure!(now == *victim, "{victim:?} became {now:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_idle_connections_is_nobodys_trouble() {
    run("connection_storm", Needs::Launcher, async |test| {
        let (victim, target) = prepared(test).await?;
        let met = beside_good_callers(test, &target, async |met| {
            let storm: Vec<TcpStream> = target.storm(STORM).await?;
            eventually("all connections have arrived", PATIENCE, async || {
                Ok((victim.descriptors()? >= STORM).then_some(()))
            })
            .await?;
            met.goes_on().await?;
            drop(storm);
            met.goes_on().await
        });
        let Met { served, shed } = met.await?;
        println!("{} served", served.into_inner());
        anyhow::ensure!(shed.into_inner() == 0, "there was room for all");
        is_as_before(test, &victim, &target).await
    })
    .await;
}

/// Most connections of clients in the next test. Helm takes a number that begins with 0 for text, as a variable has to be.
const MOST: usize = 300;
const MOST_VALUES: [&str; 2] =
    ["activator.extraEnv[0].name=CATNAP_MAX_CONNECTIONS", "activator.extraEnv[0].value=0300"];

#[tokio::test(flavor = "multi_thread")]
async fn beyond_the_most_connections_idle_ones_go_and_others_are_told_why() {
    run_with("most_connections", &MOST_VALUES, async |test| {
        Box::pin(beyond_the_most_connections(test)).await
    })
    .await;
}

async fn beyond_the_most_connections(test: &Context) -> anyhow::Result<()> {
    let (victim, target) = prepared(test).await?;
    let met = beside_good_callers(test, &target, async |met| {
        let _storm = target.storm(STORM).await?;
        let open = victim.descriptors()?;
        anyhow::ensure!(open < AT_REST + 2 * MOST, "{open} descriptors are open");
        met.goes_on().await
    });
    println!("{} were told to come again", met.await?.shed.into_inner());

    // Of those that have a request none goes for another.
    let sent = target.send_many(2 * MOST, LONG).await?;
    let (served, shed) = counted(sent).await?;
    anyhow::ensure!(served >= MOST / 2 && shed >= MOST / 2, "{served} were served, and {shed} sent away");
    is_as_before(test, &victim, &target).await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_descriptors_requests_are_told_why_and_the_process_is_well() {
    /// What an activator with callers has beside those that it has at rest, and requests that need twice as many.
    const MORE: u64 = 300;
    const REQUESTS: usize = 400;
    run("no_descriptors", Needs::Launcher, async |test| {
        let (victim, target) = prepared(test).await?;
        let at_rest = victim.descriptors()?;
        let lowered = victim.lower_descriptors(u64::try_from(at_rest)? + MORE)?;
        let sent = target.send_many(REQUESTS, LONG).await?;
        // As kubelet asks it, for which it needs a descriptor, too.
        for _ in 0..20 {
            victim.says_that_it_is_well(test).await?;
        }
        let used = victim.descriptors()?.saturating_sub(at_rest);
        anyhow::ensure!(used >= 100, "only {used} more descriptors are in use than at rest");
        let (served, shed) = counted(sent).await?;
        // Clients have half of what there was at the start, and may take all that is left of it now before requests to pods do.
        anyhow::ensure!(served > 0 && shed >= 100, "{served} were served, and {shed} sent away");
        drop(lowered);
        let (soft, hard) = victim.descriptor_limits()?;
        anyhow::ensure!(soft == hard, "{soft} of {hard} descriptors");
        is_as_before(test, &victim, &target).await?;
        let (served, shed) = counted(target.send_many(REQUESTS, MOMENT).await?).await?;
        anyhow::ensure!(shed == 0, "{shed} were sent away, {served} were not");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_ports_requests_are_told_why_and_the_pod_is_not_blamed() {
    /// Ports for connections to one pod, and requests that each need one.
    const PORTS: (u16, u16) = (40_000, 40_019);
    const REQUESTS: usize = 80;
    run("no_ports", Needs::Launcher, async |test| {
        let (victim, target) = prepared(test).await?;
        let narrowed = victim.narrow_ports(PORTS)?;
        let sent = target.send_many(REQUESTS, LONG).await?;
        let (served, shed) = counted(sent).await?;
        anyhow::ensure!(served >= 10 && shed >= REQUESTS / 2, "{served} were served, and {shed} sent away");
        drop(narrowed);
        is_as_before(test, &victim, &target).await?;
        let (served, shed) = counted(target.send_many(REQUESTS, LONG).await?).await?;
        anyhow::ensure!(shed == 0, "{shed} were sent away, {served} were not");
        Ok(())
    })
    .await;
}
