//! One concurrency limit across several activators that come, go and are killed. The function itself asserts it: it answers
//! with an error when more requests than the limit meet in one of its pods.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use catnap_e2e::fixture::{Context, Forward, Http, Resolver, eventually, run_with};
use catnap_e2e::functions::{PATIENCE, body, catnap_pods, deploy, hello, restart, url};
use catnap_e2e::lateness::{Lateness, Missed};
use futures::future::try_join_all;
use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::activators::{is_ready, process_of};

/// Clients that ask at the same time, six times as many as there are slots.
const CLIENTS: usize = 12;
/// A killed activator is given up after 5 s; then others go on.
const TAKE_OVER: Duration = Duration::from_secs(9);

/// While the activators agree, nobody waits longer than this beside a free slot.
const BESIDE_FREE: Duration = Duration::from_millis(100);
/// Processes by which a slot goes over: who had it, its activator, the owner, and the activator of who gets it. Each may have to
/// wait for its turn on this machine.
const STEPS: u32 = 4;

/// Two pods that each allow one request at a time.
fn one_at_a_time() -> Value {
    hello(
        "hello",
        json!({
            "concurrency": {"limit": 1},
            "scale": {"min": 2, "max": 2},
            "env": [{"name": "MAX_CONCURRENCY", "value": "1"}],
        }),
    )
}

/// What the clients met.
#[derive(Default)]
struct Met {
    served: AtomicUsize,
    /// Connections that broke off: those of an activator that was killed.
    broken: AtomicUsize,
    /// How long pods had no request is noted, though there are always some that wait.
    noting: AtomicBool,
    /// The longest, in milliseconds.
    free: AtomicU64,
    /// By how many milliseconds the clients were late with anything meanwhile, at the most: they have one task.
    late: AtomicU64,
}

impl Met {
    /// What a pod says of the time before a request.
    fn note_free(&self, answer: &reqwest::Response) {
        let said = answer.headers().get("hello-free-ms").and_then(|value| value.to_str().ok()?.parse().ok());
        if self.noting.load(Ordering::Relaxed)
            && let Some(milliseconds) = said
        {
            self.free.fetch_max(milliseconds, Ordering::Relaxed);
        }
    }

    /// Notes how late the clients are, for ever.
    async fn note_late(&self) {
        loop {
            let due = Instant::now() + Duration::from_millis(1);
            sleep(Duration::from_millis(1)).await;
            let late = u64::try_from(due.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.late.fetch_max(late, Ordering::Relaxed);
        }
    }

    /// Waits until more than so many further requests are served.
    async fn go_on(&self, requests: usize) -> anyhow::Result<()> {
        let before = self.served.load(Ordering::Relaxed);
        eventually("requests are served", PATIENCE, async || {
            Ok((self.served.load(Ordering::Relaxed) > before + requests).then_some(()))
        })
        .await
    }

    /// Fails when a pod had no request for too long while some waited.
    async fn no_pod_is_free_for_long(&self) -> anyhow::Result<()> {
        Lateness::watch()?.measured("requests beside a free pod", async |_| self.longest_free().await).await
    }

    async fn longest_free(&self) -> anyhow::Result<Result<(), Missed>> {
        let begun = Instant::now();
        // What is told first is of the time before.
        self.go_on(50).await?;
        for of in [&self.free, &self.late] {
            of.store(0, Ordering::Relaxed);
        }
        self.noting.store(true, Ordering::Relaxed);
        tokio::select! {
            served = self.go_on(500) => served?,
            () = self.note_late() => {}
        }
        self.noting.store(false, Ordering::Relaxed);
        let milliseconds = |of: &AtomicU64| Duration::from_millis(of.load(Ordering::Relaxed));
        let (free, late) = (milliseconds(&self.free), milliseconds(&self.late));
        if free <= BESIDE_FREE + STEPS * late {
            return Ok(Ok(()));
        }
        let what = format!("a pod was free for {free:?}, with clients that were late by {late:?}");
        Ok(Err(Missed::by_late_cpu(begun..Instant::now(), free.saturating_sub(BESIDE_FREE) / STEPS, what)))
    }
}

/// Asks until `stop`, each client over connections of its own, and each request over a new one: so all activators are met.
async fn ask(
    test: &Context,
    met: &Met,
    may_break: bool,
    mut stop: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let resolver = Resolver::new(test.client.clone());
    while !*stop.borrow_and_update() {
        let http = Http::new(&resolver)?;
        let answer = http.http1.get(url(test, "hello", "/sleep?ms=5")).send().await;
        let answer = match answer {
            // An answer with an error is never allowed.
            Ok(answer) => {
                met.note_free(&answer);
                body(answer).await
            }
            Err(error) if may_break => {
                met.broken.fetch_add(1, Ordering::Relaxed);
                anyhow::ensure!(!error.is_timeout(), "no answer: {error:?}");
                continue;
            }
            Err(error) => Err(error.into()),
        };
        let served = met.served.fetch_add(1, Ordering::Relaxed);
        answer.with_context(|| format!("request {served}"))?;
    }
    Ok(())
}

async fn load(
    test: &Context,
    met: &Met,
    may_break: bool,
    stop: &watch::Receiver<bool>,
) -> anyhow::Result<()> {
    try_join_all((0..CLIENTS).map(|_| ask(test, met, may_break, stop.clone()))).await.map(drop)
}

/// How each activator takes part in the limit of the function's revision.
async fn roles(test: &Context) -> anyhow::Result<Vec<String>> {
    let prefix = format!("{}/hello-", test.namespace);
    let mut roles = Vec::new();
    for pod in catnap_pods(test, "activator").await? {
        let admin = Forward::to(test, &pod).await?;
        let state = test.http.plain.get(admin.url("/debug/state")).send().await?.text().await?;
        let state: Value = serde_json::from_str(&state).context("the state of an activator")?;
        let revisions = state["revisions"].as_array().cloned().unwrap_or_default();
        let of = |one: &&Value| one["revision"].as_str().is_some_and(|name| name.starts_with(&prefix));
        let revision = revisions.iter().find(of).context("an activator does not know the revision")?;
        roles.push(revision["slots"].as_str().unwrap_or("alone").to_owned());
    }
    Ok(roles)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_holds_while_activators_come_and_go() {
    run_with("limit_through_rollout", &["activator.replicas=3"], async |test| {
        deploy(test, &one_at_a_time()).await?;
        let met = Met::default();
        let (stop, stopped) = watch::channel(false);
        let changes = async {
            eventually("one owns, and the others follow", PATIENCE, async || {
                let mut roles = roles(test).await?;
                roles.sort();
                Ok((roles == ["following", "following", "owner"]).then_some(()))
            })
            .await?;
            met.no_pod_is_free_for_long().await?;
            restart(test, "catnap-activator", Duration::from_secs(85)).await?;
            for replicas in [2, 3] {
                test.installation().install(&[&format!("activator.replicas={replicas}")]).await?;
            }
            stop.send_replace(true);
            anyhow::Ok(())
        };
        tokio::try_join!(load(test, &met, false, &stopped), changes)?;
        let served = met.served.into_inner();
        anyhow::ensure!(served > 500, "only {served} requests were served meanwhile");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_holds_through_kills_of_activators() {
    run_with("limit_through_kills", &["activator.replicas=3"], async |test| {
        deploy(test, &one_at_a_time()).await?;
        let met = Met::default();
        let (stop, stopped) = watch::channel(false);
        let kills = async {
            eventually("requests are served", PATIENCE, async || {
                Ok((met.served.load(Ordering::Relaxed) > 50).then_some(()))
            })
            .await?;
            // Each of them, so the owner too.
            for pod in catnap_pods(test, "activator").await? {
                kill(process_of(&pod)?, Signal::SIGKILL)?;
                let (killed, before) = (Instant::now(), met.served.load(Ordering::Relaxed));
                eventually("others go on", TAKE_OVER, async || {
                    Ok((met.served.load(Ordering::Relaxed) > before + 50).then_some(()))
                })
                .await
                .with_context(|| format!("{:?} after a kill", killed.elapsed()))?;
                // The next one only when this one is back.
                eventually("all activators are ready again", PATIENCE, async || {
                    let pods = catnap_pods(test, "activator").await?;
                    Ok((pods.len() == 3 && pods.iter().all(is_ready)).then_some(()))
                })
                .await?;
            }
            stop.send_replace(true);
            anyhow::Ok(())
        };
        tokio::try_join!(load(test, &met, true, &stopped), kills)?;
        let broken = met.broken.into_inner();
        anyhow::ensure!(broken > 0, "nobody noticed the kills");
        Ok(())
    })
    .await;
}
